/* SPDX-License-Identifier: MIT */
/* Reads a body message by message: objects and batches, one after another. */
#include "base/json_load.h"
#include "server/rpc_internal.h"

/* What jansson takes for them beside the bytes of strings, as measured and a little over. */
#define CONTAINER_BYTES 256U
#define MEMBER_BYTES 64U

/* A value is any bytes: a \u0000 in a string is one of them. */
#define LOAD_FLAGS                                                                                 \
    (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL)

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static struct slice skip_space(struct slice text) {
    while (text.len && is_space(text.ptr[0]))
        text = slice_make(text.ptr + 1, text.len - 1);
    return text;
}

/* The rest cannot be told apart any more: one answer, and the body is over. */
static bool refuse(struct rpc_source *source, enum err err, const char *detail) {
    source->value = NULL;
    source->err = err;
    source->detail = detail;
    source->ended = true;
    return true;
}

bool rpc_source_weight_ok(struct slice body, size_t max_bytes) {
    if (body.len <= max_bytes / CONTAINER_BYTES)
        return true;
    size_t weight_bytes = 0;
    bool in_string = false;
    for (size_t i = 0; i < body.len && weight_bytes <= max_bytes; i++) {
        char c = body.ptr[i];
        if (c == '"')
            in_string = !in_string;
        else if (in_string)
            i += c == '\\';
        else if (c == '{' || c == '[')
            weight_bytes += CONTAINER_BYTES;
        else if (c == ',' || c == ':')
            weight_bytes += MEMBER_BYTES;
    }
    return weight_bytes <= max_bytes;
}

static bool parse_failed(struct rpc_source *source, const json_error_t *error) {
    switch (json_error_code(error)) {
    case json_error_duplicate_key:
        return refuse(source, ERR_INVALID_REQUEST, "a member stands twice in an object");
    case json_error_out_of_memory:
        return refuse(source, ERR_OUT_OF_MEMORY, "no memory for the request");
    default:
        return refuse(source, ERR_PARSE, NULL);
    }
}

static bool open_batch(struct rpc_source *source) {
    source->count = json_array_size(source->doc);
    source->batch = true;
    if (source->count == 0 || source->count > RPC_BATCH_MAX) {
        bool empty = source->count == 0;
        source->count = 1;
        source->batch = false;
        source->err = ERR_INVALID_REQUEST;
        source->detail = empty ? "the batch is empty" : "the batch has too many calls";
        source->limit = empty ? 0 : RPC_BATCH_MAX;
        return true;
    }
    source->value = json_array_get(source->doc, 0);
    return true;
}

static void begin_message(struct rpc_source *source) {
    source->value = NULL;
    source->err = OK;
    source->detail = NULL;
    source->limit = 0;
    source->index = source->raw_index = 0;
    source->raw_at = 0;
    source->count = 1;
    source->batch = false;
    source->started = true;
}

/* An id may be a whole number over 64 bits with sign: only then are numbers read as doubles, and
 * ids answered by their text. */
static json_t *load(struct slice text, json_error_t *ret_error) {
    json_t *doc = json_load_slice(text, LOAD_FLAGS, ret_error);
    if (!doc && json_error_code(ret_error) == json_error_numeric_overflow)
        doc = json_load_slice(text, LOAD_FLAGS | JSON_DECODE_INT_AS_REAL, ret_error);
    return doc;
}

static bool next_message(struct rpc_source *source) {
    source->rest = skip_space(source->rest);
    if (source->ended || (source->rest.len == 0 && source->started))
        return false;
    begin_message(source);
    if (source->rest.len == 0)
        return refuse(source, ERR_PARSE, "the body is empty");
    json_error_t error;
    source->doc = load(source->rest, &error);
    if (!source->doc)
        return parse_failed(source, &error);
    size_t len = (size_t)error.position;
    source->doc_text = slice_make(source->rest.ptr, len);
    source->rest = slice_make(source->rest.ptr + len, source->rest.len - len);
    if (rpc_is_array(source->doc))
        return open_batch(source);
    if (!rpc_is_object(source->doc)) /* or `1 1 1 …` would be answered number by number */
        return refuse(source, ERR_INVALID_REQUEST, NULL);
    source->value = source->doc;
    return true;
}

bool rpc_source_next(struct rpc_source *source) {
    if (source->doc) { /* neither taken nor the last one: see rpc_source_take */
        if (source->batch)
            source->value = json_array_get(source->doc, source->index);
        return true;
    }
    return next_message(source);
}

void rpc_source_take(struct rpc_source *source, struct rpc_item *item) {
    item->in_batch = source->batch;
    item->ends_batch = source->batch && source->index + 1 == source->count;
    item->doc = NULL;
    source->value = NULL;
    source->paid = false;
    if (source->doc && ++source->index == source->count) {
        item->doc = source->doc;
        source->doc = NULL;
    }
}

/* Behind the string that begins at `at`. The text is valid JSON. */
static size_t skip_string(struct slice text, size_t at) {
    for (at++; at < text.len && text.ptr[at] != '"'; at++)
        if (text.ptr[at] == '\\')
            at++;
    return at + 1;
}

/* Behind the value that begins at `at`. The text is valid JSON. */
static size_t skip_value(struct slice text, size_t at) {
    unsigned depth = 0;
    while (at < text.len) {
        char c = text.ptr[at];
        if (c == '"') {
            at = skip_string(text, at);
        } else if (c == '[' || c == '{') {
            depth++;
            at++;
        } else if (c == ']' || c == '}') {
            if (depth == 0)
                return at;
            depth--;
            at++;
        } else if (depth == 0 && (c == ',' || is_space(c))) {
            return at;
        } else {
            at++;
            continue; /* inside a number or a word */
        }
        if (depth == 0)
            return at;
    }
    return at;
}

static size_t skip_between(struct slice text, size_t at) {
    while (at < text.len && (is_space(text.ptr[at]) || text.ptr[at] == ',' || text.ptr[at] == ':'))
        at++;
    return at;
}

struct slice rpc_source_raw_id(struct rpc_source *source) {
    struct slice text = source->doc_text;
    if (source->batch && source->raw_at == 0)
        source->raw_at = skip_between(text, 1);
    for (; source->raw_index < source->index; source->raw_index++)
        source->raw_at = skip_between(text, skip_value(text, source->raw_at));
    size_t at = skip_between(text, source->raw_at + 1);
    while (at < text.len && text.ptr[at] == '"') {
        size_t name_end = skip_string(text, at);
        struct slice name = slice_make(text.ptr + at, name_end - at);
        size_t value = skip_between(text, name_end);
        size_t value_end = skip_value(text, value);
        if (slice_equal(name, SLICE("\"id\"")))
            return slice_make(text.ptr + value, value_end - value);
        at = skip_between(text, value_end);
    }
    return (struct slice){NULL, 0};
}
