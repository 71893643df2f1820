/* SPDX-License-Identifier: MIT */
#include "peers/link.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "peers/inside.h"
#include "peers/list.h"
#include "peers/sync.h"
#include "peers/talk.h"

#define RETRY_MIN_MS 100U
#define CONNECT_MIN_MS 1000
#define CONNECT_MAX_MS 5000
#define OUT_BYTES_MAX 16777216U
#define KEPT_BYTES 262144U /* of a buffer that is empty */

static void set_state(struct link *link, enum peers_state state) {
    pthread_rwlock_wrlock(&link->peers->filters_lock);
    link->shown.state = state;
    pthread_rwlock_unlock(&link->peers->filters_lock);
}

/* ---- what waits for an answer ---- */

static bool push_sent(struct link *link, const struct sent *sent) {
    if (link->sent_count == link->sent_cap) {
        unsigned cap = link->sent_cap ? link->sent_cap * 2 : 16;
        struct sent *grown = malloc(cap * sizeof *grown);
        if (!grown)
            return false;
        for (unsigned i = 0; i < link->sent_count; i++)
            grown[i] = link->sent[(link->sent_first + i) % link->sent_cap];
        free(link->sent);
        link->sent = grown;
        link->sent_cap = cap;
        link->sent_first = 0;
    }
    link->sent[(link->sent_first + link->sent_count++) % link->sent_cap] = *sent;
    link->questions += sent->kind == SENT_QUESTION;
    return true;
}

bool link_pop_sent(struct link *link, struct sent *ret_sent) {
    if (link->sent_count == 0)
        return false;
    *ret_sent = link->sent[link->sent_first];
    link->sent_first = (link->sent_first + 1) % link->sent_cap;
    link->sent_count--;
    link->questions -= ret_sent->kind == SENT_QUESTION;
    return true;
}

/* ---- writing ---- */

struct buf *link_begin(struct link *link, enum sent_kind kind, struct ask *ask) {
    struct sent sent = {kind, ++link->last_number, clock_steady_ns(), ask};
    if (!push_sent(link, &sent))
        return NULL;
    if (kind != SENT_AUTH && kind != SENT_PING) {
        buf_append_u64(&link->out, sent.number);
        buf_append_char(&link->out, ':');
    }
    return &link->out;
}

/* What could not be appended whole is never written: the link is dropped by its flush. */
void link_end(struct link *link) {
    buf_append_char(&link->out, '\n');
    link->broken = link->broken || link->out.failed;
    if (link->dirty)
        return;
    link->dirty = true;
    link->dirty_next = link->peers->dirty;
    link->peers->dirty = link;
}

static void on_written(uv_write_t *request, int status) {
    struct link *link = request->data;
    link->is_writing = false;
    buf_clear(&link->writing);
    if (status < 0)
        link_drop(link, uv_strerror(status));
    else
        link_flush(link);
}

void link_flush(struct link *link) {
    if (link->phase != LINK_GREETING && link->phase != LINK_READY)
        return;
    if (link->broken) {
        link_drop(link, "no memory");
        return;
    }
    if (link->is_writing || link->out.len == 0)
        return;
    struct buf full = link->out;
    link->out = link->writing;
    link->writing = full;
    uv_buf_t bytes = uv_buf_init(full.ptr, (unsigned)full.len);
    link->writer.data = link;
    link->is_writing = true;
    int status = uv_write(&link->writer, (uv_stream_t *)&link->tcp, &bytes, 1, on_written);
    if (status < 0) {
        link->is_writing = false;
        link_drop(link, uv_strerror(status));
    }
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_bytes) {
    struct link *link = handle->data;
    (void)suggested;
    *ret_bytes = uv_buf_init(link->peers->read_bytes, sizeof link->peers->read_bytes);
}

static bool is_talking(const struct link *link) {
    return link->phase == LINK_GREETING || link->phase == LINK_READY;
}

