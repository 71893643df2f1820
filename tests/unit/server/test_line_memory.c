/* SPDX-License-Identifier: MIT */
/* wrap: malloc calloc realloc */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include "../broker/scarce.h"
#include "server/line_memory.h"

static void never(uv_poll_t *poll, int status, int events) {
    (void)poll, (void)status, (void)events;
}

static void test_a_loop_watches_a_high_descriptor_without_memory(void **state) {
    uv_loop_t loop;
    uv_poll_t low;
    uv_poll_t high;
    (void)state;
    assert_int_equal(line_memory_open(), OK);
    assert_int_equal(uv_loop_init(&loop), 0);
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int high_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    assert_true(fd >= 0 && high_fd >= 900);
    assert_int_equal(uv_poll_init(&loop, &low, fd), 0);
    assert_int_equal(uv_poll_start(&low, UV_READABLE, never), 0);
    assert_int_equal(uv_poll_init(&loop, &high, high_fd), 0);
    scarce_begin(1, 1000);
    int status = uv_poll_start(&high, UV_READABLE, never);
    assert_true(scarce_end());
    assert_int_equal(status, 0);
    uv_close((uv_handle_t *)&low, NULL);
    uv_close((uv_handle_t *)&high, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    close(fd);
    close(high_fd);
    line_memory_close();
}

static void test_without_memory_nothing_is_kept_and_that_is_said(void **state) {
    (void)state;
    scarce_begin(3, 1);
    enum err err = line_memory_open();
    assert_true(scarce_end());
    assert_int_equal(err, ERR_OUT_OF_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_loop_watches_a_high_descriptor_without_memory),
        cmocka_unit_test(test_without_memory_nothing_is_kept_and_that_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
