/* SPDX-License-Identifier: MIT */
/* What is over is taken away, and the planner told what grew: by any node, a small batch at a time,
 * the more seldom by each the more nodes there are. */
#include "engine/node_inside.h"

#include "base/hash.h"

#define TURN_MS 300    /* between two sweeps of all nodes together, about */
#define BATCH_ROWS 500 /* of a sweep's statement: so many, then there is more */
#define OP_KEPT_MS 600000
#define ORPHAN_STEPS 32U /* queues looked at in a turn */

enum sweep {
    SWEEP_KEYS,
    SWEEP_KEYS_MEMORY,
    SWEEP_OPS,
    SWEEP_OPS_MEMORY,
    SWEEP_DEDUP,
    SWEEP_DEDUP_MEMORY,
    SWEEP_ORPHANS,
    SWEEP_ORPHANS_MEMORY,
    SWEEP_COUNTERS,
    SWEEP_ROUTER_COUNTERS,
    SWEEP_NODES,
    SWEEP_STATS,
    SWEEP_STATS_MEMORY,
    SWEEP_COUNT
};

/* The counter that was looked at last. */
struct counter {
    int64_t id; /* of its queue or router */
    struct uuid node;
};

struct sweeps {
    struct node *node;
    struct request request;
    bool busy;
    enum sweep turn;
    int64_t turn_ms; /* monotonic */
    int64_t orphan_ids[KV_STORAGES];
    unsigned orphan_steps;
    struct counter queue_counter, router_counter;
};

static void run(struct sweeps *sweeps);

static bool is_memory(enum sweep sweep) {
    return sweep == SWEEP_KEYS_MEMORY || sweep == SWEEP_OPS_MEMORY || sweep == SWEEP_DEDUP_MEMORY ||
           sweep == SWEEP_ORPHANS_MEMORY;
}

static void rest(struct sweeps *sweeps) {
    uint32_t random;
    hash_random(&random, sizeof random);
    int64_t span_ms = TURN_MS * (int64_t)node_live_count(sweeps->node);
    sweeps->turn_ms = clock_steady_ms() + span_ms / 2 + (int64_t)random % span_ms;
    sweeps->turn = (enum sweep)((sweeps->turn + 1) % SWEEP_COUNT);
    sweeps->busy = false;
}

static void send_step(struct sweeps *sweeps, void (*done)(struct request *request)) {
    struct engine *engine = sweeps->node->engine;
    sweeps->request.deadline_ms = clock_steady_ms() + engine->options.timeout_ms;
    sweeps->request.done = done;
    sweeps->request.context = sweeps;
    pool_send(engine->pool, &sweeps->request);
}

static struct params *begin(struct sweeps *sweeps, enum sql_number number) {
    request_done(&sweeps->request);
    request_init(&sweeps->request);
    return request_add(&sweeps->request, number, is_memory(sweeps->turn));
}

static void on_swept(struct request *request) {
    struct sweeps *sweeps = request->context;
    PGresult *result = request->steps[0].result;
    bool more = request->outcome == OUTCOME_OK && atoi(PQcmdTuples(result)) >= BATCH_ROWS;
    if (more && !sweeps->node->engine->stopping)
        run(sweeps);
    else
        rest(sweeps);
}

/* ---- messages of queues that are gone ---- */

static void find_orphans(struct sweeps *sweeps);

static void on_orphans_swept(struct request *request) {
    struct sweeps *sweeps = request->context;
    PGresult *result = request->steps[0].result;
    int64_t *id = &sweeps->orphan_ids[is_memory(sweeps->turn) ? KV_MEMORY : KV_HDD];
    if (request->outcome == OUTCOME_OK && atoi(PQcmdTuples(result)) >= BATCH_ROWS)
        (*id)--; /* found again */
    if (request->outcome == OUTCOME_OK && !sweeps->node->engine->stopping)
        find_orphans(sweeps);
    else
        rest(sweeps);
}

static void on_found(struct request *request) {
    struct sweeps *sweeps = request->context;
    int64_t *id = &sweeps->orphan_ids[is_memory(sweeps->turn) ? KV_MEMORY : KV_HDD];
    const PGresult *result = request->steps[0].result;
    if (request->outcome != OUTCOME_OK || result_rows(result) == 0) {
        *id = 0; /* from the start the next time */
        rest(sweeps);
        return;
    }
    *id = result_int8(result, 0, 0);
    if (topology_find_queue_id(sweeps->node->engine->topology, *id)) {
        find_orphans(sweeps);
        return;
    }
    params_int8(begin(sweeps, SQL_ORPHANS_SWEEP), *id);
    send_step(sweeps, on_orphans_swept);
}

