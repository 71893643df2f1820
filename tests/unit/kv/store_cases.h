/* SPDX-License-Identifier: MIT */
/* What every store must do, in the same words: included by the units of each. */
#ifndef HATI_TESTS_STORE_CASES_H
#define HATI_TESTS_STORE_CASES_H

#include "kv_case.h"

static void test_a_value_is_read_as_written(void **state) {
    struct kv_case *c = *state;
    assert_absent_at(c, "a", NOW);
    set_key(c, "a", "1");
    assert_value(c, "a", "1");
    set_key(c, "a", "a longer value");
    assert_value(c, "a", "a longer value");
    set_key(c, "a", "");
    assert_value(c, "a", "");
    assert_true(delete_key(c, "a"));
    assert_false(delete_key(c, "a"));
    assert_absent_at(c, "a", NOW);
}

static void test_large_values_and_long_keys(void **state) {
    struct kv_case *c = *state;
    char *big = arena_alloc(&c->arena, 300001);
    memset(big, 'x', 300000);
    big[300000] = 0;
    char key[KV_KEY_MAX + 1];
    memset(key, 'k', KV_KEY_MAX);
    key[KV_KEY_MAX] = 0;
    set_key(c, key, big);
    key[KV_KEY_MAX - 1] = 'l';
    set_key(c, key, "other");
    assert_value(c, key, "other");
    key[KV_KEY_MAX - 1] = 'k';
    assert_value(c, key, big);
    assert_true(delete_key(c, key));
    assert_absent_at(c, key, NOW);
    key[KV_KEY_MAX - 1] = 'l';
    assert_value(c, key, "other");
}

static void test_the_etag_is_the_md5_of_the_value(void **state) {
    struct kv_case *c = *state;
    struct kv_entry entry;
    uint8_t md5[HASH_MD5_BYTES];
    char big[5000];
    memset(big, 'e', sizeof big - 1);
    big[sizeof big - 1] = 0;
    set_key(c, "small", "hello");
    set_key(c, "big", big);
    hash_md5(SLICE("hello"), md5);
    assert_int_equal(get_at(c, "small", NOW, &entry), OK);
    assert_memory_equal(entry.etag, md5, sizeof md5);
    hash_md5(slice_of_cstr(big), md5);
    assert_int_equal(get_at(c, "big", NOW, &entry), OK);
    assert_memory_equal(entry.etag, md5, sizeof md5);
}

static void test_a_content_type_is_kept(void **state) {
    struct kv_case *c = *state;
    struct kv_entry entry;
    struct kv_op op = set_op(c, "page", "<p>");
    op.content_type = SLICE("text/html");
    assert_int_equal(submit_at(c, &op, NOW), OK);
    assert_int_equal(get_at(c, "page", NOW, &entry), OK);
    assert_true(slice_equal(entry.content_type, SLICE("text/html")));
    set_key(c, "page", "plain");
    assert_int_equal(get_at(c, "page", NOW, &entry), OK);
    assert_int_equal(entry.content_type.len, 0);
}

static void test_an_entry_is_gone_after_its_ttl(void **state) {
    struct kv_case *c = *state;
    struct kv_entry entry;
    assert_int_equal(set_ttl(c, "t", "1", 1000), OK);
    assert_int_equal(set_ttl(c, "u", "1", 2000), OK);
    set_key(c, "v", "1");
    assert_int_equal(get_at(c, "t", NOW + 999, &entry), OK);
    assert_int_equal(entry.expires_at_ms, NOW + 1000);
    assert_absent_at(c, "t", NOW + 1000);
    assert_int_equal(count_at(c, NOW + 999), 3);
    assert_int_equal(count_at(c, NOW + 1000), 2);
    assert_string_equal(list_at(c, "", "", 10, NOW + 999), "t,u,v");
    assert_string_equal(list_at(c, "", "", 10, NOW + 1000), "u,v");
    assert_string_equal(list_at(c, "", "", 10, NOW + 2000), "v");
}

static void test_a_write_without_ttl_clears_it_and_touch_sets_it(void **state) {
    struct kv_case *c = *state;
    assert_int_equal(set_ttl(c, "t", "1", 1000), OK);
    set_key(c, "t", "2");
    struct kv_entry entry;
    assert_int_equal(get_at(c, "t", NOW + 5000, &entry), OK);
    struct kv_op touch = {.action = KV_TOUCH, .ref = ref_of(c, "t"), .ttl_ms = 50};
    assert_int_equal(submit_at(c, &touch, NOW), OK);
    assert_absent_at(c, "t", NOW + 50);
    touch.ref = ref_of(c, "none");
    assert_int_equal(submit_at(c, &touch, NOW), ERR_KEY_NOT_EXIST);
}

