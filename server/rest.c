/* SPDX-License-Identifier: MIT */
/* Rows with a route: hulykvs' keys at /api2 and /api, routers and queues at /broker. Answers of
 * storage operations are written here, those of the broker's in rest_broker.c. */
#include <stdio.h>

#include "server/causal.h"
#include "server/rest.h"
#include "server/rest_condition.h"
#include "server/rest_range.h"

#define NUMBER_BYTES 32

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
                (!reply->revision || add_u64(response, "Hati-Revision", reply->revision));
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
    return add_etag(response, entry->etag) &&
           (!entry->revision || add_u64(response, "Hati-Revision", entry->revision)) &&
           (reply->ttl_ms <= 0 || add_u64(response, "Hati-Ttl", (uint64_t)reply->ttl_ms));
}

/* Of a GET that names a part, and wants it of this value. */
static enum rest_range range_of(const struct http_request *request, struct slice *part) {
    const struct http_headers *headers = &request->headers;
    const struct kv_entry *entry = &request->call.reply.entry;
    uint64_t first, len;
    if (headers->ranges != 1 || request->method != HTTP_GET ||
        !rest_range_if(headers->if_range, entry->etag))
        return RANGE_WHOLE;
    enum rest_range range = rest_range_parse(headers->range, part->len, &first, &len);
    if (range == RANGE_PART)
        *part = slice_make(part->ptr + first, (size_t)len);
    return range;
}

static bool add_range(struct MHD_Response *response, enum rest_range range, struct slice part,
                      struct slice value) {
    char text[96];
    if (range == RANGE_WHOLE)
        return http_add_header(response, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    if (range == RANGE_NOWHERE)
        snprintf(text, sizeof text, "bytes */%zu", value.len);
    else
        snprintf(text, sizeof text, "bytes %zu-%zu/%zu", (size_t)(part.ptr - value.ptr),
                 (size_t)(part.ptr - value.ptr) + part.len - 1, value.len);
    return http_add_header(response, MHD_HTTP_HEADER_CONTENT_RANGE, text);
}

/* No byte of what was asked for is there. */
static enum MHD_Result reply_nowhere(struct http_request *request) {
    struct slice value = request->call.reply.entry.value;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    bool good = response && add_range(response, RANGE_NOWHERE, value, value);
    return finish_response(request, MHD_HTTP_RANGE_NOT_SATISFIABLE, response, good);
}

static enum MHD_Result reply_entry(struct http_request *request) {
    unsigned status = status_of_read(request);
    if (status == MHD_HTTP_PRECONDITION_FAILED)
        return http_reply_error(request, ERR_PRECONDITION_FAILED, NULL);
    bool has_body = status == MHD_HTTP_OK;
    struct slice value = request->call.reply.entry.value;
    struct slice part = value;
    enum rest_range range = has_body ? range_of(request, &part) : RANGE_WHOLE;
    if (range == RANGE_NOWHERE)
        return reply_nowhere(request);
    if (range == RANGE_PART)
        status = MHD_HTTP_PARTIAL_CONTENT;
    if (has_body && value.len > HTTP_SMALL_BODY_MAX && !http_body_charge(request, value.len)) {
        request->crowded = true;
        return http_reply_error(request, ERR_UNAVAILABLE, "too many bytes of others are under way");
    }
    struct MHD_Response *response =
        has_body ? MHD_create_response_from_buffer(part.len, (void *)(uintptr_t)part.ptr,
                                                   MHD_RESPMEM_PERSISTENT)
                 : http_response_not_modified();
    request->out_bytes += has_body ? part.len : 0;
    bool good = response && add_entry_headers(request, response, has_body) &&
                (!has_body || add_range(response, range, part, value));
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
    if (request->has_causal)
        causal_reach(request);
    if (request->match.payload >= 0) /* before the answer: its caller may send the next at once */
        http_body_release(request);
    if (call->err)
        return http_reply_error(request, call->err, call_detail(call));
    if (call->op->flags & OP_BROKER)
        return rest_broker_reply(request);
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

static void stop(struct http_parked *parked) {
    call_stop(&http_request_of(parked)->call);
}

static void wake(struct call *call) {
    http_request_wake(call->context);
}

enum MHD_Result rest_run(struct http_request *request) {
    struct call *call = &request->call;
    call_init(call, request->server->core, request->grant, &request->arena, request->now_ms);
    call_set_op(call, request->match.op);
    request->has_call = true;
    call->want_etag = true;
    call->span = request->span;
    call->trace_state = request->trace_state;
    call->position.want = request->causal;
    call->position.ask = request->has_causal;
    call->wake = wake;
    call->context = request;
    enum err err = rest_bind(request);
    if (!err && call->op->reply == REPLY_KEYS)
        err = rest_list_begin(request);
    if (err)
        return http_reply_error(request, err, call_detail(call));
    if (call->op->flags & OP_WAITS)
        http_request_begin_wait(request, stop);
    else
        http_request_begin_work(request);
    if (call_run(call) == ERR_PENDING)
        return http_request_park(request, finish);
    http_request_settle(request);
    return finish(request);
}
