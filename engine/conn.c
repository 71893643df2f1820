/* SPDX-License-Identifier: MIT */
#include "engine/conn.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define HOSTS_MAX 64
#define OPTIONS_MAX 64
#define CHECK_MS 5000
#define ROLLBACK_MS 5000

struct watch {
    uv_poll_t poll;
    struct conn *conn;
};

static void on_ready(uv_poll_t *poll, int status, int events);

/* ---- watching the socket ---- */

static void free_watch(uv_handle_t *handle) {
    free(handle->data);
}

/* Before libpq may close the socket: its number may come again, and libuv would not notice. */
static void unwatch(struct conn *conn) {
    if (!conn->watch)
        return;
    conn->watch->conn = NULL;
    uv_close((uv_handle_t *)&conn->watch->poll, free_watch);
    conn->watch = NULL;
}

static bool watch(struct conn *conn, int events) {
    if (!conn->watch) {
        struct watch *made = calloc(1, sizeof *made);
        if (!made)
            return false;
        if (uv_poll_init(conn->pool->options.loop, &made->poll, PQsocket(conn->pg))) {
            free(made);
            return false;
        }
        made->conn = conn;
        made->poll.data = made;
        conn->watch = made;
    }
    return uv_poll_start(&conn->watch->poll, events, on_ready) == 0;
}

/* ---- ending ---- */

/* What was answered is not to be believed. */
static void be_in_doubt(struct request *request) {
    request->outcome = OUTCOME_LOST;
    for (unsigned i = 0; i < request->step_count; i++) {
        PQclear(request->steps[i].result);
        request->steps[i].result = NULL;
    }
}

void conn_end(struct conn *conn, const char *why) {
    struct request *request = conn->request;
    bool was_up = conn->state >= CONN_IDLE;
    unwatch(conn);
    if (!was_up) /* the words may be the connection's own */
        pool_note_failure(conn->pool, why);
    if (conn->pg)
        PQfinish(conn->pg);
    conn->pg = NULL;
    bool own = request == &conn->own, doubtful = conn->doubtful;
    request_done(&conn->own);
    struct pool *pool = conn->pool;
    pool_forget(conn);
    if (request && !own) {
        if (doubtful)
            be_in_doubt(request);
        request->outcome = OUTCOME_LOST;
        request->conn = NULL;
        request->done(request);
    }
    pool_serve(pool);
}

/* ---- connecting ---- */

/* The n-th of a list parted by commas. */
static struct slice part_of(const char *list, unsigned n) {
    for (; n && list; n--) {
        const char *comma = strchr(list, ',');
        list = comma ? comma + 1 : NULL;
    }
    if (!list)
        return slice_make("", 0);
    const char *end = strchr(list, ',');
    return slice_make(list, end ? (size_t)(end - list) : strlen(list));
}

static unsigned count_parts(const char *list) {
    unsigned count = 1;
    for (; list && *list; list++)
        count += *list == ',';
    return count;
}

/* The same list beginning with its turn-th part, so that a host that does not answer is not always
 * the first; malloced. A list of one stays. */
static char *turn_list(const char *list, unsigned hosts, unsigned turn) {
    struct buf buf;
    buf_init(&buf, 65536);
    if (!list || count_parts(list) != hosts)
        buf_printf(&buf, "%s", list ? list : "");
    else
        for (unsigned i = 0; i < hosts; i++) {
            if (i)
                buf_append_char(&buf, ',');
            buf_append(&buf, part_of(list, (turn + i) % hosts));
        }
    buf_append_char(&buf, '\0');
    if (!buf.failed)
        return buf.ptr;
    buf_done(&buf);
    return NULL;
}

struct keywords {
    const char *names[OPTIONS_MAX + 8];
    const char *values[OPTIONS_MAX + 8];
    char *owned[OPTIONS_MAX];
    unsigned count, owned_count;
};

static void add_keyword(struct keywords *keywords, const char *name, const char *value) {
    for (unsigned i = 0; i < keywords->count; i++)
        if (!strcmp(keywords->names[i], name))
            return; /* the operator's own word counts */
    keywords->names[keywords->count] = name;
    keywords->values[keywords->count++] = value;
}

