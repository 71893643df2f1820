/* SPDX-License-Identifier: MIT */
/* What a transaction does with deliveries, and flushes. Where acknowledgements are alone, they are
 * written without looking, and what comes back tells which were good. */
#include "engine/messages_inside.h"

/* ---- planning ---- */

static uint64_t bucket_of(int64_t seq) {
    return hash_seeded(slice_make(&seq, sizeof seq), hash_process_seed()) & (BUCKETS - 1);
}

static struct row *row_of(struct txn *txn, const struct tqueue *queue,
                          const struct receipt *receipt) {
    struct txn_messages *messages = txn->messages;
    struct row **bucket = &messages->row_buckets[bucket_of(receipt->seq)];
    for (struct row *row = *bucket; row; row = row->next)
        if (row->seq == receipt->seq && row->place == receipt->place && row->queue == queue->id &&
            row->receipt_lease == receipt->lease) {
            messages->looks = true; /* twice */
            return row;
        }
    struct row *row = arena_alloc(&txn->arena, sizeof *row);
    if (!row)
        return NULL;
    *row = (struct row){.next = *bucket,
                        .queue = queue->id,
                        .place = receipt->place,
                        .seq = receipt->seq,
                        .receipt_lease = receipt->lease,
                        .memory = queue->options.storage == BROKER_MEMORY};
    *bucket = row;
    *messages->last_row = row;
    messages->last_row = &row->all;
    messages->row_count[row->memory]++;
    return row;
}

static enum err plan_flush(struct txn *txn, struct planned *planned, const struct tqueue *queue) {
    struct txn_messages *messages = txn->messages;
    struct flush *flush = messages->flushes;
    while (flush && flush->queue != queue->id)
        flush = flush->next;
    if (!flush) {
        flush = arena_alloc(&txn->arena, sizeof *flush);
        if (!flush)
            return ERR_OUT_OF_MEMORY;
        *flush = (struct flush){.next = messages->flushes,
                                .queue = queue->id,
                                .memory = queue->options.storage == BROKER_MEMORY};
        messages->flushes = flush;
    }
    planned->flush = flush;
    return OK;
}

enum err settle_plan(struct txn *txn, struct planned *planned) {
    const struct broker_op *op = planned->op;
    const struct tqueue *queue = topology_find_queue(txn->engine->topology, op->queue);
    if (!queue)
        return ERR_WOULD_WAIT;
    planned->known = true;
    planned->queue = queue->id;
    planned->lease_ms = op->lease_ms ? op->lease_ms : queue->options.lease_ms;
    if (op->action == BROKER_FLUSH)
        return plan_flush(txn, planned, queue);
    if (!receipt_parse(op->receipt, &planned->receipt))
        return OK;
    planned->row = row_of(txn, queue, &planned->receipt);
    txn->messages->looks |= op->action != BROKER_ACK;
    return planned->row ? OK : ERR_OUT_OF_MEMORY;
}

/* ---- loading ---- */

static int64_t place_column(const struct row *row, int column) {
    switch (column) {
    case 0:
        return row->queue;
    case 1:
        return row->place;
    case 2:
        return row->seq;
    default:
        return row->receipt_lease;
    }
}

void settle_load_steps(struct txn *txn, struct request *request) {
    struct txn_messages *messages = txn->messages;
    for (int memory = 0; memory < 2; memory++) {
        if (!messages->row_count[memory])
            continue;
        struct params *params = request_add(request, SQL_MESSAGES_LOCK, memory);
        messages->row_step[memory] = request->step_count;
        for (int column = 0; column < 4; column++) {
            params_array(params, PARAMS_INT8);
            for (const struct row *row = messages->rows; row; row = row->all)
                if (row->memory == memory)
                    params_add_int8(params, place_column(row, column));
            params_array_end(params);
        }
    }
}

