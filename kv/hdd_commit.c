/* SPDX-License-Identifier: MIT */
/* Writes of the durable store, as the committer carries them out: each op is tested against what
 * stands before it (published or not), goes into the block, and among the recent writes, where
 * nobody sees it before the block is safe. */
#include <stdio.h>
#include <stdlib.h>

#include "kv/condition.h"
#include "kv/hdd.h"

/* What an op did, to take it back. */
struct done_op {
    uint64_t hash;
    const struct version *version;
};

struct kv_stage {
    struct kv_hdd *hdd;
    struct journal_block *block;
    int64_t now_ms;
    bool alone;                    /* one op, which fails before it does anything */
    const struct feed_note *noted; /* the last before it */
    unsigned done_count, done_max;
    struct done_op done[];
};

static struct kv_write *write_of(const struct commit_job *job) {
    return (struct kv_write *)((uintptr_t)job - offsetof(struct kv_write, job));
}

static bool grows(enum kv_action action) {
    return action == KV_SET || action == KV_INCREMENT || action == KV_TOUCH;
}

static bool makes(enum kv_action action) {
    return action == KV_SET || action == KV_INCREMENT;
}

/* Appends a record; its number, or 0 without memory. */
static uint64_t add_record(struct journal_block *block, const struct record *record) {
    char *to = journal_block_add(block, record_size(record));
    if (!to)
        return 0;
    record_write(record, to);
    return journal_block_seq(block);
}

#define LARGE_BYTES (256U << 10) /* a value that is not copied into the block */

/* The same of an entry whose value goes to disk from where it is. */
static uint64_t add_large(struct journal_block *block, const struct record *record,
                          struct slice value) {
    struct record head = *record;
    head.value = slice_make(NULL, value.len);
    char *to = journal_block_add_outside(block, record_size(&head) - value.len, value);
    if (!to)
        return 0;
    record_write(&head, to);
    return journal_block_seq(block);
}

static uint64_t add_entry(struct journal_block *block, const struct record *record) {
    bool large = record->kind == RECORD_ENTRY && record->value.len >= LARGE_BYTES &&
                 block->outside_count < JOURNAL_OUTSIDE_MAX;
    return large ? add_large(block, record, record->value) : add_record(block, record);
}

/* The same of an entry whose value is sealed into its place; *value is it then. */
static uint64_t add_sealed(struct kv_stage *stage, const struct kv_ref *ref, struct record *record,
                           struct slice *value) {
    record->sealed = true;
    record->value = slice_make(NULL, value->len + SEAL_BYTES);
    size_t size = record_size(record);
    char *to = journal_block_add(stage->block, size);
    if (!to)
        return 0;
    record_write(record, to);
    to += size - record->value.len;
    hdd_seal(stage->hdd->keys, ref, record->type, *value, to);
    *value = slice_make(to, record->value.len);
    return journal_block_seq(stage->block);
}

static bool is_full(struct kv_hdd *hdd) {
    return hdd->tight || atomic_load_explicit(&hdd->full, memory_order_relaxed) ||
           journal_is_full(hdd->journal);
}

/* Its number is given last: it cannot be taken back, and everybody sees it. */
static enum err make_new_space(struct kv_hdd *hdd, struct journal_block *block,
                               const struct kv_ref *ref, uint32_t *ret_space) {
    struct record record = {.kind = RECORD_SPACE,
                            .key = ref->ns,
                            .value = slice_make(&ref->workspace, sizeof ref->workspace)};
    struct journal_mark mark = journal_block_mark(block);
    struct new_space *fresh = hdd_new_space(&ref->workspace, ref->ns);
    char *to = fresh ? journal_block_add(block, record_size(&record)) : NULL;
    enum err err =
        to ? spaces_make(hdd->spaces, &ref->workspace, ref->ns, &record.space) : ERR_OUT_OF_MEMORY;
    if (err) {
        journal_block_go_back(block, mark);
        free(fresh);
        return err;
    }
    record_write(&record, to);
    hdd->pending_own_seq = journal_block_seq(block);
    hdd_note_space(hdd, fresh, record.space, hdd->pending_own_seq);
    *ret_space = record.space;
    return OK;
}

/* The space of an op; made, with a record, where it is not there and the op will want it. Only the
 * committer makes spaces, and it does so before the ops of a stage, so that taking them back leaves
 * the space. */
static enum err make_space(struct kv_hdd *hdd, struct journal_block *block,
                           const struct kv_ref *ref, uint32_t *ret_space) {
    uint32_t space = spaces_find(hdd->spaces, &ref->workspace, ref->ns);
    if (space == SPACE_NONE) {
        enum err err = make_new_space(hdd, block, ref, &space);
        if (err)
            return err;
    }
    *ret_space = space;
    return OK;
}

