/* SPDX-License-Identifier: MIT */
/* The cache of verified tokens: it saves work and never changes an answer. */
#include "token_case.h"

#include <pthread.h>

#include "auth/cache.h"

#define HS256 "{\"alg\":\"HS256\"}"
#define THREADS 4

static struct token_text token;
static struct auth *auth;

static int open_strong(void **state) {
    (void)state;
    auth = case_open(&(struct auth_options){.secret = STRONG});
    return 0;
}

static int close_it(void **state) {
    (void)state;
    auth_close(auth);
    return 0;
}

static void assert_counts(uint64_t hits, uint64_t misses) {
    uint64_t got_hits, got_misses;
    auth_stats(auth, &got_hits, &got_misses);
    assert_int_equal(got_hits, hits);
    assert_int_equal(got_misses, misses);
}

static void test_a_token_is_verified_once_and_found_after(void **state) {
    (void)state;
    struct auth_grant first, again;
    struct slice text = case_hs256(&token, HS256, "{\"scope\":\"kv:read:a admin\"}");
    assert_int_equal(auth_check(auth, text, NOW_MS, &first), OK);
    assert_counts(0, 1);
    assert_int_equal(auth_check(auth, text, NOW_MS, &again), OK);
    assert_counts(1, 1);
    assert_int_equal(again.rule_count, 2);
    assert_int_equal(again.expires_at_ms, first.expires_at_ms);
    assert_memory_equal(again.rules[0].pattern, "a", 1);
}

static void test_a_found_token_ends_with_its_exp_and_leeway(void **state) {
    (void)state;
    struct auth_grant grant;
    struct slice text = case_hs256(&token, HS256, "{\"exp\":1700000010}");
    assert_int_equal(auth_check(auth, text, NOW_MS, &grant), OK);
    assert_int_equal(auth_check(auth, text, NOW_MS + 69999, &grant), OK);
    assert_counts(1, 1);
    assert_int_equal(auth_check(auth, text, NOW_MS + 70000, &grant), ERR_AUTH_REQUIRED);
    assert_int_equal(auth_check(auth, text, NOW_MS + 70001, &grant), ERR_AUTH_REQUIRED);
    assert_counts(1, 3);
}

static void test_a_bad_token_is_never_kept(void **state) {
    (void)state;
    struct auth_grant grant;
    case_hs256(&token, HS256, "{}");
    token.text[token.len - 3] ^= 1;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), ERR_AUTH_REQUIRED);
    assert_counts(0, 3);
}

static void test_a_start_or_a_longer_form_of_a_kept_token_is_not_it(void **state) {
    (void)state;
    struct auth_grant grant;
    case_hs256(&token, HS256, "{}");
    assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), OK);
    token.len--;
    assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), ERR_AUTH_REQUIRED);
    token.len++;
    case_add(&token, SLICE("A"));
    assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), ERR_AUTH_REQUIRED);
}

static struct slice name_of(unsigned i, char text[16]) {
    return slice_make(text, (size_t)snprintf(text, 16, "token-%u", i));
}

static void test_more_tokens_than_slots_push_out_the_old_ones(void **state) {
    (void)state;
    struct cache *cache = cache_open();
    struct auth_grant grant = {.signed_in = true, .expires_at_ms = INT64_MAX};
    char text[16];
    const unsigned all = CACHE_SETS * CACHE_WAYS * 4;
    unsigned kept = 0;
    for (unsigned i = 0; i < all; i++)
        cache_put(cache, name_of(i, text), 0, NOW_MS, &grant);
    for (unsigned i = 0; i < all; i++)
        kept += cache_find(cache, name_of(i, text), 0, NOW_MS, &grant);
    assert_true(kept > CACHE_SETS && kept <= CACHE_SETS * CACHE_WAYS);
    assert_true(cache_find(cache, name_of(all - 1, text), 0, NOW_MS, &grant));
    cache_close(cache);
}

