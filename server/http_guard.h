/* SPDX-License-Identifier: MIT */
/* Which requests are not to be believed. libmicrohttpd 0.9.75 accepts several that another server
 * in front reads differently (request smuggling); they are refused and the connection closed. */
#ifndef HATI_SERVER_HTTP_GUARD_H
#define HATI_SERVER_HTTP_GUARD_H

#include "base/slice.h"

#define HTTP_FORWARDED_MAX 4U /* lines of X-Forwarded-For that are looked at: the last ones */

/* What one pass over the header lines found. Slices point where the lines stand. */
struct http_headers {
    struct slice forwarded_for[HTTP_FORWARDED_MAX];
    unsigned forwarded_fors; /* lines that came */
    struct slice authorization, content_type, content_length, transfer_encoding;
    struct slice if_match, if_none_match, origin, request_id, causal_context;
    struct slice range, if_range;
    struct slice traceparent, tracestate;
    unsigned hosts, authorizations, content_types, content_lengths, transfer_encodings;
    unsigned if_matches, if_none_matches, causal_contexts, ranges;
    unsigned traceparents, tracestates;
    bool expects_continue;
    bool bad_name;  /* a name is no token */
    bool bad_value; /* a value holds a control character */
};

/* Takes one header line. Any thread. */
void http_headers_add(struct http_headers *headers, struct slice name, struct slice value);

/* NULL where the request may be served, else why it may not (static text for people). target: path
 * as it came, before any `?`. Any thread. */
const char *http_guard_check(const struct http_headers *headers, struct slice method,
                             struct slice target, struct slice version);

/* The token behind `Bearer ` (any case), or an empty slice where the header is none. */
struct slice http_bearer_token(struct slice authorization);

/* The number of bytes that Content-Length announces; UINT64_MAX where it is none or too large. */
uint64_t http_content_length(struct slice text);

/* 1 to 128 letters, digits and characters of -._~:/=+@,; . */
bool http_request_id_is_sane(struct slice id);

#endif
