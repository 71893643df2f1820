/* SPDX-License-Identifier: MIT */
#include "server/line_memory.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#define SPARES 8U /* loops whose tables may grow while there is no memory */
#define FILES_LEAST 1024U
#define FILES_MOST (1U << 20)

/* Each has room for the table of a loop that watches every descriptor there may be. They are never
 * touched before they are needed: the kernel gives them no pages. */
static _Atomic(void *) spares[SPARES];
static size_t spare_bytes;

static size_t table_bytes(void) {
    struct rlimit limit;
    size_t files = FILES_LEAST;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    while (files < limit.rlim_cur && files < FILES_MOST)
        files *= 2;
    return (files + 2) * sizeof(void *);
}

static enum err refill(void) {
    for (unsigned i = 0; i < SPARES; i++) {
        void *none = NULL;
        if (atomic_load(&spares[i]))
            continue;
        void *made = malloc(spare_bytes);
        if (!made)
            return ERR_OUT_OF_MEMORY;
        if (!atomic_compare_exchange_strong(&spares[i], &none, made))
            free(made);
    }
    return OK;
}

static void *take_spare(void) {
    for (unsigned i = 0; i < SPARES; i++) {
        void *spare = atomic_exchange(&spares[i], NULL);
        if (spare)
            return spare;
    }
    return NULL;
}

static void *grow(void *old, size_t size) {
    void *made = realloc(old, size);
    if (made) {
        (void)!refill();
        return made;
    }
    void *spare = size && size <= spare_bytes ? take_spare() : NULL;
    if (!spare)
        return NULL;
    if (old) {
        size_t had = malloc_usable_size(old);
        memcpy(spare, old, had < size ? had : size);
        free(old);
    }
    return spare;
}

enum err line_memory_open(void) {
    spare_bytes = table_bytes();
    if (refill() || uv_replace_allocator(malloc, grow, calloc, free) != 0) {
        line_memory_close();
        return ERR_OUT_OF_MEMORY;
    }
    return OK;
}

void line_memory_close(void) {
    for (unsigned i = 0; i < SPARES; i++)
        free(atomic_exchange(&spares[i], NULL));
}