enum err settle_loaded(struct txn *txn, const struct request *request) {
    struct txn_messages *messages = txn->messages;
    for (int memory = 0; memory < 2; memory++) {
        const PGresult *result = messages_result(request, messages->row_step[memory]);
        unsigned count = 0;
        struct row **by_index =
            arena_alloc(&txn->arena, (messages->row_count[memory] + 1) * sizeof(struct row *));
        if (!by_index)
            return ERR_OUT_OF_MEMORY;
        for (struct row *row = messages->rows; row; row = row->all)
            if (row->memory == memory)
                by_index[count++] = row;
        for (int i = 0; i < result_rows(result); i++) {
            int64_t n = result_int8(result, i, 0);
            if (n < 1 || n > count)
                continue;
            struct row *row = by_index[n - 1];
            row->lease = row->receipt_lease;
            row->due = result_int8(result, i, 1);
            row->attempt = result_int8(result, i, 2);
            row->expires = result_int8(result, i, 3);
        }
    }
    return OK;
}

/* ---- applying ---- */

/* Found under its lease, and nothing here ended that before. */
static bool is_good(const struct txn *txn, const struct row *row) {
    return row->lease != 0 && row->due > txn->now_ms;
}

static enum err nack(struct txn *txn, struct planned *planned) {
    struct topology *topology = txn->engine->topology;
    const struct tqueue *queue = topology_find_queue_id(topology, planned->queue);
    struct row *row = planned->row;
    struct tqueue *target;
    if (!queue)
        return ERR_QUEUE_NOT_EXIST;
    planned->fate = message_fate(topology, queue, row->attempt, row->expires, true,
                                 planned->op->delay_ms, txn->now_ms, &planned->reason, &target);
    row->lease = 0;
    switch (planned->fate) {
    case FATE_READY:
    case FATE_DELAYED:
        row->change = ROW_UPDATED;
        row->after = planned->fate == FATE_DELAYED ? planned->op->delay_ms : 0;
        break;
    case FATE_MOVE:
        row->change = ROW_MOVED;
        row->reason = planned->reason;
        row->origin = queue;
        row->target = target;
        planned->moved_to = target->id;
        break;
    case FATE_DROP:
        row->change = ROW_DELETED;
        break;
    }
    for (struct limit *limit = txn->messages->limits; limit; limit = limit->next)
        if (limit->queue == row->queue && row->change == ROW_UPDATED) {
            txn_save(txn, limit, sizeof *limit);
            limit->total++;
            limit->delayed += row->after > 0;
        }
    return OK;
}

/* Its outcome is told once it is committed; where even that is not, it is unknown. */
static enum err ack_blindly(struct txn *txn, struct planned *planned) {
    struct txn_messages *messages = txn->messages;
    bool memory = planned->row->memory;
    if (!messages->acks[memory])
        messages->acks[memory] =
            arena_alloc(&txn->arena, messages->row_count[memory] * sizeof(struct planned *));
    if (!messages->acks[memory])
        return ERR_OUT_OF_MEMORY;
    messages->acks[memory][messages->ack_count[memory]++] = planned;
    return ERR_TIMEOUT;
}

static enum err settle(struct txn *txn, struct planned *planned) {
    struct row *row = planned->row;
    if (!row)
        return ERR_RECEIPT_INVALID;
    if (txn->is_blind)
        return ack_blindly(txn, planned);
    if (!is_good(txn, row))
        return ERR_RECEIPT_INVALID;
    txn_save(txn, row, sizeof *row);
    txn_save(txn, planned, sizeof *planned);
    planned->applied = true;
    switch (planned->op->action) {
    case BROKER_ACK:
        row->lease = 0;
        row->change = ROW_DELETED;
        return OK;
    case BROKER_NACK:
        return nack(txn, planned);
    default: /* BROKER_EXTEND */
        row->change = ROW_UPDATED;
        row->after = planned->lease_ms;
        row->due = txn->now_ms + planned->lease_ms;
        return OK;
    }
}

