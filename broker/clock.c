/* SPDX-License-Identifier: MIT */
/* What happens by time: leases and delays end, messages expire, waits end. One thread sleeps until
 * the earliest of all queues is due; it frees what was thrown away, too. */
#include "base/clock.h"

#include <stdlib.h>

#include "broker/disk.h"
#include "broker/internal.h"

#define STEPS_MAX 512U    /* messages of a queue before others get its lock */
#define SLEEP_MAX_MS 1000 /* the wall clock may be set */
#define BUSY_RETRY_MS 1000
#define NOBODY_SLEEPS (INT64_MIN / 2)
#define JUMP_MS 100 /* between the clocks: less is drift */

int64_t clock_steady_of(const struct broker *broker, int64_t now_ms) {
    return broker->options.manual_clock ? now_ms : clock_steady_ms();
}

/* The wall clock's time of a steady one, as it stands now. */
static int64_t wall_of(const struct broker *broker, int64_t steady_ms) {
    return broker->options.manual_clock ? steady_ms
                                        : steady_ms - clock_steady_ms() + clock_wall_ms();
}

/* Registers a queue's earliest time where the clock would come too late. */
void clock_schedule_locked(struct queue *queue) {
    const struct message *lease = heap_top(&queue->leases);
    const struct message *wait = heap_top(&queue->waits);
    const struct broker_receive *waiter = heap_top(&queue->waiters_due);
    int64_t due_ms = INT64_MAX;
    if (lease && lease->due_ms < due_ms)
        due_ms = lease->due_ms;
    if (wait && wait->due_ms < due_ms)
        due_ms = wait->due_ms;
    if (waiter) {
        int64_t ends_ms = wall_of(queue->broker, waiter->due_ms);
        if (ends_ms < due_ms)
            due_ms = ends_ms;
    }
    if (queue->retry_ms && queue->retry_ms < due_ms)
        due_ms = queue->retry_ms;
    if (due_ms >= queue->scheduled_ms)
        return;
    struct clock *clock = &queue->broker->clock;
    pthread_mutex_lock(&clock->lock);
    bool listed = queue->clock_index != 0;
    heap_remove(&clock->due, queue);
    queue->scheduled_ms = due_ms;
    heap_push(&clock->due, queue);
    if (!listed)
        queue_ref(queue);
    if (due_ms - clock_wall_ms() < clock->sleeps_until_ms - clock_steady_ms())
        pthread_cond_signal(&clock->changed);
    pthread_mutex_unlock(&clock->lock);
}

enum err clock_expect(struct broker *broker) {
    struct clock *clock = &broker->clock;
    pthread_mutex_lock(&clock->lock);
    enum err err = heap_reserve_all(&clock->due, atomic_load(&clock->queue_count) + 1);
    if (!err)
        atomic_fetch_add(&clock->queue_count, 1);
    pthread_mutex_unlock(&clock->lock);
    return err;
}

void clock_forget(struct broker *broker) {
    atomic_fetch_sub(&broker->clock.queue_count, 1); /* the last ones outlive the clock */
}

/* The clock comes by: what was put in meanwhile is not waited for. */
static void unschedule_locked(struct queue *queue) {
    struct clock *clock = &queue->broker->clock;
    pthread_mutex_lock(&clock->lock);
    if (queue->clock_index) {
        heap_remove(&clock->due, queue);
        atomic_fetch_sub_explicit(&queue->refs, 1, memory_order_relaxed);
    }
    queue->scheduled_ms = INT64_MAX;
    pthread_mutex_unlock(&clock->lock);
}

static void end_leases_locked(struct queue *queue, int64_t now_ms, struct effects *effects) {
    struct message *message;
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        message = heap_top(&queue->leases);
        if (!message || message->due_ms > now_ms)
            return;
        if (message->flags & MESSAGE_BUSY) { /* the committer has its ack: that came in time */
            heap_remove(&queue->leases, message);
            message->due_ms = now_ms + BUSY_RETRY_MS;
            heap_push(&queue->leases, message);
            continue;
        }
        lease_end_locked(queue, message, effects);
        lease_settle_locked(queue, message, now_ms, 0, effects);
    }
}

void clock_end_leases_locked(struct queue *queue, int64_t now_ms, struct effects *effects) {
    const struct message *message;
    while ((message = heap_top(&queue->leases)) && message->due_ms <= now_ms)
        end_leases_locked(queue, now_ms, effects);
}

static void end_waits_locked(struct queue *queue, int64_t now_ms, struct effects *effects) {
    struct message *message;
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        message = heap_top(&queue->waits);
        if (!message || message->due_ms > now_ms)
            return;
        heap_remove(&queue->waits, message);
        if (message->state == MESSAGE_READY) {
            lane_remove_locked(queue, message);
        } else {
            queue->delayed--;
        }
        message_place_locked(queue, message, now_ms, effects);
        if (queue_is_hdd(queue) && message->state == MESSAGE_READY)
            disk_note_locked(queue, message);
    }
}

