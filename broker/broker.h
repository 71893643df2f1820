/* SPDX-License-Identifier: MIT */
/* The front of the broker: routers that copy messages to queues, and queues that hand each message
 * to one consumer at a time under a lease.
 *
 *   PUBLISH ──> router ──> ready ──RECEIVE──> leased ──ACK──> gone
 *                 │          ^  ^                │
 *              delayed ──────┘  └─ lease ends, NACK (attempt + 1 at the next delivery)
 *                                                └─ max-deliver, expired ──> dead-letter queue
 *
 * `memory` queues answer at once; on `hdd` a change is answered when it would survive a power cut.
 */
#ifndef HATI_BROKER_BROKER_H
#define HATI_BROKER_BROKER_H

#include "base/arena.h"
#include "base/err.h"
#include "base/position.h"
#include "base/slice.h"
#include "base/text.h"
#include "journal/committer.h"

#define BROKER_NAME_MAX                                                                            \
    255 /* bytes of a router's, a queue's name, a pattern, a routing key, an id */
#define BROKER_HEADERS_MAX 65536 /* bytes of a message's headers as JSON */
#define BROKER_BATCH_MAX 1000    /* operations of one write, messages of one receive */
#define BROKER_PREFETCH_MAX 65535
#define BROKER_PRIORITY_MAX 9
#define BROKER_LEASE_DEFAULT_MS 30000
#define BROKER_WAIT_MAX_MS 3600000
#define BROKER_TIME_MAX_MS 3153600000000 /* a hundred years: ttl, delay, lease, dedup-window */
#define BROKER_ROUTERS_MAX 100000
#define BROKER_QUEUES_MAX 100000
#define BROKER_RECEIPT_BYTES 33 /* of a receipt's text */
#define BROKER_ID_BYTES 32      /* of the text of an id that the broker made */

enum broker_storage { BROKER_MEMORY, BROKER_HDD };
enum broker_router_type { ROUTER_DIRECT, ROUTER_FANOUT, ROUTER_TOPIC };
enum broker_overflow { OVERFLOW_REJECT, OVERFLOW_DROP_HEAD };

struct broker_queue_options {
    enum broker_storage storage;
    enum broker_overflow overflow;
    bool paused;              /* hands out nothing; takes publishes */
    int64_t lease_ms;         /* 1 up */
    int64_t ttl_ms;           /* of messages without one; 0: forever */
    int64_t dedup_window_ms;  /* 0: ids are not remembered */
    uint64_t max_length;      /* ready and delayed messages at most; 0: no limit */
    uint32_t max_deliver;     /* 0: no limit */
    struct slice dead_letter; /* a queue's name, looked up when it is needed; empty: dropped */
};

/* hdd, 30 s lease, no limits. */
void broker_queue_options_init(struct broker_queue_options *options);

enum broker_action {
    BROKER_CREATE_ROUTER, /* router, router_type */
    BROKER_DELETE_ROUTER, /* router; `default` is ERR_CONFLICT */
    BROKER_CREATE_QUEUE,  /* queue, options: the same again is fine, others ERR_CONFLICT */
    BROKER_DELETE_QUEUE,  /* queue, with its messages and bindings */
    BROKER_BIND,          /* router, queue, pattern */
    BROKER_UNBIND,        /* the same; flag says whether the binding was there */
    BROKER_PAUSE,         /* queue; pause: hand out nothing, or go on */
    BROKER_PUBLISH, /* router, routing_key, payload, id?, headers?, delay_ms, ttl_ms, priority */
    BROKER_ACK,     /* queue, receipt */
    BROKER_NACK,    /* queue, receipt, delay_ms */
    BROKER_EXTEND,  /* queue, receipt, lease_ms: from now on */
    BROKER_FLUSH,   /* queue: drops what is ready and delayed; count says how many */
    BROKER_REDRIVE, /* queue: its dead-lettered ready messages go back to where they came from */
    BROKER_RESTORE /* restore: a message of a snapshot goes into its queue, whatever its limits; its
                      id is remembered for what is left of the queue's dedup-window, and not
                      looked up. queues: 1. Not with a remote broker: ERR_UNAVAILABLE */
};

struct broker_stage; /* what the committer did for an op */
struct broker_snapshot_message;

/* One change and its outcome. Names, patterns and keys were checked at the door: lengths, UTF-8, no
 * spaces and control characters. */
