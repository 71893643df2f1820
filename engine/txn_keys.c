/* SPDX-License-Identifier: MIT */
/* What a transaction does to keys. A key that is only ever set without looking is upserted; every
 * other one is locked and read first, changed here op after op, and written as it is at the end. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "engine/keyspace.h"
#include "engine/txn.h"
#include "kv/condition.h"

#define BUCKETS 1024U /* a power of two */

/* An entry as ops see it. */
struct state {
    bool present;
    bool changed;
    bool keeps_value, keeps_type; /* as the row has them */
    struct slice value, ctype;
    int64_t expires; /* absolute; of a blind write the time left */
    int64_t rev;
};

struct key {
    struct key *next; /* of the bucket */
    struct key *all;  /* of all, in the order planned */
    const struct kv_ref *ref;
    struct slice stored;
    bool memory;
    bool is_loaded;   /* needs to be */
    bool wants_value; /* for an ETag or a number */
    bool has_row;     /* in the table, live or expired */
    bool holds_place; /* absent, and has to stay so until the end */
    int64_t index;
    unsigned writes; /* blind ones */
    struct state state;
};

/* A blind write whose revision only the database knows. */
struct blind {
    struct blind *next;
    struct key *key;
    struct kv_op *op;
    unsigned nth;
};

struct txn_keys {
    struct key *buckets[BUCKETS];
    struct key *first, **last;
    unsigned count;
    bool flush, needs_load;
    struct blind *blinds;
    unsigned load_step[KV_STORAGES], upsert_step[KV_STORAGES]; /* + 1; 0: none */
    struct key **upserts[KV_STORAGES];                         /* in order */
    unsigned upsert_count[KV_STORAGES];
    enum kv_storage flush_storage;
};

struct txn_keys *txn_keys_new(struct txn *txn) {
    struct txn_keys *keys = arena_alloc(&txn->arena, sizeof *keys);
    if (keys) {
        memset(keys, 0, sizeof *keys);
        keys->last = &keys->first;
    }
    return keys;
}

/* ---- the keys of a transaction ---- */

static uint64_t hash_of(const struct kv_ref *ref) {
    uint64_t hash = hash_seeded(ref->ns, hash_process_seed() + ref->storage);
    hash = hash_seeded(slice_make((const char *)ref->workspace.bytes, 16), hash);
    return hash_seeded(ref->key, hash);
}

static bool same_ref(const struct kv_ref *a, const struct kv_ref *b) {
    return a->storage == b->storage && slice_equal(a->key, b->key) && slice_equal(a->ns, b->ns) &&
           memcmp(&a->workspace, &b->workspace, sizeof a->workspace) == 0;
}

static struct key *find(const struct txn_keys *keys, const struct kv_ref *ref) {
    struct key *key = keys->buckets[hash_of(ref) & (BUCKETS - 1)];
    while (key && !same_ref(key->ref, ref))
        key = key->next;
    return key;
}

static struct key *add(struct txn *txn, const struct kv_ref *ref) {
    struct txn_keys *keys = txn->keys;
    struct key *key = arena_alloc(&txn->arena, sizeof *key);
    char *room = key_is_long(ref->key) ? arena_alloc(&txn->arena, KEY_STORED_MAX) : NULL;
    if (!key || (key_is_long(ref->key) && !room))
        return NULL;
    struct key **bucket = &keys->buckets[hash_of(ref) & (BUCKETS - 1)];
    *key = (struct key){.next = *bucket,
                        .ref = ref,
                        .stored = key_stored(ref->key, room),
                        .memory = ref->storage == KV_MEMORY,
                        .index = keys->count++};
    *bucket = key;
    *keys->last = key;
    keys->last = &key->all;
    return key;
}

enum err txn_keys_plan(struct txn *txn, struct kv_op *op) {
    struct txn_keys *keys = txn->keys;
    if (op->action == KV_FLUSH_ALL) {
        keys->flush = true;
        keys->flush_storage = op->ref.storage;
        return OK;
    }
    struct key *key = find(keys, &op->ref);
    if (!key)
        key = add(txn, &op->ref);
    if (!key)
        return ERR_OUT_OF_MEMORY;
    bool blind = op->action == KV_SET && op->condition == KV_ALWAYS && !op->want_existed;
    key->is_loaded |= !blind;
    key->wants_value |= op->action == KV_INCREMENT || op->condition == KV_IF_ETAG;
    keys->needs_load |= !blind;
    return OK;
}

