/* SPDX-License-Identifier: MIT */
#include "engine/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "engine/conn.h"
#include "engine/direct.h"

#define TICK_MS 20
#define IDLE_MS 60000 /* one of more than IDLE_KEPT that was not needed for so long is closed */
#define IDLE_KEPT 2U
#define RETRY_MAX_MS 2000
#define STATE_NO_MEMORY "53200"

/* ---- requests ---- */

void request_init(struct request *request) {
    memset(request, 0, offsetof(struct request, steps));
    request->step_count = 0;
    request->keeps_conn = false;
    request->conn = NULL;
    request->deadline_ms = 0;
    request->done = NULL;
    request->context = NULL;
    request->outcome = OUTCOME_OK;
    request->sqlstate[0] = '\0';
    request->failed_step = 0;
    request->pool = NULL;
    request->next = NULL;
}

void request_done(struct request *request) {
    for (unsigned i = 0; i < request->step_count; i++) {
        params_done(&request->steps[i].params);
        PQclear(request->steps[i].result);
    }
    request->step_count = 0;
}

struct params *request_add(struct request *request, enum sql_number number, bool memory) {
    if (request->step_count == REQUEST_STEPS_MAX)
        abort();
    struct step *step = &request->steps[request->step_count++];
    step->number = number;
    step->memory = memory;
    step->result = NULL;
    params_init(&step->params);
    return &step->params;
}

/* The first step without memory for its parameters; step_count: none. */
static unsigned starved_step(const struct request *request) {
    unsigned at = 0;
    while (at < request->step_count && !params_failed(&request->steps[at].params))
        at++;
    return at;
}

/* ---- connections ---- */

void pool_forget(struct conn *conn) {
    struct conn **at = &conn->pool->conns;
    while (*at != conn)
        at = &(*at)->next;
    *at = conn->next;
    conn->pool->conn_count--;
    free(conn);
}

/* Words of libpq: their first line; they name hosts, never a password. */
void pool_note_failure(struct pool *pool, const char *why) {
    int64_t delay_ms = 25;
    uint8_t random;
    hash_random(&random, 1);
    if (why != pool->trouble) {
        snprintf(pool->trouble, sizeof pool->trouble, "%s", why);
        pool->trouble[strcspn(pool->trouble, "\n")] = '\0';
    }
    if (pool->failures++ == 0 && !pool->closing)
        log_warn("the database cannot be reached: %s", pool->trouble);
    pool->host_turn++;
    for (unsigned i = 1; i < pool->failures && delay_ms < RETRY_MAX_MS; i++)
        delay_ms *= 2;
    pool->next_try_ms = clock_steady_ms() + delay_ms + delay_ms * random / 256;
}

static unsigned count_state(const struct pool *pool, enum conn_state from, enum conn_state to) {
    unsigned count = 0;
    for (const struct conn *conn = pool->conns; conn; conn = conn->next)
        count += conn->state >= from && conn->state <= to;
    return count;
}

bool pool_is_up(const struct pool *pool) {
    return count_state(pool, CONN_IDLE, CONN_ROLLING) > 0;
}

/* One is always there or on its way; more come while requests wait, one at a time while nothing
 * answers. */
static void open_more(struct pool *pool) {
    unsigned coming = count_state(pool, CONN_CONNECTING, CONN_CHECKING);
    unsigned wanted = 0;
    for (const struct request *request = pool->waiting; request; request = request->next)
        wanted++;
    if (pool->conn_count == 0 && wanted == 0)
        wanted = 1;
    if (pool->closing || clock_steady_ms() < pool->next_try_ms)
        return;
    if (pool->failures && wanted > 1)
        wanted = 1;
    while (coming < wanted && pool->conn_count < pool->options.connections) {
        unsigned failures = pool->failures;
        conn_open(pool);
        if (pool->failures != failures)
            return;
        coming++;
    }
}

static struct conn *find_idle(struct pool *pool) {
    for (struct conn *conn = pool->conns; conn; conn = conn->next)
        if (conn->state == CONN_IDLE)
            return conn;
    return NULL;
}

void pool_serve(struct pool *pool) {
    struct conn *conn;
    while (pool->waiting && (conn = find_idle(pool))) {
        struct request *request = pool->waiting;
        pool->waiting = request->next;
        if (!pool->waiting)
            pool->last_waiting = &pool->waiting;
        conn_send(conn, request);
    }
    if (pool->waiting || pool->conn_count == 0)
        open_more(pool);
}