/* What others of this transaction put there goes here; what the database has, by its statement. */
static enum err flush(struct txn *txn, struct planned *planned) {
    struct broker_op *op = planned->op;
    op->count = 0;
    txn_save(txn, planned, sizeof *planned);
    planned->applied = true;
    for (struct copy *copy = txn->messages->copies; copy; copy = copy->next)
        if (!copy->gone && copy->target->queue == planned->queue) {
            txn_save(txn, copy, sizeof *copy);
            copy->gone = true;
            op->count++;
        }
    for (struct row *row = txn->messages->rows; row; row = row->all) {
        bool came = row->change == ROW_MOVED && row->target->id == planned->queue;
        bool back = row->change == ROW_UPDATED && row->lease == 0 && row->queue == planned->queue;
        if (!came && !back)
            continue;
        txn_save(txn, row, sizeof *row);
        row->change = ROW_DELETED;
        op->count++;
    }
    for (struct limit *limit = txn->messages->limits; limit; limit = limit->next)
        if (limit->queue == planned->queue) {
            txn_save(txn, limit, sizeof *limit);
            limit->total = limit->delayed = 0;
            limit->head_count = limit->heads_gone;
        }
    if (!planned->flush->by) {
        txn_save(txn, planned->flush, sizeof *planned->flush);
        planned->flush->by = planned;
    }
    return OK;
}

enum err settle_apply(struct txn *txn, struct planned *planned) {
    if (!planned->known)
        return ERR_QUEUE_NOT_EXIST;
    return planned->flush ? flush(txn, planned) : settle(txn, planned);
}

/* ---- writing ---- */

void settle_write_flushes(struct txn *txn, struct request *request, bool memory) {
    struct params *params = NULL;
    for (const struct flush *flush = txn->messages->flushes; flush; flush = flush->next) {
        if (flush->memory != memory || !flush->by)
            continue;
        if (!params) {
            params = request_add(request, SQL_MESSAGES_FLUSH, memory);
            txn->messages->flush_step[memory] = request->step_count;
            params_array(params, PARAMS_INT8);
        }
        params_add_int8(params, flush->queue);
    }
    if (params)
        params_array_end(params);
}

/* Acknowledgements that nobody looked at before. */
static void write_acks(struct txn *txn, struct request *request, bool memory) {
    struct txn_messages *messages = txn->messages;
    struct planned **acks = messages->acks[memory];
    unsigned count = messages->ack_count[memory];
    if (!count)
        return;
    struct params *params = request_add(request, SQL_MESSAGES_ACK, memory);
    messages->ack_step[memory] = request->step_count;
    for (int column = 0; column < 4; column++) {
        params_array(params, PARAMS_INT8);
        for (unsigned i = 0; i < count; i++)
            params_add_int8(params, place_column(acks[i]->row, column));
        params_array_end(params);
    }
}

static bool is_of(const struct row *row, enum row_change change, bool memory) {
    return row->change == change && row->memory == memory;
}

static bool any_of(const struct txn_messages *messages, enum row_change change, bool memory) {
    const struct row *row = messages->rows;
    while (row && !is_of(row, change, memory))
        row = row->all;
    return row != NULL;
}

static void add_places(struct txn *txn, struct params *params, enum row_change change,
                       bool memory) {
    for (int column = 0; column < 3; column++) {
        params_array(params, PARAMS_INT8);
        for (const struct row *row = txn->messages->rows; row; row = row->all)
            if (is_of(row, change, memory))
                params_add_int8(params, place_column(row, column));
        params_array_end(params);
    }
}

static void write_updates(struct txn *txn, struct request *request, bool memory) {
    struct params *params = request_add(request, SQL_MESSAGES_UPDATE, memory);
    add_places(txn, params, ROW_UPDATED, memory);
    params_array(params, PARAMS_INT8);
    for (const struct row *row = txn->messages->rows; row; row = row->all)
        if (is_of(row, ROW_UPDATED, memory))
            params_add_int8(params, row->after);
    params_array_end(params);
    params_array(params, PARAMS_INT8);
    for (const struct row *row = txn->messages->rows; row; row = row->all)
        if (is_of(row, ROW_UPDATED, memory))
            params_add_int8(params, row->lease);
    params_array_end(params);
}

