/* SPDX-License-Identifier: MIT */
/* All of the broker at a cut. Definitions are copied there and then; of a queue's messages, those
 * that memory has are pinned by whoever comes first, the next change of the queue or the reader;
 * LMDB is kept as it is. The lists of a memory queue may be very long: the reader goes through them
 * step by step, and what leaves them before it came by is pinned on its way out.
 *
 *   hold: topology, gate ──> cut_make ──> take: LMDB, definitions, all let go
 */
#include "broker/snapshot.h"

#include <stdlib.h>

#include "broker/snapshot_inside.h"
#include "broker/topology.h"

#define NAMES_MAX (1U << 30)
#define FIRST_KEPT 64U
#define WALK_MAX 1024U /* messages kept with the queue locked */

/* ---- a queue ---- */

static bool keep(struct snapshot_part *part, const struct message *message, int64_t due_ms) {
    if (part->count == part->room) {
        size_t room = part->room ? 2 * part->room : FIRST_KEPT;
        struct kept *wider = realloc(part->list, room * sizeof *wider);
        if (!wider)
            return false;
        part->list = wider;
        part->room = room;
    }
    part->list[part->count++] =
        (struct kept){.body = message->body ? body_ref(message->body) : NULL,
                      .seq = message->seq,
                      .expires_ms = message->expires_ms,
                      .due_ms = due_ms,
                      .attempt = message->attempt,
                      .store = message->store,
                      .lane = message->lane};
    return true;
}

static bool keep_list(struct snapshot_part *part, const struct message *first) {
    bool all = true;
    for (; all && first; first = first->next)
        all = keep(part, first, 0);
    return all;
}

static bool keep_heap(struct snapshot_part *part, const struct heap *heap) {
    bool all = true;
    for (uint32_t i = 0; all && i < heap->count; i++)
        all = keep(part, heap->items[i], 0);
    return all;
}

static bool keep_lane(struct snapshot_part *part, unsigned at) {
    const struct lane *lane = part->queue->lanes[at];
    if (!lane)
        return true;
    part->lanes[at] =
        (struct part_lane){.after = lane->loaded_seq,
                           .end = lane->tail_first ? lane->tail_first->seq : UINT64_MAX,
                           .any = lane->disk_count > 0};
    if (!queue_is_hdd(part->queue) && lane->first) {
        part->lanes[at].walk = lane->first;
        part->lanes[at].last = lane->last->seq;
        return keep_heap(part, &lane->returned);
    }
    return keep_list(part, lane->first) && keep_list(part, lane->tail_first) &&
           keep_heap(part, &lane->returned);
}

/* The first that is not kept yet is now; the list is in order of its numbers. */
static void keep_walked(struct snapshot_part *part, struct part_lane *lane) {
    struct message *next = lane->walk->next;
    if (!keep(part, lane->walk, 0))
        atomic_store(&part->snapshot->broken, true);
    lane->walk = next && next->seq <= lane->last ? next : NULL;
}

bool snapshot_walk_locked(struct snapshot_part *part) {
    unsigned count = 0;
    for (unsigned at = 0; at < LANES; at++)
        while (part->lanes[at].walk) {
            if (count++ == WALK_MAX)
                return true;
            keep_walked(part, &part->lanes[at]);
        }
    return false;
}

void snapshot_leaves_locked(struct snapshot_part *part, const struct message *message) {
    struct part_lane *lane = &part->lanes[message->lane];
    if (!part->taken || !lane->walk || message->seq < lane->walk->seq || message->seq > lane->last)
        return;
    if (message == lane->walk)
        keep_walked(part, lane);
    else if (!keep(part, message, 0))
        atomic_store(&part->snapshot->broken, true);
}

void snapshot_empties_locked(struct snapshot_part *part, unsigned at) {
    while (part->taken && part->lanes[at].walk)
        keep_walked(part, &part->lanes[at]);
}

