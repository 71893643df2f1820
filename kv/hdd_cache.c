/* SPDX-License-Identifier: MIT */
#include "kv/hdd_cache.h"

#include <malloc.h>
#include <stdlib.h>

#define STRIPES 64U
#define WAYS 4U
#define VALUE_MAX 4096U  /* larger values would push many small ones out */
#define ENTRY_BYTES 192U /* what slots are planned for */

struct way {
    uint64_t hash;
    struct version *version;
};

/* Four ways fill a cache line: a key stands in one of those its hash points to. */
struct set {
    struct way ways[WAYS];
} __attribute__((aligned(64)));

struct stripe {
    pthread_mutex_t lock;
    struct set *sets;
    uint64_t bytes;
    uint32_t hand;
} __attribute__((aligned(64)));

struct hdd_cache {
    struct stripe stripes[STRIPES];
    uint32_t set_mask;
    uint64_t stripe_budget;
    _Atomic uint64_t epoch;
};

static uint32_t sets_for(uint64_t budget_bytes) {
    uint32_t sets = 1;
    while ((uint64_t)sets * STRIPES * WAYS * ENTRY_BYTES < budget_bytes)
        sets *= 2;
    return sets;
}

enum err hdd_cache_open(uint64_t budget_bytes, struct hdd_cache **ret_cache) {
    struct hdd_cache *cache = NULL;
    *ret_cache = NULL;
    if (budget_bytes == 0)
        return OK;
    if (posix_memalign((void **)&cache, 64, sizeof *cache) != 0)
        return ERR_OUT_OF_MEMORY;
    memset(cache, 0, sizeof *cache);
    cache->set_mask = sets_for(budget_bytes) - 1;
    cache->stripe_budget = budget_bytes / STRIPES;
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_mutex_init(&cache->stripes[i].lock, NULL);
    *ret_cache = cache;
    return OK;
}

void hdd_cache_close(struct hdd_cache *cache) {
    if (!cache)
        return;
    for (unsigned i = 0; i < STRIPES; i++) {
        struct stripe *stripe = &cache->stripes[i];
        for (uint32_t s = 0; stripe->sets && s <= cache->set_mask; s++)
            for (unsigned w = 0; w < WAYS; w++)
                free(stripe->sets[s].ways[w].version);
        free(stripe->sets);
        pthread_mutex_destroy(&stripe->lock);
    }
    free(cache);
}

uint64_t hdd_cache_epoch(const struct hdd_cache *cache) {
    return atomic_load(&cache->epoch);
}

static struct stripe *stripe_of(struct hdd_cache *cache, uint64_t hash) {
    return &cache->stripes[hash >> 58];
}

static struct set *set_of(const struct hdd_cache *cache, const struct stripe *stripe,
                          uint64_t hash) {
    return &stripe->sets[(uint32_t)hash & cache->set_mask];
}

static struct way *find_way(const struct hdd_cache *cache, const struct stripe *stripe,
                            uint64_t hash, uint32_t space, struct slice key) {
    if (!stripe->sets)
        return NULL;
    struct set *set = set_of(cache, stripe, hash);
    for (unsigned w = 0; w < WAYS; w++) {
        struct way *way = &set->ways[w];
        if (way->hash == hash && way->version && way->version->space == space &&
            slice_equal(version_key(way->version), key))
            return way;
    }
    return NULL;
}

struct version *hdd_cache_find_lock(struct hdd_cache *cache, uint64_t hash, uint32_t space,
                                    struct slice key) {
    struct stripe *stripe = stripe_of(cache, hash);
    pthread_mutex_lock(&stripe->lock);
    struct way *way = find_way(cache, stripe, hash, space, key);
    if (!way)
        return NULL;
    way->version->used = true;
    return way->version;
}

void hdd_cache_unlock(struct hdd_cache *cache, uint64_t hash) {
    pthread_mutex_unlock(&stripe_of(cache, hash)->lock);
}

static void drop(struct stripe *stripe, struct way *way) {
    stripe->bytes -= malloc_usable_size(way->version);
    free(way->version);
    way->version = NULL;
}

/* The clock's hand goes round the stripe until there is room; what was read is spared once. */
static void make_room(const struct hdd_cache *cache, struct stripe *stripe, size_t size) {
    uint32_t ways = (cache->set_mask + 1) * WAYS;
    while (stripe->bytes && stripe->bytes + size > cache->stripe_budget) {
        uint32_t at = stripe->hand++ % ways;
        struct way *way = &stripe->sets[at / WAYS].ways[at % WAYS];
        if (way->version && way->version->used)
            way->version->used = false;
        else if (way->version)
            drop(stripe, way);
    }
}

