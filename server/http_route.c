/* SPDX-License-Identifier: MIT */
#include "server/http_route.h"

#include <stdio.h>
#include <stdlib.h>

#include "handlers/bind.h"
#include "server/http_snapshot.h"

#define ROUTES_MAX 128U

/* `METHOD /literal/{part}/literal/{part}`; a last part called key takes the rest of the path. */
struct route {
    enum http_method method;
    const struct op *op;
    const char *path;
    unsigned part_count;
    bool rest;
    int payload;
    uint8_t params[HTTP_ROUTE_PARTS_MAX];
};

static const struct {
    enum http_method method;
    const char *name;
} methods[] = {
    {HTTP_GET, "GET"},   {HTTP_HEAD, "HEAD"},     {HTTP_PUT, "PUT"},
    {HTTP_POST, "POST"}, {HTTP_DELETE, "DELETE"}, {HTTP_OPTIONS, "OPTIONS"},
};

static const struct {
    const char *path;
    unsigned methods;
    enum http_target target;
} own_routes[] = {
    {"/rpc", HTTP_POST, TARGET_RPC},
    {"/", HTTP_GET | HTTP_HEAD | HTTP_POST, TARGET_RPC},
    {"/tickets", HTTP_POST, TARGET_TICKETS},
    {"/metrics", HTTP_GET | HTTP_HEAD, TARGET_METRICS},
    {"/status", HTTP_GET | HTTP_HEAD, TARGET_STATUS},
    {"/healthz", HTTP_GET | HTTP_HEAD, TARGET_HEALTH},
    {"/readyz", HTTP_GET | HTTP_HEAD, TARGET_READY},
    {"/openapi.json", HTTP_GET | HTTP_HEAD, TARGET_OPENAPI},
    {"/openrpc.json", HTTP_GET | HTTP_HEAD, TARGET_OPENRPC},
    {"/console", HTTP_GET | HTTP_HEAD, TARGET_PAGE},
    {"/docs", HTTP_GET | HTTP_HEAD, TARGET_PAGE},
    {"/internal/poke", HTTP_POST, TARGET_POKE},
};

static struct route routes[ROUTES_MAX];
static unsigned route_count;

enum http_method http_method_of(struct slice name) {
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (slice_equal(name, slice_of_cstr(methods[i].name)))
            return methods[i].method;
    return HTTP_OTHER;
}

static void die(const char *text) {
    fprintf(stderr, "hati: the route `%s` of a row is wrong\n", text);
    abort();
}

/* Of a row whose body is JSON the payload is a member of it. */
static int find_payload(const struct op *op) {
    for (unsigned i = 0; i < op->param_count && !(op->flags & OP_JSON_BODY); i++)
        if (op->params[i].type == PARAM_BYTES)
            return (int)i;
    return -1;
}

static void add_route(const struct op *op, const char *text) {
    const char *path = strchr(text, ' ');
    if (!path || path[1] != '/' || route_count == ROUTES_MAX)
        die(text);
    struct route *route = &routes[route_count++];
    route->op = op;
    route->payload = find_payload(op);
    route->method = http_method_of(slice_make(text, (size_t)(path - text)));
    path++;
    route->path = path;
    for (const char *at = strchr(path, '{'); at; at = strchr(at, '{')) {
        const char *end = strchr(at, '}');
        struct slice name = slice_make(at + 1, end ? (size_t)(end - at - 1) : 0);
        int index = bind_find_param(op, name);
        if (index < 0 || route->part_count == HTTP_ROUTE_PARTS_MAX || (end[1] && end[1] != '/'))
            die(text);
        route->params[route->part_count++] = (uint8_t)index;
        route->rest = slice_equal(name, SLICE("key"));
        at = end + 1;
    }
    if (route->method == HTTP_OTHER)
        die(text);
}

void http_route_init(void) {
    route_count = 0;
    memset(routes, 0, sizeof routes);
    for (unsigned i = 0; i < op_count; i++)
        for (unsigned j = 0; j < OP_ROUTES_MAX && ops[i].routes[j]; j++)
            add_route(&ops[i], ops[i].routes[j]);
}

/* Takes what stands for a part off the path: all up to the next slash. */
static struct slice take_part(struct slice *path) {
    const char *slash = path->len ? memchr(path->ptr, '/', path->len) : NULL;
    struct slice part = slice_make(path->ptr, slash ? (size_t)(slash - path->ptr) : path->len);
    *path = slice_make(path->ptr + part.len, path->len - part.len);
    return part;
}

static bool match(const struct route *route, struct slice path, struct slice *ret_parts) {
    const char *at = route->path;
    for (unsigned i = 0;; i++) {
        struct slice literal = slice_make(at, strcspn(at, "{"));
        if (!slice_starts_with(path, literal))
            return false;
        path = slice_make(path.ptr + literal.len, path.len - literal.len);
        at += literal.len;
        if (i == route->part_count)
            return path.len == 0;
        at = strchr(at, '}') + 1;
        if (route->rest && i + 1 == route->part_count) {
            ret_parts[i] = path;
            return true;
        }
        ret_parts[i] = take_part(&path);
    }
}

