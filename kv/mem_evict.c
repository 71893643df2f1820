/* SPDX-License-Identifier: MIT */
/* Room under the memory limit. Eviction is the clock algorithm (Corbato, 1968), an approximation of
 * least recently used: a hand goes round the slots, an entry used again since its last visit is
 * spared once, one that was not goes. */
#include "base/clock.h"
#include "kv/mem.h"

#define STEP_SLOTS 64U

static bool has_room(const struct kv_mem *mem, uint64_t more_bytes) {
    return atomic_load(&mem->used_bytes) + more_bytes <= mem->limit_bytes;
}

/* Moves the hand over some slots and drops at most one entry; true where it did. */
static bool evict_one_locked(struct kv_mem *mem, struct mem_shard *shard) {
    struct mem_slot *slots = atomic_load_explicit(&shard->table.slots, memory_order_relaxed);
    uint32_t mask = atomic_load_explicit(&shard->table.mask, memory_order_relaxed);
    uint32_t steps = mask < STEP_SLOTS ? mask + 1 : STEP_SLOTS; /* never round twice at once */
    for (unsigned i = 0; slots && i < steps; i++) {
        struct mem_slot *slot = &slots[shard->hand++ & mask];
        if (!slot->entry || slot->entry == MEM_TOMB)
            continue;
        if (slot->entry->used) {
            slot->entry->used = 0;
            continue;
        }
        mem_drop_locked(mem, shard, slot, FEED_EVICTED);
        atomic_fetch_add_explicit(&mem->evicted, 1, memory_order_relaxed);
        return true;
    }
    return false;
}

/* Two rounds over every slot drop something, wherever the hands stand. */
static bool evict(struct kv_mem *mem, uint64_t more_bytes) {
    unsigned idle = 0;
    while (!has_room(mem, more_bytes)) {
        unsigned at = atomic_fetch_add(&mem->evict_shard, 1) % MEM_SHARDS;
        struct mem_shard *shard = &mem->shards[at];
        mem_shard_lock(mem, shard);
        bool evicted = evict_one_locked(mem, shard);
        uint64_t slots = shard->table.live ? (uint64_t)shard->table.mask + 1 : 1;
        pthread_mutex_unlock(&shard->lock);
        idle = evicted ? 0 : idle + 1;
        if (idle > 3 * MEM_SHARDS * (slots / STEP_SLOTS + 1))
            return false;
    }
    return true;
}

bool mem_make_room(struct kv_mem *mem, uint64_t more_bytes) {
    if (more_bytes > mem->limit_bytes)
        return false;
    int64_t now_ms = clock_wall_ms();
    for (unsigned i = 0; i < MEM_SHARDS && !has_room(mem, more_bytes); i++) {
        mem_shard_lock(mem, &mem->shards[i]);
        mem_sweep_locked(mem, &mem->shards[i], now_ms, STEP_SLOTS);
        pthread_mutex_unlock(&mem->shards[i].lock);
    }
    if (has_room(mem, more_bytes))
        return true;
    return mem->evicts && evict(mem, more_bytes);
}
