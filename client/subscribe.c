/* SPDX-License-Identifier: MIT */
#include "client/subscribe.h"

#include "client/interrupt.h"
#include "client/show.h"

#define RETRY_MS 1000

struct subscription {
    struct session *session;
    const struct command *command;
    uint64_t unanswered; /* requests whose reply is still to come: replies come in order */
    bool watch, subscribed, ending;
    struct slice revision; /* of a watch: the last it saw; in digits */
    char digits[24];
    enum client_status status;
};

static enum wire_result send_request(struct subscription *sub, struct slice line) {
    enum wire_result result = wire_send(&sub->session->wire, line, false, SLICE(""));
    sub->unanswered += result == WIRE_GOOD;
    return result;
}

static enum wire_result take_message(struct subscription *sub, const struct frame *frame) {
    struct session *session = sub->session;
    if (!show_message(session, frame)) {
        wire_close(&session->wire);
        sub->status = CLIENT_USAGE;
        session_complain(session, "cannot write what came");
        return WIRE_REFUSED;
    }
    if (!session->options->ack)
        return WIRE_GOOD;
    enum wire_result result = wire_ack(&session->wire, sub->command->argument, frame->receipt);
    sub->unanswered += result == WIRE_GOOD;
    return result;
}

/* The word of a line at a place; empty where there are not so many. */
static struct slice word_at(struct slice line, unsigned place) {
    for (;;) {
        const char *space = line.len ? memchr(line.ptr, ' ', line.len) : NULL;
        size_t len = space ? (size_t)(space - line.ptr) : line.len;
        if (place-- == 0)
            return slice_make(line.ptr, len);
        if (!space)
            return SLICE("");
        line = slice_make(space + 1, line.len - len - 1);
    }
}

/* READY, CHANGE and RESYNC have an object whose first number of that name it is. */
static void keep_revision(struct subscription *sub, struct slice line) {
    struct slice name = SLICE("\"revision\":");
    const char *at = line.len ? memmem(line.ptr, line.len, name.ptr, name.len) : NULL;
    size_t len = 0;
    if (!at)
        return;
    at += name.len;
    while (at + len < line.ptr + line.len && at[len] >= '0' && at[len] <= '9')
        len++;
    if (len == 0 || len > sizeof sub->digits)
        return;
    memcpy(sub->digits, at, len);
    sub->revision = slice_make(sub->digits, len);
}

static bool is_pushed(const struct subscription *sub, const struct frame *frame) {
    struct slice word = word_at(frame->text, 0);
    return sub->watch && frame->kind == FRAME_LINE &&
           (slice_equal(word, SLICE("CHANGE")) || slice_equal(word, SLICE("READY")) ||
            slice_equal(word, SLICE("RESYNC")));
}

static enum wire_result take_change(struct subscription *sub, const struct frame *frame) {
    struct session *session = sub->session;
    keep_revision(sub, frame->text);
    show_line(session, sub->command, frame->text);
    if (show_flush())
        return WIRE_GOOD;
    wire_close(&session->wire);
    sub->status = CLIENT_USAGE;
    session_complain(session, "cannot write what came");
    return WIRE_REFUSED;
}

/* +OK or +ERR: of SUBSCRIBE first, then of the ACKs, of UNSUBSCRIBE last. */
static enum wire_result take_reply(struct subscription *sub, const struct frame *frame) {
    struct session *session = sub->session;
    bool unasked = sub->unanswered == 0; /* it says why the subscription ended */
    if (sub->unanswered)
        sub->unanswered--;
    if (frame->kind == FRAME_ERROR) {
        show_error(session, frame);
        sub->status = CLIENT_REFUSED;
        return sub->subscribed && !unasked ? WIRE_GOOD : WIRE_REFUSED;
    }
    if (!sub->subscribed && session->terminal) {
        printf("%s; Ctrl-C ends it\n", sub->watch ? "watching" : "subscribed");
        show_flush();
    }
    sub->subscribed = true;
    return WIRE_GOOD;
}