static void test_an_expired_entry_counts_as_absent_for_writes(void **state) {
    struct kv_case *c = *state;
    assert_int_equal(set_ttl(c, "t", "41", 1000), OK);
    struct kv_op op = set_op(c, "t", "new");
    op.condition = KV_IF_PRESENT;
    assert_int_equal(submit_at(c, &op, NOW + 1000), ERR_PRECONDITION_FAILED);
    struct kv_op incr = {.action = KV_INCREMENT, .ref = ref_of(c, "t"), .by = 1};
    assert_int_equal(submit_at(c, &incr, NOW + 1000), OK);
    assert_int_equal(incr.number, 1);
    assert_false(incr.existed);
}

static void test_a_set_that_wants_to_know_is_told_whether_an_entry_was_there(void **state) {
    struct kv_case *c = *state;
    struct kv_op op = set_op(c, "k", "1");
    op.want_existed = true;
    op.ttl_ms = 1000;
    assert_int_equal(submit_at(c, &op, NOW), OK);
    assert_false(op.existed);
    assert_int_equal(submit_at(c, &op, NOW), OK);
    assert_true(op.existed);
    assert_int_equal(submit_at(c, &op, NOW + 1000), OK);
    assert_false(op.existed);
    struct kv_op two[2] = {set_op(c, "new", "1"), set_op(c, "new", "2")};
    two[0].want_existed = two[1].want_existed = true;
    assert_int_equal(submit_many(c, two, 2, NOW, NULL), OK);
    assert_false(two[0].existed);
    assert_true(two[1].existed);
    assert_true(delete_key(c, "new"));
    assert_int_equal(submit_at(c, &two[0], NOW), OK);
    assert_false(two[0].existed);
}

static void test_conditions(void **state) {
    struct kv_case *c = *state;
    struct kv_op op = set_op(c, "k", "1");
    op.condition = KV_IF_PRESENT;
    assert_int_equal(submit_at(c, &op, NOW), ERR_PRECONDITION_FAILED);
    op.condition = KV_IF_ABSENT;
    assert_int_equal(submit_at(c, &op, NOW), OK);
    assert_false(op.existed);
    assert_int_equal(submit_at(c, &op, NOW), ERR_PRECONDITION_FAILED);
    uint8_t etags[2][HASH_MD5_BYTES] = {{0}};
    op = set_op(c, "k", "2");
    op.condition = KV_IF_ETAG;
    op.etags = (const uint8_t(*)[HASH_MD5_BYTES])etags;
    op.etag_count = 2;
    assert_int_equal(submit_at(c, &op, NOW), ERR_PRECONDITION_FAILED);
    hash_md5(SLICE("1"), etags[1]);
    assert_int_equal(submit_at(c, &op, NOW), OK);
    assert_int_equal(submit_at(c, &op, NOW), ERR_PRECONDITION_FAILED);
    struct kv_op by_revision = set_op(c, "k", "3");
    by_revision.condition = KV_IF_REVISION;
    by_revision.if_revision = op.revision + 1;
    assert_int_equal(submit_at(c, &by_revision, NOW), ERR_PRECONDITION_FAILED);
    struct kv_entry entry;
    assert_int_equal(get_at(c, "k", NOW, &entry), OK);
    by_revision.if_revision = entry.revision;
    assert_int_equal(submit_at(c, &by_revision, NOW), OK);
    assert_true(by_revision.revision > entry.revision);
    assert_value(c, "k", "3");
}

static void test_increments(void **state) {
    struct kv_case *c = *state;
    struct kv_op incr = {.action = KV_INCREMENT, .ref = ref_of(c, "n"), .by = 5};
    assert_int_equal(submit_at(c, &incr, NOW), OK);
    incr.by = -7;
    assert_int_equal(submit_at(c, &incr, NOW), OK);
    assert_int_equal(incr.number, -2);
    assert_value(c, "n", "-2");
    set_key(c, "n", "9223372036854775807");
    incr.by = 1;
    assert_int_equal(submit_at(c, &incr, NOW), ERR_NOT_A_NUMBER);
    assert_value(c, "n", "9223372036854775807");
    set_key(c, "n", "x");
    assert_int_equal(submit_at(c, &incr, NOW), ERR_NOT_A_NUMBER);
    assert_int_equal(set_ttl(c, "n", "1", 100), OK);
    assert_int_equal(submit_at(c, &incr, NOW), OK);
    assert_absent_at(c, "n", NOW + 100);
}

