/* SPDX-License-Identifier: MIT */
/* Keys as resources: hulykvs' routes /api2 and /api, and other rows with a route. Everything a
 * parked call needs is copied into the request's arena: the connection's memory may go before. */
#include <stdio.h>

#include "handlers/bind.h"
#include "server/http_request.h"
#include "server/rest_condition.h"

#define NUMBER_BYTES 32

static enum err bind_parts(struct http_request *request) {
    struct call *call = &request->call;
    for (unsigned i = 0; i < request->match.part_count; i++) {
        struct slice part;
        if (!text_percent_decode(&request->arena, request->match.parts[i], &part))
            return call_fail(call, ERR_SYNTAX, "the path has a malformed %% sequence");
        enum err err = bind_text(call, request->match.params[i], part);
        if (err)
            return err;
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
    switch (call->op->params[index].type) {
    case PARAM_STORAGE:
    case PARAM_INT:
    case PARAM_PREFIX:
    case PARAM_CURSOR:
        if (call->args.given & 1U << index)
            return call_fail(call, ERR_SYNTAX, "%s stands twice", call->op->params[index].name);
        return bind_text(call, (unsigned)index, value);
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
    if (type >= 0 && !(call->args.given & 1U << type))
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

static enum err bind_all(struct http_request *request) {
    struct call *call = &request->call;
    int value = bind_find_param(call->op, SLICE("value"));
    enum err err = bind_parts(request);
    if (!err && value >= 0)
        err = bind_text(call, (unsigned)value, buf_slice(&request->body));
    if (!err && value >= 0)
        err = bind_content_type(call, request->headers.content_type);
    if (!err)
        err = bind_query(request);
    if (!err)
        err = bind_conditions(request);
    return err ? err : bind_finish(call);
}

static bool add_u64(struct MHD_Response *response, const char *name, uint64_t number) {
    char text[NUMBER_BYTES];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return http_add_header(response, name, text);
}

static bool add_etag(struct MHD_Response *response, const uint8_t etag[HASH_MD5_BYTES]) {
    static const char hex[] = "0123456789abcdef";
    char text[2 * HASH_MD5_BYTES + 3];
    size_t len = 0;
    text[len++] = '"';
    for (unsigned i = 0; i < HASH_MD5_BYTES; i++) {
        text[len++] = hex[etag[i] >> 4];
        text[len++] = hex[etag[i] & 15];
    }
    text[len++] = '"';
    text[len] = '\0';
    return http_add_header(response, MHD_HTTP_HEADER_ETAG, text);
}

static enum MHD_Result finish_response(struct http_request *request, unsigned status,
                                       struct MHD_Response *response, bool good) {
    if (response && !good) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return http_reply(request, status, response);
}

static enum MHD_Result reply_stored(struct http_request *request) {
    const struct reply *reply = &request->call.reply;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    bool good = response && add_etag(response, reply->etag) &&
                add_u64(response, "Hati-Revision", reply->revision);
    return finish_response(request,
                           request->call.args.if_absent ? MHD_HTTP_CREATED : MHD_HTTP_NO_CONTENT,
                           response, good);
}

/* 200; or 304 or 412 by the conditions of a read. */
static unsigned status_of_read(const struct http_request *request) {
    const struct http_headers *headers = &request->headers;
    const struct kv_entry *entry = &request->call.reply.entry;
    struct rest_condition condition;
    if (headers->if_matches) {
        rest_condition_parse(headers->if_match, false, &condition);
        if (!rest_condition_holds(&condition, entry->etag))
            return MHD_HTTP_PRECONDITION_FAILED;
    }
    if (headers->if_none_matches) {
        rest_condition_parse(headers->if_none_match, true, &condition);
        if (rest_condition_holds(&condition, entry->etag))
            return MHD_HTTP_NOT_MODIFIED;
    }
    return MHD_HTTP_OK;
}

static bool add_entry_headers(struct http_request *request, struct MHD_Response *response,
                              bool with_type) {
    const struct reply *reply = &request->call.reply;
    const struct kv_entry *entry = &reply->entry;
    char type[KV_CONTENT_TYPE_MAX + 1];
    const char *shown = "application/octet-stream";
    if (entry->content_type.len && entry->content_type.len < sizeof type) {
        memcpy(type, entry->content_type.ptr, entry->content_type.len);
        type[entry->content_type.len] = '\0';
        shown = type;
    }
    if (with_type && !(http_add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, shown) &&
                       http_add_header(response, "X-Content-Type-Options", "nosniff") &&
                       http_add_header(response, "Content-Security-Policy", "sandbox")))
        return false;
    return add_etag(response, entry->etag) && add_u64(response, "Hati-Revision", entry->revision) &&
           (reply->ttl_ms <= 0 || add_u64(response, "Hati-Ttl", (uint64_t)reply->ttl_ms));
}

static enum MHD_Result reply_entry(struct http_request *request) {
    unsigned status = status_of_read(request);
    if (status == MHD_HTTP_PRECONDITION_FAILED)
        return http_reply_error(request, ERR_PRECONDITION_FAILED, NULL);
    bool whole = status == MHD_HTTP_OK;
    struct slice value = request->call.reply.entry.value; /* 304: its length is told, not sent */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        value.len, (void *)(uintptr_t)value.ptr, MHD_RESPMEM_PERSISTENT);
    bool good = response && add_entry_headers(request, response, whole);
    return finish_response(request, status, response, good);
}

static enum MHD_Result reply_number(struct http_request *request) {
    const struct reply *reply = &request->call.reply;
    char text[NUMBER_BYTES];
    int len = snprintf(text, sizeof text, "%lld", (long long)reply->number);
    return http_reply_copy(request, MHD_HTTP_OK, "text/plain", slice_make(text, (size_t)len));
}

static enum MHD_Result reply_deleted(struct http_request *request) {
    if (!request->call.reply.flag)
        return http_reply_error(request, ERR_KEY_NOT_EXIST, NULL);
    return http_reply_kept(request, MHD_HTTP_NO_CONTENT, NULL, SLICE(""));
}

static enum MHD_Result finish(struct http_request *request) {
    struct call *call = &request->call;
    if (call->err)
        return http_reply_error(request, call->err, call_detail(call));
    switch (call->op->reply) {
    case REPLY_TRUE:
        return reply_stored(request);
    case REPLY_ENTRY:
        return reply_entry(request);
    case REPLY_BOOL:
        return reply_deleted(request);
    case REPLY_NUMBER:
        return reply_number(request);
    case REPLY_KEYS:
        return rest_list_reply(request);
    case REPLY_JSON:
        return http_reply_kept(request, MHD_HTTP_OK, "application/json", call->reply.text);
    case REPLY_VALUE:
    case REPLY_PAIRS:
    case REPLY_TEXT:
    case REPLY_MESSAGES:
        break;
    }
    return http_reply_error(request, ERR_INTERNAL, NULL);
}

static void wake(struct call *call) {
    http_request_wake(call->context);
}

enum MHD_Result rest_run(struct http_request *request) {
    struct call *call = &request->call;
    call_init(call, request->server->core, request->grant, &request->arena, request->now_ms);
    call_set_op(call, request->match.op);
    call->want_etag = true;
    call->wake = wake;
    call->context = request;
    enum err err = bind_all(request);
    if (!err && call->op->reply == REPLY_KEYS)
        err = rest_list_begin(request);
    if (err)
        return http_reply_error(request, err, call_detail(call));
    http_request_begin_work(request);
    if (call_run(call) == ERR_PENDING)
        return http_request_park(request, finish);
    http_request_settle(request);
    return finish(request);
}
