/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t moved_ms;

static int64_t read_ns(clockid_t id) {
    struct timespec at;
    clock_gettime(id, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

int64_t clock_wall_ms(void) {
    return read_ns(CLOCK_REALTIME) / 1000000 +
           atomic_load_explicit(&moved_ms, memory_order_relaxed);
}

int64_t clock_steady_ns(void) {
    return read_ns(CLOCK_MONOTONIC) +
           atomic_load_explicit(&moved_ms, memory_order_relaxed) * 1000000;
}

int64_t clock_steady_ms(void) {
    return clock_steady_ns() / 1000000;
}

void clock_move_for_test(int64_t ms) {
    atomic_fetch_add(&moved_ms, ms);
}
