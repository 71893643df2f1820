/* SPDX-License-Identifier: MIT */
/* Tokens and keys where memory ends or a library fails: refused with a word, nothing let in,
 * nothing lost. Each test goes through every allocation in turn. */
/* wrap: malloc calloc realloc strdup aligned_alloc pthread_create curl_easy_init curl_url */
/* wrap: gnutls_pubkey_init gnutls_pubkey_export2 gnutls_pubkey_export_rsa_raw2 */
/* wrap: gnutls_pubkey_export_ecc_raw2 curl_global_init curl_easy_setopt */
#include "jwks_case.h"

#include "issuer_case.h"
#include "tests/unit/faults.h"

#include <curl/curl.h>
#include <pthread.h>

#include "auth/jwks.h"
#include "auth/keys.h"

#define OLD SLICE("Zx7Lp2TnW5rYb8sDf4gHc6aEukJ3vQ9m")
#define ROUNDS_MAX 2000
#define LONG                                                                                       \
    "a text that outgrows every first buffer of a parser, and its second and its third one too"

/* Libraries fail as memory does. */
#define WRAP(type, name, bad, parameters, arguments)                                               \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters {                                                                \
        return faults_due() ? (bad) : __real_##name arguments;                                     \
    }

WRAP(int, pthread_create, 11,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *context),
     (thread, attributes, run, context))
WRAP(CURL *, curl_easy_init, NULL, (void), ())
WRAP(CURLU *, curl_url, NULL, (void), ())
WRAP(CURLcode, curl_global_init, CURLE_OUT_OF_MEMORY, (long flags), (flags))
WRAP(int, gnutls_pubkey_init, GNUTLS_E_MEMORY_ERROR, (gnutls_pubkey_t * key), (key))
WRAP(int, gnutls_pubkey_export2, GNUTLS_E_MEMORY_ERROR,
     (gnutls_pubkey_t key, gnutls_x509_crt_fmt_t format, gnutls_datum_t *out), (key, format, out))
WRAP(int, gnutls_pubkey_export_rsa_raw2, GNUTLS_E_MEMORY_ERROR,
     (gnutls_pubkey_t key, gnutls_datum_t *n, gnutls_datum_t *e, unsigned flags),
     (key, n, e, flags))
WRAP(int, gnutls_pubkey_export_ecc_raw2, GNUTLS_E_MEMORY_ERROR,
     (gnutls_pubkey_t key, gnutls_ecc_curve_t *curve, gnutls_datum_t *x, gnutls_datum_t *y,
      unsigned flags),
     (key, curve, x, y, flags))
static _Atomic int option_refused; /* by curl_easy_setopt */

#undef curl_easy_setopt
CURLcode __real_curl_easy_setopt(CURL *curl, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *curl, CURLoption option, ...);
CURLcode __wrap_curl_easy_setopt(CURL *curl, CURLoption option, ...) {
    va_list list;
    va_start(list, option);
    void *value = va_arg(list, void *); /* a pointer, or a long of the same size */
    va_end(list);
    if ((int)option == atomic_load(&option_refused))
        return CURLE_UNKNOWN_OPTION;
    return __real_curl_easy_setopt(curl, option, value);
}

static char ca_path[] = "/tmp/hati-ca-XXXXXX";
static struct token_text set, pems, text;

static struct slice key_set(void) {
    set.len = 0;
    case_add_jwk(&set, &rsa, ",\"kid\":\"r\"");
    case_add_jwk(&set, &p256, ",\"kid\":\"p\"");
    case_add_jwk(&set, &ed25519, ",\"kid\":\"e\"");
    return case_end_set(&set);
}

static struct slice two_pems(void) {
    pems.len = 0;
    case_add(&pems, case_public_pem(&rsa));
    case_add(&pems, case_public_pem(&p256));
    return case_slice(&pems);
}

