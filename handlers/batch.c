/* SPDX-License-Identifier: MIT */
/* Keys and queues changed together: the ops of a batch are staged one after another on the
 * committer, and are one block of the journal, or nothing.
 *
 *   bind ──> may it? ──> commit job ──> stage each op ──> published ──> finish each
 *                                         └─ one fails: all are taken back
 *
 * Where an engine has keys and queues, it is given the ops as they are: one transaction of it.
 */
#include <stdio.h>

#include "handlers/broker_internal.h"
#include "handlers/spans.h"

#define DETAIL_BYTES 160

/* Of a set, a delete, an incr or a check, with its comma. */
#define KEY_RESULT_BYTES 48

struct batch_item {
    enum args_op_kind kind;
    struct engine_item op;
};

struct batch {
    struct commit_job job;
    struct engine_batch far; /* in place of the job */
    struct call *call;
    struct batch_item *items;
    unsigned count, key_count;
    enum err err;
    unsigned failed_index;
    char *results; /* room for the answer; committer and door share no arena */
    char detail[DETAIL_BYTES];
};

static bool is_of_key(enum args_op_kind kind) {
    return kind != BATCH_PUBLISH && kind != BATCH_ACK;
}

static struct batch *batch_of(struct commit_job *job) {
    return (struct batch *)job; /* its first member */
}

static uint64_t size_of_item(const struct batch *batch, struct batch_item *item) {
    return is_of_key(item->kind) ? kv_stage_size(&item->op.key)
                                 : broker_stage_size(batch->call->core->broker, &item->op.message);
}

static uint64_t size_of_job(const struct commit_job *job) {
    const struct batch *batch = (const struct batch *)job;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < batch->count; i++)
        bytes += size_of_item(batch, &batch->items[i]);
    return bytes;
}

static enum err fail_at(struct batch *batch, unsigned index, enum err err) {
    batch->err = err;
    batch->failed_index = index;
    return err;
}

/* Names of namespaces stay, so they come before the mark to which a failure goes back. */
static enum err prepare_keys(struct batch *batch, struct journal_block *block) {
    for (unsigned i = 0; i < batch->count; i++) {
        const struct batch_item *item = &batch->items[i];
        enum err err = is_of_key(item->kind)
                           ? kv_stage_prepare(batch->call->core->kv, &item->op.key, block)
                           : OK;
        if (err)
            return fail_at(batch, i, err);
    }
    return OK;
}

static void undo_messages(struct batch *batch, unsigned count) {
    while (count-- > 0)
        if (!is_of_key(batch->items[count].kind))
            broker_stage_undo(batch->call->core->broker, &batch->items[count].op.message);
}

static enum err stage_all(struct batch *batch, struct kv_stage *stage,
                          struct journal_block *block) {
    const struct call *call = batch->call;
    for (unsigned i = 0; i < batch->count; i++) {
        struct batch_item *item = &batch->items[i];
        enum err err =
            is_of_key(item->kind)
                ? kv_stage_op(stage, &item->op.key)
                : broker_stage_op(call->core->broker, &item->op.message, call->now_ms, block);
        if (err) {
            undo_messages(batch, i);
            return fail_at(batch, i, err);
        }
    }
    return OK;
}

static void prepare(void *context, struct commit_job *job, struct journal_block *block) {
    struct batch *batch = batch_of(job);
    const struct call *call = batch->call;
    struct kv_stage *stage;
    (void)context;
    if (prepare_keys(batch, block))
        return;
    struct journal_mark mark = journal_block_mark(block);
    batch->err = kv_stage_begin(call->core->kv, call->now_ms, batch->key_count, block, &stage);
    if (batch->err)
        return;
    if (stage_all(batch, stage, block)) {
        kv_stage_undo(stage);
        journal_block_go_back(block, mark);
    }
    kv_stage_end(stage);
}

