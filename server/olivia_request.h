/* SPDX-License-Identifier: MIT */
/* What Olivia nodes ask of each other, and what callers ask of the connection itself: REQUEST, PING
 * and AUTH. */
#ifndef HATI_SERVER_OLIVIA_REQUEST_H
#define HATI_SERVER_OLIVIA_REQUEST_H

#include "server/line_words.h"

/* Finds the command, any case, or NULL. Its args are the whole line. Any thread. */
const struct line_word *olivia_request_find_word(struct slice name);

#endif