static struct auth_options options_of(unsigned which) {
    struct auth_options options = {.audience = SLICE("us"), .issuer = SLICE("them")};
    if (which == 0) {
        options.secret = STRONG;
        options.old_secret = OLD;
    } else {
        options.public_key_pem = two_pems();
        options.jwks = key_set();
    }
    return options;
}

/* Opens where the n-th call fails; whether one did. NULL, and a word on why, where it did not open.
 */
static bool open_at(long n, const struct auth_options *options, struct auth **ret_auth) {
    char why[300] = "";
    *ret_auth = NULL;
    faults_begin(n);
    enum err err = auth_open(options, ret_auth, why, sizeof why);
    bool failed = faults_end();
    if (err) {
        assert_true(failed);
        assert_null(*ret_auth);
        assert_true(why[0] != '\0');
    } else {
        assert_non_null(*ret_auth);
    }
    return failed;
}

static void test_without_memory_nothing_opens_and_it_is_said(void **state) {
    (void)state;
    for (unsigned which = 0; which < 2; which++) {
        struct auth_options options = options_of(which);
        struct auth *auth;
        long n = 0;
        while (open_at(++n, &options, &auth) && n < ROUNDS_MAX)
            auth_close(auth);
        assert_true(n > 5 && n < ROUNDS_MAX);
        assert_int_equal(auth_key_count(auth), which ? 5 : 2);
        auth_close(auth);
    }
}

/* A set of keys is never shown with a good one missing. */
static void test_without_memory_a_key_set_is_refused_as_a_whole(void **state) {
    (void)state;
    struct slice document = key_set();
    long n = 0;
    for (bool failed = true; failed && n < ROUNDS_MAX;) {
        struct keys *keys = keys_new();
        char why[300] = "";
        faults_begin(++n);
        enum err err = jwks_read(document, keys, why, sizeof why);
        failed = faults_end();
        assert_true(err == OK || failed);
        assert_true((err == OK && keys->count == 3) || why[0] != '\0');
        keys_drop(keys);
    }
    assert_true(n > 20 && n < ROUNDS_MAX);
}

static void test_without_memory_the_keys_of_before_stay(void **state) {
    (void)state;
    struct auth_options before = {.secret = STRONG}, after = options_of(1);
    struct auth_grant grant;
    struct auth *auth = case_open(&before);
    struct slice token = case_hs256(&text, "{\"alg\":\"HS256\"}", "{}");
    char why[300];
    long n = 0;
    for (enum err err = ERR_OUT_OF_MEMORY; err && n < ROUNDS_MAX;) {
        faults_begin(++n);
        err = auth_reload(auth, &after, why, sizeof why);
        bool failed = faults_end();
        assert_true(err == OK || failed);
        assert_int_equal(auth_key_count(auth), err ? 1 : 5);
        assert_int_equal(auth_check(auth, token, NOW_MS, &grant), err ? OK : ERR_AUTH_REQUIRED);
    }
    assert_true(n > 20 && n < ROUNDS_MAX);
    auth_close(auth);
}

/* What is good may be refused, what is bad is never let in, and nothing is told of either. */
static void check_at(struct auth *auth, struct slice token, enum err whole) {
    long n = 0;
    for (bool failed = true; failed && n < ROUNDS_MAX;) {
        struct auth_grant grant = {.subject = 99};
        faults_begin(++n);
        enum err err = auth_check(auth, token, NOW_MS, &grant);
        failed = faults_end();
        assert_true(err == whole || (failed && err == ERR_AUTH_REQUIRED));
        assert_true((err == OK) == (grant.subject != 99));
    }
    assert_true(n > 3 && n < ROUNDS_MAX);
}

