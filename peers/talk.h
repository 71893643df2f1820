/* SPDX-License-Identifier: MIT */
/* What is said on a link, and what the answers mean. The peers' thread only. */
#ifndef HATI_PEERS_TALK_H
#define HATI_PEERS_TALK_H

#include "peers/link.h"

/* The first words on a new connection. */
void talk_greet(struct link *link);
/* One heartbeat, or one that is missed. */
void talk_beat(struct link *link);
/* Puts a question; false: it cannot be put there. */
bool talk_ask(struct link *link, struct ask *ask);
/* A peer of which a key can be asked: of an Olivia node only one that its parser leaves whole.
 * Any thread. */
bool talk_key_fits(bool is_hati, struct slice key);

/* How long the next line may be. */
size_t talk_line_max(const struct link *link);
/* Takes one line, without its newline. NULL, or why the link is to be dropped. */
const char *talk_take(struct link *link, struct slice line);
/* The same of a line that is over talk_line_max. */
const char *talk_take_too_long(struct link *link);

#endif
