/* SPDX-License-Identifier: MIT */
/* What the files of this room share. */
#ifndef HATI_PEERS_INSIDE_H
#define HATI_PEERS_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "peers/ask.h"
#include "peers/link.h"
#include "peers/peers.h"

#define PEERS_READ_BYTES 65536U

struct visitor {
    uint64_t number;
    char address[PEERS_ADDRESS_BYTES];
};

/* As struct peers_figures. */
struct peers_counters {
    _Atomic uint64_t misses, asked, hits, saved, false_positives, timeouts;
};

struct peers {
    struct peers_options options; /* its texts are copies */
    char node_id[LINK_NODE_ID_BYTES];
    struct link *links;
    unsigned link_count;
    pthread_rwlock_t filters_lock;
    struct peers_counters counters;

    pthread_mutex_t visitors_lock;
    struct visitor *visitors;
    unsigned visitor_count, visitor_cap;
    uint64_t last_visitor;

    pthread_mutex_t inbox_lock;
    struct peers_question *inbox; /* newest first */
    bool stop_wanted;

    /* the thread's */
    bool loop_open, started, stopping;
    pthread_t thread;
    uv_loop_t uv;
    uv_async_t async;
    uv_prepare_t prepare;
    uv_timer_t beats, deadlines, rebuilds;
    struct link **ranked; /* nearest first */
    struct link *dirty;
    struct ask *first_ask, *last_ask; /* by deadline */
    struct ask *spare_asks;
    unsigned spare_count;
    char read_bytes[PEERS_READ_BYTES];
    char scratch[OWN_CHUNK_BYTES];
};

static inline void peers_add(_Atomic uint64_t *counter, uint64_t by) {
    if (by)
        atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

#endif
