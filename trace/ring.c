/* SPDX-License-Identifier: MIT */
#include "trace/ring.h"

#include <stdlib.h>

bool trace_ring_init(struct trace_ring *ring, uint64_t size) {
    ring->cells = malloc(size * sizeof *ring->cells);
    if (!ring->cells)
        return false;
    for (uint64_t i = 0; i < size; i++)
        atomic_init(&ring->cells[i].turn, i);
    ring->mask = size - 1;
    ring->tail = 0;
    atomic_init(&ring->head, 0);
    atomic_init(&ring->dropped, 0);
    return true;
}

void trace_ring_done(struct trace_ring *ring) {
    free(ring->cells);
    ring->cells = NULL;
}

static void clear(struct trace_record *record, uint64_t place) {
    memset(record, 0, offsetof(struct trace_record, attributes));
    record->place = place;
}

struct trace_record *trace_ring_claim(struct trace_ring *ring) {
    uint64_t place = atomic_load_explicit(&ring->head, memory_order_relaxed);
    for (;;) {
        struct trace_cell *cell = &ring->cells[place & ring->mask];
        int64_t ahead = (int64_t)(atomic_load_explicit(&cell->turn, memory_order_acquire) - place);
        if (ahead == 0) {
            if (!atomic_compare_exchange_weak_explicit(&ring->head, &place, place + 1,
                                                       memory_order_relaxed, memory_order_relaxed))
                continue;
            clear(&cell->record, place);
            return &cell->record;
        }
        if (ahead < 0) {
            atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
            return NULL;
        }
        place = atomic_load_explicit(&ring->head, memory_order_relaxed);
    }
}

void trace_ring_put(struct trace_ring *ring, struct trace_record *record) {
    struct trace_cell *cell = &ring->cells[record->place & ring->mask];
    atomic_store_explicit(&cell->turn, record->place + 1, memory_order_release);
}

const struct trace_record *trace_ring_first(const struct trace_ring *ring) {
    struct trace_cell *cell = &ring->cells[ring->tail & ring->mask];
    bool filled = atomic_load_explicit(&cell->turn, memory_order_acquire) == ring->tail + 1;
    return filled ? &cell->record : NULL;
}

void trace_ring_drop_first(struct trace_ring *ring) {
    struct trace_cell *cell = &ring->cells[ring->tail & ring->mask];
    atomic_store_explicit(&cell->turn, ring->tail + ring->mask + 1, memory_order_release);
    ring->tail++;
}

uint64_t trace_ring_count(const struct trace_ring *ring) {
    return atomic_load_explicit(&ring->head, memory_order_relaxed) - ring->tail;
}
