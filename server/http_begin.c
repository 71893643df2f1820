/* SPDX-License-Identifier: MIT */
/* The first look at a request: headers, route, token, size. libmicrohttpd closes the connection
 * after an answer that comes before the body was read, so most refusals wait until it was. */
#include "base/clock.h"
#include "server/causal.h"
#include "server/http_pages.h"
#include "server/http_raw.h"
#include "server/http_request.h"
#include "server/tls.h"

struct header_pass {
    struct http_headers *headers;
    struct http_raw raw;
};

static enum MHD_Result take_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   size_t name_len, const char *value, size_t value_len) {
    struct header_pass *pass = context;
    (void)kind;
    http_headers_add(pass->headers, slice_make(name, name_len),
                     slice_make(value ? value : "", value ? value_len : 0));
    http_raw_header(&pass->raw, name, name_len, value, value_len);
    return MHD_YES;
}

static const char *judge_headers(struct http_request *request, const char *url, const char *method,
                                 const char *version) {
    struct header_pass pass = {.headers = &request->headers};
    http_raw_begin(&pass.raw, method, url, request->uri_len, version);
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, take_header, &pass);
    const char *why = http_guard_check(&request->headers, slice_of_cstr(method), slice_of_cstr(url),
                                       slice_of_cstr(version));
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    size_t url_at = strlen(method) + 1;
    request->in_bytes = info->header_size;
    if (!why && request->server->raw_checks &&
        !http_raw_end(&pass.raw, url, info->header_size - url_at))
        why = "a line is folded, ends in a bare LF, has no name, or holds a NUL";
    if (!why && request->headers.transfer_encodings && request->server->raw_checks)
        request->chunks = url - url_at + info->header_size;
    return why;
}

/* The handshake asks for a certificate; that it is a good one is known here. */
static bool may_come_in(struct http_request *request) {
    struct http_connection *owner = request->owner;
    if (owner->has_shown || !request->server->config->rpc_tls)
        return true;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    owner->has_shown = info && tls_client_is_good(tls_current(), info->tls_session);
    return owner->has_shown;
}

static enum err check_caller(struct http_request *request, struct slice path) {
    struct http_server *server = request->server;
    struct core *core = server->core;
    if (server->loopback_only && !address_is_loopback(&request->client)) {
        request->refusal_why = "without credentials configured only this machine is served";
        return ERR_FORBIDDEN;
    }
    if (!core->auth) {
        request->grant = &auth_grant_everything;
        return OK;
    }
    struct slice ticket = http_tickets_find(request);
    request->grant = &request->own_grant;
    if (ticket.ptr) {
        enum err bad =
            auth_take_ticket(core->auth, ticket, path, request->now_ms, &request->own_grant);
        request->has_grant = bad == OK;
        return bad;
    }
    request->grant = &auth_grant_nothing;
    struct slice token = http_bearer_token(request->headers.authorization);
    if (token.len == 0 || token.len > AUTH_TOKEN_MAX)
        return ERR_AUTH_REQUIRED;
    request->grant = &request->own_grant;
    enum err err = auth_check(core->auth, token, request->now_ms, &request->own_grant);
    request->has_grant = err == OK;
    return err;
}

static bool is_open(const struct http_request *request) {
    return request->match.target >= TARGET_STATUS;
}

static bool takes_json(const struct http_request *request) {
    const struct op *op = request->match.op;
    return request->match.target == TARGET_RPC || request->match.target == TARGET_KVSTORE ||
           request->match.target == TARGET_TICKETS || (op && (op->flags & OP_JSON_BODY));
}

