/* SPDX-License-Identifier: MIT */
/* A store and a broker behind a network that is not there: local ones on memory, whose calls are
 * all answered later, when the test says so or by a thread of their own. */
#ifndef HATI_TESTS_REMOTE_DOUBLE_H
#define HATI_TESTS_REMOTE_DOUBLE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/remote.h"
#include "handlers/call.h"
#include "kv/remote.h"

enum remote_kind {
    REMOTE_READ,
    REMOTE_WRITE,
    REMOTE_LIST,
    REMOTE_COUNT,
    REMOTE_SUBMIT,
    REMOTE_RECEIVE,
    REMOTE_ASK
};

struct remote_job {
    struct remote_job *next;
    enum remote_kind kind;
    void *what;
    bool stopped; /* RECEIVE */
};

/* A receive that the local broker has. */
struct remote_wait {
    struct broker_consumer *consumer; /* of the caller */
    void (*done)(struct broker_receive *receive);
    void *context;
};

struct remote_consumer {
    bool open;
    struct broker_consumer local;
    char name[256];
    size_t name_len;
};

static struct remote {
    struct kv *kvs[KV_STORAGES];
    struct broker *local;
    struct kv *kv; /* the fronts */
    struct broker *broker;
    pthread_mutex_t running; /* recursive: jobs are carried out one at a time */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct remote_job *first, **last;
    unsigned queued, most_queued;
    bool threaded, ending;
    pthread_t thread;
    enum err refuse; /* every call fails so, with nothing done */
    enum err fail;   /* every call comes back so */
} remote;

/* ---- what is carried out ---- */

static inline void remote_read(struct kv_read *read) {
    struct kv *kv = remote.kvs[read->storage];
    read->storage = KV_MEMORY;
    read->err = remote.fail ? remote.fail : kv_read(kv, read);
    read->done(read);
}

static inline void remote_write(struct kv_write *write) {
    struct kv *kv = remote.kvs[write->ops[0].ref.storage];
    for (unsigned i = 0; i < write->op_count; i++)
        write->ops[i].ref.storage = KV_MEMORY;
    write->err = remote.fail ? remote.fail : kv_submit(kv, write);
    write->done(write);
}

static inline void remote_list(struct kv_list *list) {
    struct kv *kv = remote.kvs[list->storage];
    list->storage = KV_MEMORY;
    enum err err = remote.fail ? remote.fail : kv_list_keys(kv, list);
    if (err == ERR_PENDING)
        return;
    list->err = err;
    list->done(list);
}

static inline void remote_count(struct kv_count *count) {
    struct kv *kv = remote.kvs[count->storage];
    count->storage = KV_MEMORY;
    enum err err = remote.fail ? remote.fail : kv_count_keys(kv, count);
    if (err == ERR_PENDING)
        return;
    count->err = err;
    count->done(count);
}

static inline void remote_submit(struct broker_write *write) {
    write->in_order = false;
    enum err err = remote.fail ? remote.fail : broker_submit(remote.local, write);
    if (err == ERR_PENDING) {
        broker_tick(remote.local, write->now_ms);
        return;
    }
    write->err = err;
    write->done(write);
}

static inline void remote_ask(struct broker_query *query) {
    query->err = remote.fail ? remote.fail : broker_ask(remote.local, query);
    query->done(query);
}

/* The local broker is done with it: its caller sees a receive of the remote one. */
static inline void remote_received(struct broker_receive *receive) {
    struct remote_wait *wait = receive->context;
    receive->consumer = wait->consumer;
    receive->done = wait->done;
    receive->context = wait->context;
    receive->remote_data = NULL;
    free(wait);
    receive->done(receive);
}

static inline enum err remote_find_consumer(struct broker_receive *receive) {
    struct remote_consumer *consumer = receive->consumer ? receive->consumer->remote : NULL;
    if (!consumer)
        return OK;
    if (!consumer->open) {
        enum err err =
            broker_consumer_open(remote.local, slice_make(consumer->name, consumer->name_len),
                                 receive->consumer->prefetch, &consumer->local);
        if (err)
            return err;
    }
    consumer->open = true;
    receive->consumer = &consumer->local;
    return OK;
}

static inline void remote_receive(struct broker_receive *receive, bool stopped) {
    struct remote_wait *wait = malloc(sizeof *wait);
    *wait = (struct remote_wait){receive->consumer, receive->done, receive->context};
    enum err err = remote.fail;
    receive->err = OK;
    if (!err && !stopped)
        err = remote_find_consumer(receive);
    receive->done = remote_received;
    receive->context = wait;
    receive->remote_data = wait;
    if (!err && !stopped)
        err = broker_receive(remote.local, receive);
    if (err == ERR_PENDING)
        return;
    receive->err = err;
    remote_received(receive);
}

