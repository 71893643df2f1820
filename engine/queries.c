/* SPDX-License-Identifier: MIT */
/* Questions about routers and queues. Each is answered by names as they are behind a pull that
 * began after the question came: what another node's answer told of is there. */
#include "engine/receive.h"

#define PEEK_BYTES 1048576 /* of a page, beyond its first message */

struct asked {
    struct engine *engine;
    struct work *work;
    struct broker_query *query;
    struct tqueue *queue; /* referenced; NULL: not of a queue */
    struct request request;
};

static void end(struct asked *asked, enum err err) {
    struct broker_query *query = asked->query;
    if (asked->queue)
        topology_unref(asked->queue);
    request_done(&asked->request);
    free(asked->work);
    free(asked);
    query->err = err;
    query->done(query);
}

static void send_step(struct asked *asked, void (*done)(struct request *request)) {
    asked->request.deadline_ms = asked->work->deadline_ms;
    asked->request.done = done;
    asked->request.context = asked;
    pool_send(asked->engine->pool, &asked->request);
}

/* ---- names ---- */

struct listing {
    struct arena *arena;
    struct slice *names;
    size_t count;
    bool failed;
};

static void take_name(struct listing *listing, const char *name, size_t len) {
    struct slice copy = arena_copy(listing->arena, slice_make(name, len));
    listing->failed |= !copy.ptr;
    listing->names[listing->count++] = copy;
}

static void take_queue(void *context, struct tqueue *queue) {
    take_name(context, queue->name, queue->name_len);
}

static void take_router(void *context, struct trouter *router) {
    take_name(context, router->name, router->name_len);
}