#define ASSETS SLICE("/assets/")
#define ASSETS_PATH "/assets/{set}/{file}"

#define STREAM_BEGIN SLICE("/broker/queues/")
#define STREAM_END SLICE("/stream")
#define STREAM_ROUTE "/broker/queues/{queue}/stream"

static bool is_stream(struct slice path, struct slice *ret_queue) {
    if (!slice_starts_with(path, STREAM_BEGIN))
        return false;
    path = slice_make(path.ptr + STREAM_BEGIN.len, path.len - STREAM_BEGIN.len);
    *ret_queue = take_part(&path);
    return slice_equal(path, STREAM_END);
}

static enum err find_own(struct slice path, enum http_method method, struct http_match *to) {
    for (size_t i = 0; i < sizeof own_routes / sizeof own_routes[0]; i++) {
        if (!slice_equal(path, slice_of_cstr(own_routes[i].path)))
            continue;
        to->target = own_routes[i].target;
        to->route = own_routes[i].path;
        to->methods = own_routes[i].methods | HTTP_OPTIONS;
        to->page = web_page_find(path);
        return to->methods & method ? OK : ERR_METHOD_NOT_ALLOWED;
    }
    if (is_stream(path, &to->parts[0])) {
        to->target = TARGET_STREAM;
        to->route = STREAM_ROUTE;
        to->part_count = 1;
        to->methods = HTTP_GET | HTTP_HEAD | HTTP_OPTIONS;
        return to->methods & method ? OK : ERR_METHOD_NOT_ALLOWED;
    }
    if (slice_starts_with(path, ASSETS)) {
        to->target = TARGET_PAGE;
        to->route = ASSETS_PATH;
        to->page = web_page_find(path);
        to->methods = HTTP_GET | HTTP_HEAD | HTTP_OPTIONS;
        return to->methods & method ? OK : ERR_METHOD_NOT_ALLOWED;
    }
    if (http_snapshot_find(path, to))
        return to->methods & method ? OK : ERR_METHOD_NOT_ALLOWED;
    return kvstore_find(path, method, to);
}

enum err http_route_find(struct slice path, enum http_method method, struct http_match *ret_match) {
    enum http_method wanted = method == HTTP_HEAD ? HTTP_GET : method;
    struct slice parts[HTTP_ROUTE_PARTS_MAX];
    ret_match->methods = 0;
    ret_match->target = TARGET_OP;
    ret_match->op = NULL;
    ret_match->route = NULL;
    ret_match->payload = -1;
    for (unsigned i = 0; i < route_count; i++) {
        const struct route *route = &routes[i];
        if (!match(route, path, parts))
            continue;
        ret_match->methods |= (unsigned)route->method | HTTP_OPTIONS;
        ret_match->route = route->path;
        if (route->method != wanted)
            continue;
        ret_match->op = route->op;
        ret_match->payload = route->payload;
        ret_match->part_count = route->part_count;
        memcpy(ret_match->params, route->params, sizeof route->params);
        memcpy(ret_match->parts, parts, sizeof parts[0] * route->part_count);
        return OK;
    }
    if (ret_match->methods == 0)
        return find_own(path, method, ret_match);
    if (ret_match->methods & HTTP_GET)
        ret_match->methods |= HTTP_HEAD;
    return method == HTTP_OPTIONS ? OK : ERR_METHOD_NOT_ALLOWED;
}

void http_route_allow(unsigned bits, char ret_allow[HTTP_ALLOW_BYTES]) {
    size_t len = 0;
    ret_allow[0] = '\0';
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (bits & methods[i].method)
            len += (size_t)snprintf(ret_allow + len, HTTP_ALLOW_BYTES - len, "%s%s",
                                    len ? ", " : "", methods[i].name);
}

void http_route_print_path(FILE *to, const char *path, unsigned bits) {
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (bits & methods[i].method & ~(unsigned)HTTP_OPTIONS)
            fprintf(to, "%s %s\n", methods[i].name, path);
}

void http_route_print(FILE *to) {
    for (unsigned i = 0; i < route_count; i++) {
        unsigned method = routes[i].method;
        http_route_print_path(to, routes[i].path, method == HTTP_GET ? method | HTTP_HEAD : method);
    }
    for (size_t i = 0; i < sizeof own_routes / sizeof own_routes[0]; i++)
        http_route_print_path(to, own_routes[i].path, own_routes[i].methods);
    http_route_print_path(to, STREAM_ROUTE, HTTP_GET | HTTP_HEAD);
    http_route_print_path(to, ASSETS_PATH, HTTP_GET | HTTP_HEAD);
    http_route_print_path(to, "/snapshot", HTTP_GET | HTTP_HEAD);
    http_route_print_path(to, "/snapshot/{id}", HTTP_GET | HTTP_HEAD | HTTP_POST);
    http_route_print_path(to, "/snapshot/{id}/{block}", HTTP_PUT);
    kvstore_print_routes(to);
}
