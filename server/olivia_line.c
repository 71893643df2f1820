/* SPDX-License-Identifier: MIT */
#include "server/olivia_line.h"

/* Takes what stands before the mark off rest; at the last piece rest's pointer becomes NULL. */
static struct slice take_piece(struct slice *rest, char mark) {
    struct slice piece = *rest;
    const char *at = rest->len ? memchr(rest->ptr, mark, rest->len) : NULL;
    if (!at) {
        *rest = (struct slice){NULL, 0};
        return piece;
    }
    piece.len = (size_t)(at - rest->ptr);
    *rest = slice_make(at + 1, rest->len - piece.len - 1);
    return piece;
}

bool olivia_line_split(struct slice line, struct olivia_line *ret_line) {
    struct slice args = line;
    struct slice head = take_piece(&args, ' ');
    struct slice hash = {NULL, 0};
    struct slice command = take_piece(&head, ':');
    if (head.ptr) {
        hash = command;
        command = take_piece(&head, ':');
    }
    *ret_line = (struct olivia_line){hash, command, args};
    return args.ptr != NULL;
}

bool olivia_take_pair(struct slice *args, struct olivia_pair *ret_pair) {
    if (!args->ptr)
        return false;
    struct slice rest = take_piece(args, ',');
    *ret_pair = (struct olivia_pair){.key = take_piece(&rest, ':')};
    if (rest.ptr)
        ret_pair->value = take_piece(&rest, ':');
    if (rest.ptr)
        ret_pair->seconds = take_piece(&rest, ':');
    return true;
}

bool olivia_parse_seconds(struct slice text, int64_t *ret_seconds) {
    bool negative = text.len && text.ptr[0] == '-';
    int64_t number = 0;
    if (text.len && (negative || text.ptr[0] == '+'))
        text = slice_make(text.ptr + 1, text.len - 1);
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int digit = text.ptr[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_sub_overflow(number, digit, &number)) /* downwards: -2^63 is one */
            return false;
    }
    if (!negative && number == INT64_MIN)
        return false;
    *ret_seconds = negative ? number : -number;
    return true;
}
