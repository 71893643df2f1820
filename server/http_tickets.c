/* SPDX-License-Identifier: MIT */
/* POST /tickets: for those who cannot send a header. A browser's EventSource is one. */
#include <jansson.h>
#include <stdio.h>

#include "base/json_load.h"
#include "server/http_pages.h"
#include "server/http_request.h"

#define BODY_BYTES_MAX 16384U
#define DEPTH_MAX 4U

static bool is_stream(const struct http_request *request) {
    return request->match.target == TARGET_STREAM || request->match.target == TARGET_WATCH;
}

struct slice http_tickets_find(const struct http_request *request) {
    const char *value = NULL;
    size_t len = 0;
    if (request->method != HTTP_GET || !is_stream(request) || request->headers.authorizations ||
        MHD_lookup_connection_value_n(request->connection, MHD_GET_ARGUMENT_KIND, "ticket", 6,
                                      &value, &len) != MHD_YES)
        return (struct slice){NULL, 0};
    return slice_make(value ? value : "", value ? len : 0);
}

/* {"path":"/…"}, or nothing. */
static bool read_path(struct http_request *request, struct slice *ret_path) {
    struct slice body = buf_slice(&request->body);
    *ret_path = SLICE("");
    if (body.len == 0)
        return true;
    if (body.len > BODY_BYTES_MAX || !text_json_depth_ok(body, DEPTH_MAX))
        return false;
    request->json = json_load_slice(body, JSON_REJECT_DUPLICATES, NULL);
    const json_t *path = json_object_get(request->json, "path");
    if (!json_is_object(request->json) || json_object_size(request->json) > (path ? 1 : 0))
        return false;
    if (!path)
        return true;
    const char *base_path = request->server->config->base_path;
    *ret_path = http_pages_strip(
        slice_make(json_string_value(path), json_is_string(path) ? json_string_length(path) : 0),
        base_path);
    return ret_path->len > 0 && ret_path->ptr[0] == '/' &&
           !memchr(ret_path->ptr, '?', ret_path->len);
}

enum MHD_Result http_tickets_run(struct http_request *request) {
    struct core *core = request->server->core;
    char ticket[AUTH_TICKET_MAX] = "none";
    char text[AUTH_TICKET_MAX + 64];
    struct slice path;
    if (!read_path(request, &path))
        return http_reply_error(request, ERR_SYNTAX,
                                "the body is {\"path\":\"/...\"} without a query, or empty");
    enum err err = auth_allows(request->grant, AUTH_ANY, SLICE(""), request->now_ms);
    if (err)
        return http_reply_error(request, err, NULL);
    if (core->auth)
        err = auth_make_ticket(core->auth, request->grant, path, request->now_ms, ticket);
    if (err)
        return http_reply_error(request, err, NULL);
    int len = snprintf(text, sizeof text, "{\"ticket\":\"%s\",\"expires_in\":%d}\n", ticket,
                       AUTH_TICKET_MS / 1000);
    struct MHD_Response *response =
        MHD_create_response_from_buffer((size_t)len, text, MHD_RESPMEM_MUST_COPY);
    if (response && !(http_add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json") &&
                      http_add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"))) {
        MHD_destroy_response(response);
        response = NULL;
    }
    request->out_bytes += (size_t)len;
    return http_reply(request, MHD_HTTP_CREATED, response);
}