static int compare_names(const void *a, const void *b) {
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static enum err list(struct topology *topology, struct broker_query *query) {
    bool queues = query->question == ASK_QUEUES;
    size_t count = queues ? topology_queue_count(topology) : topology_router_count(topology);
    struct listing listing = {.arena = query->arena};
    listing.names = arena_alloc(query->arena, (count + 1) * sizeof *listing.names);
    if (!listing.names)
        return ERR_OUT_OF_MEMORY;
    if (queues)
        topology_each_queue(topology, take_queue, &listing);
    else
        topology_each_router(topology, take_router, &listing);
    if (listing.failed)
        return ERR_OUT_OF_MEMORY;
    qsort(listing.names, listing.count, sizeof *listing.names, compare_names);
    query->names = listing.names;
    query->name_count = listing.count;
    return OK;
}

/* ---- a router ---- */

struct bindings {
    struct arena *arena;
    struct broker_binding *list;
    size_t count;
    bool failed;
};

static void take_binding(void *context, struct slice pattern, void *target) {
    struct bindings *bindings = context;
    const struct tqueue *queue = target;
    struct broker_binding *binding = &bindings->list[bindings->count++];
    binding->pattern = arena_copy(bindings->arena, pattern);
    binding->queue = arena_copy(bindings->arena, slice_make(queue->name, queue->name_len));
    bindings->failed |= !binding->pattern.ptr || !binding->queue.ptr;
}

static enum err fill_router(struct broker_query *query, const struct trouter *router) {
    struct bindings bindings = {.arena = query->arena};
    size_t count = router->set ? match_count(router->set) : 0;
    struct broker_router_info *info = &query->router;
    bindings.list = arena_alloc(query->arena, (count + 1) * sizeof *bindings.list);
    info->name = arena_copy(query->arena, slice_make(router->name, router->name_len));
    if (!bindings.list || !info->name.ptr)
        return ERR_OUT_OF_MEMORY;
    if (router->set)
        match_each(router->set, take_binding, &bindings);
    info->type = router->type;
    info->published = router->published;
    info->unroutable = router->unroutable;
    info->bindings = bindings.list;
    info->binding_count = bindings.count;
    return bindings.failed ? ERR_OUT_OF_MEMORY : OK;
}

static void on_router(struct request *request) {
    struct asked *asked = request->context;
    struct broker_query *query = asked->query;
    const struct trouter *router = topology_find_router(asked->engine->topology, query->name);
    const PGresult *result = request->steps[0].result;
    if (request->outcome != OUTCOME_OK || !router) {
        end(asked, router ? engine_err_of(request, false) : ERR_ROUTER_NOT_EXIST);
        return;
    }
    enum err err = fill_router(query, router);
    query->router.published += (uint64_t)result_int8(result, 0, 0);
    query->router.unroutable += (uint64_t)result_int8(result, 0, 1);
    end(asked, err);
}

static void ask_router(struct asked *asked) {
    const struct trouter *router =
        topology_find_router(asked->engine->topology, asked->query->name);
    if (!router) {
        end(asked, ERR_ROUTER_NOT_EXIST);
        return;
    }
    struct params *params = request_add(&asked->request, SQL_ROUTER_COUNTERS_READ, false);
    params_int8(params, router->id);
    params_uuid(params, &asked->engine->id);
    send_step(asked, on_router);
}

/* ---- a queue ---- */

static void add_counted(struct broker_queue_stats *stats, const PGresult *result) {
    uint64_t *const fields[] = {&stats->published,   &stats->delivered,     &stats->acked,
                                &stats->redelivered, &stats->dead_lettered, &stats->expired,
                                &stats->dropped,     &stats->consumers};
    for (int i = 0; i < (int)(sizeof fields / sizeof *fields); i++)
        *fields[i] += (uint64_t)result_int8(result, 0, i);
}

static void on_queue(struct request *request) {
    struct asked *asked = request->context;
    struct broker_query *query = asked->query;
    struct broker_queue_info *info = &query->queue;
    const struct tqueue *queue = asked->queue;
    const PGresult *counts = request->steps[0].result;
    if (request->outcome != OUTCOME_OK) {
        end(asked, engine_err_of(request, false));
        return;
    }
    info->name = arena_copy(query->arena, slice_make(queue->name, queue->name_len));
    info->options = queue->options;
    info->options.dead_letter = arena_copy(query->arena, queue->options.dead_letter);
    info->stats = queue->counted;
    info->stats.consumers = receivers_count(queue);
    add_counted(&info->stats, request->steps[1].result);
    info->stats.ready = (uint64_t)result_int8(counts, 0, 0);
    info->stats.leased = (uint64_t)result_int8(counts, 0, 1);
    info->stats.delayed = (uint64_t)result_int8(counts, 0, 2);
    int64_t oldest_ms = result_int8(counts, 0, 3);
    int64_t age_ms = result_int8(counts, 0, 4) - oldest_ms;
    info->stats.oldest_ms = oldest_ms && age_ms > 0 ? age_ms : 0;
    end(asked, info->name.ptr && info->options.dead_letter.ptr ? OK : ERR_OUT_OF_MEMORY);
}

static bool find_queue(struct asked *asked) {
    asked->queue = topology_find_queue(asked->engine->topology, asked->query->name);
    if (!asked->queue)
        return false;
    topology_ref(asked->queue);
    return true;
}

static void ask_queue(struct asked *asked) {
    if (!find_queue(asked)) {
        end(asked, ERR_QUEUE_NOT_EXIST);
        return;
    }
    bool memory = asked->queue->options.storage == BROKER_MEMORY;
    params_int8(request_add(&asked->request, SQL_QUEUE_COUNTS, memory), asked->queue->id);
    struct params *params = request_add(&asked->request, SQL_COUNTERS_READ, false);
    params_int8(params, asked->queue->id);
    params_uuid(params, &asked->engine->id);
    send_step(asked, on_queue);
}

/* ---- a peek ---- */

static bool fill_delivery(struct arena *arena, struct broker_delivery *to, const PGresult *result,
                          int row) {
    *to = (struct broker_delivery){
        .attempt = (uint32_t)result_int8(result, row, 2),
        .published_ms = result_int8(result, row, 3),
        .id = arena_copy(arena, result_bytes(result, row, 4)),
        .key = arena_copy(arena, result_bytes(result, row, 5)),
        .headers = arena_copy(arena, result_bytes(result, row, 6)),
        .payload = arena_copy(arena, result_bytes(result, row, 7)),
        .reason = (enum broker_reason)result_int8(result, row, 8),
        .from = arena_copy(arena, result_bytes(result, row, 9)),
        .dead_attempt = (uint32_t)result_int8(result, row, 10),
    };
    return to->id.ptr && to->key.ptr && to->headers.ptr && to->payload.ptr && to->from.ptr;
}

static void on_peeked(struct request *request) {
    struct asked *asked = request->context;
    struct broker_query *query = asked->query;
    const PGresult *result = request->steps[0].result;
    if (request->outcome != OUTCOME_OK) {
        end(asked, engine_err_of(request, false));
        return;
    }
    int rows = result_rows(result);
    int64_t found = rows ? result_int8(result, 0, 11) : 0;
    query->count = 0;
    query->deliveries = arena_alloc(query->arena, (query->limit + 1) * sizeof(*query->deliveries));
    bool failed = !query->deliveries;
    for (int i = 0; !failed && i < rows && query->count < query->limit; i++) {
        failed = !fill_delivery(query->arena, &query->deliveries[query->count], result, i);
        query->count += !failed;
        query->cursor.lane = (uint64_t)result_int8(result, i, 0);
        query->cursor.seq = (uint64_t)result_int8(result, i, 1);
    }
    query->more = found > (int64_t)query->count;
    end(asked, failed ? ERR_OUT_OF_MEMORY : OK);
}

static void ask_peek(struct asked *asked) {
    const struct broker_query *query = asked->query;
    if (!find_queue(asked)) {
        end(asked, ERR_QUEUE_NOT_EXIST);
        return;
    }
    bool memory = asked->queue->options.storage == BROKER_MEMORY;
    struct params *params = request_add(&asked->request, SQL_PEEK, memory);
    params_int8(params, asked->queue->id);
    params_int8(params, query->cursor.lane < INT64_MAX ? (int64_t)query->cursor.lane : INT64_MAX);
    params_int8(params, query->cursor.seq < INT64_MAX ? (int64_t)query->cursor.seq : INT64_MAX);
    params_int8(params, (int64_t)query->limit + 1);
    params_int8(params, PEEK_BYTES);
    send_step(asked, on_peeked);
}

static void on_pulled(void *context, enum err err) {
    struct asked *asked = context;
    struct broker_query *query = asked->query;
    if (err) {
        end(asked, err == ERR_OUT_OF_MEMORY ? err : ERR_UNAVAILABLE);
        return;
    }
    switch (query->question) {
    case ASK_QUEUE:
        ask_queue(asked);
        return;
    case ASK_ROUTER:
        ask_router(asked);
        return;
    case ASK_PEEK:
        ask_peek(asked);
        return;
    case ASK_QUEUES:
    case ASK_ROUTERS:
        end(asked, list(asked->engine->topology, query));
        return;
    }
}

void query_run(struct engine *engine, struct work *work) {
    struct broker_query *query = work->query;
    struct asked *asked = calloc(1, sizeof *asked);
    if (!asked) {
        free(work);
        query->err = ERR_OUT_OF_MEMORY;
        query->done(query);
        return;
    }
    asked->engine = engine;
    asked->work = work;
    asked->query = query;
    request_init(&asked->request);
    topology_pull(engine->topology, work->deadline_ms, on_pulled, asked);
}
