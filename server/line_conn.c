/* SPDX-License-Identifier: MIT */
#include "server/line_conn.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/line_count.h"
#include "server/line_dialect.h"
#include "server/line_follow.h"
#include "server/line_held.h"
#include "server/line_json.h"
#include "server/line_linger.h"
#include "server/line_render.h"
#include "server/line_subscribe.h"
#include "server/line_tls.h"
#include "server/olivia_many.h"
#include "server/proxy_header.h"

#define SMALL_TAIL_BYTES (LINE_READ_BYTES / 4)
#define KEPT_TAIL_BYTES 512U /* an idle connection keeps no more */
#define KEPT_OUT_BYTES 1048576U
#define KEEPALIVE_S 60

/* Bytes the kernel did not take at once. */
struct line_write {
    uv_write_t request;
    struct line_conn *conn;
    struct line_held *held; /* messages in the bytes */
    struct buf bytes;
    size_t size_bytes;
};

static struct core_door *door_of(const struct line_conn *conn) {
    return &conn->loop->core->doors[conn->dialect->door];
}

static void release(struct line_conn *conn) {
    struct line_loop *loop = conn->loop;
    atomic_fetch_sub_explicit(&door_of(conn)->connections, 1, memory_order_relaxed);
    if (conn->visitor)
        (void)peers_visitor_remove(loop->core->peers, conn->visitor);
    line_tls_free(conn->tls);
    buf_done(&conn->early);
    buf_done(&conn->tail);
    free(conn->own_grant);
    free(conn->place);
    free(conn);
    loop->conn_count--;
    line_loop_check_end(loop);
}

static void on_closed(uv_handle_t *handle) {
    struct line_conn *conn = handle->data;
    conn->closed = true;
    if (!conn->turn_waits)
        release(conn);
}

static void come_back(struct line_woken *woken) {
    struct line_conn *conn = (struct line_conn *)((char *)woken - offsetof(struct line_conn, turn));
    conn->turn_waits = false;
    if (conn->closed)
        release(conn);
    else
        line_conn_go_on(conn);
}

void line_conn_end_words(struct line_conn *conn) {
    if (conn->turn_waits)
        return;
    conn->turn_waits = true;
    conn->turn.loop = conn->loop;
    conn->turn.come_back = come_back;
    line_loop_wake(&conn->turn);
}

void line_conn_close(struct line_conn *conn) {
    struct line_loop *loop = conn->loop;
    if (conn->closing)
        return;
    conn->closing = true;
    if (conn->shaking)
        loop->shaking--;
    line_slow_end(conn);
    line_limit_disconnect(conn);
    while (conn->first) {
        struct line_slot *slot = conn->first;
        conn->first = slot->queue_next;
        line_slot_abandon(slot);
    }
    conn->last = NULL;
    line_subscriptions_end(conn);
    line_follows_end(conn);
    line_linger_end(conn);
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        loop->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    uv_close(&conn->uv.handle, on_closed);
}

/* Messages in bytes that the kernel took, or never will. */
static void decide_held(struct line_conn *conn, struct line_held *held, bool taken) {
    if (!held)
        return;
    if (taken && line_linger_is_reset(conn)) {
        conn->broken = true;
        taken = false;
    }
    if (taken && conn->eof)
        line_linger_add(conn, held);
    else
        line_held_release(conn->loop, held, taken);
}

static void on_written(uv_write_t *request, int status) {
    struct line_write *write = request->data;
    struct line_conn *conn = write->conn;
    conn->backlog_bytes -= write->size_bytes;
    decide_held(conn, write->held, status == 0 && !conn->closing);
    buf_done(&write->bytes);
    free(write);
    if (conn->closing)
        return;
    if (status < 0)
        conn->broken = true;
    if (conn->broken || conn->backlog_bytes <= LINE_BACKLOG_BYTES / 2)
        line_conn_go_on(conn);
}

/* A large rest is handed over with its buffer; a small one is copied so that the buffer stays. */
static bool take_rest(struct buf *out, size_t sent, struct buf *ret_bytes) {
    if (out->len - sent > LINE_READ_BYTES) {
        size_t max_bytes = out->max_bytes;
        *ret_bytes = *out;
        buf_init(out, max_bytes);
        return true;
    }
    buf_init(ret_bytes, out->len);
    bool copied = buf_append(ret_bytes, slice_make(out->ptr + sent, out->len - sent));
    buf_clear(out);
    return copied;
}