/* What had its last delivery moves on, whatever else holds. */
static void try_again_locked(struct queue *queue, int64_t now_ms, struct effects *effects) {
    if (queue->retry_ms == 0 || queue->retry_ms > now_ms)
        return;
    struct message *next = queue->later;
    queue->retry_ms = 0;
    queue->later = NULL;
    while (next) {
        struct message *message = next;
        next = message->next;
        message->next = NULL;
        queue->delayed--;
        lease_settle_locked(queue, message, now_ms, 0, effects);
    }
}

static void tick(struct queue *queue, int64_t now_ms) {
    struct effects effects;
    effects_init(&effects);
    queue_lock(queue);
    unschedule_locked(queue);
    try_again_locked(queue, now_ms, &effects);
    end_leases_locked(queue, now_ms, &effects);
    end_waits_locked(queue, now_ms, &effects);
    waiter_serve_locked(queue, now_ms, &effects);
    if (queue_is_hdd(queue) && !queue->deleted)
        disk_read_fronts_locked(queue, true); /* the list may have expired as a whole */
    struct broker_receive *receive;
    int64_t steady_ms = clock_steady_of(queue->broker, now_ms);
    while ((receive = heap_top(&queue->waiters_due)) && receive->due_ms <= steady_ms)
        waiter_end_locked(queue, receive, OK, &effects);
    clock_schedule_locked(queue);
    pthread_mutex_unlock(&queue->lock);
    effects_run(queue, &effects);
}

/* The next queue that is due, with the clock's reference; NULL: none. */
static struct queue *take_due_locked(struct clock *clock, int64_t now_ms) {
    struct queue *queue = heap_top(&clock->due);
    if (!queue || queue->scheduled_ms > now_ms)
        return NULL;
    heap_remove(&clock->due, queue);
    return queue;
}

static void run_due(struct broker *broker, int64_t now_ms) {
    struct clock *clock = &broker->clock;
    pthread_mutex_lock(&clock->lock);
    struct queue *queue;
    while ((queue = take_due_locked(clock, now_ms))) {
        pthread_mutex_unlock(&clock->lock);
        tick(queue, now_ms);
        queue_unref(queue);
        pthread_mutex_lock(&clock->lock);
    }
    pthread_mutex_unlock(&clock->lock);
}

/* ---- garbage ---- */

struct garbage *garbage_new(struct queue *queue) {
    struct garbage *garbage = calloc(1, sizeof *garbage);
    if (garbage)
        garbage->queue = queue_ref(queue);
    return garbage;
}

void garbage_throw(struct broker *broker, struct garbage *garbage) {
    struct clock *clock = &broker->clock;
    pthread_mutex_lock(&clock->lock);
    garbage->next = clock->garbage;
    clock->garbage = garbage;
    pthread_cond_signal(&clock->changed);
    pthread_mutex_unlock(&clock->lock);
}

static void free_one_locked(struct queue *queue, struct message *message) {
    if (queue_is_hdd(queue)) {
        disk_throw_locked(queue, message);
        return;
    }
    known_remove(queue, message);
    queue_count_bytes(queue, message, false);
    message_free(message);
}

/* Frees some of it; true where there is more. A ready message that expires is in a list or heap of
 * its lane and in `waits`: from the waits only those go that are nowhere else. */
static bool free_some_locked(struct garbage *garbage) {
    struct queue *queue = garbage->queue;
    unsigned steps = 0;
    while (garbage->heap_count) {
        struct heap *heap = &garbage->heaps[garbage->heap_count - 1];
        while (heap->count) {
            if (steps++ == STEPS_MAX)
                return true;
            struct message *message = heap->items[--heap->count];
            bool is_waits = heap->key_at == offsetof(struct message, due_ms);
            if (!is_waits || message->state != MESSAGE_READY)
                free_one_locked(queue, message);
        }
        heap_done(heap);
        garbage->heap_count--;
    }
    while (garbage->list_count) {
        struct message **list = &garbage->lists[garbage->list_count - 1];
        while (*list) {
            if (steps++ == STEPS_MAX)
                return true;
            struct message *message = *list;
            *list = message->next;
            free_one_locked(queue, message);
        }
        garbage->list_count--;
    }
    return false;
}

void garbage_free_locked(struct garbage *garbage) {
    while (free_some_locked(garbage)) {
    }
}

