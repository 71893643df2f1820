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

#include "client/options.h"

static struct arena arena;
static struct options options;
static char why[OPTIONS_WHY_BYTES];

static bool read_flags(int count, const char *const *flags) {
    arena_done(&arena);
    arena_init(&arena, 65536);
    *why = '\0';
    return options_read(count, (char **)(uintptr_t)flags, &arena, &options, why);
}

static void clear(void) {
    static const char *const names[] = {"HATI_TCP_HOST", "HATI_TCP_PORT",       "HATI_TCP_SOCKET",
                                        "HATI_TOKEN",    "HATI_TOKEN_FILE",     "HATI_TCP_TLS",
                                        "HATI_TLS_CA",   "HATI_TLS_FINGERPRINT"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
}

static void test_without_anything_the_defaults_stand(void **state) {
    (void)state;
    clear();
    assert_true(read_flags(0, NULL));
    assert_string_equal(options.place, "localhost:4242");
    assert_null(options.token);
    assert_null(options.tcp_socket);
    assert_int_equal(options.timeout_ms, 60000);
    assert_int_equal(options.words, 0);
}

static const char *const seven[] = {"--tcp-port", "7", "--tcp-host=::1", "--", "GET", "--x"};

static void test_flags_end_at_the_command_or_at_two_dashes(void **state) {
    (void)state;
    clear();
    assert_true(read_flags(6, seven));
    assert_int_equal(options.words, 4);
    assert_string_equal(options.place, "[::1]:7");
    static const char *const plain[] = {"GET", "--tcp-port", "7"};
    assert_true(read_flags(3, plain));
    assert_int_equal(options.words, 0);
    assert_string_equal(options.tcp_port, "4242");
}

static void test_a_flag_stands_over_the_environment(void **state) {
    (void)state;
    clear();
    setenv("HATI_TCP_HOST", "0.0.0.0", 1);
    setenv("HATI_TCP_PORT", "tcp://10.0.0.1:4242", 1);
    assert_true(read_flags(0, NULL));
    assert_string_equal(options.place, "localhost:4242");
    setenv("HATI_TCP_PORT", "5", 1);
    setenv("HATI_TCP_SOCKET", "/s", 1);
    assert_true(read_flags(0, NULL));
    assert_string_equal(options.place, "/s");
    static const char *const port[] = {"--tcp-port", "6"};
    assert_true(read_flags(2, port));
    assert_string_equal(options.place, "localhost:6");
    clear();
}

static void test_the_token_comes_from_a_file_or_the_environment(void **state) {
    (void)state;
    char path[] = "/tmp/hati-token-XXXXXX";
    const char *const flags[] = {"--token-file", path};
    clear();
    setenv("HATI_TOKEN", "env", 1);
    assert_true(read_flags(0, NULL));
    assert_string_equal(options.token, "env");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "file\n", 5), 5);
    assert_true(read_flags(2, flags));
    assert_string_equal(options.token, "file");
    assert_int_equal(write(fd, "QUIT\n", 5), 5);
    assert_false(read_flags(2, flags));
    assert_null(strstr(why, "QUIT"));
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_false(read_flags(2, flags));
    close(fd);
    unlink(path);
    assert_false(read_flags(2, flags));
    clear();
}

static void assert_refused(const char *flag, const char *value) {
    const char *const flags[] = {flag, value};
    assert_false(read_flags(value ? 2 : 1, flags));
    assert_true(strlen(why) > 0);
}

static void test_what_is_wrong_is_refused(void **state) {
    (void)state;
    clear();
    assert_refused("--nosuch", NULL);
    assert_refused("--tcp-port", NULL);
    assert_refused("--tcp-port", "0");
    assert_refused("--tcp-port", "65536");
    assert_refused("--timeout", "soon");
    assert_refused("--every", "1ms");
    assert_refused("--use", "a b");
    assert_refused("--use", "a\nFLUSHALL hdd");
    assert_refused("--table=1", NULL);
    assert_refused("--token", "secret");
    assert_null(strstr(why, "secret"));
    assert_refused("stats", "x");
}

