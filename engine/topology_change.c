/* SPDX-License-Identifier: MIT */
/* One change of the topology: decided by the cache, carried out where the database is still at the
 * cache's version. What changes nothing (the same again, a refusal) is answered only by a cache
 * that was pulled behind the call. */
#include "engine/topology_inside.h"
#include "engine/txn.h"

#define DEFAULT_ROUTER SLICE("default")

struct change {
    struct txn_job job;
    struct engine *engine;
    struct topology *topology;
    struct broker_op *op;
    int64_t deadline_ms;
    void (*done)(void *context);
    void *context;
    bool certain; /* the cache was pulled behind the call */
    bool writes;  /* decided: there is something to change */
    bool stale;   /* somebody else's change came first */
    int64_t decided_version;
    unsigned step; /* of the request that loads: the version's */
    int64_t version, id;
};

static void decide_and_go(struct change *change);

static void end(struct change *change, enum err err) {
    change->op->err = err;
    change->done(change->context);
    free(change);
}

/* ---- deciding ---- */

static bool same_options(const struct broker_queue_options *a,
                         const struct broker_queue_options *b) {
    return a->storage == b->storage && a->overflow == b->overflow && a->lease_ms == b->lease_ms &&
           a->ttl_ms == b->ttl_ms && a->dedup_window_ms == b->dedup_window_ms &&
           a->max_length == b->max_length && a->max_deliver == b->max_deliver &&
           slice_equal(a->dead_letter, b->dead_letter);
}

static enum err decide_router(struct change *change) {
    struct broker_op *op = change->op;
    const struct trouter *router = topology_find_router(change->topology, op->router);
    if (op->action == BROKER_DELETE_ROUTER) {
        change->writes = router != NULL && !slice_equal(op->router, DEFAULT_ROUTER);
        return change->writes ? OK : router ? ERR_CONFLICT : ERR_ROUTER_NOT_EXIST;
    }
    op->flag = !router;
    if (router)
        return router->type == op->router_type ? OK : ERR_CONFLICT;
    op->at_limit = topology_router_count(change->topology) >= BROKER_ROUTERS_MAX;
    change->writes = !op->at_limit;
    return op->at_limit ? ERR_STORAGE_FULL : OK;
}

static enum err decide_queue(struct change *change) {
    struct broker_op *op = change->op;
    const struct tqueue *queue = topology_find_queue(change->topology, op->queue);
    if (op->action != BROKER_CREATE_QUEUE) {
        bool same = op->action == BROKER_PAUSE && queue && queue->options.paused == op->pause;
        change->writes = queue && !same;
        return queue ? OK : ERR_QUEUE_NOT_EXIST;
    }
    op->flag = !queue;
    if (queue)
        return same_options(&queue->options, op->options) ? OK : ERR_CONFLICT;
    op->at_limit = topology_queue_count(change->topology) >= BROKER_QUEUES_MAX;
    change->writes = !op->at_limit;
    return op->at_limit ? ERR_STORAGE_FULL : OK;
}

static struct slice pattern_of(const struct trouter *router, const struct broker_op *op) {
    if (op->pattern_given)
        return op->pattern;
    switch (router->type) {
    case ROUTER_DIRECT:
        return op->queue;
    case ROUTER_TOPIC:
        return SLICE("#");
    case ROUTER_FANOUT:
        break;
    }
    return SLICE("");
}

static enum err decide_binding(struct change *change) {
    struct broker_op *op = change->op;
    struct trouter *router = topology_find_router(change->topology, op->router);
    struct tqueue *queue = topology_find_queue(change->topology, op->queue);
    bool fresh;
    if (!router)
        return ERR_ROUTER_NOT_EXIST;
    if (!queue)
        return ERR_QUEUE_NOT_EXIST;
    if (!router->set)
        return ERR_CONFLICT; /* every queue is bound to `default` as it is */
    enum err err = match_add(router->set, pattern_of(router, op), queue, &fresh);
    if (err)
        return err;
    if (fresh) /* only to look */
        match_remove(router->set, pattern_of(router, op), queue);
    op->flag = op->action == BROKER_BIND ? fresh : !fresh;
    change->writes = op->flag;
    return OK;
}

static enum err decide(struct change *change) {
    change->writes = false;
    change->decided_version = topology_version(change->topology);
    change->op->at_limit = false;
    change->op->count = 0;
    switch (change->op->action) {
    case BROKER_CREATE_ROUTER:
    case BROKER_DELETE_ROUTER:
        return decide_router(change);
    case BROKER_BIND:
    case BROKER_UNBIND:
        return decide_binding(change);
    default:
        return decide_queue(change);
    }
}

/* ---- the transaction ---- */

static bool job_needs_load(struct txn_job *job) {
    (void)job;
    return true;
}

static void job_load(struct txn_job *job, struct txn *txn, struct request *request) {
    struct change *change = job->context;
    (void)txn;
    change->step = request->step_count;
    params_int8(request_add(request, SQL_TOPOLOGY_STEP, false), change->decided_version);
}

static enum err job_apply(struct txn_job *job, struct txn *txn, const struct request *loaded) {
    struct change *change = job->context;
    const PGresult *result = loaded->steps[change->step].result;
    (void)txn;
    change->stale = result_rows(result) != 1;
    if (change->stale || topology_version(change->topology) != change->decided_version) {
        change->stale = true; /* what it points to by names may be another one by now */
        return ERR_UNAVAILABLE;
    }
    change->version = result_int8(result, 0, 0);
    change->id = result_int8(result, 0, 1);
    return OK;
}

