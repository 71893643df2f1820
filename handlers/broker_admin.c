/* SPDX-License-Identifier: MIT */
/* Routers, queues and bindings: made, looked at, removed. */
#include "handlers/broker_internal.h"
#include "handlers/render.h"

#define OBJECT_BYTES_MAX (64U << 20)

_Static_assert(BROKER_ROUTERS_MAX == 100000 && BROKER_QUEUES_MAX == 100000, "told below");

/* What the error's own words do not say; NULL: they do. */
static const char *detail_of(const struct broker_op *op, enum err err) {
    if (err == ERR_STORAGE_FULL && op->at_limit)
        return op->action == BROKER_CREATE_ROUTER
                   ? "there are 100000 routers, and no more than that"
                   : "there are 100000 queues, and no more than that";
    if (err != ERR_CONFLICT)
        return NULL;
    if (op->action == BROKER_DELETE_ROUTER)
        return "the router `default` is built in";
    if (op->action == BROKER_BIND || op->action == BROKER_UNBIND)
        return "every queue is bound to `default` under its own name, and in no other way";
    return NULL;
}

static void finish(struct call *call) {
    const struct broker_op *op = &call->broker.op;
    call->err = call->broker.write.err;
    call->reply.flag = call->reply.created = op->flag;
    const char *detail = detail_of(op, call->err);
    if (detail)
        call->detail = detail;
}

/* What was rendered, moved to the arena. */
static enum err keep_text(struct call *call, struct buf *text, struct slice *ret_text) {
    struct slice kept =
        text->failed ? (struct slice){NULL, 0} : arena_copy(call->arena, buf_slice(text));
    buf_done(text);
    if (!kept.ptr)
        return call_fail(call, ERR_OUT_OF_MEMORY, "no memory for the answer");
    *ret_text = kept;
    return OK;
}

static enum err keep_router(struct call *call, const struct broker_router_info *info,
                            struct slice *ret_text) {
    struct buf text;
    buf_init(&text, OBJECT_BYTES_MAX);
    render_router(&text, info);
    return keep_text(call, &text, ret_text);
}

static enum err keep_queue(struct call *call, const struct broker_queue_info *info,
                           struct slice *ret_text) {
    struct buf text;
    buf_init(&text, OBJECT_BYTES_MAX);
    render_queue(&text, info);
    return keep_text(call, &text, ret_text);
}

static enum err ask(struct call *call, enum broker_question question, struct slice name,
                    void (*done)(struct broker_query *query)) {
    return broker_ask_later(call, &(struct broker_query){.question = question, .name = name}, done);
}

/* The object as it is, where it is; else as it would be. Both texts are made before the change:
 * behind it there may be no arena to take them from. */
static void finish_create(struct call *call) {
    finish(call);
    call->reply.text = call->reply.created ? call->reply.id : call->reply.text;
    call->reply.id = (struct slice){NULL, 0};
}

static enum err submit_router(struct call *call) {
    return broker_submit_one(call, BROKER_CREATE_ROUTER, finish_create);
}

/* Whether it is there is known now; the change comes next. */
static void create_router_asked(struct broker_query *query) {
    struct call *call = query->context;
    enum err err = query->err == ERR_ROUTER_NOT_EXIST ? OK : query->err;
    if (!query->err)
        err = keep_router(call, &query->router, &call->reply.text);
    broker_tell(call, err ? err : submit_router(call));
}

enum err op_broker_create_router(struct call *call) {
    const struct args *args = &call->args;
    struct reply *reply = &call->reply;
    struct broker *broker = call->core->broker;
    struct broker_router_info info = {
        .name = args->router,
        .type = (enum broker_router_type)args->router_type,
    };
    enum err err = keep_router(call, &info, &reply->id);
    reply->text = reply->id;
    if (!err && broker_is_remote(broker))
        return ask(call, ASK_ROUTER, args->router, create_router_asked);
    if (!err && !broker_get_router(broker, args->router, call->arena, &info))
        err = keep_router(call, &info, &reply->text);
    return err ? err : submit_router(call);
}

static struct broker_queue_options options_of(const struct call *call) {
    const struct args *args = &call->args;
    struct broker_queue_options options;
    broker_queue_options_init(&options);
    if (broker_given(call, SLICE("type")))
        options.storage = args->storage == KV_MEMORY ? BROKER_MEMORY : BROKER_HDD;
    options.overflow = (enum broker_overflow)args->overflow;
    if (args->lease_ms)
        options.lease_ms = args->lease_ms;
    options.ttl_ms = args->ttl_ms;
    options.dedup_window_ms = args->dedup_window_ms;
    options.max_length = (uint64_t)args->max_length;
    options.max_deliver = (uint32_t)args->max_deliver;
    options.dead_letter = args->dead_letter;
    return options;
}

static enum err submit_queue(struct call *call) {
    struct broker_queue_options *options = arena_alloc(call->arena, sizeof *options);
    if (!options)
        return ERR_OUT_OF_MEMORY;
    *options = options_of(call);
    struct broker_op *op = broker_op_of_args(call, BROKER_CREATE_QUEUE);
    op->options = options;
    return broker_submit_ops(call, op, 1, finish_create);
}

static void create_queue_asked(struct broker_query *query) {
    struct call *call = query->context;
    enum err err = query->err == ERR_QUEUE_NOT_EXIST ? OK : query->err;
    if (!query->err)
        err = keep_queue(call, &query->queue, &call->reply.text);
    broker_tell(call, err ? err : submit_queue(call));
}

