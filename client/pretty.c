/* SPDX-License-Identifier: MIT */
#include "client/pretty.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

#include "base/text.h"

#define PATH_BYTES 512
#define DEPTH_MAX 16U

/* The code point at the front; *ret_size is 0 where that is no UTF-8. */
static uint32_t take_point(struct slice text, size_t *ret_size) {
    uint8_t first = (uint8_t)text.ptr[0];
    size_t size = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    *ret_size = 0;
    if (size > text.len || !text_is_utf8(slice_make(text.ptr, size)))
        return first;
    *ret_size = size;
    uint32_t point = size == 1 ? first : first & (0x7FU >> size);
    for (size_t i = 1; i < size; i++)
        point = point << 6 | ((uint8_t)text.ptr[i] & 0x3FU);
    return point;
}

/* Code points that change how what follows is shown. */
static bool is_steering(uint32_t point) {
    return point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0xAD || point == 0x61C ||
           (point >= 0x200B && point <= 0x200F) || (point >= 0x2028 && point <= 0x202E) ||
           (point >= 0x2060 && point <= 0x206F) || point == 0xFEFF ||
           (point >= 0xFFF9 && point <= 0xFFFB) || (point >= 0xE0000 && point <= 0xE007F);
}

static void append_escape(struct buf *to, uint32_t point, bool is_text) {
    switch (point) {
    case '\n':
        buf_append(to, SLICE("\\n"));
        break;
    case '\r':
        buf_append(to, SLICE("\\r"));
        break;
    case '\t':
        buf_append(to, SLICE("\\t"));
        break;
    default:
        if (is_text && point >= 0x80)
            buf_printf(to, point > 0xFFFF ? "\\U%08x" : "\\u%04x", point);
        else
            buf_printf(to, "\\x%02x", point);
    }
}

/* keep: newlines and backslashes stay, as the text is laid out and escaped already. */
static void append_safe(struct buf *to, struct slice bytes, bool keep) {
    while (bytes.len) {
        size_t size;
        uint32_t point = take_point(bytes, &size);
        size_t step = size ? size : 1;
        if (keep && (point == '\n' || point == '\\'))
            buf_append_char(to, (char)point);
        else if (!size || is_steering(point))
            append_escape(to, point, size > 0);
        else if (point == '\\')
            buf_append(to, SLICE("\\\\"));
        else
            buf_append(to, slice_make(bytes.ptr, step));
        bytes = slice_make(bytes.ptr + step, bytes.len - step);
    }
}

void pretty_escaped(struct buf *to, struct slice bytes) {
    append_safe(to, bytes, false);
}

