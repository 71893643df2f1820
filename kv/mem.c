/* SPDX-License-Identifier: MIT */
/* The memory store's front: opening, reading, counting. */
#include "kv/mem.h"

#include <stdlib.h>

#include "base/clock.h"

/* Revisions go on from the wall clock, so that a restart does not bring an old one back. */
static uint64_t first_revision(void) {
    return (uint64_t)clock_wall_ms() * 1000;
}

enum err kv_mem_open(const struct kv_options *options, struct feeds *feeds,
                     struct kv_mem **ret_mem) {
    struct kv_mem *mem = NULL;
    if (posix_memalign((void **)&mem, 64, sizeof *mem) != 0)
        return ERR_OUT_OF_MEMORY;
    memset(mem, 0, sizeof *mem);
    mem->spaces = spaces_new();
    if (!mem->spaces) {
        free(mem);
        return ERR_OUT_OF_MEMORY;
    }
    for (unsigned i = 0; i < MEM_SHARDS; i++)
        pthread_mutex_init(&mem->shards[i].lock, NULL);
    pthread_rwlock_init(&mem->listings_lock, NULL);
    pthread_mutex_init(&mem->flush_lock, NULL);
    pthread_rwlock_init(&mem->flushing, NULL);
    mem->feeds = feeds;
    mem->seed = hash_process_seed();
    mem->limit_bytes = options->memory_limit_bytes;
    mem->evicts = options->eviction == KV_LRU;
    atomic_store(&mem->revision, first_revision());
    enum err err = mem_watch_open(mem, options->watch);
    if (!err)
        err = mem_keeper_start(mem);
    if (err) {
        spaces_free(mem->spaces);
        free(mem);
        return err;
    }
    mem_feed_open(mem);
    *ret_mem = mem;
    return OK;
}

static void free_shard(struct mem_shard *shard) {
    struct mem_slot *slots = atomic_load(&shard->table.slots);
    uint32_t count = slots ? atomic_load(&shard->table.mask) + 1 : 0;
    for (uint32_t i = 0; i < count; i++)
        if (slots[i].entry != MEM_TOMB)
            free(slots[i].entry);
    mem_table_done(&shard->table);
    free(shard->heap);
    pthread_mutex_destroy(&shard->lock);
}

void kv_mem_close(struct kv_mem *mem) {
    mem_keeper_stop(mem);
    mem_listing_forget_all(mem);
    for (unsigned i = 0; i < MEM_SHARDS; i++)
        free_shard(&mem->shards[i]);
    pthread_rwlock_destroy(&mem->listings_lock);
    pthread_mutex_destroy(&mem->flush_lock);
    pthread_rwlock_destroy(&mem->flushing);
    spaces_free(mem->spaces);
    free(mem);
}

static bool copy_entry(struct mem_entry *entry, unsigned want, struct arena *arena,
                       struct kv_entry *to) {
    *to = (struct kv_entry){.revision = entry->revision, .expires_at_ms = entry->expires_at_ms};
    if (want & (KV_WANT_VALUE | KV_WANT_ETAG))
        to->value = arena_copy(arena, mem_entry_value(entry));
    if ((want & KV_WANT_TYPE) && entry->type_len)
        to->content_type = arena_copy(arena, mem_entry_type(entry));
    if ((want & KV_WANT_ETAG) && mem_entry_etag(entry))
        memcpy(to->etag, mem_entry_etag(entry), sizeof to->etag);
    bool value_ok = to->value.ptr || !(want & (KV_WANT_VALUE | KV_WANT_ETAG));
    return value_ok && (to->content_type.ptr || !(want & KV_WANT_TYPE) || !entry->type_len);
}

