/* SPDX-License-Identifier: MIT */
#include "client/session.h"

#include <unistd.h>

#include "client/pretty.h"
#include "client/show.h"
#include "client/subscribe.h"

void session_init(struct session *session, const struct options *options, enum session_form form) {
    bool terminal = isatty(STDOUT_FILENO) != 0;
    *session = (struct session){.options = options, .form = form};
    session->terminal = terminal && !options->raw;
    session->table = options->table || session->terminal;
    session->newline = terminal || form != SESSION_ONE;
    wire_init(&session->wire, options);
}

void session_done(struct session *session) {
    wire_done(&session->wire);
}

void session_complain(const struct session *session, const char *text) {
    show_flush();
    if (session->form == SESSION_ONE)
        fprintf(stderr, "hati client: %s\n", text);
    else if (session->form == SESSION_SCRIPT)
        fprintf(stderr, "hati client: line %lu: %s\n", session->line, text);
    else
        fprintf(stderr, "%s\n", text);
}

static void end_echo(const struct session *session) {
    if (session->form == SESSION_PROMPT)
        printf("\n");
}

/* What is told where the answer to a request that was sent does not come any more. */
static enum client_status give_up(struct session *session, enum wire_result result) {
    if (result == WIRE_INTERRUPT) {
        wire_close(&session->wire);
        end_echo(session);
        session_complain(session, "not waited for; whether it was carried out is not known");
        return CLIENT_AWAY;
    }
    session_complain(session, session->wire.why);
    session_complain(session, "whether the command was carried out is not known");
    return CLIENT_AWAY;
}

/* Connects where it has to be. */
static enum client_status connect_link(struct session *session) {
    bool stale = session->wire.up && wire_is_stale(&session->wire);
    enum wire_result result = wire_open(&session->wire);
    if (result == WIRE_GOOD) {
        if (stale && session->form == SESSION_PROMPT) {
            session_complain(session, session->wire.why);
            session_complain(session, "connected again");
        }
        return CLIENT_GOOD;
    }
    session_complain(session, result == WIRE_INTERRUPT ? "not waited for" : session->wire.why);
    return result == WIRE_REFUSED ? CLIENT_REFUSED : CLIENT_AWAY;
}

static int64_t patience(const struct session *session, const struct command *command) {
    int64_t timeout_ms = session->options->timeout_ms;
    return timeout_ms ? timeout_ms + command->wait_ms : 0;
}

static enum client_status confused(struct session *session) {
    wire_close(&session->wire);
    session_complain(session, "what answers there is no hati, or of another version");
    return CLIENT_AWAY;
}

/* Acknowledges what was shown: receipts, each with a newline behind it. */
static enum client_status ack_all(struct session *session, struct slice queue,
                                  struct slice receipts) {
    enum client_status status = CLIENT_GOOD;
    while (receipts.len) {
        size_t len =
            (size_t)((const char *)memchr(receipts.ptr, '\n', receipts.len) - receipts.ptr);
        struct frame frame;
        enum wire_result result = wire_ack(&session->wire, queue, slice_make(receipts.ptr, len));
        if (result == WIRE_GOOD)
            result = wire_next(&session->wire, session->options->timeout_ms, &frame);
        if (result != WIRE_GOOD)
            return give_up(session, result);
        if (frame.kind == FRAME_ERROR) {
            show_error(session, &frame);
            status = CLIENT_REFUSED;
        }
        receipts = slice_make(receipts.ptr + len + 1, receipts.len - len - 1);
    }
    return status;
}

/* Shows a message of a reply; keeps its receipt where it is to be acknowledged. */
static enum client_status take_message(struct session *session, const struct frame *frame,
                                       struct buf *receipts) {
    if (!show_message(session, frame)) {
        wire_close(&session->wire);
        session_complain(session, "cannot write what came");
        return CLIENT_USAGE;
    }
    if (session->options->ack) {
        buf_append(receipts, frame->receipt);
        buf_append_char(receipts, '\n');
    }
    return CLIENT_GOOD;
}

static enum client_status show_frame(struct session *session, const struct command *command,
                                     const struct frame *frame) {
    bool wants_value = command->form == LINE_FRAME;
    if (frame->kind == FRAME_ERROR) {
        show_error(session, frame);
        return CLIENT_REFUSED;
    }
    if (wants_value != (frame->kind == FRAME_VALUE))
        return confused(session);
    if (wants_value)
        show_value(session, frame->bytes, !command->value && !session->terminal);
    else
        show_line(session, command, frame->text);
    return CLIENT_GOOD;
}

static enum client_status run_call(struct session *session, const struct command *command) {
    struct frame frame = {.kind = FRAME_MESSAGE};
    struct buf receipts;
    enum client_status status = CLIENT_GOOD;
    buf_init(&receipts, FRAME_LINE_MAX);
    enum wire_result result =
        wire_send(&session->wire, command->line, command->framed, command->bytes);
    while (result == WIRE_GOOD && status == CLIENT_GOOD && frame.kind == FRAME_MESSAGE) {
        result = wire_next(&session->wire, patience(session, command), &frame);
        if (result == WIRE_GOOD && frame.kind == FRAME_MESSAGE)
            status = take_message(session, &frame, &receipts);
    }
    if (result != WIRE_GOOD)
        status = give_up(session, result);
    else if (status == CLIENT_GOOD)
        status = show_frame(session, command, &frame);
    if (status == CLIENT_GOOD && receipts.len)
        status = ack_all(session, command->argument, buf_slice(&receipts));
    buf_done(&receipts);
    return status;
}

