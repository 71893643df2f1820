/* SPDX-License-Identifier: MIT */
/* Pages that are not there: a file that became shorter than its map. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "journal/env_fault.h"

static void end_with_seven(int signal) {
    (void)signal;
    _exit(7);
}

struct outcome {
    int status;
    char said[200];
};

static void fault(int depth, int stderr_fd) {
    char path[] = "/tmp/hati-fault-XXXXXX";
    signal(SIGBUS, end_with_seven); /* who was asked before */
    env_fault_watch();
    dup2(stderr_fd, STDERR_FILENO);
    for (int i = 0; i < 2; i++)
        env_fault_enter("the/directory");
    for (int i = 2; i > depth; i--)
        env_fault_leave();
    int fd = mkstemp(path);
    unlink(path);
    volatile char *map = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    (void)map[5000];
    exit(0);
}

/* In a process of its own, which cmocka's handlers are not in the way of. */
static struct outcome outcome_of(int depth) {
    struct outcome outcome = {0};
    int pipes[2];
    if (pipe(pipes) != 0)
        abort();
    pid_t child = fork();
    if (child == 0)
        fault(depth, pipes[1]);
    close(pipes[1]);
    for (size_t len = 0; len < sizeof outcome.said - 1;) {
        ssize_t got = read(pipes[0], outcome.said + len, sizeof outcome.said - 1 - len);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    close(pipes[0]);
    waitpid(child, &outcome.status, 0);
    return outcome;
}

static struct outcome inside, outside;

static void test_a_page_that_is_missing_ends_the_process_with_a_line(void **state) {
    (void)state;
    assert_true(WIFEXITED(inside.status));
    assert_int_equal(WEXITSTATUS(inside.status), 1);
    assert_non_null(strstr(inside.said, "the/directory/data.mdb is damaged"));
}

static void test_a_fault_elsewhere_goes_to_who_was_asked_before(void **state) {
    (void)state;
    assert_true(WIFEXITED(outside.status));
    assert_int_equal(WEXITSTATUS(outside.status), 7);
    assert_null(strstr(outside.said, "damaged"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_page_that_is_missing_ends_the_process_with_a_line),
        cmocka_unit_test(test_a_fault_elsewhere_goes_to_who_was_asked_before),
    };
    inside = outcome_of(1);
    outside = outcome_of(0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