static void put_router(const struct change *change, struct request *request, int64_t id,
                       enum broker_router_type type, bool gone) {
    struct params *params = request_add(request, SQL_ROUTER_PUT, false);
    params_bytea(params, change->op->router);
    params_int8(params, id);
    params_int8(params, type);
    params_int8(params, change->version);
    params_bool(params, gone);
}

static void put_queue(const struct change *change, struct request *request, int64_t id,
                      const struct broker_queue_options *options, bool paused, bool gone) {
    struct params *params = request_add(request, SQL_QUEUE_PUT, false);
    params_bytea(params, change->op->queue);
    params_int8(params, id);
    params_int8(params, options->storage);
    params_int8(params, options->overflow);
    params_bool(params, paused);
    params_int8(params, options->lease_ms);
    params_int8(params, options->ttl_ms);
    params_int8(params, options->dedup_window_ms);
    params_int8(params, (int64_t)options->max_length);
    params_int8(params, options->max_deliver);
    params_bytea(params, options->dead_letter);
    params_int8(params, change->version);
    params_bool(params, gone);
}

static void bindings_gone(struct request *request, int64_t router, int64_t queue) {
    struct params *params = request_add(request, SQL_BINDINGS_GONE, false);
    params_int8(params, router);
    params_int8(params, queue);
}

static void delete_queue(const struct change *change, struct request *request,
                         const struct tqueue *queue) {
    put_queue(change, request, queue->id, &queue->options, queue->options.paused, true);
    bindings_gone(request, 0, queue->id);
    params_int8(request_add(request, SQL_QUEUE_EMPTY, queue->options.storage == BROKER_MEMORY),
                queue->id);
}

static void put_binding(const struct change *change, struct request *request,
                        const struct trouter *router, const struct tqueue *queue) {
    struct params *params = request_add(request, SQL_BINDING_PUT, false);
    params_int8(params, router->id);
    params_int8(params, queue->id);
    params_bytea(params, pattern_of(router, change->op));
    params_int8(params, change->version);
    params_bool(params, change->op->action == BROKER_UNBIND);
}

static void job_write(struct txn_job *job, struct txn *txn, struct request *request) {
    const struct change *change = job->context;
    const struct broker_op *op = change->op;
    const struct trouter *router =
        op->router.len ? topology_find_router(change->topology, op->router) : NULL;
    const struct tqueue *queue =
        op->queue.len ? topology_find_queue(change->topology, op->queue) : NULL;
    (void)txn;
    switch (op->action) {
    case BROKER_CREATE_ROUTER:
        put_router(change, request, change->id, op->router_type, false);
        break;
    case BROKER_DELETE_ROUTER:
        put_router(change, request, router->id, router->type, true);
        bindings_gone(request, router->id, 0);
        params_int8(request_add(request, SQL_ROUTER_COUNTERS_GONE, false), router->id);
        break;
    case BROKER_CREATE_QUEUE:
        put_queue(change, request, change->id, op->options, op->options->paused, false);
        break;
    case BROKER_DELETE_QUEUE:
        delete_queue(change, request, queue);
        break;
    case BROKER_PAUSE:
        put_queue(change, request, queue->id, &queue->options, op->pause, false);
        break;
    default:
        put_binding(change, request, router, queue);
        break;
    }
}

/* ---- going on ---- */

static void on_seen(void *context, enum err err) {
    (void)err; /* it is done, whether this node saw it or not */
    end(context, OK);
}

static void on_pulled(void *context, enum err err) {
    struct change *change = context;
    if (err || clock_steady_ms() >= change->deadline_ms) {
        end(change, err == ERR_OUT_OF_MEMORY ? err : ERR_UNAVAILABLE);
        return;
    }
    change->certain = true;
    decide_and_go(change);
}

static void job_done(struct txn_job *job, enum err err) {
    struct change *change = job->context;
    bool stale = change->stale;
    change->stale = false;
    if (!err) {
        node_poke_others(change->engine->node, POKE_TOPOLOGY);
        topology_pull(change->topology, change->deadline_ms, on_seen, change);
    } else if (stale) {
        topology_pull(change->topology, change->deadline_ms, on_pulled, change);
    } else {
        end(change, err);
    }
}

static void decide_and_go(struct change *change) {
    enum err err = decide(change);
    if (change->writes && change->decided_version >= 0)
        writer_add_job(change->engine->writers[KV_HDD], &change->job);
    else if (!change->certain)
        topology_pull(change->topology, change->deadline_ms, on_pulled, change);
    else
        end(change, err);
}

void topology_change(struct topology *topology, struct broker_op *op, int64_t deadline_ms,
                     void (*done)(void *context), void *context) {
    struct change *change = calloc(1, sizeof *change);
    if (!change) {
        op->err = ERR_OUT_OF_MEMORY;
        done(context);
        return;
    }
    change->topology = topology;
    change->engine = topology_engine(topology);
    change->op = op;
    change->deadline_ms = deadline_ms;
    change->done = done;
    change->context = context;
    change->job = (struct txn_job){.context = change,
                                   .exclusive = true,
                                   .needs_load = job_needs_load,
                                   .load = job_load,
                                   .apply = job_apply,
                                   .write = job_write,
                                   .done = job_done};
    decide_and_go(change);
}
