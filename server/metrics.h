/* SPDX-License-Identifier: MIT */
/* What the doors count of requests, in cells of each thread (base/metrics.h): how many by
 * operation and outcome, how long they took, bytes, and calls that are parked. */
#ifndef HATI_SERVER_METRICS_H
#define HATI_SERVER_METRICS_H

#include "base/metrics.h"
#include "handlers/call.h"

/* Doors as the page tells them apart. */
enum metrics_door { METRICS_LINE, METRICS_REST, METRICS_RPC, METRICS_OLIVIA, METRICS_DOORS };

/* What a request may be beside an operation of the table. */
enum metrics_other {
    METRICS_NONE,      /* it came to no operation: refused, or not understood */
    METRICS_SESSION,   /* a word of a line about its connection: AUTH, USE, HELP, SUBSCRIBE */
    METRICS_PROBE,     /* /status, /healthz, /readyz */
    METRICS_PREFLIGHT, /* OPTIONS */
    METRICS_STREAM,    /* a queue as a stream of events: its beginning */
    METRICS_WATCH,     /* a namespace as a stream of events: its beginning */
    METRICS_TICKETS,   /* POST /tickets */
    METRICS_KVSTORE,   /* /kv-store */
    METRICS_POKE,      /* another node of the engine */
    METRICS_DOCUMENT,  /* /openapi.json, /openrpc.json */
    METRICS_PAGE,      /* /metrics itself */
    METRICS_CONSOLE,   /* /console, /docs, and what they load */
    METRICS_SNAPSHOT,  /* of everything, out or in */
    METRICS_OTHERS
};

#define METRICS_LATENCY_BOUNDS 16U
#define METRICS_TALLY_MAX 16U

/* Cells of one operation at one door. */
enum {
    METRICS_OUTCOMES,                               /* by enum err */
    METRICS_BUCKETS = METRICS_OUTCOMES + ERR_COUNT, /* of the time a request took */
    METRICS_SUM_NS = METRICS_BUCKETS + METRICS_LATENCY_BOUNDS + 1,
    METRICS_OP_CELLS
};

/* Cells of one door, behind those of all operations. */
enum metrics_door_cell { METRICS_IN_BYTES, METRICS_OUT_BYTES, METRICS_PARKED, METRICS_DOOR_CELLS };

/* In ns: 50 us to 10 s. */
extern const struct metrics_bounds metrics_latency_bounds;

/* NULL without memory: nothing is counted then. */
struct metrics *server_metrics_open(void);

/* Numbers of what can be asked for: rows of the table, then the others. */
static inline unsigned metrics_op_count(void) {
    return op_count + METRICS_OTHERS;
}
static inline unsigned metrics_op(const struct op *op, enum metrics_other other) {
    return op ? (unsigned)(op - ops) : op_count + (unsigned)other;
}
/* Its name; static. */
const char *metrics_op_name(unsigned op);

static inline unsigned metrics_op_cell(enum metrics_door door, unsigned op) {
    return ((unsigned)door * metrics_op_count() + op) * METRICS_OP_CELLS;
}
static inline unsigned metrics_door_cell(enum metrics_door door, enum metrics_door_cell cell) {
    return METRICS_DOORS * metrics_op_count() * METRICS_OP_CELLS +
           (unsigned)door * METRICS_DOOR_CELLS + cell;
}

/* So many requests were answered, each after so long. shard may be NULL. Its thread. */
static inline void metrics_count(struct metrics_shard *shard, enum metrics_door door, unsigned op,
                                 enum err err, uint64_t times, int64_t took_ns) {
    if (!shard)
        return;
    unsigned cell = metrics_op_cell(door, op);
    uint64_t ns = took_ns > 0 ? (uint64_t)took_ns : 0;
    metrics_add(shard, cell + METRICS_OUTCOMES + (unsigned)err, times);
    metrics_add(shard, cell + METRICS_BUCKETS + metrics_bucket(&metrics_latency_bounds, ns), times);
    metrics_add(shard, cell + METRICS_SUM_NS, times * ns);
}

static inline void metrics_count_door(struct metrics_shard *shard, enum metrics_door door,
                                      enum metrics_door_cell cell, uint64_t n) {
    if (shard)
        metrics_add(shard, metrics_door_cell(door, cell), n);
}

/* Requests that are answered together, and so at the same time. All zeros is an empty one. */
struct metrics_tally {
    unsigned count;
    struct {
        uint16_t op, err;
        uint32_t times;
    } rows[METRICS_TALLY_MAX];
};

/* False where it is full of others: it is to be told first. */
static inline bool metrics_tally_add(struct metrics_tally *tally, unsigned op, enum err err) {
    for (unsigned i = 0; i < tally->count; i++)
        if (tally->rows[i].op == op && tally->rows[i].err == err) {
            tally->rows[i].times++;
            return true;
        }
    if (tally->count == METRICS_TALLY_MAX)
        return false;
    tally->rows[tally->count].op = (uint16_t)op;
    tally->rows[tally->count].err = (uint16_t)err;
    tally->rows[tally->count++].times = 1;
    return true;
}

/* Counts what is in it, each after so long, and empties it. shard may be NULL. */
void metrics_tally_tell(struct metrics_tally *tally, struct metrics_shard *shard,
                        enum metrics_door door, int64_t took_ns);

#endif
