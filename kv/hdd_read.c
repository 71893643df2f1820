/* SPDX-License-Identifier: MIT */
/* Reads of the durable store. */
#include "kv/hdd.h"

unsigned hdd_shard_of(uint32_t space, struct slice key, unsigned count) {
    return count == 1 ? 0 : (unsigned)(hash_seeded(key, space) % count);
}

/* What is looked for, and how much of it is wanted. */
struct sought {
    uint32_t space;
    struct slice key;
    uint64_t hash;
    uint64_t visible, flush;
    unsigned want;
    struct arena *arena;
};

static enum err copy_entry(const struct stored *from, const struct sought *sought,
                           struct kv_entry *to) {
    *to = (struct kv_entry){.revision = from->revision, .expires_at_ms = from->expires_at_ms};
    if (sought->want & KV_WANT_ETAG)
        hash_md5(from->value, to->etag);
    if (sought->want & KV_WANT_VALUE) {
        to->value = arena_copy(sought->arena, from->value);
        if (!to->value.ptr)
            return ERR_OUT_OF_MEMORY;
    }
    if ((sought->want & KV_WANT_TYPE) && from->type.len) {
        to->content_type = arena_copy(sought->arena, from->type);
        if (!to->content_type.ptr)
            return ERR_OUT_OF_MEMORY;
    }
    return OK;
}

static struct stored stored_of(const struct version *version) {
    return (struct stored){version->seq,         version->expires_at_ms, version->space,
                           version_key(version), version_type(version),  version_value(version)};
}

/* ERR_PENDING: not among the recent writes. */
static enum err find_recent(struct kv_hdd *hdd, const struct sought *sought,
                            struct kv_entry *ret_entry) {
    if (atomic_load(&hdd->recent.bytes) == 0)
        return ERR_PENDING;
    enum err err = ERR_PENDING;
    recent_lock(&hdd->recent, sought->hash);
    const struct version *version =
        recent_find_locked(&hdd->recent, sought->hash, sought->space, sought->key, sought->visible);
    if (version && (version->dead || version->seq < sought->flush)) {
        err = ERR_KEY_NOT_EXIST;
    } else if (version) {
        struct stored stored = stored_of(version);
        err = copy_entry(&stored, sought, ret_entry);
    }
    recent_unlock(&hdd->recent, sought->hash);
    return err;
}

/* ERR_PENDING: not kept. */
static enum err find_cached(struct kv_hdd *hdd, const struct sought *sought,
                            struct kv_entry *ret_entry) {
    enum err err = ERR_PENDING;
    const struct version *version =
        hdd_cache_find_lock(hdd->cache, sought->hash, sought->space, sought->key);
    if (version && version->seq >= sought->flush) {
        struct stored stored = stored_of(version);
        err = copy_entry(&stored, sought, ret_entry);
    }
    hdd_cache_unlock(hdd->cache, sought->hash);
    return err;
}

static enum err find_stored(struct kv_hdd *hdd, const struct sought *sought,
                            struct kv_entry *ret_entry) {
    struct env_read *read;
    struct place place;
    struct slice bytes;
    struct stored stored;
    uint64_t epoch = hdd->cache ? hdd_cache_epoch(hdd->cache) : 0;
    unsigned shard = hdd_shard_of(sought->space, sought->key, hdd->shard_count);
    enum err err = env_read_begin(hdd->envs[shard], &read);
    if (err)
        return err;
    place_make(sought->space, sought->key, &place);
    err = env_read_get(read, ENV_ENTRIES, place_slice(&place), &bytes);
    if (!err)
        err = stored_read(place_slice(&place), bytes, &stored);
    if (!err && (stored.revision < sought->flush || !slice_equal(stored.key, sought->key)))
        err = ERR_KEY_NOT_EXIST;
    if (!err)
        err = copy_entry(&stored, sought, ret_entry);
    if (!err && hdd->cache)
        hdd_cache_fill(hdd->cache, sought->hash, &stored, epoch);
    env_read_end(read);
    return err;
}

/* A generation is forgotten only once LMDB and the cache have it, and they are asked after the
 * miss: what is in none is nowhere. */
enum err hdd_find(struct kv_hdd *hdd, uint32_t space, struct slice key, uint64_t visible,
                  uint64_t flush, unsigned want, struct arena *arena, struct kv_entry *ret_entry) {
    struct sought sought = {space, key, hdd_hash(hdd, space, key), visible, flush, want, arena};
    enum err err = find_recent(hdd, &sought, ret_entry);
    if (err == ERR_PENDING && hdd->cache)
        err = find_cached(hdd, &sought, ret_entry);
    if (err == ERR_PENDING)
        err = find_stored(hdd, &sought, ret_entry);
    return err;
}

uint64_t kv_hdd_prefetch(struct kv_hdd *hdd, const struct kv_ref *ref) {
    uint32_t space = spaces_find(hdd->spaces, &ref->workspace, ref->ns);
    if (space == SPACE_NONE || !hdd->cache)
        return 0;
    uint64_t hash = hdd_hash(hdd, space, ref->key);
    hdd_cache_prefetch(hdd->cache, hash, false);
    return hash;
}

void kv_hdd_prefetch_again(struct kv_hdd *hdd, uint64_t token) {
    hdd_cache_prefetch(hdd->cache, token, true);
}

enum err kv_hdd_get(struct kv_hdd *hdd, const struct kv_ref *ref, int64_t now_ms, unsigned want,
                    struct arena *arena, struct kv_entry *ret_entry) {
    uint32_t space = spaces_find(hdd->spaces, &ref->workspace, ref->ns);
    if (space == SPACE_NONE)
        return ERR_KEY_NOT_EXIST;
    uint64_t visible = atomic_load(&hdd->visible_seq);
    uint64_t flush = atomic_load(&hdd->flush_seq);
    struct kv_entry entry;
    enum err err = hdd_find(hdd, space, ref->key, visible, flush, want, arena, &entry);
    if (!err && entry.expires_at_ms && entry.expires_at_ms <= now_ms)
        err = ERR_KEY_NOT_EXIST;
    if (!err)
        *ret_entry = entry;
    return err;
}
