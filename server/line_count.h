/* SPDX-License-Identifier: MIT */
/* What a loop counts of its requests. The loop's thread only. */
#ifndef HATI_SERVER_LINE_COUNT_H
#define HATI_SERVER_LINE_COUNT_H

#include "server/line_conn.h"

/* A request of what was read last was answered; line_count_tell follows. */
void line_count(struct line_conn *conn, unsigned op, enum err err);
/* What was counted so took from the reading of its bytes until now. */
void line_count_tell(struct line_conn *conn);
/* A call that was parked is answered. */
void line_count_slot(struct line_conn *conn, const struct line_slot *slot, enum err err,
                     int64_t now_ns);
/* A call is answered: its span ends. */
void line_count_traced(const struct line_conn *conn, const struct call *call, enum err err);
void line_count_bytes(struct line_conn *conn, enum metrics_door_cell cell, size_t bytes);
/* A slot is taken up by a call, or comes back. */
void line_count_parked(const struct line_slot *slot, bool is_parked);

/* The door as the metrics tell it. */
enum metrics_door line_door(const struct line_conn *conn);

#endif
