/* SPDX-License-Identifier: MIT */
#include "broker/message.h"

#include <stdlib.h>

#define SEQ_DIGITS 15U

static char *append(char *to, struct slice bytes) {
    if (bytes.len && bytes.ptr)
        memcpy(to, bytes.ptr, bytes.len);
    return to + bytes.len;
}

struct body *body_new(const struct body_parts *parts) {
    size_t size =
        parts->id.len + parts->key.len + parts->from.len + parts->headers.len + parts->payload.len;
    struct body *body = malloc(sizeof *body + size);
    if (!body)
        return NULL;
    atomic_init(&body->refs, 1);
    body->payload_len = (uint32_t)parts->payload.len;
    body->headers_len = (uint32_t)parts->headers.len;
    body->key_len = (uint16_t)parts->key.len;
    body->id_len = (uint8_t)parts->id.len;
    body->from_len = (uint8_t)parts->from.len;
    body->reason = (uint8_t)parts->reason;
    body->dead_attempt = parts->dead_attempt;
    body->published_ms = parts->published_ms;
    char *at = append(body->bytes, parts->id);
    at = append(at, parts->key);
    at = append(at, parts->from);
    at = append(at, parts->headers);
    append(at, parts->payload);
    return body;
}

void body_unref(struct body *body) {
    if (body && atomic_fetch_sub_explicit(&body->refs, 1, memory_order_acq_rel) == 1)
        free(body);
}

static struct slice take(const char **at, size_t len) {
    struct slice part = slice_make(*at, len);
    *at += len;
    return part;
}

void body_read(const struct body *body, struct body_parts *ret_parts) {
    const char *at = body->bytes;
    ret_parts->id = take(&at, body->id_len);
    ret_parts->key = take(&at, body->key_len);
    ret_parts->from = take(&at, body->from_len);
    ret_parts->headers = take(&at, body->headers_len);
    ret_parts->payload = take(&at, body->payload_len);
    ret_parts->reason = (enum broker_reason)body->reason;
    ret_parts->dead_attempt = body->dead_attempt;
    ret_parts->published_ms = body->published_ms;
}

struct message *message_new(struct body *body, uint8_t lane) {
    struct message *message = calloc(1, sizeof *message);
    if (!message) {
        body_unref(body);
        return NULL;
    }
    message->body = body;
    message->lane = lane;
    return message;
}

void message_free(struct message *message) {
    body_unref(message->body);
    free(message);
}

static char *write_hex(uint64_t number, unsigned digits, char *to) {
    for (unsigned i = 0; i < digits; i++)
        to[i] = "0123456789abcdef"[number >> 4 * (digits - 1 - i) & 15];
    return to + digits;
}

void receipt_write(const struct message *message, char to[BROKER_RECEIPT_BYTES]) {
    char *at = write_hex(message->lane, 1, to);
    at = write_hex(message->seq, SEQ_DIGITS, at);
    at = write_hex(message->nonce, 16, at);
    *at = '\0';
}

static bool read_hex(const char *digits, unsigned count, uint64_t *ret_number) {
    uint64_t number = 0;
    for (unsigned i = 0; i < count; i++) {
        char c = digits[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        number = number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret_number = number;
    return true;
}

bool receipt_read(struct slice text, uint8_t *ret_lane, uint64_t *ret_seq, uint64_t *ret_nonce) {
    uint64_t lane;
    if (text.len != BROKER_RECEIPT_BYTES - 1 || !read_hex(text.ptr, 1, &lane) ||
        lane > BROKER_PRIORITY_MAX || !read_hex(text.ptr + 1, SEQ_DIGITS, ret_seq) ||
        !read_hex(text.ptr + 1 + SEQ_DIGITS, 16, ret_nonce))
        return false;
    *ret_lane = (uint8_t)lane;
    return true;
}
