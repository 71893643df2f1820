/* SPDX-License-Identifier: MIT */
/* Text, buffers and figures where memory ends, and at the edges of what they take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../nth_fails.h"
#include "base/cut.h"
#include "base/hash.h"
#include "base/json_load.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/text.h"

static void no_memory(long n) {
    nth_arm(NTH_MEMORY, n, 0, false);
}

static void test_an_arena_without_memory_gives_nothing_and_stays_good(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    no_memory(1);
    assert_null(arena_alloc(&arena, 10));
    no_memory(1);
    assert_null(arena_copy(&arena, SLICE("text")).ptr);
    no_memory(1);
    assert_null(arena_printf(&arena, "%d", 7));
    nth_disarm();
    assert_null(arena_copy(&arena, slice_make("", SIZE_MAX)).ptr);
    assert_string_equal(arena_printf(&arena, "%d", 7), "7");
    arena_done(&arena);
}

static void test_a_buffer_without_memory_says_so_and_keeps_what_it_has(void **state) {
    (void)state;
    struct buf buf;
    char long_text[5000];
    memset(long_text, 'x', sizeof long_text);
    buf_init(&buf, 1 << 20);
    assert_true(buf_append(&buf, SLICE("kept")));
    for (unsigned i = 0; i < 3; i++) {
        no_memory(1);
        if (i == 0)
            assert_false(buf_append(&buf, slice_make(long_text, sizeof long_text)));
        else if (i == 1)
            assert_false(buf_printf(&buf, "%.4000s", long_text));
        else
            assert_false(text_append_base64(&buf, slice_make(long_text, sizeof long_text)));
        assert_true(nth_disarm());
        assert_true(buf.failed);
        assert_true(slice_equal(buf_slice(&buf), SLICE("kept")));
        buf.failed = false;
    }
    no_memory(1);
    assert_false(text_append_base64url(&buf, slice_make(long_text, sizeof long_text)));
    nth_disarm();
    assert_false(text_append_base64(&buf, slice_make("", SIZE_MAX)));
    assert_false(text_append_base64url(&buf, slice_make("", SIZE_MAX)));
    buf_done(&buf);
}

static void test_a_document_that_finds_no_memory_is_told_and_leaks_nothing(void **state) {
    (void)state;
    struct buf text;
    bool fired = true;
    buf_init(&text, 1 << 20);
    buf_append_char(&text, '[');
    for (unsigned i = 0; i < 400; i++)
        buf_printf(&text, "%s{\"%u\":\"a text\"}", i ? "," : "", i);
    buf_append_char(&text, ']');
    for (long n = 1; fired; n = nth_next(n)) {
        json_error_t error;
        no_memory(n);
        json_t *json = json_load_slice(buf_slice(&text), 0, n % 2 ? &error : NULL);
        fired = nth_disarm();
        assert_true(fired ? !json : json != NULL);
        if (fired && n % 2)
            assert_int_equal(json_error_code(&error), json_error_out_of_memory);
        json_decref(json);
    }
    buf_done(&text);
}

static void test_figures_without_memory_are_none(void **state) {
    (void)state;
    for (long n = 1; n <= 2; n++) {
        no_memory(n);
        assert_null(metrics_open(4));
        assert_true(nth_disarm());
    }
    assert_null(metrics_shard(NULL));
    struct metrics *metrics = metrics_open(4);
    no_memory(1);
    struct metrics_shard *shard = metrics_shard(metrics); /* the shared one, then */
    nth_disarm();
    assert_non_null(shard);
    metrics_add(shard, 2, 5);
    assert_int_equal(metrics_read(metrics, 2), 5);
    metrics_close(metrics);
    metrics_close(NULL);
}

