/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "peers/wire.h"

static void assert_slice(struct slice slice, const char *text) {
    assert_int_equal(slice.len, strlen(text));
    assert_memory_equal(slice.ptr ? slice.ptr : "", text, slice.len);
}

static void assert_reply(const char *line, const char *hash, const char *word, const char *rest) {
    struct wire_reply reply;
    assert_true(wire_parse_reply(slice_of_cstr(line), &reply));
    assert_slice(reply.hash, hash);
    assert_slice(reply.word, word);
    assert_slice(reply.rest, rest);
}

static void a_reply_is_hash_word_and_rest(void **state) {
    (void)state;
    assert_reply("12:FULFILLED hati:1:00ff", "12", "FULFILLED", "hati:1:00ff");
    assert_reply(":GOT a:b c", "", "GOT", "a:b c");
    assert_reply("0:PONG 1", "0", "PONG", "1");
    assert_reply("7:GOT ", "7", "GOT", "");
    assert_reply("7:GOT", "7", "GOT", "");
}

static void what_is_no_reply_is_told(void **state) {
    static const char *const lines[] = {
        "",
        "[]Invalid command sent in.",
        "Invalid command sent in.",
        "+ERR FORBIDDEN no",
        ":",
        "1: x",
        "1:+ERR FORBIDDEN no",
        "1:got a:b",
        "GOT a",
    };
    struct wire_reply reply = {.word = SLICE("kept")};
    (void)state;
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_false(wire_parse_reply(slice_of_cstr(lines[i]), &reply));
    assert_false(wire_parse_reply((struct slice){NULL, 0}, &reply));
    assert_slice(reply.word, "kept");
}

static void fields_are_taken_to_the_last_which_may_be_empty(void **state) {
    struct slice rest = SLICE("a::b:"), field;
    (void)state;
    assert_true(wire_take_field(&rest, &field));
    assert_slice(field, "a");
    assert_true(wire_take_field(&rest, &field));
    assert_slice(field, "");
    assert_true(wire_take_field(&rest, &field));
    assert_slice(field, "b");
    assert_non_null(rest.ptr);
    assert_true(wire_take_field(&rest, &field));
    assert_slice(field, "");
    assert_null(rest.ptr);
    assert_false(wire_take_field(&rest, &field));
}

static void numbers_are_decimal_and_under_two_to_the_63(void **state) {
    static const char *const bad[] = {"", "-1", "+1", "01", "1a", " 1", "9223372036854775808"};
    struct slice rest = SLICE("0:9223372036854775807:x");
    uint64_t number = 5;
    (void)state;
    assert_true(wire_take_u64(&rest, &number));
    assert_int_equal(number, 0);
    assert_true(wire_take_u64(&rest, &number));
    assert_true(number == INT64_MAX);
    assert_false(wire_take_u64(&rest, &number));
    assert_slice(rest, "x"); /* is not taken */
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rest = slice_of_cstr(bad[i]);
        assert_false(wire_take_u64(&rest, &number));
    }
    assert_true(number == INT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_is_hash_word_and_rest),
        cmocka_unit_test(what_is_no_reply_is_told),
        cmocka_unit_test(fields_are_taken_to_the_last_which_may_be_empty),
        cmocka_unit_test(numbers_are_decimal_and_under_two_to_the_63),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