static bool send_later(struct line_conn *conn, size_t sent) {
    struct buf *out = &conn->loop->out;
    size_t rest = out->len - sent;
    bool whole = rest > LINE_READ_BYTES;
    struct line_write *write = malloc(sizeof *write);
    if (!write)
        return false;
    if (!take_rest(out, sent, &write->bytes)) {
        free(write);
        return false;
    }
    write->conn = conn;
    write->size_bytes = rest;
    write->request.data = write;
    uv_buf_t bytes = uv_buf_init(write->bytes.ptr + (whole ? sent : 0), (unsigned)rest);
    if (uv_write(&write->request, &conn->uv.stream, &bytes, 1, on_written) != 0) {
        buf_done(&write->bytes);
        free(write);
        return false;
    }
    write->held = conn->loop->held;
    conn->loop->held = NULL;
    conn->backlog_bytes += rest;
    return true;
}

void line_conn_flush(struct line_conn *conn) {
    struct buf *out = &conn->loop->out;
    if (conn->tls && !conn->broken && !line_tls_seal(conn->tls))
        conn->broken = true;
    if (out->len && !conn->broken) {
        line_count_bytes(conn, METRICS_OUT_BYTES, out->len);
        line_limit_add_bytes(conn, out->len);
        uv_buf_t bytes = uv_buf_init(out->ptr, (unsigned)out->len);
        int sent = uv_try_write(&conn->uv.stream, &bytes, 1);
        if (sent == UV_EAGAIN)
            sent = 0;
        if (sent < 0 || ((size_t)sent < out->len && !send_later(conn, (size_t)sent)))
            conn->broken = true;
    }
    struct line_held *held = conn->loop->held;
    conn->loop->held = NULL;
    decide_held(conn, held, !conn->broken);
    buf_clear(out);
    if (out->cap > KEPT_OUT_BYTES)
        buf_done(out);
    struct buf *sealed = &conn->loop->sealed;
    buf_clear(sealed); /* what a session that broke left is no part of the next one's */
    if (sealed->cap > KEPT_OUT_BYTES)
        buf_done(sealed);
}

struct buf *line_conn_reply(struct line_conn *conn) {
    return conn->last ? &conn->last->after : &conn->loop->out;
}

static void render_slot(struct line_conn *conn, struct line_slot *slot, int64_t now_ns) {
    struct line_loop *loop = conn->loop;
    if (slot->json) {
        line_json_render(loop, slot);
        if (slot->state == SLOT_EXPIRED)
            line_count_slot(conn, slot, ERR_TIMEOUT, now_ns);
    } else {
        enum err err;
        if (slot->state == SLOT_EXPIRED) {
            err = ERR_TIMEOUT;
            conn->dialect->render_error(&loop->out, &slot->answer, ERR_UNAVAILABLE,
                                        "the deadline passed; the outcome is unknown");
        } else if (slot->many) {
            err = olivia_many_render(&loop->out, slot->many);
        } else if (slot->prefetch) {
            err = line_subscribe_answer(conn, slot);
        } else {
            err = conn->dialect->render(&loop->out, &slot->call, &slot->answer);
            if (!err)
                line_held_add_call(loop, &slot->call);
        }
        line_count_slot(conn, slot, err, now_ns);
    }
    buf_append(&loop->out, buf_slice(&slot->after));
    conn->after_bytes -= slot->after.len;
    if (loop->out.failed)
        conn->broken = true;
}

void line_conn_settle(struct line_conn *conn) {
    int64_t now_ns = conn->first ? clock_steady_ns() : 0;
    while (conn->first && conn->first->state != SLOT_RUNNING && !conn->broken) {
        struct line_slot *slot = conn->first;
        render_slot(conn, slot, now_ns);
        line_slot_dequeue(slot);
        if (conn->loop->out.len >= LINE_FLUSH_BYTES)
            line_conn_flush(conn);
    }
}

/* Keeps what was not consumed. data is the tail itself, or stands in the loop's read buffer. */
static void keep_tail(struct line_conn *conn, struct slice data, size_t consumed) {
    struct slice rest = slice_make(data.ptr + consumed, data.len - consumed);
    if (data.ptr == conn->tail.ptr) {
        buf_drop_front(&conn->tail, consumed);
    } else {
        buf_clear(&conn->tail);
        if (rest.len && !buf_append(&conn->tail, rest))
            conn->broken = true;
    }
    if (conn->tail.len == 0 && conn->tail.cap > KEPT_TAIL_BYTES)
        buf_done(&conn->tail);
}

