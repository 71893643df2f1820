/* SPDX-License-Identifier: MIT */
/* Inside of feeds: what stores tell, and the logs. Locks, outer first: a store's own, the table, a
 * feed's, the keeper's. */
#ifndef HATI_KV_FEEDS_H
#define HATI_KV_FEEDS_H

#include <pthread.h>
#include <stdatomic.h>

#include "kv/feed.h"
#include "kv/space.h"

#define FEED_CHUNK_BYTES 32768U
#define FEED_HEADS 4096U      /* a power of two */
#define FEED_LINGER_MS 600000 /* a log stays so long after its last reader */
#define FEED_IDLE_MAX 64U     /* so many logs may stay */
#define FEED_TICK_MS 250

/* Changes one after another; its bytes never change once they are told. */
struct feed_chunk {
    unsigned holds; /* readers that look at it, and the feed; under the feed's lock */
    uint32_t used, cap;
    uint64_t last_revision;
    char bytes[];
};

enum feed_state { FEED_OPENING, FEED_OPEN, FEED_FAILED };

struct feed {
    struct feeds *feeds;
    struct feed *by_name, *by_space; /* chains of the table */
    enum kv_storage storage;
    struct uuid workspace;
    uint8_t ns_len;
    char ns[KV_NAMESPACE_MAX];
    uint32_t space;         /* SPACE_NONE: the namespace does not exist yet */
    _Atomic unsigned holds; /* readers, and what is on its way to it; 0: may be dropped */
    int64_t idle_since_ms;  /* steady clock; the keeper's */
    struct commit_job job;  /* hdd's, to begin between two of its records */
    void *own;              /* the source's; under the table's lock */
    void (*free_own)(void *own);

    pthread_mutex_t lock; /* what follows */
    enum feed_state state;
    uint64_t floor;             /* all changes behind it are in the log */
    uint64_t last;              /* the last change, or floor where there is none */
    struct feed_chunk **chunks; /* a ring of chunk_cap, by serial */
    uint32_t chunk_cap;
    uint64_t first_serial, next_serial; /* of those there are; the next one's */
    uint64_t bytes;
    struct feed_reader *first, *last_waiting; /* who waits, longest first */
    bool is_dirty;                            /* with the keeper */
    struct feed *next_dirty;
};

/* How a store begins to tell; on the opener's thread, and without locks. It ends in feed_begin, or
 * feed_fail, perhaps later. */
struct feed_source {
    void *context;
    void (*begin)(void *context, struct feed *feed);
    void (*tick)(void *context); /* every FEED_TICK_MS while it has feeds; the keeper. NULL: none */
    const _Atomic uint64_t *newest; /* revision of the storage */
};

struct feeds {
    struct feed_source sources[KV_STORAGES];
    uint64_t limit_bytes;
    unsigned readers_max;
    pthread_rwlock_t table_lock;
    struct feed *names[FEED_HEADS];
    _Atomic(struct feed *) spaces[KV_STORAGES][FEED_HEADS];
    _Atomic unsigned unbound[KV_STORAGES]; /* feeds whose namespace does not exist yet */
    _Atomic unsigned count, per_storage[KV_STORAGES], readers;
    _Atomic uint64_t bytes, changes, resyncs;

    pthread_mutex_t keeper_lock; /* what follows */
    pthread_cond_t keeper_wake;
    struct feed *dirty;
    bool keeper_runs, stopping;
    pthread_t keeper;
};

/* As feed_open. */
enum err feeds_open_reader(struct feeds *feeds, const struct kv_ref *ref, enum feed_from from,
                           uint64_t revision, struct feed_reader *reader) MUST_USE;

/* 0: defaults. NULL without memory. */
struct feeds *feeds_new(uint64_t limit_bytes, unsigned readers_max);
/* Ends the keeper: nobody is woken, nothing ticks any more. No reader is open. */
void feeds_stop(struct feeds *feeds);
void feeds_free(struct feeds *feeds);

/* Does anybody follow the space? A store that asks under a lock which the source's begin takes
 * afterwards misses nobody. Any thread. */
