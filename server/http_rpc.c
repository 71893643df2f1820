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

static enum MHD_Result finish(struct http_request *request) {
    return http_reply_kept(request, MHD_HTTP_OK, "application/json", buf_slice(&request->answer));
}

static void done(struct rpc_request *rpc) {
    http_request_wake(rpc->context);
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
        .done = done,
        .context = request,
    };
    http_request_begin_work(request);
    enum err err = rpc_run(&request->rpc);
    if (err == ERR_PENDING)
        return http_request_park(request, finish);
    http_request_settle(request);
    return err ? http_reply_error(request, err, NULL) : finish(request);
}
