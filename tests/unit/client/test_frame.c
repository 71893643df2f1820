/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/frame.h"

static struct frame parse(const char *text) {
    struct frame frame;
    frame_parse(slice_of_cstr(text), 0, &frame);
    return frame;
}

static void assert_text(struct slice got, const char *wanted) {
    assert_int_equal(got.len, strlen(wanted));
    if (got.len)
        assert_memory_equal(got.ptr, wanted, got.len);
}

static void test_a_line_is_text(void **state) {
    (void)state;
    struct frame frame = parse("+OK 1\nnext");
    assert_int_equal(frame.kind, FRAME_LINE);
    assert_int_equal(frame.size, 6);
    assert_text(frame.text, "+OK 1");
}

static void test_an_error_has_its_code_and_text(void **state) {
    (void)state;
    struct frame frame = parse("+ERR KEY_NOT_EXIST the key does not exist\n");
    assert_int_equal(frame.kind, FRAME_ERROR);
    assert_text(frame.code, "KEY_NOT_EXIST");
    assert_text(frame.text, "the key does not exist");
    frame = parse("+ERR X\n");
    assert_int_equal(frame.kind, FRAME_ERROR);
    assert_text(frame.text, "");
}

static void test_a_value_may_hold_newlines_and_be_empty(void **state) {
    (void)state;
    struct frame frame = parse("$5\na\nb\nc\n+OK\n");
    assert_int_equal(frame.kind, FRAME_VALUE);
    assert_text(frame.bytes, "a\nb\nc");
    assert_int_equal(frame.size, 9);
    frame = parse("$0\n\n");
    assert_int_equal(frame.kind, FRAME_VALUE);
    assert_int_equal(frame.bytes.len, 0);
}

static void test_a_message_has_its_words_and_bytes(void **state) {
    (void)state;
    struct frame frame = parse("MSG r1 2 jobs 3\na\nb\n");
    assert_int_equal(frame.kind, FRAME_MESSAGE);
    assert_text(frame.receipt, "r1");
    assert_text(frame.attempt, "2");
    assert_text(frame.key, "jobs");
    assert_text(frame.bytes, "a\nb");
    frame = parse("MSG r1 1  1\nx\n");
    assert_int_equal(frame.kind, FRAME_MESSAGE);
    assert_text(frame.key, "");
}

static void test_every_start_of_a_frame_is_a_part(void **state) {
    (void)state;
    static const char whole[] = "MSG r1 2 jobs 3\na\nb\n";
    for (size_t len = 0; len + 1 < sizeof whole; len++) {
        struct frame frame;
        frame_parse(slice_make(whole, len), 0, &frame);
        assert_int_equal(frame.kind, FRAME_PART);
        assert_int_equal(frame.need, len < 16 ? 0 : sizeof whole - 1);
    }
}

static void test_a_length_that_is_none_or_too_large_is_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"$-1\n",
                                        "$x\n",
                                        "$1073741825\n",
                                        "$99999999999999999999\n",
                                        "$ 1\n",
                                        "$+1\n",
                                        "$1 \n",
                                        "$18446744073709551615\n",
                                        "MSG r 1 k -1\n",
                                        "MSG r 1 k\n",
                                        "MSG r\n",
                                        "MSG r 1 k 1 1\n",
                                        "MSG r 1 k 1073741825\n",
                                        "$1\nab",
                                        "$1\na\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(parse(wrong[i]).kind, FRAME_BROKEN);
}

static void test_a_line_without_an_end_is_bounded(void **state) {
    (void)state;
    size_t len = FRAME_LINE_MAX + 1;
    char *text = malloc(len);
    struct frame frame;
    assert_non_null(text);
    memset(text, 'a', len);
    frame_parse(slice_make(text, len - 1), 0, &frame);
    assert_int_equal(frame.kind, FRAME_PART);
    frame_parse(slice_make(text, len), len - 1, &frame);
    assert_int_equal(frame.kind, FRAME_BROKEN);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_is_text),
        cmocka_unit_test(test_an_error_has_its_code_and_text),
        cmocka_unit_test(test_a_value_may_hold_newlines_and_be_empty),
        cmocka_unit_test(test_a_message_has_its_words_and_bytes),
        cmocka_unit_test(test_every_start_of_a_frame_is_a_part),
        cmocka_unit_test(test_a_length_that_is_none_or_too_large_is_refused),
        cmocka_unit_test(test_a_line_without_an_end_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
