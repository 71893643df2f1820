/* SPDX-License-Identifier: MIT */
/* Listings, page by page: however many keys a namespace holds, one page of them is in memory. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "handlers/bind.h"
#include "server/http_request.h"

#define CHUNK_BYTES 32768U /* rendered at a time */
#define KEY_JSON_MAX (6 * KV_KEY_MAX + 64)
#define HEAD_BYTES_MAX (6 * KV_NAMESPACE_MAX + 128)

struct rest_list {
    struct buf out;  /* rendered, not yet taken */
    size_t taken;    /* bytes of it */
    unsigned at;     /* next key of the page */
    uint64_t count;  /* keys rendered */
    uint64_t left;   /* keys that may still come */
    bool is_waiting; /* suspended until a page comes */
    bool ended;      /* all is rendered */
    struct arena page;
    uint64_t revision; /* every change up to it is in the first page; 0: not known */
    size_t cursor_len; /* of the key behind which the next page begins */
    char cursor[KV_KEY_MAX];
};

enum err rest_list_begin(struct http_request *request) {
    struct args *args = &request->call.args;
    struct rest_list *list = calloc(1, sizeof *list);
    if (!list)
        return call_fail(&request->call, ERR_OUT_OF_MEMORY, "no memory for the listing");
    int limit = bind_find_param(request->call.op, SLICE("limit"));
    bool limited = limit >= 0 && (args->given & 1U << limit);
    buf_init(&list->out, CHUNK_BYTES + KEY_JSON_MAX + HEAD_BYTES_MAX);
    arena_init(&list->page, request->server->arena_max);
    list->revision = kv_newest_revision(request->server->core->kv, args->storage);
    list->left = limited ? (uint64_t)args->limit : UINT64_MAX;
    if (args->limit > OP_LIST_LIMIT)
        args->limit = OP_LIST_LIMIT;
    request->list = list;
    request->call.arena = &list->page;
    return OK;
}

void rest_list_free(struct rest_list *list) {
    buf_done(&list->out);
    arena_done(&list->page);
    free(list);
}

static void render_head(struct http_request *request) {
    const struct args *args = &request->call.args;
    struct buf *out = &request->list->out;
    buf_append_char(out, '{');
    if (args->workspace_named) {
        char text[36];
        text_uuid_format(&args->workspace, text);
        buf_append(out, SLICE("\"workspace\":\""));
        buf_append(out, slice_make(text, sizeof text));
        buf_append(out, SLICE("\","));
    }
    buf_append(out, SLICE("\"namespace\":"));
    text_append_json(out, args->ns);
    buf_append(out, SLICE(",\"keys\":["));
}

static void render_key(struct rest_list *list, struct slice key) {
    struct buf *out = &list->out;
    if (list->count++)
        buf_append_char(out, ',');
    if (text_is_utf8(key)) {
        text_append_json(out, key);
        return;
    }
    buf_append(out, SLICE("{\"key\":\""));
    text_append_base64(out, key);
    buf_append(out, SLICE("\",\"encoding\":\"base64\"}"));
}

static void render_tail(struct rest_list *list, bool more) {
    struct buf *out = &list->out;
    buf_append(out, SLICE("],\"count\":"));
    buf_append_u64(out, list->count);
    if (more && list->cursor_len) {
        buf_append(out, SLICE(",\"cursor\":\""));
        bind_append_cursor(out, slice_make(list->cursor, list->cursor_len));
        buf_append_char(out, '"');
    }
    buf_append(out, SLICE("}\n"));
    list->ended = true;
}

/* A page has come: where the next one begins is kept, since the page's memory goes. */
static void adopt_page(struct http_request *request) {
    const struct reply *reply = &request->call.reply;
    struct rest_list *list = request->list;
    list->at = 0;
    if (reply->key_count == 0)
        return;
    struct slice last = reply->keys[reply->key_count - 1];
    memcpy(list->cursor, last.ptr, last.len);
    list->cursor_len = last.len;
    list->left -= reply->key_count;
}

