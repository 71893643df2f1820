/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trace/context.h"

#define GOOD "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static bool parses(const char *text, struct trace_context *ret_context) {
    return trace_context_parse(slice_of_cstr(text), ret_context);
}

static void test_a_traceparent_is_read_and_written_again(void **state) {
    struct trace_context context;
    char text[TRACE_PARENT_BYTES];
    (void)state;
    assert_true(parses(GOOD, &context));
    assert_true(context.valid && context.sampled);
    assert_int_equal(context.trace_id[0], 0x0a);
    assert_int_equal(context.span_id[7], 0x31);
    trace_context_format(&context, text);
    assert_memory_equal(text, GOOD, sizeof text);
}

static void test_of_the_flags_only_sampled_is_known(void **state) {
    struct trace_context context;
    char text[TRACE_PARENT_BYTES];
    (void)state;
    assert_true(parses("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe", &context));
    assert_false(context.sampled);
    trace_context_format(&context, text);
    assert_memory_equal(text + 52, "-00", 3);
}

static void test_a_later_version_may_say_more_behind_a_dash(void **state) {
    struct trace_context context;
    (void)state;
    assert_true(parses("cc"
                       "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                       &context));
    assert_true(parses("cc"
                       "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
                       &context));
    assert_false(parses("cc"
                        "-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what",
                        &context));
}

static void test_what_is_malformed_is_none_and_leaves_the_context(void **state) {
    static const char *const bad[] = {
        "",
        "00",
        GOOD "-",
        GOOD "0",
        GOOD "-more",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-001",
        " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    };
    struct trace_context context = {.sampled = true, .span_id = {7}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(parses(bad[i], &context));
    assert_false(context.valid);
    assert_int_equal(context.span_id[0], 7);
}

static bool is_state(const char *text) {
    return trace_state_is_valid(slice_of_cstr(text));
}

static void test_a_tracestate_has_members_with_keys_of_their_own(void **state) {
    (void)state;
    assert_true(is_state("a=1"));
    assert_true(is_state("a=1,b=2"));
    assert_true(is_state("a=1 , \tb=2,"));
    assert_true(is_state("tenant@system=x,0a_-*/=~!"));
    assert_false(is_state(""));
    assert_false(is_state(","));
    assert_false(is_state("a"));
    assert_false(is_state("a="));
    assert_false(is_state("=1"));
    assert_false(is_state("A=1"));
    assert_false(is_state("a b=1"));
    assert_false(is_state("@a=1"));
    assert_false(is_state("a@=1"));
    assert_false(is_state("a@b@c=1"));
    assert_false(is_state("a=1=2"));
    assert_false(is_state("a=1,a=2"));
    assert_false(is_state("a=\x80"));
}

static void test_a_tracestate_is_bounded(void **state) {
    char text[1024];
    size_t len = 0;
    (void)state;
    for (unsigned i = 0; i < 32; i++) {
        text[len++] = (char)('a' + i % 26);
        text[len++] = (char)('a' + i / 26);
        memcpy(text + len, "=1,", 3);
        len += 3;
    }
    assert_true(trace_state_is_valid(slice_make(text, len)));
    memcpy(text + len, "zz=1", 4);
    assert_false(trace_state_is_valid(slice_make(text, len + 4)));
    memset(text, 'x', sizeof text);
    text[1] = '=';
    text[254] = ',';
    text[256] = '=';
    text[255] = 'y';
    assert_true(trace_state_is_valid(slice_make(text, TRACE_STATE_MAX)));
    assert_false(trace_state_is_valid(slice_make(text, TRACE_STATE_MAX + 1)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_traceparent_is_read_and_written_again),
        cmocka_unit_test(test_of_the_flags_only_sampled_is_known),
        cmocka_unit_test(test_a_later_version_may_say_more_behind_a_dash),
        cmocka_unit_test(test_what_is_malformed_is_none_and_leaves_the_context),
        cmocka_unit_test(test_a_tracestate_has_members_with_keys_of_their_own),
        cmocka_unit_test(test_a_tracestate_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
