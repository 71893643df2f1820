/* SPDX-License-Identifier: MIT */
#include "kv/kv.h"

#include <stdio.h>
#include <stdlib.h>

#include "kv/feeds.h"
#include "kv/remote_feed.h"
#include "kv/store.h"

struct kv {
    const struct kv_remote *remote; /* in place of the others */
    struct kv_mem *mem;
    struct kv_hdd *hdd; /* NULL without a data directory */
    struct feeds *feeds;
    struct remote_feeds remote_feeds[KV_STORAGES];
};

enum err kv_open(const struct kv_options *options, struct kv **ret_kv, char *ret_why,
                 size_t why_bytes) {
    struct kv *kv = calloc(1, sizeof *kv);
    if (kv)
        kv->feeds = feeds_new(options->feed_bytes, options->feed_readers_max);
    if (kv && kv->feeds && options->remote) {
        kv->remote = options->remote;
        for (unsigned i = 0; i < KV_STORAGES; i++)
            remote_feeds_open(&kv->remote_feeds[i], kv->feeds, kv->remote, (enum kv_storage)i);
        *ret_kv = kv;
        return OK;
    }
    enum err err = kv && kv->feeds ? kv_mem_open(options, kv->feeds, &kv->mem) : ERR_OUT_OF_MEMORY;
    if (err)
        snprintf(ret_why, why_bytes, "no memory for the memory store");
    else if (options->data_dir || options->datadir)
        err = kv_hdd_open(options, kv->feeds, &kv->hdd, ret_why, why_bytes);
    if (err) {
        kv_close(kv);
        return err;
    }
    *ret_kv = kv;
    return OK;
}

void kv_close(struct kv *kv) {
    if (!kv)
        return;
    feeds_stop(kv->feeds);
    if (kv->hdd)
        kv_hdd_close(kv->hdd);
    if (kv->mem)
        kv_mem_close(kv->mem);
    feeds_free(kv->feeds);
    free(kv);
}

bool kv_is_remote(const struct kv *kv) {
    return kv->remote != NULL;
}

enum err feed_open(struct kv *kv, const struct kv_ref *ref, enum feed_from from, uint64_t revision,
                   struct feed_reader *reader) {
    return feeds_open_reader(kv->feeds, ref, from, revision, reader);
}

void feed_figures(struct kv *kv, struct feed_figures *ret_figures) {
    *ret_figures = (struct feed_figures){
        .readers = atomic_load_explicit(&kv->feeds->readers, memory_order_relaxed),
        .feeds = atomic_load_explicit(&kv->feeds->count, memory_order_relaxed),
        .log_bytes = atomic_load_explicit(&kv->feeds->bytes, memory_order_relaxed),
        .changes = atomic_load_explicit(&kv->feeds->changes, memory_order_relaxed),
        .resyncs = atomic_load_explicit(&kv->feeds->resyncs, memory_order_relaxed),
    };
}

void feed_stop_all(struct kv *kv) {
    if (kv)
        feeds_stop(kv->feeds);
}

/* Behind a network it is known of nothing that was read that it is whole up to a revision. */
uint64_t kv_newest_revision(struct kv *kv, enum kv_storage storage) {
    if (kv->remote)
        return 0;
    const _Atomic uint64_t *newest = kv->feeds->sources[storage].newest;
    return newest ? atomic_load(newest) : 0;
}

uint64_t kv_revision(struct kv *kv) {
    return kv->hdd ? kv_hdd_revision(kv->hdd) : 0;
}

enum err kv_raise_revision(struct kv *kv, enum kv_storage storage, uint64_t revision) {
    if (kv->remote)
        return OK;
    if (revision >= KV_REVISION_RAISE_MAX)
        return ERR_SYNTAX;
    if (storage == KV_HDD)
        return kv->hdd ? kv_hdd_raise_revision(kv->hdd, revision) : ERR_UNAVAILABLE;
    kv_mem_raise_revision(kv->mem, revision);
    return OK;
}

enum err kv_snapshot_new(struct kv *kv, struct kv_snapshot **ret_snapshot) {
    return kv->remote ? ERR_UNAVAILABLE : kv_snapshot_make(kv->mem, kv->hdd, ret_snapshot);
}