enum err op_broker_create_queue(struct call *call) {
    struct slice name = call->args.queue;
    struct reply *reply = &call->reply;
    struct broker *broker = call->core->broker;
    struct broker_queue_info info = {.name = name, .options = options_of(call)};
    if (slice_equal(info.options.dead_letter, name)) /* what dies would never be gone */
        return call_fail(call, ERR_SYNTAX, "a queue is not its own dead-letter queue");
    enum err err = keep_queue(call, &info, &reply->id);
    reply->text = reply->id;
    if (!err && broker_is_remote(broker))
        return ask(call, ASK_QUEUE, name, create_queue_asked);
    if (!err && !broker_get_queue(broker, name, call->now_ms, call->arena, &info))
        err = keep_queue(call, &info, &reply->text);
    return err ? err : submit_queue(call);
}

enum err op_broker_delete_router(struct call *call) {
    return broker_submit_one(call, BROKER_DELETE_ROUTER, finish);
}

enum err op_broker_delete_queue(struct call *call) {
    return broker_submit_one(call, BROKER_DELETE_QUEUE, finish);
}

static void get_router_asked(struct broker_query *query) {
    struct call *call = query->context;
    broker_tell(call,
                query->err ? query->err : keep_router(call, &query->router, &call->reply.text));
}

enum err op_broker_get_router(struct call *call) {
    struct broker_router_info info;
    if (broker_is_remote(call->core->broker))
        return ask(call, ASK_ROUTER, call->args.router, get_router_asked);
    enum err err = broker_get_router(call->core->broker, call->args.router, call->arena, &info);
    return err ? err : keep_router(call, &info, &call->reply.text);
}

static void get_queue_asked(struct broker_query *query) {
    struct call *call = query->context;
    broker_tell(call, query->err ? query->err : keep_queue(call, &query->queue, &call->reply.text));
}

enum err op_broker_get_queue(struct call *call) {
    struct broker_queue_info info;
    if (broker_is_remote(call->core->broker))
        return ask(call, ASK_QUEUE, call->args.queue, get_queue_asked);
    enum err err =
        broker_get_queue(call->core->broker, call->args.queue, call->now_ms, call->arena, &info);
    return err ? err : keep_queue(call, &info, &call->reply.text);
}

/* {"routers":["a","b"]}; on lines the array alone, which is part of it. */
static enum err keep_names(struct call *call, const char *word, const struct slice *names,
                           size_t count) {
    struct reply *reply = &call->reply;
    struct buf text;
    buf_init(&text, OBJECT_BYTES_MAX);
    buf_printf(&text, "{\"%s\":", word);
    size_t start = text.len;
    for (size_t i = 0; i < count; i++) {
        buf_append_char(&text, i ? ',' : '[');
        text_append_json(&text, names[i]);
    }
    buf_append(&text, count ? SLICE("]}") : SLICE("[]}"));
    enum err err = keep_text(call, &text, &reply->text);
    if (!err)
        reply->line_text = slice_make(reply->text.ptr + start, reply->text.len - start - 1);
    return err;
}

static void list_asked(struct broker_query *query) {
    struct call *call = query->context;
    const char *word = query->question == ASK_QUEUES ? "queues" : "routers";
    broker_tell(call,
                query->err ? query->err : keep_names(call, word, query->names, query->name_count));
}

enum err op_broker_list_routers(struct call *call) {
    struct slice *names;
    size_t count;
    if (broker_is_remote(call->core->broker))
        return ask(call, ASK_ROUTERS, SLICE(""), list_asked);
    enum err err = broker_list_routers(call->core->broker, call->arena, &names, &count);
    return err ? err : keep_names(call, "routers", names, count);
}

enum err op_broker_list_queues(struct call *call) {
    struct slice *names;
    size_t count;
    if (broker_is_remote(call->core->broker))
        return ask(call, ASK_QUEUES, SLICE(""), list_asked);
    enum err err = broker_list_queues(call->core->broker, call->arena, &names, &count);
    return err ? err : keep_names(call, "queues", names, count);
}

static enum err pause_or_go_on(struct call *call, bool pause) {
    struct broker_op *op = broker_op_of_args(call, BROKER_PAUSE);
    op->pause = pause;
    return broker_submit_ops(call, op, 1, finish);
}

enum err op_broker_pause(struct call *call) {
    return pause_or_go_on(call, true);
}

enum err op_broker_resume(struct call *call) {
    return pause_or_go_on(call, false);
}

enum err op_broker_bind(struct call *call) {
    return broker_submit_one(call, BROKER_BIND, finish);
}

enum err op_broker_unbind(struct call *call) {
    return broker_submit_one(call, BROKER_UNBIND, finish);
}

/* The text was taken from the arena before. */
static void finish_counted(struct call *call, const char *word) {
    struct reply *reply = &call->reply;
    uint64_t count = call->broker.op.count;
    call->err = call->broker.write.err;
    char *room = (char *)(uintptr_t)reply->text.ptr;
    reply->number = (int64_t)count;
    reply->text.len = (size_t)(broker_write_counted(room, word, count) - room);
}

static void finish_flush(struct call *call) {
    finish_counted(call, "dropped");
}

static void finish_redrive(struct call *call) {
    finish_counted(call, "moved");
}

static enum err submit_counted(struct call *call, enum broker_action action,
                               void (*finish_it)(struct call *call)) {
    call->reply.text = slice_make(arena_alloc(call->arena, BROKER_COUNTED_BYTES), 0);
    if (!call->reply.text.ptr)
        return ERR_OUT_OF_MEMORY;
    return broker_submit_one(call, action, finish_it);
}

enum err op_broker_flush(struct call *call) {
    return submit_counted(call, BROKER_FLUSH, finish_flush);
}

enum err op_broker_redrive(struct call *call) {
    return submit_counted(call, BROKER_REDRIVE, finish_redrive);
}
