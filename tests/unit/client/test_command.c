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

#include "client/command.h"

static struct arena arena;
static struct command command;
static char why[COMMAND_WHY_BYTES];

static bool read_line(const char *line) {
    arena_done(&arena);
    arena_init(&arena, 16U << 20);
    memset(&command, 0x55, sizeof command);
    *why = '\0';
    return command_from_line(slice_of_cstr(line), true, &arena, &command, why);
}

static bool read_words(unsigned count, const char *const *words) {
    arena_done(&arena);
    arena_init(&arena, 16U << 20);
    return command_from_words(count, (char **)(uintptr_t)words, &arena, &command, why);
}

#define WORDS(...)                                                                                 \
    read_words(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),                             \
               (const char *const[]){__VA_ARGS__})

static void assert_slice(struct slice got, const char *wanted, size_t len) {
    assert_int_equal(got.len, len);
    if (len)
        assert_memory_equal(got.ptr, wanted, len);
}

#define ASSERT_SLICE(got, literal) assert_slice((got), literal, sizeof(literal) - 1)

static void test_a_value_takes_the_rest_of_the_line_and_travels_framed(void **state) {
    (void)state;
    assert_true(read_line("set hdd 0 a  hello  world "));
    assert_int_equal(command.kind, COMMAND_CALL);
    assert_true(command.framed);
    ASSERT_SLICE(command.bytes, " hello  world ");
    ASSERT_SLICE(command.line, "SETB hdd 0 a 14");
    assert_true(read_line("PUBLISH default jobs resize cat.png"));
    ASSERT_SLICE(command.line, "PUBLISHB default jobs 14");
}

static void test_a_get_asks_for_the_framed_value(void **state) {
    (void)state;
    assert_true(read_line("GET hdd a"));
    ASSERT_SLICE(command.line, "GETB hdd a");
    assert_true(command.value);
    assert_int_equal(command.form, LINE_FRAME);
    assert_true(read_line("GETB hdd a"));
    assert_false(command.value);
}

static void test_quotes_are_taken_off_and_escapes_mean_bytes(void **state) {
    (void)state;
    assert_true(read_line("SET hdd 0 \"a\" \"x\\n\\r\\t\\0\\\\\\\"\\xfF\""));
    ASSERT_SLICE(command.line, "SETB hdd 0 a 8");
    ASSERT_SLICE(command.bytes, "x\n\r\t\0\\\"\xff");
    assert_true(read_line("SET hdd 0 a 'as \\n it is'"));
    ASSERT_SLICE(command.bytes, "as \\n it is");
    assert_true(read_line("SET hdd 0 a \"\""));
    assert_int_equal(command.bytes.len, 0);
}

static void test_a_value_that_only_has_quotes_in_it_stays_as_it_is(void **state) {
    (void)state;
    assert_true(read_line("SET hdd 0 a \"x\" and \"y\""));
    ASSERT_SLICE(command.bytes, "\"x\" and \"y\"");
    assert_true(read_line("SET hdd 0 a it's"));
    ASSERT_SLICE(command.bytes, "it's");
    assert_true(read_line("SET hdd 0 a {\"a\":1}"));
    ASSERT_SLICE(command.bytes, "{\"a\":1}");
}

static void test_an_empty_value_is_one_behind_a_space(void **state) {
    (void)state;
    assert_true(read_line("SET hdd 0 a "));
    assert_int_equal(command.bytes.len, 0);
    ASSERT_SLICE(command.line, "SETB hdd 0 a 0");
    assert_false(read_line("SET hdd 0 a"));
    assert_non_null(strstr(why, "value is missing"));
}

static void test_a_quote_without_end_is_refused(void **state) {
    (void)state;
    assert_false(read_line("GET hdd \"a"));
    assert_false(read_line("GET hdd \"a\"b"));
    assert_false(read_line("GET hdd \"\\q\""));
    assert_false(read_line("GET hdd \"\\x4\""));
}

