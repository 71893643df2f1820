/* SPDX-License-Identifier: MIT */
/* The key that tokens are checked with; what it is fixes the algorithms it takes. */
#ifndef HATI_AUTH_KEY_H
#define HATI_AUTH_KEY_H

#include "auth/auth.h"

enum key_kind {
    KEY_SECRET, /* HS256, HS384, HS512 */
    KEY_RSA,    /* RS256 */
    KEY_P256    /* ES256 */
};

struct key {
    enum key_kind kind;
    char *bytes; /* the secret, or a PEM; a NUL stands behind it */
    size_t len;  /* never 0 in an open key */
};

/* Copies the one key of the options (secret or PEM, not both). On failure one line in ret_why and
 * key untouched. May read the random source; once, at start. */
enum err key_open(const struct auth_options *options, struct key *ret_key, char *ret_why,
                  size_t why_bytes) MUST_USE;
/* Wipes and frees the bytes. */
void key_close(struct key *key);

#endif
