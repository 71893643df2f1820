/* SPDX-License-Identifier: MIT */
#include "handlers/render.h"

#include "handlers/bind.h"

static bool append_base64_member(struct buf *to, const char *name, struct slice bytes) {
    buf_printf(to, "{\"%s\":\"", name);
    text_append_base64(to, bytes);
    return buf_append(to, SLICE("\",\"encoding\":\"base64\"}"));
}

bool render_value(struct buf *to, struct slice value) {
    if (text_is_utf8(value))
        return text_append_json(to, value);
    return append_base64_member(to, "value", value);
}

bool render_keys(struct buf *to, const struct slice *keys, unsigned count, bool more) {
    buf_append(to, SLICE("\"keys\":["));
    for (unsigned i = 0; i < count; i++) {
        if (i)
            buf_append_char(to, ',');
        if (text_is_utf8(keys[i]))
            text_append_json(to, keys[i]);
        else
            append_base64_member(to, "key", keys[i]);
    }
    buf_append_char(to, ']');
    if (more && count) {
        buf_append(to, SLICE(",\"cursor\":\""));
        bind_append_cursor(to, keys[count - 1]);
        buf_append_char(to, '"');
    }
    return !to->failed;
}

static bool render_entry(struct buf *to, const struct reply *reply) {
    const struct kv_entry *entry = &reply->entry;
    buf_append(to, SLICE("{\"value\":"));
    if (text_is_utf8(entry->value)) {
        text_append_json(to, entry->value);
    } else {
        buf_append_char(to, '"');
        text_append_base64(to, entry->value);
        buf_append(to, SLICE("\",\"encoding\":\"base64\""));
    }
    buf_append(to, SLICE(",\"revision\":"));
    buf_append_u64(to, entry->revision);
    buf_append(to, SLICE(",\"etag\":\""));
    buf_append_hex(to, entry->etag, sizeof entry->etag);
    buf_append(to, SLICE("\",\"ttl\":"));
    buf_append_i64(to, reply->ttl_ms);
    return buf_append_char(to, '}');
}

static bool render_pairs(struct buf *to, const struct reply *reply) {
    buf_append_char(to, '{');
    for (unsigned i = 0; i < reply->pair_count; i++) {
        if (i)
            buf_append_char(to, ',');
        text_append_json(to, reply->pairs[i].key);
        buf_append_char(to, ':');
        render_value(to, reply->pairs[i].value);
    }
    return buf_append_char(to, '}');
}

bool render_result(struct buf *to, const struct call *call) {
    const struct reply *reply = &call->reply;
    switch (call->op->reply) {
    case REPLY_TRUE:
        return buf_append(to, SLICE("true"));
    case REPLY_BOOL:
        return buf_append(to, reply->flag ? SLICE("true") : SLICE("false"));
    case REPLY_NUMBER:
        return buf_append_i64(to, reply->number);
    case REPLY_VALUE:
        return render_value(to, reply->entry.value);
    case REPLY_ENTRY:
        return render_entry(to, reply) && !to->failed;
    case REPLY_KEYS:
        buf_append_char(to, '{');
        render_keys(to, reply->keys, reply->key_count, reply->more);
        return buf_append_char(to, '}') && !to->failed;
    case REPLY_PAIRS:
        return render_pairs(to, reply) && !to->failed;
    case REPLY_TEXT:
        return text_append_json(to, reply->text);
    case REPLY_JSON:
        return buf_append(to, reply->text);
    case REPLY_MESSAGES:
        return render_messages(to, &call->broker.receive);
    }
    return false;
}

bool render_error_data(struct buf *to, const struct call *call) {
    buf_append(to, SLICE("{\"detail\":"));
    text_append_json(to, slice_of_cstr(call_detail(call)));
    if (call->args.key.len && text_is_utf8(call->args.key)) {
        buf_append(to, SLICE(",\"key\":"));
        text_append_json(to, call->args.key);
    }
    if (call->err == ERR_VALUE_TOO_LARGE) {
        buf_append(to, SLICE(",\"limit\":"));
        buf_append_u64(to, call->core->payload_limit_bytes);
    }
    if (call->reply.indexed) {
        buf_append(to, SLICE(",\"index\":"));
        buf_append_u64(to, call->reply.index);
    }
    if (err_outcome(call->err))
        buf_printf(to, ",\"outcome\":\"%s\"", err_outcome(call->err));
    return buf_append_char(to, '}') && !to->failed;
}
