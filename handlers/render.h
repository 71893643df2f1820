/* SPDX-License-Identifier: MIT */
/* JSON of a reply, shared by every door that speaks JSON. */
#ifndef HATI_HANDLERS_RENDER_H
#define HATI_HANDLERS_RENDER_H

#include "base/buf.h"
#include "handlers/call.h"

/* Appends the reply of a finished, successful call as the JSON-RPC result. False where the buffer
 * is full. */
bool render_result(struct buf *to, const struct call *call);

/* Appends a value: a JSON string, or {"value":…,"encoding":"base64"} where it is no UTF-8. */
bool render_value(struct buf *to, struct slice value);

/* Appends `"keys":[…]` and, where more follow, `,"cursor":"…"`. A key that is no UTF-8 is
 * {"key":…,"encoding":"base64"}. */
bool render_keys(struct buf *to, const struct slice *keys, unsigned count, bool more);

/* Appends a JSON object with what helps about a failure: {"detail":…} plus key or limit. */
bool render_error_data(struct buf *to, const struct call *call);

#endif
