/* SPDX-License-Identifier: MIT */
#include "server/line_linger.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "server/line_conn.h"
#include "server/line_held.h"

#define LINGER_MS 30000 /* a peer that is silent for so long is out of reach */

static int fd_of(const struct line_conn *conn) {
    int fd;
    return uv_fileno(&conn->uv.handle, &fd) == 0 ? fd : -1;
}

bool line_linger_is_reset(struct line_conn *conn) {
    int failure = 0;
    socklen_t bytes = sizeof failure;
    int status = getsockopt(fd_of(conn), SOL_SOCKET, SO_ERROR, &failure, &bytes);
    return status != 0 || failure != 0;
}

static bool all_acknowledged(const struct line_conn *conn) {
    int left = 0;
    return ioctl(fd_of(conn), SIOCOUTQ, &left) == 0 && left == 0;
}

static void unlist(struct line_conn *conn) {
    struct line_conn **at = &conn->loop->lingering;
    while (*at != conn)
        at = &(*at)->linger_next;
    *at = conn->linger_next;
}

static void decide(struct line_conn *conn, bool was_sent) {
    struct line_held *list = conn->undecided;
    unlist(conn);
    conn->undecided = NULL;
    line_held_release(conn->loop, list, was_sent);
}

void line_linger_add(struct line_conn *conn, struct line_held *list) {
    struct line_loop *loop = conn->loop;
    struct line_held **last = &conn->undecided;
    if (!conn->undecided) {
        conn->linger_next = loop->lingering;
        loop->lingering = conn;
        line_loop_need_tick(loop);
    }
    while (*last)
        last = &(*last)->next;
    *last = list;
    conn->linger_until_ms = clock_steady_ms() + LINGER_MS;
    if (all_acknowledged(conn))
        decide(conn, true);
}

void line_linger_say_end(struct line_conn *conn) {
    if (!conn->said_end)
        (void)shutdown(fd_of(conn), SHUT_WR);
    conn->said_end = true;
}

void line_linger_check(struct line_loop *loop, int64_t steady_ms) {
    struct line_conn *next;
    for (struct line_conn *conn = loop->lingering; conn; conn = next) {
        next = conn->linger_next;
        if (line_linger_is_reset(conn) || steady_ms >= conn->linger_until_ms) {
            line_conn_close(conn);
        } else if (all_acknowledged(conn)) {
            decide(conn, true);
            line_conn_go_on(conn);
        }
    }
}

void line_linger_end(struct line_conn *conn) {
    if (conn->undecided)
        decide(conn, false);
}
