/* SPDX-License-Identifier: MIT */
#include "engine/topology.h"

#include "broker/names.h"
#include "engine/topology_inside.h"

#define DEFAULT_ROUTER_ID 1
#define TICK_MS 1000
#define SWEEP_MS 600000 /* how long what is gone is kept, at least */

/* The version is asked before the rows, so that what comes in between is pulled again, and behind
 * them, so that a sweep in between shows. */
enum rows_step { STEP_BEFORE, STEP_ROUTERS, STEP_QUEUES, STEP_BINDINGS, STEP_BEHIND };

struct waiter {
    struct waiter *next;
    int64_t deadline_ms;
    void (*done)(void *context, enum err err);
    void *context;
};

struct queue_entry {
    struct tqueue queue; /* first: a queue is its entry */
    uint64_t seen;       /* round of the last pull that told of it */
};

struct router_entry {
    struct trouter router;
    uint64_t seen;
};

struct topology {
    struct engine *engine;
    int64_t version;
    uint64_t round;
    struct names queues, queues_by_id, routers, routers_by_id;
    struct request rows;
    bool pulls, pulls_all;
    struct waiter *current, *next; /* of the pull under way; of the one behind it */
    struct request probe, sweep;
    bool probes, sweeps;
    int64_t tick_ms, sweep_ms; /* when the next is due */
    int64_t sweep_version;     /* of when the last sweep was due */
};

static void start_pull(struct topology *topology, bool all);

static struct slice id_slice(const int64_t *id) {
    return slice_make(id, sizeof *id);
}

static struct slice router_name(const struct trouter *router) {
    return slice_make(router->name, router->name_len);
}

static struct slice queue_name(const struct tqueue *queue) {
    return slice_make(queue->name, queue->name_len);
}

/* ---- what there is ---- */

struct engine *topology_engine(const struct topology *topology) {
    return topology->engine;
}

int64_t topology_version(const struct topology *topology) {
    return topology->version;
}

struct tqueue *topology_find_queue(struct topology *topology, struct slice name) {
    return names_get(&topology->queues, name);
}

struct tqueue *topology_find_queue_id(struct topology *topology, int64_t id) {
    return names_get(&topology->queues_by_id, id_slice(&id));
}

struct trouter *topology_find_router(struct topology *topology, struct slice name) {
    return names_get(&topology->routers, name);
}

void topology_ref(struct tqueue *queue) {
    queue->refs++;
}

void topology_unref(struct tqueue *queue) {
    if (--queue->refs == 0)
        free(queue);
}

enum err topology_route(struct topology *topology, const struct trouter *router, struct slice key,
                        struct match_result *result) {
    if (router->set)
        return match_find(router->set, key, result);
    void *queue = names_get(&topology->queues, key); /* `default`: each queue under its name */
    result->count = queue ? 1 : 0;
    result->targets[0] = queue;
    return OK;
}

size_t topology_queue_count(const struct topology *topology) {
    return topology->queues.count;
}

size_t topology_router_count(const struct topology *topology) {
    return topology->routers.count;
}

struct each {
    void (*take_queue)(void *context, struct tqueue *queue);
    void (*take_router)(void *context, struct trouter *router);
    void *context;
};

static void each_queue(void *context, struct slice name, void *value) {
    const struct each *each = context;
    (void)name;
    each->take_queue(each->context, value);
}

static void each_router(void *context, struct slice name, void *value) {
    const struct each *each = context;
    (void)name;
    each->take_router(each->context, value);
}

void topology_each_queue(struct topology *topology, void (*take)(void *context, struct tqueue *),
                         void *context) {
    struct each each = {.take_queue = take, .context = context};
    names_each(&topology->queues, each_queue, &each);
}

void topology_each_router(struct topology *topology, void (*take)(void *context, struct trouter *),
                          void *context) {
    struct each each = {.take_router = take, .context = context};
    names_each(&topology->routers, each_router, &each);
}

