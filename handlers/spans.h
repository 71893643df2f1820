/* SPDX-License-Identifier: MIT */
/* Calls and messages as spans, and the trace that goes with a message in its headers. Names and
 * attributes follow OpenTelemetry's semantic conventions; docs/traces.md lists them. */
#ifndef HATI_HANDLERS_SPANS_H
#define HATI_HANDLERS_SPANS_H

#include "handlers/call.h"

/* Begins call->span, of a bound call: below `above` (NULL: none), else below the trace that a
 * message it publishes has in its headers. now_ns: steady clock. Its thread. */
void spans_begin_call(struct call *call, const struct trace_span *above, int64_t now_ns);
/* Ends it, once, though the call may still be under way: a record with what all doors tell of a
 * call, put by trace_put; NULL: none. */
struct trace_record *spans_end_call(const struct call *call, enum err err, int64_t now_ns);
/* Tells a failure, or none: error.type, and the status where the server is to blame. */
void spans_add_error(struct trace_record *record, enum err err);

/* The call may be parked from here on: call->parked_ns, where it is recorded. */
void spans_may_park(struct call *call);
/* What was parked goes on: a span of the time, below call->span. */
void spans_add_parked(const struct trace_span *span, const struct op *op, int64_t from_ns,
                      int64_t to_ns);

/* Before the messages of a call are published: begins call->publish, and gives messages its trace
 * that bring none and have room. Once per call, however often it is tried. */
void spans_begin_publish(struct call *call);
/* They are published, or were not (call->err). id: of a message that is alone. Any thread. */
void spans_end_publish(struct call *call, struct slice id);

/* Messages are about to be handed to a consumer: a span, linked to those that published them.
 * above: of who asked for them, or NULL. Any thread. */
void spans_delivered(const struct core *core, const struct trace_span *above, struct slice queue,
                     const struct broker_receive *receive);

#endif
