/* SPDX-License-Identifier: MIT */
/* Writes key sets out of key pairs, good or hostile. */
#ifndef HATI_TESTS_AUTH_JWKS_CASE_H
#define HATI_TESTS_AUTH_JWKS_CASE_H

#include "token_case.h"

static inline void case_add_member(struct token_text *to, const char *name,
                                   const gnutls_datum_t *bytes) {
    case_add(to, SLICE(",\""));
    case_add(to, slice_of_cstr(name));
    case_add(to, SLICE("\":\""));
    case_add_base64url(to, bytes->data, bytes->size);
    case_add(to, SLICE("\""));
    gnutls_free(bytes->data);
}

/* Coordinates have 32 bytes in a JWK. */
static inline void case_fill_32(gnutls_datum_t *number) {
    if (number->size >= 32)
        return;
    unsigned char *whole = gnutls_calloc(1, 32);
    memcpy(whole + 32 - number->size, number->data, number->size);
    gnutls_free(number->data);
    *number = (gnutls_datum_t){whole, 32};
}

static inline void case_add_numbers(struct token_text *to, gnutls_pubkey_t pubkey) {
    gnutls_datum_t a, b;
    gnutls_ecc_curve_t curve;
    int algorithm = gnutls_pubkey_get_pk_algorithm(pubkey, NULL);
    if (algorithm == GNUTLS_PK_RSA) {
        assert_int_equal(gnutls_pubkey_export_rsa_raw2(pubkey, &a, &b, GNUTLS_EXPORT_FLAG_NO_LZ),
                         0);
        case_add(to, SLICE("\"kty\":\"RSA\""));
        case_add_member(to, "n", &a);
        case_add_member(to, "e", &b);
        return;
    }
    assert_int_equal(
        gnutls_pubkey_export_ecc_raw2(pubkey, &curve, &a, &b, GNUTLS_EXPORT_FLAG_NO_LZ), 0);
    case_fill_32(&a);
    if (algorithm == GNUTLS_PK_ECDSA) {
        case_fill_32(&b);
        case_add(to, SLICE("\"kty\":\"EC\",\"crv\":\"P-256\""));
        case_add_member(to, "x", &a);
        case_add_member(to, "y", &b);
        return;
    }
    case_add(to, SLICE("\"kty\":\"OKP\",\"crv\":\"Ed25519\""));
    case_add_member(to, "x", &a);
}

/* Begins a set at the first key. more: further members, each with a comma before it. */
static inline void case_add_jwk(struct token_text *to, const struct key_pair *pair,
                                const char *more) {
    gnutls_pubkey_t pubkey;
    assert_int_equal(gnutls_pubkey_init(&pubkey), 0);
    assert_int_equal(gnutls_pubkey_import(pubkey, &pair->public_pem, GNUTLS_X509_FMT_PEM), 0);
    case_add(to, to->len ? SLICE(",{") : SLICE("{\"keys\":[{"));
    case_add_numbers(to, pubkey);
    case_add(to, slice_of_cstr(more));
    case_add(to, SLICE("}"));
    gnutls_pubkey_deinit(pubkey);
}

static inline struct slice case_end_set(struct token_text *to) {
    case_add(to, SLICE("]}"));
    return case_slice(to);
}

/* A token of the pair, whose header is {"alg":…} with more members, each with a comma before it. */
static inline struct slice case_token_by(struct token_text *token, const struct key_pair *pair,
                                         const char *alg, const char *more) {
    char header[600];
    snprintf(header, sizeof header, "{\"alg\":\"%s\"%s}", alg, more);
    case_start(token, slice_of_cstr(header), SLICE("{}"));
    case_sign_private(token, pair);
    return case_slice(token);
}

#endif
