/* SPDX-License-Identifier: MIT */
#include "store_cases.h"

#include "base/clock.h"
#include "kv/mem.h"

static int open_with(void **state, struct kv_options options) {
    struct kv_case *c = calloc(1, sizeof *c);
    char why[200];
    c->storage = KV_MEMORY;
    arena_init(&c->arena, 64U << 20);
    /* the store's own clock stands well before what the cases call now */
    clock_move_for_test(NOW - 3600000 - clock_wall_ms());
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

static uint64_t bytes_of(struct kv_case *c) {
    struct kv_stats stats;
    kv_stats(c->kv, KV_MEMORY, &stats);
    return stats.bytes;
}

static void test_a_table_grows_and_shrinks_and_loses_nothing(void **state) {
    struct kv_case *c = *state;
    char key[32];
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        set_key(c, key, key);
    }
    assert_int_equal(count_at(c, NOW), 100000);
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        if (i % 10)
            assert_true(delete_key(c, key));
    }
    for (int i = 0; i < 100000; i += 10) {
        snprintf(key, sizeof key, "key:%d", i);
        struct kv_entry entry;
        arena_done(&c->arena);
        assert_int_equal(get_at(c, key, NOW, &entry), OK);
        assert_true(slice_equal(entry.value, slice_of_cstr(key)));
        assert_true(delete_key(c, key));
    }
    assert_int_equal(count_at(c, NOW), 0);
    assert_int_equal(bytes_of(c), 0);
}

static void test_past_the_limit_writes_fail_and_the_rest_goes_on(void **state) {
    struct kv_case *c = *state;
    char key[32];
    char value[1001];
    memset(value, 'v', 1000);
    value[1000] = 0;
    int stored = 0;
    enum err err = OK;
    while (!err && stored < 5000) {
        snprintf(key, sizeof key, "k%d", stored);
        err = set_ttl(c, key, value, 0);
        stored += !err;
    }
    assert_int_equal(err, ERR_OUT_OF_MEMORY);
    assert_in_range(stored, 800, 1048);
    assert_true(bytes_of(c) <= 1 << 20);
    assert_value(c, "k0", value);
    set_key(c, "k0", value);
    assert_true(delete_key(c, "k0"));
    assert_int_equal(set_ttl(c, "again", value, 0), OK);
}

static void test_with_eviction_the_least_used_goes(void **state) {
    struct kv_case *c = *state;
    char key[32];
    char value[1001];
    struct kv_entry entry;
    memset(value, 'v', 1000);
    value[1000] = 0;
    set_key(c, "precious", value);
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        set_key(c, key, value);
        arena_done(&c->arena);
        if (i % 20 == 0)
            assert_int_equal(get_at(c, "precious", NOW, &entry), OK);
    }
    assert_true(bytes_of(c) <= 1 << 20);
    assert_in_range(count_at(c, NOW), 500, 1048);
    assert_int_equal(get_at(c, key, NOW, &entry), OK);
}

static void test_a_value_past_the_limit_evicts_nothing(void **state) {
    struct kv_case *c = *state;
    char *huge = arena_alloc(&c->arena, (2 << 20) + 1);
    memset(huge, 'h', 2 << 20);
    huge[2 << 20] = 0;
    set_key(c, "a", "1");
    assert_int_equal(set_ttl(c, "huge", huge, 0), ERR_OUT_OF_MEMORY);
    assert_value(c, "a", "1");
}

static void test_many_that_fail_midway_are_taken_back_under_a_limit(void **state) {
    struct kv_case *c = *state;
    char *half = arena_alloc(&c->arena, 600001);
    memset(half, 'h', 600000);
    half[600000] = 0;
    set_key(c, "a", "1");
    struct kv_op ops[] = {set_op(c, "a", half), set_op(c, "b", half)};
    unsigned failed = 0;
    assert_int_equal(submit_many(c, ops, 2, NOW, &failed), ERR_OUT_OF_MEMORY);
    assert_int_equal(failed, 1);
    assert_value(c, "a", "1");
    assert_absent_at(c, "b", NOW);
}

