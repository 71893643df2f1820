/* SPDX-License-Identifier: MIT */
/* Recent writes of the durable store: what is in the journal and not yet in LMDB. A generation
 * gathers writes until it is frozen; a frozen one is moved into LMDB and retired.
 *
 *   put ──> active ──freeze──> frozen ──(applier)──> LMDB, retire
 *   find: newest version up to `visible` in active, then frozen
 *
 * One thread (the committer) puts and freezes; any thread finds. */
#ifndef HATI_KV_HDD_RECENT_H
#define HATI_KV_HDD_RECENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "kv/kv.h"

#define RECENT_STRIPES 32U

/* One state of an entry; it never changes. */
struct version {
    struct version *older; /* of the same key, in the same generation */
    uint64_t seq;
    int64_t expires_at_ms;
    uint32_t space;
    uint32_t value_len;
    uint16_t key_len;
    uint8_t type_len;
    bool dead;    /* the entry was deleted */
    bool used;    /* read since the cache's hand passed */
    bool sealed;  /* the value is */
    char bytes[]; /* key, content type, value */
};

static inline struct slice version_key(const struct version *version) {
    return slice_make(version->bytes, version->key_len);
}
static inline struct slice version_type(const struct version *version) {
    return slice_make(version->bytes + version->key_len, version->type_len);
}
static inline struct slice version_value(const struct version *version) {
    return slice_make(version->bytes + version->key_len + version->type_len, version->value_len);
}

struct recent_slot {
    uint64_t hash;          /* 0: the slot was never used */
    struct version *newest; /* NULL: what stood here was taken back; searches go on behind it */
};

struct recent_table {
    struct recent_slot *slots;
    uint32_t mask;
    uint32_t used;
};

struct generation {
    struct generation *older;
    uint64_t last_seq;  /* once frozen */
    uint64_t flush_seq; /* versions before are dead, in LMDB too; 0: no flush */
    uint64_t bytes;
    unsigned pins; /* snapshots that need it; every stripe locked */
    bool retired;  /* nobody else does */
    struct recent_chunk *chunks;
    struct recent_table tables[RECENT_STRIPES];
};

struct recent {
    struct recent_stripe {
        pthread_mutex_t lock;
    } __attribute__((aligned(64))) stripes[RECENT_STRIPES];
    struct generation *active; /* newest; changes with every stripe locked */
    _Atomic uint64_t bytes;    /* of all generations */
    _Atomic uint64_t active_bytes;
};

enum err recent_open(struct recent *recent) MUST_USE;
void recent_close(struct recent *recent);

static inline unsigned recent_stripe_of(uint64_t hash) {
    return (unsigned)(hash >> 59);
}

/* Finds with the hash's stripe locked by the caller (recent_lock); the version lives until it is
 * unlocked. NULL where no generation has one up to `visible`. */
const struct version *recent_find_locked(const struct recent *recent, uint64_t hash, uint32_t space,
                                         struct slice key, uint64_t visible);
void recent_lock(struct recent *recent, uint64_t hash);
void recent_unlock(struct recent *recent, uint64_t hash);

/* What is put: key, type and value are copied; a value without ptr is room for so many bytes,
 * filled before the version is published. */
struct recent_put {
    uint64_t hash, seq;
    int64_t expires_at_ms;
    uint32_t space;
    bool dead;
    bool sealed;
    struct slice key, type, value;
};
/* NULL without memory. */
struct version *recent_put(struct recent *recent, const struct recent_put *put);
/* Takes back the version put last under its key. */
void recent_take_back(struct recent *recent, uint64_t hash, const struct version *version);
/* Every version before seq is dead. */
void recent_flush(struct recent *recent, uint64_t seq);

/* What was there at an instant, newest first: kept until it is let go of. */
#define RECENT_PINS_MAX 4U
struct recent_pins {
    struct generation *generations[RECENT_PINS_MAX];
    unsigned count;
};
/* The committer. ERR_INTERNAL: there are more generations than there ever should be. */
enum err recent_pin(struct recent *recent, struct recent_pins *ret_pins) MUST_USE;
void recent_unpin(struct recent *recent, struct recent_pins *pins);
/* True where a pinned generation has a version up to `visible`. */
bool recent_pins_have(struct recent *recent, const struct recent_pins *pins, uint64_t hash,
                      uint32_t space, struct slice key, uint64_t visible);
/* The newest versions up to `visible` of the keys of one stripe; good as long as the pins. The list
 * is the caller's to free. ERR_OUT_OF_MEMORY. */
enum err recent_pins_list(struct recent *recent, const struct recent_pins *pins, unsigned stripe,
                          uint64_t visible, const struct version ***ret_list,
                          size_t *ret_count) MUST_USE;

/* Begins another generation; false where the active one has nothing or memory fails. last_seq: the
 * newest number that was published. */
bool recent_freeze(struct recent *recent, uint64_t last_seq);
/* The oldest frozen generation, or NULL. The applier. */
struct generation *recent_oldest_frozen(struct recent *recent);
/* Forgets the oldest frozen generation: LMDB has it. The applier. */
void recent_retire(struct recent *recent, struct generation *generation);

#endif
