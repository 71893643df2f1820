/* SPDX-License-Identifier: MIT */
/* Hati's lines: PUBLISH, RECEIVE or SUBSCRIBE, ACK. */
#include <string.h>

#include "bench/broker/load.h"

static const char *routing_key(void) {
    return options.key ? options.key : options.queue;
}

static void prepare(struct conn *conn) {
    conn_put_text(conn, "CREATEQUEUE ");
    conn_put_text(conn, options.queue);
    conn_put_text(conn, " ");
    conn_put_text(conn, options.storage);
    conn_put_text(conn, "\n");
    conn_ask(conn, "+OK\n", "+ERR");
}

static void publish(struct conn *conn, uint64_t first, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        conn_put_text(conn, "PUBLISH ");
        conn_put_text(conn, options.router);
        conn_put_text(conn, " ");
        conn_put_text(conn, routing_key());
        conn_put_text(conn, " ");
        conn_put_payload(conn, first + i);
        conn_put_text(conn, "\n");
    }
}

static void receive(struct conn *conn, unsigned max, unsigned wait_ms) {
    conn_put_text(conn, "RECEIVE ");
    conn_put_text(conn, options.queue);
    conn_put_text(conn, " ");
    conn_put_number(conn, max);
    conn_put_text(conn, " ");
    conn_put_number(conn, wait_ms);
    conn_put_text(conn, "\n");
}

static void subscribe(struct conn *conn, unsigned max, unsigned wait_ms) {
    if (wait_ms == 0) { /* is anything left? */
        receive(conn, max, wait_ms);
        return;
    }
    conn_put_text(conn, "SUBSCRIBE ");
    conn_put_text(conn, options.queue);
    conn_put_text(conn, " ");
    conn_put_number(conn, max);
    conn_put_text(conn, "\n");
    conn->due = 1; /* its +OK */
}

static void put_ack(struct conn *conn, const char *receipt, size_t len) {
    conn_put_text(conn, "ACK ");
    conn_put_text(conn, options.queue);
    conn_put_text(conn, " ");
    conn_put(conn, receipt, len);
    conn_put_text(conn, "\n");
    conn->unacked++;
}

/* MSG <receipt> <attempt> <routing-key> <length>\n<bytes>\n */
static size_t hear_message(struct conn *conn, const char *at, const char *newline, size_t left) {
    const char *receipt = at + 4;
    const char *receipt_end = memchr(receipt, ' ', (size_t)(newline - receipt));
    const char *length = memrchr(at, ' ', (size_t)(newline - at));
    size_t len = length ? load_number(length + 1, newline) : 0;
    size_t whole = (size_t)(newline + 1 - at) + len + 1;
    if (left < whole)
        return 0;
    if (!receipt_end || at[whole - 1] != '\n')
        load_die_reply(at, left);
    load_message(conn, newline + 1, len);
    put_ack(conn, receipt, (size_t)(receipt_end - receipt));
    return whole;
}

static size_t hear(struct conn *conn, const char *at, size_t left) {
    const char *newline = memchr(at, '\n', left);
    if (!newline)
        return 0;
    size_t len = (size_t)(newline + 1 - at);
    if (len > 4 && memcmp(at, "MSG ", 4) == 0)
        return hear_message(conn, at, newline, left);
    if (len < 4 || memcmp(at, "+OK", 3) != 0)
        load_die_reply(at, left);
    if (!conn->consumes && len > 4)
        load_published(conn, 1);
    else if (len > 4)
        load_receive_done(conn);
    else if (conn->due)
        conn->due = 0;
    else
        load_acked(conn, 1);
    return len;
}

const struct dialect dialect_hati = {
    .name = "hati", .prepare = prepare, .publish = publish, .receive = receive, .hear = hear};
const struct dialect dialect_hati_push = {.name = "hati-push",
                                          .pushes = true,
                                          .prepare = prepare,
                                          .publish = publish,
                                          .receive = subscribe,
                                          .hear = hear};
