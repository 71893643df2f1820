/* SPDX-License-Identifier: MIT */
/* All queues, routers and messages as they were at one instant, read while others publish and
 * consume. snapshot/cut.h takes one.
 *
 *   broker_snapshot_new ──> _hold, cut_make, _take ──> broker_snapshot_each ──> broker_snapshot_end
 *
 * The first change of a queue after the cut waits until what memory holds of its messages is
 * pinned. The rest is in LMDB, whose files grow until the end. */
#ifndef HATI_BROKER_SNAPSHOT_H
#define HATI_BROKER_SNAPSHOT_H

#include "broker/broker.h"

struct broker_snapshot;

struct broker_snapshot_queue {
    struct slice name;
    struct broker_queue_options options; /* paused, too */
};

struct broker_snapshot_router {
    struct slice name; /* never `default`, which is always there */
    enum broker_router_type type;
};

struct broker_snapshot_binding {
    struct slice router;
    struct slice queue;
    struct slice pattern;
};

/* What a BROKER_RESTORE op takes, too: names, times and counts are the caller's to check. */
struct broker_snapshot_message {
    struct slice queue;
    struct slice id;
    struct slice key; /* routing key */
    struct slice payload;
    struct slice headers; /* a JSON object's text, or empty */
    struct slice from;    /* dead-lettered: the queue it came from; else empty */
    enum broker_reason reason;
    uint32_t dead_attempt; /* how often it had been delivered there */
    uint32_t attempt;      /* deliveries so far; one that was leased is told as ready */
    uint8_t priority;      /* 0 to 9 */
    int64_t published_ms;  /* wall clock, as the next two */
    int64_t expires_ms;    /* 0: never; may be over: the queue had not noticed yet */
    int64_t due_ms;        /* delayed until then; 0: ready */
};

/* Each may be NULL. Slices live until it returns. It may block. What it returns other than OK ends
 * the walk. */
struct broker_snapshot_sink {
    void *context;
    enum err (*queue)(void *context, const struct broker_snapshot_queue *queue);
    enum err (*router)(void *context, const struct broker_snapshot_router *router);
    enum err (*binding)(void *context, const struct broker_snapshot_binding *binding);
    enum err (*message)(void *context, const struct broker_snapshot_message *message);
};

/* Makes ready for a cut. One snapshot of a broker at a time: ERR_CONFLICT while there is another.
 * ERR_UNAVAILABLE where the broker is remote, ERR_OUT_OF_MEMORY. Any thread. */
enum err broker_snapshot_new(struct broker *broker, struct broker_snapshot **ret_snapshot) MUST_USE;
/* Keeps the topology as it is, and waits until no message is half way into its queues; cut is the
 * number the cut will have. ERR_OUT_OF_MEMORY: nothing is held. On the thread of
 * broker_snapshot_take, which comes soon. */
enum err broker_snapshot_hold(struct broker_snapshot *snapshot, uint64_t cut) MUST_USE;
/* Right behind cut_make, on the committer where there is a data directory, with all jobs before
 * finished and none behind prepared: lets go of what was held. Short. ERR_UNAVAILABLE,
 * ERR_OUT_OF_MEMORY. */
enum err broker_snapshot_take(struct broker_snapshot *snapshot) MUST_USE;

/* Tells the sink of all queues, then all routers, then all bindings, then of the messages of one
 * queue after another: by priority, then in the order in which they were published, whether ready,
 * delayed or leased. Once, on one thread. ERR_OUT_OF_MEMORY also where there was none to keep what
 * was changed; ERR_CORRUPT: a message fails its checksum (the log tells which). */
enum err broker_snapshot_each(struct broker_snapshot *snapshot,
                              const struct broker_snapshot_sink *sink) MUST_USE;
/* About how many messages there are, for progress. */
uint64_t broker_snapshot_count(const struct broker_snapshot *snapshot);
/* Frees it, read or not. Before broker_close. NULL does nothing. */
void broker_snapshot_end(struct broker_snapshot *snapshot);

#endif
