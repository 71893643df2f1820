/* SPDX-License-Identifier: MIT */
#include "kv/mem_index.h"

#include <pthread.h>
#include <stdlib.h>

#define BLOCK_KEYS 256U

struct key_copy {
    uint16_t len;
    char bytes[];
};

struct block {
    unsigned count;
    struct key_copy *keys[BLOCK_KEYS];
};

struct mem_index {
    pthread_mutex_t lock;
    struct block **blocks; /* none is empty */
    size_t count, cap;
};

struct mem_index *mem_index_new(void) {
    struct mem_index *index = calloc(1, sizeof *index);
    if (index)
        pthread_mutex_init(&index->lock, NULL);
    return index;
}

void mem_index_free(struct mem_index *index) {
    if (!index)
        return;
    for (size_t b = 0; b < index->count; b++) {
        for (unsigned i = 0; i < index->blocks[b]->count; i++)
            free(index->blocks[b]->keys[i]);
        free(index->blocks[b]);
    }
    free(index->blocks);
    pthread_mutex_destroy(&index->lock);
    free(index);
}

static struct slice slice_of(const struct key_copy *copy) {
    return slice_make(copy->bytes, copy->len);
}

/* The block that holds the key or would: the last one that begins at or before it. */
static size_t block_of(const struct mem_index *index, struct slice key) {
    size_t low = 0;
    size_t high = index->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(slice_of(index->blocks[middle]->keys[0]), key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : 0;
}

/* The first place in the block whose key is not less than this one. */
static unsigned place_of(const struct block *block, struct slice key) {
    unsigned low = 0;
    unsigned high = block->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (slice_compare(slice_of(block->keys[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool holds(const struct block *block, unsigned place, struct slice key) {
    return place < block->count && slice_equal(slice_of(block->keys[place]), key);
}

static struct block *insert_block(struct mem_index *index, size_t at) {
    if (index->count == index->cap) {
        size_t cap = index->cap ? index->cap * 2 : 16;
        struct block **wider = realloc(index->blocks, cap * sizeof *wider);
        if (!wider)
            return NULL;
        index->blocks = wider;
        index->cap = cap;
    }
    struct block *block = malloc(sizeof *block);
    if (!block)
        return NULL;
    block->count = 0;
    memmove(&index->blocks[at + 1], &index->blocks[at],
            (index->count - at) * sizeof(index->blocks[0]));
    index->blocks[at] = block;
    index->count++;
    return block;
}

/* Moves the upper half of a full block into one of its own behind it. Keys that only ever grow
 * leave full blocks behind: the last block is not halved for a key past its end. */
static bool split(struct mem_index *index, size_t at, unsigned place) {
    struct block *block = index->blocks[at];
    unsigned keep =
        at + 1 == index->count && place == block->count ? block->count - 1 : block->count / 2;
    struct block *upper = insert_block(index, at + 1);
    if (!upper)
        return false;
    block = index->blocks[at];
    upper->count = block->count - keep;
    memcpy(upper->keys, &block->keys[keep], upper->count * sizeof(upper->keys[0]));
    block->count = keep;
    return true;
}

static bool add_locked(struct mem_index *index, struct slice key) {
    bool first = index->count == 0;
    if (first && !insert_block(index, 0))
        return false;
    size_t at = first ? 0 : block_of(index, key);
    unsigned place = place_of(index->blocks[at], key);
    if (holds(index->blocks[at], place, key))
        return true;
    if (index->blocks[at]->count == BLOCK_KEYS) {
        if (!split(index, at, place))
            return false;
        at = block_of(index, key);
        place = place_of(index->blocks[at], key);
    }
    struct key_copy *copy = malloc(sizeof *copy + key.len);
    if (!copy)
        return false;
    copy->len = (uint16_t)key.len;
    memcpy(copy->bytes, key.ptr, key.len);
    struct block *block = index->blocks[at];
    memmove(&block->keys[place + 1], &block->keys[place],
            (block->count - place) * sizeof(block->keys[0]));
    block->keys[place] = copy;
    block->count++;
    return true;
}

bool mem_index_add(struct mem_index *index, struct slice key) {
    pthread_mutex_lock(&index->lock);
    bool added = add_locked(index, key);
    if (index->count && index->blocks[0]->count == 0) { /* made for a key that found no memory */
        free(index->blocks[0]);
        index->count = 0;
    }
    pthread_mutex_unlock(&index->lock);
    return added;
}

static void remove_locked(struct mem_index *index, struct slice key) {
    if (index->count == 0)
        return;
    size_t at = block_of(index, key);
    struct block *block = index->blocks[at];
    unsigned place = place_of(block, key);
    if (!holds(block, place, key))
        return;
    free(block->keys[place]);
    block->count--;
    memmove(&block->keys[place], &block->keys[place + 1],
            (block->count - place) * sizeof(block->keys[0]));
    if (block->count)
        return;
    free(block);
    index->count--;
    memmove(&index->blocks[at], &index->blocks[at + 1],
            (index->count - at) * sizeof(index->blocks[0]));
}

void mem_index_remove(struct mem_index *index, struct slice key) {
    pthread_mutex_lock(&index->lock);
    remove_locked(index, key);
    pthread_mutex_unlock(&index->lock);
}

static int read_locked(struct mem_index *index, const struct kv_list *list, struct slice after,
                       unsigned most, struct slice *ret_keys, bool *ret_end) {
    bool from_after = slice_compare(after, list->prefix) >= 0 && after.len > 0;
    struct slice start = from_after ? after : list->prefix;
    size_t at = index->count ? block_of(index, start) : 0;
    unsigned place = index->count ? place_of(index->blocks[at], start) : 0;
    unsigned count = 0;
    *ret_end = true;
    for (; at < index->count; at++, place = 0) {
        const struct block *block = index->blocks[at];
        for (; place < block->count; place++) {
            struct slice key = slice_of(block->keys[place]);
            if (from_after && slice_equal(key, after))
                continue;
            if (!slice_starts_with(key, list->prefix))
                return (int)count;
            if (count == most) {
                *ret_end = false;
                return (int)count;
            }
            ret_keys[count] = arena_copy(list->arena, key);
            if (!ret_keys[count++].ptr)
                return -1;
        }
    }
    return (int)count;
}

int mem_index_read(struct mem_index *index, const struct kv_list *list, struct slice after,
                   unsigned most, struct slice *ret_keys, bool *ret_end) {
    pthread_mutex_lock(&index->lock);
    int count = read_locked(index, list, after, most, ret_keys, ret_end);
    pthread_mutex_unlock(&index->lock);
    return count;
}
