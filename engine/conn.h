/* SPDX-License-Identifier: MIT */
/* One connection: libpq's asynchronous functions on the loop.
 *
 *   CLOSED ──> CONNECTING ──> CHECKING ──> IDLE <──> BUSY ──> KEPT (a transaction is open)
 *      ^            │             │          ^          │         │
 *      └────────────┴─────────────┴──────────┼──────────┘         v
 *                   lost, refused            └────────────── ROLLING BACK
 */
#ifndef HATI_ENGINE_CONN_H
#define HATI_ENGINE_CONN_H

#include <stdatomic.h>

#include "engine/pool.h"

enum conn_state {
    CONN_CLOSED,
    CONN_CONNECTING,
    CONN_CHECKING,
    CONN_IDLE,
    CONN_BUSY,
    CONN_KEPT,
    CONN_ROLLING
};

struct watch;

struct conn {
    struct pool *pool;
    struct conn *next;
    PGconn *pg;
    struct watch *watch; /* of its socket */
    enum conn_state state;
    int64_t deadline_ms; /* of connecting, checking, rolling back; of an idle one: since when */
    struct request *request;
    struct request own; /* checks and rollbacks */
    unsigned expect;    /* results to come: twice the step, and one for its prepare */
    bool broken;        /* to be ended at the next tick: never from within a call of the pool's */
    bool doubtful;      /* a notice said that a commit is not what was asked for */
    bool prepared[SQL_COUNT][2];
    bool preparing[REQUEST_STEPS_MAX];
};

struct pool {
    struct pool_options options;
    char *url, *name;
    struct pool_identity identity;
    struct conn *conns;
    unsigned conn_count;
    struct request *waiting, **last_waiting;
    struct request *starved; /* those whose parameters found no memory: told at the next tick */
    uv_timer_t ticker;
    unsigned failures;   /* to connect, one after another */
    int64_t next_try_ms; /* not before */
    unsigned host_turn;  /* which of the hosts comes first */
    bool use_names;      /* prepared statements */
    bool closing;
    void (*closed)(void *context);
    void *closed_context;
    char trouble[256];
    _Atomic unsigned shown_connecting, shown_idle, shown_busy, shown_waiting;
};

/* Begins to connect; the conn is the pool's in state CONNECTING, or nothing came of it. */
void conn_open(struct pool *pool);
/* Sends what the conn's request says. */
void conn_send(struct conn *conn, struct request *request);
/* Ends it: its request is done as LOST (or NOT_SENT while nothing was sent). */
void conn_end(struct conn *conn, const char *why);
/* Begins to roll back what is open. */
void conn_roll_back(struct conn *conn);

/* pool.c: a connection is free. */
void pool_serve(struct pool *pool);
/* pool.c: takes a conn that has ended out of the pool and frees it. */
void pool_forget(struct conn *conn);
/* Connecting failed, or what was reached is not to be used. */
void pool_note_failure(struct pool *pool, const char *why);
/* pool.c: a prepared statement is not there, or was there before: a pooler stands in between. */
void pool_note_lost_name(struct conn *conn);
/* pool.c: a check is answered: false where this server is not to be used. */
bool pool_accept(struct pool *pool, struct conn *conn, const struct request *check);

#endif
