/* SPDX-License-Identifier: MIT */
/* What has expired leaves LMDB. Nobody sees it any more, so this needs no journal. */
#include "kv/hdd.h"

#define STEP_ENTRIES 4096U

/* The journal may hold another expiry that LMDB does not know yet, but whose value it alone holds.
 */
bool hdd_is_waiting(struct kv_hdd *hdd, const struct stored *stored) {
    uint64_t hash = hdd_hash(hdd, stored->space, stored->key);
    recent_lock(&hdd->recent, hash);
    bool waiting =
        recent_find_locked(&hdd->recent, hash, stored->space, stored->key, UINT64_MAX) != NULL;
    recent_unlock(&hdd->recent, hash);
    return waiting;
}

static enum err drop_due(struct kv_hdd *hdd, struct env_write *write, struct slice due,
                         struct slice place, bool *ret_dropped) {
    struct slice bytes;
    struct stored stored;
    char copy[DUE_BYTES];
    struct place where;
    /* what a transaction showed does not outlive its next change */
    memcpy(copy, due.ptr, sizeof copy);
    memcpy(where.bytes, place.ptr, place.len);
    where.len = (uint16_t)place.len;
    enum err err = env_write_get(write, ENV_ENTRIES, place_slice(&where), &bytes);
    bool there = !err;
    if (err && err != ERR_KEY_NOT_EXIST)
        return err;
    if (there && (stored_peek(place_slice(&where), bytes, &stored) ||
                  stored.expires_at_ms != due_time(slice_make(copy, sizeof copy))))
        there = false;
    *ret_dropped = !(there && hdd_is_waiting(hdd, &stored));
    if (!*ret_dropped)
        return OK;
    err = there ? env_write_delete(write, ENV_ENTRIES, place_slice(&where)) : OK;
    return err ? err : env_write_delete(write, ENV_EXPIRY, slice_make(copy, sizeof copy));
}

static bool is_due(struct slice due, struct slice place, int64_t now_ms) {
    return due.len == DUE_BYTES && place.len <= ENV_KEY_MAX && due_time(due) <= now_ms;
}

static enum err has_due(struct env *env, int64_t now_ms, bool *ret_due) {
    struct env_read *read;
    struct env_cursor *cursor;
    struct slice due, place;
    enum err err = env_read_begin(env, &read);
    if (err)
        return err;
    *ret_due = false;
    err = env_cursor_open(read, ENV_EXPIRY, &cursor);
    if (!err) {
        err = env_cursor_seek(cursor, (struct slice){NULL, 0}, &due, &place);
        if (!err)
            *ret_due = is_due(due, place, now_ms);
        env_cursor_close(cursor);
    }
    env_read_end(read);
    return err == ERR_KEY_NOT_EXIST ? OK : err;
}

static enum err sweep_env(struct kv_hdd *hdd, struct env *env, int64_t now_ms, bool *ret_more) {
    struct env_write *write;
    struct slice due, place;
    enum err err = env_write_begin(env, 0, &write);
    if (err)
        return err;
    unsigned count = 0;
    char behind[DUE_BYTES + 1] = {0}; /* what was looked at last */
    size_t behind_bytes = 0;
    while (!err && count < STEP_ENTRIES) {
        bool dropped = false;
        err = env_write_seek(write, ENV_EXPIRY, slice_make(behind, behind_bytes), &due, &place);
        if (err || !is_due(due, place, now_ms))
            break;
        memcpy(behind, due.ptr, DUE_BYTES);
        behind_bytes = sizeof behind;
        err = drop_due(hdd, write, due, place, &dropped);
        count += dropped;
    }
    if (err && err != ERR_KEY_NOT_EXIST) {
        env_write_abort(write);
        return err;
    }
    *ret_more |= count == STEP_ENTRIES;
    if (count)
        atomic_store(&hdd->swept_seq, atomic_load(&hdd->visible_seq));
    err = env_write_commit(write);
    if (!err)
        atomic_fetch_add_explicit(&hdd->expired, count, memory_order_relaxed);
    return err;
}

enum err hdd_sweep(struct kv_hdd *hdd, int64_t now_ms, bool *ret_more) {
    *ret_more = false;
    for (unsigned i = 0; i < hdd->shard_count; i++) {
        bool due;
        enum err err = has_due(hdd->envs[i], now_ms, &due);
        if (!err && due)
            err = sweep_env(hdd, hdd->envs[i], now_ms, ret_more);
        if (err)
            return err;
    }
    return OK;
}

/* Adds one where the entry is still there and that is its expiry. */
static enum err count_standing(struct env_read *read, struct slice due, struct slice place,
                               uint64_t *count) {
    struct slice bytes;
    struct stored stored;
    enum err err = env_read_get(read, ENV_ENTRIES, place, &bytes);
    if (err)
        return err == ERR_KEY_NOT_EXIST ? OK : err;
    *count += !stored_peek(place, bytes, &stored) && stored.expires_at_ms == due_time(due);
    return OK;
}

enum err hdd_count_expired(struct env_read *read, int64_t now_ms, uint64_t *ret_count) {
    struct env_cursor *cursor;
    struct slice due, place;
    uint64_t count = 0;
    enum err err = env_cursor_open(read, ENV_EXPIRY, &cursor);
    if (err)
        return err;
    err = env_cursor_seek(cursor, (struct slice){NULL, 0}, &due, &place);
    while (!err && is_due(due, place, now_ms)) {
        err = count_standing(read, due, place, &count);
        if (!err)
            err = env_cursor_next(cursor, &due, &place);
    }
    env_cursor_close(cursor);
    if (err && err != ERR_KEY_NOT_EXIST)
        return err;
    *ret_count = count;
    return OK;
}