/* A PING goes behind it: where its answer comes first, there is none to what was sent, which was a
 * notification. */
static enum client_status run_json(struct session *session, const struct command *command) {
    struct frame frame;
    enum client_status status = CLIENT_GOOD;
    enum wire_result result = wire_send(&session->wire, command->line, false, SLICE(""));
    if (result == WIRE_GOOD)
        result = wire_send(&session->wire, SLICE("PING"), false, SLICE(""));
    while (result == WIRE_GOOD) {
        result = wire_next(&session->wire, patience(session, command), &frame);
        if (result != WIRE_GOOD)
            break;
        if (frame.kind == FRAME_LINE && slice_equal(frame.text, SLICE("+PONG")))
            return status;
        if (frame.kind == FRAME_ERROR) {
            show_error(session, &frame);
            status = CLIENT_REFUSED;
        } else if (frame.kind == FRAME_LINE) {
            if (pretty_is_failure(frame.text))
                status = CLIENT_REFUSED;
            show_line(session, command, frame.text);
        }
    }
    return give_up(session, result);
}

static enum client_status run_help(struct session *session, const struct command *command) {
    struct frame frame;
    enum wire_result result = wire_send(&session->wire, command->line, false, SLICE(""));
    while (result == WIRE_GOOD) {
        result = wire_next(&session->wire, session->options->timeout_ms, &frame);
        if (result != WIRE_GOOD)
            break;
        if (frame.kind == FRAME_ERROR)
            return show_frame(session, command, &frame);
        if (frame.kind == FRAME_LINE && slice_equal(frame.text, SLICE("+OK")))
            return CLIENT_GOOD;
        if (frame.kind == FRAME_LINE)
            show_line(session, command, frame.text);
    }
    return give_up(session, result);
}

/* What is shown or chosen at each connect is replaced; the old one stays where the new is refused.
 */
static enum client_status run_change(struct session *session, const struct command *command,
                                     char *place, size_t place_bytes) {
    struct buf old;
    buf_init(&old, place_bytes);
    buf_append(&old, slice_of_cstr(place));
    enum client_status status = CLIENT_USAGE;
    if (old.failed || !wire_set(place, place_bytes, command->argument)) {
        session_complain(session, "this word is too long");
    } else {
        wire_close(&session->wire);
        status = connect_link(session);
        if (status == CLIENT_REFUSED)
            wire_set(place, place_bytes, buf_slice(&old));
        else if (status == CLIENT_GOOD)
            show_line(session, command, SLICE("+OK"));
    }
    explicit_bzero(old.ptr, old.ptr ? old.len : 0);
    buf_done(&old);
    return status;
}

static enum client_status run_connected(struct session *session, const struct command *command) {
    enum client_status status = connect_link(session);
    if (status != CLIENT_GOOD)
        return status;
    switch (command->kind) {
    case COMMAND_JSON:
        return run_json(session, command);
    case COMMAND_SUBSCRIBE:
    case COMMAND_WATCH:
        return subscribe_run(session, command);
    case COMMAND_HELP:
        return run_help(session, command);
    default:
        return run_call(session, command);
    }
}

enum client_status session_run(struct session *session, const struct command *command) {
    struct wire *wire = &session->wire;
    enum client_status status = CLIENT_GOOD;
    switch (command->kind) {
    case COMMAND_NOTHING:
        return CLIENT_GOOD;
    case COMMAND_QUIT:
        session->ended = true;
        return CLIENT_GOOD;
    case COMMAND_USE:
        status = run_change(session, command, wire->use, sizeof wire->use);
        break;
    case COMMAND_AUTH:
        status = run_change(session, command, wire->token, sizeof wire->token);
        break;
    default:
        status = run_connected(session, command);
    }
    if (!show_flush()) {
        session_complain(session, "cannot write what came");
        return CLIENT_USAGE;
    }
    return status;
}

enum wire_result session_ask(struct session *session, struct slice request,
                             struct slice *ret_line) {
    struct frame frame;
    enum wire_result result = wire_open(&session->wire);
    if (result == WIRE_GOOD)
        result = wire_send(&session->wire, request, false, SLICE(""));
    if (result == WIRE_GOOD)
        result = wire_next(&session->wire, session->options->timeout_ms, &frame);
    if (result != WIRE_GOOD) {
        wire_close(&session->wire); /* what was asked for may still come */
        return result;
    }
    if (frame.kind == FRAME_LINE) {
        *ret_line = frame.text;
        return WIRE_GOOD;
    }
    return wire_refuse(&session->wire, "it", &frame);
}