/* Ready ones that expire are in their lane, too. */
static bool keep_delayed(struct snapshot_part *part) {
    const struct heap *waits = &part->queue->waits;
    bool all = true;
    for (uint32_t i = 0; all && i < waits->count; i++) {
        const struct message *message = waits->items[i];
        if (message->state == MESSAGE_DELAYED)
            all = keep(part, message, message->due_ms);
    }
    return all;
}

static bool keep_moving(struct snapshot_part *part) {
    bool all = true;
    for (const struct message *at = part->queue->moving_first; all && at; at = at->prev)
        all = keep(part, at, 0);
    return all;
}

static bool keep_known(struct snapshot_part *part) {
    const struct queue *queue = part->queue;
    bool any = false;
    for (unsigned at = 0; at < LANES; at++)
        any |= part->lanes[at].any;
    if (!any || queue->known_count == 0)
        return true;
    part->known = malloc(queue->known_count * sizeof *part->known);
    if (!part->known)
        return false;
    for (uint32_t i = 0; i < queue->known_room; i++)
        for (const struct message *at = queue->known[i]; at; at = at->hash_next)
            part->known[part->known_count++] = at->seq;
    return true;
}

void snapshot_take_part_locked(struct snapshot_part *part) {
    const struct queue *queue = part->queue;
    part->taken = true;
    part->options = queue->options;
    part->store = queue->store;
    bool all = true;
    for (unsigned at = 0; all && at < LANES; at++)
        all = keep_lane(part, at);
    all = all && keep_heap(part, &queue->leases) && keep_delayed(part) && keep_moving(part) &&
          keep_list(part, queue->later) && keep_list(part, queue->aside) && keep_known(part);
    if (!all)
        atomic_store(&part->snapshot->broken, true);
}

void queue_cut_locked(struct queue *queue, uint64_t cut) {
    struct snapshot_part *part = queue->part;
    queue->cut = cut;
    if (part && !part->taken && cut >= atomic_load(&part->snapshot->cut))
        snapshot_take_part_locked(part);
}

void snapshot_empty_part(struct snapshot_part *part) {
    for (size_t i = 0; i < part->count; i++)
        body_unref(part->list[i].body);
    free(part->list);
    free(part->known);
    part->list = NULL;
    part->known = NULL;
    part->count = part->known_count = part->room = 0;
}

/* ---- all queues ---- */

enum err broker_snapshot_new(struct broker *broker, struct broker_snapshot **ret_snapshot) {
    struct broker_snapshot *none = NULL;
    if (broker->remote)
        return ERR_UNAVAILABLE;
    struct broker_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot)
        return ERR_OUT_OF_MEMORY;
    snapshot->broker = broker;
    atomic_store(&snapshot->cut, UINT64_MAX);
    arena_init(&snapshot->names, NAMES_MAX);
    if (!atomic_compare_exchange_strong(&broker->snapshot, &none, snapshot)) {
        free(snapshot);
        return ERR_CONFLICT;
    }
    *ret_snapshot = snapshot;
    return OK;
}

static void add_part(void *context, struct slice name, void *value) {
    struct broker_snapshot *snapshot = context;
    struct queue *queue = value;
    struct snapshot_part *part = &snapshot->parts[snapshot->part_count++];
    (void)name;
    *part = (struct snapshot_part){.snapshot = snapshot, .queue = queue_ref(queue)};
    queue_lock(queue);
    queue->part = part;
    snapshot->count += queue->ready + queue->delayed + queue->leased;
    pthread_mutex_unlock(&queue->lock);
}

enum err broker_snapshot_hold(struct broker_snapshot *snapshot, uint64_t cut) {
    struct broker *broker = snapshot->broker;
    pthread_rwlock_rdlock(&broker->topology);
    snapshot->parts = calloc(broker->queues.count + 1, sizeof *snapshot->parts);
    if (!snapshot->parts) {
        pthread_rwlock_unlock(&broker->topology);
        return ERR_OUT_OF_MEMORY;
    }
    names_each(&broker->queues, add_part, snapshot);
    atomic_store(&snapshot->cut, cut);
    pthread_rwlock_wrlock(&broker->cut_gate);
    return OK;
}