enum err kv_get(struct kv *kv, const struct kv_ref *ref, int64_t now_ms, unsigned want,
                struct arena *arena, struct kv_entry *ret_entry) {
    if (kv->remote)
        return ERR_INTERNAL;
    if (ref->storage == KV_MEMORY)
        return kv_mem_get(kv->mem, ref, now_ms, want, arena, ret_entry);
    return kv->hdd ? kv_hdd_get(kv->hdd, ref, now_ms, want, arena, ret_entry) : ERR_UNAVAILABLE;
}

/* One key after another. */
static enum err read_here(struct kv *kv, struct kv_read *read) {
    struct kv_entry *room = arena_alloc(read->arena, sizeof *room * read->key_count);
    read->entries = arena_alloc(read->arena, sizeof(struct kv_entry *) * read->key_count);
    if (!room || !read->entries)
        return ERR_OUT_OF_MEMORY;
    for (unsigned i = 0; i < read->key_count; i++) {
        struct kv_ref ref = {read->storage, read->workspace, read->ns, read->keys[i]};
        enum err err = kv_get(kv, &ref, read->now_ms, read->want, read->arena, &room[i]);
        if (err && err != ERR_KEY_NOT_EXIST)
            return err;
        read->entries[i] = err ? NULL : &room[i];
    }
    return OK;
}

enum err kv_read(struct kv *kv, struct kv_read *read) {
    if (kv->remote)
        return kv->remote->read(kv->remote->context, read);
    return read->err = read_here(kv, read);
}

uint64_t kv_prefetch(struct kv *kv, const struct kv_ref *ref) {
    if (kv->remote)
        return 0;
    if (ref->storage == KV_MEMORY)
        return kv_mem_prefetch(kv->mem, ref);
    return kv->hdd ? kv_hdd_prefetch(kv->hdd, ref) : 0;
}

void kv_prefetch_again(struct kv *kv, enum kv_storage storage, uint64_t token) {
    if (token == 0)
        return;
    if (storage == KV_MEMORY)
        kv_mem_prefetch_again(kv->mem, token);
    else
        kv_hdd_prefetch_again(kv->hdd, token);
}

bool kv_watch_scan(struct kv *kv, uint32_t *at, void (*each)(void *context, struct slice key),
                   void *context) {
    return kv->mem && kv_mem_watch_scan(kv->mem, at, each, context);
}

enum err kv_submit(struct kv *kv, struct kv_write *write) {
    if (kv->remote)
        return kv->remote->submit(kv->remote->context, write);
    if (write->ops[0].ref.storage == KV_MEMORY)
        return kv_mem_submit(kv->mem, write);
    if (kv->hdd)
        return kv_hdd_submit(kv->hdd, write);
    return write->err = ERR_UNAVAILABLE;
}

enum err kv_stage_prepare(struct kv *kv, const struct kv_op *op, struct journal_block *block) {
    return kv->hdd ? kv_hdd_stage_prepare(kv->hdd, op, block) : ERR_UNAVAILABLE;
}

enum err kv_stage_begin(struct kv *kv, int64_t now_ms, unsigned op_count_max,
                        struct journal_block *block, struct kv_stage **ret_stage) {
    return kv->hdd ? kv_hdd_stage_begin(kv->hdd, now_ms, op_count_max, block, ret_stage)
                   : ERR_UNAVAILABLE;
}

enum err kv_list_keys(struct kv *kv, struct kv_list *list) {
    if (kv->remote)
        return kv->remote->list(kv->remote->context, list);
    if (list->storage == KV_MEMORY)
        return kv_mem_list(kv->mem, list);
    return kv->hdd ? kv_hdd_list(kv->hdd, list) : ERR_UNAVAILABLE;
}

enum err kv_count_keys(struct kv *kv, struct kv_count *count) {
    if (kv->remote)
        return kv->remote->count(kv->remote->context, count);
    if (count->storage == KV_MEMORY)
        return kv_mem_count(kv->mem, count);
    return kv->hdd ? kv_hdd_count(kv->hdd, count) : ERR_UNAVAILABLE;
}

void kv_stats(struct kv *kv, enum kv_storage storage, struct kv_stats *ret_stats) {
    *ret_stats = (struct kv_stats){0};
    if (kv->remote)
        kv->remote->stats(kv->remote->context, storage, ret_stats);
    else if (storage == KV_MEMORY)
        kv_mem_stats(kv->mem, ret_stats);
    else if (kv->hdd)
        kv_hdd_stats(kv->hdd, ret_stats);
}

bool kv_is_ready(struct kv *kv) {
    if (kv->remote)
        return kv->remote->is_ready(kv->remote->context);
    return !kv->hdd || kv_hdd_is_ready(kv->hdd);
}
