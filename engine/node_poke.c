/* SPDX-License-Identifier: MIT */
/* Says to other nodes that a queue has something new: one small HTTP request to each, at most once
 * in 20 ms for a queue (with more than 20 nodes, as many ms as there are: a node tells a thousand
 * in a second, and no more), on connections that stay open. Nobody waits for an answer, and where
 * one is lost the queue is looked at a little later. */
#include "engine/node_inside.h"

#include <stdio.h>
#include <string.h>

#define SPAN_MS 20        /* at least */
#define PENDING_MAX 256U  /* queues of one span; more of them are found by polling */
#define PEERS_MAX 256U    /* nodes that are told */
#define UNSENT_MAX 65536U /* bytes that a node does not take: it is not told more */
#define RECONNECT_MS 1000

enum peer_state { PEER_AWAY, PEER_ASKED, PEER_CONNECTING, PEER_UP, PEER_CLOSING };

struct peer {
    struct pokes *pokes;
    struct peer *next;
    char address[256];
    bool is_over;  /* freed once nothing of it is open */
    bool is_named; /* in the registry, as it was read last */
    enum peer_state state;
    int64_t not_before_ms;
    uv_getaddrinfo_t lookup;
    uv_connect_t connect;
    uv_tcp_t tcp;
    char drain[512];
};

struct pokes {
    struct engine *engine;
    struct peer *peers;
    unsigned peer_count, named_count;
    unsigned pending_count;
    int64_t sent_ms;
    int64_t pending[PENDING_MAX];
};

struct sending {
    uv_write_t write;
    size_t len;
    char bytes[];
};

/* ---- a connection ---- */

static void on_closed(uv_handle_t *handle) {
    struct peer *peer = handle->data;
    peer->state = PEER_AWAY;
    peer->not_before_ms = clock_steady_ms() + RECONNECT_MS;
    if (peer->is_over)
        free(peer);
}

static void hang_up(struct peer *peer) {
    if (uv_is_closing((uv_handle_t *)&peer->tcp))
        return;
    peer->state = PEER_CLOSING;
    uv_close((uv_handle_t *)&peer->tcp, on_closed);
}

static void alloc_drain(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    struct peer *peer = handle->data;
    (void)suggested;
    *buf = uv_buf_init(peer->drain, sizeof peer->drain);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf) {
    (void)buf;
    if (count < 0)
        hang_up(stream->data);
}

static void on_connected(uv_connect_t *connect, int status) {
    struct peer *peer = connect->data;
    if (status == UV_ECANCELED)
        return;
    if (status || uv_read_start((uv_stream_t *)&peer->tcp, alloc_drain, on_read)) {
        hang_up(peer);
        return;
    }
    peer->state = PEER_UP;
    uv_tcp_nodelay(&peer->tcp, 1);
}

static void on_found(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found) {
    struct peer *peer = lookup->data;
    if (peer->is_over) {
        uv_freeaddrinfo(found);
        free(peer);
        return;
    }
    peer->state = PEER_AWAY;
    peer->not_before_ms = clock_steady_ms() + RECONNECT_MS;
    if (status == 0 && !peer->pokes->engine->stopping &&
        uv_tcp_init(&peer->pokes->engine->loop, &peer->tcp) == 0) {
        peer->tcp.data = peer;
        peer->connect.data = peer;
        peer->state = PEER_CONNECTING;
        if (uv_tcp_connect(&peer->connect, &peer->tcp, found->ai_addr, on_connected))
            hang_up(peer);
    }
    uv_freeaddrinfo(found);
}

/* host:port, the host of IPv6 in brackets. */
static bool split(const char *address, char *host, size_t room, const char **ret_port) {
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || !colon[1])
        return false;
    const char *from = address;
    size_t len = (size_t)(colon - address);
    if (from[0] == '[' && len > 2 && from[len - 1] == ']') {
        from++;
        len -= 2;
    }
    if (len >= room)
        return false;
    memcpy(host, from, len);
    host[len] = '\0';
    *ret_port = colon + 1;
    return true;
}

static void dial(struct peer *peer, int64_t now_ms) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    char host[256];
    const char *port;
    if (peer->state != PEER_AWAY || now_ms < peer->not_before_ms)
        return;
    peer->not_before_ms = now_ms + RECONNECT_MS;
    if (!split(peer->address, host, sizeof host, &port))
        return;
    peer->lookup.data = peer;
    if (uv_getaddrinfo(&peer->pokes->engine->loop, &peer->lookup, on_found, host, port, &hints) ==
        0)
        peer->state = PEER_ASKED;
}

static void on_sent(uv_write_t *write, int status) {
    struct peer *peer = write->handle->data;
    free(write->data);
    if (status && status != UV_ECANCELED)
        hang_up(peer);
}

