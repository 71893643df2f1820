/* SPDX-License-Identifier: MIT */
/* Redis Streams: XADD, XREADGROUP, and one XACK for all that a read brought. */
#include <string.h>

#include "bench/broker/load.h"

#define GROUP "g"

struct text {
    const char *at;
    size_t len;
};

/* Walks over a reply; at is NULL once the rest has not come. */
struct walk {
    const char *at, *end;
};

static void put_bulk(struct conn *conn, const char *bytes, size_t len) {
    conn_put_text(conn, "$");
    conn_put_number(conn, len);
    conn_put_text(conn, "\r\n");
    conn_put(conn, bytes, len);
    conn_put_text(conn, "\r\n");
}

static void put_word(struct conn *conn, const char *word) {
    put_bulk(conn, word, strlen(word));
}

static void put_number(struct conn *conn, uint64_t number) {
    char digits[LOAD_NUMBER_BYTES];
    char *at = digits + sizeof digits;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    put_bulk(conn, at, (size_t)(digits + sizeof digits - at));
}

static void put_words(struct conn *conn, uint64_t count) {
    conn_put_text(conn, "*");
    conn_put_number(conn, count);
    conn_put_text(conn, "\r\n");
}

static void prepare(struct conn *conn) {
    const char *const words[] = {"XGROUP", "CREATE", options.queue, GROUP, "0", "MKSTREAM"};
    put_words(conn, 6);
    for (unsigned i = 0; i < 6; i++)
        put_word(conn, words[i]);
    conn_ask(conn, "+OK\r\n", "-");
}

static void publish(struct conn *conn, uint64_t first, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        put_words(conn, 5);
        put_word(conn, "XADD");
        put_word(conn, options.queue);
        conn_put_text(conn, "$1\r\n*\r\n$1\r\np\r\n$");
        conn_put_number(conn, options.payload_bytes);
        conn_put_text(conn, "\r\n");
        conn_put_payload(conn, first + i);
        conn_put_text(conn, "\r\n");
    }
}

static void receive(struct conn *conn, unsigned max, unsigned wait_ms) {
    put_words(conn, wait_ms ? 11 : 9);
    put_word(conn, "XREADGROUP");
    put_word(conn, "GROUP");
    put_word(conn, GROUP);
    put_number(conn, conn->index);
    put_word(conn, "COUNT");
    put_number(conn, max);
    if (wait_ms) {
        put_word(conn, "BLOCK");
        put_number(conn, wait_ms);
    }
    put_word(conn, "STREAMS");
    put_word(conn, options.queue);
    put_word(conn, ">");
}

/* The number behind a type's character; the walk goes on behind its line. */
static uint64_t read_head(struct walk *walk, char type) {
    const char *newline = walk->at ? memchr(walk->at, '\n', (size_t)(walk->end - walk->at)) : NULL;
    const char *at = walk->at;
    walk->at = newline ? newline + 1 : NULL;
    if (newline && *at != type)
        load_die_reply(at, (size_t)(walk->end - at));
    return newline ? load_number(at + 1, newline) : 0;
}

static struct text read_bulk(struct walk *walk) {
    size_t len = read_head(walk, '$');
    struct text text = {walk->at, len};
    if (walk->at && (size_t)(walk->end - walk->at) >= len + 2)
        walk->at += len + 2;
    else
        walk->at = NULL;
    return text;
}

static void put_ack(struct conn *conn, const struct text *ids, size_t count) {
    put_words(conn, 3 + count);
    put_word(conn, "XACK");
    put_word(conn, options.queue);
    put_word(conn, GROUP);
    for (size_t i = 0; i < count; i++)
        put_bulk(conn, ids[i].at, ids[i].len);
    conn->unacked += (unsigned)count;
}

/* [[stream, [[id, [field, payload]] …]]] */
static size_t hear_messages(struct conn *conn, const char *at, size_t left) {
    static struct text ids[LOAD_DEPTH_MAX], payloads[LOAD_DEPTH_MAX];
    struct walk walk = {at, at + left};
    read_head(&walk, '*');
    read_head(&walk, '*');
    read_bulk(&walk);
    size_t count = read_head(&walk, '*');
    if (count > LOAD_DEPTH_MAX)
        load_die_reply(at, left);
    for (size_t i = 0; i < count && walk.at; i++) {
        read_head(&walk, '*');
        ids[i] = read_bulk(&walk);
        read_head(&walk, '*');
        read_bulk(&walk);
        payloads[i] = read_bulk(&walk);
    }
    if (!walk.at)
        return 0;
    for (size_t i = 0; i < count; i++)
        load_message(conn, payloads[i].at, payloads[i].len);
    put_ack(conn, ids, count);
    load_receive_done(conn);
    return (size_t)(walk.at - at);
}

static size_t hear(struct conn *conn, const char *at, size_t left) {
    struct walk walk = {at, at + left};
    if (*at == '*' && left < 5)
        return 0;
    if (*at == '*' && memcmp(at, "*-1\r\n", 5) == 0) {
        load_receive_done(conn);
        return 5;
    }
    if (*at == '*')
        return hear_messages(conn, at, left);
    if (*at == ':') {
        unsigned count = (unsigned)read_head(&walk, ':');
        if (walk.at)
            load_acked(conn, count);
    } else {
        read_bulk(&walk);
        if (walk.at)
            load_published(conn, 1);
    }
    return walk.at ? (size_t)(walk.at - at) : 0;
}

const struct dialect dialect_redis = {
    .name = "redis", .prepare = prepare, .publish = publish, .receive = receive, .hear = hear};