/* ---- rows become what there is ---- */

static void tell(struct topology *topology, struct tqueue *queue) {
    if (topology->engine->receivers)
        receivers_queue_changed(topology->engine->receivers, queue);
}

static void unbind_all(void *context, struct slice name, void *value) {
    const struct trouter *router = value;
    (void)name;
    if (router->set)
        match_remove_target(router->set, context);
}

static void remove_queue(struct topology *topology, struct tqueue *queue) {
    names_take(&topology->queues, queue_name(queue));
    names_take(&topology->queues_by_id, id_slice(&queue->id));
    names_each(&topology->routers, unbind_all, queue);
    queue->gone = true;
    tell(topology, queue);
    topology_unref(queue);
}

static void remove_router(struct topology *topology, struct trouter *router) {
    names_take(&topology->routers, router_name(router));
    names_take(&topology->routers_by_id, id_slice(&router->id));
    match_set_free(router->set);
    free(router);
}

static struct trouter *add_router(struct topology *topology, const struct router_row *row) {
    struct router_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    struct trouter *router = &entry->router;
    router->id = row->id;
    router->type = row->type;
    router->name_len = (uint8_t)row->name.len;
    memcpy(router->name, row->name.ptr, row->name.len);
    enum err err = row->id == DEFAULT_ROUTER_ID ? OK : match_set_new(row->type, &router->set);
    if (!err)
        err = names_put(&topology->routers, row->name, router);
    if (!err && names_put(&topology->routers_by_id, id_slice(&router->id), router)) {
        names_take(&topology->routers, row->name);
        err = ERR_OUT_OF_MEMORY;
    }
    if (!err)
        return router;
    match_set_free(router->set);
    free(entry);
    return NULL;
}

enum err topology_take_router(struct topology *topology, const struct router_row *row) {
    struct trouter *router = topology_find_router(topology, row->name);
    if (router && (row->gone || router->id != row->id)) {
        remove_router(topology, router);
        router = NULL;
    }
    if (row->gone)
        return OK;
    if (!router)
        router = add_router(topology, row);
    if (!router)
        return ERR_OUT_OF_MEMORY;
    ((struct router_entry *)router)->seen = topology->round;
    return OK;
}

static struct tqueue *add_queue(struct topology *topology, const struct queue_row *row) {
    struct queue_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    struct tqueue *queue = &entry->queue;
    queue->refs = 1;
    queue->id = row->id;
    queue->name_len = (uint8_t)row->name.len;
    memcpy(queue->name, row->name.ptr, row->name.len);
    enum err err = names_put(&topology->queues, row->name, queue);
    if (!err && names_put(&topology->queues_by_id, id_slice(&queue->id), queue)) {
        names_take(&topology->queues, row->name);
        err = ERR_OUT_OF_MEMORY;
    }
    if (!err)
        return queue;
    free(entry);
    return NULL;
}

enum err topology_take_queue(struct topology *topology, const struct queue_row *row) {
    struct tqueue *queue = topology_find_queue(topology, row->name);
    if (queue && (row->gone || queue->id != row->id)) {
        remove_queue(topology, queue);
        queue = NULL;
    }
    if (row->gone)
        return OK;
    if (!queue)
        queue = add_queue(topology, row);
    if (!queue)
        return ERR_OUT_OF_MEMORY;
    queue->options = row->options;
    if (row->options.dead_letter.len)
        memcpy(queue->dead_letter, row->options.dead_letter.ptr, row->options.dead_letter.len);
    queue->options.dead_letter = slice_make(queue->dead_letter, row->options.dead_letter.len);
    ((struct queue_entry *)queue)->seen = topology->round;
    tell(topology, queue);
    return OK;
}

