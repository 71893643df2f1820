/* SPDX-License-Identifier: MIT */
/* A bounded queue of finished spans: any thread puts in, one takes out, nobody waits for anybody
 * (Vyukov's bounded queue, 1024cores.net). What finds no room is dropped and counted. */
#ifndef HATI_TRACE_RING_H
#define HATI_TRACE_RING_H

#include <stdatomic.h>

#include "trace/record.h"

struct trace_cell {
    _Atomic uint64_t turn;
    struct trace_record record;
};

struct trace_ring {
    struct trace_cell *cells;
    uint64_t mask;
    uint64_t tail; /* of the thread that takes out */
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) _Atomic uint64_t dropped;
};

/* size: a power of two. False without memory. */
bool trace_ring_init(struct trace_ring *ring, uint64_t size);
void trace_ring_done(struct trace_ring *ring);

/* A record to fill, its counts and lengths 0; NULL: full, and counted. Any thread; trace_ring_put
 * follows soon. */
struct trace_record *trace_ring_claim(struct trace_ring *ring);
/* It is filled. */
void trace_ring_put(struct trace_ring *ring, struct trace_record *record);

/* The oldest record, or NULL. One thread. */
const struct trace_record *trace_ring_first(const struct trace_ring *ring);
/* Done with it. The same thread. */
void trace_ring_drop_first(struct trace_ring *ring);
/* How many wait, about. The same thread. */
uint64_t trace_ring_count(const struct trace_ring *ring);

#endif
