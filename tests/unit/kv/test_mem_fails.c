/* SPDX-License-Identifier: MIT */
/* The memory store while the n-th allocation fails, for every n: an answer is true, a batch is
 * whole or not at all, and listings and readers of changes know what they missed. */
#include "kv_case.h"

#include "../nth_fails.h"
#include "base/clock.h"
#include "base/cut.h"
#include "base/log.h"
#include "kv/feed.h"
#include "kv/kv_snapshot.h"

#define KEPT 300U /* more than a block of a listing, and than a table holds at first */

static int setup(void **state) {
    struct kv_case *c = calloc(1, sizeof *c);
    log_set_level(LOG_OFF);
    c->storage = KV_MEMORY;
    arena_init(&c->arena, 64U << 20);
    clock_move_for_test(NOW - 3600000 - clock_wall_ms()); /* the keeper drops nothing */
    *state = c;
    return 0;
}

static int teardown(void **state) {
    struct kv_case *c = *state;
    arena_done(&c->arena);
    free(c);
    return 0;
}

static void open_store(struct kv_case *c) {
    char why[300];
    struct kv_options options = {.memory_limit_bytes = 64 << 20};
    if (kv_open(&options, &c->kv, why, sizeof why))
        fail_msg("%s", why);
}

static void test_a_store_that_finds_no_memory_is_not_opened_and_says_so(void **state) {
    struct kv_case *c = *state;
    struct kv_options options = {.memory_limit_bytes = 64 << 20};
    char why[300];
    bool fired = true;
    for (long n = 1; fired; n++) {
        why[0] = 0;
        nth_arm(NTH_MEMORY | NTH_THREAD, n, 0, false);
        enum err err = kv_open(&options, &c->kv, why, sizeof why);
        fired = nth_disarm();
        if (err)
            assert_true(fired && err == ERR_OUT_OF_MEMORY && why[0]);
        else
            kv_close(c->kv);
    }
}

/* By the answers, what stands: 0 nothing, else the number of the value. */
#define KEYS 40U
static unsigned stands[KEYS];

static const char *key_of(unsigned i) {
    static char keys[KEYS][16];
    snprintf(keys[i], sizeof keys[i], "key-%u", i);
    return keys[i];
}

static const char *value_of(unsigned number) {
    static char value[24];
    snprintf(value, sizeof value, "%u", number);
    return value;
}

static void change(struct kv_case *c, enum kv_action action, unsigned i, unsigned number,
                   int64_t ttl_ms) {
    struct kv_op op = {.action = action, .ref = ref_of(c, key_of(i)), .ttl_ms = ttl_ms, .by = 1};
    op.value = slice_of_cstr(value_of(number));
    enum err err = submit_at(c, &op, NOW);
    assert_true(!err || err == ERR_OUT_OF_MEMORY);
    if (err)
        return;
    if (action == KV_SET)
        stands[i] = number;
    else if (action == KV_DELETE)
        stands[i] = 0;
    else if (action == KV_INCREMENT)
        stands[i]++;
}

/* All of them or none. */
static void change_many(struct kv_case *c, unsigned number) {
    struct kv_op ops[6];
    char text[6][24];
    for (unsigned i = 0; i < 6; i++) {
        snprintf(text[i], sizeof text[i], "%u", number);
        ops[i] = (struct kv_op){.action = i == 4 ? KV_DELETE : KV_SET,
                                .ref = ref_of(c, key_of(i + 20)),
                                .value = slice_of_cstr(text[i]),
                                .ttl_ms = i % 2 ? 3600000 : 0};
    }
    ops[5].action = KV_TOUCH;
    ops[5].ref = ref_of(c, key_of(0));
    enum err err = submit_many(c, ops, 6, NOW, NULL);
    assert_true(!err || err == ERR_OUT_OF_MEMORY || err == ERR_KEY_NOT_EXIST);
    for (unsigned i = 0; !err && i < 5; i++)
        stands[i + 20] = i == 4 ? 0 : number;
}

