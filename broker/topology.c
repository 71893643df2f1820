/* SPDX-License-Identifier: MIT */
/* Routers, queues, bindings. A change is staged (tested, numbered, written down) and finished;
 * changes are few and, with a data directory, the committer's alone, so that none comes between. */
#include "broker/topology.h"

#include <stdlib.h>

#include "broker/disk.h"

#define DEFAULT_ROUTER SLICE("default")

static struct slice id_slice(const uint32_t *id) {
    return slice_make(id, sizeof *id);
}

struct queue *broker_find_queue(struct broker *broker, struct slice name) {
    pthread_rwlock_rdlock(&broker->topology);
    struct queue *queue = names_get(&broker->queues, name);
    if (queue)
        queue_ref(queue);
    pthread_rwlock_unlock(&broker->topology);
    return queue;
}

struct router *topology_find_router_id(struct broker *broker, uint32_t id) {
    return names_get(&broker->routers_by_id, id_slice(&id));
}

enum err topology_add_router(struct broker *broker, uint32_t id, struct slice name,
                             enum broker_router_type type) {
    struct router *router = calloc(1, sizeof *router);
    if (!router)
        return ERR_OUT_OF_MEMORY;
    router->id = id;
    router->type = type;
    router->name_len = (uint8_t)name.len;
    memcpy(router->name, name.ptr, name.len);
    bool is_default = slice_equal(name, DEFAULT_ROUTER);
    enum err err = is_default ? OK : match_set_new(type, &router->set);
    if (!err)
        err = names_put(&broker->routers, name, router);
    if (!err && names_put(&broker->routers_by_id, id_slice(&id), router)) {
        names_take(&broker->routers, name);
        err = ERR_OUT_OF_MEMORY;
    }
    if (err) {
        match_set_free(router->set);
        free(router);
    }
    return err;
}

void topology_remove_router(struct broker *broker, struct router *router) {
    names_take(&broker->routers, router_name(router));
    names_take(&broker->routers_by_id, id_slice(&router->id));
    match_set_free(router->set);
    free(router);
}

enum err topology_add_queue(struct broker *broker, uint32_t id, uint32_t store, struct slice name,
                            const struct broker_queue_options *options, struct queue **ret_queue) {
    struct queue *queue;
    enum err err = queue_new(broker, name, options, &queue);
    if (err)
        return err;
    queue->id = id;
    queue->store = store;
    err = names_put(&broker->queues, name, queue);
    if (!err && names_put(&broker->queues_by_id, id_slice(&id), queue)) {
        names_take(&broker->queues, name);
        err = ERR_OUT_OF_MEMORY;
    }
    if (err)
        queue_unref(queue);
    else
        *ret_queue = queue;
    return err;
}

static void unbind_all(void *context, struct slice name, void *value) {
    const struct router *router = value;
    (void)name;
    if (router->set)
        match_remove_target(router->set, context);
}

/* The queue is out of reach; its messages go, its waiters are told. */
void topology_remove_queue(struct broker *broker, struct queue *queue, struct effects *effects) {
    names_take(&broker->queues, queue_name(queue));
    names_take(&broker->queues_by_id, id_slice(&queue->id));
    names_each(&broker->routers, unbind_all, queue);
    queue_lock(queue);
    queue->deleted = true;
    waiter_end_all_locked(queue, ERR_QUEUE_NOT_EXIST, effects);
    queue_empty_locked(queue, true);
    pthread_mutex_unlock(&queue->lock);
}

static bool same_options(const struct broker_queue_options *a,
                         const struct broker_queue_options *b) {
    return a->storage == b->storage && a->overflow == b->overflow && a->lease_ms == b->lease_ms &&
           a->ttl_ms == b->ttl_ms && a->dedup_window_ms == b->dedup_window_ms &&
           a->max_length == b->max_length && a->max_deliver == b->max_deliver &&
           slice_equal(a->dead_letter, b->dead_letter);
}

static enum err stage_router(struct broker *broker, struct broker_op *op) {
    const struct router *router = names_get(&broker->routers, op->router);
    bool is_default = slice_equal(op->router, DEFAULT_ROUTER);
    if (op->action == BROKER_DELETE_ROUTER)
        return !router ? ERR_ROUTER_NOT_EXIST : is_default ? ERR_CONFLICT : OK;
    op->flag = !router;
    if (router)
        return router->type == op->router_type ? OK : ERR_CONFLICT;
    op->at_limit = broker->routers.count >= BROKER_ROUTERS_MAX;
    return op->at_limit ? ERR_STORAGE_FULL : OK;
}

static enum err stage_queue(struct broker *broker, struct broker_op *op) {
    const struct queue *queue = names_get(&broker->queues, op->queue);
    if (op->action != BROKER_CREATE_QUEUE)
        return queue ? OK : ERR_QUEUE_NOT_EXIST;
    op->flag = !queue;
    if (queue)
        return same_options(&queue->options, op->options) ? OK : ERR_CONFLICT;
    if (op->options->storage == BROKER_HDD && !broker->disk)
        return ERR_UNAVAILABLE;
    op->at_limit = broker->queues.count >= BROKER_QUEUES_MAX;
    return op->at_limit ? ERR_STORAGE_FULL : OK;
}

