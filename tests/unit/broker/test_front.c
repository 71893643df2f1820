/* SPDX-License-Identifier: MIT */
/* Which way a call goes: at once, by the committer, over a network, or not at all. */
#include <malloc.h>

#include "broker/snapshot.h"
#include "broker_case.h"

/* ---- over a network ---- */

struct far {
    unsigned submits, receives, stops, backs, frees, opens, closes, asks, drains, stats, readies;
    bool is_ready;
};

static enum err far_submit(void *context, struct broker_write *write) {
    struct far *far = context;
    (void)write;
    far->submits++;
    return ERR_PENDING;
}

static enum err far_receive(void *context, struct broker_receive *receive) {
    struct far *far = context;
    (void)receive;
    far->receives++;
    return ERR_PENDING;
}

static void far_stop(void *context, struct broker_receive *receive) {
    struct far *far = context;
    (void)receive;
    far->stops++;
}

static void far_back(void *context, struct broker_receive *receive) {
    struct far *far = context;
    (void)receive;
    far->backs++;
}

static void far_free(void *context, struct broker_receive *receive) {
    struct far *far = context;
    (void)receive;
    far->frees++;
}

static enum err far_open(void *context, struct slice queue, unsigned prefetch,
                         struct broker_consumer *ret_consumer) {
    struct far *far = context;
    (void)queue;
    far->opens++;
    *ret_consumer = (struct broker_consumer){.prefetch = prefetch, .open = true};
    return OK;
}

static void far_close(void *context, struct broker_consumer *consumer) {
    struct far *far = context;
    consumer->open = false;
    far->closes++;
}

static enum err far_ask(void *context, struct broker_query *query) {
    struct far *far = context;
    (void)query;
    far->asks++;
    return ERR_PENDING;
}

static void far_drain(void *context) {
    struct far *far = context;
    far->drains++;
}

static void far_stats(void *context, struct broker_stats *ret_stats) {
    struct far *far = context;
    far->stats++;
    *ret_stats = (struct broker_stats){.queues = 7};
}

static bool far_ready(void *context) {
    struct far *far = context;
    far->readies++;
    return far->is_ready;
}

static void every_call_of_a_remote_broker_goes_there(void **state) {
    (void)state;
    struct far far = {.is_ready = true};
    struct broker_remote remote = {&far,     far_submit, far_receive, far_stop,
                                   far_back, far_free,   far_open,    far_close,
                                   far_ask,  far_drain,  far_stats,   far_ready};
    struct broker_options options = {.remote = &remote};
    struct broker *broker;
    struct broker_snapshot *snapshot = NULL;
    char why[100];
    assert_int_equal(broker_open(&options, &broker, why, sizeof why), OK);
    assert_true(broker_is_remote(broker));
    assert_true(broker_is_ready(broker));
    far.is_ready = false;
    assert_false(broker_is_ready(broker));
    struct broker_op op = queue_op(BROKER_FLUSH, "q");
    struct broker_write write = {.ops = &op, .op_count = 1};
    assert_int_equal(broker_submit(broker, &write), ERR_PENDING);
    op.action = BROKER_RESTORE;
    assert_int_equal(broker_submit(broker, &write), ERR_UNAVAILABLE);
    assert_int_equal(write.err, ERR_UNAVAILABLE);
    assert_int_equal(op.err, ERR_UNAVAILABLE);
    assert_int_equal(far.submits, 1);
    struct broker_receive receive = {.queue = SLICE("q"), .max = 1};
    assert_int_equal(broker_receive(broker, &receive), ERR_PENDING);
    broker_receive_stop(broker, &receive);
    broker_give_back(broker, &receive); /* it holds nothing */
    receive.count = 1;
    broker_give_back(broker, &receive);
    broker_receive_free(&receive);
    assert_int_equal(far.receives + far.stops + far.backs + far.frees, 4);
    struct broker_consumer consumer;
    assert_int_equal(broker_consumer_open(broker, SLICE("q"), 3, &consumer), OK);
    broker_consumer_close(broker, &consumer);
    broker_consumer_close(broker, &consumer); /* it was already */
    assert_int_equal(far.opens + far.closes, 2);
    struct broker_query query = {.question = ASK_QUEUES};
    assert_int_equal(broker_ask(broker, &query), ERR_PENDING);
    struct broker_stats stats;
    broker_stats(broker, &stats);
    assert_int_equal(stats.queues, 7);
    assert_int_equal(broker_snapshot_new(broker, &snapshot), ERR_UNAVAILABLE);
    broker_snapshot_end(snapshot);
    broker_drain(broker);
    assert_int_equal(far.asks + far.drains + far.stats, 3);
    broker_close(broker);
    broker_close(NULL);
}

