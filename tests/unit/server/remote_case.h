/* SPDX-License-Identifier: MIT */
/* What the units of doors over a remote store share: sockets, and a door over the double. */
#ifndef HATI_TESTS_REMOTE_CASE_H
#define HATI_TESTS_REMOTE_CASE_H

#include "tests/unit/remote_double.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "server/config.h"

#define WAIT_S 60

static unsigned port;

static inline struct config remote_config(void) {
    static char host[] = "127.0.0.1";
    return (struct config){.tcp = true,
                           .tcp_host = host,
                           .rpc_host = host,
                           .tcp_threads = 1,
                           .cpu_num = 2,
                           .payload_limit_bytes = 262144,
                           .line_limit_bytes = 300000,
                           .connection_limit = 100,
                           .inflight_limit_bytes = 1 << 20,
                           .request_timeout_ms = 60000,
                           .drain_timeout_ms = 60000};
}

static inline void remote_core_open(struct core *core, bool threaded) {
    memset(core, 0, sizeof *core);
    core->payload_limit_bytes = 262144;
    memset(core->default_workspace.bytes, 0x11, 16);
    core->ready = true;
    op_init();
    remote_open(core, threaded);
}

static inline int dial(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval wait = {.tv_sec = WAIT_S};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static inline void say(int fd, const char *text) {
    size_t len = strlen(text);
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(fd, text + sent, len - sent, MSG_NOSIGNAL);
        assert_true(n > 0);
        sent += (size_t)n;
    }
}

/* Hears exactly this. */
static inline void hear(int fd, const char *text) {
    size_t len = strlen(text);
    char *got = malloc(len + 1);
    size_t have = 0;
    while (have < len) {
        ssize_t n = recv(fd, got + have, len - have, 0);
        if (n <= 0)
            fail_msg("expected <%s>, got <%.*s> and no more", text, (int)have, got);
        have += (size_t)n;
    }
    got[len] = '\0';
    if (memcmp(got, text, len) != 0)
        fail_msg("expected <%s>, got <%s>", text, got);
    free(got);
}

/* Hears one line that begins so; the line is in `line`, without its newline. */
static char line[65536];

static inline void hear_line(int fd, const char *start) {
    size_t len = 0;
    while (len < sizeof line - 1 && recv(fd, line + len, 1, 0) == 1 && line[len++] != '\n')
        ;
    line[len ? len - 1 : 0] = '\0';
    if (len == 0 || strncmp(line, start, strlen(start)) != 0)
        fail_msg("expected a line beginning <%s>, got <%s>", start, line);
}

static inline bool is_closed(int fd) {
    char byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

/* A request whose answer comes when the test lets it: all it takes is carried out. */
static inline void come_back_until_quiet(unsigned jobs) {
    while (jobs-- > 0) {
        remote_await(1);
        remote_come_back(1, false);
    }
}

#endif
