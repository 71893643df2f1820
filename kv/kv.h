/* SPDX-License-Identifier: MIT */
/* The front of the key/value store: what an operation may ask of entries, whichever store holds
 * them. `memory` answers at once; a write to `hdd` is answered when it would survive a power cut.
 */
#ifndef HATI_KV_KV_H
#define HATI_KV_KV_H

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/position.h"
#include "base/slice.h"
#include "base/text.h"
#include "journal/committer.h"

#define KV_KEY_MAX 4096      /* bytes of a key */
#define KV_NAMESPACE_MAX 255 /* bytes of a namespace */
#define KV_CONTENT_TYPE_MAX 255
#define KV_BATCH_MAX 1000

enum kv_storage { KV_MEMORY, KV_HDD, KV_STORAGES };

/* Where an entry stands. Namespace and key were checked at the door: lengths, UTF-8, no NUL. */
struct kv_ref {
    enum kv_storage storage;
    struct uuid workspace;
    struct slice ns;
    struct slice key;
};

/* An entry as a read gives it; slices live in the arena that was given. */
struct kv_entry {
    struct slice value;
    struct slice content_type; /* empty: the default */
    uint64_t revision;
    int64_t expires_at_ms; /* wall clock; 0: never */
    uint8_t etag[HASH_MD5_BYTES];
};

enum kv_want { KV_WANT_VALUE = 1, KV_WANT_ETAG = 2, KV_WANT_TYPE = 4, KV_WANT_ALL = 7 };

enum kv_action {
    KV_SET,
    KV_DELETE,    /* absent is no failure: existed tells */
    KV_INCREMENT, /* value is a signed 64-bit decimal; absent counts as 0; keeps expiry and type */
    KV_TOUCH,     /* sets the expiry alone; ERR_KEY_NOT_EXIST where absent */
    KV_CHECK,     /* the condition alone */
    KV_FLUSH_ALL  /* every workspace and namespace of the storage; ref's other parts unused */
};

enum kv_condition {
    KV_ALWAYS,
    KV_IF_ABSENT,
    KV_IF_PRESENT,
    KV_IF_ETAG,    /* present, and its ETag is one of etags */
    KV_IF_REVISION /* present, and has this revision */
};

/* One change and its outcome. A condition that fails is ERR_PRECONDITION_FAILED. */
struct kv_op {
    enum kv_action action;
    enum kv_condition condition;
    struct kv_ref ref;
    struct slice value;        /* KV_SET */
    struct slice content_type; /* KV_SET */
    int64_t ttl_ms;            /* KV_SET, KV_TOUCH: 0 never expires */
    int64_t by;                /* KV_INCREMENT */
    uint64_t if_revision;
    const uint8_t (*etags)[HASH_MD5_BYTES];
    unsigned etag_count;
    const uint8_t *value_etag; /* KV_SET: the value's MD5 where the caller has it; else NULL */
    bool want_existed;         /* KV_SET: existed is wanted, which hdd has to look for */
    bool is_expiry;            /* KV_DELETE, a store's own: the entry's time is over */
    /* outcome */
    enum err err;
    bool existed;      /* there was a live entry before (a KV_SET on hdd with neither condition nor
                          want_existed does not look: false) */
    uint64_t revision; /* of the entry as written */
    int64_t number;    /* KV_INCREMENT: the new number */
};

/* Changes that go together: all in order, or (on hdd) none. The caller owns it and all it points
 * to until kv_submit returned other than ERR_PENDING, or until done was called. */
struct kv_write {
    struct kv_op *ops;
    unsigned op_count; /* 1 to KV_BATCH_MAX, all on one storage */
    int64_t now_ms;    /* wall clock of the request: what counts as expired, where TTLs start */
    void (*done)(struct kv_write *write); /* on a thread of the store; must not block */
    void *context;                        /* the caller's */
    struct position *position;            /* NULL: none; engines alone look at it */
    /* outcome */
    enum err err;          /* of the first op that failed, or of the store; ERR_TIMEOUT: unknown */
    unsigned failed_index; /* which op */
    /* the store's */
    struct commit_job job;
    struct kv_write *next;
    int64_t deadline_ms;
};

/* Entries of one namespace, read together. */
struct kv_read {
    enum kv_storage storage;
    struct uuid workspace;
    struct slice ns;
    const struct slice *keys; /* 1 to KV_BATCH_MAX */
    unsigned key_count;
    unsigned want; /* enum kv_want */
    int64_t now_ms;
    struct arena *arena;                /* the values are copied here */
    void (*done)(struct kv_read *read); /* as in kv_write */
    void *context;
    struct position *position; /* NULL: none; engines alone look at it */
    /* outcome */
    enum err err; /* of the first key that failed for another reason than not existing */
    struct kv_entry **entries; /* one per key, in the arena; NULL: it does not exist */
    /* the store's */
    struct kv_read *next;
    int64_t deadline_ms;
};