static json_t *parse(struct slice line) {
    if (!text_json_depth_ok(line, 256))
        return NULL;
    return json_loadb(line.ptr, line.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static void append_raw(struct buf *to, struct slice line) {
    pretty_escaped(to, line);
    buf_append_char(to, '\n');
}

void pretty_json(struct buf *to, struct slice line) {
    json_t *json = parse(line);
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_ENCODE_ANY) : NULL;
    if (text) {
        append_safe(to, slice_of_cstr(text), true);
        buf_append_char(to, '\n');
    } else {
        append_raw(to, line);
    }
    free(text);
    json_decref(json);
}

static struct slice string_of(const json_t *json) {
    return slice_make(json_string_value(json), json_string_length(json));
}

static int digits(size_t number) {
    int count = 1;
    while (number /= 10)
        count++;
    return count;
}

void pretty_keys(struct buf *to, struct slice line) {
    json_t *json = parse(line);
    const json_t *keys = json_object_get(json, "keys");
    const json_t *cursor = json_object_get(json, "cursor");
    size_t count = json_array_size(keys);
    if (!json_is_array(keys)) {
        json_decref(json);
        pretty_json(to, line);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        buf_printf(to, "%*zu  ", digits(count), i + 1);
        append_raw(to, string_of(json_array_get(keys, i)));
    }
    if (count == 0)
        buf_append(to, SLICE("no keys\n"));
    if (json_is_string(cursor)) {
        buf_append(to, SLICE("more behind the cursor "));
        append_raw(to, string_of(cursor));
    }
    json_decref(json);
}

/* Where in the object a line of the table stands. */
struct path {
    char text[PATH_BYTES];
    size_t len;
};

static void extend(struct path *path, const char *name) {
    int wrote = snprintf(path->text + path->len, sizeof path->text - path->len, "%s%s",
                         path->len ? "." : "", name);
    if (wrote > 0)
        path->len += (size_t)wrote;
    if (path->len >= sizeof path->text)
        path->len = sizeof path->text - 1;
}

static void append_leaf(struct buf *to, struct slice path, const json_t *json, size_t column) {
    size_t start = to->len;
    pretty_escaped(to, path);
    size_t width = pretty_width(slice_make(to->ptr + start, to->len - start));
    buf_printf(to, "%*s  ", (int)(width < column ? column - width : 0), "");
    if (json_is_string(json)) {
        append_raw(to, string_of(json));
        return;
    }
    char *text = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
    if (text)
        append_raw(to, slice_of_cstr(text));
    free(text);
}

/* to NULL: only measures the widest path. */
static void walk(struct buf *to, const json_t *json, struct path path, unsigned depth,
                 size_t *column) {
    bool holds = (json_is_object(json) && json_object_size(json)) ||
                 (json_is_array(json) && json_is_object(json_array_get(json, 0)));
    if (!holds || depth == DEPTH_MAX) {
        struct slice text = slice_make(path.text, path.len);
        if (to)
            append_leaf(to, text, json, *column);
        else if (pretty_width(text) > *column)
            *column = pretty_width(text);
        return;
    }
    const char *name;
    json_t *member;
    json_object_foreach((json_t *)json, name, member) {
        struct path inner = path;
        extend(&inner, name);
        walk(to, member, inner, depth + 1, column);
    }
    for (size_t i = 0; i < json_array_size(json); i++) {
        struct path inner = path;
        char index[24];
        snprintf(index, sizeof index, "%zu", i + 1);
        extend(&inner, index);
        walk(to, json_array_get(json, i), inner, depth + 1, column);
    }
}

void pretty_table(struct buf *to, struct slice line) {
    json_t *json = parse(line);
    size_t column = 0;
    struct path path = {.len = 0};
    if (!json_is_object(json)) {
        json_decref(json);
        pretty_json(to, line);
        return;
    }
    walk(NULL, json, path, 0, &column);
    walk(to, json, path, 0, &column);
    json_decref(json);
}

void pretty_message(struct buf *to, const struct frame *frame) {
    buf_append(to, SLICE("message "));
    pretty_escaped(to, frame->receipt);
    buf_append(to, SLICE("  attempt "));
    pretty_escaped(to, frame->attempt);
    buf_append(to, SLICE("  key "));
    pretty_escaped(to, frame->key);
    buf_printf(to, "  %zu bytes\n  ", frame->bytes.len);
    append_raw(to, frame->bytes);
}

void pretty_error(struct buf *to, const struct frame *frame) {
    pretty_escaped(to, frame->text.len ? frame->text : SLICE("the server says no"));
    buf_append(to, SLICE(" ("));
    pretty_escaped(to, frame->code);
    buf_append_char(to, ')');
}

bool pretty_is_failure(struct slice line) {
    json_t *json = parse(line);
    const json_t *error = json_object_get(json, "error");
    bool failed = error && !json_is_null(error);
    json_decref(json);
    return failed;
}

size_t pretty_width(struct slice text) {
    size_t width = 0;
    while (text.len) {
        size_t size;
        uint32_t point = take_point(text, &size);
        int columns = wcwidth((wchar_t)point);
        width += columns > 0 ? (size_t)columns : columns < 0;
        size = size ? size : 1;
        text = slice_make(text.ptr + size, text.len - size);
    }
    return width;
}
