/* SPDX-License-Identifier: MIT */
/* What a transaction publishes. Queues with a limit are locked and counted first, ids of queues
 * with a window looked for; everything else is written without looking. */
#include "engine/messages_inside.h"

#define ID_DIGITS 12U

/* ---- planning ---- */

/* As on one node; the first half is random for each node's life. */
static void make_id(struct engine *engine, struct broker_op *op) {
    static const char digits[] = "0123456789abcdef";
    if (!engine->id_prefix)
        hash_random(&engine->id_prefix, sizeof engine->id_prefix);
    uint64_t count = engine->id_next++;
    for (unsigned i = 0; i < ID_DIGITS; i++) {
        op->id_text[i] = digits[engine->id_prefix >> 4 * (ID_DIGITS - 1 - i) & 15];
        op->id_text[ID_DIGITS + i] = digits[count >> 4 * (ID_DIGITS - 1 - i) & 15];
    }
    op->id_len = 2 * ID_DIGITS;
}

static void take_id(struct engine *engine, struct broker_op *op) {
    if (op->id.len == 0) {
        make_id(engine, op);
        return;
    }
    op->id_len = (uint8_t)op->id.len;
    memcpy(op->id_text, op->id.ptr, op->id.len);
}

static struct limit *limit_of(struct txn *txn, const struct tqueue *queue) {
    struct txn_messages *messages = txn->messages;
    struct limit *limit = messages->limits;
    while (limit && limit->queue != queue->id)
        limit = limit->next;
    if (limit)
        return limit;
    limit = arena_alloc(&txn->arena, sizeof *limit);
    if (!limit)
        return NULL;
    *limit = (struct limit){.next = messages->limits,
                            .queue = queue->id,
                            .memory = queue->options.storage == BROKER_MEMORY,
                            .drops_head = queue->options.overflow == OVERFLOW_DROP_HEAD,
                            .most = queue->options.max_length};
    messages->limits = limit;
    return limit;
}

static struct dedup_id *id_of(struct txn *txn, const struct tqueue *queue, struct slice id) {
    struct txn_messages *messages = txn->messages;
    uint8_t hash[HASH_MD5_BYTES];
    hash_md5(id, hash);
    struct dedup_id **bucket = &messages->id_buckets[hash[0]];
    for (struct dedup_id *found = *bucket; found; found = found->next)
        if (found->queue == queue->id && memcmp(found->hash, hash, sizeof hash) == 0)
            return found;
    struct dedup_id *fresh = arena_alloc(&txn->arena, sizeof *fresh);
    if (!fresh)
        return NULL;
    *fresh = (struct dedup_id){.next = *bucket,
                               .queue = queue->id,
                               .memory = queue->options.storage == BROKER_MEMORY,
                               .window_ms = queue->options.dedup_window_ms};
    memcpy(fresh->hash, hash, sizeof hash);
    *bucket = fresh;
    *messages->last_id = fresh;
    messages->last_id = &fresh->all;
    messages->id_count[fresh->memory]++;
    return fresh;
}

static enum err plan_target(struct txn *txn, const struct broker_op *op, const struct tqueue *queue,
                            struct target *target) {
    *target = (struct target){.queue = queue->id,
                              .ttl_ms = op->ttl_ms ? op->ttl_ms : queue->options.ttl_ms,
                              .memory = queue->options.storage == BROKER_MEMORY};
    if (queue->options.max_length) {
        target->limit = limit_of(txn, queue);
        if (!target->limit)
            return ERR_OUT_OF_MEMORY;
        target->limit->fresh++;
    }
    if (queue->options.dedup_window_ms && op->id.len) {
        target->id = id_of(txn, queue, op->id);
        if (!target->id)
            return ERR_OUT_OF_MEMORY;
    }
    return OK;
}

static enum err plan_targets(struct txn *txn, struct planned *planned,
                             const struct match_result *found) {
    enum err err = OK;
    planned->target_count = found->count;
    planned->targets = arena_alloc(&txn->arena, (found->count + 1) * sizeof *planned->targets);
    if (!planned->targets)
        return ERR_OUT_OF_MEMORY;
    for (unsigned i = 0; !err && i < found->count; i++)
        err = plan_target(txn, planned->op, found->targets[i], &planned->targets[i]);
    return err;
}

