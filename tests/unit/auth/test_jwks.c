/* SPDX-License-Identifier: MIT */
/* Key sets as issuers publish them, the examples of the RFCs, and hostile ones. */
#include "auth/jwks.h"

#include "jwks_case.h"

/* RFC 7515, appendices A.2 and A.3: the same payload, good until 1300819380. */
#define PAYLOAD                                                                                    \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ"
#define RFC_NOW_MS INT64_C(1300819300000)

#define A2_N                                                                                       \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4" \
    "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re" \
    "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX" \
    "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
#define A2_TOKEN                                                                                   \
    "eyJhbGciOiJSUzI1NiJ9." PAYLOAD                                                                \
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp" \
    "5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHl" \
    "b1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9Q" \
    "OYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
#define A2_JWK "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" A2_N "\"}"

#define A3_JWK                                                                                     \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","     \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"
#define A3_TOKEN                                                                                   \
    "eyJhbGciOiJFUzI1NiJ9." PAYLOAD                                                                \
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

/* RFC 8037, appendices A.2 and A.4: its payload is no JSON, so the signature alone is asked for. */
#define ED_X "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define ED_JWK "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\"}"
#define ED_SIGNED "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
#define ED_SIGNATURE                                                                               \
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

static struct token_text set, token;

/* How many keys a document gives; 0 where it is refused, `why` says with what word. */
static unsigned read_set(struct slice document, const char *word) {
    char why[300] = "untouched";
    struct keys *keys = keys_new();
    unsigned count = 0;
    if (jwks_read(document, keys, why, sizeof why) == OK)
        count = keys->count;
    if (word && !strstr(why, word))
        fail_msg("`%s` does not say `%s`", why, word);
    assert_null(strchr(why, '\n'));
    keys_drop(keys);
    return count;
}

static unsigned read_text(const char *document, const char *word) {
    return read_set(slice_of_cstr(document), word);
}

static enum err check_by_set(struct slice document, struct slice text, int64_t now_ms) {
    struct auth *auth = case_open(&(struct auth_options){.jwks = document});
    struct auth_grant grant;
    enum err err = auth_check(auth, text, now_ms, &grant);
    auth_close(auth);
    return err;
}

static void test_the_rs256_and_es256_examples_of_rfc_7515_are_good(void **state) {
    (void)state;
    struct slice both = SLICE("{\"keys\":[" A2_JWK "," A3_JWK "]}");
    assert_int_equal(check_by_set(both, SLICE(A2_TOKEN), RFC_NOW_MS), OK);
    assert_int_equal(check_by_set(both, SLICE(A3_TOKEN), RFC_NOW_MS), OK);
    assert_int_equal(check_by_set(both, SLICE(A2_TOKEN), RFC_NOW_MS + 200000), ERR_AUTH_REQUIRED);
    struct slice other = SLICE("{\"keys\":[" A2_JWK "]}");
    assert_int_equal(check_by_set(other, SLICE(A3_TOKEN), RFC_NOW_MS), ERR_AUTH_REQUIRED);
}

static void test_the_ed25519_example_of_rfc_8037_is_good(void **state) {
    (void)state;
    char why[300], bytes[64];
    size_t len;
    struct keys *keys = keys_new();
    assert_int_equal(jwks_read(SLICE("{\"keys\":[" ED_JWK "]}"), keys, why, sizeof why), OK);
    assert_int_equal(keys->count, 1);
    assert_true(text_base64url_decode(SLICE(ED_SIGNATURE), bytes, &len));
    struct slice signature = slice_make(bytes, len);
    assert_true(key_verify(&keys->list[0], KEY_SHA512, SLICE(ED_SIGNED), signature));
    assert_false(key_verify(&keys->list[0], KEY_SHA512, SLICE(ED_SIGNED "x"), signature));
    signature.len--;
    assert_false(key_verify(&keys->list[0], KEY_SHA512, SLICE(ED_SIGNED), signature));
    bytes[10] ^= 1;
    signature.len++;
    assert_false(key_verify(&keys->list[0], KEY_SHA512, SLICE(ED_SIGNED), signature));
    keys_drop(keys);
}