/* ---- at once, or later ---- */

static enum err submit_at_once(struct fixture *f, struct broker_op *ops, unsigned count) {
    struct broker_write write = {
        .ops = ops, .op_count = count, .at_once = true, .now_ms = f->now_ms};
    return broker_submit(f->broker, &write);
}

static void what_needs_the_disk_is_not_done_at_once_and_nothing_of_it(void **state) {
    struct fixture *f = *state;
    assert_true(broker_is_ready(f->broker));
    assert_false(broker_is_remote(f->broker));
    assert_int_equal(case_make_queue(f, "m", options_of(BROKER_MEMORY)), OK);
    assert_int_equal(case_make_queue(f, "h", options_of(BROKER_HDD)), OK);
    struct broker_op ops[2] = {publish_op("default", "m", "1"), publish_op("default", "h", "2")};
    assert_int_equal(submit_at_once(f, &ops[1], 1), ERR_WOULD_WAIT);
    assert_int_equal(submit_at_once(f, ops, 2), ERR_WOULD_WAIT);
    struct broker_op make = queue_op(BROKER_DELETE_QUEUE, "m");
    assert_int_equal(submit_at_once(f, &make, 1), ERR_WOULD_WAIT);
    struct broker_op flush = queue_op(BROKER_FLUSH, "h");
    assert_int_equal(submit_at_once(f, &flush, 1), ERR_WOULD_WAIT);
    struct broker_receive receive = {.queue = SLICE("h"), .max = 1, .at_once = true};
    assert_int_equal(broker_receive(f->broker, &receive), ERR_WOULD_WAIT);
    assert_int_equal(case_stats(f, "m").published + case_stats(f, "h").published, 0);
    assert_int_equal(submit_at_once(f, ops, 1), OK); /* memory alone */
    assert_int_equal(case_stats(f, "m").ready, 1);
    receive = (struct broker_receive){.queue = SLICE("m"), .max = 1, .at_once = true};
    assert_int_equal(broker_receive(f->broker, &receive), OK);
    assert_int_equal(receive.count, 1);
    broker_receive_free(&receive);
    receive = (struct broker_receive){
        .queue = SLICE("m"), .max = 1, .at_once = true, .wait_ms = 1000, .now_ms = f->now_ms};
    assert_int_equal(broker_receive(f->broker, &receive), ERR_WOULD_WAIT);
    broker_drain(f->broker);
    receive.at_once = false; /* nobody waits any more */
    assert_int_equal(broker_receive(f->broker, &receive), OK);
    assert_int_equal(receive.count, 0);
    broker_receive_free(&receive);
}

static void a_write_goes_on_behind_the_first_op_that_needs_the_disk(void **state) {
    struct fixture *f = *state;
    assert_int_equal(case_make_queue(f, "m", options_of(BROKER_MEMORY)), OK);
    assert_int_equal(case_make_queue(f, "h", options_of(BROKER_HDD)), OK);
    struct broker_op ops[4] = {publish_op("default", "m", "1"), publish_op("nosuch", "m", "2"),
                               publish_op("default", "h", "3"), publish_op("default", "m", "4")};
    assert_int_equal(case_submit(f, ops, 4), ERR_ROUTER_NOT_EXIST);
    assert_int_equal(ops[1].err, ERR_ROUTER_NOT_EXIST);
    assert_int_equal(ops[3].err, OK);
    assert_string_equal(case_drain(f, "m", 10), "1 4 ");
    assert_string_equal(case_drain(f, "h", 10), "3 ");
}

