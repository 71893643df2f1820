/* SPDX-License-Identifier: MIT */
/* Which namespaces have feeds, what stores tell them, and where readers stand. */
#include <stdlib.h>

#include "base/clock.h"
#include "kv/feeds.h"

struct feeds *feeds_new(uint64_t limit_bytes, unsigned readers_max) {
    struct feeds *feeds = calloc(1, sizeof *feeds);
    if (!feeds)
        return NULL;
    feeds->limit_bytes = limit_bytes ? limit_bytes : FEED_BYTES_DEFAULT;
    feeds->readers_max = readers_max ? readers_max : FEED_READERS_DEFAULT;
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr); /* writers of keys are many: who opens a feed comes first */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&feeds->table_lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&feeds->keeper_lock, NULL);
    pthread_cond_init(&feeds->keeper_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return feeds;
}

static void free_feed(struct feed *feed) {
    if (feed->free_own)
        feed->free_own(feed->own);
    feed_log_done(feed);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}

void feeds_free(struct feeds *feeds) {
    if (!feeds)
        return;
    for (unsigned i = 0; i < FEED_HEADS; i++)
        while (feeds->names[i]) {
            struct feed *feed = feeds->names[i];
            feeds->names[i] = feed->by_name;
            free_feed(feed);
        }
    pthread_cond_destroy(&feeds->keeper_wake);
    pthread_mutex_destroy(&feeds->keeper_lock);
    pthread_rwlock_destroy(&feeds->table_lock);
    free(feeds);
}

/* ---- the table ---- */

static struct feed **head_of(struct feeds *feeds, const struct uuid *workspace, struct slice ns) {
    uint64_t seed = hash_seeded(slice_make(workspace, sizeof *workspace), hash_process_seed());
    return &feeds->names[hash_seeded(ns, seed) & (FEED_HEADS - 1)];
}

static struct feed *find_name_locked(struct feeds *feeds, const struct kv_ref *ref) {
    struct feed *feed = *head_of(feeds, &ref->workspace, ref->ns);
    while (feed && !(feed->storage == ref->storage &&
                     memcmp(&feed->workspace, &ref->workspace, sizeof feed->workspace) == 0 &&
                     slice_equal(slice_make(feed->ns, feed->ns_len), ref->ns)))
        feed = feed->by_name;
    return feed;
}

static void bind_locked(struct feed *feed, uint32_t space) {
    struct feeds *feeds = feed->feeds;
    if (feed->space != SPACE_NONE)
        return;
    _Atomic(struct feed *) *head = &feeds->spaces[feed->storage][space & (FEED_HEADS - 1)];
    feed->space = space;
    feed->by_space = atomic_load_explicit(head, memory_order_relaxed);
    atomic_store(head, feed);
    atomic_fetch_sub(&feeds->unbound[feed->storage], 1);
}

void feed_bind(struct feed *feed, uint32_t space) {
    pthread_rwlock_wrlock(&feed->feeds->table_lock);
    bind_locked(feed, space);
    pthread_rwlock_unlock(&feed->feeds->table_lock);
}

void feeds_bind_slow(struct feeds *feeds, const struct kv_ref *ref, uint32_t space) {
    pthread_rwlock_rdlock(&feeds->table_lock);
    const struct feed *feed = find_name_locked(feeds, ref);
    bool wanted = feed && feed->space == SPACE_NONE;
    pthread_rwlock_unlock(&feeds->table_lock);
    if (!wanted)
        return;
    pthread_rwlock_wrlock(&feeds->table_lock);
    struct feed *now = find_name_locked(feeds, ref);
    if (now)
        bind_locked(now, space);
    pthread_rwlock_unlock(&feeds->table_lock);
}

void feed_set_own(struct feed *feed, void *own, void (*free_own)(void *own)) {
    pthread_rwlock_wrlock(&feed->feeds->table_lock);
    feed->own = own;
    feed->free_own = free_own;
    pthread_rwlock_unlock(&feed->feeds->table_lock);
}

void feeds_each(struct feeds *feeds, enum kv_storage storage,
                void (*each)(struct feed *feed, void *context), void *context) {
    pthread_rwlock_rdlock(&feeds->table_lock);
    for (unsigned i = 0; i < FEED_HEADS; i++)
        for (struct feed *feed = feeds->names[i]; feed; feed = feed->by_name)
            if (feed->storage == storage)
                each(feed, context);
    pthread_rwlock_unlock(&feeds->table_lock);
}

struct feed *feeds_find(struct feeds *feeds, enum kv_storage storage, uint32_t space) {
    pthread_rwlock_rdlock(&feeds->table_lock);
    struct feed *feed = atomic_load_explicit(&feeds->spaces[storage][space & (FEED_HEADS - 1)],
                                             memory_order_relaxed);
    while (feed && feed->space != space)
        feed = feed->by_space;
    if (feed)
        atomic_fetch_add(&feed->holds, 1);
    pthread_rwlock_unlock(&feeds->table_lock);
    return feed;
}

