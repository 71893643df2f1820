/* SPDX-License-Identifier: MIT */
/* What the units of messages on lines share. */
#ifndef HATI_TESTS_LINE_BROKER_CASE_H
#define HATI_TESTS_LINE_BROKER_CASE_H

#include "line_fake.h"

#include "broker_fake.h"

/* The loop is done with what it was at. */
static inline void await_loop(const struct fixture *fixture) {
    int fd = dial(fixture);
    say(fd, "PING\n");
    hear(fd, "+PONG\n");
    close(fd);
}

static inline void reset(int fd) {
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

/* Publishes messages of so many bytes to q; returns one with its newline. */
static inline char *publish_large(int fd, int count, size_t len) {
    char *request = malloc(len + 64);
    int head = snprintf(request, 64, "PUBLISHB default q %zu\n", len);
    char *payload = request + head;
    memset(payload, 'x', len);
    payload[len] = '\n';
    for (int i = 0; i < count; i++) {
        say_bytes(fd, request, (size_t)head + len + 1);
        hear_line(fd, "+OK m");
    }
    memmove(request, payload, len + 1);
    return request;
}

static inline void *stop_in_thread(void *context) {
    struct fixture *fixture = context;
    line_server_stop(fixture->server);
    return NULL;
}

static inline int start(void **state) {
    static struct fixture fixture;
    fixture_init(&fixture);
    fixture.core.broker = &fake_broker;
    fixture_start(&fixture);
    *state = &fixture;
    return 0;
}

static inline int stop(void **state) {
    fixture_stop(*state);
    fake_broker_forget();
    return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)

#endif
