/* SPDX-License-Identifier: MIT */
#include "trace/tracer.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/text.h"
#include "trace/export.h"

#define RESOURCE_BYTES_MAX 65536U

/* ---- random numbers: xoroshiro128++ (prng.di.unimi.it), of each thread ---- */

static _Thread_local uint64_t dice[2];

static uint64_t turn_left(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

static uint64_t next_random(void) {
    while (!(dice[0] | dice[1]))
        hash_random(dice, sizeof dice);
    uint64_t a = dice[0];
    uint64_t b = dice[1];
    uint64_t result = turn_left(a + b, 17) + a;
    b ^= a;
    dice[0] = turn_left(a, 49) ^ b ^ b << 21;
    dice[1] = turn_left(b, 28);
    return result;
}

static void make_id(uint8_t *to, size_t bytes) {
    for (size_t at = 0; at < bytes; at += sizeof(uint64_t)) {
        uint64_t number = next_random();
        number += number == 0; /* an id of zeros is none */
        memcpy(to + at, &number, sizeof number);
    }
}

/* ---- spans ---- */

static void clear_context(struct trace_context *context) {
    *context = (struct trace_context){.valid = false};
}

static void record_it(struct trace_span *span, struct tracer *tracer) {
    span->tracer = tracer;
    span->context.valid = span->context.sampled = true;
    make_id(span->context.span_id, TRACE_SPAN_ID_BYTES);
}

void trace_span_begin(struct trace_span *span, struct tracer *tracer,
                      const struct trace_context *parent, int64_t now_ns) {
    span->tracer = NULL;
    span->start_ns = now_ns;
    if (parent && parent->valid) {
        span->context = span->parent = *parent;
        span->parent_is_remote = true;
        if (tracer && parent->sampled)
            record_it(span, tracer);
        return;
    }
    clear_context(&span->context);
    clear_context(&span->parent);
    span->parent_is_remote = false;
    if (!tracer || next_random() >> 11 >= tracer->sample_below)
        return;
    make_id(span->context.trace_id, TRACE_ID_BYTES);
    record_it(span, tracer);
}

void trace_span_begin_child(struct trace_span *span, const struct trace_span *parent,
                            int64_t now_ns) {
    span->tracer = NULL;
    span->start_ns = now_ns;
    span->context = span->parent = parent->context;
    span->parent_is_remote = false;
    if (parent->tracer)
        record_it(span, parent->tracer);
}

/* The exporter is told each time another batch is there. */
struct trace_record *trace_span_end(const struct trace_span *span, enum trace_kind kind,
                                    struct slice name, int64_t now_ns) {
    struct tracer *tracer = span->tracer;
    if (!tracer)
        return NULL;
    struct trace_record *record = trace_ring_claim(&tracer->ring);
    if (!record)
        return NULL;
    int64_t wall_ns = atomic_load_explicit(&tracer->wall_offset_ns, memory_order_relaxed);
    record->context = span->context;
    record->parent = span->parent;
    record->parent_is_remote = span->parent_is_remote;
    record->kind = kind;
    record->start_ns = span->start_ns + wall_ns;
    record->end_ns = (now_ns > span->start_ns ? now_ns : span->start_ns) + wall_ns;
    trace_record_name(record, name);
    return record;
}

void trace_put(struct tracer *tracer, struct trace_record *record) {
    if (!record)
        return;
    bool tell = (record->place + 1) % TRACE_BATCH_SPANS == 0;
    trace_ring_put(&tracer->ring, record);
    if (tell)
        sem_post(&tracer->news);
}

/* ---- the tracer ---- */

static void append_number(struct buf *to, const char *key, int64_t number) {
    buf_printf(to, ",{\"key\":\"%s\",\"value\":{\"intValue\":\"%lld\"}}", key, (long long)number);
}

static void append_text(struct buf *to, const char *key, const char *text) {
    buf_append_char(to, ',');
    trace_append_attribute(to, slice_of_cstr(key), slice_of_cstr(text));
}

static void append_instance(struct buf *to) {
    struct uuid uuid;
    char text[37] = "";
    hash_random(uuid.bytes, sizeof uuid.bytes);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0F) | 0x40);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3F) | 0x80);
    text_uuid_format(&uuid, text);
    append_text(to, "service.instance.id", text);
}

