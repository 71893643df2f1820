/* SPDX-License-Identifier: MIT */
/* Who a line connection is from: by its socket, or by what a trusted proxy says first. */
#include "base/log.h"
#include "server/line_conn.h"
#include "server/line_dialect.h"
#include "server/proxy_header.h"

static bool turn_away(struct line_conn *conn, enum err err, const char *text) {
    line_refuse(line_conn_fd(conn), conn->tls != NULL, err, text);
    conn->broken = true;
    return false;
}

/* A UNIX socket has no address; who opened it is on this machine. */
bool line_admit(struct line_conn *conn) {
    if (conn->loop->loopback_only && conn->client.known && !address_is_loopback(&conn->client))
        return turn_away(conn, ERR_FORBIDDEN,
                         "no credentials are configured: loopback callers only");
    if (line_limit_connect(conn))
        return turn_away(conn, ERR_RATE_LIMITED, "too many connections from this address");
    return true;
}

static bool refuse_header(struct line_conn *conn, const char *why) {
    char proxy[ADDRESS_TEXT_BYTES];
    address_format(&conn->client, proxy);
    log_warn("%s: no PROXY header from the proxy %s: %s; closed",
             conn->dialect->door == DOOR_OLIVIA ? "olivia" : "lines", proxy, why);
    limits_note(conn->loop->core->limits, LIMITS_PROXY_HEADER);
    conn->broken = true;
    return false;
}

static bool take_header(struct line_conn *conn, const struct proxy_header *header) {
    conn->awaits_proxy = false;
    buf_done(&conn->early);
    if (!header->local && !header->unknown)
        conn->client = header->client;
    conn->client.vague = header->unknown;
    return line_admit(conn);
}

bool line_admit_proxy(struct line_conn *conn, char *at, size_t *len) {
    struct slice came = slice_make(at, *len);
    struct proxy_header header;
    size_t need;
    if (conn->early.len) {
        if (!buf_append(&conn->early, came))
            return refuse_header(conn, "it is too long");
        came = buf_slice(&conn->early);
    }
    enum proxy_state state = proxy_header_read(came, &header, &need);
    if (state == PROXY_BAD)
        return refuse_header(conn, header.why);
    if (state == PROXY_PART) {
        if (!conn->early.len && !buf_append(&conn->early, came))
            conn->broken = true;
        return false;
    }
    size_t rest = came.len - header.size; /* all of it came last */
    memmove(at, at + *len - rest, rest);
    *len = rest;
    return take_header(conn, &header) && rest > 0;
}
