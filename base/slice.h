/* SPDX-License-Identifier: MIT */
/* Bytes by pointer and length; never assumed to end in NUL, never owned. */
#ifndef HATI_BASE_SLICE_H
#define HATI_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *ptr; /* may be NULL where len is 0 */
    size_t len;      /* bytes */
};

/* A slice over a string literal. */
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

static inline struct slice slice_make(const void *ptr, size_t len) {
    return (struct slice){(const char *)ptr, len};
}

static inline struct slice slice_of_cstr(const char *text) {
    return (struct slice){text, text ? strlen(text) : 0};
}

static inline bool slice_equal(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Byte order, shorter first where one is the start of the other: <0, 0, >0 as memcmp. */
static inline int slice_compare(struct slice a, struct slice b) {
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.ptr, b.ptr, shorter) : 0;
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

static inline bool slice_starts_with(struct slice s, struct slice prefix) {
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* Equal where ASCII letters differ only in case. */
bool slice_equal_nocase(struct slice a, struct slice b);

/* A whole slice as a signed decimal ("-12"; no sign "+", no spaces, no leading zeros but "0").
 * Returns false, ret_value untouched, where it is none or does not fit. */
bool slice_parse_i64(struct slice s, int64_t *ret_value);

#endif
