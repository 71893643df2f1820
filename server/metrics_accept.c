/* SPDX-License-Identifier: MIT */
/* Which of the page's formats a scraper rather wants (RFC 9110 section 12.5.1). */

#include "server/metrics_page.h"

#define QUALITY_MAX 1000 /* a q of 1 */

static struct slice trim(struct slice text) {
    while (text.len && (*text.ptr == ' ' || *text.ptr == '\t'))
        text = slice_make(text.ptr + 1, text.len - 1);
    while (text.len && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Takes what stands before the next `end` off the text. */
static struct slice take_until(struct slice *text, char end) {
    const char *at = text->len ? memchr(text->ptr, end, text->len) : NULL;
    struct slice part = slice_make(text->ptr, at ? (size_t)(at - text->ptr) : text->len);
    size_t used = part.len + (at ? 1 : 0);
    *text = slice_make(text->ptr + used, text->len - used);
    return trim(part);
}

/* 0 to 1000 of "0.5"; what is no weight is 0. */
static int parse_quality(struct slice text) {
    static const int steps[] = {QUALITY_MAX, 0, 100, 10, 1};
    int quality = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (i >= sizeof steps / sizeof steps[0] || (i == 1 ? c != '.' : c < '0' || c > '9'))
            return 0;
        quality += i == 1 ? 0 : (c - '0') * steps[i];
    }
    return quality > QUALITY_MAX ? 0 : quality;
}

struct range {
    struct slice type;
    struct slice version; /* empty: none is named */
    int quality;
};

static struct range parse_range(struct slice text) {
    struct range range = {.type = take_until(&text, ';'), .quality = QUALITY_MAX};
    while (text.len) {
        struct slice value = take_until(&text, ';');
        struct slice name = take_until(&value, '=');
        if (slice_equal_nocase(name, SLICE("q")))
            range.quality = parse_quality(value);
        else if (slice_equal_nocase(name, SLICE("version")))
            range.version = value;
    }
    return range;
}

static bool is_plain(struct slice type) {
    return slice_equal_nocase(type, SLICE("text/plain")) || slice_equal(type, SLICE("text/*")) ||
           slice_equal(type, SLICE("*/*"));
}

bool metrics_wants_openmetrics(struct slice accept) {
    int plain = 0;
    int openmetrics = 0;
    while (accept.len) {
        struct slice part = take_until(&accept, ',');
        struct range range = parse_range(part);
        int *best = is_plain(range.type) ? &plain : NULL;
        if (slice_equal_nocase(range.type, SLICE("application/openmetrics-text")) &&
            (range.version.len == 0 || slice_equal(range.version, SLICE("1.0.0"))))
            best = &openmetrics;
        if (best && range.quality > *best)
            *best = range.quality;
    }
    return openmetrics > 0 && openmetrics >= plain;
}
