/* SPDX-License-Identifier: MIT */
/* Peers of line connections that take too long: with a line that has begun, with replies, or in
 * silence. A timer of the loop looks after those that may, once a second. */
#include "base/clock.h"
#include "server/line_conn.h"

#define LOOK_MS 1000U

int line_conn_fd(const struct line_conn *conn) {
    int fd;
    return uv_fileno(&conn->uv.handle, &fd) == 0 ? fd : -1;
}

static bool is_part(const struct line_conn *conn) {
    return conn->tail.len > 0 && !conn->blocked && !conn->quitting;
}

/* Who consumes messages reads at the pace of its work. */
static bool is_behind(const struct line_conn *conn) {
    return conn->backlog_bytes > 0 && conn->sub_count == 0;
}

static bool may_idle(const struct line_conn *conn) {
    return conn->loop->config->line_idle_timeout_ms > 0 && conn->sub_count == 0;
}

static bool is_part_overdue(const struct line_conn *conn, int64_t now_ms) {
    const struct config *config = conn->loop->config;
    if (!is_part(conn) || !conn->part_since_ms || !config->line_timeout_ms)
        return false;
    int64_t worth_ms = config->min_rate ? (int64_t)(conn->tail.len * 1000 / config->min_rate) : 0;
    return now_ms - conn->part_since_ms >= config->line_timeout_ms + worth_ms;
}

static bool is_slow_reader(struct line_conn *conn, int64_t now_ms) {
    const struct config *config = conn->loop->config;
    struct slow_reader_rule rule = {config->min_rate, config->line_timeout_ms};
    if (is_behind(conn))
        return slow_reader_check(&conn->reader, &rule, line_conn_fd(conn), now_ms);
    slow_reader_forget(&conn->reader);
    return false;
}

static bool is_idle(const struct line_conn *conn, int64_t now_ms) {
    return may_idle(conn) && !conn->first && !conn->backlog_bytes &&
           now_ms - conn->active_ms >= conn->loop->config->line_idle_timeout_ms;
}

static void look_at(struct line_conn *conn, int64_t now_ms) {
    enum limits_reason reason;
    if (is_part_overdue(conn, now_ms))
        reason = LIMITS_SLOW_LINE;
    else if (is_slow_reader(conn, now_ms))
        reason = LIMITS_SLOW_READER;
    else if (is_idle(conn, now_ms))
        reason = LIMITS_IDLE;
    else
        return;
    limits_note(conn->loop->core->limits, reason);
    conn->quitting = true;
    if (reason == LIMITS_IDLE)
        line_conn_go_on(conn); /* TLS says that it ends */
    else
        line_conn_close(conn);
}

static void on_look(uv_timer_t *timer) {
    struct line_loop *loop = timer->data;
    int64_t now_ms = clock_steady_ms();
    struct line_conn *next;
    for (struct line_conn *conn = loop->conns; conn; conn = next) {
        next = conn->next;
        if (conn->watched)
            look_at(conn, now_ms);
    }
    if (loop->watched == 0)
        uv_timer_stop(timer);
}

void line_slow_progress(struct line_conn *conn, size_t consumed) {
    if (consumed || !is_part(conn))
        conn->part_since_ms = 0;
    if (is_part(conn) && conn->part_since_ms == 0)
        conn->part_since_ms = clock_steady_ms(); /* it may have come long ago, behind a call */
}

void line_slow_update(struct line_conn *conn) {
    struct line_loop *loop = conn->loop;
    if (may_idle(conn))
        conn->active_ms = clock_steady_ms();
    bool may_be_slow = is_part(conn) || is_behind(conn) || may_idle(conn);
    if (may_be_slow == conn->watched)
        return;
    conn->watched = may_be_slow;
    loop->watched += may_be_slow ? 1 : -1U;
    slow_reader_forget(&conn->reader);
    if (may_be_slow && !uv_is_active((uv_handle_t *)&loop->watch))
        (void)uv_timer_start(&loop->watch, on_look, LOOK_MS, LOOK_MS);
}

void line_slow_end(struct line_conn *conn) {
    if (conn->watched)
        conn->loop->watched--;
    conn->watched = false;
}
