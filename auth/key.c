/* SPDX-License-Identifier: MIT */
#include "auth/key.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define RSA_BITS_MIN 2048
#define PEM_BYTES_MAX 65536
#define SECRET_BYTES_MAX 65536

/* Defaults of products and examples of handbooks: the first words anybody tries. */
static const char *const well_known[] = {
    "secret",
    "secretsecret",
    "supersecret",
    "changeme",
    "change-me",
    "password",
    "admin",
    "test",
    "dev",
    "default",
    "token",
    "jwt",
    "jwt-secret",
    "jwt_secret",
    "jwtsecret",
    "hati",
    "huly",
    "hulykvs",
    "123456",
    "12345678",
    "1234567890",
    "12345678901234567890123456789012",
    "0123456789abcdef0123456789abcdef",
    "00112233445566778899aabbccddeeff",
    "abcdefghijklmnopqrstuvwxyz123456",
    "your-secret-key",
    "your-256-bit-secret",
    "your-384-bit-secret",
    "your-512-bit-secret",
    "your-256-bit-secret-your-256-bit-secret",
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
};

static bool is_well_known(struct slice secret) {
    for (size_t i = 0; i < sizeof well_known / sizeof well_known[0]; i++)
        if (slice_equal_nocase(secret, slice_of_cstr(well_known[i])))
            return true;
    for (size_t i = 1; i < secret.len; i++)
        if (secret.ptr[i] != secret.ptr[0])
            return false;
    return true; /* one letter over and over */
}

/* A PEM as the secret is public knowledge, or a private key where none belongs. */
static bool holds_pem(struct slice secret) {
    return memmem(secret.ptr, secret.len, "-----BEGIN ", 11) != NULL;
}

static const char *secret_fault(struct slice secret, bool allow_weak) {
    if (secret.len == 0)
        return "the JWT secret is empty: an empty secret would let everybody in";
    if (secret.len > SECRET_BYTES_MAX)
        return "the JWT secret is over 65536 bytes";
    if (holds_pem(secret))
        return "the JWT secret is a PEM; a public key goes into the key file option";
    if (allow_weak)
        return NULL;
    if (secret.len < AUTH_SECRET_MIN)
        return "the JWT secret is under 32 bytes; make a longer one, or allow weak secrets";
    if (is_well_known(secret))
        return "the JWT secret is a well-known one; make a random one, or allow weak secrets";
    return NULL;
}

static char *copy_with_nul(struct slice bytes) {
    char *copy = malloc(bytes.len + 1);
    if (copy) {
        memcpy(copy, bytes.ptr, bytes.len);
        copy[bytes.len] = '\0';
    }
    return copy;
}

static bool is_p256(gnutls_pubkey_t pubkey) {
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    if (gnutls_pubkey_export_ecc_raw2(pubkey, &curve, NULL, NULL, 0) < 0)
        return false;
    return curve == GNUTLS_ECC_CURVE_SECP256R1;
}

static const char *kind_of(gnutls_pubkey_t pubkey, enum key_kind *ret_kind) {
    unsigned bits = 0;
    int algorithm = gnutls_pubkey_get_pk_algorithm(pubkey, &bits);
    if (algorithm == GNUTLS_PK_RSA) {
        *ret_kind = KEY_RSA;
        return bits < RSA_BITS_MIN ? "the JWT key is RSA under 2048 bits" : NULL;
    }
    if (algorithm == GNUTLS_PK_ECDSA && is_p256(pubkey)) {
        *ret_kind = KEY_P256;
        return NULL;
    }
    return "the JWT key is neither RSA nor EC P-256";
}

/* The key goes on as it was understood here, so that two readers of PEM cannot disagree. */
static const char *read_public_key(struct slice pem, struct key *key) {
    gnutls_pubkey_t pubkey;
    if (gnutls_pubkey_init(&pubkey) < 0)
        return "no memory for the JWT key";
    gnutls_datum_t in = {(unsigned char *)(uintptr_t)pem.ptr, (unsigned)pem.len};
    gnutls_datum_t out = {NULL, 0};
    const char *fault = NULL;
    if (gnutls_pubkey_import(pubkey, &in, GNUTLS_X509_FMT_PEM) < 0)
        fault = "the JWT key file is no public key in PEM";
    else
        fault = kind_of(pubkey, &key->kind);
    if (!fault && gnutls_pubkey_export2(pubkey, GNUTLS_X509_FMT_PEM, &out) < 0)
        fault = "the JWT key cannot be used";
    if (!fault) {
        key->len = out.size;
        key->bytes = copy_with_nul(slice_make(out.data, out.size));
    }
    gnutls_free(out.data);
    gnutls_pubkey_deinit(pubkey);
    return fault;
}

static const char *pem_fault(struct slice pem) {
    if (pem.len == 0)
        return "the JWT key file is empty";
    if (pem.len > PEM_BYTES_MAX)
        return "the JWT key file is over 65536 bytes";
    if (memmem(pem.ptr, pem.len, "PRIVATE KEY-----", 16))
        return "the JWT key file holds a private key; give the public one alone";
    return NULL;
}

enum err key_open(const struct auth_options *options, struct key *ret_key, char *ret_why,
                  size_t why_bytes) {
    struct key key = {.kind = KEY_SECRET};
    const char *fault;
    if (options->secret.ptr && options->public_key_pem.ptr) {
        fault = "a JWT secret and a public key are both set; one decides the algorithm";
    } else if (options->secret.ptr) {
        fault = secret_fault(options->secret, options->allow_weak_secret);
        key.len = options->secret.len;
        key.bytes = fault ? NULL : copy_with_nul(options->secret);
    } else {
        fault = pem_fault(options->public_key_pem);
        if (!fault)
            fault = read_public_key(options->public_key_pem, &key);
    }
    if (!fault && !key.bytes)
        fault = "no memory for the JWT key";
    if (fault) {
        snprintf(ret_why, why_bytes, "%s", fault);
        return ERR_SYNTAX;
    }
    *ret_key = key;
    return OK;
}

void key_close(struct key *key) {
    if (key->bytes)
        explicit_bzero(key->bytes, key->len);
    free(key->bytes);
    key->bytes = NULL;
    key->len = 0;
}
