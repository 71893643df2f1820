/* SPDX-License-Identifier: MIT */
/* How far an import came: a key for each storage, in a namespace that no door can name. */
#ifndef HATI_SNAPSHOT_MARK_H
#define HATI_SNAPSHOT_MARK_H

#include "snapshot/apply.h"

#define MARK_NAMESPACE SLICE("\0import") /* names at the doors hold no NUL */

struct mark {
    bool is_there, is_done, replaces;
    uint64_t next; /* block */
    uint64_t item; /* of that block so many are in (memory, where a block is not one) */
};

/* What an op of a mark points to. */
struct mark_room {
    char key[SNAPSHOT_ID_TEXT];
    char value[64];
};

/* A mark that is not there is next 0. */
enum err mark_read(struct snapshot_stores *stores, enum kv_storage storage,
                   const uint8_t id[SNAPSHOT_ID_BYTES], struct mark *ret_mark) MUST_USE;
/* Makes the op that sets it; room outlives the op. */
void mark_fill(struct kv_op *op, enum kv_storage storage, const uint8_t id[SNAPSHOT_ID_BYTES],
               const struct mark *mark, struct mark_room *room);

/* Are these entries of ours, which are in no snapshot? */
bool mark_is_namespace(struct slice ns);

#endif
