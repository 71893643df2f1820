/* SPDX-License-Identifier: MIT */
/* Reads of the key/value store. */
#include "handlers/ops.h"
#include "handlers/peer_read.h"

static struct kv_ref ref_of(const struct call *call, struct slice key) {
    const struct args *args = &call->args;
    return (struct kv_ref){args->storage, args->workspace, args->ns, key};
}

/* A key that is not there: peers may have it. A call that pends may be finished by now. */
static enum err ask_peers(struct call *call, enum err err) {
    if (err == ERR_KEY_NOT_EXIST && peer_read_applies(call))
        return peer_read_ask(call);
    return err;
}

static void read_done(struct kv_read *read) {
    struct call *call = read->context;
    call->err = read->err;
    call->kv.finish(call);
    enum err err = ask_peers(call, call->err);
    if (err == ERR_PENDING)
        return;
    call->err = err;
    call->wake(call);
}

/* Where every read is answered over a network. finish runs on any thread. */
static enum err ask_store(struct call *call, const struct slice *keys, unsigned count,
                          unsigned want, void (*finish)(struct call *call)) {
    call->kv.finish = finish;
    call->kv.read = (struct kv_read){
        .storage = call->args.storage,
        .workspace = call->args.workspace,
        .ns = call->args.ns,
        .keys = keys,
        .key_count = count,
        .want = want,
        .now_ms = call->now_ms,
        .arena = call->arena,
        .done = read_done,
        .context = call,
        .position = &call->position,
    };
    enum err err = kv_read(call->core->kv, &call->kv.read);
    if (err == ERR_PENDING)
        return err;
    call->err = err;
    finish(call);
    return call->err;
}

/* The entry of the one key that was asked for. */
static void take_entry(struct call *call) {
    const struct kv_entry *entry = call->err ? NULL : call->kv.read.entries[0];
    if (entry)
        call->reply.entry = *entry;
    else if (!call->err)
        call->err = ERR_KEY_NOT_EXIST;
}

static enum err read_here(struct call *call, unsigned want) {
    struct kv_ref ref = ref_of(call, call->args.key);
    return kv_get(call->core->kv, &ref, call->now_ms, want, call->arena, &call->reply.entry);
}

static int64_t remaining_ms(const struct call *call) {
    int64_t expires_at_ms = call->reply.entry.expires_at_ms;
    return expires_at_ms ? expires_at_ms - call->now_ms : 0;
}

/* Reads the one key: show says what of it is the reply. */
static enum err read_entry(struct call *call, unsigned want, void (*show)(struct call *call),
                           void (*finish)(struct call *call)) {
    if (kv_is_remote(call->core->kv))
        return ask_store(call, &call->args.key, 1, want, finish);
    call->err = read_here(call, want);
    show(call);
    return call->err;
}

static void show_nothing(struct call *call) {
    (void)call;
}

enum err op_storage_get(struct call *call) {
    return ask_peers(call, read_entry(call, KV_WANT_VALUE, show_nothing, take_entry));
}

static void show_entry(struct call *call) {
    if (!call->err)
        call->reply.ttl_ms = remaining_ms(call);
}

static void finish_entry(struct call *call) {
    take_entry(call);
    show_entry(call);
}

enum err op_storage_get_entry(struct call *call) {
    return ask_peers(call, read_entry(call, KV_WANT_ALL, show_entry, finish_entry));
}

static void show_has(struct call *call) {
    call->reply.flag = call->err == OK;
    if (call->err == ERR_KEY_NOT_EXIST)
        call->err = OK;
}

static void finish_has(struct call *call) {
    take_entry(call);
    show_has(call);
}

enum err op_storage_has(struct call *call) {
    return read_entry(call, 0, show_has, finish_has);
}

static void show_ttl(struct call *call) {
    if (!call->err)
        call->reply.number = remaining_ms(call);
}

static void finish_ttl(struct call *call) {
    take_entry(call);
    show_ttl(call);
}

enum err op_storage_ttl(struct call *call) {
    return read_entry(call, 0, show_ttl, finish_ttl);
}

