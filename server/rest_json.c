/* SPDX-License-Identifier: MIT */
/* Bodies that are a JSON object whose members are parameters. What they may not make the parser
 * take on is judged as for JSON-RPC. */
#include "base/json_load.h"
#include "handlers/bind.h"
#include "server/rest.h"
#include "server/rpc_internal.h"

/* A value is any bytes: a \u0000 in a string is one of them. */
#define LOAD_FLAGS (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL)

json_t *rest_load_object(struct call *call, struct slice text, const char *what) {
    size_t max_bytes = (size_t)call->core->payload_limit_bytes * 16 + (1U << 20);
    json_error_t error;
    if (!text_json_depth_ok(text, RPC_DEPTH_MAX)) {
        (void)call_fail(call, ERR_SYNTAX, "%s is nested too deep", what);
        return NULL;
    }
    if (!rpc_source_weight_ok(text, max_bytes)) {
        (void)call_fail(call, ERR_SYNTAX, "%s has too many members and elements", what);
        return NULL;
    }
    json_t *object = json_load_slice(text, LOAD_FLAGS, &error);
    if (!object && json_error_code(&error) == json_error_out_of_memory)
        (void)call_fail(call, ERR_OUT_OF_MEMORY, "no memory for %s", what);
    else if (!object && json_error_code(&error) == json_error_duplicate_key)
        (void)call_fail(call, ERR_SYNTAX, "a member stands twice in %s", what);
    else if (!json_is_object(object))
        (void)call_fail(call, ERR_SYNTAX, "%s is not a JSON object", what);
    else
        return object;
    json_decref(object);
    return NULL;
}

/* The text that stands for parameter `index` in the path; NULL: none does. */
static const struct slice *part_of(const struct http_match *match, unsigned index) {
    for (unsigned i = 0; i < match->part_count; i++)
        if (match->params[i] == index)
            return &match->parts[i];
    return NULL;
}

/* What the path said may be said again in the body, not otherwise. */
static enum err drop_repeated(struct http_request *request, json_t *object, unsigned index,
                              const char *name) {
    const struct slice *part = part_of(&request->match, index);
    const json_t *member = name ? json_object_get(object, name) : NULL;
    if (!member)
        return OK;
    struct slice said = slice_make(json_string_value(member), json_string_length(member));
    if (!part || !json_is_string(member) || !slice_equal(said, *part))
        return call_fail(&request->call, ERR_SYNTAX, "%s is said twice, differently", name);
    json_object_del(object, name);
    return OK;
}

static enum err drop_given(struct http_request *request, json_t *object) {
    const struct call *call = &request->call;
    for (unsigned i = 0; i < call->op->param_count; i++) {
        const struct param *param = &call->op->params[i];
        if (!(call->args.given & 1U << i))
            continue;
        enum err err = drop_repeated(request, object, i, param->name);
        if (!err)
            err = drop_repeated(request, object, i, param->alias);
        if (err)
            return err;
    }
    return OK;
}

enum err rest_bind_json(struct http_request *request) {
    struct call *call = &request->call;
    struct slice body = buf_slice(&request->body);
    request->json = rest_load_object(call, body.len ? body : SLICE("{}"), "the body");
    if (!request->json)
        return call->err;
    enum err err = drop_given(request, request->json);
    return err ? err : rpc_bind_params(call, request->json, false);
}

enum err rest_bind_headers(struct call *call, unsigned index, struct slice text) {
    json_t *object = rest_load_object(call, text, "headers");
    if (!object)
        return call->err;
    enum err err = rpc_bind_headers(call, index, object);
    json_decref(object);
    return err;
}