static void test_without_memory_a_bad_token_is_not_let_in(void **state) {
    (void)state;
    static const struct {
        const char *alg, *payload;
        enum err err;
    } tokens[] = {
        {"RS256", "{\"aud\":\"us\",\"iss\":\"them\",\"sub\":\"" LONG "\"}", OK},
        {"RS256", "{\"aud\":\"us\",\"iss\":\"them\",\"exp\":1}", ERR_AUTH_REQUIRED},
        {"RS256", "{\"aud\":[\"us\",\"you\"],\"iss\":\"other\"}", ERR_AUTH_REQUIRED},
        {"EdDSA", "{\"aud\":\"us\",\"iss\":\"them\",\"scope\":\"kv:read:a*\"}", OK},
        {"ES256", "{\"aud\":[\"us\"],\"iss\":\"them\",\"account\":\"a\"}", OK},
        {"ES256", "{\"aud\":\"us\",\"iss\":\"them\",\"workspace\":\"a\"}", ERR_AUTH_REQUIRED},
    };
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        struct auth_options options = options_of(1);
        struct auth *auth = case_open(&options);
        char header[400];
        snprintf(header, sizeof header, "{\"typ\":\"at+jwt\",\"x\":\"" LONG "\",\"alg\":\"%s\"}",
                 tokens[i].alg);
        case_start(&text, slice_of_cstr(header), slice_of_cstr(tokens[i].payload));
        case_sign_private(&text, tokens[i].alg[0] == 'R'   ? &rsa
                                 : tokens[i].alg[1] == 'd' ? &ed25519
                                                           : &p256);
        check_at(auth, case_slice(&text), tokens[i].err);
        auth_close(auth);
    }
}

static void test_without_memory_a_verified_token_is_good_though_it_is_not_kept(void **state) {
    (void)state;
    struct auth_grant grant;
    struct auth *auth = case_open(&(struct auth_options){.secret = STRONG});
    struct slice token = case_hs256(&text, "{\"alg\":\"HS256\"}", "{}");
    uint64_t hits, misses, of_one;
    /* the cache allocates last: the first n without a refusal though one call failed is its */
    long n = 0;
    do
        faults_begin(++n);
    while (auth_check(auth, token, NOW_MS, &grant) && faults_end() && n < ROUNDS_MAX);
    assert_true(faults_end());
    auth_stats(auth, &hits, &of_one);
    assert_int_equal(hits, 0);
    assert_int_equal(auth_check(auth, token, NOW_MS, &grant), OK);
    auth_stats(auth, &hits, &misses);
    assert_int_equal(hits, 0);
    assert_int_equal(misses, of_one + 1);
    auth_close(auth);
}

static void test_without_memory_no_ticket_is_given_and_none_is_used_up(void **state) {
    (void)state;
    struct auth *auth = case_open(&(struct auth_options){.secret = STRONG});
    struct auth_grant some = {.signed_in = true, .expires_at_ms = INT64_MAX}, got;
    char ticket[AUTH_TICKET_MAX] = "as it was";
    struct slice path = SLICE("/a");
    faults_begin(1);
    assert_int_equal(auth_make_ticket(auth, &some, path, NOW_MS, ticket), ERR_OUT_OF_MEMORY);
    assert_true(faults_end());
    assert_string_equal(ticket, "as it was");
    assert_int_equal(auth_make_ticket(auth, &some, path, NOW_MS, ticket), OK);
    faults_begin(1);
    assert_int_equal(auth_take_ticket(auth, slice_of_cstr(ticket), path, NOW_MS, &got),
                     ERR_UNAVAILABLE);
    assert_true(faults_end());
    assert_int_equal(auth_take_ticket(auth, slice_of_cstr(ticket), path, NOW_MS, &got), OK);
    assert_int_equal(auth_take_ticket(auth, slice_of_cstr(ticket), path, NOW_MS, &got),
                     ERR_AUTH_REQUIRED);
    auth_close(auth);
}

