/* SPDX-License-Identifier: MIT */
#include "client/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "client/interrupt.h"
#include "client/pretty.h"

#define READ_BYTES 65536U
#define IN_MAX (FRAME_BYTES_MAX + FRAME_LINE_MAX + READ_BYTES)

void wire_init(struct wire *wire, const struct options *options) {
    *wire = (struct wire){.options = options};
    buf_init(&wire->in, IN_MAX);
    snprintf(wire->token, sizeof wire->token, "%s", options->token ? options->token : "");
    snprintf(wire->use, sizeof wire->use, "%s", options->use ? options->use : "");
}

void wire_close(struct wire *wire) {
    if (wire->up)
        wire->transport.close(&wire->transport);
    wire->up = false;
    buf_done(&wire->in);
    wire->at = wire->scanned = 0;
}

void wire_done(struct wire *wire) {
    wire_close(wire);
    explicit_bzero(wire->token, sizeof wire->token);
}

static enum wire_result lose(struct wire *wire, const char *because) {
    snprintf(wire->why, sizeof wire->why, "the connection to %s is lost: %.180s",
             wire->options->place, because);
    wire_close(wire);
    return WIRE_AWAY;
}

/* Why the transport failed; lives as long as it. */
static const char *reason(const struct wire *wire) {
    return wire->transport.why[0] ? wire->transport.why : strerror(errno);
}

/* A server that speaks it answers a line with an alert; no reply begins so. */
static bool is_tls(const struct wire *wire, const char *first) {
    return !wire->options->tls && (*first == 0x15 || *first == 0x16);
}

/* Takes in what is there. GOOD where bytes came or none are there yet. */
static enum wire_result take_in(struct wire *wire, bool *ret_came) {
    *ret_came = false;
    char *to = buf_reserve(&wire->in, READ_BYTES);
    if (!to)
        return lose(wire, "there is not enough memory for what it sends");
    ssize_t got = wire->transport.read(&wire->transport, to, READ_BYTES);
    if (got == 0)
        return lose(wire, "the server closed it");
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return WIRE_GOOD;
    if (got < 0)
        return lose(wire, reason(wire));
    if (!wire->heard && is_tls(wire, to))
        return lose(wire, "what answers there speaks TLS (--tls)");
    wire->heard = true;
    wire->in.len += (size_t)got;
    *ret_came = true;
    return WIRE_GOOD;
}

bool wire_is_stale(struct wire *wire) {
    bool came = true;
    while (wire->up && came)
        if (take_in(wire, &came) != WIRE_GOOD)
            return true;
    return false;
}

static enum wire_result wait_to_write(struct wire *wire) {
    short events;
    switch (interrupt_wait(wire->transport.fd, POLLIN | POLLOUT, -1,
                           wire->options->timeout_ms ? wire->options->timeout_ms : -1, &events)) {
    case WOKE_TIMEOUT:
        return lose(wire, "it takes nothing any more");
    case WOKE_INTERRUPT:
        return WIRE_INTERRUPT;
    case WOKE_RESIZE:
        return WIRE_GOOD;
    case WOKE_READY:
        break;
    }
    bool came;
    return events & POLLIN ? take_in(wire, &came) : WIRE_GOOD;
}

static enum wire_result write_all(struct wire *wire, struct slice bytes) {
    while (bytes.len) {
        ssize_t wrote = wire->transport.write(&wire->transport, bytes.ptr, bytes.len);
        if (wrote < 0 && errno != EAGAIN && errno != EINTR)
            return lose(wire, reason(wire));
        if (wrote > 0) {
            bytes = slice_make(bytes.ptr + wrote, bytes.len - (size_t)wrote);
            continue;
        }
        enum wire_result result = wait_to_write(wire);
        if (result == WIRE_INTERRUPT) { /* half a request was sent: nothing can follow it */
            lose(wire, "a request was cut");
            return WIRE_INTERRUPT;
        }
        if (result != WIRE_GOOD)
            return result;
    }
    return WIRE_GOOD;
}

enum wire_result wire_send(struct wire *wire, struct slice line, bool framed, struct slice bytes) {
    struct buf head;
    buf_init(&head, line.len + 1);
    buf_append(&head, line);
    buf_append_char(&head, '\n');
    enum wire_result result =
        head.failed ? lose(wire, "there is not enough memory") : write_all(wire, buf_slice(&head));
    if (result == WIRE_GOOD && framed)
        result = write_all(wire, bytes);
    if (result == WIRE_GOOD && framed)
        result = write_all(wire, SLICE("\n"));
    explicit_bzero(head.ptr, head.ptr ? head.len : 0);
    buf_done(&head);
    return result;
}

