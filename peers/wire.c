/* SPDX-License-Identifier: MIT */
#include "peers/wire.h"

static bool is_word(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 'A' || text.ptr[i] > 'Z')
            return false;
    return text.len > 0;
}

bool wire_parse_reply(struct slice line, struct wire_reply *ret_reply) {
    const char *colon = line.len ? memchr(line.ptr, ':', line.len) : NULL;
    if (!colon)
        return false;
    struct slice rest = slice_make(colon + 1, line.len - (size_t)(colon + 1 - line.ptr));
    const char *space = rest.len ? memchr(rest.ptr, ' ', rest.len) : NULL;
    struct slice word = slice_make(rest.ptr, space ? (size_t)(space - rest.ptr) : rest.len);
    if (!is_word(word))
        return false;
    ret_reply->hash = slice_make(line.ptr, (size_t)(colon - line.ptr));
    ret_reply->word = word;
    ret_reply->rest =
        space ? slice_make(space + 1, rest.len - word.len - 1) : (struct slice){NULL, 0};
    return true;
}

/* The slice that is behind the last field has no pointer: an empty last field is still one. */
bool wire_take_field(struct slice *rest, struct slice *ret_field) {
    if (!rest->ptr)
        return false;
    const char *colon = rest->len ? memchr(rest->ptr, ':', rest->len) : NULL;
    *ret_field = *rest;
    if (!colon) {
        *rest = (struct slice){NULL, 0};
        return true;
    }
    ret_field->len = (size_t)(colon - rest->ptr);
    *rest = slice_make(colon + 1, rest->len - ret_field->len - 1);
    return true;
}

bool wire_take_u64(struct slice *rest, uint64_t *ret_number) {
    struct slice field, left = *rest;
    int64_t number;
    if (!wire_take_field(&left, &field) || !slice_parse_i64(field, &number) || number < 0)
        return false;
    *ret_number = (uint64_t)number;
    *rest = left;
    return true;
}
