/* SPDX-License-Identifier: MIT */
/* Views of /kv-store, without a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/config.h"
#include "server/kvstore_view.h"

static struct arena arena;

static int set_up(void **state) {
    (void)state;
    arena_init(&arena, 1U << 20);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct kvstore_view view_of(const char *list, unsigned repl_factor) {
    struct kvstore_view view = {0};
    const char *why = kvstore_view_of_list(slice_of_cstr(list), repl_factor, &arena, &view);
    if (why)
        fail_msg("%s: %s", list, why);
    return view;
}

static void expect_replicas(const struct kvstore_view *view, unsigned shard, const char *expected) {
    struct buf text;
    buf_init(&text, 4096);
    assert_true(kvstore_view_append_replicas(&text, view, shard));
    assert_true(buf_append_char(&text, '\0'));
    assert_string_equal(text.ptr, expected);
    buf_done(&text);
}

static void test_members_fall_into_runs_and_none_is_left_out(void **state) {
    (void)state;
    struct kvstore_view view = view_of("a:1,b:2, c:3 ,d:4,e:5", 2);
    assert_int_equal(kvstore_view_shards(&view), 2);
    expect_replicas(&view, 0, "[\"a:1\",\"b:2\"]");
    expect_replicas(&view, 1, "[\"c:3\",\"d:4\",\"e:5\"]");
    view = view_of("a:1,b:2,c:3", 3);
    assert_int_equal(kvstore_view_shards(&view), 1);
    expect_replicas(&view, 0, "[\"a:1\",\"b:2\",\"c:3\"]");
    view = view_of("a:1,b:2,c:3", 2);
    assert_int_equal(kvstore_view_shards(&view), 1);
    expect_replicas(&view, 0, "[\"a:1\",\"b:2\",\"c:3\"]");
}

/* Nodes of different builds have to agree, so that these numbers never change. */
static void test_a_key_is_in_one_shard_on_every_node(void **state) {
    unsigned counts[7] = {0};
    (void)state;
    assert_int_equal(kvstore_view_shard_of(SLICE("a"), 1000), 719);
    assert_int_equal(kvstore_view_shard_of(SLICE("key"), 1000), 987);
    for (unsigned i = 0; i < 7000; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "k%u", i);
        unsigned shard = kvstore_view_shard_of(slice_make(key, (size_t)len), 7);
        assert_true(shard < 7);
        counts[shard]++;
    }
    for (unsigned i = 0; i < 7; i++)
        assert_in_range(counts[i], 800, 1200);
}

static void test_what_is_stored_is_read_again(void **state) {
    struct kvstore_view again;
    struct buf text;
    (void)state;
    struct kvstore_view view = view_of("a:1,[::1]:65535,c-d.example:80", 2);
    buf_init(&text, 4096);
    assert_true(kvstore_view_append(&text, &view));
    assert_null(kvstore_view_of_entry(buf_slice(&text), &arena, &again));
    buf_done(&text);
    assert_int_equal(again.repl_factor, 2);
    assert_int_equal(again.member_count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_true(slice_equal(again.members[i], view.members[i]));
}

static void test_what_is_no_view_is_refused(void **state) {
    static const char *const lists[] = {"",        ",",    "a",        "a:",      ":1",   "a:0",
                                        "a:65536", "a:1,", "a:1,,b:1", "a:1,a:1", "a:+1", "a:01",
                                        "::1:1",   "[]:1", "[::1:1",   "a/b:1"};
    static const char *const entries[] = {"",
                                          "[]",
                                          "{",
                                          "{\"view\":[\"a:1\"]}",
                                          "{\"view\":[\"a:1\"],\"repl-factor\":0}",
                                          "{\"view\":[\"a:1\"],\"repl-factor\":2}",
                                          "{\"view\":[\"a:1\"],\"repl-factor\":\"1\"}",
                                          "{\"view\":[1],\"repl-factor\":1}",
                                          "{\"view\":\"a:1\",\"repl-factor\":1}",
                                          "[[[[[[[[[[1]]]]]]]]]]"};
    struct kvstore_view view = {.member_count = 77};
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        assert_non_null(kvstore_view_of_list(slice_of_cstr(lists[i]), 1, &arena, &view));
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        assert_non_null(kvstore_view_of_entry(slice_of_cstr(entries[i]), &arena, &view));
    assert_int_equal(view.member_count, 77);
}

static void test_a_view_without_memory_is_no_view(void **state) {
    struct kvstore_view view;
    (void)state;
    for (size_t max_bytes = 0; max_bytes < 40; max_bytes++) {
        struct arena small;
        char room[48];
        arena_init_with(&small, 0, room, max_bytes);
        assert_non_null(kvstore_view_of_list(SLICE("a:1,b:2,c:3"), 1, &small, &view));
        arena_done(&small);
    }
}

static void expect_self(char *rpc_host, char *advertise, const char *expected) {
    struct config config = {.rpc_host = rpc_host, .advertise = advertise};
    char self[CONFIG_SELF_BYTES];
    config_self(&config, 80, self, sizeof self);
    assert_string_equal(self, expected);
}

static void test_a_node_alone_is_where_it_can_be_reached(void **state) {
    (void)state;
    expect_self(NULL, NULL, "127.0.0.1:80");
    expect_self((char[]){"0.0.0.0"}, NULL, "127.0.0.1:80");
    expect_self((char[]){"::"}, NULL, "127.0.0.1:80");
    expect_self((char[]){"10.0.0.1"}, NULL, "10.0.0.1:80");
    expect_self((char[]){"::1"}, NULL, "[::1]:80");
    expect_self((char[]){"10.0.0.1"}, (char[]){"a.example:443"}, "a.example:443");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_members_fall_into_runs_and_none_is_left_out),
        TEST(test_a_key_is_in_one_shard_on_every_node),
        TEST(test_what_is_stored_is_read_again),
        TEST(test_what_is_no_view_is_refused),
        TEST(test_a_view_without_memory_is_no_view),
        TEST(test_a_node_alone_is_where_it_can_be_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
