/* SPDX-License-Identifier: MIT */
/* The journal behind what LMDB has, at start. A record says the state it leads to; what LMDB has
 * already is not done twice. Nothing happens by time before all is replayed. */
#include <stdlib.h>

#include "base/clock.h"
#include "broker/disk_inside.h"
#include "broker/topology.h"

static struct queue *queue_of(struct disk *disk, uint32_t id) {
    return names_get(&disk->broker->queues_by_id, slice_make(&id, sizeof id));
}

/* True where LMDB has the message; *ret_message is it, in no list, unless ret_message is NULL. */
static enum err look(struct queue *queue, unsigned lane, uint64_t seq, bool *ret_there,
                     struct message **ret_message) {
    struct spot place;
    struct slice value;
    struct env_read *read;
    spot_make(queue->store, lane, seq, &place);
    enum err err = env_read_begin(queue->broker->disk->env, &read);
    if (err)
        return err;
    err = env_read_get(read, ENV_ENTRIES, spot_slice(&place), &value);
    *ret_there = !err;
    if (err == ERR_KEY_NOT_EXIST)
        err = OK;
    else if (!err && ret_message)
        *ret_message = disk_message_of(queue->broker->disk, spot_slice(&place), value, &err);
    env_read_end(read);
    return err;
}

/* Out of wherever its state had it. */
static void detach(struct queue *queue, struct message *message) {
    switch (message->state) {
    case MESSAGE_READY:
        lane_remove_locked(queue, message);
        break;
    case MESSAGE_LEASED:
        heap_remove(&queue->leases, message);
        queue->leased--;
        break;
    case MESSAGE_DELAYED:
        heap_remove(&queue->waits, message);
        queue->delayed--;
        break;
    default:
        break;
    }
    message->state = MESSAGE_MOVING;
}

/* The message, in no list, known; NULL: it is gone already. */
static enum err take(struct queue *queue, unsigned at, uint64_t seq, struct message **ret_message) {
    *ret_message = known_find(queue, seq);
    if (*ret_message && (*ret_message)->state == MESSAGE_DEAD)
        *ret_message = NULL;
    else if (*ret_message)
        detach(queue, *ret_message);
    else {
        bool there;
        enum err err = at < LANES ? lane_reserve(queue, at) : ERR_CORRUPT;
        if (!err)
            err = known_reserve(queue);
        if (!err)
            err = look(queue, at, seq, &there, ret_message);
        if (err || !*ret_message)
            return err;
        struct lane *lane = queue->lanes[at];
        if (((*ret_message)->flags & MESSAGE_DISK_PLAIN) && lane->disk_count) {
            lane->disk_count--;
            queue->ready--;
            lane_note_locked(queue, at);
        }
        known_add(queue, *ret_message);
    }
    return OK;
}

static enum err append_ready(struct queue *queue, struct message *message) {
    if (lane_reserve(queue, message->lane) || heap_reserve(&queue->waits) || known_reserve(queue)) {
        disk_throw_locked(queue, message);
        return ERR_OUT_OF_MEMORY;
    }
    known_add(queue, message); /* a later record finds it */
    lane_append_locked(queue, message);
    if (message->expires_ms) {
        message->due_ms = message->expires_ms;
        heap_push(&queue->waits, message);
    }
    return OK;
}

static enum err publish_to(struct disk *disk, uint64_t seq, const struct record_publish *record,
                           const struct record_target *target, struct body *body) {
    struct queue *queue = queue_of(disk, target->queue);
    bool there = false;
    if (!queue || record->lane >= LANES)
        return OK;
    struct body_parts parts;
    body_read(body, &parts);
    int64_t seen_until_ms = record->published_ms + queue->options.dedup_window_ms;
    if (target->dedup && queue->dedup && seen_until_ms > clock_wall_ms() &&
        !dedup_seen(queue->dedup, parts.id, 0)) {
        struct dedup_entry *entry = dedup_add(queue->dedup, parts.id, seen_until_ms);
        if (!entry)
            return ERR_OUT_OF_MEMORY;
        dedup_confirm(entry);
        disk_list_dirty(queue);
    }
    if (known_find(queue, seq))
        return OK;
    enum err err = look(queue, record->lane, seq, &there, NULL);
    if (err || there)
        return err;
    struct message *message = message_new(body_ref(body), record->lane);
    if (!message)
        return ERR_OUT_OF_MEMORY;
    message->seq = seq;
    message->store = queue->store;
    message->expires_ms = target->expires_ms;
    message->due_ms = record->due_ms;
    disk_note_locked(queue, message);
    return record->due_ms ? disk_settle(queue, message, MESSAGE_DELAYED)
                          : append_ready(queue, message);
}

