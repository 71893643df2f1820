/* SPDX-License-Identifier: MIT */
/* Messages: published, received, acknowledged. */
#include "handlers/bind.h"
#include "handlers/broker_internal.h"
#include "handlers/render.h"
#include "handlers/spans.h"

#define PEEK_LIMIT_DEFAULT 100
#define PEEK_CURSOR_BYTES 9 /* lane, then sequence number */

/* Texts are written into room that was taken from the arena before the change was submitted. */
static char *room_of(const struct call *call) {
    return (char *)(uintptr_t)call->reply.text.ptr;
}

static enum err take_room(struct call *call, size_t size_bytes) {
    call->reply.text = slice_make(arena_alloc(call->arena, size_bytes), 0);
    return call->reply.text.ptr ? OK : ERR_OUT_OF_MEMORY;
}

static void finish_publish(struct call *call) {
    const struct broker_op *op = &call->broker.op;
    struct reply *reply = &call->reply;
    call->err = call->broker.write.err;
    spans_end_publish(call, slice_make(op->id_text, call->err ? 0 : op->id_len));
    if (call->err)
        return;
    reply->number = op->queues;
    reply->id = slice_make(op->id_text, op->id_len);
    reply->text.len = (size_t)(broker_write_published(room_of(call), op) - reply->text.ptr);
}

enum err op_broker_publish(struct call *call) {
    size_t id_len = call->args.id.len ? call->args.id.len : BROKER_ID_BYTES;
    enum err err = take_room(call, BROKER_PUBLISHED_BYTES(id_len));
    if (err)
        return err;
    spans_begin_publish(call);
    return broker_submit_one(call, BROKER_PUBLISH, finish_publish);
}

static void finish_one(struct call *call) {
    call->err = call->broker.write.err;
}

enum err op_broker_ack(struct call *call) {
    return broker_submit_one(call, BROKER_ACK, finish_one);
}

enum err op_broker_nack(struct call *call) {
    return broker_submit_one(call, BROKER_NACK, finish_one);
}

enum err op_broker_extend(struct call *call) {
    return broker_submit_one(call, BROKER_EXTEND, finish_one);
}

/* Where none could go through for a reason that is no message's own, the call failed. */
static enum err common_failure(const struct broker_write *write) {
    enum err first = write->ops[0].err;
    if (first != ERR_ROUTER_NOT_EXIST && first != ERR_QUEUE_NOT_EXIST && first != ERR_UNAVAILABLE)
        return OK;
    for (unsigned i = 1; i < write->op_count; i++)
        if (write->ops[i].err != first)
            return OK;
    return first;
}

static char *begin_results(const struct call *call) {
    return stpcpy(room_of(call), "{\"results\":[");
}

static void end_results(struct call *call, char *at) {
    at = stpcpy(at, "]}");
    call->reply.text.len = (size_t)(at - call->reply.text.ptr);
}

/* The ops are those messages that were fit to be published, in order. */
static void finish_publish_many(struct call *call) {
    const struct broker_write *write = &call->broker.write;
    const struct args *args = &call->args;
    const struct broker_op *op = write->ops;
    call->err = write->op_count ? common_failure(write) : OK;
    spans_end_publish(call, SLICE(""));
    if (call->err)
        return;
    char *at = begin_results(call);
    for (unsigned i = 0; i < args->message_count; i++) {
        const struct args_message *message = &args->messages[i];
        if (i)
            *at++ = ',';
        if (message->err)
            at = broker_write_error(at, message->err, message->detail);
        else if (op->err)
            at = broker_write_error(at, op++->err, NULL);
        else
            at = broker_write_published(at, op++);
    }
    end_results(call, at);
}

static struct broker_op op_of_message(const struct call *call, const struct args_message *message) {
    return (struct broker_op){
        .action = BROKER_PUBLISH,
        .priority = (uint8_t)message->priority,
        .router = call->args.router,
        .routing_key = message->key,
        .payload = message->payload,
        .id = message->id,
        .headers = message->headers,
        .delay_ms = message->delay_ms,
        .ttl_ms = message->ttl_ms,
    };
}

static size_t published_bytes(const struct args_message *message) {
    size_t bytes =
        BROKER_PUBLISHED_BYTES(message->id.len ? message->id.len : (size_t)BROKER_ID_BYTES);
    return bytes > BROKER_ERROR_BYTES ? bytes : BROKER_ERROR_BYTES;
}

enum err op_broker_publish_many(struct call *call) {
    const struct args *args = &call->args;
    struct broker_op *list = arena_alloc(call->arena, sizeof *list * (args->message_count + 1));
    size_t room_bytes = sizeof "{\"results\":[]}";
    unsigned count = 0;
    for (unsigned i = 0; i < args->message_count; i++)
        room_bytes += published_bytes(&args->messages[i]) + 1;
    if (!list || take_room(call, room_bytes) != OK)
        return ERR_OUT_OF_MEMORY;
    spans_begin_publish(call);
    for (unsigned i = 0; i < args->message_count; i++)
        if (!args->messages[i].err)
            list[count++] = op_of_message(call, &args->messages[i]);
    if (count)
        return broker_submit_ops(call, list, count, finish_publish_many);
    call->broker.write.op_count = 0;
    finish_publish_many(call);
    return OK;
}

