/* SPDX-License-Identifier: MIT */
/* Limits of clients on the HTTP door. */
#include <stdio.h>

#include "server/forwarded.h"
#include "server/http_request.h"

static struct limits *limits_of(const struct http_server *server) {
    return server->core->limits;
}

bool http_limit_connect(struct http_connection *connection) {
    struct limits *limits = limits_of(connection->server);
    const struct networks *trusted = limits_trusted(limits);
    connection->is_trusted = trusted && networks_have(trusted, &connection->peer);
    if (!limits_are_set(limits) || connection->is_trusted)
        return true;
    struct limits_client client = limits_client_of(limits, &connection->peer, NULL);
    if (!client.limited)
        return true;
    if (limits_hold(limits, &client, CLIENT_CONNECTIONS))
        return false;
    connection->held = client;
    return true;
}

void http_limit_disconnect(struct http_connection *connection) {
    if (connection->held.limited)
        limits_let_go(limits_of(connection->server), &connection->held, CLIENT_CONNECTIONS);
}

void http_limit_find_client(struct http_request *request) {
    const struct http_connection *owner = request->owner;
    const struct http_headers *headers = &request->headers;
    request->client = owner->peer;
    if (!owner->is_trusted || headers->forwarded_fors == 0)
        return;
    unsigned count =
        headers->forwarded_fors < HTTP_FORWARDED_MAX ? headers->forwarded_fors : HTTP_FORWARDED_MAX;
    request->client = forwarded_client(limits_trusted(limits_of(request->server)), &owner->peer,
                                       headers->forwarded_for, count);
}

/* Who only asks whether the server is well is not kept from it. */
static bool is_free(const struct http_request *request) {
    switch (request->match.target) {
    case TARGET_STATUS:
    case TARGET_HEALTH:
    case TARGET_READY:
    case TARGET_ROOT:
    case TARGET_POKE:
        return true;
    default:
        return false;
    }
}

static enum err admit(struct http_request *request, uint64_t calls) {
    struct limits *limits = limits_of(request->server);
    request->is_metered = limits_meter(limits);
    enum err err = limits_admit(limits, &request->limited, calls, &request->left);
    if (err) {
        limits_format_why(&request->left, request->limited_why);
        request->refusal_why = request->limited_why;
        request->retry_after_s = limits_retry_after_s(&request->left);
    }
    return err;
}

enum err http_limit_begin(struct http_request *request) {
    struct limits *limits = limits_of(request->server);
    if (!limits_are_set(limits) || is_free(request))
        return OK;
    request->limited =
        limits_client_of(limits, &request->client, request->has_grant ? &request->own_grant : NULL);
    if (!request->limited.limited)
        return OK;
    bool has_calls =
        request->match.target == TARGET_RPC && !request->refusal && request->method == HTTP_POST;
    enum err err = admit(request, has_calls ? 0 : 1);
    if (err || limits_max_requests(limits) == 0)
        return err;
    err = limits_hold(limits, &request->limited, CLIENT_CALLS);
    request->holds = err == OK;
    if (err) {
        request->refusal_why = "too many requests of this client at once";
        request->retry_after_s = 1;
    }
    return err;
}

bool http_limit_judge_calls(struct http_request *request) {
    const struct rpc_request *rpc = &request->rpc;
    if (!rpc->limited.limited || rpc->call_count == 0)
        return false;
    request->left = rpc->left;
    if (rpc->refused_count == 0 || rpc->call_count > 1 || rpc->is_batch)
        return false;
    limits_format_why(&request->left, request->limited_why);
    request->retry_after_s = limits_retry_after_s(&request->left);
    return true;
}

bool http_limit_add_headers(struct http_request *request, struct MHD_Response *response) {
    char left[LIMITS_HEADER_BYTES], seconds[24];
    snprintf(seconds, sizeof seconds, "%lld", (long long)request->retry_after_s);
    if (request->retry_after_s && !http_add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds))
        return false;
    if (!request->is_metered)
        return true;
    limits_format_left(limits_of(request->server), &request->left, left);
    return http_add_header(response, "RateLimit-Policy", request->server->policy) &&
           http_add_header(response, "RateLimit", left);
}

void http_limit_end(struct http_request *request) {
    struct limits *limits = limits_of(request->server);
    limits_add_bytes(limits, &request->limited, request->in_bytes + request->out_bytes);
    if (request->holds)
        limits_let_go(limits, &request->limited, CLIENT_CALLS);
}
