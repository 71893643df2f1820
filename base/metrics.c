/* SPDX-License-Identifier: MIT */
#include "base/metrics.h"

#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 64U

_Thread_local struct metrics_own metrics_own;

static _Atomic uint64_t next_id = 1;

/* Whole cache lines of its own: nobody else's writes land on them. */
static struct metrics_shard *new_shard(const struct metrics *metrics) {
    size_t bytes = sizeof(struct metrics_shard) + metrics->cell_count * sizeof(uint64_t);
    bytes = (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    struct metrics_shard *shard = aligned_alloc(LINE_BYTES, bytes);
    if (shard)
        memset(shard, 0, bytes);
    return shard;
}

struct metrics *metrics_open(unsigned cell_count) {
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics)
        return NULL;
    metrics->id = atomic_fetch_add(&next_id, 1);
    metrics->cell_count = cell_count;
    struct metrics_shard *last = new_shard(metrics);
    if (!last) {
        free(metrics);
        return NULL;
    }
    last->shared = true;
    atomic_store(&metrics->shards[METRICS_THREADS_MAX], last);
    return metrics;
}

void metrics_close(struct metrics *metrics) {
    if (!metrics)
        return;
    for (unsigned i = 0; i <= METRICS_THREADS_MAX; i++)
        free(atomic_load(&metrics->shards[i]));
    free(metrics);
}

/* Threads past the first ones, and one that finds no memory, share the last shard. */
struct metrics_shard *metrics_shard_make(struct metrics *metrics) {
    unsigned at = METRICS_THREADS_MAX;
    struct metrics_shard *shard = NULL;
    if (atomic_load(&metrics->taken) < METRICS_THREADS_MAX)
        at = atomic_fetch_add(&metrics->taken, 1);
    if (at < METRICS_THREADS_MAX)
        shard = new_shard(metrics);
    if (shard)
        atomic_store(&metrics->shards[at], shard);
    else
        shard = atomic_load(&metrics->shards[METRICS_THREADS_MAX]);
    metrics_own = (struct metrics_own){metrics->id, shard};
    return shard;
}

uint64_t metrics_read(struct metrics *metrics, unsigned cell) {
    uint64_t sum = 0;
    for (unsigned i = 0; i <= METRICS_THREADS_MAX; i++) {
        struct metrics_shard *shard = atomic_load(&metrics->shards[i]);
        if (shard)
            sum += atomic_load_explicit(&shard->cells[cell], memory_order_relaxed);
    }
    return sum;
}

void metrics_observe(struct metrics_histogram *histogram, const struct metrics_bounds *bounds,
                     uint64_t value) {
    unsigned bucket = metrics_bucket(bounds, value);
    atomic_fetch_add_explicit(&histogram->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, value, memory_order_relaxed);
}

void metrics_histogram_read(const struct metrics_histogram *histogram,
                            struct metrics_counts *ret_counts) {
    for (unsigned i = 0; i <= METRICS_BOUNDS_MAX; i++)
        ret_counts->buckets[i] = atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    ret_counts->sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
}
