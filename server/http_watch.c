/* SPDX-License-Identifier: MIT */
#include "server/http_watch.h"

#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"

static void shut_overdue_locked(struct http_watch *watch, int64_t now_ms) {
    for (struct http_watched *at = watch->first; at; at = at->next) {
        int64_t due_ms = atomic_load_explicit(&at->due_ms, memory_order_relaxed);
        if (due_ms && due_ms <= now_ms)
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
    *watch = (struct http_watch){
        .now_ms = clock_steady_ms(), .each_second = each_second, .context = context};
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

void http_watch_set(struct http_watch *watch, struct http_watched *watched, int64_t timeout_ms) {
    int64_t now_ms = atomic_load_explicit(&watch->now_ms, memory_order_relaxed);
    atomic_store_explicit(&watched->due_ms, timeout_ms ? now_ms + timeout_ms : 0,
                          memory_order_relaxed);
}
