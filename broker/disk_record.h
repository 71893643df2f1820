/* SPDX-License-Identifier: MIT */
/* How the broker writes things down: records of the journal, keys and values of LMDB.
 * docs/storage.md has the format. */
#ifndef HATI_BROKER_DISK_RECORD_H
#define HATI_BROKER_DISK_RECORD_H

#include "base/bytes.h"
#include "broker/internal.h"
#include "journal/seal.h"

#define RECORD_KINDS "pcalnqdrsbuzx"

enum record_kind {
    RECORD_PUBLISH = 'p',
    RECORD_SEALED_PUBLISH = 'c', /* the same, with headers and payload sealed */
    RECORD_ACK = 'a',
    RECORD_LEASES = 'l',
    RECORD_STATE = 'n',
    RECORD_QUEUE = 'q',
    RECORD_DROP_QUEUE = 'd',
    RECORD_ROUTER = 'r',
    RECORD_DROP_ROUTER = 's',
    RECORD_BIND = 'b',
    RECORD_UNBIND = 'u',
    RECORD_PAUSE = 'z',
    RECORD_FLUSH = 'x'
};

/* A message for one or more queues; then `queues` times struct record_target, then the body's
 * bytes. */
struct record_publish {
    uint8_t kind, lane, id_len, from_len;
    uint16_t key_len;
    uint8_t reason, unused;
    uint32_t queues;
    uint32_t headers_len, payload_len;
    uint32_t dead_attempt;
    int64_t published_ms;
    int64_t due_ms; /* 0: ready at once */
};

struct record_target {
    uint32_t queue;
    uint32_t dedup; /* 1: its id is remembered from published_ms on */
    int64_t expires_ms;
};

struct record_ack {
    uint8_t kind, lane, unused[2];
    uint32_t queue;
    uint64_t seq;
};

/* Then `count` times struct record_lease. */
struct record_leases {
    uint8_t kind, unused[3];
    uint32_t queue;
    uint32_t count, unused_too;
    int64_t due_ms;
};

struct record_lease {
    uint64_t seq, nonce;
    uint32_t attempt;
    uint8_t lane, unused[3];
};

/* A message is LEASED until due_ms, or DELAYED. */
struct record_state {
    uint8_t kind, lane, state, unused;
    uint32_t queue;
    uint64_t seq, nonce;
    int64_t due_ms;
    uint32_t attempt, unused_too;
};

/* Then the name, then the dead-letter queue's. Also in LMDB, with the counts behind. */
struct record_queue {
    uint8_t kind, storage, overflow, paused;
    uint32_t id, store;
    uint8_t name_len, dead_letter_len, unused[2];
    uint32_t max_deliver, unused_too;
    int64_t lease_ms, ttl_ms, dedup_window_ms;
    uint64_t max_length;
};

/* Then the name. */
struct record_router {
    uint8_t kind, type, name_len, unused;
    uint32_t id;
};

/* BIND, UNBIND (then the pattern), and of one queue or router: DROP_*, PAUSE (flag), FLUSH (other:
 * the new store; then, but in those of earlier versions, when it was, in ms: 8 bytes). */
struct record_link {
    uint8_t kind, flag, pattern_len, unused;
    uint32_t queue, router, other;
};

/* A message in LMDB under its store, lane and seq; then the body's bytes. */
struct stored_message {
    uint64_t checksum; /* of what follows, seeded by the key's */
    int64_t published_ms, expires_ms, due_ms;
    uint64_t nonce;
    uint32_t attempt, dead_attempt;
    uint32_t headers_len, payload_len;
    uint16_t key_len;
    uint8_t id_len, from_len, reason, state, plain, version;
};

_Static_assert(sizeof(struct record_publish) == 40 && sizeof(struct record_target) == 16 &&
                   sizeof(struct record_ack) == 16 && sizeof(struct record_leases) == 24 &&
                   sizeof(struct record_lease) == 24 && sizeof(struct record_state) == 40 &&
                   sizeof(struct record_queue) == 56 && sizeof(struct record_router) == 8 &&
                   sizeof(struct record_link) == 16 && sizeof(struct stored_message) == 64,
               "fixed");

#define SPOT_BYTES 13U /* store, lane, seq */

struct spot {
    char bytes[SPOT_BYTES];
};

static inline struct slice spot_slice(const struct spot *place) {
    return slice_make(place->bytes, SPOT_BYTES);
}
void spot_make(uint32_t store, unsigned lane, uint64_t seq, struct spot *ret_place);
/* False where it is none. */
bool spot_read(struct slice key, uint32_t *ret_store, unsigned *ret_lane, uint64_t *ret_seq);

/* keys: NULL, or headers and payload are sealed by them. */
size_t stored_message_size(const struct seal_keys *keys, const struct body *body);
void stored_message_write(const struct seal_keys *keys, const struct message *message,
                          const struct body *body, enum message_state state, bool plain,
                          const struct spot *place, char *to);
/* *ret_rest, the body's bytes, points into bytes. ERR_CORRUPT. */
enum err stored_message_read(struct slice place, struct slice bytes,
                             struct stored_message *ret_stored, struct slice *ret_rest) MUST_USE;
/* Writes the checksum of a record of len bytes into its beginning. */
void stored_message_sum(struct slice place, char *bytes, size_t len);
bool stored_message_is_sealed(const struct stored_message *stored);
/* The body of what was read; NULL: ERR_CORRUPT (it does not open, too), ERR_OUT_OF_MEMORY. */
struct body *stored_message_body(const struct seal_keys *keys, struct slice place,
                                 const struct stored_message *stored, struct slice rest,
                                 enum err *ret_err);

/* disk_seal.c: a body's bytes one after another, as records hold them; with keys, headers and
 * payload sealed, bound to where the record stands and to all that is readable of the body. */
size_t body_bytes_size(const struct seal_keys *keys, const struct body *body);
void body_bytes_write(const struct seal_keys *keys, struct slice where, const struct body *body,
                      char *to);
/* Takes lengths from a record; NULL: ERR_CORRUPT, ERR_OUT_OF_MEMORY. */
struct body *body_bytes_read(const struct seal_keys *keys, bool sealed, struct slice where,
                             const struct record_publish *lengths, struct slice bytes,
                             enum err *ret_err);

size_t queue_record_size(const struct queue *queue);
void queue_record_write(const struct queue *queue, char *to);
/* Options point into bytes; *ret_rest is what stands behind. */
bool queue_record_read(struct slice bytes, struct record_queue *ret_record, struct slice *ret_name,
                       struct broker_queue_options *ret_options, struct slice *ret_rest);
bool router_record_read(struct slice bytes, struct record_router *ret_record,
                        struct slice *ret_name);

#endif
