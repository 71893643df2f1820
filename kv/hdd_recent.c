/* SPDX-License-Identifier: MIT */
#include "kv/hdd_recent.h"

#include <stdlib.h>

#define CHUNK_BYTES (1U << 20)
#define FIRST_SLOTS 16U

struct recent_chunk {
    struct recent_chunk *next;
    size_t used, size;
    _Alignas(16) char bytes[];
};

static struct generation *new_generation(struct generation *older) {
    struct generation *generation = calloc(1, sizeof *generation);
    if (generation)
        generation->older = older;
    return generation;
}

static void free_generation(struct generation *generation) {
    for (unsigned i = 0; i < RECENT_STRIPES; i++)
        free(generation->tables[i].slots);
    while (generation->chunks) {
        struct recent_chunk *next = generation->chunks->next;
        free(generation->chunks);
        generation->chunks = next;
    }
    free(generation);
}

enum err recent_open(struct recent *recent) {
    recent->active = new_generation(NULL);
    if (!recent->active)
        return ERR_OUT_OF_MEMORY;
    for (unsigned i = 0; i < RECENT_STRIPES; i++)
        pthread_mutex_init(&recent->stripes[i].lock, NULL);
    return OK;
}

void recent_close(struct recent *recent) {
    while (recent->active) {
        struct generation *older = recent->active->older;
        free_generation(recent->active);
        recent->active = older;
    }
    for (unsigned i = 0; i < RECENT_STRIPES; i++)
        pthread_mutex_destroy(&recent->stripes[i].lock);
}

void recent_lock(struct recent *recent, uint64_t hash) {
    pthread_mutex_lock(&recent->stripes[recent_stripe_of(hash)].lock);
}

void recent_unlock(struct recent *recent, uint64_t hash) {
    pthread_mutex_unlock(&recent->stripes[recent_stripe_of(hash)].lock);
}

static void lock_all(struct recent *recent) {
    for (unsigned i = 0; i < RECENT_STRIPES; i++)
        pthread_mutex_lock(&recent->stripes[i].lock);
}

static void unlock_all(struct recent *recent) {
    for (unsigned i = 0; i < RECENT_STRIPES; i++)
        pthread_mutex_unlock(&recent->stripes[i].lock);
}

static struct recent_slot *find_slot(const struct recent_table *table, uint64_t hash,
                                     uint32_t space, struct slice key) {
    if (!table->slots)
        return NULL;
    for (uint32_t at = (uint32_t)hash & table->mask; table->slots[at].hash;
         at = (at + 1) & table->mask) {
        struct recent_slot *slot = &table->slots[at];
        if (slot->hash == hash && slot->newest && slot->newest->space == space &&
            slice_equal(version_key(slot->newest), key))
            return slot;
    }
    return NULL;
}

const struct version *recent_find_locked(const struct recent *recent, uint64_t hash, uint32_t space,
                                         struct slice key, uint64_t visible) {
    unsigned stripe = recent_stripe_of(hash);
    for (const struct generation *at = recent->active; at; at = at->older) {
        const struct recent_slot *slot = find_slot(&at->tables[stripe], hash, space, key);
        const struct version *version = slot ? slot->newest : NULL;
        while (version && version->seq > visible)
            version = version->older;
        if (version)
            return version;
    }
    return NULL;
}

static bool reserve_slot(struct recent_table *table) {
    uint32_t count = table->slots ? table->mask + 1 : 0;
    if (count && (table->used + 1) * 4ULL <= count * 3ULL)
        return true;
    uint32_t wider = count ? count * 2 : FIRST_SLOTS;
    struct recent_slot *slots = calloc(wider, sizeof *slots);
    if (!slots)
        return false;
    table->used = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!table->slots[i].newest)
            continue;
        uint32_t at = (uint32_t)table->slots[i].hash & (wider - 1);
        while (slots[at].hash)
            at = (at + 1) & (wider - 1);
        slots[at] = table->slots[i];
        table->used++;
    }
    free(table->slots);
    table->slots = slots;
    table->mask = wider - 1;
    return true;
}