#define SEEN_SLOTS 2048U /* a power of two, at least twice KV_BATCH_MAX */

/* Whether the pair's key is among those before it: a name stands once in an object. Colliding keys
 * cost their senders time, no more than the batch's size squared. */
static bool is_repeated(uint16_t seen[SEEN_SLOTS], const struct reply_pair *pairs, unsigned at) {
    struct slice key = pairs[at].key;
    unsigned slot = (unsigned)hash_seeded(key, 0) & (SEEN_SLOTS - 1);
    for (; seen[slot]; slot = (slot + 1) & (SEEN_SLOTS - 1))
        if (slice_equal(pairs[seen[slot] - 1].key, key))
            return true;
    seen[slot] = (uint16_t)(at + 1);
    return false;
}

/* The pairs were taken from the arena before. */
static void finish_many(struct call *call) {
    const struct kv_read *read = &call->kv.read;
    uint16_t seen[SEEN_SLOTS] = {0};
    for (unsigned i = 0; i < read->key_count && !call->err; i++) {
        unsigned at = call->reply.pair_count;
        if (!read->entries[i])
            continue;
        call->reply.pairs[at] = (struct reply_pair){read->keys[i], read->entries[i]->value};
        if (!is_repeated(seen, call->reply.pairs, at))
            call->reply.pair_count++;
    }
}

/* The values of one answer may not outgrow what one value may be: an answer has an end. */
enum err op_storage_get_many(struct call *call) {
    const struct args *args = &call->args;
    if (args->key_count == 0)
        return OK;
    struct reply_pair *pairs = arena_alloc(call->arena, sizeof *pairs * args->key_count);
    if (!pairs)
        return ERR_OUT_OF_MEMORY;
    call->reply.pairs = pairs;
    if (kv_is_remote(call->core->kv))
        return ask_store(call, args->keys, args->key_count, KV_WANT_VALUE, finish_many);
    uint16_t seen[SEEN_SLOTS] = {0};
    for (unsigned i = 0; i < args->key_count; i++) {
        struct kv_ref ref = ref_of(call, args->keys[i]);
        struct kv_entry entry;
        enum err err =
            kv_get(call->core->kv, &ref, call->now_ms, KV_WANT_VALUE, call->arena, &entry);
        if (err == ERR_KEY_NOT_EXIST)
            continue;
        if (err)
            return err;
        unsigned at = call->reply.pair_count;
        pairs[at] = (struct reply_pair){args->keys[i], entry.value};
        if (!is_repeated(seen, pairs, at))
            call->reply.pair_count++;
    }
    return OK;
}

static void finish_list(struct call *call) {
    const struct kv_list *list = &call->kv.list;
    call->reply.keys = list->keys;
    call->reply.key_count = list->key_count;
    call->reply.more = list->more;
    call->err = list->err;
}

static void list_done(struct kv_list *list) {
    struct call *call = list->context;
    finish_list(call);
    call->wake(call);
}

enum err op_storage_list(struct call *call) {
    const struct args *args = &call->args;
    call->kv.list = (struct kv_list){
        .storage = args->storage,
        .workspace = args->workspace,
        .ns = args->ns,
        .prefix = args->prefix,
        .after = args->cursor,
        .limit = (unsigned)args->limit,
        .now_ms = call->now_ms,
        .arena = call->arena,
        .done = list_done,
        .context = call,
        .position = &call->position,
    };
    enum err err = kv_list_keys(call->core->kv, &call->kv.list);
    if (err == ERR_PENDING)
        return err;
    call->kv.list.err = err;
    finish_list(call);
    return err;
}

static void count_done(struct kv_count *count) {
    struct call *call = count->context;
    call->reply.number = (int64_t)count->keys;
    call->err = count->err;
    call->wake(call);
}

enum err op_storage_count(struct call *call) {
    call->kv.count = (struct kv_count){
        .storage = call->args.storage,
        .now_ms = call->now_ms,
        .done = count_done,
        .context = call,
    };
    enum err err = kv_count_keys(call->core->kv, &call->kv.count);
    if (err == OK)
        call->reply.number = (int64_t)call->kv.count.keys;
    return err;
}
