/* SPDX-License-Identifier: MIT */
#include "handlers/call.h"

#include <stdarg.h>
#include <stdio.h>

#include "handlers/ops.h"
#include "handlers/peer_read.h"
#include "handlers/position.h"

void call_init(struct call *call, struct core *core, const struct auth_grant *grant,
               struct arena *arena, int64_t now_ms) {
    call->op = NULL;
    call->core = core;
    call->grant = grant;
    call->arena = arena;
    call->now_ms = now_ms;
    call->want_etag = false;
    call->want_existed = false;
    call->asks_peers = core->peer_reads;
    call->err = OK;
    call->detail = NULL;
    call->wake = NULL;
    call->context = NULL;
    call->position.want = (struct slice){NULL, 0};
    call->position.ask = false;
    call->position.reached_len = 0;
    call->broker.at_once = false;
    call->broker.behind = false;
    call->broker.holds = false;
    trace_span_clear(&call->span);
    trace_span_clear(&call->publish);
    call->trace_state = (struct slice){NULL, 0};
    call->parked_ns = 0;
    call->args.workspace = core->default_workspace;
    call->args.workspace_named = false;
    call->args.ns = SLICE("default");
    call->args.value_etag = NULL;
}

void call_set_op(struct call *call, const struct op *op) {
    struct uuid workspace = call->args.workspace;
    bool named = call->args.workspace_named;
    struct slice ns = call->args.ns;
    memset(&call->args, 0, sizeof call->args);
    memset(&call->reply, 0, offsetof(struct reply, entry));
    call->args.workspace = workspace;
    call->args.workspace_named = named;
    call->args.ns = ns;
    call->args.by = 1;
    call->args.limit = OP_LIST_LIMIT;
    call->op = op;
    call->err = OK;
    call->detail = NULL;
}

static enum err authorise(const struct call *call) {
    const struct op *op = call->op;
    if (op->flags & OP_OPEN)
        return OK;
    const struct args *args = &call->args;
    struct slice name = op->flags & OP_ALL_NAMES   ? SLICE("")
                        : op->flags & OP_OF_ROUTER ? args->router
                        : op->flags & OP_OF_QUEUE  ? args->queue
                                                   : args->ns;
    enum err err = auth_allows(call->grant, op->scope, name, call->now_ms);
    if (!err && call->args.workspace_named)
        err = auth_allows_workspace(call->grant, &call->args.workspace);
    return err;
}

enum err call_run_allowed(struct call *call) {
    enum err err = call->position.want.len ? position_check_first(call) : OK;
    if (!err)
        err = call->op->run(call);
    if (err != ERR_PENDING) /* a pending call may be finished and gone by now */
        call->err = err;
    return err;
}

enum err call_run(struct call *call) {
    enum err err = authorise(call);
    return err ? (call->err = err) : call_run_allowed(call);
}

enum err call_fail(struct call *call, enum err err, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t used = len < 0 ? 0 : (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
    call->detail = arena_copy(call->arena, slice_make(text, used)).ptr;
    return call->err = err;
}

const char *call_detail(const struct call *call) {
    return call->detail ? call->detail : err_text(call->err);
}

/* Then every call of a store, on memory too, is answered later. */
static bool is_remote(const struct call *call) {
    return call->core->kv && kv_is_remote(call->core->kv);
}

bool call_may_try(const struct call *call) {
    return ((call->op->flags & OP_BROKER) || peer_read_applies(call)) && !is_remote(call);
}

bool call_may_try_beside(const struct call *call) {
    return peer_read_applies(call) && !is_remote(call);
}

/* A remote store keeps the order of writes to one key or queue. What changes more than that (queues
 * and routers, a whole storage, keys and queues together) comes by itself. */
static enum call_lane remote_lane(const struct call *call) {
    const struct op *op = call->op;
    if (!(op->flags & OP_WRITE))
        return op->flags & OP_WAITS ? LANE_ALONE : LANE_READS;
    return op->scope == AUTH_ADMIN || op->run == op_storage_batch ? LANE_ALONE : LANE_WRITES;
}

/* A durable write: it goes to the committer's queue. */
static bool is_queued_write(const struct call *call) {
    unsigned flags = call->op->flags;
    return (flags & OP_WRITE) && ((flags & OP_BROKER) || call->args.storage == KV_HDD);
}

enum call_lane call_lane(const struct call *call) {
    if (is_remote(call))
        return remote_lane(call);
    if (peer_read_applies(call))
        return LANE_READS;
    return is_queued_write(call) ? LANE_WRITES : LANE_ALONE;
}

bool call_is_at_once(const struct call *call) {
    if (is_remote(call))
        return (call->op->flags & OP_OPEN) != 0;
    return !is_queued_write(call) && !(call->op->flags & (OP_MAY_WAIT | OP_BROKER)) &&
           !peer_read_applies(call);
}

bool call_is_off_disk(const struct call *call) {
    if (is_remote(call))
        return (call->op->flags & OP_OPEN) != 0;
    return call->args.storage == KV_MEMORY && !(call->op->flags & (OP_MAY_WAIT | OP_BROKER)) &&
           !peer_read_applies(call);
}

void call_release(struct call *call, bool was_sent) {
    if (!call->broker.holds)
        return;
    call->broker.holds = false;
    if (!was_sent)
        broker_give_back(call->core->broker, &call->broker.receive);
    broker_receive_free(&call->broker.receive);
}

void call_stop(struct call *call) {
    if (call->op && (call->op->flags & OP_WAITS))
        broker_receive_stop(call->core->broker, &call->broker.receive);
}