/* One line off the bytes; false where there is no whole one. */
static bool take_line(struct link *link, struct slice *rest, size_t scanned) {
    const char *newline =
        rest->len > scanned ? memchr(rest->ptr + scanned, '\n', rest->len - scanned) : NULL;
    size_t len = newline ? (size_t)(newline - rest->ptr) : rest->len;
    const char *why = NULL;
    if (link->skipping) {
        link->skipping = !newline;
    } else if (len > talk_line_max(link)) {
        why = talk_take_too_long(link);
        link->skipping = !newline;
    } else if (newline) {
        bool with_return = len && rest->ptr[len - 1] == '\r';
        why = talk_take(link, slice_make(rest->ptr, with_return ? len - 1 : len));
    } else {
        return false;
    }
    size_t taken = newline ? len + 1 : len;
    *rest = slice_make(rest->ptr + taken, rest->len - taken);
    if (why)
        link_drop(link, why);
    return is_talking(link) && rest->len;
}

static void take_lines(struct link *link, size_t scanned) {
    struct slice rest = buf_slice(&link->in);
    while (take_line(link, &rest, scanned))
        scanned = 0;
    if (!is_talking(link))
        return;
    buf_drop_front(&link->in, link->in.len - rest.len);
    if (link->in.len == 0 && link->in.cap > KEPT_BYTES)
        buf_done(&link->in);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *bytes) {
    struct link *link = stream->data;
    size_t scanned = link->in.len;
    if (!is_talking(link) || count == 0)
        return;
    if (count < 0)
        link_drop(link, uv_strerror((int)count));
    else if (!buf_append(&link->in, slice_make(bytes->base, (size_t)count)))
        link_drop(link, "no memory");
    else
        take_lines(link, scanned);
}

/* ---- connecting ---- */

static void on_retry(uv_timer_t *timer) {
    link_start(timer->data);
}

static void wait_for_retry(struct link *link) {
    uint8_t random;
    uint64_t retry_max_ms = (uint64_t)link->peers->options.retry_max_ms;
    uint64_t delay_ms = RETRY_MIN_MS;
    hash_random(&random, 1);
    for (unsigned i = 0; i < link->failures && delay_ms < retry_max_ms; i++)
        delay_ms *= 2;
    if (delay_ms > retry_max_ms)
        delay_ms = retry_max_ms;
    delay_ms -= delay_ms * random / 512;
    link->failures++;
    link->found_count = 0;
    link->phase = LINK_WAITING;
    (void)uv_timer_start(&link->timer, on_retry, delay_ms, 0);
}

static void on_too_late(uv_timer_t *timer) {
    link_drop(timer->data, "no answer in time");
}

static void on_connected(uv_connect_t *request, int status) {
    struct link *link = request->data;
    if (status == UV_ECANCELED || link->phase != LINK_CONNECTING)
        return;
    if (status == 0)
        status = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
    if (status < 0) {
        link_drop(link, uv_strerror(status));
        return;
    }
    (void)uv_tcp_nodelay(&link->tcp, 1);
    link->found_count = 0; /* of those of the name it was a good one */
    link->phase = LINK_GREETING;
    talk_greet(link);
}

static void connect_next(struct link *link) {
    struct peers *peers = link->peers;
    const struct sockaddr *address = (const struct sockaddr *)&link->found[link->found_at++];
    int64_t beats_ms = peers->options.beat_ms * LINK_BEATS_MAX;
    int64_t limit_ms = beats_ms < CONNECT_MIN_MS ? CONNECT_MIN_MS : beats_ms;
    int status = uv_tcp_init(&peers->uv, &link->tcp);
    if (status < 0) {
        wait_for_retry(link);
        return;
    }
    if (limit_ms > CONNECT_MAX_MS)
        limit_ms = CONNECT_MAX_MS;
    link->tcp.data = link;
    link->connector.data = link;
    link->phase = LINK_CONNECTING;
    (void)uv_timer_start(&link->timer, on_too_late, (uint64_t)limit_ms, 0);
    status = uv_tcp_connect(&link->connector, &link->tcp, address, on_connected);
    if (status < 0)
        link_drop(link, uv_strerror(status));
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *all) {
    struct link *link = request->data;
    unsigned count = 0;
    for (struct addrinfo *one = all; one && count < LINK_FOUND_MAX; one = one->ai_next)
        if (one->ai_addrlen <= sizeof link->found[0])
            memcpy(&link->found[count++], one->ai_addr, one->ai_addrlen);
    uv_freeaddrinfo(all);
    if (link->phase != LINK_RESOLVING)
        return;
    link->found_count = count;
    link->found_at = 0;
    if (count) {
        connect_next(link);
        return;
    }
    if (link->failures == 0)
        log_warn("peer %s: %s", link->shown.address, status ? uv_strerror(status) : "no address");
    wait_for_retry(link);
}

