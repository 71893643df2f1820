/* SPDX-License-Identifier: MIT */
#include "server/olivia_request.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

#include "peers/wire.h"
#include "server/line_conn.h"
#include "server/olivia.h"

static enum err answer_error(struct buf *to, struct slice hash, enum err err, const char *text) {
    olivia_render_error(to, hash, err, text);
    return err;
}

static enum err answer_invalid(struct buf *to) {
    olivia_render_invalid(to);
    return ERR_SYNTAX;
}

static enum err end_answer(struct buf *to, const char *text) {
    return buf_append(to, slice_of_cstr(text)) ? OK : ERR_OUT_OF_MEMORY;
}

static void begin_answer(struct buf *to, struct slice hash) {
    buf_append(to, hash);
    buf_append(to, SLICE(":FULFILLED "));
}

/* host:port of who called; a UNIX socket has none. */
static void address_of(const struct line_conn *conn, char to[PEERS_ADDRESS_BYTES]) {
    struct sockaddr_storage peer = {.ss_family = AF_UNIX};
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&peer;
    socklen_t bytes = sizeof peer;
    char host[ADDRESS_TEXT_BYTES];
    int fd;
    snprintf(to, PEERS_ADDRESS_BYTES, "local");
    if (uv_fileno(&conn->uv.handle, &fd) == 0)
        (void)getpeername(fd, (struct sockaddr *)&peer, &bytes);
    struct address address = address_of_socket((const struct sockaddr *)&peer);
    if (!address.known)
        return;
    address_format(&address, host); /* the port is at one place in both families */
    snprintf(to, PEERS_ADDRESS_BYTES, address_is_v4(&address) ? "%s:%u" : "[%s]:%u", host,
             ntohs(v6->sin6_port));
}

/* From now on the connection is a peer's: what it asks for is a question already forwarded. */
static void become_peer(struct line_conn *conn, const char *address) {
    struct peers *peers = conn->loop->core->peers;
    conn->is_peer = true;
    if (conn->visitor)
        (void)peers_visitor_remove(peers, conn->visitor);
    conn->visitor = peers_visitor_add(peers, address);
}

static enum err request_filter_text(struct line_conn *conn, struct slice hash, struct buf *to) {
    begin_answer(to, hash);
    own_append_olivia(conn->loop->core->own, to);
    return end_answer(to, "\n");
}

static enum err request_bloomfilter(struct line_conn *conn, struct slice hash, struct slice rest,
                                    struct buf *to) {
    (void)rest;
    return request_filter_text(conn, hash, to);
}

static enum err request_connect(struct line_conn *conn, struct slice hash, struct slice rest,
                                struct buf *to) {
    char address[PEERS_ADDRESS_BYTES];
    (void)rest;
    address_of(conn, address);
    become_peer(conn, address);
    return request_filter_text(conn, hash, to);
}

static enum err request_peers(struct line_conn *conn, struct slice hash, struct slice rest,
                              struct buf *to) {
    (void)rest;
    begin_answer(to, hash);
    peers_append_list(conn->loop->core->peers, to);
    return end_answer(to, "\n");
}

static enum err request_disconnect(struct line_conn *conn, struct slice hash, struct slice rest,
                                   struct buf *to) {
    bool was_peer = conn->is_peer;
    (void)rest;
    if (conn->visitor)
        (void)peers_visitor_remove(conn->loop->core->peers, conn->visitor);
    conn->visitor = 0;
    conn->is_peer = false;
    begin_answer(to, hash);
    return end_answer(to, was_peer ? "Peer has been disconnected.\n"
                                   : "Peer not found in peer list.\n");
}

/* REQUEST HATI:1:<host:port or -> */
static enum err request_hati(struct line_conn *conn, struct slice hash, struct slice rest,
                             struct buf *to) {
    char address[PEERS_ADDRESS_BYTES];
    uint64_t version;
    if (!wire_take_u64(&rest, &version) || version == 0 || !rest.ptr ||
        rest.len >= PEERS_ADDRESS_BYTES)
        return answer_invalid(to);
    snprintf(address, sizeof address, "%.*s", (int)rest.len, rest.ptr);
    if (peers_check_list(address) || strchr(address, ',')) /* it has told none */
        address_of(conn, address);
    become_peer(conn, address);
    begin_answer(to, hash);
    buf_printf(to, "hati:1:%s", peers_node_id(conn->loop->core->peers));
    return end_answer(to, "\n");
}

