/* SPDX-License-Identifier: MIT */
/* Tokens that are good, and every kind of hostile one: each of the latter is signed correctly where
 * it can be, so that nothing but the fault in question refuses it. */
#include "token_case.h"

#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

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
    auth = NULL;
    return 0;
}

static enum err check(struct slice text) {
    struct auth_grant grant;
    return auth_check(auth, text, NOW_MS, &grant);
}

static void assert_good(const char *payload) {
    if (check(case_hs256(&token, HS256, payload)) != OK)
        fail_msg("refused: %s", payload);
}

static void assert_bad(const char *header, const char *payload) {
    if (check(case_hs256(&token, header, payload)) != ERR_AUTH_REQUIRED)
        fail_msg("taken: %s %s", header, payload);
}

static void test_a_good_token_says_who_calls(void **state) {
    (void)state;
    struct auth_grant grant;
    struct uuid workspace;
    assert_true(text_uuid_parse(SLICE(WORKSPACE), &workspace));
    struct slice text = case_hs256(&token, HS256,
                                   "{\"workspace\":\"" WORKSPACE "\",\"exp\":1700000100,"
                                   "\"account\":\"someone\",\"extra\":{\"a\":[1,2.5,null]}}");
    assert_int_equal(auth_check(auth, text, NOW_MS, &grant), OK);
    assert_true(grant.signed_in && grant.has_workspace && !grant.everything && !grant.has_scope);
    assert_memory_equal(&grant.workspace, &workspace, sizeof workspace);
    assert_int_equal(grant.expires_at_ms, NOW_MS + 160000);
    text = case_hs256(&token, "{\"alg\":\"HS256\"}", "{}");
    assert_int_equal(auth_check(auth, text, NOW_MS, &grant), OK);
    assert_true(grant.signed_in && !grant.has_workspace && !grant.everything);
    assert_true(grant.expires_at_ms == INT64_MAX);
}

static void test_the_system_account_may_do_all_however_it_is_spelt(void **state) {
    (void)state;
    struct auth_grant grant;
    struct slice text =
        case_hs256(&token, HS256, "{\"account\":\"1749089E-22E6-48DE-AF4E-165E18FBD2F9\"}");
    assert_int_equal(auth_check(auth, text, NOW_MS, &grant), OK);
    assert_true(grant.everything && grant.signed_in);
    text = case_hs256(&token, HS256, "{\"account\":\"1749089e-22e6-48de-af4e-165e18fbd2f8\"}");
    assert_int_equal(auth_check(auth, text, NOW_MS, &grant), OK);
    assert_false(grant.everything);
}