static void tell(struct peer *peer, const char *bytes, size_t len) {
    if (uv_stream_get_write_queue_size((uv_stream_t *)&peer->tcp) > UNSENT_MAX)
        return;
    struct sending *sending = malloc(sizeof *sending + len);
    if (!sending)
        return;
    sending->write.data = sending;
    memcpy(sending->bytes, bytes, len);
    uv_buf_t buf = uv_buf_init(sending->bytes, (unsigned)len);
    if (uv_write(&sending->write, (uv_stream_t *)&peer->tcp, &buf, 1, on_sent)) {
        free(sending);
        hang_up(peer);
    }
}

/* ---- pokes ---- */

static void flush(struct pokes *pokes, int64_t now_ms) {
    struct buf text;
    buf_init(&text, UNSENT_MAX);
    for (unsigned i = 0; i < pokes->pending_count; i++)
        buf_printf(&text,
                   "POST /internal/poke?queue=%lld HTTP/1.1\r\nHost: hati\r\n"
                   "Content-Length: 0\r\n\r\n",
                   (long long)pokes->pending[i]);
    for (struct peer *peer = pokes->peers; peer; peer = peer->next) {
        if (peer->state == PEER_UP && text.len)
            tell(peer, text.ptr, text.len);
        else if (peer->is_named)
            dial(peer, now_ms);
    }
    buf_done(&text);
    pokes->pending_count = 0;
    pokes->sent_ms = now_ms;
}

static bool is_span_over(const struct pokes *pokes, int64_t now_ms) {
    int64_t span_ms = pokes->named_count > SPAN_MS ? pokes->named_count : SPAN_MS;
    return now_ms >= pokes->sent_ms + span_ms;
}

void pokes_add(struct pokes *pokes, int64_t queue_id) {
    if (pokes->named_count == 0 || pokes->engine->stopping)
        return;
    for (unsigned i = 0; i < pokes->pending_count; i++)
        if (pokes->pending[i] == queue_id)
            return;
    if (pokes->pending_count == PENDING_MAX)
        return;
    pokes->pending[pokes->pending_count++] = queue_id;
    int64_t now_ms = clock_steady_ms();
    if (is_span_over(pokes, now_ms))
        flush(pokes, now_ms);
}

void pokes_tick(struct pokes *pokes, int64_t now_ms) {
    if (pokes->pending_count && is_span_over(pokes, now_ms))
        flush(pokes, now_ms);
}

/* ---- peers ---- */

void pokes_begin_peers(struct pokes *pokes) {
    pokes->named_count = 0;
    for (struct peer *peer = pokes->peers; peer; peer = peer->next)
        peer->is_named = false;
}

void pokes_add_peer(struct pokes *pokes, struct slice address) {
    struct peer *peer = pokes->peers;
    if (address.len == 0 || address.len >= sizeof peer->address)
        return;
    while (peer && !slice_equal(slice_of_cstr(peer->address), address))
        peer = peer->next;
    if (!peer && pokes->peer_count < PEERS_MAX) {
        peer = calloc(1, sizeof *peer);
        if (!peer)
            return;
        memcpy(peer->address, address.ptr, address.len);
        peer->pokes = pokes;
        peer->next = pokes->peers;
        pokes->peers = peer;
        pokes->peer_count++;
    }
    if (!peer)
        return;
    pokes->named_count += !peer->is_named;
    peer->is_named = true;
}

/* Those who are gone are forgotten once nothing of them is open. */
void pokes_end_peers(struct pokes *pokes) {
    int64_t now_ms = clock_steady_ms();
    for (struct peer **at = &pokes->peers; *at;) {
        struct peer *peer = *at;
        if (peer->is_named) {
            dial(peer, now_ms);
        } else if (peer->state == PEER_UP) {
            hang_up(peer);
        } else if (peer->state == PEER_AWAY) {
            *at = peer->next;
            pokes->peer_count--;
            free(peer);
            continue;
        }
        at = &peer->next;
    }
}

struct pokes *pokes_new(struct engine *engine) {
    struct pokes *pokes = calloc(1, sizeof *pokes);
    if (pokes)
        pokes->engine = engine;
    return pokes;
}

void pokes_free(struct pokes *pokes) {
    while (pokes && pokes->peers) {
        struct peer *peer = pokes->peers;
        pokes->peers = peer->next;
        peer->is_over = true;
        if (peer->state == PEER_AWAY)
            free(peer);
        else if (peer->state == PEER_ASKED)
            uv_cancel((uv_req_t *)&peer->lookup);
        else
            hang_up(peer);
    }
    free(pokes);
}
