/* SPDX-License-Identifier: MIT */
/* What a transaction decides about messages, with the database's answers put into its hands. */
#include "engine/messages_inside.h"
#include "engine/txn_inside.h"
#include "fake_engine.h"

#define NOW 1000000

static struct txn txn;
static struct broker_op ops[8];

static int begin(void **state) {
    if (begin_fake(state))
        return -1;
    txn = (struct txn){.engine = &fake, .now_ms = NOW, .now_us = NOW * 1000LL};
    arena_init(&txn.arena, 1 << 20);
    request_init(&txn.request);
    txn.messages = txn_messages_new(&txn);
    memset(ops, 0, sizeof ops);
    return 0;
}

static int end(void **state) {
    request_done(&txn.request);
    arena_done(&txn.arena);
    return end_fake(state);
}

static struct broker_op *publish(unsigned i, const char *queue) {
    ops[i] = (struct broker_op){.action = BROKER_PUBLISH,
                                .router = SLICE("default"),
                                .routing_key = slice_of_cstr(queue),
                                .payload = SLICE("x")};
    return &ops[i];
}

static char receipts[8][BROKER_RECEIPT_BYTES];

static struct broker_op *settle_op(unsigned i, enum broker_action action, int64_t seq) {
    struct receipt receipt = {.place = 9, .seq = seq, .lease = 77};
    receipt_format(&receipt, receipts[i]);
    ops[i] = (struct broker_op){
        .action = action, .queue = SLICE("jobs"), .receipt = slice_of_cstr(receipts[i])};
    return &ops[i];
}

static void plan(unsigned count) {
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(txn_messages_plan(&txn, &ops[i]), OK);
}

/* Sends what is to be loaded; answers are put in by give. */
static void load(void) {
    assert_true(txn_messages_need_load(&txn));
    txn_messages_load_steps(&txn, &txn.request);
}

static void give(enum sql_number number, int columns, int rows, const int64_t *numbers) {
    for (unsigned i = 0; i < txn.request.step_count; i++)
        if (txn.request.steps[i].number == number) {
            txn.request.steps[i].result = make_result(columns, rows, numbers);
            return;
        }
    fail_msg("no such step was sent");
}

static void loaded(void) {
    assert_int_equal(txn_messages_loaded(&txn, &txn.request), OK);
}

static struct request *write_all(void) {
    static struct request written;
    request_init(&written);
    txn_messages_write_steps(&txn, &written);
    return &written;
}

static unsigned steps_of(const struct request *request, enum sql_number number) {
    unsigned count = 0;
    for (unsigned i = 0; i < request->step_count; i++)
        count += request->steps[i].number == number;
    return count;
}

static unsigned live_copies(void) {
    unsigned count = 0;
    for (const struct copy *copy = txn.messages->copies; copy; copy = copy->next)
        count += !copy->gone;
    return count;
}

static void a_publish_to_several_queues_sends_its_payload_once(void **state) {
    (void)state;
    struct queue_row first = queue_row("a", 2), second = queue_row("b", 3);
    second.options.storage = BROKER_MEMORY;
    add_queue(&first);
    add_queue(&second);
    add_router("all", 4, ROUTER_FANOUT);
    bind_rows(4, 2, "", false);
    bind_rows(4, 3, "", false);
    publish(0, "")->router = SLICE("all");
    plan(1);
    assert_false(txn_messages_need_load(&txn));
    assert_false(txn_messages_is_memory(&fake, &ops[0]));
    txn.is_blind = true;
    assert_int_equal(txn_messages_apply(&txn, &ops[0]), OK);
    assert_int_equal(ops[0].queues, 2);
    assert_int_equal(ops[0].id_len, 24);
    struct request *request = write_all();
    assert_int_equal(steps_of(request, SQL_MESSAGES_ADD), 2);
    assert_int_equal(request->step_count, 2);
    request_done(request);
}