void feed_drop(struct feed *feed) {
    atomic_fetch_sub(&feed->holds, 1);
}

static struct feed *add_feed_locked(struct feeds *feeds, const struct kv_ref *ref) {
    struct feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return NULL;
    feed->feeds = feeds;
    feed->storage = ref->storage;
    feed->workspace = ref->workspace;
    feed->ns_len = (uint8_t)ref->ns.len;
    memcpy(feed->ns, ref->ns.ptr, ref->ns.len);
    feed->space = SPACE_NONE;
    pthread_mutex_init(&feed->lock, NULL);
    struct feed **head = head_of(feeds, &ref->workspace, ref->ns);
    feed->by_name = *head;
    *head = feed;
    atomic_fetch_add(&feeds->unbound[feed->storage], 1);
    atomic_fetch_add(&feeds->per_storage[feed->storage], 1);
    atomic_fetch_add(&feeds->count, 1);
    return feed;
}

static void take_out_locked(struct feeds *feeds, struct feed *feed) {
    struct feed **at = head_of(feeds, &feed->workspace, slice_make(feed->ns, feed->ns_len));
    while (*at != feed)
        at = &(*at)->by_name;
    *at = feed->by_name;
    _Atomic(struct feed *) *head = &feeds->spaces[feed->storage][feed->space & (FEED_HEADS - 1)];
    if (feed->space == SPACE_NONE) {
        atomic_fetch_sub(&feeds->unbound[feed->storage], 1);
    } else if (atomic_load(head) == feed) {
        atomic_store(head, feed->by_space);
    } else {
        struct feed *before = atomic_load(head);
        while (before->by_space != feed)
            before = before->by_space;
        before->by_space = feed->by_space;
    }
    atomic_fetch_sub(&feeds->per_storage[feed->storage], 1);
    atomic_fetch_sub(&feeds->count, 1);
}

/* Feeds that failed go at once, so that the next reader tries anew. */
void feeds_forget_idle(struct feeds *feeds, int64_t steady_ms) {
    unsigned idle = 0;
    pthread_rwlock_wrlock(&feeds->table_lock);
    for (unsigned i = 0; i < FEED_HEADS; i++)
        for (struct feed *next, *feed = feeds->names[i]; feed; feed = next) {
            next = feed->by_name;
            if (atomic_load(&feed->holds)) {
                feed->idle_since_ms = 0;
                continue;
            }
            if (!feed->idle_since_ms)
                feed->idle_since_ms = steady_ms;
            if (feed->state == FEED_FAILED || ++idle > FEED_IDLE_MAX ||
                steady_ms - feed->idle_since_ms > FEED_LINGER_MS) {
                take_out_locked(feeds, feed);
                free_feed(feed);
            }
        }
    pthread_rwlock_unlock(&feeds->table_lock);
}

/* ---- what stores tell ---- */

void feed_begin(struct feed *feed, const _Atomic uint64_t *counter, uint64_t revision) {
    pthread_mutex_lock(&feed->lock);
    feed_log_empty_locked(feed, counter ? atomic_load(counter) : revision);
    pthread_mutex_unlock(&feed->lock);
}

void feed_doubt(struct feed *feed) {
    pthread_mutex_lock(&feed->lock);
    feed->floor++;
    pthread_mutex_unlock(&feed->lock);
}

void feed_lose(struct feed *feed, _Atomic uint64_t *counter, uint64_t revision) {
    pthread_mutex_lock(&feed->lock);
    feed_log_empty_locked(feed, counter ? atomic_fetch_add(counter, 1) + 1 : revision);
    feed_keeper_call_locked(feed);
    pthread_mutex_unlock(&feed->lock);
}

static void set_state(struct feed *feed, enum feed_state state) {
    pthread_mutex_lock(&feed->lock);
    feed->state = state;
    feed_keeper_call_locked(feed);
    pthread_mutex_unlock(&feed->lock);
}

void feed_show(struct feed *feed) {
    set_state(feed, FEED_OPEN);
}

void feed_fail(struct feed *feed) {
    set_state(feed, FEED_FAILED);
}

uint64_t feed_append(struct feed *feed, _Atomic uint64_t *counter, struct feed_change *change) {
    if (change->kind == FEED_SET) {
        change->value_bytes = change->value.len;
        if (change->value.len > FEED_VALUE_MAX)
            change->value = (struct slice){NULL, 0};
        else if (!change->value.ptr)
            change->value = SLICE("");
    }
    pthread_mutex_lock(&feed->lock);
    if (counter)
        change->revision = atomic_fetch_add_explicit(counter, 1, memory_order_relaxed) + 1;
    bool is_new = change->revision > feed->last;
    if (is_new)
        feed_log_append_locked(feed, change);
    if (is_new)
        feed_keeper_call_locked(feed);
    pthread_mutex_unlock(&feed->lock);
    atomic_fetch_add_explicit(&feed->feeds->changes, 1, memory_order_relaxed);
    return change->revision;
}

