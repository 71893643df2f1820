/* SPDX-License-Identifier: MIT */
/* The applier: moves a frozen generation into LMDB, newest state of each key alone, in key order,
 * in transactions of a bounded size. How far it came is written with the last of a shard; after a
 * crash in between all of it is replayed, which ends in the same state. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "kv/hdd.h"

#define TXN_ENTRIES 32768U
#define TXN_BYTES (64U << 20)
#define IDLE_MS 500
#define FULL_RETRY_MS 500
#define SWEEP_AFTER_MS 60000 /* requests from before an expiry are done by then */

/* A version with the beginning of its key, so that sorting seldom looks at it. */
struct item {
    uint64_t front, behind;
    const struct version *version;
};

struct items {
    struct item *list;
    size_t count;
};

static uint64_t eight_bytes(struct slice key, size_t from) {
    uint64_t number = 0;
    for (size_t i = from; i < from + 8; i++)
        number = number << 8 | (i < key.len ? (uint8_t)key.ptr[i] : 0);
    return number;
}

static int compare_items(const void *a, const void *b) {
    const struct item *x = a;
    const struct item *y = b;
    if (x->version->space != y->version->space)
        return x->version->space < y->version->space ? -1 : 1;
    if (x->front != y->front)
        return x->front < y->front ? -1 : 1;
    if (x->behind != y->behind)
        return x->behind < y->behind ? -1 : 1;
    return slice_compare(version_key(x->version), version_key(y->version));
}

static size_t count_slots(const struct generation *generation) {
    size_t count = 0;
    for (unsigned s = 0; s < RECENT_STRIPES; s++)
        count += generation->tables[s].used;
    return count;
}

/* The shard's newest versions, sorted. Nothing changes a frozen generation. */
static void collect(const struct kv_hdd *hdd, const struct generation *generation, unsigned shard,
                    struct items *items) {
    items->count = 0;
    for (unsigned s = 0; s < RECENT_STRIPES; s++) {
        const struct recent_table *table = &generation->tables[s];
        for (uint32_t i = 0; table->slots && i <= table->mask; i++) {
            const struct version *version = table->slots[i].newest;
            if (!version || version->seq < generation->flush_seq)
                continue;
            struct slice key = version_key(version);
            if (hdd_shard_of(version->space, key, hdd->shard_count) == shard)
                items->list[items->count++] =
                    (struct item){eight_bytes(key, 0), eight_bytes(key, 8), version};
        }
    }
    qsort(items->list, items->count, sizeof *items->list, compare_items);
}

static enum err apply_version(struct env_write *write, const struct version *version) {
    if (version->dead)
        return hdd_pack_delete(write, version->space, version_key(version));
    struct stored stored = {version->seq,         version->expires_at_ms, version->space,
                            version_key(version), version_type(version),  version_value(version),
                            version->sealed};
    return hdd_pack_put(write, &stored);
}

static size_t cost_of(const struct version *version) {
    return sizeof *version + version->key_len + version->type_len + version->value_len;
}

/* Where the transaction that begins at `from` ends. */
static size_t find_end(const struct items *items, size_t from, uint64_t *ret_bytes) {
    uint64_t bytes = 0;
    size_t at = from;
    while (at < items->count && at - from < TXN_ENTRIES && bytes < TXN_BYTES)
        bytes += cost_of(items->list[at++].version);
    *ret_bytes = bytes;
    return at;
}

static enum err write_spaces(struct kv_hdd *hdd, struct env_write *write, uint64_t last_seq) {
    pthread_mutex_lock(&hdd->lock);
    const struct new_space *at = hdd->new_spaces;
    pthread_mutex_unlock(&hdd->lock);
    enum err err = OK;
    while (at && !err && at->seq <= last_seq) {
        err = hdd_pack_space(write, at->space, &at->workspace, slice_make(at->ns, at->ns_len));
        pthread_mutex_lock(&hdd->lock);
        at = at->next;
        pthread_mutex_unlock(&hdd->lock);
    }
    return err;
}

static void forget_spaces(struct kv_hdd *hdd, uint64_t last_seq) {
    pthread_mutex_lock(&hdd->lock);
    while (hdd->new_spaces && hdd->new_spaces->seq <= last_seq) {
        struct new_space *next = hdd->new_spaces->next;
        free(hdd->new_spaces);
        hdd->new_spaces = next;
    }
    if (!hdd->new_spaces)
        hdd->last_new_space = NULL;
    pthread_mutex_unlock(&hdd->lock);
}

