/* SPDX-License-Identifier: MIT */
/* A connection of the line door, from accept to close. The loop's thread only. */
#ifndef HATI_SERVER_LINE_CONN_H
#define HATI_SERVER_LINE_CONN_H

#include <uv.h>

#include "server/limits.h"
#include "server/line_loop.h"
#include "server/line_slot.h"
#include "server/slow_reader.h"

struct line_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct line_loop *loop;
    const struct line_dialect *dialect;
    struct line_tls *tls;         /* NULL: in the clear */
    struct address client;        /* who calls: its own address, or what a trusted proxy told */
    struct limits_client limited; /* whose limits its requests count for */
    struct limits_client held;    /* counted among the connections of that address */
    int64_t shake_until_ms;       /* steady clock: its handshake is over by then, or it ends */
    struct buf early;             /* of a PROXY header that is not whole yet */
    int64_t
        part_since_ms; /* steady clock: when what stands in the tail began to come; 0: nothing */
    int64_t active_ms; /* steady clock: its last turn, where idle connections are closed */
    struct slow_reader reader;
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
    struct line_follow *follows; /* newest first; counted among sub_count */
    struct line_held *undecided; /* messages sent to a peer that sends no more */
    struct line_conn *linger_next;
    int64_t linger_until_ms; /* steady clock */
    size_t after_bytes;      /* replies ready behind those */
    size_t backlog_bytes;    /* handed to libuv, not yet taken by the kernel */
    bool paid;               /* the request at hand counted for the limit already */
    bool counts_bytes;       /* there is a limit of bytes */
    bool is_peer;            /* what it asks for is answered from here alone (Olivia) */
    bool skip_line;          /* dropping up to a newline */
    bool skip_frame;         /* dropping skip_bytes and a newline */
    bool touched;
    bool turn_waits;   /* too much was wanted at once: the others have their turn */
    bool shaking;      /* TLS or a PROXY header is not over */
    bool awaits_proxy; /* a PROXY header comes first */
    bool watched;
    bool reading;
    bool blocked;  /* the tail holds a request that has to wait */
    bool eof;      /* the peer sends no more */
    bool quitting; /* takes no more; closes once all replies are sent */
    bool broken;   /* cannot be answered any more */
    bool said_end; /* nothing is written any more */
    bool closing;
    bool closed; /* its handle is */
};

struct sockaddr;

/* Takes over an accepted socket: greets it with an error and closes it, or serves it. */
void line_conn_open(struct line_loop *loop, int fd, const struct sockaddr *peer,
                    const struct line_listener *listener);
/* Closes those whose TLS handshake or PROXY header takes too long. */
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

/* Who it is (line_admit.c). */

/* Its address is known: false where it is turned away, and told so. */
bool line_admit(struct line_conn *conn);
/* Takes the PROXY header off the front of what came; the rest of it stands where it stood, behind
 * what is dropped. False where nothing is left to be read: the header is not whole yet, or no good
 * (conn->broken). */
bool line_admit_proxy(struct line_conn *conn, char *at, size_t *len);

/* Peers that take too long (line_slow.c). */

/* consumed: bytes of requests that were served since the last time. */
void line_slow_progress(struct line_conn *conn, size_t consumed);
/* Its state has changed. */
void line_slow_update(struct line_conn *conn);
void line_slow_end(struct line_conn *conn);
int line_conn_fd(const struct line_conn *conn);

/* Limits (line_limit.c). */

/* The client's address is known: ERR_RATE_LIMITED where it has too many connections. */
enum err line_limit_connect(struct line_conn *conn) MUST_USE;
void line_limit_disconnect(struct line_conn *conn);
/* Its token is another one now. */
void line_limit_choose(struct line_conn *conn);
/* So many bytes came or went. */
void line_limit_add_bytes(struct line_conn *conn, size_t bytes);
/* Counts the request at hand, once; true where it is refused, and answered so. */
bool line_limit_refuses(struct line_conn *conn, const struct line_request *request);
/* Before a call that may be parked: OK, then line_limit_end_call is due for its slot;
 * ERR_WOULD_WAIT: behind others of this connection; ERR_RATE_LIMITED, and answered so. */
enum err line_limit_begin_call(struct line_conn *conn, const struct line_request *request) MUST_USE;
/* There is no slot. */
void line_limit_cancel_call(struct line_conn *conn);
void line_limit_hold_slot(const struct line_conn *conn, struct line_slot *slot);
void line_limit_end_call(struct line_slot *slot);

/* A reply was appended to `to` behind `before` bytes of it. (line_run.c) */
void line_replied(struct line_conn *conn, struct buf *to, size_t before);
/* Runs the requests in data and says how many bytes were consumed. (line_run.c) */
size_t line_run(struct line_conn *conn, struct slice data);

#endif
