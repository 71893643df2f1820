/* SPDX-License-Identifier: MIT */
/* Which keys a server starts with, and tokens by key pairs. */
#include "token_case.h"

#define RS256 "{\"alg\":\"RS256\"}"
#define ES256 "{\"alg\":\"ES256\"}"
#define EDDSA "{\"alg\":\"EdDSA\"}"

static struct token_text token;

/* Opens or not, and a refusal says why in one line without the secret in it. */
static bool opens(const struct auth_options *options) {
    struct auth *auth = NULL;
    char why[200] = "";
    enum err err = auth_open(options, &auth, why, sizeof why);
    if (err) {
        assert_null(auth);
        assert_true(strlen(why) > 10);
        assert_null(strchr(why, '\n'));
        return false;
    }
    assert_non_null(auth);
    auth_close(auth);
    return true;
}

static bool secret_opens(struct slice secret, bool allow_weak) {
    return opens(&(struct auth_options){.secret = secret, .allow_weak_secret = allow_weak});
}

static bool pem_opens(struct slice pem) {
    return opens(&(struct auth_options){.public_key_pem = pem});
}

static void test_nothing_configured_is_no_credentials(void **state) {
    (void)state;
    struct auth *auth = (struct auth *)&token;
    char why[100];
    assert_int_equal(auth_open(&(struct auth_options){0}, &auth, why, sizeof why), OK);
    assert_null(auth);
    auth_close(NULL);
}

static void test_an_empty_secret_or_key_never_opens(void **state) {
    (void)state;
    assert_false(secret_opens(SLICE(""), false));
    assert_false(secret_opens(SLICE(""), true));
    assert_false(pem_opens(SLICE("")));
}

static void test_weak_secrets_open_only_where_they_are_allowed(void **state) {
    (void)state;
    static const char *const weak[] = {
        "secret",
        "SECRET",
        "changeme",
        "kJ3vQ9mZx7Lp2TnW5rYb8sDf4gHc6aE",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "a-string-secret-at-least-256-bits-long",
        "A-String-Secret-At-Least-256-Bits-Long",
    };
    for (size_t i = 0; i < sizeof weak / sizeof weak[0]; i++) {
        if (secret_opens(slice_of_cstr(weak[i]), false))
            fail_msg("%s opens", weak[i]);
        assert_true(secret_opens(slice_of_cstr(weak[i]), true));
    }
    assert_true(secret_opens(STRONG, false));
}

static void test_a_pem_is_never_a_secret(void **state) {
    (void)state;
    assert_false(secret_opens(case_public_pem(&rsa), false));
    assert_false(secret_opens(case_public_pem(&rsa), true));
    assert_false(secret_opens(case_public_pem(&p256), true));
}

static void test_a_secret_and_a_key_together_do_not_open(void **state) {
    (void)state;
    assert_false(
        opens(&(struct auth_options){.secret = STRONG, .public_key_pem = case_public_pem(&rsa)}));
}

static void test_only_a_public_key_in_pem_opens(void **state) {
    (void)state;
    assert_true(pem_opens(case_public_pem(&rsa)));
    assert_true(pem_opens(case_public_pem(&p256)));
    assert_true(pem_opens(case_public_pem(&ed25519)));
    assert_false(pem_opens(STRONG));
    assert_false(pem_opens(SLICE("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n")));
    assert_false(pem_opens(SLICE("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")));
    struct slice half = case_public_pem(&rsa);
    half.len /= 2;
    assert_false(pem_opens(half));
}

static void test_a_private_key_does_not_open(void **state) {
    (void)state;
    gnutls_datum_t pem;
    assert_int_equal(gnutls_x509_privkey_export2(p256.own, GNUTLS_X509_FMT_PEM, &pem), 0);
    assert_false(pem_opens(slice_make(pem.data, pem.size)));
    token.len = 0;
    case_add(&token, slice_make(pem.data, pem.size));
    case_add(&token, case_public_pem(&p256));
    assert_false(pem_opens(case_slice(&token)));
    gnutls_free(pem.data);
}

