/* SPDX-License-Identifier: MIT */
/* Requests of a connection, in order: bound and prefetched in batches, answered at once or later.
 */
#include "handlers/spans.h"
#include "server/line_conn.h"
#include "server/line_count.h"
#include "server/line_dialect.h"
#include "server/line_held.h"
#include "server/line_json.h"
#include "server/line_render.h"
#include "server/line_words.h"

#define AHEAD 4U        /* requests */
#define TURN_WORDS 256U /* of a connection, then the others have their turn */

static void on_wake(struct call *call) {
    line_slot_wake(call->context);
}

static struct line_context context_of(struct line_conn *conn, struct arena *arena) {
    struct line_loop *loop = conn->loop;
    return (struct line_context){
        .core = loop->core,
        .grant = conn->grant,
        .place = conn->place,
        .arena = arena,
        .now_ms = line_loop_now_ms(loop),
        .is_peer = conn->is_peer,
        .line_limit_bytes = loop->config->line_limit_bytes,
    };
}

/* Appends with `append…` between, so that bytes behind a parked reply are counted. */
void line_replied(struct line_conn *conn, struct buf *to, size_t before) {
    if (to->failed)
        conn->broken = true;
    else if (to != &conn->loop->out)
        conn->after_bytes += to->len - before;
}

static void run_failed(struct line_conn *conn, struct line_request *request) {
    struct buf *to = line_conn_reply(conn);
    size_t before = to->len;
    conn->dialect->render_failure(to, request);
    line_replied(conn, to, before);
    line_count(conn, metrics_op(request->call.op, METRICS_NONE), request->call.err);
    conn->skip_line = request->skip_line;
    conn->skip_frame = request->skip_frame;
    conn->skip_bytes = request->skip_bytes;
    if (request->close)
        conn->quitting = true;
}

/* Runs and answers it. False where it would have to wait: nothing was done. */
static bool run_at_once(struct line_conn *conn, struct line_request *request) {
    struct line_loop *loop = conn->loop;
    struct call *call = &request->call;
    struct arena arena;
    arena_init_with(&arena, loop->arena_max_bytes, loop->scratch, sizeof loop->scratch);
    call->arena = &arena;
    call->broker.at_once = true;
    if (loop->core->tracer)
        spans_begin_call(call, NULL, conn->read_ns);
    call->err = call_run(call);
    bool answered = call->err != ERR_WOULD_WAIT;
    if (answered) {
        struct buf *to = line_conn_reply(conn);
        size_t before = to->len;
        enum err err = conn->dialect->render(to, call, &request->answer);
        if (!err)
            line_held_add_call(loop, call);
        call_release(call, false);
        line_replied(conn, to, before);
        line_count(conn, metrics_op(call->op, METRICS_NONE), err);
        line_count_traced(conn, call, err);
    }
    if (arena.chunks)
        arena_done(&arena);
    return answered;
}

/* Binds anew over copies of the bytes: a call that waits outlives what was read, and perhaps its
 * connection. */
static enum err bind_copy(struct line_conn *conn, const struct line_request *request,
                          struct line_slot *slot) {
    struct line_context context = context_of(conn, &slot->arena);
    struct slice line = arena_copy(&slot->arena, request->line);
    struct slice frame = {NULL, 0};
    if (request->frame.ptr)
        frame = arena_copy(&slot->arena, request->frame);
    slot->answer = request->answer;
    slot->answer.hash = (struct slice){NULL, 0};
    if (!line.ptr || (request->frame.ptr && !frame.ptr)) {
        call_init(&slot->call, context.core, context.grant, &slot->arena, context.now_ms);
        return slot->call.err = ERR_OUT_OF_MEMORY;
    }
    enum err err = conn->dialect->bind(&context, request, line, frame, &slot->call, &slot->answer);
    if (!err && conn->place) {
        slot->call.args.ns = arena_copy(&slot->arena, conn->place->ns);
        if (!slot->call.args.ns.ptr)
            err = slot->call.err = ERR_OUT_OF_MEMORY;
    }
    return err;
}

