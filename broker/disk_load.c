/* SPDX-License-Identifier: MIT */
/* What LMDB holds, at start: definitions, how many messages each lane has, and those of them that
 * are leased, delayed or came back. Untouched ones stay where they are. */
#include <stdlib.h>

#include "base/clock.h"
#include "broker/disk_inside.h"
#include "broker/topology.h"

struct message *disk_message_of(const struct disk *disk, struct slice key, struct slice value,
                                enum err *ret_err) {
    struct stored_message stored;
    struct slice rest;
    uint32_t store;
    unsigned lane;
    uint64_t seq;
    *ret_err = spot_read(key, &store, &lane, &seq) ? stored_message_read(key, value, &stored, &rest)
                                                   : ERR_CORRUPT;
    if (*ret_err)
        return NULL;
    struct body *body = stored_message_body(disk->keys, key, &stored, rest, ret_err);
    if (!body)
        return NULL;
    struct message *message = message_new(body, (uint8_t)lane);
    if (!message) {
        *ret_err = ERR_OUT_OF_MEMORY;
        return NULL;
    }
    message->seq = seq;
    message->store = store;
    message->due_ms = stored.due_ms;
    message->expires_ms = stored.expires_ms;
    message->nonce = stored.nonce;
    message->attempt = stored.attempt;
    message->state = MESSAGE_MOVING;
    message->flags = (uint16_t)(MESSAGE_ON_DISK | (stored.plain ? MESSAGE_DISK_PLAIN : 0));
    return message;
}

enum err disk_settle(struct queue *queue, struct message *message, enum message_state state) {
    if (lane_reserve(queue, message->lane) || heap_reserve(&queue->waits) ||
        heap_reserve(&queue->leases) || known_reserve(queue)) {
        disk_throw_locked(queue, message);
        return ERR_OUT_OF_MEMORY;
    }
    known_add(queue, message);
    message->state = (uint8_t)state;
    switch (state) {
    case MESSAGE_LEASED:
        heap_push(&queue->leases, message);
        queue->leased++;
        break;
    case MESSAGE_DELAYED:
        if (message->expires_ms && message->expires_ms < message->due_ms)
            message->due_ms = message->expires_ms;
        heap_push(&queue->waits, message);
        queue->delayed++;
        break;
    default:
        lane_return_locked(queue, message);
        message->due_ms = message->expires_ms;
        if (message->expires_ms)
            heap_push(&queue->waits, message);
        break;
    }
    return OK;
}

/* Goes through the keys that begin with a byte (0: all). */
struct walk {
    struct disk *disk;
    struct env_read *read;
    struct names stores; /* by the store's number: queues */
    enum err err;
};

static enum err walk_keys(struct walk *walk, enum env_db db, char first,
                          enum err (*take)(struct walk *walk, struct slice key,
                                           struct slice value)) {
    struct env_cursor *cursor;
    struct slice key;
    struct slice value;
    enum err err = env_cursor_open(walk->read, db, &cursor);
    if (err)
        return err;
    err = env_cursor_seek(cursor, slice_make(&first, 1), &key, &value);
    while (!err && (first == 0 || key.ptr[0] == first)) {
        err = take(walk, key, value);
        if (!err)
            err = env_cursor_next(cursor, &key, &value);
    }
    env_cursor_close(cursor);
    return err == ERR_KEY_NOT_EXIST ? OK : err;
}

static void note_id(struct broker *broker, uint32_t id) {
    if (broker->next_id < id)
        broker->next_id = id;
}

static enum err take_counts(struct queue *queue, struct slice counts) {
    if (counts.len != LANES * sizeof(uint64_t))
        return ERR_CORRUPT;
    for (unsigned at = 0; at < LANES; at++) {
        uint64_t count;
        memcpy(&count, counts.ptr + at * sizeof count, sizeof count);
        if (count == 0)
            continue;
        if (lane_reserve(queue, at))
            return ERR_OUT_OF_MEMORY;
        queue->lanes[at]->plain_on_disk = count;
        queue->lanes[at]->disk_count = count;
        queue->ready += count;
        lane_note_locked(queue, at);
    }
    return OK;
}

static enum err take_queue(struct walk *walk, struct slice key, struct slice value) {
    struct record_queue record;
    struct broker_queue_options options;
    struct slice name;
    struct slice counts;
    struct queue *queue;
    (void)key;
    if (!queue_record_read(value, &record, &name, &options, &counts))
        return ERR_CORRUPT;
    struct broker *broker = walk->disk->broker;
    enum err err = topology_add_queue(broker, record.id, record.store, name, &options, &queue);
    if (!err)
        err = take_counts(queue, counts);
    if (!err)
        err = names_put(&walk->stores, slice_make(&queue->store, sizeof queue->store), queue);
    note_id(broker, record.id);
    note_id(broker, record.store);
    return err;
}

static enum err take_router(struct walk *walk, struct slice key, struct slice value) {
    struct record_router record;
    struct slice name;
    (void)key;
    if (!router_record_read(value, &record, &name))
        return ERR_CORRUPT;
    note_id(walk->disk->broker, record.id);
    return topology_add_router(walk->disk->broker, record.id, name,
                               (enum broker_router_type)record.type);
}

