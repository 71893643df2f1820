/* SPDX-License-Identifier: MIT */
#include "handlers/spans.h"

#include "base/clock.h"
#include "handlers/headers.h"
#include "handlers/ops.h"

#define NAME_BYTES (BROKER_NAME_MAX + 16)
#define PARENT SLICE("traceparent")
#define STATE SLICE("tracestate")

/* ---- what messages bring ---- */

static bool is_publish(const struct call *call) {
    return call->op->run == op_broker_publish || call->op->run == op_broker_publish_many ||
           call->op->run == op_storage_batch;
}

/* False where there is none; the context stays as it was where it is malformed. */
static bool read_headers(struct slice headers, struct trace_context *ret_context) {
    struct slice text;
    if (!headers_find(headers, PARENT, &text))
        return false;
    (void)trace_context_parse(text, ret_context);
    return true;
}

/* The headers of message i, or NULL past the last. */
static struct slice *headers_at(struct call *call, unsigned i) {
    struct args *args = &call->args;
    if (call->op->run == op_broker_publish)
        return i == 0 ? &args->headers : NULL;
    if (call->op->run == op_broker_publish_many)
        return i < args->message_count ? &args->messages[i].headers : NULL;
    return i < args->op_count ? &args->ops[i].message.headers : NULL;
}

/* In a batch there are other ops between them. */
static bool is_message(const struct call *call, unsigned i) {
    return call->op->run != op_storage_batch || call->args.ops[i].kind == BATCH_PUBLISH;
}

/* ---- calls ---- */

void spans_begin_call(struct call *call, const struct trace_span *above, int64_t now_ns) {
    struct trace_context brought = {.valid = false};
    if (above) {
        trace_span_begin_child(&call->span, above, now_ns);
        return;
    }
    struct slice *headers = is_publish(call) ? headers_at(call, 0) : NULL;
    if (headers)
        (void)read_headers(*headers, &brought);
    trace_span_begin(&call->span, call->core->tracer, &brought, now_ns);
}

void spans_add_error(struct trace_record *record, enum err err) {
    if (!record || !err)
        return;
    trace_record_text(record, "error.type", slice_of_cstr(err_word(err)));
    record->failed = err_http_status(err) >= 500;
}

struct trace_record *spans_end_call(const struct call *call, enum err err, int64_t now_ns) {
    if (!call->span.tracer)
        return NULL;
    if (call->parked_ns)
        spans_add_parked(&call->span, call->op, call->parked_ns, now_ns);
    struct trace_record *record =
        trace_span_end(&call->span, TRACE_SERVER, slice_of_cstr(call->op->name), now_ns);
    spans_add_error(record, err);
    return record;
}

void spans_may_park(struct call *call) {
    call->parked_ns = call->span.tracer ? clock_steady_ns() : 0;
}

void spans_add_parked(const struct trace_span *span, const struct op *op, int64_t from_ns,
                      int64_t to_ns) {
    struct tracer *tracer = span->tracer;
    struct trace_span parked;
    if (!tracer)
        return;
    struct slice name = !op                    ? SLICE("wait")
                        : op->flags & OP_WAITS ? SLICE("wait for messages")
                        : op->flags & OP_WRITE ? SLICE("commit")
                                               : SLICE("read");
    trace_span_begin_child(&parked, span, from_ns);
    trace_put(tracer, trace_span_end(&parked, TRACE_INTERNAL, name, to_ns));
}

/* ---- publishing ---- */

static void append_pair(struct buf *to, struct slice name, struct slice text) {
    buf_append_char(to, '"');
    buf_append(to, name);
    buf_append(to, SLICE("\":"));
    text_append_json(to, text);
}

/* Appends the headers with the trace before the others. */
static bool append_with_trace(struct buf *to, const struct call *call, struct slice headers,
                              bool with_state) {
    char parent[TRACE_PARENT_BYTES];
    trace_context_format(&call->publish.context, parent);
    buf_clear(to);
    buf_append_char(to, '{');
    append_pair(to, PARENT, slice_make(parent, sizeof parent));
    if (with_state) {
        buf_append_char(to, ',');
        append_pair(to, STATE, call->trace_state);
    }
    buf_append_char(to, headers.len > 2 ? ',' : '}');
    if (headers.len > 2)
        buf_append(to, slice_make(headers.ptr + 1, headers.len - 1));
    return !to->failed;
}

/* Copied with the trace; ptr NULL where there is no room. Most of the arena is left for what was
 * asked for. */
static struct slice copy_with_trace(const struct call *call, struct slice headers) {
    struct slice ignored;
    struct slice copy = {NULL, 0};
    struct buf text;
    bool state = call->trace_state.len && !headers_find(headers, STATE, &ignored);
    if (call->arena->used_bytes > call->arena->max_bytes / 4)
        return copy;
    buf_init(&text, BROKER_HEADERS_MAX);
    if ((state && append_with_trace(&text, call, headers, true)) ||
        append_with_trace(&text, call, headers, false))
        copy = arena_copy(call->arena, buf_slice(&text));
    buf_done(&text);
    return copy;
}

