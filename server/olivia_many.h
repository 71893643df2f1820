/* SPDX-License-Identifier: MIT */
/* A line of Olivia's with several pairs: each is a call, some at a time, and their answers are one
 * reply in the order of the keys.
 *
 *   RUNNING a window of calls ──all are back──> rendered ──> the next window ... ──> done
 */
#ifndef HATI_SERVER_OLIVIA_MANY_H
#define HATI_SERVER_OLIVIA_MANY_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct line_conn;
struct line_loop;
struct olivia_many;
struct op;

/* line_dialect.run_many. The loop's thread. */
void olivia_many_run(struct line_conn *conn, struct slice line);
/* Appends the reply of one that is done; tells the error that it is, or OK. */
enum err olivia_many_render(struct buf *to, struct olivia_many *many);
/* The operation of its pairs; NULL: it had none. */
const struct op *olivia_many_op(const struct olivia_many *many);
/* Gives back what olivia_many_run took. */
void olivia_many_release(struct line_loop *loop, struct olivia_many *many);
/* Frees a spare one (may be NULL). */
void olivia_many_free(struct olivia_many *many);

#endif