/* What stands before the first entry of a shard: spaces (before anything that lives in them is
 * written anywhere), and the flush. */
static enum err write_first(struct kv_hdd *hdd, struct env_write *write, unsigned shard,
                            const struct generation *generation) {
    enum err err = shard == 0 ? write_spaces(hdd, write, generation->last_seq) : OK;
    if (!err && generation->flush_seq) {
        err = env_write_empty(write, ENV_ENTRIES);
        if (!err)
            err = env_write_empty(write, ENV_EXPIRY);
    }
    return err;
}

static enum err write_some(struct kv_hdd *hdd, unsigned shard, const struct generation *generation,
                           const struct items *items, size_t *at) {
    struct env_write *write;
    uint64_t bytes;
    size_t end = find_end(items, *at, &bytes);
    enum err err = env_write_begin(hdd->envs[shard], 4 * bytes, &write);
    if (err)
        return err;
    if (*at == 0)
        err = write_first(hdd, write, shard, generation);
    for (size_t i = *at; !err && i < end; i++)
        err = apply_version(write, items->list[i].version);
    if (!err && end == items->count)
        err = hdd_pack_applied(write, generation->last_seq);
    if (err) {
        env_write_abort(write);
        return err;
    }
    *at = end;
    return env_write_commit(write);
}

enum err hdd_apply(struct kv_hdd *hdd, struct generation *generation) {
    size_t slots = count_slots(generation);
    struct items items = {malloc((slots + 1) * sizeof(struct item)), 0};
    enum err err = items.list ? OK : ERR_OUT_OF_MEMORY;
    for (unsigned shard = 0; !err && shard < hdd->shard_count; shard++) {
        size_t at = 0;
        collect(hdd, generation, shard, &items);
        do
            err = write_some(hdd, shard, generation, &items, &at);
        while (!err && at < items.count);
    }
    free(items.list);
    if (!err)
        forget_spaces(hdd, generation->last_seq);
    return err;
}

static void wait_ms_locked(struct kv_hdd *hdd, int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_cond_timedwait(&hdd->changed, &hdd->lock, &until);
}

static void note_full(struct kv_hdd *hdd, bool full) {
    if (atomic_exchange(&hdd->full, full) == full)
        return;
    pthread_mutex_lock(&hdd->lock);
    pthread_cond_broadcast(&hdd->changed);
    pthread_mutex_unlock(&hdd->lock);
    if (full) {
        log_warn("the disk is full: writes that grow fail until there is room");
        hdd_reserve_give_up(hdd);
    } else {
        log_info("the disk has room again");
        hdd_reserve_make(hdd);
    }
}

/* Until it is applied, or it is of no use to go on; false then. */
static bool apply_frozen(struct kv_hdd *hdd, struct generation *generation) {
    for (;;) {
        enum err err = hdd_apply(hdd, generation);
        if (!err)
            break;
        if (err != ERR_STORAGE_FULL && err != ERR_OUT_OF_MEMORY) {
            hdd_fail(hdd, "LMDB could not be written");
            return false;
        }
        if (err == ERR_STORAGE_FULL)
            note_full(hdd, true);
        pthread_mutex_lock(&hdd->lock);
        bool stopping = hdd->stopping;
        if (!stopping)
            wait_ms_locked(hdd, FULL_RETRY_MS);
        pthread_mutex_unlock(&hdd->lock);
        if (stopping) /* the journal has it */
            return false;
    }
    note_full(hdd, false);
    uint64_t last_seq = generation->last_seq;
    hdd_reserve_measure(hdd);
    if (hdd->cache)
        hdd_cache_renew(hdd->cache, generation);
    recent_retire(&hdd->recent, generation);
    datadir_trim(hdd->datadir, &hdd->store, last_seq);
    pthread_mutex_lock(&hdd->lock);
    hdd->applied_seq = last_seq;
    hdd->frozen = false;
    pthread_cond_broadcast(&hdd->changed);
    pthread_mutex_unlock(&hdd->lock);
    return true;
}

