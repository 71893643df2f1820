/* SPDX-License-Identifier: MIT */
/* A line server over a store, tokens and JSON-RPC made up for tests: writes to hdd come back when
 * the test says so. Included by one program each; it stands in for kv.c, auth and rpc.c. */
#ifndef HATI_TESTS_LINE_FAKE_H
#define HATI_TESTS_LINE_FAKE_H

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/line.h"
#include "server/rpc.h"
#include "tests/unit/server/stage_fake.h"

#define FAKE_ENTRIES 64
#define FAKE_QUEUE 4096
#define WAIT_S 60

struct kv {
    int unused;
};
struct auth {
    int unused;
};

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
    pthread_cond_t changed;
    struct fake_entry entries[FAKE_ENTRIES];
    struct kv_write *queue[FAKE_QUEUE]; /* writes to hdd that have not come back */
    unsigned queued;
    struct rpc_request *rpc; /* a JSON line that has not come back */
    unsigned gets[KV_STORAGES];
    bool wake_before_return;
    int64_t a_get_lasts_ms; /* so far the clock is moved by each */
    int64_t written_ms;     /* the time that the last write came with */
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

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

static inline void fake_apply_locked(struct kv_write *write) {
    struct kv_op *op = &write->ops[0];
    struct fake_entry *entry = fake_find(&op->ref);
    op->existed = entry != NULL;
    op->revision = 7;
    write->err = OK;
    if (op->action == KV_SET)
        fake_set(op);
    else if (op->action == KV_DELETE && entry)
        entry->used = false;
    else if (op->action == KV_INCREMENT)
        op->number = op->by;
}

enum err kv_get(struct kv *kv, const struct kv_ref *ref, int64_t now_ms, unsigned want,
                struct arena *arena, struct kv_entry *ret_entry) {
    (void)kv, (void)now_ms, (void)want;
    pthread_mutex_lock(&fake.lock);
    fake.gets[ref->storage]++;
    clock_move_for_test(fake.a_get_lasts_ms);
    struct fake_entry *entry = fake_find(ref);
    if (entry) {
        memset(ret_entry, 0, sizeof *ret_entry);
        ret_entry->value = arena_copy(arena, slice_make(entry->value, entry->value_len));
    }
    pthread_mutex_unlock(&fake.lock);
    return entry ? OK : ERR_KEY_NOT_EXIST;
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
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
    if (at_once)
        return write->err;
    if (wake)
        write->done(write);
    return ERR_PENDING;
}

