/* SPDX-License-Identifier: MIT */
/* Inside the tracer: its thread, which makes batches of spans and sends them. */
#ifndef HATI_TRACE_EXPORT_H
#define HATI_TRACE_EXPORT_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "trace/post.h"
#include "trace/ring.h"
#include "trace/tracer.h"

#define TRACE_BODY_BYTES_MAX (4U << 20)

struct tracer {
    struct trace_ring ring;
    struct trace_post *post;
    pthread_t thread;
    sem_t news; /* a batch is there, or the end comes */
    int64_t interval_ms;
    uint64_t sample_below;          /* of 2^53 */
    _Atomic int64_t wall_offset_ns; /* wall clock - steady clock */
    _Atomic int64_t end_ms;         /* steady clock; INT64_MAX: none yet */
    _Atomic uint64_t taken;         /* spans off the ring */
    _Atomic uint64_t exported, refused, dropped_away;
    struct buf prologue, body;
    long last_status; /* what the log knows; of the thread alone */
};

/* The thread. */
void *trace_export_run(void *tracer);
/* The wall clock may be set while we run. */
void trace_set_wall_offset(struct tracer *tracer);
/* How many spans a collector says it did not take, of an answer with status 200. */
uint64_t trace_rejected(struct slice answer);
/* Whether what was answered so may be sent again (OTLP: 429, 502, 503, 504; 0: not answered). */
bool trace_may_retry(long status);

#endif