static void test_a_secret_takes_three_algorithms_and_no_other(void **state) {
    (void)state;
    static const struct {
        const char *header;
        gnutls_mac_algorithm_t mac;
        enum err expected;
    } rows[] = {
        {"{\"alg\":\"HS256\"}", GNUTLS_MAC_SHA256, OK},
        {"{\"alg\":\"HS384\"}", GNUTLS_MAC_SHA384, OK},
        {"{\"alg\":\"HS512\"}", GNUTLS_MAC_SHA512, OK},
        {"{\"alg\":\"HS512\"}", GNUTLS_MAC_SHA256, ERR_AUTH_REQUIRED},
        {"{\"alg\":\"HS256\"}", GNUTLS_MAC_SHA512, ERR_AUTH_REQUIRED},
        {"{\"alg\":\"hs256\"}", GNUTLS_MAC_SHA256, ERR_AUTH_REQUIRED},
        {"{\"alg\":\"none\"}", GNUTLS_MAC_SHA256, ERR_AUTH_REQUIRED},
        {"{\"alg\":\"NoNe\"}", GNUTLS_MAC_SHA256, ERR_AUTH_REQUIRED},
        {"{\"alg\":\"RS256\"}", GNUTLS_MAC_SHA256, ERR_AUTH_REQUIRED},
        {"{\"alg\":\"ES256\"}", GNUTLS_MAC_SHA256, ERR_AUTH_REQUIRED},
        {"{\"alg\":\"PS256\"}", GNUTLS_MAC_SHA256, ERR_AUTH_REQUIRED},
        {"{\"alg\":\"HS256\\u0000\"}", GNUTLS_MAC_SHA256, ERR_AUTH_REQUIRED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        case_start(&token, slice_of_cstr(rows[i].header), SLICE("{\"n\":1}"));
        case_sign_hmac(&token, rows[i].mac, STRONG);
        if (check(case_slice(&token)) != rows[i].expected)
            fail_msg("%s by %s", rows[i].header, gnutls_mac_get_name(rows[i].mac));
    }
}

static void test_an_unsigned_token_is_refused(void **state) {
    (void)state;
    case_start(&token, SLICE("{\"alg\":\"none\"}"), SLICE("{}"));
    assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
    case_add(&token, SLICE("."));
    assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
    case_start(&token, SLICE(HS256), SLICE("{}"));
    case_add(&token, SLICE("."));
    assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
}

static void test_a_header_that_hides_something_is_refused(void **state) {
    (void)state;
    assert_bad("{\"alg\":\"HS256\",\"crit\":[\"x\"],\"x\":1}", "{}");
    assert_bad("{\"alg\":\"HS256\",\"crit\":null}", "{}");
    assert_bad("{\"alg\":\"HS256\",\"b64\":false}", "{}");
    assert_bad("{\"alg\":\"HS256\",\"alg\":\"HS256\"}", "{}");
    assert_bad("{\"alg\":\"none\",\"alg\":\"HS256\"}", "{}");
    assert_bad("{\"alg\":256}", "{}");
    assert_bad("{\"alg\":[\"HS256\"]}", "{}");
    assert_bad("{\"alg\":\"\"}", "{}");
    assert_bad("{\"typ\":\"JWT\"}", "{}");
    assert_bad("[\"HS256\"]", "{}");
    assert_bad("\"HS256\"", "{}");
    assert_bad("{\"alg\":\"HS256\"", "{}");
    assert_bad("{\"alg\":\"HS256\"}{}", "{}");
}

static void test_keys_named_or_carried_by_the_header_change_nothing(void **state) {
    (void)state;
    static const char *const headers[] = {
        "{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}",
        "{\"alg\":\"HS256\",\"kid\":\"' OR 1=1 --\"}",
        "{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"YWFhYWFhYWE\"}}",
        "{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1:1/keys\"}",
    };
    static const struct slice keys[] = {{"", 0}, {"aaaaaaaa", 8}};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            case_start(&token, slice_of_cstr(headers[i]), SLICE("{}"));
            case_sign_hmac(&token, GNUTLS_MAC_SHA256, keys[k]);
            assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
        }
    }
}

/* RFC 9068 has access tokens say so. */
static void test_a_token_may_be_of_any_type(void **state) {
    (void)state;
    static const char *const types[] = {"JWT", "jwt", "at+jwt", "application/at+jwt", ""};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char header[100];
        snprintf(header, sizeof header, "{\"alg\":\"HS256\",\"typ\":\"%s\"}", types[i]);
        assert_int_equal(check(case_hs256(&token, header, "{}")), OK);
    }
}

static uint64_t subject_of(const char *payload) {
    struct auth_grant grant;
    assert_int_equal(auth_check(auth, case_hs256(&token, HS256, payload), NOW_MS, &grant), OK);
    return grant.subject;
}

