/* SPDX-License-Identifier: MIT */
#include "snapshot/cut.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/cut.h"
#include "journal/datadir.h"

/* The instant, as a job of the committer where there is one: between two jobs nothing is half done.
 */
struct instant {
    struct commit_job job;
    struct kv_snapshot *keys;
    struct broker_snapshot *queues;
    enum err err;
    bool done;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* Both let go of what they hold, whatever the other one came to. */
static void run(struct instant *instant) {
    uint64_t cut = cut_begin();
    instant->err = broker_snapshot_hold(instant->queues, cut);
    if (instant->err) {
        cut_give_up();
        return;
    }
    kv_snapshot_expect(instant->keys, cut, clock_wall_ms());
    cut_make();
    instant->err = broker_snapshot_take(instant->queues);
    enum err err = kv_snapshot_take(instant->keys);
    if (!instant->err)
        instant->err = err;
}

static struct instant *instant_of(struct commit_job *job) {
    return (struct instant *)job; /* its first member */
}

static uint64_t size_of_job(const struct commit_job *job) {
    (void)job;
    return 0;
}

static void prepare(void *context, struct commit_job *job, struct journal_block *block) {
    (void)context, (void)job, (void)block;
}

static void tell(struct instant *instant) {
    pthread_mutex_lock(&instant->lock);
    instant->done = true;
    pthread_cond_signal(&instant->changed);
    pthread_mutex_unlock(&instant->lock);
}

static void finish(struct commit_job *job) {
    run(instant_of(job));
    tell(instant_of(job));
}

static void refuse(struct commit_job *job, enum err err) {
    instant_of(job)->err = err == ERR_TIMEOUT ? ERR_UNAVAILABLE : err;
    tell(instant_of(job));
}

static const struct commit_user user = {
    .size = size_of_job, .prepare = prepare, .refuse = refuse, .finish = finish};

static void run_on(struct committer *committer, struct instant *instant) {
    pthread_mutex_init(&instant->lock, NULL);
    pthread_cond_init(&instant->changed, NULL);
    commit_submit(committer, &instant->job);
    pthread_mutex_lock(&instant->lock);
    while (!instant->done)
        pthread_cond_wait(&instant->changed, &instant->lock);
    pthread_mutex_unlock(&instant->lock);
    pthread_cond_destroy(&instant->changed);
    pthread_mutex_destroy(&instant->lock);
}

enum err cut_take(struct kv *kv, struct broker *broker, struct datadir *datadir,
                  struct kv_snapshot **ret_keys, struct broker_snapshot **ret_queues) {
    struct instant instant = {.job = {.user = &user, .lazy = true, .ends_batch = true}};
    enum err err = kv_snapshot_new(kv, &instant.keys);
    if (!err)
        err = broker_snapshot_new(broker, &instant.queues);
    if (!err) {
        if (datadir)
            run_on(datadir_committer(datadir), &instant);
        else
            run(&instant);
        err = instant.err;
    }
    if (err) {
        kv_snapshot_end(instant.keys);
        broker_snapshot_end(instant.queues);
        return err;
    }
    *ret_keys = instant.keys;
    *ret_queues = instant.queues;
    return OK;
}
