/* SPDX-License-Identifier: MIT */
#include "server/line_render.h"

#include "handlers/render.h"

void line_render_error(struct buf *to, enum err err, const char *text) {
    buf_append(to, SLICE("+ERR "));
    buf_append(to, slice_of_cstr(err_word(err)));
    buf_append_char(to, ' ');
    size_t start = to->len;
    buf_append(to, slice_of_cstr(text));
    for (size_t i = start; i < to->len; i++)
        if ((uint8_t)to->ptr[i] < ' ' || to->ptr[i] == 0x7F)
            to->ptr[i] = ' ';
    buf_append_char(to, '\n');
}

static void append_line(struct buf *to, struct slice bytes) {
    char *at = buf_reserve(to, bytes.len + 1);
    if (!at)
        return;
    if (bytes.len)
        memcpy(at, bytes.ptr, bytes.len);
    at[bytes.len] = '\n';
    to->len += bytes.len + 1;
}

static enum err append_value(struct buf *to, struct slice value) {
    if (value.len && memchr(value.ptr, '\n', value.len))
        return ERR_NOT_FRAMABLE;
    append_line(to, value);
    return OK;
}

static void append_frame(struct buf *to, struct slice value) {
    buf_append_char(to, '$');
    buf_append_u64(to, value.len);
    buf_append_char(to, '\n');
    append_line(to, value);
}

/* A text in JSON is "pong", on a line +PONG: line words are capitals. */
static void append_text(struct buf *to, struct slice text) {
    buf_append_char(to, '+');
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        buf_append_char(to, c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c);
    }
    buf_append_char(to, '\n');
}

void line_render_message(struct buf *to, const struct broker_delivery *delivery) {
    const char *receipt = delivery->receipt;
    buf_append(to, SLICE("MSG "));
    buf_append(to, slice_make(receipt, strnlen(receipt, BROKER_RECEIPT_BYTES)));
    buf_append_char(to, ' ');
    buf_append_u64(to, delivery->attempt);
    buf_append_char(to, ' ');
    buf_append(to, delivery->key);
    buf_append_char(to, ' ');
    buf_append_u64(to, delivery->payload.len);
    buf_append_char(to, '\n');
    append_line(to, delivery->payload);
}

static void append_messages(struct buf *to, const struct call *call) {
    const struct broker_receive *receive = &call->broker.receive;
    unsigned count = call->broker.holds ? receive->count : 0;
    for (unsigned i = 0; i < count; i++)
        line_render_message(to, &receive->deliveries[i]);
    buf_printf(to, "+OK %u\n", count);
}

static void append_published(struct buf *to, const struct reply *reply) {
    buf_append(to, SLICE("+OK "));
    buf_append(to, reply->id);
    buf_append_char(to, ' ');
    buf_append_i64(to, reply->number);
    buf_append_char(to, '\n');
}

static enum err append_reply(struct buf *to, const struct call *call, enum line_form form) {
    const struct reply *reply = &call->reply;
    switch (form) {
    case LINE_FOUND:
        if (!reply->flag)
            return ERR_KEY_NOT_EXIST;
        break;
    case LINE_VALUE:
        return append_value(to, reply->entry.value);
    case LINE_FRAME:
        append_frame(to, reply->entry.value);
        return OK;
    case LINE_NUMBER:
        buf_append_i64(to, reply->number);
        buf_append_char(to, '\n');
        return OK;
    case LINE_KEYS:
        buf_append_char(to, '{');
        render_keys(to, reply->keys, reply->key_count, reply->more);
        buf_append(to, SLICE("}\n"));
        return OK;
    case LINE_TEXT:
        append_text(to, reply->text);
        return OK;
    case LINE_JSON:
        append_line(to, reply->line_text.len ? reply->line_text : reply->text);
        return OK;
    case LINE_COUNTED:
        buf_append(to, SLICE("+OK "));
        buf_append_i64(to, reply->number);
        buf_append_char(to, '\n');
        return OK;
    case LINE_PUBLISHED:
        append_published(to, reply);
        return OK;
    case LINE_MESSAGES:
        append_messages(to, call);
        return OK;
    case LINE_OK:
        break;
    }
    buf_append(to, SLICE("+OK\n"));
    return OK;
}

enum err line_render(struct buf *to, const struct call *call, enum line_form form) {
    size_t start = to->len;
    enum err err = call->err;
    const char *text = err ? call_detail(call) : NULL;
    if (!err) {
        err = append_reply(to, call, form);
        text = err_text(err);
    }
    if (to->failed) {
        to->len = start;
        to->failed = false;
        err = ERR_OUT_OF_MEMORY;
        text = "the reply is too large";
    }
    if (err)
        line_render_error(to, err, text);
    return err;
}
