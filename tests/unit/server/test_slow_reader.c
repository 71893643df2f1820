/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/config_value.h"
#include "server/slow_reader.h"

static const struct slow_reader_rule rule = {.min_rate = 1000, .window_ms = 10000};

static void test_who_takes_nothing_for_a_window_is_slow(void **state) {
    (void)state;
    struct slow_reader reader = {0};
    assert_false(slow_reader_judge(&reader, &rule, 500, 100, 1000));
    assert_false(slow_reader_judge(&reader, &rule, 500, 100, 10999));
    assert_true(slow_reader_judge(&reader, &rule, 500, 100, 11000));
}

static void test_who_keeps_the_rate_is_not_slow_however_long_it_takes(void **state) {
    (void)state;
    struct slow_reader reader = {0};
    for (int64_t now_ms = 1000; now_ms < 1000000; now_ms += 1000)
        assert_false(slow_reader_judge(&reader, &rule, 500, (uint64_t)now_ms, now_ms));
}

static void test_a_little_now_and_then_is_slow(void **state) {
    (void)state;
    struct slow_reader reader = {0};
    int64_t now_ms = 1000;
    while (!slow_reader_judge(&reader, &rule, 500, (uint64_t)now_ms / 2, now_ms))
        now_ms += 1000;
    assert_int_equal(now_ms, 11000);
}

static void test_who_took_all_begins_anew(void **state) {
    (void)state;
    struct slow_reader reader = {0};
    for (int64_t now_ms = 1000; now_ms < 100000; now_ms += 1000)
        assert_false(slow_reader_judge(&reader, &rule, now_ms % 9000 ? 500 : 0, 0, now_ms));
    slow_reader_forget(&reader);
    assert_false(slow_reader_judge(&reader, &rule, 500, 0, 200000));
}

static void test_a_socket_that_is_none_is_never_slow(void **state) {
    (void)state;
    struct slow_reader reader = {0};
    assert_false(slow_reader_check(&reader, &rule, -1, 1000));
    assert_false(slow_reader_check(&reader, &rule, 0, 100000));
}

static void test_a_rate_has_a_unit(void **state) {
    (void)state;
    struct config_rate rate = {0};
    assert_null(config_value_rate("100", &rate));
    assert_int_equal(rate.per, 100);
    assert_int_equal(rate.unit_ms, 1000);
    assert_null(config_value_rate("5/m", &rate));
    assert_int_equal(rate.unit_ms, 60000);
    assert_null(config_value_rate("0/H", &rate));
    assert_int_equal(rate.per, 0);
    assert_null(config_value_rate("1000000000/s", &rate));
    static const char *const wrong[] = {
        "", "/s", "x", "-1", "5/d", "5 /s", "5/s/s", "1000000001", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_non_null(config_value_rate(wrong[i], &rate));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_takes_nothing_for_a_window_is_slow),
        cmocka_unit_test(test_who_keeps_the_rate_is_not_slow_however_long_it_takes),
        cmocka_unit_test(test_a_little_now_and_then_is_slow),
        cmocka_unit_test(test_who_took_all_begins_anew),
        cmocka_unit_test(test_a_socket_that_is_none_is_never_slow),
        cmocka_unit_test(test_a_rate_has_a_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
