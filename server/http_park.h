/* SPDX-License-Identifier: MIT */
/* Requests whose result comes later. Their connection is suspended; libmicrohttpd keeps no deadline
 * for it, so a thread of ours does.
 *
 *   IDLE --begin--> RUNNING --suspend--> SUSPENDED --wake------> DONE     (resumed by the waker)
 *                      |                     \------deadline---> EXPIRED  (resumed by the thread)
 *                      \--wake--> DONE           EXPIRED --wake--> DONE   (nobody waits)
 *
 * A wait lasts as long as its caller asked: it has no deadline here, but a way to be stopped, for
 * when the caller hangs up (which libmicrohttpd does not see) or the server stops. A stopped wait
 * is woken as any other.
 */
#ifndef HATI_SERVER_HTTP_PARK_H
#define HATI_SERVER_HTTP_PARK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct MHD_Connection;
struct http_parked;

enum http_park_state { PARK_IDLE, PARK_RUNNING, PARK_SUSPENDED, PARK_DONE, PARK_EXPIRED };

struct http_parked_list {
    struct http_parked *first, *last;
};

/* Where parked requests wait; one per server. */
struct http_lot {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    struct http_parked_list timed; /* all wait equally long: in order of their deadlines */
    struct http_parked_list waits;
    _Atomic unsigned suspended; /* connections that somebody has yet to resume */
    int64_t timeout_ms;         /* 0: none */
    bool asleep;                /* the thread waits for anything at all */
    bool stopping;              /* waits are stopped as soon as they are parked */
    bool closing;               /* nothing is parked any more */
    bool ended;                 /* the thread has to end */
};

struct http_parked {
    _Atomic int state; /* enum http_park_state */
    struct MHD_Connection *connection;
    struct http_lot *lot; /* once it was parked */
    int fd;               /* of a wait: the caller's socket */
    /* Of a wait, or NULL: ends it, as far as it has not ended. Any thread, while it is parked; must
     * not call back into the lot, but may wake. */
    void (*stop)(struct http_parked *parked);
    bool listed;
    int64_t deadline_ms; /* steady clock */
    struct http_parked *next, *prev;
};

/* Starts the deadlines' thread. */
enum err http_lot_open(struct http_lot *lot, int64_t timeout_ms) MUST_USE;
/* Stops the waits whose callers hung up. */
void http_lot_stop_gone(struct http_lot *lot);
/* Stops all waits, now and from now on. */
void http_lot_stop_waits(struct http_lot *lot);
/* Wakes all that are parked as expired, and parks nothing from now on. When it returns, whoever was
 * waking another has resumed it: libmicrohttpd ends the process where it stops with a connection
 * that is suspended (0.9.75: close_all_connections in daemon.c). */
void http_lot_expire_all(struct http_lot *lot);
/* Ends the thread. Nothing is parked. */
void http_lot_close(struct http_lot *lot);

/* Before the work is started that may answer later. The connection's thread. */
void http_park_begin(struct http_parked *parked, struct MHD_Connection *connection);
/* The same for a wait. */
void http_park_begin_wait(struct http_parked *parked, struct MHD_Connection *connection, int fd,
                          void (*stop)(struct http_parked *parked));
/* The work answered ERR_PENDING. ERR_PENDING: the connection is suspended; return to libmicrohttpd.
 * OK: the result is there already. ERR_TIMEOUT: nothing is parked any more, nobody waits for the
 * result. The connection's thread, inside one of libmicrohttpd's callbacks. */
enum err http_park(struct http_lot *lot, struct http_parked *parked) MUST_USE;
/* The connection goes on: OK (the result is there) or ERR_TIMEOUT. The connection's thread. */
enum err http_unpark(struct http_lot *lot, struct http_parked *parked) MUST_USE;

/* The connection ended and does not go on: nobody waits for the result. The connection's thread. */
void http_park_leave(struct http_lot *lot, struct http_parked *parked);

/* The result is there. Any thread, once for each begin whose work is pending. parked must live
 * until it returns. */
void http_park_wake(struct http_parked *parked);

/* Did the peer of this socket close it, or its half of it? */
bool http_is_gone(int fd);

#endif
