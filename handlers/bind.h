/* SPDX-License-Identifier: MIT */
/* From what a caller wrote to typed arguments: every bound is checked here, for every door. */
#ifndef HATI_HANDLERS_BIND_H
#define HATI_HANDLERS_BIND_H

#include "handlers/call.h"

/* Binds parameter `index` of call->op from text (a word of a line, a part of a path, a query value,
 * a JSON string). The text must live as long as the call: slices are kept, not copied.
 * Failures set call->err and detail. */
enum err bind_text(struct call *call, unsigned index, struct slice text) MUST_USE;
/* Binds a number (JSON integer). */
enum err bind_int(struct call *call, unsigned index, int64_t number) MUST_USE;
enum err bind_bool(struct call *call, unsigned index, bool value) MUST_USE;
/* Adds a key to args.keys (room for KV_BATCH_MAX), checked. */
enum err bind_key_of_list(struct call *call, struct slice key) MUST_USE;
/* Adds an entry to args.entries, checked (value against the payload limit). */
enum err bind_entry(struct call *call, struct slice key, struct slice value,
                    int64_t ttl_ms) MUST_USE;

/* Adds a receipt to args.keys (room for BROKER_BATCH_MAX); whether it is good the broker tells. */
enum err bind_receipt_of_list(struct call *call, struct slice receipt) MUST_USE;

/* Elements of PARAM_MESSAGES and PARAM_OPS are objects. Each is bound in a call of its own, with a
 * row of its own: bind_element_begin, then bind_text and so on, then it is added to the list. The
 * row of a message; that of an op by its `op` member, or NULL. */
const struct op *bind_message_row(void);
const struct op *bind_op_row(struct slice op_name);
void bind_element_begin(struct call *element, const struct call *call, const struct op *row);
/* Adds the message that element holds; one that failed to be bound keeps its failure. */
enum err bind_message_of_list(struct call *call, const struct call *element) MUST_USE;
/* Adds the op that element holds; where it failed to be bound, so does the call, with the op's
 * index. */
enum err bind_op_of_list(struct call *call, const struct call *element) MUST_USE;

/* After the last: every required parameter came, conditions do not contradict. */
enum err bind_finish(struct call *call) MUST_USE;

/* Index of the parameter with this name or alias in the row, or -1. */
int bind_find_param(const struct op *op, struct slice name);

/* The opaque cursor behind which a listing goes on (base64url of the key). */
bool bind_append_cursor(struct buf *to, struct slice key);

#endif
