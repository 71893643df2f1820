/* SPDX-License-Identifier: MIT */
/* Absolute deadlines of connections. libmicrohttpd's own timeout starts anew with every byte, so a
 * peer that sends one now and then would keep its connection for ever. */
#ifndef HATI_SERVER_HTTP_WATCH_H
#define HATI_SERVER_HTTP_WATCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define HTTP_HEAD_MS 10000         /* for header lines, from the request line on */
#define HTTP_BODY_MS 30000         /* for a body, and in addition */
#define HTTP_BODY_BYTES_PER_MS 16U /* a ms for so many of its bytes */

struct http_watched {
    int fd;
    _Atomic int64_t due_ms; /* on the watch's clock; 0: none */
    struct http_watched *next, *prev;
};

struct http_watch {
    pthread_mutex_t lock;
    pthread_cond_t end;
    pthread_t thread;
    struct http_watched *first;
    _Atomic int64_t now_ms; /* steady clock, to about a second */
    bool ended;
    void (*each_second)(void *context);
    void *context;
};

/* Starts the thread, which also calls each_second about once a second. */
enum err http_watch_open(struct http_watch *watch, void (*each_second)(void *context),
                         void *context) MUST_USE;
/* Ends the thread. Nothing is watched any more. */
void http_watch_close(struct http_watch *watch);

/* The socket is open from here until http_watch_remove returns. Any thread. */
void http_watch_add(struct http_watch *watch, struct http_watched *watched, int fd);
void http_watch_remove(struct http_watch *watch, struct http_watched *watched);

/* Past so many ms from now the socket is shut down, which ends the connection; 0: no deadline. The
 * connection's thread; never blocks. */
void http_watch_set(struct http_watch *watch, struct http_watched *watched, int64_t timeout_ms);

#endif
