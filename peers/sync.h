/* SPDX-License-Identifier: MIT */
/* Keeps a copy of a peer's filter. The peers' thread only. Functions that take an answer return
 * NULL, or why the link is to be dropped. */
#ifndef HATI_PEERS_SYNC_H
#define HATI_PEERS_SYNC_H

#include "peers/link.h"

/* Asks a hati peer for the keys that came since. */
void sync_say_pulse(struct link *link);
const char *sync_take_pulse(struct link *link, struct slice rest);
/* number: of the request. */
const char *sync_take_chunk(struct link *link, uint64_t number, struct slice rest);
/* The text of an Olivia peer's filter. What is none changes nothing: where the original's text has
 * digits it cannot be read, by its own kind neither. */
void sync_take_olivia(struct link *link, struct slice text);

/* Forgets what was fetched of a filter that is not whole. */
void sync_end_fetch(struct link *link);
/* Forgets the filter. */
void sync_forget(struct link *link);

#endif
