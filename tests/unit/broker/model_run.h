/* SPDX-License-Identifier: MIT */
/* A broker and its model side by side: what is asked of one is asked of the other. */
#ifndef HATI_TESTS_MODEL_RUN_H
#define HATI_TESTS_MODEL_RUN_H

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "journal/datadir.h"
#include "model.h"

#define RUN_AHEAD_MS 86400000 /* of the wall clock, which is asked while nothing ticks yet */
#define RUN_WAITERS 6
#define RUN_CONSUMERS 2
#define RUN_STALE 64
#define RUN_PATIENCE_S 30

/* A receive that was not answered at once. */
struct run_waiter {
    struct run *run;
    bool used;
    bool came;   /* done was called */
    bool served; /* what it got is in the model */
    int queue;
    int consumer; /* or MODEL_NOBODY */
    int64_t end_ms;
    uint64_t turn; /* who came first */
    struct broker_receive receive;
};

struct run {
    struct broker *broker;
    struct datadir *datadir; /* NULL: memory only */
    char dir[64];
    struct model model;
    uint64_t seed, random, step;
    int64_t now_ms;
    uint64_t numbers, turns;
    enum broker_storage storages[MODEL_QUEUES];
    const char *doing;
    bool own_ttls; /* messages have some, besides those of their queues */
    bool instant;  /* several things became ready in one step, one after another */
    struct run_waiter waiters[RUN_WAITERS + RUN_CONSUMERS]; /* the last: one for each consumer */
    struct broker_consumer consumers[RUN_CONSUMERS];
    bool consumer_open[RUN_CONSUMERS];
    struct {
        int queue;
        char receipt[BROKER_RECEIPT_BYTES + 1];
    } stale[RUN_STALE];
    unsigned stale_count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* Prints what helps to see it again, and fails. */
#define RUN_FAIL(run, ...)                                                                         \
    do {                                                                                           \
        print_error("HATI_MODEL_SEED=%" PRIu64 ", step %" PRIu64 " (%s): ", (run)->seed,           \
                    (run)->step, (run)->doing);                                                    \
        print_error(__VA_ARGS__);                                                                  \
        fail_msg("the broker and the model differ");                                               \
    } while (0)

#define RUN_SAME(run, got, wanted, what)                                                           \
    do {                                                                                           \
        int64_t got_ = (int64_t)(got), wanted_ = (int64_t)(wanted);                                \
        if (got_ != wanted_)                                                                       \
            RUN_FAIL(run, "%s: got %" PRId64 ", wanted %" PRId64 "\n", what, got_, wanted_);       \
    } while (0)

/* splitmix64 */
static inline uint64_t run_random(struct run *run, uint64_t below) {
    uint64_t x = run->random += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return (x ^ (x >> 31)) % below;
}

static inline bool run_chance(struct run *run, unsigned percent) {
    return run_random(run, 100) < percent;
}

static inline void run_came(struct run *run, bool *came) {
    pthread_mutex_lock(&run->lock);
    *came = true;
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->lock);
}

static inline bool run_has_come(struct run *run, const bool *came) {
    pthread_mutex_lock(&run->lock);
    bool yes = *came;
    pthread_mutex_unlock(&run->lock);
    return yes;
}

/* Waits for done; fails where it does not come. */
static inline void run_wait(struct run *run, const bool *came) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += RUN_PATIENCE_S;
    int error = 0;
    pthread_mutex_lock(&run->lock);
    while (!*came && error == 0)
        error = pthread_cond_timedwait(&run->changed, &run->lock, &end);
    pthread_mutex_unlock(&run->lock);
    if (error)
        RUN_FAIL(run, "done was not called\n");
}

struct run_flag {
    struct run *run;
    bool came;
};

static inline void run_write_came(struct broker_write *write) {
    struct run_flag *flag = write->context;
    run_came(flag->run, &flag->came);
}