static void what_is_not_there_is_told_by_name(void **state) {
    struct fixture *f = *state;
    struct arena arena;
    struct broker_router_info router;
    struct broker_queue_info queue;
    struct broker_consumer consumer;
    struct broker_receive receive;
    arena_init(&arena, 1 << 16);
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_MEMORY)), OK);
    assert_int_equal(case_make_router(f, "r", ROUTER_DIRECT), OK);
    assert_int_equal(case_make_router(f, "r", ROUTER_TOPIC), ERR_CONFLICT);
    assert_int_equal(case_make_router(f, "default", ROUTER_DIRECT), OK);
    assert_int_equal(case_make_router(f, "default", ROUTER_FANOUT), ERR_CONFLICT);
    assert_int_equal(broker_get_router(f->broker, SLICE("x"), &arena, &router),
                     ERR_ROUTER_NOT_EXIST);
    assert_int_equal(broker_get_router(f->broker, SLICE("default"), &arena, &router), OK);
    assert_int_equal(router.binding_count, 0);
    assert_int_equal(broker_get_queue(f->broker, SLICE("x"), 0, &arena, &queue),
                     ERR_QUEUE_NOT_EXIST);
    assert_int_equal(broker_consumer_open(f->broker, SLICE("x"), 1, &consumer),
                     ERR_QUEUE_NOT_EXIST);
    assert_int_equal(case_receive(f, "x", 1, &receive), ERR_QUEUE_NOT_EXIST);
    static const struct {
        enum broker_action action;
        const char *router, *queue;
        enum err err;
    } cases[] = {{BROKER_BIND, "x", "q", ERR_ROUTER_NOT_EXIST},
                 {BROKER_BIND, "r", "x", ERR_QUEUE_NOT_EXIST},
                 {BROKER_BIND, "default", "q", ERR_CONFLICT},
                 {BROKER_UNBIND, "r", "q", OK},
                 {BROKER_PAUSE, "r", "x", ERR_QUEUE_NOT_EXIST},
                 {BROKER_DELETE_QUEUE, "r", "x", ERR_QUEUE_NOT_EXIST},
                 {BROKER_DELETE_ROUTER, "x", "q", ERR_ROUTER_NOT_EXIST},
                 {BROKER_DELETE_ROUTER, "default", "q", ERR_CONFLICT},
                 {BROKER_FLUSH, "r", "x", ERR_QUEUE_NOT_EXIST},
                 {BROKER_ACK, "r", "q", ERR_RECEIPT_INVALID},
                 {BROKER_DELETE_ROUTER, "r", "q", OK}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct broker_op op = binding_op(cases[i].action, cases[i].router, cases[i].queue, NULL);
        op.receipt = SLICE("0123");
        assert_int_equal(case_run(f, op).err, cases[i].err);
    }
    struct broker_queue_options other = options_of(BROKER_MEMORY);
    other.max_length = 3;
    assert_int_equal(case_make_queue(f, "q", other), ERR_CONFLICT);
    assert_int_equal(case_make_queue(f, "h", options_of(BROKER_HDD)), ERR_UNAVAILABLE);
    arena_done(&arena);
}

static void receipts_that_are_none_are_refused(void **state) {
    struct fixture *f = *state;
    struct broker_receive receive;
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_MEMORY)), OK);
    assert_int_equal(case_publish(f, "q", "m"), OK);
    assert_int_equal(case_receive(f, "q", 1, &receive), OK);
    char good[BROKER_RECEIPT_BYTES];
    memcpy(good, receive.deliveries[0].receipt, sizeof good);
    broker_receive_free(&receive);
    for (unsigned at = 0; at < BROKER_RECEIPT_BYTES - 1; at++) {
        static const char wrong[] = {'/', ':', '`', 'g', 'A', '\0', '0', '1'};
        for (unsigned i = 0; i < sizeof wrong; i++) {
            struct broker_op op = queue_op(BROKER_ACK, "q");
            char bad[BROKER_RECEIPT_BYTES];
            memcpy(bad, good, sizeof bad);
            bad[at] = wrong[i] == good[at] ? '2' : wrong[i];
            op.receipt = slice_make(bad, sizeof bad - 1);
            assert_int_equal(case_run(f, op).err, ERR_RECEIPT_INVALID);
        }
    }
    struct broker_op op = queue_op(BROKER_ACK, "q");
    op.receipt = slice_make(good, sizeof good - 1);
    assert_int_equal(case_run(f, op).err, OK);
    assert_int_equal(case_run(f, op).err, ERR_RECEIPT_INVALID); /* once */
}

