/* SPDX-License-Identifier: MIT */
/* Several keys at once, which of them a token is tried with, and their exchange while others look.
 */
#include "auth/keys.h"

#include <pthread.h>
#include <stdatomic.h>

#include "auth/jwks_fetch.h"
#include "jwks_case.h"

#define NEW_SECRET SLICE("Zx7Lp2TnW5rYb8sDf4gHc6aEukJ3vQ9m")

static struct token_text set, token;
static struct key_pair first, second;

static int make_keys(void **state) {
    (void)state;
    unsigned bits = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);
    case_make_key(&first, GNUTLS_PK_ECDSA, bits);
    case_make_key(&second, GNUTLS_PK_ECDSA, bits);
    return 0;
}

static int drop_keys(void **state) {
    (void)state;
    case_drop_key(&first);
    case_drop_key(&second);
    return 0;
}

static enum err check(struct auth *auth, struct slice text) {
    struct auth_grant grant;
    return auth_check(auth, text, NOW_MS, &grant);
}

static struct slice hmac_token(struct slice secret) {
    case_start(&token, SLICE("{\"alg\":\"HS256\"}"), SLICE("{}"));
    case_sign_hmac(&token, GNUTLS_MAC_SHA256, secret);
    return case_slice(&token);
}

static struct slice pem_of(unsigned count, const struct key_pair *const *pairs) {
    static struct token_text pem;
    pem.len = 0;
    for (unsigned i = 0; i < count; i++) {
        case_add(&pem, SLICE("# a key\n"));
        case_add(&pem, case_public_pem(pairs[i]));
    }
    return case_slice(&pem);
}

static void reload(struct auth *auth, const struct auth_options *options) {
    char why[300] = "";
    if (auth_reload(auth, options, why, sizeof why))
        fail_msg("%s", why);
}

static void assert_not_reloaded(struct auth *auth, const struct auth_options *options,
                                const char *word) {
    char why[300] = "";
    unsigned before = auth_key_count(auth);
    assert_int_not_equal(auth_reload(auth, options, why, sizeof why), OK);
    if (!strstr(why, word))
        fail_msg("`%s` does not say `%s`", why, word);
    assert_int_equal(auth_key_count(auth), before);
}

static void test_two_secrets_are_good_while_they_are_rotated(void **state) {
    (void)state;
    struct auth *auth = case_open(&(struct auth_options){.secret = STRONG});
    assert_int_equal(check(auth, hmac_token(STRONG)), OK);
    assert_int_equal(check(auth, hmac_token(NEW_SECRET)), ERR_AUTH_REQUIRED);
    reload(auth, &(struct auth_options){.secret = NEW_SECRET, .old_secret = STRONG});
    assert_int_equal(check(auth, hmac_token(STRONG)), OK);
    assert_int_equal(check(auth, hmac_token(NEW_SECRET)), OK);
    reload(auth, &(struct auth_options){.secret = NEW_SECRET});
    assert_int_equal(check(auth, hmac_token(STRONG)), ERR_AUTH_REQUIRED);
    assert_int_equal(check(auth, hmac_token(NEW_SECRET)), OK);
    auth_close(auth);
}

