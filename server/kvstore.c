/* SPDX-License-Identifier: MIT */
/* Keys of /kv-store: PUT, GET, DELETE, and what all its answers have in common. */
#include "server/kvstore.h"

#include <jansson.h>

#include "handlers/bind.h"
#include "server/causal.h"
#include "server/rest.h"

#define READS (HTTP_GET | HTTP_HEAD)

static const struct {
    struct slice path;
    bool takes_rest; /* what stands behind it is the part */
    enum http_kvstore what;
    unsigned methods;
    const char *shown; /* as the documents have it; NULL: not, the key is missing */
} paths[] = {
    {{"/kv-store/keys/", 15},
     true,
     KVSTORE_KEY,
     READS | HTTP_PUT | HTTP_DELETE,
     "/kv-store/keys/{key}"},
    {{"/kv-store/keys", 14}, false, KVSTORE_KEY, READS | HTTP_PUT | HTTP_DELETE, NULL},
    {{"/kv-store/key-count", 19}, false, KVSTORE_COUNT, READS, "/kv-store/key-count"},
    {{"/kv-store/shards/", 17}, true, KVSTORE_SHARD, READS, "/kv-store/shards/{id}"},
    {{"/kv-store/shards", 16}, false, KVSTORE_SHARDS, READS, "/kv-store/shards"},
    {{"/kv-store/view-change", 21}, false, KVSTORE_VIEW_CHANGE, HTTP_PUT, "/kv-store/view-change"},
};

void kvstore_print_routes(FILE *to) {
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (paths[i].shown)
            http_route_print_path(to, paths[i].shown, paths[i].methods);
}

/* Everything below the door's name is the door's, so that its errors look like it. */
static bool is_ours(struct slice path) {
    struct slice root = SLICE("/kv-store");
    return slice_starts_with(path, root) && (path.len == root.len || path.ptr[root.len] == '/');
}

enum err kvstore_find(struct slice path, enum http_method method, struct http_match *to) {
    if (!is_ours(path))
        return ERR_UNKNOWN_COMMAND;
    to->target = TARGET_KVSTORE;
    to->kvstore = KVSTORE_NONE;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct slice begin = paths[i].path;
        if (!slice_starts_with(path, begin) || (!paths[i].takes_rest && path.len != begin.len))
            continue;
        to->kvstore = paths[i].what;
        to->route = paths[i].shown;
        to->part_count = 1;
        to->parts[0] = slice_make(path.ptr + begin.len, path.len - begin.len);
        to->methods = paths[i].methods | HTTP_OPTIONS;
        return to->methods & method ? OK : ERR_METHOD_NOT_ALLOWED;
    }
    return ERR_UNKNOWN_COMMAND;
}

struct slice kvstore_namespace(void) {
    return SLICE("default");
}

void kvstore_append_error(struct buf *to, const struct http_request *request, enum err err,
                          const char *detail) {
    char method[HTTP_ALLOW_BYTES];
    bool absent = err == ERR_KEY_NOT_EXIST;
    const char *text = err == ERR_UNAVAILABLE ? "Unable to satisfy request"
                       : absent               ? "Key does not exist"
                       : detail               ? detail
                                              : err_text(err);
    http_route_allow(request->method, method);
    buf_printf(to, "{\"message\":\"Error in %s\",\"error\":", method[0] ? method : "request");
    text_append_json(to, slice_of_cstr(text));
    if (absent)
        buf_append(to, SLICE(",\"doesExist\":false"));
    buf_append(to, SLICE(",\"causal-context\":"));
    causal_append(to, causal_word(request));
    buf_append(to, SLICE("}\n"));
}

enum MHD_Result kvstore_reply_unparsed(struct http_request *request) {
    return http_reply_error(request, ERR_SYNTAX, "Failed to parse request body");
}

struct buf *kvstore_begin_answer(struct http_request *request, const char *message) {
    struct buf *answer = &request->answer;
    buf_init(answer, request->server->answer_max);
    buf_printf(answer, "{\"message\":\"%s\"", message);
    return answer;
}

enum MHD_Result kvstore_reply(struct http_request *request, unsigned status) {
    struct buf *answer = &request->answer;
    causal_reach(request);
    buf_append(answer, SLICE(",\"causal-context\":"));
    causal_append(answer, causal_word(request));
    buf_append(answer, SLICE("}\n"));
    if (answer->failed)
        return http_reply_error(request, ERR_OUT_OF_MEMORY, NULL);
    return http_reply_kept(request, status, "application/json", buf_slice(answer));
}

enum err kvstore_choose(struct http_request *request, const char *op, struct slice ns,
                        struct slice key) {
    struct call *call = &request->call;
    call_set_op(call, op_find_name(slice_of_cstr(op)));
    call->args.ns = ns;
    enum err err =
        bind_text(call, (unsigned)bind_find_param(call->op, SLICE("type")), SLICE("hdd"));
    if (!err && key.len)
        err = bind_text(call, (unsigned)bind_find_param(call->op, SLICE("key")), key);
    return err;
}