static void test_limits_are_by_sub_of_its_issuer_or_else_by_account(void **state) {
    (void)state;
    uint64_t me = subject_of("{\"sub\":\"me\"}"),
             here = subject_of("{\"sub\":\"me\",\"iss\":\"a\"}");
    assert_true(me && here && me != here);
    assert_int_equal(subject_of("{\"sub\":\"me\",\"account\":\"other\",\"scope\":\"admin\"}"), me);
    assert_int_equal(subject_of("{\"account\":\"me\"}"), me);
    assert_int_equal(subject_of("{\"sub\":\"\",\"account\":\"me\"}"), me);
    assert_int_equal(subject_of("{\"sub\":7,\"account\":\"me\"}"), me);
    assert_true(subject_of("{\"sub\":\"me\",\"iss\":\"b\"}") != here);
    assert_int_equal(subject_of("{}"), 0);
    assert_int_equal(subject_of("{\"sub\":\"\"}"), 0);
    assert_int_equal(subject_of("{\"account\":\"\"}"), 0);
}

static void test_a_payload_that_is_no_plain_object_is_refused(void **state) {
    (void)state;
    assert_bad(HS256, "[]");
    assert_bad(HS256, "[{\"exp\":1800000000}]");
    assert_bad(HS256, "null");
    assert_bad(HS256, "\"x\"");
    assert_bad(HS256, "{\"a\":1");
    assert_bad(HS256, "{} {}");
    assert_bad(HS256, "{\"a\":1,\"a\":1}");
    assert_bad(HS256, "{\"account\":\"x\",\"account\":\"" AUTH_SYSTEM_ACCOUNT "\"}");
    assert_bad(HS256, "{\"a\":{\"b\":1,\"b\":2}}");
    assert_bad(HS256, "{\"a\":\"\\u0000\"}");
    assert_bad(HS256, "{\"a\":\"\xff\"}");
    case_start(&token, SLICE(HS256), SLICE("{}\0"));
    case_sign_hmac(&token, GNUTLS_MAC_SHA256, STRONG);
    assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
}

static void test_a_deep_payload_is_refused(void **state) {
    (void)state;
    char payload[5000] = "{\"a\":";
    size_t len = strlen(payload);
    memset(payload + len, '[', 2000);
    memset(payload + len + 2000, ']', 2000);
    memcpy(payload + len + 4000, "}", 2);
    assert_bad(HS256, payload);
    assert_good("{\"a\":[[[[]]]]}");
}

static void test_exp_is_a_whole_number_not_past(void **state) {
    (void)state;
    assert_bad(HS256, "{\"exp\":1}");
    assert_bad(HS256, "{\"exp\":0}");
    assert_bad(HS256, "{\"exp\":-1}");
    assert_bad(HS256, "{\"exp\":-9223372036854775808}");
    assert_bad(HS256, "{\"exp\":\"1800000000\"}");
    assert_bad(HS256, "{\"exp\":1800000000.5}");
    assert_bad(HS256, "{\"exp\":1.8e9}");
    assert_bad(HS256, "{\"exp\":null}");
    assert_bad(HS256, "{\"exp\":true}");
    assert_bad(HS256, "{\"exp\":[1800000000]}");
    assert_bad(HS256, "{\"exp\":9223372036854775808}");
    assert_bad(HS256, "{\"exp\":1e400}");
    assert_good("{\"exp\":9223372036854775807}");
    assert_good("{\"exp\":1800000000}");
}

static void test_exp_has_a_leeway_of_a_minute_to_the_millisecond(void **state) {
    (void)state;
    struct auth_grant grant;
    struct slice text = case_hs256(&token, HS256, "{\"exp\":1700000000}");
    assert_int_equal(auth_check(auth, text, NOW_MS + 60000, &grant), ERR_AUTH_REQUIRED);
    assert_int_equal(auth_check(auth, text, NOW_MS + 59999, &grant), OK);
}