static void test_no_word_can_become_two_or_another_request(void **state) {
    (void)state;
    assert_false(read_line("GET hdd \"a b\""));
    assert_false(read_line("GET hdd \"a\\nFLUSHALL hdd\""));
    assert_false(read_line("SET hdd 0 \"a\\n\" x"));
    assert_false(read_line("SET hdd 0 \"a\\0\" x"));
    assert_false(read_line("USE \"a\\nFLUSHALL hdd\""));
    assert_false(WORDS("GET", "hdd", "a\nFLUSHALL hdd"));
    assert_false(WORDS("GET", "hdd", "a b"));
    assert_true(WORDS("{\"a\":\n1}", "\rx"));
    assert_null(memchr(command.line.ptr, '\n', command.line.len));
    assert_null(memchr(command.line.ptr, '\r', command.line.len));
}

static void test_a_head_is_never_longer_than_a_server_reads(void **state) {
    (void)state;
    char line[9000];
    int len = snprintf(line, sizeof line, "SET hdd 0 ");
    memset(line + len, 'k', 8200);
    memcpy(line + len + 8200, " FLUSHALL hdd", 14);
    assert_false(read_line(line));
    assert_non_null(strstr(why, "too long"));
}

static void test_counts_of_words_are_checked(void **state) {
    (void)state;
    assert_false(read_line("GET hdd"));
    assert_non_null(strstr(why, "key is missing"));
    assert_false(read_line("GET hdd a b"));
    assert_false(read_line("PING x"));
    assert_false(read_line("USE"));
    assert_false(read_line("NOSUCH a"));
    assert_non_null(strstr(why, "NOSUCH"));
    assert_true(read_line("CREATEQUEUE jobs lease=1 ttl=2 overflow=reject"));
    ASSERT_SLICE(command.line, "CREATEQUEUE jobs lease=1 ttl=2 overflow=reject");
    assert_true(read_line("INCR hdd n"));
    assert_true(read_line("INCR hdd n -5"));
}

static void test_what_is_shown_of_an_unknown_verb_has_no_control_characters(void **state) {
    (void)state;
    assert_false(read_line("\x1b[31mX"));
    assert_null(strchr(why, '\x1b'));
}

static void test_json_is_a_line_as_it_stands(void **state) {
    (void)state;
    assert_true(read_line("  {\"method\":\"Server.Ping\"}"));
    assert_int_equal(command.kind, COMMAND_JSON);
    ASSERT_SLICE(command.line, "{\"method\":\"Server.Ping\"}");
}

static void test_empty_lines_and_comments_are_nothing(void **state) {
    (void)state;
    assert_true(read_line(""));
    assert_int_equal(command.kind, COMMAND_NOTHING);
    assert_true(read_line("   "));
    assert_int_equal(command.kind, COMMAND_NOTHING);
    assert_true(read_line("# SET hdd 0 a 1"));
    assert_int_equal(command.kind, COMMAND_NOTHING);
}

static void test_words_of_a_shell_are_joined_for_the_value_and_not_unquoted(void **state) {
    (void)state;
    assert_true(WORDS("SET", "hdd", "0", "a", "hello", "world"));
    ASSERT_SLICE(command.bytes, "hello world");
    assert_true(WORDS("SET", "hdd", "0", "a", "\"x\\n\""));
    ASSERT_SLICE(command.bytes, "\"x\\n\"");
    assert_true(WORDS("SET", "hdd", "0", "a", ""));
    assert_int_equal(command.bytes.len, 0);
    assert_false(WORDS("SET", "hdd", "0", "a"));
}

static void test_a_value_behind_an_at_sign_is_a_file(void **state) {
    (void)state;
    char path[] = "/tmp/hati-client-XXXXXX";
    char line[128];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a\0\nb", 4), 4);
    close(fd);
    snprintf(line, sizeof line, "SET hdd 0 a @%s", path);
    assert_true(read_line(line));
    ASSERT_SLICE(command.bytes, "a\0\nb");
    unlink(path);
    assert_false(read_line(line));
    assert_false(read_line("SET hdd 0 a @"));
    assert_false(read_line("SET hdd 0 a @/"));
}

