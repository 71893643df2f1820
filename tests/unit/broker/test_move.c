/* SPDX-License-Identifier: MIT */
/* Dead letters on their way: chains, loops, the way home, and what is not to move. */
#include "broker_case.h"

#define STAYING 700 /* of the redriven queue: more than a step takes */

static struct broker_queue_options dying(enum broker_storage storage, const char *dead_letter) {
    struct broker_queue_options options = options_of(storage);
    options.max_deliver = 1;
    options.lease_ms = 1000;
    options.dead_letter = slice_of_cstr(dead_letter);
    return options;
}

/* Takes it and lets the lease end. */
static void let_die(struct fixture *f, const char *queue) {
    struct broker_receive receive;
    assert_int_equal(case_receive(f, queue, 1000, &receive), OK);
    assert_true(receive.count > 0);
    broker_receive_free(&receive);
    case_advance(f, 1000);
}

/* ---- chains and loops ---- */

static void check_chain(struct fixture *f, enum broker_storage storage) {
    struct broker_receive receive;
    assert_int_equal(case_make_queue(f, "a", dying(storage, "b")), OK);
    assert_int_equal(case_make_queue(f, "b", dying(storage, "c")), OK);
    assert_int_equal(case_make_queue(f, "c", options_of(storage)), OK);
    assert_int_equal(case_publish(f, "a", "letter"), OK);
    let_die(f, "a");
    assert_int_equal(case_stats(f, "a").dead_lettered, 1);
    let_die(f, "b");
    assert_int_equal(case_stats(f, "b").dead_lettered, 1);
    assert_int_equal(case_receive(f, "c", 1, &receive), OK);
    assert_int_equal(receive.count, 1);
    const struct broker_delivery *got = &receive.deliveries[0];
    assert_true(slice_equal(got->from, SLICE("b")));
    assert_true(slice_equal(got->key, SLICE("a")));
    assert_int_equal(got->reason, REASON_MAX_DELIVER);
    assert_int_equal(got->dead_attempt, 1);
    assert_int_equal(got->attempt, 1);
    assert_string_equal(broker_reason_word(got->reason), "max-deliver");
    assert_string_equal(broker_reason_word(REASON_EXPIRED), "expired");
    assert_string_equal(broker_reason_word(REASON_NONE), "");
    broker_receive_free(&receive);
}

static void a_dead_letter_that_dies_again_goes_on_along_the_chain(void **state) {
    check_chain(*state, BROKER_MEMORY);
}

static void a_dead_letter_on_hdd_that_dies_again_goes_on_along_the_chain(void **state) {
    check_chain(*state, BROKER_HDD);
}

/* Where queues are each other's, a message goes round once per lease, and is in one of them. */
static void check_loop(struct fixture *f, enum broker_storage a, enum broker_storage b) {
    assert_int_equal(case_make_queue(f, "a", dying(a, "b")), OK);
    assert_int_equal(case_make_queue(f, "b", dying(b, "a")), OK);
    assert_int_equal(case_publish(f, "a", "letter"), OK);
    for (unsigned round = 1; round <= 5; round++) {
        let_die(f, "a");
        assert_int_equal(case_stats(f, "a").ready, 0);
        let_die(f, "b");
        assert_int_equal(case_stats(f, "a").ready, 1);
        assert_int_equal(case_stats(f, "b").ready, 0);
        assert_int_equal(case_stats(f, "b").dead_lettered, round);
    }
    assert_string_equal(case_drain(f, "a", 10), "letter ");
}

static void a_loop_of_dead_letters_keeps_one_message_one(void **state) {
    check_loop(*state, BROKER_MEMORY, BROKER_MEMORY);
}

static void a_loop_of_dead_letters_between_hdd_and_memory_keeps_one_message_one(void **state) {
    check_loop(*state, BROKER_HDD, BROKER_MEMORY);
}

static void a_queue_may_be_its_own_dead_letter_queue(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options = dying(BROKER_MEMORY, "a");
    options.ttl_ms = 5000;
    assert_int_equal(case_make_queue(f, "a", options), OK);
    assert_int_equal(case_publish(f, "a", "letter"), OK);
    let_die(f, "a");
    assert_int_equal(case_stats(f, "a").ready, 1);
    for (unsigned i = 0; i < 3; i++)
        case_advance(f, 5000); /* and expires into itself, once each time */
    assert_int_equal(case_stats(f, "a").expired, 3);
    assert_string_equal(case_drain(f, "a", 10), "letter ");
}