enum err publish_plan(struct txn *txn, struct planned *planned) {
    struct broker_op *op = planned->op;
    struct topology *topology = txn->engine->topology;
    const struct trouter *router = topology_find_router(topology, op->router);
    struct match_result found;
    if (!router)
        return ERR_WOULD_WAIT;
    planned->known = true;
    take_id(txn->engine, op);
    match_result_init(&found);
    enum err err = topology_route(topology, router, op->routing_key, &found);
    if (!err)
        err = plan_targets(txn, planned, &found);
    match_result_done(&found);
    return err;
}

/* ---- loading ---- */

static void add_limits(struct txn *txn, struct params *params, int memory, bool heads) {
    params_array(params, PARAMS_INT8);
    for (const struct limit *limit = txn->messages->limits; limit; limit = limit->next)
        if ((memory < 0 || limit->memory == memory) && (!heads || limit->drops_head))
            params_add_int8(params, limit->queue);
    params_array_end(params);
}

static void load_heads(struct txn *txn, struct request *request, bool memory) {
    struct params *params = request_add(request, SQL_MESSAGES_HEAD, memory);
    add_limits(txn, params, memory, true);
    params_array(params, PARAMS_INT8);
    for (const struct limit *limit = txn->messages->limits; limit; limit = limit->next)
        if (limit->memory == memory && limit->drops_head)
            params_add_int8(params, limit->fresh);
    params_array_end(params);
    params_array(params, PARAMS_INT8);
    for (const struct limit *limit = txn->messages->limits; limit; limit = limit->next)
        if (limit->memory == memory && limit->drops_head)
            params_add_int8(params, (int64_t)limit->most);
    params_array_end(params);
    txn->messages->head_step[memory] = request->step_count;
}

static void load_limits(struct txn *txn, struct request *request) {
    bool any[2] = {false, false}, heads[2] = {false, false};
    for (const struct limit *limit = txn->messages->limits; limit; limit = limit->next) {
        any[limit->memory] = true;
        heads[limit->memory] |= limit->drops_head;
    }
    add_limits(txn, request_add(request, SQL_QUEUES_LOCK, false), -1, false);
    for (int memory = 0; memory < 2; memory++) {
        if (any[memory]) {
            add_limits(txn, request_add(request, SQL_QUEUES_ROOM, memory), memory, false);
            txn->messages->room_step[memory] = request->step_count;
        }
        if (heads[memory])
            load_heads(txn, request, memory);
    }
}

static bool is_among(const struct dedup_id *id, bool memory, bool added_only) {
    return id->memory == memory && (!added_only || id->added);
}

static void add_ids(struct params *params, const struct dedup_id *ids, bool memory,
                    bool added_only) {
    params_array(params, PARAMS_INT8);
    for (const struct dedup_id *id = ids; id; id = id->all)
        if (is_among(id, memory, added_only))
            params_add_int8(params, id->queue);
    params_array_end(params);
    params_array(params, PARAMS_BYTEA);
    for (const struct dedup_id *id = ids; id; id = id->all)
        if (is_among(id, memory, added_only))
            params_add_bytea(params, slice_make(id->hash, sizeof id->hash));
    params_array_end(params);
}

void publish_load_steps(struct txn *txn, struct request *request) {
    struct txn_messages *messages = txn->messages;
    if (messages->limits)
        load_limits(txn, request);
    for (int memory = 0; memory < 2; memory++) {
        if (!messages->id_count[memory])
            continue;
        add_ids(request_add(request, SQL_DEDUP_READ, memory), messages->ids, memory, false);
        messages->id_step[memory] = request->step_count;
    }
}

static struct limit *find_limit(const struct txn_messages *messages, int64_t queue) {
    struct limit *limit = messages->limits;
    while (limit && limit->queue != queue)
        limit = limit->next;
    return limit;
}

static enum err take_heads(struct txn *txn, const PGresult *result) {
    int rows = result_rows(result);
    for (int i = 0; i < rows;) {
        struct limit *limit = find_limit(txn->messages, result_int8(result, i, 0));
        int end = i;
        while (end < rows && result_int8(result, end, 0) == result_int8(result, i, 0))
            end++;
        struct head *heads = arena_alloc(&txn->arena, (size_t)(end - i) * sizeof *heads);
        if (!heads)
            return ERR_OUT_OF_MEMORY;
        for (int at = i; at < end; at++)
            heads[at - i] = (struct head){result_int8(result, at, 1), result_int8(result, at, 2)};
        if (limit) {
            limit->heads = heads;
            limit->head_count = (unsigned)(end - i);
        }
        i = end;
    }
    return OK;
}