/* Submits and waits; the first failure. */
static inline enum err run_submit(struct run *run, struct broker_op *ops, unsigned count) {
    struct run_flag flag = {run, false};
    struct broker_write write = {.ops = ops,
                                 .op_count = count,
                                 .now_ms = run->now_ms,
                                 .done = run_write_came,
                                 .context = &flag};
    enum err err = broker_submit(run->broker, &write);
    if (err != ERR_PENDING)
        return err;
    run_wait(run, &flag.came);
    return write.err;
}

/* What was moved by the last step, on the committer, has arrived. */
static inline void run_barrier(struct run *run) {
    for (unsigned i = 0; run->datadir && i < 2; i++) {
        struct broker_op op = {.action = BROKER_PAUSE, .queue = SLICE("nosuch")};
        RUN_SAME(run, run_submit(run, &op, 1), ERR_QUEUE_NOT_EXIST, "a barrier");
    }
}

static inline void run_receive_came(struct broker_receive *receive) {
    struct run_flag *flag = receive->context;
    run_came(flag->run, &flag->came);
}

static inline struct slice run_name(const struct run *run, int queue) {
    return slice_of_cstr(run->model.queues[queue].name);
}

/* --- what a message looks like is said by its number --- */

static inline size_t run_payload(uint64_t number, char *to, size_t size) {
    int len = snprintf(to, size, "%" PRIu64 ":", number);
    size_t fill = number % 61;
    memset(to + len, (int)(number % 251), fill);
    return (size_t)len + fill;
}

static inline struct slice run_headers(uint64_t number) {
    return number % 5 ? (struct slice){NULL, 0} : SLICE("{\"a\":[1,\"b\"]}");
}

/* --- deliveries --- */

static inline bool run_fits(const struct run *run, const struct model_message *message,
                            const struct broker_delivery *got, bool taken) {
    struct slice from = {NULL, 0};
    if (message->from != MODEL_NOBODY)
        from = run_name(run, message->from);
    return slice_equal(got->id, slice_of_cstr(message->id)) && slice_equal(got->from, from) &&
           got->reason == message->reason && got->dead_attempt == message->dead_attempt &&
           got->attempt == message->attempt + (taken ? 1U : 0U) &&
           got->published_ms == message->published_ms;
}

static inline void run_describe(const struct run *run, int q, const struct broker_delivery *got) {
    print_error("got id %.*s attempt %u from %.*s reason %d dead_attempt %u payload %.*s\n",
                (int)got->id.len, got->id.ptr, got->attempt, (int)got->from.len, got->from.ptr,
                (int)got->reason, got->dead_attempt, (int)strcspn(got->payload.ptr, ":"),
                got->payload.ptr);
    for (size_t i = 0; i < run->model.queues[q].count; i++) {
        const struct model_message *at = &run->model.queues[q].messages[i];
        print_error("  model: id %s state %d lane %d place %" PRIu64 " attempt %u from %d reason "
                    "%d dead %u number %" PRIu64 " due %" PRId64 " expires %" PRId64 "\n",
                    at->id, (int)at->state, 9 - at->priority, at->place, at->attempt, at->from,
                    (int)at->reason, at->dead_attempt, at->number, at->due_ms - run->now_ms,
                    at->expires_ms ? at->expires_ms - run->now_ms : 0);
    }
}

/* The number of the message whose payload and headers these are. */
static inline uint64_t run_number(struct run *run, const struct broker_delivery *got) {
    char digits[24] = "", payload[128];
    memcpy(digits, got->payload.ptr,
           got->payload.len < sizeof digits ? got->payload.len : sizeof digits - 1);
    uint64_t number = strtoull(digits, NULL, 10);
    size_t len = run_payload(number, payload, sizeof payload);
    if (!slice_equal(got->payload, slice_make(payload, len)))
        RUN_FAIL(run, "the payload %.*s is no message's\n", (int)got->payload.len,
                 got->payload.ptr);
    if (!slice_equal(got->headers, run_headers(number)))
        RUN_FAIL(run, "headers %.*s\n", (int)got->headers.len, got->headers.ptr);
    return number;
}

/* What a delivery may be. */
struct run_wanted {
    const struct model_message *not_before; /* comes behind this one; NULL: any */
    const struct model_message *at_head;    /* with this one's place; NULL: any */
    bool taken;                             /* its attempt counts */
};