/* Only names need the resolver, which may take its time. */
static bool is_numeric(struct link *link) {
    struct sockaddr_storage *to = &link->found[0];
    int port = atoi(link->port);
    return uv_ip4_addr(link->host, port, (struct sockaddr_in *)to) == 0 ||
           uv_ip6_addr(link->host, port, (struct sockaddr_in6 *)to) == 0;
}

void link_start(struct link *link) {
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    link->found_at = 0;
    if (is_numeric(link)) {
        link->found_count = 1;
        connect_next(link);
        return;
    }
    link->phase = LINK_RESOLVING;
    link->resolver.data = link;
    if (uv_getaddrinfo(&link->peers->uv, &link->resolver, on_resolved, link->host, link->port,
                       &hints) < 0)
        wait_for_retry(link);
}

/* ---- ending ---- */

static void clear(struct link *link) {
    buf_done(&link->in);
    buf_done(&link->out);
    buf_done(&link->writing);
    link->is_writing = link->broken = link->skipping = false;
    link->beat_waits = link->bloom_waits = false;
    link->beats = 0;
}

static void on_closed(uv_handle_t *handle) {
    struct link *link = handle->data;
    clear(link);
    if (link->peers->stopping)
        return;
    if (link->is_self)
        link->phase = LINK_OVER;
    else if (link->found_at < link->found_count)
        connect_next(link);
    else
        wait_for_retry(link);
}

static void note_end(struct link *link, const char *why) {
    if (link->is_self)
        log_info("peer %s is this node itself", link->shown.address);
    else if (link->shown.state == PEERS_ALIVE || link->failures == 0)
        log_warn("peer %s: %s", link->shown.address, why);
    if (link->is_self)
        set_state(link, PEERS_SELF);
    else if (link->shown.state == PEERS_ALIVE)
        set_state(link, PEERS_CONNECTING);
}

void link_drop(struct link *link, const char *why) {
    struct sent sent;
    if (link->phase != LINK_CONNECTING && !is_talking(link))
        return;
    link->phase = LINK_CLOSING;
    uv_timer_stop(&link->timer);
    if (!link->peers->stopping)
        note_end(link, why);
    sync_end_fetch(link);
    uv_close((uv_handle_t *)&link->tcp, on_closed);
    while (link_pop_sent(link, &sent))
        if (sent.kind == SENT_QUESTION)
            ask_not_answered(link->peers, sent.ask);
}

void link_stop(struct link *link) {
    if (link->phase == LINK_RESOLVING) {
        (void)uv_cancel((uv_req_t *)&link->resolver);
        link->phase = LINK_CLOSING;
    }
    link_drop(link, "");
    uv_close((uv_handle_t *)&link->timer, NULL);
}

void link_free(struct link *link) {
    clear(link);
    free(link->sent);
    sync_end_fetch(link);
    sync_forget(link);
}

bool link_init(struct link *link, struct peers *peers, unsigned index, struct slice address) {
    struct slice host, port;
    if (!peers_split_address(address, &host, &port))
        return false;
    link->peers = peers;
    link->index = index;
    snprintf(link->host, sizeof link->host, "%.*s", (int)host.len, host.ptr);
    snprintf(link->port, sizeof link->port, "%.*s", (int)port.len, port.ptr);
    snprintf(link->shown.address, sizeof link->shown.address, "%.*s", (int)address.len,
             address.ptr);
    buf_init(&link->in, SIZE_MAX / 2);
    buf_init(&link->out, OUT_BYTES_MAX);
    buf_init(&link->writing, OUT_BYTES_MAX);
    link->timer.data = link;
    return uv_timer_init(&peers->uv, &link->timer) == 0;
}
