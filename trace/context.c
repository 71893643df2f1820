/* SPDX-License-Identifier: MIT */
#include "trace/context.h"

#define STATE_MEMBERS_MAX 32U
#define KEY_MAX 256U
#define VALUE_MAX 256U

/* Upper case is no hexadecimal digit to the recommendation. */
static int digit_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const char *text, uint8_t *to, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        int high = digit_of(text[2 * i]);
        int low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool is_zero(const uint8_t *bytes, size_t len) {
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= bytes[i];
    return any == 0;
}

bool trace_context_parse(struct slice text, struct trace_context *ret_context) {
    struct trace_context context = {.valid = true};
    uint8_t version;
    uint8_t flags;
    if (text.len < TRACE_PARENT_BYTES || text.ptr[2] != '-' || text.ptr[35] != '-' ||
        text.ptr[52] != '-')
        return false;
    if (!read_hex(text.ptr, &version, 1) || !read_hex(text.ptr + 53, &flags, 1) ||
        !read_hex(text.ptr + 3, context.trace_id, TRACE_ID_BYTES) ||
        !read_hex(text.ptr + 36, context.span_id, TRACE_SPAN_ID_BYTES))
        return false;
    bool longer = text.len > TRACE_PARENT_BYTES;
    if (version == 0xFF || (version == 0 && longer) ||
        (longer && text.ptr[TRACE_PARENT_BYTES] != '-'))
        return false;
    if (is_zero(context.trace_id, TRACE_ID_BYTES) || is_zero(context.span_id, TRACE_SPAN_ID_BYTES))
        return false;
    context.sampled = flags & 1;
    *ret_context = context;
    return true;
}

static char *write_hex(char *to, const uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        *to++ = "0123456789abcdef"[bytes[i] >> 4];
        *to++ = "0123456789abcdef"[bytes[i] & 15];
    }
    return to;
}

void trace_context_format(const struct trace_context *context, char to[TRACE_PARENT_BYTES]) {
    memcpy(to, "00-", 3);
    to = write_hex(to + 3, context->trace_id, TRACE_ID_BYTES);
    *to++ = '-';
    to = write_hex(to, context->span_id, TRACE_SPAN_ID_BYTES);
    memcpy(to, context->sampled ? "-01" : "-00", 3);
}

/* Letters are lower case; `tenant@system` has one @. */
static bool is_key(struct slice key) {
    unsigned ats = 0;
    if (key.len == 0 || key.len > KEY_MAX)
        return false;
    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        ats += c == '@';
        if (!plain && (i == 0 || c == '\0' || !strchr("_-*/@", c)))
            return false;
    }
    return ats <= 1 && key.ptr[key.len - 1] != '@';
}

static bool is_value(struct slice value) {
    if (value.len == 0 || value.len > VALUE_MAX || value.ptr[value.len - 1] == ' ')
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < 0x20 || value.ptr[i] > 0x7E || value.ptr[i] == '=')
            return false;
    return true;
}

static struct slice trim(struct slice text) {
    while (text.len && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text = slice_make(text.ptr + 1, text.len - 1);
    while (text.len && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Keeps the key of a member and looks whether it was there before. */
static bool is_new_key(struct slice *keys, unsigned count, struct slice key) {
    for (unsigned i = 0; i < count; i++)
        if (slice_equal(keys[i], key))
            return false;
    keys[count] = key;
    return true;
}

bool trace_state_is_valid(struct slice text) {
    struct slice keys[STATE_MEMBERS_MAX];
    unsigned count = 0;
    if (text.len == 0 || text.len > TRACE_STATE_MAX)
        return false;
    for (;;) {
        const char *comma = memchr(text.ptr, ',', text.len);
        struct slice member = slice_make(text.ptr, comma ? (size_t)(comma - text.ptr) : text.len);
        struct slice trimmed = trim(member);
        const char *equals = trimmed.len ? memchr(trimmed.ptr, '=', trimmed.len) : NULL;
        if (trimmed.len) { /* an empty member is none */
            if (!equals || count == STATE_MEMBERS_MAX)
                return false;
            struct slice key = slice_make(trimmed.ptr, (size_t)(equals - trimmed.ptr));
            struct slice value = slice_make(equals + 1, trimmed.len - key.len - 1);
            if (!is_key(key) || !is_value(value) || !is_new_key(keys, count, key))
                return false;
            count++;
        }
        if (!comma)
            return count > 0;
        text = slice_make(comma + 1, text.len - member.len - 1);
        if (text.len == 0)
            return count > 0;
    }
}
