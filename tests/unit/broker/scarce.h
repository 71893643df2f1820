/* SPDX-License-Identifier: MIT */
/* Memory that is scarce for a moment: some allocations in a row fail. The test's own line
 * `wrap: malloc calloc realloc` has the linker send these calls here. */
#ifndef HATI_TESTS_SCARCE_H
#define HATI_TESTS_SCARCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

static _Atomic long scarce_calls, scarce_from, scarce_to;
static _Atomic bool scarce_for_one; /* the thread that says so; else for all */
static _Thread_local bool scarce_for_me;

/* The n-th allocation from now on (1: the next) and those behind it fail, so many in all. */
static inline void scarce_begin(long n, long count) {
    atomic_store(&scarce_calls, 0);
    atomic_store(&scarce_to, n + count);
    atomic_store(&scarce_from, n);
}

/* The same, and other threads have enough all the time. */
static inline void scarce_begin_here(long n, long count) {
    scarce_for_me = true;
    atomic_store(&scarce_for_one, true);
    scarce_begin(n, count);
}

/* From now on there is enough. False where that many were never asked for. */
static inline bool scarce_end(void) {
    long from = atomic_exchange(&scarce_from, 0);
    atomic_store(&scarce_for_one, false);
    return atomic_load(&scarce_calls) >= from;
}

static inline bool scarce_now(void) {
    long from = atomic_load(&scarce_from);
    if (from == 0 || (atomic_load(&scarce_for_one) && !scarce_for_me))
        return false;
    long call = atomic_fetch_add(&scarce_calls, 1) + 1;
    return call >= from && call < atomic_load(&scarce_to);
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size) {
    return scarce_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return scarce_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
    return scarce_now() ? NULL : __real_realloc(old, size);
}

#endif
