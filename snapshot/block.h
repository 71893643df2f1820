/* SPDX-License-Identifier: MIT */
/* A snapshot file's parts: its head, and blocks, each with a checksum that is bound to the file and
 * to the block's place in it. docs/snapshots.md has every byte.
 *
 *   head ──> block 0 ──> block 1 ──> ... ──> last block: totals, and a check over all checks
 */
#ifndef HATI_SNAPSHOT_BLOCK_H
#define HATI_SNAPSHOT_BLOCK_H

#include "base/hash.h"
#include "snapshot/item.h"

#define SNAPSHOT_VERSION 1U
#define SNAPSHOT_ID_BYTES 16U
#define SNAPSHOT_ID_TEXT (2 * SNAPSHOT_ID_BYTES + 1) /* hexadecimal digits and a NUL */
#define SNAPSHOT_MAKER_BYTES 24U
#define SNAPSHOT_HEAD_BYTES 96U
#define SNAPSHOT_BLOCK_HEAD_BYTES 56U
#define SNAPSHOT_TOTAL_BYTES (8U * SNAPSHOT_KINDS + 8U + HASH_CHECK_BYTES)

#define SNAPSHOT_BLOCK_BYTES (1U << 20) /* of items, of a block that holds more than one */
#define SNAPSHOT_BLOCK_ITEMS 900U       /* fewer than a write of a store takes */
#define SNAPSHOT_EXTRA_BYTES 131072U    /* of an item, beside its value or payload */
#define SNAPSHOT_VALUE_MAX (1ULL << 30)
#define SNAPSHOT_RAW_MAX (SNAPSHOT_VALUE_MAX + SNAPSHOT_EXTRA_BYTES)

struct snapshot_head {
    uint8_t id[SNAPSHOT_ID_BYTES];  /* random */
    int64_t made_ms;                /* wall clock */
    uint64_t revision[KV_STORAGES]; /* no entry of the storage has a greater one */
    char maker[SNAPSHOT_MAKER_BYTES + 1];
};

/* A block holds items of one class of one storage, so that it can be taken in as one. */
enum snapshot_class { SNAPSHOT_DEFINITIONS = 1, SNAPSHOT_ENTRIES, SNAPSHOT_MESSAGES, SNAPSHOT_END };

struct snapshot_block {
    enum snapshot_class class;
    enum kv_storage storage;
    uint64_t number;
    uint32_t items;
    uint64_t raw_bytes, packed_bytes;
    uint8_t check[HASH_CHECK_BYTES];
};

struct snapshot_totals {
    uint64_t count[SNAPSHOT_KINDS]; /* by kind; the first is unused */
    uint64_t blocks;                /* before the last one */
    uint8_t check[HASH_CHECK_BYTES];
};

enum snapshot_class snapshot_class_of(enum snapshot_kind kind);

void snapshot_id_format(const uint8_t id[SNAPSHOT_ID_BYTES], char ret_text[SNAPSHOT_ID_TEXT]);
bool snapshot_id_parse(struct slice text, uint8_t ret_id[SNAPSHOT_ID_BYTES]);

void snapshot_head_write(const struct snapshot_head *head, char to[SNAPSHOT_HEAD_BYTES]);
/* Each of the readers returns NULL, or what is wrong, for people. */
const char *snapshot_head_read(const char from[SNAPSHOT_HEAD_BYTES],
                               struct snapshot_head *ret_head);

/* Fills the block's check and writes its head; payload: packed_bytes. */
void snapshot_block_write(struct snapshot_block *block, const uint8_t id[SNAPSHOT_ID_BYTES],
                          struct slice payload, char to[SNAPSHOT_BLOCK_HEAD_BYTES]);
/* Judges all but the check. */
const char *snapshot_block_read(const char from[SNAPSHOT_BLOCK_HEAD_BYTES],
                                struct snapshot_block *ret_block);
/* Does the check hold, in this file? */
bool snapshot_block_is_whole(const struct snapshot_block *block,
                             const uint8_t id[SNAPSHOT_ID_BYTES], struct slice payload);

/* The check over everything begins with the head's, and goes on with each block's. */
void snapshot_totals_begin(struct snapshot_totals *totals, const char head[SNAPSHOT_HEAD_BYTES]);
void snapshot_totals_add(struct snapshot_totals *totals, const struct snapshot_block *block);
void snapshot_totals_write(const struct snapshot_totals *totals, char to[SNAPSHOT_TOTAL_BYTES]);
/* Are these the bytes of totals? */
bool snapshot_totals_match(const struct snapshot_totals *totals, struct slice bytes);

/* Unpacks and judges a whole block, its head included. raw is filled anew; each (may be NULL) is
 * called once per item, and ends it by returning other than NULL. raw_max: of the block's items. */
const char *snapshot_block_each(struct slice bytes, const uint8_t id[SNAPSHOT_ID_BYTES],
                                uint64_t raw_max, struct buf *raw, struct snapshot_block *ret_block,
                                const char *(*each)(void *context, const struct snapshot_item *),
                                void *context);

/* Packing (zstd). (pack.c) */

/* Appends a frame. False without memory. */
bool snapshot_pack(struct buf *to, struct slice raw);
/* to is cleared and gets exactly raw_bytes. NULL, or what is wrong. */
const char *snapshot_unpack(struct buf *to, struct slice packed, uint64_t raw_bytes);
/* A frame of so many bytes at most. */
uint64_t snapshot_pack_bound(uint64_t raw_bytes);

#endif
