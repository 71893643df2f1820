/* SPDX-License-Identifier: MIT */
/* What the units of cuts share: stores with all kinds of things in them, and a cut as text. */
#ifndef HATI_TESTS_CUT_CASE_H
#define HATI_TESTS_CUT_CASE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "journal/datadir.h"
#include "snapshot/cut.h"

#define LINES_MAX 20000U
#define LINE_BYTES 300U

struct fixture {
    struct kv *kv;
    struct broker *broker;
    struct datadir *datadir;
    char dir[64];
};

/* ---- opening ---- */

static inline void open_all(struct fixture *f) {
    char why[300] = "";
    struct datadir_options dir = {.dir = f->dir};
    if (f->dir[0] && datadir_open(&dir, &f->datadir, why, sizeof why))
        fail_msg("%s", why);
    struct kv_options keys = {
        .datadir = f->datadir, .hdd_shards = 2, .write_buffer_bytes = 64U << 10};
    if (kv_open(&keys, &f->kv, why, sizeof why))
        fail_msg("%s", why);
    struct broker_options queues = {.datadir = f->datadir, .manual_clock = true};
    if (broker_open(&queues, &f->broker, why, sizeof why))
        fail_msg("%s", why);
    if (f->dir[0] && datadir_start(f->datadir, why, sizeof why))
        fail_msg("%s", why);
}

static inline void close_all(struct fixture *f) {
    broker_drain(f->broker);
    if (f->datadir)
        datadir_stop(f->datadir);
    broker_close(f->broker);
    kv_close(f->kv);
    datadir_close(f->datadir);
    f->datadir = NULL;
}

static inline void open_new(struct fixture *f, bool on_disk) {
    *f = (struct fixture){0};
    if (on_disk) {
        snprintf(f->dir, sizeof f->dir, "/tmp/hati-unit-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
    }
    open_all(f);
}

static inline void close_and_remove(struct fixture *f) {
    char command[100];
    close_all(f);
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    if (f->dir[0])
        assert_int_equal(system(command), 0);
}

static inline int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    open_new(f, true);
    *state = f;
    return 0;
}

static inline int tear_down(void **state) {
    close_and_remove(*state);
    free(*state);
    return 0;
}

/* ---- writing ---- */

struct waited {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};
#define WAITED                                                                                     \
    { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false }

static inline void wake(struct waited *waited) {
    pthread_mutex_lock(&waited->lock);
    waited->done = true;
    pthread_cond_signal(&waited->changed);
    pthread_mutex_unlock(&waited->lock);
}

static inline void await(struct waited *waited) {
    pthread_mutex_lock(&waited->lock);
    while (!waited->done)
        pthread_cond_wait(&waited->changed, &waited->lock);
    pthread_mutex_unlock(&waited->lock);
}

static inline void keys_done(struct kv_write *write) {
    wake(write->context);
}
static inline void queues_done(struct broker_write *write) {
    wake(write->context);
}
static inline void receive_done(struct broker_receive *receive) {
    wake(receive->context);
}

static inline enum err write_keys(struct fixture *f, struct kv_op *ops, unsigned count) {
    struct waited waited = WAITED;
    struct kv_write write = {.ops = ops,
                             .op_count = count,
                             .now_ms = clock_wall_ms(),
                             .done = keys_done,
                             .context = &waited};
    enum err err = kv_submit(f->kv, &write);
    if (err == ERR_PENDING)
        await(&waited);
    return write.err;
}

static inline struct kv_op key_op(enum kv_action action, enum kv_storage storage, const char *key,
                                  const char *value) {
    return (struct kv_op){.action = action,
                          .ref = {storage, {{7}}, SLICE("ns"), slice_of_cstr(key)},
                          .content_type = SLICE("text/x"),
                          .value = slice_of_cstr(value)};
}

static inline void set(struct fixture *f, enum kv_storage storage, const char *key,
                       const char *value) {
    struct kv_op op = key_op(KV_SET, storage, key, value);
    assert_int_equal(write_keys(f, &op, 1), OK);
}

static inline void set_ttl(struct fixture *f, enum kv_storage storage, const char *key,
                           int64_t ttl_ms) {
    struct kv_op op = key_op(KV_SET, storage, key, "v");
    op.ttl_ms = ttl_ms;
    assert_int_equal(write_keys(f, &op, 1), OK);
}