static void test_nbf_and_iat_are_whole_numbers_and_nbf_has_come(void **state) {
    (void)state;
    assert_good("{\"nbf\":1700000000}");
    assert_good("{\"nbf\":1700000060}");
    assert_bad(HS256, "{\"nbf\":1700000061}");
    assert_bad(HS256, "{\"nbf\":9223372036854775807}");
    assert_good("{\"nbf\":-9223372036854775808}");
    assert_bad(HS256, "{\"nbf\":\"1\"}");
    assert_bad(HS256, "{\"nbf\":1.5}");
    assert_good("{\"iat\":1700000000}");
    assert_bad(HS256, "{\"iat\":\"1\"}");
    assert_bad(HS256, "{\"iat\":1.0}");
    assert_bad(HS256, "{\"iat\":{}}");
}

static void test_claims_of_the_wrong_type_are_refused(void **state) {
    (void)state;
    assert_bad(HS256, "{\"workspace\":\"w1\"}");
    assert_bad(HS256, "{\"workspace\":\"\"}");
    assert_bad(HS256, "{\"workspace\":\"" WORKSPACE "x\"}");
    assert_bad(HS256, "{\"workspace\":7}");
    assert_bad(HS256, "{\"workspace\":null}");
    assert_bad(HS256, "{\"workspace\":[\"" WORKSPACE "\"]}");
    assert_bad(HS256, "{\"account\":7}");
    assert_bad(HS256, "{\"account\":[\"" AUTH_SYSTEM_ACCOUNT "\"]}");
    assert_bad(HS256, "{\"scope\":[\"admin\"]}");
    assert_bad(HS256, "{\"scope\":null}");
    assert_bad(HS256, "{\"aud\":7}");
    assert_bad(HS256, "{\"aud\":[\"a\",7]}");
    assert_bad(HS256, "{\"exp\":\"1800000000\"}");
    assert_bad(HS256, "{\"iss\":[]}");
}

static void test_a_token_of_another_form_is_refused(void **state) {
    (void)state;
    case_hs256(&token, HS256, "{}");
    size_t good_len = token.len;
    static const struct slice tails[] = {{".", 1},  {".e30", 4}, {"=", 1}, {"==", 2}, {"\n", 1},
                                         {"\0", 1}, {" ", 1},    {"A", 1}, {"+", 1}};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        token.len = good_len;
        case_add(&token, tails[i]);
        if (check(case_slice(&token)) != ERR_AUTH_REQUIRED)
            fail_msg("tail %zu is taken", i);
    }
    token.len = good_len;
    assert_int_equal(check(slice_make(token.text, good_len - 1)), ERR_AUTH_REQUIRED);
    assert_int_equal(check(slice_make(token.text + 1, good_len - 1)), ERR_AUTH_REQUIRED);
    assert_int_equal(check(case_slice(&token)), OK);
    assert_int_equal(check(SLICE("")), ERR_AUTH_REQUIRED);
    assert_int_equal(check(SLICE("..")), ERR_AUTH_REQUIRED);
    assert_int_equal(check(SLICE("e30.e30")), ERR_AUTH_REQUIRED);
    assert_int_equal(check(SLICE(".e30.e30")), ERR_AUTH_REQUIRED);
    assert_int_equal(check(SLICE("e30..e30")), ERR_AUTH_REQUIRED);
}

static void test_a_newline_or_padding_inside_is_refused(void **state) {
    (void)state;
    static const struct slice inside[] = {{"\n", 1}, {"=", 1}, {"\r\n", 2}, {" ", 1}};
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
        case_start(&token, SLICE(HS256), SLICE("{\"a\":1}"));
        case_add(&token, inside[i]);
        case_sign_hmac(&token, GNUTLS_MAC_SHA256, STRONG);
        if (check(case_slice(&token)) != ERR_AUTH_REQUIRED)
            fail_msg("inside %zu is taken", i);
    }
}

static void test_every_letter_of_the_token_counts(void **state) {
    (void)state;
    case_hs256(&token, HS256, "{\"exp\":1700000050}");
    for (size_t i = 0; i < token.len; i++) {
        char old = token.text[i];
        token.text[i] = old == 'A' ? 'B' : 'A';
        if (check(case_slice(&token)) != ERR_AUTH_REQUIRED)
            fail_msg("letter %zu may be altered", i);
        token.text[i] = old;
    }
    assert_int_equal(check(case_slice(&token)), OK);
}