enum err kv_mem_get(struct kv_mem *mem, const struct kv_ref *ref, int64_t now_ms, unsigned want,
                    struct arena *arena, struct kv_entry *ret_entry) {
    uint32_t space = spaces_find(mem->spaces, &ref->workspace, ref->ns);
    if (space == SPACE_NONE)
        return ERR_KEY_NOT_EXIST;
    uint64_t hash = mem_hash(mem, space, ref->key);
    struct mem_shard *shard = mem_shard_of(mem, hash);
    enum err err = ERR_KEY_NOT_EXIST;
    pthread_mutex_lock(&shard->lock);
    const struct mem_slot *slot = mem_table_find(&shard->table, hash, space, ref->key);
    if (slot && mem_is_live(slot->entry, now_ms)) {
        slot->entry->used = 1;
        err = copy_entry(slot->entry, want, arena, ret_entry) ? OK : ERR_OUT_OF_MEMORY;
    }
    pthread_mutex_unlock(&shard->lock);
    if (!err && (want & KV_WANT_ETAG) && ret_entry->value.len <= MEM_ETAG_FROM)
        hash_md5(ret_entry->value, ret_entry->etag);
    return err;
}

/* Where the table stands is read without the lock: it may be stale, and is only a hint. */
uint64_t kv_mem_prefetch(struct kv_mem *mem, const struct kv_ref *ref) {
    uint32_t space = spaces_find(mem->spaces, &ref->workspace, ref->ns);
    if (space == SPACE_NONE)
        return 0;
    uint64_t hash = mem_hash(mem, space, ref->key);
    const struct mem_shard *shard = mem_shard_of(mem, hash);
    __builtin_prefetch(&shard->lock);
    struct mem_slot *slots = atomic_load_explicit(&shard->table.slots, memory_order_relaxed);
    uint32_t mask = atomic_load_explicit(&shard->table.mask, memory_order_relaxed);
    if (slots)
        __builtin_prefetch(&slots[(uint32_t)hash & mask]);
    return hash;
}

/* The entry is not looked at, only sent for. */
void kv_mem_prefetch_again(struct kv_mem *mem, uint64_t token) {
    struct mem_shard *shard = mem_shard_of(mem, token);
    if (pthread_mutex_trylock(&shard->lock) != 0)
        return;
    const char *entry = (const char *)mem_table_probe(&shard->table, token);
    pthread_mutex_unlock(&shard->lock);
    if (!entry)
        return;
    __builtin_prefetch(entry - 16); /* the allocator's word about its size */
    __builtin_prefetch(entry + 48);
    __builtin_prefetch(entry + 112);
}

void kv_mem_raise_revision(struct kv_mem *mem, uint64_t revision) {
    uint64_t at = atomic_load(&mem->revision);
    while (at < revision && !atomic_compare_exchange_weak(&mem->revision, &at, revision))
        ;
}

enum err kv_mem_submit(struct kv_mem *mem, struct kv_write *write) {
    return mem_apply(mem, write);
}

enum err kv_mem_list(struct kv_mem *mem, struct kv_list *list) {
    uint32_t space = spaces_find(mem->spaces, &list->workspace, list->ns);
    list->keys = NULL;
    list->key_count = 0;
    list->more = false;
    if (space == SPACE_NONE)
        return list->err = OK;
    enum err err = mem_listing_read(mem, space, list);
    if (err == ERR_PENDING)
        mem_keeper_list(mem, list);
    else
        list->err = err;
    return err;
}

enum err kv_mem_count(struct kv_mem *mem, struct kv_count *count) {
    uint64_t keys = 0;
    for (unsigned i = 0; i < MEM_SHARDS; i++) {
        struct mem_shard *shard = &mem->shards[i];
        pthread_mutex_lock(&shard->lock);
        keys += shard->table.live - mem_expired_locked(shard, count->now_ms);
        pthread_mutex_unlock(&shard->lock);
    }
    count->keys = keys;
    return count->err = OK;
}

void kv_mem_stats(struct kv_mem *mem, struct kv_stats *ret_stats) {
    *ret_stats = (struct kv_stats){.shard_count = 1};
    for (unsigned i = 0; i < MEM_SHARDS; i++) {
        struct mem_shard *shard = &mem->shards[i];
        pthread_mutex_lock(&shard->lock);
        ret_stats->keys += shard->table.live;
        pthread_mutex_unlock(&shard->lock);
    }
    ret_stats->bytes = atomic_load(&mem->used_bytes);
    ret_stats->shard_keys[0] = ret_stats->keys;
    ret_stats->expired = atomic_load_explicit(&mem->expired, memory_order_relaxed);
    ret_stats->evicted = atomic_load_explicit(&mem->evicted, memory_order_relaxed);
}
