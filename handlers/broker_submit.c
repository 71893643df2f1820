/* SPDX-License-Identifier: MIT */
/* One way for every change of the broker: done at once, or parked until it is safe. */
#include "handlers/bind.h"
#include "handlers/broker_internal.h"

bool broker_given(const struct call *call, struct slice name) {
    int index = bind_find_param(call->op, name);
    return index >= 0 && (call->args.given & 1U << index);
}

/* Room for the id of a publish is large: it is not cleared. */
struct broker_op *broker_op_of_args(struct call *call, enum broker_action action) {
    const struct args *args = &call->args;
    struct broker_op *op = &call->broker.op;
    memset(op, 0, offsetof(struct broker_op, id_text));
    op->stage = NULL;
    op->action = action;
    op->router_type = (enum broker_router_type)args->router_type;
    op->pattern_given = args->pattern.ptr != NULL;
    op->priority = (uint8_t)args->priority;
    op->router = args->router;
    op->queue = args->queue;
    op->pattern = args->pattern;
    op->receipt = args->receipt;
    op->routing_key = args->routing_key;
    op->payload = args->value;
    op->id = args->id;
    op->headers = args->headers;
    op->delay_ms = args->delay_ms;
    op->ttl_ms = args->ttl_ms;
    op->lease_ms = args->lease_ms;
    return op;
}

static void write_done(struct broker_write *write) {
    struct call *call = write->context;
    call->broker.finish(call);
    call->wake(call);
}

enum err broker_submit_ops(struct call *call, struct broker_op *ops_of_write, unsigned count,
                           void (*finish)(struct call *call)) {
    struct broker_write *write = &call->broker.write;
    *write = (struct broker_write){
        .ops = ops_of_write,
        .op_count = count,
        .at_once = call->broker.at_once,
        .in_order = call->broker.behind,
        .now_ms = call->now_ms,
        .done = write_done,
        .context = call,
        .position = &call->position,
    };
    call->broker.finish = finish;
    enum err err = broker_submit(call->core->broker, write);
    if (err == ERR_PENDING || err == ERR_WOULD_WAIT)
        return err;
    if (err && !write->err) /* it did not get as far as the ops */
        return err;
    finish(call);
    return call->err;
}

enum err broker_submit_one(struct call *call, enum broker_action action,
                           void (*finish)(struct call *call)) {
    return broker_submit_ops(call, broker_op_of_args(call, action), 1, finish);
}

enum err broker_ask_later(struct call *call, const struct broker_query *question,
                          void (*done)(struct broker_query *query)) {
    struct broker_query *query = &call->broker.query;
    if (call->broker.at_once)
        return ERR_WOULD_WAIT;
    *query = *question;
    query->now_ms = call->now_ms;
    query->arena = call->arena;
    query->done = done;
    query->context = call;
    return broker_ask(call->core->broker, query);
}

void broker_tell(struct call *call, enum err err) {
    if (err == ERR_PENDING)
        return;
    call->err = err;
    call->wake(call);
}

static char *put(char *to, struct slice bytes) {
    if (bytes.len)
        memcpy(to, bytes.ptr, bytes.len);
    return to + bytes.len;
}

static char *put_number(char *to, uint64_t number) {
    char digits[20];
    unsigned len = 0;
    do {
        digits[len++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (len)
        *to++ = digits[--len];
    return to;
}

/* Names and ids have no control characters: two characters need a backslash. */
static char *put_escaped(char *to, struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\')
            *to++ = '\\';
        *to++ = text.ptr[i];
    }
    return to;
}

char *broker_write_published(char *to, const struct broker_op *op) {
    to = put(to, SLICE("{\"id\":\""));
    to = put_escaped(to, slice_make(op->id_text, op->id_len));
    to = put(to, SLICE("\",\"queues\":"));
    to = put_number(to, op->queues);
    return put(to, SLICE("}"));
}

char *broker_write_error(char *to, enum err err, const char *detail) {
    struct slice text = slice_of_cstr(detail ? detail : err_text(err));
    size_t most = (BROKER_ERROR_BYTES - 64) / 2;
    if (text.len > most || !text_is_utf8(text))
        text = slice_of_cstr(err_text(err));
    to = put(to, SLICE("{\"error\":{\"code\":\""));
    to = put(to, slice_of_cstr(err_word(err)));
    to = put(to, SLICE("\",\"message\":\""));
    to = put_escaped(to, text);
    return put(to, SLICE("\"}}"));
}

char *broker_write_counted(char *to, const char *word, uint64_t count) {
    to = put(to, SLICE("{\""));
    to = put(to, slice_of_cstr(word));
    to = put(to, SLICE("\":"));
    to = put_number(to, count);
    return put(to, SLICE("}"));
}
