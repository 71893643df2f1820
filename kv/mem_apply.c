/* SPDX-License-Identifier: MIT */
/* Writes of the memory store: one op takes one shard's lock; several take theirs in ascending
 * order, and are taken back in reverse where one fails. */
#include <stdlib.h>

#include "kv/mem.h"

static enum err aim(struct kv_mem *mem, const struct kv_op *op, struct mem_target *target) {
    bool makes = op->action == KV_SET || op->action == KV_INCREMENT;
    target->space = spaces_find(mem->spaces, &op->ref.workspace, op->ref.ns);
    if (target->space == SPACE_NONE && makes) {
        enum err err = spaces_make(mem->spaces, &op->ref.workspace, op->ref.ns, &target->space);
        if (err)
            return err;
    }
    /* an op in a space that is none finds nothing: SPACE_NONE holds no entry */
    if (target->space != SPACE_NONE)
        feeds_bind(mem->feeds, &op->ref, target->space);
    target->hash = mem_hash(mem, target->space, op->ref.key);
    target->shard = mem_shard_of(mem, target->hash);
    return OK;
}

/* The ETag that is kept with a longer value. */
static void make_etag(const struct kv_op *op, uint8_t etag[HASH_MD5_BYTES]) {
    if (op->action != KV_SET || op->value.len <= MEM_ETAG_FROM)
        return;
    if (op->value_etag)
        memcpy(etag, op->value_etag, HASH_MD5_BYTES);
    else
        hash_md5(op->value, etag);
}

/* A space may be followed since it was looked at. */
static void lock_shard(struct kv_mem *mem, const struct mem_target *target, bool *gated) {
    mem_shard_lock(mem, target->shard);
    if (*gated || !feeds_follow(mem->feeds, KV_MEMORY, target->space))
        return;
    pthread_mutex_unlock(&target->shard->lock);
    pthread_rwlock_rdlock(&mem->flushing);
    *gated = true;
    mem_shard_lock(mem, target->shard);
}

static enum err apply_one(struct kv_mem *mem, struct kv_op *op, int64_t now_ms) {
    struct mem_target target;
    uint8_t etag[HASH_MD5_BYTES];
    enum err err = aim(mem, op, &target);
    if (err)
        return err;
    make_etag(op, etag);
    bool gated = feeds_follow(mem->feeds, KV_MEMORY, target.space);
    if (gated)
        pthread_rwlock_rdlock(&mem->flushing);
    for (unsigned tries = 0; tries < 3; tries++) {
        uint64_t grow = 0;
        lock_shard(mem, &target, &gated);
        err = mem_act_locked(mem, &target, op, now_ms, etag, NULL, &grow);
        pthread_mutex_unlock(&target.shard->lock);
        if (err != ERR_OUT_OF_MEMORY || grow == 0 || !mem_make_room(mem, grow))
            break;
    }
    if (gated)
        pthread_rwlock_unlock(&mem->flushing);
    return err;
}

/* What a snapshot points to is its own from now on. */
static void leave_pinned_locked(const struct kv_mem *mem, const struct mem_garbage *garbage) {
    for (uint32_t i = 0; i < garbage->slot_count; i++) {
        struct mem_entry *entry = garbage->slots[i].entry;
        if (!entry || entry == MEM_TOMB || !entry->pinned)
            continue;
        mem_watch_note(mem, entry->space, mem_entry_key(entry), false);
        entry->gone = 1;
        garbage->slots[i].entry = MEM_TOMB;
    }
}

static struct mem_garbage *take_shard_out(struct kv_mem *mem, struct mem_shard *shard) {
    struct mem_garbage *garbage = calloc(1, sizeof *garbage);
    if (!garbage)
        return NULL;
    mem_shard_lock(mem, shard);
    garbage->slots = atomic_load_explicit(&shard->table.slots, memory_order_relaxed);
    garbage->slot_count =
        garbage->slots ? atomic_load_explicit(&shard->table.mask, memory_order_relaxed) + 1 : 0;
    atomic_store_explicit(&shard->table.slots, NULL, memory_order_relaxed);
    mem_table_done(&shard->table);
    atomic_fetch_sub(&mem->expiring, shard->heap_count);
    free(shard->heap);
    shard->heap = NULL;
    shard->heap_count = 0;
    shard->heap_cap = 0;
    atomic_fetch_sub(&mem->used_bytes, shard->entry_bytes);
    shard->entry_bytes = 0;
    if (shard->pinned)
        leave_pinned_locked(mem, garbage);
    pthread_mutex_unlock(&shard->lock);
    return garbage;
}