static bool goes_to(const struct row *row, bool memory, bool to_memory) {
    return is_of(row, ROW_MOVED, memory) &&
           (row->target->options.storage == BROKER_MEMORY) == to_memory;
}

static int64_t move_column(const struct txn *txn, const struct row *row, int column,
                           int64_t fresh) {
    int64_t ttl_ms = row->target->options.ttl_ms;
    switch (column) {
    case 0:
    case 1:
    case 2:
        return place_column(row, column);
    case 3:
        return row->target->id;
    case 4:
        return fresh;
    case 5:
        return ttl_ms ? txn->now_ms + ttl_ms : 0;
    case 6:
        return row->reason;
    default:
        return row->attempt;
    }
}

static void write_moves(struct txn *txn, struct request *request, bool memory, bool to_memory) {
    const struct row *rows = txn->messages->rows;
    unsigned count = 0;
    for (const struct row *row = rows; row; row = row->all)
        count += goes_to(row, memory, to_memory);
    if (!count)
        return;
    struct params *params = memory == to_memory ? request_add(request, SQL_MESSAGES_MOVE, memory)
                            : to_memory ? request_add(request, SQL_MESSAGES_TO_MEMORY, false)
                                        : request_add(request, SQL_MESSAGES_TO_HDD, false);
    int64_t first = txn_fresh_seq(txn, count);
    for (int column = 0; column < 9; column++) {
        int64_t fresh = first;
        params_array(params, column == 7 ? PARAMS_BYTEA : PARAMS_INT8);
        for (const struct row *row = rows; row; row = row->all) {
            if (!goes_to(row, memory, to_memory))
                continue;
            if (column == 7)
                params_add_bytea(params, slice_make(row->origin->name, row->origin->name_len));
            else
                params_add_int8(params, move_column(txn, row, column, fresh++));
        }
        params_array_end(params);
    }
}

void settle_write_rows(struct txn *txn, struct request *request, bool memory) {
    struct txn_messages *messages = txn->messages;
    if (!messages->row_count[memory])
        return;
    if (txn->is_blind) {
        write_acks(txn, request, memory);
        return;
    }
    if (any_of(messages, ROW_DELETED, memory))
        add_places(txn, request_add(request, SQL_MESSAGES_DELETE, memory), ROW_DELETED, memory);
    if (any_of(messages, ROW_UPDATED, memory))
        write_updates(txn, request, memory);
    write_moves(txn, request, memory, memory);
    write_moves(txn, request, memory, !memory);
}

/* ---- committed ---- */

static void take_acks(struct txn_messages *messages, const struct request *request, int memory) {
    const PGresult *result = messages_result(request, messages->ack_step[memory]);
    if (!result)
        return;
    for (unsigned i = 0; i < messages->ack_count[memory]; i++)
        messages->acks[memory][i]->op->err = ERR_RECEIPT_INVALID;
    for (int i = 0; i < result_rows(result); i++) {
        int64_t n = result_int8(result, i, 0);
        if (n < 1 || n > messages->ack_count[memory])
            continue;
        struct planned *planned = messages->acks[memory][n - 1];
        planned->op->err = OK;
        planned->applied = true;
    }
}

void settle_committed(struct txn *txn, const struct request *request) {
    struct txn_messages *messages = txn->messages;
    for (struct flush *flush = messages->flushes; !request && flush; flush = flush->next)
        if (flush->by)
            flush->by->op->err = ERR_TIMEOUT; /* how many there were is not known */
    for (int memory = 0; memory < 2; memory++) {
        take_acks(messages, request, memory);
        const PGresult *gone = messages_result(request, messages->flush_step[memory]);
        for (int i = 0; i < result_rows(gone); i++)
            for (struct flush *flush = messages->flushes; flush; flush = flush->next)
                if (flush->by && flush->queue == result_int8(gone, i, 0))
                    flush->by->op->count += (uint64_t)result_int8(gone, i, 1);
    }
}
