/* SPDX-License-Identifier: MIT */
/* JSON-RPC on lines: a line that begins with { or [ is a request or a batch. */
#ifndef HATI_SERVER_LINE_JSON_H
#define HATI_SERVER_LINE_JSON_H

#include "base/buf.h"
#include "base/slice.h"

struct line_conn;
struct line_json;
struct line_loop;
struct line_slot;

/* Runs a JSON line as the connection's caller; its answer takes its place among the replies. The
 * connection has nothing parked. */
void line_json_run(struct line_conn *conn, struct slice line);
/* Appends the answer of a slot that is done, or that its time ran out, to what the loop sends. */
void line_json_render(struct line_loop *loop, struct line_slot *slot);
/* Whether it may wait for messages, which has no deadline; ends such a wait while it is parked. */
bool line_json_may_wait(const struct line_json *json);
void line_json_stop(struct line_json *json);
/* Gives back what line_json_run took. */
void line_json_release(struct line_loop *loop, struct line_json *json);
/* Frees a spare one (may be NULL). */
void line_json_free(struct line_json *json);

#endif