struct broker_op {
    enum broker_action action;
    enum broker_router_type router_type;
    bool pause;
    bool pattern_given; /* BIND: else the queue's name (direct) or # (topic). UNBIND: likewise */
    uint8_t priority;   /* 0 to 9; higher ones first */
    struct slice router;
    struct slice queue;
    struct slice pattern;
    struct slice receipt;
    struct slice routing_key;
    struct slice payload;
    struct slice id;      /* empty: the broker makes one */
    struct slice headers; /* a JSON object's text; empty: none */
    const struct broker_queue_options *options;
    const struct broker_snapshot_message *restore; /* broker/snapshot.h */
    int64_t delay_ms, ttl_ms;                      /* ttl 0: the queue's */
    int64_t lease_ms;                              /* 0: the queue's */
    /* outcome */
    enum err err;
    bool flag;       /* CREATE_*, BIND: was not there before; UNBIND: was there */
    bool at_limit;   /* CREATE_*: refused since there are as many as there may be */
    uint32_t queues; /* PUBLISH: how many it reached */
    uint64_t count;  /* FLUSH, REDRIVE: messages */
    uint8_t id_len;  /* PUBLISH: the id it has */
    char id_text[BROKER_NAME_MAX];
    struct broker_stage *stage; /* the broker's */
};

/* Changes that are carried out in order, each with its own outcome. The caller owns it and all it
 * points to until broker_submit returned other than ERR_PENDING, or until done was called. */
struct broker_write {
    struct broker_op *ops;
    unsigned op_count; /* 1 to BROKER_BATCH_MAX */
    bool in_order; /* others of the caller are pending: carried out behind them, whatever it touches
                    */
    bool at_once;  /* rather ERR_WOULD_WAIT, with nothing done, than ERR_PENDING */
    int64_t now_ms;                           /* wall clock of the request */
    void (*done)(struct broker_write *write); /* on any thread; must not block */
    void *context;                            /* the caller's */
    struct position *position;                /* NULL: none; engines alone look at it */
    /* outcome */
    enum err err; /* of the first op that failed; OK: none did; ERR_TIMEOUT: unknown */
    /* the broker's */
    struct broker_write *next;
    int64_t deadline_ms;
    unsigned first; /* op that goes by the committer */
    struct broker *broker;
    struct commit_job job;
};

enum broker_reason { REASON_NONE, REASON_MAX_DELIVER, REASON_EXPIRED };

/* Words for a reason: "max-deliver", "expired". */
const char *broker_reason_word(enum broker_reason reason);

/* A message as a consumer gets it. */
struct broker_delivery {
    struct slice id;
    struct slice key; /* routing key */
    struct slice payload;
    struct slice headers; /* a JSON object's text, or empty */
    struct slice from;    /* dead-lettered: the queue it came from; else empty */
    enum broker_reason reason;
    uint32_t dead_attempt;              /* how often it had been delivered there */
    uint32_t attempt;                   /* 1: the first delivery */
    int64_t published_ms;               /* wall clock */
    char receipt[BROKER_RECEIPT_BYTES]; /* not in a peek */
    void *body;                         /* the broker's: what the slices point into */
    void *message;                      /* the broker's */
};

/* Somebody who is handed messages as they come. */
struct broker_consumer {
    struct queue *queue; /* the broker's from here */
    unsigned prefetch;   /* un-acked messages at most */
    unsigned unacked;
    bool open;
    void *remote; /* a remote broker's */
    uint32_t slot, serial;
    struct broker_receive *waiting;
};

/* A wish for messages. The caller owns it until broker_receive returned other than ERR_PENDING, or
 * until done was called; then broker_receive_free, after broker_give_back where what it holds was
 * not sent. */
