/* SPDX-License-Identifier: MIT */
#include "server/causal.h"

#include <jansson.h>
#include <stdio.h>

#include "base/json_load.h"
#include "handlers/position.h"

#define CONTEXT_BYTES_MAX (POSITION_MAX + 16)

bool causal_of_json(const struct json_t *context, struct slice *ret_word) {
    if (!context || json_is_null(context)) {
        *ret_word = SLICE("");
        return true;
    }
    if (!json_is_object(context))
        return false;
    const json_t *member = json_object_get(context, "hati");
    struct slice word = slice_make(json_string_value(member), json_string_length(member));
    if (member && !(json_is_string(member) && position_is_word(word)))
        return false;
    *ret_word = word;
    return true;
}

static bool read_text(struct http_request *request, struct slice text) {
    json_error_t error;
    struct slice word;
    if (!text_json_depth_ok(text, RPC_DEPTH_MAX))
        return false;
    json_t *context = json_load_slice(text, JSON_REJECT_DUPLICATES, &error);
    bool good = context && causal_of_json(context, &word);
    if (good && word.len) {
        request->causal = arena_copy(&request->arena, word);
        good = request->causal.ptr != NULL;
    }
    json_decref(context);
    return good;
}

void causal_read(struct http_request *request) {
    if (request->headers.causal_contexts == 0)
        return;
    request->has_causal = read_text(request, request->headers.causal_context);
    request->bad_causal = !request->has_causal;
}

void causal_reach(struct http_request *request) {
    char room[POSITION_MAX];
    struct slice word = arena_copy(&request->arena, call_position(&request->call, room));
    if (word.ptr)
        request->reached = word;
}

struct slice causal_word(const struct http_request *request) {
    return request->reached.len ? request->reached : request->causal;
}

bool causal_append(struct buf *to, struct slice word) {
    if (word.len == 0)
        return buf_append(to, SLICE("{}"));
    buf_append(to, SLICE("{\"hati\":"));
    text_append_json(to, word);
    return buf_append_char(to, '}');
}

bool causal_add(const struct http_request *request, struct MHD_Response *response) {
    struct slice word = causal_word(request);
    char text[CONTEXT_BYTES_MAX] = "{}";
    if (!request->has_causal)
        return true;
    if (word.len) /* no character of a word is written otherwise in JSON */
        snprintf(text, sizeof text, "{\"hati\":\"%.*s\"}", (int)word.len, word.ptr);
    return http_add_header(response, "Causal-Context", text);
}
