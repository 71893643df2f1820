/* SPDX-License-Identifier: MIT */
/* Values of settings at the ends of what they may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/config_value.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static void test_a_share_is_digits_and_a_point_from_0_to_1(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double share;
    } good[] = {{"0", 0},     {"1", 1},    {"1.0", 1},    {".5", 0.5},  {"0.25", 0.25},
                {"00.5", .5}, {"1.", 1.0}, {"0.000", 0.}, {"000", 0.0}, {"0.999", 0.999}};
    static const char *const bad[] = {
        "",    ".",   "..",  "0.5.", "1.01", "2",  "-0",   "+1",     "1e0",
        "0x1", "nan", "inf", "0,5",  " 1",   "1 ", "0.5x", "1.0001", "99999999999999999999999",
        "½"};
    for (size_t i = 0; i < COUNT(good); i++) {
        double share = -1;
        assert_null(config_value_share(good[i].text, &share));
        assert_true(share > good[i].share - 1e-12 && share < good[i].share + 1e-12);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        double share = -1;
        if (!config_value_share(bad[i], &share))
            fail_msg("taken: `%s`", bad[i]);
        assert_true(share < 0);
    }
}

static void test_a_word_of_yes_or_no_is_said_out(void **state) {
    (void)state;
    static const char *const yes[] = {"true", "yes", "on", "1", "TRUE", "On"};
    static const char *const no[] = {"false", "no", "off", "0", "FALSE"};
    static const char *const neither[] = {"", "2", "y", "n", "true ", "tru", "truee", "-1"};
    bool set = false;
    for (size_t i = 0; i < COUNT(yes); i++, set = false)
        assert_true(!config_value_bool(yes[i], &set) && set);
    for (size_t i = 0; i < COUNT(no); i++) {
        set = true;
        assert_true(!config_value_bool(no[i], &set) && !set);
    }
    for (size_t i = 0; i < COUNT(neither); i++)
        assert_non_null(config_value_bool(neither[i], &set));
}

static void test_ports_and_counts_end_at_their_bounds(void **state) {
    (void)state;
    unsigned number = 7;
    assert_true(!config_value_port("0", &number) && number == 0);
    assert_true(!config_value_port("65535", &number) && number == 65535);
    static const char *const bad[] = {"65536",
                                      "-1",
                                      "",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "0x10",
                                      "+",
                                      "9223372036854775808",
                                      "18446744073709551617"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_non_null(config_value_port(bad[i], &number));
    assert_int_equal(number, 65535);
    assert_non_null(config_value_count("1", 2, 5, &number));
    assert_true(!config_value_count("2", 2, 5, &number) && number == 2);
    assert_true(!config_value_count("5", 2, 5, &number) && number == 5);
    assert_non_null(config_value_count("6", 2, 5, &number));
    assert_non_null(config_value_count("4294967298", 2, 5, &number)); /* 2 in 32 bits */
}

static void test_a_time_is_a_hundred_years_at_most(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0},
                {"7ms", 7},
                {"7MS", 7},
                {"2s", 2000},
                {"3m", 180000},
                {"4h", 14400000},
                {"876000h", 3153600000000},
                {"3153600000000", 3153600000000}};
    static const char *const bad[] = {"",
                                      "s",
                                      "-1s",
                                      "01s",
                                      "1d",
                                      "1 s",
                                      "1.5s",
                                      "876001h",
                                      "3153600000001",
                                      "9223372036854775807",
                                      "9223372036854775808",
                                      "2562047788015h",
                                      "99999999999999999999h"};
    for (size_t i = 0; i < COUNT(good); i++) {
        int64_t ms = -1;
        assert_null(config_value_ms(good[i].text, &ms));
        assert_true(ms == good[i].ms);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t ms = -1;
        if (!config_value_ms(bad[i], &ms))
            fail_msg("taken: `%s`", bad[i]);
        assert_true(ms == -1);
    }
}

