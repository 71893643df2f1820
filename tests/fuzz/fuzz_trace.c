/* SPDX-License-Identifier: MIT */
/* What callers say of traces: a traceparent that is believed is written again as it came, headers
 * of messages are walked through to their end and no further, settings are read or refused. */
#include <stdlib.h>

#include "handlers/headers.h"
#include "trace/context.h"
#include "trace/pairs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds)
        abort();
}

static void fuzz_context(struct slice text) {
    struct trace_context context, again;
    char written[TRACE_PARENT_BYTES];
    if (!trace_context_parse(text, &context))
        return;
    trace_context_format(&context, written);
    check(memcmp(written + 2, text.ptr + 2, 51) == 0); /* all but version and flags */
    check(trace_context_parse(slice_make(written, sizeof written), &again));
    check(again.sampled == context.sampled);
}

static void fuzz_headers(struct slice json) {
    struct slice member;
    struct slice text = SLICE("");
    size_t last = 0;
    for (size_t at = 1; headers_next(json, &at, &member); last = at) {
        check(at > last);
        check(member.ptr >= json.ptr && member.ptr + member.len <= json.ptr + json.len);
    }
    if (headers_find(json, SLICE("traceparent"), &text) && text.len)
        check(text.ptr >= json.ptr && text.ptr + text.len <= json.ptr + json.len);
}

static void fuzz_pairs(const char *text) {
    struct trace_pairs pairs = {0};
    if (!trace_pairs_add_list(&pairs, text))
        (void)trace_pairs_check_headers(&pairs);
    trace_pairs_done(&pairs);
    if (!trace_pairs_add_lines(&pairs, text))
        (void)trace_pairs_check_headers(&pairs);
    trace_pairs_done(&pairs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *bytes = malloc(size + 1); /* of its own size: what reads past it is seen */
    check(bytes != NULL);
    memcpy(bytes, data, size);
    bytes[size] = '\0';
    struct slice text = slice_make(bytes, size);
    fuzz_context(text);
    fuzz_headers(text);
    if (trace_state_is_valid(text))
        check(size <= TRACE_STATE_MAX);
    fuzz_pairs(bytes);
    free(bytes);
    return 0;
}
