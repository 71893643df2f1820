/* SPDX-License-Identifier: MIT */
/* base64url as tokens write it (RFC 7515): no padding, one spelling for each run of bytes. */
#ifndef HATI_AUTH_BASE64URL_H
#define HATI_AUTH_BASE64URL_H

#include "base/slice.h"

/* Decodes into to, which has room for text.len * 3 / 4 bytes. False on any other letter, on
 * padding, and where unused bits of the last letter are set. Any thread. */
bool base64url_decode(struct slice text, char *to, size_t *ret_len);

#endif