static void test_many_find_room_where_something_expired(void **state) {
    struct kv_case *c = *state;
    char *half = arena_alloc(&c->arena, 600001);
    memset(half, 'h', 600000);
    half[600000] = 0;
    assert_int_equal(set_ttl(c, "old", half, 1000), OK);
    struct kv_op ops[] = {set_op(c, "a", half), set_op(c, "b", "1")};
    assert_int_equal(submit_many(c, ops, 2, NOW, NULL), ERR_OUT_OF_MEMORY);
    clock_move_for_test(3600000 + 2000);
    assert_int_equal(submit_many(c, ops, 2, NOW + 2000, NULL), OK);
}

static void test_the_keeper_drops_what_has_expired(void **state) {
    struct kv_case *c = *state;
    char key[32];
    for (int i = 0; i < 10000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(set_ttl(c, key, "1", 1000), OK);
    }
    set_key(c, "stays", "1");
    struct kv_stats stats;
    clock_move_for_test(3600000 + 2000);
    do
        kv_stats(c->kv, KV_MEMORY, &stats);
    while (stats.keys > 1);
    assert_value(c, "stays", "1");
}

static void *write_some(void *context) {
    struct kv_case *c = context;
    char key[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "shared:%d", i % 500);
        struct kv_op op = {.action = KV_INCREMENT, .ref = ref_of(c, key), .by = 1};
        if (submit_at(c, &op, NOW))
            return (void *)1;
    }
    return NULL;
}

static void test_writers_of_several_threads_lose_nothing_while_listed(void **state) {
    struct kv_case *c = *state;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, write_some, c);
    for (int i = 0; i < 20; i++)
        (void)list_at(c, "shared:", "", 1000, NOW);
    for (int i = 0; i < 3; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(count_at(c, NOW), 500);
    assert_value(c, "shared:7", "18");
    const char *all = list_at(c, "shared:", "", 1000, NOW);
    unsigned commas = 0;
    for (const char *at = all; *at; at++)
        commas += *at == ',';
    assert_int_equal(commas, 499);
}

static void *forget_often(void *context) {
    for (unsigned i = 0; i < 200000; i++)
        mem_listing_forget_all(context);
    return NULL;
}

static void test_a_flush_may_come_while_an_index_is_built(void **state) {
    struct kv_options options = {0};
    struct kv_mem *mem;
    pthread_t thread;
    struct feeds *feeds = feeds_new(0, 0);
    (void)state;
    assert_non_null(feeds);
    assert_int_equal(kv_mem_open(&options, feeds, &mem), OK);
    assert_int_equal(pthread_create(&thread, NULL, forget_often, mem), 0);
    for (unsigned i = 0; i < 200000; i++) {
        enum err err = OK;
        (void)mem_listing_build_step(mem, 0, &err);
        assert_int_equal(err, OK);
    }
    pthread_join(thread, NULL);
    kv_mem_close(mem);
    feeds_free(feeds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_CASES(setup, teardown),
        cmocka_unit_test(test_a_flush_may_come_while_an_index_is_built),
        cmocka_unit_test_setup_teardown(test_a_table_grows_and_shrinks_and_loses_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_past_the_limit_writes_fail_and_the_rest_goes_on,
                                        setup_limited, teardown),
        cmocka_unit_test_setup_teardown(test_with_eviction_the_least_used_goes, setup_evicting,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_value_past_the_limit_evicts_nothing, setup_evicting,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_many_that_fail_midway_are_taken_back_under_a_limit,
                                        setup_limited, teardown),
        cmocka_unit_test_setup_teardown(test_many_find_room_where_something_expired, setup_limited,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_keeper_drops_what_has_expired, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writers_of_several_threads_lose_nothing_while_listed,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
