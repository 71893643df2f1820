/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "server/causal.h"

#define PROBLEM_BYTES_MAX 4096U
#define REQUEST_ID_BYTES 129U
#define EXPOSED                                                                                    \
    "ETag, Hati-Revision, Hati-Ttl, Hati-Outcome, X-Request-Id, Retry-After, Causal-Context, "     \
    "Accept-Ranges, Content-Range, RateLimit, RateLimit-Policy"
#define TAKEN                                                                                      \
    "Authorization, Content-Type, If-Match, If-None-Match, X-Request-Id, Causal-Context, "         \
    "Last-Event-ID, Cache-Control, Range, If-Range, traceparent, tracestate"

bool http_add_header(struct MHD_Response *response, const char *name, const char *value) {
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

static void write_hex(uint64_t number, char *to) {
    for (unsigned i = 0; i < 16; i++)
        to[i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
}

static bool add_request_id(struct http_request *request, struct MHD_Response *response) {
    struct http_server *server = request->server;
    struct slice given = request->headers.request_id;
    char id[REQUEST_ID_BYTES];
    size_t len = 16;
    if (http_request_id_is_sane(given)) {
        len = given.len;
        memcpy(id, given.ptr, len);
    } else { /* an odd factor: no two alike within 2^64 */
        uint64_t n = atomic_fetch_add_explicit(&server->id_next, 1, memory_order_relaxed);
        write_hex(server->id_seed + n * 0x9E3779B97F4A7C15U, id);
    }
    id[len] = '\0';
    return http_add_header(response, "X-Request-Id", id);
}

static bool add_origin(const struct http_request *request, struct MHD_Response *response) {
    const char *origin = request->server->config->cors_origin;
    bool any = !origin || strcmp(origin, "*") == 0;
    if (!any && !http_add_header(response, "Vary", "Origin"))
        return false;
    struct slice asked = request->headers.origin;
    if (asked.len == 0 || (!any && !slice_equal_nocase(asked, slice_of_cstr(origin))))
        return true;
    return http_add_header(response, "Access-Control-Allow-Origin", any ? "*" : origin) &&
           http_add_header(response, "Access-Control-Expose-Headers", EXPOSED);
}

enum MHD_Result http_reply(struct http_request *request, unsigned status,
                           struct MHD_Response *response) {
    enum MHD_Result result = MHD_NO;
    if (!response)
        return MHD_NO;
    bool close =
        request->close || atomic_load_explicit(&request->server->stopping, memory_order_relaxed);
    if (add_request_id(request, response) && add_origin(request, response) &&
        causal_add(request, response) && http_limit_add_headers(request, response) &&
        (!close || http_add_header(response, MHD_HTTP_HEADER_CONNECTION, "close")))
        result = MHD_queue_response(request->connection, status, response);
    MHD_destroy_response(response);
    request->failed = status >= 400;
    request->status = status;
    if (request->method == HTTP_HEAD)
        request->out_bytes = 0; /* its body stays here */
    http_count_answer(request);
    return result;
}

/* The length of what is not sent, which RFC 9110 wants there or none at all, makes undici (fetch in
 * Node) wait for a body; with none the library would speak of chunks, for which others wait. */
struct MHD_Response *http_response_not_modified(void) {
    return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result reply_bytes(struct http_request *request, unsigned status, const char *type,
                                   struct slice body, enum MHD_ResponseMemoryMode mode) {
    request->out_bytes += body.len;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body.len, (void *)(uintptr_t)body.ptr, mode);
    if (response && type && !http_add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type)) {
        MHD_destroy_response(response);
        return MHD_NO;
    }
    return http_reply(request, status, response);
}

enum MHD_Result http_reply_copy(struct http_request *request, unsigned status,
                                const char *content_type, struct slice body) {
    return reply_bytes(request, status, content_type, body, MHD_RESPMEM_MUST_COPY);
}

enum MHD_Result http_reply_kept(struct http_request *request, unsigned status,
                                const char *content_type, struct slice body) {
    return reply_bytes(request, status, content_type, body, MHD_RESPMEM_PERSISTENT);
}

/* index: which element of a list failed; -1: none. */
static void append_problem(struct buf *to, enum err err, const char *detail, int64_t index) {
    buf_append(to, SLICE("{\"title\":"));
    text_append_json(to, slice_of_cstr(err_text(err)));
    buf_printf(to, ",\"status\":%d,\"detail\":", err_http_status(err));
    text_append_json(to, slice_of_cstr(detail ? detail : err_text(err)));
    if (index >= 0)
        buf_printf(to, ",\"index\":%lld", (long long)index);
    buf_printf(to, ",\"code\":\"%s\"}\n", err_word(err));
}

static int64_t index_of(const struct http_request *request) {
    const struct reply *reply = &request->call.reply;
    return request->has_call && reply->indexed ? (int64_t)reply->index : -1;
}

static bool add_error_headers(const struct http_request *request, enum err err,
                              struct MHD_Response *response) {
    char allow[HTTP_ALLOW_BYTES];
    switch (err) {
    case ERR_AUTH_REQUIRED:
        return http_add_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    case ERR_METHOD_NOT_ALLOWED:
        http_route_allow(request->match.methods, allow);
        return http_add_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    case ERR_TIMEOUT:
    case ERR_UNAVAILABLE: /* a probe is no operation */
        if ((request->crowded || request->match.target == TARGET_SNAPSHOT) &&
            !http_add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1"))
            return false;
        return request->match.target >= TARGET_STATUS ||
               http_add_header(response, "Hati-Outcome", err_outcome(err));
    case ERR_QUEUE_FULL:
        return http_add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    default:
        return true;
    }
}

enum MHD_Result http_reply_error(struct http_request *request, enum err err, const char *detail) {
    enum http_target target = request->match.target;
    const char *type = "application/json";
    struct buf text;
    request->outcome = err;
    buf_init(&text, PROBLEM_BYTES_MAX);
    if (target == TARGET_RPC)
        (void)rpc_append_error(&text, err, detail ? detail : err_text(err));
    else if (target == TARGET_KVSTORE)
        kvstore_append_error(&text, request, err, detail);
    else
        append_problem(&text, err, detail, err == ERR_TIMEOUT ? -1 : index_of(request));
    if (target != TARGET_RPC && target != TARGET_KVSTORE)
        type = "application/problem+json";
    struct MHD_Response *response =
        text.failed ? NULL
                    : MHD_create_response_from_buffer(text.len, text.ptr, MHD_RESPMEM_MUST_COPY);
    request->out_bytes += text.len;
    buf_done(&text);
    if (response && !(http_add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) &&
                      add_error_headers(request, err, response))) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return http_reply(request, (unsigned)err_http_status(err), response);
}

enum MHD_Result http_reply_options(struct http_request *request) {
    char allow[HTTP_ALLOW_BYTES];
    http_route_allow(request->match.methods, allow);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (response && !(http_add_header(response, MHD_HTTP_HEADER_ALLOW, allow) &&
                      http_add_header(response, "Access-Control-Allow-Methods", allow) &&
                      http_add_header(response, "Access-Control-Allow-Headers", TAKEN) &&
                      http_add_header(response, "Access-Control-Max-Age", "3600"))) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return http_reply(request, MHD_HTTP_NO_CONTENT, response);
}