static enum err take_ids(struct txn *txn, const PGresult *seen, bool memory) {
    const struct txn_messages *messages = txn->messages;
    struct dedup_id **by_index =
        arena_alloc(&txn->arena, (messages->id_count[memory] + 1) * sizeof(struct dedup_id *));
    if (!by_index)
        return ERR_OUT_OF_MEMORY;
    unsigned count = 0;
    for (struct dedup_id *id = messages->ids; id; id = id->all)
        if (id->memory == memory)
            by_index[count++] = id;
    for (int i = 0; i < result_rows(seen); i++) {
        int64_t n = result_int8(seen, i, 0);
        if (n >= 1 && n <= count)
            by_index[n - 1]->until = result_int8(seen, i, 1);
    }
    return OK;
}

enum err publish_loaded(struct txn *txn, const struct request *request) {
    struct txn_messages *messages = txn->messages;
    enum err err = OK;
    for (int memory = 0; memory < 2; memory++) {
        const PGresult *rooms = messages_result(request, messages->room_step[memory]);
        for (int i = 0; i < result_rows(rooms); i++) {
            struct limit *limit = find_limit(messages, result_int8(rooms, i, 0));
            if (limit) {
                limit->total = (uint64_t)result_int8(rooms, i, 1);
                limit->delayed = (uint64_t)result_int8(rooms, i, 2);
            }
        }
        if (!err)
            err = take_heads(txn, messages_result(request, messages->head_step[memory]));
        if (!err)
            err = take_ids(txn, messages_result(request, messages->id_step[memory]), memory);
    }
    return err;
}

/* ---- applying ---- */

static bool is_seen(const struct txn *txn, const struct target *target) {
    return target->id && (target->id->added || target->id->until > txn->now_ms);
}

/* Nothing can make room for one more: it refuses, or all are delayed. */
static bool is_full(const struct limit *limit) {
    if (limit->drops_head)
        return limit->delayed >= limit->most;
    return limit->total >= limit->most;
}

/* The oldest of the lowest priority among those that this transaction put there. */
static struct copy *first_copy(const struct txn *txn, int64_t queue) {
    struct copy *best = NULL;
    for (struct copy *copy = txn->messages->copies; copy; copy = copy->next)
        if (!copy->gone && copy->target->queue == queue && copy->of->op->delay_ms == 0 &&
            (!best || copy->of->op->priority < best->of->op->priority))
            best = copy;
    return best;
}

static bool drop_one(struct txn *txn, struct limit *limit) {
    struct copy *copy = first_copy(txn, limit->queue);
    const struct head *head =
        limit->heads_gone < limit->head_count ? &limit->heads[limit->heads_gone] : NULL;
    bool older = head && (!copy || head->place >= BROKER_PRIORITY_MAX - copy->of->op->priority);
    if (!head && !copy)
        return false;
    if (older) {
        limit->heads_gone++;
    } else {
        txn_save(txn, copy, sizeof *copy);
        copy->gone = true;
    }
    limit->total--;
    limit->dropped++;
    return true;
}

static enum err put(struct txn *txn, struct planned *planned, const struct target *target) {
    struct txn_messages *messages = txn->messages;
    struct copy *copy = arena_alloc(&txn->arena, sizeof *copy);
    if (!copy)
        return ERR_OUT_OF_MEMORY;
    *copy = (struct copy){.of = planned, .target = target};
    if (target->limit) {
        struct limit *limit = target->limit;
        txn_save(txn, limit, sizeof *limit);
        while (limit->drops_head && limit->total >= limit->most && drop_one(txn, limit)) {
        }
        limit->total++;
        limit->delayed += planned->op->delay_ms > 0;
    }
    if (target->id) {
        txn_save(txn, target->id, sizeof *target->id);
        target->id->added = true;
    }
    txn_save(txn, &messages->last_copy, sizeof(struct copy **));
    txn_save(txn, messages->last_copy, sizeof(struct copy *));
    *messages->last_copy = copy;
    messages->last_copy = &copy->next;
    return OK;
}

enum err publish_apply(struct txn *txn, struct planned *planned) {
    struct broker_op *op = planned->op;
    enum err err = OK;
    if (!planned->known)
        return ERR_ROUTER_NOT_EXIST;
    for (unsigned i = 0; i < planned->target_count; i++) {
        struct target *target = &planned->targets[i];
        txn_save(txn, target, sizeof *target);
        target->seen = is_seen(txn, target);
        if (!target->seen && target->limit && is_full(target->limit)) {
            planned->was_full = true;
            return ERR_QUEUE_FULL;
        }
    }
    for (unsigned i = 0; !err && i < planned->target_count; i++)
        if (!planned->targets[i].seen)
            err = put(txn, planned, &planned->targets[i]);
    if (err)
        return err;
    op->queues = planned->target_count;
    txn_save(txn, &planned->applied, sizeof planned->applied);
    planned->applied = true;
    return OK;
}

