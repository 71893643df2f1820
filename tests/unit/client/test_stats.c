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

#include "client/stats.h"

static struct buf out;

static const char *page(struct slice now, struct slice before, int64_t between_ms) {
    buf_done(&out);
    buf_init(&out, 1U << 20);
    assert_true(stats_page(&out, now, before, between_ms));
    buf_append_char(&out, '\0');
    return out.ptr;
}

static const char *fit(const char *text, unsigned rows, unsigned columns) {
    buf_done(&out);
    buf_init(&out, 1U << 20);
    stats_fit(&out, slice_of_cstr(text), rows, columns);
    buf_append_char(&out, '\0');
    return out.ptr;
}

#define STATS(requests, published)                                                                 \
    SLICE("{\"version\":\"1\",\"uptime\":90061000,\"storage\":{\"hdd\":{\"keys\":3,\"bytes\":4}}," \
          "\"connections\":{\"tcp\":2},\"requests\":{\"tcp\":" requests ",\"tcp_failed\":1},"      \
          "\"broker\":{\"queues\":1,\"messages\":5,\"published\":" published                       \
          ",\"each\":[{\"name\":\"q\\u001b[2J\",\"ready\":5,\"published\":" published "}]}}")

static void test_a_page_shows_the_figures(void **state) {
    (void)state;
    const char *text = page(STATS("10", "7"), SLICE(""), 0);
    assert_non_null(strstr(text, "up 1 d 01:01:01"));
    assert_non_null(strstr(text, "hdd                          3             4"));
    assert_non_null(strstr(text, "tcp                          2            10             -"));
    assert_non_null(strstr(text, "held 5 in 1 queues"));
}

static void test_rates_are_counters_over_the_time_between(void **state) {
    (void)state;
    const char *text = page(STATS("30", "9"), STATS("10", "7"), 2000);
    assert_non_null(strstr(text, "tcp                          2            30          10.0"));
    assert_non_null(strstr(text, "published                    9           1.0"));
}

static void test_a_server_that_started_anew_has_no_rate_yet(void **state) {
    (void)state;
    const char *text = page(STATS("1", "0"), STATS("10", "7"), 1000);
    assert_non_null(strstr(text, "tcp                          2             1             -"));
}

static void test_names_of_a_server_do_not_steer(void **state) {
    (void)state;
    const char *text = page(STATS("1", "0"), SLICE(""), 0);
    assert_null(strchr(text, '\x1b'));
    assert_non_null(strstr(text, "q\\x1b[2J"));
}

static void test_answers_that_are_none_or_odd_are_survived(void **state) {
    (void)state;
    buf_done(&out);
    buf_init(&out, 1U << 20);
    assert_false(stats_page(&out, SLICE("x"), SLICE(""), 0));
    assert_false(stats_page(&out, SLICE("[]"), SLICE(""), 0));
    assert_true(stats_page(&out, SLICE("{}"), SLICE("x"), 0));
    assert_true(stats_page(&out,
                           SLICE("{\"version\":1,\"storage\":3,\"connections\":{\"tcp\":{}},"
                                 "\"broker\":{\"each\":[1,{\"name\":{}},null]},\"nodes\":[1]}"),
                           SLICE("{\"broker\":{\"each\":[1]}}"), 1));
}

static void test_a_page_is_cut_to_the_screen(void **state) {
    (void)state;
    assert_string_equal(fit("abc\ndef\nghi\n", 2, 2), "ab\x1b[K\r\nde\x1b[K\r\n");
    assert_string_equal(fit("\xc3\xa4\xc3\xb6\xc3\xbc", 1, 2), "\xc3\xa4\xc3\xb6\x1b[K\r\n");
    assert_string_equal(fit("", 5, 5), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_page_shows_the_figures),
        cmocka_unit_test(test_rates_are_counters_over_the_time_between),
        cmocka_unit_test(test_a_server_that_started_anew_has_no_rate_yet),
        cmocka_unit_test(test_names_of_a_server_do_not_steer),
        cmocka_unit_test(test_answers_that_are_none_or_odd_are_survived),
        cmocka_unit_test(test_a_page_is_cut_to_the_screen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
