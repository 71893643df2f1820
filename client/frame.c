/* SPDX-License-Identifier: MIT */
#include "client/frame.h"

static void broken(struct frame *frame, const char *why) {
    *frame = (struct frame){.kind = FRAME_BROKEN, .text = slice_of_cstr(why)};
}

/* The bytes up to the next space, which are taken off rest with the space. */
static struct slice take_word(struct slice *rest) {
    const char *space = rest->len ? memchr(rest->ptr, ' ', rest->len) : NULL;
    struct slice word = *rest;
    if (!space) {
        *rest = (struct slice){NULL, 0};
        return word;
    }
    word.len = (size_t)(space - rest->ptr);
    *rest = slice_make(space + 1, rest->len - word.len - 1);
    return word;
}

/* The bytes behind the line, of the length the line announced. */
static void take_bytes(struct slice data, size_t line_bytes, struct slice length,
                       struct frame *frame) {
    int64_t bytes;
    if (!slice_parse_i64(length, &bytes) || bytes < 0) {
        broken(frame, "a length that is none");
        return;
    }
    if ((uint64_t)bytes > FRAME_BYTES_MAX) {
        broken(frame, "a length over the bound of 1 GiB");
        return;
    }
    size_t whole = line_bytes + (size_t)bytes + 1;
    if (data.len < whole) {
        *frame = (struct frame){.kind = FRAME_PART, .need = whole};
        return;
    }
    if (data.ptr[whole - 1] != '\n') {
        broken(frame, "no newline behind the bytes of a frame");
        return;
    }
    frame->bytes = slice_make(data.ptr + line_bytes, (size_t)bytes);
    frame->size = whole;
}

static void parse_message(struct slice data, struct slice line, struct frame *frame) {
    size_t line_bytes = frame->size;
    unsigned spaces = 0;
    for (size_t i = 0; i < line.len; i++)
        spaces += line.ptr[i] == ' ';
    if (spaces != 4) {
        broken(frame, "a message that is none");
        return;
    }
    struct slice rest = line;
    take_word(&rest);
    frame->kind = FRAME_MESSAGE;
    frame->receipt = take_word(&rest);
    frame->attempt = take_word(&rest);
    frame->key = take_word(&rest);
    take_bytes(data, line_bytes, rest, frame);
}

static void parse_line(struct slice data, struct slice line, struct frame *frame) {
    if (slice_starts_with(line, SLICE("+ERR "))) {
        struct slice rest = slice_make(line.ptr + 5, line.len - 5);
        frame->kind = FRAME_ERROR;
        frame->code = take_word(&rest);
        frame->text = rest;
    } else if (slice_starts_with(line, SLICE("MSG "))) {
        parse_message(data, line, frame);
    } else if (line.len > 1 && line.ptr[0] == '$') {
        frame->kind = FRAME_VALUE;
        take_bytes(data, frame->size, slice_make(line.ptr + 1, line.len - 1), frame);
    } else {
        frame->kind = FRAME_LINE;
        frame->text = line;
    }
}

void frame_parse(struct slice data, size_t scanned, struct frame *ret_frame) {
    *ret_frame = (struct frame){.kind = FRAME_PART};
    const char *newline =
        scanned < data.len ? memchr(data.ptr + scanned, '\n', data.len - scanned) : NULL;
    size_t len = newline ? (size_t)(newline - data.ptr) : data.len;
    if (len > FRAME_LINE_MAX) {
        broken(ret_frame, "a line over the bound of 64 MiB");
        return;
    }
    if (!newline)
        return;
    ret_frame->size = len + 1;
    parse_line(data, slice_make(data.ptr, len), ret_frame);
}
