/* SPDX-License-Identifier: MIT */
#include "base/slice.h"

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool slice_equal_nocase(struct slice a, struct slice b) {
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

bool slice_parse_i64(struct slice s, int64_t *ret_value) {
    bool negative = s.len > 0 && s.ptr[0] == '-';
    size_t i = negative ? 1 : 0;
    if (s.len == i || s.len - i > 19 || (s.ptr[i] == '0' && (s.len - i > 1 || negative)))
        return false;
    uint64_t magnitude = 0;
    for (; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        magnitude = magnitude * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1U : 0U))
        return false;
    *ret_value = (int64_t)(negative ? 0U - magnitude : magnitude);
    return true;
}
