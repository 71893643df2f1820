/* SPDX-License-Identifier: MIT */
/* The JSON-RPC engine over a store and tokens made up for tests: writes to hdd come back when the
 * test says so. Included by one program each; it stands in for kv and auth. */
#ifndef HATI_TESTS_RPC_FAKE_H
#define HATI_TESTS_RPC_FAKE_H

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "server/rpc.h"
#include "tests/unit/server/stage_fake.h"

#define FAKE_ENTRIES 64
#define FAKE_QUEUE 4096

struct fake_entry {
    bool used;
    enum kv_storage storage;
    struct uuid workspace;
    char ns[64], key[64];
    size_t ns_len, key_len, value_len;
    char *value;
    int64_t ttl_ms;
};

static struct fake_store {
    pthread_mutex_t lock;
    struct fake_entry entries[FAKE_ENTRIES];
    struct kv_write *queue[FAKE_QUEUE]; /* writes to hdd that have not come back */
    unsigned queued;
    struct kv_list *list; /* a listing that has not come back */
    unsigned gets;
    enum err fail; /* every storage call fails so */
    bool wake_before_return;
    bool park_lists;
    int64_t written_ms; /* the time that the last write came with */
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline bool fake_is(const struct fake_entry *entry, const struct kv_ref *ref) {
    return entry->used && entry->storage == ref->storage &&
           memcmp(&entry->workspace, &ref->workspace, sizeof ref->workspace) == 0 &&
           slice_equal(slice_make(entry->ns, entry->ns_len), ref->ns) &&
           slice_equal(slice_make(entry->key, entry->key_len), ref->key);
}

static inline struct fake_entry *fake_find(const struct kv_ref *ref) {
    for (unsigned i = 0; i < FAKE_ENTRIES; i++)
        if (fake_is(&fake.entries[i], ref))
            return &fake.entries[i];
    return NULL;
}

static inline void fake_set(const struct kv_op *op) {
    struct fake_entry *entry = fake_find(&op->ref);
    for (unsigned i = 0; !entry && i < FAKE_ENTRIES; i++)
        if (!fake.entries[i].used)
            entry = &fake.entries[i];
    assert_non_null(entry);
    free(entry->value);
    entry->used = true;
    entry->storage = op->ref.storage;
    entry->workspace = op->ref.workspace;
    entry->ns_len = op->ref.ns.len;
    memcpy(entry->ns, op->ref.ns.ptr, op->ref.ns.len);
    entry->key_len = op->ref.key.len;
    memcpy(entry->key, op->ref.key.ptr, op->ref.key.len);
    entry->value_len = op->value.len;
    entry->value = malloc(op->value.len + 1);
    if (op->value.len)
        memcpy(entry->value, op->value.ptr, op->value.len);
    entry->ttl_ms = op->ttl_ms;
}

static inline enum err fake_change(struct kv_op *op) {
    struct fake_entry *entry = fake_find(&op->ref);
    op->existed = entry != NULL;
    op->revision = 7;
    if ((op->condition == KV_IF_ABSENT && entry) || op->condition == KV_IF_REVISION ||
        op->condition == KV_IF_ETAG)
        return ERR_PRECONDITION_FAILED;
    if (op->action == KV_SET)
        fake_set(op);
    else if (op->action == KV_DELETE && entry)
        entry->used = false;
    else if (op->action == KV_INCREMENT)
        op->number = op->by;
    else if (op->action == KV_TOUCH && !entry)
        return ERR_KEY_NOT_EXIST;
    return OK;
}

static inline void fake_apply_locked(struct kv_write *write) {
    write->err = fake.fail;
    for (unsigned i = 0; i < write->op_count && !write->err; i++)
        write->err = fake_change(&write->ops[i]);
}

enum err kv_get(struct kv *kv, const struct kv_ref *ref, int64_t now_ms, unsigned want,
                struct arena *arena, struct kv_entry *ret_entry) {
    (void)kv, (void)now_ms, (void)want;
    pthread_mutex_lock(&fake.lock);
    fake.gets++;
    struct fake_entry *entry = fake_find(ref);
    enum err err = fake.fail ? fake.fail : entry ? OK : ERR_KEY_NOT_EXIST;
    if (!err) {
        memset(ret_entry, 0, sizeof *ret_entry);
        ret_entry->value = arena_copy(arena, slice_make(entry->value, entry->value_len));
        ret_entry->revision = 5;
        if (!ret_entry->value.ptr)
            err = ERR_OUT_OF_MEMORY;
    }
    pthread_mutex_unlock(&fake.lock);
    return err;
}

uint64_t kv_prefetch(struct kv *kv, const struct kv_ref *ref) {
    (void)kv, (void)ref;
    return 0;
}

void kv_prefetch_again(struct kv *kv, enum kv_storage storage, uint64_t token) {
    (void)kv, (void)storage, (void)token;
}

enum err kv_submit(struct kv *kv, struct kv_write *write) {
    bool at_once = write->ops[0].ref.storage == KV_MEMORY;
    (void)kv;
    pthread_mutex_lock(&fake.lock);
    bool wake = fake.wake_before_return;
    fake.written_ms = write->now_ms;
    if (at_once || wake)
        fake_apply_locked(write);
    else
        fake.queue[fake.queued++] = write;
    enum err err = write->err;
    pthread_mutex_unlock(&fake.lock);
    if (at_once)
        return err;
    if (wake)
        write->done(write);
    return ERR_PENDING;
}

static inline void fake_fill_list(struct kv_list *list) {
    list->keys = arena_alloc(list->arena, sizeof *list->keys);
    list->keys[0] = arena_copy(list->arena, SLICE("a"));
    list->key_count = 1;
    list->more = list->limit == 1;
    list->err = OK;
}

enum err kv_list_keys(struct kv *kv, struct kv_list *list) {
    (void)kv;
    if (fake.park_lists) {
        pthread_mutex_lock(&fake.lock);
        fake.list = list;
        pthread_mutex_unlock(&fake.lock);
        return ERR_PENDING;
    }
    fake_fill_list(list);
    return OK;
}

enum err kv_count_keys(struct kv *kv, struct kv_count *count) {
    (void)kv;
    count->keys = 7;
    return OK;
}

void kv_stats(struct kv *kv, enum kv_storage storage, struct kv_stats *ret_stats) {
    (void)kv, (void)storage;
    *ret_stats = (struct kv_stats){0};
}

const struct auth_grant auth_grant_everything = {.everything = true};
const struct auth_grant auth_grant_nothing = {0};

/* A signed-in caller may do all but administer, in no workspace but its own. */
enum err auth_allows(const struct auth_grant *grant, enum auth_scope scope, struct slice name,
                     int64_t now_ms) {
    (void)name, (void)now_ms;
    if (grant->everything)
        return OK;
    if (!grant->signed_in)
        return ERR_AUTH_REQUIRED;
    return scope == AUTH_ADMIN ? ERR_FORBIDDEN : OK;
}

enum err auth_allows_workspace(const struct auth_grant *grant, const struct uuid *workspace) {
    if (grant->everything || memcmp(&grant->workspace, workspace, sizeof *workspace) == 0)
        return OK;
    return ERR_FORBIDDEN;
}

enum err auth_make_ticket(struct auth *auth, const struct auth_grant *grant, struct slice path,
                          int64_t now_ms, char ret_ticket[AUTH_TICKET_MAX]) {
    (void)auth, (void)grant, (void)path, (void)now_ms;
    ret_ticket[0] = '\0';
    return OK;
}

enum err auth_take_ticket(struct auth *auth, struct slice ticket, struct slice path, int64_t now_ms,
                          struct auth_grant *ret_grant) {
    (void)auth, (void)ticket, (void)path, (void)now_ms, (void)ret_grant;
    return ERR_AUTH_REQUIRED;
}

void auth_stats(struct auth *auth, uint64_t *ret_hits, uint64_t *ret_misses) {
    (void)auth;
    *ret_hits = *ret_misses = 0;
}

static inline unsigned fake_queued(void) {
    pthread_mutex_lock(&fake.lock);
    unsigned queued = fake.queued;
    pthread_mutex_unlock(&fake.lock);
    return queued;
}

/* All writes that arrived come back, in order or from the last to the first. */
static inline unsigned fake_come_back(bool backwards) {
    static _Thread_local struct kv_write *queue[FAKE_QUEUE];
    pthread_mutex_lock(&fake.lock);
    unsigned count = fake.queued;
    memcpy(queue, fake.queue, sizeof *queue * count);
    fake.queued = 0;
    for (unsigned i = 0; i < count; i++)
        fake_apply_locked(queue[i]);
    pthread_mutex_unlock(&fake.lock);
    for (unsigned i = 0; i < count; i++) {
        struct kv_write *write = queue[backwards ? count - 1 - i : i];
        write->done(write);
    }
    return count;
}

static inline void fake_forget(void) {
    for (unsigned i = 0; i < FAKE_ENTRIES; i++) {
        free(fake.entries[i].value);
        fake.entries[i] = (struct fake_entry){0};
    }
    assert_int_equal(fake.queued, 0);
    fake.gets = 0;
    fake.list = NULL;
    fake.fail = OK;
    fake.wake_before_return = fake.park_lists = false;
}

/* One request of a test. */
struct asking {
    struct rpc_request request;
    struct core core;
    struct buf out;
    unsigned done_count;
    enum err err;
};

static inline void on_done(struct rpc_request *request) {
    ((struct asking *)request->context)->done_count++;
}

static inline void ask_bytes(struct asking *asking, struct slice body, size_t out_max_bytes) {
    memset(asking, 0, sizeof *asking);
    buf_init(&asking->out, out_max_bytes);
    asking->core.payload_limit_bytes = 1U << 20;
    memset(asking->core.default_workspace.bytes, 0x11, 16);
    asking->request = (struct rpc_request){.core = &asking->core,
                                           .grant = &auth_grant_everything,
                                           .body = body,
                                           .now_ms = 1000,
                                           .out = &asking->out,
                                           .done = on_done,
                                           .context = asking};
}

static inline void ask(struct asking *asking, const char *body) {
    ask_bytes(asking, slice_of_cstr(body), 1U << 24);
    asking->err = rpc_run(&asking->request);
}

static inline void check_answer(struct asking *asking, const char *expected) {
    struct slice got = buf_slice(&asking->out);
    if (!slice_equal(got, slice_of_cstr(expected)))
        fail_msg("expected\n%s\ngot\n%.*s", expected, (int)got.len, got.ptr ? got.ptr : "");
}

static inline void asked(struct asking *asking) {
    rpc_free(&asking->request);
    buf_done(&asking->out);
}

/* Asks what is not parked; expects exactly this. */
static inline void expect(const char *body, const char *expected) {
    struct asking asking;
    ask(&asking, body);
    assert_int_equal(asking.err, OK);
    check_answer(&asking, expected);
    asked(&asking);
}

/* The same, but the data of errors is left out of the answer first. */
static inline void expect_without_data(const char *body, const char *expected) {
    struct asking asking;
    ask(&asking, body);
    assert_int_equal(asking.err, OK);
    buf_append_char(&asking.out, '\0');
    for (char *data; (data = strstr(asking.out.ptr, ",\"data\":{")) != NULL;) {
        char *end = strchr(data, '}');
        assert_non_null(end);
        memmove(data, end + 1, strlen(end + 1) + 1);
    }
    assert_string_equal(asking.out.ptr, expected);
    asked(&asking);
}

#endif
