/* SPDX-License-Identifier: MIT */
#include "server/metrics.h"

const struct metrics_bounds metrics_latency_bounds = {
    METRICS_LATENCY_BOUNDS,
    {50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 25000000, 50000000,
     100000000, 250000000, 500000000, 1000000000, 2500000000, 10000000000}};

static const char *const other_names[METRICS_OTHERS] = {
    [METRICS_NONE] = "none",         [METRICS_SESSION] = "session",
    [METRICS_PROBE] = "probe",       [METRICS_PREFLIGHT] = "preflight",
    [METRICS_STREAM] = "stream",     [METRICS_KVSTORE] = "kv-store",
    [METRICS_POKE] = "poke",         [METRICS_DOCUMENT] = "document",
    [METRICS_PAGE] = "metrics",      [METRICS_CONSOLE] = "console",
    [METRICS_SNAPSHOT] = "snapshot", [METRICS_WATCH] = "watch",
    [METRICS_TICKETS] = "tickets",
};

struct metrics *server_metrics_open(void) {
    return metrics_open(metrics_door_cell(METRICS_DOORS, METRICS_IN_BYTES));
}

const char *metrics_op_name(unsigned op) {
    return op < op_count ? ops[op].name : other_names[op - op_count];
}

void metrics_tally_tell(struct metrics_tally *tally, struct metrics_shard *shard,
                        enum metrics_door door, int64_t took_ns) {
    for (unsigned i = 0; i < tally->count; i++)
        metrics_count(shard, door, tally->rows[i].op, (enum err)tally->rows[i].err,
                      tally->rows[i].times, took_ns);
    tally->count = 0;
}
