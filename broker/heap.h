/* SPDX-License-Identifier: MIT */
/* A binary min-heap of structures that know their place in it: any of them can be taken out. */
#ifndef HATI_BROKER_HEAP_H
#define HATI_BROKER_HEAP_H

#include "base/err.h"
#include "base/slice.h"

/* key_at, index_at: offsets in an item of its int64_t key and of its uint32_t place (from 1; 0: not
 * in the heap). The owner's lock. */
struct heap {
    void **items;
    uint32_t count, room;
    uint16_t key_at, index_at;
};

void heap_init(struct heap *heap, size_t key_at, size_t index_at);
/* Frees the heap, not its items. */
void heap_done(struct heap *heap);

/* The item with the least key, or NULL. */
static inline void *heap_top(const struct heap *heap) {
    return heap->count ? heap->items[0] : NULL;
}
/* Makes room, so that the next push cannot fail. ERR_OUT_OF_MEMORY. */
enum err heap_reserve(struct heap *heap) MUST_USE;
/* Makes room for so many items in all. ERR_OUT_OF_MEMORY. */
enum err heap_reserve_all(struct heap *heap, uint32_t count) MUST_USE;
/* After heap_reserve; the item is in no heap by this index. */
void heap_push(struct heap *heap, void *item);
/* Does nothing where the item is not in the heap. */
void heap_remove(struct heap *heap, void *item);

#endif
