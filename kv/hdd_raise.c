/* SPDX-License-Identifier: MIT */
/* Revisions go on from a greater one: the journal, whose numbers they are, leaves some out. */
#include "kv/hdd.h"

struct raise {
    struct commit_job job;
    struct kv_hdd *hdd;
    uint64_t revision;
    enum err err;
    bool done;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static uint64_t size_of_job(const struct commit_job *job) {
    (void)job;
    return 0;
}

static void prepare(void *context, struct commit_job *job, struct journal_block *block) {
    (void)context, (void)job, (void)block;
}

static void tell(struct raise *raise, enum err err) {
    pthread_mutex_lock(&raise->lock);
    raise->err = err;
    raise->done = true;
    pthread_cond_signal(&raise->changed);
    pthread_mutex_unlock(&raise->lock);
}

static enum err skip(struct kv_hdd *hdd, uint64_t revision) {
    char bytes[64];
    struct record record = {.kind = RECORD_RAISE};
    if (atomic_load(&hdd->dead))
        return ERR_UNAVAILABLE;
    if (journal_next_seq(hdd->journal) > revision)
        return OK;
    record_write(&record, bytes);
    enum err err =
        journal_skip(hdd->journal, revision + 1, slice_make(bytes, record_size(&record)));
    if (err)
        return err;
    hdd->pending_own_seq = revision + 1;
    hdd_publish(hdd, revision + 1);
    return OK;
}

/* The last of its batch: what was in its block is published, and the next one is not begun. */
static void finish(struct commit_job *job) {
    struct raise *raise = (struct raise *)job; /* its first member */
    tell(raise, skip(raise->hdd, raise->revision));
}

static void refuse(struct commit_job *job, enum err err) {
    tell((struct raise *)job, err == ERR_TIMEOUT ? ERR_UNAVAILABLE : err);
}

static const struct commit_user user = {
    .size = size_of_job, .prepare = prepare, .refuse = refuse, .finish = finish};

enum err kv_hdd_raise_revision(struct kv_hdd *hdd, uint64_t revision) {
    struct raise raise = {
        .job = {.user = &user, .lazy = true, .ends_batch = true}, .hdd = hdd, .revision = revision};
    pthread_mutex_init(&raise.lock, NULL);
    pthread_cond_init(&raise.changed, NULL);
    commit_submit(hdd->committer, &raise.job);
    pthread_mutex_lock(&raise.lock);
    while (!raise.done)
        pthread_cond_wait(&raise.changed, &raise.lock);
    pthread_mutex_unlock(&raise.lock);
    pthread_cond_destroy(&raise.changed);
    pthread_mutex_destroy(&raise.lock);
    return raise.err;
}