/* The waits heap was put in last, so it is gone through before what it points to is freed. */
static void free_garbage(struct garbage *garbage) {
    bool more = true;
    while (more) {
        queue_lock(garbage->queue);
        more = free_some_locked(garbage);
        pthread_mutex_unlock(&garbage->queue->lock);
    }
    queue_unref(garbage->queue);
    free(garbage);
}

void garbage_free_all(struct broker *broker) {
    struct clock *clock = &broker->clock;
    for (;;) {
        pthread_mutex_lock(&clock->lock);
        struct garbage *garbage = clock->garbage;
        if (garbage)
            clock->garbage = garbage->next;
        pthread_mutex_unlock(&clock->lock);
        if (!garbage)
            return;
        free_garbage(garbage);
    }
}

/* ---- the thread ---- */

int64_t clock_now_ms(const struct broker *broker) {
    int64_t manual_ms = broker->options.manual_clock ? atomic_load(&broker->clock.manual_ms) : 0;
    return manual_ms ? manual_ms : clock_wall_ms();
}

void broker_tick(struct broker *broker, int64_t now_ms) {
    atomic_store(&broker->clock.manual_ms, now_ms);
    run_due(broker, now_ms);
    garbage_free_all(broker);
}

static void sleep_locked(struct clock *clock) {
    const struct queue *queue = heap_top(&clock->due);
    int64_t now_ms = clock_wall_ms();
    int64_t left_ms = queue ? queue->scheduled_ms - now_ms : SLEEP_MAX_MS;
    if (left_ms <= 0 || clock->garbage)
        return;
    if (left_ms > SLEEP_MAX_MS)
        left_ms = SLEEP_MAX_MS;
    clock->sleeps_until_ms = clock_steady_ms() + left_ms;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += left_ms / 1000;
    until.tv_nsec += left_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&clock->changed, &clock->lock, &until);
    clock->sleeps_until_ms = NOBODY_SLEEPS;
}

static void schedule_again(void *context, struct slice name, void *value) {
    (void)context, (void)name;
    struct queue *queue = value;
    queue_lock(queue);
    clock_schedule_locked(queue);
    pthread_mutex_unlock(&queue->lock);
}

/* Where the wall clock was set back, waits are over earlier by it than they were put in for. */
static void follow_wall(struct broker *broker) {
    struct clock *clock = &broker->clock;
    int64_t ahead_ms = clock_wall_ms() - clock_steady_ms();
    int64_t jump_ms = ahead_ms - clock->wall_ahead_ms;
    if (jump_ms > -JUMP_MS && jump_ms < JUMP_MS)
        return;
    clock->wall_ahead_ms = ahead_ms;
    if (jump_ms > 0)
        return;
    pthread_rwlock_rdlock(&broker->topology);
    names_each(&broker->queues, schedule_again, NULL);
    pthread_rwlock_unlock(&broker->topology);
}

static void *run(void *context) {
    struct broker *broker = context;
    struct clock *clock = &broker->clock;
    clock->wall_ahead_ms = clock_wall_ms() - clock_steady_ms();
    pthread_mutex_lock(&clock->lock);
    while (!clock->stopping) {
        sleep_locked(clock);
        pthread_mutex_unlock(&clock->lock);
        follow_wall(broker);
        broker_tick(broker, clock_wall_ms());
        pthread_mutex_lock(&clock->lock);
    }
    pthread_mutex_unlock(&clock->lock);
    return NULL;
}

void clock_open(struct broker *broker) {
    struct clock *clock = &broker->clock;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&clock->lock, NULL);
    pthread_cond_init(&clock->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    heap_init(&clock->due, offsetof(struct queue, scheduled_ms),
              offsetof(struct queue, clock_index));
    clock->sleeps_until_ms = NOBODY_SLEEPS;
}

enum err clock_start(struct broker *broker) {
    struct clock *clock = &broker->clock;
    broker_tick(broker, clock_wall_ms()); /* what came due while nothing ran, before any caller */
    clock->runs = pthread_create(&clock->thread, NULL, run, broker) == 0;
    return clock->runs ? OK : ERR_OUT_OF_MEMORY;
}

void clock_stop(struct broker *broker) {
    struct clock *clock = &broker->clock;
    pthread_mutex_lock(&clock->lock);
    clock->stopping = true;
    pthread_cond_signal(&clock->changed);
    pthread_mutex_unlock(&clock->lock);
    if (clock->runs)
        pthread_join(clock->thread, NULL);
    clock->runs = false;
}

void clock_close(struct broker *broker) {
    struct clock *clock = &broker->clock;
    garbage_free_all(broker);
    struct queue *queue;
    while ((queue = heap_top(&clock->due))) {
        heap_remove(&clock->due, queue);
        queue_unref(queue);
    }
    heap_done(&clock->due);
    pthread_cond_destroy(&clock->changed);
    pthread_mutex_destroy(&clock->lock);
}