/* Ctrl-C: the first ends the subscription in good order, another one the connection. */
static enum wire_result on_interrupt(struct subscription *sub) {
    interrupt_take();
    if (sub->ending) {
        wire_close(&sub->session->wire);
        return WIRE_REFUSED;
    }
    sub->ending = true;
    struct slice prefix = word_at(sub->command->line, 2);
    struct buf line;
    buf_init(&line, sub->command->line.len + 16);
    buf_append(&line, sub->watch ? SLICE("UNWATCH ") : SLICE("UNSUBSCRIBE "));
    buf_append(&line, sub->command->argument);
    if (sub->watch && prefix.len) {
        buf_append_char(&line, ' ');
        buf_append(&line, prefix);
    }
    enum wire_result result = send_request(sub, buf_slice(&line));
    buf_done(&line);
    return result;
}

/* The first time as it was asked for; then a watch goes on where it was. */
static enum wire_result send_begin(struct subscription *sub) {
    struct slice asked = sub->command->line;
    if (!sub->revision.len)
        return send_request(sub, asked);
    struct slice prefix = word_at(asked, 2);
    struct buf line;
    buf_init(&line, asked.len + 64);
    buf_append(&line, SLICE("WATCH "));
    buf_append(&line, sub->command->argument);
    buf_append_char(&line, ' ');
    buf_append(&line, prefix.len ? prefix : SLICE("*"));
    buf_append(&line, SLICE(" since="));
    buf_append(&line, sub->revision);
    for (unsigned i = 3; i < 5; i++)
        if (slice_equal(word_at(asked, i), SLICE("values")))
            buf_append(&line, SLICE(" values"));
    enum wire_result result = send_request(sub, buf_slice(&line));
    buf_done(&line);
    return result;
}

/* GOOD where it ended; AWAY where the connection was lost. */
static enum wire_result follow(struct subscription *sub) {
    struct wire *wire = &sub->session->wire;
    struct frame frame;
    sub->unanswered = 0;
    sub->subscribed = false;
    enum wire_result result = send_begin(sub);
    while (!sub->ending || sub->unanswered) {
        if (result == WIRE_GOOD) {
            int64_t timeout_ms = sub->unanswered ? sub->session->options->timeout_ms : 0;
            result = wire_next(wire, timeout_ms, &frame);
            if (result == WIRE_GOOD)
                result = frame.kind == FRAME_MESSAGE ? take_message(sub, &frame)
                         : is_pushed(sub, &frame)    ? take_change(sub, &frame)
                                                     : take_reply(sub, &frame);
        }
        if (result == WIRE_INTERRUPT && wire->up)
            result = on_interrupt(sub);
        if (result != WIRE_GOOD)
            return result;
    }
    return WIRE_GOOD;
}

/* Waits until the server is there again; false where the user does not. */
static bool wait_for_server(struct subscription *sub) {
    struct session *session = sub->session;
    session_complain(session, session->wire.why);
    session_complain(session, "trying again every second; Ctrl-C ends it");
    for (;;) {
        if (interrupt_wait(-1, 0, -1, RETRY_MS, NULL) == WOKE_INTERRUPT) {
            interrupt_take();
            return false;
        }
        enum wire_result result = wire_open(&session->wire);
        if (result == WIRE_GOOD) {
            session_complain(session, "connected again");
            return true;
        }
        if (result == WIRE_REFUSED)
            session_complain(session, session->wire.why);
        if (result != WIRE_AWAY)
            return false;
    }
}

enum client_status subscribe_run(struct session *session, const struct command *command) {
    struct subscription sub = {
        .session = session, .command = command, .watch = command->kind == COMMAND_WATCH};
    if (session->form != SESSION_PROMPT)
        interrupt_catch(true);
    enum wire_result result = follow(&sub);
    while (result == WIRE_AWAY && session->form == SESSION_PROMPT && !sub.ending &&
           wait_for_server(&sub))
        result = follow(&sub);
    interrupt_take();
    if (session->form != SESSION_PROMPT)
        interrupt_catch(false);
    if (result == WIRE_AWAY && session->form != SESSION_PROMPT)
        session_complain(session, session->wire.why);
    if (result == WIRE_AWAY && !sub.status)
        return CLIENT_AWAY;
    if (session->terminal && sub.ending)
        printf("\nended%s\n", session->options->ack || sub.watch
                                  ? ""
                                  : "; what is not acknowledged comes again after its lease");
    return sub.status;
}
