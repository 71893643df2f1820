/* SPDX-License-Identifier: MIT */
#include "base/cut.h"

#include <pthread.h>

/* Read with every change: nothing that is written stands on its cache line. */
_Alignas(64) _Atomic uint64_t cut_number_last;
static _Alignas(64) pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

uint64_t cut_begin(void) {
    pthread_mutex_lock(&lock);
    return atomic_load(&cut_number_last) + 1;
}

void cut_make(void) {
    atomic_fetch_add(&cut_number_last, 1);
    pthread_mutex_unlock(&lock);
}

void cut_give_up(void) {
    pthread_mutex_unlock(&lock);
}
