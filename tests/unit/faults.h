/* SPDX-License-Identifier: MIT */
/* Lets the n-th allocation of the code under test fail. The test's own line
 * `wrap: malloc calloc realloc strdup aligned_alloc` has the linker send these calls here. */
#ifndef HATI_TESTS_FAULTS_H
#define HATI_TESTS_FAULTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

static _Atomic long faults_left; /* calls until the one that fails; 0: none does */
static _Atomic unsigned long faults_met;

/* The n-th call from now on fails (1: the next), once. 0: none. */
static inline void faults_begin(long n) {
    atomic_store(&faults_met, 0);
    atomic_store(&faults_left, n);
}

/* Whether one failed since faults_begin; none does from now on. */
static inline bool faults_end(void) {
    atomic_store(&faults_left, 0);
    return atomic_load(&faults_met) > 0;
}

static inline bool faults_due(void) {
    if (atomic_load(&faults_left) <= 0 || atomic_fetch_sub(&faults_left, 1) != 1)
        return false;
    atomic_fetch_add(&faults_met, 1);
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size) {
    return faults_due() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return faults_due() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
    return faults_due() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return faults_due() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text) {
    return faults_due() ? NULL : __real_strdup(text);
}

#endif
