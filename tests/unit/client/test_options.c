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
    static const char *const names[] = {"HATI_TCP_HOST", "HATI_TCP_PORT", "HATI_TCP_SOCKET",
                                        "HATI_TOKEN", "HATI_TOKEN_FILE"};
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
        cmocka_unit_test(test_flags_of_stats_may_stand_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
