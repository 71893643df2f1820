/* SPDX-License-Identifier: MIT */
/* One key that tokens are checked with; what it is fixes the algorithms it takes. */
#ifndef HATI_AUTH_KEY_H
#define HATI_AUTH_KEY_H

#include "auth/auth.h"

#define KEY_KID_MAX 255 /* bytes of a key's name */

enum key_kind {
    KEY_SECRET, /* HS256, HS384, HS512 */
    KEY_RSA,    /* RS256 */
    KEY_P256,   /* ES256 */
    KEY_ED25519 /* EdDSA (RFC 8037), which RFC 9864 calls Ed25519 */
};

enum key_hash { KEY_SHA256, KEY_SHA384, KEY_SHA512 };

struct key {
    enum key_kind kind;
    char *bytes; /* the secret, or a PEM; a NUL stands behind it */
    size_t len;  /* never 0 in an open key */
    char *kid;   /* its name in its set, NUL-ended; NULL: none, it fits tokens of any kid */
};

/* The line where there was no memory for a key: the key itself may be good. */
extern const char key_no_memory[];

/* Each makes a key without a name, which the caller closes, and returns NULL; or one static line on
 * what is wrong, ret_key untouched. Any thread. */

/* May read the random source. */
const char *key_of_secret(struct slice secret, bool allow_weak, struct key *ret_key);
/* The first public key of a PEM: RSA from 2048 bits, P-256 or Ed25519. */
const char *key_of_pem(struct slice pem, struct key *ret_key);
/* Of the numbers of a JWK (RFC 7518 section 6, RFC 8037), big-endian bytes. */
const char *key_of_rsa(struct slice n, struct slice e, struct key *ret_key);
const char *key_of_p256(struct slice x, struct slice y, struct key *ret_key);
const char *key_of_ed25519(struct slice x, struct key *ret_key);

/* False without memory, ret_key untouched. */
bool key_copy(const struct key *key, struct key *ret_key);
/* The same key under the same name. */
bool key_equal(const struct key *a, const struct key *b);
/* Whether the key signed the message: HMAC, PKCS #1 v1.5, ECDSA with r and s of 32 bytes each, or
 * Ed25519 (RFC 7518 section 3, RFC 8037), each signature in its one form. hash: SHA-256 but for a
 * secret, and not asked for with Ed25519. Without memory it did not. Any thread. */
bool key_verify(const struct key *key, enum key_hash hash, struct slice message,
                struct slice signature);
/* Wipes and frees the bytes. */
void key_close(struct key *key);

#endif