static void test_a_last_letter_with_unused_bits_has_one_spelling(void **state) {
    (void)state;
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    case_hs256(&token, HS256, "{}");
    const char *last = strchr(letters, token.text[token.len - 1]);
    assert_true(last && (last - letters) % 4 == 0); /* 32 bytes leave two bits */
    token.text[token.len - 1] = last[1];
    assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
}

static void test_a_huge_token_is_refused(void **state) {
    (void)state;
    static char payload[32000];
    memcpy(payload, "{\"a\":\"", 7);
    memset(payload + 6, 'x', 31000);
    memcpy(payload + 31006, "\"}", 3);
    assert_bad(HS256, payload);
    memcpy(payload + 6000, "\"}", 3); /* 8006 letters, and the rest of the token */
    assert_true(case_hs256(&token, HS256, payload).len <= AUTH_TOKEN_MAX);
    assert_good(payload);
    memcpy(payload + 6200, "\"}", 3);
    memset(payload + 6000, 'x', 200);
    assert_true(case_hs256(&token, HS256, payload).len > AUTH_TOKEN_MAX);
    assert_bad(HS256, payload);
}

static unsigned compared; /* signatures in constant time */

/* In the place of the library's: the auth room compares by it. */
int gnutls_memcmp(const void *one, const void *other, size_t len) {
    const volatile uint8_t *a = one, *b = other;
    uint8_t differs = 0;
    for (size_t i = 0; i < len; i++)
        differs = (uint8_t)(differs | (a[i] ^ b[i]));
    compared += len == 32;
    return differs;
}

static void test_a_signature_is_compared_in_constant_time(void **state) {
    (void)state;
    case_hs256(&token, HS256, "{}");
    size_t first = (size_t)((char *)memrchr(token.text, '.', token.len) - token.text) + 1;
    for (size_t at = first; at < token.len; at += token.len - 2 - first) { /* early, and late */
        char old = token.text[at];
        compared = 0;
        token.text[at] = old == 'A' ? 'B' : 'A';
        assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
        assert_int_equal(compared, 1);
        token.text[at] = old;
    }
}

static void test_a_signature_of_another_length_is_refused(void **state) {
    (void)state;
    case_hs256(&token, HS256, "{}");
    token.len -= 4;
    assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
    case_hs256(&token, HS256, "{}");
    case_add(&token, SLICE("AAAA"));
    assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
    case_start(&token, SLICE("{\"alg\":\"HS512\"}"), SLICE("{}"));
    case_sign_hmac(&token, GNUTLS_MAC_SHA256, STRONG);
    assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
}

static void test_another_secret_does_not_open(void **state) {
    (void)state;
    case_start(&token, SLICE(HS256), SLICE("{}"));
    case_sign_hmac(&token, GNUTLS_MAC_SHA256, SLICE("kJ3vQ9mZx7Lp2TnW5rYb8sDf4gHc6aEv"));
    assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
    case_start(&token, SLICE(HS256), SLICE("{}"));
    case_sign_hmac(&token, GNUTLS_MAC_SHA256, SLICE(""));
    assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
}