static void check(struct kv_case *c) {
    struct kv_entry entry;
    for (unsigned i = 0; i < KEYS; i++) {
        enum err err = get_at(c, key_of(i), NOW, &entry);
        if (stands[i] == 0)
            assert_int_equal(err, ERR_KEY_NOT_EXIST);
        else if (err || !slice_equal(entry.value, slice_of_cstr(value_of(stands[i]))))
            fail_msg("%s is not %u: %s", key_of(i), stands[i], err_text(err));
    }
    arena_done(&c->arena);
}

static void work(struct kv_case *c, unsigned number) {
    for (unsigned i = 0; i < 8; i++)
        change(c, KV_SET, i, number + i, i % 3 ? 0 : 3600000);
    change(c, KV_INCREMENT, 2, 0, 0);
    change(c, KV_INCREMENT, 8, 0, 0);
    if (stands[3])
        change(c, KV_TOUCH, 3, 0, 7200000);
    change(c, KV_DELETE, 5, 0, 0);
    change_many(c, number);
    for (unsigned i = 30; i < KEYS; i++)
        change(c, KV_SET, i, number, 1000);
}

static void test_what_was_answered_is_true_whatever_found_no_memory(void **state) {
    struct kv_case *c = *state;
    bool fired = true;
    for (long n = 1; fired; n++) {
        open_store(c);
        memset(stands, 0, sizeof stands);
        if (n % 2) /* over what is there, and into an empty store */
            work(c, 1);
        nth_arm(NTH_MEMORY, n, 0, false);
        work(c, 1000);
        fired = nth_disarm();
        check(c);
        work(c, 2000);
        check(c);
        kv_close(c->kv);
    }
}

/* ---- lists ---- */

static enum err list_all(struct kv_case *c, unsigned *ret_count) {
    struct waited waited = WAITED;
    struct kv_list list = {.storage = KV_MEMORY,
                           .workspace = {{1}},
                           .ns = SLICE("default"),
                           .prefix = SLICE("kept-"),
                           .limit = 1000,
                           .now_ms = NOW,
                           .arena = &c->arena,
                           .done = list_came,
                           .context = &waited};
    enum err err = kv_list_keys(c->kv, &list);
    if (err == ERR_PENDING) {
        waited_for(&waited);
        err = list.err;
    }
    *ret_count = list.key_count;
    return err;
}

static void set_kept(struct kv_case *c, unsigned i) {
    char key[16];
    snprintf(key, sizeof key, "kept-%04u", (i * 7919) % KEPT);
    set_key(c, key, "1");
}

static void test_a_list_that_finds_no_memory_fails_and_the_next_is_whole(void **state) {
    struct kv_case *c = *state;
    unsigned count;
    bool fired = true;
    for (long n = 1; fired; n = nth_next(n)) {
        open_store(c);
        for (unsigned i = 0; i < KEPT; i++)
            set_kept(c, i);
        nth_arm(NTH_MEMORY, n, 0, false);
        enum err err = list_all(c, &count);
        fired = nth_disarm();
        assert_true(err == OK || (fired && err == ERR_OUT_OF_MEMORY));
        if (!err)
            assert_int_equal(count, KEPT);
        assert_int_equal(list_all(c, &count), OK);
        assert_int_equal(count, KEPT);
        arena_done(&c->arena);
        kv_close(c->kv);
    }
}

/* The index that lists are read from misses a key then, and knows it. */
static void test_a_key_that_a_listing_found_no_memory_for_is_listed(void **state) {
    struct kv_case *c = *state;
    unsigned count;
    bool fired = true;
    for (long n = 1; fired; n = nth_next(n)) {
        open_store(c);
        set_kept(c, 0);
        assert_int_equal(list_all(c, &count), OK);
        unsigned wanted = 1;
        nth_arm(NTH_MEMORY, n, 0, false);
        for (unsigned i = 1; i < KEPT; i++) {
            char key[16];
            snprintf(key, sizeof key, "kept-%04u", (i * 7919) % KEPT);
            enum err err = set_ttl(c, key, "1", 0);
            assert_true(!err || err == ERR_OUT_OF_MEMORY);
            wanted += !err;
        }
        fired = nth_disarm();
        assert_int_equal(list_all(c, &count), OK);
        assert_int_equal(count, wanted);
        arena_done(&c->arena);
        kv_close(c->kv);
    }
}

/* ---- changes, flushes, snapshots ---- */

static void never(struct feed_reader *reader) {
    (void)reader;
}