/* A large value is sealed where it is to stay; the block takes it from there. */
static const struct version *put_large_sealed(struct kv_stage *stage, const struct kv_ref *ref,
                                              struct record *record, struct slice value,
                                              uint64_t *ret_seq) {
    struct kv_hdd *hdd = stage->hdd;
    uint64_t seq = stage->block->first_seq + stage->block->count;
    record->sealed = true;
    struct slice room = slice_make(NULL, value.len + SEAL_BYTES);
    const struct version *version = hdd_put_version(hdd, seq, record, record->type, room);
    if (!version)
        return NULL;
    struct slice sealed = version_value(version);
    hdd_seal(hdd->keys, ref, record->type, value, (char *)(uintptr_t)sealed.ptr);
    *ret_seq = add_large(stage->block, record, sealed);
    if (*ret_seq)
        return version;
    recent_take_back(&hdd->recent, hdd_hash(hdd, record->space, record->key), version);
    return NULL;
}

static const struct version *put_version(struct kv_stage *stage, const struct kv_op *op,
                                         struct record *record, struct slice type,
                                         struct slice value, uint64_t *ret_seq) {
    struct kv_hdd *hdd = stage->hdd;
    bool seals = hdd->keys && record->kind == RECORD_ENTRY;
    if (seals && value.len >= LARGE_BYTES && stage->block->outside_count < JOURNAL_OUTSIDE_MAX)
        return put_large_sealed(stage, &op->ref, record, value, ret_seq);
    struct journal_mark mark = journal_block_mark(stage->block);
    *ret_seq =
        seals ? add_sealed(stage, &op->ref, record, &value) : add_entry(stage->block, record);
    const struct version *version =
        *ret_seq ? hdd_put_version(hdd, *ret_seq, record, type, value) : NULL;
    if (*ret_seq && !version)
        journal_block_go_back(stage->block, mark);
    return version;
}

static enum feed_kind kind_of(const struct kv_op *op, const struct record *record) {
    if (record->kind != RECORD_DELETE)
        return FEED_SET;
    return op->is_expiry ? FEED_EXPIRED : FEED_DELETE;
}

/* What a touch found may be sealed. Where it cannot be opened, or memory fails, those who follow
 * are told that they missed something. */
static void note_state(struct kv_stage *stage, const struct kv_op *op, const struct record *record,
                       struct slice type, struct slice value) {
    struct kv_hdd *hdd = stage->hdd;
    bool opens = record->kind == RECORD_TOUCH && record->sealed;
    char *room = opens ? arena_alloc(&hdd->scratch, value.len) : NULL;
    if (opens && (!room || hdd_unseal(hdd->keys, &op->ref, type, value, room))) {
        hdd_feed_lose(hdd, record->space, op->revision);
        return;
    }
    if (opens)
        value = slice_make(room, value.len - SEAL_BYTES);
    hdd_feed_note(hdd, kind_of(op, record), op->revision, record, value);
}

/* Puts the state an op leads to into block and recent writes. */
static enum err put_state(struct kv_stage *stage, struct kv_op *op, struct record *record,
                          struct slice type, struct slice value) {
    struct kv_hdd *hdd = stage->hdd;
    uint64_t seq;
    const struct version *version = put_version(stage, op, record, type, value, &seq);
    if (!version)
        return ERR_OUT_OF_MEMORY;
    if (!stage->alone)
        stage->done[stage->done_count++] =
            (struct done_op){hdd_hash(hdd, record->space, record->key), version};
    hdd->pending_own_seq = seq;
    op->revision = seq;
    if (feeds_follow(hdd->feeds, KV_HDD, record->space))
        note_state(stage, op, record, type, value);
    return OK;
}

/* What stands under the op's key, as far as the op asks; *ret_entry NULL: nothing. */
static enum err look(struct kv_stage *stage, const struct kv_op *op, uint32_t space,
                     struct kv_entry *room, const struct kv_entry **ret_entry, bool *ret_sealed) {
    struct kv_hdd *hdd = stage->hdd;
    unsigned want = op->condition == KV_IF_ETAG ? KV_WANT_ETAG : 0;
    if (op->action == KV_INCREMENT || op->action == KV_TOUCH)
        want |= KV_WANT_VALUE | KV_WANT_TYPE;
    *ret_entry = NULL;
    if (op->action == KV_SET && op->condition == KV_ALWAYS && !op->want_existed)
        return OK;
    struct hdd_sought sought = {.space = space,
                                .ref = &op->ref,
                                .visible = UINT64_MAX,
                                .flush = hdd->pending_flush_seq,
                                .want = want,
                                .as_is = op->action == KV_TOUCH,
                                .arena = &hdd->scratch};
    enum err err = hdd_find(hdd, &sought, room, ret_sealed);
    if (err)
        return err == ERR_KEY_NOT_EXIST ? OK : err;
    if (room->expires_at_ms == 0 || room->expires_at_ms > stage->now_ms)
        *ret_entry = room;
    return OK;
}

