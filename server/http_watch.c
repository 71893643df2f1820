/* SPDX-License-Identifier: MIT */
#include "server/http_watch.h"

#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "server/limits.h"

static const enum limits_reason reasons[] = {
    [HTTP_PHASE_IDLE] = LIMITS_IDLE,          [HTTP_PHASE_HEAD] = LIMITS_SLOW_HEADERS,
    [HTTP_PHASE_BODY] = LIMITS_SLOW_BODY,     [HTTP_PHASE_ANSWER] = LIMITS_SLOW_READER,
    [HTTP_PHASE_STREAM] = LIMITS_SLOW_READER,
};

/* Whether the sender of a body hung up and all that came was read. The library is told of that by
 * an edge, which it misses where it was there before it had read the last of the body: it would
 * hold what it has until the deadline. The second tick makes sure that it did not just read the
 * rest. */
static bool has_hung_up(struct http_watched *at, unsigned phase) {
    char byte;
    bool ended = phase == HTTP_PHASE_BODY && recv(at->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
    bool again = ended && at->has_ended;
    at->has_ended = ended;
    return again;
}

/* A socket that is shut down may be watched a little longer: it is not found overdue again. */
static void shut_overdue_locked(struct http_watch *watch, int64_t now_ms) {
    for (struct http_watched *at = watch->first; at; at = at->next) {
        int64_t due_ms = atomic_load_explicit(&at->due_ms, memory_order_relaxed);
        unsigned phase = atomic_load_explicit(&at->phase, memory_order_relaxed);
        bool overdue = due_ms && due_ms <= now_ms;
        if (phase == HTTP_PHASE_ANSWER)
            overdue = slow_reader_check(&at->reader, &watch->rule, at->fd, now_ms);
        else
            slow_reader_forget(&at->reader);
        if (has_hung_up(at, phase))
            shutdown(at->fd, SHUT_RDWR);
        if (!overdue)
            continue;
        atomic_store_explicit(&at->due_ms, 0, memory_order_relaxed);
        limits_note(watch->limits, reasons[phase]);
        shutdown(at->fd, SHUT_RDWR);
    }
}

static void *run(void *context) {
    struct http_watch *watch = context;
    pthread_mutex_lock(&watch->lock);
    while (!watch->ended) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        pthread_cond_timedwait(&watch->end, &watch->lock, &until);
        int64_t now_ms = clock_steady_ms();
        atomic_store_explicit(&watch->now_ms, now_ms, memory_order_relaxed);
        shut_overdue_locked(watch, now_ms);
        pthread_mutex_unlock(&watch->lock);
        watch->each_second(watch->context);
        pthread_mutex_lock(&watch->lock);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

static void destroy(struct http_watch *watch) {
    pthread_cond_destroy(&watch->end);
    pthread_mutex_destroy(&watch->lock);
}

enum err http_watch_open(struct http_watch *watch, void (*each_second)(void *context),
                         void *context) {
    watch->first = NULL;
    watch->ended = false;
    watch->each_second = each_second;
    watch->context = context;
    atomic_init(&watch->now_ms, clock_steady_ms());
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->end, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&watch->lock, NULL);
    if (pthread_create(&watch->thread, NULL, run, watch) == 0)
        return OK;
    destroy(watch);
    return ERR_OUT_OF_MEMORY;
}

void http_watch_close(struct http_watch *watch) {
    pthread_mutex_lock(&watch->lock);
    watch->ended = true;
    pthread_cond_signal(&watch->end);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    destroy(watch);
}

void http_watch_add(struct http_watch *watch, struct http_watched *watched, int fd) {
    watched->fd = fd;
    watched->prev = NULL;
    pthread_mutex_lock(&watch->lock);
    watched->next = watch->first;
    if (watch->first)
        watch->first->prev = watched;
    watch->first = watched;
    pthread_mutex_unlock(&watch->lock);
}

void http_watch_remove(struct http_watch *watch, struct http_watched *watched) {
    pthread_mutex_lock(&watch->lock);
    if (watched->prev)
        watched->prev->next = watched->next;
    else
        watch->first = watched->next;
    if (watched->next)
        watched->next->prev = watched->prev;
    pthread_mutex_unlock(&watch->lock);
}

/* The watch's clock is behind by a tick at most: nobody is cut off too early. */
void http_watch_set(struct http_watch *watch, struct http_watched *watched, enum http_phase phase,
                    int64_t timeout_ms) {
    int64_t now_ms = atomic_load_explicit(&watch->now_ms, memory_order_relaxed);
    atomic_store_explicit(&watched->phase, (unsigned)phase, memory_order_relaxed);
    atomic_store_explicit(&watched->due_ms,
                          timeout_ms ? now_ms + timeout_ms + HTTP_WATCH_TICK_MS : 0,
                          memory_order_relaxed);
}

void http_watch_extend(struct http_watched *watched, int64_t by_ms) {
    int64_t due_ms = atomic_load_explicit(&watched->due_ms, memory_order_relaxed);
    if (due_ms && by_ms)
        atomic_store_explicit(&watched->due_ms, due_ms + by_ms, memory_order_relaxed);
}
