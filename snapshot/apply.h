/* SPDX-License-Identifier: MIT */
/* Takes a snapshot in, block by block, so that it can go on where it was cut off.
 *
 *   apply_begin (once; a second time it is found as it was) ──> apply_block 0, 1, 2 … ──> its end
 *
 * How far it came is kept in the stores themselves, in keys that no door can name: of hdd in the
 * transaction that takes a block in, so that no block is taken in twice; of memory in memory, which
 * forgets both together. Blocks that are taken in are answered again, and not done again. Callers
 * let one of these run at a time. Each blocks. */
#ifndef HATI_SNAPSHOT_APPLY_H
#define HATI_SNAPSHOT_APPLY_H

#include "snapshot/block.h"
#include "snapshot/stores.h"

#define APPLY_WHY_BYTES 400
#define APPLY_KEPT_MS (30LL * 24 * 3600 * 1000) /* an import that is not ended is known so long */
#define APPLY_DONE_KEPT_MS (24LL * 3600 * 1000) /* one that is */

struct apply_state {
    bool is_known; /* it was begun, within APPLY_KEPT_MS */
    bool is_done;
    bool replaces;              /* everything that was there went at its beginning */
    uint64_t next[KV_STORAGES]; /* blocks of this storage before it are in */
};

/* Something that was there and stays as it is; one line. */
struct apply_notes {
    void (*note)(void *context, const char *line);
    void *context;
};

/* What is known of the import of this file. */
enum err apply_look(struct snapshot_stores *stores, const uint8_t id[SNAPSHOT_ID_BYTES],
                    struct apply_state *ret_state) MUST_USE;

struct apply_options {
    struct snapshot_head head; /* entries written from now on have greater revisions */
    bool replace;              /* drop all keys, queues and routers first, of both storages */
    bool again;                /* do it anew, though it was done, or was cut off */
};

/* Begins it, or finds it as it was. ERR_CONFLICT: it is done already (and neither replace nor again
 * is set), or was begun in the other way; ret_why says it. */
enum err apply_begin(struct snapshot_stores *stores, const struct apply_options *options,
                     struct apply_state *ret_state, char ret_why[APPLY_WHY_BYTES]) MUST_USE;
/* Takes a whole block in, its head included, which is judged anew; the last one ends the import.
 * value_max: bytes of a value or payload. ERR_PRECONDITION_FAILED: it was not begun, or this is not
 * the next block; ERR_SYNTAX: the block is damaged; ERR_VALUE_TOO_LARGE; what the stores say.
 * ret_why is one line. */
enum err apply_block(struct snapshot_stores *stores, const uint8_t id[SNAPSHOT_ID_BYTES],
                     struct slice bytes, uint64_t value_max, const struct apply_notes *notes,
                     struct apply_state *ret_state, char ret_why[APPLY_WHY_BYTES]) MUST_USE;

#endif
