/* SPDX-License-Identifier: MIT */
#include "server/rest_range.h"

#include <stdio.h>

/* Digits alone; what is past 2^64 is as good as the end. False where there is something else. */
static bool parse_position(struct slice text, uint64_t *ret_position) {
    uint64_t position = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        if (__builtin_mul_overflow(position, 10, &position) ||
            __builtin_add_overflow(position, (uint64_t)(text.ptr[i] - '0'), &position))
            position = UINT64_MAX / 16; /* stays past the end of any value */
    }
    *ret_position = position;
    return text.len > 0;
}

static enum rest_range from_end(uint64_t length, uint64_t size, uint64_t *ret_first,
                                uint64_t *ret_len) {
    if (length == 0 || size == 0)
        return RANGE_NOWHERE;
    *ret_len = length < size ? length : size;
    *ret_first = size - *ret_len;
    return RANGE_PART;
}

enum rest_range rest_range_parse(struct slice range, uint64_t size, uint64_t *ret_first,
                                 uint64_t *ret_len) {
    struct slice unit = SLICE("bytes=");
    uint64_t first, last = UINT64_MAX;
    if (range.len <= unit.len || !slice_equal_nocase(slice_make(range.ptr, unit.len), unit))
        return RANGE_WHOLE;
    struct slice rest = slice_make(range.ptr + unit.len, range.len - unit.len);
    const char *dash = memchr(rest.ptr, '-', rest.len);
    if (!dash)
        return RANGE_WHOLE;
    struct slice from = slice_make(rest.ptr, (size_t)(dash - rest.ptr));
    struct slice to = slice_make(dash + 1, rest.len - from.len - 1);
    if (from.len == 0)
        return parse_position(to, &last) ? from_end(last, size, ret_first, ret_len) : RANGE_WHOLE;
    if (!parse_position(from, &first) || (to.len && !parse_position(to, &last)) || last < first)
        return RANGE_WHOLE;
    if (first >= size)
        return RANGE_NOWHERE;
    if (last >= size)
        last = size - 1;
    *ret_first = first;
    *ret_len = last - first + 1;
    return RANGE_PART;
}

bool rest_range_if(struct slice if_range, const uint8_t etag[HASH_MD5_BYTES]) {
    char quoted[2 * HASH_MD5_BYTES + 3] = "\"";
    if (!if_range.ptr)
        return true;
    for (unsigned i = 0; i < HASH_MD5_BYTES; i++)
        snprintf(quoted + 1 + (size_t)2 * i, 3, "%02x", etag[i]);
    quoted[2 * HASH_MD5_BYTES + 1] = '"';
    return slice_equal(if_range, slice_make(quoted, sizeof quoted - 1));
}
