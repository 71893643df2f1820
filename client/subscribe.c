/* SPDX-License-Identifier: MIT */
#include "client/subscribe.h"

#include "client/interrupt.h"
#include "client/show.h"

#define RETRY_MS 1000

struct subscription {
    struct session *session;
    const struct command *command;
    uint64_t unanswered; /* requests whose reply is still to come: replies come in order */
    bool subscribed, ending;
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

/* +OK or +ERR: of SUBSCRIBE first, then of the ACKs, of UNSUBSCRIBE last. */
static enum wire_result take_reply(struct subscription *sub, const struct frame *frame) {
    struct session *session = sub->session;
    if (sub->unanswered)
        sub->unanswered--;
    if (frame->kind == FRAME_ERROR) {
        show_error(session, frame);
        sub->status = CLIENT_REFUSED;
        return sub->subscribed ? WIRE_GOOD : WIRE_REFUSED;
    }
    if (!sub->subscribed && session->terminal) {
        printf("subscribed; Ctrl-C ends it\n");
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
    struct buf line;
    buf_init(&line, sub->command->argument.len + 16);
    buf_append(&line, SLICE("UNSUBSCRIBE "));
    buf_append(&line, sub->command->argument);
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
    enum wire_result result = send_request(sub, sub->command->line);
    while (!sub->ending || sub->unanswered) {
        if (result == WIRE_GOOD) {
            int64_t timeout_ms = sub->unanswered ? sub->session->options->timeout_ms : 0;
            result = wire_next(wire, timeout_ms, &frame);
            if (result == WIRE_GOOD)
                result = frame.kind == FRAME_MESSAGE ? take_message(sub, &frame)
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
    struct subscription sub = {.session = session, .command = command};
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
        printf("\nended%s\n", session->options->ack
                                  ? ""
                                  : "; what is not acknowledged comes again after its lease");
    return sub.status;
}