bool txn_keys_need_load(const struct txn *txn) {
    return txn->keys->needs_load;
}

/* ---- loading ---- */

static struct key *next_loaded(struct key *key, bool memory) {
    while (key && (!key->is_loaded || key->memory != memory))
        key = key->all;
    return key;
}

static void add_uuids(struct params *params, struct key *const *list, unsigned count) {
    params_array(params, PARAMS_UUID);
    for (unsigned i = 0; i < count; i++)
        params_add_uuid(params, &list[i]->ref->workspace);
    params_array_end(params);
}

static void add_namespaces(struct params *params, struct key *const *list, unsigned count) {
    params_array(params, PARAMS_BYTEA);
    for (unsigned i = 0; i < count; i++)
        params_add_bytea(params, list[i]->ref->ns);
    params_array_end(params);
}

static void add_stored(struct params *params, struct key *const *list, unsigned count) {
    params_array(params, PARAMS_BYTEA);
    for (unsigned i = 0; i < count; i++)
        params_add_bytea(params, list[i]->stored);
    params_array_end(params);
}

static void add_names(struct params *params, struct key *const *list, unsigned count) {
    add_uuids(params, list, count);
    add_namespaces(params, list, count);
    add_stored(params, list, count);
}

/* Keys that the filter takes, in the order of the table's index; NULL and 0 without memory too: the
 * attempt is starved then. */
static struct key **choose(struct txn *txn, bool (*takes)(const struct key *key), bool memory,
                           unsigned *ret_count);

static bool takes_loaded(const struct key *key) {
    return key->is_loaded;
}

/* Where some keys are locked first, all are, in their one order: a row that is written behind the
 * locks of others would be waited for out of turn, and two nodes would wait for each other. */
static void load_all(struct txn_keys *keys) {
    for (struct key *key = keys->first; key; key = key->all)
        key->is_loaded = keys->needs_load = true;
}

void txn_keys_load_steps(struct txn *txn, struct request *request) {
    struct txn_keys *keys = txn->keys;
    load_all(keys);
    for (unsigned storage = 0; storage < KV_STORAGES; storage++) {
        bool memory = storage == KV_MEMORY;
        unsigned count;
        keys->load_step[storage] = 0;
        if (!next_loaded(keys->first, memory))
            continue;
        struct key **list = choose(txn, takes_loaded, memory, &count);
        keys->load_step[storage] = request->step_count + 1;
        struct params *params = request_add(request, SQL_KEYS_LOCK, memory);
        add_names(params, list, count);
        params_array(params, PARAMS_BOOL);
        for (unsigned i = 0; i < count; i++)
            params_add_bool(params, list[i]->wants_value);
        params_array_end(params);
        params_array(params, PARAMS_INT8);
        for (unsigned i = 0; i < count; i++)
            params_add_int8(params, list[i]->index);
        params_array_end(params);
    }
}

/* Values live in the arena: the result is freed before they are written again. */
static enum err take_row(struct txn *txn, struct key *key, const PGresult *result, int row) {
    key->has_row = true;
    struct state *state = &key->state;
    state->rev = result_int8(result, row, 1);
    state->expires = result_int8(result, row, 2);
    state->present = state->expires == 0 || state->expires > txn->now_ms;
    state->keeps_value = state->keeps_type = true;
    if (!key->wants_value || !state->present)
        return OK;
    state->value = arena_copy(&txn->arena, result_bytes(result, row, 3));
    return state->value.ptr ? OK : ERR_OUT_OF_MEMORY;
}

