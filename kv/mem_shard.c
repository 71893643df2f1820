/* SPDX-License-Identifier: MIT */
/* Entries of one shard: their memory, their place in the table, and when they expire. */
#include <malloc.h>
#include <stdlib.h>

#include "kv/mem.h"

#define SLOT_COST sizeof(struct mem_slot)
#define HEAP_FIRST 16U

size_t mem_entry_room(struct mem_entry *entry) {
    return malloc_usable_size(entry);
}

static void count_added(struct kv_mem *mem, struct mem_shard *shard, size_t bytes) {
    shard->entry_bytes += bytes;
    uint64_t used =
        atomic_fetch_add_explicit(&mem->used_bytes, bytes, memory_order_relaxed) + bytes;
    if (used > atomic_load_explicit(&mem->high_bytes, memory_order_relaxed))
        atomic_store_explicit(&mem->high_bytes, used, memory_order_relaxed);
}

/* Where much less is used than was, the keeper gives memory back; it is called once, when the mark
 * is passed. */
static void count_freed(struct kv_mem *mem, struct mem_shard *shard, size_t bytes) {
    shard->entry_bytes -= bytes;
    uint64_t used = atomic_fetch_sub_explicit(&mem->used_bytes, bytes, memory_order_relaxed);
    uint64_t mark = mem_trim_mark(mem);
    if (used >= mark && used - bytes < mark)
        mem_keeper_call(mem);
}

struct mem_entry *mem_entry_new_locked(struct kv_mem *mem, struct mem_shard *shard, uint32_t space,
                                       struct slice key, struct slice type, size_t value_len) {
    struct mem_entry *entry = malloc(mem_entry_size(key.len, type.len, value_len));
    if (!entry)
        return NULL;
    entry->revision = 0;
    entry->expires_at_ms = 0;
    entry->space = space;
    entry->heap_at = 0;
    entry->value_len = (uint32_t)value_len;
    entry->key_len = (uint16_t)key.len;
    entry->type_len = (uint8_t)type.len;
    entry->used = entry->pinned = entry->gone = 0;
    memcpy(entry->bytes, key.ptr, key.len);
    if (type.len)
        memcpy(entry->bytes + key.len, type.ptr, type.len);
    count_added(mem, shard, mem_entry_room(entry) + SLOT_COST);
    return entry;
}

void mem_entry_free_locked(struct kv_mem *mem, struct mem_shard *shard, struct mem_entry *entry) {
    count_freed(mem, shard, mem_entry_room(entry) + SLOT_COST);
    if (entry->pinned)
        entry->gone = 1;
    else
        free(entry);
}

/* Binary heap, 1-based; an entry knows its place. */

static void heap_put(struct mem_shard *shard, uint32_t at, struct mem_entry *entry) {
    shard->heap[at - 1] = entry;
    entry->heap_at = at;
}

static void heap_rise(struct mem_shard *shard, uint32_t at, struct mem_entry *entry) {
    while (at > 1 && shard->heap[at / 2 - 1]->expires_at_ms > entry->expires_at_ms) {
        heap_put(shard, at, shard->heap[at / 2 - 1]);
        at /= 2;
    }
    heap_put(shard, at, entry);
}

static void heap_sink(struct mem_shard *shard, uint32_t at, struct mem_entry *entry) {
    while (at * 2 <= shard->heap_count) {
        uint32_t child = at * 2;
        if (child < shard->heap_count &&
            shard->heap[child]->expires_at_ms < shard->heap[child - 1]->expires_at_ms)
            child++;
        if (shard->heap[child - 1]->expires_at_ms >= entry->expires_at_ms)
            break;
        heap_put(shard, at, shard->heap[child - 1]);
        at = child;
    }
    heap_put(shard, at, entry);
}