static void test_a_token_in_use_outlives_those_that_came_once(void **state) {
    (void)state;
    struct cache *cache = cache_open();
    struct auth_grant grant = {.signed_in = true, .expires_at_ms = INT64_MAX};
    char text[16];
    cache_put(cache, SLICE("mine"), 0, NOW_MS, &grant);
    for (unsigned i = 0; i < CACHE_SETS * CACHE_WAYS * 4; i++) {
        cache_put(cache, name_of(i, text), 0, NOW_MS, &grant);
        assert_true(cache_find(cache, SLICE("mine"), 0, NOW_MS, &grant));
    }
    cache_close(cache);
}

static void test_each_token_finds_its_own_grant(void **state) {
    (void)state;
    struct cache *cache = cache_open();
    struct auth_grant grant = {.signed_in = true};
    char text[16];
    for (unsigned i = 0; i < CACHE_SETS; i++) {
        grant.expires_at_ms = NOW_MS + 1 + i;
        cache_put(cache, name_of(i, text), 0, NOW_MS, &grant);
    }
    for (unsigned i = 0; i < CACHE_SETS; i++)
        if (cache_find(cache, name_of(i, text), 0, NOW_MS, &grant))
            assert_int_equal(grant.expires_at_ms, NOW_MS + 1 + i);
    grant.expires_at_ms = NOW_MS + 5;
    cache_put(cache, SLICE("twice"), 0, NOW_MS, &grant);
    grant.expires_at_ms = NOW_MS + 9;
    cache_put(cache, SLICE("twice"), 0, NOW_MS, &grant);
    assert_true(cache_find(cache, SLICE("twice"), 0, NOW_MS, &grant));
    assert_int_equal(grant.expires_at_ms, NOW_MS + 9);
    cache_close(cache);
}

/* Every grant says its own token's number, so that a torn or foreign one shows. */
static void *check_many(void *context) {
    static const char *const faults[] = {NULL, "foreign", "refused"};
    struct token_text *tokens = context;
    unsigned fault = 0;
    for (unsigned i = 0; i < 4000; i++) {
        unsigned which = i % 8;
        struct auth_grant grant;
        if (auth_check(auth, case_slice(&tokens[which]), NOW_MS, &grant) != OK)
            fault = 2;
        else if (grant.expires_at_ms != (NOW_S + which) * 1000 + 60000)
            fault = 1;
    }
    return (void *)(uintptr_t)faults[fault];
}

static void test_threads_may_check_the_same_tokens_at_once(void **state) {
    (void)state;
    struct token_text *tokens = calloc(8, sizeof *tokens);
    pthread_t threads[THREADS];
    assert_non_null(tokens);
    for (unsigned i = 0; i < 8; i++) {
        char payload[40];
        snprintf(payload, sizeof payload, "{\"exp\":%lld}", (long long)(NOW_S + i));
        case_hs256(&tokens[i], HS256, payload);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, check_many, tokens), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *fault;
        pthread_join(threads[i], &fault);
        assert_null(fault);
    }
    uint64_t hits, misses;
    auth_stats(auth, &hits, &misses);
    assert_int_equal(hits + misses, THREADS * 4000);
    assert_true(misses >= 8 && misses <= 8 * THREADS);
    free(tokens);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_strong, close_it)
    const struct CMUnitTest tests[] = {
        CASE(test_a_token_is_verified_once_and_found_after),
        CASE(test_a_found_token_ends_with_its_exp_and_leeway),
        CASE(test_a_bad_token_is_never_kept),
        CASE(test_a_start_or_a_longer_form_of_a_kept_token_is_not_it),
        cmocka_unit_test(test_more_tokens_than_slots_push_out_the_old_ones),
        cmocka_unit_test(test_a_token_in_use_outlives_those_that_came_once),
        cmocka_unit_test(test_each_token_finds_its_own_grant),
        CASE(test_threads_may_check_the_same_tokens_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