/* False where it has to wait for others. */
static bool run_in_slot(struct line_conn *conn, struct line_request *request) {
    enum err may = line_limit_begin_call(conn, request);
    if (may)
        return may != ERR_WOULD_WAIT;
    struct line_slot *slot = line_slot_take(conn->loop);
    if (!slot) {
        line_limit_cancel_call(conn);
        request->call.err = ERR_OUT_OF_MEMORY;
        run_failed(conn, request);
        return true;
    }
    line_limit_hold_slot(conn, slot);
    enum err err = bind_copy(conn, request, slot);
    slot->lane = call_lane(&request->call);
    slot->call.wake = on_wake;
    slot->call.context = slot;
    slot->call.broker.behind = conn->first != NULL;
    line_slot_queue(slot, conn);
    if (conn->loop->core->tracer) {
        spans_begin_call(&slot->call, NULL, conn->read_ns);
        spans_may_park(&slot->call);
    }
    if (!err)
        err = call_run(&slot->call);
    if (err == ERR_PENDING) {
        line_slot_park(slot);
        return true;
    }
    line_slot_finish(slot);
    if (conn->first == slot)
        line_conn_settle(conn);
    return true;
}

/* Whether it may be parked beside what is. */
static bool may_park(const struct line_conn *conn, const struct call *call) {
    if (!conn->first)
        return true;
    enum call_lane lane = call_lane(call);
    return lane != LANE_ALONE && lane == conn->first->lane &&
           (lane != LANE_READS || conn->queued < LINE_READS_MAX);
}

/* False where it has to wait for what is parked. */
static bool run_call(struct line_conn *conn, struct line_request *request) {
    const struct call *call = &request->call;
    bool beside = call_is_off_disk(call) || call_may_try_beside(call);
    bool may_try = beside || (!conn->first && (call_is_at_once(call) || call_may_try(call)));
    if (may_try && run_at_once(conn, request))
        return true;
    if (!may_park(conn, call))
        return false;
    return run_in_slot(conn, request);
}

static void run_word(struct line_conn *conn, const struct line_request *request) {
    struct buf *to = &conn->loop->out;
    size_t before = to->len;
    enum err err = request->word->run(conn, request->word_args, to);
    conn->turn_words++;
    conn->turn_bytes += to->len > before ? to->len - before : 0;
    if (!conn->first) /* else it is answered later */
        line_count(conn, metrics_op(NULL, METRICS_SESSION), err);
    line_replied(conn, to, to->len);
}

/* True where the connection may run something more; a full buffer is sent first. */
static bool has_room(struct line_conn *conn) {
    if (conn->loop->out.len >= LINE_FLUSH_BYTES)
        line_conn_flush(conn);
    return conn->backlog_bytes <= LINE_BACKLOG_BYTES && conn->after_bytes <= LINE_BACKLOG_BYTES &&
           conn->queued < LINE_PARKED_MAX;
}

/* A word's reply may be long, and long to make: others are not kept waiting for many of them. */
static bool may_run_word(struct line_conn *conn) {
    if (conn->turn_words < TURN_WORDS && conn->turn_bytes < LINE_FLUSH_BYTES)
        return true;
    line_conn_end_words(conn);
    return false;
}

static bool run_json(struct line_conn *conn, const struct line_request *request) {
    enum err may = line_limit_begin_call(conn, request);
    if (may)
        return may != ERR_WOULD_WAIT;
    line_json_run(conn, request->line);
    conn->loop->requests++;
    return true;
}

/* False where it was not run and has to wait. Behind a parked listing even a call on memory waits:
 * the listing must not see what was asked for later. */
static bool run_request(struct line_conn *conn, struct line_request *request) {
    if (!has_room(conn) || (conn->first && conn->first->lane == LANE_ALONE))
        return false;
    if (line_limit_refuses(conn, request))
        return true;
    switch (request->kind) {
    case REQUEST_CALL:
        return run_call(conn, request);
    case REQUEST_FAILED:
        run_failed(conn, request);
        return true;
    case REQUEST_WORD:
        if (conn->first || !may_run_word(conn))
            return false;
        run_word(conn, request);
        return true;
    case REQUEST_JSON:
        return !conn->first && run_json(conn, request);
    case REQUEST_MANY:
        if (conn->first)
            return false;
        conn->dialect->run_many(conn, request->line);
        return true;
    case REQUEST_HTTP:
        conn->quitting = true;
        return true;
    case REQUEST_PART:
    case REQUEST_EMPTY:
        break;
    }
    return true;
}

