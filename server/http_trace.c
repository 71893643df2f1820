/* SPDX-License-Identifier: MIT */
/* The trace that a request came with (traceparent, tracestate), and its span. A key's name does not
 * leave the server: paths are told as their patterns. */
#include <stdio.h>

#include "base/clock.h"
#include "handlers/spans.h"
#include "server/http_request.h"

#define NAME_BYTES 128U /* a method and a pattern of ours */

/* What is asked every few seconds by nobody's wish has a span only within somebody's trace. */
static bool is_noise(const struct http_request *request) {
    enum http_target target = request->match.target;
    return (target >= TARGET_STATUS && target != TARGET_OPENAPI && target != TARGET_OPENRPC) ||
           target == TARGET_METRICS || request->method == HTTP_OPTIONS;
}

/* A header that stands twice is none. */
static bool read_context(const struct http_request *request, struct trace_context *ret_context) {
    const struct http_headers *headers = &request->headers;
    return headers->traceparents == 1 && trace_context_parse(headers->traceparent, ret_context);
}

static void keep_state(struct http_request *request) {
    const struct http_headers *headers = &request->headers;
    if (headers->tracestates == 1 && trace_state_is_valid(headers->tracestate))
        request->trace_state = arena_copy(&request->arena, headers->tracestate);
}

void http_trace_begin(struct http_request *request) {
    struct tracer *tracer = request->server->core->tracer;
    struct trace_context context = {.valid = false};
    bool refused = request->refusal == ERR_AUTH_REQUIRED || request->refusal == ERR_FORBIDDEN ||
                   (request->server->core->auth && request->match.target >= TARGET_STATUS);
    /* a stranger does not choose what is recorded */
    if (!refused && request->headers.traceparents && read_context(request, &context))
        keep_state(request);
    if (context.valid || (tracer && !is_noise(request)))
        trace_span_begin(&request->span, tracer, &context, request->started_ns);
}

void http_trace_parked(struct http_request *request, bool is_parked) {
    if (!request->span.tracer || request->match.target == TARGET_RPC) /* its calls tell it */
        return;
    if (is_parked) {
        request->parked_ns = clock_steady_ns();
    } else if (request->parked_ns) {
        spans_add_parked(&request->span, request->match.op, request->parked_ns, clock_steady_ns());
        request->parked_ns = 0;
    }
}

/* Who connected, and for whom: another where that is a trusted proxy. */
static void add_addresses(struct trace_record *record, const struct http_request *request) {
    char text[ADDRESS_TEXT_BYTES];
    address_format(&request->owner->peer, text);
    trace_record_text(record, "network.peer.address", slice_of_cstr(text));
    address_format(&request->client, text);
    trace_record_text(record, "client.address", slice_of_cstr(text));
}

static struct slice method_of(const struct http_request *request, char text[HTTP_ALLOW_BYTES]) {
    http_route_allow(request->method, text);
    return text[0] ? slice_of_cstr(text) : SLICE("_OTHER");
}

static void add_route(struct trace_record *record, const char *route) {
    if (!route)
        return;
    trace_record_text(record, "http.route", slice_of_cstr(route));
    trace_record_text(record, "url.path", slice_of_cstr(route));
}

/* An operation's name, else the method and the pattern. */
static struct slice name_of(const struct http_request *request, struct slice method,
                            char room[NAME_BYTES]) {
    const char *route = request->match.route;
    if (request->match.target == TARGET_RPC)
        return SLICE("JSON-RPC");
    if (request->match.target == TARGET_OP && request->match.op)
        return slice_of_cstr(request->match.op->name);
    int len = snprintf(room, NAME_BYTES, "%.*s%s%s", (int)method.len, method.ptr, route ? " " : "",
                       route ? route : "");
    return slice_make(room, len < 0 ? 0 : (size_t)len < NAME_BYTES ? (size_t)len : NAME_BYTES - 1);
}

void http_trace_end(struct http_request *request) {
    struct tracer *tracer = request->span.tracer;
    char method_room[HTTP_ALLOW_BYTES];
    char name_room[NAME_BYTES];
    if (!tracer)
        return;
    struct slice method = method_of(request, method_room);
    struct trace_record *record = trace_span_end(
        &request->span, TRACE_SERVER, name_of(request, method, name_room), clock_steady_ns());
    if (!record)
        return;
    if (request->trace_state.len)
        trace_record_state(record, request->trace_state);
    trace_record_text(record, "http.request.method", method);
    trace_record_number(record, "http.response.status_code", (int64_t)request->status);
    add_route(record, request->match.route);
    trace_record_text(record, "url.scheme",
                      request->server->config->rpc_tls ? SLICE("https") : SLICE("http"));
    trace_record_text(record, "network.protocol.name", SLICE("http"));
    trace_record_text(record, "network.protocol.version",
                      request->is_1_1 ? SLICE("1.1") : SLICE("1.0"));
    trace_record_number(record, "server.port", (int64_t)request->server->port);
    add_addresses(record, request);
    spans_add_error(record, request->outcome);
    trace_put(tracer, record);
}
