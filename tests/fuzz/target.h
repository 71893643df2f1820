/* SPDX-License-Identifier: MIT */
/* What the targets share. */
#ifndef HATI_TESTS_FUZZ_TARGET_H
#define HATI_TESTS_FUZZ_TARGET_H

#include <stdlib.h>

#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void check(bool holds) {
    if (!holds)
        abort();
}

static inline bool is_within(struct slice part, struct slice whole) {
    return part.len == 0 || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

/* The first len bytes, which are taken off; all where there are fewer. */
static inline struct slice take_bytes(struct slice *from, size_t len) {
    struct slice part = slice_make(from->ptr, len < from->len ? len : from->len);
    *from = slice_make(from->ptr + part.len, from->len - part.len);
    return part;
}

static inline uint8_t take_byte(struct slice *from) {
    struct slice part = take_bytes(from, 1);
    return part.len ? (uint8_t)part.ptr[0] : 0;
}

/* Up to the letter, which is taken off too. */
static inline struct slice take_until(struct slice *from, char letter) {
    const char *end = from->len ? memchr(from->ptr, letter, from->len) : NULL;
    struct slice part = take_bytes(from, end ? (size_t)(end - from->ptr) : from->len);
    take_byte(from);
    return part;
}

/* Bytes of its own, so that a step over their end is seen. */
static inline char *copy_of(struct slice bytes) {
    char *copy = malloc(bytes.len ? bytes.len : 1);
    check(copy != NULL);
    if (bytes.len)
        memcpy(copy, bytes.ptr, bytes.len);
    return copy;
}

#endif
