/* SPDX-License-Identifier: MIT */
#include "broker/match.h"

#include <stdlib.h>

#include "base/hash.h"
#include "broker/match_inside.h"

struct target {
    struct match_item item; /* by its address */
    void *address;
    unsigned place;             /* in the set's array */
    struct match_ring bindings; /* at least one, once it is added */
};

struct binding {
    struct match_item item; /* by pattern and target */
    struct match_pattern *pattern;
    struct target *target;
    struct match_ring of_pattern, of_target, of_set;
};

struct match_set {
    enum broker_router_type type;
    uint64_t seed;
    struct match_table patterns, targets, bindings;
    struct match_ring order;   /* of the bindings: oldest first */
    void **addresses;          /* of all targets, without gaps: what a fanout reaches */
    unsigned room;             /* of addresses */
    struct match_topic *topic; /* NULL: another type */
};

void match_result_init(struct match_result *result) {
    result->targets = result->few;
    result->count = 0;
    result->room = MATCH_FEW;
    result->steps = 0;
}

void match_result_done(struct match_result *result) {
    if (result->targets != result->few)
        free(result->targets);
    match_result_init(result);
}

static enum err result_grow(struct match_result *result, size_t room) {
    void **old = result->targets == result->few ? NULL : result->targets;
    if (room > UINT32_MAX)
        return ERR_OUT_OF_MEMORY;
    void **targets = realloc(old, room * sizeof *targets);
    if (!targets)
        return ERR_OUT_OF_MEMORY;
    if (!old)
        memcpy(targets, result->few, result->count * sizeof *targets);
    result->targets = targets;
    result->room = (unsigned)room;
    return OK;
}

static int compare_addresses(const void *a, const void *b) {
    uintptr_t left = (uintptr_t) * (void *const *)a, right = (uintptr_t) * (void *const *)b;
    return (left > right) - (left < right);
}

void match_result_unique(struct match_result *result) {
    unsigned kept = 0;
    qsort(result->targets, result->count, sizeof *result->targets, compare_addresses);
    for (unsigned i = 0; i < result->count; i++) {
        if (kept == 0 || result->targets[kept - 1] != result->targets[i])
            result->targets[kept++] = result->targets[i];
    }
    result->count = kept;
}

enum err match_result_take(struct match_result *result, const struct match_pattern *pattern) {
    if (pattern->count > result->room - result->count) {
        match_result_unique(result);
        /* half of it must be free now, or it would be sorted again and again for little */
        size_t wanted = (size_t)result->count + pattern->count;
        if (wanted > result->room / 2 && result_grow(result, wanted * 2) != OK)
            return ERR_OUT_OF_MEMORY;
    }
    for (struct match_ring *at = pattern->bindings.next; at != &pattern->bindings; at = at->next)
        result->targets[result->count++] =
            MATCH_HOLDER(at, struct binding, of_pattern)->target->address;
    return OK;
}

void match_set_free(struct match_set *set) {
    if (!set)
        return;
    while (set->order.next != &set->order) {
        const struct binding *oldest = MATCH_HOLDER(set->order.next, struct binding, of_set);
        match_remove_target(set, oldest->target->address);
    }
    match_topic_free(set->topic);
    match_table_done(&set->patterns);
    match_table_done(&set->targets);
    match_table_done(&set->bindings);
    free(set->addresses);
    free(set);
}

enum err match_set_new(enum broker_router_type type, struct match_set **ret_set) {
    struct match_set *set = calloc(1, sizeof *set);
    if (!set)
        return ERR_OUT_OF_MEMORY;
    set->type = type;
    set->seed = hash_process_seed();
    match_ring_init(&set->order);
    if (match_table_init(&set->patterns) != OK || match_table_init(&set->targets) != OK ||
        match_table_init(&set->bindings) != OK ||
        (type == ROUTER_TOPIC && match_topic_new(&set->topic) != OK)) {
        match_set_free(set);
        return ERR_OUT_OF_MEMORY;
    }
    *ret_set = set;
    return OK;
}

static struct match_pattern *find_pattern(const struct match_set *set, struct slice bytes) {
    struct match_item *item = match_table_first(&set->patterns, hash_seeded(bytes, set->seed));
    for (; item; item = match_table_next(item)) {
        struct match_pattern *pattern = (struct match_pattern *)item;
        if (slice_equal(slice_make(pattern->bytes, pattern->len), bytes))
            return pattern;
    }
    return NULL;
}

static struct target *find_target(const struct match_set *set, const void *address) {
    uint64_t hash = match_mix(set->seed, (uintptr_t)address);
    struct match_item *item = match_table_first(&set->targets, hash);
    while (item && ((struct target *)item)->address != address)
        item = match_table_next(item);
    return (struct target *)item;
}

static uint64_t binding_hash(const struct match_pattern *pattern, const struct target *target) {
    return match_mix(pattern->item.hash, target->item.hash);
}

static struct binding *find_binding(const struct match_set *set,
                                    const struct match_pattern *pattern,
                                    const struct target *target) {
    if (!pattern || !target)
        return NULL;
    struct match_item *item = match_table_first(&set->bindings, binding_hash(pattern, target));
    for (; item; item = match_table_next(item)) {
        struct binding *binding = (struct binding *)item;
        if (binding->pattern == pattern && binding->target == target)
            return binding;
    }
    return NULL;
}

