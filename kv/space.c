/* SPDX-License-Identifier: MIT */
#include "kv/space.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"
#include "kv/kv.h"

struct space_name {
    uint32_t number;
    uint32_t hash;
    uint8_t ns_len;
    struct uuid workspace;
    char ns[];
};

struct spaces {
    pthread_rwlock_t lock;
    uint64_t serial; /* tells a thread's note of this registry from one of another */
    uint64_t seed;
    struct space_name **slots;
    uint32_t slot_count; /* a power of two */
    uint32_t count;
    uint32_t next_number;
};

/* What this thread asked last. */
struct note {
    uint64_t serial;
    uint32_t number;
    uint32_t ns_len;
    struct uuid workspace;
    char ns[KV_NAMESPACE_MAX];
};

static _Thread_local struct note note;
static _Atomic uint64_t serials;

struct spaces *spaces_new(void) {
    struct spaces *spaces = calloc(1, sizeof *spaces);
    if (!spaces)
        return NULL;
    spaces->slot_count = 64;
    spaces->slots = calloc(spaces->slot_count, sizeof *spaces->slots);
    if (!spaces->slots) {
        free(spaces);
        return NULL;
    }
    pthread_rwlock_init(&spaces->lock, NULL);
    spaces->serial = atomic_fetch_add(&serials, 1) + 1;
    spaces->seed = hash_process_seed();
    return spaces;
}

void spaces_free(struct spaces *spaces) {
    if (!spaces)
        return;
    for (uint32_t i = 0; i < spaces->slot_count; i++)
        free(spaces->slots[i]);
    free(spaces->slots);
    pthread_rwlock_destroy(&spaces->lock);
    free(spaces);
}

static uint32_t hash_name(const struct spaces *spaces, const struct uuid *workspace,
                          struct slice ns) {
    uint64_t seed = hash_seeded(slice_make(workspace, sizeof *workspace), spaces->seed);
    return (uint32_t)hash_seeded(ns, seed);
}

static struct space_name **slot_of(const struct spaces *spaces, uint32_t hash,
                                   const struct uuid *workspace, struct slice ns) {
    uint32_t at = hash & (spaces->slot_count - 1);
    while (spaces->slots[at]) {
        const struct space_name *name = spaces->slots[at];
        if (name->hash == hash && memcmp(&name->workspace, workspace, sizeof *workspace) == 0 &&
            slice_equal(slice_make(name->ns, name->ns_len), ns))
            break;
        at = (at + 1) & (spaces->slot_count - 1);
    }
    return &spaces->slots[at];
}

static bool noted(const struct spaces *spaces, const struct uuid *workspace, struct slice ns) {
    return note.serial == spaces->serial && note.ns_len == ns.len &&
           memcmp(&note.workspace, workspace, sizeof *workspace) == 0 &&
           memcmp(note.ns, ns.ptr, ns.len) == 0;
}

static void take_note(const struct spaces *spaces, const struct uuid *workspace, struct slice ns,
                      uint32_t number) {
    note.serial = spaces->serial;
    note.number = number;
    note.workspace = *workspace;
    note.ns_len = (uint32_t)ns.len;
    memcpy(note.ns, ns.ptr, ns.len);
}

uint32_t spaces_find(struct spaces *spaces, const struct uuid *workspace, struct slice ns) {
    if (noted(spaces, workspace, ns))
        return note.number;
    uint32_t hash = hash_name(spaces, workspace, ns);
    pthread_rwlock_rdlock(&spaces->lock);
    const struct space_name *name = *slot_of(spaces, hash, workspace, ns);
    uint32_t number = name ? name->number : SPACE_NONE;
    pthread_rwlock_unlock(&spaces->lock);
    if (number != SPACE_NONE)
        take_note(spaces, workspace, ns, number);
    return number;
}

static bool grow_locked(struct spaces *spaces) {
    if (spaces->count * 2 < spaces->slot_count)
        return true;
    uint32_t wider = spaces->slot_count * 2;
    struct space_name **slots = calloc(wider, sizeof *slots);
    if (!slots)
        return false;
    for (uint32_t i = 0; i < spaces->slot_count; i++) {
        if (!spaces->slots[i])
            continue;
        uint32_t at = spaces->slots[i]->hash & (wider - 1);
        while (slots[at])
            at = (at + 1) & (wider - 1);
        slots[at] = spaces->slots[i];
    }
    free(spaces->slots);
    spaces->slots = slots;
    spaces->slot_count = wider;
    return true;
}

static enum err add_locked(struct spaces *spaces, uint32_t number, const struct uuid *workspace,
                           struct slice ns, uint32_t *ret_space) {
    uint32_t hash = hash_name(spaces, workspace, ns);
    struct space_name **slot = slot_of(spaces, hash, workspace, ns);
    if (*slot) {
        *ret_space = (*slot)->number;
        return OK;
    }
    struct space_name *name = NULL;
    if (spaces->count < SPACES_MAX && grow_locked(spaces))
        name = malloc(sizeof *name + ns.len);
    if (!name)
        return ERR_OUT_OF_MEMORY;
    *name = (struct space_name){number, hash, (uint8_t)ns.len, *workspace};
    memcpy(name->ns, ns.ptr, ns.len);
    *slot_of(spaces, hash, workspace, ns) = name;
    spaces->count++;
    if (number >= spaces->next_number)
        spaces->next_number = number + 1;
    *ret_space = number;
    return OK;
}

enum err spaces_make(struct spaces *spaces, const struct uuid *workspace, struct slice ns,
                     uint32_t *ret_space) {
    uint32_t number = spaces_find(spaces, workspace, ns);
    enum err err = OK;
    if (number == SPACE_NONE) {
        pthread_rwlock_wrlock(&spaces->lock);
        err = add_locked(spaces, spaces->next_number, workspace, ns, &number);
        pthread_rwlock_unlock(&spaces->lock);
    }
    if (!err)
        *ret_space = number;
    return err;
}

enum err spaces_restore(struct spaces *spaces, uint32_t space, const struct uuid *workspace,
                        struct slice ns) {
    uint32_t number;
    pthread_rwlock_wrlock(&spaces->lock);
    enum err err = add_locked(spaces, space, workspace, ns, &number);
    pthread_rwlock_unlock(&spaces->lock);
    return err;
}

struct space_table {
    uint32_t count;
    const struct space_name *names[]; /* NULL: none */
};

/* A name never changes, and stays where it is. */
enum err space_table_make(struct spaces *spaces, struct space_table **ret_table) {
    pthread_rwlock_rdlock(&spaces->lock);
    uint32_t count = spaces->next_number;
    struct space_table *table =
        calloc(1, sizeof *table + count * sizeof(const struct space_name *));
    for (uint32_t i = 0; table && i < spaces->slot_count; i++)
        if (spaces->slots[i])
            table->names[spaces->slots[i]->number] = spaces->slots[i];
    pthread_rwlock_unlock(&spaces->lock);
    if (!table)
        return ERR_OUT_OF_MEMORY;
    table->count = count;
    *ret_table = table;
    return OK;
}

void space_table_free(struct space_table *table) {
    free(table);
}

bool space_table_get(const struct space_table *table, uint32_t space, struct uuid *ret_workspace,
                     struct slice *ret_ns) {
    const struct space_name *name = space < table->count ? table->names[space] : NULL;
    if (!name)
        return false;
    *ret_workspace = name->workspace;
    *ret_ns = slice_make(name->ns, name->ns_len);
    return true;
}
