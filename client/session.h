/* SPDX-License-Identifier: MIT */
/* Carries out commands over a wire and shows their replies. */
#ifndef HATI_CLIENT_SESSION_H
#define HATI_CLIENT_SESSION_H

#include <stdio.h>

#include "client/client.h"
#include "client/command.h"
#include "client/wire.h"

enum session_form {
    SESSION_ONE,    /* one command: a value is its bytes and nothing else */
    SESSION_SCRIPT, /* commands from a pipe: every reply ends with a newline */
    SESSION_PROMPT  /* a person at a terminal */
};

struct session {
    struct wire wire;
    const struct options *options;
    enum session_form form;
    bool terminal; /* what is written goes to one: it is made safe and pretty */
    bool table;
    bool newline;       /* behind a value: not where a pipe gets its bytes */
    bool ended;         /* QUIT */
    unsigned long line; /* SCRIPT: number of the line, for failures */
};

/* Looks whether standard output is a terminal. */
void session_init(struct session *session, const struct options *options, enum session_form form);
void session_done(struct session *session);

/* Carries a command out. Replies go to standard output, failures to standard error, each a line.
 * A lost connection is never tried again with a command that was sent: whether it was carried out
 * is not known. Blocks. */
enum client_status session_run(struct session *session, const struct command *command);

/* Says why nothing was done: a line to standard error. */
void session_complain(const struct session *session, const char *text);

/* Asks what is answered with one line, which lives until the next request, and shows nothing. AWAY,
 * REFUSED: the wire's why. Blocks. */
enum wire_result session_ask(struct session *session, struct slice request, struct slice *ret_line);

#endif
