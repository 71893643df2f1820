/* SPDX-License-Identifier: MIT */
#include "snapshot/stores.h"

#include <pthread.h>
#include <stdlib.h>

/* Somebody waits for one answer. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static void waiter_init(struct waiter *waiter) {
    pthread_mutex_init(&waiter->lock, NULL);
    pthread_cond_init(&waiter->changed, NULL);
    waiter->done = false;
}

static void waiter_wake(struct waiter *waiter) {
    pthread_mutex_lock(&waiter->lock);
    waiter->done = true;
    pthread_cond_signal(&waiter->changed);
    pthread_mutex_unlock(&waiter->lock);
}

/* err: as the call returned it. */
static void waiter_wait(struct waiter *waiter, enum err err) {
    pthread_mutex_lock(&waiter->lock);
    while (err == ERR_PENDING && !waiter->done)
        pthread_cond_wait(&waiter->changed, &waiter->lock);
    pthread_mutex_unlock(&waiter->lock);
    pthread_cond_destroy(&waiter->changed);
    pthread_mutex_destroy(&waiter->lock);
}

static void keys_written(struct kv_write *write) {
    waiter_wake(write->context);
}

static void keys_read(struct kv_read *read) {
    waiter_wake(read->context);
}

static void queues_written(struct broker_write *write) {
    waiter_wake(write->context);
}

static void answered(struct broker_query *query) {
    waiter_wake(query->context);
}

enum err stores_write_keys(struct snapshot_stores *stores, struct kv_write *write) {
    struct waiter waiter;
    waiter_init(&waiter);
    write->done = keys_written;
    write->context = &waiter;
    waiter_wait(&waiter, kv_submit(stores->kv, write));
    return write->err;
}

enum err stores_read_keys(struct snapshot_stores *stores, struct kv_read *read) {
    struct waiter waiter;
    waiter_init(&waiter);
    read->done = keys_read;
    read->context = &waiter;
    waiter_wait(&waiter, kv_read(stores->kv, read));
    return read->err;
}

enum err stores_write_queues(struct snapshot_stores *stores, struct broker_write *write) {
    struct waiter waiter;
    waiter_init(&waiter);
    write->done = queues_written;
    write->context = &waiter;
    waiter_wait(&waiter, broker_submit(stores->broker, write));
    return write->err;
}

enum err stores_ask(struct snapshot_stores *stores, struct broker_query *query) {
    struct waiter waiter;
    waiter_init(&waiter);
    query->done = answered;
    query->context = &waiter;
    waiter_wait(&waiter, broker_ask(stores->broker, query));
    return query->err;
}

/* ---- both in one block of the journal ---- */

struct bundle {
    struct commit_job job;
    struct waiter waiter;
    struct snapshot_stores *stores;
    struct engine_item *items;
    unsigned count, key_count, failed;
    int64_t now_ms;
    enum err err;
};

static uint64_t size_of_job(const struct commit_job *job) {
    const struct bundle *bundle = (const struct bundle *)job; /* its first member */
    uint64_t bytes = 0;
    for (unsigned i = 0; i < bundle->count; i++)
        bytes += bundle->items[i].is_key
                     ? kv_stage_size(&bundle->items[i].key)
                     : broker_stage_size(bundle->stores->broker, &bundle->items[i].message);
    return bytes;
}

static void fail_at(struct bundle *bundle, unsigned index, enum err err) {
    bundle->err = err;
    bundle->failed = index;
}

static void stage_all(struct bundle *bundle, struct kv_stage *stage, struct journal_block *block) {
    struct broker *broker = bundle->stores->broker;
    for (unsigned i = 0; i < bundle->count && !bundle->err; i++) {
        struct engine_item *item = &bundle->items[i];
        enum err err = item->is_key
                           ? kv_stage_op(stage, &item->key)
                           : broker_stage_op(broker, &item->message, bundle->now_ms, block);
        if (!err)
            continue;
        fail_at(bundle, i, err);
        while (i-- > 0)
            if (!bundle->items[i].is_key)
                broker_stage_undo(broker, &bundle->items[i].message);
        return;
    }
}

static void prepare(void *context, struct commit_job *job, struct journal_block *block) {
    struct bundle *bundle = (struct bundle *)job;
    struct kv *kv = bundle->stores->kv;
    struct kv_stage *stage;
    (void)context;
    for (unsigned i = 0; i < bundle->count && !bundle->err; i++) {
        enum err err =
            bundle->items[i].is_key ? kv_stage_prepare(kv, &bundle->items[i].key, block) : OK;
        if (err)
            fail_at(bundle, i, err);
    }
    if (bundle->err)
        return;
    struct journal_mark mark = journal_block_mark(block);
    bundle->err = kv_stage_begin(kv, bundle->now_ms, bundle->key_count, block, &stage);
    if (bundle->err)
        return;
    stage_all(bundle, stage, block);
    if (bundle->err) {
        kv_stage_undo(stage);
        journal_block_go_back(block, mark);
    }
    kv_stage_end(stage);
}

static void finish(struct commit_job *job) {
    struct bundle *bundle = (struct bundle *)job;
    for (unsigned i = 0; i < bundle->count && !bundle->err; i++)
        if (!bundle->items[i].is_key)
            broker_stage_finish(bundle->stores->broker, &bundle->items[i].message);
    waiter_wake(&bundle->waiter);
}

static void refuse(struct commit_job *job, enum err err) {
    struct bundle *bundle = (struct bundle *)job;
    bundle->err = err;
    waiter_wake(&bundle->waiter);
}

static const struct commit_user bundle_user = {
    .size = size_of_job,
    .prepare = prepare,
    .refuse = refuse,
    .finish = finish,
};

enum err stores_write_both(struct snapshot_stores *stores, struct engine_item *items,
                           unsigned count, int64_t now_ms, unsigned *ret_failed) {
    struct bundle bundle = {.job.user = &bundle_user,
                            .stores = stores,
                            .items = items,
                            .count = count,
                            .failed = count,
                            .now_ms = now_ms};
    *ret_failed = count;
    if (!stores->committer)
        return ERR_UNAVAILABLE;
    for (unsigned i = 0; i < count; i++)
        bundle.key_count += items[i].is_key;
    waiter_init(&bundle.waiter);
    commit_submit(stores->committer, &bundle.job);
    waiter_wait(&bundle.waiter, ERR_PENDING);
    *ret_failed = bundle.failed;
    return bundle.err;
}
