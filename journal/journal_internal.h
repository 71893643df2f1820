/* SPDX-License-Identifier: MIT */
/* What the files of the journal share. */
#ifndef HATI_JOURNAL_INTERNAL_H
#define HATI_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "journal/journal.h"
#include "journal/segment.h"

#define PATH_BYTES 512
#define SPARES_WANTED 2U
#define SPARES_MAX 8U

struct old_segment {
    struct old_segment *next; /* oldest first */
    uint64_t number;
    uint64_t last_seq;
    uint64_t size_bytes; /* of the file */
    bool usual_size;
};

struct journal {
    char dir[PATH_BYTES - 64];
    uint64_t segment_bytes;
    uint64_t next_seq;   /* the appending thread's */
    uint64_t synced_seq; /* likewise */
    uint64_t offset;     /* where the next block goes */
    bool broken;         /* a sync failed: the next one would say OK and mean nothing */
    struct segment current;
    int dir_fd;
    _Atomic uint64_t written_seq, written_bytes, current_bytes; /* for whoever asks */
    _Atomic uint64_t room_bytes;                                /* of the segment written to */
    _Atomic uint64_t applied_seq;                               /* as journal_trim was told */
    _Atomic uint64_t skipped_from, skipped_to;

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t wake;
    struct old_segment *oldest, *newest; /* full, in order */
    unsigned spares;
    unsigned spare_serial;
    unsigned spare_numbers[SPARES_MAX];
    bool stopping;
    bool maker_runs;
    pthread_t maker;
    _Atomic bool full;
};

/* Path of a segment, or of a file that is none yet. */
void journal_path(const struct journal *journal, uint64_t number, char path[PATH_BYTES]);
void journal_spare_path(const struct journal *journal, unsigned number, char path[PATH_BYTES]);

/* journal_replay.c: reads every segment there is. Fills next_seq and the chain of old ones. */
enum err journal_replay(struct journal *journal, const struct journal_options *options,
                        char *ret_why, size_t why_bytes) MUST_USE;

/* journal_spare.c: files of zeros made beforehand by a thread of their own. */
enum err journal_spares_start(struct journal *journal) MUST_USE;
void journal_spares_stop(struct journal *journal);
/* The disk has so much room, and some for others. Any thread. */
bool journal_has_room(const struct journal *journal, uint64_t bytes);
/* Gives up a spare, whose path is the caller's then; where another size is wanted it is made. */
enum err journal_spare_take(struct journal *journal, uint64_t size_bytes,
                            char ret_path[PATH_BYTES]) MUST_USE;
/* A segment that is done with becomes a spare, or is deleted. */
void journal_spare_give(struct journal *journal, uint64_t number, bool usual_size);

#endif
