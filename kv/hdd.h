/* SPDX-License-Identifier: MIT */
/* Inside of the durable store.
 *
 *   kv_hdd_submit ──> committer: hdd_commit.c ──> journal, recent writes
 *   kv_hdd_get ─────> hdd_read.c: recent writes, then LMDB
 *   applier: hdd_apply.c: frozen recent writes ──> LMDB ──> journal trimmed; expired entries swept
 *   lister: hdd_list.c: pages and counts, read from LMDB once everything before is applied
 *   feeds: hdd_feed.c: changes are noted by the committer and told when published
 */
#ifndef HATI_KV_HDD_H
#define HATI_KV_HDD_H

#include "journal/datadir.h"
#include "journal/env.h"
#include "kv/feeds.h"
#include "kv/hdd_cache.h"
#include "kv/hdd_recent.h"
#include "kv/hdd_record.h"
#include "kv/space.h"
#include "kv/store.h"

#define HDD_SHARDS_MAX 64U
#define HDD_PATH_BYTES 512

/* A space that LMDB does not know yet. */
struct new_space {
    struct new_space *next;
    uint32_t space;
    uint64_t seq;
    struct uuid workspace;
    uint8_t ns_len;
    char ns[KV_NAMESPACE_MAX];
};

/* A change that is not published yet. */
struct feed_note {
    struct feed_note *next, *prev;
    struct feed *feed;
    struct feed_change change;
    char bytes[]; /* key, value */
};

/* Entries of followed spaces whose time is over soon, soonest first, and how far the index of those
 * in LMDB was gone through. */
struct feed_dues {
    pthread_mutex_t lock; /* of the heap, and what is awaited */
    struct feed_due **heap;
    uint32_t count, cap;
    uint64_t awaited_seq;     /* once so much is in LMDB, so is what is not in the heap; 0: it is */
    int64_t awaited_due_ms;   /* the earliest of that */
    int64_t scanned_ms;       /* wall clock; the keeper's, and what follows */
    int64_t asked_ms;         /* steady clock */
    _Atomic unsigned pending; /* deletes on their way */
};

struct kv_hdd {
    char dir[HDD_PATH_BYTES];
    struct env *envs[HDD_SHARDS_MAX];
    unsigned shard_count;
    struct datadir *datadir;
    bool owns_datadir;
    struct datadir_store store; /* as the datadir knows it */
    struct journal *journal;    /* the datadir's, and so is the committer */
    const struct seal_keys
        *keys; /* the datadir's, by which values are sealed; NULL: they are not */
    struct committer *committer;
    struct spaces *spaces;
    struct recent recent;
    struct hdd_cache *cache; /* NULL: none is wanted */
    uint64_t seed;           /* of hashes in memory */
    uint64_t buffer_bytes;
    void (*fatal)(const char *why);
    void (*progress)(const char *what, uint64_t done, uint64_t total);

    _Atomic uint64_t visible_seq; /* what readers may see */
    _Atomic uint64_t flush_seq;   /* of the last flush they may see: older entries are dead */
    _Atomic uint64_t own_seq;     /* of the last record they may see that is not another store's */
    uint64_t pending_flush_seq;   /* of the last flush at all; the committer's */
    uint64_t pending_own_seq;     /* of the last record put at all; the committer's */
    uint64_t frozen_seq;          /* of the last freeze; the committer's */
    uint64_t frozen_segment;      /* the journal was in then; the committer's */
    uint64_t segments_max;        /* so many may be behind that */
    struct arena scratch;         /* the committer's, for one op */
    struct commit_user user;
    struct commit_user nudge_user;
    struct commit_job nudge; /* wakes the committer, so that it freezes */

    struct feeds *feeds;
    struct commit_user feed_user;
    struct feed_note *first_note, *last_note; /* the committer's */
    struct feed_dues dues;
    _Atomic uint64_t swept_seq; /* visible when expired entries were last dropped untold */

