/* SPDX-License-Identifier: MIT */
/* Listings of the memory store. A hash table has no order, so a space that is listed gets an index:
 * the keeper walks the shards step by step, and from its first step on every write of that space
 * keeps the index up, so that at the last step it is whole. */
#include <stdlib.h>

#include "base/clock.h"
#include "kv/mem.h"

#define STEP_SLOTS 4096U /* looked at under one lock */
#define IDLE_MS 60000
#define PROBE_KEYS 256U /* read from the index at once, to look for those still alive */

static struct mem_listing *find_listing(const struct kv_mem *mem, uint32_t space) {
    struct mem_listing *listing = mem->listings;
    while (listing && listing->space != space)
        listing = listing->next;
    return listing;
}

void mem_listing_note(struct kv_mem *mem, uint32_t space, struct slice key, bool added) {
    if (atomic_load_explicit(&mem->listing_count, memory_order_acquire) == 0)
        return;
    pthread_rwlock_rdlock(&mem->listings_lock);
    struct mem_listing *listing = find_listing(mem, space);
    if (listing && !added)
        mem_index_remove(listing->index, key);
    else if (listing && !mem_index_add(listing->index, key))
        listing->broken = true;
    pthread_rwlock_unlock(&mem->listings_lock);
}

static void free_listing(struct mem_listing *listing) {
    mem_index_free(listing->index);
    free(listing);
}

/* Takes the listings that are asked for out of the chain; NULL listing: all. */
static struct mem_listing *take_out(struct kv_mem *mem, int64_t unused_since_ms) {
    struct mem_listing *taken = NULL;
    pthread_rwlock_wrlock(&mem->listings_lock);
    struct mem_listing **at = &mem->listings;
    while (*at) {
        struct mem_listing *listing = *at;
        if (listing->last_used_ms > unused_since_ms && !listing->broken) {
            at = &listing->next;
            continue;
        }
        *at = listing->next;
        listing->next = taken;
        taken = listing;
        atomic_fetch_sub(&mem->listing_count, 1);
    }
    pthread_rwlock_unlock(&mem->listings_lock);
    return taken;
}

static void drop(struct mem_listing *taken) {
    while (taken) {
        struct mem_listing *next = taken->next;
        free_listing(taken);
        taken = next;
    }
}

void mem_listing_forget_all(struct kv_mem *mem) {
    drop(take_out(mem, INT64_MAX));
}

bool mem_listing_drop_idle(struct kv_mem *mem, int64_t steady_ms) {
    if (atomic_load(&mem->listing_count) == 0)
        return false;
    struct mem_listing *taken = take_out(mem, steady_ms - IDLE_MS);
    drop(taken);
    return taken != NULL;
}

static bool is_live_key(struct kv_mem *mem, uint32_t space, struct slice key, int64_t now_ms) {
    uint64_t hash = mem_hash(mem, space, key);
    struct mem_shard *shard = mem_shard_of(mem, hash);
    pthread_mutex_lock(&shard->lock);
    const struct mem_slot *slot = mem_table_find(&shard->table, hash, space, key);
    bool live = slot && mem_is_live(slot->entry, now_ms);
    pthread_mutex_unlock(&shard->lock);
    return live;
}

/* A page of the index as it stands now; ERR_PENDING where there is none (any more). */
static enum err read_page(struct kv_mem *mem, uint32_t space, const struct kv_list *list,
                          struct slice after, struct slice keys[PROBE_KEYS], int *ret_count,
                          bool *ret_end) {
    enum err err = ERR_PENDING;
    pthread_rwlock_rdlock(&mem->listings_lock);
    struct mem_listing *listing = find_listing(mem, space);
    if (listing && listing->ready && !listing->broken) {
        __atomic_store_n(&listing->last_used_ms, clock_steady_ms(), __ATOMIC_RELAXED);
        *ret_count = mem_index_read(listing->index, list, after, PROBE_KEYS, keys, ret_end);
        err = *ret_count < 0 ? ERR_OUT_OF_MEMORY : OK;
    }
    pthread_rwlock_unlock(&mem->listings_lock);
    return err;
}

/* Adds those still alive; one key past the limit tells that more follow. False where the page is
 * full. */