struct broker_receive {
    struct slice queue;               /* not with a consumer */
    struct broker_consumer *consumer; /* NULL: a single receive */
    unsigned max;                     /* 1 to BROKER_BATCH_MAX */
    int64_t wait_ms;                  /* how long to wait for the first; consumers: -1 for ever */
    int64_t lease_ms;                 /* 0: the queue's */
    uint64_t max_bytes; /* fewer where they are larger; the first comes anyway; 0: any */
    int64_t now_ms;     /* wall clock of the request; 0: the broker asks it */
    bool at_once;       /* rather ERR_WOULD_WAIT, with nothing done, than ERR_PENDING */
    void (*done)(struct broker_receive *receive); /* on any thread; must not block */
    void *context;
    /* outcome: OK with count 0 where nothing came in time, the wait was stopped, or the broker
     * drains; ERR_QUEUE_NOT_EXIST also where the queue is deleted meanwhile */
    enum err err;
    unsigned count;
    struct broker_delivery *deliveries;
    /* the broker's */
    const struct broker_remote *remote;
    void *remote_data;
    struct queue *at;
    struct broker_receive *next, *prev;
    unsigned due_index;
    int64_t due_ms;
    int64_t lease_until_ms;
    int state;
    struct commit_job job;
};

struct datadir;
struct broker_remote;

struct broker_options {
    const struct broker_remote *remote; /* not NULL: every call goes there, nothing is kept here;
                                           the rest is not looked at; outlives the broker */
    struct datadir *datadir; /* NULL: only memory queues, nothing survives; opened, not started */
    uint64_t memory_limit_bytes; /* of messages of memory queues; 0: none */
    uint64_t
        write_buffer_bytes; /* messages not yet in LMDB before publishers are slowed; 0: 64 MiB */
    bool manual_clock;      /* tests: nothing happens by time but in broker_tick */
    void (*fatal)(const char *why); /* the store can no longer be believed; from its thread, once */
};

struct broker;

/* Opens the broker and registers it with the data directory (which is started afterwards). Blocks.
 * On failure writes one clear line to ret_why. */
enum err broker_open(const struct broker_options *options, struct broker **ret_broker,
                     char *ret_why, size_t why_bytes) MUST_USE;
/* Every wait ends now with what it has, and later ones do not wait. Any thread. */
void broker_drain(struct broker *broker);
/* Drained, the data directory is stopped, and no call may come any more. */
void broker_close(struct broker *broker);

/* Messages of hdd sealed anew, by the first key of a data directory that all stores have left. */
struct broker_reseal {
    void (*progress)(void *context, uint64_t more); /* so many more are done */
    void *context;
};
/* A crash on the way leaves all as it was, and the next run goes on. On failure one line is in
 * ret_why. Blocks. */
enum err broker_reseal(struct datadir *datadir, const struct broker_reseal *with, char *ret_why,
                       size_t why_bytes) MUST_USE;
/* How many there are. */
enum err broker_reseal_count(struct datadir *datadir, uint64_t *ret_messages, char *ret_why,
                             size_t why_bytes) MUST_USE;

/* Changes things. Outcomes at once (OK, or write->err), or ERR_PENDING and done later, perhaps
 * before this returns. Writes submitted one after another by one thread are carried out in that
 * order. Any thread; never blocks on a disk. */
enum err broker_submit(struct broker *broker, struct broker_write *write) MUST_USE;

/* Takes messages: up to max at once where there are any, else waits for the first. OK (also with
 * count 0), ERR_PENDING, ERR_QUEUE_NOT_EXIST, ERR_OUT_OF_MEMORY. Any thread. */
enum err broker_receive(struct broker *broker, struct broker_receive *receive) MUST_USE;
/* Ends a wait; done is called, perhaps before this returns, if it was not already. Any thread. */
void broker_receive_stop(struct broker *broker, struct broker_receive *receive);
/* What it holds was not sent: ready again at once in its old place, the delivery not counted. */
void broker_give_back(struct broker *broker, struct broker_receive *receive);
/* Lets go of the messages' bytes. */
void broker_receive_free(struct broker_receive *receive);

/* Makes a consumer of a queue. Its receives are one at a time. ERR_QUEUE_NOT_EXIST. */
enum err broker_consumer_open(struct broker *broker, struct slice queue, unsigned prefetch,
                              struct broker_consumer *ret_consumer) MUST_USE;
/* Stops its wait (done is called, if it was not already); what it holds stays leased. */
void broker_consumer_close(struct broker *broker, struct broker_consumer *consumer);

struct broker_queue_stats {
    uint64_t ready, leased, delayed; /* messages now */
    uint64_t published, delivered, acked, redelivered, dead_lettered, expired, dropped; /* so far */
    uint64_t consumers; /* subscriptions and waiting receives */
    int64_t oldest_ms;  /* age of the oldest ready message; 0: none */
};