static enum err increment(struct kv_stage *stage, struct kv_op *op, struct record *record,
                          const struct kv_entry *entry) {
    int64_t number = 0;
    char text[24];
    if (entry && !slice_parse_i64(entry->value, &number))
        return ERR_NOT_A_NUMBER;
    if (__builtin_add_overflow(number, op->by, &number))
        return ERR_NOT_A_NUMBER;
    record->expires_at_ms = entry ? entry->expires_at_ms : 0;
    record->type = entry ? entry->content_type : (struct slice){NULL, 0};
    record->value =
        slice_make(text, (size_t)snprintf(text, sizeof text, "%lld", (long long)number));
    enum err err = put_state(stage, op, record, record->type, record->value);
    if (!err)
        op->number = number;
    return err;
}

static enum err act(struct kv_stage *stage, struct kv_op *op, uint32_t space) {
    struct kv_entry room;
    const struct kv_entry *entry;
    struct record record = {.kind = RECORD_ENTRY,
                            .space = space,
                            .key = op->ref.key,
                            .expires_at_ms = op->ttl_ms ? stage->now_ms + op->ttl_ms : 0};
    enum err err = look(stage, op, space, &room, &entry, &record.sealed);
    if (err)
        return err;
    op->existed = entry != NULL;
    if (!kv_condition_holds(op, entry, entry ? entry->revision : 0, entry ? entry->etag : NULL))
        return ERR_PRECONDITION_FAILED;
    switch (op->action) {
    case KV_SET:
        record.type = op->content_type;
        record.value = op->value;
        return put_state(stage, op, &record, record.type, record.value);
    case KV_INCREMENT:
        return increment(stage, op, &record, entry);
    case KV_TOUCH:
        record.kind = RECORD_TOUCH;
        return entry ? put_state(stage, op, &record, entry->content_type, entry->value)
                     : ERR_KEY_NOT_EXIST;
    case KV_DELETE:
        record.kind = RECORD_DELETE;
        record.expires_at_ms = 0;
        return entry
                   ? put_state(stage, op, &record, (struct slice){NULL, 0}, (struct slice){NULL, 0})
                   : OK;
    case KV_CHECK:
        return OK;
    case KV_FLUSH_ALL:
        break;
    }
    return ERR_INTERNAL;
}

static enum err flush(struct kv_stage *stage, struct kv_op *op) {
    struct kv_hdd *hdd = stage->hdd;
    struct record record = {.kind = RECORD_FLUSH};
    uint64_t seq = add_record(stage->block, &record);
    if (!seq)
        return ERR_OUT_OF_MEMORY;
    hdd->pending_flush_seq = hdd->pending_own_seq = seq;
    recent_flush(&hdd->recent, seq);
    op->revision = seq;
    if (atomic_load_explicit(&hdd->feeds->per_storage[KV_HDD], memory_order_relaxed))
        hdd_feed_note(hdd, FEED_FLUSH, seq, &record, record.value);
    return OK;
}

static enum err run_op(struct kv_stage *stage, struct kv_op *op) {
    struct kv_hdd *hdd = stage->hdd;
    uint32_t space;
    if (op->action == KV_FLUSH_ALL) /* it cannot be taken back */
        return stage->alone ? flush(stage, op) : ERR_SYNTAX;
    if (grows(op->action) && is_full(hdd))
        return ERR_STORAGE_FULL;
    enum err err = OK;
    if (makes(op->action) && stage->alone)
        err = make_space(hdd, stage->block, &op->ref, &space);
    else
        space = spaces_find(hdd->spaces, &op->ref.workspace, op->ref.ns);
    if (err)
        return err;
    if (makes(op->action) && space == SPACE_NONE)
        return ERR_INTERNAL;
    if (space != SPACE_NONE)
        feeds_bind(hdd->feeds, &op->ref, space);
    err = act(stage, op, space);
    if (hdd->scratch.chunks)
        arena_done(&hdd->scratch);
    return err;
}