static bool add_live(struct kv_mem *mem, uint32_t space, struct kv_list *list,
                     const struct slice *keys, int count) {
    for (int i = 0; i < count; i++) {
        if (!is_live_key(mem, space, keys[i], list->now_ms))
            continue;
        if (list->key_count == list->limit) {
            list->more = true;
            return false;
        }
        list->keys[list->key_count++] = keys[i];
    }
    return true;
}

enum err mem_listing_read(struct kv_mem *mem, uint32_t space, struct kv_list *list) {
    struct slice keys[PROBE_KEYS];
    struct slice after = list->after;
    bool end = false;
    int count = 0;
    enum err err = read_page(mem, space, list, after, keys, &count, &end);
    if (err)
        return err;
    list->key_count = 0;
    list->more = false;
    list->keys = arena_alloc(list->arena, sizeof *list->keys * list->limit);
    if (!list->keys)
        return ERR_OUT_OF_MEMORY;
    while (add_live(mem, space, list, keys, count) && !end) {
        after = keys[count - 1];
        err = read_page(mem, space, list, after, keys, &count, &end);
        if (err)
            return err;
    }
    return OK;
}

/* Which shard is next; MEM_SHARDS: it is built. False without memory. */
static bool start_listing(struct kv_mem *mem, uint32_t space, uint32_t *ret_shard) {
    pthread_rwlock_wrlock(&mem->listings_lock);
    struct mem_listing *listing = find_listing(mem, space);
    if (!listing) {
        listing = calloc(1, sizeof *listing);
        struct mem_index *index = listing ? mem_index_new() : NULL;
        if (index) {
            listing->space = space;
            listing->index = index;
            listing->next = mem->listings;
            mem->listings = listing;
            atomic_fetch_add(&mem->listing_count, 1);
        } else {
            free(listing);
            listing = NULL;
        }
    }
    if (listing) {
        listing->last_used_ms = clock_steady_ms();
        *ret_shard = listing->ready ? MEM_SHARDS : listing->shard;
    }
    pthread_rwlock_unlock(&mem->listings_lock);
    return listing != NULL;
}

/* Adds what stands in the next slots of the shard; true where the shard is done. The slots moved
 * where the version changed: the shard is walked again, keys already added stay as they are. */
static bool walk_shard_locked(const struct mem_shard *shard, struct mem_listing *listing) {
    const struct mem_table *table = &shard->table;
    const struct mem_slot *slots = atomic_load_explicit(&table->slots, memory_order_relaxed);
    if (!slots)
        return true;
    uint32_t count = atomic_load_explicit(&table->mask, memory_order_relaxed) + 1;
    if (listing->version != table->version) {
        listing->version = table->version;
        listing->slot = 0;
    }
    uint32_t end = listing->slot + STEP_SLOTS < count ? listing->slot + STEP_SLOTS : count;
    for (; listing->slot < end; listing->slot++) {
        const struct mem_entry *entry = slots[listing->slot].entry;
        if (!entry || entry == MEM_TOMB || entry->space != listing->space)
            continue;
        if (!mem_index_add(listing->index, mem_entry_key(entry)))
            listing->broken = true;
    }
    return end == count;
}

/* Only the keeper builds and frees listings, but for a flush, so `listing` is looked up anew
 * whenever the lock was given up. */
bool mem_listing_build_step(struct kv_mem *mem, uint32_t space, enum err *ret_err) {
    uint32_t at;
    if (!start_listing(mem, space, &at)) {
        *ret_err = ERR_OUT_OF_MEMORY;
        return true;
    }
    if (at == MEM_SHARDS) {
        *ret_err = OK;
        return true;
    }
    struct mem_shard *shard = &mem->shards[at];
    pthread_mutex_lock(&shard->lock);
    pthread_rwlock_rdlock(&mem->listings_lock);
    struct mem_listing *listing = find_listing(mem, space); /* a flush may have come between */
    if (listing && walk_shard_locked(shard, listing)) {
        listing->shard++;
        listing->slot = 0;
        listing->version = UINT32_MAX;
    }
    bool broken = listing && listing->broken;
    if (listing && listing->shard == MEM_SHARDS)
        listing->ready = true;
    bool done = broken || (listing && listing->ready);
    pthread_rwlock_unlock(&mem->listings_lock);
    pthread_mutex_unlock(&shard->lock);
    *ret_err = broken ? ERR_OUT_OF_MEMORY : OK;
    return done;
}
