/* SPDX-License-Identifier: MIT */
/* What a snapshot is made of: entries, routers, queues, bindings and messages, each as it can be
 * made anew elsewhere, and its bytes in a block of a snapshot file (docs/snapshots.md). */
#ifndef HATI_SNAPSHOT_ITEM_H
#define HATI_SNAPSHOT_ITEM_H

#include "base/buf.h"
#include "broker/broker.h"
#include "kv/kv.h"

enum snapshot_kind {
    SNAPSHOT_ROUTER = 1,
    SNAPSHOT_QUEUE = 2,
    SNAPSHOT_BINDING = 3,
    SNAPSHOT_ENTRY = 4,
    SNAPSHOT_MESSAGE = 5,
    SNAPSHOT_KINDS
};

struct snapshot_entry {
    struct uuid workspace;
    struct slice ns, key, type, value;
    uint64_t revision;
    int64_t expires_ms; /* wall clock; 0: never */
};

struct snapshot_queue {
    struct slice name;
    struct broker_queue_options options; /* storage is the item's */
};

struct snapshot_router {
    struct slice name;
    enum broker_router_type type;
};

struct snapshot_binding {
    struct slice router, queue, pattern;
};

struct snapshot_message {
    struct slice queue, id, key, headers, payload;
    struct slice from; /* dead-lettered: the queue it came from; else empty */
    enum broker_reason reason;
    uint32_t dead_attempt;
    uint32_t attempt; /* deliveries so far */
    uint8_t priority;
    int64_t published_ms;
    int64_t due_ms;     /* delayed until then; 0: ready */
    int64_t expires_ms; /* 0: never */
};

struct snapshot_item {
    enum snapshot_kind kind;
    enum kv_storage
        storage; /* where it is kept; of a binding: where its queue is; of routers: hdd */
    union {
        struct snapshot_entry entry;
        struct snapshot_router router;
        struct snapshot_queue queue;
        struct snapshot_binding binding;
        struct snapshot_message message;
    };
};

/* "router", "queue", "binding", "entry", "message"; static. */
const char *snapshot_kind_word(enum snapshot_kind kind);

/* Appends the item's bytes; its storage is the block's. False without memory. */
bool snapshot_item_append(struct buf *to, const struct snapshot_item *item);
/* Takes an item off the front of *bytes; its slices point into them. storage: the block's. NULL:
 * good; else what is wrong, for people. Takes nothing that a door would not take. */
const char *snapshot_item_take(struct slice *bytes, enum kv_storage storage,
                               struct snapshot_item *ret_item);
/* NULL where a door would take every name, length and number of it; else what is wrong. */
const char *snapshot_item_fault(const struct snapshot_item *item);

#endif