static bool is_host_list(const char *keyword) {
    return !strcmp(keyword, "host") || !strcmp(keyword, "hostaddr") || !strcmp(keyword, "port");
}

/* False without memory: with a host or a port left out, libpq would turn to another server. */
static bool take_options(struct keywords *keywords, const PQconninfoOption *options,
                         const struct pool *pool) {
    unsigned hosts = 1;
    for (const PQconninfoOption *option = options; option->keyword; option++)
        if (option->val && is_host_list(option->keyword) && count_parts(option->val) > hosts)
            hosts = count_parts(option->val);
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        if (!option->val || keywords->count == OPTIONS_MAX)
            continue;
        const char *value = option->val;
        if (is_host_list(option->keyword)) {
            char *turned = turn_list(value, hosts, pool->host_turn % hosts);
            if (!turned)
                return false;
            keywords->owned[keywords->owned_count++] = turned;
            value = turned;
        }
        add_keyword(keywords, option->keyword, value);
    }
    return true;
}

/* Dead peers are noticed by TCP itself in seconds; the operator's own settings come first. */
static PGconn *start_connecting(const struct pool *pool) {
    char *message = NULL;
    struct keywords keywords = {.count = 0};
    PQconninfoOption *options = PQconninfoParse(pool->url, &message);
    PQfreemem(message);
    if (!options)
        return NULL;
    bool taken = take_options(&keywords, options, pool);
    add_keyword(&keywords, "application_name", pool->name);
    add_keyword(&keywords, "tcp_user_timeout", "5000");
    add_keyword(&keywords, "keepalives_idle", "10");
    add_keyword(&keywords, "keepalives_interval", "3");
    add_keyword(&keywords, "keepalives_count", "3");
    if (!pool->options.read_only)
        add_keyword(&keywords, "target_session_attrs", "read-write");
    keywords.names[keywords.count] = NULL;
    keywords.values[keywords.count] = NULL;
    PGconn *pg = taken ? PQconnectStartParams(keywords.names, keywords.values, 0) : NULL;
    while (keywords.owned_count)
        free(keywords.owned[--keywords.owned_count]);
    PQconninfoFree(options);
    return pg;
}

/* What matters comes as a notice too: a commit that did not wait for its standby. One whose state
 * found no memory may be that. */
static void on_notice(void *context, const PGresult *result) {
    struct conn *conn = context;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!state || !strcmp(state, "01000") || !strcmp(state, "57P01"))
        conn->doubtful = true;
}

void conn_open(struct pool *pool) {
    struct conn *conn = calloc(1, sizeof *conn);
    if (!conn)
        return;
    conn->pool = pool;
    request_init(&conn->own);
    conn->state = CONN_CONNECTING;
    conn->deadline_ms = clock_steady_ms() + pool->options.connect_timeout_ms;
    conn->next = pool->conns;
    pool->conns = conn;
    pool->conn_count++;
    conn->pg = start_connecting(pool);
    if (!conn->pg || PQstatus(conn->pg) == CONNECTION_BAD || PQsetnonblocking(conn->pg, 1)) {
        conn_end(conn, conn->pg ? PQerrorMessage(conn->pg) : "no memory");
        return;
    }
    PQsetNoticeReceiver(conn->pg, on_notice, conn);
    if (!watch(conn, UV_WRITABLE))
        conn_end(conn, "cannot watch its socket");
}

static void check_done(struct request *request) {
    (void)request;
}

/* A server that may be used has told what it is first. */
static void begin_check(struct conn *conn) {
    struct pool *pool = conn->pool;
    request_done(&conn->own);
    request_init(&conn->own);
    request_add(&conn->own, SQL_IDENTITY, false);
    if (pool->identity.known && pool->identity.is_postgres && !pool->options.read_only)
        request_add(&conn->own, SQL_TIMELINE, false);
    conn->own.done = check_done;
    conn->state = CONN_CHECKING;
    conn->deadline_ms = clock_steady_ms() + CHECK_MS;
    conn_send(conn, &conn->own);
}

