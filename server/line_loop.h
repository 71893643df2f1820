/* SPDX-License-Identifier: MIT */
/* One thread of the line door: its libuv loop, its connections, and the slots of calls that are
 * answered later. Everything here belongs to the loop's thread unless said otherwise. */
#ifndef HATI_SERVER_LINE_LOOP_H
#define HATI_SERVER_LINE_LOOP_H

#include <pthread.h>
#include <uv.h>

#include "base/buf.h"
#include "server/config.h"
#include "server/line_parse.h"
#include "server/metrics.h"

#define LINE_READ_BYTES 65536U
#define LINE_SCRATCH_BYTES 65536U
#define LINE_BATCH 16U           /* requests bound and prefetched together */
#define LINE_FLUSH_BYTES 262144U /* a reply buffer is sent before it grows past this */
#define LINE_BACKLOG_BYTES                                                                         \
    1048576U                  /* unsent replies of a connection before it is read no further */
#define LINE_PARKED_MAX 1024U /* parked calls of a connection, likewise */
#define LINE_READS_MAX 64U    /* of those, reads: what they read is in memory */
#define LINE_LISTENERS_MAX 4U

struct line_conn;
struct line_dialect;
struct line_follow;
struct line_held;
struct line_loop;
struct line_server;
struct line_slot;

/* What comes back to the loop from any thread. */
struct line_woken {
    struct line_woken *next; /* the waking thread's, then the loop's */
    struct line_loop *loop;
    void (*come_back)(struct line_woken *woken); /* on the loop's thread */
};

struct line_listener {
    uv_poll_t poll;
    int fd;
    const struct line_dialect *dialect; /* what its callers speak */
    struct tls *tls;                    /* NULL: in the clear */
    bool proxy_headers;                 /* trusted proxies begin with one */
};

struct line_loop {
    uv_loop_t uv;
    pthread_t thread;
    const struct config *config;
    struct core *core;
    bool loopback_only;
    bool opened;  /* the libuv loop is there */
    bool started; /* the thread runs */

    struct line_listener listeners[LINE_LISTENERS_MAX];
    unsigned listener_count;
    bool accept_paused; /* out of descriptors: the tick tries again */

    uv_async_t async;                   /* something was woken, or the stop is wanted */
    uv_prepare_t prepare;               /* before the loop sleeps: own wakes, forgets now_ms */
    uv_timer_t watch;                   /* slow peers; runs only while some are watched */
    uv_timer_t tick;                    /* coarse deadlines; runs only while something has one */
    _Atomic(struct line_woken *) woken; /* any thread pushes; newest first */
    _Atomic unsigned wakers;            /* threads between their push and the end of their send */
    _Atomic bool stop_wanted;           /* set by the main thread */

    bool stopping;
    bool ended; /* handles are closing */
    int64_t stop_deadline_ms;
    int64_t now_ms; /* wall clock of this round; 0: not asked yet */

    struct line_conn *conns;
    struct line_conn *touched; /* have something to go on with */
    struct line_conn *lingering;
    unsigned conn_count;

    struct line_slot *free_slots;
    unsigned free_count;
    unsigned in_flight; /* slots and subscriptions that have not come back */
    struct line_slot *first_due, *last_due;
    struct line_json *spare_json;
    struct olivia_many *spare_many;
    struct line_held *spare_held;
    unsigned spare_held_count;

    uint64_t requests, failures;   /* not yet added to the core's */
    struct metrics_shard *metrics; /* of the loop's thread; NULL: nothing is counted */
    struct metrics_tally tally;    /* answered of what was read last, not yet told */
    size_t arena_max_bytes;
    struct buf out;         /* replies of the connection at hand */
    struct buf sealed;      /* what its TLS has to send, before it is out */
    unsigned shaking;       /* connections whose TLS handshake or PROXY header is not over */
    unsigned watched;       /* connections that may be slow (line_slow.c) */
    char *encrypted_bytes;  /* LINE_READ_BYTES as they came; NULL: no listener has TLS */
    struct line_held *held; /* messages in out */
    struct arena parsed;    /* of the batch at hand */
    struct line_request batch[LINE_BATCH];
    _Alignas(64) char read_bytes[LINE_READ_BYTES];
    char parse_scratch[4096];
    char scratch[LINE_SCRATCH_BYTES];
};

/* Makes the handles over the listening sockets, which pass into the loop's hands. */
enum err line_loop_open(struct line_loop *loop) MUST_USE;
/* The thread's body: runs until stopped and everything has come back. */
void *line_loop_main(void *loop);
/* Frees what is left after the thread ended (or never ran). */
void line_loop_close(struct line_loop *loop);

/* Tells a caller why it is turned away, as far as it hears: before anything else was sent. Where
 * TLS is spoken that is an alert. */
void line_refuse(int fd, bool tls, enum err err, const char *text);
/* Wall clock, asked once for what is read together: never before bytes that are served now came. */
int64_t line_loop_now_ms(struct line_loop *loop);
/* Any thread, once until it came back: it is given to its come_back by the loop. */
void line_loop_wake(struct line_woken *woken);
/* Makes sure the tick runs. */
void line_loop_need_tick(struct line_loop *loop);
/* Remembers a connection for line_loop_go_on. */
void line_loop_touch(struct line_loop *loop, struct line_conn *conn);
/* Adds the counted requests to the core's figures of that door. */
void line_loop_count(struct line_loop *loop, enum door door);
/* Ends the loop where it is stopping and nothing is left. */
void line_loop_check_end(struct line_loop *loop);

#endif