/* Only the fields of args.entry are shown: a value may be any bytes that another door wrote. */
static void append_value(struct buf *to, struct slice value) {
    bool is_text = text_is_utf8(value);
    buf_append(to, SLICE(",\"value\":"));
    if (is_text) {
        text_append_json(to, value);
        return;
    }
    buf_append_char(to, '"');
    text_append_base64(to, value);
    buf_append(to, SLICE("\",\"encoding\":\"base64\""));
}

static enum MHD_Result reply_absent(struct http_request *request) {
    causal_reach(request);
    return http_reply_error(request, ERR_KEY_NOT_EXIST, NULL);
}

static enum MHD_Result finish(struct http_request *request) {
    struct call *call = &request->call;
    const struct reply *reply = &call->reply;
    if (call->err == ERR_KEY_NOT_EXIST)
        return reply_absent(request);
    if (call->err)
        return http_reply_error(request, call->err, call_detail(call));
    if (request->method == HTTP_PUT) {
        buf_printf(kvstore_begin_answer(request, reply->created ? "Added successfully"
                                                                : "Updated successfully"),
                   ",\"replaced\":%s", reply->created ? "false" : "true");
        return kvstore_reply(request, reply->created ? MHD_HTTP_CREATED : MHD_HTTP_OK);
    }
    if (request->method == HTTP_DELETE && !reply->flag)
        return reply_absent(request);
    struct buf *answer =
        kvstore_begin_answer(request, request->method == HTTP_DELETE ? "Deleted successfully"
                                                                     : "Retrieved successfully");
    buf_append(answer, SLICE(",\"doesExist\":true"));
    if (request->method != HTTP_DELETE)
        append_value(answer, reply->entry.value);
    return kvstore_reply(request, MHD_HTTP_OK);
}

static void wake(struct call *call) {
    http_request_wake(call->context);
}

static enum MHD_Result run_key(struct http_request *request, struct slice key) {
    struct call *call = &request->call;
    const json_t *value = json_object_get(request->json, "value");
    enum err err = kvstore_choose(request,
                                  request->method == HTTP_PUT      ? "Storage.Set"
                                  : request->method == HTTP_DELETE ? "Storage.Delete"
                                                                   : "Storage.Get",
                                  kvstore_namespace(), key);
    if (!err && request->method == HTTP_PUT)
        err = bind_text(call, (unsigned)bind_find_param(call->op, SLICE("value")),
                        slice_make(json_string_value(value), json_string_length(value)));
    if (!err)
        err = bind_finish(call);
    if (err)
        return http_reply_error(request, err, call_detail(call));
    call->want_existed = true;
    http_request_begin_work(request);
    if (call_run(call) == ERR_PENDING)
        return http_request_park(request, finish);
    http_request_settle(request);
    return finish(request);
}

static enum MHD_Result check_key(struct http_request *request) {
    const json_t *value = json_object_get(request->json, "value");
    struct slice key;
    if (request->method == HTTP_PUT) {
        if (value && !json_is_string(value) && !json_is_null(value))
            return kvstore_reply_unparsed(request);
        if (json_string_length(value) == 0)
            return http_reply_error(request, ERR_SYNTAX, "Value is missing");
    }
    if (!text_percent_decode(&request->arena, request->match.parts[0], &key) ||
        (key.len && memchr(key.ptr, '\0', key.len)))
        return http_reply_error(request, ERR_SYNTAX, "Key is malformed");
    if (key.len == 0)
        return http_reply_error(request, ERR_SYNTAX, "Key is missing");
    if (key.len > KVSTORE_KEY_MAX)
        return http_reply_error(request, ERR_SYNTAX, "Key is too long");
    return run_key(request, key);
}

/* The body, which reads and deletes need not have, and the context: the body's, or the header's. */
static enum err read_body(struct http_request *request) {
    struct slice body = buf_slice(&request->body);
    if (body.len == 0 && request->method != HTTP_PUT)
        body = SLICE("{}");
    request->json = rest_load_object(&request->call, body, "the body");
    if (!request->json)
        return request->call.err;
    const json_t *context = json_object_get(request->json, "causal-context");
    struct slice word = request->causal;
    if (context ? !causal_of_json(context, &word) : request->bad_causal)
        return ERR_SYNTAX;
    request->causal = arena_copy(&request->arena, word);
    return request->causal.ptr ? OK : ERR_OUT_OF_MEMORY;
}

enum MHD_Result kvstore_run(struct http_request *request) {
    struct call *call = &request->call;
    call_init(call, request->server->core, request->grant, &request->arena, request->now_ms);
    call->op = NULL;
    call->wake = wake;
    call->context = request;
    enum err err = read_body(request);
    if (err)
        return err == ERR_SYNTAX ? kvstore_reply_unparsed(request)
                                 : http_reply_error(request, err, NULL);
    call->position.want = request->causal;
    call->position.ask = true;
    if (request->match.kvstore == KVSTORE_KEY)
        return check_key(request);
    return kvstore_shards_run(request);
}
