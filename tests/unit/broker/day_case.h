/* SPDX-License-Identifier: MIT */
/* A long day of a broker on which something is scarce for a moment: what is refused is asked for
 * again, and at the end every message came as often as it was published. */
#ifndef HATI_TESTS_DAY_CASE_H
#define HATI_TESTS_DAY_CASE_H

#include "base/cut.h"
#include "broker/snapshot.h"
#include "broker_case.h"

#define NUMBERS 600
#define MOST_IN_A_ROW 6

/* What was published (by its number) and came out. */
struct ledger {
    struct fixture *f;
    enum broker_storage storage;
    unsigned fillers;   /* queues by the dozen: tables grow */
    unsigned unknown;   /* answers that leave open what was done */
    void (*stop)(void); /* of what is scarce; the broker is opened anew then */
    unsigned published, wanted[NUMBERS], came[NUMBERS];
    unsigned more[NUMBERS]; /* times it may come beyond that */
};

/* A store that was lost is opened anew, with all that was answered. */
static inline void revive(struct ledger *l) {
    if (!l->stop || broker_is_ready(l->f->broker))
        return;
    l->stop();
    l->unknown++;
    case_reopen(l->f);
}

/* It may be refused for want of memory, some times, or its answer may get lost with the store. */
static inline enum err tolerant(struct ledger *l, struct broker_op *op) {
    struct broker_op first = *op;
    for (unsigned tries = 0; tries <= MOST_IN_A_ROW; tries++) {
        revive(l);
        *op = case_run(l->f, first);
        if (op->err == ERR_STORAGE_FULL && l->stop) { /* nobody waits until that is over */
            l->stop();
            case_reopen(l->f);
        } else if (op->err != ERR_OUT_OF_MEMORY && op->err != ERR_UNAVAILABLE) {
            break;
        }
    }
    return op->err;
}

static inline void sure(struct ledger *l, struct broker_op op) {
    enum err err = tolerant(l, &op);
    bool gone = err == ERR_QUEUE_NOT_EXIST && op.action == BROKER_DELETE_QUEUE;
    if (err && !(gone && l->unknown))
        fail_msg("action %d: %s", (int)op.action, err_text(err));
}

static inline void make_queue(struct ledger *l, const char *name,
                              struct broker_queue_options options) {
    struct broker_op op = queue_op(BROKER_CREATE_QUEUE, name);
    op.options = &options;
    sure(l, op);
}

static inline void make_all(struct ledger *l) {
    struct broker_queue_options options = options_of(l->storage);
    make_queue(l, "dead", options);
    options.dead_letter = SLICE("dead");
    options.max_deliver = 1;
    make_queue(l, "once", options);
    options.max_deliver = 0;
    options.ttl_ms = 1000;
    make_queue(l, "short", options);
    options = options_of(l->storage);
    options.dedup_window_ms = 3600000;
    options.max_length = 200;
    make_queue(l, "unique", options);
    static const char *const routers[] = {"direct", "fanout", "topic"};
    for (unsigned i = 0; i < 3; i++)
        sure(l, (struct broker_op){.action = BROKER_CREATE_ROUTER,
                                   .router = slice_of_cstr(routers[i]),
                                   .router_type = (enum broker_router_type)i});
    static const char *const patterns[] = {"unique", "", "#.u.#", "a.*.#", "*.u"};
    static const char *const of[] = {"direct", "fanout", "topic", "topic", "topic"};
    for (unsigned i = 0; i < 5; i++)
        sure(l, binding_op(BROKER_BIND, of[i], i % 2 ? "dead" : "unique", patterns[i]));
    sure(l, binding_op(BROKER_BIND, "fanout", "unique", ""));
}

/* Names by the dozen: tables grow. */
static inline void make_many(struct ledger *l) {
    struct broker_queue_options options = options_of(BROKER_MEMORY);
    for (unsigned i = 0; i < l->fillers; i++) {
        char name[24];
        snprintf(name, sizeof name, "filler%u", i);
        make_queue(l, name, options);
        sure(l, binding_op(BROKER_BIND, "fanout", name, name));
        sure(l, binding_op(BROKER_BIND, "topic", name, "many"));
        sure(l, binding_op(BROKER_BIND, "topic", name, i % 2 ? "x.#.*" : "#.x.#.y.#"));
    }
    sure(l, publish_op("fanout", "", "to all"));
    sure(l, publish_op("topic", "x.x.x.x.y", "to all"));
    sure(l, publish_op("topic", "many", "to all"));
    for (unsigned i = 0; i < l->fillers; i++) {
        char name[24];
        snprintf(name, sizeof name, "filler%u", i);
        if (i % 2)
            sure(l, queue_op(BROKER_FLUSH, name));
        sure(l, queue_op(BROKER_DELETE_QUEUE, name));
    }
}

