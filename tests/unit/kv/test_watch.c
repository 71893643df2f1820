/* SPDX-License-Identifier: MIT */
/* Whoever watches a namespace of memory knows its keys: what came and did not go is what is held.
 */
#include <ftw.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "kv/remote.h"
#include "kv_case.h"

#define KEYS 4000
#define THREADS 3
/* The store's own clock stands so long before what the cases call now. */
#define BEFORE_MS 3600000

/* How often each key of the watched namespace came, less how often it went. */
struct heard {
    _Atomic int balance[KEYS];
    _Atomic unsigned strange; /* keys of another namespace */
    unsigned shown[KEYS];     /* by the scan */
};

static struct heard heard;

/* Keys of the watched namespace are k0, k1, ... */
static unsigned number_of(struct slice key) {
    char text[16] = "";
    if (key.len < 2 || key.len >= sizeof text || key.ptr[0] != 'k')
        return KEYS;
    memcpy(text, key.ptr + 1, key.len - 1);
    return (unsigned)strtoul(text, NULL, 10);
}

static void note(void *context, struct slice key, bool came) {
    struct heard *to = context;
    unsigned number = number_of(key);
    if (number < KEYS)
        atomic_fetch_add(&to->balance[number], came ? 1 : -1);
    else
        atomic_fetch_add(&to->strange, 1);
}

static void show(void *context, struct slice key) {
    struct heard *to = context;
    unsigned number = number_of(key);
    if (number < KEYS)
        to->shown[number]++;
    else
        atomic_fetch_add(&to->strange, 1);
}

static const struct kv_watch watch = {{{1}}, {"default", 7}, &heard, note};

static int open_with(void **state, struct kv_options options) {
    struct kv_case *c = calloc(1, sizeof *c);
    char why[200];
    c->storage = KV_MEMORY;
    arena_init(&c->arena, 64U << 20);
    memset(&heard, 0, sizeof heard);
    clock_move_for_test(NOW - BEFORE_MS - clock_wall_ms());
    options.watch = &watch;
    assert_int_equal(kv_open(&options, &c->kv, why, sizeof why), OK);
    *state = c;
    return 0;
}

static int setup(void **state) {
    return open_with(state, (struct kv_options){0});
}

static int setup_limited(void **state) {
    return open_with(state, (struct kv_options){.memory_limit_bytes = 1 << 20});
}

static int setup_evicting(void **state) {
    return open_with(state, (struct kv_options){.memory_limit_bytes = 1 << 20, .eviction = KV_LRU});
}

static int teardown(void **state) {
    struct kv_case *c = *state;
    kv_close(c->kv);
    arena_done(&c->arena);
    free(c);
    return 0;
}

static void scan(struct kv_case *c) {
    uint32_t at = 0;
    memset(heard.shown, 0, sizeof heard.shown);
    while (kv_watch_scan(c->kv, &at, show, &heard)) {
    }
}

/* What was heard, what a scan shows and what the store counts are the same. */
static void assert_keys(struct kv_case *c, uint64_t expected) {
    struct kv_stats stats;
    uint64_t held = 0;
    scan(c);
    for (unsigned i = 0; i < KEYS; i++) {
        assert_int_equal(heard.balance[i], heard.shown[i]);
        assert_in_range(heard.balance[i], 0, 1);
        held += heard.shown[i];
    }
    kv_stats(c->kv, KV_MEMORY, &stats);
    assert_int_equal(held, expected);
    assert_int_equal(stats.keys, expected);
    assert_int_equal(heard.strange, 0);
}

static const char *key_of(char text[16], int number) {
    snprintf(text, 16, "k%d", number);
    return text;
}

static void set_some(struct kv_case *c, int first, int end, const char *value, int64_t ttl_ms) {
    char key[16];
    for (int i = first; i < end; i++)
        assert_int_equal(set_ttl(c, key_of(key, i), value, ttl_ms), OK);
}

static void test_sets_overwrites_and_deletes_are_heard_once(void **state) {
    struct kv_case *c = *state;
    char key[16];
    assert_keys(c, 0);
    set_some(c, 0, 3000, "1", 0);
    assert_keys(c, 3000);
    set_some(c, 0, 3000, "a longer value which does not fit where the first one was", 0);
    assert_keys(c, 3000);
    for (int i = 0; i < 3000; i += 2)
        assert_true(delete_key(c, key_of(key, i)));
    for (int i = 0; i < 3000; i += 2)
        assert_false(delete_key(c, key_of(key, i)));
    assert_keys(c, 1500);
    struct kv_op op = {.action = KV_INCREMENT, .ref = ref_of(c, "k0"), .by = 1};
    assert_int_equal(submit_at(c, &op, NOW), OK);
    assert_int_equal(submit_at(c, &op, NOW), OK);
    assert_keys(c, 1501);
}