/* REQUEST PULSE:<epoch>:<sequence> */
static enum err request_pulse(struct line_conn *conn, struct slice hash, struct slice rest,
                              struct buf *to) {
    struct own *own = conn->loop->core->own;
    struct own_state state;
    uint64_t epoch, sequence;
    if (!wire_take_u64(&rest, &epoch) || !wire_take_u64(&rest, &sequence))
        return answer_invalid(to);
    struct buf hashes;
    buf_init(&hashes, OWN_PULSE_MAX * 11);
    bool known = own_append_since(own, epoch, &sequence, &hashes);
    own_state(own, &state);
    if (state.epoch != epoch) /* it was made anew meanwhile: these are not its bits */
        known = false;
    if (!known)
        sequence = state.sequence;
    begin_answer(to, hash);
    buf_printf(to, "%llu:%llu:%llu:%llu:%llu:", (unsigned long long)(known ? epoch : state.epoch),
               (unsigned long long)sequence, (unsigned long long)state.sequence,
               (unsigned long long)state.keys, (unsigned long long)state.bits);
    buf_append(to, known ? buf_slice(&hashes) : SLICE("-"));
    buf_done(&hashes);
    return end_answer(to, "\n");
}

/* REQUEST FILTER:<epoch>:<offset> */
static enum err request_filter(struct line_conn *conn, struct slice hash, struct slice rest,
                               struct buf *to) {
    uint64_t epoch, offset;
    if (!wire_take_u64(&rest, &epoch) || !wire_take_u64(&rest, &offset))
        return answer_invalid(to);
    begin_answer(to, hash);
    buf_printf(to, "%llu:%llu:", (unsigned long long)epoch, (unsigned long long)offset);
    if (!own_append_chunk(conn->loop->core->own, epoch, offset, to))
        buf_append_char(to, '-');
    return end_answer(to, "\n");
}

static const struct {
    const char *name;
    enum err (*run)(struct line_conn *conn, struct slice hash, struct slice rest, struct buf *to);
} requests[] = {
    {"BLOOMFILTER", request_bloomfilter}, {"CONNECT", request_connect}, {"PEERS", request_peers},
    {"DISCONNECT", request_disconnect},   {"HATI", request_hati},       {"PULSE", request_pulse},
    {"FILTER", request_filter},
};

static enum err run_request(struct line_conn *conn, struct slice text, struct buf *to) {
    int64_t now_ms = line_loop_now_ms(conn->loop);
    struct olivia_line line;
    struct slice item = {NULL, 0}; /* REQUEST alone asks for nothing */
    (void)olivia_line_split(text, &line);
    enum err err = auth_allows(conn->grant, AUTH_KV_READ, SLICE("default"), now_ms);
    if (err)
        return answer_error(to, line.hash, err, err_text(err));
    struct slice rest = line.args;
    (void)wire_take_field(&rest, &item);
    for (unsigned i = 0; i < sizeof requests / sizeof requests[0]; i++)
        if (slice_equal_nocase(slice_of_cstr(requests[i].name), item))
            return requests[i].run(conn, line.hash, rest, to);
    return answer_invalid(to);
}

static enum err run_ping(struct line_conn *conn, struct slice text, struct buf *to) {
    (void)conn;
    (void)text;
    return end_answer(to, "0:PONG 1\n");
}

static enum err run_auth(struct line_conn *conn, struct slice text, struct buf *to) {
    struct olivia_line line;
    (void)olivia_line_split(text, &line);
    if (line.hash.len) {
        buf_append(to, line.hash);
        buf_append_char(to, ':');
    }
    return line_word_auth(conn, line.args, to);
}

static const struct line_word words[] = {
    {"REQUEST", "", "", run_request},
    {"PING", "", "", run_ping},
    {"AUTH", "", "", run_auth},
};

const struct line_word *olivia_request_find_word(struct slice name) {
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        if (slice_equal_nocase(slice_of_cstr(words[i].name), name))
            return &words[i];
    return NULL;
}
