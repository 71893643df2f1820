/* SPDX-License-Identifier: MIT */
/* What receive.c, receive_ask.c and consumer.c share. All but the counts of references is the
 * loop's alone.
 *
 *   wait ──> in line at its queue ──ask: RECEIVE──> handed out ──> done
 *     │            ^                                  │
 *     │            └───── nothing there: polled ──────┘
 *     └─ held: a consumer that has all it may have, until a credit comes
 */
#ifndef HATI_ENGINE_RECEIVE_INSIDE_H
#define HATI_ENGINE_RECEIVE_INSIDE_H

#include "broker/heap.h"
#include "engine/receive.h"

/* A queue that somebody of this node waits for or is subscribed to. */
struct rqueue {
    struct receivers *receivers;
    struct tqueue *queue;      /* referenced */
    struct wait *first, *last; /* in line, in the order they came */
    struct rqueue *next_ready;
    unsigned wait_count;     /* single receives that wait */
    unsigned consumer_count; /* subscriptions */
    bool asking;             /* a RECEIVE, or a pull behind it, is on its way */
    bool again;              /* woken meanwhile */
    bool is_ready;           /* in the list of those to be asked */
    bool is_polled;          /* in a poll that is on its way */
    int64_t poll_ms;         /* monotonic: when it is looked at again */
    uint32_t poll_index;
    int64_t backoff_ms;
};

/* A subscription; the caller's struct broker_consumer points here. */
struct consumer {
    atomic_uint refs;
    struct work close; /* WORK_CONSUMER_CLOSE */
    struct engine *engine;
    unsigned prefetch;
    unsigned unacked;
    struct wait *waiting;
    struct rqueue *at;    /* NULL: its first receive did not find it yet */
    struct lease *leases; /* un-acked deliveries */
    struct consumer *next, *prev;
    bool is_starved; /* in the list of those without credit */
    bool closed;
    int64_t check_ms, backoff_ms;
    uint8_t name_len;
    char name[BROKER_NAME_MAX];
};

/* A receive on its way: lives until the caller let go of it and the loop did. */
struct wait {
    atomic_uint refs;
    struct engine *engine;
    struct work stop; /* WORK_STOP */
    atomic_bool is_told_to_stop;
    struct later later;             /* of a pull */
    struct broker_receive *receive; /* NULL: done was called */
    struct consumer *consumer;      /* referenced; NULL: a single receive */
    struct rqueue *at;              /* while it waits */
    struct wait *next, *prev;       /* in line */
    struct wait *all_next, *all_prev;
    unsigned max;
    uint64_t max_bytes;
    int64_t wait_ms, lease_ms;
    int64_t end_ms;      /* monotonic; the heap's key */
    int64_t over_ms;     /* when it has waited long enough */
    int64_t deadline_ms; /* of the first look */
    uint32_t end_index;
    bool begun, stopped;
    bool in_line;
    bool pulled;          /* the topology was, since it came */
    unsigned pull_failed; /* so often it was not */
    bool asked;           /* in the RECEIVE that is on its way */
    bool tried;           /* one came back */
    /* of what was handed out: any thread behind done */
    int64_t queue_id;
    bool memory;
    void *block;
};

struct receivers {
    struct engine *engine;
    uv_timer_t *timer;
    struct wait *waits; /* all */
    unsigned wait_count, queue_count;
    struct heap ends;  /* of waits, by end_ms; has room for all of them */
    struct heap polls; /* of rqueues, by poll_ms; the same */
    struct rqueue *first_ready, **last_ready;
    unsigned in_flight; /* RECEIVE statements */
    bool polling[KV_STORAGES];
    struct consumer *starved;
    bool checking[KV_STORAGES];
    struct lease **leases; /* of consumers, by hash */
    size_t lease_room, lease_count;
    uint64_t seed;
};

static inline bool rqueue_is_memory(const struct rqueue *at) {
    return at->queue->options.storage == BROKER_MEMORY;
}

/* ---- receive.c ---- */
/* Calls done; ends the wait everywhere. */
void wait_finish(struct receivers *receivers, struct wait *wait, enum err err);
void wait_unref(struct wait *wait);
/* How many messages it may have now. */
unsigned wait_limit(const struct wait *wait);
/* At the end of the line of its queue. */
void wait_line_up(struct wait *wait);
/* What was asked for the queue came back, or did not: who has waited long enough ends. */
void waits_look(struct receivers *receivers, struct rqueue *at, bool failed);
/* Frees it where nobody is there any more. */
void rqueue_settle(struct rqueue *at);
/* Sets the timer to the next end or poll. */
void receivers_set_timer(struct receivers *receivers);

/* ---- receive_ask.c ---- */
/* It is to be asked as soon as may be. */
void rqueue_want(struct rqueue *at);
/* It is looked at again after so long. */
void rqueue_poll_later(struct rqueue *at, int64_t delay_ms);
/* Polls of queues whose time has come. */
void receivers_poll(struct receivers *receivers, int64_t now_ms);
/* Ready again at once, the delivery not counted; frees the array of receipts. */
void receipts_give_back(struct engine *engine, int64_t queue_id, bool memory,
                        struct receipt *receipts, unsigned count);

/* What one who waits may have, and how many of the messages it gets. */
struct share {
    unsigned max;
    uint64_t max_bytes; /* 0: any */
    unsigned count;
};
/* Deals messages of such sizes out in order; returns how many found somebody. */
unsigned receive_deal(const uint64_t *sizes, unsigned count, struct share *shares,
                      unsigned share_count);

/* ---- consumer.c ---- */
/* A delivery of the consumer's counts against its prefetch. Without memory it does not count. */
void consumer_charge(struct receivers *receivers, struct consumer *consumer, int64_t queue_id,
                     const struct receipt *receipt);
void consumer_unref(struct consumer *consumer);
void consumers_free(struct receivers *receivers);
/* Its wait ends, it is in no table any more. */
void consumer_leave(struct receivers *receivers, struct consumer *consumer);
/* It waits without credit: what it has un-acked is looked up in the database now and then. */
void consumer_starve(struct receivers *receivers, struct consumer *consumer, int64_t now_ms);
void consumers_check(struct receivers *receivers, int64_t now_ms);
/* One un-acked message less. */
void consumers_credit(struct receivers *receivers, int64_t queue_id, const struct receipt *receipt);

#endif