static void heap_remove(struct kv_mem *mem, struct mem_shard *shard, struct mem_entry *entry) {
    uint32_t at = entry->heap_at;
    struct mem_entry *last = shard->heap[--shard->heap_count];
    entry->heap_at = 0;
    atomic_fetch_sub_explicit(&mem->expiring, 1, memory_order_relaxed);
    if (last != entry) {
        heap_rise(shard, at, last);
        heap_sink(shard, last->heap_at, last);
    }
    if (shard->heap_count == 0) {
        free(shard->heap);
        shard->heap = NULL;
        shard->heap_cap = 0;
    }
}

static bool heap_room(struct mem_shard *shard) {
    if (shard->heap_count < shard->heap_cap)
        return true;
    uint32_t cap = shard->heap_cap ? shard->heap_cap * 2 : HEAP_FIRST;
    struct mem_entry **wider = realloc(shard->heap, cap * sizeof(struct mem_entry *));
    if (!wider)
        return false;
    shard->heap = wider;
    shard->heap_cap = cap;
    return true;
}

bool mem_expire_at_locked(struct kv_mem *mem, struct mem_shard *shard, struct mem_entry *entry,
                          int64_t expires_at_ms) {
    if (expires_at_ms == 0) {
        if (entry->heap_at)
            heap_remove(mem, shard, entry);
        entry->expires_at_ms = 0;
        return true;
    }
    if (!entry->heap_at) {
        if (!heap_room(shard))
            return false;
        entry->expires_at_ms = expires_at_ms;
        heap_rise(shard, ++shard->heap_count, entry);
        if (atomic_fetch_add_explicit(&mem->expiring, 1, memory_order_relaxed) == 0)
            mem_keeper_call(mem);
        return true;
    }
    entry->expires_at_ms = expires_at_ms;
    heap_rise(shard, entry->heap_at, entry);
    heap_sink(shard, entry->heap_at, entry);
    return true;
}

struct mem_entry *mem_unlink_locked(struct kv_mem *mem, struct mem_shard *shard,
                                    struct mem_slot *slot) {
    struct mem_entry *entry = slot->entry;
    if (entry->heap_at)
        heap_remove(mem, shard, entry);
    mem_table_remove(&shard->table, slot);
    mem_listing_note(mem, entry->space, mem_entry_key(entry), false);
    mem_watch_note(mem, entry->space, mem_entry_key(entry), false);
    return entry;
}

bool mem_link_locked(struct kv_mem *mem, struct mem_shard *shard, uint64_t hash,
                     struct mem_entry *entry) {
    if (!mem_table_reserve(&shard->table))
        return false;
    mem_table_insert(&shard->table, hash, entry);
    mem_listing_note(mem, entry->space, mem_entry_key(entry), true);
    mem_watch_note(mem, entry->space, mem_entry_key(entry), true);
    return true;
}

unsigned mem_sweep_locked(struct kv_mem *mem, struct mem_shard *shard, int64_t now_ms,
                          unsigned most) {
    unsigned count = 0;
    while (count < most && shard->heap_count && !mem_is_live(shard->heap[0], now_ms)) {
        struct mem_entry *entry = shard->heap[0];
        struct slice key = mem_entry_key(entry);
        uint64_t hash = mem_hash(mem, entry->space, key);
        struct mem_slot *slot = mem_table_find(&shard->table, hash, entry->space, key);
        mem_drop_locked(mem, shard, slot, FEED_EXPIRED);
        count++;
    }
    if (count)
        atomic_fetch_add_explicit(&mem->expired, count, memory_order_relaxed);
    return count;
}

static uint64_t count_expired(const struct mem_shard *shard, uint32_t at, int64_t now_ms) {
    if (at > shard->heap_count || mem_is_live(shard->heap[at - 1], now_ms))
        return 0;
    return 1 + count_expired(shard, at * 2, now_ms) + count_expired(shard, at * 2 + 1, now_ms);
}

uint64_t mem_expired_locked(const struct mem_shard *shard, int64_t now_ms) {
    return count_expired(shard, 1, now_ms);
}