/* The first ready message of the model that it can be. */
static inline struct model_message *run_identify(struct run *run, int q,
                                                 const struct broker_delivery *got,
                                                 const struct run_wanted *wanted) {
    struct model_queue *queue = &run->model.queues[q];
    struct model_message *found = NULL;
    uint64_t number = run_number(run, got);
    for (size_t i = 0; i < queue->count; i++) {
        struct model_message *at = &queue->messages[i];
        if (at->state != MODEL_READY || at->number != number ||
            !run_fits(run, at, got, wanted->taken))
            continue;
        if (wanted->at_head && model_order(at, wanted->at_head) != 0)
            continue;
        if (wanted->not_before &&
            (at == wanted->not_before || model_order(wanted->not_before, at) > 0))
            continue;
        if (!found || model_order(at, found) < 0)
            found = at;
    }
    if (!found) {
        run_describe(run, q, got);
        RUN_FAIL(run, "%s: not the message that is due (number %" PRIu64 ", first %" PRIu64 ")\n",
                 queue->name, number, wanted->at_head ? wanted->at_head->number : 0);
    }
    return found;
}

/* Takes in the model what the broker delivered. */
static inline void run_take(struct run *run, int q, const struct broker_receive *receive,
                            int64_t lease_ms, int holder, bool any_order) {
    struct model_queue *queue = &run->model.queues[q];
    for (unsigned i = 0; i < receive->count; i++) {
        const struct broker_delivery *got = &receive->deliveries[i];
        struct run_wanted wanted = {.at_head = any_order ? NULL : model_head(queue), .taken = true};
        struct model_message *message = run_identify(run, q, got, &wanted);
        message->state = MODEL_LEASED;
        message->attempt++;
        message->holder = holder;
        message->due_ms = run->now_ms + (lease_ms ? lease_ms : queue->options.lease_ms);
        memcpy(message->receipt, got->receipt, sizeof got->receipt);
        message->receipt[BROKER_RECEIPT_BYTES] = '\0';
        queue->stats.delivered++;
        queue->stats.redelivered += message->attempt > 1;
    }
}

/* What was handed out was not sent. */
static inline void run_give_back(struct run *run, int q, struct broker_receive *receive) {
    struct model_queue *queue = &run->model.queues[q];
    broker_give_back(run->broker, receive);
    for (unsigned i = 0; i < receive->count; i++) {
        char receipt[BROKER_RECEIPT_BYTES + 1];
        memcpy(receipt, receive->deliveries[i].receipt, BROKER_RECEIPT_BYTES);
        receipt[BROKER_RECEIPT_BYTES] = '\0';
        struct model_message *message = model_find_receipt(queue, receipt);
        if (!message)
            continue;
        queue->stats.delivered--;
        queue->stats.redelivered -= message->attempt > 1;
        message->attempt--;
        message->state = MODEL_READY;
        message->holder = MODEL_NOBODY;
        message->receipt[0] = '\0';
    }
}

/* --- those who wait --- */

static inline unsigned run_unacked(const struct run *run, int consumer) {
    unsigned count = 0;
    const struct model_queue *queue = &run->model.queues[consumer];
    for (size_t i = 0; i < queue->count; i++)
        count += queue->messages[i].state == MODEL_LEASED && queue->messages[i].holder == consumer;
    return count;
}

/* How many it may take now. */
static inline unsigned run_appetite(const struct run *run, const struct run_waiter *waiter) {
    unsigned most = waiter->receive.max;
    if (waiter->consumer == MODEL_NOBODY)
        return most;
    unsigned unacked = run_unacked(run, waiter->consumer);
    unsigned left = run->consumers[waiter->consumer].prefetch - unacked;
    return left < most ? left : most;
}

static inline struct run_waiter *run_first_waiter(struct run *run, int q) {
    struct run_waiter *first = NULL;
    for (unsigned i = 0; i < RUN_WAITERS + RUN_CONSUMERS; i++) {
        struct run_waiter *at = &run->waiters[i];
        if (at->used && !at->served && at->queue == q && run_appetite(run, at) > 0 &&
            (!first || at->turn < first->turn))
            first = at;
    }
    return first;
}