static inline bool feeds_follow(const struct feeds *feeds, enum kv_storage storage,
                                uint32_t space) {
    return atomic_load_explicit(&feeds->per_storage[storage], memory_order_relaxed) &&
           atomic_load_explicit(&feeds->spaces[storage][space & (FEED_HEADS - 1)],
                                memory_order_acquire);
}
/* After a namespace was found or made, before anything is written to it: whoever follows its name
 * follows the space. Any thread. */
void feeds_bind_slow(struct feeds *feeds, const struct kv_ref *ref, uint32_t space);
static inline void feeds_bind(struct feeds *feeds, const struct kv_ref *ref, uint32_t space) {
    if (atomic_load(&feeds->unbound[ref->storage]))
        feeds_bind_slow(feeds, ref, space);
}
/* The same for one feed whose namespace the source found. */
void feed_bind(struct feed *feed, uint32_t space);

/* What the source keeps of it; freed with it. */
void feed_set_own(struct feed *feed, void *own, void (*free_own)(void *own));
/* Calls each for the feeds of a storage, with the table's lock held. Any thread. */
void feeds_each(struct feeds *feeds, enum kv_storage storage,
                void (*each)(struct feed *feed, void *context), void *context);
/* True from feeds_stop on. Any thread. */
bool feeds_are_stopping(struct feeds *feeds);

/* The feed of a space, held (feed_drop), or NULL. Any thread. */
struct feed *feeds_find(struct feeds *feeds, enum kv_storage storage, uint32_t space);
void feed_drop(struct feed *feed);

/* The log holds all changes behind the revision, or behind what the counter says now. Any thread,
 * once. */
void feed_begin(struct feed *feed, const _Atomic uint64_t *counter, uint64_t revision);
/* Changes up to the revision (the counter's next) could not be told: readers resync. Any thread. */
void feed_lose(struct feed *feed, _Atomic uint64_t *counter, uint64_t revision);
/* The same for all of a storage. */
void feeds_lose(struct feeds *feeds, enum kv_storage storage, _Atomic uint64_t *counter);
/* What has just begun may lack something even behind that revision, of what came before. */
void feed_doubt(struct feed *feed);
/* Readers may be told; feed_begin came before. */
void feed_show(struct feed *feed);
void feed_fail(struct feed *feed);

/* Adds a change. counter NULL: the change has its revision (one that is not behind all before was
 * told already); else it gets the counter's next, so that the log is in order whoever adds. Returns
 * the revision. Without memory the log is emptied, and readers resync. Any thread; short. */
uint64_t feed_append(struct feed *feed, _Atomic uint64_t *counter, struct feed_change *change);
/* Tells whoever follows the space; the counter's next revision whether or not somebody does. */
uint64_t feeds_tell(struct feeds *feeds, enum kv_storage storage, uint32_t space,
                    _Atomic uint64_t *counter, struct feed_change *change);
/* A flush, to every feed of the storage. counter as in feed_append, revision without one. */
void feeds_flush(struct feeds *feeds, enum kv_storage storage, _Atomic uint64_t *counter,
                 uint64_t revision);

/* feed_log.c; the feed's lock is held. */
/* Forgets all there is: the log begins behind the revision. */
void feed_log_empty_locked(struct feed *feed, uint64_t revision);
void feed_log_append_locked(struct feed *feed, const struct feed_change *change);
void feed_log_done(struct feed *feed);
struct feed_chunk *feed_log_chunk_locked(const struct feed *feed, uint64_t serial);
void feed_log_let_go_locked(struct feed *feed, struct feed_chunk *chunk);
/* Reads the change at an offset; where the next one begins. */
size_t feed_log_change(const struct feed_chunk *chunk, size_t at, struct feed_change *ret_change);

/* feed_keeper.c */
enum err feed_keeper_start(struct feeds *feeds) MUST_USE;
/* There is news for those who wait. The feed's lock is held. */
void feed_keeper_call_locked(struct feed *feed);
/* feed.c: takes feeds without readers out of the table, for the keeper. */
void feeds_forget_idle(struct feeds *feeds, int64_t steady_ms);

#endif