static void test_what_expires_is_heard_whoever_finds_it(void **state) {
    struct kv_case *c = *state;
    struct kv_stats stats;
    set_some(c, 0, 1000, "1", 1000);
    set_some(c, 1000, 1010, "1", 0);
    struct kv_op found = {.action = KV_DELETE, .ref = ref_of(c, "k5")};
    assert_int_equal(submit_at(c, &found, NOW + 2000), OK); /* by a writer */
    assert_false(found.existed);
    assert_int_equal(heard.balance[5], 0);
    assert_keys(c, 1009);
    struct kv_op again = set_op(c, "k6", "2");
    assert_int_equal(submit_at(c, &again, NOW + 2000), OK);
    assert_keys(c, 1009);
    clock_move_for_test(BEFORE_MS + 2000); /* by the keeper */
    do
        kv_stats(c->kv, KV_MEMORY, &stats);
    while (stats.keys > 11);
    assert_keys(c, 11);
}

static void test_what_is_evicted_is_heard(void **state) {
    struct kv_case *c = *state;
    char value[1001];
    struct kv_stats stats;
    memset(value, 'v', 1000);
    value[1000] = 0;
    set_some(c, 0, KEYS, value, 0);
    kv_stats(c->kv, KV_MEMORY, &stats);
    assert_in_range(stats.keys, 500, 1048);
    assert_keys(c, stats.keys);
}

/* The keeper frees what was flushed a while after. */
static void await_balance(int expected) {
    int sum;
    do {
        sum = 0;
        for (unsigned i = 0; i < KEYS; i++)
            sum += atomic_load(&heard.balance[i]);
    } while (sum != expected);
}

static void flush(struct kv_case *c) {
    struct kv_op op = {.action = KV_FLUSH_ALL, .ref.storage = KV_MEMORY};
    assert_int_equal(submit_at(c, &op, NOW), OK);
}

static void test_flushed_keys_go_once_each_even_where_they_came_anew(void **state) {
    struct kv_case *c = *state;
    set_some(c, 0, 2000, "1", 0);
    set_some(c, 2000, 2100, "1", 1000);
    flush(c);
    set_some(c, 0, 100, "2", 0);
    await_balance(100);
    assert_keys(c, 100);
    flush(c);
    flush(c);
    await_balance(0);
    assert_keys(c, 0);
}

static void test_flushed_keys_are_heard_at_the_latest_when_the_store_closes(void **state) {
    struct kv_case *c = *state;
    char why[200];
    set_some(c, 0, 2000, "1", 0);
    flush(c);
    kv_close(c->kv);
    for (unsigned i = 0; i < KEYS; i++)
        assert_int_equal(heard.balance[i], 0);
    assert_int_equal(kv_open(&(struct kv_options){0}, &c->kv, why, sizeof why), OK);
}

static void test_a_batch_that_is_taken_back_leaves_no_trace(void **state) {
    struct kv_case *c = *state;
    set_some(c, 0, 10, "1", 0);
    struct kv_op ops[] = {
        set_op(c, "k0", "over"),
        set_op(c, "k20", "new"),
        {.action = KV_DELETE, .ref = ref_of(c, "k1")},
        {.action = KV_DELETE, .ref = ref_of(c, "k20")},
        set_op(c, "k20", "new again"),
        {.action = KV_CHECK, .condition = KV_IF_PRESENT, .ref = ref_of(c, "k30")},
    };
    unsigned failed = 0;
    assert_int_equal(submit_many(c, ops, 6, NOW, &failed), ERR_PRECONDITION_FAILED);
    assert_int_equal(failed, 5);
    assert_keys(c, 10);
    assert_int_equal(heard.balance[1], 1);
    assert_int_equal(heard.balance[20], 0);
    assert_int_equal(submit_many(c, ops, 5, NOW, NULL), OK);
    assert_keys(c, 10);
    assert_int_equal(heard.balance[1], 0);
    assert_int_equal(heard.balance[20], 1);
}

static void test_a_write_that_finds_no_room_is_not_heard(void **state) {
    struct kv_case *c = *state;
    char *huge = arena_alloc(&c->arena, (2 << 20) + 1);
    memset(huge, 'h', 2 << 20);
    huge[2 << 20] = 0;
    assert_int_equal(set_ttl(c, "k1", huge, 0), ERR_OUT_OF_MEMORY);
    assert_keys(c, 0);
}

static void set_at(struct kv_case *c, struct kv_ref ref) {
    struct kv_op op = {.action = KV_SET, .ref = ref, .value = SLICE("1")};
    assert_int_equal(submit_at(c, &op, NOW), OK);
}

