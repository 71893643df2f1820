/* SPDX-License-Identifier: MIT */
#include "trace/pairs.h"

#include <stdlib.h>

#define VALUE_MAX 8192U

static struct slice trim(struct slice text) {
    while (text.len && strchr(" \t\r", text.ptr[0]))
        text = slice_make(text.ptr + 1, text.len - 1);
    while (text.len && strchr(" \t\r", text.ptr[text.len - 1]))
        text.len--;
    return text;
}

static const char *add(struct trace_pairs *pairs, struct slice name, struct slice value) {
    if (name.len == 0)
        return "a name is missing";
    if (value.len > VALUE_MAX)
        return "a value is too long";
    if (pairs->count == TRACE_PAIRS_MAX)
        return "there are too many";
    struct trace_pair *pair = &pairs->list[pairs->count];
    pair->name = strndup(name.ptr, name.len);
    pair->value = strndup(value.len ? value.ptr : "", value.len);
    if (!pair->name || !pair->value) {
        free(pair->name);
        free(pair->value);
        return "there is no memory";
    }
    pairs->count++;
    return NULL;
}

static int digit_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place: what is decoded is not longer. */
static bool decode(char *text) {
    char *to = text;
    for (const char *at = text; *at; at++) {
        if (*at != '%') {
            *to++ = *at;
            continue;
        }
        int high = digit_of(at[1]);
        int low = high < 0 ? -1 : digit_of(at[2]);
        if (low < 0 || high + low == 0)
            return false;
        *to++ = (char)(high << 4 | low);
        at += 2;
    }
    *to = '\0';
    return true;
}

const char *trace_pairs_add_list(struct trace_pairs *pairs, const char *text) {
    while (*text) {
        size_t len = strcspn(text, ",");
        struct slice item = trim(slice_make(text, len));
        const char *equals = item.len ? memchr(item.ptr, '=', item.len) : NULL;
        text += len + (text[len] == ',');
        if (item.len == 0)
            continue;
        if (!equals)
            return "name=value is expected, parted by commas";
        struct slice name = slice_make(item.ptr, (size_t)(equals - item.ptr));
        struct slice value = slice_make(equals + 1, item.len - name.len - 1);
        const char *wrong = add(pairs, trim(name), trim(value));
        if (!wrong && !decode(pairs->list[pairs->count - 1].value))
            wrong = "a value has a malformed % sequence";
        if (wrong)
            return wrong;
    }
    return NULL;
}

const char *trace_pairs_add_lines(struct trace_pairs *pairs, const char *text) {
    while (*text) {
        size_t len = strcspn(text, "\n");
        struct slice line = trim(slice_make(text, len));
        const char *colon = line.len ? memchr(line.ptr, ':', line.len) : NULL;
        text += len + (text[len] == '\n');
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        if (!colon)
            return "`Name: value` is expected on each line";
        struct slice name = slice_make(line.ptr, (size_t)(colon - line.ptr));
        struct slice value = slice_make(colon + 1, line.len - name.len - 1);
        const char *wrong = add(pairs, trim(name), trim(value));
        if (wrong)
            return wrong;
    }
    return NULL;
}

static bool is_token(const char *text) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "!#$%&'*+-.^_`|~";
    return text[0] && text[strspn(text, letters)] == '\0';
}

const char *trace_pairs_check_headers(const struct trace_pairs *pairs) {
    for (unsigned i = 0; i < pairs->count; i++) {
        if (!is_token(pairs->list[i].name))
            return "a header's name is no token";
        for (const char *at = pairs->list[i].value; *at; at++)
            if ((uint8_t)*at < 0x20 || *at == 0x7F)
                return "a header's value holds a control character";
    }
    return NULL;
}

void trace_pairs_done(struct trace_pairs *pairs) {
    for (unsigned i = 0; i < pairs->count; i++) {
        explicit_bzero(pairs->list[i].value, strlen(pairs->list[i].value));
        free(pairs->list[i].name);
        free(pairs->list[i].value);
    }
    pairs->count = 0;
}