static inline struct kv_op add_op(enum kv_storage storage, const char *key, int64_t by) {
    struct kv_op op = key_op(KV_INCREMENT, storage, key, "");
    op.by = by;
    return op;
}

static inline enum err do_broker(struct fixture *f, struct broker_op *op) {
    struct waited waited = WAITED;
    struct broker_write write = {.ops = op,
                                 .op_count = 1,
                                 .now_ms = clock_wall_ms(),
                                 .done = queues_done,
                                 .context = &waited};
    enum err err = broker_submit(f->broker, &write);
    if (err == ERR_PENDING)
        await(&waited);
    return write.err;
}

static inline void make_queue(struct fixture *f, const char *name, enum broker_storage storage,
                              const struct broker_queue_options *like) {
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    if (like)
        options = *like;
    options.storage = storage;
    struct broker_op op = {
        .action = BROKER_CREATE_QUEUE, .queue = slice_of_cstr(name), .options = &options};
    assert_int_equal(do_broker(f, &op), OK);
}

static inline void bind(struct fixture *f, const char *router, const char *queue) {
    struct broker_op op = {
        .action = BROKER_BIND, .router = slice_of_cstr(router), .queue = slice_of_cstr(queue)};
    assert_int_equal(do_broker(f, &op), OK);
}

static inline void make_fanout(struct fixture *f, const char *name, const char *a, const char *b) {
    struct broker_op op = {.action = BROKER_CREATE_ROUTER,
                           .router = slice_of_cstr(name),
                           .router_type = ROUTER_FANOUT};
    assert_int_equal(do_broker(f, &op), OK);
    bind(f, name, a);
    bind(f, name, b);
}

static inline struct broker_op publish_op(const char *router, const char *key,
                                          const char *payload) {
    return (struct broker_op){.action = BROKER_PUBLISH,
                              .router = slice_of_cstr(router),
                              .routing_key = slice_of_cstr(key),
                              .payload = slice_of_cstr(payload)};
}

static inline void publish(struct fixture *f, const char *queue, const char *payload) {
    struct broker_op op = publish_op("default", queue, payload);
    assert_int_equal(do_broker(f, &op), OK);
}

/* Takes messages, and acks them or not. */
static inline unsigned receive(struct fixture *f, const char *queue, unsigned max, bool ack) {
    struct waited waited = WAITED;
    struct broker_receive wish = {
        .queue = slice_of_cstr(queue), .max = max, .done = receive_done, .context = &waited};
    enum err err = broker_receive(f->broker, &wish);
    if (err == ERR_PENDING)
        await(&waited);
    unsigned count = wish.count;
    for (unsigned i = 0; ack && i < count; i++) {
        struct broker_op op = {.action = BROKER_ACK,
                               .queue = slice_of_cstr(queue),
                               .receipt = slice_of_cstr(wish.deliveries[i].receipt)};
        assert_int_equal(do_broker(f, &op), OK);
    }
    broker_receive_free(&wish);
    return count;
}

/* ---- a batch over keys and queues, as Storage.Batch is one ---- */

struct batch {
    struct commit_job job;
    struct fixture *f;
    struct kv_op key;
    struct broker_op message;
    struct waited waited;
    enum err err;
};

static inline uint64_t batch_size(const struct commit_job *job) {
    const struct batch *batch = (const struct batch *)job;
    struct broker_op message = batch->message;
    return kv_stage_size(&batch->key) + broker_stage_size(batch->f->broker, &message);
}

static inline void batch_prepare(void *context, struct commit_job *job,
                                 struct journal_block *block) {
    struct batch *batch = (struct batch *)job;
    struct kv_stage *stage;
    (void)context;
    broker_stage_size(batch->f->broker, &batch->message);
    batch->err = kv_stage_prepare(batch->f->kv, &batch->key, block);
    if (!batch->err)
        batch->err = kv_stage_begin(batch->f->kv, clock_wall_ms(), 1, block, &stage);
    if (batch->err)
        return;
    batch->err = kv_stage_op(stage, &batch->key);
    if (!batch->err)
        batch->err = broker_stage_op(batch->f->broker, &batch->message, clock_wall_ms(), block);
    kv_stage_end(stage);
}

static inline void batch_finish(struct commit_job *job) {
    struct batch *batch = (struct batch *)job;
    if (!batch->err)
        broker_stage_finish(batch->f->broker, &batch->message);
    wake(&batch->waited);
}

