/* SPDX-License-Identifier: MIT */
/* A broker with a clock that is moved by hand, in memory alone or on a data directory, and what is
 * asked of it: answers are waited for. */
#ifndef HATI_TESTS_BROKER_CASE_H
#define HATI_TESTS_BROKER_CASE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "broker/disk_inside.h"
#include "broker/internal.h"

struct fixture {
    struct broker *broker;
    struct datadir *datadir; /* NULL: memory alone */
    bool on_disk;
    char dir[64];
    char why[300];
    int64_t now_ms;
    uint64_t write_buffer_bytes, memory_limit_bytes;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* Something that is answered later. */
struct answer {
    struct fixture *f;
    bool came;
};

static inline void case_came(struct answer *answer) {
    pthread_mutex_lock(&answer->f->lock);
    answer->came = true;
    pthread_cond_broadcast(&answer->f->changed);
    pthread_mutex_unlock(&answer->f->lock);
}

static inline bool case_has_come(struct answer *answer) {
    pthread_mutex_lock(&answer->f->lock);
    bool came = answer->came;
    pthread_mutex_unlock(&answer->f->lock);
    return came;
}

static inline void case_await(struct answer *answer) {
    pthread_mutex_lock(&answer->f->lock);
    while (!answer->came)
        pthread_cond_wait(&answer->f->changed, &answer->f->lock);
    pthread_mutex_unlock(&answer->f->lock);
}

static inline void case_write_came(struct broker_write *write) {
    case_came(write->context);
}

static inline void case_receive_came(struct broker_receive *receive) {
    case_came(receive->context);
}

/* ---- opening ---- */

/* An error leaves nothing open. */
static inline enum err case_try_open(struct fixture *f) {
    struct datadir_options dir = {.dir = f->dir, .segment_bytes = 1U << 20};
    struct broker_options options = {.manual_clock = true,
                                     .write_buffer_bytes = f->write_buffer_bytes,
                                     .memory_limit_bytes = f->memory_limit_bytes};
    enum err err = OK;
    f->broker = NULL;
    f->datadir = NULL;
    f->why[0] = '\0';
    if (f->on_disk)
        err = datadir_open(&dir, &f->datadir, f->why, sizeof f->why);
    options.datadir = f->datadir;
    if (!err)
        err = broker_open(&options, &f->broker, f->why, sizeof f->why);
    if (!err && f->on_disk)
        err = datadir_start(f->datadir, f->why, sizeof f->why);
    if (!err) {
        broker_tick(f->broker, f->now_ms);
        return OK;
    }
    if (f->datadir)
        datadir_stop(f->datadir);
    broker_close(f->broker);
    datadir_close(f->datadir);
    f->broker = NULL;
    f->datadir = NULL;
    return err;
}

static inline void case_open(struct fixture *f) {
    enum err err = case_try_open(f);
    if (err)
        fail_msg("%s: %s", err_text(err), f->why);
}

static inline void case_close(struct fixture *f) {
    broker_drain(f->broker);
    if (f->datadir)
        datadir_stop(f->datadir);
    broker_close(f->broker);
    datadir_close(f->datadir);
    f->broker = NULL;
    f->datadir = NULL;
}

static inline void case_init(struct fixture *f, bool on_disk) {
    *f = (struct fixture){.on_disk = on_disk, .now_ms = clock_wall_ms()};
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    snprintf(f->dir, sizeof f->dir, "%s/hati-unit-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"); /* where a sync takes no time */
    if (on_disk)
        assert_non_null(mkdtemp(f->dir));
}

static inline void case_done(struct fixture *f) {
    char command[100];
    if (f->broker)
        case_close(f);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    if (f->on_disk)
        assert_int_equal(system(command), 0);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
}

static inline int case_set_up(void **state, bool on_disk) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    case_init(f, on_disk);
    case_open(f);
    *state = f;
    return 0;
}

static inline int set_up_memory(void **state) {
    return case_set_up(state, false);
}

static inline int set_up_disk(void **state) {
    return case_set_up(state, true);
}

static inline int tear_down(void **state) {
    case_done(*state);
    free(*state);
    return 0;
}

static inline void case_reopen(struct fixture *f) {
    case_close(f);
    case_open(f);
}

/* ---- asking ---- */

static inline enum err case_submit(struct fixture *f, struct broker_op *ops, unsigned count) {
    struct answer answer = {f, false};
    struct broker_write write = {.ops = ops,
                                 .op_count = count,
                                 .now_ms = f->now_ms,
                                 .done = case_write_came,
                                 .context = &answer};
    enum err err = broker_submit(f->broker, &write);
    if (err != ERR_PENDING)
        return err;
    case_await(&answer);
    return write.err;
}

