/* SPDX-License-Identifier: MIT */
/* Writes of the durable store, as the committer carries them out: each op is tested against what
 * stands before it (published or not), goes into the block, and among the recent writes, where
 * nobody sees it before the block is safe. */
#include <stdio.h>
#include <stdlib.h>

#include "kv/condition.h"
#include "kv/hdd.h"

/* What a write of several ops did, to take it back. */
struct done_op {
    uint64_t hash;
    const struct version *version;
};

struct writing {
    struct kv_hdd *hdd;
    struct journal_block *block;
    int64_t now_ms;
    struct done_op *done; /* NULL: one op, which fails before it does anything */
    unsigned done_count;
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

/* The space of an op; made, with a record, where it is not there and the op will want it. Only the
 * committer makes spaces, and it does so before the ops of a write, so that taking them back leaves
 * the space. */
static enum err make_space(struct kv_hdd *hdd, struct journal_block *block,
                           const struct kv_ref *ref, uint32_t *ret_space) {
    uint32_t space = spaces_find(hdd->spaces, &ref->workspace, ref->ns);
    if (space == SPACE_NONE) {
        enum err err = spaces_make(hdd->spaces, &ref->workspace, ref->ns, &space);
        if (err)
            return err;
        struct record record = {.kind = RECORD_SPACE,
                                .space = space,
                                .key = ref->ns,
                                .value = slice_make(&ref->workspace, sizeof ref->workspace)};
        uint64_t seq = add_record(block, &record);
        if (!seq || hdd_note_space(hdd, space, seq, &ref->workspace, ref->ns)) {
            hdd_fail(hdd, "no memory for a namespace");
            return ERR_OUT_OF_MEMORY;
        }
    }
    *ret_space = space;
    return OK;
}

/* Puts the state an op leads to into block and recent writes. */
static enum err put_state(struct writing *writing, struct kv_op *op, const struct record *record,
                          struct slice type, struct slice value) {
    struct kv_hdd *hdd = writing->hdd;
    struct journal_mark mark = journal_block_mark(writing->block);
    uint64_t seq = add_record(writing->block, record);
    if (!seq)
        return ERR_OUT_OF_MEMORY;
    const struct version *version = hdd_put_version(hdd, seq, record, type, value);
    if (!version) {
        journal_block_go_back(writing->block, mark);
        return ERR_OUT_OF_MEMORY;
    }
    if (writing->done)
        writing->done[writing->done_count++] =
            (struct done_op){hdd_hash(hdd, record->space, record->key), version};
    op->revision = seq;
    return OK;
}

/* What stands under the op's key, as far as the op asks; *ret_entry NULL: nothing. */
static enum err look(struct writing *writing, const struct kv_op *op, uint32_t space,
                     struct kv_entry *room, const struct kv_entry **ret_entry) {
    struct kv_hdd *hdd = writing->hdd;
    unsigned want = op->condition == KV_IF_ETAG ? KV_WANT_ETAG : 0;
    if (op->action == KV_INCREMENT || op->action == KV_TOUCH)
        want |= KV_WANT_VALUE | KV_WANT_TYPE;
    *ret_entry = NULL;
    if (op->action == KV_SET && op->condition == KV_ALWAYS)
        return OK;
    enum err err = hdd_find(hdd, space, op->ref.key, UINT64_MAX, hdd->pending_flush_seq, want,
                            &hdd->scratch, room);
    if (err)
        return err == ERR_KEY_NOT_EXIST ? OK : err;
    if (room->expires_at_ms == 0 || room->expires_at_ms > writing->now_ms)
        *ret_entry = room;
    return OK;
}

static enum err increment(struct writing *writing, struct kv_op *op, struct record *record,
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
    enum err err = put_state(writing, op, record, record->type, record->value);
    if (!err)
        op->number = number;
    return err;
}

static enum err act(struct writing *writing, struct kv_op *op, uint32_t space) {
    struct kv_entry room;
    const struct kv_entry *entry;
    struct record record = {.kind = RECORD_ENTRY,
                            .space = space,
                            .key = op->ref.key,
                            .expires_at_ms = op->ttl_ms ? writing->now_ms + op->ttl_ms : 0};
    enum err err = look(writing, op, space, &room, &entry);
    if (err)
        return err;
    op->existed = entry != NULL;
    if (!kv_condition_holds(op, entry, entry ? entry->revision : 0, entry ? entry->etag : NULL))
        return ERR_PRECONDITION_FAILED;
    switch (op->action) {
    case KV_SET:
        record.type = op->content_type;
        record.value = op->value;
        return put_state(writing, op, &record, record.type, record.value);
    case KV_INCREMENT:
        return increment(writing, op, &record, entry);
    case KV_TOUCH:
        record.kind = RECORD_TOUCH;
        return entry ? put_state(writing, op, &record, entry->content_type, entry->value)
                     : ERR_KEY_NOT_EXIST;
    case KV_DELETE:
        record.kind = RECORD_DELETE;
        record.expires_at_ms = 0;
        return entry ? put_state(writing, op, &record, (struct slice){NULL, 0},
                                 (struct slice){NULL, 0})
                     : OK;
    case KV_CHECK:
        return OK;
    case KV_FLUSH_ALL:
        break;
    }
    return ERR_INTERNAL;
}

static enum err flush(struct writing *writing, struct kv_op *op) {
    struct kv_hdd *hdd = writing->hdd;
    struct record record = {.kind = RECORD_FLUSH};
    uint64_t seq = add_record(writing->block, &record);
    if (!seq)
        return ERR_OUT_OF_MEMORY;
    hdd->pending_flush_seq = seq;
    recent_flush(&hdd->recent, seq);
    op->revision = seq;
    return OK;
}

static enum err run_op(struct writing *writing, struct kv_op *op, unsigned op_count) {
    struct kv_hdd *hdd = writing->hdd;
    uint32_t space;
    if (op->action == KV_FLUSH_ALL)
        return op_count == 1 ? flush(writing, op) : ERR_SYNTAX;
    if (grows(op->action) &&
        (hdd->tight || atomic_load_explicit(&hdd->full, memory_order_relaxed) ||
         journal_is_full(hdd->journal)))
        return ERR_STORAGE_FULL;
    enum err err = OK;
    if (makes(op->action))
        err = make_space(hdd, writing->block, &op->ref, &space);
    else
        space = spaces_find(hdd->spaces, &op->ref.workspace, op->ref.ns);
    if (err)
        return err;
    err = act(writing, op, space);
    if (hdd->scratch.chunks)
        arena_done(&hdd->scratch);
    return err;
}

static void take_back(struct writing *writing, struct journal_mark mark) {
    while (writing->done_count-- > 0) {
        const struct done_op *done = &writing->done[writing->done_count];
        recent_take_back(&writing->hdd->recent, done->hash, done->version);
    }
    journal_block_go_back(writing->block, mark);
}

static void run_ops(struct writing *writing, struct kv_write *write) {
    struct journal_mark mark = journal_block_mark(writing->block);
    for (unsigned i = 0; i < write->op_count; i++) {
        struct kv_op *op = &write->ops[i];
        op->err = run_op(writing, op, write->op_count);
        if (!op->err)
            continue;
        write->err = op->err;
        write->failed_index = i;
        if (writing->done)
            take_back(writing, mark);
        return;
    }
}

/* Spaces first: a mark stands behind their records, so they stay whatever the ops come to. */
static void run_many(struct writing *writing, struct kv_write *write) {
    uint32_t space;
    for (unsigned i = 0; i < write->op_count && !write->err; i++)
        if (makes(write->ops[i].action)) {
            write->err = make_space(writing->hdd, writing->block, &write->ops[i].ref, &space);
            write->failed_index = i;
        }
    writing->done = calloc(write->op_count, sizeof *writing->done);
    if (!writing->done)
        write->err = ERR_OUT_OF_MEMORY;
    if (!write->err)
        run_ops(writing, write);
    free(writing->done);
}

static void prepare(void *context, struct commit_job *job, struct journal_block *block) {
    struct kv_hdd *hdd = context;
    struct kv_write *write = write_of(job);
    struct writing writing = {hdd, block, write->now_ms, NULL, 0};
    write->err = OK;
    write->failed_index = 0;
    if (atomic_load_explicit(&hdd->dead, memory_order_relaxed))
        write->err = ERR_UNAVAILABLE;
    else if (write->op_count == 1)
        run_ops(&writing, write);
    else
        run_many(&writing, write);
}

static uint64_t size_of_job(const struct commit_job *job) {
    const struct kv_write *write = write_of(job);
    uint64_t size = 0;
    for (unsigned i = 0; i < write->op_count; i++) {
        const struct kv_op *op = &write->ops[i];
        struct record record = {.key = op->ref.key, .value = op->value};
        struct record space = {.key = op->ref.ns,
                               .value = slice_make(NULL, sizeof op->ref.workspace)};
        size += record_size(&record) + record_size(&space) + KV_CONTENT_TYPE_MAX + 32;
    }
    return size;
}

static void finish(struct commit_job *job) {
    struct kv_write *write = write_of(job);
    write->done(write);
}

static void refuse(struct commit_job *job, enum err err) {
    struct kv_write *write = write_of(job);
    struct kv_hdd *hdd = job->user->context;
    /* the journal is lost: what it does not have for sure must not come into LMDB either */
    if (err == ERR_TIMEOUT || err == ERR_UNAVAILABLE)
        atomic_store(&hdd->dead, true);
    write->err = err;
    write->done(write);
}

static void publish(void *context, uint64_t last_seq) {
    struct kv_hdd *hdd = context;
    if (hdd->pending_flush_seq > atomic_load_explicit(&hdd->flush_seq, memory_order_relaxed))
        atomic_store(&hdd->flush_seq, hdd->pending_flush_seq);
    atomic_store(&hdd->visible_seq, last_seq);
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
    pthread_cond_broadcast(&hdd->changed);
}

static void before(void *context) {
    struct kv_hdd *hdd = context;
    uint64_t active = atomic_load_explicit(&hdd->recent.active_bytes, memory_order_relaxed);
    hdd->tight = hdd_reserve_is_tight(hdd, atomic_load(&hdd->recent.bytes));
    pthread_mutex_lock(&hdd->lock);
    if (active >= hdd->buffer_bytes / 2 || hdd->wanted_seq > hdd->frozen_seq || hdd->tight)
        freeze_locked(hdd);
    /* on a full disk nothing grows any more, and deletes do not wait for room */
    while (atomic_load(&hdd->recent.bytes) >= hdd->buffer_bytes && !atomic_load(&hdd->dead) &&
           !atomic_load(&hdd->full)) {
        freeze_locked(hdd);
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

/* A lost journal freezes nothing any more: whoever waits for that waits no longer. It has told of
 * it itself. */
static void refuse_nudge(struct commit_job *job, enum err err) {
    struct kv_hdd *hdd = (struct kv_hdd *)((uintptr_t)job - offsetof(struct kv_hdd, nudge));
    if (err == ERR_UNAVAILABLE)
        atomic_store(&hdd->dead, true);
    finish_nudge(job);
}

void hdd_commit_init(struct kv_hdd *hdd) {
    hdd->user = (struct commit_user){hdd, before, size_of_job, prepare, refuse, publish, finish};
    hdd->nudge_user = (struct commit_user){hdd,          before,  size_of_nudge, prepare_nudge,
                                           refuse_nudge, publish, finish_nudge};
    hdd->nudge.user = &hdd->nudge_user;
    arena_init(&hdd->scratch, SIZE_MAX / 2);
}

enum err kv_hdd_submit(struct kv_hdd *hdd, struct kv_write *write) {
    write->err = OK;
    write->job.user = &hdd->user;
    commit_submit(hdd->committer, &write->job);
    return ERR_PENDING;
}