static void a_queue_that_is_there_is_the_same_only_with_the_same_options(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options is = options_of(BROKER_MEMORY);
    assert_int_equal(case_make_queue(f, "q", is), OK);
    assert_int_equal(case_make_queue(f, "q", is), OK);
    for (unsigned i = 0; i < 8; i++) {
        struct broker_queue_options other = is;
        other.storage = i == 0 ? BROKER_HDD : is.storage;
        other.overflow = i == 1 ? OVERFLOW_DROP_HEAD : is.overflow;
        other.lease_ms += i == 2;
        other.ttl_ms += i == 3;
        other.dedup_window_ms += i == 4;
        other.max_length += i == 5;
        other.max_deliver += i == 6;
        other.dead_letter = i == 7 ? SLICE("dead") : is.dead_letter;
        assert_int_equal(case_make_queue(f, "q", other), ERR_CONFLICT);
    }
    is.paused = true; /* that may change */
    assert_int_equal(case_make_queue(f, "q", is), OK);
}

static void there_are_no_more_queues_and_routers_than_may_be(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options = options_of(BROKER_MEMORY);
    struct broker_op ops[2] = {{.action = BROKER_CREATE_QUEUE, .options = &options},
                               {.action = BROKER_CREATE_ROUTER}};
    struct names *const names[2] = {&f->broker->queues, &f->broker->routers};
    const size_t most[2] = {BROKER_QUEUES_MAX, BROKER_ROUTERS_MAX};
    assert_int_equal(case_make_queue(f, "q", options), OK);
    for (unsigned i = 0; i < 2; i++) {
        size_t count = names[i]->count;
        ops[i].queue = ops[i].router = SLICE("one-too-many");
        names[i]->count = most[i]; /* as if there were */
        struct broker_op op = case_run(f, ops[i]);
        assert_int_equal(op.err, ERR_STORAGE_FULL);
        assert_true(op.at_limit);
        names[i]->count = count;
        op = case_run(f, ops[i]);
        assert_int_equal(op.err, OK);
        assert_false(op.at_limit);
        assert_true(op.flag);
    }
}

static void a_binding_without_a_pattern_takes_what_fits_its_router(void **state) {
    struct fixture *f = *state;
    static const char *const keys[] = {"q", "any", "a.b.c"};
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_MEMORY)), OK);
    for (unsigned type = 0; type < 3; type++) {
        assert_int_equal(case_make_router(f, "r", (enum broker_router_type)type), OK);
        assert_true(case_run(f, binding_op(BROKER_BIND, "r", "q", NULL)).flag);
        assert_false(case_run(f, binding_op(BROKER_BIND, "r", "q", NULL)).flag);
        assert_int_equal(case_run(f, publish_op("r", keys[type], "m")).queues, 1);
        assert_int_equal(case_run(f, publish_op("r", "other", "m")).queues, type != ROUTER_DIRECT);
        assert_true(case_run(f, binding_op(BROKER_UNBIND, "r", "q", NULL)).flag);
        assert_false(case_run(f, binding_op(BROKER_UNBIND, "r", "q", NULL)).flag);
        assert_int_equal(case_run(f, publish_op("r", keys[type], "m")).queues, 0);
        assert_int_equal(
            case_run(f, (struct broker_op){.action = BROKER_DELETE_ROUTER, .router = SLICE("r")})
                .err,
            OK);
    }
}

/* ---- what ends by time, seen by whoever comes first ---- */

static void what_expired_is_not_handed_out_though_the_clock_has_not_come_by(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options = options_of(BROKER_MEMORY);
    struct broker_receive receive;
    options.ttl_ms = 1000;
    options.dead_letter = SLICE("dead");
    assert_int_equal(case_make_queue(f, "q", options), OK);
    assert_int_equal(case_make_queue(f, "dead", options_of(BROKER_MEMORY)), OK);
    assert_int_equal(case_publish(f, "q", "old"), OK);
    f->now_ms += 500;
    assert_int_equal(case_publish(f, "q", "young"), OK);
    f->now_ms += 500;
    assert_string_equal(case_drain(f, "q", 10), "young ");
    assert_string_equal(case_drain(f, "dead", 10), "old ");
    assert_int_equal(case_publish(f, "q", "late"), OK);
    f->now_ms += 1000;
    assert_int_equal(case_receive(f, "q", 10, &receive), OK);
    assert_int_equal(receive.count, 0); /* all that was ready had expired */
    broker_receive_free(&receive);
    assert_int_equal(case_stats(f, "q").expired, 2);
}

