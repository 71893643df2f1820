/* SPDX-License-Identifier: MIT */
/* What LMDB is to be told of routers, queues and bindings, in the order it happened. */
#include <stdlib.h>

#include "broker/disk_inside.h"

#define KEY_MAX (9U + BROKER_NAME_MAX)

void disk_note_def(struct disk *disk, struct slice key, struct slice value) {
    struct def_change *def = malloc(sizeof *def + key.len + value.len);
    if (!def) {
        disk_fail(disk, "no memory for a definition");
        return;
    }
    def->next = NULL;
    def->key_len = (uint16_t)key.len;
    def->value_len = (uint16_t)value.len;
    memcpy(def->bytes, key.ptr, key.len);
    if (value.len)
        memcpy(def->bytes + key.len, value.ptr, value.len);
    pthread_mutex_lock(&disk->lock);
    *disk->last_def = def;
    disk->last_def = &def->next;
    pthread_mutex_unlock(&disk->lock);
}

void disk_queue_key(uint32_t id, char to[5]) {
    to[0] = KEY_QUEUE;
    put_be32(to + 1, id);
}

void disk_list_dirty(struct queue *queue) {
    struct disk *disk = disk_of(queue->broker);
    if (queue->listed_dirty)
        return;
    queue->listed_dirty = true;
    queue->dirty_next = NULL;
    queue_ref(queue);
    pthread_mutex_lock(&disk->lock);
    if (disk->dirty_last)
        disk->dirty_last->dirty_next = queue;
    else
        disk->dirty_first = queue;
    disk->dirty_last = queue;
    pthread_mutex_unlock(&disk->lock);
}

void disk_note_queue(struct queue *queue) {
    queue_lock(queue);
    queue->changed = true;
    disk_list_dirty(queue);
    pthread_mutex_unlock(&queue->lock);
}

void disk_drop_store(struct broker *broker, uint32_t store) {
    struct disk *disk = disk_of(broker);
    struct dropped_store *dropped = malloc(sizeof *dropped);
    if (!dropped) {
        disk_fail(disk, "no memory to drop a store");
        return;
    }
    dropped->store = store;
    pthread_mutex_lock(&disk->lock);
    dropped->next = disk->dropped;
    disk->dropped = dropped;
    pthread_mutex_unlock(&disk->lock);
}

void disk_free_stores(struct dropped_store *first) {
    while (first) {
        struct dropped_store *next = first->next;
        free(first);
        first = next;
    }
}

void disk_forget_stores(struct queue *queue) {
    disk_free_stores(queue->retired);
}

static void note_dropped_store(struct disk *disk, uint32_t store) {
    char key[5] = {KEY_DROPPED};
    put_be32(key + 1, store);
    disk_note_def(disk, slice_make(key, sizeof key), SLICE("1"));
    disk_drop_store(disk->broker, store);
}

void disk_note_gone_queue(struct disk *disk, struct queue *queue) {
    char key[5];
    disk_queue_key(queue->id, key);
    disk_note_def(disk, slice_make(key, sizeof key), SLICE(""));
    note_dropped_store(disk, queue->store);
}

void disk_note_router(struct disk *disk, const struct router *router, bool gone) {
    char key[5] = {KEY_ROUTER};
    char value[sizeof(struct record_router) + BROKER_NAME_MAX];
    struct record_router record = {.kind = RECORD_ROUTER,
                                   .type = (uint8_t)router->type,
                                   .name_len = router->name_len,
                                   .id = router->id};
    put_be32(key + 1, router->id);
    memcpy(value, &record, sizeof record);
    memcpy(value + sizeof record, router->name, router->name_len);
    disk_note_def(disk, slice_make(key, sizeof key),
                  slice_make(value, gone ? 0 : sizeof record + router->name_len));
}

void disk_note_binding(struct disk *disk, const struct router *router, const struct queue *queue,
                       struct slice pattern, bool gone) {
    char key[KEY_MAX] = {KEY_BINDING};
    put_be32(key + 1, router->id);
    put_be32(key + 5, queue->id);
    if (pattern.len)
        memcpy(key + 9, pattern.ptr, pattern.len);
    disk_note_def(disk, slice_make(key, 9 + pattern.len), gone ? SLICE("") : SLICE("1"));
}

struct unbinding {
    struct disk *disk;
    const struct router *router;
};

static void note_unbound(void *context, struct slice pattern, void *target) {
    const struct unbinding *unbinding = context;
    disk_note_binding(unbinding->disk, unbinding->router, target, pattern, true);
}

static void note_before(struct disk *disk, const struct broker_op *op, struct queue *queue,
                        struct router *router) {
    struct unbinding unbinding = {disk, router};
    if (op->action == BROKER_DELETE_QUEUE &&
        queue) { /* its bindings are cleared at the next start */
        disk_note_gone_queue(disk, queue);
    } else if (op->action == BROKER_DELETE_ROUTER && router) {
        if (router->set)
            match_each(router->set, note_unbound, &unbinding);
        disk_note_router(disk, router, true);
    } else if (op->action == BROKER_UNBIND && queue && router) {
        disk_note_binding(disk, router, queue, op->pattern, true);
    }
}

