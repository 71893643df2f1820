/* SPDX-License-Identifier: MIT */
/* Connections to one database, and the requests that wait for one. A request is a few statements
 * that go out together (pipelined, with one Sync) and are answered together.
 *
 *   pool_send ──> waiting ──> a free connection ──> sent ──> done
 *                                   └─ keeps_conn: the transaction's connection stays with the
 * caller
 *
 * All of it on the engine's loop thread; nothing blocks but the resolver (PQconnectStart). */
#ifndef HATI_ENGINE_POOL_H
#define HATI_ENGINE_POOL_H

#include <uv.h>

#include "base/err.h"
#include "engine/params.h"
#include "engine/sql.h"

#define REQUEST_STEPS_MAX 32

struct conn;
struct pool;

struct step {
    enum sql_number number;
    bool memory; /* on the tables of memory */
    struct params params;
    PGresult *result; /* once done: of a step that went well, else NULL */
};

enum outcome {
    OUTCOME_OK,
    OUTCOME_NOT_SENT, /* nothing of it reached the server: no connection in time */
    OUTCOME_REFUSED,  /* the server said so, with sqlstate; an open transaction is rolled back. Also
                         what found no memory here, as the server would say it (53200) */
    OUTCOME_LOST      /* the connection ended, or the deadline passed, behind sending: unknown, but
                         for steps that have a result */
};

struct request {
    struct step steps[REQUEST_STEPS_MAX];
    unsigned step_count;
    bool keeps_conn;     /* the transaction goes on: conn stays taken behind OUTCOME_OK */
    struct conn *conn;   /* of the open transaction; NULL: any free one */
    int64_t deadline_ms; /* monotonic (clock_steady_ms) */
    void (*done)(struct request *request); /* from the loop, never from within pool_send */
    void *context;
    /* outcome */
    enum outcome outcome;
    char sqlstate[6];
    unsigned failed_step; /* OUTCOME_REFUSED */
    /* the pool's */
    struct pool *pool;
    struct request *next;
    unsigned answered;
};

void request_init(struct request *request);
/* Frees parameters and results; the struct may be used again behind request_init. */
void request_done(struct request *request);
/* The next step, whose parameters are to be added. A step too many aborts: a programmer's slip. */
struct params *request_add(struct request *request, enum sql_number number, bool memory);

struct pool_options {
    uv_loop_t *loop;
    const char *url;
    const struct sql_book *book;
    unsigned connections;
    bool read_only;     /* replicas are fine */
    bool prepare;       /* named statements at first */
    bool may_fall_back; /* auto: unnamed ones once a pooler lost a name */
    const char *name;   /* application_name */
    int64_t connect_timeout_ms;
};

/* What the first connection learned of the server. */
struct pool_identity {
    bool known;
    bool is_postgres; /* else CockroachDB or another that speaks its protocol */
    bool is_yugabyte;
    int server_version; /* PQserverVersion */
    uint64_t system_id; /* 0: not told */
    uint32_t timeline;  /* the highest seen */
};

/* ERR_SYNTAX with a line in ret_why where the url is not one libpq takes. */
enum err pool_open(const struct pool_options *options, struct pool **ret_pool, char *ret_why,
                   size_t why_bytes) MUST_USE;
/* Ends every connection; requests that wait or are sent are done (NOT_SENT, LOST). To be called
 * once; the memory is freed behind the loop's next rounds, closed is called then. */
void pool_close(struct pool *pool, void (*closed)(void *context), void *context);

/* Takes the request until done. */
void pool_send(struct pool *pool, struct request *request);
/* Lets go of a connection that was kept: its transaction is rolled back. NULL is fine. */
void pool_abandon(struct pool *pool, struct conn *conn);

struct pool_figures {
    unsigned connecting, idle, busy, waiting;
};
/* As of the last tick. Any thread. */
void pool_figures(struct pool *pool, struct pool_figures *ret_figures);

const struct pool_identity *pool_identity(const struct pool *pool);
/* At least one connection is up and was accepted. */
bool pool_is_up(const struct pool *pool);
/* Why the last attempt failed, for people; no secrets in it. "" where none did. */
const char *pool_trouble(const struct pool *pool);

#endif
