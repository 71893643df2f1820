/* SPDX-License-Identifier: MIT */
#include "peers/olivia_filter.h"

#include "base/bytes.h"
#include "base/text.h"
#include "peers/hash.h"

#define HEAD_BYTES 8U
#define FILTER_BYTES (HEAD_BYTES + OLIVIA_FILTER_WORDS * 8U)
#define DIGITS ((FILTER_BYTES * 8U + 5U) / 6U) /* of the base64, without its padding */
#define PADDING 3U                             /* bits of the last digit that stand for nothing */

void olivia_filter_places(struct slice key, uint32_t ret_places[OLIVIA_FILTER_PLACES]) {
    ret_places[0] = peers_hash_fnv1(key) % OLIVIA_FILTER_BITS;
    ret_places[1] = peers_hash_murmur3(key) % OLIVIA_FILTER_BITS;
    ret_places[2] = peers_hash_jenkins(key) % OLIVIA_FILTER_BITS;
}

void olivia_filter_add(struct olivia_filter *filter, struct slice key) {
    uint32_t places[OLIVIA_FILTER_PLACES];
    olivia_filter_places(key, places);
    for (unsigned i = 0; i < OLIVIA_FILTER_PLACES; i++)
        filter->words[places[i] / 64] |= 1ULL << places[i] % 64;
}

bool olivia_filter_has(const struct olivia_filter *filter, struct slice key) {
    uint32_t places[OLIVIA_FILTER_PLACES];
    olivia_filter_places(key, places);
    for (unsigned i = 0; i < OLIVIA_FILTER_PLACES; i++)
        if (!(filter->words[places[i] / 64] >> places[i] % 64 & 1))
            return false;
    return true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The digits 0 to 9 stand for 52 (110100) to 61 (111101): with the four bits between the first and
 * the last set, such a sextet is 62 or 63, and has no fewer bits more than it must. */
static char widened(char digit) {
    if (!is_digit(digit))
        return digit;
    return (digit - '0') % 2 ? '_' : '-';
}

bool olivia_filter_append(struct buf *to, const struct olivia_filter *filter) {
    char bytes[FILTER_BYTES];
    put_be64(bytes, OLIVIA_FILTER_BITS);
    for (unsigned i = 0; i < OLIVIA_FILTER_WORDS; i++)
        put_be64(bytes + HEAD_BYTES + i * 8, filter->words[i]);
    size_t start = to->len;
    if (!text_append_base64url(to, slice_make(bytes, sizeof bytes)))
        return false;
    to->len = start; /* no run is shorter than its text, which is written over those behind it */
    for (size_t i = start, run; i < start + DIGITS; i += run) {
        char digit = widened(to->ptr[i]);
        for (run = 1; i + run < start + DIGITS && widened(to->ptr[i + run]) == digit; run++)
            ;
        buf_append_char(to, digit);
        if (run > 1)
            buf_append_u64(to, run);
    }
    return true;
}

/* Takes a count off the text; 1 where there is none, more than DIGITS where it is too many. */
static size_t take_count(struct slice text, size_t *at) {
    size_t count = 0;
    if (*at == text.len || !is_digit(text.ptr[*at]))
        return 1;
    for (; *at < text.len && is_digit(text.ptr[*at]); (*at)++)
        if (count <= DIGITS)
            count = count * 10 + (size_t)(text.ptr[*at] - '0');
    return count;
}

static bool expand(struct slice text, char *digits) {
    size_t len = 0;
    for (size_t at = 0; at < text.len;) {
        char digit = text.ptr[at++];
        size_t count = take_count(text, &at);
        if (is_digit(digit) || count == 0 || count > DIGITS - len)
            return false;
        memset(digits + len, digit, count);
        len += count;
    }
    return len == DIGITS;
}

/* The last digit has bits behind the last byte: set by those who widen, refused by strict decoders.
 */
static bool clear_padding(char *digit) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *found = memchr(digits, *digit, sizeof digits - 1);
    if (!found)
        return false;
    *digit = digits[(size_t)(found - digits) & ~PADDING & 63U];
    return true;
}

bool olivia_filter_parse(struct slice text, struct olivia_filter *ret_filter) {
    char digits[DIGITS], bytes[FILTER_BYTES];
    size_t len;
    if (!expand(text, digits) || !clear_padding(&digits[DIGITS - 1]) ||
        !text_base64url_decode(slice_make(digits, DIGITS), bytes, &len) ||
        get_be64(bytes) != OLIVIA_FILTER_BITS)
        return false;
    for (unsigned i = 0; i < OLIVIA_FILTER_WORDS; i++)
        ret_filter->words[i] = get_be64(bytes + HEAD_BYTES + i * 8);
    ret_filter->words[OLIVIA_FILTER_WORDS - 1] &= (1ULL << OLIVIA_FILTER_BITS % 64) - 1;
    return true;
}