static void who_waits_for_a_queue_whose_messages_all_expired_waits_on(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options = options_of(BROKER_MEMORY);
    struct answer answer = {f, false};
    options.paused = true;
    assert_int_equal(case_make_queue(f, "q", options), OK);
    struct broker_receive receive = {.queue = SLICE("q"),
                                     .max = 1,
                                     .wait_ms = 60000,
                                     .now_ms = f->now_ms,
                                     .done = case_receive_came,
                                     .context = &answer};
    struct broker_op op = publish_op("default", "q", "old");
    op.ttl_ms = 1000;
    assert_int_equal(case_run(f, op).err, OK);
    assert_int_equal(broker_receive(f->broker, &receive), ERR_PENDING);
    f->now_ms += 1000;
    assert_int_equal(case_run(f, queue_op(BROKER_PAUSE, "q")).err, OK);
    assert_false(case_has_come(&answer));
    assert_int_equal(case_publish(f, "q", "new"), OK);
    case_await(&answer);
    assert_int_equal(receive.count, 1);
    assert_true(slice_equal(receive.deliveries[0].payload, SLICE("new")));
    broker_receive_free(&receive);
}

/* ---- limits of memory and of answers ---- */

static void memory_that_is_used_up_refuses_publishes_until_some_is_free(void **state) {
    struct fixture f;
    (void)state;
    case_init(&f, false);
    f.memory_limit_bytes = 2000;
    case_open(&f);
    assert_int_equal(case_make_queue(&f, "q", options_of(BROKER_MEMORY)), OK);
    unsigned count = 0;
    while (case_publish(&f, "q", "payload") == OK)
        count++;
    assert_true(count > 2);
    struct broker_snapshot_message message = {.queue = SLICE("q"), .payload = SLICE("payload")};
    struct broker_op restore = {.action = BROKER_RESTORE, .restore = &message};
    assert_int_equal(case_run(&f, restore).err, ERR_OUT_OF_MEMORY);
    struct broker_stats stats;
    broker_stats(f.broker, &stats);
    assert_true(stats.bytes > 0 && stats.bytes <= 2000);
    case_drain(&f, "q", 1);
    assert_int_equal(case_run(&f, restore).err, OK);
    message.priority = 10;
    assert_int_equal(case_run(&f, restore).err, ERR_SYNTAX);
    char long_id[BROKER_NAME_MAX + 1];
    memset(long_id, 'i', sizeof long_id);
    message.priority = 0;
    message.id = slice_make(long_id, sizeof long_id);
    assert_int_equal(case_run(&f, restore).err, ERR_SYNTAX);
    message.queue = SLICE("x");
    message.id = SLICE("");
    assert_int_equal(case_run(&f, restore).err, ERR_QUEUE_NOT_EXIST);
    case_done(&f);
}

static void an_answer_that_is_too_large_is_told(void **state) {
    struct fixture *f = *state;
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_MEMORY)), OK);
    assert_int_equal(case_make_router(f, "r", ROUTER_TOPIC), OK);
    for (unsigned i = 0; i < 40; i++) {
        char pattern[16];
        snprintf(pattern, sizeof pattern, "a.%u", i);
        assert_int_equal(case_run(f, binding_op(BROKER_BIND, "r", "q", pattern)).err, OK);
        assert_int_equal(case_publish(f, "q", "payload"), OK);
    }
    static const enum broker_question questions[] = {ASK_QUEUE, ASK_ROUTER, ASK_QUEUES, ASK_ROUTERS,
                                                     ASK_PEEK};
    for (unsigned i = 0; i < 5; i++) {
        unsigned refused = 0;
        for (size_t room = 0;; room += 16) { /* each piece of it in turn */
            char memory[16384];
            struct arena arena;
            arena_init_with(&arena, 0, memory, room);
            struct broker_query query = {.question = questions[i],
                                         .name =
                                             questions[i] == ASK_ROUTER ? SLICE("r") : SLICE("q"),
                                         .limit = 10,
                                         .now_ms = f->now_ms,
                                         .arena = &arena};
            enum err err = broker_ask(f->broker, &query);
            arena_done(&arena);
            if (err == OK)
                break;
            assert_int_equal(err, ERR_OUT_OF_MEMORY);
            assert_true(room < sizeof memory - 16);
            refused++;
        }
        assert_true(refused > 0);
    }
}

