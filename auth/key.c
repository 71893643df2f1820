/* SPDX-License-Identifier: MIT */
#include "auth/key.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192 /* larger ones cost a door's thread too long a time */
#define EXPONENT_BYTES_MAX 8
#define PEM_BYTES_MAX 65536
#define SECRET_BYTES_MAX 65536

const char key_no_memory[] = "no memory for a JWT key";
static const char unusable[] = "a JWT key cannot be used";

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
        if (bytes.len)
            memcpy(copy, bytes.ptr, bytes.len);
        copy[bytes.len] = '\0';
    }
    return copy;
}

const char *key_of_secret(struct slice secret, bool allow_weak, struct key *ret_key) {
    const char *fault = secret_fault(secret, allow_weak);
    if (fault)
        return fault;
    char *bytes = copy_with_nul(secret);
    if (!bytes)
        return key_no_memory;
    *ret_key = (struct key){.kind = KEY_SECRET, .bytes = bytes, .len = secret.len};
    return NULL;
}

static const char neither[] = "a JWT key is neither RSA nor EC P-256 nor Ed25519";

static const char *curve_fault(gnutls_pubkey_t pubkey) {
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    if (gnutls_pubkey_export_ecc_raw2(pubkey, &curve, NULL, NULL, 0) < 0)
        return key_no_memory;
    return curve == GNUTLS_ECC_CURVE_SECP256R1 ? NULL : neither;
}

static const char *rsa_fault(gnutls_pubkey_t pubkey, unsigned bits) {
    gnutls_datum_t n, e;
    if (bits < RSA_BITS_MIN)
        return "a JWT key is RSA under 2048 bits";
    if (bits > RSA_BITS_MAX)
        return "a JWT key is RSA over 8192 bits";
    if (gnutls_pubkey_export_rsa_raw2(pubkey, &n, &e, GNUTLS_EXPORT_FLAG_NO_LZ) < 0)
        return key_no_memory;
    bool odd = e.size && n.size && (e.data[e.size - 1] & 1) && (n.data[n.size - 1] & 1);
    bool one = e.size == 1 && e.data[0] == 1;
    bool fine = odd && !one && e.size <= EXPONENT_BYTES_MAX;
    gnutls_free(n.data);
    gnutls_free(e.data);
    return fine ? NULL : "a JWT key is RSA with a bad modulus or exponent";
}

static const char *kind_of(gnutls_pubkey_t pubkey, enum key_kind *ret_kind) {
    unsigned bits = 0;
    const char *fault = NULL;
    switch (gnutls_pubkey_get_pk_algorithm(pubkey, &bits)) {
    case GNUTLS_PK_RSA:
        *ret_kind = KEY_RSA;
        return rsa_fault(pubkey, bits);
    case GNUTLS_PK_ECDSA:
        *ret_kind = KEY_P256;
        fault = curve_fault(pubkey);
        break;
    case GNUTLS_PK_EDDSA_ED25519:
        *ret_kind = KEY_ED25519;
        break;
    default:
        return neither;
    }
    if (!fault && gnutls_pubkey_verify_params(pubkey) < 0)
        fault = "a JWT key is no point of its curve";
    return fault;
}

/* The key goes on as it was understood here, so that two readers of PEM cannot disagree. */
static const char *keep_public_key(gnutls_pubkey_t pubkey, struct key *ret_key) {
    struct key key = {0};
    gnutls_datum_t out = {NULL, 0};
    const char *fault = kind_of(pubkey, &key.kind);
    if (!fault && gnutls_pubkey_export2(pubkey, GNUTLS_X509_FMT_PEM, &out) < 0)
        fault = key_no_memory;
    if (!fault) {
        key.len = out.size;
        key.bytes = copy_with_nul(slice_make(out.data, out.size));
        fault = key.bytes ? NULL : key_no_memory;
    }
    gnutls_free(out.data);
    if (!fault)
        *ret_key = key;
    return fault;
}

