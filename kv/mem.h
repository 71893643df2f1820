/* SPDX-License-Identifier: MIT */
/* Inside of the memory store: shards, and who does what with them.
 *
 *   kv_mem_submit ──> mem_apply.c ──> shard (lock, table, heap) <── mem_keeper.c
 *   kv_mem_get ─────> mem.c ──────────^      │ every key put or dropped     │ expiry, garbage,
 *                                            v                              v building
 *                                     mem_snapshot.c: what was there at a cut
 *                                     mem_listing.c: an index per listed space
 *                                     mem_watch.c: whoever watches one space
 *                                     mem_feed.c: whoever follows a space's changes
 *
 * Locks, outer first: flushing, flush, shard, listings (read), index; a feed's within a shard's. */
#ifndef HATI_KV_MEM_H
#define HATI_KV_MEM_H

#include <pthread.h>

#include "base/cut.h"
#include "kv/feeds.h"
#include "kv/mem_index.h"
#include "kv/mem_table.h"
#include "kv/space.h"
#include "kv/store.h"

#define MEM_SHARDS 2048U
#define MEM_TRIM_BYTES (1U << 20) /* less is not worth giving back to the system */
#define MEM_SHARD_SHIFT 53        /* the shard is the top 11 bits of the hash */

struct mem_shard {
    pthread_mutex_t lock;
    struct mem_table table;
    struct mem_entry **heap; /* entries that expire, soonest first */
    uint32_t heap_count, heap_cap;
    uint32_t hand;        /* slot where eviction looks next */
    uint64_t entry_bytes; /* of the entries, as the allocator counts them */
    uint64_t cut;         /* the last one that its changes have looked at */
    bool pinned;          /* a snapshot points to entries it holds or held */
} __attribute__((aligned(64)));

/* What a flush left behind, freed piece by piece. */
struct mem_garbage {
    struct mem_garbage *next;
    struct mem_slot *slots;
    uint32_t slot_count, at;
};

struct mem_listing {
    struct mem_listing *next;
    uint32_t space;
    _Atomic bool ready, broken;    /* changed beside readers: under the lock that is shared */
    uint32_t shard, slot, version; /* where the building stands */
    int64_t last_used_ms;          /* steady clock */
    struct mem_index *index;
};

struct kv_mem {
    struct mem_shard shards[MEM_SHARDS];
    struct spaces *spaces;
    uint64_t seed;
    uint64_t limit_bytes;
    bool evicts;
    uint32_t watched_space; /* SPACE_NONE, which no entry is in: none is watched */
    const struct kv_watch *watch;
    struct feeds *feeds;
    /* Written by a flush, read by who writes to a space that is followed: whoever follows hears of
     * a flush between two writes. */
    pthread_rwlock_t flushing;
    _Atomic uint64_t revision;
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t high_bytes; /* most that was used since memory was last given back */
    _Atomic uint32_t expiring;   /* entries in heaps */
    _Atomic uint32_t evict_shard;
    _Atomic uint64_t expired, evicted;       /* dropped so far */
    _Atomic(struct mem_snapshot *) snapshot; /* NULL: none is wanted */
    pthread_mutex_t flush_lock;              /* a flush is in a snapshot as a whole */

    pthread_rwlock_t listings_lock;
    struct mem_listing *listings;
    _Atomic uint32_t listing_count;

    pthread_t keeper;
    pthread_mutex_t keeper_lock;
    pthread_cond_t keeper_wake;
    bool stopping;
    bool keeper_called;
    struct mem_garbage *garbage;
    struct kv_list *waiting; /* lists that want an index, oldest first */
    bool keeper_runs;
};

static inline uint64_t mem_hash(const struct kv_mem *mem, uint32_t space, struct slice key) {
    return hash_seeded(key, mem->seed + space * 0x9E3779B97F4A7C15U);
}

static inline struct mem_shard *mem_shard_of(struct kv_mem *mem, uint64_t hash) {
    return &mem->shards[hash >> MEM_SHARD_SHIFT];
}

/* Below so many bytes in use, memory goes back to the system: a quarter of what was used is free.
 */
static inline uint64_t mem_trim_mark(const struct kv_mem *mem) {
    uint64_t high = atomic_load_explicit(&mem->high_bytes, memory_order_relaxed);
    uint64_t mark = high - high / 4;
    return mark > MEM_TRIM_BYTES ? mark - MEM_TRIM_BYTES : 0;
}

static inline bool mem_is_live(const struct mem_entry *entry, int64_t now_ms) {
    return entry->expires_at_ms == 0 || entry->expires_at_ms > now_ms;
}

/* mem_snapshot.c: there was a cut since the shard was looked at: where a snapshot wants what it
 * holds, that is kept. */
void mem_cut_locked(struct kv_mem *mem, struct mem_shard *shard, uint64_t cut);

/* Takes the lock of a shard that is going to be changed (to read, the lock alone will do). */
static inline void mem_shard_lock(struct kv_mem *mem, struct mem_shard *shard) {
    pthread_mutex_lock(&shard->lock);
    uint64_t cut = cut_number();
    if (__builtin_expect(shard->cut != cut, 0))
        mem_cut_locked(mem, shard, cut);
}

/* mem_shard.c: the shard's lock is held. */

/* A new entry, in no table; NULL without memory. Counts its bytes. */
struct mem_entry *mem_entry_new_locked(struct kv_mem *mem, struct mem_shard *shard, uint32_t space,
                                       struct slice key, struct slice type, size_t value_len);
/* Uncounts it, and frees it where no snapshot points to it. */
void mem_entry_free_locked(struct kv_mem *mem, struct mem_shard *shard, struct mem_entry *entry);
/* Room the entry's memory has, header counted. */
size_t mem_entry_room(struct mem_entry *entry);
/* Sets the expiry and its place in the heap. False without memory for the heap. */
bool mem_expire_at_locked(struct kv_mem *mem, struct mem_shard *shard, struct mem_entry *entry,
                          int64_t expires_at_ms);
