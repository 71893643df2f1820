/* SPDX-License-Identifier: MIT */
/* One outgoing connection to a peer: resolved, connected, lost and tried again. Requests on it are
 * answered in their order. The peers' thread only. */
#ifndef HATI_PEERS_LINK_H
#define HATI_PEERS_LINK_H

#include <sys/socket.h>
#include <uv.h>

#include "peers/olivia_filter.h"
#include "peers/peers.h"
#include "peers/wide_filter.h"

#define LINK_QUESTIONS_MAX 1024U /* that wait on a link; a peer with more is not asked */
#define LINK_BEATS_MAX 10U       /* in a row unanswered: it is dead */
#define LINK_FOUND_MAX 8U        /* addresses of a name that are tried */
#define LINK_HOST_BYTES PEERS_ADDRESS_BYTES
#define LINK_NODE_ID_BYTES 17U

enum link_phase {
    LINK_WAITING, /* for the next try */
    LINK_RESOLVING,
    LINK_CONNECTING,
    LINK_GREETING,
    LINK_READY,
    LINK_CLOSING,
    LINK_OVER /* it is this node itself */
};

enum sent_kind {
    SENT_AUTH,
    SENT_HATI,
    SENT_CONNECT,
    SENT_BLOOMFILTER,
    SENT_PING,
    SENT_PULSE,
    SENT_CHUNK,
    SENT_QUESTION
};

struct ask;

/* A request that is not answered. */
struct sent {
    enum sent_kind kind;
    uint64_t number; /* the hash that stands before it */
    int64_t at_ns;
    struct ask *ask; /* of a question */
};

/* How far a hati peer's filter is known here. */
struct sync {
    uint64_t epoch; /* of the filter that is known, or is being fetched; 0: of none */
    uint64_t sequence;
    bool fetching;
    struct wide_filter next; /* what is being fetched */
    uint64_t next_offset;
    uint64_t chunk_number; /* of the request whose answer is wanted */
    unsigned rounds;       /* pulses since the last heartbeat */
};

struct link {
    struct peers *peers;
    unsigned index;
    char host[LINK_HOST_BYTES], port[8];
    /* Written by the peers' thread with filters_lock, read by others with it. */
    struct peers_peer shown;
    struct wide_filter wide;
    struct olivia_filter olivia;
    /* the peers' thread's */
    enum link_phase phase;
    bool is_self;
    char node_id[LINK_NODE_ID_BYTES]; /* as it said last; empty: it did not */
    struct sync sync;
    bool beat_waits; /* a heartbeat is not answered */
    bool bloom_waits;
    int64_t refreshed_ms;
    unsigned failures; /* in a row: until a connection holds for LINK_BEATS_MAX heartbeats */
    unsigned beats;    /* answered on this connection */
    struct sockaddr_storage found[LINK_FOUND_MAX];
    unsigned found_count, found_at;
    uv_getaddrinfo_t resolver;
    uv_tcp_t tcp;
    uv_connect_t connector;
    uv_write_t writer;
    uv_timer_t timer; /* the next try, or the end of this one */
    struct buf in, out, writing;
    bool is_writing, broken, dirty;
    bool skipping; /* to the end of a line that is too long */
    struct link *dirty_next;
    struct sent *sent; /* a ring */
    unsigned sent_cap, sent_first, sent_count;
    unsigned questions; /* among them */
    uint64_t last_number;
};

/* An idle link; its timer is open. False without handles. */
bool link_init(struct link *link, struct peers *peers, unsigned index, struct slice address);
void link_start(struct link *link);
/* Ends the connection, and tries again later. Its questions are answered: not known. */
void link_drop(struct link *link, const char *why);
/* Closes all handles for good. */
void link_stop(struct link *link);
/* Frees what is left of it, when the loop is over. */
void link_free(struct link *link);

/* Begins a request: whoever calls appends the rest of the line to what is returned, then calls
 * link_end. NULL without memory: nothing was begun. */
struct buf *link_begin(struct link *link, enum sent_kind kind, struct ask *ask);
void link_end(struct link *link);
/* Writes what was said since. */
void link_flush(struct link *link);
/* Takes the oldest request that is not answered; false where there is none. */
bool link_pop_sent(struct link *link, struct sent *ret_sent);

#endif