static void lists_and_pages_are_in_order_and_whole(void **state) {
    struct fixture *f = *state;
    struct arena arena;
    static const char *const names[] = {"b", "a", "c"};
    arena_init(&arena, 1 << 20);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(case_make_queue(f, names[i], options_of(BROKER_MEMORY)), OK);
        assert_int_equal(case_make_router(f, names[i], ROUTER_FANOUT), OK);
    }
    struct broker_query query = {.question = ASK_QUEUES, .arena = &arena};
    assert_int_equal(broker_ask(f->broker, &query), OK);
    assert_int_equal(query.name_count, 3);
    assert_string_equal(query.names[0].ptr, "a");
    assert_string_equal(query.names[2].ptr, "c");
    query = (struct broker_query){.question = ASK_ROUTERS, .arena = &arena};
    assert_int_equal(broker_ask(f->broker, &query), OK);
    assert_int_equal(query.name_count, 4);
    assert_string_equal(query.names[3].ptr, "default");
    static char large[600000];
    memset(large, 'x', sizeof large - 1);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(case_publish(f, "a", large), OK);
    arena_done(&arena);
    arena_init(&arena, 8 << 20);
    unsigned pages = 0, seen = 0;
    struct broker_cursor cursor = {0, 0};
    bool more = true;
    while (more) { /* pages are short where messages are large */
        query = (struct broker_query){.question = ASK_PEEK,
                                      .name = SLICE("a"),
                                      .limit = 10,
                                      .cursor = cursor,
                                      .arena = &arena};
        assert_int_equal(broker_ask(f->broker, &query), OK);
        cursor = query.cursor;
        more = query.more;
        seen += query.count;
        pages++;
    }
    assert_int_equal(seen, 4);
    assert_int_equal(pages, 4);
    query.cursor.lane = UINT64_MAX; /* beyond all: nothing is there */
    assert_int_equal(broker_ask(f->broker, &query), OK);
    assert_int_equal(query.count, 0);
    query.name = SLICE("x");
    assert_int_equal(broker_ask(f->broker, &query), ERR_QUEUE_NOT_EXIST);
    query.question = (enum broker_question)99;
    assert_int_equal(broker_ask(f->broker, &query), ERR_INTERNAL);
    arena_done(&arena);
}

static void a_receive_holds_no_more_bytes_than_it_asks_for(void **state) {
    struct fixture *f = *state;
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_MEMORY)), OK);
    static char large[5000];
    memset(large, 'x', sizeof large - 1);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(case_publish(f, "q", large), OK);
    struct broker_receive receive = {
        .queue = SLICE("q"), .max = 10, .max_bytes = 11000, .now_ms = f->now_ms};
    assert_int_equal(broker_receive(f->broker, &receive), OK);
    assert_int_equal(receive.count, 2);
    broker_receive_free(&receive);
    receive = (struct broker_receive){
        .queue = SLICE("q"), .max = 10, .max_bytes = 1, .now_ms = f->now_ms};
    assert_int_equal(broker_receive(f->broker, &receive), OK);
    assert_int_equal(receive.count, 1); /* the first comes anyway */
    broker_receive_free(&receive);
    assert_int_equal(case_stats(f, "q").ready, 1);
}

/* ---- inside a transaction of others ---- */