static inline void remote_run(struct remote_job *job) {
    switch (job->kind) {
    case REMOTE_READ:
        remote_read(job->what);
        break;
    case REMOTE_WRITE:
        remote_write(job->what);
        break;
    case REMOTE_LIST:
        remote_list(job->what);
        break;
    case REMOTE_COUNT:
        remote_count(job->what);
        break;
    case REMOTE_SUBMIT:
        remote_submit(job->what);
        break;
    case REMOTE_RECEIVE:
        remote_receive(job->what, job->stopped);
        break;
    case REMOTE_ASK:
        remote_ask(job->what);
        break;
    }
    free(job);
}

/* ---- the queue ---- */

static inline enum err remote_add(enum remote_kind kind, void *what) {
    struct remote_job *job = malloc(sizeof *job);
    *job = (struct remote_job){.kind = kind, .what = what};
    pthread_mutex_lock(&remote.lock);
    if (remote.refuse) {
        pthread_mutex_unlock(&remote.lock);
        free(job);
        return remote.refuse;
    }
    *remote.last = job;
    remote.last = &job->next;
    remote.queued++;
    if (remote.queued > remote.most_queued)
        remote.most_queued = remote.queued;
    pthread_cond_broadcast(&remote.changed);
    pthread_mutex_unlock(&remote.lock);
    return ERR_PENDING;
}

/* The first job, or the last; NULL: there is none. */
static inline struct remote_job *remote_take(bool newest) {
    pthread_mutex_lock(&remote.lock);
    struct remote_job **at = &remote.first;
    while (newest && *at && (*at)->next)
        at = &(*at)->next;
    struct remote_job *job = *at;
    if (job) {
        *at = job->next;
        if (!*at)
            remote.last = at;
        remote.queued--;
    }
    pthread_mutex_unlock(&remote.lock);
    return job;
}

static inline bool remote_run_one(bool newest) {
    pthread_mutex_lock(&remote.running);
    struct remote_job *job = remote_take(newest);
    if (job)
        remote_run(job);
    pthread_mutex_unlock(&remote.running);
    return job != NULL;
}

/* So many of what is queued come back, in order or from the last to the first. */
static inline void remote_come_back(unsigned count, bool backwards) {
    while (count-- > 0)
        assert_true(remote_run_one(backwards));
}

/* All that is queued comes back, and what is queued by that. */
static inline void remote_come_back_all(void) {
    while (remote_run_one(false))
        continue;
}

static inline unsigned remote_queued(void) {
    pthread_mutex_lock(&remote.lock);
    unsigned queued = remote.queued;
    pthread_mutex_unlock(&remote.lock);
    return queued;
}

static inline void remote_await(unsigned count) {
    pthread_mutex_lock(&remote.lock);
    while (remote.queued < count)
        pthread_cond_wait(&remote.changed, &remote.lock);
    assert_int_equal(remote.queued, count);
    pthread_mutex_unlock(&remote.lock);
}

static inline void *remote_main(void *context) {
    (void)context;
    for (;;) {
        pthread_mutex_lock(&remote.lock);
        while (!remote.first && !remote.ending)
            pthread_cond_wait(&remote.changed, &remote.lock);
        bool over = !remote.first && remote.ending;
        pthread_mutex_unlock(&remote.lock);
        if (over)
            return NULL;
        remote_run_one(false);
    }
}

/* ---- the tables ---- */

static inline enum err remote_on_read(void *context, struct kv_read *read) {
    (void)context;
    return remote_add(REMOTE_READ, read);
}

static inline enum err remote_on_write(void *context, struct kv_write *write) {
    (void)context;
    return remote_add(REMOTE_WRITE, write);
}

static inline enum err remote_on_list(void *context, struct kv_list *list) {
    (void)context;
    return remote_add(REMOTE_LIST, list);
}

static inline enum err remote_on_count(void *context, struct kv_count *count) {
    (void)context;
    return remote_add(REMOTE_COUNT, count);
}

static inline void remote_on_kv_stats(void *context, enum kv_storage storage,
                                      struct kv_stats *ret_stats) {
    (void)context;
    kv_stats(remote.kvs[storage], KV_MEMORY, ret_stats);
}

static inline bool remote_is_ready(void *context) {
    (void)context;
    return true;
}

static inline enum err remote_on_submit(void *context, struct broker_write *write) {
    (void)context;
    return write->at_once ? ERR_WOULD_WAIT : remote_add(REMOTE_SUBMIT, write);
}

static inline enum err remote_on_receive(void *context, struct broker_receive *receive) {
    (void)context;
    return receive->at_once ? ERR_WOULD_WAIT : remote_add(REMOTE_RECEIVE, receive);
}

/* Queued: it comes back empty when its turn comes. */
static inline bool remote_stop_queued(const struct broker_receive *receive,
                                      const struct broker_consumer *consumer) {
    bool found = false;
    pthread_mutex_lock(&remote.lock);
    for (struct remote_job *job = remote.first; job; job = job->next) {
        const struct broker_receive *at = job->kind == REMOTE_RECEIVE ? job->what : NULL;
        if (at && (at == receive || (consumer && at->consumer == consumer)))
            job->stopped = found = true;
    }
    pthread_mutex_unlock(&remote.lock);
    return found;
}

