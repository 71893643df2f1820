/* SPDX-License-Identifier: MIT */
/* One token: checked against a key, or signed. The only file that knows libjwt is token.c. */
#ifndef HATI_AUTH_TOKEN_H
#define HATI_AUTH_TOKEN_H

#include "auth/claims.h"
#include "auth/key.h"

/* Checks form, algorithm, claims and signature; true and the grant where all of them hold at
 * now_ms. Computes for some 10 to 100 us, never blocks. Any thread. */
bool token_verify(const struct key *key, const struct claims_wanted *wanted, struct slice token,
                  int64_t now_ms, struct auth_grant *ret_grant);

#endif