static void test_keys_of_other_kinds_do_not_open(void **state) {
    (void)state;
    static const struct {
        gnutls_pk_algorithm_t algorithm;
        unsigned bits;
    } rows[] = {
        {GNUTLS_PK_RSA, 1024},
        {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1)},
        {GNUTLS_PK_EDDSA_ED448, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct key_pair pair;
        case_make_key(&pair, rows[i].algorithm, rows[i].bits);
        if (pem_opens(case_public_pem(&pair)))
            fail_msg("row %zu opens", i);
        case_drop_key(&pair);
    }
}

/* A token by the pair's private key, against a server with the pair's public key. */
static enum err check_by(const struct key_pair *pair, const char *header, const char *payload) {
    struct auth *auth = case_open(&(struct auth_options){.public_key_pem = case_public_pem(pair)});
    struct auth_grant grant;
    case_start(&token, slice_of_cstr(header), slice_of_cstr(payload));
    case_sign_private(&token, pair);
    enum err err = auth_check(auth, case_slice(&token), NOW_MS, &grant);
    auth_close(auth);
    return err;
}

static void test_rs256_es256_and_eddsa_by_a_key_of_theirs_are_good(void **state) {
    (void)state;
    assert_int_equal(check_by(&ed25519, EDDSA, "{\"exp\":1800000000}"), OK);
    assert_int_equal(check_by(&ed25519, "{\"alg\":\"Ed25519\"}", "{}"), OK);
    assert_int_equal(check_by(&ed25519, EDDSA, "{\"exp\":1}"), ERR_AUTH_REQUIRED);
    assert_int_equal(check_by(&rsa, RS256, "{\"exp\":1800000000}"), OK);
    assert_int_equal(check_by(&p256, ES256, "{\"exp\":1800000000}"), OK);
    assert_int_equal(check_by(&rsa, RS256, "{\"exp\":1}"), ERR_AUTH_REQUIRED);
    assert_int_equal(check_by(&p256, ES256, "{\"exp\":\"1800000000\"}"), ERR_AUTH_REQUIRED);
}

static void test_the_key_fixes_the_algorithm(void **state) {
    (void)state;
    static const char *const others[] = {"RS384", "RS512", "PS256", "ES384",
                                         "HS256", "none",  "eddsa", "Ed448"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char header[40];
        snprintf(header, sizeof header, "{\"alg\":\"%s\"}", others[i]);
        assert_int_equal(check_by(&rsa, header, "{}"), ERR_AUTH_REQUIRED);
        assert_int_equal(check_by(&p256, header, "{}"), ERR_AUTH_REQUIRED);
        assert_int_equal(check_by(&ed25519, header, "{}"), ERR_AUTH_REQUIRED);
    }
    assert_int_equal(check_by(&ed25519, RS256, "{}"), ERR_AUTH_REQUIRED);
    assert_int_equal(check_by(&ed25519, ES256, "{}"), ERR_AUTH_REQUIRED);
    assert_int_equal(check_by(&rsa, EDDSA, "{}"), ERR_AUTH_REQUIRED);
    assert_int_equal(check_by(&p256, EDDSA, "{}"), ERR_AUTH_REQUIRED);
    assert_int_equal(check_by(&rsa, ES256, "{}"), ERR_AUTH_REQUIRED);
    assert_int_equal(check_by(&p256, RS256, "{}"), ERR_AUTH_REQUIRED);
}

