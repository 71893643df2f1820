/* SPDX-License-Identifier: MIT */
/* Reads of the durable store. */
#include "kv/hdd.h"

unsigned hdd_shard_of(uint32_t space, struct slice key, unsigned count) {
    return count == 1 ? 0 : (unsigned)(hash_seeded(key, space) % count);
}

/* What is looked for, by the hash of its key. */
struct search {
    const struct hdd_sought *sought;
    uint64_t hash;
};

/* Entry as it stands, its value sealed or not; a sealed one is opened later, where no lock is held,
 * and needs its type for it. */
struct found {
    struct kv_entry entry;
    bool sealed;
};

static enum err copy_entry(const struct stored *from, const struct search *search,
                           struct found *to) {
    unsigned want = search->sought->want;
    struct arena *arena = search->sought->arena;
    if (from->sealed && (want & (KV_WANT_VALUE | KV_WANT_ETAG)))
        want |= KV_WANT_VALUE | KV_WANT_TYPE;
    *to = (struct found){
        .entry = {.revision = from->revision, .expires_at_ms = from->expires_at_ms},
        .sealed = from->sealed,
    };
    if ((want & KV_WANT_ETAG) && !from->sealed)
        hash_md5(from->value, to->entry.etag);
    if (want & KV_WANT_VALUE) {
        to->entry.value = arena_copy(arena, from->value);
        if (!to->entry.value.ptr)
            return ERR_OUT_OF_MEMORY;
    }
    if ((want & KV_WANT_TYPE) && from->type.len) {
        to->entry.content_type = arena_copy(arena, from->type);
        if (!to->entry.content_type.ptr)
            return ERR_OUT_OF_MEMORY;
    }
    return OK;
}

/* Opens the copy in place, or beside it where it is to stay as it is. */
static enum err open_value(const struct kv_hdd *hdd, const struct hdd_sought *sought,
                           struct found *found) {
    struct kv_entry *entry = &found->entry;
    bool beside = sought->as_is;
    if (!(sought->want & KV_WANT_ETAG) && (beside || !(sought->want & KV_WANT_VALUE)))
        return OK;
    if (entry->value.len < SEAL_BYTES)
        return ERR_CORRUPT;
    size_t len = entry->value.len - SEAL_BYTES;
    char *plain = beside ? arena_alloc(sought->arena, len + 1)
                         : (char *)(uintptr_t)entry->value.ptr + SEAL_HEAD_BYTES;
    if (!plain)
        return ERR_OUT_OF_MEMORY;
    enum err err = hdd_unseal(hdd->keys, sought->ref, entry->content_type, entry->value, plain);
    if (err)
        return err;
    plain[len] = 0; /* as behind every copy in an arena */
    if (sought->want & KV_WANT_ETAG)
        hash_md5(slice_make(plain, len), entry->etag);
    if (!beside)
        entry->value = slice_make(plain, len);
    if (!beside && !(sought->want & KV_WANT_VALUE))
        entry->value = (struct slice){NULL, 0};
    return OK;
}

static struct stored stored_of(const struct version *version) {
    return (struct stored){version->seq,         version->expires_at_ms, version->space,
                           version_key(version), version_type(version),  version_value(version),
                           version->sealed};
}

/* ERR_PENDING: not among the recent writes. */
static enum err find_recent(struct kv_hdd *hdd, const struct search *search,
                            struct found *ret_found) {
    if (atomic_load(&hdd->recent.bytes) == 0)
        return ERR_PENDING;
    enum err err = ERR_PENDING;
    recent_lock(&hdd->recent, search->hash);
    const struct version *version =
        recent_find_locked(&hdd->recent, search->hash, search->sought->space,
                           search->sought->ref->key, search->sought->visible);
    if (version && (version->dead || version->seq < search->sought->flush)) {
        err = ERR_KEY_NOT_EXIST;
    } else if (version) {
        struct stored stored = stored_of(version);
        err = copy_entry(&stored, search, ret_found);
    }
    recent_unlock(&hdd->recent, search->hash);
    return err;
}

/* ERR_PENDING: not kept. */
static enum err find_cached(struct kv_hdd *hdd, const struct search *search,
                            struct found *ret_found) {
    enum err err = ERR_PENDING;
    const struct version *version = hdd_cache_find_lock(
        hdd->cache, search->hash, search->sought->space, search->sought->ref->key);
    if (version && version->seq >= search->sought->flush) {
        struct stored stored = stored_of(version);
        err = copy_entry(&stored, search, ret_found);
    }
    hdd_cache_unlock(hdd->cache, search->hash);
    return err;
}

static enum err find_stored(struct kv_hdd *hdd, const struct search *search,
                            struct found *ret_found) {
    struct env_read *read;
    struct place place;
    struct slice bytes;
    struct stored stored;
    uint64_t epoch = hdd->cache ? hdd_cache_epoch(hdd->cache) : 0;
    unsigned shard =
        hdd_shard_of(search->sought->space, search->sought->ref->key, hdd->shard_count);
    enum err err = env_read_begin(hdd->envs[shard], &read);
    if (err)
        return err;
    place_make(search->sought->space, search->sought->ref->key, &place);
    err = env_read_get(read, ENV_ENTRIES, place_slice(&place), &bytes);
    if (!err)
        err = stored_read(place_slice(&place), bytes, &stored);
    if (!err && !stored.sealed && seal_refuses_plain(hdd->keys))
        err = ERR_CORRUPT;
    if (!err && (stored.revision < search->sought->flush ||
                 !slice_equal(stored.key, search->sought->ref->key)))
        err = ERR_KEY_NOT_EXIST;
    if (err == ERR_KEY_NOT_EXIST && atomic_load_explicit(&hdd->damaged, memory_order_relaxed))
        err = ERR_CORRUPT;
    if (!err)
        err = copy_entry(&stored, search, ret_found);
    if (!err && hdd->cache)
        hdd_cache_fill(hdd->cache, search->hash, &stored, epoch);
    env_read_end(read);
    return err;
}

/* A generation is forgotten only once LMDB and the cache have it, and they are asked after the
 * miss: what is in none is nowhere. */
enum err hdd_find(struct kv_hdd *hdd, const struct hdd_sought *sought, struct kv_entry *ret_entry,
                  bool *ret_sealed) {
    struct search search = {sought, hdd_hash(hdd, sought->space, sought->ref->key)};
    struct found found;
    enum err err = find_recent(hdd, &search, &found);
    if (err == ERR_PENDING && hdd->cache)
        err = find_cached(hdd, &search, &found);
    if (err == ERR_PENDING)
        err = find_stored(hdd, &search, &found);
    if (!err && found.sealed)
        err = open_value(hdd, sought, &found);
    if (err)
        return err;
    *ret_entry = found.entry;
    *ret_sealed = found.sealed && sought->as_is;
    return OK;
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
    struct hdd_sought sought = {.space = space,
                                .ref = ref,
                                .visible = atomic_load(&hdd->visible_seq),
                                .flush = atomic_load(&hdd->flush_seq),
                                .want = want,
                                .arena = arena};
    struct kv_entry entry;
    bool sealed;
    enum err err = hdd_find(hdd, &sought, &entry, &sealed);
    if (!err && entry.expires_at_ms && entry.expires_at_ms <= now_ms)
        err = ERR_KEY_NOT_EXIST;
    if (!err)
        *ret_entry = entry;
    return err;
}