static struct recent_slot *make_slot(struct recent_table *table, uint64_t hash, uint32_t space,
                                     struct slice key) {
    struct recent_slot *slot = find_slot(table, hash, space, key);
    if (slot)
        return slot;
    if (!reserve_slot(table))
        return NULL;
    uint32_t at = (uint32_t)hash & table->mask;
    while (table->slots[at].hash)
        at = (at + 1) & table->mask;
    table->slots[at].hash = hash;
    table->used++;
    return &table->slots[at];
}

/* Only the committer allocates. */
static void *take_bytes(struct recent *recent, size_t size) {
    struct generation *generation = recent->active;
    size = (size + 15) / 16 * 16;
    struct recent_chunk *chunk = generation->chunks;
    if (!chunk || chunk->size - chunk->used < size) {
        size_t room = size > CHUNK_BYTES / 4 ? size : CHUNK_BYTES;
        struct recent_chunk *fresh = malloc(sizeof *fresh + room);
        if (!fresh)
            return NULL;
        *fresh = (struct recent_chunk){generation->chunks, 0, room};
        if (chunk && room == size) { /* a large value has its own; the open one stays in front */
            fresh->next = chunk->next;
            chunk->next = fresh;
        } else {
            generation->chunks = fresh;
        }
        chunk = fresh;
    }
    void *at = chunk->bytes + chunk->used;
    chunk->used += size;
    generation->bytes += size;
    atomic_fetch_add_explicit(&recent->bytes, size, memory_order_relaxed);
    atomic_store_explicit(&recent->active_bytes, generation->bytes, memory_order_relaxed);
    return at;
}

static void fill(struct version *version, const struct recent_put *put) {
    *version = (struct version){.seq = put->seq,
                                .expires_at_ms = put->expires_at_ms,
                                .space = put->space,
                                .value_len = (uint32_t)put->value.len,
                                .key_len = (uint16_t)put->key.len,
                                .type_len = (uint8_t)put->type.len,
                                .dead = put->dead,
                                .sealed = put->sealed};
    char *at = version->bytes;
    memcpy(at, put->key.ptr, put->key.len);
    at += put->key.len;
    if (put->type.len)
        memcpy(at, put->type.ptr, put->type.len);
    at += put->type.len;
    if (put->value.len && put->value.ptr)
        memcpy(at, put->value.ptr, put->value.len);
}

struct version *recent_put(struct recent *recent, const struct recent_put *put) {
    /* a slot's share is counted with its version */
    struct version *version = take_bytes(recent, sizeof *version + put->key.len + put->type.len +
                                                     put->value.len + sizeof(struct recent_slot));
    if (!version)
        return NULL;
    fill(version, put);
    recent_lock(recent, put->hash);
    struct recent_slot *slot = make_slot(&recent->active->tables[recent_stripe_of(put->hash)],
                                         put->hash, put->space, put->key);
    if (slot) {
        version->older = slot->newest;
        slot->newest = version;
    }
    recent_unlock(recent, put->hash);
    return slot ? version : NULL;
}

void recent_take_back(struct recent *recent, uint64_t hash, const struct version *version) {
    recent_lock(recent, hash);
    struct recent_slot *slot = find_slot(&recent->active->tables[recent_stripe_of(hash)], hash,
                                         version->space, version_key(version));
    if (slot && slot->newest == version)
        slot->newest = version->older;
    recent_unlock(recent, hash);
}

void recent_flush(struct recent *recent, uint64_t seq) {
    recent->active->flush_seq = seq;
}

bool recent_freeze(struct recent *recent, uint64_t last_seq) {
    struct generation *fresh = new_generation(recent->active);
    if (!fresh)
        return false;
    recent->active->last_seq = last_seq;
    lock_all(recent);
    recent->active = fresh;
    unlock_all(recent);
    atomic_store(&recent->active_bytes, 0);
    return true;
}