static void a_router_nobody_knows_is_pulled_for_and_then_refused(void **state) {
    (void)state;
    publish(0, "x")->router = SLICE("nosuch");
    assert_int_equal(txn_messages_plan(&txn, &ops[0]), ERR_WOULD_WAIT);
    assert_int_equal(txn_messages_apply(&txn, &ops[0]), ERR_ROUTER_NOT_EXIST);
    settle_op(1, BROKER_ACK, 1);
    assert_int_equal(txn_messages_plan(&txn, &ops[1]), ERR_WOULD_WAIT);
    assert_int_equal(txn_messages_apply(&txn, &ops[1]), ERR_QUEUE_NOT_EXIST);
}

static void what_reaches_nobody_is_still_guarded_by_the_version(void **state) {
    (void)state;
    publish(0, "nosuch");
    plan(1);
    txn.is_blind = true;
    assert_int_equal(txn_messages_apply(&txn, &ops[0]), OK);
    assert_int_equal(ops[0].queues, 0);
    struct request *request = write_all();
    assert_int_equal(steps_of(request, SQL_VERSION_GUARD), 1);
    request_done(request);
}

static void a_full_queue_refuses_those_that_do_not_fit(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    row.options.max_length = 5;
    add_queue(&row);
    for (unsigned i = 0; i < 3; i++)
        publish(i, "jobs");
    plan(3);
    load();
    give(SQL_QUEUES_ROOM, 3, 1, (const int64_t[]){2, 3, 1});
    loaded();
    assert_int_equal(txn_messages_apply(&txn, &ops[0]), OK);
    assert_int_equal(txn_messages_apply(&txn, &ops[1]), OK);
    assert_int_equal(txn_messages_apply(&txn, &ops[2]), ERR_QUEUE_FULL);
    assert_int_equal(live_copies(), 2);
}

static void all_queues_take_it_or_none(void **state) {
    (void)state;
    struct queue_row open = queue_row("open", 2), full = queue_row("full", 3);
    full.options.max_length = 1;
    add_queue(&open);
    add_queue(&full);
    add_router("all", 4, ROUTER_FANOUT);
    bind_rows(4, 2, "", false);
    bind_rows(4, 3, "", false);
    publish(0, "")->router = SLICE("all");
    plan(1);
    load();
    give(SQL_QUEUES_ROOM, 3, 1, (const int64_t[]){3, 1, 0});
    loaded();
    assert_int_equal(txn_messages_apply(&txn, &ops[0]), ERR_QUEUE_FULL);
    assert_int_equal(live_copies(), 0);
}

static void the_oldest_of_the_lowest_priority_makes_room(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    row.options.max_length = 2;
    row.options.overflow = OVERFLOW_DROP_HEAD;
    add_queue(&row);
    publish(0, "jobs")->priority = 0;
    publish(1, "jobs")->priority = 3;
    publish(2, "jobs")->priority = 9;
    plan(3);
    load();
    give(SQL_QUEUES_ROOM, 3, 1, (const int64_t[]){2, 2, 0});
    give(SQL_MESSAGES_HEAD, 3, 2, (const int64_t[]){2, 8, 11, 2, 4, 10});
    loaded();
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(txn_messages_apply(&txn, &ops[i]), OK);
    /* 8 goes for the first; the first (9) for the second; the database's (4) stays: 6 goes */
    assert_int_equal(txn.messages->limits->heads_gone, 1);
    assert_int_equal(txn.messages->limits->dropped, 3);
    assert_int_equal(txn.messages->limits->total, 2);
    assert_int_equal(live_copies(), 1);
    struct request *request = write_all();
    assert_int_equal(steps_of(request, SQL_MESSAGES_DELETE), 1);
    request_done(request);
}

static void nothing_makes_room_where_all_are_delayed(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    row.options.max_length = 2;
    row.options.overflow = OVERFLOW_DROP_HEAD;
    add_queue(&row);
    publish(0, "jobs");
    plan(1);
    load();
    give(SQL_QUEUES_ROOM, 3, 1, (const int64_t[]){2, 2, 2});
    loaded();
    assert_int_equal(txn_messages_apply(&txn, &ops[0]), ERR_QUEUE_FULL);
}

