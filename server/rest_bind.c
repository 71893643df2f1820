/* SPDX-License-Identifier: MIT */
/* Arguments of a REST request: parts of its path, its query, its headers, its body. Everything a
 * parked call needs is copied into the request's arena: the connection's memory may go before. */
#include "handlers/bind.h"
#include "server/rest.h"
#include "server/rest_condition.h"

static enum err bind_parts(struct http_request *request) {
    struct call *call = &request->call;
    for (unsigned i = 0; i < request->match.part_count; i++) {
        struct slice part;
        if (!text_percent_decode(&request->arena, request->match.parts[i], &part))
            return call_fail(call, ERR_SYNTAX, "the path has a malformed %% sequence");
        enum err err = bind_text(call, request->match.params[i], part);
        if (err)
            return err;
        request->match.parts[i] = part;
    }
    return OK;
}

struct query_pass {
    struct http_request *request;
    bool op_seen; /* op=incr */
    enum err err;
};

static enum err bind_query_value(struct call *call, struct slice name, struct slice value) {
    int index = bind_find_param(call->op, name);
    if (index < 0)
        return OK;
    enum param_type type = call->op->params[index].type;
    switch (type) {
    case PARAM_STORAGE:
    case PARAM_INT:
    case PARAM_PREFIX:
    case PARAM_CURSOR:
    case PARAM_NAME:
    case PARAM_ROUTING:
    case PARAM_CHOICE:
    case PARAM_HEADERS:
        if (call->args.given & 1U << index)
            return call_fail(call, ERR_SYNTAX, "%s stands twice", call->op->params[index].name);
        return type == PARAM_HEADERS ? rest_bind_headers(call, (unsigned)index, value)
                                     : bind_text(call, (unsigned)index, value);
    default: /* what the path, the headers or the body say is not said again here */
        return OK;
    }
}

static enum MHD_Result take_query(void *context, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len) {
    struct query_pass *pass = context;
    struct call *call = &pass->request->call;
    struct slice n;
    struct slice v;
    (void)kind;
    struct slice copy = arena_copy(&pass->request->arena, slice_make(value, value ? value_len : 0));
    if (!copy.ptr || !text_percent_decode(&pass->request->arena, slice_make(name, name_len), &n) ||
        !text_percent_decode(&pass->request->arena, copy, &v)) {
        pass->err = call_fail(call, ERR_SYNTAX, "the query has a malformed %% sequence");
        return MHD_NO;
    }
    if (slice_equal(n, SLICE("op")))
        pass->op_seen = slice_equal(v, SLICE("incr"));
    pass->err = bind_query_value(call, n, v);
    return pass->err ? MHD_NO : MHD_YES;
}

static enum err bind_query(struct http_request *request) {
    struct call *call = &request->call;
    struct query_pass pass = {.request = request};
    MHD_get_connection_values_n(request->connection, MHD_GET_ARGUMENT_KIND, take_query, &pass);
    if (pass.err)
        return pass.err;
    if (call->op->reply == REPLY_NUMBER && request->method == HTTP_POST && !pass.op_seen)
        return call_fail(call, ERR_SYNTAX, "the query says op=incr");
    int type = bind_find_param(call->op, SLICE("type"));
    if (type >= 0 && (call->op->params[type].flags & PARAM_REQUIRED) &&
        !(call->args.given & 1U << type))
        return bind_text(call, (unsigned)type, SLICE("hdd"));
    return OK;
}

static enum err bind_content_type(struct call *call, struct slice type) {
    if (type.len > KV_CONTENT_TYPE_MAX)
        return call_fail(call, ERR_SYNTAX, "a Content-Type has up to %d bytes",
                         KV_CONTENT_TYPE_MAX);
    for (size_t i = 0; i < type.len; i++)
        if ((uint8_t)type.ptr[i] < 0x20 || (uint8_t)type.ptr[i] > 0x7E)
            return call_fail(call, ERR_SYNTAX, "a Content-Type is ASCII");
    call->args.content_type = arena_copy(call->arena, type);
    return call->args.content_type.ptr ? OK : ERR_OUT_OF_MEMORY;
}

static enum err bind_if_match(struct call *call, int etag, struct slice header) {
    struct rest_condition condition;
    rest_condition_parse(header, false, &condition);
    if (condition.kind == CONDITION_ANY) {
        call->args.if_present = true;
        return OK;
    }
    if (condition.kind == CONDITION_BAD)
        return call_fail(call, ERR_SYNTAX, "If-Match is * or MD5s parted by commas");
    if (condition.count == 0)
        return call_fail(call, ERR_PRECONDITION_FAILED, "a weak ETag never matches");
    for (unsigned i = 0; i < condition.count; i++) {
        enum err err = bind_text(call, (unsigned)etag, condition.etags[i]);
        if (err)
            return err;
    }
    return OK;
}

/* Conditions of writes; those of reads are judged when the entry is there. */
static enum err bind_conditions(struct http_request *request) {
    const struct http_headers *headers = &request->headers;
    struct call *call = &request->call;
    if (!(call->op->flags & OP_WRITE) || headers->if_matches + headers->if_none_matches == 0)
        return OK;
    int etag = bind_find_param(call->op, SLICE("ifEtag"));
    int absent = bind_find_param(call->op, SLICE("ifAbsent"));
    if ((headers->if_matches && etag < 0) || (headers->if_none_matches && absent < 0))
        return call_fail(call, ERR_SYNTAX, "this request takes no such condition");
    if (headers->if_none_matches) {
        if (!slice_equal(headers->if_none_match, SLICE("*")))
            return call_fail(call, ERR_SYNTAX, "If-None-Match is * where something is written");
        call->args.if_absent = true;
    }
    return headers->if_matches ? bind_if_match(call, etag, headers->if_match) : OK;
}

static enum err bind_payload(struct http_request *request) {
    struct call *call = &request->call;
    int index = request->match.payload;
    call->args.value_etag = http_body_etag(request);
    enum err err = index < 0 ? OK : bind_text(call, (unsigned)index, buf_slice(&request->body));
    if (!err && index >= 0 && !(call->op->flags & OP_BROKER))
        err = bind_content_type(call, request->headers.content_type);
    return err;
}

enum err rest_bind(struct http_request *request) {
    struct call *call = &request->call;
    enum err err = bind_parts(request);
    if (!err)
        err = bind_payload(request);
    if (!err)
        err = bind_query(request);
    if (!err)
        err = bind_conditions(request);
    if (err)
        return err;
    return call->op->flags & OP_JSON_BODY ? rest_bind_json(request) : bind_finish(call);
}