static enum err replay_publish(struct disk *disk, uint64_t seq, struct slice bytes) {
    struct record_publish record;
    if (bytes.len < sizeof record)
        return ERR_CORRUPT;
    memcpy(&record, bytes.ptr, sizeof record);
    uint64_t targets = (uint64_t)record.queues * sizeof(struct record_target);
    if (bytes.len - sizeof record < targets)
        return ERR_CORRUPT;
    enum err err;
    struct body *body = body_bytes_read(
        disk->keys, record.kind == RECORD_SEALED_PUBLISH, slice_make(&seq, sizeof seq), &record,
        slice_make(bytes.ptr + sizeof record + targets, bytes.len - sizeof record - targets), &err);
    for (uint32_t i = 0; !err && i < record.queues; i++) {
        struct record_target target;
        memcpy(&target, bytes.ptr + sizeof record + i * sizeof target, sizeof target);
        err = publish_to(disk, seq, &record, &target, body);
    }
    body_unref(body);
    return err;
}

static enum err replay_ack(struct disk *disk, struct slice bytes) {
    struct record_ack record;
    struct message *message = NULL;
    if (bytes.len != sizeof record)
        return ERR_CORRUPT;
    memcpy(&record, bytes.ptr, sizeof record);
    struct queue *queue = queue_of(disk, record.queue);
    enum err err = queue ? take(queue, record.lane, record.seq, &message) : OK;
    if (!err && message)
        message_gone_locked(queue, message);
    return err;
}

static enum err set_state(struct queue *queue, struct message *message, enum message_state state,
                          int64_t due_ms) {
    uint32_t most = queue->options.max_deliver;
    if (state == MESSAGE_DELAYED && most && message->attempt >= most) {
        state = MESSAGE_LEASED; /* to nobody, and over: the clock moves it on */
        message->nonce = 0;
    }
    message->due_ms = due_ms;
    disk_note_locked(queue, message);
    if (state == MESSAGE_DELAYED && due_ms <= clock_wall_ms())
        state = MESSAGE_READY;
    return disk_settle(queue, message, state);
}

static enum err replay_leases(struct disk *disk, struct slice bytes) {
    struct record_leases record;
    if (bytes.len < sizeof record)
        return ERR_CORRUPT;
    memcpy(&record, bytes.ptr, sizeof record);
    if (bytes.len != sizeof record + (uint64_t)record.count * sizeof(struct record_lease))
        return ERR_CORRUPT;
    struct queue *queue = queue_of(disk, record.queue);
    enum err err = OK;
    for (uint32_t i = 0; queue && !err && i < record.count; i++) {
        struct record_lease lease;
        struct message *message = NULL;
        memcpy(&lease, bytes.ptr + sizeof record + i * sizeof lease, sizeof lease);
        err = take(queue, lease.lane, lease.seq, &message);
        if (err || !message)
            continue;
        message->nonce = lease.nonce;
        message->attempt = lease.attempt;
        err = set_state(queue, message, MESSAGE_LEASED, record.due_ms);
    }
    return err;
}

static enum err replay_state(struct disk *disk, struct slice bytes) {
    struct record_state record;
    struct message *message = NULL;
    if (bytes.len != sizeof record)
        return ERR_CORRUPT;
    memcpy(&record, bytes.ptr, sizeof record);
    struct queue *queue = queue_of(disk, record.queue);
    enum err err = queue ? take(queue, record.lane, record.seq, &message) : OK;
    if (err || !message)
        return err;
    if (record.state == MESSAGE_DEAD) {
        message_gone_locked(queue, message);
        return OK;
    }
    message->nonce = record.nonce;
    message->attempt = record.attempt;
    return set_state(queue, message, (enum message_state)record.state, record.due_ms);
}