static void an_id_within_its_window_is_queued_once(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    row.options.dedup_window_ms = 1000;
    add_queue(&row);
    static const char *const ids[] = {"fresh", "fresh", "seen", "over"};
    for (unsigned i = 0; i < 4; i++)
        publish(i, "jobs")->id = slice_of_cstr(ids[i]);
    plan(4);
    load();
    give(SQL_DEDUP_READ, 2, 2, (const int64_t[]){2, NOW + 1, 3, NOW});
    loaded();
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(txn_messages_apply(&txn, &ops[i]), OK);
        assert_int_equal(ops[i].queues, 1);
    }
    assert_int_equal(live_copies(), 2);
    struct request *request = write_all();
    assert_int_equal(steps_of(request, SQL_DEDUP_ADD), 1);
    assert_int_equal(steps_of(request, SQL_DEDUP_DROP), 1);
    request_done(request);
}

static void acknowledgements_alone_are_not_loaded(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    struct tqueue *queue = add_queue(&row);
    settle_op(0, BROKER_ACK, 5);
    settle_op(1, BROKER_ACK, 6);
    settle_op(2, BROKER_ACK, 7)->receipt = SLICE("no receipt");
    plan(3);
    assert_false(txn_messages_need_load(&txn));
    txn.is_blind = true;
    for (unsigned i = 0; i < 3; i++)
        assert_int_not_equal(txn_messages_apply(&txn, &ops[i]), OK);
    struct request *request = write_all();
    assert_int_equal(steps_of(request, SQL_MESSAGES_ACK), 1);
    request->steps[0].result = make_result(1, 1, (const int64_t[]){2});
    settle_committed(&txn, request);
    assert_int_equal(ops[0].err, ERR_RECEIPT_INVALID);
    assert_int_equal(ops[1].err, OK);
    assert_int_equal(ops[2].err, ERR_RECEIPT_INVALID);
    request_done(request);
    assert_int_equal(queue->refs, 1);
}

static void a_receipt_is_good_once_and_under_its_lease(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    add_queue(&row);
    settle_op(0, BROKER_EXTEND, 5)->lease_ms = 500;
    settle_op(1, BROKER_ACK, 5);
    settle_op(2, BROKER_ACK, 5);
    settle_op(3, BROKER_NACK, 6);
    settle_op(4, BROKER_ACK, 7);
    plan(5);
    load();
    give(SQL_MESSAGES_LOCK, 4, 2, (const int64_t[]){1, NOW + 1, 1, 0, 3, NOW, 1, 0});
    loaded();
    static const enum err wanted[] = {OK, OK, ERR_RECEIPT_INVALID, ERR_RECEIPT_INVALID,
                                      ERR_RECEIPT_INVALID};
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(txn_messages_apply(&txn, &ops[i]), wanted[i]);
    struct request *request = write_all();
    assert_int_equal(request->step_count, 1);
    assert_int_equal(steps_of(request, SQL_MESSAGES_DELETE), 1);
    request_done(request);
}

static void a_nack_moves_drops_delays_or_makes_ready(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2), dead = queue_row("dead", 3);
    row.options.max_deliver = 3;
    row.options.dead_letter = SLICE("dead");
    dead.options.storage = BROKER_MEMORY;
    add_queue(&row);
    add_queue(&dead);
    settle_op(0, BROKER_NACK, 5);
    settle_op(1, BROKER_NACK, 6)->delay_ms = 100;
    settle_op(2, BROKER_NACK, 7);
    plan(3);
    load();
    give(SQL_MESSAGES_LOCK, 4, 3,
         (const int64_t[]){1, NOW + 1, 2, 0, 2, NOW + 1, 2, 0, 3, NOW + 1, 3, 0});
    loaded();
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(txn_messages_apply(&txn, &ops[i]), OK);
    const struct row *at = txn.messages->rows;
    assert_int_equal(at->change, ROW_UPDATED);
    assert_int_equal(at->after, 0);
    assert_int_equal(at->all->change, ROW_UPDATED);
    assert_int_equal(at->all->after, 100);
    assert_int_equal(at->all->all->change, ROW_MOVED);
    assert_int_equal(at->all->all->reason, REASON_MAX_DELIVER);
    struct request *request = write_all();
    assert_int_equal(steps_of(request, SQL_MESSAGES_UPDATE), 1);
    assert_int_equal(steps_of(request, SQL_MESSAGES_TO_MEMORY), 1);
    assert_int_equal(request->step_count, 2);
    request_done(request);
}

