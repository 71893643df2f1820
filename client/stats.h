/* SPDX-License-Identifier: MIT */
/* A page of figures from what STATS answered. */
#ifndef HATI_CLIENT_STATS_H
#define HATI_CLIENT_STATS_H

#include "base/buf.h"

/* Appends lines about `now`, an answer to STATS, with rates against `before`, an answer of
 * between_ms earlier (empty: without rates). What has no known place there is left out; nothing
 * that came from the server is a control character any more. False where now is no such answer.
 * Any thread. */
bool stats_page(struct buf *to, struct slice now, struct slice before, int64_t between_ms);

/* The lines of a page that fit: rows of them, each cut to the columns, each ended by \r\n and
 * erased behind its end. */
void stats_fit(struct buf *to, struct slice page, unsigned rows, unsigned columns);

#endif