struct broker_queue_info {
    struct slice name;
    struct broker_queue_options options; /* slices in the arena */
    struct broker_queue_stats stats;
};

struct broker_binding {
    struct slice queue;
    struct slice pattern;
};

struct broker_router_info {
    struct slice name;
    enum broker_router_type type;
    uint64_t published, unroutable;
    struct broker_binding *bindings; /* of `default` none are listed */
    size_t binding_count;
};

/* Copies into the arena. ERR_QUEUE_NOT_EXIST, ERR_ROUTER_NOT_EXIST, ERR_OUT_OF_MEMORY. */
enum err broker_get_queue(struct broker *broker, struct slice name, int64_t now_ms,
                          struct arena *arena, struct broker_queue_info *ret_info) MUST_USE;
enum err broker_get_router(struct broker *broker, struct slice name, struct arena *arena,
                           struct broker_router_info *ret_info) MUST_USE;
/* Names in byte order, in the arena. */
enum err broker_list_queues(struct broker *broker, struct arena *arena, struct slice **ret_names,
                            size_t *ret_count) MUST_USE;
enum err broker_list_routers(struct broker *broker, struct arena *arena, struct slice **ret_names,
                             size_t *ret_count) MUST_USE;

/* Where a peek goes on; all 0: from the start. */
struct broker_cursor {
    uint64_t lane; /* 9 - priority */
    uint64_t seq;  /* behind which */
};

/* Ready messages in the order they would be handed out, without taking them: up to a limit, fewer
 * where they are large. Slices in the arena;
 * *ret_more: there are more behind *cursor, which moved. */
enum err broker_peek(struct broker *broker, struct slice queue, struct broker_cursor *cursor,
                     unsigned limit, struct arena *arena, struct broker_delivery **ret_deliveries,
                     unsigned *ret_count, bool *ret_more) MUST_USE;

enum broker_question { ASK_QUEUE, ASK_ROUTER, ASK_QUEUES, ASK_ROUTERS, ASK_PEEK };

/* The questions above, asked in a way that may be answered later. */
struct broker_query {
    enum broker_question question;
    struct slice name;           /* of the queue or router */
    struct broker_cursor cursor; /* ASK_PEEK; moves */
    unsigned limit;              /* ASK_PEEK */
    int64_t now_ms;
    struct arena *arena;
    void (*done)(struct broker_query *query); /* on any thread; must not block */
    void *context;
    /* outcome */
    enum err err;
    union {
        struct broker_queue_info queue;
        struct broker_router_info router;
        struct {
            struct slice *names;
            size_t name_count;
        };
        struct {
            struct broker_delivery *deliveries;
            unsigned count;
            bool more;
        };
    };
    /* the broker's */
    struct broker_query *next;
    int64_t deadline_ms;
};

/* At once where the broker is here, else ERR_PENDING and done later. Returns query->err where not
 * pending. Any thread. */
enum err broker_ask(struct broker *broker, struct broker_query *query) MUST_USE;

/* True where every call is answered over a network: broker_get_queue and its like are not to be
 * called, broker_ask is; broker_consumer_open may let the first receive tell that there is no such
 * queue. */
bool broker_is_remote(const struct broker *broker);

struct broker_stats {
    uint64_t routers, queues, messages, published, delivered, acked, unroutable, bytes;
};
/* Cheap totals. Any thread. */
void broker_stats(struct broker *broker, struct broker_stats *ret_stats);

/* False once the store lost its disk. Any thread. */
bool broker_is_ready(struct broker *broker);

/* Tests with a manual clock: does what is due at now_ms (wall clock). */
void broker_tick(struct broker *broker, int64_t now_ms);

/* For a transaction over keys and queues, on the committer's thread (docs/decisions): tests an op,
 * PUBLISH, RESTORE or ACK on hdd queues, and adds its records to the block. Nothing is seen of it
 * before broker_stage_finish; broker_stage_undo takes it back (the block is the caller's to
 * shorten). */
enum err broker_stage_op(struct broker *broker, struct broker_op *op, int64_t now_ms,
                         struct journal_block *block) MUST_USE;
void broker_stage_undo(struct broker *broker, struct broker_op *op);
void broker_stage_finish(struct broker *broker, struct broker_op *op);
/* Payload bytes its records take at most; on the committer, before broker_stage_op. */
uint64_t broker_stage_size(struct broker *broker, struct broker_op *op);

#endif
