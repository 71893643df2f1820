/* SPDX-License-Identifier: MIT */
#include "engine/receive.h"

/* The place as one byte, seq and lease as eight each, the high byte first. */
#define RECEIPT_RAW_BYTES 17U
#define RECEIPT_TEXT_BYTES 23U
_Static_assert(RECEIPT_TEXT_BYTES < BROKER_RECEIPT_BYTES, "a receipt has room for its text");

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void put_int64(uint8_t *to, int64_t value) {
    for (unsigned i = 0; i < 8; i++)
        to[i] = (uint8_t)((uint64_t)value >> (56 - 8 * i));
}

static int64_t get_int64(const uint8_t *from) {
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++)
        value = value << 8 | from[i];
    return (int64_t)value;
}

void receipt_format(const struct receipt *receipt, char *to) {
    uint8_t raw[RECEIPT_RAW_BYTES + 1] = {(uint8_t)receipt->place};
    put_int64(raw + 1, receipt->seq);
    put_int64(raw + 9, receipt->lease);
    for (unsigned i = 0; i < RECEIPT_RAW_BYTES; i += 3) {
        uint32_t three = (uint32_t)raw[i] << 16 | (uint32_t)raw[i + 1] << 8 |
                         (i + 2 < RECEIPT_RAW_BYTES ? raw[i + 2] : 0U);
        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = digits[three >> 6 & 63];
        if (i + 2 < RECEIPT_RAW_BYTES)
            *to++ = digits[three & 63];
    }
    *to = '\0';
}

bool receipt_parse(struct slice text, struct receipt *ret_receipt) {
    uint8_t raw[RECEIPT_RAW_BYTES + 1];
    size_t len = 0;
    if (text.len != RECEIPT_TEXT_BYTES || !text_base64url_decode(text, (char *)raw, &len) ||
        len != RECEIPT_RAW_BYTES || raw[0] > BROKER_PRIORITY_MAX)
        return false;
    ret_receipt->place = raw[0];
    ret_receipt->seq = get_int64(raw + 1);
    ret_receipt->lease = get_int64(raw + 9);
    return true;
}
