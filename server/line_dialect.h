/* SPDX-License-Identifier: MIT */
/* A language that is spoken on lines: how its requests are read and its replies are written. All
 * else (listening, limits, pipelining, order of replies, parking, drain) is the same for all. */
#ifndef HATI_SERVER_LINE_DIALECT_H
#define HATI_SERVER_LINE_DIALECT_H

#include "server/line_parse.h"

struct line_conn;

struct line_dialect {
    enum door door;
    /* Reads the request at the front of data, as line_parse does. */
    void (*parse)(const struct line_context *context, struct slice data, size_t scanned,
                  struct line_request *request);
    /* Binds a request anew over copies of its bytes, which live as long as the call; fills what of
     * answer points into them. Failures are in call->err. */
    enum err (*bind)(const struct line_context *context, const struct line_request *request,
                     struct slice line, struct slice frame, struct call *call,
                     struct line_answer *answer);
    /* Appends the reply of a finished call; tells the error that it is, or OK. As line_render. */
    enum err (*render)(struct buf *to, const struct call *call, const struct line_answer *answer);
    /* Appends the reply to a request that failed before it was run. */
    void (*render_failure)(struct buf *to, const struct line_request *request);
    /* Appends an error in place of a call's reply. */
    void (*render_error)(struct buf *to, const struct line_answer *answer, enum err err,
                         const char *text);
    /* Runs a REQUEST_MANY: its reply takes its place among the others. The connection has nothing
     * parked. NULL: the dialect has none. */
    void (*run_many)(struct line_conn *conn, struct slice line);
};

/* Hati's: CONTRACT 2. (line_parse.c, line_render.c) */
extern const struct line_dialect line_dialect_hati;
/* Olivia's: CONTRACT 5. (olivia.c) */
extern const struct line_dialect line_dialect_olivia;

#endif
