/* SPDX-License-Identifier: MIT */
#include "server/rest_condition.h"

#define DIGITS (2 * HASH_MD5_BYTES)

static int digit_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static struct slice trim(struct slice text) {
    while (text.len && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text = slice_make(text.ptr + 1, text.len - 1);
    while (text.len && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

static bool is_md5(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (digit_of(text.ptr[i]) < 0)
            return false;
    return text.len == DIGITS;
}

/* One member of the list, without its quotes; false where it is malformed. */
static bool read_etag(struct slice member, bool *ret_weak, struct slice *ret_etag) {
    *ret_weak = slice_starts_with(member, SLICE("W/"));
    if (*ret_weak)
        member = slice_make(member.ptr + 2, member.len - 2);
    bool quoted = member.len >= 2 && member.ptr[0] == '"' && member.ptr[member.len - 1] == '"';
    if (quoted)
        member = slice_make(member.ptr + 1, member.len - 2);
    *ret_etag = member;
    return (quoted || !*ret_weak) && is_md5(member);
}

void rest_condition_parse(struct slice header, bool weak, struct rest_condition *ret_condition) {
    struct rest_condition *to = ret_condition;
    struct slice left = trim(header);
    to->kind = slice_equal(left, SLICE("*")) ? CONDITION_ANY : CONDITION_LIST;
    to->count = 0;
    if (left.len == 0)
        to->kind = CONDITION_BAD;
    while (to->kind == CONDITION_LIST) {
        const char *comma = left.len ? memchr(left.ptr, ',', left.len) : NULL;
        size_t len = comma ? (size_t)(comma - left.ptr) : left.len;
        struct slice etag;
        bool is_weak;
        bool sound =
            read_etag(trim(slice_make(left.ptr, len)), &is_weak, &etag) && to->count < OP_ETAGS_MAX;
        if (sound && (weak || !is_weak))
            to->etags[to->count++] = etag;
        else if (!sound && !weak)
            to->kind = CONDITION_BAD;
        if (!comma)
            break;
        left = slice_make(comma + 1, left.len - len - 1);
    }
}

static bool equals(struct slice digits, const uint8_t etag[HASH_MD5_BYTES]) {
    for (unsigned i = 0; i < HASH_MD5_BYTES; i++)
        if ((digit_of(digits.ptr[2 * i]) << 4 | digit_of(digits.ptr[2 * i + 1])) != etag[i])
            return false;
    return true;
}

bool rest_condition_holds(const struct rest_condition *condition,
                          const uint8_t etag[HASH_MD5_BYTES]) {
    if (condition->kind == CONDITION_ANY)
        return true;
    for (unsigned i = 0; condition->kind == CONDITION_LIST && i < condition->count; i++)
        if (equals(condition->etags[i], etag))
            return true;
    return false;
}
