/* SPDX-License-Identifier: MIT */
/* beanstalkd: put, reserve, delete. */
#include <string.h>

#include "bench/broker/load.h"

static void prepare(struct conn *conn) {
    conn_put_text(conn, "use default\r\n");
    conn_ask(conn, "USING default\r\n", NULL);
}

static void publish(struct conn *conn, uint64_t first, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        conn_put_text(conn, "put 1024 0 3600 ");
        conn_put_number(conn, options.payload_bytes);
        conn_put_text(conn, "\r\n");
        conn_put_payload(conn, first + i);
        conn_put_text(conn, "\r\n");
    }
}

/* There is no reserve of several: the first waits, those behind it take what is there. */
static void receive(struct conn *conn, unsigned max, unsigned wait_ms) {
    conn_put_text(conn, "reserve-with-timeout ");
    conn_put_number(conn, (wait_ms + 999) / 1000);
    conn_put_text(conn, "\r\n");
    for (unsigned i = 1; i < max; i++)
        conn_put_text(conn, "reserve-with-timeout 0\r\n");
    conn->due = max;
}

static void one_less_due(struct conn *conn) {
    if (--conn->due == 0)
        load_receive_done(conn);
}

/* RESERVED <id> <bytes>\r\n<data>\r\n */
static size_t hear_job(struct conn *conn, const char *at, const char *newline, size_t left) {
    const char *id = at + 9;
    const char *id_end = memchr(id, ' ', (size_t)(newline - id));
    size_t len = id_end ? load_number(id_end + 1, newline) : 0;
    size_t whole = (size_t)(newline + 1 - at) + len + 2;
    if (left < whole)
        return 0;
    if (!id_end || at[whole - 1] != '\n')
        load_die_reply(at, left);
    load_message(conn, newline + 1, len);
    conn_put_text(conn, "delete ");
    conn_put(conn, id, (size_t)(id_end - id));
    conn_put_text(conn, "\r\n");
    conn->unacked++;
    one_less_due(conn);
    return whole;
}

static size_t hear(struct conn *conn, const char *at, size_t left) {
    const char *newline = memchr(at, '\n', left);
    if (!newline)
        return 0;
    size_t len = (size_t)(newline + 1 - at);
    if (len > 9 && memcmp(at, "RESERVED ", 9) == 0)
        return hear_job(conn, at, newline, left);
    if (len > 9 && memcmp(at, "INSERTED ", 9) == 0)
        load_published(conn, 1);
    else if (len == 9 && memcmp(at, "DELETED\r\n", 9) == 0)
        load_acked(conn, 1);
    else if (len == 11 && memcmp(at, "TIMED_OUT\r\n", 11) == 0)
        one_less_due(conn);
    else
        load_die_reply(at, left);
    return len;
}

const struct dialect dialect_beanstalk = {
    .name = "beanstalk", .prepare = prepare, .publish = publish, .receive = receive, .hear = hear};
