/* SPDX-License-Identifier: MIT */
#include "broker/heap.h"

#include <stdlib.h>

#define FIRST_ROOM 8U

static int64_t key_of(const struct heap *heap, const void *item) {
    int64_t key;
    memcpy(&key, (const char *)item + heap->key_at, sizeof key);
    return key;
}

static uint32_t *index_of(const struct heap *heap, void *item) {
    return (uint32_t *)(void *)((char *)item + heap->index_at);
}

static void place(struct heap *heap, uint32_t at, void *item) {
    heap->items[at] = item;
    *index_of(heap, item) = at + 1;
}

void heap_init(struct heap *heap, size_t key_at, size_t index_at) {
    *heap = (struct heap){.key_at = (uint16_t)key_at, .index_at = (uint16_t)index_at};
}

void heap_done(struct heap *heap) {
    free(heap->items);
    heap->items = NULL;
    heap->count = heap->room = 0;
}

enum err heap_reserve(struct heap *heap) {
    return heap_reserve_all(heap, heap->count + 1);
}

enum err heap_reserve_all(struct heap *heap, uint32_t count) {
    if (count <= heap->room)
        return OK;
    uint32_t room = heap->room ? 2 * heap->room : FIRST_ROOM;
    while (room < count)
        room *= 2;
    void **items = realloc(heap->items, room * sizeof *items);
    if (!items)
        return ERR_OUT_OF_MEMORY;
    heap->items = items;
    heap->room = room;
    return OK;
}

static void rise(struct heap *heap, uint32_t at, void *item) {
    int64_t key = key_of(heap, item);
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (key_of(heap, heap->items[parent]) <= key)
            break;
        place(heap, at, heap->items[parent]);
        at = parent;
    }
    place(heap, at, item);
}

static void sink(struct heap *heap, uint32_t at, void *item) {
    int64_t key = key_of(heap, item);
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count &&
            key_of(heap, heap->items[child + 1]) < key_of(heap, heap->items[child]))
            child++;
        if (key_of(heap, heap->items[child]) >= key)
            break;
        place(heap, at, heap->items[child]);
        at = child;
    }
    place(heap, at, item);
}

void heap_push(struct heap *heap, void *item) {
    rise(heap, heap->count++, item);
}

void heap_remove(struct heap *heap, void *item) {
    uint32_t *index = index_of(heap, item);
    if (*index == 0)
        return;
    uint32_t at = *index - 1;
    *index = 0;
    void *last = heap->items[--heap->count];
    if (last == item)
        return;
    if (at > 0 && key_of(heap, last) < key_of(heap, heap->items[(at - 1) / 2]))
        rise(heap, at, last);
    else
        sink(heap, at, last);
}
