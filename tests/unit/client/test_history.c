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

#include <sys/stat.h>

#include "client/history.h"

static char folder[64], path[96];
static char seen[HISTORY_LINES + 10][64];
static unsigned count;

static void take(void *context, const char *line) {
    (void)context;
    assert_true(count < sizeof seen / sizeof seen[0]);
    snprintf(seen[count++], sizeof seen[0], "%s", line);
}

static void begin(void) {
    strcpy(folder, "/tmp/hati-history-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/h", folder);
    count = 0;
}

static void end(void) {
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

static void test_tokens_are_never_kept(void **state) {
    (void)state;
    assert_false(history_may_keep(SLICE("AUTH secret"), ""));
    assert_false(history_may_keep(SLICE("auth secret"), ""));
    assert_false(history_may_keep(SLICE("\"AUTH\" secret"), ""));
    assert_false(history_may_keep(SLICE("GET hdd mytoken"), "mytoken"));
    assert_false(history_may_keep(SLICE("SET hdd 0 a eyJhbGciOi.eyJzdWIi.c2ln"), ""));
    assert_false(history_may_keep(SLICE("{\"t\":\"eyJhbGciOi.eyJzdWIi.c2ln\"}"), ""));
}

static void test_other_lines_are_kept(void **state) {
    (void)state;
    assert_true(history_may_keep(SLICE("GET hdd a"), ""));
    assert_true(history_may_keep(SLICE("SET hdd 0 eyJ a.b"), "token"));
    assert_false(history_may_keep(SLICE(""), ""));
    assert_false(history_may_keep(SLICE(" GET hdd a"), ""));
}

static void test_lines_come_back_in_order_from_a_file_of_the_owner_alone(void **state) {
    (void)state;
    struct stat stat_;
    begin();
    history_append(path, SLICE("one"));
    history_append(path, SLICE("two"));
    assert_int_equal(stat(path, &stat_), 0);
    assert_int_equal(stat_.st_mode & 0777, 0600);
    history_read(path, take, NULL);
    assert_int_equal(count, 2);
    assert_string_equal(seen[0], "one");
    assert_string_equal(seen[1], "two");
    end();
}

static void test_a_file_that_others_could_read_is_closed_to_them(void **state) {
    (void)state;
    struct stat stat_;
    begin();
    history_append(path, SLICE("one"));
    assert_int_equal(chmod(path, 0644), 0);
    history_append(path, SLICE("two"));
    assert_int_equal(stat(path, &stat_), 0);
    assert_int_equal(stat_.st_mode & 0777, 0600);
    end();
}

static void test_no_link_is_followed(void **state) {
    (void)state;
    char target[96];
    begin();
    snprintf(target, sizeof target, "%s/t", folder);
    assert_int_equal(symlink(target, path), 0);
    history_append(path, SLICE("one"));
    assert_int_not_equal(access(target, F_OK), 0);
    history_read(path, take, NULL);
    assert_int_equal(count, 0);
    end();
}

static void test_only_the_last_lines_are_read_and_the_file_is_shortened(void **state) {
    (void)state;
    struct stat before, after;
    char line[32];
    begin();
    for (unsigned i = 0; i < 3 * HISTORY_LINES; i++) {
        snprintf(line, sizeof line, "line %u", i);
        history_append(path, slice_of_cstr(line));
    }
    assert_int_equal(stat(path, &before), 0);
    history_read(path, take, NULL);
    assert_int_equal(count, HISTORY_LINES);
    assert_string_equal(seen[0], "line 2000");
    assert_string_equal(seen[count - 1], "line 2999");
    assert_int_equal(stat(path, &after), 0);
    assert_true(after.st_size < before.st_size / 2);
    assert_int_equal(after.st_mode & 0777, 0600);
    end();
}

static void test_a_file_that_is_not_there_is_no_history(void **state) {
    (void)state;
    begin();
    history_read(path, take, NULL);
    assert_int_equal(count, 0);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_are_never_kept),
        cmocka_unit_test(test_other_lines_are_kept),
        cmocka_unit_test(test_lines_come_back_in_order_from_a_file_of_the_owner_alone),
        cmocka_unit_test(test_a_file_that_others_could_read_is_closed_to_them),
        cmocka_unit_test(test_no_link_is_followed),
        cmocka_unit_test(test_only_the_last_lines_are_read_and_the_file_is_shortened),
        cmocka_unit_test(test_a_file_that_is_not_there_is_no_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