static void test_a_size_is_a_pebibyte_at_most(void **state) {
    (void)state;
    uint64_t bytes = 1;
    static const char *const units[] = {"k", "kb", "KiB", "m", "MB", "mib", "g", "gb", "GIB"};
    for (size_t i = 0; i < COUNT(units); i++) {
        char text[20];
        snprintf(text, sizeof text, "3%s", units[i]);
        assert_null(config_value_bytes(text, &bytes));
        assert_true(bytes == UINT64_C(3) << (10 + 10 * (i / 3)));
    }
    assert_true(!config_value_bytes("5b", &bytes) && bytes == 5);
    assert_true(!config_value_bytes("1048576g", &bytes) && bytes == UINT64_C(1) << 50);
    static const char *const bad[] = {"1048577g",
                                      "1125899906842625",
                                      "9223372036854775807",
                                      "9007199254740992g",
                                      "1t",
                                      "k",
                                      "1kk",
                                      "0x1k",
                                      "1e3"};
    for (size_t i = 0; i < COUNT(bad); i++)
        if (!config_value_bytes(bad[i], &bytes))
            fail_msg("taken: `%s`", bad[i]);
}

static void test_a_rate_is_so_many_in_a_time(void **state) {
    (void)state;
    struct config_rate rate = {9, 9};
    static const struct {
        const char *text;
        uint64_t per;
        int64_t unit_ms;
    } good[] = {{"0", 0, 1000},    {"5", 5, 1000},      {"5/s", 5, 1000},
                {"6/m", 6, 60000}, {"7/H", 7, 3600000}, {"1000000000", 1000000000, 1000}};
    static const char *const bad[] = {
        "", "/s", "-1", "1/d", "1 /s", "1000000001", "1/ss", "99999999999999999999/s", "1.5/s"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_non_null(config_value_rate(bad[i], &rate));
    assert_true(rate.per == 9 && rate.unit_ms == 9);
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_null(config_value_rate(good[i].text, &rate));
        assert_true(rate.per == good[i].per && rate.unit_ms == good[i].unit_ms);
    }
}

static void test_durability_is_commit_or_an_interval(void **state) {
    (void)state;
    int64_t ms = -1;
    static const char *const bad[] = {
        "",           "Commit",         "commits",     "interval",    "interval:",
        "interval:0", "interval:60001", "interval:-1", "interval:1s", "interval: 1"};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_non_null(config_value_durability(bad[i], &ms));
    assert_true(!config_value_durability("interval:1", &ms) && ms == 1);
    assert_true(!config_value_durability("interval:60000", &ms) && ms == 60000);
    assert_true(!config_value_durability("commit", &ms) && ms == 0);
}

static void test_words_of_a_list_are_taken_as_they_are(void **state) {
    (void)state;
    enum kv_eviction eviction = KV_LRU;
    enum engine_prepare prepare = ENGINE_PREPARE_OFF;
    enum log_level level = LOG_INFO;
    struct uuid uuid;
    assert_true(!config_value_eviction("noeviction", &eviction) && eviction == KV_NOEVICTION);
    assert_true(!config_value_eviction("lru", &eviction) && eviction == KV_LRU);
    assert_non_null(config_value_eviction("LRU", &eviction));
    assert_true(!config_value_prepare("auto", &prepare) && prepare == ENGINE_PREPARE_AUTO);
    assert_true(!config_value_prepare("on", &prepare) && prepare == ENGINE_PREPARE_ON);
    assert_true(!config_value_prepare("off", &prepare) && prepare == ENGINE_PREPARE_OFF);
    assert_non_null(config_value_prepare("", &prepare));
    assert_true(!config_value_level("error", &level) && level == LOG_ERROR);
    assert_non_null(config_value_level("loud", &level));
    assert_null(config_value_uuid("11111111-2222-3333-4444-55555555555f", &uuid));
    assert_non_null(config_value_uuid("11111111-2222-3333-4444-55555555555", &uuid));
    assert_non_null(config_value_uuid("11111111-2222-3333-4444-55555555555g", &uuid));
    assert_non_null(config_value_uuid("111111112-222-3333-4444-555555555555", &uuid));
}