static char *write_key_result(char *to, const struct batch_item *item) {
    const struct kv_op *op = &item->op.key;
    int len = 0;
    switch (item->kind) {
    case BATCH_SET:
        len =
            snprintf(to, KEY_RESULT_BYTES, "{\"revision\":%llu}", (unsigned long long)op->revision);
        break;
    case BATCH_INCR:
        len = snprintf(to, KEY_RESULT_BYTES, "%lld", (long long)op->number);
        break;
    case BATCH_DELETE:
        return stpcpy(to, op->existed ? "true" : "false");
    default:
        return stpcpy(to, "true");
    }
    return to + (len > 0 ? len : 0);
}

static void write_results(struct batch *batch) {
    char *at = stpcpy(batch->results, "{\"results\":[");
    for (unsigned i = 0; i < batch->count; i++) {
        const struct batch_item *item = &batch->items[i];
        if (i)
            *at++ = ',';
        at = item->kind == BATCH_PUBLISH ? broker_write_published(at, &item->op.message)
                                         : write_key_result(at, item);
    }
    at = stpcpy(at, "]}");
    batch->call->reply.text = slice_make(batch->results, (size_t)(at - batch->results));
}

static void tell(struct batch *batch) {
    struct call *call = batch->call;
    call->err = batch->err;
    spans_end_publish(call, SLICE(""));
    call->wake(call);
}

static void answer(struct batch *batch) {
    struct call *call = batch->call;
    if (!batch->err) {
        write_results(batch);
    } else if (batch->failed_index < batch->count) {
        snprintf(batch->detail, sizeof batch->detail, "ops[%u]: %s", batch->failed_index,
                 err_text(batch->err));
        call->detail = batch->detail;
        call->reply.indexed = true;
        call->reply.index = batch->failed_index;
    }
    tell(batch);
}

static void finish(struct commit_job *job) {
    struct batch *batch = batch_of(job);
    for (unsigned i = 0; i < batch->count && !batch->err; i++)
        if (!is_of_key(batch->items[i].kind))
            broker_stage_finish(batch->call->core->broker, &batch->items[i].op.message);
    answer(batch);
}

static void refuse(struct commit_job *job, enum err err) {
    struct batch *batch = batch_of(job);
    batch->err = err;
    tell(batch);
}

static const struct commit_user batch_user = {
    .size = size_of_job,
    .prepare = prepare,
    .refuse = refuse,
    .finish = finish,
};

static enum err may_do(const struct call *call, const struct args_op *op) {
    static const enum auth_scope scopes[] = {
        [BATCH_SET] = AUTH_KV_WRITE,           [BATCH_DELETE] = AUTH_KV_WRITE,
        [BATCH_INCR] = AUTH_KV_WRITE,          [BATCH_CHECK] = AUTH_KV_READ,
        [BATCH_PUBLISH] = AUTH_BROKER_PUBLISH, [BATCH_ACK] = AUTH_BROKER_CONSUME,
    };
    struct slice name = op->kind == BATCH_PUBLISH ? op->router
                        : op->kind == BATCH_ACK   ? op->queue
                                                  : call->args.ns;
    return auth_allows(call->grant, scopes[op->kind], name, call->now_ms);
}

/* Rights of every op, and how much they are together. */
static enum err check_ops(struct call *call) {
    const struct args *args = &call->args;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < args->op_count; i++) {
        const struct args_op *op = &args->ops[i];
        enum err err = may_do(call, op);
        bytes += op->value.len + op->message.headers.len;
        if (!err && bytes > call->core->payload_limit_bytes)
            err = ERR_VALUE_TOO_LARGE;
        if (err) {
            call->reply.indexed = true;
            call->reply.index = i;
            return call_fail(call, err, "ops[%u]: %s", i, err_text(err));
        }
    }
    return OK;
}

static struct kv_op key_op_of(const struct call *call, const struct args_op *op) {
    static const enum kv_action actions[] = {
        [BATCH_SET] = KV_SET,
        [BATCH_DELETE] = KV_DELETE,
        [BATCH_INCR] = KV_INCREMENT,
        [BATCH_CHECK] = KV_CHECK,
    };
    return (struct kv_op){
        .action = actions[op->kind],
        .condition = op->condition,
        .ref = {KV_HDD, call->args.workspace, call->args.ns, op->key},
        .value = op->value,
        .ttl_ms = op->ttl_ms,
        .by = op->by,
        .if_revision = op->if_revision,
        .etags = &op->etag,
        .etag_count = op->condition == KV_IF_ETAG,
    };
}