static inline void batch_refuse(struct commit_job *job, enum err err) {
    ((struct batch *)job)->err = err;
    wake(&((struct batch *)job)->waited);
}

static const struct commit_user batch_user = {
    .size = batch_size, .prepare = batch_prepare, .refuse = batch_refuse, .finish = batch_finish};

static inline enum err run_batch(struct fixture *f, struct kv_op key, struct broker_op message) {
    struct batch batch = {
        .job = {.user = &batch_user}, .f = f, .key = key, .message = message, .waited = WAITED};
    commit_submit(datadir_committer(f->datadir), &batch.job);
    await(&batch.waited);
    return batch.err;
}

/* ---- what a cut tells, as sorted lines ---- */

struct told {
    char (*lines)[LINE_BYTES];
    unsigned count;
    unsigned in_queue; /* messages told of the queue at hand */
    char queue[64];
    int64_t now_ms; /* times are told as what is left of them, in minutes */
};

static inline char *next_line(struct told *told) {
    assert_in_range(told->count, 0, LINES_MAX - 1);
    return told->lines[told->count++];
}

static inline int64_t minutes(const struct told *told, int64_t at_ms) {
    return at_ms ? (at_ms - told->now_ms + 30000) / 60000 : 0;
}

static inline enum err on_key(void *context, const struct kv_snapshot_entry *entry) {
    struct told *told = context;
    snprintf(next_line(told), LINE_BYTES, "%s %.*s/%.*s [%.*s] %.*s %lld",
             entry->storage == KV_HDD ? "hdd" : "memory", (int)entry->ns.len, entry->ns.ptr,
             (int)entry->key.len, entry->key.ptr, (int)entry->content_type.len,
             entry->content_type.ptr, (int)entry->value.len, entry->value.ptr,
             (long long)minutes(told, entry->expires_at_ms));
    return entry->revision && entry->workspace.bytes[0] == 7 ? OK : ERR_INTERNAL;
}

static inline enum err on_queue(void *context, const struct broker_snapshot_queue *queue) {
    const struct broker_queue_options *o = &queue->options;
    snprintf(next_line(context), LINE_BYTES,
             "queue %.*s storage %d paused %d lease %lld ttl %lld dedup %lld max %llu deliver %u "
             "dead %.*s",
             (int)queue->name.len, queue->name.ptr, o->storage, o->paused, (long long)o->lease_ms,
             (long long)o->ttl_ms, (long long)o->dedup_window_ms, (unsigned long long)o->max_length,
             o->max_deliver, (int)o->dead_letter.len, o->dead_letter.ptr);
    return OK;
}

static inline enum err on_router(void *context, const struct broker_snapshot_router *router) {
    snprintf(next_line(context), LINE_BYTES, "router %.*s %d", (int)router->name.len,
             router->name.ptr, router->type);
    return OK;
}

static inline enum err on_binding(void *context, const struct broker_snapshot_binding *binding) {
    snprintf(next_line(context), LINE_BYTES, "binding %.*s > %.*s [%.*s]", (int)binding->router.len,
             binding->router.ptr, (int)binding->queue.len, binding->queue.ptr,
             (int)binding->pattern.len, binding->pattern.ptr);
    return OK;
}

static inline enum err on_message(void *context, const struct broker_snapshot_message *message) {
    struct told *told = context;
    if (!slice_equal(message->queue, slice_of_cstr(told->queue))) {
        snprintf(told->queue, sizeof told->queue, "%.*s", (int)message->queue.len,
                 message->queue.ptr);
        told->in_queue = 0;
    }
    snprintf(next_line(told), LINE_BYTES,
             "message %s %05u id %.*s key %.*s [%.*s] %.*s prio %d attempt %u from %.*s %d %u "
             "published %d expires %lld due %lld",
             told->queue, told->in_queue++, (int)message->id.len, message->id.ptr,
             (int)message->key.len, message->key.ptr, (int)message->headers.len,
             message->headers.ptr, (int)message->payload.len, message->payload.ptr,
             message->priority, message->attempt, (int)message->from.len, message->from.ptr,
             message->reason, message->dead_attempt, message->published_ms > 0,
             (long long)minutes(told, message->expires_ms),
             (long long)minutes(told, message->due_ms));
    return OK;
}

static inline int compare_lines(const void *a, const void *b) {
    return strcmp(a, b);
}

