/* SPDX-License-Identifier: MIT */
/* Memory of one request: taken piece by piece, given back all at once, never more than a ceiling.
 */
#ifndef HATI_BASE_ARENA_H
#define HATI_BASE_ARENA_H

#include "base/slice.h"

struct arena_chunk;

struct arena {
    char *at;                   /* next free byte of the newest chunk */
    size_t left_bytes;          /* free bytes there */
    struct arena_chunk *chunks; /* newest first */
    size_t used_bytes;          /* taken from malloc so far */
    size_t max_bytes;           /* ceiling of used_bytes */
};

/* Makes an empty arena that will not take more than max_bytes. Allocates nothing. */
void arena_init(struct arena *arena, size_t max_bytes);

/* Starts from memory of the caller's (may be on its stack) before any chunk is allocated. */
void arena_init_with(struct arena *arena, size_t max_bytes, void *memory, size_t size_bytes);

/* size bytes, 16-byte aligned, not cleared. NULL past the ceiling or without memory.
 * Lives until arena_done. One thread at a time. */
void *arena_alloc(struct arena *arena, size_t size_bytes);

/* A copy of the bytes with a NUL behind them (not counted in len). ptr NULL on failure. */
struct slice arena_copy(struct arena *arena, struct slice bytes);

/* printf into the arena; NULL on failure. */
const char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Frees everything; the arena is empty and usable again (without the caller's memory). */
void arena_done(struct arena *arena);

#endif
