/* SPDX-License-Identifier: MIT */
/* The stores a snapshot is taken of or put into, asked in a way that waits: for threads and
 * processes of snapshots alone, never for a door's. */
#ifndef HATI_SNAPSHOT_STORES_H
#define HATI_SNAPSHOT_STORES_H

#include "engine/engine.h"

struct datadir;

struct snapshot_stores {
    struct kv *kv;
    struct broker *broker;
    struct committer *committer;         /* of both on hdd; NULL: there is an engine */
    struct datadir *datadir;             /* likewise */
    const struct engine_options *remote; /* not NULL: kv and broker are an engine's, and so it is
                                            reached */
    bool has_memory; /* else entries and messages of memory would be gone when this process ends:
                        none are taken in */
};

/* Each returns what kv.h and broker.h say, and never ERR_PENDING. */
enum err stores_write_keys(struct snapshot_stores *stores, struct kv_write *write) MUST_USE;
enum err stores_read_keys(struct snapshot_stores *stores, struct kv_read *read) MUST_USE;
enum err stores_write_queues(struct snapshot_stores *stores, struct broker_write *write) MUST_USE;
enum err stores_ask(struct snapshot_stores *stores, struct broker_query *query) MUST_USE;
/* Ops on keys of hdd, and restored messages of queues on hdd: all in order, or none: one block of
 * the journal. ret_failed: which failed; count: none, the whole did. Not with an engine. */
enum err stores_write_both(struct snapshot_stores *stores, struct engine_item *items,
                           unsigned count, int64_t now_ms, unsigned *ret_failed) MUST_USE;

#endif