enum err txn_keys_loaded(struct txn *txn, const struct request *request) {
    struct txn_keys *keys = txn->keys;
    if (!keys->needs_load)
        return OK;
    struct key **by_index = arena_alloc(&txn->arena, keys->count * sizeof(struct key *));
    if (!by_index)
        return ERR_OUT_OF_MEMORY;
    for (struct key *key = keys->first; key; key = key->all)
        by_index[key->index] = key;
    for (unsigned storage = 0; storage < KV_STORAGES; storage++) {
        unsigned step = keys->load_step[storage];
        const PGresult *result = step ? request->steps[step - 1].result : NULL;
        for (int row = 0; row < result_rows(result); row++) {
            int64_t index = result_int8(result, row, 0);
            enum err err = index >= 0 && index < keys->count
                               ? take_row(txn, by_index[index], result, row)
                               : ERR_INTERNAL;
            if (err)
                return err;
        }
    }
    return OK;
}

/* ---- carrying out ---- */

static enum err apply_blind(struct txn *txn, struct key *key, struct kv_op *op) {
    struct blind *blind = arena_alloc(&txn->arena, sizeof *blind);
    if (!blind)
        return ERR_OUT_OF_MEMORY;
    *blind = (struct blind){txn->keys->blinds, key, op, key->writes};
    txn_save(txn, &txn->keys->blinds, sizeof(struct blind *));
    txn_save(txn, key, sizeof *key);
    txn->keys->blinds = blind;
    key->writes++;
    key->state = (struct state){.present = true,
                                .changed = true,
                                .value = op->value,
                                .ctype = op->content_type,
                                .expires = op->ttl_ms};
    op->existed = false;
    return OK;
}

static int64_t next_rev(const struct txn *txn, const struct key *key) {
    return key->state.rev + 1 > txn->now_us ? key->state.rev + 1 : txn->now_us;
}

static void note_change(struct txn *txn, struct key *key, struct kv_op *op) {
    key->state.rev = next_rev(txn, key);
    key->state.changed = true;
    op->revision = (uint64_t)key->state.rev;
}

static enum err set(struct txn *txn, struct key *key, struct kv_op *op) {
    struct state *state = &key->state;
    state->present = true;
    state->value = op->value;
    state->ctype = op->content_type;
    state->keeps_value = state->keeps_type = false;
    state->expires = op->ttl_ms ? txn->now_ms + op->ttl_ms : 0;
    note_change(txn, key, op);
    return OK;
}

static enum err increment(struct txn *txn, struct key *key, struct kv_op *op) {
    struct state *state = &key->state;
    int64_t number = 0;
    if (state->present && !slice_parse_i64(state->value, &number))
        return ERR_NOT_A_NUMBER;
    if (__builtin_add_overflow(number, op->by, &number))
        return ERR_NOT_A_NUMBER;
    const char *text = arena_printf(&txn->arena, "%lld", (long long)number);
    if (!text)
        return ERR_OUT_OF_MEMORY;
    if (!state->present) {
        state->expires = 0;
        state->ctype = (struct slice){NULL, 0};
        state->keeps_type = false;
    }
    state->present = true;
    state->value = slice_of_cstr(text);
    state->keeps_value = false;
    op->number = number;
    note_change(txn, key, op);
    return OK;
}

static enum err touch(struct txn *txn, struct key *key, struct kv_op *op) {
    if (!key->state.present)
        return ERR_KEY_NOT_EXIST;
    key->state.expires = op->ttl_ms ? txn->now_ms + op->ttl_ms : 0;
    note_change(txn, key, op);
    return OK;
}

static enum err drop(struct txn *txn, struct key *key, struct kv_op *op) {
    if (!key->state.present)
        return OK;
    key->state.present = false;
    key->state.keeps_value = key->state.keeps_type = false;
    note_change(txn, key, op);
    return OK;
}

static enum err act(struct txn *txn, struct key *key, struct kv_op *op) {
    switch (op->action) {
    case KV_SET:
        return set(txn, key, op);
    case KV_INCREMENT:
        return increment(txn, key, op);
    case KV_TOUCH:
        return touch(txn, key, op);
    case KV_DELETE:
        return drop(txn, key, op);
    case KV_CHECK: /* what was absent has to be so until the end */
        key->holds_place |= !key->state.present;
        return OK;
    case KV_FLUSH_ALL:
        break;
    }
    return ERR_INTERNAL;
}