static struct match_pattern *add_pattern(struct match_set *set, struct slice bytes) {
    struct match_pattern *pattern = calloc(1, sizeof *pattern + bytes.len);
    if (!pattern)
        return NULL;
    pattern->item.hash = hash_seeded(bytes, set->seed);
    match_ring_init(&pattern->bindings);
    pattern->len = bytes.len;
    if (bytes.len)
        memcpy(pattern->bytes, bytes.ptr, bytes.len);
    if (set->topic && match_topic_add(set->topic, pattern) != OK) {
        free(pattern);
        return NULL;
    }
    match_table_put(&set->patterns, &pattern->item);
    return pattern;
}

static bool make_room(struct match_set *set) {
    if (set->targets.count < set->room)
        return true;
    size_t room = set->room ? (size_t)set->room * 2 : 8;
    void **addresses = room > UINT32_MAX ? NULL : realloc(set->addresses, room * sizeof *addresses);
    if (!addresses)
        return false;
    set->addresses = addresses;
    set->room = (unsigned)room;
    return true;
}

static struct target *add_target(struct match_set *set, void *address) {
    struct target *target = make_room(set) ? calloc(1, sizeof *target) : NULL;
    if (!target)
        return NULL;
    target->item.hash = match_mix(set->seed, (uintptr_t)address);
    target->address = address;
    target->place = (unsigned)set->targets.count;
    match_ring_init(&target->bindings);
    set->addresses[target->place] = address;
    match_table_put(&set->targets, &target->item);
    return target;
}

static void drop_pattern_if_idle(struct match_set *set, struct match_pattern *pattern) {
    if (!pattern || pattern->count > 0)
        return;
    if (set->topic)
        match_topic_remove(set->topic, pattern);
    match_table_drop(&set->patterns, &pattern->item);
    free(pattern);
}

static void drop_target_if_idle(struct match_set *set, struct target *target) {
    if (!target || target->bindings.next != &target->bindings)
        return;
    struct target *last = find_target(set, set->addresses[set->targets.count - 1]);
    last->place = target->place;
    set->addresses[target->place] = last->address;
    match_table_drop(&set->targets, &target->item);
    free(target);
}

enum err match_add(struct match_set *set, struct slice bytes, void *address, bool *ret_fresh) {
    struct match_pattern *pattern = find_pattern(set, bytes);
    struct target *target = find_target(set, address);
    if (find_binding(set, pattern, target)) {
        *ret_fresh = false;
        return OK;
    }
    if (!pattern)
        pattern = add_pattern(set, bytes);
    if (!target)
        target = add_target(set, address);
    struct binding *binding = pattern && target ? calloc(1, sizeof *binding) : NULL;
    if (!binding) {
        drop_pattern_if_idle(set, pattern);
        drop_target_if_idle(set, target);
        return ERR_OUT_OF_MEMORY;
    }
    *binding = (struct binding){.pattern = pattern, .target = target};
    binding->item.hash = binding_hash(pattern, target);
    match_table_put(&set->bindings, &binding->item);
    match_ring_add(&pattern->bindings, &binding->of_pattern);
    match_ring_add(&target->bindings, &binding->of_target);
    match_ring_add(&set->order, &binding->of_set);
    pattern->count++;
    *ret_fresh = true;
    return OK;
}

/* The target stays, even where this was its last binding. */
static void drop_binding(struct match_set *set, struct binding *binding) {
    match_table_drop(&set->bindings, &binding->item);
    match_ring_remove(&binding->of_pattern);
    match_ring_remove(&binding->of_target);
    match_ring_remove(&binding->of_set);
    binding->pattern->count--;
    drop_pattern_if_idle(set, binding->pattern);
    free(binding);
}

bool match_remove(struct match_set *set, struct slice bytes, const void *address) {
    struct target *target = find_target(set, address);
    struct binding *binding = find_binding(set, find_pattern(set, bytes), target);
    if (!binding)
        return false;
    drop_binding(set, binding);
    drop_target_if_idle(set, target);
    return true;
}

size_t match_remove_target(struct match_set *set, const void *address) {
    struct target *target = find_target(set, address);
    size_t removed = 0;
    if (!target)
        return 0;
    for (; target->bindings.next != &target->bindings; removed++)
        drop_binding(set, MATCH_HOLDER(target->bindings.next, struct binding, of_target));
    drop_target_if_idle(set, target);
    return removed;
}

static enum err find_all(const struct match_set *set, struct match_result *result) {
    size_t count = set->targets.count;
    if (count > result->room && result_grow(result, count) != OK)
        return ERR_OUT_OF_MEMORY;
    if (count)
        memcpy(result->targets, set->addresses, count * sizeof *result->targets);
    result->count = (unsigned)count;
    return OK;
}

enum err match_find(const struct match_set *set, struct slice routing_key,
                    struct match_result *result) {
    enum err err = OK;
    result->count = 0;
    result->steps = 0;
    if (set->type == ROUTER_FANOUT) {
        err = find_all(set, result);
    } else if (set->type == ROUTER_TOPIC) {
        err = match_topic_find(set->topic, routing_key, result);
    } else {
        const struct match_pattern *pattern = find_pattern(set, routing_key);
        if (pattern)
            err = match_result_take(result, pattern);
    }
    if (err != OK)
        result->count = 0;
    return err;
}

size_t match_count(const struct match_set *set) {
    return set->bindings.count;
}

void match_each(const struct match_set *set,
                void (*take)(void *context, struct slice pattern, void *target), void *context) {
    for (struct match_ring *at = set->order.next; at != &set->order; at = at->next) {
        const struct binding *binding = MATCH_HOLDER(at, struct binding, of_set);
        const struct match_pattern *pattern = binding->pattern;
        take(context, slice_make(pattern->bytes, pattern->len), binding->target->address);
    }
}

size_t match_set_nodes(const struct match_set *set) {
    return set->topic ? match_topic_nodes(set->topic) : 0;
}