static enum err note_def_gone(struct disk *disk, struct slice key) {
    struct disk_notes notes;
    disk_notes_init(&notes);
    return disk_notes_end(disk, &notes, disk_note_def(&notes, key, SLICE("")));
}

static enum err take_binding(struct walk *walk, struct slice key, struct slice value) {
    bool fresh;
    (void)value;
    if (key.len < 9)
        return ERR_CORRUPT;
    uint32_t id = get_be32(key.ptr + 5);
    struct router *router = topology_find_router_id(walk->disk->broker, get_be32(key.ptr + 1));
    struct queue *queue = names_get(&walk->disk->broker->queues_by_id, slice_make(&id, sizeof id));
    if (!router || !router->set || !queue) { /* gone, and this with it */
        return note_def_gone(walk->disk, key);
    }
    return match_add(router->set, slice_make(key.ptr + 9, key.len - 9), queue, &fresh);
}

static enum err take_dropped(struct walk *walk, struct slice key, struct slice value) {
    (void)value;
    if (key.len != 5)
        return ERR_CORRUPT;
    struct disk_notes notes;
    disk_notes_init(&notes);
    return disk_notes_end(walk->disk, &notes, disk_note_store(&notes, get_be32(key.ptr + 1)));
}

static enum err take_seen(struct walk *walk, struct slice key, struct slice value) {
    if (key.len != 21 || value.len != 16)
        return ERR_CORRUPT;
    uint32_t id = get_be32(key.ptr + 1);
    int64_t until_ms = (int64_t)get_be64(key.ptr + 5);
    const struct queue *queue =
        names_get(&walk->disk->broker->queues_by_id, slice_make(&id, sizeof id));
    if (!queue || !queue->dedup || until_ms <= clock_wall_ms()) {
        return note_def_gone(walk->disk, key); /* or over */
    }
    uint8_t hash[16];
    memcpy(hash, value.ptr, sizeof hash);
    return dedup_restore(queue->dedup, hash, until_ms);
}

static enum err take_touched(struct walk *walk, struct slice key, struct slice value) {
    uint32_t store;
    unsigned lane;
    uint64_t seq;
    (void)value;
    if (!spot_read(key, &store, &lane, &seq))
        return ERR_CORRUPT;
    struct queue *queue = names_get(&walk->stores, slice_make(&store, sizeof store));
    if (!queue) /* of a store that is being dropped */
        return OK;
    enum err err = env_read_get(walk->read, ENV_ENTRIES, key, &value);
    if (err)
        return err == ERR_KEY_NOT_EXIST ? ERR_CORRUPT : err;
    struct stored_message stored;
    struct slice rest;
    err = stored_message_read(key, value, &stored, &rest);
    if (err)
        return err;
    struct message *message = disk_message_of(walk->disk, key, value, &err);
    if (!message)
        return err;
    if (stored.state == MESSAGE_DELAYED && stored.due_ms > clock_wall_ms() + DISK_FAR_MS) {
        body_unref(message->body); /* read again when it is due */
        message->body = NULL;
    }
    return disk_settle(queue, message, (enum message_state)stored.state);
}

static enum err read_number(struct walk *walk, struct slice name, uint64_t *ret_number) {
    struct slice value;
    enum err err = env_read_get(walk->read, ENV_META, name, &value);
    if (err == ERR_KEY_NOT_EXIST)
        return OK;
    if (!err && value.len != sizeof *ret_number)
        err = ERR_CORRUPT;
    if (!err)
        memcpy(ret_number, value.ptr, sizeof *ret_number);
    return err;
}

enum err disk_load(struct disk *disk) {
    struct walk walk = {.disk = disk};
    uint64_t next_id = 0;
    names_init(&walk.stores);
    disk->applied_seq = UINT64_MAX;
    enum err err = env_read_begin(disk->env, &walk.read);
    if (err)
        return err;
    err = read_number(&walk, META_APPLIED, &disk->applied_seq);
    disk->was_new = !err && disk->applied_seq == UINT64_MAX;
    if (disk->was_new)
        disk->applied_seq = 0;
    if (!err)
        err = read_number(&walk, META_NEXT_ID, &next_id);
    note_id(disk->broker, (uint32_t)next_id);
    if (!err)
        err = walk_keys(&walk, ENV_SPACES, KEY_QUEUE, take_queue);
    if (!err)
        err = walk_keys(&walk, ENV_SPACES, KEY_ROUTER, take_router);
    if (!err)
        err = walk_keys(&walk, ENV_SPACES, KEY_BINDING, take_binding);
    if (!err)
        err = walk_keys(&walk, ENV_SPACES, KEY_DROPPED, take_dropped);
    if (!err)
        err = walk_keys(&walk, ENV_SPACES, KEY_SEEN, take_seen);
    if (!err)
        err = walk_keys(&walk, ENV_EXPIRY, 0, take_touched);
    env_read_end(walk.read);
    names_done(&walk.stores);
    return err;
}
