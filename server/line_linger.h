/* SPDX-License-Identifier: MIT */
/* A peer that sends no more may be gone altogether: the kernel takes what is sent to it either way,
 * and only its answer tells. Messages sent to it are undecided until they were acknowledged (sent),
 * or the connection was reset (they return to their queue). The loop's thread only. */
#ifndef HATI_SERVER_LINE_LINGER_H
#define HATI_SERVER_LINE_LINGER_H

#include <stdbool.h>
#include <stdint.h>

struct line_conn;
struct line_held;
struct line_loop;

/* True where the connection was reset, as far as it is known by now. */
bool line_linger_is_reset(struct line_conn *conn);
/* The kernel took these messages; the connection stays until they are decided. */
void line_linger_add(struct line_conn *conn, struct line_held *list);
/* Nothing else is left to do on the connection: its peer is told so. */
void line_linger_say_end(struct line_conn *conn);
/* Looks at all that linger. */
void line_linger_check(struct line_loop *loop, int64_t steady_ms);
/* The connection closes: what is undecided returns. */
void line_linger_end(struct line_conn *conn);

#endif