static inline void run_waiter_served(struct run *run, struct run_waiter *waiter) {
    run_wait(run, &waiter->came);
    RUN_SAME(run, waiter->receive.err, OK, "a waiter's err");
    unsigned most = run_appetite(run, waiter);
    if (waiter->receive.count == 0 || waiter->receive.count > most)
        RUN_FAIL(run, "a waiter got %u of %u\n", waiter->receive.count, most);
    run_take(run, waiter->queue, &waiter->receive, waiter->receive.lease_ms, waiter->consumer,
             run->instant);
    waiter->served = true;
}

/* What those have who were served is sent, or was not. */
static inline bool run_send_served(struct run *run) {
    for (unsigned i = 0; i < RUN_WAITERS + RUN_CONSUMERS; i++) {
        struct run_waiter *at = &run->waiters[i];
        if (!at->used || !at->served)
            continue;
        at->used = false;
        bool back = run_chance(run, 20);
        if (back)
            run_give_back(run, at->queue, &at->receive);
        broker_receive_free(&at->receive);
        if (back) /* the others that were served are, by now, too */
            return true;
    }
    return false;
}

static inline void run_serve_all(struct run *run) {
    for (int q = 0; q < MODEL_QUEUES; q++) {
        struct run_waiter *waiter;
        while (run->model.queues[q].exists && !run->model.queues[q].options.paused &&
               model_head(&run->model.queues[q]) && (waiter = run_first_waiter(run, q)))
            run_waiter_served(run, waiter);
    }
}

/* Everybody who can be served was; nobody else. */
static inline void run_settle(struct run *run) {
    do
        run_serve_all(run);
    while (run_send_served(run));
    for (unsigned i = 0; i < RUN_WAITERS + RUN_CONSUMERS; i++)
        if (run->waiters[i].used && run_has_come(run, &run->waiters[i].came))
            RUN_FAIL(run, "%s: a waiter was woken for nothing: err %d, count %u\n",
                     run->model.queues[run->waiters[i].queue].name,
                     (int)run->waiters[i].receive.err, run->waiters[i].receive.count);
    run->instant = false;
}

/* Waits of a queue end with err and nothing. */
static inline void run_end_waits(struct run *run, int q, enum err err) {
    for (unsigned i = 0; i < RUN_WAITERS + RUN_CONSUMERS; i++) {
        struct run_waiter *at = &run->waiters[i];
        if (!at->used || at->queue != q)
            continue;
        run_wait(run, &at->came);
        RUN_SAME(run, at->receive.err, err, "a wait that was ended");
        RUN_SAME(run, at->receive.count, 0, "messages of a wait that was ended");
        broker_receive_free(&at->receive);
        at->used = false;
    }
}

/* --- time --- */

static inline void run_tick(struct run *run, int64_t now_ms) {
    run->now_ms = now_ms;
    run->instant = true;
    broker_tick(run->broker, now_ms);
    run_barrier(run);
    model_tick(&run->model, now_ms);
    for (unsigned i = 0; i < RUN_WAITERS; i++) {
        struct run_waiter *at = &run->waiters[i];
        if (!at->used || at->end_ms > now_ms)
            continue;
        run_wait(run, &at->came);
        RUN_SAME(run, at->receive.err, OK, "a wait that is over");
        if (at->receive.count)
            continue; /* served at the same instant */
        broker_receive_free(&at->receive);
        at->used = false;
    }
    run_settle(run);
}

/* Moves time on, with a stop at each moment at which something is due. */
static inline void run_advance(struct run *run, int64_t by_ms) {
    int64_t end_ms = run->now_ms + by_ms;
    for (;;) {
        int64_t next_ms = model_next_ms(&run->model);
        for (unsigned i = 0; i < RUN_WAITERS; i++)
            if (run->waiters[i].used && run->waiters[i].end_ms < next_ms)
                next_ms = run->waiters[i].end_ms;
        if (next_ms >= end_ms)
            break;
        run_tick(run, next_ms);
    }
    run_tick(run, end_ms);
}

#endif