static bool hear(void *context, const struct feed_change *change) {
    ++*(unsigned *)context;
    (void)change;
    return true;
}

static void test_a_reader_of_changes_hears_all_or_that_some_are_missing(void **state) {
    struct kv_case *c = *state;
    bool fired = true;
    unsigned resyncs = 0;
    for (long n = 1; fired; n++) {
        struct feed_reader reader = {.wake = never};
        struct kv_ref ref = ref_of(c, "");
        unsigned heard = 0, written = 0;
        bool missed = false;
        open_store(c);
        set_key(c, "a", "1");
        assert_int_equal(feed_open(c->kv, &ref, FEED_FROM_NOW, 0, &reader), OK);
        assert_int_equal(feed_read(&reader, hear, &heard), FEED_READY);
        nth_arm(NTH_MEMORY, n, 0, false);
        for (unsigned i = 0; i < 20; i++)
            written += set_ttl(c, key_of(i), "a value", i % 2 ? 5000 : 0) == OK;
        fired = nth_disarm();
        enum feed_news news;
        while ((news = feed_read(&reader, hear, &heard)) != FEED_WAIT)
            missed |= news == FEED_RESYNC;
        resyncs += missed;
        assert_true(missed || heard == written);
        feed_stop(&reader);
        feed_close(&reader);
        kv_close(c->kv);
    }
    assert_true(resyncs > 0);
}

static void test_a_flush_that_finds_no_memory_leaves_everything_or_nothing(void **state) {
    struct kv_case *c = *state;
    bool fired = true;
    for (long n = 1; fired; n++) {
        struct kv_op op = {.action = KV_FLUSH_ALL, .ref = ref_of(c, "")};
        open_store(c);
        for (unsigned i = 0; i < 20; i++)
            set_key(c, key_of(i), "1");
        nth_arm(NTH_MEMORY, n, 0, false);
        enum err err = submit_at(c, &op, NOW);
        fired = nth_disarm();
        assert_true(err == OK || (fired && err == ERR_OUT_OF_MEMORY));
        if (err == OK)
            assert_int_equal(count_at(c, NOW), 0);
        assert_int_equal(submit_at(c, &op, NOW), OK);
        assert_int_equal(count_at(c, NOW), 0);
        kv_close(c->kv);
    }
}

static enum err count_one(void *context, const struct kv_snapshot_entry *entry) {
    *(unsigned *)context += slice_equal(entry->value, SLICE("first"));
    return OK;
}

/* Without hdd a cut is made anywhere. */
static void test_a_snapshot_that_finds_no_memory_fails_and_is_never_short(void **state) {
    struct kv_case *c = *state;
    bool fired = true;
    for (long n = 1; fired; n++) {
        struct kv_snapshot *snapshot;
        unsigned told = 0;
        open_store(c);
        for (unsigned i = 0; i < KEYS; i++)
            set_key(c, key_of(i), "first");
        nth_arm(NTH_MEMORY, n, 0, false);
        enum err err = kv_snapshot_new(c->kv, &snapshot);
        if (!err) {
            kv_snapshot_expect(snapshot, cut_begin(), NOW);
            cut_make();
            err = kv_snapshot_take(snapshot);
            for (unsigned i = 0; i < KEYS; i += 2)
                (void)!set_ttl(c, key_of(i), "second", 0);
            if (!err)
                err = kv_snapshot_each(snapshot, KV_MEMORY, count_one, &told);
            kv_snapshot_end(snapshot);
        }
        fired = nth_disarm();
        assert_true(err == OK || (fired && err == ERR_OUT_OF_MEMORY));
        if (!err)
            assert_int_equal(told, KEYS);
        kv_close(c->kv);
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_a_store_that_finds_no_memory_is_not_opened_and_says_so),
        CASE(test_what_was_answered_is_true_whatever_found_no_memory),
        CASE(test_a_list_that_finds_no_memory_fails_and_the_next_is_whole),
        CASE(test_a_key_that_a_listing_found_no_memory_for_is_listed),
        CASE(test_a_reader_of_changes_hears_all_or_that_some_are_missing),
        CASE(test_a_flush_that_finds_no_memory_leaves_everything_or_nothing),
        CASE(test_a_snapshot_that_finds_no_memory_fails_and_is_never_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
