/* SPDX-License-Identifier: MIT */
/* Tokens already verified, so that a caller's next request costs a lookup and no signature. */
#ifndef HATI_AUTH_CACHE_H
#define HATI_AUTH_CACHE_H

#include "auth/auth.h"

#define CACHE_SETS 256
#define CACHE_WAYS 4 /* slots of a set; so much memory is the most there is */

struct cache;

/* NULL without memory. */
struct cache *cache_open(void);
/* Wipes and frees. No other thread may be inside. */
void cache_close(struct cache *cache);

/* The grant of a token put in before by the same generation of keys and good at now_ms; one of
 * another generation is forgotten. Counts a hit or a miss. Any thread; waits only for another
 * lookup in the same set. */
bool cache_find(struct cache *cache, struct slice token, uint64_t generation, int64_t now_ms,
                struct auth_grant *ret_grant);
/* Keeps a verified token in place of the one of its set unused for longest. generation: of the keys
 * that it was verified with. Without memory it is not kept. Any thread. */
void cache_put(struct cache *cache, struct slice token, uint64_t generation, int64_t now_ms,
               const struct auth_grant *grant);

/* Lookups so far. Any thread. */
void cache_count(struct cache *cache, uint64_t *ret_hits, uint64_t *ret_misses);

#endif