static void test_the_text_of_a_public_key_is_no_hmac_secret(void **state) {
    (void)state;
    const struct key_pair *pairs[] = {&rsa, &p256, &ed25519};
    for (size_t i = 0; i < 3; i++) {
        struct slice pem = case_public_pem(pairs[i]);
        struct auth *auth = case_open(&(struct auth_options){.public_key_pem = pem});
        struct auth_grant grant;
        for (size_t cut = 0; cut < 2; cut++) { /* with the last newline and without */
            case_start(&token, SLICE("{\"alg\":\"HS256\"}"), SLICE("{}"));
            case_sign_hmac(&token, GNUTLS_MAC_SHA256, slice_make(pem.ptr, pem.len - cut));
            assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant),
                             ERR_AUTH_REQUIRED);
        }
        auth_close(auth);
    }
}

static void test_a_signature_of_another_pair_or_altered_is_refused(void **state) {
    (void)state;
    struct key_pair other;
    case_make_key(&other, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));
    struct auth *auth = case_open(&(struct auth_options){.public_key_pem = case_public_pem(&p256)});
    struct auth_grant grant;
    case_start(&token, SLICE(ES256), SLICE("{}"));
    case_sign_private(&token, &other);
    assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), ERR_AUTH_REQUIRED);
    case_start(&token, SLICE(ES256), SLICE("{}"));
    size_t start = token.len + 1;
    case_sign_private(&token, &p256);
    for (size_t i = start; i < token.len; i++) {
        char old = token.text[i];
        token.text[i] = old == 'A' ? 'Q' : 'A';
        assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), ERR_AUTH_REQUIRED);
        token.text[i] = old;
    }
    for (size_t len = start; len < token.len; len += 4)
        assert_int_equal(auth_check(auth, slice_make(token.text, len), NOW_MS, &grant),
                         ERR_AUTH_REQUIRED);
    token.len = start;
    case_add_base64url(&token, (char[64]){0}, 64); /* r and s of zero */
    assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), ERR_AUTH_REQUIRED);
    auth_close(auth);
    case_drop_key(&other);
}

static void test_an_altered_signature_of_ed25519_is_refused(void **state) {
    (void)state;
    struct auth *auth =
        case_open(&(struct auth_options){.public_key_pem = case_public_pem(&ed25519)});
    struct auth_grant grant;
    case_start(&token, SLICE(EDDSA), SLICE("{}"));
    size_t start = token.len + 1;
    case_sign_private(&token, &ed25519);
    for (size_t i = start; i < token.len; i++) {
        char old = token.text[i];
        token.text[i] = old == 'A' ? 'Q' : 'A';
        assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), ERR_AUTH_REQUIRED);
        token.text[i] = old;
    }
    for (size_t len = 0; len <= 96; len += 32) { /* zeros, and other lengths */
        token.len = start;
        case_add_base64url(&token, (char[96]){0}, len);
        assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), ERR_AUTH_REQUIRED);
    }
    auth_close(auth);
}

static void test_a_signature_has_one_spelling(void **state) {
    (void)state;
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const struct key_pair *pairs[] = {&rsa, &p256};
    for (size_t i = 0; i < 2; i++) {
        struct auth *auth =
            case_open(&(struct auth_options){.public_key_pem = case_public_pem(pairs[i])});
        struct auth_grant grant;
        case_start(&token, i ? SLICE(ES256) : SLICE(RS256), SLICE("{}"));
        case_sign_private(&token, pairs[i]);
        char *last = &token.text[token.len - 1], old = *last;
        for (unsigned other = 1; other < 16; other++) { /* four bits of it say nothing */
            *last = letters[(size_t)(strchr(letters, old) - letters) + other];
            assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant),
                             ERR_AUTH_REQUIRED);
        }
        *last = old;
        assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), OK);
        auth_close(auth);
    }
}

/* The start of what signs the token, decoded; its length. */
static size_t decode_signature(uint8_t *bytes, size_t start) {
    size_t len;
    assert_true(text_base64url_decode(slice_make(token.text + start, token.len - start),
                                      (char *)bytes, &len));
    return len;
}

