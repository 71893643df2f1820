/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "broker/match_inside.h"

#define FIRST_BUCKETS 8

uint64_t match_mix(uint64_t a, uint64_t b) {
    uint64_t mixed = a ^ (b * UINT64_C(0x9E3779B97F4A7C15));
    mixed = (mixed ^ (mixed >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    return mixed ^ (mixed >> 32);
}

enum err match_table_init(struct match_table *table) {
    struct match_item **buckets = calloc(FIRST_BUCKETS, sizeof *buckets);
    if (!buckets)
        return ERR_OUT_OF_MEMORY;
    *table = (struct match_table){.buckets = buckets, .mask = FIRST_BUCKETS - 1};
    return OK;
}

void match_table_done(struct match_table *table) {
    free(table->buckets);
}

static void insert(struct match_table *table, struct match_item *item) {
    struct match_item **bucket = &table->buckets[item->hash & table->mask];
    item->next = *bucket;
    *bucket = item;
}

static void grow(struct match_table *table) {
    size_t old_buckets = table->mask + 1;
    struct match_item **old = table->buckets;
    struct match_item **buckets = calloc(old_buckets * 2, sizeof *buckets);
    if (!buckets)
        return;
    table->buckets = buckets;
    table->mask = old_buckets * 2 - 1;
    for (size_t i = 0; i < old_buckets; i++) {
        for (struct match_item *item = old[i], *next; item; item = next) {
            next = item->next;
            insert(table, item);
        }
    }
    free(old);
}

void match_table_put(struct match_table *table, struct match_item *item) {
    if (table->count > table->mask)
        grow(table);
    insert(table, item);
    table->count++;
}

void match_table_drop(struct match_table *table, struct match_item *item) {
    struct match_item **at = &table->buckets[item->hash & table->mask];
    while (*at != item)
        at = &(*at)->next;
    *at = item->next;
    table->count--;
}

static struct match_item *same(struct match_item *item, uint64_t hash) {
    while (item && item->hash != hash)
        item = item->next;
    return item;
}

struct match_item *match_table_first(const struct match_table *table, uint64_t hash) {
    return same(table->buckets[hash & table->mask], hash);
}

struct match_item *match_table_next(const struct match_item *item) {
    return same(item->next, item->hash);
}