static void what_dies_without_a_dead_letter_queue_is_dropped_and_counted(void **state) {
    struct fixture *f = *state;
    assert_int_equal(case_make_queue(f, "a", dying(BROKER_MEMORY, "gone")), OK);
    assert_int_equal(case_publish(f, "a", "letter"), OK);
    let_die(f, "a");
    struct broker_queue_stats stats = case_stats(f, "a");
    assert_int_equal(stats.dropped, 1);
    assert_int_equal(stats.dead_lettered, 0);
    assert_int_equal(stats.ready + stats.leased + stats.delayed, 0);
}

/* A dead-letter queue takes what comes, full or not: nothing is lost to its limit. */
static void a_full_dead_letter_queue_takes_dead_letters(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options full = options_of(BROKER_MEMORY);
    full.max_length = 1;
    assert_int_equal(case_make_queue(f, "dead", full), OK);
    assert_int_equal(case_make_queue(f, "a", dying(BROKER_MEMORY, "dead")), OK);
    assert_int_equal(case_publish(f, "dead", "first"), OK);
    assert_int_equal(case_publish(f, "a", "letter"), OK);
    let_die(f, "a");
    assert_int_equal(case_publish(f, "dead", "refused"), ERR_QUEUE_FULL);
    assert_string_equal(case_drain(f, "dead", 10), "first letter ");
}

/* ---- the way home ---- */

static void die_many(struct fixture *f, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(case_publish(f, "a", "home"), OK);
    let_die(f, "a");
}

/* The queue has others in front, in between and behind. */
static void check_redrive(struct fixture *f, enum broker_storage storage) {
    assert_int_equal(case_make_queue(f, "a", dying(storage, "dead")), OK);
    assert_int_equal(case_make_queue(f, "dead", options_of(storage)), OK);
    for (unsigned i = 0; i < STAYING; i++)
        assert_int_equal(case_publish(f, "dead", "stays"), OK);
    die_many(f, 600);
    assert_int_equal(case_publish(f, "dead", "stays"), OK);
    die_many(f, 50);
    assert_int_equal(case_stats(f, "dead").ready, STAYING + 651);
    struct broker_op redrive = case_run(f, queue_op(BROKER_REDRIVE, "dead"));
    assert_int_equal(redrive.err, OK);
    assert_int_equal(redrive.count, 650);
    assert_int_equal(case_stats(f, "a").ready, 650);
    struct broker_queue_stats stats = case_stats(f, "dead");
    assert_int_equal(stats.ready, STAYING + 1);
    assert_int_equal(stats.delayed, 0);
    case_drain(f, "dead", 1000);
    assert_int_equal(case_stats(f, "dead").acked, STAYING + 1);
}

static void a_redrive_brings_all_home_whatever_stands_before_them(void **state) {
    check_redrive(*state, BROKER_MEMORY);
}

static void a_redrive_on_hdd_brings_all_home_whatever_stands_before_them(void **state) {
    check_redrive(*state, BROKER_HDD);
}

static void a_redrive_leaves_what_came_from_a_queue_that_is_gone(void **state) {
    struct fixture *f = *state;
    assert_int_equal(case_make_queue(f, "a", dying(BROKER_MEMORY, "dead")), OK);
    assert_int_equal(case_make_queue(f, "dead", options_of(BROKER_MEMORY)), OK);
    die_many(f, 3);
    assert_int_equal(case_run(f, queue_op(BROKER_DELETE_QUEUE, "a")).err, OK);
    assert_int_equal(case_run(f, queue_op(BROKER_REDRIVE, "dead")).count, 0);
    assert_string_equal(case_drain(f, "dead", 10), "home home home ");
    assert_int_equal(case_run(f, queue_op(BROKER_REDRIVE, "nosuch")).err, ERR_QUEUE_NOT_EXIST);
}

static void a_redrive_is_never_done_at_once(void **state) {
    struct fixture *f = *state;
    assert_int_equal(case_make_queue(f, "dead", options_of(BROKER_MEMORY)), OK);
    struct broker_op op = queue_op(BROKER_REDRIVE, "dead");
    struct broker_write write = {.ops = &op, .op_count = 1, .at_once = true, .now_ms = f->now_ms};
    assert_int_equal(broker_submit(f->broker, &write), ERR_WOULD_WAIT);
}

