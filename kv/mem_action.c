/* SPDX-License-Identifier: MIT */
/* One op on one entry of the memory store; the shard's lock is held. */
#include <stdio.h>

#include "base/log.h"
#include "kv/condition.h"
#include "kv/mem.h"

/* What an entry is to hold. */
struct content {
    struct slice type;
    struct slice value;
    const uint8_t *etag; /* of a value longer than MEM_ETAG_FROM */
    int64_t expires_at_ms;
};

static struct mem_slot *find_live_locked(struct kv_mem *mem, const struct mem_target *target,
                                         struct slice key, int64_t now_ms) {
    struct mem_slot *slot = mem_table_find(&target->shard->table, target->hash, target->space, key);
    if (!slot || mem_is_live(slot->entry, now_ms))
        return slot;
    mem_drop_locked(mem, target->shard, slot, FEED_EXPIRED);
    return NULL;
}

static bool condition_holds(const struct kv_op *op, struct mem_entry *entry) {
    uint8_t computed[HASH_MD5_BYTES];
    const uint8_t *etag = entry ? mem_entry_etag(entry) : NULL;
    if (entry && !etag && op->condition == KV_IF_ETAG) {
        hash_md5(mem_entry_value(entry), computed);
        etag = computed;
    }
    return kv_condition_holds(op, entry, entry ? entry->revision : 0, etag);
}

static void fill(struct mem_entry *entry, const struct content *content) {
    entry->type_len = (uint8_t)content->type.len;
    entry->value_len = (uint32_t)content->value.len;
    if (content->type.len)
        memmove(entry->bytes + entry->key_len, content->type.ptr, content->type.len);
    if (mem_entry_etag(entry))
        memcpy(mem_entry_etag(entry), content->etag, HASH_MD5_BYTES);
    if (content->value.len)
        memcpy(mem_entry_value_at(entry), content->value.ptr, content->value.len);
}

/* An entry's memory is used again where it fits and is not far too wide. */
static bool fits_in_place(struct mem_entry *entry, size_t size) {
    if (entry->pinned)
        return false;
    size_t room = mem_entry_room(entry);
    return size <= room && room <= 2 * size + 64;
}

/* Counts what the store would grow by; false past the limit. */
static bool has_room(const struct kv_mem *mem, uint64_t grow, uint64_t *ret_grow) {
    if (mem->limit_bytes == 0 || grow == 0)
        return true;
    if (atomic_load_explicit(&mem->used_bytes, memory_order_relaxed) + grow <= mem->limit_bytes)
        return true;
    *ret_grow = grow;
    return false;
}

static void swap_entry_locked(struct kv_mem *mem, const struct mem_target *target,
                              struct mem_slot *slot, struct mem_entry *fresh,
                              struct mem_undo *undo) {
    struct mem_entry *old = slot->entry;
    slot->entry = fresh;
    if (undo) {
        undo->old = old;
        undo->old_expires_at_ms = old->expires_at_ms;
    }
    if (!mem_expire_at_locked(mem, target->shard, old, 0))
        log_error("an entry could not be taken out of the expiry heap");
    if (!undo)
        mem_entry_free_locked(mem, target->shard, old);
}

/* Puts content under the key, into the slot's entry where there is one. */
static enum err store_locked(struct kv_mem *mem, const struct mem_target *target,
                             struct mem_slot *slot, struct kv_op *op, const struct content *content,
                             struct mem_undo *undo, uint64_t *ret_grow) {
    struct mem_shard *shard = target->shard;
    size_t size = mem_entry_size(op->ref.key.len, content->type.len, content->value.len);
    struct mem_entry *entry = slot ? slot->entry : NULL;
    size_t had = entry ? mem_entry_room(entry) : 0;
    if (!has_room(mem, size > had ? size - had : 0, ret_grow))
        return ERR_OUT_OF_MEMORY;
    bool in_place = entry && !undo && fits_in_place(entry, size);
    if (!in_place)
        entry = mem_entry_new_locked(mem, shard, target->space, op->ref.key, content->type,
                                     content->value.len);
    if (!entry)
        return ERR_OUT_OF_MEMORY;
    if (!mem_expire_at_locked(mem, shard, entry, content->expires_at_ms) ||
        (!slot && !mem_link_locked(mem, shard, target->hash, entry))) {
        if (!in_place) {
            (void)mem_expire_at_locked(mem, shard, entry, 0);
            mem_entry_free_locked(mem, shard, entry);
        }
        return ERR_OUT_OF_MEMORY;
    }
    fill(entry, content);
    entry->used = slot != NULL; /* what is only ever written goes before what is used again */
    entry->revision = undo ? 0 : mem_revise_locked(mem, FEED_SET, entry);
    op->revision = entry->revision;
    if (undo)
        *undo = (struct mem_undo){.what = UNDO_STORE, .target = *target, .fresh = entry};
    if (slot && !in_place)
        swap_entry_locked(mem, target, slot, entry, undo);
    return OK;
}

