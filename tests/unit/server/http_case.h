/* SPDX-License-Identifier: MIT */
/* The HTTP door over sockets, on the store of rpc_fake.h. Included by one program each. */
#ifndef HATI_TESTS_HTTP_CASE_H
#define HATI_TESTS_HTTP_CASE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/http.h"
#include "tests/unit/server/rpc_fake.h"
#include "tests/unit/server/snapshot_fake.h"

#define ANSWER_BYTES 65536
#define HOST "Host: a\r\n"
#define PUT_HDD "PUT /api/n/k HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
#define GET_MEMORY "GET /api/n/k?type=memory HTTP/1.1\r\n" HOST "\r\n"

static struct config config;
static struct core core;
static struct http_server *server;
static unsigned port;
static char answer[ANSWER_BYTES];

bool kv_is_ready(struct kv *kv) {
    (void)kv;
    return true;
}

enum err auth_check(struct auth *auth, struct slice token, int64_t now_ms,
                    struct auth_grant *ret_grant) {
    (void)auth, (void)now_ms;
    if (!slice_equal(token, SLICE("good")))
        return ERR_AUTH_REQUIRED;
    *ret_grant = (struct auth_grant){.signed_in = true};
    return OK;
}

static inline int start(void **state) {
    static char host[] = "127.0.0.1";
    char why[256];
    (void)state;
    config = (struct config){.header_timeout_ms = 10000,
                             .rpc_host = host,
                             .cpu_num = 2,
                             .connection_limit = 100,
                             .inflight_limit_bytes = 1 << 20,
                             .request_timeout_ms = 30000,
                             .drain_timeout_ms = 10000};
    core.payload_limit_bytes = 1000;
    core.auth = NULL;
    atomic_store(&core.ready, true);
    assert_int_equal(http_server_start(&config, &core, &server, &port, why, sizeof why), OK);
    return 0;
}

static inline void start_again(int64_t request_timeout_ms, int64_t drain_timeout_ms) {
    char why[256];
    http_server_stop(server);
    config.request_timeout_ms = request_timeout_ms;
    config.drain_timeout_ms = drain_timeout_ms;
    assert_int_equal(http_server_start(&config, &core, &server, &port, why, sizeof why), OK);
}

static inline int stop_server(void **state) {
    (void)state;
    http_server_stop(server);
    server = NULL;
    fake_forget();
    return 0;
}

static inline int dial(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = 60};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static inline void say_bytes(int fd, const char *bytes, size_t len) {
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static inline void say(int fd, const char *text) {
    say_bytes(fd, text, strlen(text));
}

/* Reads one answer with its body (by Content-Length, or none) and tells its status. */
static inline int hear(int fd) {
    size_t len = 0;
    size_t whole = 0;
    while (whole == 0 || len < whole) {
        ssize_t got = recv(fd, answer + len, whole ? whole - len : 1, 0);
        if (got <= 0)
            return 0;
        len += (size_t)got;
        answer[len] = '\0';
        if (whole || len < 4 || strcmp(answer + len - 4, "\r\n\r\n") != 0)
            continue;
        const char *length = strstr(answer, "Content-Length: ");
        whole = len + (length ? (size_t)atoi(length + 16) : 0);
    }
    return atoi(answer + 9);
}

static inline int status_of(int fd, const char *text) {
    say(fd, text);
    return hear(fd);
}

static inline bool said(const char *text) {
    return strstr(answer, text) != NULL;
}

static inline const char *body(void) {
    return strstr(answer, "\r\n\r\n") + 4;
}

static inline bool is_closed(int fd) {
    char byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

static inline void wait_queued(unsigned count) {
    while (fake_queued() < count)
        sched_yield();
}

static inline struct kv_list *wait_list(void) {
    struct kv_list *list = NULL;
    while (!list) {
        sched_yield();
        pthread_mutex_lock(&fake.lock);
        list = fake.list;
        pthread_mutex_unlock(&fake.lock);
    }
    return list;
}

#endif
