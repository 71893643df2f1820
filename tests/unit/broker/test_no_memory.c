/* SPDX-License-Identifier: MIT */
/* wrap: malloc calloc realloc */
/* One or some allocations of a long day fail, for each of them: what was asked for is refused with
 * an error, and done when it is asked for again; at the end everything is where it is without. */
#include "day_case.h"
#include "scarce.h"

/* False behind the last allocation. */
static bool scarce_day(long n, long in_a_row) {
    struct fixture f;
    struct ledger l = {.f = &f, .storage = BROKER_MEMORY, .fillers = 70};
    case_init(&f, false);
    case_open(&f);
    scarce_begin(n, in_a_row);
    a_day(&l);
    bool met = scarce_end();
    end_of_day(&l);
    case_done(&f);
    return met;
}

static void any_allocation_may_fail_and_every_message_still_comes_once(void **state) {
    (void)state;
    long n = 1;
    while (scarce_day(n, 1))
        n += n < 800 ? 1 : 3;
    assert_true(n > 500); /* that many are tried */
}

static void some_allocations_in_a_row_may_fail_and_every_message_still_comes_once(void **state) {
    (void)state;
    for (long n = 1; scarce_day(n, 2 + n % (MOST_IN_A_ROW - 1)); n += 7) {
    }
}

static void a_broker_that_finds_no_memory_does_not_open(void **state) {
    (void)state;
    struct fixture f;
    case_init(&f, false);
    long n = 1;
    for (;; n++) {
        scarce_begin(n, 1);
        enum err err = case_try_open(&f);
        if (!scarce_end()) {
            assert_int_equal(err, OK);
            break;
        }
        assert_int_equal(err, ERR_OUT_OF_MEMORY);
        assert_string_not_equal(f.why, "");
    }
    assert_true(n > 4);
    case_done(&f);
}

/* A key that leads to many nodes and marks at once. */
static void a_key_of_many_patterns_reaches_all_or_is_refused(void **state) {
    struct fixture *f = *state;
    char key[BROKER_NAME_MAX] = "z";
    assert_int_equal(case_make_queue(f, "q", options_of(BROKER_MEMORY)), OK);
    assert_int_equal(case_make_router(f, "topic", ROUTER_TOPIC), OK);
    for (unsigned i = 0; i < 600; i++) {
        char pattern[40];
        snprintf(pattern, sizeof pattern, "#.w%u.#.z", i);
        assert_int_equal(case_run(f, binding_op(BROKER_BIND, "topic", "q", pattern)).err, OK);
    }
    for (unsigned i = 0; i < 40; i++)
        snprintf(key + strlen(key), sizeof key - strlen(key), ".w%u", i);
    snprintf(key + strlen(key), sizeof key - strlen(key), ".z");
    unsigned refused = 0, taken = 0;
    bool met = true;
    for (long n = 1; met; n++) {
        scarce_begin(n, 1);
        struct broker_op op = case_run(f, publish_op("topic", key, "m"));
        met = scarce_end();
        if (op.err)
            assert_int_equal(op.err, ERR_OUT_OF_MEMORY);
        refused += op.err != OK;
        taken += op.err == OK; /* its place may wait for memory */
    }
    assert_true(refused > 3);
    case_advance(f, 1000);
    assert_int_equal(case_stats(f, "q").ready, taken);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broker_that_finds_no_memory_does_not_open),
        cmocka_unit_test(any_allocation_may_fail_and_every_message_still_comes_once),
        cmocka_unit_test(some_allocations_in_a_row_may_fail_and_every_message_still_comes_once),
        cmocka_unit_test_setup_teardown(a_key_of_many_patterns_reaches_all_or_is_refused,
                                        set_up_memory, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
