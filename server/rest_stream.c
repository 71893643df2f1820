/* SPDX-License-Identifier: MIT */
/* Messages pushed as events: GET /broker/queues/{queue}/stream. The connection is suspended while
 * the queue has nothing for it; each event is a message under a lease, its id is the receipt that
 * an ACK wants. */
#include <stdlib.h>

#include "base/clock.h"
#include "handlers/bind.h"
#include "handlers/position.h"
#include "handlers/render.h"
#include "handlers/spans.h"
#include "server/causal.h"
#include "server/http_events.h"
#include "server/rest.h"

#define CHUNK_BYTES 16384U /* rendered at a time */
#define BLOCK_BYTES 4096U
#define PREFETCH_DEFAULT 16
#define ASK_MAX 32U                /* messages asked for at once */
#define KEEP_ALIVE_MS 15000        /* after so long without a message, dead peers are looked for */
#define OUT_KEPT_BYTES (4096U * 4) /* room kept while there is nothing to send */

struct rest_stream {
    struct buf out;    /* rendered, not yet taken */
    size_t taken;      /* bytes of it */
    unsigned prefetch; /* un-acked messages at most */
    unsigned rendered; /* messages of the receive */
    unsigned sent;     /* of those, handed to the kernel whole */
    bool asked;        /* the receive is the broker's, or back and not looked at yet */
    bool holds;        /* the receive is back and has to be let go of */
    bool is_waiting;   /* suspended until it is back */
    bool ended;        /* all is rendered that will be */
    struct broker_consumer consumer;
    struct broker_receive receive;
};

static struct broker *broker_of(const struct http_request *request) {
    return request->server->core->broker;
}

/* What was not sent is ready again at once. */
static void let_go(struct broker *broker, struct rest_stream *stream) {
    struct broker_receive rest = stream->receive;
    if (!stream->holds)
        return;
    stream->holds = false;
    if (!rest.err && rest.count > stream->sent) {
        rest.deliveries += stream->sent;
        rest.count -= stream->sent;
        broker_give_back(broker, &rest);
    }
    broker_receive_free(&stream->receive);
}

void rest_stream_close(struct http_request *request) {
    struct rest_stream *stream = request->stream;
    if (!stream->asked)
        let_go(broker_of(request), stream);
    broker_consumer_close(broker_of(request), &stream->consumer);
}

/* By now the broker is done with the receive. */
void rest_stream_free(struct http_request *request) {
    struct rest_stream *stream = request->stream;
    let_go(request->call.core->broker, stream);
    buf_done(&stream->out);
    free(stream);
    request->stream = NULL;
}

static void on_done(struct broker_receive *receive) {
    struct http_request *request = receive->context;
    request->stream->holds = true;
    http_request_wake(request);
}

static void stop(struct http_parked *parked) {
    struct http_request *request = http_request_of(parked);
    broker_receive_stop(request->call.core->broker, &request->stream->receive);
}

static bool must_end(const struct http_request *request) {
    const struct http_server *server = request->server;
    return atomic_load(&server->stopping) || atomic_load(&server->core->draining) ||
           auth_allows(request->grant, AUTH_BROKER_CONSUME, request->call.args.queue,
                       clock_wall_ms()) != OK;
}

/* The receive is back. */
static void adopt(struct http_request *request) {
    struct rest_stream *stream = request->stream;
    stream->asked = false;
    spans_delivered(request->call.core, NULL, request->call.args.queue, &stream->receive);
    if (stream->receive.err || http_is_gone(request->owner->watched.fd))
        stream->ended = true; /* the queue was deleted; or nobody listens */
    else if (stream->receive.count == 0)
        buf_append(&stream->out, SLICE(": keep-alive\n\n"));
}

/* OK, or ERR_PENDING: suspended until the receive is back. */
static enum err ask(struct http_request *request) {
    struct rest_stream *stream = request->stream;
    stream->receive = (struct broker_receive){
        .consumer = &stream->consumer,
        .max = stream->prefetch < ASK_MAX ? stream->prefetch : ASK_MAX,
        .wait_ms = KEEP_ALIVE_MS,
        .max_bytes = core_receive_bytes(request->call.core),
        .done = on_done,
        .context = request,
    };
    stream->rendered = stream->sent = 0;
    stream->asked = true;
    if (stream->out.cap > OUT_KEPT_BYTES)
        buf_done(&stream->out);
    http_request_begin_wait(request, stop);
    enum err err = broker_receive(broker_of(request), &stream->receive);
    if (err == ERR_PENDING) {
        err = http_park(&request->server->lot, &request->parked);
        if (err)
            return err;
    } else {
        http_request_settle(request);
        stream->receive.err = err;
        stream->holds = true;
        stream->ended = !err && stream->receive.count == 0; /* nobody waits any more: a drain */
    }
    adopt(request);
    return OK;
}

static void render_event(struct buf *out, const struct broker_delivery *delivery) {
    buf_append(out, SLICE("id: "));
    buf_append(out,
               slice_make(delivery->receipt, strnlen(delivery->receipt, sizeof delivery->receipt)));
    buf_append(out, SLICE("\nevent: message\ndata: "));
    render_delivery(out, delivery);
    buf_append(out, SLICE("\n\n"));
}

/* Renders what comes next, or sees that nothing does. OK, ERR_PENDING (suspended), ERR_TIMEOUT (the
 * server stops). */
