/* SPDX-License-Identifier: MIT */
/* One token: checked against the keys, or signed. */
#ifndef HATI_AUTH_TOKEN_H
#define HATI_AUTH_TOKEN_H

#include "auth/claims.h"
#include "auth/keys.h"

enum token_result {
    TOKEN_GOOD,
    TOKEN_BAD,
    TOKEN_KEY_UNKNOWN /* all of it holds but the signature, and it names a public key not there */
};

/* Checks form, algorithm, claims and signature; the grant where all of them hold at now_ms. A key
 * of the token's kid is asked, and those without a name; a token without kid is tried with every
 * key that its algorithm fits, up to KEYS_TRIED_MAX. Computes for some 10 to 100 us a key, never
 * blocks. Any thread. */
enum token_result token_verify(const struct keys *keys, const struct claims_wanted *wanted,
                               struct slice token, int64_t now_ms, struct auth_grant *ret_grant);

#endif