/* Of what is not known (any more) there is nothing to bind. */
enum err topology_take_binding(struct topology *topology, const struct binding_row *row) {
    const struct trouter *router = names_get(&topology->routers_by_id, id_slice(&row->router));
    struct tqueue *queue = topology_find_queue_id(topology, row->queue);
    bool fresh;
    if (!router || !queue || !router->set)
        return OK;
    if (!row->gone)
        return match_add(router->set, row->pattern, queue, &fresh);
    match_remove(router->set, row->pattern, queue);
    return OK;
}

#define UNSEEN_MAX 256U /* removed in one go */

struct unseen {
    uint64_t round;
    unsigned count;
    void *found[UNSEEN_MAX];
};

static void find_unseen_queue(void *context, struct slice name, void *value) {
    struct unseen *unseen = context;
    const struct queue_entry *entry = value;
    (void)name;
    if (entry->seen != unseen->round && unseen->count < UNSEEN_MAX)
        unseen->found[unseen->count++] = value;
}

static void find_unseen_router(void *context, struct slice name, void *value) {
    struct unseen *unseen = context;
    const struct router_entry *entry = value;
    (void)name;
    if (entry->seen != unseen->round && unseen->count < UNSEEN_MAX)
        unseen->found[unseen->count++] = value;
}

static void forget_bindings(void *context, struct slice name, void *value) {
    struct trouter *router = value;
    bool *failed = context;
    struct match_set *set;
    (void)name;
    if (!router->set)
        return;
    if (match_set_new(router->type, &set)) {
        *failed = true;
        return;
    }
    match_set_free(router->set);
    router->set = set;
}

enum err topology_begin_all(struct topology *topology) {
    bool failed = false;
    topology->round++;
    names_each(&topology->routers, forget_bindings, &failed);
    return failed ? ERR_OUT_OF_MEMORY : OK;
}

void topology_end_all(struct topology *topology) {
    struct unseen unseen = {.round = topology->round};
    do {
        unseen.count = 0;
        names_each(&topology->queues, find_unseen_queue, &unseen);
        for (unsigned i = 0; i < unseen.count; i++)
            remove_queue(topology, unseen.found[i]);
    } while (unseen.count);
    do {
        unseen.count = 0;
        names_each(&topology->routers, find_unseen_router, &unseen);
        for (unsigned i = 0; i < unseen.count; i++)
            remove_router(topology, unseen.found[i]);
    } while (unseen.count);
}

/* ---- pulling ---- */

static void end_waiters(struct waiter *waiter, enum err err) {
    while (waiter) {
        struct waiter *next = waiter->next;
        waiter->done(waiter->context, err);
        free(waiter);
        waiter = next;
    }
}

static void end_pull(struct topology *topology, enum err err) {
    struct waiter *waiters = topology->current;
    topology->current = NULL;
    topology->pulls = false;
    if (topology->next)
        start_pull(topology, false);
    end_waiters(waiters, err);
}

static enum err take_routers(struct topology *topology, const PGresult *result) {
    enum err err = OK;
    for (int i = 0; !err && i < result_rows(result); i++) {
        struct router_row row = {.name = result_bytes(result, i, 0),
                                 .id = result_int8(result, i, 1),
                                 .type = (enum broker_router_type)result_int8(result, i, 2),
                                 .gone = result_bool(result, i, 3)};
        if (row.name.len && row.name.len <= BROKER_NAME_MAX)
            err = topology_take_router(topology, &row);
    }
    return err;
}

static void read_options(const PGresult *result, int i, struct broker_queue_options *options) {
    *options = (struct broker_queue_options){
        .storage = (enum broker_storage)result_int8(result, i, 2),
        .overflow = (enum broker_overflow)result_int8(result, i, 3),
        .paused = result_bool(result, i, 4),
        .lease_ms = result_int8(result, i, 5),
        .ttl_ms = result_int8(result, i, 6),
        .dedup_window_ms = result_int8(result, i, 7),
        .max_length = (uint64_t)result_int8(result, i, 8),
        .max_deliver = (uint32_t)result_int8(result, i, 9),
        .dead_letter = result_bytes(result, i, 10),
    };
}

