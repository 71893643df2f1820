/* SPDX-License-Identifier: MIT */
/* This node among the others: its row in the registry, and what it counted, written down. */
#include "engine/node_inside.h"

#include "engine/receive.h"

#define BEAT_MS 5000
#define BEAT_RETRY_MS 1000
#define FLUSH_MIN_MS 200 /* growing with the nodes: the database sees as many writes of all */
#define FLUSH_STEP_MS 50
#define FLUSH_MAX_MS 2000
#define FLUSH_MAX 500U /* queues, and routers, of one statement */

/* ---- sums ---- */

static void add_queue(void *context, struct tqueue *queue) {
    struct broker_stats *stats = context;
    stats->delivered += queue->counted.delivered;
    stats->acked += queue->counted.acked;
}

static void add_router(void *context, struct trouter *router) {
    struct broker_stats *stats = context;
    stats->published += router->published;
    stats->unroutable += router->unroutable;
}

void node_sum(struct engine *engine, struct broker_stats *ret_stats) {
    *ret_stats = (struct broker_stats){0};
    topology_each_queue(engine->topology, add_queue, ret_stats);
    topology_each_router(engine->topology, add_router, ret_stats);
}

/* ---- the registry ---- */

static void copy_text(char *to, size_t room, struct slice from) {
    size_t len = from.len < room ? from.len : room - 1;
    if (len)
        memcpy(to, from.ptr, len);
    to[len] = '\0';
}

void node_read_row(const PGresult *result, int row, struct engine_node *ret_node) {
    struct uuid id;
    result_uuid(result, row, 0, &id);
    *ret_node = (struct engine_node){
        .started_ms = result_int8(result, row, 3),
        .heartbeat_ms = result_int8(result, row, 4),
    };
    text_uuid_format(&id, ret_node->id);
    copy_text(ret_node->address, sizeof ret_node->address, result_bytes(result, row, 1));
    copy_text(ret_node->version, sizeof ret_node->version, result_bytes(result, row, 2));
    ret_node->alive = ret_node->heartbeat_ms > result_int8(result, row, 9) - NODE_ALIVE_MS;
}

static void take_nodes(struct node *node, const PGresult *result) {
    char own[37] = "";
    text_uuid_format(&node->engine->id, own);
    node->live = 0;
    pokes_begin_peers(node->pokes);
    for (int i = 0; i < result_rows(result); i++) {
        struct engine_node other;
        node_read_row(result, i, &other);
        node->live += other.alive;
        if (other.alive && strcmp(own, other.id) != 0)
            pokes_add_peer(node->pokes, slice_of_cstr(other.address));
    }
    pokes_end_peers(node->pokes);
}

static void on_beat(struct request *request) {
    struct node *node = request->context;
    bool done = request->outcome == OUTCOME_OK;
    if (done) {
        int64_t now_ms = result_int8(request->steps[0].result, 0, 0);
        atomic_store(&node->engine->clock_offset_ms, now_ms - clock_wall_ms());
        take_nodes(node, request->steps[1].result);
        node->is_known = true;
    }
    node->beat_ms = clock_steady_ms() + (done ? BEAT_MS : BEAT_RETRY_MS);
    node->beating = false;
}

static void begin(struct node *node, struct request *request, void (*done)(struct request *)) {
    request->deadline_ms = clock_steady_ms() + node->engine->options.timeout_ms;
    request->done = done;
    request->context = node;
    pool_send(node->engine->pool, request);
}

static void beat(struct node *node) {
    struct engine *engine = node->engine;
    struct broker_stats sum;
    node_sum(engine, &sum);
    request_done(&node->beat);
    request_init(&node->beat);
    struct params *params = request_add(&node->beat, SQL_NODE_PUT, false);
    params_uuid(params, &engine->id);
    params_bytea(params, slice_of_cstr(engine->advertise));
    params_bytea(params, slice_of_cstr(engine->options.version));
    params_int8(params, (int64_t)sum.published);
    params_int8(params, (int64_t)sum.delivered);
    params_int8(params, (int64_t)sum.acked);
    params_int8(params, (int64_t)sum.unroutable);
    request_add(&node->beat, SQL_NODES_READ, false);
    node->beating = true;
    begin(node, &node->beat, on_beat);
}

unsigned node_live_count(const struct node *node) {
    return node->live ? node->live : 1;
}

/* ---- counters ---- */

struct collecting {
    struct tqueue *queues[FLUSH_MAX];
    struct trouter *routers[FLUSH_MAX];
    unsigned queue_count, router_count;
};

static void collect_queue(void *context, struct tqueue *queue) {
    struct collecting *collecting = context;
    if (!queue->counters_changed || collecting->queue_count == FLUSH_MAX)
        return;
    queue->counted.consumers = receivers_count(queue);
    collecting->queues[collecting->queue_count++] = queue;
}

static void collect_router(void *context, struct trouter *router) {
    struct collecting *collecting = context;
    if (router->counters_changed && collecting->router_count < FLUSH_MAX)
        collecting->routers[collecting->router_count++] = router;
}

static void add_queue_column(struct params *params, const struct collecting *collecting,
                             size_t offset) {
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < collecting->queue_count; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&collecting->queues[i]->counted + offset, sizeof value);
        params_add_int8(params, (int64_t)value);
    }
    params_array_end(params);
}