static void test_other_namespaces_and_workspaces_are_unheard(void **state) {
    struct kv_case *c = *state;
    struct kv_ref ref = ref_of(c, "elsewhere");
    ref.ns = SLICE("defaults");
    set_at(c, ref);
    ref.ns = SLICE("");
    set_at(c, ref);
    ref.ns = SLICE("default");
    ref.workspace = (struct uuid){{2}};
    set_at(c, ref);
    struct kv_op gone = {.action = KV_DELETE, .ref = ref};
    assert_int_equal(submit_at(c, &gone, NOW), OK);
    scan(c);
    assert_int_equal(heard.strange, 0);
    set_key(c, "elsewhere", "1"); /* the test can fail */
    assert_int_equal(heard.strange, 1);
}

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *place) {
    (void)info;
    (void)flag;
    (void)place;
    return remove(path);
}

static void test_hdd_is_unheard(void **state) {
    struct kv_case *c;
    char dir[] = "/tmp/hati_watch_XXXXXX";
    assert_non_null(mkdtemp(dir));
    open_with(state,
              (struct kv_options){.data_dir = dir, .hdd_shards = 1, .write_buffer_bytes = 1 << 20});
    c = *state;
    c->storage = KV_HDD;
    set_key(c, "k1", "1");
    scan(c);
    assert_int_equal(heard.balance[1], 0);
    assert_int_equal(heard.shown[1], 0);
    teardown(state);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void test_nothing_watched_is_nothing_scanned(void **state) {
    struct kv_case c = {.storage = KV_MEMORY};
    static const struct kv_remote remote = {0};
    char why[200];
    uint32_t at = 0;
    (void)state;
    memset(&heard, 0, sizeof heard);
    assert_int_equal(kv_open(&(struct kv_options){0}, &c.kv, why, sizeof why), OK);
    set_key(&c, "k1", "1");
    assert_false(kv_watch_scan(c.kv, &at, show, &heard));
    assert_int_equal(heard.shown[1], 0);
    kv_close(c.kv);
    struct kv_options far = {.remote = &remote, .watch = &watch};
    assert_int_equal(kv_open(&far, &c.kv, why, sizeof why), OK);
    assert_false(kv_watch_scan(c.kv, &at, show, &heard));
    kv_close(c.kv);
}

struct writer {
    struct kv_case *c;
    int number;
};

/* Keys from 1000 on, which all writers share; those below are held throughout. */
static void *write_some(void *context) {
    const struct writer *writer = context;
    char key[16];
    for (int i = 0; i < 20000; i++) {
        int at = 1000 + (i * 7 + writer->number * 13) % (KEYS - 1000);
        bool drops = (i / 3000 + writer->number) % 2;
        struct kv_op op = set_op(writer->c, key_of(key, at), "1");
        if (drops)
            op.action = KV_DELETE;
        else if (i % 5 == 0)
            op.ttl_ms = 1;
        if (submit_at(writer->c, &op, i % 3 ? NOW : NOW + 10))
            return (void *)1;
    }
    return NULL;
}

static void test_a_scan_shows_every_key_held_throughout_while_others_write(void **state) {
    struct kv_case *c = *state;
    pthread_t threads[THREADS];
    struct writer writers[THREADS];
    struct kv_stats stats;
    set_some(c, 0, 1000, "1", 0);
    for (int i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){c, i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
    }
    for (int round = 0; round < 20; round++) {
        scan(c);
        for (unsigned i = 0; i < 1000; i++)
            assert_int_equal(heard.shown[i], 1);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    kv_stats(c->kv, KV_MEMORY, &stats);
    assert_keys(c, stats.keys);
}

static void test_flushes_between_the_writes_of_others_leave_the_balance(void **state) {
    struct kv_case *c = *state;
    pthread_t threads[THREADS];
    struct writer writers[THREADS];
    struct kv_stats stats;
    for (int i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){c, i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
    }
    for (int round = 0; round < 20; round++)
        flush(c);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    kv_stats(c->kv, KV_MEMORY, &stats);
    await_balance((int)stats.keys);
    assert_keys(c, stats.keys);
}

int main(void) {
#define CASE(test, with) cmocka_unit_test_setup_teardown(test, with, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_sets_overwrites_and_deletes_are_heard_once, setup),
        CASE(test_what_expires_is_heard_whoever_finds_it, setup),
        CASE(test_what_is_evicted_is_heard, setup_evicting),
        CASE(test_flushed_keys_go_once_each_even_where_they_came_anew, setup),
        CASE(test_flushed_keys_are_heard_at_the_latest_when_the_store_closes, setup),
        CASE(test_a_batch_that_is_taken_back_leaves_no_trace, setup),
        CASE(test_a_write_that_finds_no_room_is_not_heard, setup_limited),
        CASE(test_other_namespaces_and_workspaces_are_unheard, setup),
        cmocka_unit_test(test_hdd_is_unheard),
        cmocka_unit_test(test_nothing_watched_is_nothing_scanned),
        CASE(test_a_scan_shows_every_key_held_throughout_while_others_write, setup),
        CASE(test_flushes_between_the_writes_of_others_leave_the_balance, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