static enum err take_queues(struct topology *topology, const PGresult *result) {
    enum err err = OK;
    for (int i = 0; !err && i < result_rows(result); i++) {
        struct queue_row row = {.name = result_bytes(result, i, 0),
                                .id = result_int8(result, i, 1),
                                .gone = result_bool(result, i, 11)};
        read_options(result, i, &row.options);
        if (row.name.len && row.name.len <= BROKER_NAME_MAX &&
            row.options.dead_letter.len <= BROKER_NAME_MAX)
            err = topology_take_queue(topology, &row);
    }
    return err;
}

static enum err take_bindings(struct topology *topology, const PGresult *result) {
    enum err err = OK;
    for (int i = 0; !err && i < result_rows(result); i++) {
        struct binding_row row = {.router = result_int8(result, i, 0),
                                  .queue = result_int8(result, i, 1),
                                  .pattern = result_bytes(result, i, 2),
                                  .gone = result_bool(result, i, 3)};
        err = topology_take_binding(topology, &row);
    }
    return err;
}

static enum err take_rows(struct topology *topology, const struct step *steps) {
    enum err err = topology->pulls_all ? topology_begin_all(topology) : OK;
    if (!err)
        err = take_routers(topology, steps[STEP_ROUTERS].result);
    if (!err)
        err = take_queues(topology, steps[STEP_QUEUES].result);
    if (!err)
        err = take_bindings(topology, steps[STEP_BINDINGS].result);
    if (!err && topology->pulls_all)
        topology_end_all(topology);
    topology->version = err ? -1 : result_int8(steps[STEP_BEFORE].result, 0, 0);
    return err;
}

static void on_rows(struct request *request) {
    struct topology *topology = request->context;
    const struct step *steps = request->steps;
    if (request->outcome != OUTCOME_OK || result_rows(steps[STEP_BEFORE].result) != 1 ||
        result_rows(steps[STEP_BEHIND].result) != 1) {
        end_pull(topology, ERR_UNAVAILABLE);
        return;
    }
    int64_t version = result_int8(steps[STEP_BEFORE].result, 0, 0);
    int64_t horizon = result_int8(steps[STEP_BEHIND].result, 0, 1);
    bool missed = topology->version < horizon || version < topology->version;
    if (missed && !topology->pulls_all)
        start_pull(topology, true);
    else
        end_pull(topology, take_rows(topology, steps));
}

static void start_pull(struct topology *topology, bool all) {
    struct request *request = &topology->rows;
    if (!topology->pulls) {
        topology->current = topology->next;
        topology->next = NULL;
    }
    topology->pulls = true;
    topology->pulls_all = all || topology->version < 0;
    int64_t since = topology->pulls_all ? -1 : topology->version;
    request_done(request);
    request_init(request);
    request_add(request, SQL_TOPOLOGY_VERSION, false);
    params_int8(request_add(request, SQL_TOPOLOGY_ROUTERS, false), since);
    params_int8(request_add(request, SQL_TOPOLOGY_QUEUES, false), since);
    params_int8(request_add(request, SQL_TOPOLOGY_BINDINGS, false), since);
    request_add(request, SQL_TOPOLOGY_VERSION, false);
    request->deadline_ms = clock_steady_ms() + topology->engine->options.timeout_ms;
    request->done = on_rows;
    request->context = topology;
    pool_send(topology->engine->pool, request);
}

void topology_pull(struct topology *topology, int64_t deadline_ms,
                   void (*done)(void *context, enum err err), void *context) {
    struct waiter *waiter = malloc(sizeof *waiter);
    if (!waiter) {
        done(context, ERR_OUT_OF_MEMORY);
        return;
    }
    *waiter = (struct waiter){topology->next, deadline_ms, done, context};
    topology->next = waiter;
    if (!topology->pulls)
        start_pull(topology, false);
}

