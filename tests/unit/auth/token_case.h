/* SPDX-License-Identifier: MIT */
/* Makes tokens of any shape, good or hostile, without the code under test: GnuTLS signs. */
#ifndef HATI_TESTS_AUTH_TOKEN_CASE_H
#define HATI_TESTS_AUTH_TOKEN_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "auth/auth.h"

#define NOW_MS INT64_C(1700000000000)
#define NOW_S INT64_C(1700000000)
#define STRONG SLICE("kJ3vQ9mZx7Lp2TnW5rYb8sDf4gHc6aEu")
#define CASE_BYTES 65536
#define WORKSPACE "6f1c1a52-7d3e-4a58-9a51-0d6a3d5c2f11"

struct token_text {
    char text[CASE_BYTES];
    size_t len;
};

static inline struct slice case_slice(const struct token_text *token) {
    return slice_make(token->text, token->len);
}

static inline void case_add(struct token_text *token, struct slice text) {
    assert_true(token->len + text.len < sizeof token->text);
    memcpy(token->text + token->len, text.ptr, text.len);
    token->len += text.len;
}

static inline void case_add_base64url(struct token_text *token, const void *bytes, size_t len) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *at = bytes;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t three = (uint32_t)at[i] << 16 | (left > 1 ? (uint32_t)at[i + 1] << 8 : 0) |
                         (left > 2 ? at[i + 2] : 0u);
        char four[4] = {letters[three >> 18], letters[three >> 12 & 63], letters[three >> 6 & 63],
                        letters[three & 63]};
        case_add(token, slice_make(four, left > 2 ? 4 : left + 1));
    }
}

static inline void case_start(struct token_text *token, struct slice header, struct slice payload) {
    token->len = 0;
    case_add_base64url(token, header.ptr, header.len);
    case_add(token, SLICE("."));
    case_add_base64url(token, payload.ptr, payload.len);
}

static inline void case_sign_hmac(struct token_text *token, gnutls_mac_algorithm_t algorithm,
                                  struct slice secret) {
    uint8_t mac[64];
    assert_int_equal(
        gnutls_hmac_fast(algorithm, secret.ptr, secret.len, token->text, token->len, mac), 0);
    case_add(token, SLICE("."));
    case_add_base64url(token, mac, (size_t)gnutls_hmac_get_len(algorithm));
}

/* An HS256 token by STRONG. */
static inline struct slice case_hs256(struct token_text *token, const char *header,
                                      const char *payload) {
    case_start(token, slice_of_cstr(header), slice_of_cstr(payload));
    case_sign_hmac(token, GNUTLS_MAC_SHA256, STRONG);
    return case_slice(token);
}

struct key_pair {
    gnutls_x509_privkey_t own;
    gnutls_datum_t public_pem;
};

static inline void case_make_key(struct key_pair *pair, gnutls_pk_algorithm_t algorithm,
                                 unsigned bits) {
    gnutls_privkey_t abstract;
    gnutls_pubkey_t pubkey;
    assert_int_equal(gnutls_x509_privkey_init(&pair->own), 0);
    assert_int_equal(gnutls_x509_privkey_generate(pair->own, algorithm, bits, 0), 0);
    assert_int_equal(gnutls_privkey_init(&abstract), 0);
    assert_int_equal(gnutls_privkey_import_x509(abstract, pair->own, 0), 0);
    assert_int_equal(gnutls_pubkey_init(&pubkey), 0);
    assert_int_equal(gnutls_pubkey_import_privkey(pubkey, abstract, 0, 0), 0);
    assert_int_equal(gnutls_pubkey_export2(pubkey, GNUTLS_X509_FMT_PEM, &pair->public_pem), 0);
    gnutls_pubkey_deinit(pubkey);
    gnutls_privkey_deinit(abstract);
}

static inline void case_drop_key(struct key_pair *pair) {
    gnutls_x509_privkey_deinit(pair->own);
    gnutls_free(pair->public_pem.data);
}

/* One of each kind that public keys may be. */
static struct key_pair rsa, p256, ed25519;

