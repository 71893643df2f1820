/* SPDX-License-Identifier: MIT */
/* Looking at routers and queues without changing them. */
#include <stdlib.h>

#include "broker/disk.h"
#include "broker/internal.h"

/* ---- names ---- */

struct listing {
    struct arena *arena;
    struct slice *names;
    size_t count;
    bool failed;
};

static void take_name(void *context, struct slice name, void *value) {
    struct listing *listing = context;
    (void)value;
    struct slice copy = arena_copy(listing->arena, name);
    if (copy.ptr)
        listing->names[listing->count++] = copy;
    else
        listing->failed = true;
}

static int compare_names(const void *a, const void *b) {
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static enum err list(struct broker *broker, const struct names *names, struct arena *arena,
                     struct slice **ret_names, size_t *ret_count) {
    struct listing listing = {.arena = arena};
    pthread_rwlock_rdlock(&broker->topology);
    listing.names = arena_alloc(arena, (names->count + 1) * sizeof(struct slice));
    if (listing.names)
        names_each(names, take_name, &listing);
    pthread_rwlock_unlock(&broker->topology);
    if (!listing.names || listing.failed)
        return ERR_OUT_OF_MEMORY;
    qsort(listing.names, listing.count, sizeof *listing.names, compare_names);
    *ret_names = listing.names;
    *ret_count = listing.count;
    return OK;
}

enum err broker_list_queues(struct broker *broker, struct arena *arena, struct slice **ret_names,
                            size_t *ret_count) {
    return list(broker, &broker->queues, arena, ret_names, ret_count);
}

enum err broker_list_routers(struct broker *broker, struct arena *arena, struct slice **ret_names,
                             size_t *ret_count) {
    return list(broker, &broker->routers, arena, ret_names, ret_count);
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
    struct broker_binding *binding = &bindings->list[bindings->count++];
    binding->pattern = arena_copy(bindings->arena, pattern);
    binding->queue = arena_copy(bindings->arena, queue_name(target));
    if (!binding->pattern.ptr || !binding->queue.ptr)
        bindings->failed = true;
}

static enum err read_router_locked(const struct router *router, struct arena *arena,
                                   struct broker_router_info *info) {
    struct bindings bindings = {.arena = arena};
    size_t count = router->set ? match_count(router->set) : 0;
    bindings.list = arena_alloc(arena, (count + 1) * sizeof *bindings.list);
    info->name = arena_copy(arena, router_name(router));
    if (!bindings.list || !info->name.ptr)
        return ERR_OUT_OF_MEMORY;
    if (router->set)
        match_each(router->set, take_binding, &bindings);
    info->type = router->type;
    info->published = atomic_load(&router->published);
    info->unroutable = atomic_load(&router->unroutable);
    info->bindings = bindings.list;
    info->binding_count = bindings.count;
    return bindings.failed ? ERR_OUT_OF_MEMORY : OK;
}

enum err broker_get_router(struct broker *broker, struct slice name, struct arena *arena,
                           struct broker_router_info *ret_info) {
    pthread_rwlock_rdlock(&broker->topology);
    const struct router *router = names_get(&broker->routers, name);
    enum err err = router ? read_router_locked(router, arena, ret_info) : ERR_ROUTER_NOT_EXIST;
    pthread_rwlock_unlock(&broker->topology);
    return err;
}

/* ---- a queue ---- */

static void note_age(struct queue *queue, struct message *message, int64_t now_ms,
                     int64_t *age_ms) {
    if (!message || (!message->body && disk_load_body_locked(queue, message)))
        return;
    int64_t age = now_ms - message->body->published_ms;
    if (age > *age_ms)
        *age_ms = age;
}

static int64_t oldest_locked(struct queue *queue, int64_t now_ms) {
    int64_t age_ms = 0;
    for (unsigned i = 0; i < LANES; i++) {
        struct lane *lane = queue->lanes[i];
        if (!lane)
            continue;
        if (!lane->first && (lane->disk_count || lane->tail_first))
            disk_refill_locked(queue, lane);
        note_age(queue, lane->first, now_ms, &age_ms);
        note_age(queue, heap_top(&lane->returned), now_ms, &age_ms);
    }
    return age_ms;
}

static void read_stats_locked(struct queue *queue, int64_t now_ms,
                              struct broker_queue_stats *stats) {
    *stats = (struct broker_queue_stats){
        .ready = queue->ready,
        .leased = queue->leased,
        .delayed = queue->delayed,
        .published = queue->published,
        .delivered = queue->delivered,
        .acked = queue->acked,
        .redelivered = queue->redelivered,
        .dead_lettered = queue->dead_lettered,
        .expired = queue->expired,
        .dropped = queue->dropped,
        .consumers = queue->consumer_count + queue->waiter_count,
        .oldest_ms = oldest_locked(queue, now_ms),
    };
}

enum err broker_get_queue(struct broker *broker, struct slice name, int64_t now_ms,
                          struct arena *arena, struct broker_queue_info *ret_info) {
    struct queue *queue = broker_find_queue(broker, name);
    if (!queue)
        return ERR_QUEUE_NOT_EXIST;
    queue_lock(queue);
    ret_info->options = queue->options;
    read_stats_locked(queue, now_ms, &ret_info->stats);
    pthread_mutex_unlock(&queue->lock);
    ret_info->name = arena_copy(arena, queue_name(queue));
    ret_info->options.dead_letter = arena_copy(arena, queue->options.dead_letter);
    queue_unref(queue);
    return ret_info->name.ptr && ret_info->options.dead_letter.ptr ? OK : ERR_OUT_OF_MEMORY;
}

static void add_messages(void *context, struct slice name, void *value) {
    uint64_t *messages = context;
    struct queue *queue = value;
    (void)name;
    queue_lock(queue);
    *messages += queue->ready + queue->leased + queue->delayed;
    pthread_mutex_unlock(&queue->lock);
}

void broker_stats(struct broker *broker, struct broker_stats *ret_stats) {
    if (broker->remote) {
        broker->remote->stats(broker->remote->context, ret_stats);
        return;
    }
    uint64_t messages = 0;
    pthread_rwlock_rdlock(&broker->topology);
    names_each(&broker->queues, add_messages, &messages);
    *ret_stats = (struct broker_stats){
        .routers = broker->routers.count,
        .queues = broker->queues.count,
        .messages = messages,
        .published = atomic_load(&broker->published),
        .delivered = atomic_load(&broker->delivered),
        .acked = atomic_load(&broker->acked),
        .unroutable = atomic_load(&broker->unroutable),
        .bytes = atomic_load(&broker->memory_bytes),
    };
    pthread_rwlock_unlock(&broker->topology);
}

/* ---- a peek ---- */

struct peek {
    struct arena *arena;
    struct broker_delivery *deliveries;
    unsigned count, limit;
    uint64_t bytes;
    struct message **picked; /* of the lane at hand, by seq */
    unsigned picked_count;
};

/* Keeps the `limit` lowest by seq; what comes in order costs nothing. */
static void pick(struct peek *peek, struct message *message) {
    unsigned room = peek->limit + 1 - peek->count;
    unsigned at = peek->picked_count;
    if (at == room && peek->picked[at - 1]->seq < message->seq)
        return;
    if (at == room)
        at--;
    else
        peek->picked_count++;
    while (at > 0 && peek->picked[at - 1]->seq > message->seq) {
        peek->picked[at] = peek->picked[at - 1];
        at--;
    }
    peek->picked[at] = message;
}

static void pick_list(struct peek *peek, struct message *first, uint64_t after) {
    unsigned room = peek->limit + 1 - peek->count;
    for (unsigned taken = 0; first && taken < room; first = first->next)
        if (first->seq > after) {
            pick(peek, first);
            taken++;
        }
}

static bool copy(struct peek *peek, const struct message *message) {
    struct broker_delivery *delivery = &peek->deliveries[peek->count];
    struct body_parts parts;
    body_read(message->body, &parts);
    *delivery = (struct broker_delivery){.id = arena_copy(peek->arena, parts.id),
                                         .key = arena_copy(peek->arena, parts.key),
                                         .payload = arena_copy(peek->arena, parts.payload),
                                         .headers = arena_copy(peek->arena, parts.headers),
                                         .from = arena_copy(peek->arena, parts.from),
                                         .reason = parts.reason,
                                         .dead_attempt = parts.dead_attempt,
                                         .attempt = message->attempt,
                                         .published_ms = parts.published_ms};
    return delivery->id.ptr && delivery->key.ptr && delivery->payload.ptr &&
           delivery->headers.ptr && delivery->from.ptr;
}

/* ERR_WOULD_WAIT: the page is full. A body that only LMDB has is left there. */
static enum err copy_locked(struct queue *queue, struct peek *peek, struct message *message) {
    bool was_here = message->body != NULL;
    enum err err = was_here ? OK : disk_load_body_locked(queue, message);
    if (!err)
        peek->bytes += body_size(message->body);
    if (!err && peek->count && peek->bytes > PEEK_BYTES)
        err = ERR_WOULD_WAIT;
    if (!err && !copy(peek, message))
        err = ERR_OUT_OF_MEMORY;
    if (!was_here) {
        body_unref(message->body);
        message->body = NULL;
    }
    return err;
}

static enum err peek_lane_locked(struct queue *queue, unsigned at, struct broker_cursor *cursor,
                                 struct peek *peek, bool *ret_more) {
    struct lane *lane = queue->lanes[at];
    uint64_t after = at == cursor->lane ? cursor->seq : 0;
    struct message *on_disk = NULL;
    enum err err = OK;
    peek->picked_count = 0;
    for (uint32_t i = 0; i < lane->returned.count; i++) {
        struct message *message = lane->returned.items[i];
        if (message->seq > after)
            pick(peek, message);
    }
    pick_list(peek, lane->first, after);
    if (lane->disk_count)
        err = disk_peek_locked(queue, at, after, peek->limit + 1 - peek->count, &on_disk);
    pick_list(peek, on_disk, after);
    pick_list(peek, lane->tail_first, after);
    for (unsigned i = 0; !err && i < peek->picked_count; i++) {
        if (peek->count == peek->limit) {
            *ret_more = true;
            break;
        }
        err = copy_locked(queue, peek, peek->picked[i]);
        if (err)
            break;
        peek->count++;
        cursor->lane = at;
        cursor->seq = peek->picked[i]->seq;
    }
    while (on_disk) {
        struct message *next = on_disk->next;
        message_free(on_disk);
        on_disk = next;
    }
    return err;
}

enum err broker_peek(struct broker *broker, struct slice name, struct broker_cursor *cursor,
                     unsigned limit, struct arena *arena, struct broker_delivery **ret_deliveries,
                     unsigned *ret_count, bool *ret_more) {
    struct peek peek = {.arena = arena, .limit = limit};
    struct queue *queue = broker_find_queue(broker, name);
    enum err err = queue ? OK : ERR_QUEUE_NOT_EXIST;
    *ret_more = false;
    if (err)
        return err;
    peek.deliveries = arena_alloc(arena, limit * sizeof *peek.deliveries);
    peek.picked = malloc((limit + 1) * sizeof *peek.picked);
    if (!peek.deliveries || !peek.picked)
        err = ERR_OUT_OF_MEMORY;
    queue_lock(queue);
    for (unsigned at = (unsigned)(cursor->lane < LANES ? cursor->lane : LANES);
         !err && !*ret_more && at < LANES; at++)
        if (queue->lanes[at])
            err = peek_lane_locked(queue, at, cursor, &peek, ret_more);
    if (err == ERR_WOULD_WAIT) { /* larger messages make a shorter page */
        *ret_more = true;
        err = OK;
    }
    pthread_mutex_unlock(&queue->lock);
    free(peek.picked);
    queue_unref(queue);
    *ret_deliveries = peek.deliveries;
    *ret_count = peek.count;
    return err;
}

static enum err ask_here(struct broker *broker, struct broker_query *query) {
    switch (query->question) {
    case ASK_QUEUE:
        return broker_get_queue(broker, query->name, query->now_ms, query->arena, &query->queue);
    case ASK_ROUTER:
        return broker_get_router(broker, query->name, query->arena, &query->router);
    case ASK_QUEUES:
        return broker_list_queues(broker, query->arena, &query->names, &query->name_count);
    case ASK_ROUTERS:
        return broker_list_routers(broker, query->arena, &query->names, &query->name_count);
    case ASK_PEEK:
        return broker_peek(broker, query->name, &query->cursor, query->limit, query->arena,
                           &query->deliveries, &query->count, &query->more);
    }
    return ERR_INTERNAL;
}

enum err broker_ask(struct broker *broker, struct broker_query *query) {
    if (broker->remote)
        return broker->remote->ask(broker->remote->context, query);
    return query->err = ask_here(broker, query);
}