void topology_note_version(struct topology *topology, int64_t version) {
    if (version > topology->version && !topology->pulls)
        start_pull(topology, false);
}

/* ---- by time ---- */

static void on_probed(struct request *request) {
    struct topology *topology = request->context;
    topology->probes = false;
    if (request->outcome != OUTCOME_OK || result_rows(request->steps[0].result) != 1)
        return;
    if (result_int8(request->steps[0].result, 0, 0) != topology->version && !topology->pulls)
        start_pull(topology, false);
}

static void probe(struct topology *topology) {
    struct request *request = &topology->probe;
    topology->probes = true;
    request_done(request);
    request_init(request);
    request_add(request, SQL_TOPOLOGY_VERSION, false);
    request->deadline_ms = clock_steady_ms() + topology->engine->options.timeout_ms;
    request->done = on_probed;
    request->context = topology;
    pool_send(topology->engine->pool, request);
}

static void on_swept(struct request *request) {
    struct topology *topology = request->context;
    topology->sweeps = false;
}

/* Up to the version of when the last sweep was due: who is not that far pulls all. */
static void sweep(struct topology *topology) {
    struct request *request = &topology->sweep;
    int64_t version = topology->sweep_version;
    topology->sweep_version = topology->version;
    if (version < 1 || version == topology->version)
        return;
    topology->sweeps = true;
    request_done(request);
    request_init(request);
    params_int8(request_add(request, SQL_TOPOLOGY_SWEEP, false), version);
    request->deadline_ms = clock_steady_ms() + topology->engine->options.timeout_ms;
    request->done = on_swept;
    request->context = topology;
    pool_send(topology->engine->pool, request);
}

static void take_late(struct waiter **from, struct waiter **late, int64_t now_ms) {
    while (*from) {
        struct waiter *waiter = *from;
        if (waiter->deadline_ms > now_ms) {
            from = &waiter->next;
            continue;
        }
        *from = waiter->next;
        waiter->next = *late;
        *late = waiter;
    }
}

void topology_tick(struct topology *topology, int64_t now_ms) {
    struct waiter *late = NULL;
    take_late(&topology->current, &late, now_ms);
    take_late(&topology->next, &late, now_ms);
    end_waiters(late, ERR_UNAVAILABLE);
    if (now_ms >= topology->tick_ms && !topology->probes && !topology->pulls) {
        topology->tick_ms = now_ms + TICK_MS;
        probe(topology);
    }
    if (now_ms >= topology->sweep_ms && !topology->sweeps) {
        topology->sweep_ms = now_ms + SWEEP_MS;
        sweep(topology);
    }
}

void topology_look_soon(struct topology *topology) {
    topology->tick_ms = 0;
}

/* ---- beginning and end ---- */

struct topology *topology_new(struct engine *engine) {
    struct topology *topology = calloc(1, sizeof *topology);
    if (!topology)
        return NULL;
    topology->engine = engine;
    topology->version = -1;
    names_init(&topology->queues);
    names_init(&topology->queues_by_id);
    names_init(&topology->routers);
    names_init(&topology->routers_by_id);
    request_init(&topology->rows);
    request_init(&topology->probe);
    request_init(&topology->sweep);
    return topology;
}

static void free_queue(void *context, struct slice name, void *value) {
    (void)context, (void)name;
    topology_unref(value);
}

static void free_router(void *context, struct slice name, void *value) {
    struct trouter *router = value;
    (void)context, (void)name;
    match_set_free(router->set);
    free(router);
}

void topology_free(struct topology *topology) {
    if (!topology)
        return;
    names_each(&topology->routers, free_router, NULL);
    names_each(&topology->queues, free_queue, NULL);
    names_done(&topology->routers);
    names_done(&topology->routers_by_id);
    names_done(&topology->queues);
    names_done(&topology->queues_by_id);
    request_done(&topology->rows);
    request_done(&topology->probe);
    request_done(&topology->sweep);
    free(topology);
}