static void test_audience_and_issuer_fit_where_they_are_asked_for(void **state) {
    (void)state;
    auth_close(auth);
    auth = case_open(&(struct auth_options){
        .secret = STRONG, .audience = SLICE("hati"), .issuer = SLICE("https://id.example")});
#define ISS "\"iss\":\"https://id.example\""
    assert_good("{\"aud\":\"hati\"," ISS "}");
    assert_good("{\"aud\":[\"other\",\"hati\"]," ISS "}");
    assert_good("{\"aud\":[\"hati\",\"other\"]," ISS "}");
    assert_bad(HS256, "{" ISS "}");
    assert_bad(HS256, "{\"aud\":\"hati2\"," ISS "}");
    assert_bad(HS256, "{\"aud\":\"hat\"," ISS "}");
    assert_bad(HS256, "{\"aud\":[]," ISS "}");
    assert_bad(HS256, "{\"aud\":[\"hati\",7]," ISS "}");
    assert_bad(HS256, "{\"aud\":[[\"hati\"]]," ISS "}");
    assert_bad(HS256, "{\"aud\":{\"hati\":1}," ISS "}");
    assert_bad(HS256, "{\"aud\":\"hati\"}");
    assert_bad(HS256, "{\"aud\":\"hati\",\"iss\":\"https://id.example/\"}");
    assert_bad(HS256, "{\"aud\":\"hati\",\"iss\":[\"https://id.example\"]}");
#undef ISS
}

static void test_a_secret_may_hold_any_byte(void **state) {
    (void)state;
    struct slice secret = SLICE("\0\0binary secret with a NUL \xff in it");
    auth_close(auth);
    auth = case_open(&(struct auth_options){.secret = secret});
    case_start(&token, SLICE(HS256), SLICE("{}"));
    case_sign_hmac(&token, GNUTLS_MAC_SHA256, secret);
    assert_int_equal(check(case_slice(&token)), OK);
    case_start(&token, SLICE(HS256), SLICE("{}"));
    case_sign_hmac(&token, GNUTLS_MAC_SHA256, SLICE(""));
    assert_int_equal(check(case_slice(&token)), ERR_AUTH_REQUIRED);
}

static void test_a_refused_token_leaves_the_grant_alone(void **state) {
    (void)state;
    struct auth_grant grant, before;
    memset(&grant, 0x5a, sizeof grant);
    memcpy(&before, &grant, sizeof grant);
    case_start(&token, SLICE(HS256), SLICE("{\"account\":\"" AUTH_SYSTEM_ACCOUNT "\"}"));
    case_sign_hmac(&token, GNUTLS_MAC_SHA256, SLICE("x"));
    assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), ERR_AUTH_REQUIRED);
    assert_memory_equal(&grant, &before, sizeof grant);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_strong, close_it)
    const struct CMUnitTest tests[] = {
        CASE(test_a_good_token_says_who_calls),
        CASE(test_the_system_account_may_do_all_however_it_is_spelt),
        CASE(test_a_secret_takes_three_algorithms_and_no_other),
        CASE(test_an_unsigned_token_is_refused),
        CASE(test_a_header_that_hides_something_is_refused),
        CASE(test_keys_named_or_carried_by_the_header_change_nothing),
        CASE(test_a_token_may_be_of_any_type),
        CASE(test_limits_are_by_sub_of_its_issuer_or_else_by_account),
        CASE(test_a_payload_that_is_no_plain_object_is_refused),
        CASE(test_a_deep_payload_is_refused),
        CASE(test_exp_is_a_whole_number_not_past),
        CASE(test_exp_has_a_leeway_of_a_minute_to_the_millisecond),
        CASE(test_nbf_and_iat_are_whole_numbers_and_nbf_has_come),
        CASE(test_claims_of_the_wrong_type_are_refused),
        CASE(test_a_token_of_another_form_is_refused),
        CASE(test_a_newline_or_padding_inside_is_refused),
        CASE(test_every_letter_of_the_token_counts),
        CASE(test_a_last_letter_with_unused_bits_has_one_spelling),
        CASE(test_a_huge_token_is_refused),
        CASE(test_a_signature_is_compared_in_constant_time),
        CASE(test_a_signature_of_another_length_is_refused),
        CASE(test_another_secret_does_not_open),
        CASE(test_audience_and_issuer_fit_where_they_are_asked_for),
        CASE(test_a_secret_may_hold_any_byte),
        CASE(test_a_refused_token_leaves_the_grant_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
