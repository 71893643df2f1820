/* SPDX-License-Identifier: MIT */
#include "server/line_count.h"

#include "base/clock.h"
#include "handlers/spans.h"
#include "server/line_dialect.h"
#include "server/olivia_many.h"

enum metrics_door line_door(const struct line_conn *conn) {
    return conn->dialect->door == DOOR_OLIVIA ? METRICS_OLIVIA : METRICS_LINE;
}

static void count_one(struct line_loop *loop, enum err err) {
    loop->requests++;
    loop->failures += err != OK;
}

void line_count(struct line_conn *conn, unsigned op, enum err err) {
    struct line_loop *loop = conn->loop;
    count_one(loop, err);
    if (!loop->metrics || metrics_tally_add(&loop->tally, op, err))
        return;
    line_count_tell(conn);
    (void)metrics_tally_add(&loop->tally, op, err);
}

void line_count_tell(struct line_conn *conn) {
    struct line_loop *loop = conn->loop;
    if (loop->tally.count)
        metrics_tally_tell(&loop->tally, loop->metrics, line_door(conn),
                           clock_steady_ns() - conn->read_ns);
}

/* A SUBSCRIBE that asked for its queue, or a line of JSON that came back too late, are no call. */
static unsigned op_of(const struct line_slot *slot) {
    const struct op *op = slot->json || slot->prefetch ? NULL
                          : slot->many                 ? olivia_many_op(slot->many)
                                                       : slot->call.op;
    return metrics_op(op, slot->prefetch ? METRICS_SESSION : METRICS_NONE);
}

void line_count_slot(struct line_conn *conn, const struct line_slot *slot, enum err err,
                     int64_t now_ns) {
    struct line_loop *loop = conn->loop;
    if (!slot->json) /* of JSON that was counted already */
        count_one(loop, err);
    metrics_count(loop->metrics, slot->door, op_of(slot), err, 1, now_ns - slot->read_ns);
    if (!slot->json && !slot->many && !slot->prefetch)
        line_count_traced(conn, &slot->call, err);
}

void line_count_traced(const struct line_conn *conn, const struct call *call, enum err err) {
    struct tracer *tracer = call->span.tracer;
    struct trace_record *record =
        tracer && call->op ? spans_end_call(call, err, clock_steady_ns()) : NULL;
    if (!record)
        return;
    trace_record_text(record, "network.protocol.name",
                      line_door(conn) == METRICS_OLIVIA ? SLICE("olivia") : SLICE("hati"));
    trace_put(tracer, record);
}

void line_count_bytes(struct line_conn *conn, enum metrics_door_cell cell, size_t bytes) {
    metrics_count_door(conn->loop->metrics, line_door(conn), cell, bytes);
}

void line_count_parked(const struct line_slot *slot, bool is_parked) {
    metrics_count_door(slot->woken.loop->metrics, slot->door, METRICS_PARKED,
                       is_parked ? 1 : UINT64_MAX);
}
