/* SPDX-License-Identifier: MIT */
#include "kv/mem_table.h"

#include <stdlib.h>

#define FIRST_SLOTS 16U

static struct mem_slot *slots_of(const struct mem_table *table) {
    return atomic_load_explicit(&table->slots, memory_order_relaxed);
}

static uint32_t mask_of(const struct mem_table *table) {
    return atomic_load_explicit(&table->mask, memory_order_relaxed);
}

size_t mem_entry_size(size_t key_len, size_t type_len, size_t value_len) {
    size_t etag = value_len > MEM_ETAG_FROM ? HASH_MD5_BYTES : 0;
    return sizeof(struct mem_entry) + key_len + type_len + etag + value_len;
}

struct mem_slot *mem_table_find(const struct mem_table *table, uint64_t hash, uint32_t space,
                                struct slice key) {
    struct mem_slot *slots = slots_of(table);
    if (!slots)
        return NULL;
    uint32_t mask = mask_of(table);
    for (uint32_t at = (uint32_t)hash & mask; slots[at].entry; at = (at + 1) & mask) {
        struct mem_slot *slot = &slots[at];
        if (slot->hash == hash && slot->entry != MEM_TOMB && slot->entry->space == space &&
            slice_equal(mem_entry_key(slot->entry), key))
            return slot;
    }
    return NULL;
}

struct mem_entry *mem_table_probe(const struct mem_table *table, uint64_t hash) {
    const struct mem_slot *slots = slots_of(table);
    if (!slots)
        return NULL;
    uint32_t mask = mask_of(table);
    uint32_t at = (uint32_t)hash & mask;
    for (unsigned i = 0; i < 4 && slots[at].entry; i++, at = (at + 1) & mask)
        if (slots[at].hash == hash && slots[at].entry != MEM_TOMB)
            return slots[at].entry;
    return NULL;
}

static bool rebuild(struct mem_table *table, uint32_t slot_count) {
    struct mem_slot *fresh = calloc(slot_count, sizeof *fresh);
    if (!fresh)
        return false;
    struct mem_slot *old = slots_of(table);
    uint32_t old_count = old ? mask_of(table) + 1 : 0;
    for (uint32_t i = 0; i < old_count; i++) {
        if (!old[i].entry || old[i].entry == MEM_TOMB)
            continue;
        uint32_t at = (uint32_t)old[i].hash & (slot_count - 1);
        while (fresh[at].entry)
            at = (at + 1) & (slot_count - 1);
        fresh[at] = old[i];
    }
    atomic_store_explicit(&table->slots, fresh, memory_order_relaxed);
    atomic_store_explicit(&table->mask, slot_count - 1, memory_order_relaxed);
    table->tombs = 0;
    table->version++;
    free(old);
    return true;
}

bool mem_table_reserve(struct mem_table *table) {
    if (!slots_of(table))
        return rebuild(table, FIRST_SLOTS);
    uint32_t count = mask_of(table) + 1;
    if ((table->live + table->tombs + 1) * 8ULL <= count * 7ULL)
        return true;
    return rebuild(table, table->live * 2ULL >= count ? count * 2 : count);
}

void mem_table_insert(struct mem_table *table, uint64_t hash, struct mem_entry *entry) {
    struct mem_slot *slots = slots_of(table);
    uint32_t mask = mask_of(table);
    uint32_t at = (uint32_t)hash & mask;
    while (slots[at].entry && slots[at].entry != MEM_TOMB)
        at = (at + 1) & mask;
    if (slots[at].entry == MEM_TOMB)
        table->tombs--;
    slots[at] = (struct mem_slot){hash, entry};
    table->live++;
}

void mem_table_remove(struct mem_table *table, struct mem_slot *slot) {
    struct mem_slot *slots = slots_of(table);
    uint32_t mask = mask_of(table);
    uint32_t at = (uint32_t)(slot - slots);
    table->live--;
    slot->entry = MEM_TOMB;
    table->tombs++;
    /* a tombstone before a slot that never was used stops no search */
    while (!slots[(at + 1) & mask].entry && slots[at].entry == MEM_TOMB) {
        slots[at].entry = NULL;
        table->tombs--;
        at = (at - 1) & mask;
    }
    if (table->live == 0)
        mem_table_done(table);
    else if (mask + 1 > FIRST_SLOTS && table->live * 8ULL < mask + 1) {
        /* without memory the wide table serves as well */
        if (!rebuild(table, (mask + 1) / 4 < FIRST_SLOTS ? FIRST_SLOTS : (mask + 1) / 4))
            return;
    }
}

void mem_table_done(struct mem_table *table) {
    free(slots_of(table));
    atomic_store_explicit(&table->slots, NULL, memory_order_relaxed);
    atomic_store_explicit(&table->mask, 0, memory_order_relaxed);
    table->live = 0;
    table->tombs = 0;
    table->version++;
}