static void test_levels_have_names_in_any_case_and_no_other(void **state) {
    (void)state;
    enum log_level level = LOG_OFF;
    assert_true(log_level_parse(SLICE("Debug"), &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_true(log_level_parse(SLICE("off"), &level));
    assert_int_equal(level, LOG_OFF);
    assert_false(log_level_parse(SLICE("loud"), &level));
    assert_int_equal(level, LOG_OFF);
}

/* What a call writes to stderr. */
static size_t said_by(enum log_level level, const char *message, char *to, size_t room) {
    int pipes[2], kept = dup(STDERR_FILENO);
    assert_int_equal(pipe(pipes), 0);
    dup2(pipes[1], STDERR_FILENO);
    log_write(level, "%s", message);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(pipes[1]);
    ssize_t len = read(pipes[0], to, room - 1);
    close(pipes[0]);
    to[len < 0 ? 0 : len] = 0;
    return len < 0 ? 0 : (size_t)len;
}

static void test_a_line_is_one_json_object_whatever_it_says(void **state) {
    (void)state;
    static char said[20000], message[3000];
    memset(message, 'm', sizeof message - 1);
    memcpy(message, "\"quoted\"\n\r\t\x01\xff", 13);
    log_set_level(LOG_INFO);
    assert_int_equal(said_by(LOG_DEBUG, "no", said, sizeof said), 0);
    assert_int_equal(said_by(LOG_OFF, "no", said, sizeof said), 0);
    assert_true(said_by(LOG_WARN, message, said, sizeof said) > 1000);
    assert_true(strchr(said, '\n') == said + strlen(said) - 1);
    json_t *json = json_loads(said, 0, NULL);
    assert_non_null(json);
    const char *told = json_string_value(json_object_get(json, "message"));
    assert_memory_equal(told, "\"quoted\"\n\r\t\x01", 12);
    assert_in_range(strlen(told), 900, 1010);
    assert_string_equal(json_string_value(json_object_get(json, "level")), "warn");
    json_decref(json);
    nth_arm(NTH_MEMORY, 1, 0, true);
    assert_int_equal(said_by(LOG_WARN, "no memory for it", said, sizeof said), 0);
    nth_disarm();
}

static void test_what_is_no_text_form_is_refused(void **state) {
    (void)state;
    static const char *const uuids[] = {
        "00000000-0000-0000-0000-00000000000",  "00000000x0000-0000-0000-000000000000",
        "00000000-0000x0000-0000-000000000000", "00000000-0000-0000x0000-000000000000",
        "00000000-0000-0000-0000x000000000000", "0000000g-0000-0000-0000-000000000000",
        "0000000G-0000-0000-0000-000000000000", "0000000/-0000-0000-0000-000000000000",
        "0000000:-0000-0000-0000-000000000000", "0000000@-0000-0000-0000-000000000000"};
    static const char *const percents[] = {"%", "a%4", "%g0", "%0g", "%%41", "%4", "%:0", "%0`"};
    static const char *const base64s[] = {
        "A",    "AA",   "AAA",  "AA=A", "A===", "AAAA=", "AB==", "AAB=",
        "A A=", "AA[=", "AA`=", "AA{=", "AA-_", "AA@=",  "AA:=", "=AAA"};
    struct arena arena;
    struct slice bytes = {NULL, 0};
    struct uuid uuid;
    arena_init(&arena, 1 << 20);
    for (unsigned i = 0; i < sizeof uuids / sizeof uuids[0]; i++)
        assert_false(text_uuid_parse(slice_of_cstr(uuids[i]), &uuid));
    assert_true(text_uuid_parse(SLICE("0123abCD-eF45-6789-abcd-ef0123456789"), &uuid));
    for (unsigned i = 0; i < sizeof percents / sizeof percents[0]; i++)
        assert_false(text_percent_decode(&arena, slice_of_cstr(percents[i]), &bytes));
    for (unsigned i = 0; i < sizeof base64s / sizeof base64s[0]; i++)
        assert_false(text_base64_decode(&arena, slice_of_cstr(base64s[i]), &bytes));
    assert_null(bytes.ptr);
    assert_true(text_base64_decode(&arena, SLICE("aZ09+/8="), &bytes));
    assert_int_equal(bytes.len, 5);
    arena_done(&arena);
    no_memory(1);
    assert_false(text_base64_decode(&arena, SLICE("AAAA"), &bytes));
    no_memory(1);
    assert_false(text_percent_decode(&arena, SLICE("%41"), &bytes));
    nth_disarm();
    arena_done(&arena);
}

static void test_md5_by_pieces_is_that_of_the_whole(void **state) {
    (void)state;
    struct hash_md5_state md5;
    uint8_t whole[HASH_MD5_BYTES], pieces[HASH_MD5_BYTES];
    hash_md5(SLICE("one text in pieces"), whole);
    hash_md5_begin(&md5);
    hash_md5_add(&md5, SLICE("one text "));
    hash_md5_add(&md5, SLICE(""));
    hash_md5_add(&md5, SLICE("in pieces"));
    hash_md5_end(&md5, pieces);
    assert_memory_equal(whole, pieces, sizeof whole);
}

static void test_a_cut_that_is_given_up_never_was(void **state) {
    (void)state;
    uint64_t before = cut_number();
    assert_int_equal(cut_begin(), before + 1);
    cut_give_up();
    assert_int_equal(cut_number(), before);
    assert_int_equal(cut_begin(), before + 1);
    cut_make();
    assert_int_equal(cut_number(), before + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_arena_without_memory_gives_nothing_and_stays_good),
        cmocka_unit_test(test_a_buffer_without_memory_says_so_and_keeps_what_it_has),
        cmocka_unit_test(test_a_document_that_finds_no_memory_is_told_and_leaks_nothing),
        cmocka_unit_test(test_figures_without_memory_are_none),
        cmocka_unit_test(test_levels_have_names_in_any_case_and_no_other),
        cmocka_unit_test(test_a_line_is_one_json_object_whatever_it_says),
        cmocka_unit_test(test_what_is_no_text_form_is_refused),
        cmocka_unit_test(test_md5_by_pieces_is_that_of_the_whole),
        cmocka_unit_test(test_a_cut_that_is_given_up_never_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