/* A page of keys in byte order. */
struct kv_list {
    enum kv_storage storage;
    struct uuid workspace;
    struct slice ns;
    struct slice prefix; /* literal bytes; may be empty */
    struct slice after;  /* only keys greater than this; empty: from the start */
    unsigned limit;      /* keys at most, at least 1 */
    int64_t now_ms;
    struct arena *arena;                /* the keys are copied here */
    void (*done)(struct kv_list *list); /* as in kv_write */
    void *context;
    struct position *position; /* NULL: none; engines alone look at it */
    /* outcome */
    enum err err;
    struct slice *keys; /* in the arena */
    unsigned key_count;
    bool more; /* there are keys behind the last one */
    /* the store's */
    struct kv_list *next;
    int64_t deadline_ms;
};

struct kv_count {
    enum kv_storage storage;
    int64_t now_ms;
    void (*done)(struct kv_count *count);
    void *context;
    enum err err;
    uint64_t keys;
    /* the store's */
    struct kv_count *next;
    int64_t deadline_ms;
};

enum kv_eviction { KV_NOEVICTION, KV_LRU };

struct datadir;
struct kv_remote;

/* Hears of the keys of memory in one namespace as they come and go. */
struct kv_watch {
    struct uuid workspace;
    struct slice ns; /* outlives the kv */
    void *context;
    /* A key came that was not there, or went: deleted, expired, evicted, flushed (perhaps a while
     * after a flush, but once for each that came). On the writer's thread or one of the store's,
     * with a lock of the store held: it must be short and call nothing of kv. */
    void (*note)(void *context, struct slice key, bool came);
};

struct kv_options {
    const struct kv_remote *remote; /* not NULL: every call goes there, nothing is stored here; the
                                       rest of the options is not looked at; outlives the kv */
    /* Both NULL: no hdd storage, its calls answer ERR_UNAVAILABLE. */
    struct datadir *datadir;     /* shared: open, not yet started; the caller's */
    const char *data_dir;        /* without one: kv_open makes, starts and closes its own */
    uint64_t memory_limit_bytes; /* 0: none */
    enum kv_eviction eviction;
    const struct kv_watch *watch; /* outlives the kv; NULL: none */
    uint64_t feed_bytes;          /* of all logs of changes; 0: FEED_BYTES_DEFAULT */
    unsigned feed_readers_max;    /* 0: FEED_READERS_DEFAULT */
    unsigned hdd_shards;          /* 1 to 64; 0: as many as there are */
    int64_t
        durability_ms; /* of its own datadir; 0: every reply after its sync; else synced so often */
    uint64_t write_buffer_bytes;    /* recent writes held in memory before writers are slowed */
    uint64_t read_cache_bytes;      /* entries of hdd kept in memory for reading; 0: none */
    void (*fatal)(const char *why); /* the store can no longer be believed; from its thread, once */
    void (*progress)(const char *what, uint64_t done,
                     uint64_t total); /* rebuild, replay; may be NULL */
};

struct kv;

/* True where every call is answered over a network: kv_get is not to be called, kv_read is. */
bool kv_is_remote(const struct kv *kv);

/* The newest revision of hdd that readers see. Any thread. */
uint64_t kv_revision(struct kv *kv);
/* Every revision of the storage that is given from now on is greater than this one: what comes from
 * another store gets none that somebody knows from there. Does nothing where they are already, and
 * on a remote kv, whose revisions are times. Blocks (on hdd behind what waits for the committer).
 * ERR_UNAVAILABLE, ERR_STORAGE_FULL, ERR_OUT_OF_MEMORY; ERR_SYNTAX from KV_REVISION_RAISE_MAX on.
 */
#define KV_REVISION_RAISE_MAX (1ULL << 58) /* a receipt's number has 60 bits */
enum err kv_raise_revision(struct kv *kv, enum kv_storage storage, uint64_t revision) MUST_USE;
/* A revision of the storage: what is read from now on holds every change up to it. 0: not known.
 * Any thread. */
uint64_t kv_newest_revision(struct kv *kv, enum kv_storage storage);

/* Opens both stores (replays, rebuilds shards where their number changed). Blocks. On failure
 * writes one clear line to ret_why (size bytes). With a shared datadir hdd's calls may come once
 * datadir_start succeeded. */
enum err kv_open(const struct kv_options *options, struct kv **ret_kv, char *ret_why,
                 size_t why_bytes) MUST_USE;
/* Everything submitted is finished first (done is called). No calls may come any more. A shared
 * datadir was stopped before (datadir_stop), or never started, and is closed afterwards. */
void kv_close(struct kv *kv);

/* Reads one live entry; copies what `want` names into the arena. revision and expiry always.
 * ERR_KEY_NOT_EXIST, ERR_CORRUPT, ERR_OUT_OF_MEMORY (arena's ceiling). Any thread; does not wait
 * for commits. Sees every write whose done was called before. */
enum err kv_get(struct kv *kv, const struct kv_ref *ref, int64_t now_ms, unsigned want,
                struct arena *arena, struct kv_entry *ret_entry) MUST_USE;

