/* SPDX-License-Identifier: MIT */
/* Keys fetched from an issuer: what it may answer, and what stays where it answers badly. */
#include "jwks_case.h"

#include "issuer_case.h"

static struct token_text first_set, second_set, token;

static int make_all(void **state) {
    int result = case_make_keys(state);
    case_add_jwk(&first_set, &p256, ",\"kid\":\"a\"");
    (void)case_end_set(&first_set);
    case_add_jwk(&second_set, &ed25519, ",\"kid\":\"b\"");
    (void)case_end_set(&second_set);
    return result;
}

/* Fetches again at once where a token names an unknown key, or it failed. */
static struct auth *open_at(struct issuer *issuer, int64_t cooldown_ms) {
    struct auth *auth = case_open(&(struct auth_options){
        .jwks_url = issuer->url, .jwks_refresh_ms = 3600000, .jwks_cooldown_ms = cooldown_ms});
    auth_await_keys(auth, 60000);
    return auth;
}

static enum err check_first(struct auth *auth) {
    struct auth_grant grant;
    return auth_check(auth, case_token_by(&token, &p256, "ES256", ",\"kid\":\"a\""), NOW_MS,
                      &grant);
}

static enum err check_second(struct auth *auth) {
    struct auth_grant grant;
    return auth_check(auth, case_token_by(&token, &ed25519, "EdDSA", ",\"kid\":\"b\""), NOW_MS,
                      &grant);
}

static void test_a_token_of_a_new_key_has_the_set_fetched_anew(void **state) {
    struct issuer_reply replies[] = {{ISSUER_OK, case_slice(&first_set)},
                                     {ISSUER_OK, case_slice(&second_set)}};
    struct issuer issuer;
    (void)state;
    issuer_open(&issuer, replies, 2);
    struct auth *auth = open_at(&issuer, 0);
    assert_int_equal(check_first(auth), OK);
    assert_int_equal(check_second(auth), ERR_AUTH_REQUIRED);
    issuer_await(&issuer, 2);
    char why[200];
    struct auth_options same = {.jwks_url = issuer.url};
    assert_int_equal(auth_reload(auth, &same, why, sizeof why), OK); /* asks at once */
    issuer_await(&issuer, 3);
    assert_int_equal(check_second(auth), OK);
    assert_int_equal(check_first(auth), ERR_AUTH_REQUIRED);
    assert_int_equal(auth_key_count(auth), 1);
    auth_close(auth);
    issuer_close(&issuer);
}

static void test_what_an_issuer_answers_badly_leaves_the_keys_of_before(void **state) {
    (void)state;
    static char large[(1U << 20) + 1];
    memset(large, ' ', sizeof large);
    const struct issuer_reply bad[] = {
        {"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n", case_slice(&second_set)},
        {"HTTP/1.1 301 Moved\r\nLocation: /keys\r\nConnection: close\r\n\r\n", SLICE("")},
        {"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", SLICE("")},
        {"HTTP/1.1 206 Partial\r\nConnection: close\r\n\r\n", case_slice(&second_set)},
        {"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\n", case_slice(&second_set)},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", case_slice(&second_set)},
        {"", SLICE("")},
        {"garbage", SLICE("")},
        {ISSUER_OK, SLICE("")},
        {ISSUER_OK, SLICE("{\"keys\":[]}")},
        {ISSUER_OK, slice_make(second_set.text, second_set.len - 1)},
        {ISSUER_OK, slice_make(large, sizeof large)},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        /* good, then bad twice, then good again */
        struct issuer_reply replies[] = {
            {ISSUER_OK, case_slice(&first_set)}, bad[i], bad[i], {NULL, SLICE("")}};
        struct issuer issuer;
        issuer_open(&issuer, replies, 4);
        struct auth *auth = open_at(&issuer, 0);
        assert_int_equal(check_second(auth), ERR_AUTH_REQUIRED);
        issuer_await(&issuer, 4); /* a failure is tried again, without being asked */
        assert_int_equal(check_first(auth), OK);
        assert_int_equal(check_second(auth), ERR_AUTH_REQUIRED);
        assert_int_equal(auth_key_count(auth), 1);
        auth_close(auth);
        issuer_close(&issuer);
    }
}

