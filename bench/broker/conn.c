/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/broker/load.h"

#define EVENTS 256
#define READ_BYTES 262144

static int epoll_fd = -1;

_Noreturn void load_die(const char *what) {
    fprintf(stderr, "broker_load: %s: %s\n", what, errno ? strerror(errno) : "given up");
    exit(1);
}

_Noreturn void load_die_reply(const char *at, size_t left) {
    fprintf(stderr, "broker_load: did not expect: %.*s\n", (int)(left < 200 ? left : 200), at);
    exit(1);
}

uint64_t load_number(const char *at, const char *end) {
    uint64_t number = 0;
    while (at < end && *at >= '0' && *at <= '9')
        number = number * 10 + (uint64_t)(*at++ - '0');
    return number;
}

static char *make_room(struct bytes *bytes, size_t more) {
    if (bytes->len + more > bytes->room) {
        bytes->room = (bytes->len + more) * 2;
        bytes->at = realloc(bytes->at, bytes->room);
        if (!bytes->at)
            load_die("memory");
    }
    return bytes->at + bytes->len;
}

void conn_put(struct conn *conn, const char *bytes, size_t len) {
    memcpy(make_room(&conn->out, len), bytes, len);
    conn->out.len += len;
}

void conn_put_text(struct conn *conn, const char *text) {
    conn_put(conn, text, strlen(text));
}

void conn_put_number(struct conn *conn, uint64_t number) {
    char digits[20];
    char *at = digits + sizeof digits;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    conn_put(conn, at, (size_t)(digits + sizeof digits - at));
}

void conn_put_payload(struct conn *conn, uint64_t number) {
    char *to = make_room(&conn->out, options.payload_bytes);
    memset(to + LOAD_NUMBER_BYTES, 'v', options.payload_bytes - LOAD_NUMBER_BYTES);
    for (char *at = to + LOAD_NUMBER_BYTES; at > to; number /= 10)
        *--at = (char)('0' + number % 10);
    conn->out.len += options.payload_bytes;
}

static void watch(struct conn *conn, bool wants_out, int how) {
    struct epoll_event event = {.events = wants_out ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                .data.ptr = conn};
    if (epoll_ctl(epoll_fd, how, conn->fd, &event) != 0)
        load_die("epoll_ctl");
    conn->wants_out = wants_out;
}

struct conn *conn_open(unsigned index, bool consumes) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)options.ports[index % options.port_count]),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    struct conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        load_die("memory");
    conn->index = index;
    conn->consumes = consumes;
    conn->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&to, sizeof to) != 0)
        load_die("connect");
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(conn->fd, F_SETFL, O_NONBLOCK);
    if (epoll_fd < 0)
        epoll_fd = epoll_create1(0);
    watch(conn, false, EPOLL_CTL_ADD);
    if (options.dialect->hello)
        options.dialect->hello(conn);
    return conn;
}

void conn_close(struct conn *conn) {
    close(conn->fd);
    free(conn->out.at);
    free(conn->in.at);
    free(conn);
}

void conn_flush(struct conn *conn) {
    if (conn->sent < conn->out.len) {
        ssize_t sent =
            send(conn->fd, conn->out.at + conn->sent, conn->out.len - conn->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            load_die("send");
        conn->sent += sent > 0 ? (size_t)sent : 0;
    }
    if (conn->sent == conn->out.len)
        conn->sent = conn->out.len = 0;
    bool wants_out = conn->sent < conn->out.len;
    if (wants_out != conn->wants_out)
        watch(conn, wants_out, EPOLL_CTL_MOD);
}

static size_t read_some(struct conn *conn) {
    char *to = make_room(&conn->in, READ_BYTES);
    ssize_t got = recv(conn->fd, to, READ_BYTES, 0);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got == 0)
        errno = 0;
    if (got <= 0)
        load_die(got ? "recv" : "the server hung up");
    conn->in.len += (size_t)got;
    return (size_t)got;
}

void conn_ask(struct conn *conn, const char *until, const char *or_else) {
    struct pollfd here = {.fd = conn->fd, .events = POLLIN};
    conn_flush(conn);
    for (;;) {
        if (poll(&here, 1, 10000) != 1)
            load_die(until);
        read_some(conn);
        if (or_else && memmem(conn->in.at, conn->in.len, or_else, strlen(or_else)))
            load_die_reply(conn->in.at, conn->in.len);
        if (memmem(conn->in.at, conn->in.len, until, strlen(until)))
            break;
    }
    conn->in.len = 0;
}

static void hear(struct conn *conn) {
    size_t at = 0;
    size_t took = 1;
    if (read_some(conn) == 0)
        return;
    while (took && at < conn->in.len) {
        took = options.dialect->hear(conn, conn->in.at + at, conn->in.len - at);
        at += took;
    }
    conn->in.len -= at;
    if (at && conn->in.len)
        memmove(conn->in.at, conn->in.at + at, conn->in.len);
}

void conn_turn(int timeout_ms) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll_fd, events, EVENTS, timeout_ms);
    for (int i = 0; i < count; i++) {
        struct conn *conn = events[i].data.ptr;
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            hear(conn);
        load_step(conn);
        conn_flush(conn);
    }
}