struct slice topology_pattern(const struct router *router, const struct broker_op *op) {
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

static enum err stage_binding(struct broker *broker, struct broker_op *op) {
    struct router *router = names_get(&broker->routers, op->router);
    const struct queue *queue = names_get(&broker->queues, op->queue);
    if (!router)
        return ERR_ROUTER_NOT_EXIST;
    if (!queue)
        return ERR_QUEUE_NOT_EXIST;
    if (!router->set)
        return ERR_CONFLICT; /* every queue is bound to `default` as it is */
    op->pattern = topology_pattern(router, op);
    op->pattern_given = true;
    return OK;
}

enum err topology_stage(struct broker *broker, struct broker_op *op, struct journal_block *block) {
    enum err err;
    pthread_rwlock_rdlock(&broker->topology);
    switch (op->action) {
    case BROKER_CREATE_ROUTER:
    case BROKER_DELETE_ROUTER:
        err = stage_router(broker, op);
        break;
    case BROKER_BIND:
    case BROKER_UNBIND:
        err = stage_binding(broker, op);
        break;
    default:
        err = stage_queue(broker, op);
        break;
    }
    bool creates = op->action == BROKER_CREATE_ROUTER || op->action == BROKER_CREATE_QUEUE;
    bool nothing = creates && !op->flag;
    op->count = 0;
    if (!err && !nothing) {
        if (creates)
            op->count = ++broker->next_id; /* one thread stages at a time */
        if (block)
            err = disk_add_topology(broker, block, op);
    }
    pthread_rwlock_unlock(&broker->topology);
    return err;
}

static enum err change(struct broker *broker, struct broker_op *op, struct queue *queue,
                       struct router *router, struct effects *effects) {
    struct queue *made;
    bool fresh = false;
    enum err err = OK;
    uint32_t id = (uint32_t)op->count;
    switch (op->action) {
    case BROKER_CREATE_ROUTER: /* staged twice in a block: the first one made it */
        return op->flag && !router ? topology_add_router(broker, id, op->router, op->router_type)
                                   : OK;
    case BROKER_DELETE_ROUTER:
        if (router)
            topology_remove_router(broker, router);
        return OK;
    case BROKER_CREATE_QUEUE:
        return op->flag && !queue
                   ? topology_add_queue(broker, id, id, op->queue, op->options, &made)
                   : OK;
    case BROKER_DELETE_QUEUE:
        if (queue)
            topology_remove_queue(broker, queue, effects);
        return OK;
    case BROKER_BIND:
        if (router && queue)
            err = match_add(router->set, op->pattern, queue, &fresh);
        op->flag = fresh;
        return err;
    case BROKER_UNBIND:
        op->flag = router && queue && match_remove(router->set, op->pattern, queue);
        return OK;
    default:
        return OK;
    }
}

static void pause(struct queue *queue, const struct broker_op *op, int64_t now_ms) {
    struct effects effects;
    effects_init(&effects);
    queue_lock(queue);
    queue->options.paused = op->pause;
    waiter_serve_locked(queue, now_ms, &effects);
    pthread_mutex_unlock(&queue->lock);
    effects_run(queue, &effects);
}

static void tell_disk(struct broker *broker, const struct broker_op *op, struct disk_notes *notes) {
    disk_notes_take(broker->disk, notes);
    struct queue *queue = NULL;
    if (op->action == BROKER_PAUSE || (op->action == BROKER_CREATE_QUEUE && op->flag))
        queue = names_get(&broker->queues, op->queue);
    if (queue)
        disk_note_queue(queue);
}

enum err topology_finish(struct broker *broker, struct broker_op *op, int64_t now_ms) {
    struct effects effects;
    struct disk_notes notes;
    effects_init(&effects);
    disk_notes_init(&notes);
    pthread_rwlock_wrlock(&broker->topology);
    struct queue *queue = op->queue.len ? names_get(&broker->queues, op->queue) : NULL;
    struct router *router = op->router.len ? names_get(&broker->routers, op->router) : NULL;
    if (queue)
        queue_ref(queue);
    enum err err = broker->disk ? disk_note_topology(&notes, op, queue, router) : OK;
    if (!err)
        err = change(broker, op, queue, router, &effects);
    if (broker->disk && !err)
        tell_disk(broker, op, &notes);
    pthread_rwlock_unlock(&broker->topology);
    disk_notes_free(&notes);
    if (queue && !err && op->action == BROKER_PAUSE)
        pause(queue, op, now_ms);
    if (queue) {
        effects_run(queue, &effects);
        if (!err && op->action == BROKER_DELETE_QUEUE)
            queue_unref(queue); /* the topology's */
        queue_unref(queue);
    }
    op->count = 0;
    return err;
}

enum err topology_open(struct broker *broker) {
    pthread_rwlockattr_t writer_first; /* or publishers that never pause keep a cut away */
    pthread_rwlockattr_init(&writer_first);
    pthread_rwlockattr_setkind_np(&writer_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&broker->cut_gate, &writer_first);
    pthread_rwlockattr_destroy(&writer_first);
    pthread_rwlock_init(&broker->topology, NULL);
    names_init(&broker->routers);
    names_init(&broker->queues);
    names_init(&broker->routers_by_id);
    names_init(&broker->queues_by_id);
    return topology_add_router(broker, 0, DEFAULT_ROUTER, ROUTER_DIRECT);
}

static void close_queue(void *context, struct slice name, void *value) {
    struct queue *queue = value;
    (void)context, (void)name;
    queue_lock(queue);
    queue->deleted = true;
    queue_empty_locked(queue, true);
    pthread_mutex_unlock(&queue->lock);
    queue_unref(queue);
}

static void close_router(void *context, struct slice name, void *value) {
    struct router *router = value;
    (void)context, (void)name;
    match_set_free(router->set);
    free(router);
}

void topology_close(struct broker *broker) {
    names_each(&broker->routers, close_router, NULL);
    names_each(&broker->queues, close_queue, NULL);
    names_done(&broker->routers);
    names_done(&broker->routers_by_id);
    names_done(&broker->queues);
    names_done(&broker->queues_by_id);
}
