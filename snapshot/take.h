/* SPDX-License-Identifier: MIT */
/* Takes a snapshot of the stores and writes it. */
#ifndef HATI_SNAPSHOT_TAKE_H
#define HATI_SNAPSHOT_TAKE_H

#include <stdatomic.h>

#include "snapshot/stores.h"
#include "snapshot/writer.h"

#define TAKE_WHY_BYTES 400

struct take_options {
    enum snapshot_format format;
    const _Atomic bool *stop; /* it ends as soon as this is set; NULL: nobody sets it */
    uint64_t keep_free_bytes; /* on the disk */
    struct seal_veil *veil;   /* over what is written; NULL: none */
    void (*progress)(void *context, uint64_t items, uint64_t about); /* now and then; or NULL */
    void *context;
};

/* Writes a snapshot of one instant to fd, from where it stands. Blocks until it is all written; the
 * stores serve meanwhile. ERR_CONFLICT: another one is under way; ERR_STORAGE_FULL; ERR_CORRUPT: a
 * record fails its checksum; ERR_UNAVAILABLE (also where it was stopped). ret_why is one line.
 * ret_totals may be NULL. */
enum err take_snapshot(struct snapshot_stores *stores, int fd, const struct take_options *options,
                       struct snapshot_totals *ret_totals, char ret_why[TAKE_WHY_BYTES]) MUST_USE;

#endif
