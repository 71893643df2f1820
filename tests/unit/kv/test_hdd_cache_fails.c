/* SPDX-License-Identifier: MIT */
/* The cache of reads when it is full, when keys share a hash, and when there is no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../nth_fails.h"
#include "kv/hdd_cache.h"

#define BUDGET (256U << 10)
#define KEYS 20000U

static uint64_t hash_of(unsigned i) {
    return hash_seeded(slice_make(&i, sizeof i), 1);
}

static struct stored entry_of(unsigned i, char *key, char *value) {
    snprintf(key, 16, "key-%u", i);
    memset(value, 'a' + (int)(i % 26), 300);
    return (struct stored){.revision = i + 1,
                           .space = 7,
                           .key = slice_of_cstr(key),
                           .value = slice_make(value, 100 + i % 200)};
}

static void fill(struct hdd_cache *cache, uint64_t hash, unsigned i) {
    char key[16], value[300];
    struct stored stored = entry_of(i, key, value);
    hdd_cache_fill(cache, hash, &stored, hdd_cache_epoch(cache));
}

/* True where it is kept, and then it is right. */
static bool has(struct hdd_cache *cache, uint64_t hash, unsigned i, uint64_t *bytes) {
    char key[16], value[300];
    struct stored stored = entry_of(i, key, value);
    const struct version *version = hdd_cache_find_lock(cache, hash, 7, stored.key);
    if (version) {
        assert_int_equal(version->seq, i + 1);
        assert_true(slice_equal(version_value(version), stored.value));
        *bytes += stored.value.len + stored.key.len;
    }
    hdd_cache_unlock(cache, hash);
    return version != NULL;
}

static void test_a_full_cache_keeps_to_its_budget_and_spares_what_is_read(void **state) {
    (void)state;
    struct hdd_cache *cache;
    uint64_t bytes = 0;
    unsigned kept = 0, hot = 0;
    assert_int_equal(hdd_cache_open(BUDGET, &cache), OK);
    for (unsigned i = 0; i < KEYS; i++) {
        fill(cache, hash_of(i), i);
        for (unsigned k = 0; k < 60; k++) { /* these are read all the time */
            if (!has(cache, hash_of(k), k, &bytes) && i >= k)
                fill(cache, hash_of(k), k);
            hdd_cache_prefetch(cache, hash_of(k), false);
            hdd_cache_prefetch(cache, hash_of(k), true);
        }
    }
    bytes = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        bool there = has(cache, hash_of(i), i, &bytes);
        kept += there;
        hot += there && i < 60;
    }
    assert_in_range(bytes, BUDGET / 4, BUDGET);
    assert_true(kept < 2000 && hot > 50);
    hdd_cache_close(cache);
}

static void test_keys_of_one_hash_are_told_apart(void **state) {
    (void)state;
    struct hdd_cache *cache;
    uint64_t bytes = 0;
    unsigned kept = 0;
    assert_int_equal(hdd_cache_open(16U << 20, &cache), OK);
    for (unsigned i = 0; i < 10; i++)
        fill(cache, 4711, i);
    for (unsigned i = 0; i < 10; i++)
        kept += has(cache, 4711, i, &bytes);
    assert_int_equal(kept, 4); /* that a hash points to */
    assert_false(has(cache, 4711, 99, &bytes));
    hdd_cache_close(cache);
}

static void test_a_read_that_a_commit_overtook_is_not_kept(void **state) {
    (void)state;
    struct hdd_cache *cache;
    struct generation generation = {0};
    char key[16], value[300];
    uint64_t bytes = 0;
    struct stored stored = entry_of(1, key, value);
    assert_int_equal(hdd_cache_open(BUDGET, &cache), OK);
    uint64_t before = hdd_cache_epoch(cache);
    hdd_cache_renew(cache, &generation);
    hdd_cache_fill(cache, 1, &stored, before);
    assert_false(has(cache, 1, 1, &bytes));
    hdd_cache_fill(cache, 1, &stored, hdd_cache_epoch(cache));
    assert_true(has(cache, 1, 1, &bytes));
    hdd_cache_close(cache);
}

static void test_without_memory_nothing_is_kept_and_nothing_else_happens(void **state) {
    (void)state;
    struct hdd_cache *cache;
    uint64_t bytes = 0;
    nth_arm(NTH_MEMORY, 1, 0, false);
    assert_int_equal(hdd_cache_open(BUDGET, &cache), ERR_OUT_OF_MEMORY);
    assert_true(nth_disarm());
    assert_null(cache);
    assert_int_equal(hdd_cache_open(BUDGET, &cache), OK);
    for (long n = 1; n <= 2; n++) {
        nth_arm(NTH_MEMORY, n, 0, false);
        fill(cache, 1, 1);
        assert_true(nth_disarm());
        assert_false(has(cache, 1, 1, &bytes));
    }
    fill(cache, 1, 1);
    assert_true(has(cache, 1, 1, &bytes));
    hdd_cache_close(cache);
    hdd_cache_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_cache_keeps_to_its_budget_and_spares_what_is_read),
        cmocka_unit_test(test_keys_of_one_hash_are_told_apart),
        cmocka_unit_test(test_a_read_that_a_commit_overtook_is_not_kept),
        cmocka_unit_test(test_without_memory_nothing_is_kept_and_nothing_else_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
