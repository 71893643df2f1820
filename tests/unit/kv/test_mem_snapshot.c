/* SPDX-License-Identifier: MIT */
/* What the memory store keeps for a snapshot, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/cut.h"
#include "kv/feeds.h"
#include "kv/store.h"

#define KEYS 10000U

struct fixture {
    struct feeds *feeds;
    struct kv_mem *mem;
    unsigned told, changed;
};

static void open_store(struct fixture *f, uint64_t limit_bytes) {
    struct kv_options options = {.memory_limit_bytes = limit_bytes, .eviction = KV_LRU};
    *f = (struct fixture){.feeds = feeds_new(1U << 20, 10)};
    assert_non_null(f->feeds);
    assert_int_equal(kv_mem_open(&options, f->feeds, &f->mem), OK);
}

static void close_store(struct fixture *f) {
    feeds_stop(f->feeds);
    kv_mem_close(f->mem);
    feeds_free(f->feeds);
}

static enum err act(struct fixture *f, enum kv_action action, unsigned number, const char *value) {
    char key[32];
    snprintf(key, sizeof key, "key-%u", number);
    struct kv_op op = {.action = action,
                       .ref = {KV_MEMORY, {{1}}, SLICE("default"), slice_of_cstr(key)},
                       .value = slice_of_cstr(value)};
    struct kv_write write = {.ops = &op, .op_count = 1, .now_ms = clock_wall_ms()};
    return kv_mem_submit(f->mem, &write);
}

static void fill(struct fixture *f, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(act(f, KV_SET, i, "first"), OK);
}

static struct mem_snapshot *take(struct fixture *f) {
    struct mem_snapshot *snapshot;
    assert_int_equal(mem_snapshot_new(f->mem, &snapshot), OK);
    mem_snapshot_expect(snapshot, cut_begin(), clock_wall_ms());
    cut_make();
    mem_snapshot_taken(snapshot);
    return snapshot;
}

static enum err count(void *context, const struct kv_snapshot_entry *entry) {
    struct fixture *f = context;
    f->told++;
    f->changed += !slice_equal(entry->value, SLICE("first"));
    return OK;
}

static void read_all(struct fixture *f, struct mem_snapshot *snapshot, unsigned wanted) {
    assert_int_equal(mem_snapshot_each(snapshot, count, f), OK);
    assert_int_equal(f->told, wanted);
    assert_int_equal(f->changed, 0);
    mem_snapshot_end(snapshot);
}

static void test_a_change_keeps_one_shard_and_keeps_it_once(void **state) {
    struct fixture f;
    (void)state;
    open_store(&f, 0);
    fill(&f, KEYS);
    struct mem_snapshot *snapshot = take(&f);
    assert_int_equal(mem_snapshot_kept(snapshot), 0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(act(&f, KV_SET, 7, "other"), OK);
    assert_int_equal(mem_snapshot_kept(snapshot), 1);
    for (unsigned i = 0; i < KEYS; i++)
        assert_int_equal(act(&f, i % 2 ? KV_SET : KV_DELETE, i, "second value"), OK);
    assert_in_range(mem_snapshot_kept(snapshot), 1500, 2048); /* chance leaves some empty */
    read_all(&f, snapshot, KEYS);
    close_store(&f);
}

static void test_a_read_keeps_nothing(void **state) {
    struct fixture f;
    struct arena arena;
    struct kv_entry entry;
    (void)state;
    open_store(&f, 0);
    fill(&f, 10);
    struct mem_snapshot *snapshot = take(&f);
    struct kv_ref ref = {KV_MEMORY, {{1}}, SLICE("default"), SLICE("key-1")};
    arena_init(&arena, 65536);
    assert_int_equal(kv_mem_get(f.mem, &ref, clock_wall_ms(), KV_WANT_ALL, &arena, &entry), OK);
    arena_done(&arena);
    assert_int_equal(mem_snapshot_kept(snapshot), 0);
    read_all(&f, snapshot, 10);
    close_store(&f);
}

static void test_the_cut_of_another_store_is_none_of_this_one(void **state) {
    struct fixture f;
    struct mem_snapshot *snapshot;
    (void)state;
    open_store(&f, 0);
    fill(&f, 100);
    assert_int_equal(mem_snapshot_new(f.mem, &snapshot), OK);
    (void)cut_begin();
    cut_make(); /* somebody else's */
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(act(&f, KV_SET, i, "second"), OK);
    fill(&f, 100);
    assert_int_equal(mem_snapshot_kept(snapshot), 0);
    mem_snapshot_expect(snapshot, cut_begin(), clock_wall_ms());
    cut_make();
    mem_snapshot_taken(snapshot);
    (void)cut_begin();
    cut_make();
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(act(&f, KV_SET, i, "third"), OK);
    read_all(&f, snapshot, 100);
    close_store(&f);
}

static void test_what_is_evicted_behind_the_cut_is_in_it(void **state) {
    struct fixture f;
    (void)state;
    open_store(&f, 2U << 20);
    fill(&f, 3000);
    struct mem_snapshot *snapshot = take(&f);
    unsigned before = (unsigned)mem_snapshot_count(snapshot);
    for (unsigned i = 0; i < 60000; i++)
        assert_int_equal(act(&f, KV_SET, KEYS + i, "drives others out"), OK);
    struct kv_stats stats;
    kv_mem_stats(f.mem, &stats);
    assert_true(stats.evicted > 0);
    read_all(&f, snapshot, before);
    close_store(&f);
}

static void test_what_a_snapshot_held_is_counted_once(void **state) {
    struct fixture f;
    struct kv_stats stats;
    (void)state;
    open_store(&f, 0);
    fill(&f, KEYS);
    for (unsigned round = 0; round < 3; round++) {
        struct mem_snapshot *snapshot = take(&f);
        fill(&f, KEYS);
        mem_snapshot_end(snapshot);
    }
    for (unsigned i = 0; i < KEYS; i++)
        assert_int_equal(act(&f, KV_DELETE, i, ""), OK);
    kv_mem_stats(f.mem, &stats);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(stats.keys, 0);
    close_store(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_change_keeps_one_shard_and_keeps_it_once),
        cmocka_unit_test(test_a_read_keeps_nothing),
        cmocka_unit_test(test_the_cut_of_another_store_is_none_of_this_one),
        cmocka_unit_test(test_what_is_evicted_behind_the_cut_is_in_it),
        cmocka_unit_test(test_what_a_snapshot_held_is_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