void pool_note_lost_name(struct conn *conn) {
    struct pool *pool = conn->pool;
    memset(conn->prepared, 0, sizeof conn->prepared);
    if (pool->options.may_fall_back && pool->use_names) {
        pool->use_names = false;
        log_info("a pooler stands before the database: statements are not prepared any more");
    }
}

static void learn(struct pool *pool, const struct request *check) {
    struct pool_identity *identity = &pool->identity;
    struct slice version = result_bytes(check->steps[0].result, 0, 0);
    identity->is_postgres = memmem(version.ptr, version.len, "CockroachDB", 11) == NULL;
    identity->is_yugabyte = memmem(version.ptr, version.len, "-YB-", 4) != NULL;
    if (identity->is_yugabyte)
        identity->is_postgres = false;
    identity->known = true;
}

/* An old primary that came back unfenced still takes writes: its timeline is behind. */
static bool is_the_one(struct pool *pool, const struct request *check) {
    const PGresult *result = check->steps[1].result;
    uint64_t system_id = (uint64_t)result_int8(result, 0, 1);
    uint32_t timeline = (uint32_t)result_int8(result, 0, 0);
    struct pool_identity *identity = &pool->identity;
    if (identity->system_id && identity->system_id != system_id) {
        snprintf(pool->trouble, sizeof pool->trouble,
                 "another database cluster answers than before");
        return false;
    }
    if (timeline < identity->timeline) {
        snprintf(pool->trouble, sizeof pool->trouble,
                 "an old primary answers (timeline %u, %u was seen): refused", timeline,
                 identity->timeline);
        return false;
    }
    identity->system_id = system_id;
    identity->timeline = timeline;
    return true;
}

bool pool_accept(struct pool *pool, struct conn *conn, const struct request *check) {
    if (check->outcome != OUTCOME_OK || result_rows(check->steps[0].result) != 1)
        return false;
    bool knew = pool->identity.known;
    if (!knew)
        learn(pool, check);
    if (check->step_count > 1 && !is_the_one(pool, check)) {
        log_warn("%s", pool->trouble);
        return false;
    }
    if (!knew && pool->identity.is_postgres && !pool->options.read_only) {
        request_done(&conn->own); /* again, with its timeline */
        request_init(&conn->own);
        request_add(&conn->own, SQL_IDENTITY, false);
        request_add(&conn->own, SQL_TIMELINE, false);
        conn_send(conn, &conn->own);
        return true;
    }
    if (pool->failures)
        log_info("the database is reached");
    pool->failures = 0;
    pool->identity.server_version = PQserverVersion(conn->pg);
    conn->state = CONN_IDLE;
    conn->deadline_ms = clock_steady_ms();
    pool_serve(pool);
    return true;
}

/* ---- time ---- */

static void end_waiting(struct pool *pool, int64_t now_ms) {
    struct request **at = &pool->waiting;
    struct request *late = NULL;
    while (*at) {
        struct request *request = *at;
        if (request->deadline_ms > now_ms && !pool->closing) {
            at = &request->next;
            continue;
        }
        *at = request->next;
        request->next = late;
        late = request;
    }
    pool->last_waiting = at;
    while (late) {
        struct request *request = late;
        late = request->next;
        request->outcome = OUTCOME_NOT_SENT;
        request->conn = NULL;
        request->done(request);
    }
}

static void end_starved(struct pool *pool) {
    struct request *starved = pool->starved;
    pool->starved = NULL;
    while (starved) {
        struct request *request = starved;
        starved = request->next;
        request->outcome = OUTCOME_REFUSED;
        request->failed_step = starved_step(request);
        memcpy(request->sqlstate, STATE_NO_MEMORY, sizeof STATE_NO_MEMORY);
        request->done(request);
    }
}

static bool is_late(const struct conn *conn, int64_t now_ms) {
    if (conn->broken)
        return true;
    switch (conn->state) {
    case CONN_CONNECTING:
    case CONN_CHECKING:
    case CONN_ROLLING:
        return now_ms >= conn->deadline_ms;
    case CONN_BUSY:
        return now_ms >= conn->request->deadline_ms;
    case CONN_IDLE:
        return now_ms >= conn->deadline_ms + IDLE_MS && conn->pool->conn_count > IDLE_KEPT;
    default:
        return false;
    }
}

