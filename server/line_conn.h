/* SPDX-License-Identifier: MIT */
/* A connection of the line door, from accept to close. The loop's thread only. */
#ifndef HATI_SERVER_LINE_CONN_H
#define HATI_SERVER_LINE_CONN_H

#include <uv.h>

#include "server/line_loop.h"
#include "server/line_slot.h"

struct line_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct line_loop *loop;
    const struct line_dialect *dialect;
    struct line_tls *tls;   /* NULL: in the clear */
    int64_t shake_until_ms; /* steady clock: its handshake is over by then, or it ends */
    struct line_conn *next, *prev;
    struct line_conn *touched_next;
    struct line_woken turn; /* comes back where turn_waits */
    unsigned turn_words;    /* run in this turn, and the bytes of their replies */
    size_t turn_bytes;
    const struct auth_grant *grant;
    struct auth_grant *own_grant;   /* grant, where AUTH gave it; else NULL */
    struct line_place *place;       /* what USE chose, or NULL */
    struct buf tail;                /* read, not yet consumed */
    int64_t read_ns;                /* when bytes came last; steady clock */
    size_t scanned;                 /* bytes of the tail known to hold no newline */
    size_t need;                    /* bytes the tail must have before it is worth looking */
    uint64_t skip_bytes;            /* of a frame that is dropped as it comes */
    struct line_slot *first, *last; /* replies that wait for their call, in order */
    unsigned queued;
    uint64_t visitor; /* its number among the peers (Olivia); 0: none */
    unsigned sub_count;
    struct line_sub *subs;       /* newest first */
    struct line_held *undecided; /* messages sent to a peer that sends no more */
    struct line_conn *linger_next;
    int64_t linger_until_ms; /* steady clock */
    size_t after_bytes;      /* replies ready behind those */
    size_t backlog_bytes;    /* handed to libuv, not yet taken by the kernel */
    bool is_peer;            /* what it asks for is answered from here alone (Olivia) */
    bool skip_line;          /* dropping up to a newline */
    bool skip_frame;         /* dropping skip_bytes and a newline */
    bool touched;
    bool turn_waits; /* too much was wanted at once: the others have their turn */
    bool reading;
    bool blocked;  /* the tail holds a request that has to wait */
    bool eof;      /* the peer sends no more */
    bool quitting; /* takes no more; closes once all replies are sent */
    bool broken;   /* cannot be answered any more */
    bool said_end; /* nothing is written any more */
    bool closing;
    bool closed; /* its handle is */
};

/* Takes over an accepted socket: greets it with an error and closes it, or serves it. */
void line_conn_open(struct line_loop *loop, int fd, bool is_tcp,
                    const struct line_listener *listener);
/* Closes those whose TLS handshake takes too long. */
void line_conn_end_slow_handshakes(struct line_loop *loop, int64_t steady_ms);
/* Closes at once; calls still running are let go of. */
void line_conn_close(struct line_conn *conn);
/* Goes on: replies that are ready, requests that waited, reading, closing. */
void line_conn_go_on(struct line_conn *conn);

/* The turn is over for words: those that are left wait until the other connections had theirs. */
void line_conn_end_words(struct line_conn *conn);

/* Moves the replies that are ready, in order, to the loop's out. */
void line_conn_settle(struct line_conn *conn);
/* Where the next reply is appended. */
struct buf *line_conn_reply(struct line_conn *conn);
/* Sends the loop's out, or hands the rest to libuv. Messages in it that the peer will not get
 * return to their queues. */
void line_conn_flush(struct line_conn *conn);

/* Runs the requests in data and says how many bytes were consumed. (line_run.c) */
size_t line_run(struct line_conn *conn, struct slice data);

#endif
