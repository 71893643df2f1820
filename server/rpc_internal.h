/* SPDX-License-Identifier: MIT */
/* Inside the JSON-RPC engine: where a body is read, one request object, one answer. */
#ifndef HATI_SERVER_RPC_INTERNAL_H
#define HATI_SERVER_RPC_INTERNAL_H

#include <jansson.h>
#include <stdalign.h>

#include "server/rpc.h"

#define RPC_ROOM_BYTES 2048

/* Where the reading of a body stands. */
struct rpc_source {
    struct slice rest;     /* what is not parsed yet */
    struct slice doc_text; /* doc as it was sent */
    json_t *doc;           /* the message being carried out; owned */
    json_t *value;         /* its next element; NULL with `err`: the message is none */
    enum err err;          /* of a message that is no message */
    const char *detail;    /* static */
    int64_t limit;         /* that was passed; 0: none */
    size_t index, count;   /* of value in a batch */
    size_t raw_at;         /* where element raw_index begins in doc_text */
    size_t raw_index;
    bool batch;
    bool paid;    /* value counted for the limit of its caller */
    bool started; /* a message was read */
    bool ended;   /* nothing is read any more */
};

/* One element of a body on its way: a request object, or what stands where one should. */
struct rpc_item {
    struct rpc_item *next;
    json_t *doc;         /* let go with this item, the last of its message; else NULL */
    const json_t *id;    /* NULL: null is answered */
    struct slice raw_id; /* of a fraction: as it was sent */
    int64_t limit;       /* for the error's data; 0: none */
    bool legacy;         /* 1.0 */
    bool silent;         /* a notification */
    bool in_batch;
    bool ends_batch;
    bool good;        /* bound, may run */
    struct arena own; /* where call.arena points to it */
    struct call call; /* op is NULL where no method was reached */
};

/* False where the parsed body might take more than max_bytes: `{},{},…` is a hundred times its
 * text. */
bool rpc_source_weight_ok(struct slice body, size_t max_bytes);
/* Moves to the next element. False at the end of the body. */
bool rpc_source_next(struct rpc_source *source);
/* The element is carried out by item, which takes over the document where it was the last. */
void rpc_source_take(struct rpc_source *source, struct rpc_item *item);
/* The id of the current element as it was sent; empty where it does not stand there plainly. */
struct slice rpc_source_raw_id(struct rpc_source *source);

/* Makes item of the current element: good, or the failure in item->call. The arena is the
 * call's. */
void rpc_item_bind(struct rpc_item *item, struct rpc_request *request, struct rpc_source *source,
                   struct arena *arena);
/* Binds what stands under `params` (NULL: nothing does) to item->call. */
enum err rpc_bind_params(struct call *call, json_t *params, bool legacy) MUST_USE;
/* Binds the members of an object but one (NULL: all) that is no parameter. */
enum err rpc_bind_members(struct call *call, json_t *object, const char *but) MUST_USE;
/* For parameters that are arrays of receipts, messages or ops, and for headers.
 * (rpc_lists.c) */
enum err rpc_bind_list(struct call *call, const struct param *param, json_t *list) MUST_USE;
enum err rpc_bind_headers(struct call *call, unsigned index, const json_t *headers) MUST_USE;

/* One call of the body is answered, or what stands in place of one (op NULL): it is among those
 * that rpc_count_answer tells. (rpc_count.c) */
void rpc_count(struct rpc_request *request, const struct op *op, enum err err);

/* An item is finished: its span ends. (rpc_count.c) */
void rpc_item_traced(const struct rpc_item *item);
/* An item is finished: what its call reached, the request did. */
void rpc_item_reached(struct rpc_request *request, const struct rpc_item *item);
/* Messages of a finished call that is answered: the door decides (rpc_release). */
void rpc_hold(struct rpc_request *request, struct call *call);
/* Those held since `until` go back to their queues: their answer is not sent. */
void rpc_hold_undo(struct rpc_request *request, const struct rpc_held *until);

/* Appends the answer of a finished item without its newline; out->failed where it does not fit. */
void rpc_append_answer(struct buf *out, const struct rpc_item *item);
/* Appends, in place of an answer that did not fit, that it did not. */
void rpc_append_too_large(struct buf *out, const struct rpc_item *item);

/* As jansson's macros, which test for NULL at each use; here NULL is none of them, once. */
static inline bool rpc_is_string(const json_t *value) {
    return json_is_string(value);
}

static inline bool rpc_is_array(const json_t *value) {
    return json_is_array(value);
}

static inline bool rpc_is_object(const json_t *value) {
    return json_is_object(value);
}

static inline bool rpc_is_null(const json_t *value) {
    return json_is_null(value);
}

static inline bool rpc_is_integer(const json_t *value) {
    return json_is_integer(value);
}

static inline bool rpc_is_real(const json_t *value) {
    return json_is_real(value);
}

#endif
