/* SPDX-License-Identifier: MIT */
/* The JSON of a token, read strictly: a member of the wrong type makes the token bad. */
#ifndef HATI_AUTH_CLAIMS_H
#define HATI_AUTH_CLAIMS_H

#include "auth/auth.h"

#define CLAIMS_LEEWAY_MS 60000
#define CLAIMS_DEPTH_MAX 16
#define CLAIMS_ALG_BYTES 8 /* of the longest algorithm name, NUL included */
#define CLAIMS_KID_BYTES 256

/* What a payload must say besides; empty: not asked for. */
struct claims_wanted {
    struct slice audience, issuer;
};

/* What a header says of the key. */
struct claims_header {
    char alg[CLAIMS_ALG_BYTES];
    bool has_kid;
    char kid[CLAIMS_KID_BYTES];
};

/* False where the header is no object, repeats a member, wants an extension (crit, b64), or a name
 * in it is no short string. Any thread. */
bool claims_read_header(struct slice json, struct claims_header *ret_header);

/* The grant of a payload that holds at now_ms. False on every fault. The signature is the caller's
 * to check. Any thread. */
bool claims_read_payload(struct slice json, const struct claims_wanted *wanted, int64_t now_ms,
                         struct auth_grant *ret_grant);

/* The payload of a token to be signed; the caller frees it. NULL where a claim is no UTF-8, holds a
 * NUL, or without memory. */
char *claims_write_payload(const struct auth_claims *claims);

#endif