/* What we say of ourselves is not said again. */
static bool is_own(const char *name) {
    static const char *const own[] = {
        "service.name", "service.version",    "service.instance.id",    "host.name",
        "process.pid",  "telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version"};
    for (unsigned i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcmp(name, own[i]) == 0)
            return true;
    return false;
}

/* All of a body before its first span: it is the same in each. */
static bool make_prologue(struct buf *to, const struct trace_options *options) {
    char host[256] = "";
    buf_init(to, RESOURCE_BYTES_MAX);
    buf_append(to, SLICE("{\"resourceSpans\":[{\"resource\":{\"attributes\":["));
    trace_append_attribute(to, SLICE("service.name"), slice_of_cstr(options->service));
    append_text(to, "service.version", options->version);
    append_instance(to);
    if (gethostname(host, sizeof host - 1) == 0 && host[0])
        append_text(to, "host.name", host);
    append_number(to, "process.pid", (int64_t)getpid());
    append_text(to, "telemetry.sdk.name", "hati");
    append_text(to, "telemetry.sdk.language", "c");
    append_text(to, "telemetry.sdk.version", options->version);
    for (unsigned i = 0; options->attributes && i < options->attributes->count; i++) {
        const struct trace_pair *pair = &options->attributes->list[i];
        if (!is_own(pair->name))
            append_text(to, pair->name, pair->value);
    }
    buf_append(to, SLICE("]},\"scopeSpans\":[{\"scope\":{\"name\":\"hati\",\"version\":"));
    text_append_json(to, slice_of_cstr(options->version));
    buf_append(to, SLICE("},\"spans\":["));
    return !to->failed;
}

static void free_tracer(struct tracer *tracer) {
    trace_post_close(tracer->post);
    trace_ring_done(&tracer->ring);
    buf_done(&tracer->prologue);
    buf_done(&tracer->body);
    sem_destroy(&tracer->news);
    free(tracer);
}

static bool init(struct tracer *tracer, const struct trace_options *options) {
    sem_init(&tracer->news, 0, 0);
    buf_init(&tracer->body, TRACE_BODY_BYTES_MAX);
    tracer->interval_ms = options->interval_ms;
    tracer->sample_below = (uint64_t)(options->sample * (double)(1ULL << 53));
    atomic_init(&tracer->end_ms, INT64_MAX);
    trace_set_wall_offset(tracer);
    return make_prologue(&tracer->prologue, options) &&
           trace_ring_init(&tracer->ring, TRACE_RING_SPANS);
}

enum err trace_open(const struct trace_options *options, struct tracer **ret_tracer, char *ret_why,
                    size_t why_bytes) {
    struct trace_post_options where = {
        .endpoint = options->endpoint, .headers = options->headers, .ca_file = options->ca_file};
    struct tracer *tracer = calloc(1, sizeof *tracer);
    enum err err = ERR_OUT_OF_MEMORY;
    snprintf(ret_why, why_bytes, "otlp: no memory or no thread for spans");
    if (!tracer)
        return err;
    if (init(tracer, options))
        err = trace_post_open(&where, &tracer->post, ret_why, why_bytes);
    if (!err && pthread_create(&tracer->thread, NULL, trace_export_run, tracer))
        err = ERR_OUT_OF_MEMORY;
    if (err) {
        free_tracer(tracer);
        return err;
    }
    *ret_tracer = tracer;
    return OK;
}

void trace_close(struct tracer *tracer, int64_t flush_ms) {
    if (!tracer)
        return;
    int64_t end_ms = clock_steady_ms() + flush_ms;
    atomic_store(&tracer->end_ms, end_ms);
    trace_post_end_at(tracer->post, end_ms);
    sem_post(&tracer->news);
    pthread_join(tracer->thread, NULL);
    free_tracer(tracer);
}

void trace_figures(struct tracer *tracer, struct trace_figures *ret_figures) {
    uint64_t head = atomic_load_explicit(&tracer->ring.head, memory_order_relaxed);
    uint64_t taken = atomic_load_explicit(&tracer->taken, memory_order_relaxed);
    *ret_figures = (struct trace_figures){
        .exported = atomic_load_explicit(&tracer->exported, memory_order_relaxed),
        .refused = atomic_load_explicit(&tracer->refused, memory_order_relaxed),
        .dropped_full = atomic_load_explicit(&tracer->ring.dropped, memory_order_relaxed),
        .dropped_away = atomic_load_explicit(&tracer->dropped_away, memory_order_relaxed),
        .waiting = head > taken ? head - taken : 0,
    };
}
