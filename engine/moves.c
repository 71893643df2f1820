/* SPDX-License-Identifier: MIT */
#include "engine/moves.h"

#include "base/hash.h"

#define OP_STEP 1U
#define SEQ_RANDOM 1024 /* so many for each microsecond, as MESSAGES_ADD has them */

void moves_add_begin(struct request *request, bool memory) {
    struct uuid op_id;
    hash_random(&op_id, sizeof op_id);
    request_add(request, SQL_BEGIN, false);
    params_uuid(request_add(request, SQL_OP_ADD, memory), &op_id);
}

int64_t moves_now_ms(const struct request *request) {
    return result_int8(request->steps[OP_STEP].result, 0, 0);
}

int64_t moves_version(const struct request *request) {
    return result_int8(request->steps[OP_STEP].result, 0, 2);
}

int64_t moves_first_seq(const struct request *request) {
    uint32_t random;
    hash_random(&random, sizeof random);
    return result_int8(request->steps[OP_STEP].result, 0, 1) * SEQ_RANDOM + random % SEQ_RANDOM;
}

/* ---- which ---- */

enum kind { KIND_READY, KIND_DROP, KIND_SAME, KIND_ACROSS, KIND_NONE };

static enum kind kind_of(const struct move *move, bool memory) {
    switch (move->fate) {
    case FATE_READY:
        return KIND_READY;
    case FATE_DROP:
        return KIND_DROP;
    case FATE_MOVE:
        return (move->target->options.storage == BROKER_MEMORY) == memory ? KIND_SAME : KIND_ACROSS;
    default:
        return KIND_NONE;
    }
}

struct writing {
    struct params *params;
    const struct move *moves;
    unsigned count;
    bool memory;
    enum kind kind;
    int64_t now_ms, seq;
};

enum field {
    FIELD_QUEUE,
    FIELD_PLACE,
    FIELD_SEQ,
    FIELD_TARGET,
    FIELD_FRESH,
    FIELD_EXPIRES,
    FIELD_REASON,
    FIELD_ATTEMPT
};

static int64_t value_of(const struct writing *writing, unsigned i, enum field field) {
    const struct move *move = &writing->moves[i];
    switch (field) {
    case FIELD_QUEUE:
        return move->queue_id;
    case FIELD_PLACE:
        return move->receipt.place;
    case FIELD_SEQ:
        return move->receipt.seq;
    case FIELD_TARGET:
        return move->target->id;
    case FIELD_FRESH:
        return writing->seq + i;
    case FIELD_EXPIRES: {
        int64_t ttl_ms = move->target->options.ttl_ms;
        return ttl_ms ? writing->now_ms + ttl_ms : 0;
    }
    case FIELD_REASON:
        return (int64_t)move->reason;
    case FIELD_ATTEMPT:
        return move->reason == REASON_NONE ? 0 : move->attempt;
    }
    return 0;
}

static void add_array(struct writing *writing, enum field field) {
    params_array(writing->params, PARAMS_INT8);
    for (unsigned i = 0; i < writing->count; i++)
        if (kind_of(&writing->moves[i], writing->memory) == writing->kind)
            params_add_int8(writing->params, value_of(writing, i, field));
    params_array_end(writing->params);
}

static void add_origins(struct writing *writing) {
    params_array(writing->params, PARAMS_BYTEA);
    for (unsigned i = 0; i < writing->count; i++) {
        const struct move *move = &writing->moves[i];
        if (kind_of(move, writing->memory) == writing->kind)
            params_add_bytea(writing->params,
                             move->reason == REASON_NONE
                                 ? SLICE("")
                                 : slice_make(move->queue->name, move->queue->name_len));
    }
    params_array_end(writing->params);
}

/* False where no message is of the kind. */
static bool add_kind(struct writing *writing, struct request *request, enum kind kind,
                     enum sql_number number) {
    bool any = false;
    for (unsigned i = 0; i < writing->count && !any; i++)
        any = kind_of(&writing->moves[i], writing->memory) == kind;
    if (!any)
        return false;
    writing->kind = kind;
    writing->params = request_add(request, number, writing->memory);
    for (enum field field = FIELD_QUEUE; field <= FIELD_SEQ; field++)
        add_array(writing, field);
    if (kind != KIND_SAME && kind != KIND_ACROSS)
        return true;
    for (enum field field = FIELD_TARGET; field <= FIELD_REASON; field++)
        add_array(writing, field);
    add_origins(writing);
    add_array(writing, FIELD_ATTEMPT);
    return true;
}

bool moves_add_writes(struct request *request, bool memory, const struct move *moves,
                      unsigned count, int64_t now_ms, int64_t seq, int64_t version) {
    struct writing writing = {
        .moves = moves, .count = count, .memory = memory, .now_ms = now_ms, .seq = seq};
    bool any = add_kind(&writing, request, KIND_READY, SQL_MESSAGES_READY);
    any |= add_kind(&writing, request, KIND_DROP, SQL_MESSAGES_DROP);
    any |= add_kind(&writing, request, KIND_SAME, SQL_MESSAGES_MOVE);
    any |= add_kind(&writing, request, KIND_ACROSS,
                    memory ? SQL_MESSAGES_TO_HDD : SQL_MESSAGES_TO_MEMORY);
    if (!any)
        return false;
    params_int8(request_add(request, SQL_VERSION_GUARD, false), version);
    request_add(request, SQL_COMMIT, false);
    return true;
}

/* ---- behind the commit ---- */

static void count_one(const struct move *move) {
    struct tqueue *queue = move->queue;
    if (move->fate == FATE_MOVE) {
        move->target->counted.published++;
        move->target->counters_changed = true;
    }
    if (!queue || move->reason == REASON_NONE)
        return;
    queue->counters_changed = true;
    if (move->reason == REASON_EXPIRED)
        queue->counted.expired++;
    if (move->fate == FATE_MOVE)
        queue->counted.dead_lettered++;
    else
        queue->counted.dropped++;
}

static void wake(struct engine *engine, struct tqueue *queue) {
    receivers_wake(engine->receivers, queue);
    node_poke_others(engine->node, queue->id);
}

void moves_committed(struct engine *engine, const struct move *moves, unsigned count,
                     int64_t now_ms) {
    struct tqueue *woken = NULL;
    for (unsigned i = 0; i < count; i++) {
        const struct move *move = &moves[i];
        count_one(move);
        if (move->queue && move->receipt.lease)
            receivers_credit(engine->receivers, &move->receipt, move->queue);
        struct tqueue *queue = move->fate == FATE_READY  ? move->queue
                               : move->fate == FATE_MOVE ? move->target
                                                         : NULL;
        if (queue && queue != woken)
            wake(engine, queue);
        woken = queue ? queue : woken;
        if (move->fate == FATE_MOVE && queue->options.ttl_ms)
            due_schedule(engine->due, queue->options.storage == BROKER_MEMORY,
                         now_ms + queue->options.ttl_ms);
    }
}

void moves_done(struct move *moves, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        if (moves[i].queue)
            topology_unref(moves[i].queue);
        if (moves[i].target)
            topology_unref(moves[i].target);
    }
}
