/* SPDX-License-Identifier: MIT */
/* NATS in its own text protocol. Core: PUB, with a PING behind each round whose PONG says that the
 * server took it; consumers in a queue group, nothing is acknowledged. JetStream: a publish is
 * answered by the stream, consumers pull and acknowledge with +ACK, which is not answered. */
#include <stdio.h>
#include <string.h>

#include "bench/broker/load.h"

#define CONNECT                                                                                    \
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,"       \
    "\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\n"
#define STREAM                                                                                     \
    "{\"name\":\"S\",\"subjects\":[\"q\"],\"retention\":\"workqueue\",\"storage\":\"file\","       \
    "\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,\"num_replicas\":1,"      \
    "\"discard\":\"old\"}"
#define CONSUMER                                                                                   \
    "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"c\",\"deliver_policy\":\"all\","        \
    "\"ack_policy\":\"explicit\",\"ack_wait\":600000000000,\"max_ack_pending\":1000000,"           \
    "\"replay_policy\":\"instant\"}}"

static void put_inbox(struct conn *conn) {
    conn_put_text(conn, conn->consumes ? "i.c" : "i.p");
    conn_put_number(conn, conn->index);
}

static void hello(struct conn *conn) {
    conn_put_text(conn, CONNECT);
}

static void put_request(struct conn *conn, const char *subject, const char *body) {
    conn_put_text(conn, "PUB ");
    conn_put_text(conn, subject);
    conn_put_text(conn, " ");
    put_inbox(conn);
    conn_put_text(conn, " ");
    conn_put_number(conn, strlen(body));
    conn_put_text(conn, "\r\n");
    conn_put_text(conn, body);
    conn_put_text(conn, "\r\n");
}

static void subscribe_inbox(struct conn *conn) {
    hello(conn);
    conn_put_text(conn, "SUB ");
    put_inbox(conn);
    conn_put_text(conn, " 1\r\n");
}

static void prepare_core(struct conn *conn) {
    conn_put_text(conn, "PING\r\n");
    conn_ask(conn, "PONG\r\n", "-ERR");
}

static void prepare_stream(struct conn *conn) {
    put_request(conn, "$JS.API.STREAM.CREATE.S", STREAM);
    conn_ask(conn, "\"did_create\":true", "\"error\"");
    put_request(conn, "$JS.API.CONSUMER.DURABLE.CREATE.S.c", CONSUMER);
    conn_ask(conn, "\"stream_name\"", "\"error\"");
}

static void publish(struct conn *conn, uint64_t number, bool answered) {
    conn_put_text(conn, "PUB q ");
    if (answered) {
        put_inbox(conn);
        conn_put_text(conn, " ");
    }
    conn_put_number(conn, options.payload_bytes);
    conn_put_text(conn, "\r\n");
    conn_put_payload(conn, number);
    conn_put_text(conn, "\r\n");
}

static void publish_core(struct conn *conn, uint64_t first, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        publish(conn, first + i, false);
    conn_put_text(conn, "PING\r\n");
}

static void publish_stream(struct conn *conn, uint64_t first, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        publish(conn, first + i, true);
}

static void receive_core(struct conn *conn, unsigned max, unsigned wait_ms) {
    (void)max;
    conn_put_text(conn, wait_ms ? "SUB q g 1\r\n" : "PING\r\n");
}

static void receive_stream(struct conn *conn, unsigned max, unsigned wait_ms) {
    char body[64];
    if (wait_ms)
        snprintf(body, sizeof body, "{\"batch\":%u,\"expires\":%llu}", max, wait_ms * 1000000ULL);
    else
        snprintf(body, sizeof body, "{\"batch\":%u,\"no_wait\":true}", max);
    conn->due = max;
    put_request(conn, "$JS.API.CONSUMER.MSG.NEXT.S.c", body);
}

static void hear_payload(struct conn *conn, const char *reply_to, size_t reply_bytes,
                         const char *payload, size_t len) {
    static const char ack[] = " 4\r\n+ACK\r\n";
    if (!conn->consumes) { /* the stream's answer */
        if (!memmem(payload, len, "\"seq\":", 6))
            load_die_reply(payload, len);
        load_published(conn, 1);
        return;
    }
    load_message(conn, payload, len);
    conn->unacked++;
    if (reply_bytes) {
        conn_put_text(conn, "PUB ");
        conn_put(conn, reply_to, reply_bytes);
        conn_put(conn, ack, sizeof ack - 1);
        if (--conn->due == 0)
            load_receive_done(conn);
    }
    load_acked(conn, 1);
}

/* (H)MSG <subject> <sid> [reply-to] [header bytes] <all bytes>\r\n<bytes>\r\n; a header alone is a
 * pull's end. */
static size_t hear_message(struct conn *conn, const char *at, const char *newline, size_t left) {
    const char *words[6];
    const char *ends[6];
    unsigned count = 0;
    const char *end = newline - 1; /* the CR */
    for (const char *word = at; word < end && count < 6; word = ends[count++] + 1) {
        const char *space = memchr(word, ' ', (size_t)(end - word));
        words[count] = word;
        ends[count] = space ? space : end;
    }
    size_t len = load_number(words[count - 1], end);
    size_t whole = (size_t)(newline + 1 - at) + len + 2;
    if (left < whole)
        return 0;
    if (*at == 'H') {
        if (memcmp(newline + 1, "NATS/1.0 404", 12) != 0 &&
            memcmp(newline + 1, "NATS/1.0 408", 12) != 0)
            load_die_reply(at, left);
        load_receive_done(conn);
    } else {
        size_t reply_bytes = count == 5 ? (size_t)(ends[3] - words[3]) : 0;
        hear_payload(conn, words[3], reply_bytes, newline + 1, len);
    }
    return whole;
}

static size_t hear(struct conn *conn, const char *at, size_t left) {
    const char *newline = memchr(at, '\n', left);
    if (!newline)
        return 0;
    size_t len = (size_t)(newline + 1 - at);
    if (len > 4 && (memcmp(at, "MSG ", 4) == 0 || memcmp(at, "HMSG", 4) == 0))
        return hear_message(conn, at, newline, left);
    if (len == 6 && memcmp(at, "PING\r\n", 6) == 0)
        conn_put_text(conn, "PONG\r\n");
    else if (len == 6 && memcmp(at, "PONG\r\n", 6) == 0 && conn->consumes)
        load_receive_done(conn);
    else if (len == 6 && memcmp(at, "PONG\r\n", 6) == 0)
        load_published(conn, conn->waiting);
    else if (len < 5 || memcmp(at, "INFO ", 5) != 0)
        load_die_reply(at, left);
    return len;
}

const struct dialect dialect_nats = {.name = "nats",
                                     .pushes = true,
                                     .behind_max = 50000, /* a slower consumer is cut off */
                                     .prepare = prepare_core,
                                     .hello = hello,
                                     .publish = publish_core,
                                     .receive = receive_core,
                                     .hear = hear};
const struct dialect dialect_jetstream = {.name = "jetstream",
                                          .prepare = prepare_stream,
                                          .hello = subscribe_inbox,
                                          .publish = publish_stream,
                                          .receive = receive_stream,
                                          .hear = hear};
