/* SPDX-License-Identifier: MIT */
/* Names with values, as settings of OpenTelemetry write them: HTTP headers and attributes. */
#ifndef HATI_TRACE_PAIRS_H
#define HATI_TRACE_PAIRS_H

#include "base/slice.h"

#define TRACE_PAIRS_MAX 32U

struct trace_pairs {
    unsigned count;
    struct trace_pair {
        char *name, *value; /* NUL-ended; owned */
    } list[TRACE_PAIRS_MAX];
};

/* Adds those of a text `name=value,name=value`, values percent-encoded (as
 * OTEL_EXPORTER_OTLP_HEADERS and OTEL_RESOURCE_ATTRIBUTES have them). NULL, or what is wrong
 * (static); what was added stays. */
const char *trace_pairs_add_list(struct trace_pairs *pairs, const char *text);
/* Adds those of lines `Name: value`; lines that begin with # and empty ones are none. */
const char *trace_pairs_add_lines(struct trace_pairs *pairs, const char *text);
/* NULL where all may stand as HTTP headers, else what is wrong (static). */
const char *trace_pairs_check_headers(const struct trace_pairs *pairs);
/* Values are wiped: they may be tokens. */
void trace_pairs_done(struct trace_pairs *pairs);

#endif