static enum err flush_shards(struct kv_mem *mem) {
    for (unsigned i = 0; i < MEM_SHARDS; i++) {
        struct mem_garbage *garbage = take_shard_out(mem, &mem->shards[i]);
        if (!garbage)
            return ERR_OUT_OF_MEMORY;
        mem_keeper_free_take(mem, garbage);
    }
    return OK;
}

/* Where it fails, part of the entries may be gone: those who follow are told that all are, and then
 * of nothing else, so they are told to look again. */
static enum err flush_all(struct kv_mem *mem, struct kv_op *op) {
    pthread_rwlock_wrlock(&mem->flushing);
    pthread_mutex_lock(&mem->flush_lock);
    enum err err = flush_shards(mem);
    pthread_mutex_unlock(&mem->flush_lock);
    mem_listing_forget_all(mem);
    if (err)
        feeds_lose(mem->feeds, KV_MEMORY, &mem->revision);
    else
        feeds_flush(mem->feeds, KV_MEMORY, &mem->revision, 0);
    op->revision = atomic_fetch_add_explicit(&mem->revision, 1, memory_order_relaxed) + 1;
    pthread_rwlock_unlock(&mem->flushing);
    return err;
}

/* What a write of several ops works with. */
struct many {
    struct mem_target targets[KV_BATCH_MAX];
    struct mem_undo undos[KV_BATCH_MAX];
    uint8_t etags[KV_BATCH_MAX][HASH_MD5_BYTES];
    bool locked[MEM_SHARDS];
};

static enum err prepare_many(struct kv_mem *mem, struct kv_write *write, struct many *many) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < write->op_count; i++) {
        struct kv_op *op = &write->ops[i];
        enum err err = op->action == KV_FLUSH_ALL ? ERR_SYNTAX : aim(mem, op, &many->targets[i]);
        if (err) {
            write->failed_index = i;
            return op->err = err;
        }
        make_etag(op, many->etags[i]);
        bytes += mem_entry_size(op->ref.key.len, op->content_type.len, op->value.len);
        many->locked[many->targets[i].shard - mem->shards] = true;
    }
    uint64_t used = atomic_load_explicit(&mem->used_bytes, memory_order_relaxed);
    if (mem->limit_bytes && used + bytes > mem->limit_bytes)
        (void)mem_make_room(mem, bytes); /* what still does not fit fails on its own */
    return OK;
}

static enum err run_many_locked(struct kv_mem *mem, struct kv_write *write, struct many *many) {
    unsigned done = 0;
    enum err err = OK;
    for (; done < write->op_count && !err; done++) {
        struct kv_op *op = &write->ops[done];
        uint64_t grow = 0;
        many->undos[done].what = UNDO_NOTHING;
        err = mem_act_locked(mem, &many->targets[done], op, write->now_ms, many->etags[done],
                             &many->undos[done], &grow);
        op->err = err;
        if (err)
            write->failed_index = done;
    }
    if (!err) {
        for (unsigned i = 0; i < done; i++)
            mem_keep_locked(mem, &many->undos[i], &write->ops[i]);
        return OK;
    }
    while (done-- > 0)
        mem_undo_locked(mem, &many->undos[done]);
    return err;
}

/* It is before a cut or behind it in all of its shards: the number is read once, when all are
 * locked. */
static void lock_many(struct kv_mem *mem, const struct many *many) {
    for (unsigned i = 0; i < MEM_SHARDS; i++)
        if (many->locked[i])
            pthread_mutex_lock(&mem->shards[i].lock);
    uint64_t cut = cut_number();
    for (unsigned i = 0; i < MEM_SHARDS; i++)
        if (many->locked[i] && mem->shards[i].cut != cut)
            mem_cut_locked(mem, &mem->shards[i], cut);
}

static enum err apply_many(struct kv_mem *mem, struct kv_write *write) {
    struct many *many = calloc(1, sizeof *many);
    if (!many)
        return ERR_OUT_OF_MEMORY;
    pthread_rwlock_rdlock(&mem->flushing);
    enum err err = prepare_many(mem, write, many);
    if (!err) {
        lock_many(mem, many);
        err = run_many_locked(mem, write, many);
        for (unsigned i = 0; i < MEM_SHARDS; i++)
            if (many->locked[i])
                pthread_mutex_unlock(&mem->shards[i].lock);
    }
    pthread_rwlock_unlock(&mem->flushing);
    free(many);
    return err;
}

enum err mem_apply(struct kv_mem *mem, struct kv_write *write) {
    write->failed_index = 0;
    if (write->op_count > 1)
        return write->err = apply_many(mem, write);
    struct kv_op *op = &write->ops[0];
    op->err = op->action == KV_FLUSH_ALL ? flush_all(mem, op) : apply_one(mem, op, write->now_ms);
    return write->err = op->err;
}