/* Takes an entry out of table, heap and listings; it is the caller's. Whoever watches hears of it.
 */
struct mem_entry *mem_unlink_locked(struct kv_mem *mem, struct mem_shard *shard,
                                    struct mem_slot *slot);
/* Puts an entry into table and listings (its heap place is mem_expire_at_locked's). Whoever watches
 * hears of it. */
bool mem_link_locked(struct kv_mem *mem, struct mem_shard *shard, uint64_t hash,
                     struct mem_entry *entry);
/* Drops up to `most` entries that have expired; returns how many. */
unsigned mem_sweep_locked(struct kv_mem *mem, struct mem_shard *shard, int64_t now_ms,
                          unsigned most);
/* How many in the heap have expired. */
uint64_t mem_expired_locked(const struct mem_shard *shard, int64_t now_ms);

/* mem_evict.c: makes room for more_bytes under the limit, evicting where that is wanted; false
 * where there is none. No lock held. */
bool mem_make_room(struct kv_mem *mem, uint64_t more_bytes);

/* mem_watch.c */

/* Interns the space that is watched. */
enum err mem_watch_open(struct kv_mem *mem, const struct kv_watch *watch) MUST_USE;
/* A key of the space came or went. The shard's lock is held, or the entry is garbage. */
static inline void mem_watch_note(const struct kv_mem *mem, uint32_t space, struct slice key,
                                  bool came) {
    if (space == mem->watched_space)
        mem->watch->note(mem->watch->context, key, came);
}

/* mem_feed.c */

/* Feeds begin and are told from now on. */
void mem_feed_open(struct kv_mem *mem);
/* The same for one that is followed. */
uint64_t mem_revise_told_locked(struct kv_mem *mem, enum feed_kind kind, struct mem_entry *entry);
/* The revision of a change that stands; the shard's lock is held. */
static inline uint64_t mem_revise_locked(struct kv_mem *mem, enum feed_kind kind,
                                         struct mem_entry *entry) {
    return feeds_follow(mem->feeds, KV_MEMORY, entry->space)
               ? mem_revise_told_locked(mem, kind, entry)
               : atomic_fetch_add_explicit(&mem->revision, 1, memory_order_relaxed) + 1;
}
/* Drops an entry for a reason of the store's own. */
void mem_drop_locked(struct kv_mem *mem, struct mem_shard *shard, struct mem_slot *slot,
                     enum feed_kind kind);

/* mem_listing.c */

/* A key came or went; the shard's lock is held. */
void mem_listing_note(struct kv_mem *mem, uint32_t space, struct slice key, bool added);
/* After a flush: every index is forgotten. No shard lock held. */
void mem_listing_forget_all(struct kv_mem *mem);
/* Answers from the index where there is one. ERR_PENDING where it has to be built first. */
enum err mem_listing_read(struct kv_mem *mem, uint32_t space, struct kv_list *list);
/* A step of building for one waiting list; true where it is built (or cannot be: *ret_err). */
bool mem_listing_build_step(struct kv_mem *mem, uint32_t space, enum err *ret_err);
/* Drops indexes that were not used for a while; true where there were any. */
bool mem_listing_drop_idle(struct kv_mem *mem, int64_t steady_ms);

/* mem_apply.c */

/* Carries out a write: all ops or none. The outcome is in it. No lock held. */
enum err mem_apply(struct kv_mem *mem, struct kv_write *write) MUST_USE;

/* mem_action.c: one op on its shard, whose lock is held. */

/* Where an op's key stands. */
struct mem_target {
    struct mem_shard *shard;
    uint64_t hash;
    uint32_t space;
};

/* How to take one op back. */
struct mem_undo {
    enum { UNDO_NOTHING, UNDO_STORE, UNDO_DROP, UNDO_TOUCH } what;
    struct mem_target target;
    struct mem_entry *fresh; /* UNDO_STORE: what took the place */
    struct mem_entry *old;   /* what stood there; NULL: nothing */
    int64_t old_expires_at_ms;
    uint64_t old_revision;
};

/* Carries one op out, or fails and changes nothing. etag: of op->value where it is longer than
 * MEM_ETAG_FROM. undo NULL: the op stands alone and may write in place. *ret_grow: bytes beyond the
 * limit it would have needed (ERR_OUT_OF_MEMORY). */
enum err mem_act_locked(struct kv_mem *mem, const struct mem_target *target, struct kv_op *op,
                        int64_t now_ms, const uint8_t *etag, struct mem_undo *undo,
                        uint64_t *ret_grow) MUST_USE;
/* Takes it back. */
void mem_undo_locked(struct kv_mem *mem, const struct mem_undo *undo);
/* The op stands: tells of it, and frees what it replaced. */
void mem_keep_locked(struct kv_mem *mem, const struct mem_undo *undo, struct kv_op *op);

/* mem_keeper.c */

/* Starts the thread that drops what has expired, frees what a flush left and builds indexes. */
enum err mem_keeper_start(struct kv_mem *mem) MUST_USE;
/* Ends it; lists that wait are answered first. Blocks. */
void mem_keeper_stop(struct kv_mem *mem);
/* There is something to do. Any thread, any lock of a shard held. */
void mem_keeper_call(struct kv_mem *mem);
/* Hands a list over that needs an index; its done comes from the keeper. */
void mem_keeper_list(struct kv_mem *mem, struct kv_list *list);
/* Hands over what a flush took out. Takes slots and garbage. */
void mem_keeper_free_take(struct kv_mem *mem, struct mem_garbage *garbage);

#endif
