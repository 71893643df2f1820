/* SPDX-License-Identifier: MIT */
/* What the units of both stores share: short words for writes and reads through kv.h. */
#ifndef HATI_TESTS_KV_CASE_H
#define HATI_TESTS_KV_CASE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kv/kv.h"

#define NOW 1700000000000

struct kv_case {
    struct kv *kv;
    enum kv_storage storage;
    struct arena arena;
    char dir[64];
};

/* A write that is waited for. */
struct waited {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static inline void waited_done(void *context) {
    struct waited *waited = context;
    pthread_mutex_lock(&waited->lock);
    waited->done = true;
    pthread_cond_signal(&waited->changed);
    pthread_mutex_unlock(&waited->lock);
}

static inline void waited_for(struct waited *waited) {
    pthread_mutex_lock(&waited->lock);
    while (!waited->done)
        pthread_cond_wait(&waited->changed, &waited->lock);
    pthread_mutex_unlock(&waited->lock);
}

#define WAITED                                                                                     \
    { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false }

static inline void write_came(struct kv_write *write) {
    waited_done(write->context);
}
static inline void list_came(struct kv_list *list) {
    waited_done(list->context);
}
static inline void count_came(struct kv_count *count) {
    waited_done(count->context);
}

static inline enum err submit_many(struct kv_case *c, struct kv_op *ops, unsigned count,
                                   int64_t now_ms, unsigned *ret_failed) {
    struct waited waited = WAITED;
    struct kv_write write = {
        .ops = ops, .op_count = count, .now_ms = now_ms, .done = write_came, .context = &waited};
    enum err err = kv_submit(c->kv, &write);
    if (err == ERR_PENDING) {
        waited_for(&waited);
        err = write.err;
    }
    if (ret_failed)
        *ret_failed = write.failed_index;
    return err;
}

static inline struct kv_ref ref_of(struct kv_case *c, const char *key) {
    return (struct kv_ref){c->storage, {{1}}, SLICE("default"), slice_of_cstr(key)};
}

static inline struct kv_op set_op(struct kv_case *c, const char *key, const char *value) {
    return (struct kv_op){.action = KV_SET, .ref = ref_of(c, key), .value = slice_of_cstr(value)};
}

static inline enum err submit_at(struct kv_case *c, struct kv_op *op, int64_t now_ms) {
    return submit_many(c, op, 1, now_ms, NULL);
}

static inline enum err set_ttl(struct kv_case *c, const char *key, const char *value,
                               int64_t ttl_ms) {
    struct kv_op op = set_op(c, key, value);
    op.ttl_ms = ttl_ms;
    return submit_at(c, &op, NOW);
}

static inline void set_key(struct kv_case *c, const char *key, const char *value) {
    assert_int_equal(set_ttl(c, key, value, 0), OK);
}

static inline bool delete_key(struct kv_case *c, const char *key) {
    struct kv_op op = {.action = KV_DELETE, .ref = ref_of(c, key)};
    assert_int_equal(submit_at(c, &op, NOW), OK);
    return op.existed;
}

static inline enum err get_at(struct kv_case *c, const char *key, int64_t now_ms,
                              struct kv_entry *ret_entry) {
    struct kv_ref ref = ref_of(c, key);
    return kv_get(c->kv, &ref, now_ms, KV_WANT_ALL, &c->arena, ret_entry);
}

static inline void assert_value(struct kv_case *c, const char *key, const char *value) {
    struct kv_entry entry;
    assert_int_equal(get_at(c, key, NOW, &entry), OK);
    assert_int_equal(entry.value.len, strlen(value));
    assert_memory_equal(entry.value.ptr, value, strlen(value));
}

static inline void assert_absent_at(struct kv_case *c, const char *key, int64_t now_ms) {
    struct kv_entry entry;
    assert_int_equal(get_at(c, key, now_ms, &entry), ERR_KEY_NOT_EXIST);
}

static inline uint64_t count_at(struct kv_case *c, int64_t now_ms) {
    struct waited waited = WAITED;
    struct kv_count count = {
        .storage = c->storage, .now_ms = now_ms, .done = count_came, .context = &waited};
    enum err err = kv_count_keys(c->kv, &count);
    if (err == ERR_PENDING) {
        waited_for(&waited);
        err = count.err;
    }
    assert_int_equal(err, OK);
    return count.keys;
}

/* The page's keys joined by commas, `+` behind them where more follow; in the arena. */
static inline const char *list_at(struct kv_case *c, const char *prefix, const char *after,
                                  unsigned limit, int64_t now_ms) {
    struct waited waited = WAITED;
    struct kv_list list = {.storage = c->storage,
                           .workspace = {{1}},
                           .ns = SLICE("default"),
                           .prefix = slice_of_cstr(prefix),
                           .after = slice_of_cstr(after),
                           .limit = limit,
                           .now_ms = now_ms,
                           .arena = &c->arena,
                           .done = list_came,
                           .context = &waited};
    enum err err = kv_list_keys(c->kv, &list);
    if (err == ERR_PENDING) {
        waited_for(&waited);
        err = list.err;
    }
    assert_int_equal(err, OK);
    const char *joined = "";
    for (unsigned i = 0; i < list.key_count; i++)
        joined = arena_printf(&c->arena, "%s%s%.*s", joined, i ? "," : "", (int)list.keys[i].len,
                              list.keys[i].ptr);
    return arena_printf(&c->arena, "%s%s", joined, list.more ? "+" : "");
}

#endif
