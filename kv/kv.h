/* SPDX-License-Identifier: MIT */
/* The front of the key/value store: what an operation may ask of entries, whichever store holds
 * them. `memory` answers at once; a write to `hdd` is answered when it would survive a power cut.
 */
#ifndef HATI_KV_KV_H
#define HATI_KV_KV_H

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
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
    /* outcome */
    enum err err;
    bool existed;      /* there was a live entry before (a KV_SET on hdd without a condition does
                          not look: false) */
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
    /* outcome */
    enum err err;          /* of the first op that failed, or of the store */
    unsigned failed_index; /* which op */
    struct commit_job job; /* the store's */
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
    /* outcome */
    enum err err;
    struct slice *keys; /* in the arena */
    unsigned key_count;
    bool more; /* there are keys behind the last one */
    /* the store's */
    struct kv_list *next;
};

struct kv_count {
    enum kv_storage storage;
    int64_t now_ms;
    void (*done)(struct kv_count *count);
    void *context;
    enum err err;
    uint64_t keys;
    struct kv_count *next;
};

enum kv_eviction { KV_NOEVICTION, KV_LRU };

struct kv_options {
    const char *data_dir;        /* NULL: no hdd storage, its calls answer ERR_UNAVAILABLE */
    uint64_t memory_limit_bytes; /* 0: none */
    enum kv_eviction eviction;
    unsigned hdd_shards;         /* 1 to 64 */
    int64_t durability_ms;       /* 0: every reply after its sync; else synced at least so often */
    uint64_t write_buffer_bytes; /* recent writes held in memory before writers are slowed */
    uint64_t read_cache_bytes;   /* entries of hdd kept in memory for reading; 0: none */
    void (*fatal)(const char *why); /* the store can no longer be believed; from its thread, once */
    void (*progress)(const char *what, uint64_t done,
                     uint64_t total); /* rebuild, replay; may be NULL */
};

struct kv;

/* Opens both stores (replays, rebuilds shards where their number changed). Blocks. On failure
 * writes one clear line to ret_why (size bytes). */
enum err kv_open(const struct kv_options *options, struct kv **ret_kv, char *ret_why,
                 size_t why_bytes) MUST_USE;
/* Everything submitted is finished first (done is called). No calls may come any more. */
void kv_close(struct kv *kv);

/* Reads one live entry; copies what `want` names into the arena. revision and expiry always.
 * ERR_KEY_NOT_EXIST, ERR_CORRUPT, ERR_OUT_OF_MEMORY (arena's ceiling). Any thread; does not wait
 * for commits. Sees every write whose done was called before. */
enum err kv_get(struct kv *kv, const struct kv_ref *ref, int64_t now_ms, unsigned want,
                struct arena *arena, struct kv_entry *ret_entry) MUST_USE;

/* Hints that this ref is read or written soon. Of a batch, all are hinted at first, and each again
 * a little before it is used: the second time fetches what the first one found. Any thread. */
uint64_t kv_prefetch(struct kv *kv, const struct kv_ref *ref);
/* token: as kv_prefetch gave it for a ref of this storage. */
void kv_prefetch_again(struct kv *kv, enum kv_storage storage, uint64_t token);

/* Changes entries. Memory: outcome at once, done is not called. Hdd: ERR_PENDING, then done once,
 * perhaps before this returns. Writes submitted one after another by one thread are carried out
 * in that order. Returns write->err where not pending. Any thread; never blocks. */
enum err kv_submit(struct kv *kv, struct kv_write *write) MUST_USE;

/* The same rules: at once, or ERR_PENDING and done later. */
enum err kv_list_keys(struct kv *kv, struct kv_list *list) MUST_USE;
enum err kv_count_keys(struct kv *kv, struct kv_count *count) MUST_USE;

struct kv_stats {
    uint64_t keys;  /* may count some already expired */
    uint64_t bytes; /* memory used; on hdd bytes of the map in use */
    unsigned shard_count;
    uint64_t shard_keys[64];
};

/* Cheap figures for /stats. Any thread. */
void kv_stats(struct kv *kv, enum kv_storage storage, struct kv_stats *ret_stats);

/* False once the store lost its disk: readiness is 503 then. Any thread. */
bool kv_is_ready(struct kv *kv);

#endif