static enum err render_more(struct http_request *request) {
    struct rest_stream *stream = request->stream;
    if (stream->is_waiting) {
        stream->is_waiting = false;
        enum err err = http_unpark(&request->server->lot, &request->parked);
        if (err)
            return err;
        adopt(request);
        return OK;
    }
    if (stream->holds && stream->rendered < stream->receive.count) {
        while (stream->rendered < stream->receive.count && stream->out.len < CHUNK_BYTES)
            render_event(&stream->out, &stream->receive.deliveries[stream->rendered++]);
        return OK;
    }
    let_go(broker_of(request), stream);
    if (must_end(request)) {
        stream->ended = true;
        return OK;
    }
    enum err err = ask(request);
    stream->is_waiting = err == ERR_PENDING;
    return err;
}

/* It is called again when all it gave before is sent. */
static ssize_t read_stream(void *context, uint64_t position, char *to, size_t max_bytes) {
    struct http_request *request = context;
    struct rest_stream *stream = request->stream;
    (void)position;
    while (stream->taken == stream->out.len) {
        stream->sent = stream->rendered;
        if (stream->ended)
            return MHD_CONTENT_READER_END_OF_STREAM;
        buf_clear(&stream->out);
        stream->taken = 0;
        enum err err = render_more(request);
        if (err == ERR_PENDING)
            return 0;
        if (err == ERR_TIMEOUT)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (stream->out.failed)
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    return http_events_take(request, &stream->out, &stream->taken, to, max_bytes);
}

static enum MHD_Result take_prefetch(void *context, enum MHD_ValueKind kind, const char *name,
                                     size_t name_len, const char *value, size_t value_len) {
    int64_t *prefetch = context;
    (void)kind;
    if (!slice_equal(slice_make(name, name_len), SLICE("prefetch")))
        return MHD_YES;
    if (!slice_parse_i64(slice_make(value, value ? value_len : 0), prefetch))
        *prefetch = 0;
    return *prefetch ? MHD_YES : MHD_NO;
}

static enum err bind_request(struct http_request *request) {
    struct call *call = &request->call;
    call_init(call, request->server->core, request->grant, &request->arena, request->now_ms);
    call_set_op(call, op_find_name(SLICE("Broker.GetQueue")));
    request->has_call = true;
    struct slice queue;
    int index = bind_find_param(call->op, SLICE("queue"));
    if (!text_percent_decode(&request->arena, request->match.parts[0], &queue))
        return call_fail(call, ERR_SYNTAX, "the path has a malformed %% sequence");
    enum err err = bind_text(call, (unsigned)index, queue);
    if (err)
        return err;
    call->args.prefetch = PREFETCH_DEFAULT;
    MHD_get_connection_values_n(request->connection, MHD_GET_ARGUMENT_KIND, take_prefetch,
                                &call->args.prefetch);
    if (call->args.prefetch < 1 || call->args.prefetch > BROKER_PREFETCH_MAX)
        return call_fail(call, ERR_SYNTAX, "prefetch is from 1 to %d", BROKER_PREFETCH_MAX);
    return OK;
}

static enum err check_request(struct http_request *request) {
    struct call *call = &request->call;
    enum err err = auth_allows(call->grant, AUTH_BROKER_CONSUME, call->args.queue, request->now_ms);
    call->position.want = request->causal;
    call->position.ask = request->has_causal;
    return err ? (call->err = err) : position_check(call);
}

static enum err open_stream(struct http_request *request) {
    struct call *call = &request->call;
    if (atomic_load(&call->core->draining))
        return call_fail(call, ERR_UNAVAILABLE, "the server is about to stop");
    struct rest_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return call_fail(call, ERR_OUT_OF_MEMORY, "no memory for the stream");
    stream->prefetch = (unsigned)call->args.prefetch;
    enum err err = broker_consumer_open(call->core->broker, call->args.queue, stream->prefetch,
                                        &stream->consumer);
    if (err) {
        free(stream);
        return call->err = err;
    }
    buf_init(&stream->out, request->server->answer_max);
    buf_append(&stream->out, SLICE(": connected\n\n"));
    request->stream = stream;
    return OK;
}

static enum MHD_Result begin(struct http_request *request) {
    enum err err = request->call.err;
    if (request->has_causal)
        causal_reach(request);
    if (!err)
        err = open_stream(request);
    if (err)
        return http_reply_error(request, err, call_detail(&request->call));
    if (request->method == HTTP_HEAD)
        return http_events_reply(request,
                                 MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
    return http_events_reply(request,
                             MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES,
                                                               read_stream, request, NULL));
}

static void on_asked(struct call *call) {
    http_request_wake(call->context);
}

/* A remote broker gives what is not there a consumer, too: it is asked first. That takes no right
 * but the one to consume. */
static enum MHD_Result ask_first(struct http_request *request) {
    struct call *call = &request->call;
    call->wake = on_asked;
    call->context = request;
    http_request_begin_work(request);
    enum err err = call_run_allowed(call);
    if (err == ERR_PENDING)
        return http_request_park(request, begin);
    http_request_settle(request);
    return begin(request);
}

enum MHD_Result rest_stream_run(struct http_request *request) {
    enum err err = bind_request(request);
    if (!err)
        err = check_request(request);
    if (!err && broker_is_remote(broker_of(request)))
        return ask_first(request);
    return begin(request);
}