static void go_on_connecting(struct conn *conn) {
    unwatch(conn);
    PostgresPollingStatusType status = PQconnectPoll(conn->pg);
    bool watched = true;
    switch (status) {
    case PGRES_POLLING_READING:
        watched = watch(conn, UV_READABLE);
        break;
    case PGRES_POLLING_WRITING:
        watched = watch(conn, UV_WRITABLE);
        break;
    case PGRES_POLLING_OK:
        if (PQsetnonblocking(conn->pg, 1) || !PQenterPipelineMode(conn->pg))
            watched = false;
        else
            begin_check(conn);
        break;
    default:
        conn_end(conn, PQerrorMessage(conn->pg));
        return;
    }
    if (!watched)
        conn_end(conn, "cannot watch its socket");
}

/* ---- sending ---- */

static bool send_step(struct conn *conn, unsigned at) {
    struct step *step = &conn->request->steps[at];
    const struct params *params = &step->params;
    const struct sql_text *text = &conn->pool->options.book->texts[step->number][step->memory];
    const char *values[PARAMS_MAX];
    int formats[PARAMS_MAX];
    bool named = conn->pool->use_names;
    for (unsigned i = 0; i < params->count; i++) {
        values[i] = params->lengths[i] < 0 ? NULL
                    : params->bytes.ptr    ? params->bytes.ptr + params->starts[i]
                                           : "";
        formats[i] = 1;
    }
    conn->preparing[at] = named && !conn->prepared[step->number][step->memory];
    for (unsigned i = 0; i < at; i++) /* one request may have a statement twice */
        if (conn->preparing[i] && conn->request->steps[i].number == step->number &&
            conn->request->steps[i].memory == step->memory)
            conn->preparing[at] = false;
    if (conn->preparing[at] && !PQsendPrepare(conn->pg, text->name, text->text, 0, NULL))
        return false;
    if (named)
        return PQsendQueryPrepared(conn->pg, text->name, (int)params->count, values,
                                   params->lengths, formats, 1) != 0;
    return PQsendQueryParams(conn->pg, text->text, (int)params->count, NULL, values,
                             params->lengths, formats, 1) != 0;
}