/* RFC 8032 section 5.1.7: S below the order of the group, else a signature had a second form. */
static void test_a_signature_of_ed25519_has_one_form(void **state) {
    (void)state;
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,       0xd6,
                                      0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
    char why[300], bytes[64];
    size_t len;
    struct keys *keys = keys_new();
    assert_int_equal(jwks_read(SLICE("{\"keys\":[" ED_JWK "]}"), keys, why, sizeof why), OK);
    assert_true(text_base64url_decode(SLICE(ED_SIGNATURE), bytes, &len));
    unsigned carry = 0;
    for (unsigned i = 0; i < 32; i++) {
        carry += (unsigned)(uint8_t)bytes[32 + i] + order[i];
        bytes[32 + i] = (char)(carry & 0xff);
        carry >>= 8;
    }
    assert_int_equal(carry, 0);
    assert_false(key_verify(&keys->list[0], KEY_SHA512, SLICE(ED_SIGNED), slice_make(bytes, 64)));
    keys_drop(keys);
}

static void test_tokens_of_every_kind_are_checked_by_one_set(void **state) {
    (void)state;
    set.len = 0;
    case_add_jwk(&set, &rsa, ",\"kid\":\"r\",\"use\":\"sig\",\"alg\":\"RS256\"");
    case_add_jwk(&set, &p256, ",\"kid\":\"e\",\"key_ops\":[\"verify\"]");
    case_add_jwk(&set, &ed25519, ",\"kid\":\"o\",\"alg\":\"EdDSA\",\"x5t\":[1,{\"a\":2}]");
    struct slice document = case_end_set(&set);
    static const struct {
        const struct key_pair *pair;
        const char *alg, *kid;
    } rows[] = {{&rsa, "RS256", "r"}, {&p256, "ES256", "e"}, {&ed25519, "EdDSA", "o"}};
    assert_int_equal(read_set(document, ""), 3);
    for (size_t i = 0; i < 3; i++) {
        char kid[40];
        for (size_t other = 0; other < 3; other++) {
            snprintf(kid, sizeof kid, ",\"kid\":\"%s\"", rows[other].kid);
            struct slice text = case_token_by(&token, rows[i].pair, rows[i].alg, kid);
            assert_int_equal(check_by_set(document, text, NOW_MS),
                             i == other ? OK : ERR_AUTH_REQUIRED);
        }
        struct slice text = case_token_by(&token, rows[i].pair, rows[i].alg, "");
        assert_int_equal(check_by_set(document, text, NOW_MS), OK);
        text = case_token_by(&token, rows[i].pair, rows[(i + 1) % 3].alg, "");
        assert_int_equal(check_by_set(document, text, NOW_MS), ERR_AUTH_REQUIRED);
    }
}

static void test_what_is_no_key_set_is_refused(void **state) {
    (void)state;
    static const char *const documents[] = {
        "",
        "garbage",
        "[]",
        "null",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":\"" A2_N "\"}",
        "{\"keys\":[" A2_JWK "]",
        "{\"keys\":[" A2_JWK "]} more",
        "{\"keys\":[],\"keys\":[" A2_JWK "]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" A2_N "\"}]}",
        "\xef\xbb\xbf{\"keys\":[" A2_JWK "]}",
        "{\"keys\":[" A2_JWK "],\"x\":\"\xff\"}",
        "-----BEGIN PUBLIC KEY-----",
        "<html></html>",
    };
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++)
        if (read_text(documents[i], "no JSON object with an array"))
            fail_msg("read: %s", documents[i]);
    assert_int_equal(read_text("{\"keys\":[]}", "empty"), 0);
    assert_int_equal(read_text("{\"keys\":[1,null,\"x\",[" A2_JWK "]]}", "no object"), 0);
}

static void test_a_private_key_or_a_secret_in_it_refuses_the_whole_set(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X
        "\",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}",
        "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75\"}",
        "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" A2_N "\",\"p\":\"AQ\"}",
        "{\"kty\":\"EC\",\"d\":null}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char document[2000];
        snprintf(document, sizeof document, "{\"keys\":[" A2_JWK ",%s]}", bad[i]);
        assert_int_equal(read_text(document, "private key or a secret"), 0);
    }
}