enum err kv_list_keys(struct kv *kv, struct kv_list *list) {
    struct slice *keys = arena_alloc(list->arena, sizeof *keys);
    (void)kv;
    keys[0] = SLICE("a");
    list->keys = keys;
    list->key_count = 1;
    list->more = list->limit == 1;
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

enum err auth_check(struct auth *auth, struct slice token, int64_t now_ms,
                    struct auth_grant *ret_grant) {
    (void)auth, (void)now_ms;
    if (!slice_equal(token, SLICE("good")))
        return ERR_AUTH_REQUIRED;
    *ret_grant = (struct auth_grant){.signed_in = true, .has_workspace = true};
    memset(ret_grant->workspace.bytes, 0xAA, sizeof ret_grant->workspace.bytes);
    return OK;
}

enum err auth_allows(const struct auth_grant *grant, enum auth_scope scope, struct slice name,
                     int64_t now_ms) {
    (void)scope, (void)name, (void)now_ms;
    return grant->signed_in || grant->everything ? OK : ERR_AUTH_REQUIRED;
}

enum err auth_allows_workspace(const struct auth_grant *grant, const struct uuid *workspace) {
    if (grant->everything || memcmp(&grant->workspace, workspace, sizeof *workspace) == 0)
        return OK;
    return ERR_FORBIDDEN;
}

void auth_stats(struct auth *auth, uint64_t *ret_hits, uint64_t *ret_misses) {
    (void)auth;
    *ret_hits = *ret_misses = 0;
}

/* [..] is a notification, {"wait"…} comes back later, everything else is echoed. */
enum err rpc_run(struct rpc_request *request) {
    if (request->body.ptr[0] == '[')
        return OK;
    if (slice_starts_with(request->body, SLICE("{\"wait\""))) {
        pthread_mutex_lock(&fake.lock);
        fake.rpc = request;
        pthread_cond_broadcast(&fake.changed);
        pthread_mutex_unlock(&fake.lock);
        return ERR_PENDING;
    }
    buf_printf(request->out, "{\"ns\":\"%.*s\"}\n", (int)request->ns.len, request->ns.ptr);
    return OK;
}

void rpc_stop(struct rpc_request *request) {
    (void)request;
}

void rpc_free(struct rpc_request *request) {
    (void)request;
}

bool rpc_append_error(struct buf *out, enum err err, const char *detail) {
    (void)detail;
    return buf_printf(out, "{\"error\":\"%s\"}\n", err_word(err));
}

/* Waits until so many writes to hdd have arrived. */
static inline void fake_await_queued(unsigned count) {
    pthread_mutex_lock(&fake.lock);
    while (fake.queued < count)
        pthread_cond_wait(&fake.changed, &fake.lock);
    assert_int_equal(fake.queued, count);
    pthread_mutex_unlock(&fake.lock);
}

/* All writes that arrived come back, in order. */
static inline void fake_come_back(void) {
    struct kv_write *queue[FAKE_QUEUE];
    pthread_mutex_lock(&fake.lock);
    unsigned count = fake.queued;
    memcpy(queue, fake.queue, sizeof *queue * count);
    fake.queued = 0;
    for (unsigned i = 0; i < count; i++)
        fake_apply_locked(queue[i]);
    pthread_mutex_unlock(&fake.lock);
    for (unsigned i = 0; i < count; i++)
        queue[i]->done(queue[i]);
}

static inline struct rpc_request *fake_await_rpc(void) {
    pthread_mutex_lock(&fake.lock);
    while (!fake.rpc)
        pthread_cond_wait(&fake.changed, &fake.lock);
    struct rpc_request *request = fake.rpc;
    fake.rpc = NULL;
    pthread_mutex_unlock(&fake.lock);
    return request;
}

static inline unsigned fake_gets(enum kv_storage storage) {
    pthread_mutex_lock(&fake.lock);
    unsigned gets = fake.gets[storage];
    pthread_mutex_unlock(&fake.lock);
    return gets;
}

struct fixture {
    struct config config;
    struct core core;
    struct kv kv;
    struct auth auth;
    struct line_server *server;
    struct line_ports ports;
};

static inline void fixture_init(struct fixture *fixture) {
    memset(fixture, 0, sizeof *fixture);
    fixture->config = (struct config){.tcp = true,
                                      .tcp_host = (char *)(uintptr_t) "127.0.0.1",
                                      .tcp_threads = 1,
                                      .payload_limit_bytes = 262144,
                                      .line_limit_bytes = 300000,
                                      .connection_limit = 100,
                                      .request_timeout_ms = 60000,
                                      .drain_timeout_ms = 60000};
    fixture->core.kv = &fixture->kv;
    fixture->core.payload_limit_bytes = fixture->config.payload_limit_bytes;
    memset(fixture->core.default_workspace.bytes, 0x11, 16);
    fixture->core.ready = true;
}

static inline void fixture_start(struct fixture *fixture) {
    char why[256] = "";
    op_init();
    enum err err = line_server_start(&fixture->config, &fixture->core, &fixture->server,
                                     &fixture->ports, why, sizeof why);
    if (err)
        fail_msg("%s", why);
}

static inline void fixture_forget(void) {
    pthread_mutex_lock(&fake.lock);
    for (unsigned i = 0; i < FAKE_ENTRIES; i++) {
        free(fake.entries[i].value);
        fake.entries[i] = (struct fake_entry){0};
    }
    fake.gets[KV_MEMORY] = fake.gets[KV_HDD] = 0;
    fake.wake_before_return = false;
    assert_int_equal(fake.queued, 0);
    pthread_mutex_unlock(&fake.lock);
}

static inline void fixture_stop(struct fixture *fixture) {
    line_server_stop(fixture->server);
    assert_int_equal(fixture->core.doors[DOOR_LINE].connections, 0);
    fixture_forget();
}

static inline void set_timeout(int fd) {
    struct timeval wait = {.tv_sec = WAIT_S};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait), 0);
}

static inline int dial_with(const struct fixture *fixture, int receive_bytes) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)fixture->ports.tcp)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    set_timeout(fd);
    if (receive_bytes)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static inline int dial(const struct fixture *fixture) {
    return dial_with(fixture, 0);
}

static inline void say_bytes(int fd, const char *bytes, size_t len) {
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);
        assert_true(n > 0);
        sent += (size_t)n;
    }
}

static inline void say(int fd, const char *text) {
    say_bytes(fd, text, strlen(text));
}

static inline void hear_bytes(int fd, const char *bytes, size_t len) {
    char *got = malloc(len + 1);
    size_t have = 0;
    while (have < len) {
        ssize_t n = recv(fd, got + have, len - have, 0);
        if (n <= 0)
            fail_msg("the connection gave %zu of %zu bytes: %.*s", have, len, (int)have, got);
        have += (size_t)n;
    }
    got[len] = '\0';
    if (memcmp(got, bytes, len) != 0)
        fail_msg("expected <%.*s>, got <%.*s>", (int)len, bytes, (int)len, got);
    free(got);
}

static inline void hear(int fd, const char *text) {
    hear_bytes(fd, text, strlen(text));
}

/* Hears one line that begins so. */
static inline void hear_line(int fd, const char *start) {
    char line[4096];
    size_t len = 0;
    while (len < sizeof line - 1 && recv(fd, line + len, 1, 0) == 1 && line[len++] != '\n')
        ;
    line[len] = '\0';
    if (len == 0 || line[len - 1] != '\n' || strncmp(line, start, strlen(start)) != 0)
        fail_msg("expected a line beginning <%s>, got <%s>", start, line);
}

static inline void hear_end(int fd) {
    char c;
    ssize_t n = recv(fd, &c, 1, 0);
    if (n > 0 || (n < 0 && errno != ECONNRESET))
        fail_msg("the connection goes on");
    close(fd);
}

#endif