static void finish_ack_many(struct call *call) {
    const struct broker_write *write = &call->broker.write;
    call->err = common_failure(write);
    if (call->err)
        return;
    char *at = begin_results(call);
    for (unsigned i = 0; i < write->op_count; i++) {
        if (i)
            *at++ = ',';
        at = write->ops[i].err ? broker_write_error(at, write->ops[i].err, NULL)
                               : stpcpy(at, "true");
    }
    end_results(call, at);
}

enum err op_broker_ack_many(struct call *call) {
    const struct args *args = &call->args;
    unsigned count = args->key_count;
    if (count == 0) {
        call->reply.text = SLICE("{\"results\":[]}");
        return OK;
    }
    struct broker_op *list = arena_alloc(call->arena, sizeof *list * count);
    if (!list || take_room(call, 64 + (size_t)count * (BROKER_ERROR_BYTES + 1)) != OK)
        return ERR_OUT_OF_MEMORY;
    for (unsigned i = 0; i < count; i++)
        list[i] = (struct broker_op){
            .action = BROKER_ACK, .queue = args->queue, .receipt = args->keys[i]};
    return broker_submit_ops(call, list, count, finish_ack_many);
}

/* It is let go of by call_release, a failed one too: until the door is done with the call, somebody
 * may be about to stop it. */
static void receive_done(struct broker_receive *receive) {
    struct call *call = receive->context;
    call->err = receive->err;
    call->broker.holds = true;
    spans_delivered(call->core, &call->span, call->args.queue, receive);
    call->wake(call);
}

enum err op_broker_receive(struct call *call) {
    const struct args *args = &call->args;
    call->broker.receive = (struct broker_receive){
        .queue = args->queue,
        .max = args->max ? (unsigned)args->max : 1,
        .wait_ms = args->wait_ms,
        .lease_ms = args->lease_ms,
        .max_bytes = core_receive_bytes(call->core),
        .at_once = call->broker.at_once,
        .done = receive_done,
        .context = call,
    };
    enum err err = broker_receive(call->core->broker, &call->broker.receive);
    if (err == ERR_PENDING) /* it may be finished and gone by now */
        return err;
    call->broker.holds = err != ERR_WOULD_WAIT;
    if (!err)
        spans_delivered(call->core, &call->span, args->queue, &call->broker.receive);
    return err;
}

static bool read_cursor(struct slice text, struct broker_cursor *cursor) {
    *cursor = (struct broker_cursor){0};
    if (text.len == 0)
        return true;
    if (text.len != PEEK_CURSOR_BYTES || (uint8_t)text.ptr[0] > BROKER_PRIORITY_MAX)
        return false;
    cursor->lane = (uint8_t)text.ptr[0];
    for (unsigned i = 1; i < PEEK_CURSOR_BYTES; i++)
        cursor->seq = cursor->seq << 8 | (uint8_t)text.ptr[i];
    return true;
}

static void append_cursor(struct buf *to, const struct broker_cursor *cursor) {
    char bytes[PEEK_CURSOR_BYTES] = {(char)cursor->lane};
    for (unsigned i = 1; i < PEEK_CURSOR_BYTES; i++)
        bytes[i] = (char)(cursor->seq >> 8 * (PEEK_CURSOR_BYTES - 1 - i));
    buf_append(to, SLICE(",\"cursor\":\""));
    bind_append_cursor(to, slice_make(bytes, sizeof bytes));
    buf_append_char(to, '"');
}

static enum err keep_peek(struct call *call, const struct broker_delivery *deliveries,
                          unsigned count, const struct broker_cursor *cursor) {
    struct buf text;
    buf_init(&text, call->arena->max_bytes);
    buf_append(&text, SLICE("{\"messages\":["));
    for (unsigned i = 0; i < count; i++) {
        if (i)
            buf_append_char(&text, ',');
        render_peeked(&text, &deliveries[i]);
    }
    buf_append_char(&text, ']');
    if (cursor)
        append_cursor(&text, cursor);
    buf_append_char(&text, '}');
    call->reply.text =
        text.failed ? (struct slice){NULL, 0} : arena_copy(call->arena, buf_slice(&text));
    buf_done(&text);
    if (!call->reply.text.ptr)
        return call_fail(call, ERR_OUT_OF_MEMORY, "too much for one page; ask for fewer");
    return OK;
}

static void peek_asked(struct broker_query *query) {
    struct call *call = query->context;
    broker_tell(call, query->err ? query->err
                                 : keep_peek(call, query->deliveries, query->count,
                                             query->more ? &query->cursor : NULL));
}

enum err op_broker_peek(struct call *call) {
    const struct args *args = &call->args;
    unsigned limit =
        broker_given(call, SLICE("limit")) ? (unsigned)args->limit : PEEK_LIMIT_DEFAULT;
    struct broker_cursor cursor;
    struct broker_delivery *deliveries;
    unsigned count;
    bool more;
    if (!read_cursor(args->cursor, &cursor))
        return call_fail(call, ERR_SYNTAX, "the cursor is none that a listing gave");
    if (broker_is_remote(call->core->broker))
        return broker_ask_later(
            call,
            &(struct broker_query){
                .question = ASK_PEEK, .name = args->queue, .cursor = cursor, .limit = limit},
            peek_asked);
    enum err err = broker_peek(call->core->broker, args->queue, &cursor, limit, call->arena,
                               &deliveries, &count, &more);
    return err ? err : keep_peek(call, deliveries, count, more ? &cursor : NULL);
}
