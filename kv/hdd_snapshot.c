/* SPDX-License-Identifier: MIT */
/* What the durable store held at a cut: LMDB as it was, and above it the recent writes up to the
 * newest that was published. Both are kept, neither is copied; nobody waits for the applier. */
#include <stdlib.h>

#include "base/log.h"
#include "kv/hdd.h"

#define CHUNK_BYTES (256U << 10)

struct hdd_snapshot {
    struct kv_hdd *hdd;
    uint64_t visible, flush;
    int64_t now_ms;
    uint64_t count;
    struct recent_pins recent;
    struct env_read *reads[HDD_SHARDS_MAX]; /* paused */
    unsigned read_count;
};

/* Generations first: what is retired from now on is in them, what was before is in LMDB. Between
 * jobs none is frozen, so that LMDB only moves towards what they hold. */
enum err hdd_snapshot_take(struct kv_hdd *hdd, int64_t now_ms, struct hdd_snapshot **ret_snapshot) {
    if (atomic_load(&hdd->dead))
        return ERR_UNAVAILABLE;
    struct hdd_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot)
        return ERR_OUT_OF_MEMORY;
    snapshot->hdd = hdd;
    snapshot->now_ms = now_ms;
    snapshot->visible = atomic_load(&hdd->visible_seq);
    snapshot->flush = atomic_load(&hdd->flush_seq);
    enum err err = recent_pin(&hdd->recent, &snapshot->recent);
    while (!err && snapshot->read_count < hdd->shard_count) {
        struct env_read *read;
        err = env_read_begin(hdd->envs[snapshot->read_count], &read);
        if (err)
            break;
        snapshot->count += env_read_count(read, ENV_ENTRIES);
        env_read_pause(read);
        snapshot->reads[snapshot->read_count++] = read;
    }
    if (err) {
        hdd_snapshot_end(snapshot);
        return err;
    }
    *ret_snapshot = snapshot;
    return OK;
}

void hdd_snapshot_end(struct hdd_snapshot *snapshot) {
    if (!snapshot)
        return;
    for (unsigned i = 0; i < snapshot->read_count; i++) {
        env_read_resume(snapshot->reads[i]);
        env_read_end(snapshot->reads[i]);
    }
    recent_unpin(&snapshot->hdd->recent, &snapshot->recent);
    free(snapshot);
}

uint64_t hdd_snapshot_count(const struct hdd_snapshot *snapshot) {
    return snapshot->count;
}

uint64_t hdd_snapshot_revision(const struct hdd_snapshot *snapshot) {
    return snapshot->visible;
}

struct reader {
    struct hdd_snapshot *snapshot;
    struct space_table *spaces;
    enum err (*each)(void *context, const struct kv_snapshot_entry *entry);
    void *context;
    char *plain; /* of a value that was sealed */
    size_t plain_room;
};

static enum err unseal(struct reader *reader, struct kv_snapshot_entry *told) {
    const struct kv_ref ref = {KV_HDD, told->workspace, told->ns, told->key};
    if (told->value.len < SEAL_BYTES)
        return ERR_CORRUPT;
    size_t len = told->value.len - SEAL_BYTES;
    if (reader->plain_room < len + 1) {
        char *wider = realloc(reader->plain, len + 1);
        if (!wider)
            return ERR_OUT_OF_MEMORY;
        reader->plain = wider;
        reader->plain_room = len + 1;
    }
    enum err err = hdd_unseal(reader->snapshot->hdd->keys, &ref, told->content_type, told->value,
                              reader->plain);
    told->value = slice_make(reader->plain, len);
    return err;
}

static enum err damaged(struct slice key, enum err err) {
    log_error("a snapshot meets an entry that cannot be read, under key %.*s: %s", (int)key.len,
              key.ptr, err_text(err));
    return err;
}

static enum err tell(struct reader *reader, const struct stored *stored) {
    const struct hdd_snapshot *snapshot = reader->snapshot;
    bool expired = stored->expires_at_ms && stored->expires_at_ms <= snapshot->now_ms;
    if (expired || stored->revision < snapshot->flush)
        return OK;
    struct kv_snapshot_entry told = {.storage = KV_HDD,
                                     .key = stored->key,
                                     .content_type = stored->type,
                                     .value = stored->value,
                                     .revision = stored->revision,
                                     .expires_at_ms = stored->expires_at_ms};
    bool named = space_table_get(reader->spaces, stored->space, &told.workspace, &told.ns);
    enum err err = named ? OK : ERR_INTERNAL;
    if (!err && stored->sealed)
        err = unseal(reader, &told);
    else if (!err && seal_refuses_plain(snapshot->hdd->keys))
        err = ERR_CORRUPT;
    return err ? damaged(stored->key, err) : reader->each(reader->context, &told);
}

/* ---- recent writes ---- */

static enum err read_recent(struct reader *reader, unsigned stripe) {
    struct hdd_snapshot *snapshot = reader->snapshot;
    const struct version **list;
    size_t count;
    enum err err = recent_pins_list(&snapshot->hdd->recent, &snapshot->recent, stripe,
                                    snapshot->visible, &list, &count);
    if (err)
        return err;
    for (size_t i = 0; !err && i < count; i++) {
        const struct version *version = list[i];
        struct stored stored = {
            version->seq,          version->expires_at_ms, version->space, version_key(version),
            version_type(version), version_value(version), version->sealed};
        if (!version->dead)
            err = tell(reader, &stored);
    }
    free(list);
    return err;
}