/* One at a time: what ends may change the list. */
static bool end_late(struct pool *pool, int64_t now_ms) {
    for (struct conn *conn = pool->conns; conn; conn = conn->next)
        if (pool->closing || is_late(conn, now_ms)) {
            conn_end(conn, "it did not answer in time");
            return true;
        }
    return false;
}

static void on_closed(uv_handle_t *handle) {
    struct pool *pool = handle->data;
    if (pool->closed)
        pool->closed(pool->closed_context);
    free(pool->url);
    free(pool->name);
    free(pool);
}

/* What other threads may see of it. */
static void show(struct pool *pool) {
    unsigned waiting = 0;
    for (const struct request *request = pool->waiting; request; request = request->next)
        waiting++;
    atomic_store_explicit(&pool->shown_connecting,
                          count_state(pool, CONN_CONNECTING, CONN_CHECKING), memory_order_relaxed);
    atomic_store_explicit(&pool->shown_idle, count_state(pool, CONN_IDLE, CONN_IDLE),
                          memory_order_relaxed);
    atomic_store_explicit(&pool->shown_busy, count_state(pool, CONN_BUSY, CONN_ROLLING),
                          memory_order_relaxed);
    atomic_store_explicit(&pool->shown_waiting, waiting, memory_order_relaxed);
}

void pool_figures(struct pool *pool, struct pool_figures *ret_figures) {
    *ret_figures = (struct pool_figures){
        atomic_load_explicit(&pool->shown_connecting, memory_order_relaxed),
        atomic_load_explicit(&pool->shown_idle, memory_order_relaxed),
        atomic_load_explicit(&pool->shown_busy, memory_order_relaxed),
        atomic_load_explicit(&pool->shown_waiting, memory_order_relaxed),
    };
}

static void on_tick(uv_timer_t *timer) {
    struct pool *pool = timer->data;
    int64_t now_ms = clock_steady_ms();
    show(pool);
    while (end_late(pool, now_ms)) {
    }
    end_starved(pool);
    end_waiting(pool, now_ms);
    if (pool->closing && !pool->waiting && !pool->starved && !pool->conns) {
        uv_close((uv_handle_t *)&pool->ticker, on_closed);
        return;
    }
    pool_serve(pool);
}

/* ---- the pool ---- */

enum err pool_open(const struct pool_options *options, struct pool **ret_pool, char *ret_why,
                   size_t why_bytes) {
    const char *trouble = direct_url_trouble(options->url);
    if (trouble) {
        snprintf(ret_why, why_bytes, "engine: %s", trouble);
        return ERR_SYNTAX;
    }
    struct pool *pool = calloc(1, sizeof *pool);
    if (pool) {
        pool->options = *options;
        pool->url = strdup(options->url);
        pool->name = strdup(options->name);
    }
    if (!pool || !pool->url || !pool->name) {
        snprintf(ret_why, why_bytes, "no memory for the engine");
        return ERR_OUT_OF_MEMORY;
    }
    pool->last_waiting = &pool->waiting;
    pool->use_names = options->prepare;
    uint8_t random;
    hash_random(&random, 1);
    pool->host_turn = options->read_only ? random : 0;
    uv_timer_init(options->loop, &pool->ticker);
    pool->ticker.data = pool;
    uv_timer_start(&pool->ticker, on_tick, 0, TICK_MS);
    *ret_pool = pool;
    return OK;
}

void pool_close(struct pool *pool, void (*closed)(void *context), void *context) {
    pool->closing = true;
    pool->closed = closed;
    pool->closed_context = context;
}

void pool_send(struct pool *pool, struct request *request) {
    struct conn *conn = request->conn;
    request->pool = pool;
    request->next = NULL;
    request->conn = NULL;
    if (starved_step(request) < request->step_count) {
        pool_abandon(pool, conn);
        request->next = pool->starved;
        pool->starved = request;
        return;
    }
    if (conn) {
        conn_send(conn, request);
        return;
    }
    *pool->last_waiting = request;
    pool->last_waiting = &request->next;
    if (pool->waiting == request)
        pool_serve(pool);
}

void pool_abandon(struct pool *pool, struct conn *conn) {
    (void)pool;
    if (conn)
        conn_roll_back(conn);
}

const struct pool_identity *pool_identity(const struct pool *pool) {
    return &pool->identity;
}

const char *pool_trouble(const struct pool *pool) {
    return pool->trouble;
}
