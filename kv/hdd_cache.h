/* SPDX-License-Identifier: MIT */
/* Entries of LMDB kept in memory for reading. What it holds is what LMDB holds: the applier renews
 * it after every commit, and a read that began before one does not fill it. */
#ifndef HATI_KV_HDD_CACHE_H
#define HATI_KV_HDD_CACHE_H

#include "kv/hdd_recent.h"
#include "kv/hdd_record.h"

struct hdd_cache;

/* Keeps at most about budget_bytes; 0: nothing, and *ret_cache NULL. */
enum err hdd_cache_open(uint64_t budget_bytes, struct hdd_cache **ret_cache) MUST_USE;
void hdd_cache_close(struct hdd_cache *cache);

/* Where a fill must not have been overtaken since; taken before the read it comes from begins. */
uint64_t hdd_cache_epoch(const struct hdd_cache *cache);

/* Finds an entry with its stripe locked until hdd_cache_unlock; NULL where it is not kept. */
struct version *hdd_cache_find_lock(struct hdd_cache *cache, uint64_t hash, uint32_t space,
                                    struct slice key);
void hdd_cache_unlock(struct hdd_cache *cache, uint64_t hash);
/* Keeps what was read, unless something was committed since the epoch. Any thread. */
void hdd_cache_fill(struct hdd_cache *cache, uint64_t hash, const struct stored *stored,
                    uint64_t epoch);

/* After a commit, before the generation is forgotten: its states take the place of older ones. The
 * applier. */
void hdd_cache_renew(struct hdd_cache *cache, const struct generation *generation);

/* Sends for the memory that a find will want: first its slots, then (again) its entry. */
void hdd_cache_prefetch(struct hdd_cache *cache, uint64_t hash, bool again);

#endif
