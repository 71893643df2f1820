/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "handlers/headers.h"

static void finds(const char *json, const char *name, const char *wanted) {
    struct slice text;
    bool found = headers_find(slice_of_cstr(json), slice_of_cstr(name), &text);
    assert_int_equal(found, wanted != NULL);
    if (wanted)
        assert_true(slice_equal(text, slice_of_cstr(wanted)));
}

static void test_a_member_is_found_by_its_name(void **state) {
    (void)state;
    finds("{\"a\":1,\"traceparent\":\"x-y\",\"b\":[2]}", "traceparent", "x-y");
    finds("{\"TraceParent\":\"x\"}", "traceparent", "x");
    finds("{\"traceparent\":\"\"}", "traceparent", "");
    finds("{\"traceparents\":\"x\"}", "traceparent", NULL);
    finds("{\"traceparen\":\"x\"}", "traceparent", NULL);
    finds("{}", "traceparent", NULL);
    finds("", "traceparent", NULL);
}

static void test_what_is_no_plain_text_is_found_as_empty(void **state) {
    (void)state;
    finds("{\"traceparent\":7}", "traceparent", "");
    finds("{\"traceparent\":{\"traceparent\":\"x\"}}", "traceparent", "");
    finds("{\"traceparent\":[\"x\"]}", "traceparent", "");
    finds("{\"traceparent\":null}", "traceparent", "");
    finds("{\"traceparent\":\"a\\\"b\"}", "traceparent", "");
}

static void test_names_inside_of_values_are_no_members(void **state) {
    (void)state;
    finds("{\"a\":{\"traceparent\":\"x\"}}", "traceparent", NULL);
    finds("{\"a\":\"\\\",\\\"traceparent\\\":\\\"x\"}", "traceparent", NULL);
    finds("{\"a\":\"}\",\"b\":\"]{\\\\\",\"traceparent\":\"x\"}", "traceparent", "x");
    finds("{\"a\":[{\"b\":[]},\"]\"],\"traceparent\":\"x\"}", "traceparent", "x");
}

static void test_members_come_in_their_order(void **state) {
    struct slice json = SLICE("{\"a\":[1,2],\"b\":\",\",\"c\":{}}");
    static const char *const wanted[] = {"\"a\":[1,2]", "\"b\":\",\"", "\"c\":{}"};
    struct slice member;
    unsigned count = 0;
    (void)state;
    for (size_t at = 1; headers_next(json, &at, &member); count++)
        assert_true(slice_equal(member, slice_of_cstr(wanted[count])));
    assert_int_equal(count, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_member_is_found_by_its_name),
        cmocka_unit_test(test_what_is_no_plain_text_is_found_as_empty),
        cmocka_unit_test(test_names_inside_of_values_are_no_members),
        cmocka_unit_test(test_members_come_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
