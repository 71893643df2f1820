/* SPDX-License-Identifier: MIT */
/* What a transaction does to messages, as a whole: plans, steps in their order, and what is told
 * around once it is committed. */
#include "engine/messages_inside.h"

struct txn_messages *txn_messages_new(struct txn *txn) {
    struct txn_messages *messages = arena_alloc(&txn->arena, sizeof *messages);
    if (!messages)
        return NULL;
    memset(messages, 0, sizeof *messages);
    messages->version = topology_version(txn->engine->topology);
    messages->last = &messages->first;
    messages->last_id = &messages->ids;
    messages->last_row = &messages->rows;
    messages->last_copy = &messages->copies;
    return messages;
}

int64_t txn_fresh_seq(struct txn *txn, unsigned count) {
    struct engine *engine = txn->engine;
    int64_t first = txn->now_us * 1024 + messages_random();
    if (first <= engine->last_seq)
        first = engine->last_seq + 1;
    engine->last_seq = first + count;
    return first;
}

enum err txn_messages_plan(struct txn *txn, struct broker_op *op) {
    struct txn_messages *messages = txn->messages;
    struct planned *planned = arena_alloc(&txn->arena, sizeof *planned);
    if (!planned)
        return ERR_OUT_OF_MEMORY;
    *planned = (struct planned){.op = op};
    op->stage = (void *)planned;
    op->queues = 0;
    op->count = 0;
    *messages->last = planned;
    messages->last = &planned->next;
    txn->needs_version = true;
    return op->action == BROKER_PUBLISH ? publish_plan(txn, planned) : settle_plan(txn, planned);
}

bool txn_messages_is_memory(struct engine *engine, const struct broker_op *op) {
    struct topology *topology = engine->topology;
    if (op->action != BROKER_PUBLISH) {
        const struct tqueue *queue = topology_find_queue(topology, op->queue);
        return queue && queue->options.storage == BROKER_MEMORY;
    }
    const struct trouter *router = topology_find_router(topology, op->router);
    struct match_result found;
    match_result_init(&found);
    bool is_memory =
        router && topology_route(topology, router, op->routing_key, &found) == OK && found.count;
    for (unsigned i = 0; is_memory && i < found.count; i++)
        is_memory = ((const struct tqueue *)found.targets[i])->options.storage == BROKER_MEMORY;
    match_result_done(&found);
    return is_memory;
}

/* ---- loading ---- */

static bool has_batch(const struct txn *txn) {
    const struct work *work = txn->works.first;
    while (work && work->kind != WORK_BATCH)
        work = work->next;
    return work != NULL;
}

bool txn_messages_need_load(const struct txn *txn) {
    const struct txn_messages *messages = txn->messages;
    bool acks_alone = !messages->looks && !has_batch(txn);
    return messages->limits || messages->ids || (messages->rows && !acks_alone);
}

void txn_messages_load_steps(struct txn *txn, struct request *request) {
    publish_load_steps(txn, request);
    settle_load_steps(txn, request);
}

enum err txn_messages_loaded(struct txn *txn, const struct request *request) {
    struct txn_messages *messages = txn->messages;
    if (messages->first && messages->version != topology_version(txn->engine->topology))
        return ERR_WOULD_WAIT;
    enum err err = publish_loaded(txn, request);
    return err ? err : settle_loaded(txn, request);
}

/* ---- applying, writing ---- */

enum err txn_messages_apply(struct txn *txn, struct broker_op *op) {
    struct planned *planned = (void *)op->stage;
    op->err =
        op->action == BROKER_PUBLISH ? publish_apply(txn, planned) : settle_apply(txn, planned);
    return op->err;
}

/* An answer that changes nothing is as much decided by the cache as one that does: a publish that
 * reaches nobody. What was loaded was loaded with the version. */
static bool decides_blindly(const struct txn *txn, const struct request *request, unsigned before) {
    if (!txn->is_blind || request->step_count != before)
        return false;
    for (const struct planned *planned = txn->messages->first; planned; planned = planned->next)
        if (planned->known)
            return true;
    return false;
}

void txn_messages_write_steps(struct txn *txn, struct request *request) {
    unsigned before = request->step_count;
    for (int memory = 0; memory < 2; memory++) {
        settle_write_flushes(txn, request, memory);
        settle_write_rows(txn, request, memory);
        publish_write_heads(txn, request, memory);
    }
    for (int memory = 0; memory < 2; memory++) {
        publish_write_ids(txn, request, memory);
        publish_write_copies(txn, request, memory);
    }
    if (decides_blindly(txn, request, before))
        params_int8(request_add(request, SQL_VERSION_GUARD, false), txn->messages->version);
}

