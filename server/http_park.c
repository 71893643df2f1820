/* SPDX-License-Identifier: MIT */
#include "server/http_park.h"

#include <microhttpd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "base/clock.h"

#define LOOKED_AT_ONCE 256U /* sockets */

static bool move(struct http_parked *parked, int from, int to) {
    return atomic_compare_exchange_strong_explicit(&parked->state, &from, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

static struct http_parked_list *list_of(struct http_lot *lot, const struct http_parked *parked) {
    return parked->stop ? &lot->waits : &lot->timed;
}

static void unlist_locked(struct http_lot *lot, struct http_parked *parked) {
    struct http_parked_list *list = list_of(lot, parked);
    if (!parked->listed)
        return;
    parked->listed = false;
    if (parked->prev)
        parked->prev->next = parked->next;
    else
        list->first = parked->next;
    if (parked->next)
        parked->next->prev = parked->prev;
    else
        list->last = parked->prev;
}

static void list_locked(struct http_lot *lot, struct http_parked *parked) {
    struct http_parked_list *list = list_of(lot, parked);
    parked->deadline_ms = lot->timeout_ms > 0 ? clock_steady_ms() + lot->timeout_ms : INT64_MAX;
    parked->listed = true;
    parked->next = NULL;
    parked->prev = list->last;
    if (list->last)
        list->last->next = parked;
    else
        list->first = parked;
    list->last = parked;
    if (lot->asleep && !parked->stop)
        pthread_cond_signal(&lot->changed);
}

/* Whoever takes a request out of SUSPENDED resumes it, so it is resumed once. Neither the request
 * nor the lot is touched by a waker afterwards. */
static void resume(struct http_lot *lot, struct MHD_Connection *connection) {
    MHD_resume_connection(connection);
    atomic_fetch_sub_explicit(&lot->suspended, 1, memory_order_release);
}

static void expire_one_locked(struct http_lot *lot, struct http_parked *parked) {
    unlist_locked(lot, parked);
    if (move(parked, PARK_SUSPENDED, PARK_EXPIRED))
        resume(lot, parked->connection);
}

static void expire_locked(struct http_lot *lot, int64_t now_ms) {
    while (lot->timed.first && lot->timed.first->deadline_ms <= now_ms)
        expire_one_locked(lot, lot->timed.first);
}

static void wait_locked(struct http_lot *lot) {
    if (!lot->timed.first || lot->timed.first->deadline_ms == INT64_MAX) {
        lot->asleep = true;
        pthread_cond_wait(&lot->changed, &lot->lock);
        lot->asleep = false;
        return;
    }
    int64_t left_ms = lot->timed.first->deadline_ms - clock_steady_ms();
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (left_ms > 0) {
        until.tv_sec += (time_t)(left_ms / 1000);
        until.tv_nsec += (long)(left_ms % 1000) * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&lot->changed, &lot->lock, &until);
    }
}

static void *watch(void *context) {
    struct http_lot *lot = context;
    pthread_mutex_lock(&lot->lock);
    while (!lot->ended) {
        wait_locked(lot);
        expire_locked(lot, clock_steady_ms());
    }
    pthread_mutex_unlock(&lot->lock);
    return NULL;
}

enum err http_lot_open(struct http_lot *lot, int64_t timeout_ms) {
    *lot = (struct http_lot){.timeout_ms = timeout_ms};
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&lot->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&lot->lock, NULL);
    if (pthread_create(&lot->thread, NULL, watch, lot) == 0)
        return OK;
    pthread_cond_destroy(&lot->changed);
    pthread_mutex_destroy(&lot->lock);
    return ERR_OUT_OF_MEMORY;
}

bool http_is_gone(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};
    return poll(&poll_fd, 1, 0) > 0;
}