/* One key of a fault beside a good one. */
static void assert_passed_over(const char *jwk, const char *word) {
    char document[6000];
    int len = snprintf(document, sizeof document, "{\"keys\":[" A3_JWK ",%s]}", jwk);
    assert_true(len > 0 && (size_t)len < sizeof document);
    if (read_text(document, "1 keys are used, 1 passed over") != 1)
        fail_msg("used: %s", jwk);
    snprintf(document, sizeof document, "{\"keys\":[%s]}", jwk);
    assert_int_equal(read_text(document, word), 0);
}

static void test_a_key_that_is_of_no_use_is_passed_over_and_said(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"{\"e\":\"AQAB\",\"n\":\"" A2_N "\"}", "kty"},
        {"{\"kty\":\"AKP\",\"alg\":\"ML-DSA-44\",\"pub\":\"AA\"}", "kty"},
        {"{\"kty\":7,\"e\":\"AQAB\",\"n\":\"" A2_N "\"}", "kty"},
        {"{\"kty\":\"rsa\",\"e\":\"AQAB\",\"n\":\"" A2_N "\"}", "kty"},
        {"{\"kty\":\"RSA\",\"n\":\"" A2_N "\"}", "missing"},
        {"{\"kty\":\"RSA\",\"e\":\"AQAB\"}", "missing"},
        {"{\"kty\":\"RSA\",\"e\":65537,\"n\":\"" A2_N "\"}", "missing"},
        {"{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" A2_N "=\"}", "base64url"},
        {"{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"+" A2_N "\"}", "base64url"},
        {"{\"kty\":\"RSA\",\"e\":\"AQ\",\"n\":\"" A2_N "\"}", "exponent"},
        {"{\"kty\":\"RSA\",\"e\":\"Ag\",\"n\":\"" A2_N "\"}", "exponent"},
        {"{\"kty\":\"RSA\",\"e\":\"" A2_N "\",\"n\":\"" A2_N "\"}", "exponent"},
        {"{\"kty\":\"RSA\",\"e\":\"AA\",\"n\":\"" A2_N "\"}", "a JWT key"},
        {"{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"AA\"}", "a JWT key"},
        {"{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" ED_X "\",\"y\":\"" ED_X "\"}", "curve"},
        {"{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"" ED_X "\",\"y\":\"" ED_X "\"}", "curve"},
        {"{\"kty\":\"EC\",\"x\":\"" ED_X "\",\"y\":\"" ED_X "\"}", "curve"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" ED_X "\"}", "missing"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" ED_X "\",\"y\":\"" ED_X "\"}", "no point"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\"}", "32 bytes"},
        {"{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" ED_X "\"}", "curve"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQ\"}", "32 bytes"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}", "missing"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"use\":\"enc\"}", "use"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"use\":[\"sig\"]}", "use"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"key_ops\":[\"sign\"]}", "use"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"key_ops\":\"verify\"}", "use"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" ED_X "\",\"alg\":\"RS256\"}", "alg"},
        {"{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" A2_N "\",\"alg\":\"HS256\"}", "alg"},
        {"{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" A2_N "\",\"alg\":\"RS512\"}", "alg"},
        {"{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" A2_N "\",\"alg\":null}", "alg"},
        {"{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" A2_N "\",\"kid\":7}", "kid"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_passed_over(rows[i][0], rows[i][1]);
}

static void test_weak_and_huge_rsa_keys_are_passed_over(void **state) {
    (void)state;
    struct key_pair weak;
    case_make_key(&weak, GNUTLS_PK_RSA, 1024);
    set.len = 0;
    case_add_jwk(&set, &weak, "");
    assert_int_equal(read_set(case_end_set(&set), "under 2048 bits"), 0);
    case_drop_key(&weak);
    static const unsigned lengths[] = {1025, 1028, 2048, 20000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char *bytes = malloc(lengths[i]);
        assert_non_null(bytes);
        memset(bytes, 0xff, lengths[i]);
        set.len = 0;
        case_add(&set, SLICE("{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\""));
        case_add_base64url(&set, bytes, lengths[i]);
        case_add(&set, SLICE("\"}"));
        assert_int_equal(read_set(case_end_set(&set), "no key of use here"), 0);
        free(bytes);
    }
}

