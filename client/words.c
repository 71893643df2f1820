/* SPDX-License-Identifier: MIT */
#include "client/words.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that the escape behind a \ means; how many bytes it takes, 0 for none. */
static size_t unescape(struct slice text, char *ret_byte) {
    static const char from[] = "nrt0\\\"", to[] = "\n\r\t\0\\\"";
    if (text.len >= 3 && text.ptr[0] == 'x' && hex_digit(text.ptr[1]) >= 0 &&
        hex_digit(text.ptr[2]) >= 0) {
        *ret_byte = (char)(hex_digit(text.ptr[1]) * 16 + hex_digit(text.ptr[2]));
        return 3;
    }
    for (size_t i = 0; text.len && i < sizeof from - 1; i++)
        if (text.ptr[0] == from[i]) {
            *ret_byte = to[i];
            return 1;
        }
    return 0;
}

/* The quoted word at the front of text; *ret_size is what it takes with its quotes. */
static enum words_result take_quoted(struct slice text, struct arena *arena,
                                     struct slice *ret_bytes, size_t *ret_size) {
    char quote = text.ptr[0];
    char *to = arena_alloc(arena, text.len);
    size_t len = 0, at = 1;
    if (!to)
        return WORDS_MEMORY;
    while (at < text.len && text.ptr[at] != quote) {
        if (quote == '"' && text.ptr[at] == '\\') {
            size_t size = unescape(slice_make(text.ptr + at + 1, text.len - at - 1), &to[len]);
            if (!size)
                return WORDS_ESCAPE;
            len++;
            at += 1 + size;
        } else {
            to[len++] = text.ptr[at++];
        }
    }
    if (at == text.len)
        return WORDS_UNCLOSED;
    *ret_bytes = slice_make(to, len);
    *ret_size = at + 1;
    return WORDS_TAKEN;
}

static bool is_quote(struct slice text) {
    return text.len && (text.ptr[0] == '"' || text.ptr[0] == '\'');
}

enum words_result words_take(struct slice *rest, struct arena *arena, struct word *ret_word) {
    struct slice left = *rest;
    while (left.len && left.ptr[0] == ' ')
        left = slice_make(left.ptr + 1, left.len - 1);
    if (!left.len)
        return WORDS_END;
    struct word word = {.text = left, .quoted = is_quote(left)};
    size_t size = 0;
    if (word.quoted) {
        enum words_result result = take_quoted(left, arena, &word.text, &size);
        if (result != WORDS_TAKEN)
            return result;
        if (size < left.len && left.ptr[size] != ' ')
            return WORDS_UNCLOSED;
    } else {
        const char *space = memchr(left.ptr, ' ', left.len);
        size = space ? (size_t)(space - left.ptr) : left.len;
        word.text.len = size;
    }
    bool space = size < left.len;
    *rest = slice_make(left.ptr + size + space, left.len - size - space);
    *ret_word = word;
    return WORDS_TAKEN;
}

enum words_result words_take_rest(struct slice rest, struct arena *arena, struct word *ret_word) {
    struct word word = {.text = rest};
    struct slice bytes;
    size_t size;
    if (is_quote(rest)) {
        enum words_result result = take_quoted(rest, arena, &bytes, &size);
        if (result == WORDS_MEMORY)
            return result;
        if (result == WORDS_TAKEN && size == rest.len)
            word = (struct word){.text = bytes, .quoted = true};
    }
    *ret_word = word;
    return WORDS_TAKEN;
}

const char *words_why(enum words_result result) {
    switch (result) {
    case WORDS_UNCLOSED:
        return "a quote has no end, or something sticks to it";
    case WORDS_ESCAPE:
        return "in double quotes \\ is followed by n r t 0 \\ \" or xHH";
    case WORDS_MEMORY:
        return "there is not enough memory";
    case WORDS_TAKEN:
    case WORDS_END:
        break;
    }
    return "";
}