uint64_t feeds_tell(struct feeds *feeds, enum kv_storage storage, uint32_t space,
                    _Atomic uint64_t *counter, struct feed_change *change) {
    struct feed *feed = feeds_find(feeds, storage, space);
    if (!feed)
        return atomic_fetch_add_explicit(counter, 1, memory_order_relaxed) + 1;
    uint64_t revision = feed_append(feed, counter, change);
    feed_drop(feed);
    return revision;
}

void feeds_lose(struct feeds *feeds, enum kv_storage storage, _Atomic uint64_t *counter) {
    if (!atomic_load(&feeds->per_storage[storage]))
        return;
    pthread_rwlock_rdlock(&feeds->table_lock);
    for (unsigned i = 0; i < FEED_HEADS; i++)
        for (struct feed *feed = feeds->names[i]; feed; feed = feed->by_name)
            if (feed->storage == storage)
                feed_lose(feed, counter, 0);
    pthread_rwlock_unlock(&feeds->table_lock);
}

void feeds_flush(struct feeds *feeds, enum kv_storage storage, _Atomic uint64_t *counter,
                 uint64_t revision) {
    if (!atomic_load(&feeds->per_storage[storage]))
        return;
    pthread_rwlock_rdlock(&feeds->table_lock);
    for (unsigned i = 0; i < FEED_HEADS; i++)
        for (struct feed *feed = feeds->names[i]; feed; feed = feed->by_name) {
            struct feed_change change = {.kind = FEED_FLUSH, .revision = revision};
            if (feed->storage == storage)
                (void)feed_append(feed, counter, &change);
        }
    pthread_rwlock_unlock(&feeds->table_lock);
}

/* ---- readers ---- */

static enum err hold_feed(struct feeds *feeds, const struct kv_ref *ref, struct feed **ret_feed,
                          bool *ret_fresh) {
    pthread_rwlock_wrlock(&feeds->table_lock);
    struct feed *feed = find_name_locked(feeds, ref);
    *ret_fresh = !feed;
    if (!feed)
        feed = add_feed_locked(feeds, ref);
    if (feed)
        atomic_fetch_add(&feed->holds, 1);
    pthread_rwlock_unlock(&feeds->table_lock);
    *ret_feed = feed;
    return feed ? OK : ERR_OUT_OF_MEMORY;
}

enum err feeds_open_reader(struct feeds *feeds, const struct kv_ref *ref, enum feed_from from,
                           uint64_t revision, struct feed_reader *reader) {
    bool fresh;
    if (!feeds->sources[ref->storage].begin)
        return ERR_UNAVAILABLE;
    if (atomic_fetch_add(&feeds->readers, 1) >= feeds->readers_max) {
        atomic_fetch_sub(&feeds->readers, 1);
        return ERR_UNAVAILABLE;
    }
    enum err err = hold_feed(feeds, ref, &reader->feed, &fresh);
    if (!err && feed_keeper_start(feeds)) { /* it rests without end while there are no feeds */
        if (fresh)
            feed_fail(reader->feed);
        feed_drop(reader->feed);
        err = ERR_OUT_OF_MEMORY;
    }
    if (err) {
        atomic_fetch_sub(&feeds->readers, 1);
        return err;
    }
    reader->from = from;
    reader->from_revision = revision;
    reader->placed = reader->waits = reader->must_beat = false;
    if (fresh)
        feeds->sources[ref->storage].begin(feeds->sources[ref->storage].context, reader->feed);
    return OK;
}

void feed_close(struct feed_reader *reader) {
    struct feeds *feeds = reader->feed->feeds;
    feed_drop(reader->feed);
    reader->feed = NULL;
    atomic_fetch_sub(&feeds->readers, 1);
}

static void place_at_end_locked(struct feed_reader *reader) {
    const struct feed *feed = reader->feed;
    const struct feed_chunk *chunk = feed->next_serial > feed->first_serial
                                         ? feed_log_chunk_locked(feed, feed->next_serial - 1)
                                         : NULL;
    reader->serial = chunk ? feed->next_serial - 1 : feed->next_serial;
    reader->at = chunk ? chunk->used : 0;
    reader->revision = feed->last;
    reader->placed = true;
}

static enum feed_news resync_locked(struct feed_reader *reader) {
    place_at_end_locked(reader);
    atomic_fetch_add_explicit(&reader->feed->feeds->resyncs, 1, memory_order_relaxed);
    return FEED_RESYNC;
}