static void test_an_issuer_that_comes_back_is_believed_again(void **state) {
    (void)state;
    struct issuer_reply replies[] = {{"HTTP/1.1 503 Later\r\nConnection: close\r\n\r\n", SLICE("")},
                                     {ISSUER_OK, case_slice(&first_set)},
                                     {ISSUER_OK, case_slice(&first_set)},
                                     {NULL, SLICE("")}};
    struct issuer issuer;
    issuer_open(&issuer, replies, 4);
    struct auth *auth = open_at(&issuer, 0);
    issuer_await(&issuer, 2);
    assert_int_equal(check_second(auth), ERR_AUTH_REQUIRED); /* asks for a third */
    issuer_await(&issuer, 3);
    assert_int_equal(check_first(auth), OK);
    auth_close(auth);
    issuer_close(&issuer);
}

static void test_an_issuer_is_not_asked_anew_within_its_cool_down(void **state) {
    (void)state;
    struct issuer_reply replies[] = {{ISSUER_OK, case_slice(&first_set)}};
    struct issuer issuer;
    issuer_open(&issuer, replies, 1);
    struct auth *auth = open_at(&issuer, 3000000);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(check_second(auth), ERR_AUTH_REQUIRED);
    auth_close(auth);
    assert_int_equal(issuer.asked, 1);
    issuer_close(&issuer);
}

/* A close waits for a second or so at most; the timeout of a fetch is ten. */
static void test_a_close_does_not_wait_for_an_issuer_that_says_nothing(void **state) {
    (void)state;
    struct issuer_reply replies[] = {{NULL, SLICE("")}};
    struct issuer issuer;
    issuer_open(&issuer, replies, 1);
    struct auth *auth = case_open(&(struct auth_options){
        .jwks_url = issuer.url, .jwks_refresh_ms = 3600000, .jwks_cooldown_ms = 3600000});
    issuer_await(&issuer, 1);
    assert_int_equal(auth_key_count(auth), 0);
    auth_await_keys(auth, 0);
    auth_close(auth);
    assert_int_equal(issuer.asked, 1);
    issuer_close(&issuer);
}

static void test_keys_of_a_file_and_of_an_issuer_are_both_good(void **state) {
    (void)state;
    struct issuer_reply replies[] = {{ISSUER_OK, case_slice(&second_set)}};
    struct issuer issuer;
    issuer_open(&issuer, replies, 1);
    struct auth *auth = case_open(&(struct auth_options){.jwks_url = issuer.url,
                                                         .jwks = case_slice(&first_set),
                                                         .jwks_refresh_ms = 3600000,
                                                         .jwks_cooldown_ms = 3600000});
    auth_await_keys(auth, 60000);
    assert_int_equal(auth_key_count(auth), 2);
    assert_int_equal(check_first(auth), OK);
    assert_int_equal(check_second(auth), OK);
    auth_close(auth);
    issuer_close(&issuer);
}

static void test_a_file_of_authorities_is_read_at_the_start(void **state) {
    (void)state;
    char good[] = "/tmp/hati-ca-XXXXXX", bad[] = "/tmp/hati-ca-XXXXXX";
    const char *const paths[] = {"/none/such.pem", "/tmp", bad, good};
    case_write_certificate(&p256, good);
    close(mkstemp(bad));
    for (size_t i = 0; i < 4; i++) {
        struct auth *auth = NULL;
        char why[300] = "";
        struct auth_options options = {.jwks_url = "https://127.0.0.1:1/keys",
                                       .jwks_ca_file = paths[i],
                                       .jwks_refresh_ms = 3600000,
                                       .jwks_cooldown_ms = 3600000};
        enum err err = auth_open(&options, &auth, why, sizeof why);
        assert_int_equal(err, i == 3 ? OK : ERR_UNAVAILABLE);
        assert_true(err == OK || (strstr(why, "jwks-ca: ") && strstr(why, paths[i])));
        auth_close(auth);
    }
    unlink(good);
    unlink(bad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token_of_a_new_key_has_the_set_fetched_anew),
        cmocka_unit_test(test_what_an_issuer_answers_badly_leaves_the_keys_of_before),
        cmocka_unit_test(test_an_issuer_that_comes_back_is_believed_again),
        cmocka_unit_test(test_an_issuer_is_not_asked_anew_within_its_cool_down),
        cmocka_unit_test(test_a_close_does_not_wait_for_an_issuer_that_says_nothing),
        cmocka_unit_test(test_a_file_of_authorities_is_read_at_the_start),
        cmocka_unit_test(test_keys_of_a_file_and_of_an_issuer_are_both_good),
    };
    return cmocka_run_group_tests(tests, make_all, case_drop_keys);
}
