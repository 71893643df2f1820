/* SPDX-License-Identifier: MIT */
#include "server/line_loop.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/line_conn.h"
#include "server/line_dialect.h"
#include "server/line_held.h"
#include "server/line_json.h"
#include "server/line_linger.h"
#include "server/line_render.h"
#include "server/line_slot.h"
#include "server/olivia_many.h"
#include "server/room.h"

#define TICK_MS 50
#define ACCEPTS_MAX 64U          /* of one round, so that those who are served go on */
#define KEYS_BYTES_MAX 16777216U /* what a listing's page may take */
#define OUT_BYTES_MAX 268435456U

static _Thread_local struct line_loop *own; /* of this thread; NULL: another thread */

int64_t line_loop_now_ms(struct line_loop *loop) {
    if (loop->now_ms == 0)
        loop->now_ms = clock_wall_ms();
    return loop->now_ms;
}

void line_loop_count(struct line_loop *loop, enum door number) {
    struct core_door *door = &loop->core->doors[number];
    if (loop->requests)
        atomic_fetch_add_explicit(&door->requests, loop->requests, memory_order_relaxed);
    if (loop->failures)
        atomic_fetch_add_explicit(&door->failures, loop->failures, memory_order_relaxed);
    loop->requests = 0;
    loop->failures = 0;
}

void line_loop_touch(struct line_loop *loop, struct line_conn *conn) {
    if (conn->touched)
        return;
    conn->touched = true;
    conn->touched_next = loop->touched;
    loop->touched = conn;
}

static void go_on_touched(struct line_loop *loop) {
    while (loop->touched) {
        struct line_conn *conn = loop->touched;
        loop->touched = conn->touched_next;
        conn->touched = false;
        line_conn_go_on(conn);
    }
}

/* What the loop's own thread wakes is found before the loop sleeps (on_prepare): no send is needed.
 * The wakers' count keeps the loop alive until this thread has let go of it: the loop may see what
 * was woken, finish its stop and want to go before the send below is over. */
void line_loop_wake(struct line_woken *woken) {
    struct line_loop *loop = woken->loop;
    atomic_fetch_add_explicit(&loop->wakers, 1, memory_order_relaxed);
    struct line_woken *newest = atomic_load_explicit(&loop->woken, memory_order_relaxed);
    do
        woken->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&loop->woken, &newest, woken,
                                                  memory_order_acq_rel, memory_order_relaxed));
    if (!newest && own != loop)
        uv_async_send(&loop->async);
    atomic_fetch_sub_explicit(&loop->wakers, 1, memory_order_release);
}

