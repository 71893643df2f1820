/* SPDX-License-Identifier: MIT */
#include "trace/export.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/json_load.h"
#include "base/log.h"

#define ANSWER_BYTES_MAX 65536U
#define TIMEOUT_MS 10000
#define PATIENCE_MS 60000 /* with one batch */
#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 10000
#define STATUS_FINE 200

void trace_set_wall_offset(struct tracer *tracer) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    atomic_store_explicit(&tracer->wall_offset_ns,
                          (int64_t)wall.tv_sec * 1000000000 + wall.tv_nsec - clock_steady_ns(),
                          memory_order_relaxed);
}

uint64_t trace_rejected(struct slice answer) {
    json_error_t error;
    json_t *root = answer.len ? json_load_slice(answer, 0, &error) : NULL;
    const json_t *count = json_object_get(json_object_get(root, "partialSuccess"), "rejectedSpans");
    int64_t rejected = json_integer_value(count);
    if (json_is_string(count) &&
        !slice_parse_i64(slice_of_cstr(json_string_value(count)), &rejected))
        rejected = 0;
    json_decref(root);
    return rejected > 0 ? (uint64_t)rejected : 0;
}

bool trace_may_retry(long status) {
    return status == 0 || status == 429 || (status >= 502 && status <= 504);
}

/* ---- waiting ---- */

static bool is_ending(const struct tracer *tracer) {
    return atomic_load(&tracer->end_ms) != INT64_MAX;
}

static int64_t left_ms(const struct tracer *tracer) {
    return atomic_load(&tracer->end_ms) - clock_steady_ms();
}

/* For so long, or until something is posted. The clock that tests move is not waited on. */
static void wait_news(struct tracer *tracer, int64_t timeout_ms) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t until_ns = (int64_t)at.tv_nsec + timeout_ms % 1000 * 1000000;
    at.tv_sec += (time_t)(timeout_ms / 1000 + until_ns / 1000000000);
    at.tv_nsec = (long)(until_ns % 1000000000);
    while (sem_clockwait(&tracer->news, CLOCK_MONOTONIC, &at) == -1 && errno == EINTR)
        continue;
}

/* The same whatever is posted, unless the end comes. */
static void pause_for(struct tracer *tracer, int64_t pause_ms) {
    int64_t until_ms = clock_steady_ms() + pause_ms;
    for (int64_t left = pause_ms; left > 0 && !is_ending(tracer);
         left = until_ms - clock_steady_ms())
        wait_news(tracer, left);
}

/* ---- batches ---- */

/* Moves spans from the ring to the body; says how many. */
static unsigned make_batch(struct tracer *tracer) {
    struct buf *body = &tracer->body;
    unsigned count = 0;
    buf_clear(body);
    buf_append(body, buf_slice(&tracer->prologue));
    for (const struct trace_record *record = trace_ring_first(&tracer->ring);
         record && count < TRACE_BATCH_SPANS; record = trace_ring_first(&tracer->ring)) {
        if (count)
            buf_append_char(body, ',');
        trace_record_append_json(body, record);
        trace_ring_drop_first(&tracer->ring);
        count++;
    }
    buf_append(body, SLICE("]}]}]}"));
    atomic_fetch_add_explicit(&tracer->taken, count, memory_order_relaxed);
    return count;
}

static void count_sent(struct tracer *tracer, unsigned count, struct slice answer) {
    uint64_t rejected = trace_rejected(answer);
    if (rejected > count)
        rejected = count;
    atomic_fetch_add_explicit(&tracer->refused, rejected, memory_order_relaxed);
    atomic_fetch_add_explicit(&tracer->exported, count - rejected, memory_order_relaxed);
    if (tracer->last_status != STATUS_FINE)
        log_info("otlp: the collector takes spans again");
    tracer->last_status = STATUS_FINE;
}

/* A collector that stays away is one line, not one a try: words of libcurl tell times. */
static void report(struct tracer *tracer, const struct trace_answer *answer) {
    if (answer->status != tracer->last_status)
        log_warn("otlp: %s; spans that it is too late for are dropped", answer->why);
    tracer->last_status = answer->status;
}

/* ret_again_ms: when to try anew; 0: it is over with this batch. */
static void send_once(struct tracer *tracer, unsigned count, int64_t *ret_again_ms,
                      int64_t backoff_ms) {
    struct trace_answer answer = {.status = 0};
    buf_init(&answer.body, ANSWER_BYTES_MAX);
    trace_post_send(tracer->post, buf_slice(&tracer->body), TIMEOUT_MS, &answer);
    *ret_again_ms = 0;
    if (answer.status >= 200 && answer.status < 300) {
        count_sent(tracer, count, buf_slice(&answer.body));
    } else {
        report(tracer, &answer);
        if (trace_may_retry(answer.status))
            *ret_again_ms = answer.retry_after_ms ? answer.retry_after_ms : backoff_ms;
        else
            atomic_fetch_add_explicit(&tracer->refused, count, memory_order_relaxed);
    }
    buf_done(&answer.body);
}

/* Until it is there, was refused, or took too long; once at the end. */
static void send_batch(struct tracer *tracer, unsigned count) {
    int64_t give_up_ms = clock_steady_ms() + PATIENCE_MS;
    int64_t backoff_ms = BACKOFF_FIRST_MS;
    int64_t again_ms = 0;
    if (tracer->body.failed) {
        atomic_fetch_add_explicit(&tracer->refused, count, memory_order_relaxed);
        return;
    }
    for (bool last = false; !last;) {
        last = is_ending(tracer);
        send_once(tracer, count, &again_ms, backoff_ms);
        if (!again_ms)
            return;
        if (clock_steady_ms() + again_ms > give_up_ms)
            break;
        pause_for(tracer, again_ms);
        backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
    }
    atomic_fetch_add_explicit(&tracer->dropped_away, count, memory_order_relaxed);
}

void *trace_export_run(void *context) {
    struct tracer *tracer = context;
    tracer->last_status = STATUS_FINE;
    for (;;) {
        bool last = is_ending(tracer); /* read before the ring is found empty */
        trace_set_wall_offset(tracer);
        unsigned count = make_batch(tracer);
        if (count)
            send_batch(tracer, count);
        if (last && (count == 0 || left_ms(tracer) <= 0))
            break;
        if (!last && trace_ring_count(&tracer->ring) < TRACE_BATCH_SPANS)
            wait_news(tracer, tracer->interval_ms);
    }
    uint64_t left = trace_ring_count(&tracer->ring);
    if (left)
        log_warn("otlp: %llu spans were not sent before the end", (unsigned long long)left);
    return NULL;
}
