/* SPDX-License-Identifier: MIT */
/* Reads a snapshot file block by block, and judges every byte of it. One thread; blocks. */
#ifndef HATI_SNAPSHOT_READER_H
#define HATI_SNAPSHOT_READER_H

#include <sys/types.h>

#include "snapshot/block.h"

#define SNAPSHOT_WHY_BYTES 320

enum snapshot_read { SNAPSHOT_READ_BLOCK, SNAPSHOT_READ_END, SNAPSHOT_READ_BAD };

struct snapshot_reader {
    int fd; /* the caller's */
    struct snapshot_head head;
    struct snapshot_totals totals; /* of what was read */
    struct snapshot_block block;   /* the last that was read */
    struct buf bytes;              /* of the whole block, its head included */
    uint64_t at;                   /* bytes read */
    char why[SNAPSHOT_WHY_BYTES];  /* SNAPSHOT_READ_BAD: one line, with the place */
    struct buf raw;
    const char *(*each)(void *context, const struct snapshot_item *item);
    void *context;
};

/* Reads the head from where fd stands. each (may be NULL) is called for every item; what it returns
 * other than NULL ends the reading as a fault. False: reader->why. Either way reader_done. */
bool snapshot_reader_open(struct snapshot_reader *reader, int fd,
                          const char *(*each)(void *context, const struct snapshot_item *item),
                          void *context);
/* END: the totals are right, and behind them is nothing. */
enum snapshot_read snapshot_reader_next(struct snapshot_reader *reader);
void snapshot_reader_done(struct snapshot_reader *reader);

/* Reads len bytes, fewer only at the end: returns how many, or -1 with errno. */
ssize_t snapshot_read_all(int fd, void *to, size_t len);

#endif