/* All that were woken, oldest first. */
static struct line_woken *take_woken(struct line_loop *loop) {
    struct line_woken *newest = atomic_exchange_explicit(&loop->woken, NULL, memory_order_acq_rel);
    struct line_woken *oldest = NULL;
    while (newest) {
        struct line_woken *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void finish_woken(struct line_loop *loop) {
    struct line_woken *woken = take_woken(loop);
    while (woken) {
        struct line_woken *next = woken->next;
        woken->come_back(woken);
        woken = next;
    }
    go_on_touched(loop);
}

/* Where TLS is spoken the refusal is an alert before any handshake: fatal, access denied. */
void line_refuse(int fd, bool tls, enum err err, const char *text) {
    static const char denied[] = {0x15, 3, 3, 0, 2, 2, 49};
    struct buf line;
    buf_init(&line, 256);
    if (!tls)
        line_render_error(&line, err, text);
    else
        (void)!buf_append(&line, slice_make(denied, sizeof denied));
    if (line.len) /* best effort: the caller is turned away either way */
        (void)!send(fd, line.ptr, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_done(&line);
}

static void welcome(struct line_loop *loop, int fd, const struct sockaddr_storage *peer,
                    const struct line_listener *listener) {
    uint64_t open = atomic_load(&loop->core->doors[listener->dialect->door].connections);
    if ((!loop->config->connection_limit || open < loop->config->connection_limit) &&
        room_has(loop->core, loop->config, 1)) {
        line_conn_open(loop, fd, (const struct sockaddr *)peer, listener);
        return;
    }
    line_refuse(fd, listener->tls, ERR_UNAVAILABLE, "too many connections");
    close(fd);
}

/* Without descriptors or memory the listener stays readable: it is left alone until the tick. */
static void pause_accept(struct line_loop *loop, int why) {
    log_warn("line: accept: %s; trying again soon", strerror(why));
    loop->accept_paused = true;
    for (unsigned i = 0; i < loop->listener_count; i++)
        uv_poll_stop(&loop->listeners[i].poll);
    line_loop_need_tick(loop);
}

static void on_caller(uv_poll_t *poll, int status, int events) {
    struct line_loop *loop = poll->data;
    const struct line_listener *listener = (struct line_listener *)poll;
    (void)status;
    (void)events;
    for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage peer = {.ss_family = AF_UNIX};
        socklen_t peer_bytes = sizeof peer;
        int caller = accept4(listener->fd, (struct sockaddr *)&peer, &peer_bytes,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (caller >= 0) {
            welcome(loop, caller, &peer, listener);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accept(loop, errno);
        if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO)
            return;
    }
}

static void resume_accept(struct line_loop *loop) {
    loop->accept_paused = false;
    for (unsigned i = 0; i < loop->listener_count; i++)
        (void)uv_poll_start(&loop->listeners[i].poll, UV_READABLE, on_caller);
}

static void on_tick(uv_timer_t *timer) {
    struct line_loop *loop = timer->data;
    int64_t steady_ms = clock_steady_ms();
    line_slot_expire(loop, steady_ms);
    go_on_touched(loop);
    line_linger_check(loop, steady_ms);
    if (loop->shaking)
        line_conn_end_slow_handshakes(loop, steady_ms);
    if (loop->accept_paused && !loop->stopping)
        resume_accept(loop);
    if (loop->stopping && steady_ms >= loop->stop_deadline_ms)
        while (loop->conns)
            line_conn_close(loop->conns);
    if (!loop->first_due && !loop->lingering && !loop->shaking && !loop->accept_paused &&
        !loop->stopping)
        uv_timer_stop(timer);
    line_loop_check_end(loop);
}

void line_loop_need_tick(struct line_loop *loop) {
    if (!uv_is_active((uv_handle_t *)&loop->tick))
        (void)uv_timer_start(&loop->tick, on_tick, TICK_MS, TICK_MS);
}

static void begin_stop(struct line_loop *loop) {
    loop->stopping = true;
    loop->stop_deadline_ms = clock_steady_ms() + loop->config->drain_timeout_ms;
    for (unsigned i = 0; i < loop->listener_count; i++)
        uv_close((uv_handle_t *)&loop->listeners[i].poll, NULL);
    line_loop_need_tick(loop);
    for (struct line_conn *conn = loop->conns; conn; conn = conn->next) {
        if (conn->first)
            line_slot_stop(conn->first);
        line_loop_touch(loop, conn);
    }
    go_on_touched(loop);
}

void line_loop_check_end(struct line_loop *loop) {
    if (!loop->stopping || loop->ended || loop->conn_count || loop->in_flight)
        return;
    loop->ended = true;
    while (atomic_load_explicit(&loop->wakers, memory_order_acquire))
        sched_yield(); /* a few instructions of another thread */
    uv_close((uv_handle_t *)&loop->async, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->tick, NULL);
    uv_close((uv_handle_t *)&loop->watch, NULL);
}

static void on_async(uv_async_t *async) {
    struct line_loop *loop = async->data;
    finish_woken(loop);
    if (!loop->stopping && atomic_load(&loop->stop_wanted))
        begin_stop(loop);
    line_loop_check_end(loop);
}

/* What is woken in here waits for the next round, so that the sockets have their turn. */
static void on_prepare(uv_prepare_t *prepare) {
    struct line_loop *loop = prepare->data;
    if (atomic_load_explicit(&loop->woken, memory_order_relaxed)) {
        finish_woken(loop);
        if (atomic_load_explicit(&loop->woken, memory_order_relaxed))
            uv_async_send(&loop->async);
        line_loop_check_end(loop);
    }
    loop->now_ms = 0;
}

static int open_handles(struct line_loop *loop) {
    int status = uv_async_init(&loop->uv, &loop->async, on_async);
    loop->async.data = loop;
    if (!status)
        status = uv_prepare_init(&loop->uv, &loop->prepare);
    loop->prepare.data = loop;
    if (!status)
        status = uv_prepare_start(&loop->prepare, on_prepare);
    if (!status)
        status = uv_timer_init(&loop->uv, &loop->tick);
    loop->tick.data = loop;
    if (!status)
        status = uv_timer_init(&loop->uv, &loop->watch);
    loop->watch.data = loop;
    for (unsigned i = 0; i < loop->listener_count && !status; i++) {
        struct line_listener *listener = &loop->listeners[i];
        status = uv_poll_init(&loop->uv, &listener->poll, listener->fd);
        listener->poll.data = loop;
        if (!status)
            status = uv_poll_start(&listener->poll, UV_READABLE, on_caller);
    }
    return status;
}

enum err line_loop_open(struct line_loop *loop) {
    const struct config *config = loop->config;
    size_t values = config->line_limit_bytes + 2 * (size_t)config->payload_limit_bytes;
    loop->arena_max_bytes = values + KEYS_BYTES_MAX;
    buf_init(&loop->out, values + OUT_BYTES_MAX);
    buf_init(&loop->sealed, 2 * (values + OUT_BYTES_MAX));
    bool has_tls = false;
    for (unsigned i = 0; i < loop->listener_count; i++)
        has_tls = has_tls || loop->listeners[i].tls;
    if (has_tls && !(loop->encrypted_bytes = malloc(LINE_READ_BYTES)))
        return ERR_OUT_OF_MEMORY;
    if (uv_loop_init(&loop->uv) != 0)
        return ERR_OUT_OF_MEMORY;
    loop->opened = true;
    return open_handles(loop) == 0 ? OK : ERR_OUT_OF_MEMORY;
}

void *line_loop_main(void *context) {
    struct line_loop *loop = context;
    own = loop;
    loop->metrics = metrics_shard(loop->core->metrics);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    return NULL;
}

static void close_one(uv_handle_t *handle, void *context) {
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void line_loop_close(struct line_loop *loop) {
    if (loop->opened && !loop->started) { /* its handles never got a thread */
        uv_walk(&loop->uv, close_one, NULL);
        uv_run(&loop->uv, UV_RUN_DEFAULT);
    }
    if (loop->opened)
        (void)uv_loop_close(&loop->uv);
    for (unsigned i = 0; i < loop->listener_count; i++)
        close(loop->listeners[i].fd);
    while (loop->free_slots) {
        struct line_slot *slot = loop->free_slots;
        loop->free_slots = slot->queue_next;
        free(slot);
    }
    line_json_free(loop->spare_json);
    olivia_many_free(loop->spare_many);
    line_held_close(loop);
    buf_done(&loop->out);
    buf_done(&loop->sealed);
    free(loop->encrypted_bytes);
}
