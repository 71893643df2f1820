/* SPDX-License-Identifier: MIT */
#include "server/http_guard.h"

#define REQUEST_ID_MAX 128

static bool is_token_char(char c) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (!is_token_char(text.ptr[i]))
            return false;
    return text.len > 0;
}

static bool has_control(struct slice text, bool tab_too) {
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t)text.ptr[i];
        if ((c < 0x20 && (c != '\t' || tab_too)) || c == 0x7F)
            return true;
    }
    return false;
}

/* Keeps the first value and counts the lines. */
static void keep(struct slice *to, unsigned *count, struct slice value) {
    if ((*count)++ == 0)
        *to = value;
}

static void keep_last(struct http_headers *headers, struct slice line) {
    if (headers->forwarded_fors >= HTTP_FORWARDED_MAX)
        memmove(headers->forwarded_for, headers->forwarded_for + 1,
                (HTTP_FORWARDED_MAX - 1) * sizeof line);
    unsigned at = headers->forwarded_fors < HTTP_FORWARDED_MAX ? headers->forwarded_fors
                                                               : HTTP_FORWARDED_MAX - 1;
    headers->forwarded_for[at] = line;
    headers->forwarded_fors++;
}

static bool is(struct slice name, struct slice wanted) {
    return slice_equal_nocase(name, wanted);
}

void http_headers_add(struct http_headers *headers, struct slice name, struct slice value) {
    unsigned ignored = 0;
    headers->bad_name |= !is_token(name);
    headers->bad_value |= has_control(value, false);
    switch (name.len) {
    case 4:
        headers->hosts += is(name, SLICE("Host"));
        break;
    case 5:
        if (is(name, SLICE("Range")))
            keep(&headers->range, &headers->ranges, value);
        break;
    case 6:
        if (is(name, SLICE("Origin")))
            headers->origin = value;
        else if (is(name, SLICE("Expect")))
            headers->expects_continue = true;
        break;
    case 8:
        if (is(name, SLICE("If-Match")))
            keep(&headers->if_match, &headers->if_matches, value);
        else if (is(name, SLICE("If-Range")))
            headers->if_range = value;
        break;
    case 10:
        if (is(name, SLICE("tracestate")))
            keep(&headers->tracestate, &headers->tracestates, value);
        break;
    case 11:
        if (is(name, SLICE("traceparent")))
            keep(&headers->traceparent, &headers->traceparents, value);
        break;
    case 12:
        if (is(name, SLICE("Content-Type")))
            keep(&headers->content_type, &headers->content_types, value);
        else if (is(name, SLICE("X-Request-Id")))
            keep(&headers->request_id, &ignored, value);
        break;
    case 13:
        if (is(name, SLICE("Authorization")))
            keep(&headers->authorization, &headers->authorizations, value);
        else if (is(name, SLICE("If-None-Match")))
            keep(&headers->if_none_match, &headers->if_none_matches, value);
        break;
    case 14:
        if (is(name, SLICE("Content-Length")))
            keep(&headers->content_length, &headers->content_lengths, value);
        else if (is(name, SLICE("Causal-Context")))
            keep(&headers->causal_context, &headers->causal_contexts, value);
        break;
    case 15:
        if (is(name, SLICE("X-Forwarded-For")))
            keep_last(headers, value);
        break;
    case 17:
        if (is(name, SLICE("Transfer-Encoding")))
            keep(&headers->transfer_encoding, &headers->transfer_encodings, value);
        break;
    default:
        break;
    }
}

static bool is_path(struct slice target) {
    if (target.len == 0 || target.ptr[0] != '/' || has_control(target, true))
        return slice_equal(target, SLICE("*"));
    return memchr(target.ptr, ' ', target.len) == NULL;
}

static const char *check_body(const struct http_headers *headers, bool is_1_1) {
    if (headers->content_lengths > 1)
        return "Content-Length stands twice";
    if (headers->transfer_encodings > 1)
        return "Transfer-Encoding stands twice";
    if (headers->transfer_encodings == 0) {
        if (headers->content_lengths && http_content_length(headers->content_length) == UINT64_MAX)
            return "Content-Length is no number of bytes";
        return NULL;
    }
    if (headers->content_lengths)
        return "Content-Length and Transfer-Encoding exclude each other";
    if (!is_1_1)
        return "HTTP/1.0 has no Transfer-Encoding";
    if (!slice_equal_nocase(headers->transfer_encoding, SLICE("chunked")))
        return "the only Transfer-Encoding served is chunked";
    return NULL;
}

const char *http_guard_check(const struct http_headers *headers, struct slice method,
                             struct slice target, struct slice version) {
    bool is_1_1 = slice_equal(version, SLICE("HTTP/1.1"));
    if (!is_1_1 && !slice_equal(version, SLICE("HTTP/1.0")))
        return "the versions served are HTTP/1.0 and HTTP/1.1";
    if (!is_token(method))
        return "the method is no token";
    if (!is_path(target))
        return "the path is malformed";
    if (headers->bad_name)
        return "a header's name is no token";
    if (headers->bad_value)
        return "a header's value holds a control character";
    if (headers->hosts > 1 || (headers->hosts == 0 && is_1_1))
        return "a request has one Host";
    if (headers->authorizations > 1)
        return "Authorization stands twice";
    if (headers->content_types > 1)
        return "Content-Type stands twice";
    if (headers->if_matches > 1 || headers->if_none_matches > 1)
        return "a condition stands twice";
    if (headers->causal_contexts > 1)
        return "Causal-Context stands twice";
    return check_body(headers, is_1_1);
}

struct slice http_bearer_token(struct slice authorization) {
    struct slice scheme = SLICE("Bearer ");
    if (authorization.len <= scheme.len ||
        !slice_equal_nocase(slice_make(authorization.ptr, scheme.len), scheme))
        return SLICE("");
    struct slice token = slice_make(authorization.ptr + scheme.len, authorization.len - scheme.len);
    while (token.len && token.ptr[0] == ' ')
        token = slice_make(token.ptr + 1, token.len - 1);
    while (token.len && token.ptr[token.len - 1] == ' ')
        token.len--;
    return token;
}

uint64_t http_content_length(struct slice text) {
    uint64_t bytes = 0;
    if (text.len == 0)
        return UINT64_MAX;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(uint8_t)text.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(bytes, 10U, &bytes) ||
            __builtin_add_overflow(bytes, digit, &bytes))
            return UINT64_MAX;
    }
    return bytes;
}

/* Letters and digits, and what base64, UUIDs and the traces of proxies are made of besides; nothing
 * that a log or a page could read as more than text. */
bool http_request_id_is_sane(struct slice id) {
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        bool known = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-._~:/=+@,;", c));
        if (!known)
            return false;
    }
    return id.len > 0 && id.len <= REQUEST_ID_MAX;
}
