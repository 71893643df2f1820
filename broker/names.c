/* SPDX-License-Identifier: MIT */
#include "broker/names.h"

#include <stdlib.h>

#include "base/hash.h"

#define FIRST_ROOM 64U

struct name_entry {
    struct name_entry *next;
    uint64_t hash;
    void *value;
    size_t len;
    char bytes[];
};

void names_init(struct names *names) {
    *names = (struct names){.seed = hash_process_seed()};
}

void names_done(struct names *names) {
    for (size_t i = 0; i < names->room; i++)
        while (names->slots[i]) {
            struct name_entry *next = names->slots[i]->next;
            free(names->slots[i]);
            names->slots[i] = next;
        }
    free(names->slots);
    names->slots = NULL;
    names->count = names->room = 0;
}

/* The link that points to the entry, or to the end of its chain. */
static struct name_entry **find(const struct names *names, struct slice name, uint64_t hash) {
    struct name_entry **link = &names->slots[hash & (names->room - 1)];
    while (*link &&
           ((*link)->hash != hash || !slice_equal(slice_make((*link)->bytes, (*link)->len), name)))
        link = &(*link)->next;
    return link;
}

void *names_get(const struct names *names, struct slice name) {
    if (names->count == 0)
        return NULL;
    const struct name_entry *entry = *find(names, name, hash_seeded(name, names->seed));
    return entry ? entry->value : NULL;
}

static enum err grow(struct names *names) {
    size_t room = names->room ? 2 * names->room : FIRST_ROOM;
    struct name_entry **slots = calloc(room, sizeof(struct name_entry *));
    if (!slots)
        return ERR_OUT_OF_MEMORY;
    for (size_t i = 0; i < names->room; i++)
        while (names->slots[i]) {
            struct name_entry *entry = names->slots[i];
            names->slots[i] = entry->next;
            entry->next = slots[entry->hash & (room - 1)];
            slots[entry->hash & (room - 1)] = entry;
        }
    free(names->slots);
    names->slots = slots;
    names->room = room;
    return OK;
}

enum err names_put(struct names *names, struct slice name, void *value) {
    if (names->count >= names->room && grow(names))
        return ERR_OUT_OF_MEMORY;
    struct name_entry *entry = malloc(sizeof *entry + name.len);
    if (!entry)
        return ERR_OUT_OF_MEMORY;
    entry->hash = hash_seeded(name, names->seed);
    entry->value = value;
    entry->len = name.len;
    if (name.len)
        memcpy(entry->bytes, name.ptr, name.len);
    struct name_entry **slot = &names->slots[entry->hash & (names->room - 1)];
    entry->next = *slot;
    *slot = entry;
    names->count++;
    return OK;
}

void *names_take(struct names *names, struct slice name) {
    if (names->count == 0)
        return NULL;
    struct name_entry **link = find(names, name, hash_seeded(name, names->seed));
    struct name_entry *entry = *link;
    if (!entry)
        return NULL;
    void *value = entry->value;
    *link = entry->next;
    names->count--;
    free(entry);
    return value;
}

void names_each(const struct names *names,
                void (*take)(void *context, struct slice name, void *value), void *context) {
    for (size_t i = 0; i < names->room; i++)
        for (const struct name_entry *entry = names->slots[i]; entry; entry = entry->next)
            take(context, slice_make(entry->bytes, entry->len), entry->value);
}