enum err kv_hdd_stage_prepare(struct kv_hdd *hdd, const struct kv_op *op,
                              struct journal_block *block) {
    uint32_t space;
    if (atomic_load_explicit(&hdd->dead, memory_order_relaxed))
        return ERR_UNAVAILABLE;
    if (!makes(op->action))
        return OK;
    return is_full(hdd) ? ERR_STORAGE_FULL : make_space(hdd, block, &op->ref, &space);
}

enum err kv_hdd_stage_begin(struct kv_hdd *hdd, int64_t now_ms, unsigned op_count_max,
                            struct journal_block *block, struct kv_stage **ret_stage) {
    if (atomic_load_explicit(&hdd->dead, memory_order_relaxed))
        return ERR_UNAVAILABLE;
    struct kv_stage *stage = malloc(sizeof *stage + op_count_max * sizeof stage->done[0]);
    if (!stage)
        return ERR_OUT_OF_MEMORY;
    *stage = (struct kv_stage){.hdd = hdd,
                               .block = block,
                               .now_ms = now_ms,
                               .noted = hdd->last_note,
                               .done_max = op_count_max};
    *ret_stage = stage;
    return OK;
}

enum err kv_stage_op(struct kv_stage *stage, struct kv_op *op) {
    bool fits = stage->done_count < stage->done_max && op->ref.storage == KV_HDD;
    return op->err = fits ? run_op(stage, op) : ERR_INTERNAL;
}

void kv_stage_undo(struct kv_stage *stage) {
    hdd_feed_undo(stage->hdd, stage->noted);
    while (stage->done_count > 0) {
        const struct done_op *done = &stage->done[--stage->done_count];
        recent_take_back(&stage->hdd->recent, done->hash, done->version);
    }
}

void kv_stage_end(struct kv_stage *stage) {
    free(stage);
}

static void run_one(struct kv_hdd *hdd, struct kv_write *write, struct journal_block *block) {
    struct kv_stage stage = {.hdd = hdd, .block = block, .now_ms = write->now_ms, .alone = true};
    write->err = write->ops[0].err = run_op(&stage, &write->ops[0]);
}

static void run_ops(struct kv_stage *stage, struct kv_write *write) {
    struct journal_mark mark = journal_block_mark(stage->block);
    for (unsigned i = 0; i < write->op_count; i++) {
        write->err = kv_stage_op(stage, &write->ops[i]);
        if (!write->err)
            continue;
        write->failed_index = i;
        kv_stage_undo(stage);
        journal_block_go_back(stage->block, mark);
        return;
    }
}

/* Spaces first: a mark stands behind their records, so they stay whatever the ops come to. */
static void run_many(struct kv_hdd *hdd, struct kv_write *write, struct journal_block *block) {
    struct kv_stage *stage;
    for (unsigned i = 0; i < write->op_count && !write->err; i++) {
        write->err = write->ops[i].err = kv_hdd_stage_prepare(hdd, &write->ops[i], block);
        write->failed_index = i;
    }
    if (write->err)
        return;
    write->failed_index = 0;
    write->err = kv_hdd_stage_begin(hdd, write->now_ms, write->op_count, block, &stage);
    if (write->err)
        return;
    run_ops(stage, write);
    kv_stage_end(stage);
}

static void prepare(void *context, struct commit_job *job, struct journal_block *block) {
    struct kv_hdd *hdd = context;
    struct kv_write *write = write_of(job);
    write->err = OK;
    write->failed_index = 0;
    if (atomic_load_explicit(&hdd->dead, memory_order_relaxed))
        write->err = ERR_UNAVAILABLE;
    else if (write->op_count == 1)
        run_one(hdd, write, block);
    else
        run_many(hdd, write, block);
}

uint64_t kv_stage_size(const struct kv_op *op) {
    struct record record = {.key = op->ref.key,
                            .value = slice_make(op->value.ptr, op->value.len + SEAL_BYTES)};
    struct record space = {.key = op->ref.ns, .value = slice_make(NULL, sizeof op->ref.workspace)};
    return record_size(&record) + record_size(&space) + KV_CONTENT_TYPE_MAX + 32;
}

static uint64_t size_of_job(const struct commit_job *job) {
    const struct kv_write *write = write_of(job);
    uint64_t size = 0;
    for (unsigned i = 0; i < write->op_count; i++)
        size += kv_stage_size(&write->ops[i]);
    return size;
}

static void finish(struct commit_job *job) {
    struct kv_write *write = write_of(job);
    write->done(write);
}

static void refuse(struct commit_job *job, enum err err) {
    struct kv_write *write = write_of(job);
    write->err = err;
    write->done(write);
}

/* What the journal does not have for sure must not come into LMDB either. Whoever waits for a
 * freeze waits no longer. The committer has told of it. */
