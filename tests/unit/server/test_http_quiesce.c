/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/http_quiesce.h"

#define WORKERS 3
#define DESCRIPTORS 256

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_bytes, void **request_context) {
    (void)context, (void)connection, (void)url, (void)method, (void)version, (void)data,
        (void)data_bytes, (void)request_context;
    return MHD_NO;
}

static int listen_somewhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

/* Whether an epoll descriptor watches fd, as the kernel says. */
static bool watches(int epoll_fd, int fd) {
    char path[64], line[256];
    bool found = false;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epoll_fd);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        int watched;
        found |= sscanf(line, "tfd: %d", &watched) == 1 && watched == fd;
    }
    if (file)
        fclose(file);
    return found;
}

/* As the workers do where they come first. */
static unsigned forget_everywhere(int fd) {
    unsigned count = 0;
    for (int at = 0; at < DESCRIPTORS; at++) {
        if (!watches(at, fd))
            continue;
        assert_int_equal(epoll_ctl(at, EPOLL_CTL_DEL, fd, NULL), 0);
        count++;
    }
    return count;
}

static void test_workers_may_let_go_of_the_socket_first(void **state) {
    (void)state;
    int fd = listen_somewhere();
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, on_request,
                         NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE,
                         (unsigned)WORKERS, MHD_OPTION_END);
    assert_non_null(daemon);
    for (unsigned gone = 0; gone < WORKERS;) /* each begins when its thread does */
        gone += forget_everywhere(fd);
    http_quiesce(daemon);
    MHD_stop_daemon(daemon);
    assert_int_equal(close(fd), 0); /* it was not the library's any more */
}

static void test_what_is_not_watched_is_forgotten_already(void **state) {
    (void)state;
    struct epoll_event event = {.events = EPOLLIN};
    int epoll_fd = epoll_create1(0), fd = eventfd(0, 0);
    assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL), 0);
    assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
    assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), -1);
    assert_int_equal(errno, EEXIST);
    assert_true(watches(epoll_fd, fd));
    assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL), 0);
    assert_false(watches(epoll_fd, fd));
    close(fd);
    assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL), -1);
    assert_int_equal(errno, EBADF);
    close(epoll_fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_may_let_go_of_the_socket_first),
        cmocka_unit_test(test_what_is_not_watched_is_forgotten_already),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
