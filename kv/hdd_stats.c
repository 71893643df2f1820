/* SPDX-License-Identifier: MIT */
/* Figures of the durable store. LMDB counts what is applied; a few recent writes are looked up one
 * by one, so that a caller finds in /stats what it has just written. */
#include "kv/hdd.h"

#define LOOKUPS_MAX 4096U /* beyond, figures lag behind until the next pass of the applier */

struct count {
    struct kv_hdd *hdd;
    struct env_read *reads[HDD_SHARDS_MAX];
    uint64_t visible, flush;
    struct kv_stats *stats;
};

static bool stands_in_lmdb(const struct count *count, unsigned shard,
                           const struct version *version) {
    struct place place;
    struct slice bytes;
    place_make(version->space, version_key(version), &place);
    return !env_read_get(count->reads[shard], ENV_ENTRIES, place_slice(&place), &bytes);
}

/* How the newest state of one key changes what LMDB counted. */
static void count_key(const struct count *count, uint64_t hash, const struct version *any) {
    struct slice key = version_key(any);
    const struct version *version =
        recent_find_locked(&count->hdd->recent, hash, any->space, key, count->visible);
    if (!version)
        return;
    unsigned shard = hdd_shard_of(any->space, key, count->hdd->shard_count);
    bool lives = !version->dead && version->seq >= count->flush;
    uint64_t change = (uint64_t)lives - (uint64_t)stands_in_lmdb(count, shard, any);
    count->stats->shard_keys[shard] += change;
}

/* True where no newer generation has the key: it is counted there. */
static bool is_newest(const struct kv_hdd *hdd, uint64_t hash, const struct version *version) {
    const struct version *found =
        recent_find_locked(&hdd->recent, hash, version->space, version_key(version), UINT64_MAX);
    return found == version;
}

static void count_stripe_locked(const struct count *count, unsigned stripe) {
    const struct kv_hdd *hdd = count->hdd;
    for (const struct generation *at = hdd->recent.active; at; at = at->older) {
        const struct recent_table *table = &at->tables[stripe];
        for (uint32_t i = 0; table->slots && i <= table->mask; i++) {
            const struct version *newest = table->slots[i].newest;
            if (newest && is_newest(hdd, table->slots[i].hash, newest))
                count_key(count, table->slots[i].hash, newest);
        }
    }
}

static bool few_recent(struct kv_hdd *hdd) {
    uint64_t slots = 0;
    for (unsigned s = 0; s < RECENT_STRIPES; s++) {
        pthread_mutex_lock(&hdd->recent.stripes[s].lock);
        for (const struct generation *at = hdd->recent.active; at; at = at->older)
            slots += at->tables[s].used;
        pthread_mutex_unlock(&hdd->recent.stripes[s].lock);
    }
    return slots <= LOOKUPS_MAX;
}

static void count_recent(struct count *count) {
    struct kv_hdd *hdd = count->hdd;
    for (unsigned s = 0; s < RECENT_STRIPES; s++) {
        pthread_mutex_lock(&hdd->recent.stripes[s].lock);
        count_stripe_locked(count, s);
        pthread_mutex_unlock(&hdd->recent.stripes[s].lock);
    }
}

/* The applier may retire a generation between the look at LMDB and the one at recent writes: then
 * the figures are behind by it, for once. */
void kv_hdd_stats(struct kv_hdd *hdd, struct kv_stats *ret_stats) {
    struct count count = {.hdd = hdd,
                          .visible = atomic_load(&hdd->visible_seq),
                          .flush = atomic_load(&hdd->flush_seq),
                          .stats = ret_stats};
    unsigned opened = 0;
    ret_stats->shard_count = hdd->shard_count;
    ret_stats->damaged = atomic_load(&hdd->damaged);
    ret_stats->expired = atomic_load_explicit(&hdd->expired, memory_order_relaxed);
    while (opened < hdd->shard_count && !env_read_begin(hdd->envs[opened], &count.reads[opened]))
        opened++;
    for (unsigned i = 0; i < opened; i++) {
        ret_stats->bytes += env_used_bytes(hdd->envs[i]);
        ret_stats->shard_keys[i] = env_read_count(count.reads[i], ENV_ENTRIES);
    }
    if (opened == hdd->shard_count && few_recent(hdd))
        count_recent(&count);
    for (unsigned i = 0; i < opened; i++) {
        ret_stats->keys += ret_stats->shard_keys[i];
        env_read_end(count.reads[i]);
    }
}

uint64_t kv_hdd_revision(struct kv_hdd *hdd) {
    return atomic_load(&hdd->visible_seq);
}
