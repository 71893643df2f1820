/* SPDX-License-Identifier: MIT */
/* Spans: begun and ended by any thread in a few instructions, exported by a thread of its own as
 * OTLP over HTTP with JSON (opentelemetry.io/docs/specs/otlp). Nothing ever waits for a collector:
 * what it is too slow for is dropped, and counted.
 *
 *   begin ──> end: a record of the ring ──> put ··ring··> batch ──> POST ──> done
 *                     └─ full: dropped                               ├─ 429, 502-504, away: again
 *                                                                    └─ refused, too late: dropped
 */
#ifndef HATI_TRACE_TRACER_H
#define HATI_TRACE_TRACER_H

#include "base/err.h"
#include "trace/pairs.h"
#include "trace/record.h"

#define TRACE_RING_SPANS 8192U
#define TRACE_BATCH_SPANS 512U

struct tracer;

struct trace_options {
    const char *endpoint;                 /* http://host:4318 */
    const char *service;                  /* service.name */
    const char *version;                  /* service.version */
    const char *ca_file;                  /* NULL: the system's */
    int64_t interval_ms;                  /* a batch that is not full is sent after it */
    double sample;                        /* 0 to 1: of requests that come without a trace */
    const struct trace_pairs *headers;    /* of each POST; NULL: none; copied */
    const struct trace_pairs *attributes; /* of the resource, beside our own; NULL: none; copied */
};

/* Starts the thread. One line in ret_why on failure. */
enum err trace_open(const struct trace_options *options, struct tracer **ret_tracer, char *ret_why,
                    size_t why_bytes) MUST_USE;
/* Sends what is there, for up to flush_ms, and ends the thread. No span may be put any more. NULL
 * is fine. Blocks. */
void trace_close(struct tracer *tracer, int64_t flush_ms);

struct trace_figures {
    uint64_t exported, refused, dropped_full, dropped_away; /* spans so far */
    uint64_t waiting;                                       /* in the ring, about */
};
/* Any thread. */
void trace_figures(struct tracer *tracer, struct trace_figures *ret_figures);

/* Something that takes time. It stands in its owner's memory and owns nothing. */
struct trace_span {
    struct tracer *tracer;        /* NULL: not recorded */
    struct trace_context context; /* what work below it belongs to: its own, or where it is not
                                     recorded that of its parent; not valid: none */
    struct trace_context parent;  /* not valid: a root */
    bool parent_is_remote;
    int64_t start_ns; /* steady clock */
};

/* None: nothing is recorded, nothing is passed on. */
static inline void trace_span_clear(struct trace_span *span) {
    span->tracer = NULL;
    span->context.valid = false;
}

/* Begins a span below a context that came from outside (not valid, or NULL: none did). Without a
 * tracer nothing is recorded, but the context is passed on. Who came with a context has decided
 * about recording; else the tracer's share of requests is. now_ns: steady clock. Any thread. */
void trace_span_begin(struct trace_span *span, struct tracer *tracer,
                      const struct trace_context *parent, int64_t now_ns);
/* Begins one below another of this process: recorded where that one is. */
void trace_span_begin_child(struct trace_span *span, const struct trace_span *parent,
                            int64_t now_ns);
/* Ends it, once: a record to add attributes to, put by trace_put; NULL: not recorded, or there is
 * no room. name: what is done, of few values. Any thread. */
struct trace_record *trace_span_end(const struct trace_span *span, enum trace_kind kind,
                                    struct slice name, int64_t now_ns);
/* NULL is fine. */
void trace_put(struct tracer *tracer, struct trace_record *record);

#endif