static inline int case_make_keys(void **state) {
    (void)state;
    case_make_key(&rsa, GNUTLS_PK_RSA, 2048);
    case_make_key(&p256, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));
    case_make_key(&ed25519, GNUTLS_PK_EDDSA_ED25519, 0);
    return 0;
}

static inline int case_drop_keys(void **state) {
    (void)state;
    case_drop_key(&rsa);
    case_drop_key(&p256);
    case_drop_key(&ed25519);
    return 0;
}

static inline struct slice case_public_pem(const struct key_pair *pair) {
    return slice_make(pair->public_pem.data, pair->public_pem.size);
}

/* r and s are 32 bytes each in a token; in DER they come with leading zeros or without. */
static inline void case_add_p256(struct token_text *token, const gnutls_datum_t *der) {
    gnutls_datum_t halves[2];
    uint8_t raw[64] = {0};
    assert_int_equal(gnutls_decode_rs_value(der, &halves[0], &halves[1]), 0);
    for (unsigned i = 0; i < 2; i++) {
        size_t len = halves[i].size, skip = len > 32 ? len - 32 : 0;
        memcpy(raw + 32 * (i + 1) - (len - skip), halves[i].data + skip, len - skip);
        gnutls_free(halves[i].data);
    }
    case_add_base64url(token, raw, sizeof raw);
}

/* Signs what case_start began: RS256, ES256 or EdDSA, as the key is. */
static inline void case_sign_private(struct token_text *token, const struct key_pair *pair) {
    gnutls_privkey_t abstract;
    gnutls_datum_t data = {(unsigned char *)token->text, (unsigned)token->len}, signature;
    assert_int_equal(gnutls_privkey_init(&abstract), 0);
    assert_int_equal(gnutls_privkey_import_x509(abstract, pair->own, 0), 0);
    int algorithm = gnutls_privkey_get_pk_algorithm(abstract, NULL);
    gnutls_digest_algorithm_t digest =
        algorithm == GNUTLS_PK_EDDSA_ED25519 ? GNUTLS_DIG_SHA512 : GNUTLS_DIG_SHA256;
    assert_int_equal(gnutls_privkey_sign_data(abstract, digest, 0, &data, &signature), 0);
    case_add(token, SLICE("."));
    if (algorithm == GNUTLS_PK_ECDSA)
        case_add_p256(token, &signature);
    else
        case_add_base64url(token, signature.data, signature.size);
    gnutls_free(signature.data);
    gnutls_privkey_deinit(abstract);
}

/* A certificate of the pair by itself, into a file of the mkstemp form. */
static inline void case_write_certificate(const struct key_pair *pair, char *path) {
    gnutls_x509_crt_t cert;
    gnutls_datum_t pem;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(gnutls_x509_crt_init(&cert), 0);
    assert_int_equal(gnutls_x509_crt_set_key(cert, pair->own), 0);
    assert_int_equal(gnutls_x509_crt_set_version(cert, 3), 0);
    assert_int_equal(gnutls_x509_crt_set_serial(cert, "1", 1), 0);
    assert_int_equal(gnutls_x509_crt_set_dn(cert, "CN=one", NULL), 0);
    assert_int_equal(gnutls_x509_crt_set_activation_time(cert, NOW_S), 0);
    assert_int_equal(gnutls_x509_crt_set_expiration_time(cert, NOW_S * 2), 0);
    assert_int_equal(gnutls_x509_crt_sign2(cert, cert, pair->own, GNUTLS_DIG_SHA256, 0), 0);
    assert_int_equal(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem), 0);
    assert_int_equal(write(fd, pem.data, pem.size), (ssize_t)pem.size);
    close(fd);
    gnutls_free(pem.data);
    gnutls_x509_crt_deinit(cert);
}

static inline struct auth *case_open(const struct auth_options *options) {
    struct auth *auth = NULL;
    char why[200] = "";
    enum err err = auth_open(options, &auth, why, sizeof why);
    if (err)
        print_message("%s\n", why);
    assert_int_equal(err, OK);
    if (!auth)
        abort();
    return auth;
}

#endif
