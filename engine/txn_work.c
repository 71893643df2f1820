/* SPDX-License-Identifier: MIT */
/* The kinds of work that a transaction takes: writes of keys, writes of messages, batches of both,
 * jobs of the engine itself. */
#include <string.h>

#include "base/hash.h"
#include "engine/txn_inside.h"

struct undo {
    struct undo *next;
    void *at;
    size_t size_bytes;
    max_align_t bytes[];
};

static struct undo undo_bottom;

void txn_save(struct txn *txn, void *at, size_t size_bytes) {
    if (!txn->undo)
        return;
    struct undo *undo = arena_alloc(&txn->arena, sizeof *undo + size_bytes);
    if (!undo) { /* without it the batch could not be whole */
        txn->starved = true;
        return;
    }
    undo->next = txn->undo;
    undo->at = at;
    undo->size_bytes = size_bytes;
    memcpy(undo->bytes, at, size_bytes);
    txn->undo = undo;
}

static void begin_undo(struct txn *txn) {
    txn->undo = &undo_bottom;
}

static void end_undo(struct txn *txn, bool take_back) {
    for (struct undo *undo = txn->undo; take_back && undo != &undo_bottom; undo = undo->next)
        memcpy(undo->at, undo->bytes, undo->size_bytes);
    txn->undo = NULL;
}

/* ---- what a work is ---- */

bool work_is_job(const struct work *work) {
    return work->kind == WORK_JOB;
}

unsigned work_op_count(const struct work *work) {
    switch (work->kind) {
    case WORK_KEYS:
        return work->keys->op_count;
    case WORK_MESSAGES:
        return work->messages->op_count;
    case WORK_BATCH:
        return work->batch->count;
    default:
        return sizeof work->job->conflicts / sizeof *work->job->conflicts;
    }
}

static uint64_t bytes_of_message(const struct broker_op *op) {
    return 256 + op->payload.len + op->headers.len;
}

uint64_t work_bytes(const struct work *work) {
    uint64_t bytes = 0;
    for (unsigned i = 0; work->kind == WORK_KEYS && i < work->keys->op_count; i++)
        bytes += 256 + work->keys->ops[i].value.len;
    for (unsigned i = 0; work->kind == WORK_MESSAGES && i < work->messages->op_count; i++)
        bytes += bytes_of_message(&work->messages->ops[i]);
    for (unsigned i = 0; work->kind == WORK_BATCH && i < work->batch->count; i++) {
        const struct engine_item *item = work->batch->items[i];
        bytes += item->is_key ? 256 + item->key.value.len : bytes_of_message(&item->message);
    }
    return bytes;
}

static uint64_t conflict_of_key(const struct kv_ref *ref) {
    uint64_t hash = hash_seeded(ref->ns, ref->storage);
    hash = hash_seeded(slice_make((const char *)ref->workspace.bytes, 16), hash);
    return hash_seeded(ref->key, hash) | 1;
}

/* Publishes of one node go one transaction after another: their order is that of the queues. */
#define CONFLICT_PUBLISH 2U

static uint64_t conflict_of_message(const struct broker_op *op) {
    if (op->action == BROKER_PUBLISH || op->action == BROKER_FLUSH)
        return CONFLICT_PUBLISH;
    return hash_seeded(op->receipt, hash_seeded(op->queue, KV_STORAGES)) | 1;
}

uint64_t work_conflict(const struct work *work, unsigned i) {
    switch (work->kind) {
    case WORK_KEYS:
        return conflict_of_key(&work->keys->ops[i].ref);
    case WORK_MESSAGES:
        return conflict_of_message(&work->messages->ops[i]);
    case WORK_BATCH: {
        const struct engine_item *item = work->batch->items[i];
        return item->is_key ? conflict_of_key(&item->key.ref) : conflict_of_message(&item->message);
    }
    default:
        return work->job->conflicts[i];
    }
}

bool work_is_exclusive(const struct work *work) {
    if (work->kind == WORK_JOB)
        return work->job->exclusive;
    for (unsigned i = 0; work->kind == WORK_KEYS && i < work->keys->op_count; i++)
        if (work->keys->ops[i].action == KV_FLUSH_ALL)
            return true;
    return false;
}

struct position *work_position(const struct work *work) {
    switch (work->kind) {
    case WORK_KEYS:
        return work->keys->position;
    case WORK_MESSAGES:
        return work->messages->position;
    case WORK_BATCH:
        return work->batch->position;
    default:
        return NULL;
    }
}

