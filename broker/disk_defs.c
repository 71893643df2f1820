/* SPDX-License-Identifier: MIT */
/* What LMDB is to be told of routers, queues and bindings, in the order it happened. */
#include <stdlib.h>

#include "broker/disk_inside.h"

#define KEY_MAX (9U + BROKER_NAME_MAX)

void disk_notes_init(struct disk_notes *notes) {
    *notes = (struct disk_notes){0};
    notes->last_def = &notes->defs;
}

enum err disk_note_def(struct disk_notes *notes, struct slice key, struct slice value) {
    struct def_change *def = malloc(sizeof *def + key.len + value.len);
    if (!def)
        return ERR_OUT_OF_MEMORY;
    def->next = NULL;
    def->key_len = (uint16_t)key.len;
    def->value_len = (uint16_t)value.len;
    memcpy(def->bytes, key.ptr, key.len);
    if (value.len)
        memcpy(def->bytes + key.len, value.ptr, value.len);
    *notes->last_def = def;
    notes->last_def = &def->next;
    return OK;
}

void disk_notes_take(struct disk *disk, struct disk_notes *notes) {
    pthread_mutex_lock(&disk->lock);
    if (notes->defs) {
        *disk->last_def = notes->defs;
        disk->last_def = notes->last_def;
    }
    struct dropped_store **end = &notes->dropped;
    while (*end)
        end = &(*end)->next;
    *end = disk->dropped;
    disk->dropped = notes->dropped;
    pthread_mutex_unlock(&disk->lock);
    disk_notes_init(notes);
}

void disk_notes_free(struct disk_notes *notes) {
    while (notes->defs) {
        struct def_change *next = notes->defs->next;
        free(notes->defs);
        notes->defs = next;
    }
    disk_free_stores(notes->dropped);
}

enum err disk_notes_end(struct disk *disk, struct disk_notes *notes, enum err err) {
    if (err)
        disk_notes_free(notes);
    else
        disk_notes_take(disk, notes);
    return err;
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

enum err disk_note_store(struct disk_notes *notes, uint32_t store) {
    struct dropped_store *dropped = malloc(sizeof *dropped);
    if (!dropped)
        return ERR_OUT_OF_MEMORY;
    *dropped = (struct dropped_store){.next = notes->dropped, .store = store};
    notes->dropped = dropped;
    return OK;
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

enum err disk_note_gone_queue(struct disk_notes *notes, const struct queue *queue) {
    char key[5];
    char store[5] = {KEY_DROPPED};
    disk_queue_key(queue->id, key);
    put_be32(store + 1, queue->store);
    enum err err = disk_note_def(notes, slice_make(key, sizeof key), SLICE(""));
    if (!err)
        err = disk_note_def(notes, slice_make(store, sizeof store), SLICE("1"));
    return err ? err : disk_note_store(notes, queue->store);
}

enum err disk_note_router(struct disk_notes *notes, uint32_t id, struct slice name,
                          enum broker_router_type type) {
    char key[5] = {KEY_ROUTER};
    char value[sizeof(struct record_router) + BROKER_NAME_MAX];
    struct record_router record = {
        .kind = RECORD_ROUTER, .type = (uint8_t)type, .name_len = (uint8_t)name.len, .id = id};
    put_be32(key + 1, id);
    memcpy(value, &record, sizeof record);
    memcpy(value + sizeof record, name.ptr, name.len);
    return disk_note_def(notes, slice_make(key, sizeof key),
                         slice_make(value, sizeof record + name.len));
}

enum err disk_note_binding(struct disk_notes *notes, const struct router *router,
                           const struct queue *queue, struct slice pattern, bool gone) {
    char key[KEY_MAX] = {KEY_BINDING};
    put_be32(key + 1, router->id);
    put_be32(key + 5, queue->id);
    if (pattern.len)
        memcpy(key + 9, pattern.ptr, pattern.len);
    return disk_note_def(notes, slice_make(key, 9 + pattern.len), gone ? SLICE("") : SLICE("1"));
}

struct unbinding {
    struct disk_notes *notes;
    const struct router *router;
    enum err err;
};

static void note_unbound(void *context, struct slice pattern, void *target) {
    struct unbinding *unbinding = context;
    if (!unbinding->err)
        unbinding->err =
            disk_note_binding(unbinding->notes, unbinding->router, target, pattern, true);
}

enum err disk_note_gone_router(struct disk_notes *notes, const struct router *router) {
    struct unbinding unbinding = {notes, router, OK};
    char key[5] = {KEY_ROUTER};
    if (router->set)
        match_each(router->set, note_unbound, &unbinding);
    put_be32(key + 1, router->id);
    return unbinding.err ? unbinding.err
                         : disk_note_def(notes, slice_make(key, sizeof key), SLICE(""));
}

/* A queue's bindings are cleared at the next start. */
enum err disk_note_topology(struct disk_notes *notes, const struct broker_op *op,
                            const struct queue *queue, const struct router *router) {
    switch (op->action) {
    case BROKER_DELETE_QUEUE:
        return queue ? disk_note_gone_queue(notes, queue) : OK;
    case BROKER_DELETE_ROUTER:
        return router ? disk_note_gone_router(notes, router) : OK;
    case BROKER_CREATE_ROUTER: /* flag: it was not there already */
        return op->flag && !router
                   ? disk_note_router(notes, (uint32_t)op->count, op->router, op->router_type)
                   : OK;
    case BROKER_BIND:
    case BROKER_UNBIND:
        return queue && router ? disk_note_binding(notes, router, queue, op->pattern,
                                                   op->action == BROKER_UNBIND)
                               : OK;
    default:
        return OK;
    }
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

enum err disk_ready_to_renew_locked(struct queue *queue, struct dropped_store **ret_retired) {
    struct dropped_store *retired = calloc(1, sizeof *retired); /* may be freed as it is */
    enum err err = retired ? OK : ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; !err && i < queue->leases.count; i++) {
        struct message *message = queue->leases.items[i];
        if (!message->body && disk_load_body_locked(queue, message) == ERR_OUT_OF_MEMORY)
            err = ERR_OUT_OF_MEMORY;
    }
    if (err)
        free(retired);
    else
        *ret_retired = retired;
    return err;
}

void disk_renew_store_locked(struct queue *queue, uint32_t store, struct dropped_store *retired) {
    *retired = (struct dropped_store){queue->retired, queue, queue->store};
    queue->retired = retired;
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
