/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/olivia_line.h"

static void is(struct slice got, const char *expected) {
    struct slice wanted = slice_of_cstr(expected);
    if (!slice_equal(got, wanted))
        fail_msg("`%.*s`, not `%s`", (int)got.len, got.ptr, expected);
}

static void a_line_is_hash_command_and_args(void **state) {
    (void)state;
    static const struct {
        const char *text, *hash, *command, *args;
        bool whole;
    } cases[] = {
        {"GET a,b", "", "GET", "a,b", true},
        {"h1:GET a", "h1", "GET", "a", true},
        {":GET a", "", "GET", "a", true},
        {"h:GET:more a", "h", "GET", "a", true},
        {"a:b:GET k", "a", "b", "k", true},
        {"GET ", "", "GET", "", true},
        {"SET a:b c:d e", "", "SET", "a:b c:d e", true},
        {" x", "", "", "x", true},
        {"GET", "", "GET", "", false},
        {"h:PING", "h", "PING", "", false},
        {"", "", "", "", false},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct olivia_line line;
        assert_int_equal(olivia_line_split(slice_of_cstr(cases[i].text), &line), cases[i].whole);
        is(line.hash, cases[i].hash);
        is(line.command, cases[i].command);
        is(line.args, cases[i].args);
    }
}

static void pairs_are_cut_where_the_original_cuts_them(void **state) {
    (void)state;
    struct slice args = SLICE("a:1:30,b:x:y:z,c,,:v,d:");
    static const char *const expected[][3] = {{"a", "1", "30"}, {"b", "x", "y"}, {"c", "", NULL},
                                              {"", "", NULL},   {"", "v", NULL}, {"d", "", NULL}};
    struct olivia_pair pair;
    for (unsigned i = 0; i < 6; i++) {
        assert_true(olivia_take_pair(&args, &pair));
        is(pair.key, expected[i][0]);
        is(pair.value, expected[i][1]);
        assert_int_equal(pair.seconds.ptr != NULL, expected[i][2] != NULL);
        if (expected[i][2])
            is(pair.seconds, expected[i][2]);
    }
    assert_false(olivia_take_pair(&args, &pair));
}

static void empty_args_are_one_empty_pair(void **state) {
    (void)state;
    struct slice args = SLICE("");
    struct olivia_pair pair;
    assert_true(olivia_take_pair(&args, &pair));
    is(pair.key, "");
    assert_false(olivia_take_pair(&args, &pair));
}

static void seconds_are_what_atoi_of_go_takes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {{"30", 30},
                {"+5", 5},
                {"-5", -5},
                {"007", 7},
                {"0", 0},
                {"-0", 0},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {"",
                                      "x",
                                      "1x",
                                      " 1",
                                      "1 ",
                                      "+",
                                      "-",
                                      "--1",
                                      "+-1",
                                      "1.5",
                                      "0x10",
                                      "1_0",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999"};
    int64_t seconds;
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
        seconds = 77;
        assert_true(olivia_parse_seconds(slice_of_cstr(good[i].text), &seconds));
        assert_int_equal(seconds, good[i].seconds);
    }
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        seconds = 77;
        assert_false(olivia_parse_seconds(slice_of_cstr(bad[i]), &seconds));
        assert_int_equal(seconds, 77);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_hash_command_and_args),
        cmocka_unit_test(pairs_are_cut_where_the_original_cuts_them),
        cmocka_unit_test(empty_args_are_one_empty_pair),
        cmocka_unit_test(seconds_are_what_atoi_of_go_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
