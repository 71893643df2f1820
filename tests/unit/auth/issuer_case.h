/* SPDX-License-Identifier: MIT */
/* An issuer of this machine that answers each request with the next of its replies. */
#ifndef HATI_TESTS_AUTH_ISSUER_CASE_H
#define HATI_TESTS_AUTH_ISSUER_CASE_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/slice.h"

#define ISSUER_OK "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"

struct issuer_reply {
    const char *head; /* NULL: the connection is held open, unanswered, until it is closed there */
    struct slice body;
};

struct issuer {
    int listener;
    char url[64];
    const struct issuer_reply *replies; /* the last one over and over */
    unsigned count;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned asked;
};

static inline void issuer_send(int fd, struct slice bytes) {
    while (bytes.len) {
        ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes = slice_make(bytes.ptr + sent, bytes.len - (size_t)sent);
    }
}

static inline void issuer_answer(struct issuer *issuer, int fd) {
    char bytes[4096];
    size_t len = 0;
    for (ssize_t got = 1; got > 0 && !memmem(bytes, len, "\r\n\r\n", 4); len += (size_t)got)
        got = recv(fd, bytes + len, sizeof bytes - len, 0);
    pthread_mutex_lock(&issuer->lock);
    unsigned which = issuer->asked < issuer->count ? issuer->asked : issuer->count - 1;
    issuer->asked++;
    pthread_cond_broadcast(&issuer->changed);
    pthread_mutex_unlock(&issuer->lock);
    const struct issuer_reply *reply = &issuer->replies[which];
    if (reply->head) {
        issuer_send(fd, slice_of_cstr(reply->head));
        issuer_send(fd, reply->body);
    } else {
        while (recv(fd, bytes, sizeof bytes, 0) > 0)
            continue;
    }
}

static inline void *issuer_run(void *context) {
    struct issuer *issuer = context;
    for (int fd; (fd = accept(issuer->listener, NULL, NULL)) >= 0; close(fd))
        issuer_answer(issuer, fd);
    return NULL;
}

static inline void issuer_open(struct issuer *issuer, const struct issuer_reply *replies,
                               unsigned count) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    *issuer = (struct issuer){.replies = replies, .count = count};
    pthread_mutex_init(&issuer->lock, NULL);
    pthread_cond_init(&issuer->changed, NULL);
    issuer->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(issuer->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(issuer->listener, 16), 0);
    assert_int_equal(getsockname(issuer->listener, (struct sockaddr *)&at, &len), 0);
    snprintf(issuer->url, sizeof issuer->url, "http://127.0.0.1:%u/keys", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&issuer->thread, NULL, issuer_run, issuer), 0);
}

/* Waits for the n-th request; what it answered to the one before was judged by then. */
static inline void issuer_await(struct issuer *issuer, unsigned n) {
    pthread_mutex_lock(&issuer->lock);
    while (issuer->asked < n)
        pthread_cond_wait(&issuer->changed, &issuer->lock);
    pthread_mutex_unlock(&issuer->lock);
}

static inline void issuer_close(struct issuer *issuer) {
    shutdown(issuer->listener, SHUT_RDWR);
    pthread_join(issuer->thread, NULL);
    close(issuer->listener);
    pthread_cond_destroy(&issuer->changed);
    pthread_mutex_destroy(&issuer->lock);
}

#endif