/* times: how many queues are to have it. */
static inline void publish(struct ledger *l, const char *router, const char *key, unsigned times,
                           struct broker_op with) {
    char payload[16], id[16];
    unsigned number = l->published++;
    assert_true(number < NUMBERS);
    snprintf(payload, sizeof payload, "%u", number);
    snprintf(id, sizeof id, "id%u", number);
    with.action = BROKER_PUBLISH;
    with.router = slice_of_cstr(router);
    with.routing_key = slice_of_cstr(key);
    with.payload = slice_of_cstr(payload);
    with.id = slice_of_cstr(id);
    unsigned unknown = l->unknown;
    sure(l, with);
    l->wanted[number] = times;
    l->more[number] = (l->unknown - unknown) * times;
}

/* What came in one receive: what the broker gave is given back before it may be opened anew. */
struct bite {
    unsigned count;
    struct {
        char receipt[BROKER_RECEIPT_BYTES], payload[16];
    } of[7];
};

static inline bool bite_off(struct ledger *l, const char *queue, struct bite *bite) {
    struct broker_receive receive;
    revive(l);
    enum err err = case_receive(l->f, queue, 7, &receive);
    while (err == ERR_OUT_OF_MEMORY)
        err = case_receive(l->f, queue, 7, &receive);
    assert_int_equal(err, OK);
    bite->count = receive.count;
    for (unsigned i = 0; i < receive.count; i++) {
        const struct broker_delivery *got = &receive.deliveries[i];
        memcpy(bite->of[i].receipt, got->receipt, sizeof got->receipt);
        snprintf(bite->of[i].payload, sizeof bite->of[i].payload, "%.*s", (int)got->payload.len,
                 got->payload.ptr);
    }
    broker_receive_free(&receive);
    return bite->count > 0;
}

/* Whether an ack was carried out is not known where its answer got lost. */
static inline void note(struct ledger *l, const char *payload, bool unknown) {
    unsigned long number = strtoul(payload, NULL, 10);
    assert_true(number < l->published);
    if (payload[0] == 't') /* "to all" */
        return;
    l->came[number]++;
    l->more[number] += unknown;
}

/* Takes all there is, in small bites; what comes is acked, or let go of. */
static inline void take(struct ledger *l, const char *queue, unsigned most, enum broker_action how,
                        int64_t delay_ms) {
    struct bite bite;
    for (unsigned taken = 0; taken < most && bite_off(l, queue, &bite); taken += bite.count) {
        bool lost = false;
        for (unsigned i = 0; i < bite.count; i++) {
            struct broker_op op = queue_op(how, queue);
            op.receipt = slice_of_cstr(bite.of[i].receipt);
            op.delay_ms = delay_ms;
            if (how == BROKER_PUBLISH)
                continue; /* leases go on */
            unsigned unknown = l->unknown;
            enum err settled = tolerant(l, &op);
            lost |= unknown != l->unknown;
            if (settled && !lost)
                fail_msg("settling %d: %s", (int)how, err_text(settled));
            if (how == BROKER_ACK)
                note(l, bite.of[i].payload, settled != OK);
        }
    }
}

static inline void look(struct ledger *l) {
    static const enum broker_question questions[] = {ASK_QUEUE, ASK_ROUTER, ASK_QUEUES, ASK_ROUTERS,
                                                     ASK_PEEK};
    for (unsigned i = 0; i < 5; i++) {
        struct arena arena;
        arena_init(&arena, 1 << 20);
        struct broker_query query = {.question = questions[i],
                                     .name = questions[i] == ASK_ROUTER ? SLICE("topic")
                                                                        : SLICE("once"),
                                     .limit = 20,
                                     .now_ms = l->f->now_ms,
                                     .arena = &arena};
        enum err err = broker_ask(l->f->broker, &query);
        for (unsigned tries = 0; err == ERR_OUT_OF_MEMORY && tries < MOST_IN_A_ROW; tries++)
            err = broker_ask(l->f->broker, &query);
        assert_int_equal(err, OK);
        arena_done(&arena);
    }
}

static inline enum err count_message(void *context, const struct broker_snapshot_message *message) {
    (void)message;
    ++*(unsigned *)context;
    return OK;
}

static inline enum err try_snapshot(struct ledger *l, unsigned *ret_count) {
    struct broker_snapshot *snapshot;
    struct broker_snapshot_sink sink = {.context = ret_count, .message = count_message};
    enum err err = broker_snapshot_new(l->f->broker, &snapshot);
    if (err)
        return err;
    uint64_t cut = cut_begin();
    err = broker_snapshot_hold(snapshot, cut);
    if (err) {
        cut_give_up();
    } else {
        cut_make();
        err = broker_snapshot_take(snapshot);
    }
    *ret_count = 0;
    if (!err)
        err = broker_snapshot_each(snapshot, &sink);
    broker_snapshot_end(snapshot);
    return err;
}

