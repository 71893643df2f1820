/* SPDX-License-Identifier: MIT */
/* Calls of a body among the metrics. */
#include "base/clock.h"
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