void hdd_lost(void *context) {
    struct kv_hdd *hdd = context;
    atomic_store(&hdd->dead, true);
    pthread_mutex_lock(&hdd->lock);
    pthread_cond_broadcast(&hdd->changed);
    pthread_mutex_unlock(&hdd->lock);
}

/* What was put and taken back may have had a number behind last_seq. */
void hdd_publish(void *context, uint64_t last_seq) {
    struct kv_hdd *hdd = context;
    uint64_t own_seq = hdd->pending_own_seq < last_seq ? hdd->pending_own_seq : last_seq;
    if (hdd->pending_flush_seq > atomic_load_explicit(&hdd->flush_seq, memory_order_relaxed))
        atomic_store(&hdd->flush_seq, hdd->pending_flush_seq);
    atomic_store(&hdd->visible_seq, last_seq);
    atomic_store(&hdd->own_seq, own_seq);
    if (hdd->first_note)
        hdd_feed_publish(hdd, last_seq);
}

/* Between batches everything put is published, so this is where a generation may be frozen. LMDB
 * must not get ahead of what is safe in the journal (with an interval it could). */
static void freeze_locked(struct kv_hdd *hdd) {
    uint64_t visible = atomic_load(&hdd->visible_seq);
    bool nothing = visible == hdd->frozen_seq && atomic_load(&hdd->recent.active_bytes) == 0;
    if (hdd->frozen || nothing || journal_sync(hdd->journal) ||
        !recent_freeze(&hdd->recent, visible))
        return; /* where the sync failed, the committer's own fails too, and says so */
    hdd->frozen = true;
    hdd->frozen_seq = visible;
    hdd->frozen_segment = journal_segment(hdd->journal);
    pthread_cond_broadcast(&hdd->changed);
}

/* Other stores fill segments too: they are used again only once this one says that it is past them.
 */
static bool is_far_behind(const struct kv_hdd *hdd) {
    return journal_segment(hdd->journal) - hdd->frozen_segment > hdd->segments_max;
}

void hdd_before(void *context) {
    struct kv_hdd *hdd = context;
    uint64_t active = atomic_load_explicit(&hdd->recent.active_bytes, memory_order_relaxed);
    hdd->tight = hdd_reserve_is_tight(hdd, atomic_load(&hdd->recent.bytes));
    pthread_mutex_lock(&hdd->lock);
    if (active >= hdd->buffer_bytes / 2 || hdd->wanted_seq > hdd->frozen_seq || hdd->tight ||
        is_far_behind(hdd))
        freeze_locked(hdd);
    /* on a full disk nothing grows any more, and deletes do not wait for room */
    while (atomic_load(&hdd->recent.bytes) >= hdd->buffer_bytes && !atomic_load(&hdd->dead) &&
           !atomic_load(&hdd->full)) {
        freeze_locked(hdd);
        if (!hdd->frozen) /* the journal or memory failed, and nobody would wake it */
            break;
        pthread_cond_wait(&hdd->changed, &hdd->lock);
    }
    pthread_mutex_unlock(&hdd->lock);
}

/* The nudge: a job that does nothing but let `before` run. */

static uint64_t size_of_nudge(const struct commit_job *job) {
    (void)job;
    return 0;
}

static void prepare_nudge(void *context, struct commit_job *job, struct journal_block *block) {
    (void)context, (void)job, (void)block;
}

static void finish_nudge(struct commit_job *job) {
    struct kv_hdd *hdd = (struct kv_hdd *)((uintptr_t)job - offsetof(struct kv_hdd, nudge));
    pthread_mutex_lock(&hdd->lock);
    hdd->nudging = false;
    pthread_cond_broadcast(&hdd->changed);
    pthread_mutex_unlock(&hdd->lock);
}

static void refuse_nudge(struct commit_job *job, enum err err) {
    (void)err;
    finish_nudge(job);
}

void hdd_commit_init(struct kv_hdd *hdd) {
    hdd->user = (struct commit_user){hdd, size_of_job, prepare, refuse, finish};
    hdd->nudge_user =
        (struct commit_user){hdd, size_of_nudge, prepare_nudge, refuse_nudge, finish_nudge};
    hdd->nudge.user = &hdd->nudge_user;
    arena_init(&hdd->scratch, SIZE_MAX / 2);
}

enum err kv_hdd_submit(struct kv_hdd *hdd, struct kv_write *write) {
    write->err = OK;
    write->job.user = &hdd->user;
    write->job.lazy = false;
    write->job.early = false;
    write->job.ends_batch = false;
    commit_submit(hdd->committer, &write->job);
    return ERR_PENDING;
}
