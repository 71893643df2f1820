/* SPDX-License-Identifier: MIT */
/* The clocks of a program, moved: the wall clock by itself, those that only go forward together. */
#include <dlfcn.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

static struct timespec moved(struct timespec at, int64_t ms) {
    int64_t ns = at.tv_nsec + ms % 1000 * 1000000;
    at.tv_sec += ms / 1000 + (ns >= 1000000000) - (ns < 0);
    at.tv_nsec = (ns + 1000000000) % 1000000000;
    return at;
}

int clock_gettime(clockid_t clock, struct timespec *ret) {
    int done = (int)syscall(SYS_clock_gettime, clock, ret);
    _Atomic int64_t *by = NULL;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        by = &control->clock_ms;
    else if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE ||
             clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_BOOTTIME)
        by = &control->steady_ms;
    int64_t ms = by ? atomic_load_explicit(by, memory_order_relaxed) : 0;
    if (done == 0 && ms)
        *ret = moved(*ret, ms);
    return done;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *ret) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec;
    return now.tv_sec;
}

typedef int timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

/* The kernel waits by clocks that are not moved. Which of them is meant is seen by which is near:
 * the steady one began when the machine did, the other in 1970. */
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                           const struct timespec *until) {
    static _Atomic(timedwait *) real;
    struct timespec wall;
    if (!atomic_load(&real)) {
        void *found = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        if (!found)
            found = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
        atomic_store(&real, (timedwait *)found);
    }
    clock_gettime(CLOCK_REALTIME, &wall);
    bool is_wall = until->tv_sec > wall.tv_sec / 2;
    struct timespec at =
        moved(*until, -atomic_load(is_wall ? &control->clock_ms : &control->steady_ms));
    if (at.tv_sec < 0)
        at = (struct timespec){0, 0};
    return atomic_load(&real)(cond, mutex, &at);
}
