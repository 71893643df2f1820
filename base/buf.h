/* SPDX-License-Identifier: MIT */
/* A growable run of bytes that is born with a maximum. */
#ifndef HATI_BASE_BUF_H
#define HATI_BASE_BUF_H

#include "base/slice.h"

struct buf {
    char *ptr;
    size_t len;       /* bytes in use */
    size_t cap;       /* bytes allocated */
    size_t max_bytes; /* len never passes it */
    bool failed;      /* an append did not fit; stays set until buf_clear */
};

/* An empty buffer; allocates nothing. */
void buf_init(struct buf *buf, size_t max_bytes);
/* Frees the bytes; the buffer is empty and usable. */
void buf_done(struct buf *buf);
/* Empties without freeing. */
void buf_clear(struct buf *buf);

/* Makes room for more bytes behind len and returns where they go; NULL (and failed) past the
 * maximum or without memory. The caller adds what it wrote to len. */
char *buf_reserve(struct buf *buf, size_t more_bytes);

/* Each appends whole or not at all; false (and failed) where it does not fit. */
bool buf_append(struct buf *buf, struct slice bytes);
bool buf_append_char(struct buf *buf, char c);
bool buf_append_i64(struct buf *buf, int64_t number);
bool buf_append_u64(struct buf *buf, uint64_t number);
bool buf_append_hex(struct buf *buf, const uint8_t *bytes, size_t len);
bool buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first n bytes (n <= len) and moves the rest down. */
void buf_drop_front(struct buf *buf, size_t n);

static inline struct slice buf_slice(const struct buf *buf) {
    return (struct slice){buf->ptr, buf->len};
}

#endif