/* Asks the committer to freeze what there is, and waits a while for it. */
static void ask_for_freeze_locked(struct kv_hdd *hdd) {
    if (!hdd->nudging && !hdd->closing) { /* the committer goes away only after closing is set */
        hdd->nudging = true;
        commit_submit(hdd->committer, &hdd->nudge);
    }
    if (!hdd->frozen)
        wait_ms_locked(hdd, IDLE_MS);
}

static void sweep(struct kv_hdd *hdd) {
    bool more = true;
    while (more && !atomic_load(&hdd->dead)) {
        enum err err = hdd_sweep(hdd, clock_wall_ms() - SWEEP_AFTER_MS, &more);
        if (err && err != ERR_STORAGE_FULL && err != ERR_OUT_OF_MEMORY)
            hdd_fail(hdd, "LMDB could not be swept");
        if (err)
            return;
    }
}

/* Waits for a frozen generation; what rests unapplied for a while is asked for. False at the end.
 */
static bool wait_for_work(struct kv_hdd *hdd) {
    pthread_mutex_lock(&hdd->lock);
    uint64_t seen = atomic_load(&hdd->visible_seq);
    while (!hdd->frozen && !hdd->stopping && !atomic_load(&hdd->dead)) {
        if (hdd->wanted_seq > hdd->applied_seq) {
            ask_for_freeze_locked(hdd);
            continue;
        }
        wait_ms_locked(hdd, IDLE_MS);
        uint64_t visible = atomic_load(&hdd->visible_seq);
        if (visible > hdd->applied_seq && visible == seen)
            hdd->wanted_seq = visible;
        seen = visible;
        if (!hdd->frozen && !hdd->stopping) {
            pthread_mutex_unlock(&hdd->lock);
            sweep(hdd);
            pthread_mutex_lock(&hdd->lock);
        }
    }
    bool work = hdd->frozen && !atomic_load(&hdd->dead);
    pthread_mutex_unlock(&hdd->lock);
    return work;
}

static void *apply(void *context) {
    struct kv_hdd *hdd = context;
    while (wait_for_work(hdd))
        if (!apply_frozen(hdd, recent_oldest_frozen(&hdd->recent)))
            break;
    return NULL;
}

void hdd_want_applied(struct kv_hdd *hdd, uint64_t seq) {
    pthread_mutex_lock(&hdd->lock);
    if (hdd->wanted_seq < seq)
        hdd->wanted_seq = seq;
    pthread_cond_broadcast(&hdd->changed);
    pthread_mutex_unlock(&hdd->lock);
}

bool hdd_wait_applied(struct kv_hdd *hdd) {
    uint64_t wanted = atomic_load(&hdd->own_seq);
    pthread_mutex_lock(&hdd->lock);
    if (hdd->wanted_seq < wanted)
        hdd->wanted_seq = wanted;
    pthread_cond_broadcast(&hdd->changed);
    while (hdd->applied_seq < wanted && !hdd->lister_stopping && !atomic_load(&hdd->dead))
        pthread_cond_wait(&hdd->changed, &hdd->lock);
    bool applied = hdd->applied_seq >= wanted;
    pthread_mutex_unlock(&hdd->lock);
    return applied;
}

enum err hdd_applier_start(struct kv_hdd *hdd) {
    hdd->applier_runs = pthread_create(&hdd->applier, NULL, apply, hdd) == 0;
    return hdd->applier_runs ? OK : ERR_OUT_OF_MEMORY;
}

/* With the committer gone, what is left is frozen here; LMDB gets nothing that the journal has not.
 */
void hdd_applier_stop(struct kv_hdd *hdd) {
    pthread_mutex_lock(&hdd->lock);
    hdd->stopping = true;
    pthread_cond_broadcast(&hdd->changed);
    pthread_mutex_unlock(&hdd->lock);
    if (hdd->applier_runs)
        pthread_join(hdd->applier, NULL);
    uint64_t visible = atomic_load(&hdd->visible_seq);
    if (hdd->frozen || visible == hdd->frozen_seq || atomic_load(&hdd->dead) ||
        journal_sync(hdd->journal) || !recent_freeze(&hdd->recent, visible))
        return;
    if (apply_frozen(hdd, recent_oldest_frozen(&hdd->recent)))
        hdd->frozen_seq = visible;
}