/* Reads entries: at once where the stores are here, else ERR_PENDING and done later. Returns
 * read->err where not pending. Any thread; never blocks on a network. */
enum err kv_read(struct kv *kv, struct kv_read *read) MUST_USE;

/* Hints that this ref is read or written soon. Of a batch, all are hinted at first, and each again
 * a little before it is used: the second time fetches what the first one found. Any thread. */
uint64_t kv_prefetch(struct kv *kv, const struct kv_ref *ref);
/* token: as kv_prefetch gave it for a ref of this storage. */
void kv_prefetch_again(struct kv *kv, enum kv_storage storage, uint64_t token);

/* Calls each for the keys of the watched namespace, one part of the store at a time and under its
 * lock: each is as note. *at is 0 at first; true while there is more. Keys that come meanwhile are
 * noted, perhaps also shown. Any thread; short. False where nothing is watched. */
bool kv_watch_scan(struct kv *kv, uint32_t *at, void (*each)(void *context, struct slice key),
                   void *context);

/* Changes entries. Memory: outcome at once, done is not called. Hdd: ERR_PENDING, then done once,
 * perhaps before this returns. Writes submitted one after another by one thread are carried out
 * in that order. Returns write->err where not pending. Any thread; never blocks. */
enum err kv_submit(struct kv *kv, struct kv_write *write) MUST_USE;

/* Values of hdd sealed anew, by the first key of a data directory that all stores have left. */
struct kv_reseal {
    void (*progress)(void *context, uint64_t more); /* so many more are done */
    void *context;
};
/* A crash on the way leaves some done and some not, all of them good; the next run goes on. On
 * failure one line is in ret_why. Blocks. */
enum err kv_reseal(struct datadir *datadir, const struct kv_reseal *with, char *ret_why,
                   size_t why_bytes) MUST_USE;
/* How many there are. */
enum err kv_reseal_count(struct datadir *datadir, uint64_t *ret_entries, char *ret_why,
                         size_t why_bytes) MUST_USE;

/* Changes on hdd that are part of somebody else's commit job, with other records in the same block.
 * On the committer's thread, within one call of the job's prepare:
 *
 *   kv_stage_prepare of every op ──> journal_block_mark ──> kv_stage_begin ──> kv_stage_op ...
 *   a failure: kv_stage_undo, journal_block_go_back
 *   always: kv_stage_end
 *
 * What was staged is seen by all once the block is published, as a kv_write's. The job's size has
 * kv_stage_size of each op; the job is not lazy. */
struct kv_stage;

/* Adds to the block the names of namespaces that the op will need. They stay whatever comes of the
 * op, so that no mark to which the block goes back may stand before them. ERR_STORAGE_FULL,
 * ERR_OUT_OF_MEMORY, ERR_UNAVAILABLE (also without hdd). */
enum err kv_stage_prepare(struct kv *kv, const struct kv_op *op,
                          struct journal_block *block) MUST_USE;
/* Begins; at most op_count_max ops. ERR_OUT_OF_MEMORY, ERR_UNAVAILABLE (also without hdd). */
enum err kv_stage_begin(struct kv *kv, int64_t now_ms, unsigned op_count_max,
                        struct journal_block *block, struct kv_stage **ret_stage) MUST_USE;
/* Carries out one op as one of a kv_write: fills its outcome, returns op->err. It sees what the
 * stage did before. Where it fails, it did nothing. KV_FLUSH_ALL is ERR_SYNTAX; an op that is not
 * on hdd, was not prepared, or is one too many is ERR_INTERNAL. */
enum err kv_stage_op(struct kv_stage *stage, struct kv_op *op) MUST_USE;
/* Takes all ops back. Their records are still in the block: the caller goes back to its mark. */
void kv_stage_undo(struct kv_stage *stage);
/* Frees it; what was done and not undone stays. */
void kv_stage_end(struct kv_stage *stage);
/* Payload bytes of the op's records at most. Any thread. */
uint64_t kv_stage_size(const struct kv_op *op);

/* The same rules as kv_submit: at once, or ERR_PENDING and done later. */
enum err kv_list_keys(struct kv *kv, struct kv_list *list) MUST_USE;
enum err kv_count_keys(struct kv *kv, struct kv_count *count) MUST_USE;

struct kv_stats {
    uint64_t keys;  /* may count some already expired */
    uint64_t bytes; /* memory used; on hdd bytes of the map in use */
    unsigned shard_count;
    uint64_t shard_keys[64];
    uint64_t expired; /* dropped since their time was over, so far */
    uint64_t evicted; /* dropped to make room, so far */
    bool damaged;     /* hdd: files were found to be; keys that are not found are ERR_CORRUPT */
};

/* Cheap figures for /stats. Any thread. */
void kv_stats(struct kv *kv, enum kv_storage storage, struct kv_stats *ret_stats);

/* False once the store lost its disk: readiness is 503 then. Any thread. */
bool kv_is_ready(struct kv *kv);

#endif