static void find_orphans(struct sweeps *sweeps) {
    if (sweeps->orphan_steps++ == ORPHAN_STEPS) {
        rest(sweeps);
        return;
    }
    params_int8(begin(sweeps, SQL_ORPHANS_NEXT),
                sweeps->orphan_ids[is_memory(sweeps->turn) ? KV_MEMORY : KV_HDD]);
    send_step(sweeps, on_found);
}

/* ---- counters ---- */

static struct counter *last_counter(struct sweeps *sweeps) {
    return sweeps->turn == SWEEP_COUNTERS ? &sweeps->queue_counter : &sweeps->router_counter;
}

static void on_counters(struct request *request) {
    struct sweeps *sweeps = request->context;
    const PGresult *result = request->steps[0].result;
    struct counter *last = last_counter(sweeps);
    *last = (struct counter){0};
    if (request->outcome == OUTCOME_OK && result_rows(result) == 1) {
        last->id = result_int8(result, 0, 0);
        result_uuid(result, 0, 1, &last->node);
    }
    rest(sweeps);
}

static void sweep_counters(struct sweeps *sweeps, enum sql_number number) {
    const struct counter *last = last_counter(sweeps);
    struct params *params = begin(sweeps, number);
    params_int8(params, last->id);
    params_uuid(params, &last->node);
    send_step(sweeps, on_counters);
}

/* ---- what the planner knows ---- */

static void on_analyzed(struct request *request) {
    rest(request->context);
}

static void on_behind(struct request *request) {
    static const enum sql_number analyze[] = {SQL_STATS_KEYS, SQL_STATS_MESSAGES, SQL_STATS_OPS,
                                              SQL_STATS_DEDUP};
    struct sweeps *sweeps = request->context;
    const PGresult *result = request->steps[0].result;
    int64_t first =
        request->outcome == OUTCOME_OK && result_rows(result) ? result_int8(result, 0, 0) : 0;
    if (first < 1 || first > (int64_t)(sizeof analyze / sizeof *analyze)) {
        rest(sweeps);
        return;
    }
    begin(sweeps, analyze[first - 1]); /* the others in the turns that come */
    send_step(sweeps, on_analyzed);
}

static void look_at_stats(struct sweeps *sweeps) {
    struct engine *engine = sweeps->node->engine;
    if (!pool_identity(engine->pool)->is_postgres) {
        rest(sweeps);
        return;
    }
    params_text(begin(sweeps, SQL_STATS_BEHIND), slice_of_cstr(engine->schema));
    send_step(sweeps, on_behind);
}

/* ---- a turn ---- */

static void run(struct sweeps *sweeps) {
    int64_t now_ms = engine_now_ms(sweeps->node->engine);
    struct params *params;
    sweeps->busy = true;
    switch (sweeps->turn) {
    case SWEEP_KEYS:
    case SWEEP_KEYS_MEMORY:
        params_int8(begin(sweeps, SQL_KEYS_SWEEP), now_ms);
        send_step(sweeps, on_swept);
        return;
    case SWEEP_OPS:
    case SWEEP_OPS_MEMORY:
        params = begin(sweeps, SQL_OP_SWEEP);
        params_int8(params, now_ms - OP_KEPT_MS);
        params_int8(params, OP_KEPT_MS);
        send_step(sweeps, on_swept);
        return;
    case SWEEP_DEDUP:
    case SWEEP_DEDUP_MEMORY:
        params_int8(begin(sweeps, SQL_DEDUP_SWEEP), now_ms);
        send_step(sweeps, on_swept);
        return;
    case SWEEP_ORPHANS:
    case SWEEP_ORPHANS_MEMORY:
        sweeps->orphan_steps = 0;
        find_orphans(sweeps);
        return;
    case SWEEP_COUNTERS:
        sweep_counters(sweeps, SQL_COUNTERS_SWEEP);
        return;
    case SWEEP_ROUTER_COUNTERS:
        sweep_counters(sweeps, SQL_ROUTER_COUNTERS_SWEEP);
        return;
    case SWEEP_STATS:
    case SWEEP_STATS_MEMORY:
        look_at_stats(sweeps);
        return;
    default:
        begin(sweeps, SQL_NODES_SWEEP);
        send_step(sweeps, on_swept);
        return;
    }
}

void sweeps_tick(struct sweeps *sweeps, int64_t now_ms) {
    if (!sweeps->busy && sweeps->node->is_known && now_ms >= sweeps->turn_ms)
        run(sweeps);
}

struct sweeps *sweeps_new(struct node *node) {
    struct sweeps *sweeps = calloc(1, sizeof *sweeps);
    if (!sweeps)
        return NULL;
    uint32_t random;
    hash_random(&random, sizeof random);
    sweeps->node = node;
    sweeps->turn = (enum sweep)(random % SWEEP_COUNT);
    request_init(&sweeps->request);
    return sweeps;
}

void sweeps_free(struct sweeps *sweeps) {
    if (!sweeps)
        return;
    request_done(&sweeps->request);
    free(sweeps);
}