enum err txn_keys_apply(struct txn *txn, struct kv_op *op) {
    op->existed = false;
    op->revision = 0;
    if (op->action == KV_FLUSH_ALL)
        return op->err = OK;
    struct key *key = find(txn->keys, &op->ref);
    if (!key->is_loaded)
        return op->err = apply_blind(txn, key, op);
    uint8_t etag[HASH_MD5_BYTES] = {0};
    if (op->condition == KV_IF_ETAG && key->state.present)
        hash_md5(key->state.value, etag);
    op->existed = key->state.present;
    if (!kv_condition_holds(op, key->state.present, (uint64_t)key->state.rev, etag))
        return op->err = ERR_PRECONDITION_FAILED;
    txn_save(txn, key, sizeof *key);
    return op->err = act(txn, key, op);
}

/* ---- writing ---- */

static bool takes_upsert(const struct key *key) {
    return !key->is_loaded && key->state.changed;
}

/* A place that is held is a row that is there until the end. */
static bool takes_insert(const struct key *key) {
    return key->is_loaded && !key->has_row &&
           ((key->state.changed && key->state.present) ||
            (key->holds_place && !key->state.present));
}

static bool takes_update(const struct key *key) {
    return key->is_loaded && key->has_row && key->state.changed && key->state.present;
}

static bool takes_delete(const struct key *key) {
    return key->is_loaded && !key->state.present &&
           ((key->has_row && key->state.changed) || (!key->has_row && key->holds_place));
}

static int compare(const void *a, const void *b) {
    const struct key *one = *(struct key *const *)a;
    const struct key *other = *(struct key *const *)b;
    int order = memcmp(&one->ref->workspace, &other->ref->workspace, sizeof one->ref->workspace);
    if (order == 0)
        order = slice_compare(one->ref->ns, other->ref->ns);
    return order ? order : slice_compare(one->stored, other->stored);
}

static struct key **choose(struct txn *txn, bool (*takes)(const struct key *key), bool memory,
                           unsigned *ret_count) {
    struct txn_keys *keys = txn->keys;
    unsigned count = 0;
    *ret_count = 0;
    for (const struct key *key = keys->first; key; key = key->all)
        count += key->memory == memory && takes(key);
    if (count == 0)
        return NULL;
    struct key **list = arena_alloc(&txn->arena, count * sizeof(struct key *));
    if (!list) { /* leaving keys out would be a lie */
        txn->starved = true;
        return NULL;
    }
    for (struct key *key = keys->first; key; key = key->all)
        if (key->memory == memory && takes(key))
            list[(*ret_count)++] = key;
    qsort(list, count, sizeof *list, compare);
    return list;
}

static void add_long_keys(struct params *params, struct key *const *list, unsigned count) {
    params_array(params, PARAMS_BYTEA);
    for (unsigned i = 0; i < count; i++) {
        if (key_is_long(list[i]->ref->key))
            params_add_bytea(params, list[i]->ref->key);
        else
            params_add_null(params);
    }
    params_array_end(params);
}

static void add_values(struct params *params, struct key *const *list, unsigned count) {
    params_array(params, PARAMS_BYTEA);
    for (unsigned i = 0; i < count; i++)
        params_add_bytea(params, list[i]->state.keeps_value ? SLICE("") : list[i]->state.value);
    params_array_end(params);
}

static void add_types(struct params *params, struct key *const *list, unsigned count) {
    params_array(params, PARAMS_BYTEA);
    for (unsigned i = 0; i < count; i++)
        params_add_bytea(params, list[i]->state.keeps_type ? SLICE("") : list[i]->state.ctype);
    params_array_end(params);
}

static void add_keeps(struct params *params, struct key *const *list, unsigned count, bool type) {
    params_array(params, PARAMS_BOOL);
    for (unsigned i = 0; i < count; i++)
        params_add_bool(params, type ? list[i]->state.keeps_type : list[i]->state.keeps_value);
    params_array_end(params);
}

static void add_revisions(struct params *params, struct key *const *list, unsigned count) {
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < count; i++)
        params_add_int8(params, list[i]->state.rev);
    params_array_end(params);
}

static void add_expiries(struct params *params, struct key *const *list, unsigned count) {
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < count; i++)
        params_add_int8(params, list[i]->state.expires);
    params_array_end(params);
}

