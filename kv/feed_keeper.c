/* SPDX-License-Identifier: MIT */
/* The one thread behind all feeds: it wakes readers, so that no writer does; many at once, so that
 * a crowd costs a wake-up each and not one for every change; and sees to it that silent readers
 * hear something now and then. */
#include <errno.h>

#include "base/clock.h"
#include "kv/feeds.h"

#define WAKE_STEP 64U     /* readers taken off a list under one lock */
#define CROWD_PER_MS 200U /* after so many wake-ups a ms of rest: changes gather */
#define CROWD_REST_MAX_MS 50
#define BEAT_ROUND_MS 1000

void feed_keeper_call_locked(struct feed *feed) {
    struct feeds *feeds = feed->feeds;
    if (!feed->first || feed->is_dirty)
        return;
    feed->is_dirty = true;
    atomic_fetch_add(&feed->holds, 1);
    pthread_mutex_lock(&feeds->keeper_lock);
    if (!feeds->dirty)
        pthread_cond_signal(&feeds->keeper_wake);
    feed->next_dirty = feeds->dirty;
    feeds->dirty = feed;
    pthread_mutex_unlock(&feeds->keeper_lock);
}

static void unlist_locked(struct feed *feed, struct feed_reader *reader) {
    if (reader->prev)
        reader->prev->next = reader->next;
    else
        feed->first = reader->next;
    if (reader->next)
        reader->next->prev = reader->prev;
    else
        feed->last_waiting = reader->prev;
    reader->waits = false;
}

void feed_stop(struct feed_reader *reader) {
    struct feed *feed = reader->feed;
    pthread_mutex_lock(&feed->lock);
    bool waited = reader->waits;
    if (waited)
        unlist_locked(feed, reader);
    pthread_mutex_unlock(&feed->lock);
    if (waited)
        reader->wake(reader);
}

/* Wakes up to WAKE_STEP readers that have waited longest, of those that wait since before due_ms
 * where it is not 0; how many. */
static unsigned wake_some(struct feed *feed, int64_t due_ms) {
    struct feed_reader *woken[WAKE_STEP];
    unsigned count = 0;
    pthread_mutex_lock(&feed->lock);
    while (count < WAKE_STEP && feed->first && (!due_ms || feed->first->beat_at_ms <= due_ms)) {
        struct feed_reader *reader = feed->first;
        unlist_locked(feed, reader);
        reader->must_beat = due_ms != 0;
        woken[count++] = reader;
    }
    pthread_mutex_unlock(&feed->lock);
    for (unsigned i = 0; i < count; i++)
        woken[i]->wake(woken[i]);
    return count;
}

/* Who begins to wait again meanwhile is woken for what comes from now on, too. */
static unsigned wake_all(struct feed *feed) {
    unsigned count = 0, some;
    pthread_mutex_lock(&feed->lock);
    feed->is_dirty = false;
    pthread_mutex_unlock(&feed->lock);
    unsigned most = atomic_load_explicit(&feed->feeds->readers, memory_order_relaxed);
    do
        count += some = wake_some(feed, 0);
    while (some == WAKE_STEP && count < most);
    return count;
}

static unsigned wake_dirty(struct feeds *feeds) {
    pthread_mutex_lock(&feeds->keeper_lock);
    struct feed *feed = feeds->dirty;
    feeds->dirty = NULL;
    pthread_mutex_unlock(&feeds->keeper_lock);
    unsigned count = 0;
    while (feed) {
        struct feed *next = feed->next_dirty; /* it may be dirty again as soon as it is woken */
        count += wake_all(feed);
        feed_drop(feed);
        feed = next;
    }
    return count;
}

static void beat(struct feeds *feeds, int64_t now_ms) {
    pthread_rwlock_rdlock(&feeds->table_lock);
    for (unsigned i = 0; i < FEED_HEADS; i++)
        for (struct feed *feed = feeds->names[i]; feed; feed = feed->by_name)
            while (wake_some(feed, now_ms) == WAKE_STEP)
                continue;
    pthread_rwlock_unlock(&feeds->table_lock);
}

static void tick(struct feeds *feeds) {
    for (unsigned i = 0; i < KV_STORAGES; i++)
        if (feeds->sources[i].tick && atomic_load(&feeds->per_storage[i]))
            feeds->sources[i].tick(feeds->sources[i].context);
}

static void wait_ms_locked(struct feeds *feeds, int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_cond_timedwait(&feeds->keeper_wake, &feeds->keeper_lock, &until);
}

/* After a crowd was woken, changes gather for a moment. False at the end. */
static bool rest(struct feeds *feeds, unsigned woken) {
    int64_t rest_ms = woken / CROWD_PER_MS;
    pthread_mutex_lock(&feeds->keeper_lock);
    if (rest_ms) {
        struct timespec pause = {0, (rest_ms < CROWD_REST_MAX_MS ? rest_ms : CROWD_REST_MAX_MS) *
                                        1000000};
        pthread_mutex_unlock(&feeds->keeper_lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&feeds->keeper_lock);
    }
    if (!feeds->dirty && !feeds->stopping) {
        if (atomic_load(&feeds->count))
            wait_ms_locked(feeds, FEED_TICK_MS);
        else
            pthread_cond_wait(&feeds->keeper_wake, &feeds->keeper_lock);
    }
    bool goes_on = !feeds->stopping;
    pthread_mutex_unlock(&feeds->keeper_lock);
    return goes_on;
}

static void *keep(void *context) {
    struct feeds *feeds = context;
    int64_t ticked_ms = 0, beaten_ms = 0;
    unsigned woken = 0;
    while (rest(feeds, woken)) {
        woken = wake_dirty(feeds);
        int64_t now_ms = clock_steady_ms();
        if (now_ms - ticked_ms >= FEED_TICK_MS) {
            ticked_ms = now_ms;
            tick(feeds);
        }
        if (now_ms - beaten_ms >= BEAT_ROUND_MS) {
            beaten_ms = now_ms;
            beat(feeds, now_ms);
            feeds_forget_idle(feeds, now_ms);
        }
    }
    return NULL;
}

enum err feed_keeper_start(struct feeds *feeds) {
    pthread_mutex_lock(&feeds->keeper_lock);
    if (!feeds->keeper_runs && !feeds->stopping)
        feeds->keeper_runs = pthread_create(&feeds->keeper, NULL, keep, feeds) == 0;
    bool runs = feeds->keeper_runs;
    if (runs && !feeds->dirty)
        pthread_cond_signal(&feeds->keeper_wake);
    pthread_mutex_unlock(&feeds->keeper_lock);
    return runs ? OK : ERR_OUT_OF_MEMORY;
}

void feeds_stop(struct feeds *feeds) {
    if (!feeds)
        return;
    pthread_mutex_lock(&feeds->keeper_lock);
    feeds->stopping = true;
    pthread_cond_signal(&feeds->keeper_wake);
    bool runs = feeds->keeper_runs;
    pthread_mutex_unlock(&feeds->keeper_lock);
    if (runs)
        pthread_join(feeds->keeper, NULL);
    feeds->keeper_runs = false;
}

bool feeds_are_stopping(struct feeds *feeds) {
    pthread_mutex_lock(&feeds->keeper_lock);
    bool stopping = feeds->stopping;
    pthread_mutex_unlock(&feeds->keeper_lock);
    return stopping;
}