static gnutls_datum_t datum_of(struct slice bytes) {
    return (gnutls_datum_t){(unsigned char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len};
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

const char *key_of_pem(struct slice pem, struct key *ret_key) {
    gnutls_pubkey_t pubkey;
    const char *fault = pem_fault(pem);
    if (fault)
        return fault;
    if (gnutls_pubkey_init(&pubkey) < 0)
        return key_no_memory;
    gnutls_datum_t in = datum_of(pem);
    if (gnutls_pubkey_import(pubkey, &in, GNUTLS_X509_FMT_PEM) < 0)
        fault = "the JWT key file is no public key in PEM";
    else
        fault = keep_public_key(pubkey, ret_key);
    gnutls_pubkey_deinit(pubkey);
    return fault;
}

const char *key_of_rsa(struct slice n, struct slice e, struct key *ret_key) {
    gnutls_pubkey_t pubkey;
    gnutls_datum_t modulus = datum_of(n), exponent = datum_of(e);
    if (n.len == 0 || e.len == 0)
        return unusable;
    if (gnutls_pubkey_init(&pubkey) < 0)
        return key_no_memory;
    const char *fault = gnutls_pubkey_import_rsa_raw(pubkey, &modulus, &exponent) < 0
                            ? unusable
                            : keep_public_key(pubkey, ret_key);
    gnutls_pubkey_deinit(pubkey);
    return fault;
}

/* y is empty where the curve has none. */
static const char *of_curve(gnutls_ecc_curve_t curve, struct slice x, struct slice y,
                            struct key *ret_key) {
    gnutls_pubkey_t pubkey;
    gnutls_datum_t first = datum_of(x), second = datum_of(y);
    if (gnutls_pubkey_init(&pubkey) < 0)
        return key_no_memory;
    const char *fault =
        gnutls_pubkey_import_ecc_raw(pubkey, curve, &first, y.len ? &second : NULL) < 0
            ? unusable
            : keep_public_key(pubkey, ret_key);
    gnutls_pubkey_deinit(pubkey);
    return fault;
}

const char *key_of_p256(struct slice x, struct slice y, struct key *ret_key) {
    if (x.len != 32 || y.len != 32)
        return "a JWT key of P-256 has not 32 bytes to a coordinate";
    return of_curve(GNUTLS_ECC_CURVE_SECP256R1, x, y, ret_key);
}

const char *key_of_ed25519(struct slice x, struct key *ret_key) {
    if (x.len != 32)
        return "a JWT key of Ed25519 has not 32 bytes";
    return of_curve(GNUTLS_ECC_CURVE_ED25519, x, SLICE(""), ret_key);
}

/* Compared in constant time. */
static bool hmac_holds(const struct key *key, enum key_hash hash, struct slice message,
                       struct slice signature) {
    static const gnutls_mac_algorithm_t macs[] = {
        [KEY_SHA256] = GNUTLS_MAC_SHA256,
        [KEY_SHA384] = GNUTLS_MAC_SHA384,
        [KEY_SHA512] = GNUTLS_MAC_SHA512,
    };
    uint8_t mac[64];
    bool good =
        signature.len == gnutls_hmac_get_len(macs[hash]) &&
        gnutls_hmac_fast(macs[hash], key->bytes, key->len, message.ptr, message.len, mac) >= 0 &&
        gnutls_memcmp(mac, signature.ptr, signature.len) == 0;
    explicit_bzero(mac, sizeof mac);
    return good;
}

/* r and s as DER wants them: by their value, not with zeros before it. */
static bool der_of(struct slice signature, gnutls_datum_t *ret_der) {
    gnutls_datum_t halves[2];
    for (unsigned i = 0; i < 2; i++) {
        struct slice half = slice_make(signature.ptr + 32 * i, 32);
        while (half.len > 1 && half.ptr[0] == '\0')
            half = slice_make(half.ptr + 1, half.len - 1);
        halves[i] = datum_of(half);
    }
    return gnutls_encode_rs_value(ret_der, &halves[0], &halves[1]) >= 0;
}

static bool public_key_holds(gnutls_pubkey_t pubkey, enum key_kind kind, struct slice message,
                             struct slice signature) {
    gnutls_datum_t text = datum_of(message), by = datum_of(signature), der = {NULL, 0};
    unsigned bits = 0;
    if (kind == KEY_ED25519)
        return signature.len == 64 &&
               gnutls_pubkey_verify_data2(pubkey, GNUTLS_SIGN_EDDSA_ED25519, 0, &text, &by) >= 0;
    if (kind == KEY_RSA) /* a number has other lengths too; RFC 8017 section 8.2.2 wants this one */
        return gnutls_pubkey_get_pk_algorithm(pubkey, &bits) >= 0 &&
               signature.len == (bits + 7) / 8 &&
               gnutls_pubkey_verify_data2(pubkey, GNUTLS_SIGN_RSA_SHA256, 0, &text, &by) >= 0;
    bool good = signature.len == 64 && der_of(signature, &der) &&
                gnutls_pubkey_verify_data2(pubkey, GNUTLS_SIGN_ECDSA_SHA256, 0, &text, &der) >= 0;
    gnutls_free(der.data);
    return good;
}

bool key_verify(const struct key *key, enum key_hash hash, struct slice message,
                struct slice signature) {
    gnutls_pubkey_t pubkey;
    gnutls_datum_t pem = datum_of(slice_make(key->bytes, key->len));
    if (key->kind == KEY_SECRET)
        return hmac_holds(key, hash, message, signature);
    if (gnutls_pubkey_init(&pubkey) < 0)
        return false;
    bool good = gnutls_pubkey_import(pubkey, &pem, GNUTLS_X509_FMT_PEM) >= 0 &&
                public_key_holds(pubkey, key->kind, message, signature);
    gnutls_pubkey_deinit(pubkey);
    return good;
}

bool key_copy(const struct key *key, struct key *ret_key) {
    struct key copy = {.kind = key->kind, .len = key->len};
    copy.bytes = copy_with_nul(slice_make(key->bytes, key->len));
    copy.kid = key->kid ? strdup(key->kid) : NULL;
    if (!copy.bytes || (key->kid && !copy.kid)) {
        key_close(&copy);
        return false;
    }
    *ret_key = copy;
    return true;
}

bool key_equal(const struct key *a, const struct key *b) {
    return a->kind == b->kind && a->len == b->len &&
           slice_equal(slice_of_cstr(a->kid), slice_of_cstr(b->kid)) && !a->kid == !b->kid &&
           gnutls_memcmp(a->bytes, b->bytes, a->len) == 0;
}

void key_close(struct key *key) {
    if (key->bytes)
        explicit_bzero(key->bytes, key->len);
    free(key->bytes);
    free(key->kid);
    *key = (struct key){0};
}
