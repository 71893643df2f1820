/* SPDX-License-Identifier: MIT */
#include "client/show.h"

#include "client/pretty.h"

/* What a terminal gets is several times what came at most. */
#define TEXT_MAX (8U * (uint64_t)FRAME_BYTES_MAX)

static bool put(struct slice bytes) {
    return bytes.len == 0 || fwrite(bytes.ptr, 1, bytes.len, stdout) == bytes.len;
}

static void put_buf(struct buf *text) {
    if (text->failed)
        fputs("hati client: there is not enough memory to show this\n", stderr);
    else
        put(buf_slice(text));
    buf_done(text);
}

bool show_flush(void) {
    return fflush(stdout) == 0 && !ferror(stdout);
}

static bool is_stats(const struct command *command) {
    return command->words && strcmp(command->words->op->name, "Server.Stats") == 0;
}

static bool is_json(const struct command *command) {
    return command->kind == COMMAND_JSON ||
           (command->kind == COMMAND_CALL && command->form == LINE_JSON);
}

void show_line(const struct session *session, const struct command *command, struct slice line) {
    struct buf text;
    buf_init(&text, TEXT_MAX);
    bool keys = command->kind == COMMAND_CALL && command->form == LINE_KEYS;
    if (session->table && keys) {
        pretty_keys(&text, line);
    } else if (session->table && is_stats(command)) {
        pretty_table(&text, line);
    } else if (session->terminal && (keys || is_json(command))) {
        pretty_json(&text, line);
    } else if (session->terminal) {
        bool plus = line.len && line.ptr[0] == '+';
        pretty_escaped(&text, slice_make(line.ptr + plus, line.len - plus));
        buf_append_char(&text, '\n');
    } else {
        put(line);
        put(SLICE("\n"));
    }
    put_buf(&text);
}

void show_value(const struct session *session, struct slice bytes, bool framed) {
    struct buf text;
    buf_init(&text, TEXT_MAX);
    if (session->terminal) {
        pretty_escaped(&text, bytes);
    } else {
        if (framed)
            printf("$%zu\n", bytes.len);
        put(bytes);
    }
    if (session->newline || framed)
        buf_append_char(&text, '\n');
    put_buf(&text);
}

bool show_message(const struct session *session, const struct frame *frame) {
    struct buf text;
    buf_init(&text, TEXT_MAX);
    if (session->terminal) {
        pretty_message(&text, frame);
    } else {
        printf("MSG %.*s %.*s %.*s %zu\n", (int)frame->receipt.len, frame->receipt.ptr,
               (int)frame->attempt.len, frame->attempt.ptr, (int)frame->key.len, frame->key.ptr,
               frame->bytes.len);
        put(frame->bytes);
        put(SLICE("\n"));
    }
    put_buf(&text);
    return show_flush();
}

void show_error(const struct session *session, const struct frame *frame) {
    struct buf text;
    buf_init(&text, TEXT_MAX);
    pretty_error(&text, frame);
    buf_append_char(&text, '\0');
    session_complain(session, text.failed ? "the server says no" : text.ptr);
    buf_done(&text);
}