/* ---- writing ---- */

static bool has_heads(const struct limit *limit, bool memory) {
    return limit->memory == memory && limit->heads_gone;
}

void publish_write_heads(struct txn *txn, struct request *request, bool memory) {
    const struct limit *limits = txn->messages->limits;
    const struct limit *limit = limits;
    while (limit && !has_heads(limit, memory))
        limit = limit->next;
    if (!limit)
        return;
    struct params *params = request_add(request, SQL_MESSAGES_DELETE, memory);
    for (int column = 0; column < 3; column++) {
        params_array(params, PARAMS_INT8);
        for (limit = limits; limit; limit = limit->next)
            for (unsigned i = 0; has_heads(limit, memory) && i < limit->heads_gone; i++)
                params_add_int8(params, column == 0   ? limit->queue
                                        : column == 1 ? limit->heads[i].place
                                                      : limit->heads[i].seq);
        params_array_end(params);
    }
}

void publish_write_ids(struct txn *txn, struct request *request, bool memory) {
    const struct dedup_id *ids = txn->messages->ids;
    bool any = false, any_over = false;
    for (const struct dedup_id *id = ids; id; id = id->all) {
        any |= is_among(id, memory, true);
        any_over |= is_among(id, memory, true) && id->until;
    }
    if (!any)
        return;
    if (any_over) {
        struct params *drop = request_add(request, SQL_DEDUP_DROP, memory);
        add_ids(drop, ids, memory, true);
        params_int8(drop, txn->now_ms);
    }
    struct params *params = request_add(request, SQL_DEDUP_ADD, memory);
    add_ids(params, ids, memory, true);
    params_array(params, PARAMS_INT8);
    for (const struct dedup_id *id = ids; id; id = id->all)
        if (is_among(id, memory, true))
            params_add_int8(params, id->window_ms);
    params_array_end(params);
}

static bool goes(const struct copy *copy, bool memory) {
    return !copy->gone && copy->target->memory == memory;
}

static int64_t column_of(const struct copy *copy, int column) {
    const struct broker_op *op = copy->of->op;
    switch (column) {
    case 0:
        return copy->target->queue;
    case 1:
        return BROKER_PRIORITY_MAX - op->priority;
    case 2:
        return op->delay_ms;
    case 3:
        return copy->target->ttl_ms;
    default:
        return copy->of->message;
    }
}

static struct slice part_of(const struct broker_op *op, int part) {
    switch (part) {
    case 0:
        return slice_make(op->id_text, op->id_len);
    case 1:
        return op->routing_key;
    case 2:
        return op->headers;
    default:
        return op->payload;
    }
}

/* Each message once, however many copies of it there are; copies of one stand together. */
static unsigned number_messages(const struct copy *copies, bool memory) {
    unsigned count = 0;
    const struct planned *of = NULL;
    for (const struct copy *copy = copies; copy; copy = copy->next)
        if (goes(copy, memory) && copy->of != of) {
            copy->of->message = ++count;
            of = copy->of;
        }
    return count;
}

void publish_write_copies(struct txn *txn, struct request *request, bool memory) {
    const struct copy *copies = txn->messages->copies;
    if (!number_messages(copies, memory))
        return;
    struct params *params = request_add(request, SQL_MESSAGES_ADD, memory);
    txn->messages->add_step[memory] = request->step_count;
    for (int column = 0; column < 5; column++) {
        params_array(params, PARAMS_INT8);
        for (const struct copy *copy = copies; copy; copy = copy->next)
            if (goes(copy, memory))
                params_add_int8(params, column_of(copy, column));
        params_array_end(params);
    }
    for (int part = 0; part < 4; part++) {
        const struct planned *of = NULL;
        params_array(params, PARAMS_BYTEA);
        for (const struct copy *copy = copies; copy; copy = copy->next)
            if (goes(copy, memory) && copy->of != of) {
                of = copy->of;
                params_add_bytea(params, part_of(of->op, part));
            }
        params_array_end(params);
    }
    params_int8(params, messages_random());
    params_int8(params, txn->engine->last_seq);
}
