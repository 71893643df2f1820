/* SPDX-License-Identifier: MIT */
/* All that the database holds, out as one consistent snapshot; and messages of a snapshot in. On
 * connections of their own, beside the nodes that serve; each call blocks. */
#ifndef HATI_ENGINE_TRANSFER_H
#define HATI_ENGINE_TRANSFER_H

#include "broker/snapshot.h"
#include "engine/engine.h"
#include "kv/kv_snapshot.h"

/* Who is told; slices live until a call returns, which may block. What it returns other than OK
 * ends it. */
struct engine_export {
    void *context;
    /* First; no entry has a greater revision. */
    enum err (*begin)(void *context, uint64_t revision);
    /* Queues, routers, bindings; then messages, of one queue after another. */
    struct broker_snapshot_sink queues;
    enum err (*entry)(void *context, const struct kv_snapshot_entry *entry);
};

/* Tells of everything as it was at one instant. ERR_UNAVAILABLE, ERR_OUT_OF_MEMORY, or what a call
 * returned; on failure of the database one line is in ret_why, which is else untouched. */
enum err engine_export(const struct engine_options *options, const struct engine_export *to,
                       char *ret_why, size_t why_bytes) MUST_USE;

/* Messages of queues of one storage as they were, and an entry that is set with them: all of it, or
 * nothing. ERR_QUEUE_NOT_EXIST: one of the queues is not there, or is of the other storage;
 * ERR_UNAVAILABLE, ERR_TIMEOUT: the outcome is unknown, and the entry tells. */
enum err engine_restore(const struct engine_options *options, enum kv_storage storage,
                        const struct broker_snapshot_message *messages, unsigned count,
                        const struct kv_op *mark, char *ret_why, size_t why_bytes) MUST_USE;

#endif
