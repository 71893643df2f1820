/* SPDX-License-Identifier: MIT */
/* The console and the docs page over HTTP, and the way there from `/`. */
#ifndef HATI_SERVER_HTTP_PAGES_H
#define HATI_SERVER_HTTP_PAGES_H

#include "base/slice.h"

/* Does a header like Accept or Accept-Encoding name the word, with a weight above 0? With `*`, the
 * element `*` speaks for words that are not named. Any thread. */
bool http_pages_accepts(struct slice header, struct slice word, bool any_too);

/* The path without the base path (NULL: none) that a proxy in front left on it. A path beside the
 * base path stays as it is. Any thread. */
struct slice http_pages_strip(struct slice path, const char *base_path);

#endif
