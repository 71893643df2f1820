/* SPDX-License-Identifier: MIT */
/* Answers, as 2.0 and as 1.0 write them. */
#include <stdio.h>

#include "handlers/render.h"
#include "server/rpc_internal.h"

static void append_id(struct buf *out, const struct rpc_item *item) {
    char text[32];
    if (rpc_is_string(item->id))
        text_append_json(out,
                         slice_make(json_string_value(item->id), json_string_length(item->id)));
    else if (rpc_is_integer(item->id))
        buf_append_i64(out, json_integer_value(item->id));
    else if (item->raw_id.len)
        buf_append(out, item->raw_id);
    else if (rpc_is_real(item->id)) /* under an escaped name */
        buf_append(out, slice_make(text, (size_t)snprintf(text, sizeof text, "%.17g",
                                                          json_real_value(item->id))));
    else
        buf_append(out, SLICE("null"));
}

/* One number covers what lines tell apart as values and lines, and has a word of its own. */
static struct slice word_of(enum err err) {
    return slice_of_cstr(err_rpc_code(err) == err_rpc_code(ERR_VALUE_TOO_LARGE) ? "TOO_LARGE"
                                                                                : err_word(err));
}

/* "error":{"code":…,"message":"…","data": */
static void append_error_head(struct buf *out, enum err err) {
    buf_append(out, SLICE("\"error\":{\"code\":"));
    buf_append_i64(out, err_rpc_code(err));
    buf_append(out, SLICE(",\"message\":\""));
    buf_append(out, word_of(err));
    buf_append(out, SLICE(": "));
    buf_append(out, slice_of_cstr(err_text(err)));
    buf_append(out, SLICE("\",\"data\":"));
}

static void append_data(struct buf *out, enum err err, const char *detail, int64_t limit) {
    buf_append(out, SLICE("{\"detail\":"));
    text_append_json(out, slice_of_cstr(detail ? detail : err_text(err)));
    if (limit) {
        buf_append(out, SLICE(",\"limit\":"));
        buf_append_i64(out, limit);
    }
    if (err_outcome(err))
        buf_printf(out, ",\"outcome\":\"%s\"", err_outcome(err));
    buf_append_char(out, '}');
}

static void append_legacy(struct buf *out, const struct rpc_item *item, enum err err) {
    buf_append(out, SLICE("{\"id\":"));
    append_id(out, item);
    buf_append(out, SLICE(",\"result\":"));
    if (err) {
        buf_append(out, SLICE("null,\"error\":\""));
        buf_append(out, word_of(err));
        buf_append(out, SLICE("\"}"));
        return;
    }
    render_result(out, &item->call);
    buf_append(out, SLICE(",\"error\":null}"));
}

static void append_tail(struct buf *out, const struct rpc_item *item) {
    buf_append(out, SLICE(",\"id\":"));
    append_id(out, item);
    buf_append_char(out, '}');
}

void rpc_append_answer(struct buf *out, const struct rpc_item *item) {
    const struct call *call = &item->call;
    if (item->legacy) {
        append_legacy(out, item, call->err);
        return;
    }
    if (call->err) {
        buf_append(out, SLICE("{\"jsonrpc\":\"2.0\","));
        append_error_head(out, call->err);
        if (call->op)
            render_error_data(out, call);
        else
            append_data(out, call->err, call->detail, item->limit);
        buf_append_char(out, '}');
    } else {
        buf_append(out, SLICE("{\"jsonrpc\":\"2.0\",\"result\":"));
        render_result(out, call);
    }
    append_tail(out, item);
}

void rpc_append_too_large(struct buf *out, const struct rpc_item *item) {
    if (item->legacy) {
        append_legacy(out, item, ERR_VALUE_TOO_LARGE);
        return;
    }
    buf_append(out, SLICE("{\"jsonrpc\":\"2.0\","));
    append_error_head(out, ERR_VALUE_TOO_LARGE);
    append_data(out, ERR_VALUE_TOO_LARGE, "the answer is over the limit", 0);
    buf_append_char(out, '}');
    append_tail(out, item);
}

bool rpc_append_error(struct buf *out, enum err err, const char *detail) {
    size_t start = out->len;
    buf_append(out, SLICE("{\"jsonrpc\":\"2.0\","));
    append_error_head(out, err);
    append_data(out, err, detail, 0);
    buf_append(out, SLICE("},\"id\":null}\n"));
    if (out->failed)
        out->len = start;
    return !out->failed;
}