static inline void remote_on_receive_stop(void *context, struct broker_receive *receive) {
    (void)context;
    pthread_mutex_lock(&remote.running);
    if (!remote_stop_queued(receive, NULL) && receive->remote_data)
        broker_receive_stop(remote.local, receive);
    pthread_mutex_unlock(&remote.running);
}

static inline void remote_on_give_back(void *context, struct broker_receive *receive) {
    (void)context;
    if (receive->count)
        broker_give_back(remote.local, receive);
}

/* What was received is the local broker's, which frees it by itself: a receive that never got
 * there holds nothing. */
static inline void remote_on_receive_free(void *context, struct broker_receive *receive) {
    (void)context;
    assert_int_equal(receive->count, 0);
}

static inline enum err remote_on_consumer_open(void *context, struct slice queue, unsigned prefetch,
                                               struct broker_consumer *ret_consumer) {
    struct remote_consumer *consumer = calloc(1, sizeof *consumer);
    (void)context;
    memcpy(consumer->name, queue.ptr, queue.len);
    consumer->name_len = queue.len;
    *ret_consumer =
        (struct broker_consumer){.prefetch = prefetch, .open = true, .remote = consumer};
    return OK;
}

static inline void remote_on_consumer_close(void *context, struct broker_consumer *consumer) {
    struct remote_consumer *own = consumer->remote;
    (void)context;
    pthread_mutex_lock(&remote.running);
    remote_stop_queued(NULL, consumer);
    if (own->open)
        broker_consumer_close(remote.local, &own->local);
    free(own);
    pthread_mutex_unlock(&remote.running);
}

static inline enum err remote_on_ask(void *context, struct broker_query *query) {
    (void)context;
    return remote_add(REMOTE_ASK, query);
}

static inline void remote_on_drain(void *context) {
    (void)context;
    pthread_mutex_lock(&remote.running);
    broker_drain(remote.local);
    pthread_mutex_unlock(&remote.running);
}

static inline void remote_on_broker_stats(void *context, struct broker_stats *ret_stats) {
    (void)context;
    broker_stats(remote.local, ret_stats);
}

static const struct kv_remote remote_kv = {
    .read = remote_on_read,
    .submit = remote_on_write,
    .list = remote_on_list,
    .count = remote_on_count,
    .stats = remote_on_kv_stats,
    .is_ready = remote_is_ready,
};

static const struct broker_remote remote_broker = {
    .submit = remote_on_submit,
    .receive = remote_on_receive,
    .receive_stop = remote_on_receive_stop,
    .give_back = remote_on_give_back,
    .receive_free = remote_on_receive_free,
    .consumer_open = remote_on_consumer_open,
    .consumer_close = remote_on_consumer_close,
    .ask = remote_on_ask,
    .drain = remote_on_drain,
    .stats = remote_on_broker_stats,
    .is_ready = remote_is_ready,
};

/* ---- opening and closing ---- */

/* With a thread of its own, or only as the test says. */
static inline void remote_open(struct core *core, bool threaded) {
    char why[256];
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    memset(&remote, 0, sizeof remote);
    pthread_mutex_init(&remote.running, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_mutex_init(&remote.lock, NULL);
    pthread_cond_init(&remote.changed, NULL);
    remote.last = &remote.first;
    remote.threaded = threaded;
    struct kv_options here = {0};
    struct kv_options far = {.remote = &remote_kv};
    struct broker_options broker_here = {.manual_clock = true};
    struct broker_options broker_far = {.remote = &remote_broker};
    assert_int_equal(kv_open(&here, &remote.kvs[KV_MEMORY], why, sizeof why), OK);
    assert_int_equal(kv_open(&here, &remote.kvs[KV_HDD], why, sizeof why), OK);
    assert_int_equal(kv_open(&far, &remote.kv, why, sizeof why), OK);
    assert_int_equal(broker_open(&broker_here, &remote.local, why, sizeof why), OK);
    assert_int_equal(broker_open(&broker_far, &remote.broker, why, sizeof why), OK);
    core->kv = remote.kv;
    core->broker = remote.broker;
    if (threaded)
        assert_int_equal(pthread_create(&remote.thread, NULL, remote_main, NULL), 0);
}

/* The doors are closed: nothing is under way. */
static inline void remote_close(void) {
    if (remote.threaded) {
        pthread_mutex_lock(&remote.lock);
        remote.ending = true;
        pthread_cond_broadcast(&remote.changed);
        pthread_mutex_unlock(&remote.lock);
        pthread_join(remote.thread, NULL);
    }
    assert_int_equal(remote.queued, 0);
    broker_drain(remote.broker);
    broker_close(remote.broker);
    broker_close(remote.local);
    kv_close(remote.kv);
    kv_close(remote.kvs[KV_MEMORY]);
    kv_close(remote.kvs[KV_HDD]);
    pthread_cond_destroy(&remote.changed);
    pthread_mutex_destroy(&remote.lock);
    pthread_mutex_destroy(&remote.running);
}

#endif