static uint64_t prefetch(const struct call *call) {
    const struct args *args = &call->args;
    bool writes_hdd = args->storage == KV_HDD && (call->op->flags & OP_WRITE);
    if (writes_hdd || args->key.len == 0)
        return 0;
    struct kv_ref ref = {args->storage, args->workspace, args->ns, args->key};
    return kv_prefetch(call->core->kv, &ref);
}

/* Binds up to a batch of requests; stops behind one that may change how the next are read. */
static unsigned parse_batch(struct line_conn *conn, struct slice data) {
    struct line_loop *loop = conn->loop;
    struct line_context context = context_of(conn, &loop->parsed);
    size_t scanned = conn->scanned;
    unsigned count = 0;
    conn->scanned = 0;
    conn->need = 0;
    while (count < LINE_BATCH && data.len) {
        struct line_request *request = &loop->batch[count];
        conn->dialect->parse(&context, data, scanned, request);
        scanned = 0;
        if (request->kind == REQUEST_PART) {
            conn->need = request->need;
            conn->scanned = request->need ? 0 : data.len;
            break;
        }
        count++;
        data.ptr += request->size;
        data.len -= request->size;
        if (request->kind == REQUEST_CALL)
            request->fetched = prefetch(&request->call);
        else if (request->kind != REQUEST_EMPTY)
            break;
    }
    return count;
}

/* Entries are sent for a few requests ahead: their slots have come by then. */
static void prefetch_ahead(struct line_loop *loop, unsigned count, unsigned at) {
    unsigned first = at ? at + AHEAD : 0;
    for (unsigned i = first; i <= at + AHEAD && i < count; i++) {
        const struct line_request *request = &loop->batch[i];
        if (request->kind == REQUEST_CALL)
            kv_prefetch_again(loop->core->kv, request->call.args.storage, request->fetched);
    }
}

/* Runs the batch; says how many bytes of it were consumed. */
static size_t run_batch(struct line_conn *conn, unsigned count) {
    size_t consumed = 0;
    for (unsigned i = 0; i < count && !conn->broken; i++) {
        if (count > 1)
            prefetch_ahead(conn->loop, count, i);
        struct line_request *request = &conn->loop->batch[i];
        if (!run_request(conn, request)) {
            conn->blocked = true;
            conn->scanned = 0;
            conn->need = 0;
            break;
        }
        conn->paid = false;
        consumed += request->size;
    }
    return consumed;
}

static size_t skip_line(struct line_conn *conn, struct slice data) {
    const char *newline = memchr(data.ptr, '\n', data.len);
    if (!newline)
        return data.len;
    conn->skip_line = false;
    return (size_t)(newline + 1 - data.ptr);
}

static size_t skip_frame(struct line_conn *conn, struct slice data) {
    size_t skipped = conn->skip_bytes < data.len ? (size_t)conn->skip_bytes : data.len;
    conn->skip_bytes -= skipped;
    if (skipped == data.len)
        return skipped;
    if (data.ptr[skipped] == '\r')
        return skipped + 1;
    conn->skip_frame = false;
    if (data.ptr[skipped] != '\n')
        conn->quitting =
            true; /* its error was answered already; where the next begins is unknown */
    return skipped + 1;
}

size_t line_run(struct line_conn *conn, struct slice data) {
    struct line_loop *loop = conn->loop;
    size_t at = 0;
    conn->blocked = false;
    while (at < data.len && !conn->quitting && !conn->broken && !conn->blocked) {
        struct slice rest = slice_make(data.ptr + at, data.len - at);
        if (conn->skip_line) {
            at += skip_line(conn, rest);
        } else if (conn->skip_frame) {
            at += skip_frame(conn, rest);
        } else {
            if (rest.len < conn->need)
                break;
            arena_init_with(&loop->parsed, loop->arena_max_bytes, loop->parse_scratch,
                            sizeof loop->parse_scratch);
            unsigned count = parse_batch(conn, rest);
            at += run_batch(conn, count);
            if (loop->parsed.chunks)
                arena_done(&loop->parsed);
            if (count == 0)
                break;
        }
    }
    line_count_tell(conn);
    return conn->quitting || conn->broken ? data.len : at;
}
