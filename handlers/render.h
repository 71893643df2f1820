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

/* Append a queue, a router, a message as consumers get it (with its receipt, REASON_… members where
 * it is a dead letter), the same in a peek (without), {"messages":[…]}. */
bool render_queue(struct buf *to, const struct broker_queue_info *info);
bool render_router(struct buf *to, const struct broker_router_info *info);
bool render_delivery(struct buf *to, const struct broker_delivery *delivery);
bool render_peeked(struct buf *to, const struct broker_delivery *delivery);
bool render_messages(struct buf *to, const struct broker_receive *receive);

/* Appends a JSON object with what helps about a failure: {"detail":…} plus key, limit or index. */
bool render_error_data(struct buf *to, const struct call *call);

#endif
