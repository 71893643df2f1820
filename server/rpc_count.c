/* SPDX-License-Identifier: MIT */
/* Calls of a body among the metrics and the spans. */
#include "base/clock.h"
#include "handlers/spans.h"
#include "server/rpc_internal.h"

void rpc_count_answer(struct rpc_request *request) {
    if (request->tally.count)
        metrics_tally_tell(&request->tally, metrics_shard(request->core->metrics), request->door,
                           clock_steady_ns() - request->started_ns);
}

/* A body of many different calls is told in parts. */
void rpc_count(struct rpc_request *request, const struct op *op, enum err err) {
    unsigned number = metrics_op(op, METRICS_NONE);
    if (!request->core->metrics || metrics_tally_add(&request->tally, number, err))
        return;
    rpc_count_answer(request);
    (void)metrics_tally_add(&request->tally, number, err);
}

void rpc_item_traced(const struct rpc_item *item) {
    const struct call *call = &item->call;
    struct trace_record *record =
        call->op && call->span.tracer ? spans_end_call(call, call->err, clock_steady_ns()) : NULL;
    if (!record)
        return;
    trace_record_text(record, "rpc.system", SLICE("jsonrpc"));
    trace_record_text(record, "rpc.method", slice_of_cstr(call->op->name));
    trace_record_text(record, "rpc.jsonrpc.version", item->legacy ? SLICE("1.0") : SLICE("2.0"));
    if (call->err)
        trace_record_number(record, "rpc.jsonrpc.error_code", err_rpc_code(call->err));
    trace_put(call->span.tracer, record);
}