static struct way *free_way(struct stripe *stripe, struct set *set, uint64_t hash) {
    for (unsigned w = 0; w < WAYS; w++)
        if (!set->ways[w].version)
            return &set->ways[w];
    struct way *victim = &set->ways[hash >> 32 & (WAYS - 1)];
    for (unsigned w = 0; w < WAYS; w++) {
        if (!set->ways[w].version->used)
            victim = &set->ways[w];
        set->ways[w].version->used = false;
    }
    drop(stripe, victim);
    return victim;
}

static struct version *copy_of(const struct stored *stored) {
    struct version *version =
        malloc(sizeof *version + stored->key.len + stored->type.len + stored->value.len);
    if (!version)
        return NULL;
    *version = (struct version){.seq = stored->revision,
                                .expires_at_ms = stored->expires_at_ms,
                                .space = stored->space,
                                .value_len = (uint32_t)stored->value.len,
                                .key_len = (uint16_t)stored->key.len,
                                .type_len = (uint8_t)stored->type.len,
                                .sealed = stored->sealed};
    memcpy(version->bytes, stored->key.ptr, stored->key.len);
    if (stored->type.len)
        memcpy(version->bytes + stored->key.len, stored->type.ptr, stored->type.len);
    if (stored->value.len)
        memcpy(version->bytes + stored->key.len + stored->type.len, stored->value.ptr,
               stored->value.len);
    return version;
}

static void put_locked(struct hdd_cache *cache, struct stripe *stripe, uint64_t hash,
                       const struct stored *stored) {
    if (!stripe->sets) {
        size_t bytes = ((size_t)cache->set_mask + 1) * sizeof(struct set);
        if (posix_memalign((void **)&stripe->sets, 64, bytes) != 0) {
            stripe->sets = NULL;
            return;
        }
        memset(stripe->sets, 0, bytes);
    }
    struct version *version = stored->value.len <= VALUE_MAX ? copy_of(stored) : NULL;
    if (!version)
        return;
    size_t size = malloc_usable_size(version);
    make_room(cache, stripe, size);
    struct way *way = free_way(stripe, set_of(cache, stripe, hash), hash);
    *way = (struct way){hash, version};
    stripe->bytes += size;
}

void hdd_cache_fill(struct hdd_cache *cache, uint64_t hash, const struct stored *stored,
                    uint64_t epoch) {
    struct stripe *stripe = stripe_of(cache, hash);
    pthread_mutex_lock(&stripe->lock);
    if (atomic_load(&cache->epoch) == epoch &&
        !find_way(cache, stripe, hash, stored->space, stored->key))
        put_locked(cache, stripe, hash, stored);
    pthread_mutex_unlock(&stripe->lock);
}

/* Room that nobody uses is filled with what was written; otherwise only what is kept is renewed. */
static void renew_one(struct hdd_cache *cache, uint64_t hash, const struct version *version) {
    struct stored stored = {version->seq,         version->expires_at_ms, version->space,
                            version_key(version), version_type(version),  version_value(version),
                            version->sealed};
    struct stripe *stripe = stripe_of(cache, hash);
    pthread_mutex_lock(&stripe->lock);
    struct way *way = find_way(cache, stripe, hash, version->space, stored.key);
    bool keep = way || stripe->bytes + ENTRY_BYTES + stored.value.len <= cache->stripe_budget;
    if (way)
        drop(stripe, way);
    if (keep && !version->dead)
        put_locked(cache, stripe, hash, &stored);
    pthread_mutex_unlock(&stripe->lock);
}

void hdd_cache_renew(struct hdd_cache *cache, const struct generation *generation) {
    atomic_fetch_add(&cache->epoch, 1);
    for (unsigned s = 0; s < RECENT_STRIPES; s++) {
        const struct recent_table *table = &generation->tables[s];
        for (uint32_t i = 0; table->slots && i <= table->mask; i++)
            if (table->slots[i].newest)
                renew_one(cache, table->slots[i].hash, table->slots[i].newest);
    }
}

static const struct version *probe(const struct hdd_cache *cache, const struct stripe *stripe,
                                   uint64_t hash) {
    const struct set *set = set_of(cache, stripe, hash);
    for (unsigned w = 0; w < WAYS; w++)
        if (set->ways[w].hash == hash)
            return set->ways[w].version;
    return NULL;
}

void hdd_cache_prefetch(struct hdd_cache *cache, uint64_t hash, bool again) {
    struct stripe *stripe = stripe_of(cache, hash);
    if (pthread_mutex_trylock(&stripe->lock) != 0)
        return;
    const void *at = NULL;
    if (stripe->sets)
        at = again ? (const void *)probe(cache, stripe, hash)
                   : (const void *)set_of(cache, stripe, hash);
    pthread_mutex_unlock(&stripe->lock);
    if (!at)
        return;
    __builtin_prefetch(at);
    __builtin_prefetch((const char *)at + (again ? 64 : 0));
}