/* Where the next bytes are read to, so that they stand behind the tail. */
static void choose_room(struct line_conn *conn, uv_buf_t *ret_bytes) {
    struct line_loop *loop = conn->loop;
    struct buf *tail = &conn->tail;
    if (tail->len > SMALL_TAIL_BYTES) { /* a large request: straight to its place */
        char *at = buf_reserve(tail, LINE_READ_BYTES);
        *ret_bytes = uv_buf_init(at, at ? LINE_READ_BYTES : 0);
        return;
    }
    if (tail->len)
        memcpy(loop->read_bytes, tail->ptr, tail->len);
    *ret_bytes = uv_buf_init(loop->read_bytes + tail->len, (unsigned)(LINE_READ_BYTES - tail->len));
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_bytes) {
    struct line_conn *conn = handle->data;
    (void)suggested;
    if (conn->tls)
        *ret_bytes = uv_buf_init(conn->loop->encrypted_bytes, LINE_READ_BYTES);
    else
        choose_room(conn, ret_bytes);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *bytes);

static bool wants_reading(const struct line_conn *conn) {
    return !conn->eof && !conn->quitting && !conn->blocked && !conn->loop->stopping;
}

static bool wants_close(const struct line_conn *conn) {
    bool no_more = conn->quitting || ((conn->eof || conn->loop->stopping) && !conn->blocked);
    return no_more && !conn->first && conn->backlog_bytes == 0;
}

static void begin_turn(struct line_conn *conn) {
    if (conn->turn_waits)
        return;
    conn->turn_words = 0;
    conn->turn_bytes = 0;
}

/* The end of every turn: what was appended is sent, and the connection's new state acted on. */
static void end_turn(struct line_conn *conn) {
    line_loop_count(conn->loop, conn->dialect->door);
    if (conn->subs)
        line_subscriptions_go_on(conn);
    if (conn->follows)
        line_follows_go_on(conn);
    line_conn_flush(conn);
    bool over = wants_close(conn);
    if (over && conn->tls && !conn->broken) {
        line_tls_end(conn->tls);
        line_conn_flush(conn);
        over = wants_close(conn); /* not before that is sent, too */
    }
    if (over && conn->undecided)
        line_linger_say_end(conn);
    if (conn->broken || (over && !conn->undecided)) {
        line_conn_close(conn);
        return;
    }
    line_slow_update(conn);
    bool want = wants_reading(conn);
    if (want == conn->reading)
        return;
    conn->reading = want;
    if (!want)
        uv_read_stop(&conn->uv.stream);
    else if (uv_read_start(&conn->uv.stream, on_alloc, on_read) != 0)
        line_conn_close(conn);
}

/* Runs the requests in what was read to where choose_room said. */
static void take_bytes(struct line_conn *conn, const char *at, size_t got) {
    struct line_loop *loop = conn->loop;
    bool in_tail = at < loop->read_bytes || at >= loop->read_bytes + sizeof loop->read_bytes;
    struct slice data = slice_make(loop->read_bytes, conn->tail.len + got);
    if (in_tail) {
        conn->tail.len += got;
        data = buf_slice(&conn->tail);
    }
    size_t consumed = line_run(conn, data);
    keep_tail(conn, data, consumed);
    line_slow_progress(conn, consumed);
}

static void end_shaking(struct line_conn *conn) {
    if (!conn->shaking || conn->awaits_proxy || (conn->tls && !line_tls_is_ready(conn->tls)))
        return;
    conn->shaking = false;
    conn->loop->shaking--;
}

/* What is decrypted and not yet wanted stays with TLS. */
static void read_decrypted(struct line_conn *conn) {
    enum line_tls_state state = LINE_TLS_DATA;
    while (state == LINE_TLS_DATA && wants_reading(conn) && !conn->broken) {
        uv_buf_t room;
        size_t got = 0;
        choose_room(conn, &room);
        state = room.len ? line_tls_read(conn->tls, room.base, room.len, &got) : LINE_TLS_BROKEN;
        if (state == LINE_TLS_DATA)
            take_bytes(conn, room.base, got);
    }
    end_shaking(conn);
    if (state == LINE_TLS_ENDED)
        conn->eof = true;
    if (state == LINE_TLS_BROKEN) {
        line_conn_flush(conn); /* the alert */
        conn->broken = true;
    }
}

