/* SPDX-License-Identifier: MIT */
#include "auth/cache.h"

#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>

#include "base/hash.h"

struct slot {
    char *token; /* NULL: free */
    size_t len;
    uint64_t hash;
    uint64_t generation;
    uint64_t used_at; /* the set's count of uses when it was last of use */
    struct auth_grant grant;
};

struct set {
    alignas(64) pthread_mutex_t lock; /* held for a lookup, never across a verification */
    uint64_t uses;
    uint64_t hits, misses;
    struct slot slots[CACHE_WAYS];
};

struct cache {
    uint64_t seed; /* callers cannot choose tokens that fall into one set */
    struct set sets[CACHE_SETS];
};

struct cache *cache_open(void) {
    struct cache *cache = aligned_alloc(alignof(struct cache), sizeof *cache);
    if (!cache)
        return NULL;
    memset(cache, 0, sizeof *cache);
    hash_random(&cache->seed, sizeof cache->seed);
    for (unsigned i = 0; i < CACHE_SETS; i++)
        pthread_mutex_init(&cache->sets[i].lock, NULL);
    return cache;
}

static void free_slot_locked(struct slot *slot) {
    if (!slot->token)
        return;
    explicit_bzero(slot->token, slot->len);
    free(slot->token);
    slot->token = NULL;
}

void cache_close(struct cache *cache) {
    if (!cache)
        return;
    for (unsigned i = 0; i < CACHE_SETS; i++) {
        for (unsigned way = 0; way < CACHE_WAYS; way++)
            free_slot_locked(&cache->sets[i].slots[way]);
        pthread_mutex_destroy(&cache->sets[i].lock);
    }
    free(cache);
}

static struct set *set_of(struct cache *cache, uint64_t hash) {
    return &cache->sets[hash % CACHE_SETS];
}

/* The bytes are compared in constant time: the hash alone would tell little, a memcmp more. */
static struct slot *find_locked(struct set *set, uint64_t hash, struct slice token) {
    for (unsigned way = 0; way < CACHE_WAYS; way++) {
        struct slot *slot = &set->slots[way];
        if (slot->token && slot->hash == hash && slot->len == token.len &&
            gnutls_memcmp(slot->token, token.ptr, token.len) == 0)
            return slot;
    }
    return NULL;
}

bool cache_find(struct cache *cache, struct slice token, uint64_t generation, int64_t now_ms,
                struct auth_grant *ret_grant) {
    uint64_t hash = hash_seeded(token, cache->seed);
    struct set *set = set_of(cache, hash);
    pthread_mutex_lock(&set->lock);
    struct slot *slot = find_locked(set, hash, token);
    if (slot && (now_ms >= slot->grant.expires_at_ms || slot->generation != generation)) {
        free_slot_locked(slot);
        slot = NULL;
    }
    if (slot) {
        slot->used_at = ++set->uses;
        set->hits++;
        *ret_grant = slot->grant;
    } else {
        set->misses++;
    }
    pthread_mutex_unlock(&set->lock);
    return slot != NULL;
}

/* The same token, else a free or expired slot, else the one unused for longest. */
static struct slot *victim_locked(struct set *set, uint64_t hash, struct slice token,
                                  int64_t now_ms) {
    struct slot *victim = find_locked(set, hash, token);
    if (victim)
        return victim;
    victim = &set->slots[0];
    for (unsigned way = 0; way < CACHE_WAYS; way++) {
        struct slot *slot = &set->slots[way];
        if (!slot->token || now_ms >= slot->grant.expires_at_ms)
            return slot;
        if (slot->used_at < victim->used_at)
            victim = slot;
    }
    return victim;
}

void cache_put(struct cache *cache, struct slice token, uint64_t generation, int64_t now_ms,
               const struct auth_grant *grant) {
    char *copy = token.len ? malloc(token.len) : NULL;
    if (!copy)
        return;
    memcpy(copy, token.ptr, token.len);
    uint64_t hash = hash_seeded(token, cache->seed);
    struct set *set = set_of(cache, hash);
    pthread_mutex_lock(&set->lock);
    struct slot *slot = victim_locked(set, hash, token, now_ms);
    free_slot_locked(slot);
    *slot = (struct slot){copy, token.len, hash, generation, ++set->uses, *grant};
    pthread_mutex_unlock(&set->lock);
}

void cache_count(struct cache *cache, uint64_t *ret_hits, uint64_t *ret_misses) {
    uint64_t hits = 0, misses = 0;
    for (unsigned i = 0; i < CACHE_SETS; i++) {
        struct set *set = &cache->sets[i];
        pthread_mutex_lock(&set->lock);
        hits += set->hits;
        misses += set->misses;
        pthread_mutex_unlock(&set->lock);
    }
    *ret_hits = hits;
    *ret_misses = misses;
}
