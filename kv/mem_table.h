/* SPDX-License-Identifier: MIT */
/* Entries of the memory store and one shard's hash table over them: open addressing, linear
 * probing, tombstones, so that an entry stays in its slot until the table is made anew. The caller
 * holds the shard's lock. */
#ifndef HATI_KV_MEM_TABLE_H
#define HATI_KV_MEM_TABLE_H

#include <stdatomic.h>

#include "kv/kv.h"

#define MEM_ETAG_FROM 1024 /* values longer than this keep their ETag beside them */

struct mem_entry {
    uint64_t revision;
    int64_t expires_at_ms; /* 0: never */
    uint32_t space;
    uint32_t heap_at; /* place in the shard's heap, 1-based; 0: not in it */
    uint32_t value_len;
    uint16_t key_len;
    uint8_t type_len;
    uint8_t used : 1;   /* read since the clock hand passed (eviction) */
    uint8_t pinned : 1; /* a snapshot points to it: its bytes stay as they are */
    uint8_t gone : 1;   /* and is the last that does */
    uint8_t bytes[];    /* key, content type, [ETag], value */
};

struct mem_slot {
    uint64_t hash;
    struct mem_entry *entry; /* NULL: never used; MEM_TOMB: was */
};

#define MEM_TOMB ((struct mem_entry *)1)

struct mem_table {
    _Atomic(struct mem_slot *) slots; /* read without the lock only to prefetch */
    _Atomic uint32_t mask;            /* slots - 1 */
    uint32_t live;
    uint32_t tombs;
    uint32_t version; /* grows when slots move */
};

static inline struct slice mem_entry_key(const struct mem_entry *entry) {
    return slice_make(entry->bytes, entry->key_len);
}

static inline struct slice mem_entry_type(const struct mem_entry *entry) {
    return slice_make(entry->bytes + entry->key_len, entry->type_len);
}

/* The ETag kept beside the value, or NULL where it is computed on demand. */
static inline uint8_t *mem_entry_etag(struct mem_entry *entry) {
    return entry->value_len > MEM_ETAG_FROM ? entry->bytes + entry->key_len + entry->type_len
                                            : NULL;
}

static inline uint8_t *mem_entry_value_at(struct mem_entry *entry) {
    size_t etag = entry->value_len > MEM_ETAG_FROM ? HASH_MD5_BYTES : 0;
    return entry->bytes + entry->key_len + entry->type_len + etag;
}

static inline struct slice mem_entry_value(struct mem_entry *entry) {
    return slice_make(mem_entry_value_at(entry), entry->value_len);
}

/* Bytes an entry of these lengths needs. */
size_t mem_entry_size(size_t key_len, size_t type_len, size_t value_len);

/* The slot that holds the key, or NULL. */
struct mem_slot *mem_table_find(const struct mem_table *table, uint64_t hash, uint32_t space,
                                struct slice key);
/* An entry that has this hash and stands near where it should, or NULL. Looks at no entry. */
struct mem_entry *mem_table_probe(const struct mem_table *table, uint64_t hash);
/* Makes sure one insert will find room; false without memory. Slots may move. */
bool mem_table_reserve(struct mem_table *table);
/* Puts an entry whose key is not there; mem_table_reserve came before. */
void mem_table_insert(struct mem_table *table, uint64_t hash, struct mem_entry *entry);
/* Empties a slot; the entry is the caller's. Slots may move (the table shrinks). */
void mem_table_remove(struct mem_table *table, struct mem_slot *slot);
/* Frees the slots, not the entries. */
void mem_table_done(struct mem_table *table);

#endif
