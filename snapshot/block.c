/* SPDX-License-Identifier: MIT */
#include "snapshot/block.h"

#include "base/bytes.h"

static const char magic[8] = {'\x89', 'h', 'a', 't', 'i', '\r', '\n', '\x1a'};
static const char block_magic[4] = {'b', 'l', 'k', '\x1a'};

#define HEAD_CHECKED (SNAPSHOT_HEAD_BYTES - HASH_CHECK_BYTES)
#define BLOCK_CHECKED (SNAPSHOT_BLOCK_HEAD_BYTES - HASH_CHECK_BYTES)

enum snapshot_class snapshot_class_of(enum snapshot_kind kind) {
    return kind == SNAPSHOT_ENTRY     ? SNAPSHOT_ENTRIES
           : kind == SNAPSHOT_MESSAGE ? SNAPSHOT_MESSAGES
                                      : SNAPSHOT_DEFINITIONS;
}

void snapshot_id_format(const uint8_t id[SNAPSHOT_ID_BYTES], char ret_text[SNAPSHOT_ID_TEXT]) {
    for (unsigned i = 0; i < SNAPSHOT_ID_BYTES; i++) {
        ret_text[2 * i] = "0123456789abcdef"[id[i] >> 4];
        ret_text[2 * i + 1] = "0123456789abcdef"[id[i] & 15];
    }
    ret_text[SNAPSHOT_ID_TEXT - 1] = '\0';
}

