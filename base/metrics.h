/* SPDX-License-Identifier: MIT */
/* Counters that cost a thread next to nothing: each thread writes cells of its own, a reader adds
 * them up. */
#ifndef HATI_BASE_METRICS_H
#define HATI_BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- cells of every thread ---- */

#define METRICS_THREADS_MAX 63U /* with cells of their own; the others share some */

/* A thread's cells. Only their owner writes them, unless they are shared. */
struct metrics_shard {
    bool shared;
    _Alignas(64) _Atomic uint64_t cells[];
};

struct metrics {
    uint64_t id; /* no two of a process have the same */
    unsigned cell_count;
    _Atomic unsigned taken; /* shards given away */
    _Atomic(struct metrics_shard *) shards[METRICS_THREADS_MAX + 1];
};

/* NULL without memory. */
struct metrics *metrics_open(unsigned cell_count);
/* No thread may write any more. NULL is fine. */
void metrics_close(struct metrics *metrics);

/* The calling thread's cells, made the first time; a thread that has used another set meanwhile
 * gets new ones. Past METRICS_THREADS_MAX threads: shared ones. */
struct metrics_shard *metrics_shard_make(struct metrics *metrics);

struct metrics_own {
    uint64_t id;
    struct metrics_shard *shard;
};
extern _Thread_local struct metrics_own metrics_own;

/* The calling thread's cells; NULL where metrics is. */
static inline struct metrics_shard *metrics_shard(struct metrics *metrics) {
    if (!metrics)
        return NULL;
    return metrics_own.id == metrics->id ? metrics_own.shard : metrics_shard_make(metrics);
}

/* Adds to a cell; gauges subtract by adding 0 - n. The thread of metrics_shard. */
static inline void metrics_add(struct metrics_shard *shard, unsigned cell, uint64_t n) {
    _Atomic uint64_t *at = &shard->cells[cell];
    if (shard->shared)
        atomic_fetch_add_explicit(at, n, memory_order_relaxed);
    else
        atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + n,
                              memory_order_relaxed);
}

/* The sum of a cell over all threads. Any thread. */
uint64_t metrics_read(struct metrics *metrics, unsigned cell);

/* ---- histograms ---- */

#define METRICS_BOUNDS_MAX 16U

/* Upper bounds of the buckets, growing; what is above the last goes into one more. */
struct metrics_bounds {
    unsigned count;
    uint64_t at[METRICS_BOUNDS_MAX];
};

/* The bucket of a value: the first whose bound is not less; bounds->count past them all. */
static inline unsigned metrics_bucket(const struct metrics_bounds *bounds, uint64_t value) {
    unsigned i = 0;
    while (i < bounds->count && value > bounds->at[i])
        i++;
    return i;
}

/* One histogram, for what does not happen often enough to need cells of every thread. All zeros is
 * an empty one. */
struct metrics_histogram {
    _Atomic uint64_t sum;
    _Atomic uint64_t buckets[METRICS_BOUNDS_MAX + 1];
};

/* What was read of one. */
struct metrics_counts {
    uint64_t sum;
    uint64_t buckets[METRICS_BOUNDS_MAX + 1];
};

/* Any thread. */
void metrics_observe(struct metrics_histogram *histogram, const struct metrics_bounds *bounds,
                     uint64_t value);
void metrics_histogram_read(const struct metrics_histogram *histogram,
                            struct metrics_counts *ret_counts);

#endif