/* ---- LMDB ---- */

/* Some entries of LMDB, one behind the other: lengths, key, value. */
struct chunk {
    char *bytes;
    size_t len, room;
    struct place last; /* the key read last */
    bool more;
};

struct lengths {
    uint32_t key, value;
};

static enum err add(struct chunk *chunk, struct slice key, struct slice value) {
    struct lengths lengths = {(uint32_t)key.len, (uint32_t)value.len};
    size_t size = sizeof lengths + key.len + value.len;
    if (chunk->room - chunk->len < size) {
        size_t room = chunk->len + size > CHUNK_BYTES ? chunk->len + size : CHUNK_BYTES;
        char *wider = realloc(chunk->bytes, room);
        if (!wider)
            return ERR_OUT_OF_MEMORY;
        chunk->bytes = wider;
        chunk->room = room;
    }
    char *at = chunk->bytes + chunk->len;
    memcpy(at, &lengths, sizeof lengths);
    memcpy(at + sizeof lengths, key.ptr, key.len);
    if (value.len)
        memcpy(at + sizeof lengths + key.len, value.ptr, value.len);
    chunk->len += size;
    chunk->last.len = (uint16_t)key.len;
    memcpy(chunk->last.bytes, key.ptr, key.len);
    return OK;
}

/* The first behind the one read last. */
static enum err seek(struct env_cursor *cursor, const struct chunk *chunk, struct slice *ret_key,
                     struct slice *ret_value) {
    struct slice last = place_slice(&chunk->last);
    enum err err = env_cursor_seek(cursor, last, ret_key, ret_value);
    if (!err && last.len && slice_equal(*ret_key, last))
        err = env_cursor_next(cursor, ret_key, ret_value);
    return err;
}

/* The map is held for as long as it takes to copy this much. */
static enum err fill(struct env_read *read, struct chunk *chunk) {
    struct env_cursor *cursor;
    struct slice key, value;
    chunk->len = 0;
    env_read_resume(read);
    enum err err = env_cursor_open(read, ENV_ENTRIES, &cursor);
    if (!err) {
        err = seek(cursor, chunk, &key, &value);
        while (!err) {
            err = key.len <= ENV_KEY_MAX ? add(chunk, key, value) : ERR_CORRUPT;
            if (!err && chunk->len >= CHUNK_BYTES / 2)
                break;
            if (!err)
                err = env_cursor_next(cursor, &key, &value);
        }
        env_cursor_close(cursor);
    }
    env_read_pause(read);
    chunk->more = err == OK;
    return err == ERR_KEY_NOT_EXIST ? OK : err;
}

static enum err tell_raw(struct reader *reader, struct slice place, struct slice bytes) {
    struct hdd_snapshot *snapshot = reader->snapshot;
    struct kv_hdd *hdd = snapshot->hdd;
    struct stored stored;
    enum err err = stored_read(place, bytes, &stored);
    if (err)
        return damaged(slice_make(place.ptr + 4, place.len > 4 ? place.len - 4 : 0), err);
    uint64_t hash = hdd_hash(hdd, stored.space, stored.key);
    if (recent_pins_have(&hdd->recent, &snapshot->recent, hash, stored.space, stored.key,
                         snapshot->visible))
        return OK;
    return tell(reader, &stored);
}

static enum err tell_chunk(struct reader *reader, const struct chunk *chunk) {
    enum err err = OK;
    for (size_t at = 0; !err && at < chunk->len;) {
        struct lengths lengths;
        memcpy(&lengths, chunk->bytes + at, sizeof lengths);
        const char *key = chunk->bytes + at + sizeof lengths;
        err = tell_raw(reader, slice_make(key, lengths.key),
                       slice_make(key + lengths.key, lengths.value));
        at += sizeof lengths + lengths.key + lengths.value;
    }
    return err;
}

static enum err read_stored(struct reader *reader, unsigned shard) {
    struct chunk chunk = {.more = true};
    enum err err = OK;
    while (!err && chunk.more) {
        err = fill(reader->snapshot->reads[shard], &chunk);
        if (!err)
            err = tell_chunk(reader, &chunk);
    }
    free(chunk.bytes);
    return err;
}

enum err hdd_snapshot_each(struct hdd_snapshot *snapshot,
                           enum err (*each)(void *context, const struct kv_snapshot_entry *entry),
                           void *context) {
    struct reader reader = {.snapshot = snapshot, .each = each, .context = context};
    enum err err = space_table_make(snapshot->hdd->spaces, &reader.spaces);
    if (err)
        return err;
    for (unsigned i = 0; !err && i < RECENT_STRIPES; i++)
        err = read_recent(&reader, i);
    for (unsigned i = 0; !err && i < snapshot->read_count; i++)
        err = read_stored(&reader, i);
    free(reader.plain);
    space_table_free(reader.spaces);
    return err;
}