static void
a_flush_of_a_queue_that_is_deleted_behind_it_lets_go_of_what_it_made_ready(void **state) {
    struct fixture *f = *state;
    struct broker_op ops[] = {queue_op(BROKER_FLUSH, "h"), queue_op(BROKER_DELETE_QUEUE, "h")};
    (void)mallopt(M_PERTURB, 0x5a); /* what nobody wrote is no NULL by chance */
    assert_int_equal(case_make_queue(f, "h", options_of(BROKER_HDD)), OK);
    assert_int_equal(case_publish(f, "h", "flushed"), OK);
    assert_int_equal(case_submit(f, ops, 2), OK);
    (void)mallopt(M_PERTURB, 0);
    assert_int_equal(case_run(f, queue_op(BROKER_FLUSH, "h")).err, ERR_QUEUE_NOT_EXIST);
}

static void a_staged_op_that_is_taken_back_leaves_nothing(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options = options_of(BROKER_MEMORY);
    struct journal_block block;
    struct broker_receive receive;
    struct broker_snapshot_message message = {.queue = SLICE("m"),
                                              .id = SLICE("restored"),
                                              .payload = SLICE("p"),
                                              .published_ms = f->now_ms};
    options.dedup_window_ms = 1000;
    options.max_length = 2;
    assert_int_equal(case_make_queue(f, "m", options), OK);
    assert_int_equal(case_publish(f, "m", "held"), OK);
    assert_int_equal(case_receive(f, "m", 1, &receive), OK);
    buf_init(&block.bytes, 1 << 20);
    journal_block_begin(datadir_journal(f->datadir), &block);
    struct broker_op ops[] = {publish_op("default", "m", "never"),
                              {.action = BROKER_RESTORE, .restore = &message},
                              queue_op(BROKER_ACK, "m"),
                              queue_op(BROKER_FLUSH, "m")};
    ops[0].id = SLICE("never");
    ops[2].receipt = receipt_of(&receive.deliveries[0]);
    assert_int_equal(broker_stage_op(f->broker, &ops[3], f->now_ms, &block), ERR_SYNTAX);
    broker_stage_undo(f->broker, &ops[3]); /* nothing was staged */
    broker_stage_finish(f->broker, &ops[3]);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 3; i++) {
            assert_true(broker_stage_size(f->broker, &ops[i]) > 0);
            assert_int_equal(broker_stage_op(f->broker, &ops[i], f->now_ms, &block), OK);
            if (round == 0)
                broker_stage_undo(f->broker, &ops[i]);
            else
                broker_stage_finish(f->broker, &ops[i]);
            assert_null(ops[i].stage);
            struct broker_queue_stats stats = case_stats(f, "m");
            assert_int_equal(stats.published, round == 0 ? 1 : i < 2 ? i + 2 : 3);
            assert_int_equal(stats.acked, round == 1 && i == 2);
        }
    buf_done(&block.bytes);
    broker_receive_free(&receive);
    assert_string_equal(case_drain(f, "m", 10), "never p ");
}

static void without_a_data_directory_nothing_is_staged(void **state) {
    struct fixture *f = *state;
    struct broker_op op = publish_op("default", "m", "1");
    assert_int_equal(broker_stage_op(f->broker, &op, f->now_ms, NULL), ERR_UNAVAILABLE);
}

/* ---- who waits ---- */

static void a_consumer_of_a_deleted_queue_is_told_and_may_close(void **state) {
    struct fixture *f = *state;
    struct answer answer = {f, false};
    struct broker_consumer consumers[5];
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_MEMORY)), OK);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(broker_consumer_open(f->broker, SLICE("q"), 1, &consumers[i]), OK);
    assert_int_equal(case_publish(f, "q", "m"), OK);
    struct broker_receive receive = {
        .consumer = &consumers[0], .max = 9, .wait_ms = -1, .now_ms = f->now_ms};
    assert_int_equal(broker_receive(f->broker, &receive), OK);
    struct broker_delivery held = receive.deliveries[0];
    broker_receive_free(&receive);
    receive = (struct broker_receive){.consumer = &consumers[0],
                                      .max = 9,
                                      .wait_ms = 5000,
                                      .now_ms = f->now_ms,
                                      .done = case_receive_came,
                                      .context = &answer};
    assert_int_equal(broker_receive(f->broker, &receive), ERR_PENDING); /* it has all it may */
    assert_int_equal(case_publish(f, "q", "m"), OK);
    assert_false(case_has_come(&answer));
    assert_int_equal(case_run(f, queue_op(BROKER_DELETE_QUEUE, "q")).err, OK);
    case_await(&answer);
    assert_int_equal(receive.err, ERR_QUEUE_NOT_EXIST);
    broker_receive_stop(f->broker, &receive); /* it is over already */
    broker_receive_free(&receive);
    broker_receive_stop(f->broker, &receive);
    assert_int_equal(case_settle(f, BROKER_ACK, "q", &held).err, ERR_QUEUE_NOT_EXIST);
    for (unsigned i = 0; i < 5; i++)
        broker_consumer_close(f->broker, &consumers[i]);
}