static enum err increment_locked(struct kv_mem *mem, const struct mem_target *target,
                                 struct mem_slot *slot, struct kv_op *op, struct mem_undo *undo,
                                 uint64_t *ret_grow) {
    int64_t number = 0;
    struct content content = {0};
    char type[KV_CONTENT_TYPE_MAX];
    if (slot) {
        if (!slice_parse_i64(mem_entry_value(slot->entry), &number))
            return ERR_NOT_A_NUMBER;
        struct slice kept = mem_entry_type(slot->entry);
        memcpy(type, kept.ptr, kept.len);
        content.type = slice_make(type, kept.len);
        content.expires_at_ms = slot->entry->expires_at_ms;
    }
    if (__builtin_add_overflow(number, op->by, &number))
        return ERR_NOT_A_NUMBER;
    char text[24];
    content.value =
        slice_make(text, (size_t)snprintf(text, sizeof text, "%lld", (long long)number));
    enum err err = store_locked(mem, target, slot, op, &content, undo, ret_grow);
    if (!err)
        op->number = number;
    return err;
}

static enum err touch_locked(struct kv_mem *mem, const struct mem_target *target,
                             struct mem_slot *slot, struct kv_op *op, int64_t expires_at_ms,
                             struct mem_undo *undo) {
    struct mem_entry *entry = slot->entry;
    struct mem_undo was = {.what = UNDO_TOUCH,
                           .target = *target,
                           .old = entry,
                           .old_expires_at_ms = entry->expires_at_ms,
                           .old_revision = entry->revision};
    if (!mem_expire_at_locked(mem, target->shard, entry, expires_at_ms))
        return ERR_OUT_OF_MEMORY;
    entry->revision = undo ? 0 : mem_revise_locked(mem, FEED_SET, entry);
    op->revision = entry->revision;
    if (undo)
        *undo = was;
    return OK;
}

static void drop_locked(struct kv_mem *mem, const struct mem_target *target, struct mem_slot *slot,
                        struct kv_op *op, struct mem_undo *undo) {
    int64_t expires_at_ms = slot->entry->expires_at_ms;
    struct mem_entry *old = mem_unlink_locked(mem, target->shard, slot);
    op->revision = undo ? 0 : mem_revise_locked(mem, FEED_DELETE, old);
    if (undo)
        *undo = (struct mem_undo){
            .what = UNDO_DROP, .target = *target, .old = old, .old_expires_at_ms = expires_at_ms};
    else
        mem_entry_free_locked(mem, target->shard, old);
}

enum err mem_act_locked(struct kv_mem *mem, const struct mem_target *target, struct kv_op *op,
                        int64_t now_ms, const uint8_t *etag, struct mem_undo *undo,
                        uint64_t *ret_grow) {
    struct mem_slot *slot = find_live_locked(mem, target, op->ref.key, now_ms);
    int64_t expires_at_ms = op->ttl_ms ? now_ms + op->ttl_ms : 0;
    op->existed = slot != NULL;
    if (!condition_holds(op, slot ? slot->entry : NULL))
        return ERR_PRECONDITION_FAILED;
    switch (op->action) {
    case KV_SET: {
        struct content content = {op->content_type, op->value, etag, expires_at_ms};
        return store_locked(mem, target, slot, op, &content, undo, ret_grow);
    }
    case KV_INCREMENT:
        return increment_locked(mem, target, slot, op, undo, ret_grow);
    case KV_TOUCH:
        return slot ? touch_locked(mem, target, slot, op, expires_at_ms, undo) : ERR_KEY_NOT_EXIST;
    case KV_DELETE:
        if (slot)
            drop_locked(mem, target, slot, op, undo);
        return OK;
    case KV_CHECK:
        return OK;
    case KV_FLUSH_ALL:
        break;
    }
    return ERR_INTERNAL;
}

static void put_back_locked(struct kv_mem *mem, const struct mem_undo *undo) {
    struct mem_shard *shard = undo->target.shard;
    if (!mem_expire_at_locked(mem, shard, undo->old, undo->old_expires_at_ms))
        log_error("no memory to put an expiry back");
}

void mem_undo_locked(struct kv_mem *mem, const struct mem_undo *undo) {
    const struct mem_target *target = &undo->target;
    struct mem_shard *shard = target->shard;
    if (undo->what == UNDO_TOUCH) {
        undo->old->revision = undo->old_revision;
        put_back_locked(mem, undo);
    } else if (undo->what == UNDO_DROP) {
        if (!mem_link_locked(mem, shard, target->hash, undo->old))
            log_error("no memory to put an entry back");
        else
            put_back_locked(mem, undo);
    } else if (undo->what == UNDO_STORE) {
        struct slice key = mem_entry_key(undo->fresh);
        struct mem_slot *slot = mem_table_find(&shard->table, target->hash, target->space, key);
        if (undo->old) {
            slot->entry = undo->old;
            (void)mem_expire_at_locked(mem, shard, undo->fresh, 0);
            put_back_locked(mem, undo);
        } else {
            (void)mem_unlink_locked(mem, shard, slot);
        }
        mem_entry_free_locked(mem, shard, undo->fresh);
    }
}

/* Only what stands has a revision, so that those who follow hear of revisions in order. */
void mem_keep_locked(struct kv_mem *mem, const struct mem_undo *undo, struct kv_op *op) {
    if (undo->what == UNDO_STORE)
        op->revision = undo->fresh->revision = mem_revise_locked(mem, FEED_SET, undo->fresh);
    else if (undo->what == UNDO_TOUCH)
        op->revision = undo->old->revision = mem_revise_locked(mem, FEED_SET, undo->old);
    else if (undo->what == UNDO_DROP)
        op->revision = mem_revise_locked(mem, FEED_DELETE, undo->old);
    if ((undo->what == UNDO_STORE && undo->old) || undo->what == UNDO_DROP)
        mem_entry_free_locked(mem, undo->target.shard, undo->old);
}
