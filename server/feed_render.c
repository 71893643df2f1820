/* SPDX-License-Identifier: MIT */
#include "server/feed_render.h"

#include "base/text.h"

static const char *const kinds[] = {
    [FEED_SET] = "set",         [FEED_DELETE] = "delete", [FEED_EXPIRED] = "expired",
    [FEED_EVICTED] = "evicted", [FEED_FLUSH] = "flush",
};

/* As listings tell a key. */
static void append_key(struct buf *to, struct slice key) {
    buf_append(to, SLICE(",\"key\":"));
    if (text_is_utf8(key)) {
        text_append_json(to, key);
        return;
    }
    buf_append(to, SLICE("{\"key\":\""));
    text_append_base64(to, key);
    buf_append(to, SLICE("\",\"encoding\":\"base64\"}"));
}

static void append_value(struct buf *to, struct slice value) {
    buf_append(to, SLICE(",\"value\":"));
    if (text_is_utf8(value)) {
        text_append_json(to, value);
        return;
    }
    buf_append_char(to, '"');
    text_append_base64(to, value);
    buf_append(to, SLICE("\",\"encoding\":\"base64\""));
}

void feed_render_change(struct buf *to, const struct feed_change *change, bool with_value) {
    buf_append(to, SLICE("{\"kind\":\""));
    buf_append(to, slice_of_cstr(kinds[change->kind]));
    buf_append(to, SLICE("\",\"revision\":"));
    buf_append_u64(to, change->revision);
    if (change->kind != FEED_FLUSH)
        append_key(to, change->key);
    if (change->kind == FEED_SET) {
        buf_append(to, SLICE(",\"etag\":\""));
        buf_append_hex(to, change->etag, sizeof change->etag);
        buf_append(to, SLICE("\",\"size\":"));
        buf_append_u64(to, change->value_bytes);
        if (change->expires_at_ms) {
            buf_append(to, SLICE(",\"expires_at\":"));
            buf_append_i64(to, change->expires_at_ms);
        }
        if (with_value && change->value.ptr)
            append_value(to, change->value);
    }
    buf_append_char(to, '}');
}

void feed_render_place(struct buf *to, uint64_t revision) {
    buf_append(to, SLICE("{\"revision\":"));
    buf_append_u64(to, revision);
    buf_append_char(to, '}');
}
