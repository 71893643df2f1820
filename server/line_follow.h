/* SPDX-License-Identifier: MIT */
/* Namespaces that a line connection watches: changes are pushed as they come. The loop's thread
 * only.
 *
 *   READY <type> {"revision":…}     first of all: changes behind that revision come
 *   CHANGE <type> {"kind":…,"revision":…,"key":…,…}
 *   RESYNC <type> {"revision":…}    changes are missing; those behind that revision come
 *
 * A peer that will send no more ends what it watches, as it ends its subscriptions. */
#ifndef HATI_SERVER_LINE_FOLLOW_H
#define HATI_SERVER_LINE_FOLLOW_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct line_conn;

/* Each tells the error that it answered with.
 * WATCH <type> [prefix] [since=<revision>] [values]: of the namespace that USE chose by now.
 * Appends the reply; the first lines come at the end of the connection's turn. */
enum err line_watch_run(struct line_conn *conn, struct slice args, struct buf *to);
/* UNWATCH <type> [prefix]: fine too where it was not watched. */
enum err line_unwatch_run(struct line_conn *conn, struct slice args, struct buf *to);

/* Writes what is new to the loop's out, which stands at the end of a reply, as long as the peer
 * takes what it is sent. */
void line_follows_go_on(struct line_conn *conn);
void line_follows_end(struct line_conn *conn);

#endif