static void test_numbers_of_es256_with_zeros_before_them_are_good(void **state) {
    (void)state;
    struct auth *auth = case_open(&(struct auth_options){.public_key_pem = case_public_pem(&p256)});
    struct auth_grant grant;
    uint8_t bytes[100] = {1};
    unsigned with_zero = 0;
    for (unsigned i = 0; i < 20000 && with_zero < 2; i++) {
        char payload[40];
        snprintf(payload, sizeof payload, "{\"jti\":\"%u\"}", i);
        case_start(&token, SLICE(ES256), slice_of_cstr(payload));
        size_t start = token.len + 1;
        case_sign_private(&token, &p256);
        assert_int_equal(decode_signature(bytes, start), 64);
        if (bytes[0] && bytes[32])
            continue;
        with_zero++;
        assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), OK);
    }
    assert_int_equal(with_zero, 2);
    auth_close(auth);
}

static void check_signature(struct auth *auth, size_t start, const uint8_t *bytes, size_t len,
                            enum err expected) {
    struct auth_grant grant;
    token.len = start;
    case_add_base64url(&token, bytes, len);
    assert_int_equal(auth_check(auth, case_slice(&token), NOW_MS, &grant), expected);
}

/* The same number modulo n, or with a zero more or less, would be the same signature. */
static void test_a_signature_of_rs256_is_as_long_as_its_key_and_less_than_it(void **state) {
    (void)state;
    struct auth *auth = case_open(&(struct auth_options){.public_key_pem = case_public_pem(&rsa)});
    uint8_t bytes[300] = {0}, *signature = bytes + 1;
    gnutls_datum_t n, e, unused[4];
    assert_int_equal(gnutls_x509_privkey_export_rsa_raw(rsa.own, &n, &e, &unused[0], &unused[1],
                                                        &unused[2], &unused[3]),
                     0);
    case_start(&token, SLICE(RS256), SLICE("{}"));
    size_t start = token.len + 1;
    case_sign_private(&token, &rsa);
    assert_int_equal(decode_signature(signature, start), 256);
    check_signature(auth, start, bytes, 257, ERR_AUTH_REQUIRED);
    check_signature(auth, start, signature, 257, ERR_AUTH_REQUIRED);
    check_signature(auth, start, signature, 255, ERR_AUTH_REQUIRED);
    check_signature(auth, start, signature, 256, OK);
    unsigned carry = 0;
    for (size_t i = 256; i-- > 0; carry >>= 8) {
        carry += (unsigned)signature[i] + n.data[n.size - 256 + i];
        signature[i] = (uint8_t)carry;
    }
    bytes[0] = (uint8_t)carry;
    check_signature(auth, start, bytes[0] ? bytes : signature, bytes[0] ? 257 : 256,
                    ERR_AUTH_REQUIRED);
    memset(signature, 0, 256);
    check_signature(auth, start, signature, 256, ERR_AUTH_REQUIRED);
    for (unsigned i = 0; i < 4; i++)
        gnutls_free(unused[i].data);
    gnutls_free(n.data);
    gnutls_free(e.data);
    auth_close(auth);
}

static void test_keys_and_secrets_of_over_64_kib_do_not_open(void **state) {
    (void)state;
    static char large[65537];
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)('a' + i % 23);
    assert_true(secret_opens(slice_make(large, 65536), false));
    assert_false(secret_opens(slice_make(large, 65537), false));
    assert_false(pem_opens(slice_make(large, 65537)));
    struct slice pem = case_public_pem(&p256);
    memset(large, '\n', sizeof large);
    memcpy(large, pem.ptr, pem.len);
    assert_true(pem_opens(slice_make(large, 65536)));
    assert_false(pem_opens(slice_make(large, 65537)));
}

