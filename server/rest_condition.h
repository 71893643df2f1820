/* SPDX-License-Identifier: MIT */
/* If-Match and If-None-Match (RFC 9110 section 13.1), where an ETag is an MD5. */
#ifndef HATI_SERVER_REST_CONDITION_H
#define HATI_SERVER_REST_CONDITION_H

#include "base/hash.h"
#include "handlers/op.h"

enum rest_condition_kind {
    CONDITION_BAD,  /* malformed */
    CONDITION_ANY,  /* * */
    CONDITION_LIST, /* etags, at least one; or only weak ones: none */
};

struct rest_condition {
    enum rest_condition_kind kind;
    unsigned count;
    struct slice etags[OP_ETAGS_MAX]; /* 32 hexadecimal digits each; in the header */
};

/* Reads a header: `*`, or MD5s parted by commas, each quoted or bare. weak (If-None-Match): `W/"…"`
 * counts too, and what is no MD5, or one too many, is passed over, as others' ETags are no MD5s;
 * else (If-Match) a weak one is left out, since it never equals anything, and the rest makes the
 * header BAD. Any thread. */
void rest_condition_parse(struct slice header, bool weak, struct rest_condition *ret_condition);

/* True where the ETag is one of a list's (or the kind is ANY). */
bool rest_condition_holds(const struct rest_condition *condition,
                          const uint8_t etag[HASH_MD5_BYTES]);

#endif
