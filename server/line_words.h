/* SPDX-License-Identifier: MIT */
/* The commands of a line connection itself: USE, AUTH, SUBSCRIBE, UNSUBSCRIBE, WATCH, UNWATCH,
 * HELP, QUIT. */
#ifndef HATI_SERVER_LINE_WORDS_H
#define HATI_SERVER_LINE_WORDS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct line_conn;

struct line_word {
    const char *name;
    const char *words; /* for HELP */
    const char *doc;
    /* Carries it out and appends the reply to `to`; tells the error that it was answered with. The
     * loop's thread. */
    enum err (*run)(struct line_conn *conn, struct slice args, struct buf *to);
};

/* AUTH: args is the token. As struct line_word's run. */
enum err line_word_auth(struct line_conn *conn, struct slice args, struct buf *to);

/* Finds a command, any case, or NULL. Any thread. */
const struct line_word *line_word_find(struct slice name);

#endif
