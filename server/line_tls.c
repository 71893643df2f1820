/* SPDX-License-Identifier: MIT */
#include "server/line_tls.h"

#include <errno.h>
#include <stdlib.h>

#include "server/line_loop.h"

#define AHEAD_MAX (4 * (size_t)LINE_READ_BYTES)

struct line_tls {
    struct line_loop *loop;
    struct tls *tls;
    gnutls_session_t session;
    struct buf in; /* encrypted, not yet taken by GnuTLS */
    size_t taken;  /* of it */
    bool ready;    /* the handshake is over */
    bool said_end;
};

static ssize_t pull(gnutls_transport_ptr_t context, void *to, size_t room) {
    struct line_tls *session = context;
    size_t left = session->in.len - session->taken;
    size_t len = left < room ? left : room;
    if (len == 0) {
        gnutls_transport_set_errno(session->session, EAGAIN);
        return -1;
    }
    memcpy(to, session->in.ptr + session->taken, len);
    session->taken += len;
    if (session->taken == session->in.len) {
        buf_done(&session->in); /* an idle connection keeps nothing */
        session->taken = 0;
    }
    return (ssize_t)len;
}

static ssize_t push(gnutls_transport_ptr_t context, const void *bytes, size_t len) {
    struct line_tls *session = context;
    if (buf_append(&session->loop->sealed, slice_make(bytes, len)))
        return (ssize_t)len;
    gnutls_transport_set_errno(session->session, ENOMEM);
    return -1;
}

static int wait_none(gnutls_transport_ptr_t context, unsigned timeout_ms) {
    struct line_tls *session = context;
    (void)timeout_ms;
    return session->in.len > session->taken;
}

struct line_tls *line_tls_new(struct line_loop *loop, struct tls *tls) {
    struct line_tls *session = calloc(1, sizeof *session);
    if (!session || tls_new_session(tls, &session->session)) {
        free(session);
        return NULL;
    }
    session->loop = loop;
    session->tls = tls;
    buf_init(&session->in, AHEAD_MAX);
    gnutls_transport_set_ptr(session->session, session);
    gnutls_transport_set_pull_function(session->session, pull);
    gnutls_transport_set_push_function(session->session, push);
    gnutls_transport_set_pull_timeout_function(session->session, wait_none);
    return session;
}

void line_tls_free(struct line_tls *session) {
    if (!session)
        return;
    gnutls_deinit(session->session);
    buf_done(&session->in);
    free(session);
}

bool line_tls_feed(struct line_tls *session, const char *bytes, size_t len) {
    return buf_append(&session->in, slice_make(bytes, len));
}

bool line_tls_is_ready(const struct line_tls *session) {
    return session->ready;
}

static bool is_passing(int status) {
    return status == GNUTLS_E_WARNING_ALERT_RECEIVED || status == GNUTLS_E_INTERRUPTED;
}

static enum line_tls_state shake_hands(struct line_tls *session) {
    int status;
    do
        status = gnutls_handshake(session->session);
    while (is_passing(status));
    if (status == GNUTLS_E_AGAIN)
        return LINE_TLS_WAITS;
    if (status < 0) {
        (void)gnutls_alert_send_appropriate(session->session, status);
        return LINE_TLS_BROKEN;
    }
    if (!tls_client_is_good(session->tls, session->session)) {
        (void)gnutls_alert_send(session->session, GNUTLS_AL_FATAL, GNUTLS_A_BAD_CERTIFICATE);
        return LINE_TLS_BROKEN;
    }
    session->ready = true;
    return LINE_TLS_DATA;
}

/* A handshake anew within a session, which TLS 1.2 knows, is not taken: the connection ends. */
enum line_tls_state line_tls_read(struct line_tls *session, char *to, size_t room,
                                  size_t *ret_len) {
    enum line_tls_state state = session->ready ? LINE_TLS_DATA : shake_hands(session);
    ssize_t got;
    if (state != LINE_TLS_DATA)
        return state;
    do
        got = gnutls_record_recv(session->session, to, room);
    while (got < 0 && is_passing((int)got));
    if (got == GNUTLS_E_AGAIN)
        return LINE_TLS_WAITS;
    if (got <= 0)
        return got == 0 ? LINE_TLS_ENDED : LINE_TLS_BROKEN;
    *ret_len = (size_t)got;
    return LINE_TLS_DATA;
}

bool line_tls_seal(struct line_tls *session) {
    struct line_loop *loop = session->loop;
    struct buf plain = loop->out;
    size_t sent = 0;
    while (sent < plain.len) {
        ssize_t len = gnutls_record_send(session->session, plain.ptr + sent, plain.len - sent);
        if (len < 0)
            return false;
        sent += (size_t)len;
    }
    size_t sealed_max_bytes = loop->sealed.max_bytes;
    loop->out = loop->sealed;
    loop->out.max_bytes = plain.max_bytes;
    loop->sealed = plain;
    loop->sealed.max_bytes = sealed_max_bytes;
    buf_clear(&loop->sealed);
    return !loop->out.failed;
}

void line_tls_end(struct line_tls *session) {
    if (session->ready && !session->said_end)
        (void)gnutls_bye(session->session, GNUTLS_SHUT_WR);
    session->said_end = true;
}