    _Atomic uint64_t free_bytes; /* of LMDB's files, to be used again */
    _Atomic uint64_t expired;    /* entries swept so far */
    bool tight;           /* what waits for LMDB needs all the room there is; the committer's */
    _Atomic bool full;    /* the disk is: writes that grow fail */
    _Atomic bool damaged; /* what LMDB does not find may be there */
    _Atomic bool dead;    /* the store can no longer be believed */

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t changed;
    bool frozen;          /* there is a frozen generation */
    bool nudging;         /* the nudge is with the committer */
    uint64_t applied_seq; /* up to here everything is in LMDB */
    uint64_t wanted_seq;  /* up to here somebody waits for it */
    bool closing;         /* nobody may ask the committer for anything any more */
    bool stopping;
    bool lister_stopping;
    struct new_space *new_spaces, *last_new_space;
    struct kv_list *lists, *last_list;
    struct kv_count *counts, *last_count;
    bool applier_runs, lister_runs, verifier_runs;
    pthread_t applier, lister, verifier;
};

/* Never 0: tables of recent writes know by it which slots were never used. */
static inline uint64_t hdd_hash(const struct kv_hdd *hdd, uint32_t space, struct slice key) {
    uint64_t hash = hash_seeded(key, hdd->seed + space * 0x9E3779B97F4A7C15U);
    return hash ? hash : 1;
}

/* Which LMDB environment an entry lives in, among `count`. */
unsigned hdd_shard_of(uint32_t space, struct slice key, unsigned count);

/* The store can no longer be believed: no write is taken from now on. Any thread. */
void hdd_fail(struct kv_hdd *hdd, const char *why);

/* What is looked for. */
struct hdd_sought {
    uint32_t space;
    const struct kv_ref *ref; /* its names and the key */
    uint64_t visible, flush;
    unsigned want; /* as of kv_get */
    bool as_is;    /* the value as it stands, sealed or not */
    struct arena *arena;
};

/* hdd_read.c: the entry as of `visible` and `flush`, expired or not; as kv_get otherwise.
 * *ret_sealed: a value that is asked for as it is, is sealed. */
enum err hdd_find(struct kv_hdd *hdd, const struct hdd_sought *sought, struct kv_entry *ret_entry,
                  bool *ret_sealed) MUST_USE;

/* hdd_seal.c: values sealed, each bound to its names and content type. */
/* Seals a value: value.len + SEAL_BYTES bytes at `to`. */
void hdd_seal(const struct seal_keys *keys, const struct kv_ref *ref, struct slice type,
              struct slice value, char *to);
/* Opens a sealed value in place, its bytes are the arena's, or, where to is not NULL, there.
 * ERR_CORRUPT, also where it stands under another name than it was sealed for. */
enum err hdd_unseal(const struct seal_keys *keys, const struct kv_ref *ref, struct slice type,
                    struct slice sealed, char *to) MUST_USE;

/* hdd_commit.c */
void hdd_commit_init(struct kv_hdd *hdd);
/* What a datadir asks of a store. context: the kv_hdd. */
void hdd_before(void *context);
void hdd_publish(void *context, uint64_t last_seq);
void hdd_lost(void *context);

/* hdd_replay.c: the committer, and the start before it. */

/* A space that LMDB is to be told of, of a namespace of at most 255 bytes; NULL without memory. */
struct new_space *hdd_new_space(const struct uuid *workspace, struct slice ns);
/* Remembers it, made by the record seq; it is the store's from here on. */
void hdd_note_space(struct kv_hdd *hdd, struct new_space *fresh, uint32_t space, uint64_t seq);
/* Puts the state a record leads to (a touch's is not in the record itself); NULL without memory. */
const struct version *hdd_put_version(struct kv_hdd *hdd, uint64_t seq, const struct record *record,
                                      struct slice type, struct slice value);
/* Takes a record of the journal again. context: the kv_hdd. */
enum err hdd_replay(void *context, uint64_t seq, struct slice record) MUST_USE;

/* hdd_feed.c */
/* Feeds may begin; all is replayed. */
void hdd_feed_open(struct kv_hdd *hdd);
/* Nothing is committed any more. */
void hdd_feed_close(struct kv_hdd *hdd);
/* A state was put that is published later; told by then, unless it is taken back. The committer. */
void hdd_feed_note(struct kv_hdd *hdd, enum feed_kind kind, uint64_t seq,
                   const struct record *record, struct slice value);
