/* SPDX-License-Identifier: MIT */
/* Text forms of bytes: UTF-8, JSON strings, base64, UUIDs, percent-encoding. */
#ifndef HATI_BASE_TEXT_H
#define HATI_BASE_TEXT_H

#include "base/arena.h"
#include "base/buf.h"

/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool text_is_utf8(struct slice bytes);

/* Appends the bytes as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD, one
 * per byte; callers that must keep them use base64. */
bool text_append_json(struct buf *to, struct slice bytes);

/* Standard base64 with padding (RFC 4648 section 4). */
bool text_append_base64(struct buf *to, struct slice bytes);
/* Decodes into the arena; strict: padding required, no spaces. False, ret untouched, on bad input
 * or without memory. */
bool text_base64_decode(struct arena *arena, struct slice text, struct slice *ret_bytes);

/* base64url as tokens and cursors write it (RFC 4648 section 5, no padding). */
bool text_append_base64url(struct buf *to, struct slice bytes);
/* The same back, one spelling for each run of bytes, into to, which has room for text.len * 3 / 4
 * bytes. False, ret untouched, on bad input. */
bool text_base64url_decode(struct slice text, char *to, size_t *ret_len);

struct uuid {
    uint8_t bytes[16];
};

/* 8-4-4-4-12 hexadecimal digits, either case. */
bool text_uuid_parse(struct slice text, struct uuid *ret_uuid);
/* Writes 36 characters, lower case, no NUL. */
void text_uuid_format(const struct uuid *uuid, char *to);

/* Percent-decoding by length (RFC 3986); `+` stays `+`. False on a bad % sequence or without
 * memory; a decoded NUL is kept, the caller judges it. */
bool text_percent_decode(struct arena *arena, struct slice text, struct slice *ret_bytes);

/* True where every nested [ and { outside strings stays within max_depth. Looks at no other
 * grammar: the parser does. */
bool text_json_depth_ok(struct slice json, unsigned max_depth);

#endif