static bool flush(struct conn *conn) {
    int left = PQflush(conn->pg);
    return left >= 0 && watch(conn, left ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

void conn_send(struct conn *conn, struct request *request) {
    conn->request = request;
    conn->expect = 0;
    conn->doubtful = false;
    request->failed_step = request->step_count;
    request->outcome = OUTCOME_OK;
    request->sqlstate[0] = '\0';
    if (conn->state != CONN_CHECKING && conn->state != CONN_ROLLING)
        conn->state = CONN_BUSY;
    bool sent = true;
    for (unsigned i = 0; sent && i < request->step_count; i++)
        sent = send_step(conn, i);
    conn->broken = !sent || !PQpipelineSync(conn->pg) || !flush(conn);
}

/* ---- results ---- */

static bool is_fatal(const PGresult *result) {
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return !severity || !strcmp(severity, "FATAL") || !strcmp(severity, "PANIC");
}

/* The step whose result comes, and whether it is that of its prepare. */
static unsigned expected_step(const struct conn *conn, bool *ret_prepare) {
    unsigned at = conn->expect / 2;
    *ret_prepare = at < conn->request->step_count && conn->preparing[at] && conn->expect % 2 == 0;
    return at;
}

static void next_expected(struct conn *conn) {
    bool prepare;
    expected_step(conn, &prepare);
    conn->expect = prepare ? conn->expect + 1 : (conn->expect / 2 + 1) * 2;
}

/* False where the server ends the connection with it. */
static bool take_result(struct conn *conn, PGresult *result) {
    struct request *request = conn->request;
    bool prepare;
    unsigned at = expected_step(conn, &prepare);
    ExecStatusType status = PQresultStatus(result);
    if (at < request->step_count && (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)) {
        struct step *step = &request->steps[at];
        if (prepare) {
            conn->prepared[step->number][step->memory] = true;
            PQclear(result);
        } else {
            PQclear(step->result);
            step->result = result;
        }
        return true;
    }
    bool fatal = status == PGRES_FATAL_ERROR && is_fatal(result);
    if (status == PGRES_FATAL_ERROR && request->outcome == OUTCOME_OK) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        request->outcome = OUTCOME_REFUSED;
        request->failed_step = at;
        if (state && (!strcmp(state, "26000") || !strcmp(state, "42P05")))
            pool_note_lost_name(conn);
        snprintf(request->sqlstate, sizeof request->sqlstate, "%s", state ? state : "");
        snprintf(conn->pool->trouble, sizeof conn->pool->trouble, "%s: %s", state ? state : "",
                 text ? text : PQresultErrorMessage(result));
    }
    PQclear(result);
    return !fatal;
}

static bool lacks_a_result(const struct request *request) {
    for (unsigned i = 0; i < request->step_count; i++)
        if (!request->steps[i].result)
            return true;
    return false;
}

/* The Sync is answered: all results are in. */
static void answered(struct conn *conn) {
    struct request *request = conn->request;
    struct pool *pool = conn->pool;
    bool in_transaction = PQtransactionStatus(conn->pg) != PQTRANS_IDLE;
    conn->request = NULL;
    if (conn->state == CONN_CHECKING) {
        if (!pool_accept(pool, conn, request))
            conn_end(conn, pool->trouble);
        return;
    }
    if (conn->state == CONN_ROLLING && !in_transaction) {
        conn->state = CONN_IDLE;
        conn->deadline_ms = clock_steady_ms();
        pool_serve(pool);
        return;
    }
    if (conn->state == CONN_ROLLING) {
        conn_end(conn, "cannot roll back");
        return;
    }
    request->conn = NULL;
    if (conn->doubtful) /* a refusal may stand behind the commit that is in doubt */
        be_in_doubt(request);
    else if (request->outcome == OUTCOME_OK && lacks_a_result(request))
        request->outcome = OUTCOME_LOST;
    if (in_transaction && request->outcome == OUTCOME_OK && request->keeps_conn) {
        conn->state = CONN_KEPT;
        request->conn = conn;
    } else if (in_transaction) {
        conn_roll_back(conn);
    } else {
        conn->state = CONN_IDLE;
        conn->deadline_ms = clock_steady_ms();
    }
    request->done(request);
    pool_serve(pool);
}

/* Where libpq finds no memory for the end of a step or for the Sync, it says so in its message
 * alone: it tells of the step again and again, or of nothing any more. */
static void take_results(struct conn *conn) {
    while (conn->request && !PQisBusy(conn->pg)) {
        PGresult *result = PQgetResult(conn->pg);
        if (!result) {
            next_expected(conn);
            if (conn->expect <= 2 * conn->request->step_count)
                continue;
            break;
        }
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            answered(conn);
            return;
        }
        if (!take_result(conn, result)) {
            conn_end(conn, conn->pool->trouble);
            return;
        }
    }
    if (conn->request && (!PQisBusy(conn->pg) || *PQerrorMessage(conn->pg)))
        conn_end(conn, PQerrorMessage(conn->pg));
}

static void on_ready(uv_poll_t *poll, int status, int events) {
    struct watch *of = poll->data;
    struct conn *conn = of->conn;
    if (!conn)
        return;
    if (conn->state == CONN_CONNECTING) {
        go_on_connecting(conn);
        return;
    }
    if (status < 0 || !PQconsumeInput(conn->pg) || PQstatus(conn->pg) == CONNECTION_BAD) {
        /* what came before the end may still say how it ended */
        conn_end(conn, PQerrorMessage(conn->pg));
        return;
    }
    if ((events & UV_WRITABLE) && !flush(conn)) {
        conn_end(conn, PQerrorMessage(conn->pg));
        return;
    }
    take_results(conn);
}

void conn_roll_back(struct conn *conn) {
    conn->state = CONN_ROLLING;
    conn->deadline_ms = clock_steady_ms() + ROLLBACK_MS;
    request_done(&conn->own);
    request_init(&conn->own);
    request_add(&conn->own, SQL_ROLLBACK, false);
    conn->own.done = check_done;
    conn_send(conn, &conn->own);
}