static void add_queues(struct node *node, const struct collecting *collecting) {
    static const size_t columns[] = {
        offsetof(struct broker_queue_stats, published),
        offsetof(struct broker_queue_stats, delivered),
        offsetof(struct broker_queue_stats, acked),
        offsetof(struct broker_queue_stats, redelivered),
        offsetof(struct broker_queue_stats, dead_lettered),
        offsetof(struct broker_queue_stats, expired),
        offsetof(struct broker_queue_stats, dropped),
        offsetof(struct broker_queue_stats, consumers),
    };
    struct params *params = request_add(&node->flush, SQL_COUNTERS_PUT, false);
    params_uuid(params, &node->engine->id);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < collecting->queue_count; i++) {
        collecting->queues[i]->counters_changed = false;
        node->flushed[node->flushed_count++] = collecting->queues[i]->id;
        params_add_int8(params, collecting->queues[i]->id);
    }
    params_array_end(params);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        add_queue_column(params, collecting, columns[i]);
}

static void add_routers(struct node *node, const struct collecting *collecting) {
    struct params *params = request_add(&node->flush, SQL_ROUTER_COUNTERS_PUT, false);
    params_uuid(params, &node->engine->id);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < collecting->router_count; i++) {
        collecting->routers[i]->counters_changed = false;
        node->flushed[node->flushed_count + node->flushed_router_count++] =
            collecting->routers[i]->id;
        params_add_int8(params, collecting->routers[i]->id);
    }
    params_array_end(params);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < collecting->router_count; i++)
        params_add_int8(params, (int64_t)collecting->routers[i]->published);
    params_array_end(params);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < collecting->router_count; i++)
        params_add_int8(params, (int64_t)collecting->routers[i]->unroutable);
    params_array_end(params);
}

static void mark_router(void *context, struct trouter *router) {
    struct node *node = context;
    for (unsigned i = 0; i < node->flushed_router_count; i++)
        if (node->flushed[node->flushed_count + i] == router->id)
            router->counters_changed = true;
}

static int64_t flush_pause_ms(const struct node *node) {
    int64_t pause_ms = FLUSH_STEP_MS * (int64_t)node_live_count(node);
    return pause_ms < FLUSH_MIN_MS   ? FLUSH_MIN_MS
           : pause_ms > FLUSH_MAX_MS ? FLUSH_MAX_MS
                                     : pause_ms;
}

static void on_flushed(struct request *request) {
    struct node *node = request->context;
    struct topology *topology = node->engine->topology;
    for (unsigned i = 0; request->outcome != OUTCOME_OK && i < node->flushed_count; i++) {
        struct tqueue *queue = topology_find_queue_id(topology, node->flushed[i]);
        if (queue)
            queue->counters_changed = true;
    }
    if (request->outcome != OUTCOME_OK)
        topology_each_router(topology, mark_router, node);
    bool full = node->flushed_count == FLUSH_MAX;
    node->flush_ms = clock_steady_ms() + (full ? 0 : flush_pause_ms(node));
    node->flushing = false;
}

/* False: nothing changed. */
static bool flush(struct node *node) {
    struct collecting collecting;
    collecting.queue_count = collecting.router_count = 0;
    topology_each_queue(node->engine->topology, collect_queue, &collecting);
    topology_each_router(node->engine->topology, collect_router, &collecting);
    if (!collecting.queue_count && !collecting.router_count)
        return false;
    request_done(&node->flush);
    request_init(&node->flush);
    node->flushed_count = node->flushed_router_count = 0;
    if (collecting.queue_count)
        add_queues(node, &collecting);
    if (collecting.router_count)
        add_routers(node, &collecting);
    node->flushing = true;
    begin(node, &node->flush, on_flushed);
    return true;
}

/* ---- all of it ---- */

void node_tick(struct node *node, int64_t now_ms) {
    pokes_tick(node->pokes, now_ms);
    if (node->engine->stopping)
        return;
    if (!node->beating && now_ms >= node->beat_ms)
        beat(node);
    if (!node->flushing && now_ms >= node->flush_ms && !flush(node))
        node->flush_ms = now_ms + FLUSH_STEP_MS;
    sweeps_tick(node->sweeps, now_ms);
}

void node_poke_others(struct node *node, int64_t queue_id) {
    pokes_add(node->pokes, queue_id);
}

void node_report(struct node *node, struct work *work) {
    report_take(node->report, work);
}

static void on_left(struct request *request) {
    struct node *node = request->context;
    node->left(node->engine);
}

void node_leave(struct node *node, void (*done)(struct engine *engine)) {
    node->left = done;
    params_uuid(request_add(&node->leave, SQL_NODE_LEAVE, false), &node->engine->id);
    begin(node, &node->leave, on_left);
}

struct node *node_new(struct engine *engine) {
    struct node *node = calloc(1, sizeof *node);
    if (!node)
        return NULL;
    node->engine = engine;
    request_init(&node->beat);
    request_init(&node->flush);
    request_init(&node->leave);
    node->flushed = calloc(2 * FLUSH_MAX, sizeof *node->flushed);
    node->pokes = pokes_new(engine);
    node->report = report_new(node);
    node->sweeps = sweeps_new(node);
    if (node->flushed && node->pokes && node->report && node->sweeps)
        return node;
    node_free(node);
    return NULL;
}

void node_free(struct node *node) {
    if (!node)
        return;
    request_done(&node->beat);
    request_done(&node->flush);
    request_done(&node->leave);
    pokes_free(node->pokes);
    report_free(node->report);
    sweeps_free(node->sweeps);
    free(node->flushed);
    free(node);
}