/* ---- planning ---- */

static enum err worse(enum err err, enum err other) {
    return err && err != ERR_WOULD_WAIT ? err : other ? other : err;
}

static enum err plan_batch(struct txn *txn, const struct engine_batch *batch) {
    enum err err = OK;
    for (unsigned i = 0; i < batch->count; i++) {
        struct engine_item *item = batch->items[i];
        err = worse(err, item->is_key ? txn_keys_plan(txn, &item->key)
                                      : txn_messages_plan(txn, &item->message));
    }
    return err;
}

enum err work_plan(struct txn *txn, struct work *work) {
    enum err err = OK;
    switch (work->kind) {
    case WORK_KEYS:
        for (unsigned i = 0; i < work->keys->op_count; i++)
            err = worse(err, txn_keys_plan(txn, &work->keys->ops[i]));
        return err;
    case WORK_MESSAGES:
        for (unsigned i = 0; i < work->messages->op_count; i++)
            err = worse(err, txn_messages_plan(txn, &work->messages->ops[i]));
        return err;
    case WORK_BATCH:
        return plan_batch(txn, work->batch);
    default:
        if (work->job->reset)
            work->job->reset(work->job);
        return OK;
    }
}

/* ---- applying ---- */

/* All or none, as on hdd elsewhere. */
static enum err apply_keys(struct txn *txn, struct kv_write *write) {
    write->err = OK;
    write->failed_index = 0;
    begin_undo(txn);
    for (unsigned i = 0; !write->err && i < write->op_count; i++) {
        write->err = txn_keys_apply(txn, &write->ops[i]);
        write->failed_index = i;
    }
    end_undo(txn, write->err != OK);
    return OK;
}

/* A publish that found no memory may have reached some of its queues. */
static enum err apply_messages(struct txn *txn, struct broker_write *write) {
    for (unsigned i = 0; i < write->op_count; i++) {
        struct broker_op *op = &write->ops[i];
        op->err = txn_messages_apply(txn, op);
        txn->starved |= op->err == ERR_OUT_OF_MEMORY;
        if (op->err == ERR_WOULD_WAIT)
            return ERR_WOULD_WAIT;
    }
    return OK;
}

static enum err apply_batch(struct txn *txn, struct engine_batch *batch) {
    batch->err = OK;
    begin_undo(txn);
    for (unsigned i = 0; !batch->err && i < batch->count; i++) {
        struct engine_item *item = batch->items[i];
        batch->err = item->is_key ? txn_keys_apply(txn, &item->key)
                                  : txn_messages_apply(txn, &item->message);
        batch->failed_index = i;
    }
    end_undo(txn, batch->err != OK);
    return batch->err == ERR_WOULD_WAIT ? ERR_WOULD_WAIT : OK;
}

enum err work_apply(struct txn *txn, struct work *work) {
    switch (work->kind) {
    case WORK_KEYS:
        return apply_keys(txn, work->keys);
    case WORK_MESSAGES:
        return apply_messages(txn, work->messages);
    case WORK_BATCH:
        return apply_batch(txn, work->batch);
    default:
        break;
    }
    const struct txn_job *job = work->job;
    enum err err = job->apply ? job->apply(work->job, txn, &txn->request) : OK;
    work->failed = err == ERR_WOULD_WAIT ? OK : err;
    return err == ERR_WOULD_WAIT ? err : OK;
}

/* ---- ending ---- */

static void end_keys(struct kv_write *write, enum err err) {
    if (err)
        write->err = err;
    for (unsigned i = 0; err && i < write->op_count; i++)
        write->ops[i].err = err;
    write->done(write);
}

static void end_messages(struct broker_write *write, enum err err) {
    write->err = err;
    for (unsigned i = 0; i < write->op_count; i++) {
        if (err)
            write->ops[i].err = err;
        else if (!write->err)
            write->err = write->ops[i].err;
    }
    write->done(write);
}

static void end_batch(struct engine_batch *batch, enum err err) {
    if (err) {
        batch->err = err;
        batch->failed_index = batch->count;
    }
    batch->done(batch);
}

void work_end(struct work *work, enum err err) {
    switch (work->kind) {
    case WORK_KEYS:
        end_keys(work->keys, err);
        break;
    case WORK_MESSAGES:
        end_messages(work->messages, err);
        break;
    case WORK_BATCH:
        end_batch(work->batch, err);
        break;
    default:
        work->job->done(work->job, err ? err : work->failed);
        break;
    }
    free(work);
}
