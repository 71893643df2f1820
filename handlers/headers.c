/* SPDX-License-Identifier: MIT */
#include "handlers/headers.h"

/* Behind the string that begins at `at`. */
static size_t skip_string(struct slice json, size_t at) {
    for (at++; at < json.len && json.ptr[at] != '"'; at++)
        if (json.ptr[at] == '\\')
            at++;
    return at + 1;
}

/* Behind the member (name and value) that begins at `at`. */
static size_t skip_member(struct slice json, size_t at) {
    unsigned depth = 0;
    while (at < json.len) {
        char c = json.ptr[at];
        if (c == '"') {
            at = skip_string(json, at);
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}'))
            return at;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        at++;
    }
    return json.len;
}

bool headers_next(struct slice json, size_t *at, struct slice *ret_member) {
    if (*at + 1 >= json.len)
        return false;
    size_t end = skip_member(json, *at);
    *ret_member = slice_make(json.ptr + *at, end - *at);
    *at = end + 1;
    return true;
}

bool headers_member_is(struct slice member, struct slice name) {
    return member.len > name.len + 2 && member.ptr[0] == '"' && member.ptr[name.len + 1] == '"' &&
           slice_equal_nocase(slice_make(member.ptr + 1, name.len), name);
}

/* What stands behind the colon, where it is a string that is its own text. */
static struct slice text_of(struct slice member, size_t name_len) {
    size_t from = name_len + 4;
    if (member.len <= from || member.ptr[from - 1] != '"' || member.ptr[member.len - 1] != '"')
        return SLICE("");
    struct slice text = slice_make(member.ptr + from, member.len - from - 1);
    return memchr(text.ptr, '\\', text.len) ? SLICE("") : text;
}

bool headers_find(struct slice json, struct slice name, struct slice *ret_text) {
    struct slice member;
    for (size_t at = 1; headers_next(json, &at, &member);) {
        if (!headers_member_is(member, name))
            continue;
        *ret_text = text_of(member, name.len);
        return true;
    }
    return false;
}
