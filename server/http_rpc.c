/* SPDX-License-Identifier: MIT */
/* JSON-RPC over HTTP: status 200 for whatever reached the engine, errors and nothing too, since
 * several clients drop the body of any other. */
#include "server/http_request.h"

bool http_rpc_accepts(struct slice content_type) {
    static const char *const types[] = {"application/json", "application/json-rpc",
                                        "application/jsonrequest"};
    struct slice type = content_type;
    const char *semicolon = type.len ? memchr(type.ptr, ';', type.len) : NULL;
    if (semicolon)
        type.len = (size_t)(semicolon - type.ptr);
    while (type.len && (type.ptr[type.len - 1] == ' ' || type.ptr[type.len - 1] == '\t'))
        type.len--;
    if (content_type.len == 0)
        return true;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (slice_equal_nocase(type, slice_of_cstr(types[i])))
            return true;
    return false;
}

/* A caller that hung up while it waited is answered nothing: what came for it is ready again. */
static enum MHD_Result finish(struct http_request *request) {
    request->answers_rpc = true;
    request->carries = request->rpc.held != NULL;
    request->reached = position_reached(&request->rpc.position);
    if (request->carries && request->was_parked && http_is_gone(request->owner->watched.fd)) {
        rpc_release(&request->rpc, false);
        return MHD_NO;
    }
    unsigned status = MHD_HTTP_OK;
    if (http_limit_judge_calls(request)) {
        status = MHD_HTTP_TOO_MANY_REQUESTS;
        if (request->answer.len == 0) /* it was a notification */
            return http_reply_error(request, ERR_RATE_LIMITED, request->limited_why);
    }
    return http_reply_kept(request, status, "application/json", buf_slice(&request->answer));
}

static void done(struct rpc_request *rpc) {
    http_request_wake(rpc->context);
}

static void stop(struct http_parked *parked) {
    rpc_stop(&http_request_of(parked)->rpc);
}

enum MHD_Result http_rpc_run(struct http_request *request) {
    struct http_server *server = request->server;
    request->rpc_used = true;
    buf_init(&request->answer, server->answer_max);
    request->rpc = (struct rpc_request){
        .core = server->core,
        .grant = request->grant,
        .body = buf_slice(&request->body),
        .now_ms = request->now_ms,
        .out = &request->answer,
        .position = {.want = request->causal, .ask = request->has_causal},
        .span = request->span.context.valid ? &request->span : NULL,
        .trace_state = request->trace_state,
        .door = METRICS_RPC,
        .started_ns = request->started_ns,
        .limited = limits_meter(server->core->limits) ? request->limited
                                                      : (struct limits_client){.limited = false},
        .done = done,
        .context = request,
    };
    if (rpc_may_wait(&request->rpc))
        http_request_begin_wait(request, stop);
    else
        http_request_begin_work(request);
    enum err err = rpc_run(&request->rpc);
    if (err == ERR_PENDING)
        return http_request_park(request, finish);
    http_request_settle(request);
    return err ? http_reply_error(request, err, NULL) : finish(request);
}
