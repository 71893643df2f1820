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

#include "client/pretty.h"

static struct buf out;

static const char *text(void) {
    buf_append_char(&out, '\0');
    assert_false(out.failed);
    return out.ptr;
}

static void begin(void) {
    buf_done(&out);
    buf_init(&out, 1U << 20);
}

static const char *escaped(const char *bytes, size_t len) {
    begin();
    pretty_escaped(&out, slice_make(bytes, len));
    return text();
}

#define ESCAPED(literal) escaped(literal, sizeof(literal) - 1)

static void test_plain_text_stays(void **state) {
    (void)state;
    assert_string_equal(ESCAPED("hello w\xc3\xb6rld \xe2\x82\xac \xf0\x9f\x90\xba"),
                        "hello w\xc3\xb6rld \xe2\x82\xac \xf0\x9f\x90\xba");
}

static void test_control_characters_are_written_out(void **state) {
    (void)state;
    assert_string_equal(ESCAPED("a\n\r\t\0\x1b[31m\x7f"), "a\\n\\r\\t\\x00\\x1b[31m\\x7f");
    assert_string_equal(ESCAPED("C:\\n"), "C:\\\\n");
}

static void test_what_steers_a_terminal_in_utf8_is_written_out(void **state) {
    (void)state;
    assert_string_equal(ESCAPED("\xc2\x9b"
                                "31m"),
                        "\\u009b31m");
    assert_string_equal(ESCAPED("a\xe2\x80\xae"
                                "b\xe2\x81\xa6"),
                        "a\\u202eb\\u2066");
    assert_string_equal(ESCAPED("\xf3\xa0\x81\x81"), "\\U000e0041");
}

static void test_bytes_that_are_no_utf8_are_written_out(void **state) {
    (void)state;
    assert_string_equal(ESCAPED("\xff\xc3"), "\\xff\\xc3");
    assert_string_equal(ESCAPED("\x9b"
                                "31m\xed\xa0\x80"),
                        "\\x9b31m\\xed\\xa0\\x80");
    assert_string_equal(ESCAPED("\xc0\x8a"), "\\xc0\\x8a");
}

static void test_no_byte_of_anything_steers(void **state) {
    (void)state;
    uint32_t random = 1;
    char bytes[64];
    for (unsigned round = 0; round < 20000; round++) {
        for (size_t i = 0; i < sizeof bytes; i++) {
            random = random * 1664525U + 1013904223U;
            bytes[i] = (char)(random >> 24);
        }
        const char *shown = escaped(bytes, sizeof bytes);
        for (const char *at = shown; *at; at++) {
            assert_true((unsigned char)*at >= ' ' && *at != 0x7F);
            if (at[0] == '\xc2')
                assert_true((unsigned char)at[1] >= 0xA0);
        }
    }
}

static void test_json_is_indented_and_safe(void **state) {
    (void)state;
    begin();
    pretty_json(&out, SLICE("{\"a\":[1,\"x\\u001b\xc2\x9b\\n\"],\"b\":null}"));
    assert_string_equal(text(), "{\n  \"a\": [\n    1,\n    \"x\\u001B\\u009b\\n\"\n  ],\n"
                                "  \"b\": null\n}\n");
    begin();
    pretty_json(&out, SLICE("[\"jobs\"]"));
    assert_string_equal(text(), "[\n  \"jobs\"\n]\n");
}

static void test_what_is_no_json_is_shown_as_it_came_but_safe(void **state) {
    (void)state;
    begin();
    pretty_json(&out, SLICE("{\"a\":\x1b"));
    assert_string_equal(text(), "{\"a\":\\x1b\n");
    begin();
    pretty_json(&out, SLICE("{\"a\":99999999999999999999999}"));
    assert_string_equal(text(), "{\"a\":99999999999999999999999}\n");
}

static void test_keys_are_a_numbered_list_with_the_cursor(void **state) {
    (void)state;
    begin();
    pretty_keys(&out, SLICE("{\"keys\":[\"a\",\"b\\n\\u0000\\u001b\"],\"cursor\":\"YQ\"}"));
    assert_string_equal(text(), "1  a\n2  b\\n\\x00\\x1b\nmore behind the cursor YQ\n");
    begin();
    pretty_keys(&out, SLICE("{\"keys\":[]}"));
    assert_string_equal(text(), "no keys\n");
    begin();
    pretty_keys(&out, SLICE("{\"keys\":[1,null,{}]}"));
    assert_string_equal(text(), "1  \n2  \n3  \n");
    begin();
    pretty_keys(&out, SLICE("[1]"));
    assert_string_equal(text(), "[\n  1\n]\n");
}

static void test_a_table_has_a_line_for_each_figure(void **state) {
    (void)state;
    begin();
    pretty_table(&out,
                 SLICE("{\"version\":\"1\",\"storage\":{\"hdd\":{\"keys\":3,\"shards\":[1,2]}},"
                       "\"each\":[{\"name\":\"q\\u001b\"}],\"none\":{}}"));
    assert_string_equal(text(), "version             1\n"
                                "storage.hdd.keys    3\n"
                                "storage.hdd.shards  [1,2]\n"
                                "each.1.name         q\\x1b\n"
                                "none                {}\n");
}

static void test_a_message_tells_of_itself_and_is_safe(void **state) {
    (void)state;
    struct frame frame = {.kind = FRAME_MESSAGE,
                          .receipt = SLICE("r\x1b"),
                          .attempt = SLICE("1"),
                          .key = SLICE("k"),
                          .bytes = SLICE("a\nb")};
    begin();
    pretty_message(&out, &frame);
    assert_string_equal(text(), "message r\\x1b  attempt 1  key k  3 bytes\n  a\\nb\n");
}

static void test_an_error_is_a_sentence_with_its_code(void **state) {
    (void)state;
    struct frame frame = {
        .kind = FRAME_ERROR, .code = SLICE("KEY_NOT_EXIST"), .text = SLICE("no\x1b key")};
    begin();
    pretty_error(&out, &frame);
    assert_string_equal(text(), "no\\x1b key (KEY_NOT_EXIST)");
}

static void test_a_failure_of_json_rpc_is_known(void **state) {
    (void)state;
    assert_true(pretty_is_failure(SLICE("{\"id\":1,\"error\":{\"code\":1}}")));
    assert_true(pretty_is_failure(SLICE("{\"id\":1,\"result\":null,\"error\":\"KEY_NOT_EXIST\"}")));
    assert_false(pretty_is_failure(SLICE("{\"id\":1,\"result\":1,\"error\":null}")));
    assert_false(pretty_is_failure(SLICE("[1]")));
    assert_false(pretty_is_failure(SLICE("x")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_text_stays),
        cmocka_unit_test(test_control_characters_are_written_out),
        cmocka_unit_test(test_what_steers_a_terminal_in_utf8_is_written_out),
        cmocka_unit_test(test_bytes_that_are_no_utf8_are_written_out),
        cmocka_unit_test(test_no_byte_of_anything_steers),
        cmocka_unit_test(test_json_is_indented_and_safe),
        cmocka_unit_test(test_what_is_no_json_is_shown_as_it_came_but_safe),
        cmocka_unit_test(test_keys_are_a_numbered_list_with_the_cursor),
        cmocka_unit_test(test_a_table_has_a_line_for_each_figure),
        cmocka_unit_test(test_a_message_tells_of_itself_and_is_safe),
        cmocka_unit_test(test_an_error_is_a_sentence_with_its_code),
        cmocka_unit_test(test_a_failure_of_json_rpc_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