static struct broker_op message_op_of(const struct args_op *op) {
    const struct args_message *message = &op->message;
    return (struct broker_op){
        .action = op->kind == BATCH_PUBLISH ? BROKER_PUBLISH : BROKER_ACK,
        .priority = (uint8_t)message->priority,
        .router = op->router,
        .queue = op->queue,
        .receipt = op->receipt,
        .routing_key = message->key,
        .payload = message->payload,
        .id = message->id,
        .headers = message->headers,
        .delay_ms = message->delay_ms,
        .ttl_ms = message->ttl_ms,
    };
}

/* NULL without memory. */
static struct batch *make_batch(struct call *call) {
    const struct args *args = &call->args;
    struct batch *batch = arena_alloc(call->arena, sizeof *batch);
    struct batch_item *items = arena_alloc(call->arena, sizeof *items * args->op_count);
    size_t room_bytes = sizeof "{\"results\":[]}";
    if (!batch || !items)
        return NULL;
    *batch = (struct batch){.call = call, .items = items, .count = args->op_count};
    batch->job.user = &batch_user;
    batch->failed_index = args->op_count; /* none */
    for (unsigned i = 0; i < args->op_count; i++) {
        const struct args_op *op = &args->ops[i];
        size_t id_len = op->message.id.len ? op->message.id.len : BROKER_ID_BYTES;
        items[i].kind = op->kind;
        items[i].op.is_key = is_of_key(op->kind);
        if (is_of_key(op->kind)) {
            items[i].op.key = key_op_of(call, op);
            batch->key_count++;
            room_bytes += KEY_RESULT_BYTES;
        } else {
            items[i].op.message = message_op_of(op);
            room_bytes += BROKER_PUBLISHED_BYTES(id_len) + 1;
        }
    }
    batch->results = arena_alloc(call->arena, room_bytes);
    return batch->results ? batch : NULL;
}

static void far_done(struct engine_batch *far) {
    struct batch *batch = far->context;
    batch->err = far->err;
    batch->failed_index = far->failed_index;
    answer(batch);
}

static enum err submit_far(struct call *call, struct batch *batch) {
    struct engine_item **items = arena_alloc(call->arena, sizeof(*items) * batch->count);
    if (!items)
        return ERR_OUT_OF_MEMORY;
    for (unsigned i = 0; i < batch->count; i++)
        items[i] = &batch->items[i].op;
    batch->far = (struct engine_batch){
        .items = items,
        .count = batch->count,
        .now_ms = call->now_ms,
        .done = far_done,
        .context = batch,
        .position = &call->position,
    };
    engine_submit_batch(call->core->engine, &batch->far);
    return ERR_PENDING;
}

enum err op_storage_batch(struct call *call) {
    enum err err = auth_allows(call->grant, AUTH_ANY, SLICE(""), call->now_ms);
    if (!err && broker_given(call, SLICE("type")) && call->args.storage != KV_HDD)
        err = call_fail(call, ERR_STORAGE_TYPE_INVALID, "a batch is of type hdd");
    if (!err)
        err = check_ops(call);
    if (err)
        return err;
    if (call->args.op_count == 0) {
        call->reply.text = SLICE("{\"results\":[]}");
        return OK;
    }
    if (!call->core->engine && !call->core->committer)
        return call_fail(call, ERR_UNAVAILABLE, "there is no hdd storage");
    if (call->broker.at_once)
        return ERR_WOULD_WAIT;
    spans_begin_publish(call);
    struct batch *batch = make_batch(call);
    if (!batch)
        return ERR_OUT_OF_MEMORY;
    if (call->core->engine)
        return submit_far(call, batch);
    commit_submit(call->core->committer, &batch->job);
    return ERR_PENDING;
}
