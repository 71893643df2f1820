/* SPDX-License-Identifier: MIT */
/* W3C Trace Context (www.w3.org/TR/trace-context): which trace a request belongs to, as the headers
 * traceparent and tracestate say it. */
#ifndef HATI_TRACE_CONTEXT_H
#define HATI_TRACE_CONTEXT_H

#include "base/slice.h"

#define TRACE_ID_BYTES 16
#define TRACE_SPAN_ID_BYTES 8
#define TRACE_PARENT_BYTES 55 /* of a traceparent as it is written here */
#define TRACE_STATE_MAX 512   /* bytes of a tracestate that is passed on */

/* A place in a trace. All zeros is none. */
struct trace_context {
    bool valid;
    bool sampled; /* who is behind it records */
    uint8_t trace_id[TRACE_ID_BYTES];
    uint8_t span_id[TRACE_SPAN_ID_BYTES];
};

/* Reads a traceparent: version 00 exactly, later ones as far as they are known. False, ret
 * untouched, where it is none. Any thread. */
bool trace_context_parse(struct slice text, struct trace_context *ret_context);
/* Writes it as version 00, without a NUL. */
void trace_context_format(const struct trace_context *context, char to[TRACE_PARENT_BYTES]);
/* Whether the text is a tracestate: up to 32 members, no key twice, TRACE_STATE_MAX bytes. */
bool trace_state_is_valid(struct slice text);

#endif