/* ---- committed ---- */

static void came(struct engine *engine, struct tqueue *queue) {
    receivers_wake(engine->receivers, queue);
    node_poke_others(engine->node, queue->id);
}

static void falls_due(struct engine *engine, bool memory, int64_t in_ms) {
    due_schedule(engine->due, memory, engine_now_ms(engine) + in_ms);
}

static void published(struct engine *engine, const struct planned *planned) {
    const struct broker_op *op = planned->op;
    struct trouter *router = topology_find_router(engine->topology, op->router);
    if (router && (planned->applied || planned->was_full)) {
        *(planned->target_count ? &router->published : &router->unroutable) += 1;
        router->counters_changed = true;
    }
    for (unsigned i = 0; planned->applied && i < planned->target_count; i++) {
        const struct target *target = &planned->targets[i];
        struct tqueue *queue = topology_find_queue_id(engine->topology, target->queue);
        if (!queue || target->seen)
            continue;
        queue->counted.published++;
        queue->counters_changed = true;
        if (op->delay_ms > 0)
            falls_due(engine, target->memory, op->delay_ms);
        else
            came(engine, queue);
        if (target->ttl_ms)
            falls_due(engine, target->memory, target->ttl_ms);
    }
}

static void count_moved(struct engine *engine, const struct planned *planned,
                        struct tqueue *queue) {
    struct tqueue *target =
        planned->moved_to ? topology_find_queue_id(engine->topology, planned->moved_to) : NULL;
    if (planned->reason == REASON_EXPIRED)
        queue->counted.expired++;
    if (planned->fate == FATE_DROP)
        queue->counted.dropped++;
    else
        queue->counted.dead_lettered++;
    if (!target)
        return;
    target->counted.published++;
    target->counters_changed = true;
    if (target->options.ttl_ms)
        falls_due(engine, target->options.storage == BROKER_MEMORY, target->options.ttl_ms);
    came(engine, target);
}

static void nacked(struct engine *engine, const struct planned *planned, struct tqueue *queue) {
    receivers_credit(engine->receivers, &planned->receipt, queue);
    switch (planned->fate) {
    case FATE_READY:
        came(engine, queue);
        break;
    case FATE_DELAYED:
        falls_due(engine, planned->row->memory, planned->op->delay_ms);
        break;
    case FATE_MOVE:
    case FATE_DROP:
        count_moved(engine, planned, queue);
        break;
    }
    if (planned->row->expires)
        due_schedule(engine->due, planned->row->memory, planned->row->expires);
}

static void settled(struct engine *engine, const struct planned *planned) {
    struct tqueue *queue = topology_find_queue_id(engine->topology, planned->queue);
    if (!planned->applied || !queue)
        return;
    queue->counters_changed = true;
    switch (planned->op->action) {
    case BROKER_ACK:
        queue->counted.acked++;
        receivers_credit(engine->receivers, &planned->receipt, queue);
        break;
    case BROKER_NACK:
        nacked(engine, planned, queue);
        break;
    case BROKER_EXTEND:
        falls_due(engine, planned->row->memory, planned->lease_ms);
        break;
    default: /* BROKER_FLUSH */
        queue->counted.dropped += planned->op->count;
        break;
    }
}

void txn_messages_committed(struct txn *txn, const struct request *request) {
    struct engine *engine = txn->engine;
    const struct txn_messages *messages = txn->messages;
    settle_committed(txn, request);
    for (int memory = 0; memory < 2; memory++) {
        const PGresult *result = messages_result(request, messages->add_step[memory]);
        int64_t last = result_rows(result) == 1 ? result_int8(result, 0, 0) : 0;
        if (last > engine->last_seq)
            engine->last_seq = last;
    }
    for (const struct limit *limit = messages->limits; limit; limit = limit->next) {
        struct tqueue *queue = topology_find_queue_id(engine->topology, limit->queue);
        if (queue && limit->dropped) {
            queue->counted.dropped += limit->dropped;
            queue->counters_changed = true;
        }
    }
    for (const struct planned *planned = messages->first; planned; planned = planned->next) {
        if (planned->op->action == BROKER_PUBLISH)
            published(engine, planned);
        else
            settled(engine, planned);
    }
}