static void test_an_at_sign_is_doubled_or_quoted_to_mean_itself(void **state) {
    (void)state;
    assert_true(read_line("SET hdd 0 a @@x"));
    ASSERT_SLICE(command.bytes, "@x");
    assert_true(read_line("SET hdd 0 a '@x'"));
    ASSERT_SLICE(command.bytes, "@x");
    assert_true(WORDS("SET", "hdd", "0", "a", "@@"));
    ASSERT_SLICE(command.bytes, "@");
    assert_true(read_line("GET hdd @x"));
    ASSERT_SLICE(command.line, "GETB hdd @x");
}

static void test_standard_input_is_no_value_where_it_is_the_commands(void **state) {
    (void)state;
    assert_false(read_line("SET hdd 0 a @-"));
    assert_non_null(strstr(why, "standard input"));
}

static void test_the_wait_of_a_receive_is_known(void **state) {
    (void)state;
    assert_true(read_line("RECEIVE jobs 3 5000"));
    assert_int_equal(command.wait_ms, 5000);
    ASSERT_SLICE(command.argument, "jobs");
    assert_true(read_line("RECEIVE jobs"));
    assert_int_equal(command.wait_ms, 0);
    assert_true(read_line("RECEIVE jobs 1 soon"));
    assert_int_equal(command.wait_ms, 0);
}

static void test_words_of_the_connection_are_known_in_any_case(void **state) {
    (void)state;
    assert_true(read_line("use 11111111-2222-3333-4444-555555555555/x"));
    assert_int_equal(command.kind, COMMAND_USE);
    ASSERT_SLICE(command.argument, "11111111-2222-3333-4444-555555555555/x");
    assert_true(read_line("Subscribe jobs 2"));
    assert_int_equal(command.kind, COMMAND_SUBSCRIBE);
    ASSERT_SLICE(command.line, "SUBSCRIBE jobs 2");
    assert_true(read_line("auth"));
    assert_int_equal(command.kind, COMMAND_AUTH);
    assert_int_equal(command.argument.len, 0);
    assert_true(read_line("exit"));
    assert_int_equal(command.kind, COMMAND_QUIT);
}

int main(void) {
    op_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_takes_the_rest_of_the_line_and_travels_framed),
        cmocka_unit_test(test_a_get_asks_for_the_framed_value),
        cmocka_unit_test(test_quotes_are_taken_off_and_escapes_mean_bytes),
        cmocka_unit_test(test_a_value_that_only_has_quotes_in_it_stays_as_it_is),
        cmocka_unit_test(test_an_empty_value_is_one_behind_a_space),
        cmocka_unit_test(test_a_quote_without_end_is_refused),
        cmocka_unit_test(test_no_word_can_become_two_or_another_request),
        cmocka_unit_test(test_a_head_is_never_longer_than_a_server_reads),
        cmocka_unit_test(test_counts_of_words_are_checked),
        cmocka_unit_test(test_what_is_shown_of_an_unknown_verb_has_no_control_characters),
        cmocka_unit_test(test_json_is_a_line_as_it_stands),
        cmocka_unit_test(test_empty_lines_and_comments_are_nothing),
        cmocka_unit_test(test_words_of_a_shell_are_joined_for_the_value_and_not_unquoted),
        cmocka_unit_test(test_a_value_behind_an_at_sign_is_a_file),
        cmocka_unit_test(test_an_at_sign_is_doubled_or_quoted_to_mean_itself),
        cmocka_unit_test(test_standard_input_is_no_value_where_it_is_the_commands),
        cmocka_unit_test(test_the_wait_of_a_receive_is_known),
        cmocka_unit_test(test_words_of_the_connection_are_known_in_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
