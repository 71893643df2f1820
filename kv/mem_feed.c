/* SPDX-License-Identifier: MIT */
/* What the memory store tells those who follow a space. A change gets its revision under the lock
 * of the feed, so that the feed is in order, and under that of the shard, so that it is the order
 * in which the entry changed. */
#include "kv/mem.h"

uint64_t mem_revise_told_locked(struct kv_mem *mem, enum feed_kind kind, struct mem_entry *entry) {
    struct feed_change change = {.kind = kind, .key = mem_entry_key(entry)};
    if (kind == FEED_SET) {
        change.value = mem_entry_value(entry);
        change.expires_at_ms = entry->expires_at_ms;
        if (mem_entry_etag(entry))
            memcpy(change.etag, mem_entry_etag(entry), sizeof change.etag);
        else
            hash_md5(change.value, change.etag);
    }
    return feeds_tell(mem->feeds, KV_MEMORY, entry->space, &mem->revision, &change);
}

/* Counted where nobody follows, too: who begins to must not take an older listing for complete. */
void mem_drop_locked(struct kv_mem *mem, struct mem_shard *shard, struct mem_slot *slot,
                     enum feed_kind kind) {
    struct mem_entry *entry = mem_unlink_locked(mem, shard, slot);
    (void)mem_revise_locked(mem, kind, entry);
    mem_entry_free_locked(mem, shard, entry);
}

/* Whoever writes after its shard was locked here sees that the space is followed; whoever wrote
 * before has a revision that is no greater than the counter then. */
static void begin(void *context, struct feed *feed) {
    struct kv_mem *mem = context;
    pthread_rwlock_rdlock(&mem->flushing);
    uint32_t space = spaces_find(mem->spaces, &feed->workspace, slice_make(feed->ns, feed->ns_len));
    if (space != SPACE_NONE)
        feed_bind(feed, space);
    for (unsigned i = 0; i < MEM_SHARDS; i++) {
        pthread_mutex_lock(&mem->shards[i].lock);
        pthread_mutex_unlock(&mem->shards[i].lock);
    }
    feed_begin(feed, &mem->revision, 0);
    pthread_rwlock_unlock(&mem->flushing);
    feed_show(feed);
}

void mem_feed_open(struct kv_mem *mem) {
    mem->feeds->sources[KV_MEMORY] =
        (struct feed_source){.context = mem, .begin = begin, .newest = &mem->revision};
}