static inline void begin_told(struct told *told) {
    *told = (struct told){.lines = calloc(LINES_MAX, LINE_BYTES), .now_ms = clock_wall_ms()};
    assert_non_null(told->lines);
}

static inline void read_cut(struct kv_snapshot *keys, struct broker_snapshot *queues,
                            struct told *told) {
    struct broker_snapshot_sink sink = {told, on_queue, on_router, on_binding, on_message};
    assert_int_equal(kv_snapshot_each(keys, KV_MEMORY, on_key, told), OK);
    assert_int_equal(kv_snapshot_each(keys, KV_HDD, on_key, told), OK);
    assert_int_equal(broker_snapshot_each(queues, &sink), OK);
    qsort(told->lines, told->count, LINE_BYTES, compare_lines);
}

struct cut {
    struct kv_snapshot *keys;
    struct broker_snapshot *queues;
};

static inline struct cut take(struct fixture *f) {
    struct cut cut = {0};
    assert_int_equal(cut_take(f->kv, f->broker, f->datadir, &cut.keys, &cut.queues), OK);
    return cut;
}

static inline void end(struct cut *cut) {
    kv_snapshot_end(cut->keys);
    broker_snapshot_end(cut->queues);
}

static inline struct told tell_all(struct fixture *f) {
    struct told told;
    struct cut cut = take(f);
    begin_told(&told);
    read_cut(cut.keys, cut.queues, &told);
    end(&cut);
    return told;
}

static inline void assert_same(const struct told *a, const struct told *b) {
    for (unsigned i = 0; i < a->count && i < b->count; i++)
        assert_string_equal(a->lines[i], b->lines[i]);
    assert_int_equal(a->count, b->count);
}

static inline unsigned count_of(const struct told *told, const char *prefix) {
    unsigned count = 0;
    for (unsigned i = 0; i < told->count; i++)
        count += strncmp(told->lines[i], prefix, strlen(prefix)) == 0;
    return count;
}

/* The number that stands behind `prefix`; 0 where no line begins so. */
static inline long number_of(const struct told *told, const char *prefix) {
    for (unsigned i = 0; i < told->count; i++)
        if (strncmp(told->lines[i], prefix, strlen(prefix)) == 0)
            return strtol(told->lines[i] + strlen(prefix), NULL, 10);
    return 0;
}

static inline void fill_everything(struct fixture *f) {
    struct broker_queue_options options;
    char text[40];
    broker_queue_options_init(&options);
    options.max_deliver = 5;
    options.dedup_window_ms = 3600000;
    options.max_length = 100000;
    options.dead_letter = SLICE("dead");
    for (int storage = KV_MEMORY; storage < KV_STORAGES; storage++) {
        for (unsigned i = 0; i < 300; i++) {
            snprintf(text, sizeof text, "key-%u", i);
            set(f, (enum kv_storage)storage, text, text);
        }
        set_ttl(f, (enum kv_storage)storage, "lives-an-hour", 3600000);
    }
    make_queue(f, "dead", BROKER_HDD, NULL);
    make_queue(f, "on-hdd", BROKER_HDD, &options);
    make_queue(f, "on-memory", BROKER_MEMORY, &options);
    make_fanout(f, "both", "on-hdd", "on-memory");
    for (unsigned i = 0; i < 40; i++) {
        snprintf(text, sizeof text, "payload-%u", i);
        struct broker_op op = publish_op("both", "some.key", text);
        op.priority = (uint8_t)(i % 3);
        op.headers = SLICE("{\"a\":1}");
        op.ttl_ms = i % 4 == 0 ? 7200000 : 0;
        op.delay_ms = i % 5 == 0 ? 10800000 : 0;
        snprintf(text + 20, 20, "id-%u", i);
        op.id = slice_of_cstr(text + 20);
        assert_int_equal(do_broker(f, &op), OK);
    }
    assert_int_equal(receive(f, "on-hdd", 3, false), 3);
    assert_int_equal(receive(f, "on-memory", 4, false), 4);
    assert_int_equal(receive(f, "on-hdd", 2, true), 2);
    assert_int_equal(receive(f, "on-memory", 1, true), 1);
    struct broker_op pause = {.action = BROKER_PAUSE, .queue = SLICE("on-hdd"), .pause = true};
    assert_int_equal(do_broker(f, &pause), OK);
}

#endif