void disk_note_topology(struct broker *broker, const struct broker_op *op, bool done) {
    struct disk *disk = disk_of(broker);
    struct queue *queue = op->queue.len ? names_get(&broker->queues, op->queue) : NULL;
    struct router *router = op->router.len ? names_get(&broker->routers, op->router) : NULL;
    if (!done) {
        note_before(disk, op, queue, router);
        return;
    }
    bool created = op->flag; /* not: it was there already */
    if (op->action == BROKER_CREATE_QUEUE && created && queue)
        disk_note_queue(queue);
    else if (op->action == BROKER_PAUSE && queue)
        disk_note_queue(queue);
    else if (op->action == BROKER_CREATE_ROUTER && created && router)
        disk_note_router(disk, router, false);
    else if (op->action == BROKER_BIND && queue && router)
        disk_note_binding(disk, router, queue, op->pattern, false);
}

/* ---- messages ---- */

static void link_dirty(struct queue *queue, struct message *message) {
    message->flags |= MESSAGE_DIRTY;
    message->dirty_next = NULL;
    message->dirty_prev = queue->dirty_last;
    if (queue->dirty_last)
        queue->dirty_last->dirty_next = message;
    else
        queue->dirty_first = message;
    queue->dirty_last = message;
}

static void unlink_dirty(struct queue *queue, struct message *message) {
    struct disk *disk = disk_of(queue->broker);
    if (!(message->flags & MESSAGE_DIRTY))
        return;
    message->flags &= (uint16_t)~MESSAGE_DIRTY;
    if (message->dirty_prev)
        message->dirty_prev->dirty_next = message->dirty_next;
    else
        queue->dirty_first = message->dirty_next;
    if (message->dirty_next)
        message->dirty_next->dirty_prev = message->dirty_prev;
    else
        queue->dirty_last = message->dirty_prev;
    atomic_fetch_sub_explicit(&disk->dirty_bytes, message->dirty_size, memory_order_relaxed);
}

void disk_note_locked(struct queue *queue, struct message *message) {
    struct disk *disk = disk_of(queue->broker);
    if (message->flags & MESSAGE_DIRTY)
        return;
    link_dirty(queue, message);
    message->dirty_size = (uint32_t)message_size(message);
    atomic_fetch_add_explicit(&disk->dirty_bytes, message->dirty_size, memory_order_relaxed);
    disk_list_dirty(queue);
}

void disk_note_again_locked(struct queue *queue, struct message *message) {
    struct disk *disk = disk_of(queue->broker);
    unlink_dirty(queue, message);
    message->flags |= MESSAGE_DIRTY;
    message->dirty_prev = NULL;
    message->dirty_next = queue->dirty_first;
    if (queue->dirty_first)
        queue->dirty_first->dirty_prev = message;
    else
        queue->dirty_last = message;
    queue->dirty_first = message;
    message->dirty_size = (uint32_t)message_size(message);
    atomic_fetch_add_explicit(&disk->dirty_bytes, message->dirty_size, memory_order_relaxed);
    disk_list_dirty(queue);
}

struct message *disk_take_dirty(struct queue *queue) {
    struct message *message = queue->dirty_first;
    if (message)
        unlink_dirty(queue, message);
    return message;
}

void disk_gone_locked(struct queue *queue, struct message *message) {
    if (queue->deleted || message->store != queue->store) { /* its store is dropped as a whole */
        disk_throw_locked(queue, message);
        return;
    }
    message->state = MESSAGE_DEAD;
    body_unref(message->body);
    message->body = NULL;
    if (!(message->flags & (MESSAGE_PINNED | MESSAGE_ON_DISK))) {
        unlink_dirty(queue, message);
        known_remove(queue, message);
        message_free(message);
        return;
    }
    if (known_reserve(queue) == OK) /* LMDB still has it: it is not to be read again */
        known_add(queue, message);
    disk_note_locked(queue, message);
}

void disk_throw_locked(struct queue *queue, struct message *message) {
    unlink_dirty(queue, message);
    known_remove(queue, message);
    if (message->flags & MESSAGE_PINNED)
        message->flags |= MESSAGE_THROWN;
    else
        message_free(message);
}

void disk_renew_store_locked(struct queue *queue, uint32_t store) {
    struct dropped_store *retired = malloc(sizeof *retired);
    if (retired) {
        *retired = (struct dropped_store){queue->retired, queue, queue->store};
        queue->retired = retired;
    } else {
        disk_fail(disk_of(queue->broker), "no memory to drop a store");
    }
    queue->store = store;
    queue->changed = true;
    disk_list_dirty(queue);
    for (uint32_t i = 0; i < queue->leases.count; i++)
        disk_adopt_locked(queue, queue->leases.items[i]);
    disk_throw_dead_locked(queue);
}

void disk_throw_dead_locked(struct queue *queue) {
    struct message *next;
    for (struct message *message = queue->dirty_first; message; message = next) {
        next = message->dirty_next;
        if (message->state == MESSAGE_DEAD)
            disk_throw_locked(queue, message);
    }
}

void disk_adopt_locked(struct queue *queue, struct message *message) {
    if (!message->body)
        (void)!disk_load_body_locked(queue, message); /* while the old store is there */
    message->flags &= (uint16_t) ~(MESSAGE_ON_DISK | MESSAGE_DISK_PLAIN);
    message->store = queue->store;
    disk_note_locked(queue, message);
}
