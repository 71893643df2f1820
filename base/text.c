/* SPDX-License-Identifier: MIT */
#include "base/text.h"

/* Length of the UTF-8 sequence at p (1-4), 0 where it is none. */
static size_t sequence_len(const uint8_t *p, size_t left) {
    if (p[0] < 0x80)
        return 1;
    size_t len = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    bool outside = (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF4 && p[1] > 0x8F);
    return overlong || outside ? 0 : len;
}

bool text_is_utf8(struct slice bytes) {
    const uint8_t *p = (const uint8_t *)bytes.ptr;
    size_t at = 0;
    while (at < bytes.len) {
        uint64_t word;
        if (bytes.len - at >= sizeof word) {
            memcpy(&word, p + at, sizeof word);
            if (!(word & 0x8080808080808080U)) {
                at += sizeof word;
                continue;
            }
        }
        size_t len = sequence_len(p + at, bytes.len - at);
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}

static bool append_escaped(struct buf *to, uint8_t c) {
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    size_t len = 2;
    switch (c) {
    case '"':
    case '\\':
        text[1] = (char)c;
        break;
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    default:
        len = sizeof text;
    }
    return buf_append(to, (struct slice){text, len});
}

bool text_append_json(struct buf *to, struct slice bytes) {
    const uint8_t *p = (const uint8_t *)bytes.ptr;
    size_t start = 0;
    buf_append_char(to, '"');
    for (size_t at = 0; at < bytes.len;) {
        uint8_t c = p[at];
        size_t len = c < 0x80 ? 1 : sequence_len(p + at, bytes.len - at);
        bool plain = len > 0 && c >= 0x20 && c != '"' && c != '\\' && c != 0x7F;
        if (plain) {
            at += len;
            continue;
        }
        if (at > start)
            buf_append(to, (struct slice){bytes.ptr + start, at - start});
        if (len == 0)
            buf_append(to, SLICE("\xEF\xBF\xBD"));
        else
            append_escaped(to, c);
        start = ++at;
    }
    if (bytes.len > start)
        buf_append(to, (struct slice){bytes.ptr + start, bytes.len - start});
    return buf_append_char(to, '"') && !to->failed;
}

/* Writes four digits for each three bytes, `=` for what is missing at the end. */
static void encode_digits(struct slice bytes, const char *digits, char *out) {
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)(uint8_t)bytes.ptr[i] << 16;
        group |= left > 1 ? (uint32_t)(uint8_t)bytes.ptr[i + 1] << 8 : 0;
        group |= left > 2 ? (uint8_t)bytes.ptr[i + 2] : 0;
        *out++ = digits[group >> 18];
        *out++ = digits[group >> 12 & 63];
        *out++ = left > 1 ? digits[group >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[group & 63] : '=';
    }
}

bool text_append_base64(struct buf *to, struct slice bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = (bytes.len + 2) / 3 * 4;
    char *out = bytes.len > SIZE_MAX / 2 ? NULL : buf_reserve(to, len);
    if (!out)
        return false;
    encode_digits(bytes, digits, out);
    to->len += len;
    return true;
}

bool text_append_base64url(struct buf *to, struct slice bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t whole = bytes.len / 3 * 3, rest = bytes.len - whole;
    size_t len = whole / 3 * 4 + (rest ? rest + 1 : 0);
    char *out = bytes.len > SIZE_MAX / 2 ? NULL : buf_reserve(to, len);
    if (!out)
        return false;
    encode_digits(slice_make(bytes.ptr, whole), digits, out);
    if (rest) {
        char last[4];
        encode_digits(slice_make(bytes.ptr + whole, rest), digits, last);
        memcpy(out + whole / 3 * 4, last, rest + 1);
    }
    to->len += len;
    return true;
}

static int base64_digit(char c, bool url) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

/* Digits before the padding, or SIZE_MAX where the padding is wrong. */
static size_t base64_digits(struct slice text) {
    if (text.len % 4)
        return SIZE_MAX;
    size_t digits = text.len;
    while (digits > 0 && text.len - digits < 2 && text.ptr[digits - 1] == '=')
        digits--;
    return digits;
}

static bool decode_digits(struct slice digits, bool url, char *out, size_t *ret_len) {
    size_t len = 0;
    uint32_t held = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < digits.len; i++) {
        int digit = base64_digit(digits.ptr[i], url);
        if (digit < 0)
            return false;
        held = held << 6 | (uint32_t)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[len++] = (char)(held >> bits & 0xFF);
        }
    }
    if (bits == 6 || (held & ((1U << bits) - 1))) /* a second spelling of the same bytes */
        return false;
    *ret_len = len;
    return true;
}

bool text_base64_decode(struct arena *arena, struct slice text, struct slice *ret_bytes) {
    size_t digits = base64_digits(text);
    size_t len;
    if (digits == SIZE_MAX)
        return false;
    char *out = arena_alloc(arena, digits / 4 * 3 + 3);
    if (!out || !decode_digits(slice_make(text.ptr, digits), false, out, &len))
        return false;
    *ret_bytes = (struct slice){out, len};
    return true;
}

bool text_base64url_decode(struct slice text, char *to, size_t *ret_len) {
    return decode_digits(text, true, to, ret_len);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool text_uuid_parse(struct slice text, struct uuid *ret_uuid) {
    struct uuid uuid = {{0}};
    if (text.len != 36)
        return false;
    unsigned nibble = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text.ptr[i] != '-')
                return false;
            continue;
        }
        int digit = hex_digit(text.ptr[i]);
        if (digit < 0)
            return false;
        uuid.bytes[nibble / 2] = (uint8_t)(uuid.bytes[nibble / 2] << 4 | digit);
        nibble++;
    }
    *ret_uuid = uuid;
    return true;
}

void text_uuid_format(const struct uuid *uuid, char *to) {
    static const char hex[] = "0123456789abcdef";
    for (unsigned i = 0; i < sizeof uuid->bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        *to++ = hex[uuid->bytes[i] >> 4];
        *to++ = hex[uuid->bytes[i] & 15];
    }
}

bool text_percent_decode(struct arena *arena, struct slice text, struct slice *ret_bytes) {
    if (text.len == 0 || !memchr(text.ptr, '%', text.len)) {
        *ret_bytes = text;
        return true;
    }
    char *out = arena_alloc(arena, text.len);
    if (!out)
        return false;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            if (text.len - i < 3)
                return false;
            int high = hex_digit(text.ptr[i + 1]);
            int low = hex_digit(text.ptr[i + 2]);
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[len++] = c;
    }
    *ret_bytes = (struct slice){out, len};
    return true;
}

bool text_json_depth_ok(struct slice json, unsigned max_depth) {
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > max_depth)
                return false;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return true;
}
