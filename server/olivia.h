/* SPDX-License-Identifier: MIT */
/* Olivia's protocol on the line door: CONTRACT 5 and docs/olivia.md. */
#ifndef HATI_SERVER_OLIVIA_H
#define HATI_SERVER_OLIVIA_H

#include "server/line_dialect.h"
#include "server/olivia_line.h"

#define OLIVIA_PAIRS_MAX 65536U /* of one line */

enum olivia_kind { OLIVIA_GET, OLIVIA_SET, OLIVIA_SETEX, OLIVIA_FETCH };

/* A command whose every pair is a call. */
struct olivia_verb {
    const char *name;
    const char *answer; /* the word of its reply */
    enum olivia_kind kind;
};

/* Resolves the operations; once, behind op_init and before any thread. */
void olivia_init(void);

/* Finds it, any case, or NULL. */
const struct olivia_verb *olivia_find_verb(struct slice name);

/* What a pair asks for, as a call that is ready to run. ERR_SYNTAX: the line is no good request.
 * *ret_seconds: of SETEX. The call's op stays NULL where there is nothing to do: the seconds are no
 * number. The pair's bytes must live as long as the call. */
enum err olivia_bind_pair(const struct line_context *context, const struct olivia_verb *verb,
                          const struct olivia_pair *pair, struct call *call,
                          int64_t *ret_seconds) MUST_USE;

/* What is to be told in place of a finished call's pair; OK where it is told. */
enum err olivia_error_of(const struct olivia_verb *verb, const struct call *call);

/* Words for people about what olivia_error_of says. */
const char *olivia_why(enum err err, const struct call *call);

/* Appends `[]Invalid command sent in.` */
void olivia_render_invalid(struct buf *to);
/* Appends an error of the server's, as lines have it, behind the hash where there is one. */
void olivia_render_error(struct buf *to, struct slice hash, enum err err, const char *text);
/* Appends `key:value[:seconds]` of a finished call; nothing where a GET found none. */
void olivia_render_pair(struct buf *to, const struct olivia_verb *verb, const struct call *call,
                        int64_t seconds);

#endif
