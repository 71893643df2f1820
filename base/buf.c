/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_BYTES 256U

void buf_init(struct buf *buf, size_t max_bytes) {
    *buf = (struct buf){.max_bytes = max_bytes};
}

void buf_done(struct buf *buf) {
    free(buf->ptr);
    buf_init(buf, buf->max_bytes);
}

void buf_clear(struct buf *buf) {
    buf->len = 0;
    buf->failed = false;
}

static char *grow(struct buf *buf, size_t more_bytes) {
    if (more_bytes > buf->max_bytes - buf->len) {
        buf->failed = true;
        return NULL;
    }
    size_t want = buf->len + more_bytes;
    size_t cap = buf->cap ? buf->cap : FIRST_BYTES;
    while (cap < want)
        cap = cap > SIZE_MAX / 2 ? want : cap * 2;
    char *ptr = realloc(buf->ptr, cap);
    if (!ptr) {
        buf->failed = true;
        return NULL;
    }
    buf->ptr = ptr;
    buf->cap = cap;
    return ptr + buf->len;
}

char *buf_reserve(struct buf *buf, size_t more_bytes) {
    if (more_bytes <= buf->cap - buf->len && more_bytes <= buf->max_bytes - buf->len && buf->ptr)
        return buf->ptr + buf->len;
    return grow(buf, more_bytes);
}

bool buf_append(struct buf *buf, struct slice bytes) {
    char *to = buf_reserve(buf, bytes.len);
    if (!to)
        return false;
    if (bytes.len)
        memcpy(to, bytes.ptr, bytes.len);
    buf->len += bytes.len;
    return true;
}

bool buf_append_char(struct buf *buf, char c) {
    return buf_append(buf, (struct slice){&c, 1});
}

bool buf_append_u64(struct buf *buf, uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return buf_append(buf, (struct slice){digits + at, sizeof digits - at});
}

bool buf_append_i64(struct buf *buf, int64_t number) {
    char digits[21];
    size_t at = sizeof digits;
    uint64_t rest = number < 0 ? 0U - (uint64_t)number : (uint64_t)number;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0)
        digits[--at] = '-';
    return buf_append(buf, (struct slice){digits + at, sizeof digits - at});
}

bool buf_append_hex(struct buf *buf, const uint8_t *bytes, size_t len) {
    static const char hex[] = "0123456789abcdef";
    char *to = len > SIZE_MAX / 2 ? NULL : buf_reserve(buf, len * 2);
    if (!to)
        return false;
    for (size_t i = 0; i < len; i++) {
        *to++ = hex[bytes[i] >> 4];
        *to++ = hex[bytes[i] & 15];
    }
    buf->len += len * 2;
    return true;
}

bool buf_printf(struct buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    char *to = len < 0 ? NULL : buf_reserve(buf, (size_t)len + 1);
    if (to) {
        vsnprintf(to, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
    va_end(args);
    return to != NULL;
}

void buf_drop_front(struct buf *buf, size_t n) {
    if (n < buf->len)
        memmove(buf->ptr, buf->ptr + n, buf->len - n);
    buf->len -= n;
}