static inline struct broker_op case_run(struct fixture *f, struct broker_op op) {
    enum err err = case_submit(f, &op, 1);
    if (err)
        op.err = err;
    return op;
}

static inline struct broker_op queue_op(enum broker_action action, const char *queue) {
    return (struct broker_op){.action = action, .queue = slice_of_cstr(queue)};
}

static inline struct broker_queue_options options_of(enum broker_storage storage) {
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    options.storage = storage;
    return options;
}

static inline enum err case_make_queue(struct fixture *f, const char *name,
                                       struct broker_queue_options options) {
    struct broker_op op = queue_op(BROKER_CREATE_QUEUE, name);
    op.options = &options;
    return case_run(f, op).err;
}

static inline enum err case_make_router(struct fixture *f, const char *name,
                                        enum broker_router_type type) {
    return case_run(f, (struct broker_op){.action = BROKER_CREATE_ROUTER,
                                          .router = slice_of_cstr(name),
                                          .router_type = type})
        .err;
}

static inline struct broker_op binding_op(enum broker_action action, const char *router,
                                          const char *queue, const char *pattern) {
    return (struct broker_op){.action = action,
                              .router = slice_of_cstr(router),
                              .queue = slice_of_cstr(queue),
                              .pattern = slice_of_cstr(pattern ? pattern : ""),
                              .pattern_given = pattern != NULL};
}

static inline struct broker_op publish_op(const char *router, const char *key,
                                          const char *payload) {
    return (struct broker_op){.action = BROKER_PUBLISH,
                              .router = slice_of_cstr(router),
                              .routing_key = slice_of_cstr(key),
                              .payload = slice_of_cstr(payload)};
}

static inline enum err case_publish(struct fixture *f, const char *queue, const char *payload) {
    return case_run(f, publish_op("default", queue, payload)).err;
}

/* Ends where there is something, or nothing comes at once. */
static inline enum err case_receive(struct fixture *f, const char *queue, unsigned max,
                                    struct broker_receive *receive) {
    struct answer answer = {f, false};
    *receive = (struct broker_receive){.queue = slice_of_cstr(queue),
                                       .max = max,
                                       .now_ms = f->now_ms,
                                       .done = case_receive_came,
                                       .context = &answer};
    enum err err = broker_receive(f->broker, receive);
    if (err != ERR_PENDING)
        return err;
    case_await(&answer);
    return receive->err;
}

static inline struct slice receipt_of(const struct broker_delivery *delivery) {
    return slice_make(delivery->receipt, BROKER_RECEIPT_BYTES - 1);
}

static inline struct broker_op case_settle(struct fixture *f, enum broker_action action,
                                           const char *queue,
                                           const struct broker_delivery *delivery) {
    struct broker_op op = queue_op(action, queue);
    op.receipt = receipt_of(delivery);
    return case_run(f, op);
}

/* Takes up to max and acks them; their payloads, each with a space behind it. */
static inline const char *case_drain(struct fixture *f, const char *queue, unsigned max) {
    static char text[1000];
    struct broker_receive receive;
    size_t len = 0;
    text[0] = '\0';
    assert_int_equal(case_receive(f, queue, max, &receive), OK);
    for (unsigned i = 0; i < receive.count; i++) {
        const struct broker_delivery *got = &receive.deliveries[i];
        if (len < sizeof text - 1)
            len += (size_t)snprintf(text + len, sizeof text - len, "%.*s ", (int)got->payload.len,
                                    got->payload.ptr);
        assert_int_equal(case_settle(f, BROKER_ACK, queue, got).err, OK);
    }
    broker_receive_free(&receive);
    return text;
}

static inline struct broker_queue_stats case_stats(struct fixture *f, const char *queue) {
    struct arena arena;
    struct broker_queue_info info;
    arena_init(&arena, 1 << 16);
    assert_int_equal(broker_get_queue(f->broker, slice_of_cstr(queue), f->now_ms, &arena, &info),
                     OK);
    arena_done(&arena);
    return info.stats;
}

/* Everything that was submitted to the committer before is done. */
static inline void case_barrier(struct fixture *f) {
    struct answer answer = {f, false};
    struct broker_op op = queue_op(BROKER_NACK, "no queue has this name");
    struct broker_write write = {.ops = &op,
                                 .op_count = 1,
                                 .in_order = true,
                                 .now_ms = f->now_ms,
                                 .done = case_write_came,
                                 .context = &answer};
    if (broker_submit(f->broker, &write) == ERR_PENDING)
        case_await(&answer);
}

static inline void case_advance(struct fixture *f, int64_t by_ms) {
    f->now_ms += by_ms;
    broker_tick(f->broker, f->now_ms);
    case_barrier(f); /* what moves on */
}

#endif