static void test_a_signed_development_token_is_good_until_its_lifetime_ends(void **state) {
    (void)state;
    struct auth *auth = case_open(
        &(struct auth_options){.secret = STRONG, .audience = SLICE("hati"), .issuer = SLICE("me")});
    struct auth_claims claims = {.workspace = SLICE(WORKSPACE),
                                 .account = SLICE("a \"quoted\" one"),
                                 .scope = SLICE("kv:read:a*"),
                                 .audience = SLICE("hati"),
                                 .issuer = SLICE("me"),
                                 .lifetime_s = 10,
                                 .now_ms = NOW_MS};
    char text[AUTH_TOKEN_MAX];
    struct auth_grant grant;
    assert_int_equal(auth_sign(STRONG, &claims, text), OK);
    assert_int_equal(auth_check(auth, slice_of_cstr(text), NOW_MS, &grant), OK);
    assert_true(grant.has_workspace && grant.has_scope && grant.rule_count == 1);
    assert_int_equal(grant.expires_at_ms, NOW_MS + 70000);
    claims.lifetime_s = 0;
    assert_int_equal(auth_sign(STRONG, &claims, text), OK);
    assert_int_equal(auth_check(auth, slice_of_cstr(text), NOW_MS, &grant), OK);
    assert_true(grant.expires_at_ms == INT64_MAX);
    auth_close(auth);
}

static void test_what_cannot_be_signed_is_refused(void **state) {
    (void)state;
    static char long_text[AUTH_TOKEN_MAX];
    char text[AUTH_TOKEN_MAX] = "before";
    memset(long_text, 'x', sizeof long_text);
    struct auth_claims claims = {.now_ms = NOW_MS};
    assert_int_equal(auth_sign(SLICE(""), &claims, text), ERR_SYNTAX);
    claims.scope = slice_make(long_text, sizeof long_text);
    assert_int_equal(auth_sign(STRONG, &claims, text), ERR_SYNTAX);
    claims.scope = SLICE("\xff");
    assert_int_equal(auth_sign(STRONG, &claims, text), ERR_SYNTAX);
    claims.scope = SLICE("a\0b");
    assert_int_equal(auth_sign(STRONG, &claims, text), ERR_SYNTAX);
    claims.scope = SLICE("");
    claims.lifetime_s = -1;
    assert_int_equal(auth_sign(STRONG, &claims, text), ERR_SYNTAX);
    claims.lifetime_s = INT64_MAX;
    assert_int_equal(auth_sign(STRONG, &claims, text), ERR_SYNTAX);
    assert_string_equal(text, "before");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_configured_is_no_credentials),
        cmocka_unit_test(test_an_empty_secret_or_key_never_opens),
        cmocka_unit_test(test_weak_secrets_open_only_where_they_are_allowed),
        cmocka_unit_test(test_a_pem_is_never_a_secret),
        cmocka_unit_test(test_a_secret_and_a_key_together_do_not_open),
        cmocka_unit_test(test_only_a_public_key_in_pem_opens),
        cmocka_unit_test(test_a_private_key_does_not_open),
        cmocka_unit_test(test_keys_of_other_kinds_do_not_open),
        cmocka_unit_test(test_rs256_es256_and_eddsa_by_a_key_of_theirs_are_good),
        cmocka_unit_test(test_the_key_fixes_the_algorithm),
        cmocka_unit_test(test_the_text_of_a_public_key_is_no_hmac_secret),
        cmocka_unit_test(test_a_signature_of_another_pair_or_altered_is_refused),
        cmocka_unit_test(test_an_altered_signature_of_ed25519_is_refused),
        cmocka_unit_test(test_a_signature_has_one_spelling),
        cmocka_unit_test(test_numbers_of_es256_with_zeros_before_them_are_good),
        cmocka_unit_test(test_a_signature_of_rs256_is_as_long_as_its_key_and_less_than_it),
        cmocka_unit_test(test_keys_and_secrets_of_over_64_kib_do_not_open),
        cmocka_unit_test(test_a_signed_development_token_is_good_until_its_lifetime_ends),
        cmocka_unit_test(test_what_cannot_be_signed_is_refused),
    };
    return cmocka_run_group_tests(tests, case_make_keys, case_drop_keys);
}
