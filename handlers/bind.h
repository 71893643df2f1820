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

/* After the last: every required parameter came, conditions do not contradict. */
enum err bind_finish(struct call *call) MUST_USE;

/* Index of the parameter with this name in the row, or -1. */
int bind_find_param(const struct op *op, struct slice name);

/* The opaque cursor behind which a listing goes on (base64url of the key). */
bool bind_append_cursor(struct buf *to, struct slice key);

#endif