static void test_keys_of_one_kid_are_all_tried_and_one_twice_is_one(void **state) {
    (void)state;
    struct key_pair other;
    case_make_key(&other, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));
    set.len = 0;
    case_add_jwk(&set, &p256, ",\"kid\":\"a\"");
    case_add_jwk(&set, &other, ",\"kid\":\"a\"");
    case_add_jwk(&set, &p256, ",\"kid\":\"a\",\"use\":\"sig\"");
    struct slice document = case_end_set(&set);
    assert_int_equal(read_set(document, ""), 2);
    struct slice text = case_token_by(&token, &other, "ES256", ",\"kid\":\"a\"");
    assert_int_equal(check_by_set(document, text, NOW_MS), OK);
    text = case_token_by(&token, &p256, "ES256", ",\"kid\":\"a\"");
    assert_int_equal(check_by_set(document, text, NOW_MS), OK);
    text = case_token_by(&token, &p256, "ES256", ",\"kid\":\"b\"");
    assert_int_equal(check_by_set(document, text, NOW_MS), ERR_AUTH_REQUIRED);
    case_drop_key(&other);
}

static void test_deep_long_and_large_sets_are_refused(void **state) {
    (void)state;
    size_t len = JWKS_BYTES_MAX + 1;
    char *large = malloc(len);
    assert_non_null(large);
    memset(large, ' ', len);
    assert_int_equal(read_set(slice_make(large, len), "over 1 MiB"), 0);
    memset(large, '[', len);
    assert_int_equal(read_set(slice_make(large, len - 1), "no JSON object"), 0);
    memset(large, ' ', len);
    memcpy(large, "{\"keys\":[" A2_JWK "]}", strlen("{\"keys\":[" A2_JWK "]}"));
    assert_int_equal(read_set(slice_make(large, len - 1), ""), 1);
    free(large);
    set.len = 0;
    case_add(&set, SLICE("{\"keys\":[1"));
    for (unsigned i = 0; i < JWKS_KEYS_MAX; i++)
        case_add(&set, SLICE(",1"));
    assert_int_equal(read_set(case_end_set(&set), "over 100 keys"), 0);
}

static void test_a_kid_of_255_bytes_is_the_longest(void **state) {
    (void)state;
    char kid[300] = ",\"kid\":\"";
    size_t at = strlen(kid);
    memset(kid + at, 'k', KEY_KID_MAX);
    memcpy(kid + at + KEY_KID_MAX, "\"", 2);
    set.len = 0;
    case_add_jwk(&set, &p256, kid);
    struct slice document = case_end_set(&set);
    struct slice text = case_token_by(&token, &p256, "ES256", kid);
    assert_int_equal(check_by_set(document, text, NOW_MS), OK);
    memcpy(kid + at + KEY_KID_MAX, "k\"", 3);
    text = case_token_by(&token, &p256, "ES256", kid);
    assert_int_equal(check_by_set(document, text, NOW_MS), ERR_AUTH_REQUIRED);
    set.len = 0;
    case_add_jwk(&set, &p256, kid);
    assert_int_equal(read_set(case_end_set(&set), "255"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rs256_and_es256_examples_of_rfc_7515_are_good),
        cmocka_unit_test(test_the_ed25519_example_of_rfc_8037_is_good),
        cmocka_unit_test(test_a_signature_of_ed25519_has_one_form),
        cmocka_unit_test(test_tokens_of_every_kind_are_checked_by_one_set),
        cmocka_unit_test(test_what_is_no_key_set_is_refused),
        cmocka_unit_test(test_a_private_key_or_a_secret_in_it_refuses_the_whole_set),
        cmocka_unit_test(test_a_key_that_is_of_no_use_is_passed_over_and_said),
        cmocka_unit_test(test_weak_and_huge_rsa_keys_are_passed_over),
        cmocka_unit_test(test_keys_of_one_kid_are_all_tried_and_one_twice_is_one),
        cmocka_unit_test(test_deep_long_and_large_sets_are_refused),
        cmocka_unit_test(test_a_kid_of_255_bytes_is_the_longest),
    };
    return cmocka_run_group_tests(tests, case_make_keys, case_drop_keys);
}