static void who_waits_gets_what_a_redrive_left(void **state) {
    struct fixture *f = *state;
    assert_int_equal(case_make_queue(f, "dead", options_of(BROKER_MEMORY)), OK);
    assert_int_equal(
        case_run(f,
                 (struct broker_op){.action = BROKER_PAUSE, .queue = SLICE("dead"), .pause = true})
            .err,
        OK);
    assert_int_equal(case_publish(f, "dead", "stays"), OK);
    assert_int_equal(case_run(f, queue_op(BROKER_REDRIVE, "dead")).count, 0);
    assert_int_equal(case_run(f, queue_op(BROKER_PAUSE, "dead")).err, OK);
    assert_string_equal(case_drain(f, "dead", 10), "stays ");
}

/* ---- limits ---- */

static void two_delayed_messages_of_one_write_do_not_overfill_a_queue(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options = options_of(BROKER_HDD);
    options.max_length = 1;
    options.overflow = OVERFLOW_DROP_HEAD;
    assert_int_equal(case_make_queue(f, "q", options), OK);
    struct broker_op ops[3] = {publish_op("default", "q", "first"),
                               publish_op("default", "q", "second"),
                               publish_op("default", "q", "third")};
    ops[0].delay_ms = ops[1].delay_ms = 1000;
    assert_int_equal(case_submit(f, ops, 3), ERR_QUEUE_FULL);
    assert_int_equal(ops[0].err, OK);
    assert_int_equal(ops[1].err, ERR_QUEUE_FULL); /* as one after another */
    assert_int_equal(ops[2].err, ERR_QUEUE_FULL);
    assert_int_equal(case_stats(f, "q").delayed, 1);
    case_advance(f, 1000);
    assert_int_equal(case_publish(f, "q", "fourth"), OK); /* now it can make room */
    assert_string_equal(case_drain(f, "q", 10), "fourth ");
}

static void a_publish_that_is_refused_is_not_counted_as_one_of_its_router(void **state) {
    struct fixture *f = *state;
    struct broker_queue_options options = options_of(BROKER_MEMORY);
    struct arena arena;
    struct broker_router_info info;
    options.max_length = 1;
    assert_int_equal(case_make_queue(f, "q", options), OK);
    assert_int_equal(case_make_router(f, "r", ROUTER_FANOUT), OK);
    assert_int_equal(case_run(f, binding_op(BROKER_BIND, "r", "q", NULL)).err, OK);
    assert_int_equal(case_run(f, publish_op("r", "", "taken")).err, OK);
    assert_int_equal(case_run(f, publish_op("r", "", "refused")).err, ERR_QUEUE_FULL);
    arena_init(&arena, 1 << 16);
    assert_int_equal(broker_get_router(f->broker, SLICE("r"), &arena, &info), OK);
    assert_int_equal(info.published, 1);
    assert_int_equal(info.unroutable, 0);
    arena_done(&arena);
}

int main(void) {
#define IN_MEMORY(test) cmocka_unit_test_setup_teardown(test, set_up_memory, tear_down)
#define ON_DISK(test) cmocka_unit_test_setup_teardown(test, set_up_disk, tear_down)
    const struct CMUnitTest tests[] = {
        IN_MEMORY(a_dead_letter_that_dies_again_goes_on_along_the_chain),
        ON_DISK(a_dead_letter_on_hdd_that_dies_again_goes_on_along_the_chain),
        IN_MEMORY(a_loop_of_dead_letters_keeps_one_message_one),
        ON_DISK(a_loop_of_dead_letters_between_hdd_and_memory_keeps_one_message_one),
        IN_MEMORY(a_queue_may_be_its_own_dead_letter_queue),
        IN_MEMORY(what_dies_without_a_dead_letter_queue_is_dropped_and_counted),
        IN_MEMORY(a_full_dead_letter_queue_takes_dead_letters),
        IN_MEMORY(a_redrive_brings_all_home_whatever_stands_before_them),
        ON_DISK(a_redrive_on_hdd_brings_all_home_whatever_stands_before_them),
        IN_MEMORY(a_redrive_leaves_what_came_from_a_queue_that_is_gone),
        IN_MEMORY(a_redrive_is_never_done_at_once),
        IN_MEMORY(who_waits_gets_what_a_redrive_left),
        ON_DISK(two_delayed_messages_of_one_write_do_not_overfill_a_queue),
        IN_MEMORY(a_publish_that_is_refused_is_not_counted_as_one_of_its_router),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