bool snapshot_id_parse(struct slice text, uint8_t ret_id[SNAPSHOT_ID_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    if (text.len != SNAPSHOT_ID_TEXT - 1)
        return false;
    for (unsigned i = 0; i < SNAPSHOT_ID_TEXT - 1; i++) {
        const char *digit = text.ptr[i] ? strchr(digits, text.ptr[i]) : NULL;
        if (!digit)
            return false;
        uint8_t half = (uint8_t)(digit - digits);
        ret_id[i / 2] = (uint8_t)(i % 2 ? ret_id[i / 2] | half : half << 4);
    }
    return true;
}

void snapshot_head_write(const struct snapshot_head *head, char to[SNAPSHOT_HEAD_BYTES]) {
    uint8_t check[HASH_CHECK_BYTES];
    memset(to, 0, SNAPSHOT_HEAD_BYTES);
    memcpy(to, magic, sizeof magic);
    put_be32(to + 8, SNAPSHOT_VERSION);
    put_be32(to + 12, 0);
    memcpy(to + 16, head->id, SNAPSHOT_ID_BYTES);
    put_be64(to + 32, (uint64_t)head->made_ms);
    put_be64(to + 40, head->revision[KV_MEMORY]);
    put_be64(to + 48, head->revision[KV_HDD]);
    memcpy(to + 56, head->maker, strnlen(head->maker, SNAPSHOT_MAKER_BYTES));
    hash_check(slice_make(to, HEAD_CHECKED), SLICE(""), check);
    memcpy(to + HEAD_CHECKED, check, sizeof check);
}

const char *snapshot_head_read(const char from[SNAPSHOT_HEAD_BYTES],
                               struct snapshot_head *ret_head) {
    uint8_t check[HASH_CHECK_BYTES];
    if (memcmp(from, magic, sizeof magic) != 0)
        return "this is no snapshot of hati";
    if (get_be32(from + 8) != SNAPSHOT_VERSION)
        return "a snapshot of another format version than this program knows";
    hash_check(slice_make(from, HEAD_CHECKED), SLICE(""), check);
    if (memcmp(from + HEAD_CHECKED, check, sizeof check) != 0)
        return "the head is damaged";
    if (get_be32(from + 12) != 0)
        return "the head asks for what this program does not know";
    struct snapshot_head head = {
        .made_ms = (int64_t)get_be64(from + 32),
        .revision = {[KV_MEMORY] = get_be64(from + 40), [KV_HDD] = get_be64(from + 48)}};
    memcpy(head.id, from + 16, SNAPSHOT_ID_BYTES);
    memcpy(head.maker, from + 56, SNAPSHOT_MAKER_BYTES);
    for (char *at = head.maker; *at; at++)
        if (*at < ' ' || *at > '~')
            return "the head names no maker";
    *ret_head = head;
    return NULL;
}

static void check_block(const char head[BLOCK_CHECKED], const uint8_t id[SNAPSHOT_ID_BYTES],
                        struct slice payload, uint8_t ret_check[HASH_CHECK_BYTES]) {
    char front[SNAPSHOT_ID_BYTES + BLOCK_CHECKED];
    memcpy(front, id, SNAPSHOT_ID_BYTES);
    memcpy(front + SNAPSHOT_ID_BYTES, head, BLOCK_CHECKED);
    hash_check(slice_make(front, sizeof front), payload, ret_check);
}

static void put_block(const struct snapshot_block *block, char to[BLOCK_CHECKED]) {
    memcpy(to, block_magic, sizeof block_magic);
    to[4] = (char)block->class;
    to[5] = (char)block->storage;
    to[6] = to[7] = 0;
    put_be64(to + 8, block->number);
    put_be32(to + 16, block->items);
    put_be32(to + 20, 0);
    put_be64(to + 24, block->raw_bytes);
    put_be64(to + 32, block->packed_bytes);
}

void snapshot_block_write(struct snapshot_block *block, const uint8_t id[SNAPSHOT_ID_BYTES],
                          struct slice payload, char to[SNAPSHOT_BLOCK_HEAD_BYTES]) {
    block->packed_bytes = payload.len;
    put_block(block, to);
    check_block(to, id, payload, block->check);
    memcpy(to + BLOCK_CHECKED, block->check, HASH_CHECK_BYTES);
}

static const char *judge_block(const struct snapshot_block *block) {
    bool is_end = block->class == SNAPSHOT_END;
    if (block->class < SNAPSHOT_DEFINITIONS || block->class > SNAPSHOT_END ||
        block->storage >= KV_STORAGES)
        return "a block of an unknown kind";
    if (is_end ? block->items != 0 || block->raw_bytes != SNAPSHOT_TOTAL_BYTES ||
                     block->packed_bytes != block->raw_bytes
               : block->items < 1 || block->items > SNAPSHOT_BLOCK_ITEMS)
        return "a block with a wrong number of items";
    if (block->raw_bytes < 1 ||
        block->raw_bytes > (block->items == 1 ? SNAPSHOT_RAW_MAX : SNAPSHOT_BLOCK_BYTES) ||
        block->packed_bytes > snapshot_pack_bound(block->raw_bytes))
        return "a block of an impossible length";
    return NULL;
}

const char *snapshot_block_read(const char from[SNAPSHOT_BLOCK_HEAD_BYTES],
                                struct snapshot_block *ret_block) {
    if (memcmp(from, block_magic, sizeof block_magic) != 0 || from[6] || from[7] ||
        get_be32(from + 20))
        return "where a block should begin is none";
    struct snapshot_block block = {
        .class = (enum snapshot_class)(uint8_t)from[4],
        .storage = (enum kv_storage)(uint8_t)from[5],
        .number = get_be64(from + 8),
        .items = get_be32(from + 16),
        .raw_bytes = get_be64(from + 24),
        .packed_bytes = get_be64(from + 32),
    };
    memcpy(block.check, from + BLOCK_CHECKED, HASH_CHECK_BYTES);
    const char *fault = judge_block(&block);
    if (!fault)
        *ret_block = block;
    return fault;
}

bool snapshot_block_is_whole(const struct snapshot_block *block,
                             const uint8_t id[SNAPSHOT_ID_BYTES], struct slice payload) {
    char head[BLOCK_CHECKED];
    uint8_t check[HASH_CHECK_BYTES];
    put_block(block, head);
    check_block(head, id, payload, check);
    return payload.len == block->packed_bytes && memcmp(check, block->check, sizeof check) == 0;
}

void snapshot_totals_begin(struct snapshot_totals *totals, const char head[SNAPSHOT_HEAD_BYTES]) {
    *totals = (struct snapshot_totals){.blocks = 0};
    memcpy(totals->check, head + HEAD_CHECKED, HASH_CHECK_BYTES);
}

void snapshot_totals_add(struct snapshot_totals *totals, const struct snapshot_block *block) {
    uint8_t check[HASH_CHECK_BYTES];
    hash_check(slice_make(totals->check, HASH_CHECK_BYTES),
               slice_make(block->check, HASH_CHECK_BYTES), check);
    memcpy(totals->check, check, sizeof check);
    totals->blocks++;
}

void snapshot_totals_write(const struct snapshot_totals *totals, char to[SNAPSHOT_TOTAL_BYTES]) {
    put_be64(to, totals->blocks);
    for (unsigned kind = 0; kind < SNAPSHOT_KINDS; kind++)
        put_be64(to + 8 + (size_t)8 * kind, totals->count[kind]);
    memcpy(to + 8 + (size_t)8 * SNAPSHOT_KINDS, totals->check, HASH_CHECK_BYTES);
}

bool snapshot_totals_match(const struct snapshot_totals *totals, struct slice bytes) {
    char wanted[SNAPSHOT_TOTAL_BYTES];
    snapshot_totals_write(totals, wanted);
    return slice_equal(bytes, slice_make(wanted, sizeof wanted));
}

const char *snapshot_block_each(struct slice bytes, const uint8_t id[SNAPSHOT_ID_BYTES],
                                uint64_t raw_max, struct buf *raw, struct snapshot_block *ret_block,
                                const char *(*each)(void *context, const struct snapshot_item *),
                                void *context) {
    struct snapshot_item item;
    if (bytes.len < SNAPSHOT_BLOCK_HEAD_BYTES)
        return "a block is cut off";
    const char *fault = snapshot_block_read(bytes.ptr, ret_block);
    if (fault)
        return fault;
    struct slice payload =
        slice_make(bytes.ptr + SNAPSHOT_BLOCK_HEAD_BYTES, bytes.len - SNAPSHOT_BLOCK_HEAD_BYTES);
    if (!snapshot_block_is_whole(ret_block, id, payload))
        return "a block is damaged, or is not of this place";
    if (ret_block->raw_bytes > raw_max)
        return "a value is larger than may be";
    if (ret_block->class == SNAPSHOT_END) {
        buf_clear(raw);
        return buf_append(raw, payload) ? NULL : "no memory for a block";
    }
    fault = snapshot_unpack(raw, payload, ret_block->raw_bytes);
    struct slice left = buf_slice(raw);
    for (uint32_t i = 0; !fault && i < ret_block->items; i++) {
        fault = snapshot_item_take(&left, ret_block->storage, &item);
        if (!fault && snapshot_class_of(item.kind) != ret_block->class)
            fault = "an item stands in a block of another kind";
        if (!fault && each)
            fault = each(context, &item);
    }
    return !fault && left.len ? "a block holds more than its items" : fault;
}
