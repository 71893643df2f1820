/* SPDX-License-Identifier: MIT */
/* What may stand where the cursor is, from the operation table. */
#ifndef HATI_CLIENT_COMPLETE_H
#define HATI_CLIENT_COMPLETE_H

#include "base/arena.h"
#include "base/buf.h"

#define COMPLETE_MAX 96U

/* What a server would have to be asked for. */
enum complete_names { NAMES_NONE, NAMES_QUEUES, NAMES_ROUTERS, NAMES_KEYS };

struct completion {
    struct slice prefix;              /* what of the word stands in front of the cursor */
    struct slice words[COMPLETE_MAX]; /* that begin with it; in the arena or static */
    unsigned count;
    enum complete_names names; /* these belong here too */
    struct slice storage;      /* NAMES_KEYS: which keys */
    const char *doc;           /* of the word that stands here; NULL: none */
};

/* line: what stands in front of the cursor. Any thread. */
void complete_line(struct slice line, struct arena *arena, struct completion *ret_completion);

/* Adds a word where it begins with the prefix and there is room. */
void complete_add(struct completion *completion, struct slice word);

/* Adds what a server answered: an array of strings, or {"keys":[...]}. Only words that can be typed
 * as they are, without quotes. */
void complete_add_json(struct completion *completion, struct arena *arena, struct slice line);

/* The longest text with which all words begin; at least the prefix's length where there are any. */
struct slice complete_common(const struct completion *completion);

/* The words of the verb that are still to come behind the cursor, as `<ttl> <key> <value>`. */
void complete_hint(struct slice line, struct buf *to);

#endif
