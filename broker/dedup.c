/* SPDX-License-Identifier: MIT */
/* Ids seen within a queue's window. All entries live equally long (but those of a snapshot), so
 * they are forgotten in the order they came. An id is known by its MD5: 16 bytes however long it
 * is. */
#include <stdlib.h>

#include "base/hash.h"
#include "broker/internal.h"

#define FIRST_ROOM 64U

struct dedup_entry {
    struct dedup_entry *chain;
    struct dedup_entry *next, *prev; /* oldest first */
    int64_t until_ms;
    bool safe;    /* its message is */
    bool written; /* LMDB has it */
    uint8_t hash[HASH_MD5_BYTES];
};

struct dedup {
    struct dedup_entry **slots;
    size_t room, count;
    struct dedup_entry *oldest, *newest;
    struct dedup_entry *first_new; /* not yet written; NULL: none */
};

struct dedup *dedup_new(void) {
    return calloc(1, sizeof(struct dedup));
}

static struct dedup_entry **slot_of(const struct dedup *dedup, const uint8_t hash[16]) {
    uint64_t bits;
    memcpy(&bits, hash, sizeof bits);
    return &dedup->slots[bits & (dedup->room - 1)];
}

static struct dedup_entry *find(const struct dedup *dedup, const uint8_t hash[16]) {
    struct dedup_entry *entry = dedup->room ? *slot_of(dedup, hash) : NULL;
    while (entry && memcmp(entry->hash, hash, sizeof entry->hash) != 0)
        entry = entry->chain;
    return entry;
}

static void drop(struct dedup *dedup, struct dedup_entry *entry) {
    struct dedup_entry **link = slot_of(dedup, entry->hash);
    while (*link != entry)
        link = &(*link)->chain;
    *link = entry->chain;
    if (entry->prev)
        entry->prev->next = entry->next;
    else
        dedup->oldest = entry->next;
    if (entry->next)
        entry->next->prev = entry->prev;
    else
        dedup->newest = entry->prev;
    if (dedup->first_new == entry)
        dedup->first_new = entry->next;
    dedup->count--;
    free(entry);
}

void dedup_free(struct dedup *dedup) {
    if (!dedup)
        return;
    while (dedup->oldest)
        drop(dedup, dedup->oldest);
    free(dedup->slots);
    free(dedup);
}

bool dedup_seen(struct dedup *dedup, struct slice id, int64_t now_ms) {
    uint8_t hash[HASH_MD5_BYTES];
    while (dedup->oldest && dedup->oldest->until_ms <= now_ms && dedup->oldest->safe)
        drop(dedup, dedup->oldest);
    hash_md5(id, hash);
    struct dedup_entry *entry = find(dedup, hash);
    if (entry && entry->until_ms <= now_ms && entry->safe) { /* restored behind longer ones */
        drop(dedup, entry);
        entry = NULL;
    }
    return entry != NULL;
}

static enum err grow(struct dedup *dedup) {
    size_t room = dedup->room ? 2 * dedup->room : FIRST_ROOM;
    struct dedup_entry **slots = calloc(room, sizeof(struct dedup_entry *));
    if (!slots)
        return ERR_OUT_OF_MEMORY;
    free(dedup->slots);
    dedup->slots = slots;
    dedup->room = room;
    for (struct dedup_entry *entry = dedup->oldest; entry; entry = entry->next) {
        struct dedup_entry **slot = slot_of(dedup, entry->hash);
        entry->chain = *slot;
        *slot = entry;
    }
    return OK;
}

static struct dedup_entry *add(struct dedup *dedup, const uint8_t hash[16], int64_t until_ms) {
    if (dedup->count >= dedup->room && grow(dedup))
        return NULL;
    struct dedup_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    memcpy(entry->hash, hash, sizeof entry->hash);
    entry->until_ms = until_ms;
    struct dedup_entry **slot = slot_of(dedup, hash);
    entry->chain = *slot;
    *slot = entry;
    entry->prev = dedup->newest;
    if (dedup->newest)
        dedup->newest->next = entry;
    else
        dedup->oldest = entry;
    dedup->newest = entry;
    dedup->count++;
    return entry;
}

struct dedup_entry *dedup_add(struct dedup *dedup, struct slice id, int64_t until_ms) {
    uint8_t hash[HASH_MD5_BYTES];
    hash_md5(id, hash);
    struct dedup_entry *entry = add(dedup, hash, until_ms);
    if (entry && !dedup->first_new)
        dedup->first_new = entry;
    return entry;
}

void dedup_confirm(struct dedup_entry *entry) {
    entry->safe = true;
}

void dedup_take_back(struct dedup *dedup, struct dedup_entry *entry) {
    drop(dedup, entry);
}

void dedup_each_new(struct dedup *dedup,
                    bool (*take)(void *context, const uint8_t hash[16], int64_t until_ms),
                    void *context) {
    struct dedup_entry *entry = dedup->first_new;
    while (entry &&
           (entry->written || (entry->safe && take(context, entry->hash, entry->until_ms)))) {
        entry->written = true;
        entry = entry->next;
    }
    dedup->first_new = entry;
}

void dedup_write_again(struct dedup *dedup) {
    for (struct dedup_entry *entry = dedup->oldest; entry; entry = entry->next)
        entry->written = false;
    dedup->first_new = dedup->oldest;
}

enum err dedup_restore(struct dedup *dedup, const uint8_t hash[16], int64_t until_ms) {
    if (find(dedup, hash))
        return OK;
    struct dedup_entry *entry = add(dedup, hash, until_ms);
    if (!entry)
        return ERR_OUT_OF_MEMORY;
    entry->safe = entry->written = true;
    return OK;
}