static void test_a_bad_secret_or_key_read_anew_leaves_the_old_ones(void **state) {
    (void)state;
    struct auth *auth = case_open(&(struct auth_options){.secret = STRONG});
    const struct auth_options bad[] = {
        {.secret = SLICE("")},
        {.secret = SLICE("short")},
        {.old_secret = STRONG},
        {.secret = NEW_SECRET, .old_secret = SLICE("short")},
        {.secret = NEW_SECRET, .public_key_pem = case_public_pem(&first)},
        {.secret = NEW_SECRET, .jwks = SLICE("{}")},
        {.jwks = SLICE("garbage")},
        {.public_key_pem = SLICE("garbage")},
    };
    static const char *const words[] = {"secret", "secret", "stands alone", "secret",
                                        "both",   "both",   "key set",      "PEM"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_not_reloaded(auth, &bad[i], words[i]);
    assert_int_equal(check(auth, hmac_token(STRONG)), OK);
    auth_close(auth);
}

static void test_what_a_removed_key_signed_is_forgotten_though_it_was_verified(void **state) {
    (void)state;
    const struct key_pair *both[] = {&first, &second};
    struct auth *auth = case_open(&(struct auth_options){.public_key_pem = pem_of(2, both)});
    struct slice text = case_token_by(&token, &first, "ES256", "");
    uint64_t hits, misses, before;
    assert_int_equal(check(auth, text), OK);
    auth_stats(auth, &before, &misses);
    assert_int_equal(check(auth, text), OK);
    reload(auth, &(struct auth_options){.public_key_pem = pem_of(2, both)});
    assert_int_equal(check(auth, text), OK);
    auth_stats(auth, &hits, &misses);
    assert_int_equal(hits, before + 2); /* the same keys read anew change nothing */
    reload(auth, &(struct auth_options){.public_key_pem = pem_of(1, both + 1)});
    assert_int_equal(check(auth, text), ERR_AUTH_REQUIRED);
    assert_int_equal(check(auth, case_token_by(&token, &second, "ES256", "")), OK);
    auth_close(auth);
}

static void test_a_file_may_hold_several_pems_but_no_broken_one(void **state) {
    (void)state;
    const struct key_pair *both[] = {&first, &second};
    struct auth *auth = case_open(&(struct auth_options){.public_key_pem = pem_of(2, both)});
    assert_int_equal(auth_key_count(auth), 2);
    struct slice pem = pem_of(2, both);
    pem.len -= 40;
    assert_not_reloaded(auth, &(struct auth_options){.public_key_pem = pem}, "PEM");
    const struct key_pair *many[KEYS_LOOSE_MAX + 1];
    for (unsigned i = 0; i <= KEYS_LOOSE_MAX; i++)
        many[i] = &first;
    pem = pem_of(KEYS_LOOSE_MAX, many);
    reload(auth, &(struct auth_options){.public_key_pem = pem});
    assert_int_equal(auth_key_count(auth), 1); /* the same one */
    pem = pem_of(KEYS_LOOSE_MAX + 1, many);
    assert_not_reloaded(auth, &(struct auth_options){.public_key_pem = pem}, "16 keys");
    auth_close(auth);
}

static void test_a_key_without_a_name_is_tried_for_every_kid(void **state) {
    (void)state;
    set.len = 0;
    case_add_jwk(&set, &second, ",\"kid\":\"b\"");
    struct auth *auth = case_open(&(struct auth_options){.public_key_pem = case_public_pem(&first),
                                                         .jwks = case_end_set(&set)});
    static const char *const kids[] = {"", ",\"kid\":\"b\"", ",\"kid\":\"../../dev/null\"",
                                       ",\"kid\":\"\"", ",\"kid\":\"' OR 1=1 --\""};
    for (size_t i = 0; i < sizeof kids / sizeof kids[0]; i++) {
        assert_int_equal(check(auth, case_token_by(&token, &first, "ES256", kids[i])), OK);
        assert_int_equal(check(auth, case_token_by(&token, &second, "ES256", kids[i])),
                         i < 2 ? OK : ERR_AUTH_REQUIRED);
    }
    static const char *const bad[] = {",\"kid\":7", ",\"kid\":null", ",\"kid\":[\"b\"]",
                                      ",\"kid\":\"b\",\"kid\":\"b\"", ",\"kid\":\"b\\u0000\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(check(auth, case_token_by(&token, &second, "ES256", bad[i])),
                         ERR_AUTH_REQUIRED);
    auth_close(auth);
}

static void test_a_token_without_kid_is_tried_with_sixteen_keys_at_most(void **state) {
    (void)state;
    unsigned bits = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);
    struct key_pair others[KEYS_TRIED_MAX];
    set.len = 0;
    for (unsigned i = 0; i < KEYS_TRIED_MAX; i++) {
        case_make_key(&others[i], GNUTLS_PK_ECDSA, bits);
        case_add_jwk(&set, &others[i], "");
    }
    case_add_jwk(&set, &first, ",\"kid\":\"last\"");
    struct auth *auth = case_open(&(struct auth_options){.jwks = case_end_set(&set)});
    unsigned last = KEYS_TRIED_MAX - 1;
    assert_int_equal(check(auth, case_token_by(&token, &others[last], "ES256", "")), OK);
    assert_int_equal(check(auth, case_token_by(&token, &first, "ES256", "")), ERR_AUTH_REQUIRED);
    assert_int_equal(check(auth, case_token_by(&token, &first, "ES256", ",\"kid\":\"last\"")), OK);
    auth_close(auth);
    for (unsigned i = 0; i < KEYS_TRIED_MAX; i++)
        case_drop_key(&others[i]);
}

/* Checks without a pause; the key of `kept` is always there. */
struct reader {
    struct auth *auth;
    struct slice kept, going;
    _Atomic bool *stop;
    _Atomic uint64_t *checks;
    uint64_t refused;
};

static void *read_on(void *context) {
    struct reader *reader = context;
    while (!atomic_load(reader->stop)) {
        reader->refused += check(reader->auth, reader->kept) != OK;
        if (check(reader->auth, reader->going) == ERR_UNAVAILABLE)
            abort();
        atomic_fetch_add(reader->checks, 1);
    }
    return NULL;
}

