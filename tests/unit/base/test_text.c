/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"

static void test_base64_goes_there_and_back_for_every_length(void **state) {
    (void)state;
    char bytes[40];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 37);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        struct buf text;
        struct arena arena;
        struct slice back;
        buf_init(&text, 1000);
        arena_init(&arena, 10000);
        assert_true(text_append_base64(&text, slice_make(bytes, len)));
        assert_true(text_base64_decode(&arena, buf_slice(&text), &back));
        assert_true(slice_equal(back, slice_make(bytes, len)));
        arena_done(&arena);
        buf_done(&text);
    }
}

static void test_base64url_goes_there_and_back_without_padding(void **state) {
    (void)state;
    char bytes[40], back[40];
    size_t len_back;
    struct buf text;
    buf_init(&text, 1000);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 37);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        buf_clear(&text);
        assert_true(text_append_base64url(&text, slice_make(bytes, len)));
        assert_int_equal(text.len, (len * 8 + 5) / 6);
        assert_true(text_base64url_decode(buf_slice(&text), back, &len_back));
        assert_true(slice_equal(slice_make(back, len_back), slice_make(bytes, len)));
    }
    buf_clear(&text);
    assert_true(text_append_base64url(&text, SLICE("\xFB\xFF\xBF\xFF")));
    assert_true(slice_equal(buf_slice(&text), SLICE("-_-__w")));
    text.max_bytes = 11;
    assert_false(text_append_base64url(&text, SLICE("1234")));
    assert_int_equal(text.len, 6);
    text.max_bytes = 12;
    assert_true(text_append_base64url(&text, SLICE("1234")));
    buf_done(&text);
}

static void test_base64_with_a_second_spelling_is_refused(void **state) {
    (void)state;
    struct arena arena;
    struct slice back;
    arena_init(&arena, 10000);
    assert_true(text_base64_decode(&arena, SLICE("QQ=="), &back));
    assert_false(text_base64_decode(&arena, SLICE("QR=="), &back));
    assert_false(text_base64_decode(&arena, SLICE("QQ="), &back));
    assert_false(text_base64_decode(&arena, SLICE("Q==="), &back));
    arena_done(&arena);
}

static void test_utf8_overlong_surrogate_and_cut_forms_are_refused(void **state) {
    (void)state;
    assert_true(text_is_utf8(
        SLICE("plain, long enough for words, \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80")));
    assert_false(text_is_utf8(SLICE("\xC0\xAF")));
    assert_false(text_is_utf8(SLICE("\xE0\x80\xAF")));
    assert_false(text_is_utf8(SLICE("\xED\xA0\x80")));
    assert_false(text_is_utf8(SLICE("\xF4\x90\x80\x80")));
    assert_false(text_is_utf8(SLICE("abc\xE2\x82")));
}

static void test_json_strings_escape_what_json_demands(void **state) {
    (void)state;
    struct buf text;
    buf_init(&text, 1000);
    assert_true(text_append_json(&text, SLICE("a\"b\\c\n\x01\xC3\xA9\xFF")));
    assert_true(
        slice_equal(buf_slice(&text), SLICE("\"a\\\"b\\\\c\\n\\u0001\xC3\xA9\xEF\xBF\xBD\"")));
    buf_done(&text);
}

static void test_percent_decoding_keeps_nul_and_refuses_cut_sequences(void **state) {
    (void)state;
    struct arena arena;
    struct slice out;
    arena_init(&arena, 10000);
    assert_true(text_percent_decode(&arena, SLICE("a%00b%2Fc+"), &out));
    assert_true(slice_equal(out, slice_make("a\0b/c+", 6)));
    assert_false(text_percent_decode(&arena, SLICE("%2"), &out));
    assert_false(text_percent_decode(&arena, SLICE("%zz"), &out));
    arena_done(&arena);
}

static void test_depth_counts_brackets_outside_strings_only(void **state) {
    (void)state;
    assert_true(text_json_depth_ok(SLICE("[[\"[[[[\\\"[[\"]]"), 2));
    assert_false(text_json_depth_ok(SLICE("[[[]]]"), 2));
}

static void test_numbers_are_strict_and_reach_both_ends(void **state) {
    (void)state;
    int64_t n = 0;
    assert_true(slice_parse_i64(SLICE("-9223372036854775808"), &n));
    assert_true(n == INT64_MIN);
    assert_true(slice_parse_i64(SLICE("9223372036854775807"), &n));
    assert_true(n == INT64_MAX);
    assert_false(slice_parse_i64(SLICE("9223372036854775808"), &n));
    assert_false(slice_parse_i64(SLICE("007"), &n));
    assert_false(slice_parse_i64(SLICE("-0"), &n));
    assert_false(slice_parse_i64(SLICE(""), &n));
    assert_false(slice_parse_i64(SLICE("1 "), &n));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_goes_there_and_back_for_every_length),
        cmocka_unit_test(test_base64url_goes_there_and_back_without_padding),
        cmocka_unit_test(test_base64_with_a_second_spelling_is_refused),
        cmocka_unit_test(test_utf8_overlong_surrogate_and_cut_forms_are_refused),
        cmocka_unit_test(test_json_strings_escape_what_json_demands),
        cmocka_unit_test(test_percent_decoding_keeps_nul_and_refuses_cut_sequences),
        cmocka_unit_test(test_depth_counts_brackets_outside_strings_only),
        cmocka_unit_test(test_numbers_are_strict_and_reach_both_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
