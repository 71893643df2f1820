/* SPDX-License-Identifier: MIT */
/* Changes of the key/value store: on memory done at once, on hdd parked until they are safe. */
#include "handlers/ops.h"

/* Puts the outcome of the first op, or of the write that failed, into the reply. */
static void finish_write(struct call *call) {
    const struct kv_write *write = &call->kv.write;
    const struct kv_op *op = &write->ops[0];
    struct reply *reply = &call->reply;
    call->err = write->err;
    if (write->err)
        return;
    reply->flag = op->existed;
    reply->created = !op->existed;
    reply->revision = op->revision;
    reply->number = op->action == KV_INCREMENT ? op->number : (int64_t)write->op_count;
    if (!call->want_etag || op->action != KV_SET)
        return;
    if (op->value_etag)
        memcpy(reply->etag, op->value_etag, sizeof reply->etag);
    else
        hash_md5(op->value, reply->etag);
}

static void write_done(struct kv_write *write) {
    struct call *call = write->context;
    finish_write(call);
    call->wake(call);
}

static enum err submit(struct call *call, struct kv_op *ops_of_write, unsigned count) {
    struct kv_write *write = &call->kv.write;
    write->ops = ops_of_write;
    write->op_count = count;
    write->now_ms = call->now_ms;
    write->done = write_done;
    write->context = call;
    write->position = &call->position;
    write->err = OK;
    write->failed_index = 0;
    enum err err = kv_submit(call->core->kv, write);
    if (err == ERR_PENDING)
        return err;
    finish_write(call);
    return err;
}

static void set_condition(struct kv_op *op, const struct call *call) {
    const struct args *args = &call->args;
    op->condition = KV_ALWAYS;
    if (args->if_absent)
        op->condition = KV_IF_ABSENT;
    else if (args->if_present)
        op->condition = KV_IF_PRESENT;
    else if (args->etag_count)
        op->condition = KV_IF_ETAG;
    op->etags = (const uint8_t(*)[HASH_MD5_BYTES])args->etags;
    op->etag_count = args->etag_count;
}

static struct kv_op *one_op(struct call *call, enum kv_action action) {
    struct kv_op *op = &call->kv.op;
    const struct args *args = &call->args;
    *op = (struct kv_op){
        .action = action,
        .ref = {args->storage, args->workspace, args->ns, args->key},
        .ttl_ms = args->ttl_ms,
        .by = args->by,
    };
    set_condition(op, call);
    return op;
}

enum err op_storage_set(struct call *call) {
    struct kv_op *op = one_op(call, KV_SET);
    op->value = call->args.value;
    op->value_etag = call->args.value_etag;
    op->content_type = call->args.content_type;
    op->want_existed = call->want_existed;
    if (call->args.revision_given) {
        op->condition = KV_IF_REVISION;
        op->if_revision = call->args.if_revision;
    }
    return submit(call, op, 1);
}

enum err op_storage_delete(struct call *call) {
    return submit(call, one_op(call, KV_DELETE), 1);
}

enum err op_storage_increment(struct call *call) {
    return submit(call, one_op(call, KV_INCREMENT), 1);
}

enum err op_storage_touch(struct call *call) {
    return submit(call, one_op(call, KV_TOUCH), 1);
}

enum err op_storage_flush_all(struct call *call) {
    return submit(call, one_op(call, KV_FLUSH_ALL), 1);
}

enum err op_storage_set_many(struct call *call) {
    const struct args *args = &call->args;
    if (args->entry_count == 0) {
        call->reply.number = 0;
        return OK;
    }
    struct kv_op *list = arena_alloc(call->arena, sizeof *list * args->entry_count);
    if (!list)
        return ERR_OUT_OF_MEMORY;
    for (unsigned i = 0; i < args->entry_count; i++) {
        const struct args_entry *entry = &args->entries[i];
        list[i] = (struct kv_op){
            .action = KV_SET,
            .ref = {args->storage, args->workspace, args->ns, entry->key},
            .value = entry->value,
            .ttl_ms = entry->ttl_ms,
        };
    }
    return submit(call, list, args->entry_count);
}