static inline unsigned messages_of(struct ledger *l) {
    struct broker_stats stats;
    broker_stats(l->f->broker, &stats);
    return (unsigned)stats.messages;
}

/* A snapshot has everything, or says that it has not. */
static inline void snapshot(struct ledger *l) {
    unsigned count = 0;
    enum err err = try_snapshot(l, &count);
    for (unsigned tries = 0; err == ERR_OUT_OF_MEMORY && tries < MOST_IN_A_ROW; tries++)
        err = try_snapshot(l, &count);
    if (err == ERR_UNAVAILABLE && l->stop && !broker_is_ready(l->f->broker)) {
        revive(l); /* it was lost since the last answer */
        err = try_snapshot(l, &count);
    }
    assert_int_equal(err, OK);
    assert_int_equal(count, messages_of(l));
}

static inline void restore(struct ledger *l) {
    char payload[16];
    for (unsigned i = 0; i < 12; i++) {
        unsigned number = l->published++;
        snprintf(payload, sizeof payload, "%u", number);
        struct broker_snapshot_message message = {.queue = SLICE("unique"),
                                                  .id = slice_of_cstr(payload),
                                                  .key = SLICE("k"),
                                                  .payload = slice_of_cstr(payload),
                                                  .priority = (uint8_t)(i % 10),
                                                  .attempt = i % 3,
                                                  .published_ms = l->f->now_ms};
        sure(l, (struct broker_op){.action = BROKER_RESTORE, .restore = &message});
        l->wanted[number] = 1;
    }
}

static inline void publish_all(struct ledger *l) {
    for (unsigned i = 0; i < 30; i++)
        publish(l, "default", "once", 1, (struct broker_op){.priority = (uint8_t)(i % 10)});
    for (unsigned i = 0; i < 12; i++)
        publish(l, "default", "short", 1, (struct broker_op){.delay_ms = i % 3 ? 0 : 500});
    for (unsigned i = 0; i < 70; i++)
        publish(l, "default", "unique", 1, (struct broker_op){.delay_ms = i % 2 ? 0 : 100});
    for (unsigned i = 0; i < 4; i++) {
        publish(l, "topic", "a.u", 2, (struct broker_op){.ttl_ms = 3600000});
        publish(l, "direct", "unique", 1, (struct broker_op){.headers = SLICE("{}")});
    }
}

/* Messages that only wait while the clock moves on. */
static inline void let_time_pass(struct ledger *l) {
    for (unsigned i = 0; i < 6; i++)
        case_advance(l->f, i == 3 ? 40000 : 1100);
}

static inline void a_day(struct ledger *l) {
    make_all(l);
    make_many(l);
    publish_all(l);
    look(l);
    take(l, "once", 20, BROKER_PUBLISH, 0); /* their only deliveries, which end by time */
    take(l, "once", 30, BROKER_NACK, 0);
    take(l, "unique", 10, BROKER_NACK, 700);
    take(l, "unique", 10, BROKER_EXTEND, 0);
    snapshot(l);
    let_time_pass(l);
    restore(l);
    look(l);
    snapshot(l);
    struct broker_op redrive = queue_op(BROKER_REDRIVE, "dead");
    sure(l, redrive);
    case_barrier(l->f);
    sure(l, queue_op(BROKER_PAUSE, "dead"));
    take(l, "once", NUMBERS, BROKER_ACK, 0);
    take(l, "short", NUMBERS, BROKER_ACK, 0);
    take(l, "unique", NUMBERS, BROKER_ACK, 0);
}

static inline void end_of_day(struct ledger *l) {
    let_time_pass(l);
    take(l, "once", NUMBERS, BROKER_ACK, 0);
    take(l, "short", NUMBERS, BROKER_ACK, 0);
    take(l, "unique", NUMBERS, BROKER_ACK, 0);
    take(l, "dead", NUMBERS, BROKER_ACK, 0);
    for (unsigned i = 0; i < l->published; i++)
        if (l->came[i] < l->wanted[i] ||
            (l->came[i] > l->wanted[i] + l->more[i] && l->unknown == 0))
            fail_msg("message %u came %u times, not %u", i, l->came[i], l->wanted[i]);
    assert_int_equal(messages_of(l), 0);
    struct broker_stats stats;
    broker_stats(l->f->broker, &stats);
    assert_int_equal(stats.bytes, 0);
}

#endif
