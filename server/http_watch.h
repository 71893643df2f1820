/* SPDX-License-Identifier: MIT */
/* Deadlines of connections, and the least rate at which answers are taken. libmicrohttpd's own
 * timeout starts anew with every byte, so a peer that sends or takes one now and then would keep
 * its connection for ever. */
#ifndef HATI_SERVER_HTTP_WATCH_H
#define HATI_SERVER_HTTP_WATCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "server/slow_reader.h"

struct limits;

enum http_phase {
    HTTP_PHASE_IDLE,   /* between requests */
    HTTP_PHASE_HEAD,   /* header lines come; from the start of the connection, or a request line */
    HTTP_PHASE_BODY,   /* a body comes */
    HTTP_PHASE_ANSWER, /* the request is carried out and answered; it has no deadline here, but its
                          answer has to be taken */
    HTTP_PHASE_STREAM  /* events of a queue, a snapshot: read at the pace of who works on them */
};

struct http_watched {
    int fd;
    _Atomic unsigned phase; /* enum http_phase */
    _Atomic int64_t due_ms; /* on the watch's clock; 0: none */
    struct slow_reader reader;
    bool has_ended; /* at the last tick its sender had, in the middle of a body */
    struct http_watched *next, *prev;
};

struct http_watch {
    pthread_mutex_t lock;
    pthread_cond_t end;
    pthread_t thread;
    struct http_watched *first;
    _Atomic int64_t now_ms; /* steady clock, to about a second */
    bool ended;
    struct limits *limits; /* counts who is cut off */
    struct slow_reader_rule rule;
    void (*each_second)(void *context);
    void *context;
};

/* Starts the thread, which also calls each_second about once a second. limits and rule are set. */
enum err http_watch_open(struct http_watch *watch, void (*each_second)(void *context),
                         void *context) MUST_USE;
/* Ends the thread. Nothing is watched any more. */
void http_watch_close(struct http_watch *watch);

/* The socket is open from here until http_watch_remove returns. Any thread. */
void http_watch_add(struct http_watch *watch, struct http_watched *watched, int fd);
void http_watch_remove(struct http_watch *watch, struct http_watched *watched);

#define HTTP_WATCH_TICK_MS 1000

/* Past so many ms from now, and up to two ticks more, the socket is shut down, which ends the
 * connection; 0: no deadline. The connection's thread; never blocks. */
void http_watch_set(struct http_watch *watch, struct http_watched *watched, enum http_phase phase,
                    int64_t timeout_ms);
/* The deadline that stands is moved by so many ms. The connection's thread. */
void http_watch_extend(struct http_watched *watched, int64_t by_ms);

#endif