static void write_upserts(struct txn *txn, struct request *request, bool memory) {
    unsigned count, most = 1;
    struct key **list = choose(txn, takes_upsert, memory, &count);
    txn->keys->upsert_step[memory ? KV_MEMORY : KV_HDD] = 0;
    if (!list)
        return;
    txn->keys->upsert_step[memory ? KV_MEMORY : KV_HDD] = request->step_count + 1;
    txn->keys->upserts[memory ? KV_MEMORY : KV_HDD] = list;
    txn->keys->upsert_count[memory ? KV_MEMORY : KV_HDD] = count;
    struct params *params = request_add(request, SQL_KEYS_UPSERT, memory);
    add_names(params, list, count);
    add_long_keys(params, list, count);
    add_values(params, list, count);
    add_types(params, list, count);
    add_expiries(params, list, count);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < count; i++) {
        params_add_int8(params, list[i]->writes - 1);
        most = list[i]->writes > most ? list[i]->writes : most;
    }
    params_array_end(params);
    params_int8(params, most);
}

static void write_inserts(struct txn *txn, struct request *request, bool memory) {
    unsigned count;
    struct key **list = choose(txn, takes_insert, memory, &count);
    if (!list)
        return;
    struct params *params = request_add(request, SQL_KEYS_INSERT, memory);
    add_names(params, list, count);
    add_long_keys(params, list, count);
    add_values(params, list, count);
    add_types(params, list, count);
    add_revisions(params, list, count);
    add_expiries(params, list, count);
}

static void write_updates(struct txn *txn, struct request *request, bool memory) {
    unsigned count;
    struct key **list = choose(txn, takes_update, memory, &count);
    if (!list)
        return;
    struct params *params = request_add(request, SQL_KEYS_UPDATE, memory);
    add_names(params, list, count);
    add_values(params, list, count);
    add_keeps(params, list, count, false);
    add_types(params, list, count);
    add_keeps(params, list, count, true);
    add_revisions(params, list, count);
    add_expiries(params, list, count);
}

static void write_deletes(struct txn *txn, struct request *request, bool memory) {
    unsigned count;
    struct key **list = choose(txn, takes_delete, memory, &count);
    if (list)
        add_names(request_add(request, SQL_KEYS_DELETE, memory), list, count);
}

void txn_keys_write_steps(struct txn *txn, struct request *request) {
    struct txn_keys *keys = txn->keys;
    if (keys->flush)
        request_add(request, SQL_KEYS_FLUSH, keys->flush_storage == KV_MEMORY);
    for (unsigned storage = 0; storage < KV_STORAGES; storage++) {
        bool memory = storage == KV_MEMORY;
        write_inserts(txn, request, memory);
        write_upserts(txn, request, memory);
        write_updates(txn, request, memory);
        write_deletes(txn, request, memory);
    }
}

/* ---- behind the commit ---- */

static void take_revision(const struct txn_keys *keys, const PGresult *result, int row,
                          enum kv_storage storage) {
    struct kv_ref ref = {.storage = storage, .ns = result_bytes(result, row, 1)};
    struct key looked_for = {.ref = &ref, .stored = result_bytes(result, row, 2)};
    const struct key *at = &looked_for;
    result_uuid(result, row, 0, &ref.workspace);
    struct key **found = bsearch(&at, keys->upserts[storage], keys->upsert_count[storage],
                                 sizeof(struct key *), compare);
    if (found)
        (*found)->state.rev = result_int8(result, row, 3);
}

/* Of several writes of one key in a transaction each has a revision of its own. */
void txn_keys_committed(struct txn *txn, const struct request *request) {
    struct txn_keys *keys = txn->keys;
    for (unsigned storage = 0; storage < KV_STORAGES; storage++) {
        unsigned step = keys->upsert_step[storage];
        const PGresult *result = step ? request->steps[step - 1].result : NULL;
        for (int row = 0; row < result_rows(result); row++)
            take_revision(keys, result, row, (enum kv_storage)storage);
    }
    for (const struct blind *blind = keys->blinds; blind; blind = blind->next)
        blind->op->revision =
            (uint64_t)(blind->key->state.rev - blind->key->writes + 1 + blind->nth);
}
