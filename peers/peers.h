/* SPDX-License-Identifier: MIT */
/* Peers: other hati and Olivia nodes that are asked for a key which is not here, and only those
 * whose Bloom filter says that they may have it.
 *
 *   door ──peers_ask──> filters of living peers ──none says maybe──> ERR_KEY_NOT_EXIST at once
 *                              │ some do
 *                              v
 *        peers' thread: up to three at a time, nearest first ──first hit──> done
 */
#ifndef HATI_PEERS_PEERS_H
#define HATI_PEERS_PEERS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "kv/kv.h"
#include "peers/own.h"

#define PEERS_MAX 1024U
#define PEERS_ADDRESS_BYTES 300U /* of host:port and its NUL */

struct peers_options {
    const char *list;           /* host:port parted by commas; NULL: none */
    const char *self;           /* where others reach this node's door; NULL: not told to them */
    const char *token;          /* for peers that want one (AUTH); NULL: none; never logged */
    int64_t beat_ms;            /* between heartbeats (1000) */
    int64_t refresh_ms;         /* between whole filters of an Olivia peer (30000) */
    int64_t timeout_ms;         /* a question is over after it (200) */
    int64_t retry_max_ms;       /* between tries to connect, which begin at 100 ms (10000) */
    uint64_t value_limit_bytes; /* the longest value that is taken from a peer */
    struct own *own;            /* this node's filters: rebuilt by the peers' thread */
    struct kv *kv;              /* whose keys they hold; NULL: a database's */
};

struct peers;

/* Parses the list (one clear line in ret_why) and starts the thread, which connects, exchanges
 * filters and goes on trying. Main thread. */
enum err peers_open(const struct peers_options *options, struct peers **ret_peers, char *ret_why,
                    size_t why_bytes) MUST_USE;
/* Every question is answered first. No questions may come any more. Blocks. Main thread. */
void peers_close(struct peers *peers);

/* NULL where the list is good, else what is wrong with it. */
const char *peers_check_list(const char *list);

/* One question. The caller owns it and all it points to until peers_ask returned other than
 * ERR_PENDING, or until done was called. */
struct peers_question {
    struct slice key;
    struct arena *arena;                           /* what is found is copied here */
    void (*done)(struct peers_question *question); /* on the peers' thread; must not block */
    void *context;
    bool at_once;   /* rather ERR_WOULD_WAIT, with nothing asked or counted, than ERR_PENDING */
    int64_t now_ms; /* wall clock when it was asked */
    /* outcome */
    enum err err;          /* OK, ERR_KEY_NOT_EXIST (also: no answer in time), ERR_OUT_OF_MEMORY */
    struct kv_entry entry; /* etag and revision are the caller's to make: revision is 0 */
    /* the peers' */
    struct peers_question *next;
    int64_t deadline_ms;
    uint8_t tried[PEERS_MAX / 8]; /* a bit for each that is not to be asked (any more) */
};

/* True where some living peer may have the key. Any thread; short. */
bool peers_may_have(struct peers *peers, struct slice key);
/* ERR_KEY_NOT_EXIST at once, without any network, where no living peer may have it; else
 * ERR_PENDING, then done once, with no lock held. question: key, arena, done, context, at_once and
 * now_ms are filled. Any thread, that of the peers within done too; never blocks. */
enum err peers_ask(struct peers *peers, struct peers_question *question) MUST_USE;

/* Those who came to us and said REQUEST CONNECT. address: as they are listed. 0 where there are too
 * many; they are served all the same. Any thread. */
uint64_t peers_visitor_add(struct peers *peers, const char *address);
/* False where there is none of that number. */
bool peers_visitor_remove(struct peers *peers, uint64_t visitor);
/* Appends host:port of configured peers, then visitors, parted by commas. Any thread. */
bool peers_append_list(struct peers *peers, struct buf *to);
/* 16 hexadecimal digits by which this process is known to its peers. */
const char *peers_node_id(const struct peers *peers);

struct peers_figures {
    uint64_t misses;          /* keys not found here that peers were considered for */
    uint64_t asked;           /* questions sent, one a peer */
    uint64_t hits;            /* misses that a peer had the key for */
    uint64_t saved;           /* questions not sent: a living peer's filter said no */
    uint64_t false_positives; /* its filter said maybe, it said no */
    uint64_t timeouts;        /* sent, and not answered in time */
};

enum peers_state { PEERS_CONNECTING, PEERS_ALIVE, PEERS_DEAD, PEERS_SELF };

struct peers_peer {
    char address[PEERS_ADDRESS_BYTES];
    enum peers_state state;
    bool is_hati; /* else an Olivia node; of one that was reached */
    bool has_filter;
    uint64_t keys;   /* a hati peer's, as it said last */
    int64_t rtt_us;  /* smoothed; 0: not known */
    unsigned missed; /* heartbeats in a row */
};

void peers_figures(struct peers *peers, struct peers_figures *ret_figures);
unsigned peers_count(const struct peers *peers);
/* Any thread. */
void peers_get(struct peers *peers, unsigned index, struct peers_peer *ret_peer);

#endif
