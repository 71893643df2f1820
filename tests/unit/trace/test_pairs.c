/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trace/pairs.h"

static void test_a_list_has_values_that_are_decoded(void **state) {
    struct trace_pairs pairs = {0};
    (void)state;
    assert_null(trace_pairs_add_list(&pairs, "a=1, b = x%20%3D%2cy ,,c=,d=e=f"));
    assert_int_equal(pairs.count, 4);
    assert_string_equal(pairs.list[1].name, "b");
    assert_string_equal(pairs.list[1].value, "x =,y");
    assert_string_equal(pairs.list[2].value, "");
    assert_string_equal(pairs.list[3].value, "e=f");
    trace_pairs_done(&pairs);
    assert_int_equal(pairs.count, 0);
}

static void test_a_list_that_is_none_is_refused(void **state) {
    static const char *const bad[] = {"a", "=1", "a=%", "a=%4", "a=%zz", "a=%00"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct trace_pairs pairs = {0};
        assert_non_null(trace_pairs_add_list(&pairs, bad[i]));
        trace_pairs_done(&pairs);
    }
}

static void test_lines_may_have_comments(void **state) {
    struct trace_pairs pairs = {0};
    (void)state;
    assert_null(
        trace_pairs_add_lines(&pairs, "# one\r\nAuthorization: Bearer a:b%20\r\n\n X-Y:\t"));
    assert_int_equal(pairs.count, 2);
    assert_string_equal(pairs.list[0].value, "Bearer a:b%20");
    assert_string_equal(pairs.list[1].name, "X-Y");
    assert_null(trace_pairs_check_headers(&pairs));
    assert_non_null(trace_pairs_add_lines(&pairs, "no colon"));
    trace_pairs_done(&pairs);
}

static void test_what_would_end_a_header_is_none(void **state) {
    static const char *const bad[] = {"a b=1", "a=x%0d%0aEvil: y", "a:=1", "a=%7f"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct trace_pairs pairs = {0};
        assert_null(trace_pairs_add_list(&pairs, bad[i]));
        assert_non_null(trace_pairs_check_headers(&pairs));
        trace_pairs_done(&pairs);
    }
}

static void test_there_are_not_too_many(void **state) {
    struct trace_pairs pairs = {0};
    (void)state;
    for (unsigned i = 0; i < TRACE_PAIRS_MAX; i++)
        assert_null(trace_pairs_add_list(&pairs, "a=1"));
    assert_non_null(trace_pairs_add_list(&pairs, "a=1"));
    trace_pairs_done(&pairs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_has_values_that_are_decoded),
        cmocka_unit_test(test_a_list_that_is_none_is_refused),
        cmocka_unit_test(test_lines_may_have_comments),
        cmocka_unit_test(test_what_would_end_a_header_is_none),
        cmocka_unit_test(test_there_are_not_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
