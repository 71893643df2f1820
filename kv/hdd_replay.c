/* SPDX-License-Identifier: MIT */
/* States among the recent writes, and records of the journal made into states again at start: one
 * after another, each published at once. */
#include <stdlib.h>

#include "kv/hdd.h"

struct new_space *hdd_new_space(const struct uuid *workspace, struct slice ns) {
    struct new_space *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return NULL;
    fresh->workspace = *workspace;
    fresh->ns_len = (uint8_t)ns.len;
    memcpy(fresh->ns, ns.ptr, ns.len);
    return fresh;
}

void hdd_note_space(struct kv_hdd *hdd, struct new_space *fresh, uint32_t space, uint64_t seq) {
    fresh->space = space;
    fresh->seq = seq;
    pthread_mutex_lock(&hdd->lock);
    if (hdd->last_new_space)
        hdd->last_new_space->next = fresh;
    else
        hdd->new_spaces = fresh;
    hdd->last_new_space = fresh;
    pthread_mutex_unlock(&hdd->lock);
}

const struct version *hdd_put_version(struct kv_hdd *hdd, uint64_t seq, const struct record *record,
                                      struct slice type, struct slice value) {
    struct recent_put put = {.hash = hdd_hash(hdd, record->space, record->key),
                             .seq = seq,
                             .expires_at_ms = record->expires_at_ms,
                             .space = record->space,
                             .dead = record->kind == RECORD_DELETE,
                             .sealed = record->sealed,
                             .key = record->key,
                             .type = type,
                             .value = value};
    return recent_put(&hdd->recent, &put);
}

static enum err replay_entry(struct kv_hdd *hdd, uint64_t seq, const struct record *record) {
    if (record->kind == RECORD_ENTRY && !record->sealed && seal_refuses_plain(hdd->keys))
        return ERR_CORRUPT;
    return hdd_put_version(hdd, seq, record, record->type, record->value) ? OK : ERR_OUT_OF_MEMORY;
}

/* LMDB may know a later state already; the records that made it follow. */
static enum err replay_touch(struct kv_hdd *hdd, uint64_t seq, struct record *record) {
    struct kv_entry entry;
    struct kv_ref ref = {.key = record->key};
    struct hdd_sought sought = {.space = record->space,
                                .ref = &ref,
                                .visible = UINT64_MAX,
                                .flush = hdd->pending_flush_seq,
                                .want = KV_WANT_VALUE | KV_WANT_TYPE,
                                .as_is = true,
                                .arena = &hdd->scratch};
    enum err err = hdd_find(hdd, &sought, &entry, &record->sealed);
    if (!err) {
        record->type = entry.content_type;
        record->value = entry.value;
        err = replay_entry(hdd, seq, record);
    }
    arena_done(&hdd->scratch);
    return err == ERR_KEY_NOT_EXIST ? OK : err;
}

static enum err replay_space(struct kv_hdd *hdd, uint64_t seq, const struct record *record) {
    struct uuid workspace;
    if (record->value.len != sizeof workspace)
        return ERR_CORRUPT;
    memcpy(&workspace, record->value.ptr, sizeof workspace);
    struct new_space *fresh = hdd_new_space(&workspace, record->key);
    if (!fresh)
        return ERR_OUT_OF_MEMORY;
    enum err err = spaces_restore(hdd->spaces, record->space, &workspace, record->key);
    if (err) {
        free(fresh);
        return err;
    }
    hdd_note_space(hdd, fresh, record->space, seq);
    return OK;
}

enum err hdd_replay(void *context, uint64_t seq, struct slice bytes) {
    struct kv_hdd *hdd = context;
    struct record record;
    if (!record_read(bytes, &record))
        return ERR_CORRUPT;
    hdd->pending_own_seq = seq;
    switch (record.kind) {
    case RECORD_SPACE:
        return replay_space(hdd, seq, &record);
    case RECORD_ENTRY:
    case RECORD_DELETE:
        return replay_entry(hdd, seq, &record);
    case RECORD_TOUCH:
        return replay_touch(hdd, seq, &record);
    case RECORD_FLUSH:
        hdd->pending_flush_seq = seq;
        recent_flush(&hdd->recent, seq);
        return OK;
    case RECORD_RAISE:
        return OK;
    }
    return ERR_CORRUPT;
}
