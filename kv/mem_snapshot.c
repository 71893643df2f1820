/* SPDX-License-Identifier: MIT */
/* What the memory store held at a cut, read shard by shard. Nothing is copied but pointers: an
 * entry that a snapshot points to is not written into, and is left to it where the store lets go of
 * it.
 *
 *   cut_make ──> a change comes first: mem_cut_locked ──┐
 *                the reader comes first ────────────────┴──> kept ──read──> let go of
 */
#include <stdlib.h>

#include "kv/mem.h"

struct kept {
    struct mem_entry *entry; /* pinned */
    uint64_t revision;
    int64_t expires_at_ms;
};

/* One shard's; under its lock until it is taken, then the reader's. */
struct part {
    struct kept *list;
    uint32_t count;
    bool taken;
};

struct mem_snapshot {
    struct kv_mem *mem;
    _Atomic uint64_t cut; /* UINT64_MAX: not yet */
    _Atomic bool broken;  /* there was no memory for a part */
    _Atomic unsigned kept;
    int64_t now_ms;
    uint64_t count, revision;
    struct part parts[MEM_SHARDS];
};

static void take_part_locked(struct mem_snapshot *snapshot, struct mem_shard *shard,
                             struct part *part) {
    const struct mem_slot *slots = atomic_load_explicit(&shard->table.slots, memory_order_relaxed);
    uint32_t slot_count =
        slots ? atomic_load_explicit(&shard->table.mask, memory_order_relaxed) + 1 : 0;
    part->taken = true;
    if (shard->table.live == 0)
        return;
    part->list = malloc(shard->table.live * sizeof *part->list);
    if (!part->list) {
        atomic_store(&snapshot->broken, true);
        return;
    }
    for (uint32_t i = 0; i < slot_count; i++) {
        struct mem_entry *entry = slots[i].entry;
        if (!entry || entry == MEM_TOMB || !mem_is_live(entry, snapshot->now_ms))
            continue;
        entry->pinned = 1;
        part->list[part->count++] = (struct kept){entry, entry->revision, entry->expires_at_ms};
    }
    shard->pinned = part->count > 0;
}

void mem_cut_locked(struct kv_mem *mem, struct mem_shard *shard, uint64_t cut) {
    struct mem_snapshot *snapshot = atomic_load(&mem->snapshot);
    shard->cut = cut;
    if (!snapshot || cut < atomic_load(&snapshot->cut)) /* it was another store's */
        return;
    struct part *part = &snapshot->parts[shard - mem->shards];
    if (part->taken)
        return;
    take_part_locked(snapshot, shard, part);
    atomic_fetch_add_explicit(&snapshot->kept, 1, memory_order_relaxed);
}

enum err mem_snapshot_new(struct kv_mem *mem, struct mem_snapshot **ret_snapshot) {
    struct mem_snapshot *none = NULL;
    struct kv_stats stats;
    struct mem_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot)
        return ERR_OUT_OF_MEMORY;
    snapshot->mem = mem;
    atomic_store(&snapshot->cut, UINT64_MAX);
    kv_mem_stats(mem, &stats);
    snapshot->count = stats.keys;
    if (!atomic_compare_exchange_strong(&mem->snapshot, &none, snapshot)) {
        free(snapshot);
        return ERR_CONFLICT;
    }
    *ret_snapshot = snapshot;
    return OK;
}

void mem_snapshot_expect(struct mem_snapshot *snapshot, uint64_t cut, int64_t now_ms) {
    pthread_mutex_lock(&snapshot->mem->flush_lock);
    snapshot->now_ms = now_ms;
    atomic_store(&snapshot->cut, cut);
}

void mem_snapshot_taken(struct mem_snapshot *snapshot) {
    snapshot->revision = atomic_load(&snapshot->mem->revision);
    pthread_mutex_unlock(&snapshot->mem->flush_lock);
}

static void let_go(struct mem_snapshot *snapshot, unsigned at) {
    struct mem_shard *shard = &snapshot->mem->shards[at];
    struct part *part = &snapshot->parts[at];
    pthread_mutex_lock(&shard->lock);
    for (uint32_t i = 0; i < part->count; i++) {
        struct mem_entry *entry = part->list[i].entry;
        if (entry->gone)
            free(entry);
        else
            entry->pinned = 0;
    }
    if (part->count)
        shard->pinned = false;
    part->count = 0;
    pthread_mutex_unlock(&shard->lock);
    free(part->list);
    part->list = NULL;
}

struct reader {
    struct space_table *spaces;
    enum err (*each)(void *context, const struct kv_snapshot_entry *entry);
    void *context;
};

static enum err read_part(const struct part *part, const struct reader *reader) {
    enum err err = OK;
    for (uint32_t i = 0; !err && i < part->count; i++) {
        struct mem_entry *entry = part->list[i].entry;
        struct kv_snapshot_entry told = {.storage = KV_MEMORY,
                                         .key = mem_entry_key(entry),
                                         .content_type = mem_entry_type(entry),
                                         .value = mem_entry_value(entry),
                                         .revision = part->list[i].revision,
                                         .expires_at_ms = part->list[i].expires_at_ms};
        err = space_table_get(reader->spaces, entry->space, &told.workspace, &told.ns)
                  ? reader->each(reader->context, &told)
                  : ERR_INTERNAL;
    }
    return err;
}

enum err mem_snapshot_each(struct mem_snapshot *snapshot,
                           enum err (*each)(void *context, const struct kv_snapshot_entry *entry),
                           void *context) {
    struct reader reader = {.each = each, .context = context};
    enum err err = space_table_make(snapshot->mem->spaces, &reader.spaces);
    for (unsigned i = 0; !err && i < MEM_SHARDS; i++) {
        struct mem_shard *shard = &snapshot->mem->shards[i];
        pthread_mutex_lock(&shard->lock);
        if (!snapshot->parts[i].taken)
            take_part_locked(snapshot, shard, &snapshot->parts[i]);
        pthread_mutex_unlock(&shard->lock);
        err = atomic_load(&snapshot->broken) ? ERR_OUT_OF_MEMORY
                                             : read_part(&snapshot->parts[i], &reader);
        let_go(snapshot, i);
    }
    space_table_free(reader.spaces);
    return err;
}

uint64_t mem_snapshot_count(const struct mem_snapshot *snapshot) {
    return snapshot->count;
}

uint64_t mem_snapshot_revision(const struct mem_snapshot *snapshot) {
    return snapshot->revision;
}

unsigned mem_snapshot_kept(struct mem_snapshot *snapshot) {
    return atomic_load(&snapshot->kept);
}

/* Whoever still has the pointer has the lock of a shard, too. */
void mem_snapshot_end(struct mem_snapshot *snapshot) {
    if (!snapshot)
        return;
    atomic_store(&snapshot->mem->snapshot, NULL);
    for (unsigned i = 0; i < MEM_SHARDS; i++)
        let_go(snapshot, i);
    free(snapshot);
}