static void test_many_go_together_or_not_at_all(void **state) {
    struct kv_case *c = *state;
    set_key(c, "a", "1");
    assert_int_equal(set_ttl(c, "t", "1", 1000), OK);
    struct kv_op ops[] = {
        set_op(c, "a", "2"),
        set_op(c, "b", "2"),
        {.action = KV_DELETE, .ref = ref_of(c, "a")},
        set_op(c, "a", "3"),
        {.action = KV_TOUCH, .ref = ref_of(c, "t")},
        {.action = KV_INCREMENT, .ref = ref_of(c, "b"), .by = 40},
        {.action = KV_CHECK, .condition = KV_IF_ABSENT, .ref = ref_of(c, "a")},
    };
    unsigned failed = 0;
    assert_int_equal(submit_many(c, ops, 7, NOW, &failed), ERR_PRECONDITION_FAILED);
    assert_int_equal(failed, 6);
    assert_value(c, "a", "1");
    assert_absent_at(c, "b", NOW);
    assert_absent_at(c, "t", NOW + 1000);
    assert_int_equal(submit_many(c, ops, 6, NOW, NULL), OK);
    assert_value(c, "a", "3");
    assert_value(c, "b", "42");
    struct kv_entry entry;
    assert_int_equal(get_at(c, "t", NOW + 1000, &entry), OK);
    assert_int_equal(count_at(c, NOW), 3);
}

static void test_pages_of_keys_in_byte_order(void **state) {
    struct kv_case *c = *state;
    const char *keys[] = {"b/2", "a", "b/10", "b", "c", "b/", "\xff", "b/\xc3\xa4"};
    for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++)
        set_key(c, keys[i], "1");
    assert_string_equal(list_at(c, "", "", 100, NOW), "a,b,b/,b/10,b/2,b/\xc3\xa4,c,\xff");
    assert_string_equal(list_at(c, "b/", "", 2, NOW), "b/,b/10+");
    assert_string_equal(list_at(c, "b/", "b/10", 2, NOW), "b/2,b/\xc3\xa4");
    assert_string_equal(list_at(c, "b/", "b/2x", 2, NOW), "b/\xc3\xa4");
    assert_string_equal(list_at(c, "x", "", 2, NOW), "");
    delete_key(c, "b/10");
    set_key(c, "b/0", "1");
    assert_string_equal(list_at(c, "b/", "", 100, NOW), "b/,b/0,b/2,b/\xc3\xa4");
}

static void test_flush_all_empties_the_store(void **state) {
    struct kv_case *c = *state;
    char key[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(set_ttl(c, key, "1", i % 2 ? 1000 : 0), OK);
    }
    assert_int_equal(count_at(c, NOW), 1000);
    struct kv_op flush = {.action = KV_FLUSH_ALL, .ref = {.storage = c->storage}};
    assert_int_equal(submit_at(c, &flush, NOW), OK);
    assert_int_equal(count_at(c, NOW), 0);
    assert_absent_at(c, "k1", NOW);
    assert_string_equal(list_at(c, "", "", 10, NOW), "");
    set_key(c, "k1", "again");
    assert_string_equal(list_at(c, "", "", 10, NOW), "k1");
    assert_int_equal(count_at(c, NOW), 1);
}

static void test_spaces_do_not_see_each_other(void **state) {
    struct kv_case *c = *state;
    set_key(c, "a", "1");
    struct kv_op op = set_op(c, "a", "2");
    op.ref.ns = SLICE("other");
    assert_int_equal(submit_at(c, &op, NOW), OK);
    op.ref.ns = SLICE("default");
    op.ref.workspace = (struct uuid){{2}};
    op.value = SLICE("3");
    assert_int_equal(submit_at(c, &op, NOW), OK);
    assert_value(c, "a", "1");
    assert_int_equal(count_at(c, NOW), 3);
    assert_string_equal(list_at(c, "", "", 10, NOW), "a");
}

#define STORE_CASES(setup, teardown)                                                               \
    cmocka_unit_test_setup_teardown(test_a_value_is_read_as_written, setup, teardown),             \
        cmocka_unit_test_setup_teardown(test_large_values_and_long_keys, setup, teardown),         \
        cmocka_unit_test_setup_teardown(test_the_etag_is_the_md5_of_the_value, setup, teardown),   \
        cmocka_unit_test_setup_teardown(test_a_content_type_is_kept, setup, teardown),             \
        cmocka_unit_test_setup_teardown(test_an_entry_is_gone_after_its_ttl, setup, teardown),     \
        cmocka_unit_test_setup_teardown(test_a_write_without_ttl_clears_it_and_touch_sets_it,      \
                                        setup, teardown),                                          \
        cmocka_unit_test_setup_teardown(test_an_expired_entry_counts_as_absent_for_writes, setup,  \
                                        teardown),                                                 \
        cmocka_unit_test_setup_teardown(                                                           \
            test_a_set_that_wants_to_know_is_told_whether_an_entry_was_there, setup, teardown),    \
        cmocka_unit_test_setup_teardown(test_conditions, setup, teardown),                         \
        cmocka_unit_test_setup_teardown(test_increments, setup, teardown),                         \
        cmocka_unit_test_setup_teardown(test_many_go_together_or_not_at_all, setup, teardown),     \
        cmocka_unit_test_setup_teardown(test_pages_of_keys_in_byte_order, setup, teardown),        \
        cmocka_unit_test_setup_teardown(test_flush_all_empties_the_store, setup, teardown),        \
        cmocka_unit_test_setup_teardown(test_spaces_do_not_see_each_other, setup, teardown)

#endif
