/* SPDX-License-Identifier: MIT */
/* Subscriptions of a line connection: messages that are pushed as they come. The loop's thread
 * only.
 *
 *   IDLE --ask--> ASKED --wake--> READY --written--> IDLE
 *
 * A peer that will send no more ends its subscriptions: it could not acknowledge anything. */
#ifndef HATI_SERVER_LINE_SUBSCRIBE_H
#define HATI_SERVER_LINE_SUBSCRIBE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct line_conn;
struct line_slot;

/* Each tells the error that it answered with.
 * SUBSCRIBE <queue> [prefetch]: again with the same prefetch is fine, with another a conflict.
 * Appends the reply; the first messages come at the end of the connection's turn. Where the broker
 * is remote, a slot is parked and answers later. */
enum err line_subscribe_run(struct line_conn *conn, struct slice args, struct buf *to);
/* Its slot is back: subscribes, and appends the reply to the loop's out. */
enum err line_subscribe_answer(struct line_conn *conn, struct line_slot *slot);
/* UNSUBSCRIBE <queue>: fine too where it was not subscribed. What it holds stays leased. */
enum err line_unsubscribe_run(struct line_conn *conn, struct slice args, struct buf *to);

/* Writes the messages that have come to the loop's out, which stands at the end of a reply, and
 * asks for more where the peer takes what it is sent. */
void line_subscriptions_go_on(struct line_conn *conn);
/* Ends all: what came and was not written is given back. */
void line_subscriptions_end(struct line_conn *conn);

#endif
