/* SPDX-License-Identifier: MIT */
/* All keys as they were at one instant, read while others write. snapshot/cut.h takes one.
 *
 *   kv_snapshot_new ──> kv_snapshot_take, around cut_make ──> kv_snapshot_each ──> kv_snapshot_end
 *
 * What is held until the end: of memory, entries that were changed or dropped since (at most all
 * there were, once); of hdd, writes that were recent at the cut, and pages of LMDB that cannot be
 * used again, so that its files grow. Writers never wait for the reader; the first change of a
 * memory shard after the cut waits until pointers to its entries are copied. */
#ifndef HATI_KV_SNAPSHOT_H
#define HATI_KV_SNAPSHOT_H

#include "kv/kv.h"

struct kv_snapshot;

struct kv_snapshot_entry {
    enum kv_storage storage;
    struct uuid workspace;
    struct slice ns;
    struct slice key;
    struct slice content_type; /* empty: the default */
    struct slice value;
    uint64_t revision;
    int64_t expires_at_ms; /* wall clock; 0: never */
};

/* Makes ready for a cut. One snapshot of a kv at a time: ERR_CONFLICT while there is another.
 * ERR_UNAVAILABLE where the kv is remote, ERR_OUT_OF_MEMORY. Any thread. */
enum err kv_snapshot_new(struct kv *kv, struct kv_snapshot **ret_snapshot) MUST_USE;
/* Before cut_make: the number the cut will have, and its time, by which entries have expired. */
void kv_snapshot_expect(struct kv_snapshot *snapshot, uint64_t cut, int64_t now_ms);
/* Right behind cut_make, on the committer where there is hdd, with all jobs before finished and
 * none behind prepared. Short. ERR_UNAVAILABLE, ERR_OUT_OF_MEMORY. */
enum err kv_snapshot_take(struct kv_snapshot *snapshot) MUST_USE;

/* Hands every entry of a storage that was live at the cut to `each`, once, in no order; slices live
 * until it returns. It may block: nothing is held but the snapshot. What each returns other than OK
 * ends it, and is returned. ERR_OUT_OF_MEMORY also where there was none to keep what was changed;
 * ERR_CORRUPT: an entry of hdd fails its checksum (log tells which). A kv without hdd has no
 * entries there. Each storage once, on one thread at a time. */
enum err kv_snapshot_each(struct kv_snapshot *snapshot, enum kv_storage storage,
                          enum err (*each)(void *context, const struct kv_snapshot_entry *entry),
                          void *context) MUST_USE;
/* About how many entries there are of both storages, for progress. */
uint64_t kv_snapshot_count(const struct kv_snapshot *snapshot);
/* No revision of the storage that was given until the cut is greater, nor one of the 2^32 writes
 * behind it: who answered those is to be followed by a store that knows nothing of them. 0: there
 * is no such storage. */
uint64_t kv_snapshot_revision(const struct kv_snapshot *snapshot, enum kv_storage storage);
/* Frees it, read or not. Before kv_close. NULL does nothing. */
void kv_snapshot_end(struct kv_snapshot *snapshot);

#endif