static enum wire_result take_more(struct wire *wire, int64_t timeout_ms) {
    bool came;
    if (wire->at) {
        buf_drop_front(&wire->in, wire->at);
        wire->at = 0;
    }
    for (;;) {
        enum wire_result result = take_in(wire, &came);
        if (result != WIRE_GOOD || came)
            return result;
        switch (
            interrupt_wait(wire->transport.fd, POLLIN, -1, timeout_ms ? timeout_ms : -1, NULL)) {
        case WOKE_TIMEOUT:
            return lose(wire, "no answer came in time");
        case WOKE_INTERRUPT:
            return WIRE_INTERRUPT;
        case WOKE_RESIZE:
        case WOKE_READY:
            break;
        }
    }
}

enum wire_result wire_next(struct wire *wire, int64_t timeout_ms, struct frame *ret_frame) {
    size_t need = 0;
    if (!wire->up)
        return WIRE_AWAY;
    for (;;) {
        struct slice data = slice_make(wire->in.ptr + wire->at, wire->in.len - wire->at);
        if (!wire->in.ptr)
            data = (struct slice){NULL, 0};
        if (data.len && data.len >= need) {
            frame_parse(data, wire->scanned, ret_frame);
            if (ret_frame->kind == FRAME_BROKEN)
                return lose(wire, ret_frame->text.ptr);
            if (ret_frame->kind != FRAME_PART) {
                wire->at += ret_frame->size;
                wire->scanned = 0;
                return WIRE_GOOD;
            }
            need = ret_frame->need;
            wire->scanned = need ? 0 : data.len;
        }
        enum wire_result result = take_more(wire, timeout_ms);
        if (result != WIRE_GOOD)
            return result;
    }
}

enum wire_result wire_refuse(struct wire *wire, const char *what, const struct frame *frame) {
    if (frame->kind != FRAME_ERROR)
        return lose(wire, "what answers there is no hati");
    struct buf text;
    buf_init(&text, 65536);
    pretty_error(&text, frame);
    int most = WIRE_WHY_BYTES - 40;
    snprintf(wire->why, sizeof wire->why, "%.20s was refused: %.*s", what,
             (int)text.len < most ? (int)text.len : most, text.ptr ? text.ptr : "");
    buf_done(&text);
    return WIRE_REFUSED;
}

enum wire_result wire_ack(struct wire *wire, struct slice queue, struct slice receipt) {
    struct buf line;
    buf_init(&line, queue.len + receipt.len + 8);
    buf_printf(&line, "ACK ");
    buf_append(&line, queue);
    buf_append_char(&line, ' ');
    buf_append(&line, receipt);
    enum wire_result result = line.failed ? lose(wire, "there is not enough memory")
                                          : wire_send(wire, buf_slice(&line), false, SLICE(""));
    buf_done(&line);
    return result;
}

/* A request of the connection itself that is answered +OK or not. */
static enum wire_result ask(struct wire *wire, const char *verb, const char *argument) {
    struct buf line;
    struct frame frame;
    buf_init(&line, OPTIONS_TOKEN_MAX + 64);
    buf_printf(&line, "%s %s", verb, argument);
    enum wire_result result = line.failed ? lose(wire, "there is not enough memory")
                                          : wire_send(wire, buf_slice(&line), false, SLICE(""));
    explicit_bzero(line.ptr, line.ptr ? line.len : 0);
    buf_done(&line);
    if (result == WIRE_GOOD)
        result = wire_next(wire, wire->options->timeout_ms, &frame);
    if (result != WIRE_GOOD)
        return result;
    if (frame.kind == FRAME_LINE && slice_equal(frame.text, SLICE("+OK")))
        return WIRE_GOOD;
    return wire_refuse(wire, verb, &frame);
}

enum wire_result wire_open(struct wire *wire) {
    if (wire->up)
        return WIRE_GOOD;
    if (!transport_open(wire->options, &wire->transport, wire->why))
        return errno == EINTR ? WIRE_INTERRUPT : WIRE_AWAY;
    wire->up = true;
    wire->heard = false;
    enum wire_result result = WIRE_GOOD;
    if (wire->token[0])
        result = ask(wire, "AUTH", wire->token);
    if (result == WIRE_GOOD && wire->use[0])
        result = ask(wire, "USE", wire->use);
    if (result != WIRE_GOOD)
        wire_close(wire);
    return result;
}

bool wire_set(char *to, size_t to_bytes, struct slice text) {
    if (text.len >= to_bytes)
        return false;
    memcpy(to, text.ptr, text.len);
    to[text.len] = '\0';
    return true;
}
