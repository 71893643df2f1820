/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ALIGN 16U
#define CHUNK_BYTES 4096U

struct arena_chunk {
    struct arena_chunk *next;
    size_t size_bytes;
};

void arena_init(struct arena *arena, size_t max_bytes) {
    *arena = (struct arena){.max_bytes = max_bytes};
}

void arena_init_with(struct arena *arena, size_t max_bytes, void *memory, size_t size_bytes) {
    size_t skip = (ALIGN - (uintptr_t)memory % ALIGN) % ALIGN;
    arena_init(arena, max_bytes);
    if (size_bytes > skip) {
        arena->at = (char *)memory + skip;
        arena->left_bytes = size_bytes - skip;
    }
}

static bool add_chunk(struct arena *arena, size_t want) {
    size_t header = (sizeof(struct arena_chunk) + ALIGN - 1) / ALIGN * ALIGN;
    size_t size = want > CHUNK_BYTES - header ? want + header : CHUNK_BYTES;
    if (want > arena->max_bytes || size > arena->max_bytes - arena->used_bytes)
        return false;
    struct arena_chunk *chunk = malloc(size);
    if (!chunk)
        return false;
    chunk->next = arena->chunks;
    chunk->size_bytes = size;
    arena->chunks = chunk;
    arena->used_bytes += size;
    arena->at = (char *)chunk + header;
    arena->left_bytes = size - header;
    return true;
}

void *arena_alloc(struct arena *arena, size_t size_bytes) {
    if (size_bytes > SIZE_MAX - ALIGN)
        return NULL;
    size_t size = (size_bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (size > arena->left_bytes && !add_chunk(arena, size))
        return NULL;
    void *taken = arena->at;
    arena->at += size;
    arena->left_bytes -= size;
    return taken;
}

struct slice arena_copy(struct arena *arena, struct slice bytes) {
    char *copy = bytes.len < SIZE_MAX ? arena_alloc(arena, bytes.len + 1) : NULL;
    if (!copy)
        return (struct slice){NULL, 0};
    if (bytes.len)
        memcpy(copy, bytes.ptr, bytes.len);
    copy[bytes.len] = '\0';
    return (struct slice){copy, bytes.len};
}

const char *arena_printf(struct arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    char *text = len < 0 ? NULL : arena_alloc(arena, (size_t)len + 1);
    if (text)
        vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

void arena_done(struct arena *arena) {
    struct arena_chunk *chunk = arena->chunks;
    while (chunk) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    arena_init(arena, arena->max_bytes);
}