/* The headers as they came where there is no room for more. */
static struct slice with_trace(struct call *call, struct slice headers) {
    struct slice copy = copy_with_trace(call, headers);
    if (copy.ptr)
        return copy;
    atomic_fetch_add_explicit(&call->core->traces_left_out, 1, memory_order_relaxed);
    return headers;
}

/* A batch may publish nothing. */
static bool has_message(struct call *call) {
    for (unsigned i = 0; headers_at(call, i); i++)
        if (is_message(call, i))
            return true;
    return false;
}

void spans_begin_publish(struct call *call) {
    if (!call->span.context.valid || call->publish.context.valid || !has_message(call))
        return;
    trace_span_begin_child(&call->publish, &call->span, call->span.tracer ? clock_steady_ns() : 0);
    for (unsigned i = 0; headers_at(call, i); i++) {
        struct slice *headers = headers_at(call, i);
        struct trace_context brought;
        if (is_message(call, i) && !read_headers(*headers, &brought))
            *headers = with_trace(call, *headers);
    }
}

static struct slice name_of(char to[NAME_BYTES], const char *verb, struct slice name) {
    size_t len = strlen(verb);
    size_t more = name.len < NAME_BYTES - len - 1 ? name.len : NAME_BYTES - len - 1;
    memcpy(to, verb, len);
    if (more) {
        to[len++] = ' ';
        memcpy(to + len, name.ptr, more);
    }
    return slice_make(to, len + more);
}

static void add_messaging(struct trace_record *record, const char *operation, const char *type,
                          struct slice destination) {
    trace_record_text(record, "messaging.system", SLICE("hati"));
    trace_record_text(record, "messaging.operation.name", slice_of_cstr(operation));
    trace_record_text(record, "messaging.operation.type", slice_of_cstr(type));
    if (destination.len)
        trace_record_text(record, "messaging.destination.name", destination);
}

/* Messages that brought a trace of their own have it still: it is another one. */
static void link_brought(struct call *call, struct trace_record *record) {
    for (unsigned i = 0; headers_at(call, i); i++) {
        struct trace_context brought = {.valid = false};
        if (is_message(call, i) && read_headers(*headers_at(call, i), &brought) && brought.valid &&
            memcmp(brought.span_id, record->context.span_id, TRACE_SPAN_ID_BYTES) != 0)
            trace_record_link(record, &brought);
    }
}

void spans_end_publish(struct call *call, struct slice id) {
    struct tracer *tracer = call->publish.tracer;
    char name[NAME_BYTES];
    if (!tracer)
        return;
    const struct args *args = &call->args;
    struct trace_record *record = trace_span_end(
        &call->publish, TRACE_PRODUCER, name_of(name, "publish", args->router), clock_steady_ns());
    if (!record)
        return;
    add_messaging(record, "publish", "send", args->router);
    if (call->op->run == op_broker_publish) {
        if (id.len)
            trace_record_text(record, "messaging.message.id", id);
        trace_record_number(record, "messaging.message.body.size", (int64_t)args->value.len);
    } else if (call->op->run == op_broker_publish_many) {
        trace_record_number(record, "messaging.batch.message_count", args->message_count);
    }
    spans_add_error(record, call->err);
    link_brought(call, record);
    trace_put(tracer, record);
}

/* ---- delivering ---- */

/* Who asked without a trace has one of a publisher's: what it publishes and takes is told as one.
 * False where nobody records. */
static bool begin_delivery(struct trace_span *span, const struct core *core,
                           const struct trace_span *above, const struct broker_receive *receive) {
    int64_t now_ns = clock_steady_ns();
    if (above && above->tracer) {
        trace_span_begin_child(span, above, now_ns);
        return true;
    }
    for (unsigned i = 0; i < receive->count; i++) {
        struct trace_context brought = {.valid = false};
        (void)read_headers(receive->deliveries[i].headers, &brought);
        if (!brought.valid || !brought.sampled)
            continue;
        trace_span_begin(span, core->tracer, &brought, now_ns);
        return true;
    }
    return false;
}

void spans_delivered(const struct core *core, const struct trace_span *above, struct slice queue,
                     const struct broker_receive *receive) {
    struct trace_span span;
    char name[NAME_BYTES];
    if (!core->tracer || receive->err || receive->count == 0 ||
        !begin_delivery(&span, core, above, receive))
        return;
    struct trace_record *record =
        trace_span_end(&span, TRACE_CONSUMER, name_of(name, "deliver", queue), clock_steady_ns());
    if (!record)
        return;
    add_messaging(record, "deliver", "receive", queue);
    trace_record_number(record, "messaging.batch.message_count", receive->count);
    for (unsigned i = 0; i < receive->count; i++) {
        struct trace_context brought = {.valid = false};
        (void)read_headers(receive->deliveries[i].headers, &brought);
        if (brought.valid)
            trace_record_link(record, &brought);
    }
    if (receive->count == 1)
        trace_record_text(record, "messaging.message.id", receive->deliveries[0].id);
    trace_put(core->tracer, record);
}
