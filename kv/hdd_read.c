/* SPDX-License-Identifier: MIT */
/* Reads of the durable store. */
#include "kv/hdd.h"

unsigned hdd_shard_of(uint32_t space, struct slice key, unsigned count) {
    return count == 1 ? 0 : (unsigned)(hash_seeded(key, space) % count);
}

static bool copy_entry(const struct stored *from, unsigned want, struct arena *arena,
                       struct kv_entry *to) {
    *to = (struct kv_entry){.revision = from->revision, .expires_at_ms = from->expires_at_ms};
    if (want & KV_WANT_ETAG)
        hash_md5(from->value, to->etag);
    if (want & KV_WANT_VALUE) {
        to->value = arena_copy(arena, from->value);
        if (!to->value.ptr)
            return false;
    }
    if ((want & KV_WANT_TYPE) && from->type.len) {
        to->content_type = arena_copy(arena, from->type);
        if (!to->content_type.ptr)
            return false;
    }
    return true;
}

static struct stored stored_of(const struct version *version) {
    return (struct stored){version->seq,         version->expires_at_ms, version->space,
                           version_key(version), version_type(version),  version_value(version)};
}

/* ERR_PENDING: not among the recent writes. */
static enum err find_recent(struct kv_hdd *hdd, uint32_t space, struct slice key, uint64_t visible,
                            uint64_t flush, unsigned want, struct arena *arena,
                            struct kv_entry *ret_entry) {
    uint64_t hash = hdd_hash(hdd, space, key);
    enum err err = ERR_PENDING;
    recent_lock(&hdd->recent, hash);
    const struct version *version = recent_find_locked(&hdd->recent, hash, space, key, visible);
    if (version && (version->dead || version->seq < flush)) {
        err = ERR_KEY_NOT_EXIST;
    } else if (version) {
        struct stored stored = stored_of(version);
        err = copy_entry(&stored, want, arena, ret_entry) ? OK : ERR_OUT_OF_MEMORY;
    }
    recent_unlock(&hdd->recent, hash);
    return err;
}

static enum err find_stored(struct kv_hdd *hdd, uint32_t space, struct slice key, uint64_t flush,
                            unsigned want, struct arena *arena, struct kv_entry *ret_entry) {
    struct env_read *read;
    struct place place;
    struct slice bytes;
    struct stored stored;
    enum err err = env_read_begin(hdd->envs[hdd_shard_of(space, key, hdd->shard_count)], &read);
    if (err)
        return err;
    place_make(space, key, &place);
    err = env_read_get(read, ENV_ENTRIES, place_slice(&place), &bytes);
    if (!err)
        err = stored_read(place_slice(&place), bytes, &stored);
    if (!err && (stored.revision < flush || !slice_equal(stored.key, key)))
        err = ERR_KEY_NOT_EXIST;
    if (!err && !copy_entry(&stored, want, arena, ret_entry))
        err = ERR_OUT_OF_MEMORY;
    env_read_end(read);
    return err;
}

/* A generation is forgotten only once LMDB has it, and the snapshot is taken after the miss: what
 * is in neither is nowhere. */
enum err hdd_find(struct kv_hdd *hdd, uint32_t space, struct slice key, uint64_t visible,
                  uint64_t flush, unsigned want, struct arena *arena, struct kv_entry *ret_entry) {
    enum err err = find_recent(hdd, space, key, visible, flush, want, arena, ret_entry);
    if (err != ERR_PENDING)
        return err;
    return find_stored(hdd, space, key, flush, want, arena, ret_entry);
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
