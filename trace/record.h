/* SPDX-License-Identifier: MIT */
/* A finished span as it waits to be exported, and as OTLP writes it in JSON
 * (github.com/open-telemetry/opentelemetry-proto, opentelemetry/proto/trace/v1/trace.proto). */
#ifndef HATI_TRACE_RECORD_H
#define HATI_TRACE_RECORD_H

#include "base/buf.h"
#include "trace/context.h"

#define TRACE_ATTRIBUTES_MAX 20U
#define TRACE_LINKS_MAX 16U
#define TRACE_TEXT_BYTES 480U /* of the name and of attributes' texts together */

/* Numbers of the protocol. */
enum trace_kind { TRACE_INTERNAL = 1, TRACE_SERVER = 2, TRACE_PRODUCER = 4, TRACE_CONSUMER = 5 };

struct trace_attribute {
    const char *key; /* static */
    bool is_text;
    uint16_t text_at, text_len;
    int64_t number;
};

struct trace_record {
    uint64_t place;               /* the ring's */
    struct trace_context context; /* the span's own */
    struct trace_context parent;  /* not valid: a root */
    enum trace_kind kind;
    bool parent_is_remote;
    bool failed;              /* status ERROR */
    int64_t start_ns, end_ns; /* wall clock */
    uint16_t name_at, name_len;
    uint16_t state_at, state_len; /* tracestate */
    uint16_t text_len;
    unsigned attribute_count, link_count;
    uint32_t dropped_attributes, dropped_links;
    struct trace_attribute attributes[TRACE_ATTRIBUTES_MAX];
    struct trace_context links[TRACE_LINKS_MAX];
    char text[TRACE_TEXT_BYTES];
};

/* Each adds to a record; NULL is fine and adds nothing. What does not fit is left out and told as
 * dropped; a text is cut. key: static. */
void trace_record_text(struct trace_record *record, const char *key, struct slice text);
void trace_record_number(struct trace_record *record, const char *key, int64_t number);
void trace_record_link(struct trace_record *record, const struct trace_context *context);
void trace_record_name(struct trace_record *record, struct slice name);
/* Whole or not at all. */
void trace_record_state(struct trace_record *record, struct slice state);

/* Appends the span as an object. */
bool trace_record_append_json(struct buf *to, const struct trace_record *record);
/* Appends {"key":…,"value":{"stringValue":…}}. */
bool trace_append_attribute(struct buf *to, struct slice key, struct slice text);

#endif
