/* SPDX-License-Identifier: MIT */
/* A connection to a server that was shown the token and told the namespace; made again when it
 * went away. */
#ifndef HATI_CLIENT_WIRE_H
#define HATI_CLIENT_WIRE_H

#include "base/buf.h"
#include "client/frame.h"
#include "client/transport.h"

#define WIRE_USE_BYTES 512
#define WIRE_WHY_BYTES OPTIONS_WHY_BYTES

enum wire_result {
    WIRE_GOOD,
    WIRE_AWAY,     /* no connection, or it was lost */
    WIRE_REFUSED,  /* open: the server refuses token or namespace */
    WIRE_INTERRUPT /* Ctrl-C */
};

struct wire {
    const struct options *options;
    struct transport transport;
    bool up;
    bool heard; /* something came since it is up */
    struct buf in;
    size_t at;                         /* bytes of in that are used up */
    size_t scanned;                    /* bytes behind `at` without a newline */
    char token[OPTIONS_TOKEN_MAX + 1]; /* shown at each connect; empty: none */
    char use[WIRE_USE_BYTES];          /* chosen at each connect; empty: the default */
    char why[WIRE_WHY_BYTES];          /* AWAY, REFUSED: a sentence without control characters */
};

/* Prepares; connects nothing. The options must live as long. */
void wire_init(struct wire *wire, const struct options *options);
void wire_done(struct wire *wire);

/* Connects where it is not: token, then namespace. Only GOOD leaves it up, so that nothing is asked
 * under another token or in another namespace than was said. Blocks. */
enum wire_result wire_open(struct wire *wire);
/* Ends the connection, if there is one. */
void wire_close(struct wire *wire);
/* True where the server has gone away since; closes it then. Never blocks. */
bool wire_is_stale(struct wire *wire);

/* Sends a line (its newline is added) and, where framed, bytes and a newline behind it. Takes in
 * what comes meanwhile. After AWAY it is closed. Blocks. */
enum wire_result wire_send(struct wire *wire, struct slice line, bool framed, struct slice bytes);

/* The next frame that is no part; its slices live until the next call. timeout_ms: without a byte
 * for so long it is AWAY; 0: never. After INTERRUPT it stands, and nothing is lost.
 * A frame that is broken is AWAY too. Blocks. */
enum wire_result wire_next(struct wire *wire, int64_t timeout_ms, struct frame *ret_frame);

/* Sends an ACK; its reply is a frame of its own. */
enum wire_result wire_ack(struct wire *wire, struct slice queue, struct slice receipt);

/* REFUSED with why the server refused what was asked, after frame; AWAY, closed, where the frame
 * is no answer to it at all. */
enum wire_result wire_refuse(struct wire *wire, const char *what, const struct frame *frame);

/* Copies text into token or use, with a NUL. False, `to` untouched, where it does not fit. */
bool wire_set(char *to, size_t to_bytes, struct slice text);

#endif