/* A change up to seq cannot be told: readers of the space resync. The committer. */
void hdd_feed_lose(struct kv_hdd *hdd, uint32_t space, uint64_t seq);
/* Takes back all notes behind one. The committer. */
void hdd_feed_undo(struct kv_hdd *hdd, const struct feed_note *last);
/* The committer. */
void hdd_feed_publish(struct kv_hdd *hdd, uint64_t last_seq);

/* hdd_feed_due.c: what expires in followed spaces is deleted when its time comes, so that it has a
 * number and is told. */
void hdd_feed_due_note(struct kv_hdd *hdd, struct feed *feed, const struct feed_change *change);
/* What is in LMDB by the time that seq is applied may be due. */
void hdd_feed_due_await(struct kv_hdd *hdd, uint64_t seq, int64_t due_ms);
/* The feeds' keeper. context: the kv_hdd. */
void hdd_feed_due_tick(void *context);
void hdd_feed_due_close(struct kv_hdd *hdd);

/* hdd_apply.c */
/* Asks for everything up to seq to be moved into LMDB soon. Any thread. */
void hdd_want_applied(struct kv_hdd *hdd, uint64_t seq);
enum err hdd_applier_start(struct kv_hdd *hdd) MUST_USE;
/* Applies what is left and ends the thread; the committer is gone. */
void hdd_applier_stop(struct kv_hdd *hdd);
/* Moves one generation into LMDB. */
enum err hdd_apply(struct kv_hdd *hdd, struct generation *generation) MUST_USE;
/* Waits until everything that may be seen now is in LMDB; false where that does not happen. */
bool hdd_wait_applied(struct kv_hdd *hdd);

/* hdd_sweep.c: drops some of what has expired by now_ms; *ret_more where there is more. */
enum err hdd_sweep(struct kv_hdd *hdd, int64_t now_ms, bool *ret_more) MUST_USE;
/* Has the journal another state of the entry, which LMDB does not know yet? */
bool hdd_is_waiting(struct kv_hdd *hdd, const struct stored *stored);
/* How many entries of an environment have expired and were not swept. */
enum err hdd_count_expired(struct env_read *read, int64_t now_ms, uint64_t *ret_count) MUST_USE;

/* hdd_list.c */
enum err hdd_lister_start(struct kv_hdd *hdd) MUST_USE;
void hdd_lister_stop(struct kv_hdd *hdd);

/* hdd_verify.c: a thread that looks at every record once, and sets `damaged`. */
enum err hdd_verifier_start(struct kv_hdd *hdd) MUST_USE;
/* After hdd_lister_stop. */
void hdd_verifier_stop(struct kv_hdd *hdd);

/* hdd_reserve.c: whether what was taken fits, and a file that gives its room to LMDB when the disk
 * is full. */
/* How much of LMDB's files may be used again. The applier. */
void hdd_reserve_measure(struct kv_hdd *hdd);
/* Is there room to move `waiting_bytes` and a bit more into LMDB? */
bool hdd_reserve_is_tight(const struct kv_hdd *hdd, uint64_t waiting_bytes);
void hdd_reserve_make(struct kv_hdd *hdd);
void hdd_reserve_give_up(struct kv_hdd *hdd);

/* hdd_shards.c: opens the environments, rebuilding them where their number changed (wanted 0: it
 * did not); reads what they know: spaces, applied_seq. */
enum err hdd_shards_open(struct kv_hdd *hdd, unsigned wanted, char *ret_why,
                         size_t why_bytes) MUST_USE;
/* How many there are; 0: none yet. */
enum err hdd_shards_read(const char *dir, unsigned *ret_count) MUST_USE;
void hdd_shards_close(struct kv_hdd *hdd);

/* Names in the meta database. */
#define HDD_META_APPLIED SLICE("applied")

/* hdd_pack.c: an entry into a writing transaction, with its place in the expiry index. */
enum err hdd_pack_put(struct env_write *write, const struct stored *stored) MUST_USE;
enum err hdd_pack_delete(struct env_write *write, uint32_t space, struct slice key) MUST_USE;
enum err hdd_pack_applied(struct env_write *write, uint64_t applied_seq) MUST_USE;
enum err hdd_pack_space(struct env_write *write, uint32_t space, const struct uuid *workspace,
                        struct slice ns) MUST_USE;

#endif