static void take_read(struct line_conn *conn, char *at, size_t len) {
    if (conn->awaits_proxy) {
        bool more = line_admit_proxy(conn, at, &len);
        end_shaking(conn);
        if (!more)
            return;
    }
    if (!conn->tls)
        take_bytes(conn, at, len);
    else if (line_tls_feed(conn->tls, at, len))
        read_decrypted(conn);
    else
        conn->broken = true;
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *bytes) {
    struct line_conn *conn = stream->data;
    if (got == 0)
        return;
    if (got < 0) {
        conn->eof = true;
        /* libuv calls a reset behind the last bytes an end, too */
        conn->broken = conn->broken || got != UV_EOF || line_linger_is_reset(conn);
        end_turn(conn);
        return;
    }
    begin_turn(conn);
    conn->loop->now_ms = 0; /* what came while others were served must not count as from before */
    conn->read_ns = clock_steady_ns();
    line_count_bytes(conn, METRICS_IN_BYTES, (size_t)got);
    line_limit_add_bytes(conn, (size_t)got);
    take_read(conn, bytes->base, (size_t)got);
    end_turn(conn);
}

void line_conn_go_on(struct line_conn *conn) {
    if (conn->closing)
        return;
    begin_turn(conn);
    line_conn_settle(conn);
    if (conn->blocked) {
        struct slice data = buf_slice(&conn->tail);
        size_t consumed = line_run(conn, data);
        keep_tail(conn, data, consumed);
        line_slow_progress(conn, consumed);
        if (conn->tls && !conn->blocked)
            read_decrypted(conn);
    }
    end_turn(conn);
}

void line_conn_end_slow_handshakes(struct line_loop *loop, int64_t steady_ms) {
    struct line_conn *next;
    for (struct line_conn *conn = loop->conns; conn; conn = next) {
        next = conn->next;
        if (!conn->shaking || steady_ms < conn->shake_until_ms)
            continue;
        limits_note(loop->core->limits, LIMITS_SLOW_HANDSHAKE);
        line_conn_close(conn);
    }
}

/* False without memory, or where the caller is turned away. */
static bool begin(struct line_conn *conn, const struct line_listener *listener) {
    struct line_loop *loop = conn->loop;
    const struct networks *trusted = limits_trusted(loop->core->limits);
    if (listener->tls && !(conn->tls = line_tls_new(loop, listener->tls)))
        return false;
    conn->read_ns = clock_steady_ns();
    conn->awaits_proxy = listener->proxy_headers && trusted && conn->client.known &&
                         networks_have(trusted, &conn->client);
    if (!conn->awaits_proxy && !line_admit(conn))
        return false;
    if (!conn->awaits_proxy && !conn->tls)
        return true;
    int64_t timeout_ms = loop->config->handshake_timeout_ms;
    conn->shake_until_ms = timeout_ms ? conn->read_ns / 1000000 + timeout_ms : INT64_MAX;
    conn->shaking = true;
    loop->shaking++;
    line_loop_need_tick(loop);
    return true;
}

static int open_handle(struct line_conn *conn, int fd, bool is_tcp) {
    struct line_loop *loop = conn->loop;
    if (!is_tcp) {
        int status = uv_pipe_init(&loop->uv, &conn->uv.pipe, 0);
        conn->uv.handle.data = conn;
        return status ? status : uv_pipe_open(&conn->uv.pipe, fd);
    }
    int status = uv_tcp_init(&loop->uv, &conn->uv.tcp);
    conn->uv.handle.data = conn;
    if (!status)
        status = uv_tcp_open(&conn->uv.tcp, fd);
    if (!status) { /* neither is a reason to turn a caller away */
        (void)uv_tcp_nodelay(&conn->uv.tcp, 1);
        (void)uv_tcp_keepalive(&conn->uv.tcp, 1, KEEPALIVE_S);
    }
    return status;
}

void line_conn_open(struct line_loop *loop, int fd, const struct sockaddr *peer,
                    const struct line_listener *listener) {
    struct line_conn *conn = calloc(1, sizeof *conn);
    if (!conn) {
        close(fd);
        return;
    }
    conn->loop = loop;
    conn->dialect = listener->dialect;
    conn->grant = loop->core->auth ? &auth_grant_nothing : &auth_grant_everything;
    buf_init(&conn->tail, loop->config->line_limit_bytes + loop->config->payload_limit_bytes +
                              4 * (size_t)LINE_READ_BYTES);
    buf_init(&conn->early, PROXY_HEADER_MAX + LINE_READ_BYTES);
    conn->client = address_of_socket(peer);
    int status = open_handle(conn, fd, peer->sa_family != AF_UNIX);
    atomic_fetch_add_explicit(&door_of(conn)->connections, 1, memory_order_relaxed);
    loop->conn_count++;
    conn->next = loop->conns;
    if (conn->next)
        conn->next->prev = conn;
    loop->conns = conn;
    if (status)
        close(fd);
    if (status || !begin(conn, listener)) {
        line_conn_close(conn);
        return;
    }
    end_turn(conn);
}
