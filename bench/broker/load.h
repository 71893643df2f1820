/* SPDX-License-Identifier: MIT */
/* The broker load's connections, and what a dialect (a broker's protocol) does for it. One thread.
 */
#ifndef HATI_BENCH_BROKER_LOAD_H
#define HATI_BENCH_BROKER_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_NUMBER_BYTES 20 /* a payload begins with its number, this many digits */
#define LOAD_DEPTH_MAX 1024
#define LOAD_PORTS_MAX 16

struct conn;

/* A broker's protocol. Requests are appended to the connection and sent by the caller. */
struct dialect {
    const char *name;
    bool pushes;         /* one receive is for ever; messages come as they are published */
    uint64_t behind_max; /* messages that consumers may be behind producers; 0: no limit */
    /* Makes the queue, on a connection of its own; blocks. */
    void (*prepare)(struct conn *conn);
    /* What a connection says first; NULL: nothing. */
    void (*hello)(struct conn *conn);
    /* Publishes the messages numbered first to first + count - 1. */
    void (*publish)(struct conn *conn, uint64_t first, unsigned count);
    /* Asks for up to max messages, waiting up to wait_ms for the first. */
    void (*receive)(struct conn *conn, unsigned max, unsigned wait_ms);
    /* Reads one whole reply, tells the load_ functions, appends acknowledgements of messages in it;
     * the bytes it had, or 0 where the rest has not come. */
    size_t (*hear)(struct conn *conn, const char *at, size_t left);
};

extern const struct dialect dialect_hati, dialect_hati_push, dialect_beanstalk, dialect_redis,
    dialect_nats, dialect_jetstream;

struct load_options {
    const struct dialect *dialect;
    const char *mode;
    const char *storage; /* hati: of the queue */
    const char *queue;
    const char *router;             /* hati */
    const char *key;                /* hati: routing key; NULL: the queue's name */
    unsigned ports[LOAD_PORTS_MAX]; /* connections take turns on them */
    unsigned port_count;
    unsigned connections;
    unsigned depth;
    double seconds;
    uint64_t messages; /* published at most */
    uint64_t standing; /* mode drain: the queue's length */
    unsigned samples;  /* mode latency */
    size_t payload_bytes;
};
extern struct load_options options;

struct bytes {
    char *at;
    size_t len, room;
};

struct conn {
    int fd;
    unsigned index;
    bool consumes, wants_out, receiving;
    unsigned waiting; /* producers: publishes without an answer */
    unsigned unacked; /* consumers: acknowledgements without an answer */
    unsigned due;     /* of the dialect: what is still to come of a receive */
    size_t sent;      /* of out */
    struct bytes out, in;
};

/* Appends to what will be sent. */
void conn_put(struct conn *conn, const char *bytes, size_t len);
void conn_put_text(struct conn *conn, const char *text);
void conn_put_number(struct conn *conn, uint64_t number);
void conn_put_payload(struct conn *conn, uint64_t number);

struct conn *conn_open(unsigned index, bool consumes);
void conn_close(struct conn *conn);
/* Sends what the socket takes. */
void conn_flush(struct conn *conn);
/* Sends, and blocks until what came holds `until`; a reply with `or_else` (may be NULL) in it is
 * the end of the program. What came is dropped. */
void conn_ask(struct conn *conn, const char *until, const char *or_else);
/* Waits up to timeout_ms and reads what came on any connection; load_step for each that spoke. */
void conn_turn(int timeout_ms);

/* What dialects tell. */
void load_published(struct conn *conn, unsigned count);
void load_message(struct conn *conn, const char *payload, size_t len);
void load_acked(struct conn *conn, unsigned count);
void load_receive_done(struct conn *conn);
void load_step(struct conn *conn);

_Noreturn void load_die(const char *what);
_Noreturn void load_die_reply(const char *at, size_t left);

/* The decimal number at the start of the text. */
uint64_t load_number(const char *at, const char *end);

#endif