/* Stopped waits stay listed until their connections go on. */
void http_lot_stop_gone(struct http_lot *lot) {
    struct pollfd fds[LOOKED_AT_ONCE];
    struct http_parked *waits[LOOKED_AT_ONCE];
    pthread_mutex_lock(&lot->lock);
    for (struct http_parked *at = lot->waits.first; at;) {
        unsigned count = 0;
        for (; at && count < LOOKED_AT_ONCE; at = at->next) {
            fds[count] = (struct pollfd){.fd = at->fd, .events = POLLRDHUP};
            waits[count++] = at;
        }
        int gone = poll(fds, count, 0);
        for (unsigned i = 0; gone > 0 && i < count; i++)
            if (fds[i].revents)
                waits[i]->stop(waits[i]);
    }
    pthread_mutex_unlock(&lot->lock);
}

void http_lot_stop_waits(struct http_lot *lot) {
    pthread_mutex_lock(&lot->lock);
    lot->stopping = true;
    for (struct http_parked *at = lot->waits.first; at; at = at->next)
        at->stop(at);
    pthread_mutex_unlock(&lot->lock);
}

void http_lot_expire_all(struct http_lot *lot) {
    pthread_mutex_lock(&lot->lock);
    lot->closing = true;
    expire_locked(lot, INT64_MAX);
    while (lot->waits.first)
        expire_one_locked(lot, lot->waits.first);
    pthread_mutex_unlock(&lot->lock);
    while (atomic_load_explicit(&lot->suspended, memory_order_acquire) > 0)
        sched_yield(); /* a waker is between two of its instructions */
}

void http_lot_close(struct http_lot *lot) {
    pthread_mutex_lock(&lot->lock);
    lot->ended = true;
    pthread_cond_signal(&lot->changed);
    pthread_mutex_unlock(&lot->lock);
    pthread_join(lot->thread, NULL);
    pthread_cond_destroy(&lot->changed);
    pthread_mutex_destroy(&lot->lock);
}

void http_park_begin(struct http_parked *parked, struct MHD_Connection *connection) {
    http_park_begin_wait(parked, connection, -1, NULL);
}

void http_park_begin_wait(struct http_parked *parked, struct MHD_Connection *connection, int fd,
                          void (*stop)(struct http_parked *parked)) {
    parked->connection = connection;
    parked->fd = fd;
    parked->stop = stop;
    parked->listed = false;
    atomic_store_explicit(&parked->state, PARK_RUNNING, memory_order_relaxed);
}

enum err http_park(struct http_lot *lot, struct http_parked *parked) {
    enum err err = ERR_PENDING;
    if (atomic_load_explicit(&parked->state, memory_order_acquire) == PARK_DONE)
        return OK;
    pthread_mutex_lock(&lot->lock);
    if (lot->closing) {
        err = move(parked, PARK_RUNNING, PARK_EXPIRED) ? ERR_TIMEOUT : OK;
    } else {
        MHD_suspend_connection(parked->connection);
        parked->lot = lot;
        atomic_fetch_add_explicit(&lot->suspended, 1, memory_order_relaxed);
        if (move(parked, PARK_RUNNING, PARK_SUSPENDED))
            list_locked(lot, parked);
        else /* woken in between: the waker saw nothing to resume */
            resume(lot, parked->connection);
        if (lot->stopping && parked->listed && parked->stop)
            parked->stop(parked);
    }
    pthread_mutex_unlock(&lot->lock);
    return err;
}

enum err http_unpark(struct http_lot *lot, struct http_parked *parked) {
    pthread_mutex_lock(&lot->lock);
    unlist_locked(lot, parked);
    pthread_mutex_unlock(&lot->lock);
    int state = atomic_load_explicit(&parked->state, memory_order_acquire);
    return state == PARK_EXPIRED ? ERR_TIMEOUT : OK;
}

void http_park_leave(struct http_lot *lot, struct http_parked *parked) {
    pthread_mutex_lock(&lot->lock);
    unlist_locked(lot, parked);
    if (move(parked, PARK_SUSPENDED, PARK_EXPIRED))
        atomic_fetch_sub_explicit(&lot->suspended, 1, memory_order_relaxed);
    pthread_mutex_unlock(&lot->lock);
}

void http_park_wake(struct http_parked *parked) {
    if (atomic_exchange_explicit(&parked->state, PARK_DONE, memory_order_acq_rel) == PARK_SUSPENDED)
        resume(parked->lot, parked->connection);
}
