/* SPDX-License-Identifier: MIT */
/* Messages: bytes that all copies share and nobody changes, and a copy's place in its queue. */
#ifndef HATI_BROKER_MESSAGE_H
#define HATI_BROKER_MESSAGE_H

#include <stdatomic.h>

#include "broker/broker.h"

/* What was published. Held by reference: a copy in each queue, deliveries under way. */
struct body {
    _Atomic uint32_t refs;
    uint32_t payload_len;
    uint32_t headers_len;
    uint16_t key_len;
    uint8_t id_len;
    uint8_t from_len; /* dead-lettered: name of the queue it came from */
    uint8_t reason;   /* enum broker_reason */
    uint32_t dead_attempt;
    int64_t published_ms;
    char bytes[]; /* id, key, from, headers, payload */
};

struct body_parts {
    struct slice id, key, from, headers, payload;
    enum broker_reason reason;
    uint32_t dead_attempt;
    int64_t published_ms;
};

/* With one reference; NULL without memory. Of parts with ptr NULL there is only room. */
struct body *body_new(const struct body_parts *parts);
static inline struct body *body_ref(struct body *body) {
    atomic_fetch_add_explicit(&body->refs, 1, memory_order_relaxed);
    return body;
}
void body_unref(struct body *body);
/* Slices point into the body. */
void body_read(const struct body *body, struct body_parts *ret_parts);
static inline size_t body_size(const struct body *body) {
    return sizeof *body + body->id_len + body->key_len + body->from_len + body->headers_len +
           (size_t)body->payload_len;
}

/*   READY <──> LEASED ──> DEAD        MOVING: on its way to the dead-letter queue, or being
 * dropped; ^          │ ^                          in no list until the committer says so └─
 * DELAYED <─┘ MOVING */
enum message_state { MESSAGE_READY, MESSAGE_LEASED, MESSAGE_DELAYED, MESSAGE_MOVING, MESSAGE_DEAD };

enum message_flags {
    MESSAGE_KNOWN = 1,       /* in the queue's table by seq */
    MESSAGE_RETURNED = 2,    /* READY in its lane's heap, not in the list */
    MESSAGE_BUSY = 4,        /* its ack or nack is with the committer */
    MESSAGE_ON_DISK = 8,     /* LMDB has it */
    MESSAGE_DISK_PLAIN = 16, /* and has it as one that was never touched */
    MESSAGE_DIRTY = 32,      /* LMDB is to be told of it */
    MESSAGE_PINNED = 64,     /* the applier is writing it */
    MESSAGE_TAIL = 128,      /* READY behind what only LMDB has */
    MESSAGE_THROWN = 256,    /* its queue let go of it while it was PINNED */
    MESSAGE_UNDER_WAY = 512  /* among the queue's MOVING ones */
};

struct message {
    struct message *next, *prev;             /* in its lane */
    struct message *hash_next;               /* in the queue's table */
    struct message *dirty_next, *dirty_prev; /* in the queue's list */
    struct body *body;                       /* NULL: LMDB has it */
    uint64_t seq;                            /* of the queue (memory) or the journal (hdd) */
    int64_t due_ms;      /* end of lease, of delay, or expiry; what the state says */
    int64_t expires_ms;  /* 0: never */
    uint64_t nonce;      /* of the lease */
    uint32_t due_index;  /* place in a heap of the queue */
    uint32_t back_index; /* likewise, among the returned */
    uint32_t attempt;    /* deliveries so far */
    uint32_t consumer;   /* LEASED: slot of its consumer + 1; 0: none */
    uint32_t consumer_serial;
    uint32_t store;      /* hdd: under which LMDB has it, or is to have it */
    uint32_t dirty_size; /* bytes it counts for while DIRTY */
    uint8_t lane;        /* 9 - priority */
    uint8_t state;
    uint16_t flags;
};

/* Takes over the body reference; NULL without memory (the reference is let go of then). */
struct message *message_new(struct body *body, uint8_t lane);
void message_free(struct message *message);
static inline size_t message_size(const struct message *message) {
    return sizeof *message + (message->body ? body_size(message->body) : 0);
}

/* A receipt: lane, seq and nonce in 32 hexadecimal digits. */
void receipt_write(const struct message *message, char to[BROKER_RECEIPT_BYTES]);
bool receipt_read(struct slice text, uint8_t *ret_lane, uint64_t *ret_seq, uint64_t *ret_nonce);

#endif
