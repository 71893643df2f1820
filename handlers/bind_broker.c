/* SPDX-License-Identifier: MIT */
/* Parameters of routers, queues and messages. */
#include "handlers/bind_internal.h"

/* UTF-8 without spaces and control characters, those of U+0080 to U+009F too. */
static bool is_name(struct slice text) {
    if (text.len > BROKER_NAME_MAX || !text_is_utf8(text))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = (uint8_t)text.ptr[i];
        bool high = byte == 0xC2 && (uint8_t)text.ptr[i + 1] < 0xA0;
        if (byte <= ' ' || byte == 0x7F || high)
            return false;
    }
    return true;
}

enum err bind_name(struct call *call, unsigned index, struct slice text) {
    if (text.len == 0 || !is_name(text))
        return call_fail(call, ERR_SYNTAX,
                         "%s has 1 to %d bytes of UTF-8 without spaces and control characters",
                         bind_param_of(call, index)->name, BROKER_NAME_MAX);
    bind_put_slice(call, index, text);
    return OK;
}

enum err bind_routing(struct call *call, unsigned index, struct slice text) {
    if (!is_name(text))
        return call_fail(call, ERR_SYNTAX,
                         "%s has up to %d bytes of UTF-8 without spaces and control characters",
                         bind_param_of(call, index)->name, BROKER_NAME_MAX);
    bind_put_slice(call, index, text);
    return OK;
}

enum err bind_choice(struct call *call, unsigned index, struct slice text) {
    const struct param *param = bind_param_of(call, index);
    const char *at = param->choices;
    for (int choice = 0; *at; choice++) {
        size_t len = strcspn(at, " ");
        if (slice_equal(slice_make(at, len), text)) {
            memcpy(bind_field_of(call, index), &choice, sizeof choice);
            return OK;
        }
        at += len + (at[len] == ' ');
    }
    return call_fail(call, ERR_SYNTAX, "%s is one of: %s", param->name, param->choices);
}

/* The door has parsed it: what is checked here is that it did. */
enum err bind_headers(struct call *call, unsigned index, struct slice text) {
    bool object = text.len >= 2 && text.ptr[0] == '{' && text.ptr[text.len - 1] == '}';
    if (!object || text.len > BROKER_HEADERS_MAX || !text_is_utf8(text))
        return call_fail(call, ERR_SYNTAX, "%s is a JSON object of up to %d bytes",
                         bind_param_of(call, index)->name, BROKER_HEADERS_MAX);
    bind_put_slice(call, index, text.len == 2 ? slice_make(text.ptr, 0) : text);
    return OK;
}

static enum err bind_setting(struct call *call, struct slice word) {
    const char *equals = word.len ? memchr(word.ptr, '=', word.len) : NULL;
    if (!equals)
        return call_fail(call, ERR_SYNTAX, "options are words of the form name=value");
    struct slice name = slice_make(word.ptr, (size_t)(equals - word.ptr));
    struct slice value = slice_make(equals + 1, word.len - name.len - 1);
    int index = bind_find_param(call->op, name);
    if (index < 0 || bind_param_of(call, (unsigned)index)->type == PARAM_SETTINGS)
        return call_fail(call, ERR_SYNTAX, "there is no option %.*s",
                         (int)(name.len < 64 ? name.len : 64), name.ptr);
    if (call->args.given & 1U << index)
        return call_fail(call, ERR_SYNTAX, "%s stands twice",
                         bind_param_of(call, (unsigned)index)->name);
    return bind_text(call, (unsigned)index, value);
}

enum err bind_settings(struct call *call, unsigned index, struct slice text) {
    enum err err = OK;
    while (!err && text.len) {
        const char *space = memchr(text.ptr, ' ', text.len);
        struct slice word = slice_make(text.ptr, space ? (size_t)(space - text.ptr) : text.len);
        err = bind_setting(call, word);
        text = slice_make(text.ptr + word.len + (space != NULL),
                          text.len - word.len - (space != NULL));
        if (!err && space && !text.len)
            err = bind_setting(call, text); /* a space at the end */
    }
    call->args.given |= 1U << index;
    return err;
}