/* ---- definitions ---- */

static struct slice copy_name(struct broker_snapshot *snapshot, struct slice name) {
    struct slice copy = arena_copy(&snapshot->names, name);
    if (!copy.ptr)
        snapshot->err = ERR_OUT_OF_MEMORY;
    return copy;
}

static void add_binding(void *context, struct slice pattern, void *target) {
    struct broker_snapshot *snapshot = context;
    if (snapshot->err)
        return;
    if (snapshot->binding_count == snapshot->binding_room) {
        size_t room = snapshot->binding_room ? 2 * snapshot->binding_room : 64;
        struct broker_snapshot_binding *wider = realloc(snapshot->bindings, room * sizeof *wider);
        if (!wider) {
            snapshot->err = ERR_OUT_OF_MEMORY;
            return;
        }
        snapshot->bindings = wider;
        snapshot->binding_room = room;
    }
    snapshot->bindings[snapshot->binding_count++] = (struct broker_snapshot_binding){
        .router = snapshot->routers[snapshot->router_count - 1].name,
        .queue = queue_name(target), /* the part has the queue */
        .pattern = copy_name(snapshot, pattern)};
}

static void add_router(void *context, struct slice name, void *value) {
    struct broker_snapshot *snapshot = context;
    const struct router *router = value;
    if (!router->set || snapshot->err) /* of `default` there is nothing to tell */
        return;
    snapshot->routers[snapshot->router_count++] =
        (struct snapshot_router){copy_name(snapshot, name), router->type};
    if (!snapshot->err)
        match_each(router->set, add_binding, snapshot);
}

static enum err take_definitions(struct broker_snapshot *snapshot) {
    const struct names *routers = &snapshot->broker->routers;
    snapshot->routers = calloc(routers->count + 1, sizeof *snapshot->routers);
    if (!snapshot->routers)
        return ERR_OUT_OF_MEMORY;
    names_each(routers, add_router, snapshot);
    return snapshot->err;
}

static enum err take_disk(struct broker_snapshot *snapshot) {
    const struct disk *disk = snapshot->broker->disk;
    if (!disk)
        return OK;
    if (atomic_load(&disk->dead))
        return ERR_UNAVAILABLE;
    enum err err = env_read_begin(disk->env, &snapshot->read);
    if (!err)
        env_read_pause(snapshot->read);
    return err;
}

/* LMDB is looked at behind the cut: what the applier told it before is in it, and of what it tells
 * it from now on memory is kept first. */
enum err broker_snapshot_take(struct broker_snapshot *snapshot) {
    struct broker *broker = snapshot->broker;
    pthread_rwlock_unlock(&broker->cut_gate);
    enum err err = take_disk(snapshot);
    if (!err)
        err = take_definitions(snapshot);
    pthread_rwlock_unlock(&broker->topology);
    return err;
}

uint64_t broker_snapshot_count(const struct broker_snapshot *snapshot) {
    return snapshot->count;
}

void broker_snapshot_end(struct broker_snapshot *snapshot) {
    if (!snapshot)
        return;
    for (size_t i = 0; i < snapshot->part_count; i++) {
        struct queue *queue = snapshot->parts[i].queue;
        pthread_mutex_lock(&queue->lock);
        queue->part = NULL;
        pthread_mutex_unlock(&queue->lock);
        snapshot_empty_part(&snapshot->parts[i]);
        queue_unref(queue);
    }
    if (snapshot->read) {
        env_read_resume(snapshot->read);
        env_read_end(snapshot->read);
    }
    atomic_store(&snapshot->broker->snapshot, NULL);
    arena_done(&snapshot->names);
    free(snapshot->parts);
    free(snapshot->routers);
    free(snapshot->bindings);
    free(snapshot);
}