static void test_an_origin_ends_no_header(void **state) {
    (void)state;
    static const char *const good[] = {"*", "https://a", "http://a.example:8080", "app://x",
                                       "a://[::1]:1"};
    static const char *const bad[] = {"",
                                      "**",
                                      "null",
                                      "a.example",
                                      "://a",
                                      "https://",
                                      "https://a/",
                                      "https://a/b",
                                      "https://a,https://b",
                                      "https://a b",
                                      "https://a\r\n",
                                      "https://\x7f",
                                      "https://\xc3\xa4",
                                      "h ttp://a"};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_null(config_value_origin(good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        if (!config_value_origin(bad[i]))
            fail_msg("taken: `%s`", bad[i]);
}

static void test_a_path_is_255_bytes_at_most(void **state) {
    (void)state;
    char text[260] = "/";
    static const char *const good[] = {"/a", "/a/b", "/a-._~Z9", "/a."};
    static const char *const bad[] = {"",    "/",     "a",    "/a/",  "//a",   "/a//b",     "/.",
                                      "/..", "/a/.b", "/a b", "/a?b", "/a%41", "/\xc3\xa4", "/a#"};
    for (size_t i = 0; i < COUNT(good); i++)
        assert_null(config_value_path(good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        if (!config_value_path(bad[i]))
            fail_msg("taken: `%s`", bad[i]);
    memset(text + 1, 'a', 254);
    assert_null(config_value_path(text));
    text[255] = 'a';
    assert_non_null(config_value_path(text));
}

static void test_a_database_and_its_schema(void **state) {
    (void)state;
    char schema[80] = "";
    assert_null(config_value_database("postgres://a/b"));
    assert_null(config_value_database("dbname=x"));
    assert_non_null(config_value_database("=x"));
    assert_non_null(config_value_database("x"));
    assert_non_null(config_value_database("mysql://a/b?c=d"));
    memset(schema, 's', 63);
    assert_null(config_value_schema(schema));
    schema[63] = 's';
    assert_non_null(config_value_schema(schema));
    assert_null(config_value_schema("\xc3\xa4 b"));
    assert_non_null(config_value_schema("a\nb"));
    assert_non_null(config_value_schema("a\x7f"));
    assert_null(config_value_schema("pg"));
}

static void test_an_address_is_255_bytes_at_most(void **state) {
    (void)state;
    char text[260];
    memset(text, 'a', sizeof text);
    memcpy(text + 253, ":1", 3);
    assert_null(config_value_address(text));
    memcpy(text + 254, ":1", 3);
    assert_non_null(config_value_address(text));
    assert_non_null(config_value_address("[::1:1"));
    assert_non_null(config_value_address("a:+1"));
    assert_null(config_value_address("a:65535"));
}

static void expect_self(const char *host, const char *advertise, const char *expected) {
    char self[CONFIG_SELF_BYTES], host_text[64], advertise_text[64];
    struct config config = {.rpc_host = NULL};
    if (host)
        config.rpc_host = strcpy(host_text, host);
    if (advertise)
        config.advertise = strcpy(advertise_text, advertise);
    config_self(&config, 80, self, sizeof self);
    assert_string_equal(self, expected);
}

static void test_a_node_is_at_where_it_listens_or_says(void **state) {
    (void)state;
    expect_self(NULL, NULL, "127.0.0.1:80");
    expect_self("0.0.0.0", NULL, "127.0.0.1:80");
    expect_self("::", NULL, "127.0.0.1:80");
    expect_self("[::]", NULL, "127.0.0.1:80");
    expect_self("10.0.0.1", NULL, "10.0.0.1:80");
    expect_self("fd00::1", NULL, "[fd00::1]:80");
    expect_self("10.0.0.1", "node:1", "node:1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_share_is_digits_and_a_point_from_0_to_1),
        cmocka_unit_test(test_a_word_of_yes_or_no_is_said_out),
        cmocka_unit_test(test_ports_and_counts_end_at_their_bounds),
        cmocka_unit_test(test_a_time_is_a_hundred_years_at_most),
        cmocka_unit_test(test_a_size_is_a_pebibyte_at_most),
        cmocka_unit_test(test_a_rate_is_so_many_in_a_time),
        cmocka_unit_test(test_durability_is_commit_or_an_interval),
        cmocka_unit_test(test_words_of_a_list_are_taken_as_they_are),
        cmocka_unit_test(test_an_origin_ends_no_header),
        cmocka_unit_test(test_a_path_is_255_bytes_at_most),
        cmocka_unit_test(test_a_database_and_its_schema),
        cmocka_unit_test(test_an_address_is_255_bytes_at_most),
        cmocka_unit_test(test_a_node_is_at_where_it_listens_or_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