static void what_is_given_back_of_a_deleted_queue_is_gone(void **state) {
    struct fixture *f = *state;
    struct broker_receive receive, empty = {.count = 0};
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_MEMORY)), OK);
    assert_int_equal(case_publish(f, "q", "m"), OK);
    assert_int_equal(case_receive(f, "q", 1, &receive), OK);
    assert_int_equal(case_run(f, queue_op(BROKER_DELETE_QUEUE, "q")).err, OK);
    broker_give_back(f->broker, &receive);
    broker_give_back(f->broker, &empty);
    broker_receive_free(&receive);
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_MEMORY)), OK);
    assert_int_equal(case_stats(f, "q").ready, 0);
}

static void what_is_given_back_after_its_lease_is_not_counted_twice(void **state) {
    struct fixture *f = *state;
    struct broker_receive receive;
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_MEMORY)), OK);
    assert_int_equal(case_publish(f, "q", "m"), OK);
    assert_int_equal(case_receive(f, "q", 1, &receive), OK);
    case_advance(f, BROKER_LEASE_DEFAULT_MS);
    broker_give_back(f->broker, &receive);
    broker_receive_free(&receive);
    assert_int_equal(case_stats(f, "q").ready, 1);
    assert_int_equal(case_receive(f, "q", 1, &receive), OK);
    assert_int_equal(receive.deliveries[0].attempt, 2);
    broker_give_back(f->broker, &receive); /* in time: it counts as not delivered */
    broker_receive_free(&receive);
    assert_int_equal(case_stats(f, "q").delivered, 1);
    assert_int_equal(case_stats(f, "q").redelivered, 0);
}

int main(void) {
#define IN_MEMORY(test) cmocka_unit_test_setup_teardown(test, set_up_memory, tear_down)
#define ON_DISK(test) cmocka_unit_test_setup_teardown(test, set_up_disk, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_of_a_remote_broker_goes_there),
        ON_DISK(what_needs_the_disk_is_not_done_at_once_and_nothing_of_it),
        ON_DISK(a_write_goes_on_behind_the_first_op_that_needs_the_disk),
        IN_MEMORY(what_is_not_there_is_told_by_name),
        IN_MEMORY(receipts_that_are_none_are_refused),
        IN_MEMORY(a_queue_that_is_there_is_the_same_only_with_the_same_options),
        IN_MEMORY(there_are_no_more_queues_and_routers_than_may_be),
        IN_MEMORY(a_binding_without_a_pattern_takes_what_fits_its_router),
        ON_DISK(a_binding_without_a_pattern_takes_what_fits_its_router),
        IN_MEMORY(what_expired_is_not_handed_out_though_the_clock_has_not_come_by),
        IN_MEMORY(who_waits_for_a_queue_whose_messages_all_expired_waits_on),
        cmocka_unit_test(memory_that_is_used_up_refuses_publishes_until_some_is_free),
        IN_MEMORY(an_answer_that_is_too_large_is_told),
        IN_MEMORY(lists_and_pages_are_in_order_and_whole),
        IN_MEMORY(a_receive_holds_no_more_bytes_than_it_asks_for),
        ON_DISK(a_flush_of_a_queue_that_is_deleted_behind_it_lets_go_of_what_it_made_ready),
        ON_DISK(a_staged_op_that_is_taken_back_leaves_nothing),
        IN_MEMORY(without_a_data_directory_nothing_is_staged),
        IN_MEMORY(a_consumer_of_a_deleted_queue_is_told_and_may_close),
        IN_MEMORY(what_is_given_back_of_a_deleted_queue_is_gone),
        IN_MEMORY(what_is_given_back_after_its_lease_is_not_counted_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
