/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/rest_condition.h"

#define MD5_HELLO "5d41402abc4b2a76b9719d911017c592"
#define MD5_X "9dd4e461268c8034f5c8564e155c67a6"

static struct rest_condition read_text(const char *header, bool weak) {
    struct rest_condition condition;
    rest_condition_parse(slice_of_cstr(header), weak, &condition);
    return condition;
}

static bool holds(const char *header, bool weak, const char *value) {
    struct rest_condition condition = read_text(header, weak);
    uint8_t etag[HASH_MD5_BYTES];
    hash_md5(slice_of_cstr(value), etag);
    return rest_condition_holds(&condition, etag);
}

static void test_an_md5_may_be_quoted_or_bare(void **state) {
    (void)state;
    assert_true(holds("\"" MD5_HELLO "\"", false, "hello"));
    assert_true(holds(MD5_HELLO, false, "hello"));
    assert_true(holds("5D41402ABC4B2A76B9719D911017C592", false, "hello"));
    assert_false(holds(MD5_HELLO, false, "x"));
}

static void test_a_list_holds_where_one_member_does(void **state) {
    (void)state;
    assert_true(holds("\"" MD5_X "\", \"" MD5_HELLO "\"", false, "hello"));
    assert_true(holds(MD5_X "," MD5_HELLO, false, "x"));
    assert_int_equal(read_text(MD5_X " ,\t" MD5_HELLO " ", false).count, 2);
    assert_false(holds(MD5_X "," MD5_HELLO, false, "y"));
}

static void test_a_star_is_any(void **state) {
    (void)state;
    assert_int_equal(read_text("*", false).kind, CONDITION_ANY);
    assert_int_equal(read_text(" * ", true).kind, CONDITION_ANY);
    assert_true(holds("*", false, "whatever"));
}

static void test_weak_etags_count_only_where_asked(void **state) {
    (void)state;
    assert_true(holds("W/\"" MD5_HELLO "\"", true, "hello"));
    assert_false(holds("W/\"" MD5_HELLO "\"", false, "hello"));
    assert_int_equal(read_text("W/\"" MD5_HELLO "\"", false).kind, CONDITION_LIST);
    assert_int_equal(read_text("W/\"" MD5_HELLO "\"", false).count, 0);
}

static void test_malformed_headers_are_bad(void **state) {
    static const char *const headers[] = {"",
                                          " ",
                                          "abc",
                                          "\"abc\"",
                                          "\"" MD5_X,
                                          MD5_X "\"",
                                          ",",
                                          MD5_X ",",
                                          "," MD5_X,
                                          "*, " MD5_X,
                                          "**",
                                          "W/" MD5_X,
                                          "W/",
                                          "\"",
                                          MD5_X " " MD5_X,
                                          "\"" MD5_X "\"\"",
                                          MD5_X "0",
                                          "5d41402abc4b2a76b9719d911017c59g"};
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_int_equal(read_text(headers[i], false).kind, CONDITION_BAD);
    assert_false(holds("abc", true, "hello"));
}

static void test_etags_of_others_are_passed_over_where_asked(void **state) {
    (void)state;
    assert_true(holds("\"v1\", \"" MD5_HELLO "\"", true, "hello"));
    assert_true(holds("W/\"" MD5_HELLO "\", \"a,b\"", true, "hello"));
    assert_true(holds(MD5_HELLO ",", true, "hello"));
    assert_false(holds("\"v1\", \"" MD5_HELLO "\"", true, "x"));
    assert_false(holds("\"v1\", \"" MD5_HELLO "\"", false, "hello"));
}

static void test_a_list_has_an_end(void **state) {
    char header[(OP_ETAGS_MAX + 1) * sizeof MD5_X];
    size_t len = 0;
    (void)state;
    for (int i = 0; i < OP_ETAGS_MAX; i++)
        len += (size_t)snprintf(header + len, sizeof header - len, "%s" MD5_X, i ? "," : "");
    assert_int_equal(read_text(header, false).count, OP_ETAGS_MAX);
    snprintf(header + len, sizeof header - len, "," MD5_X);
    assert_int_equal(read_text(header, false).kind, CONDITION_BAD);
    assert_int_equal(read_text(header, true).count, OP_ETAGS_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_md5_may_be_quoted_or_bare),
        cmocka_unit_test(test_a_list_holds_where_one_member_does),
        cmocka_unit_test(test_a_star_is_any),
        cmocka_unit_test(test_weak_etags_count_only_where_asked),
        cmocka_unit_test(test_malformed_headers_are_bad),
        cmocka_unit_test(test_etags_of_others_are_passed_over_where_asked),
        cmocka_unit_test(test_a_list_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
