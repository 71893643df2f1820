/* SPDX-License-Identifier: MIT */
/* Inside of a transaction's messages: txn_messages.c the whole, txn_publish.c what comes in,
 * txn_settle.c what becomes of deliveries, flushes. All of it in the transaction's arena. */
#ifndef HATI_ENGINE_MESSAGES_INSIDE_H
#define HATI_ENGINE_MESSAGES_INSIDE_H

#include "base/hash.h"
#include "engine/receive.h"
#include "engine/topology.h"
#include "engine/txn.h"

#define BUCKETS 256U /* a power of two */

/* A queue with a limit that something is published to. */
struct limit {
    struct limit *next;
    int64_t queue;
    bool memory, drops_head;
    uint64_t most;
    unsigned fresh; /* planned publishes to it */
    /* loaded, and counted on while ops are applied */
    uint64_t total, delayed; /* ready and delayed; delayed alone */
    struct head *heads;      /* those that may have to make room, first ones first */
    unsigned head_count, heads_gone;
    uint64_t dropped;
};

struct head {
    int64_t place, seq;
};

/* An id within the window of a queue. */
struct dedup_id {
    struct dedup_id *next; /* of the bucket */
    struct dedup_id *all;
    int64_t queue, window_ms;
    bool memory;
    uint8_t hash[HASH_MD5_BYTES];
    int64_t until; /* loaded; 0: none */
    bool added;
};

/* A queue that a publish goes to. */
struct target {
    int64_t queue, ttl_ms;
    bool memory;
    bool seen; /* its id was: nothing is put there */
    struct limit *limit;
    struct dedup_id *id;
};

/* A copy that comes to a queue. */
struct copy {
    struct copy *next;
    struct planned *of;
    const struct target *target;
    bool gone; /* dropped or flushed by an op behind it */
};

enum row_change { ROW_STAYS, ROW_DELETED, ROW_UPDATED, ROW_MOVED };

/* A message that receipts name. */
struct row {
    struct row *next; /* of the bucket */
    struct row *all;
    int64_t queue, place, seq, receipt_lease;
    bool memory;
    /* loaded, and as changed here */
    int64_t lease; /* 0: the receipt is not good (any more) */
    int64_t due, attempt, expires;
    enum row_change change;
    int64_t after; /* ROW_UPDATED: due so long from now; 0: ready */
    enum broker_reason reason;
    const struct tqueue *origin; /* ROW_MOVED; good until the steps are written */
    const struct tqueue *target;
};

struct flush {
    struct flush *next;
    int64_t queue;
    bool memory;
    struct planned *by; /* who counts what the database drops */
};

/* An op and what was found for it. */
struct planned {
    struct planned *next;
    struct broker_op *op;
    bool known; /* its router, its queue */
    bool applied;
    bool was_full;
    int64_t queue;
    int64_t lease_ms; /* EXTEND */
    struct target *targets;
    unsigned target_count;
    unsigned message; /* among those that are written; 0: not yet */
    struct receipt receipt;
    struct row *row; /* NULL: no good receipt */
    struct flush *flush;
    enum fate fate; /* NACK */
    enum broker_reason reason;
    int64_t moved_to; /* a queue; 0: none */
};

struct txn_messages {
    int64_t version; /* of the topology that all was planned by */
    struct planned *first, **last;
    struct limit *limits;
    struct flush *flushes;
    struct dedup_id *ids, **last_id;
    struct dedup_id *id_buckets[BUCKETS];
    unsigned id_count[2]; /* hdd, memory */
    struct row *rows, **last_row;
    struct row *row_buckets[BUCKETS];
    unsigned row_count[2]; /* hdd, memory */
    bool looks;            /* some op is to see its row before it is written */
    struct copy *copies, **last_copy;
    /* steps + 1 of the request; 0: none */
    unsigned room_step[2], head_step[2], id_step[2], row_step[2];
    unsigned flush_step[2], ack_step[2], add_step[2];
    struct planned **acks[2]; /* blind ones, in the order they are sent */
    unsigned ack_count[2];
};

/* The outcome of a step of the request; NULL: there was none. */
static inline const PGresult *messages_result(const struct request *request, unsigned step) {
    return request && step ? request->steps[step - 1].result : NULL;
}

/* The lower bits of a fresh seq, so that two nodes seldom choose the same. */
static inline int64_t messages_random(void) {
    uint16_t bits;
    hash_random(&bits, sizeof bits);
    return bits & 1023;
}

/* txn_publish.c */
enum err publish_plan(struct txn *txn, struct planned *planned) MUST_USE;
void publish_load_steps(struct txn *txn, struct request *request);
enum err publish_loaded(struct txn *txn, const struct request *request) MUST_USE;
enum err publish_apply(struct txn *txn, struct planned *planned) MUST_USE;
void publish_write_heads(struct txn *txn, struct request *request, bool memory);
void publish_write_ids(struct txn *txn, struct request *request, bool memory);
void publish_write_copies(struct txn *txn, struct request *request, bool memory);

/* txn_settle.c */
enum err settle_plan(struct txn *txn, struct planned *planned) MUST_USE;
void settle_load_steps(struct txn *txn, struct request *request);
enum err settle_loaded(struct txn *txn, const struct request *request) MUST_USE;
enum err settle_apply(struct txn *txn, struct planned *planned) MUST_USE;
void settle_write_flushes(struct txn *txn, struct request *request, bool memory);
void settle_write_rows(struct txn *txn, struct request *request, bool memory);
/* Outcomes that only the database knew. */
void settle_committed(struct txn *txn, const struct request *request);

#endif