static void a_flush_takes_what_came_before_it_alone(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    add_queue(&row);
    publish(0, "jobs");
    ops[1] = (struct broker_op){.action = BROKER_FLUSH, .queue = SLICE("jobs")};
    publish(2, "jobs");
    plan(3);
    assert_false(txn_messages_need_load(&txn));
    txn.is_blind = true;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(txn_messages_apply(&txn, &ops[i]), OK);
    assert_int_equal(live_copies(), 1);
    struct request *request = write_all();
    assert_int_equal(request->steps[0].number, SQL_MESSAGES_FLUSH);
    request->steps[0].result = make_result(2, 1, (const int64_t[]){2, 40});
    settle_committed(&txn, request);
    assert_int_equal(ops[1].count, 41);
    request_done(request);
}

static void a_batch_that_fails_leaves_nothing(void **state) {
    (void)state;
    struct queue_row row = queue_row("jobs", 2);
    row.options.max_length = 1;
    row.options.dedup_window_ms = 1000;
    add_queue(&row);
    publish(2, "jobs")->id = SLICE("one");
    struct engine_item first = {.message = *publish(0, "jobs")}, second = {0};
    first.message.id = SLICE("one");
    second.message = *settle_op(1, BROKER_ACK, 5);
    struct engine_item *items[] = {&first, &second};
    struct engine_batch batch = {.items = items, .count = 2};
    struct work work = {.kind = WORK_BATCH, .batch = &batch};
    assert_int_equal(work_plan(&txn, &work), OK);
    assert_int_equal(txn_messages_plan(&txn, &ops[2]), OK);
    load();
    loaded();
    assert_int_equal(work_apply(&txn, &work), OK);
    assert_int_equal(batch.err, ERR_RECEIPT_INVALID);
    assert_int_equal(batch.failed_index, 1);
    assert_int_equal(live_copies(), 0);
    struct request *request = write_all();
    assert_int_equal(request->step_count, 0);
    assert_int_equal(txn_messages_apply(&txn, &ops[2]), OK); /* its place and its id are free */
    assert_int_equal(live_copies(), 1);
    request_done(request);
}

static void fresh_places_come_behind_all_before(void **state) {
    (void)state;
    int64_t first = txn_fresh_seq(&txn, 3);
    assert_true(first >= txn.now_us * 1024);
    assert_true(txn_fresh_seq(&txn, 1) > first + 2);
    fake.last_seq = INT64_C(1) << 60;
    assert_int_equal(txn_fresh_seq(&txn, 1), (INT64_C(1) << 60) + 1);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_publish_to_several_queues_sends_its_payload_once),
        CASE(a_router_nobody_knows_is_pulled_for_and_then_refused),
        CASE(what_reaches_nobody_is_still_guarded_by_the_version),
        CASE(a_full_queue_refuses_those_that_do_not_fit),
        CASE(all_queues_take_it_or_none),
        CASE(the_oldest_of_the_lowest_priority_makes_room),
        CASE(nothing_makes_room_where_all_are_delayed),
        CASE(an_id_within_its_window_is_queued_once),
        CASE(acknowledgements_alone_are_not_loaded),
        CASE(a_receipt_is_good_once_and_under_its_lease),
        CASE(a_nack_moves_drops_delays_or_makes_ready),
        CASE(a_flush_takes_what_came_before_it_alone),
        CASE(a_batch_that_fails_leaves_nothing),
        CASE(fresh_places_come_behind_all_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