/* ---- definitions ---- */

static void note_id(struct broker *broker, uint32_t id) {
    if (broker->next_id < id)
        broker->next_id = id;
}

static enum err replay_queue(struct disk *disk, struct slice bytes) {
    struct record_queue record;
    struct broker_queue_options options;
    struct slice name;
    struct slice rest;
    struct queue *queue;
    if (!queue_record_read(bytes, &record, &name, &options, &rest))
        return ERR_CORRUPT;
    note_id(disk->broker, record.id);
    if (queue_of(disk, record.id) || names_get(&disk->broker->queues, name))
        return OK; /* LMDB has it, or its successor */
    enum err err =
        topology_add_queue(disk->broker, record.id, record.store, name, &options, &queue);
    if (!err) {
        queue->changed = true;
        disk_note_queue(queue);
    }
    return err;
}

static enum err replay_router(struct disk *disk, struct slice bytes) {
    struct record_router record;
    struct slice name;
    if (!router_record_read(bytes, &record, &name))
        return ERR_CORRUPT;
    note_id(disk->broker, record.id);
    if (topology_find_router_id(disk->broker, record.id) || names_get(&disk->broker->routers, name))
        return OK;
    enum err err =
        topology_add_router(disk->broker, record.id, name, (enum broker_router_type)record.type);
    struct disk_notes notes;
    disk_notes_init(&notes);
    if (!err)
        err = disk_note_router(&notes, record.id, name, (enum broker_router_type)record.type);
    return disk_notes_end(disk, &notes, err);
}

static enum err drop_queue(struct disk *disk, struct queue *queue) {
    struct effects none;
    struct disk_notes notes;
    effects_init(&none);
    disk_notes_init(&notes);
    enum err err = disk_note_gone_queue(&notes, queue);
    if (!err) {
        topology_remove_queue(disk->broker, queue, &none);
        queue_unref(queue);
    }
    return disk_notes_end(disk, &notes, err);
}

static enum err drop_router(struct disk *disk, struct router *router) {
    struct disk_notes notes;
    disk_notes_init(&notes);
    enum err err = disk_note_gone_router(&notes, router);
    if (!err)
        topology_remove_router(disk->broker, router);
    return disk_notes_end(disk, &notes, err);
}

static void drop_if_replayed(struct queue *queue, struct message *message) {
    if (message->flags & MESSAGE_ON_DISK)
        return;
    detach(queue, message);
    message_gone_locked(queue, message);
}

/* What a lane has in memory: its lists, and what came back. */
static void drop_replayed_of_lane(struct queue *queue, struct lane *lane) {
    struct message *next;
    for (struct message *message = lane->first; message; message = next) {
        next = message->next;
        drop_if_replayed(queue, message);
    }
    for (struct message *message = lane->tail_first; message; message = next) {
        next = message->next;
        drop_if_replayed(queue, message);
    }
    for (uint32_t i = lane->returned.count; i-- > 0;) {
        uint32_t count = lane->returned.count;
        drop_if_replayed(queue, lane->returned.items[i]);
        if (lane->returned.count < count)
            i = lane->returned.count;
    }
}

static void drop_replayed_delayed(struct queue *queue) {
    for (uint32_t i = 0; i < queue->waits.count;) {
        uint32_t count = queue->waits.count;
        struct message *message = queue->waits.items[i];
        if (message->state == MESSAGE_DELAYED)
            drop_if_replayed(queue, message);
        i = queue->waits.count < count ? 0 : i + 1;
    }
}

/* It was back in its queue: the end of a lease has no record. What was to become a dead letter
 * instead has one, further on. */
