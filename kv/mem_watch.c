/* SPDX-License-Identifier: MIT */
/* One space whose keys somebody follows. Notes are given where entries are put into a table and
 * taken out of it, and for what a flush took out, where it is freed. */
#include "kv/mem.h"

/* Of one call: so much is short, and a store of few keys is soon gone through. */
#define STEP_SHARDS 64U
#define STEP_SLOTS 1024U

enum err mem_watch_open(struct kv_mem *mem, const struct kv_watch *watch) {
    mem->watch = watch;
    mem->watched_space = SPACE_NONE;
    return watch ? spaces_make(mem->spaces, &watch->workspace, watch->ns, &mem->watched_space) : OK;
}

/* Returns how many slots it looked at. */
static uint32_t scan_locked(const struct kv_mem *mem, const struct mem_table *table,
                            void (*each)(void *context, struct slice key), void *context) {
    const struct mem_slot *slots = atomic_load_explicit(&table->slots, memory_order_relaxed);
    if (!slots)
        return 0;
    uint32_t count = atomic_load_explicit(&table->mask, memory_order_relaxed) + 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct mem_entry *entry = slots[i].entry;
        if (entry && entry != MEM_TOMB && entry->space == mem->watched_space)
            each(context, mem_entry_key(entry));
    }
    return count;
}

/* A shard is gone through whole: an entry never changes its shard, so that none is passed over. */
bool kv_mem_watch_scan(struct kv_mem *mem, uint32_t *at,
                       void (*each)(void *context, struct slice key), void *context) {
    uint32_t seen = 0;
    if (!mem->watch)
        return false;
    for (unsigned i = 0; i < STEP_SHARDS && *at < MEM_SHARDS && seen < STEP_SLOTS; i++) {
        struct mem_shard *shard = &mem->shards[(*at)++];
        pthread_mutex_lock(&shard->lock);
        seen += scan_locked(mem, &shard->table, each, context);
        pthread_mutex_unlock(&shard->lock);
    }
    return *at < MEM_SHARDS;
}
