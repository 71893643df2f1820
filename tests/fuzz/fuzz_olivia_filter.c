/* SPDX-License-Identifier: MIT */
/* Whatever a peer sends as its filter: refused and nothing touched, or read; and what was read is
 * told again with no bit lost and no digit but counts. */
#include <stdlib.h>

#include "peers/olivia_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

/* No character stands beside its like, but as a run: so that every digit is part of a count. */
static void check_runs(struct slice text) {
    char last = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] >= '0' && text.ptr[i] <= '9')
            continue;
        check(text.ptr[i] != last);
        last = text.ptr[i];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct olivia_filter filter, untouched, again, third;
    memset(&filter, 0x5A, sizeof filter);
    untouched = filter;
    if (!olivia_filter_parse(slice_make(data, size), &filter)) {
        check(memcmp(&filter, &untouched, sizeof filter) == 0);
        return 0;
    }
    struct buf text;
    buf_init(&text, 4096);
    check(olivia_filter_append(&text, &filter));
    check_runs(buf_slice(&text));
    check(olivia_filter_parse(buf_slice(&text), &again));
    for (unsigned i = 0; i < OLIVIA_FILTER_WORDS; i++)
        check((filter.words[i] & ~again.words[i]) == 0);
    buf_clear(&text);
    check(olivia_filter_append(&text, &again));
    check(olivia_filter_parse(buf_slice(&text), &third));
    check(memcmp(&again, &third, sizeof again) == 0); /* what was widened is wide enough */
    buf_done(&text);
    return 0;
}