static bool lease_was_over(const struct queue *queue, const struct message *message,
                           int64_t by_ms) {
    uint32_t most = queue->options.max_deliver;
    return message->due_ms <= by_ms && !(most && message->attempt >= most) &&
           !(message->expires_ms && message->expires_ms <= by_ms);
}

static void drop_unleased(struct queue *queue, int64_t by_ms, bool replayed_alone) {
    for (uint32_t i = queue->leases.count; i-- > 0;) {
        struct message *message = queue->leases.items[i];
        if (!lease_was_over(queue, message, by_ms) ||
            (replayed_alone && (message->flags & MESSAGE_ON_DISK)))
            continue;
        detach(queue, message);
        message_gone_locked(queue, message);
        i = queue->leases.count; /* others took its place */
    }
}

static enum err flush(struct queue *queue, uint32_t store, int64_t by_ms) {
    note_id(queue->broker, store);
    drop_unleased(queue, by_ms, queue->store >= store);
    if (queue->store < store) { /* stores are numbered upwards */
        struct dropped_store *retired;
        enum err err = disk_ready_to_renew_locked(queue, &retired);
        if (err)
            return err;
        queue_empty_locked(queue, false);
        garbage_free_all(queue->broker); /* later records must not find it */
        disk_renew_store_locked(queue, store, retired);
        return OK;
    }
    /* LMDB is ahead: what it has came later; what was only replayed is dropped */
    drop_replayed_delayed(queue);
    for (unsigned at = 0; at < LANES; at++)
        if (queue->lanes[at])
            drop_replayed_of_lane(queue, queue->lanes[at]);
    return OK;
}

static enum err replay_link(struct disk *disk, struct slice bytes) {
    struct record_link record;
    bool fresh;
    if (bytes.len < sizeof record)
        return ERR_CORRUPT;
    memcpy(&record, bytes.ptr, sizeof record);
    if (bytes.len != sizeof record + record.pattern_len)
        return ERR_CORRUPT;
    struct slice pattern = slice_make(bytes.ptr + sizeof record, record.pattern_len);
    struct queue *queue = record.queue ? queue_of(disk, record.queue) : NULL;
    struct router *router =
        record.router ? topology_find_router_id(disk->broker, record.router) : NULL;
    bool both = queue && router && router->set;
    int64_t by_ms = INT64_MIN;
    enum err err = OK;
    switch ((enum record_kind)record.kind) {
    case RECORD_BIND:
        err = both ? match_add(router->set, pattern, queue, &fresh) : OK;
        break;
    case RECORD_UNBIND:
        if (both)
            match_remove(router->set, pattern, queue);
        break;
    case RECORD_DROP_ROUTER:
        return router ? drop_router(disk, router) : OK;
    case RECORD_DROP_QUEUE:
        return queue ? drop_queue(disk, queue) : OK;
    case RECORD_PAUSE:
        if (queue) {
            queue->options.paused = record.flag;
            disk_note_queue(queue);
        }
        return OK;
    case RECORD_FLUSH:
        if (pattern.len == sizeof by_ms)
            memcpy(&by_ms, pattern.ptr, sizeof by_ms);
        return queue ? flush(queue, record.other, by_ms) : OK;
    default:
        return ERR_CORRUPT;
    }
    struct disk_notes notes;
    disk_notes_init(&notes);
    if (!err && both)
        err = disk_note_binding(&notes, router, queue, pattern, record.kind == RECORD_UNBIND);
    return disk_notes_end(disk, &notes, err);
}

enum err disk_replay(void *context, uint64_t seq, struct slice record) {
    struct disk *disk = context;
    switch ((enum record_kind)(uint8_t)record.ptr[0]) {
    case RECORD_PUBLISH:
    case RECORD_SEALED_PUBLISH:
        return replay_publish(disk, seq, record);
    case RECORD_ACK:
        return replay_ack(disk, record);
    case RECORD_LEASES:
        return replay_leases(disk, record);
    case RECORD_STATE:
        return replay_state(disk, record);
    case RECORD_QUEUE:
        return replay_queue(disk, record);
    case RECORD_ROUTER:
        return replay_router(disk, record);
    default:
        return replay_link(disk, record);
    }
}