static void test_keys_change_under_threads_that_check_and_no_good_token_is_refused(void **state) {
    (void)state;
    static struct token_text kept, going;
    const struct key_pair *both[] = {&first, &second};
    struct auth *auth = case_open(&(struct auth_options){.public_key_pem = pem_of(2, both)});
    _Atomic bool stop = false;
    _Atomic uint64_t checks = 0;
    case_token_by(&kept, &second, "ES256", "");
    case_token_by(&going, &first, "ES256", "");
    struct reader readers[3];
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++) {
        readers[i] =
            (struct reader){auth, case_slice(&kept), case_slice(&going), &stop, &checks, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers[i]), 0);
    }
    for (unsigned round = 0; round < 200; round++) {
        uint64_t seen = atomic_load(&checks);
        reload(auth, &(struct auth_options){.public_key_pem = pem_of(1, both + 1)});
        assert_int_equal(check(auth, case_slice(&going)), ERR_AUTH_REQUIRED);
        reload(auth, &(struct auth_options){.public_key_pem = pem_of(2, both)});
        assert_int_equal(check(auth, case_slice(&going)), OK);
        while (atomic_load(&checks) == seen)
            sched_yield();
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(readers[i].refused, 0);
    }
    auth_close(auth);
}

static void test_a_set_is_fetched_again_after_its_time_a_failure_or_a_question(void **state) {
    (void)state;
    struct jwks_times times = {.refresh_ms = 600000, .cooldown_ms = 30000, .tried_at_ms = 1000};
    assert_true(jwks_due_at_ms(&times) == INT64_MIN);
    times.tried = true;
    assert_int_equal(jwks_due_at_ms(&times), 601000);
    times.asked = true;
    assert_int_equal(jwks_due_at_ms(&times), 31000);
    times.asked = false;
    times.failing = true;
    assert_int_equal(jwks_due_at_ms(&times), 31000);
    times.cooldown_ms = 700000; /* the other is the sooner then */
    assert_int_equal(jwks_due_at_ms(&times), 601000);
    times.urged = true;
    assert_true(jwks_due_at_ms(&times) == INT64_MIN);
}

static enum err open_url(const char *url, bool allow_http, struct auth **ret_auth) {
    char why[300] = "";
    struct auth_options options = {.jwks_url = url,
                                   .jwks_allow_http = allow_http,
                                   .jwks_refresh_ms = 600000,
                                   .jwks_cooldown_ms = 30000};
    enum err err = auth_open(&options, ret_auth, why, sizeof why);
    if (err && !strstr(why, "jwks-url: "))
        fail_msg("%s: %s", url, why);
    return err;
}

static void test_a_url_that_is_not_to_be_trusted_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "issuer.example/keys",
        "//issuer.example/keys",
        "https://",
        "http://issuer.example/keys",
        "http://127.0.0.1.issuer.example/keys",
        "http://localhost.issuer.example/keys",
        "http://10.0.0.1/keys",
        "http://0.0.0.0/keys",
        "http://[::2]/keys",
        "http://127.0.0.1@issuer.example/keys",
        "https://user@issuer.example/keys",
        "https://user:password@issuer.example/keys",
        "file:///etc/passwd",
        "ftp://127.0.0.1/keys",
        "gopher://127.0.0.1/keys",
        "https://issuer.example:99999/keys",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct auth *auth = NULL;
        if (open_url(bad[i], false, &auth) == OK)
            fail_msg("taken: %s", bad[i]);
    }
    struct auth *auth = NULL;
    assert_int_not_equal(open_url("ftp://127.0.0.1/keys", true, &auth), OK);
    assert_int_not_equal(open_url("http://me@127.0.0.1/keys", true, &auth), OK);
}

/* Nobody listens at port 1 of this machine. */
static void test_without_its_issuer_it_opens_and_refuses_tokens(void **state) {
    (void)state;
    static const char *const urls[] = {"http://127.0.0.1:1/keys", "http://localhost:1/keys",
                                       "http://[::1]:1/keys", "https://127.0.0.1:1/keys"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct auth *auth = NULL;
        assert_int_equal(open_url(urls[i], false, &auth), OK);
        auth_await_keys(auth, 60000);
        assert_int_equal(auth_key_count(auth), 0);
        struct slice text = case_token_by(&token, &first, "ES256", ",\"kid\":\"a\"");
        assert_int_equal(check(auth, text), ERR_AUTH_REQUIRED);
        assert_int_equal(check(auth, hmac_token(SLICE(""))), ERR_AUTH_REQUIRED);
        auth_close(auth);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_secrets_are_good_while_they_are_rotated),
        cmocka_unit_test(test_a_bad_secret_or_key_read_anew_leaves_the_old_ones),
        cmocka_unit_test(test_what_a_removed_key_signed_is_forgotten_though_it_was_verified),
        cmocka_unit_test(test_a_file_may_hold_several_pems_but_no_broken_one),
        cmocka_unit_test(test_a_key_without_a_name_is_tried_for_every_kid),
        cmocka_unit_test(test_a_token_without_kid_is_tried_with_sixteen_keys_at_most),
        cmocka_unit_test(test_keys_change_under_threads_that_check_and_no_good_token_is_refused),
        cmocka_unit_test(test_a_set_is_fetched_again_after_its_time_a_failure_or_a_question),
        cmocka_unit_test(test_a_url_that_is_not_to_be_trusted_is_refused),
        cmocka_unit_test(test_without_its_issuer_it_opens_and_refuses_tokens),
    };
    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