static enum err judge(struct http_request *request, struct slice path) {
    enum err err = http_route_find(path, request->method, &request->match);
    if (!err && rest_watch_is_wanted(request))
        request->match.target = TARGET_WATCH;
    if (slice_equal(path, SLICE("/")) && (request->method & (HTTP_GET | HTTP_HEAD))) {
        bool to_console = http_pages_wants_console(request);
        request->match.target = to_console ? TARGET_ROOT : TARGET_RPC;
        request->match.methods = HTTP_POST | HTTP_OPTIONS;
        err = to_console ? OK : ERR_METHOD_NOT_ALLOWED;
    }
    request->grant = &auth_grant_nothing;
    if (err == ERR_UNKNOWN_COMMAND)
        request->refusal_why = "nothing is served at this path";
    if (request->method == HTTP_OPTIONS || is_open(request))
        return err; /* who checks health has no certificate */
    if (!may_come_in(request)) {
        request->close = true;
        request->refusal_why = "a good client certificate is wanted";
        return ERR_FORBIDDEN;
    }
    enum err caller = check_caller(request, path);
    if (caller || err) { /* who may not come in learns nothing of the paths */
        request->refusal_why = caller == ERR_AUTH_REQUIRED ? NULL : request->refusal_why;
        return caller ? caller : err;
    }
    /* REST bodies are taken whatever curl says they are; a form that reaches /rpc is a mistake */
    if (request->match.target == TARGET_RPC && !http_rpc_accepts(request->headers.content_type))
        return ERR_UNSUPPORTED_TYPE;
    return OK;
}

/* What /kv-store makes of a header that is no context depends on the body. */
static void judge_context(struct http_request *request) {
    causal_read(request);
    if (!request->bad_causal || request->refusal || request->match.target == TARGET_KVSTORE)
        return;
    request->refusal = ERR_INVALID_REQUEST;
    request->refusal_why = "Causal-Context is no causal context";
}

static void set_deadline(struct http_request *request, uint64_t announced_bytes) {
    http_watch_set(&request->server->watch, &request->owner->watched,
                   announced_bytes ? HTTP_PHASE_BODY : HTTP_PHASE_ANSWER,
                   announced_bytes ? request->server->config->body_timeout_ms : 0);
}

static void expect_body(struct http_request *request, uint64_t announced_bytes) {
    const struct http_server *server = request->server;
    bool is_json = takes_json(request);
    bool is_snapshot = request->match.target == TARGET_SNAPSHOT;
    request->keeps_body =
        !request->refusal && (is_json || is_snapshot || request->match.payload >= 0);
    request->body_max = is_json       ? server->rpc_body_max
                        : is_snapshot ? http_snapshot_body_max(server->core)
                                      : server->core->payload_limit_bytes;
    if (request->keeps_body && announced_bytes)
        http_body_expect(request, announced_bytes);
}

enum MHD_Result http_begin(struct http_request *request, const char *url, const char *method,
                           const char *version) {
    const struct http_headers *headers = &request->headers;
    const char *base_path = request->server->config->base_path;
    request->started_ns = clock_steady_ns();
    const char *why = judge_headers(request, url, method, version);
    request->method = http_method_of(slice_of_cstr(method));
    http_limit_find_client(request);
    if (why) { /* told as the door of the path tells failures, where it has one */
        request->close = true;
        (void)!http_route_find(http_pages_strip(slice_of_cstr(url), base_path), request->method,
                               &request->match);
        request->refusal = ERR_SYNTAX;
        enum err err = http_limit_begin(request);
        return http_reply_error(request, err ? err : ERR_SYNTAX, err ? request->refusal_why : why);
    }
    struct slice path =
        arena_copy(&request->arena, http_pages_strip(slice_of_cstr(url), base_path));
    if (!path.ptr)
        return MHD_NO;
    request->is_1_1 = version[7] == '1';
    request->refusal = judge(request, path);
    http_trace_begin(request);
    if (request->method != HTTP_OPTIONS && !is_open(request))
        judge_context(request);
    /* the library takes bare LFs around chunks, so where the body ends may be told in another way
     * by who stands in front: nothing behind it is believed */
    request->close = request->close || headers->transfer_encodings > 0;
    enum err limited = http_limit_begin(request);
    if (limited)
        request->refusal = limited;
    uint64_t announced_bytes = headers->transfer_encodings ? UINT64_MAX
                               : headers->content_lengths
                                   ? http_content_length(headers->content_length)
                                   : 0;
    expect_body(request, announced_bytes);
    set_deadline(request, announced_bytes);
    if (!request->refusal || (announced_bytes <= HTTP_SWALLOW_MAX && !headers->expects_continue))
        return MHD_YES;
    request->close = true;
    return http_reply_error(request, request->refusal, request->refusal_why);
}
