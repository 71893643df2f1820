/* SPDX-License-Identifier: MIT */
/* Elements of lists: receipts, messages to publish, the ops of a batch. An object among them is
 * bound like a call, by a row of its own that is no operation. */
#include "handlers/bind_internal.h"
#include "handlers/ops.h"

#define FIELD(field) ((unsigned)offsetof(struct args, field))
#define COUNT_OF(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))
#define P(word, type, flags, field, min, max)                                                      \
    { word, type, flags, FIELD(field), min, max, NULL, NULL, NULL }
#define P_KEY P("key", PARAM_KEY, PARAM_REQUIRED, key, 0, 0)
#define P_TIME(word, field) P(word, PARAM_INT, 0, field, 0, BROKER_TIME_MAX_MS)
#define P_ROUTING(flags)                                                                           \
    { "key", PARAM_ROUTING, flags, FIELD(routing_key), 0, 0, NULL, "routing-key", NULL }
#define P_ENCODING P("encoding", PARAM_ENCODING, 0, value, 0, 0)
#define P_MESSAGE                                                                                  \
    P_ROUTING(0), P("payload", PARAM_BYTES, PARAM_REQUIRED, value, 0, 0), P_ENCODING,              \
        P("id", PARAM_NAME, 0, id, 0, 0), P_TIME("delay", delay_ms), P_TIME("ttl", ttl_ms),        \
        P("priority", PARAM_INT, 0, priority, 0, BROKER_PRIORITY_MAX),                             \
        P("headers", PARAM_HEADERS, 0, headers, 0, 0)

static const struct param message_params[] = {P_MESSAGE};
static const struct param set_params[] = {
    P_KEY,
    P("value", PARAM_BYTES, PARAM_REQUIRED, value, 0, 0),
    P_ENCODING,
    P("ttl", PARAM_INT, 0, ttl_ms, 0, OP_TTL_MAX_MS),
};
static const struct param delete_params[] = {P_KEY};
static const struct param incr_params[] = {
    P_KEY,
    P("by", PARAM_INT, 0, by, INT64_MIN, INT64_MAX),
};
static const struct param check_params[] = {
    P_KEY,
    P("etag", PARAM_ETAG, 0, etags, 0, 0),
    P("revision", PARAM_REVISION, 0, if_revision, 0, 0),
    P("absent", PARAM_BOOL, 0, if_absent, 0, 0),
};
static const struct param publish_params[] = {
    P("router", PARAM_NAME, PARAM_REQUIRED, router, 0, 0),
    P_MESSAGE,
};
static const struct param ack_params[] = {
    P("queue", PARAM_NAME, PARAM_REQUIRED, queue, 0, 0),
    P("receipt", PARAM_NAME, PARAM_REQUIRED, receipt, 0, 0),
};

#define ROW(word, params_)                                                                         \
    { .name = (word), .params = (params_), .param_count = COUNT_OF(params_) }

static const struct op message_row = ROW("message", message_params);
static const struct op op_rows[] = {
    [BATCH_SET] = ROW("set", set_params),
    [BATCH_DELETE] = ROW("delete", delete_params),
    [BATCH_INCR] = ROW("incr", incr_params),
    [BATCH_CHECK] = ROW("check", check_params),
    [BATCH_PUBLISH] = ROW("publish", publish_params),
    [BATCH_ACK] = ROW("ack", ack_params),
};

const struct op *bind_message_row(void) {
    return &message_row;
}

const struct op *bind_op_row(struct slice op_name) {
    for (unsigned i = 0; i < COUNT_OF(op_rows); i++)
        if (slice_equal(slice_of_cstr(op_rows[i].name), op_name))
            return &op_rows[i];
    return NULL;
}

void bind_element_begin(struct call *element, const struct call *call, const struct op *row) {
    call_init(element, call->core, call->grant, call->arena, call->now_ms);
    call_set_op(element, row);
}

static enum err no_room(struct call *call) {
    return call_fail(call, ERR_OUT_OF_MEMORY, "no memory for so many");
}

static enum err too_many(struct call *call, const char *name) {
    return call_fail(call, ERR_SYNTAX, "%s has %d at most", name, BROKER_BATCH_MAX);
}

enum err bind_receipt_of_list(struct call *call, struct slice receipt) {
    struct args *args = &call->args;
    if (args->key_count == BROKER_BATCH_MAX)
        return too_many(call, "receipts");
    if (receipt.len > BROKER_NAME_MAX)
        return call_fail(call, ERR_SYNTAX, "a receipt has up to %d bytes", BROKER_NAME_MAX);
    struct slice *list = bind_list_room(call, args->keys, args->key_count, sizeof *list);
    if (!list)
        return no_room(call);
    args->keys = list;
    list[args->key_count++] = receipt;
    return OK;
}

static struct args_message message_of(const struct call *element) {
    const struct args *args = &element->args;
    return (struct args_message){
        .err = element->err,
        .detail = element->detail,
        .key = args->routing_key,
        .payload = args->value,
        .id = args->id,
        .headers = args->headers,
        .delay_ms = args->delay_ms,
        .ttl_ms = args->ttl_ms,
        .priority = args->priority,
    };
}

enum err bind_message_of_list(struct call *call, const struct call *element) {
    struct args *args = &call->args;
    if (args->message_count == BROKER_BATCH_MAX)
        return too_many(call, "messages");
    struct args_message *list =
        bind_list_room(call, args->messages, args->message_count, sizeof *list);
    if (!list)
        return no_room(call);
    args->messages = list;
    list[args->message_count++] = message_of(element);
    return OK;
}

/* Why the op cannot be one, or NULL. */
static const char *why_not(const struct call *element) {
    const struct args *args = &element->args;
    if (element->op != &op_rows[BATCH_CHECK])
        return NULL;
    unsigned conditions = args->etag_count + args->revision_given + args->if_absent;
    return conditions == 1 ? NULL : "a check has one of etag, revision and absent";
}

static enum kv_condition condition_of(const struct args *args) {
    return args->if_absent        ? KV_IF_ABSENT
           : args->revision_given ? KV_IF_REVISION
           : args->etag_count     ? KV_IF_ETAG
                                  : KV_ALWAYS;
}

static struct args_op op_of(const struct call *element) {
    const struct args *args = &element->args;
    struct args_op op = {
        .kind = (enum args_op_kind)(element->op - op_rows),
        .condition = condition_of(args),
        .key = args->key,
        .value = args->value,
        .ttl_ms = args->ttl_ms,
        .by = args->by,
        .if_revision = args->if_revision,
        .router = args->router,
        .queue = args->queue,
        .receipt = args->receipt,
        .message = message_of(element),
    };
    if (args->etag_count)
        memcpy(op.etag, args->etags[0], sizeof op.etag);
    return op;
}

enum err bind_op_of_list(struct call *call, const struct call *element) {
    struct args *args = &call->args;
    call->reply.indexed = true;
    call->reply.index = args->op_count;
    if (element->err)
        return call_fail(call, element->err, "ops[%u]: %s", args->op_count, call_detail(element));
    if (why_not(element))
        return call_fail(call, ERR_SYNTAX, "ops[%u]: %s", args->op_count, why_not(element));
    call->reply.indexed = false;
    if (args->op_count == BROKER_BATCH_MAX)
        return too_many(call, "ops");
    struct args_op *list = bind_list_room(call, args->ops, args->op_count, sizeof *list);
    if (!list)
        return no_room(call);
    args->ops = list;
    list[args->op_count++] = op_of(element);
    return OK;
}
