/* SPDX-License-Identifier: MIT */
/* Limits of clients on line connections. */
#include "server/line_conn.h"
#include "server/line_count.h"
#include "server/line_dialect.h"
#include "server/line_words.h"

static struct limits *limits_of(const struct line_conn *conn) {
    return conn->loop->core->limits;
}

void line_limit_choose(struct line_conn *conn) {
    conn->limited = limits_client_of(limits_of(conn), &conn->client, conn->grant);
}

enum err line_limit_connect(struct line_conn *conn) {
    struct limits *limits = limits_of(conn);
    if (!limits_are_set(limits))
        return OK;
    line_limit_choose(conn);
    conn->counts_bytes = limits_count_bytes_of(limits);
    struct limits_client client = limits_client_of(limits, &conn->client, NULL);
    if (!client.limited)
        return OK;
    enum err err = limits_hold(limits, &client, CLIENT_CONNECTIONS);
    if (!err)
        conn->held = client;
    return err;
}

void line_limit_disconnect(struct line_conn *conn) {
    if (conn->held.limited)
        limits_let_go(limits_of(conn), &conn->held, CLIENT_CONNECTIONS);
    conn->held.limited = false;
}

void line_limit_add_bytes(struct line_conn *conn, size_t bytes) {
    if (conn->counts_bytes)
        limits_add_bytes(limits_of(conn), &conn->limited, bytes);
}

static void answer_refusal(struct line_conn *conn, const struct line_request *request,
                           const char *why) {
    struct buf *to = line_conn_reply(conn);
    size_t before = to->len;
    conn->dialect->render_error(to, &request->answer, ERR_RATE_LIMITED, why);
    line_replied(conn, to, before);
    line_count(conn, metrics_op(NULL, METRICS_NONE), ERR_RATE_LIMITED);
}

/* Who wants to leave may. JSON counts its calls itself; what is malformed is answered so, and
 * counts. */
bool line_limit_refuses(struct line_conn *conn, const struct line_request *request) {
    struct limits_left left;
    char why[LIMITS_WHY_BYTES];
    bool leaves = request->kind == REQUEST_WORD && strcmp(request->word->name, "QUIT") == 0;
    bool counts = request->kind == REQUEST_CALL || (request->kind == REQUEST_WORD && !leaves) ||
                  request->kind == REQUEST_MANY || request->kind == REQUEST_FAILED;
    if (!conn->limited.limited || conn->paid || !counts)
        return false;
    conn->paid = true;
    enum err err = limits_admit(limits_of(conn), &conn->limited, 1, &left);
    if (!err || request->kind == REQUEST_FAILED)
        return false;
    limits_format_why(&left, why);
    answer_refusal(conn, request, why);
    return true;
}

enum err line_limit_begin_call(struct line_conn *conn, const struct line_request *request) {
    struct limits *limits = limits_of(conn);
    if (!conn->limited.limited || limits_max_requests(limits) == 0)
        return OK;
    if (conn->queued >= limits_max_requests(limits))
        return ERR_WOULD_WAIT;
    if (limits_hold(limits, &conn->limited, CLIENT_CALLS) == OK)
        return OK;
    if (conn->first)
        return ERR_WOULD_WAIT;
    answer_refusal(conn, request, "too many requests of this client at once");
    return ERR_RATE_LIMITED;
}

void line_limit_cancel_call(struct line_conn *conn) {
    if (conn->limited.limited && limits_max_requests(limits_of(conn)))
        limits_let_go(limits_of(conn), &conn->limited, CLIENT_CALLS);
}

void line_limit_hold_slot(const struct line_conn *conn, struct line_slot *slot) {
    slot->held = (struct limits_client){.limited = false};
    if (limits_max_requests(limits_of(conn)))
        slot->held = conn->limited;
}

void line_limit_end_call(struct line_slot *slot) {
    if (slot->held.limited)
        limits_let_go(slot->woken.loop->core->limits, &slot->held, CLIENT_CALLS);
    slot->held.limited = false;
}