#define PIN "00:01:02:03:04:05:06:07:08:09:0A:0b:0C:0d:0E:0f"

static void test_a_fingerprint_has_colons_or_none_and_asks_for_tls(void **state) {
    static const char *const with[] = {"--tls-fingerprint", PIN ":" PIN};
    static const char *const without[] = {"--tls-fingerprint", "000102030405060708090a0B0c0D0e0F"
                                                               "000102030405060708090A0B0C0D0E0F"};
    (void)state;
    clear();
    for (unsigned i = 0; i < 2; i++) {
        assert_true(read_flags(2, i ? without : with));
        assert_true(options.tls && options.tls_pinned);
        for (unsigned j = 0; j < OPTIONS_PIN_BYTES; j++)
            assert_int_equal(options.tls_pin[j], j % 16);
    }
    assert_refused("--tls-fingerprint", PIN);
    assert_refused("--tls-fingerprint", PIN ":" PIN ":");
    assert_refused("--tls-fingerprint", PIN "::" PIN);
    assert_refused("--tls-fingerprint", PIN ":" PIN "00");
    assert_refused("--tls-fingerprint", "");
}

static void test_tls_is_for_tcp_and_its_files_can_be_read(void **state) {
    static const char *const tls[] = {"--tls", "--tcp-socket", "/s"};
    static const char *const both[] = {"--tls-ca=/dev/null", "--tls-fingerprint", PIN ":" PIN};
    (void)state;
    clear();
    assert_true(read_flags(0, NULL));
    assert_false(options.tls);
    assert_true(read_flags(1, tls));
    assert_true(options.tls && !options.tls_pinned);
    assert_false(read_flags(3, tls));
    assert_false(read_flags(3, both));
    assert_refused("--tls-ca", "/nosuch/file");
    assert_refused("--tls-cert", "/dev/null");
    assert_refused("--tls-key", "/dev/null");
}

static void test_the_environment_may_ask_for_tls(void **state) {
    static const char *const ca[] = {"--tls-ca", "/dev/null"};
    (void)state;
    clear();
    setenv("HATI_TLS_FINGERPRINT", PIN ":" PIN, 1);
    assert_true(read_flags(0, NULL));
    assert_false(options.tls);
    setenv("HATI_TCP_TLS", "true", 1);
    assert_true(read_flags(0, NULL));
    assert_true(options.tls && options.tls_pinned);
    assert_true(read_flags(2, ca)); /* a flag stands over it */
    assert_false(options.tls_pinned);
    setenv("HATI_TCP_SOCKET", "/s", 1);
    assert_true(read_flags(0, NULL));
    assert_string_equal(options.place, "/s");
    assert_false(options.tls);
    assert_true(read_flags(2, ca));
    assert_null(options.tcp_socket);
    clear();
}

static void test_flags_of_stats_may_stand_behind_it(void **state) {
    (void)state;
    clear();
    static const char *const flags[] = {"--tcp-port", "7", "stats", "--every", "2s"};
    assert_true(read_flags(5, flags));
    assert_true(options.stats);
    assert_int_equal(options.every_ms, 2000);
    static const char *const upper[] = {"STATS"};
    assert_true(read_flags(1, upper));
    assert_false(options.stats);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_anything_the_defaults_stand),
        cmocka_unit_test(test_flags_end_at_the_command_or_at_two_dashes),
        cmocka_unit_test(test_a_flag_stands_over_the_environment),
        cmocka_unit_test(test_the_token_comes_from_a_file_or_the_environment),
        cmocka_unit_test(test_what_is_wrong_is_refused),
        cmocka_unit_test(test_a_fingerprint_has_colons_or_none_and_asks_for_tls),
        cmocka_unit_test(test_tls_is_for_tcp_and_its_files_can_be_read),
        cmocka_unit_test(test_the_environment_may_ask_for_tls),
        cmocka_unit_test(test_flags_of_stats_may_stand_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
