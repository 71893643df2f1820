/* SPDX-License-Identifier: MIT */
/* A JWK Set (RFC 7517): the keys an issuer signs with, as it publishes them. */
#ifndef HATI_AUTH_JWKS_H
#define HATI_AUTH_JWKS_H

#include "auth/keys.h"

#define JWKS_BYTES_MAX (1U << 20)
#define JWKS_KEYS_MAX 100
#define JWKS_DEPTH_MAX 16

/* Adds the keys of a document that can check tokens here: RSA from 2048 bits (RS256), P-256 (ES256)
 * and Ed25519 (EdDSA), meant for signatures by their use, key_ops and alg. Others are passed over,
 * as RFC 7517 section 5 wants it: ret_why then says so, else it is empty. A document that is none,
 * that holds a private key or a secret, or no key of use here, is refused as a whole: ERR_SYNTAX,
 * one line in ret_why, and keys may hold some of its keys; so it is without memory for one of them:
 * ERR_OUT_OF_MEMORY. Any thread; not while others hold the
 * set. */
enum err jwks_read(struct slice document, struct keys *keys, char *ret_why,
                   size_t why_bytes) MUST_USE;

#endif