/* Stands behind the last change up to the revision, which is not before the floor. */
static void place_behind_locked(struct feed_reader *reader, uint64_t revision) {
    const struct feed *feed = reader->feed;
    reader->serial = feed->first_serial;
    reader->at = 0;
    reader->revision = feed->floor;
    reader->placed = true;
    const struct feed_chunk *chunk = feed_log_chunk_locked(feed, reader->serial);
    while (chunk && chunk->last_revision <= revision) {
        reader->revision = chunk->last_revision;
        reader->at = chunk->used;
        const struct feed_chunk *next = feed_log_chunk_locked(feed, reader->serial + 1);
        if (!next)
            return;
        chunk = next;
        reader->serial++;
        reader->at = 0;
    }
    while (chunk && reader->at < chunk->used) {
        struct feed_change change;
        size_t behind = feed_log_change(chunk, reader->at, &change);
        if (change.revision > revision)
            return;
        reader->revision = change.revision;
        reader->at = behind;
    }
}

static enum feed_news place_locked(struct feed_reader *reader) {
    const struct feed *feed = reader->feed;
    uint64_t newest =
        atomic_load_explicit(feed->feeds->sources[feed->storage].newest, memory_order_acquire);
    uint64_t from = reader->from_revision;
    if (reader->from == FEED_FROM_NOW) {
        place_at_end_locked(reader);
        return FEED_READY;
    }
    if (from < feed->floor || (from > newest && from > feed->last))
        return resync_locked(reader);
    place_behind_locked(reader, from);
    /* an id is one of this log's: another is of a store that is no more */
    return reader->from == FEED_FROM_ID && reader->revision != from ? resync_locked(reader)
                                                                    : FEED_READY;
}

static void wait_locked(struct feed_reader *reader) {
    struct feed *feed = reader->feed;
    reader->waits = true;
    reader->beat_at_ms = clock_steady_ms() + FEED_BEAT_MS;
    reader->next = NULL;
    reader->prev = feed->last_waiting;
    if (feed->last_waiting)
        feed->last_waiting->next = reader;
    else
        feed->first = reader;
    feed->last_waiting = reader;
}

/* The chunk where the next change is, or NULL: there is none, or it is gone (*ret_lost). */
static struct feed_chunk *find_next_locked(struct feed_reader *reader, bool *ret_lost) {
    const struct feed *feed = reader->feed;
    *ret_lost = false;
    if (reader->serial < feed->first_serial) {
        *ret_lost = reader->revision < feed->floor;
        reader->serial = feed->first_serial;
        reader->at = 0;
    }
    struct feed_chunk *chunk = feed_log_chunk_locked(feed, reader->serial);
    if (chunk && reader->at == chunk->used && reader->serial + 1 < feed->next_serial) {
        chunk = feed_log_chunk_locked(feed, ++reader->serial);
        reader->at = 0;
    }
    return chunk && reader->at < chunk->used ? chunk : NULL;
}

static void show(struct feed_reader *reader, const struct feed_chunk *chunk, size_t end,
                 bool (*each)(void *context, const struct feed_change *change), void *context) {
    bool more = true;
    while (more && reader->at < end) {
        struct feed_change change;
        reader->at = feed_log_change(chunk, reader->at, &change);
        reader->revision = change.revision;
        if (change.kind == FEED_FLUSH || slice_starts_with(change.key, reader->prefix))
            more = each(context, &change);
    }
}

enum feed_news feed_read(struct feed_reader *reader,
                         bool (*each)(void *context, const struct feed_change *change),
                         void *context) {
    struct feed *feed = reader->feed;
    struct feed_chunk *chunk = NULL;
    enum feed_news news = FEED_CHANGES;
    size_t end = 0;
    bool lost = false;
    pthread_mutex_lock(&feed->lock);
    if (feed->state == FEED_OPEN && reader->placed)
        chunk = find_next_locked(reader, &lost);
    if (feed->state == FEED_FAILED)
        news = FEED_OVER;
    else if (feed->state == FEED_OPEN && !reader->placed)
        news = place_locked(reader);
    else if (lost)
        news = resync_locked(reader);
    else if (!chunk)
        news = reader->must_beat ? FEED_BEAT : FEED_WAIT;
    if (news == FEED_CHANGES) {
        chunk->holds++;
        end = chunk->used;
    } else if (news == FEED_WAIT) {
        wait_locked(reader);
    } else if (news == FEED_BEAT && reader->placed) {
        reader->revision = feed->last;
    }
    reader->must_beat = false;
    pthread_mutex_unlock(&feed->lock);
    if (news != FEED_CHANGES)
        return news;
    show(reader, chunk, end, each, context);
    pthread_mutex_lock(&feed->lock);
    feed_log_let_go_locked(feed, chunk);
    pthread_mutex_unlock(&feed->lock);
    return news;
}