static enum err start_page(struct http_request *request) {
    struct call *call = &request->call;
    struct rest_list *list = request->list;
    call->args.cursor = slice_make(list->cursor, list->cursor_len);
    if (list->left < (uint64_t)call->args.limit)
        call->args.limit = (int64_t)list->left;
    call->now_ms = clock_wall_ms();
    arena_done(&list->page);
    http_request_begin_work(request);
    enum err err = call_run(call);
    if (err == ERR_PENDING) {
        err = http_park(&request->server->lot, &request->parked);
        return err ? err : call->err;
    }
    http_request_settle(request);
    return err;
}

/* Renders keys of the page, up to a chunk; false where the page is used up. */
static bool render_page(struct http_request *request) {
    const struct reply *reply = &request->call.reply;
    struct rest_list *list = request->list;
    if (list->at == reply->key_count)
        return false;
    while (list->at < reply->key_count && list->out.len < CHUNK_BYTES)
        render_key(list, reply->keys[list->at++]);
    return true;
}

/* Renders what comes next. OK, ERR_PENDING (suspended), or why the listing cannot go on. */
static enum err render_more(struct http_request *request) {
    struct rest_list *list = request->list;
    if (list->is_waiting) {
        list->is_waiting = false;
        enum err err = http_unpark(&request->server->lot, &request->parked);
        if (!err)
            err = request->call.err;
        if (err)
            return err;
        adopt_page(request);
    }
    if (render_page(request))
        return OK;
    bool more = request->call.reply.more && request->call.reply.key_count > 0;
    if (!more || list->left == 0) {
        render_tail(list, more);
        return OK;
    }
    enum err err = start_page(request);
    list->is_waiting = err == ERR_PENDING;
    if (!err)
        adopt_page(request);
    return err;
}

static ssize_t read_list(void *context, uint64_t position, char *to, size_t max_bytes) {
    struct http_request *request = context;
    struct rest_list *list = request->list;
    (void)position;
    while (list->taken == list->out.len) {
        if (list->ended)
            return MHD_CONTENT_READER_END_OF_STREAM;
        buf_clear(&list->out);
        list->taken = 0;
        enum err err = render_more(request);
        if (err == ERR_PENDING)
            return 0;
        if (err || list->out.failed)
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t len = list->out.len - list->taken;
    if (len > max_bytes)
        len = max_bytes;
    memcpy(to, list->out.ptr + list->taken, len);
    list->taken += len;
    request->out_bytes += len;
    return (ssize_t)len;
}

/* One page that is small is answered in one piece, with its length. */
static bool is_small(const struct reply *reply, const struct rest_list *list) {
    size_t bytes = 0;
    for (unsigned i = 0; i < reply->key_count; i++)
        bytes += reply->keys[i].len + 3;
    return (!reply->more || list->left == 0) && bytes < CHUNK_BYTES / 6;
}

static bool add_headers(const struct rest_list *list, struct MHD_Response *response) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)list->revision);
    return http_add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json") &&
           (!list->revision || http_add_header(response, "Hati-Revision", text));
}

static enum MHD_Result reply(struct http_request *request, struct MHD_Response *response) {
    if (response && !add_headers(request->list, response)) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return http_reply(request, MHD_HTTP_OK, response);
}

enum MHD_Result rest_list_reply(struct http_request *request) {
    struct rest_list *list = request->list;
    adopt_page(request);
    bool whole = is_small(&request->call.reply, list);
    render_head(request);
    if (whole) {
        while (render_page(request))
            continue;
        render_tail(list, request->call.reply.more);
        if (list->out.failed)
            return http_reply_error(request, ERR_OUT_OF_MEMORY, NULL);
        request->out_bytes += list->out.len;
        return reply(request, MHD_create_response_from_buffer(list->out.len, list->out.ptr,
                                                              MHD_RESPMEM_PERSISTENT));
    }
    return reply(request, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, CHUNK_BYTES,
                                                            read_list, request, NULL));
}