static void test_without_memory_no_half_a_token_is_signed(void **state) {
    (void)state;
    struct auth_claims claims = {.workspace = SLICE(WORKSPACE),
                                 .account = SLICE(WORKSPACE),
                                 .scope = SLICE("admin"),
                                 .audience = SLICE("us"),
                                 .issuer = SLICE("them"),
                                 .lifetime_s = 60,
                                 .now_ms = NOW_MS};
    static char token[AUTH_TOKEN_MAX];
    struct auth_options options = options_of(0);
    struct auth *auth = case_open(&options);
    long n = 0;
    for (bool failed = true; failed && n < ROUNDS_MAX;) {
        struct auth_grant grant;
        token[0] = '\0';
        faults_begin(++n);
        enum err err = auth_sign(STRONG, &claims, token);
        failed = faults_end();
        if (err) {
            assert_true(failed);
            assert_true(token[0] == '\0');
            continue;
        }
        assert_int_equal(auth_check(auth, slice_of_cstr(token), NOW_MS, &grant), OK);
        assert_int_equal(grant.expires_at_ms, NOW_MS + 120000);
        assert_int_equal(grant.rule_count, 1);
        assert_true(grant.has_workspace && !grant.everything && grant.subject);
    }
    assert_true(n > 10 && n < ROUNDS_MAX);
    auth_close(auth);
}

static void test_without_a_thread_or_memory_no_url_is_asked(void **state) {
    (void)state;
    struct auth_options options = {.jwks_url = "http://127.0.0.1:1/keys",
                                   .jwks_ca_file = ca_path,
                                   .jwks_refresh_ms = 600000,
                                   .jwks_cooldown_ms = 30000};
    struct auth *auth;
    long n = 0;
    while (open_at(++n, &options, &auth) && n < ROUNDS_MAX)
        auth_close(auth);
    assert_true(n > 8 && n < ROUNDS_MAX);
    auth_close(auth);
}

static void test_an_issuer_is_not_asked_where_trust_cannot_be_set(void **state) {
    (void)state;
    static const int options[] = {
        CURLOPT_URL,    CURLOPT_PROTOCOLS_STR, CURLOPT_SSL_VERIFYPEER, CURLOPT_SSL_VERIFYHOST,
        CURLOPT_CAINFO, CURLOPT_NOPROXY};
    struct issuer_reply replies[] = {{ISSUER_OK, key_set()}};
    for (size_t i = 0; i <= sizeof options / sizeof options[0]; i++) {
        struct issuer issuer;
        bool refused = i < sizeof options / sizeof options[0];
        issuer_open(&issuer, replies, 1);
        atomic_store(&option_refused, refused ? options[i] : -1);
        struct auth *auth = case_open(&(struct auth_options){.jwks_url = issuer.url,
                                                             .jwks_ca_file = ca_path,
                                                             .jwks_refresh_ms = 600000,
                                                             .jwks_cooldown_ms = 600000});
        auth_await_keys(auth, 60000);
        assert_int_equal(auth_key_count(auth), refused ? 0 : 3);
        auth_close(auth);
        issuer_close(&issuer);
        assert_int_equal(issuer.asked, refused ? 0 : 1);
    }
}

static int make_all(void **state) {
    assert_int_equal(case_make_keys(state), 0);
    case_write_certificate(&p256, ca_path);
    return 0;
}

static int drop_all(void **state) {
    unlink(ca_path);
    return case_drop_keys(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_memory_nothing_opens_and_it_is_said),
        cmocka_unit_test(test_without_memory_a_key_set_is_refused_as_a_whole),
        cmocka_unit_test(test_without_memory_the_keys_of_before_stay),
        cmocka_unit_test(test_without_memory_a_bad_token_is_not_let_in),
        cmocka_unit_test(test_without_memory_a_verified_token_is_good_though_it_is_not_kept),
        cmocka_unit_test(test_without_memory_no_ticket_is_given_and_none_is_used_up),
        cmocka_unit_test(test_without_memory_no_half_a_token_is_signed),
        cmocka_unit_test(test_without_a_thread_or_memory_no_url_is_asked),
        cmocka_unit_test(test_an_issuer_is_not_asked_where_trust_cannot_be_set),
    };
    return cmocka_run_group_tests(tests, make_all, drop_all);
}
