/* SPDX-License-Identifier: MIT */
/* How both doors tell a change of an entry. */
#ifndef HATI_SERVER_FEED_RENDER_H
#define HATI_SERVER_FEED_RENDER_H

#include "base/buf.h"
#include "kv/feed.h"

#define FEED_RENDER_MAX                                                                            \
    (6 * (FEED_VALUE_MAX + KV_KEY_MAX) + 512) /* bytes of one change at most                       \
                                               */

/* Appends a change as a JSON object on one line; its value only where that is wanted and known. */
void feed_render_change(struct buf *to, const struct feed_change *change, bool with_value);
/* Appends {"revision":…}. */
void feed_render_place(struct buf *to, uint64_t revision);

#endif
