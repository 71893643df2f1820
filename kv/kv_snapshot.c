/* SPDX-License-Identifier: MIT */
#include "kv/kv_snapshot.h"

#include <stdlib.h>

#include "kv/store.h"

#define WRITES_BEHIND (1ULL << 32)

struct kv_snapshot {
    struct mem_snapshot *mem;
    struct kv_hdd *hdd;        /* NULL: there is none */
    struct hdd_snapshot *disk; /* once it was taken */
    int64_t now_ms;
};

enum err kv_snapshot_make(struct kv_mem *mem, struct kv_hdd *hdd,
                          struct kv_snapshot **ret_snapshot) {
    struct kv_snapshot *snapshot = calloc(1, sizeof *snapshot);
    enum err err = snapshot ? mem_snapshot_new(mem, &snapshot->mem) : ERR_OUT_OF_MEMORY;
    if (err) {
        free(snapshot);
        return err;
    }
    snapshot->hdd = hdd;
    *ret_snapshot = snapshot;
    return OK;
}

void kv_snapshot_expect(struct kv_snapshot *snapshot, uint64_t cut, int64_t now_ms) {
    snapshot->now_ms = now_ms;
    mem_snapshot_expect(snapshot->mem, cut, now_ms);
}

enum err kv_snapshot_take(struct kv_snapshot *snapshot) {
    mem_snapshot_taken(snapshot->mem);
    return snapshot->hdd ? hdd_snapshot_take(snapshot->hdd, snapshot->now_ms, &snapshot->disk) : OK;
}

enum err kv_snapshot_each(struct kv_snapshot *snapshot, enum kv_storage storage,
                          enum err (*each)(void *context, const struct kv_snapshot_entry *entry),
                          void *context) {
    if (storage == KV_MEMORY)
        return mem_snapshot_each(snapshot->mem, each, context);
    return snapshot->disk ? hdd_snapshot_each(snapshot->disk, each, context) : OK;
}

uint64_t kv_snapshot_count(const struct kv_snapshot *snapshot) {
    return mem_snapshot_count(snapshot->mem) +
           (snapshot->disk ? hdd_snapshot_count(snapshot->disk) : 0);
}

uint64_t kv_snapshot_revision(const struct kv_snapshot *snapshot, enum kv_storage storage) {
    if (storage == KV_MEMORY)
        return mem_snapshot_revision(snapshot->mem) + WRITES_BEHIND;
    return snapshot->disk ? hdd_snapshot_revision(snapshot->disk) + WRITES_BEHIND : 0;
}

void kv_snapshot_end(struct kv_snapshot *snapshot) {
    if (!snapshot)
        return;
    mem_snapshot_end(snapshot->mem);
    hdd_snapshot_end(snapshot->disk);
    free(snapshot);
}