struct generation *recent_oldest_frozen(struct recent *recent) {
    pthread_mutex_lock(&recent->stripes[0].lock);
    struct generation *generation = recent->active->older;
    while (generation && generation->older)
        generation = generation->older;
    pthread_mutex_unlock(&recent->stripes[0].lock);
    return generation;
}

void recent_retire(struct recent *recent, struct generation *generation) {
    lock_all(recent);
    struct generation *newer = recent->active;
    while (newer->older != generation)
        newer = newer->older;
    newer->older = NULL;
    uint64_t bytes = generation->bytes;
    generation->retired = true;
    bool done = generation->pins == 0;
    unlock_all(recent);
    atomic_fetch_sub_explicit(&recent->bytes, bytes, memory_order_relaxed);
    if (done)
        free_generation(generation);
}

/* ---- snapshots ---- */

enum err recent_pin(struct recent *recent, struct recent_pins *ret_pins) {
    unsigned count = 0;
    lock_all(recent);
    for (struct generation *at = recent->active; at && count < RECENT_PINS_MAX; at = at->older)
        ret_pins->generations[count++] = at;
    bool all = !ret_pins->generations[count - 1]->older;
    for (unsigned i = 0; all && i < count; i++)
        ret_pins->generations[i]->pins++;
    ret_pins->count = all ? count : 0;
    unlock_all(recent);
    return all ? OK : ERR_INTERNAL;
}

void recent_unpin(struct recent *recent, struct recent_pins *pins) {
    while (pins->count) {
        struct generation *generation = pins->generations[--pins->count];
        lock_all(recent);
        bool done = --generation->pins == 0 && generation->retired;
        unlock_all(recent);
        if (done)
            free_generation(generation);
    }
}

static const struct version *up_to(const struct version *version, uint64_t visible) {
    while (version && version->seq > visible)
        version = version->older;
    return version;
}

static bool have_locked(const struct recent_pins *pins, unsigned count, uint64_t hash,
                        uint32_t space, struct slice key, uint64_t visible) {
    for (unsigned i = 0; i < count; i++) {
        const struct recent_table *table = &pins->generations[i]->tables[recent_stripe_of(hash)];
        const struct recent_slot *slot = find_slot(table, hash, space, key);
        if (slot && up_to(slot->newest, visible))
            return true;
    }
    return false;
}

bool recent_pins_have(struct recent *recent, const struct recent_pins *pins, uint64_t hash,
                      uint32_t space, struct slice key, uint64_t visible) {
    recent_lock(recent, hash);
    bool have = have_locked(pins, pins->count, hash, space, key, visible);
    recent_unlock(recent, hash);
    return have;
}

enum err recent_pins_list(struct recent *recent, const struct recent_pins *pins, unsigned stripe,
                          uint64_t visible, const struct version ***ret_list, size_t *ret_count) {
    size_t most = 0;
    size_t count = 0;
    pthread_mutex_lock(&recent->stripes[stripe].lock);
    for (unsigned i = 0; i < pins->count; i++)
        most += pins->generations[i]->tables[stripe].used;
    const struct version **list = malloc((most + 1) * sizeof(const struct version *));
    for (unsigned i = 0; list && i < pins->count; i++) {
        const struct recent_table *table = &pins->generations[i]->tables[stripe];
        for (uint32_t at = 0; table->slots && at <= table->mask; at++) {
            const struct recent_slot *slot = &table->slots[at];
            const struct version *version = up_to(slot->newest, visible);
            if (version &&
                !have_locked(pins, i, slot->hash, version->space, version_key(version), visible))
                list[count++] = version;
        }
    }
    pthread_mutex_unlock(&recent->stripes[stripe].lock);
    if (!list)
        return ERR_OUT_OF_MEMORY;
    *ret_list = list;
    *ret_count = count;
    return OK;
}
