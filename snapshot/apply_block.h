/* SPDX-License-Identifier: MIT */
/* One block on its way into the stores. */
#ifndef HATI_SNAPSHOT_APPLY_BLOCK_H
#define HATI_SNAPSHOT_APPLY_BLOCK_H

#include "snapshot/apply.h"

struct apply_work {
    struct snapshot_stores *stores;
    const uint8_t *id;
    const struct apply_notes *notes;
    char *why; /* APPLY_WHY_BYTES; filled where there is more to say than err_text */
    struct snapshot_block block;
    struct buf raw;              /* the items point into it */
    struct snapshot_item *items; /* block.items */
    uint32_t count;
    uint64_t value_max;
    int64_t now_ms;
};

/* Unpacks and judges the block. */
enum err apply_work_open(struct apply_work *work, struct slice bytes, uint64_t value_max) MUST_USE;
/* Takes it in, with the mark. */
enum err apply_work_do(struct apply_work *work) MUST_USE;
void apply_work_done(struct apply_work *work);

#endif
