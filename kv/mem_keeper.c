/* SPDX-License-Identifier: MIT */
/* The memory store's own thread: drops what has expired, frees what a flush left, builds indexes
 * for listings, gives memory back to the system. Each step holds one shard's lock for a moment. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "base/clock.h"
#include "kv/mem.h"

#define SWEEP_STEP 64U
#define GARBAGE_STEP 4096U
#define ROUND_MS 100
#define IDLE_ROUND_MS 5000

void mem_keeper_call(struct kv_mem *mem) {
    pthread_mutex_lock(&mem->keeper_lock);
    mem->keeper_called = true;
    pthread_cond_signal(&mem->keeper_wake);
    pthread_mutex_unlock(&mem->keeper_lock);
}

void mem_keeper_list(struct kv_mem *mem, struct kv_list *list) {
    list->next = NULL;
    pthread_mutex_lock(&mem->keeper_lock);
    struct kv_list **end = &mem->waiting;
    while (*end)
        end = &(*end)->next;
    *end = list;
    mem->keeper_called = true;
    pthread_cond_signal(&mem->keeper_wake);
    pthread_mutex_unlock(&mem->keeper_lock);
}

void mem_keeper_free_take(struct kv_mem *mem, struct mem_garbage *garbage) {
    pthread_mutex_lock(&mem->keeper_lock);
    garbage->next = mem->garbage;
    mem->garbage = garbage;
    mem->keeper_called = true;
    pthread_cond_signal(&mem->keeper_wake);
    pthread_mutex_unlock(&mem->keeper_lock);
}

/* Frees some of the garbage; true where there is more. Only this thread takes from the chain. */
static bool free_some(struct kv_mem *mem) {
    pthread_mutex_lock(&mem->keeper_lock);
    struct mem_garbage *garbage = mem->garbage;
    pthread_mutex_unlock(&mem->keeper_lock);
    if (!garbage)
        return false;
    for (unsigned i = 0; i < GARBAGE_STEP && garbage->at < garbage->slot_count; i++) {
        struct mem_entry *entry = garbage->slots[garbage->at++].entry;
        if (!entry || entry == MEM_TOMB)
            continue;
        mem_watch_note(mem, entry->space, mem_entry_key(entry), false);
        free(entry);
    }
    if (garbage->at < garbage->slot_count)
        return true;
    pthread_mutex_lock(&mem->keeper_lock);
    struct mem_garbage **at = &mem->garbage;
    while (*at != garbage) /* others may have come before it */
        at = &(*at)->next;
    *at = garbage->next;
    bool more = mem->garbage != NULL;
    pthread_mutex_unlock(&mem->keeper_lock);
    free(garbage->slots);
    free(garbage);
    return more;
}

static bool sweep_some(struct kv_mem *mem, int64_t now_ms) {
    bool more = false;
    if (atomic_load_explicit(&mem->expiring, memory_order_relaxed) == 0)
        return false;
    for (unsigned i = 0; i < MEM_SHARDS; i++) {
        struct mem_shard *shard = &mem->shards[i];
        mem_shard_lock(mem, shard);
        more |= mem_sweep_locked(mem, shard, now_ms, SWEEP_STEP) == SWEEP_STEP;
        pthread_mutex_unlock(&shard->lock);
    }
    return more;
}

static void answer(struct kv_mem *mem, struct kv_list *list, enum err err) {
    pthread_mutex_lock(&mem->keeper_lock);
    mem->waiting = list->next;
    pthread_mutex_unlock(&mem->keeper_lock);
    list->err = err;
    list->done(list);
}

/* A step for the list that has waited longest; true where more is waiting. */
static bool build_some(struct kv_mem *mem) {
    pthread_mutex_lock(&mem->keeper_lock);
    struct kv_list *list = mem->waiting;
    pthread_mutex_unlock(&mem->keeper_lock);
    if (!list)
        return false;
    uint32_t space = spaces_find(mem->spaces, &list->workspace, list->ns);
    enum err err = OK;
    if (space != SPACE_NONE && !mem_listing_build_step(mem, space, &err))
        return true;
    if (!err && space != SPACE_NONE)
        err = mem_listing_read(mem, space, list);
    if (err != ERR_PENDING)
        answer(mem, list, err);
    return true;
}

static bool round_of(struct kv_mem *mem) {
    bool more = build_some(mem);
    more |= sweep_some(mem, clock_wall_ms());
    more |= free_some(mem);
    bool dropped = mem_listing_drop_idle(mem, clock_steady_ms());
    uint64_t used = atomic_load(&mem->used_bytes);
    if (!more && (dropped || used < mem_trim_mark(mem))) {
        atomic_store(&mem->high_bytes, used);
        malloc_trim(0);
    }
    return more;
}

/* Waits until called; for a while only where something expires or an index may fall idle. */
static void rest_locked(struct kv_mem *mem) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t rest_ms = atomic_load(&mem->expiring) ? ROUND_MS : IDLE_ROUND_MS;
    int64_t ns = until.tv_nsec + rest_ms % 1000 * 1000000;
    until.tv_sec += rest_ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    int waited = 0;
    while (!mem->keeper_called && !mem->stopping && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&mem->keeper_wake, &mem->keeper_lock, &until);
    mem->keeper_called = false;
}

static void *keep(void *context) {
    struct kv_mem *mem = context;
    for (;;) {
        pthread_mutex_lock(&mem->keeper_lock);
        rest_locked(mem);
        bool stopping = mem->stopping;
        pthread_mutex_unlock(&mem->keeper_lock);
        while (round_of(mem)) {
        }
        if (stopping)
            return NULL;
    }
}

enum err mem_keeper_start(struct kv_mem *mem) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&mem->keeper_lock, NULL);
    pthread_cond_init(&mem->keeper_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    mem->keeper_runs = pthread_create(&mem->keeper, NULL, keep, mem) == 0;
    return mem->keeper_runs ? OK : ERR_OUT_OF_MEMORY;
}

void mem_keeper_stop(struct kv_mem *mem) {
    pthread_mutex_lock(&mem->keeper_lock);
    mem->stopping = true;
    pthread_cond_signal(&mem->keeper_wake);
    pthread_mutex_unlock(&mem->keeper_lock);
    if (mem->keeper_runs)
        pthread_join(mem->keeper, NULL);
    pthread_cond_destroy(&mem->keeper_wake);
    pthread_mutex_destroy(&mem->keeper_lock);
}
