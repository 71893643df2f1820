/* SPDX-License-Identifier: MIT */
/* What the applier tells LMDB, in transactions of a bounded size: every message whose state
 * changed, definitions, and stores that were dropped. Then memory lets go of what long queues have
 * behind their beginning. What was published and acked in between never gets here. */
#include <stdlib.h>

#include "broker/disk_inside.h"

#define ITEMS_MAX 8192U
#define ITEMS_BYTES (16U << 20)
#define DROPS_MAX 8192U /* keys of a dropped store, of a transaction */

struct item {
    struct message *message; /* PINNED */
    struct body *body;       /* referenced; NULL: it is deleted */
    struct message state;    /* as it was */
    uint32_t store;
    bool plain, was_plain, was_on_disk;
    bool skip; /* LMDB has its body already, and cannot be read: nothing changes */
    unsigned queue;
};

/* A queue as it was when its messages were collected. */
struct part {
    struct queue *queue; /* referenced */
    uint32_t store;
};

struct batch {
    struct disk *disk;
    struct item *items;
    unsigned count, room;
    uint64_t bytes;
    struct part *queues;
    unsigned queue_count, queue_room;
    struct def_change *defs;
    struct dropped_store *retired; /* of these queues */
    bool left;                     /* some of what is dirty did not get in */
    bool failed;                   /* for want of memory */
};

/* ---- collecting ---- */

static bool is_plain(const struct message *message) {
    return message->state == MESSAGE_READY && message->attempt == 0 &&
           !(message->flags & MESSAGE_RETURNED);
}

static void count_plain_locked(struct queue *queue, const struct item *item, bool forward) {
    struct lane *lane = queue->lanes[item->state.lane];
    if (!lane || queue->store != item->store || item->plain == item->was_plain)
        return;
    if (item->plain == forward)
        lane->plain_on_disk++;
    else
        lane->plain_on_disk--;
}

/* True where there is room for one more. A flushed queue is written as a whole, whatever its size:
 * its record says the new store, so that must have all that the old one had. */
static bool has_room(struct batch *batch, const struct queue *queue) {
    if (!queue->retired)
        return batch->count < ITEMS_MAX && batch->bytes < ITEMS_BYTES;
    if (batch->count < batch->room)
        return true;
    struct item *grown = realloc(batch->items, 2 * batch->room * sizeof *grown);
    if (!grown)
        return false;
    batch->items = grown;
    batch->room *= 2;
    return true;
}

static void collect_one_locked(struct batch *batch, struct queue *queue, struct message *message) {
    struct item *item = &batch->items[batch->count++];
    bool dead = message->state == MESSAGE_DEAD;
    if (!dead && !message->body)
        (void)!disk_load_body_locked(queue, message);
    *item = (struct item){.message = message,
                          .state = *message,
                          .body = dead || !message->body ? NULL : body_ref(message->body),
                          .store = queue->store,
                          .plain = !dead && is_plain(message),
                          .was_plain = (message->flags & MESSAGE_DISK_PLAIN) != 0,
                          .was_on_disk = (message->flags & MESSAGE_ON_DISK) != 0,
                          .skip = !dead && !message->body,
                          .queue = batch->queue_count - 1};
    if (item->skip)
        item->plain = item->was_plain;
    message->flags |= MESSAGE_PINNED;
    count_plain_locked(queue, item, true);
    batch->bytes += message_size(message);
}

/* Room for one more queue; false without memory. */
static bool note_queue(struct batch *batch, struct queue *queue) {
    if (batch->queue_count == batch->queue_room) {
        unsigned room = batch->queue_room ? 2 * batch->queue_room : 64;
        struct part *grown = realloc(batch->queues, room * sizeof *grown);
        if (!grown)
            return false;
        batch->queues = grown;
        batch->queue_room = room;
    }
    batch->queues[batch->queue_count++] = (struct part){.queue = queue};
    return true;
}

/* All that are dirty now: none is looked at twice in a batch, whose messages are PINNED. */
static struct queue *take_queues(struct disk *disk) {
    pthread_mutex_lock(&disk->lock);
    struct queue *first = disk->dirty_first;
    disk->dirty_first = disk->dirty_last = NULL;
    pthread_mutex_unlock(&disk->lock);
    return first;
}

static void take_retired_locked(struct batch *batch, struct queue *queue) {
    while (queue->retired) {
        struct dropped_store *retired = queue->retired;
        queue->retired = retired->next;
        retired->next = batch->retired;
        batch->retired = retired;
    }
}

static void collect_queue(struct batch *batch, struct queue *queue) {
    struct message *message;
    queue_lock(queue);
    queue->listed_dirty = false;
    while (!queue->deleted && has_room(batch, queue) && (message = disk_take_dirty(queue)))
        if (message->store == queue->store) /* else it was flushed: its store is dropped */
            collect_one_locked(batch, queue, message);
    if (queue->dirty_first && !queue->deleted) {
        batch->left = true;
        batch->failed |= queue->retired != NULL; /* it is written as a whole, or not */
        disk_list_dirty(queue);
    }
    batch->queues[batch->queue_count - 1].store = queue->store;
    take_retired_locked(batch, queue);
    pthread_mutex_unlock(&queue->lock);
}

/* Not this time. */
static void list_again(struct batch *batch, struct queue *queue) {
    batch->left = true;
    queue_lock(queue);
    queue->listed_dirty = false;
    disk_list_dirty(queue);
    pthread_mutex_unlock(&queue->lock);
    queue_unref(queue);
}

static void collect(struct batch *batch) {
    struct disk *disk = batch->disk;
    struct queue *queue = take_queues(disk);
    while (queue) {
        struct queue *next =
            queue->dirty_next; /* it is not listed anew before listed_dirty is off */
        bool room = batch->count < ITEMS_MAX && batch->bytes < ITEMS_BYTES;
        if (room && !batch->failed)
            batch->failed = !note_queue(batch, queue);
        if (room && !batch->failed)
            collect_queue(batch, queue);
        else
            list_again(batch, queue);
        queue = next;
    }
    pthread_mutex_lock(&disk->lock);
    batch->defs = disk->defs;
    disk->defs = NULL;
    disk->last_def = &disk->defs;
    pthread_mutex_unlock(&disk->lock);
}

/* ---- writing ---- */

static enum err write_item(struct env_write *write, const struct seal_keys *keys,
                           const struct item *item) {
    struct spot place;
    char *room;
    spot_make(item->store, item->state.lane, item->state.seq, &place);
    struct slice key = spot_slice(&place);
    bool was_touched = item->was_on_disk && !item->was_plain;
    enum err err = OK;
    if (item->skip)
        return OK;
    if (!item->body) {
        err = env_write_delete(write, ENV_ENTRIES, key);
        return !err && was_touched ? env_write_delete(write, ENV_EXPIRY, key) : err;
    }
    enum message_state state = (enum message_state)item->state.state;
    if (state == MESSAGE_MOVING) /* whatever it was about to become, it is looked at again */
        state = MESSAGE_LEASED;
    err = env_write_room(write, ENV_ENTRIES, key, stored_message_size(keys, item->body), &room);
    if (!err)
        stored_message_write(keys, &item->state, item->body, state, item->plain, &place, room);
    if (!err && !item->plain)
        err = env_write_put(write, ENV_EXPIRY, key, SLICE("1"));
    else if (!err && was_touched)
        err = env_write_delete(write, ENV_EXPIRY, key);
    return err;
}

static enum err write_defs(struct env_write *write, const struct def_change *def) {
    enum err err = OK;
    for (; !err && def; def = def->next) {
        struct slice key = slice_make(def->bytes, def->key_len);
        err = def->value_len ? env_write_put(write, ENV_SPACES, key,
                                             slice_make(def->bytes + def->key_len, def->value_len))
                             : env_write_delete(write, ENV_SPACES, key);
    }
    return err;
}

struct seen {
    struct env_write *write;
    uint32_t queue;
    enum err err;
};

static void seen_key(uint32_t queue, int64_t until_ms, const uint8_t *hash, char to[21]) {
    to[0] = KEY_SEEN;
    put_be32(to + 1, queue);
    put_be64(to + 5, (uint64_t)until_ms);
    memcpy(to + 13, hash, 8);
}

static bool write_seen(void *context, const uint8_t hash[16], int64_t until_ms) {
    struct seen *seen = context;
    char key[21];
    seen_key(seen->queue, until_ms, hash, key);
    seen->err =
        env_write_put(seen->write, ENV_SPACES, slice_make(key, sizeof key), slice_make(hash, 16));
    return seen->err == OK;
}

static enum err forget_seen(struct env_write *write, uint32_t queue, int64_t now_ms) {
    static const uint8_t nothing[8];
    char first[21];
    struct slice key;
    struct slice value;
    seen_key(queue, 0, nothing, first);
    for (unsigned i = 0; i < DROPS_MAX; i++) {
        enum err err =
            env_write_seek(write, ENV_SPACES, slice_make(first, sizeof first), &key, &value);
        if (err == ERR_KEY_NOT_EXIST)
            return OK;
        if (err)
            return err;
        if (key.len != sizeof first || memcmp(key.ptr, first, 5) != 0 ||
            (int64_t)get_be64(key.ptr + 5) > now_ms)
            return OK;
        char copy[21];
        memcpy(copy, key.ptr, sizeof copy);
        err = env_write_delete(write, ENV_SPACES, slice_make(copy, sizeof copy));
        if (err)
            return err;
    }
    return OK;
}

/* Flushed since it was collected: LMDB keeps the old store, for the next batch has what is leased;
 * its counts are of no use, as the journal has the flush. */
static void keep_old_store(char *value, size_t len, uint32_t store) {
    struct record_queue record;
    memcpy(&record, value, sizeof record);
    record.store = store;
    memcpy(value, &record, sizeof record);
    memset(value + len - LANES * sizeof(uint64_t), 0, LANES * sizeof(uint64_t));
}

static enum err write_queue(struct env_write *write, const struct part *part) {
    struct queue *queue = part->queue;
    char key[5];
    char value[sizeof(struct record_queue) + 2 * BROKER_NAME_MAX + LANES * sizeof(uint64_t)];
    queue_lock(queue);
    bool deleted = queue->deleted;
    size_t len = queue_record_size(queue);
    queue_record_write(queue, value);
    for (unsigned at = 0; at < LANES; at++) {
        uint64_t count = queue->lanes[at] ? queue->lanes[at]->plain_on_disk : 0;
        memcpy(value + len, &count, sizeof count);
        len += sizeof count;
    }
    if (queue->store != part->store)
        keep_old_store(value, len, part->store);
    struct seen seen = {write, queue->id, OK};
    if (!deleted && queue->dedup && queue_is_hdd(queue)) /* else they are forgotten with it */
        dedup_each_new(queue->dedup, write_seen, &seen);
    pthread_mutex_unlock(&queue->lock);
    if (deleted || seen.err)
        return seen.err;
    disk_queue_key(queue->id, key);
    enum err err =
        env_write_put(write, ENV_SPACES, slice_make(key, sizeof key), slice_make(value, len));
    return !err && queue->dedup ? forget_seen(write, queue->id, clock_now_ms(queue->broker)) : err;
}

static enum err write_number(struct env_write *write, struct slice name, uint64_t number) {
    return env_write_put(write, ENV_META, name, slice_make(&number, sizeof number));
}

/* Deletes some keys of a database that begin with a store's number; *ret_more: there are others. */
static enum err drop_some(struct env_write *write, enum env_db db, uint32_t store, bool *ret_more) {
    char prefix[4];
    put_be32(prefix, store);
    for (unsigned i = 0; i < DROPS_MAX; i++) {
        struct slice key;
        struct slice value;
        enum err err = env_write_seek(write, db, slice_make(prefix, sizeof prefix), &key, &value);
        if (err == ERR_KEY_NOT_EXIST || (!err && memcmp(key.ptr, prefix, sizeof prefix) != 0))
            return OK;
        char copy[ENV_KEY_MAX];
        if (!err) {
            memcpy(copy, key.ptr, key.len);
            err = env_write_delete(write, db, slice_make(copy, key.len));
        }
        if (err)
            return err;
    }
    *ret_more = true;
    return OK;
}

static enum err drop_store(struct env_write *write, uint32_t store, bool *ret_more) {
    char key[5] = {KEY_DROPPED};
    *ret_more = false;
    enum err err = drop_some(write, ENV_ENTRIES, store, ret_more);
    if (!err)
        err = drop_some(write, ENV_EXPIRY, store, ret_more);
    put_be32(key + 1, store);
    return !err && !*ret_more ? env_write_delete(write, ENV_SPACES, slice_make(key, sizeof key))
                              : err;
}

static enum err write_retired(struct env_write *write, const struct dropped_store *retired) {
    enum err err = OK;
    for (; !err && retired; retired = retired->next) {
        char key[5] = {KEY_DROPPED};
        put_be32(key + 1, retired->store);
        err = env_write_put(write, ENV_SPACES, slice_make(key, sizeof key), SLICE("1"));
    }
    return err;
}

static enum err write_all(struct batch *batch, struct env_write *write, uint64_t applied_seq) {
    struct disk *disk = batch->disk;
    enum err err = OK;
    for (unsigned i = 0; !err && i < batch->count; i++)
        err = write_item(write, disk->keys, &batch->items[i]);
    if (!err)
        err = write_defs(write, batch->defs);
    for (unsigned i = 0; !err && i < batch->queue_count; i++)
        err = write_queue(write, &batch->queues[i]);
    if (!err)
        err = write_retired(write, batch->retired);
    if (!err && applied_seq)
        err = write_number(write, META_APPLIED, applied_seq);
    return err ? err : write_number(write, META_NEXT_ID, disk->broker->next_id);
}

static enum err write_batch(struct batch *batch, uint64_t applied_seq) {
    struct disk *disk = batch->disk;
    struct env_write *write;
    pthread_mutex_lock(&disk->lock);
    struct dropped_store *dropped = disk->dropped;
    pthread_mutex_unlock(&disk->lock);
    bool more = true;
    enum err err = env_write_begin(disk->env, 4 * batch->bytes + (4U << 20), &write);
    if (err)
        return err;
    err = write_all(batch, write, applied_seq);
    if (!err && dropped)
        err = drop_store(write, dropped->store, &more);
    if (err) {
        env_write_abort(write);
        return err;
    }
    err = env_write_commit(write);
    if (!err && !more) {
        pthread_mutex_lock(&disk->lock);
        struct dropped_store **link = &disk->dropped;
        while (*link != dropped)
            link = &(*link)->next;
        *link = dropped->next;
        pthread_mutex_unlock(&disk->lock);
        free(dropped);
    }
    return err;
}

/* ---- afterwards ---- */

static void settle_item_locked(struct queue *queue, const struct item *item, bool written,
                               int64_t now_ms) {
    struct message *message = item->message;
    message->flags &= (uint16_t)~MESSAGE_PINNED;
    if (message->flags & MESSAGE_THROWN) {
        message_free(message);
        return;
    }
    if (message->state == MESSAGE_DEAD && (queue->deleted || queue->store != message->store)) {
        disk_throw_locked(queue, message);
        return;
    }
    if (!written) {
        count_plain_locked(queue, item, false);
        disk_note_again_locked(queue, message);
        return;
    }
    bool here = queue->store == item->store && !item->skip;
    if (here && item->body)
        message->flags = (uint16_t)((message->flags & ~MESSAGE_DISK_PLAIN) | MESSAGE_ON_DISK |
                                    (item->plain ? MESSAGE_DISK_PLAIN : 0));
    else if (here)
        message->flags &= (uint16_t) ~(MESSAGE_ON_DISK | MESSAGE_DISK_PLAIN);
    bool dirty = (message->flags & MESSAGE_DIRTY) != 0;
    if (message->state == MESSAGE_DEAD && !(message->flags & MESSAGE_ON_DISK)) {
        disk_gone_locked(queue, message);
        return;
    }
    if (message->state == MESSAGE_DEAD && !dirty)
        disk_note_locked(queue, message);
    if (message->state == MESSAGE_DELAYED && !dirty && message->body &&
        message->due_ms > now_ms + DISK_FAR_MS) {
        body_unref(message->body);
        message->body = NULL;
    }
}

/* LMDB has the front of the tail: memory need not. */
static void trim_tail_locked(struct queue *queue, struct lane *lane) {
    while (lane->tail_first) {
        struct message *message = lane->tail_first;
        unsigned flags = message->flags;
        if ((flags & (MESSAGE_DIRTY | MESSAGE_PINNED)) || !(flags & MESSAGE_ON_DISK) ||
            !(flags & MESSAGE_DISK_PLAIN))
            return;
        lane_remove_locked(queue, message);
        known_remove(queue, message);
        message_free(message);
        lane->disk_count++;
        queue->ready++;
        queue->lanes_used |= 1U << (unsigned)(lane_index(queue, lane));
    }
}

/* What was retired is dropped from now on, or is tried again with its queue. */
static void settle_retired(struct batch *batch, bool written) {
    struct disk *disk = batch->disk;
    while (batch->retired) {
        struct dropped_store *store = batch->retired;
        pthread_mutex_t *lock = written ? &disk->lock : &store->queue->lock;
        struct dropped_store **list = written ? &disk->dropped : &store->queue->retired;
        batch->retired = store->next;
        pthread_mutex_lock(lock);
        store->next = *list;
        *list = store;
        pthread_mutex_unlock(lock);
    }
}

static void settle_batch(struct batch *batch, bool written) {
    int64_t now_ms = clock_now_ms(batch->disk->broker);
    settle_retired(batch, written);
    unsigned at = 0;
    for (unsigned q = 0; q < batch->queue_count; q++) {
        struct queue *queue = batch->queues[q].queue;
        queue_lock(queue);
        unsigned first = at;
        while (at < batch->count && batch->items[at].queue == q)
            at++;
        for (unsigned i = 0; i < at - first;
             i++) /* what failed goes back to the front, last first */
            settle_item_locked(queue, &batch->items[written ? first + i : at - 1 - i], written,
                               now_ms);
        for (unsigned lane = 0; written && lane < LANES; lane++)
            if (queue->lanes[lane] && !queue->deleted)
                trim_tail_locked(queue, queue->lanes[lane]);
        if (!written && queue->dedup)
            dedup_write_again(queue->dedup);
        if (!written && (!queue->deleted || queue->retired))
            disk_list_dirty(queue);
        pthread_mutex_unlock(&queue->lock);
        queue_unref(queue);
    }
    for (unsigned i = 0; i < batch->count; i++)
        body_unref(batch->items[i].body);
}

static void settle_defs(struct batch *batch, bool written) {
    struct disk *disk = batch->disk;
    if (!written && batch->defs) { /* they go before what came since */
        struct def_change *last = batch->defs;
        while (last->next)
            last = last->next;
        pthread_mutex_lock(&disk->lock);
        last->next = disk->defs;
        if (!disk->defs)
            disk->last_def = &last->next;
        disk->defs = batch->defs;
        pthread_mutex_unlock(&disk->lock);
        return;
    }
    while (batch->defs) {
        struct def_change *next = batch->defs->next;
        free(batch->defs);
        batch->defs = next;
    }
}

/* ---- together ---- */

enum err disk_write_some(struct disk *disk, uint64_t applied_seq, bool committer_runs,
                         bool *ret_last) {
    struct batch batch = {
        .disk = disk, .items = malloc(ITEMS_MAX * sizeof(struct item)), .room = ITEMS_MAX};
    uint64_t synced;
    if (!batch.items)
        return ERR_OUT_OF_MEMORY;
    collect(&batch);
    bool last = !batch.left;
    bool safe = !committer_runs || disk_checkpoint(disk, &synced);
    enum err err = batch.failed ? ERR_OUT_OF_MEMORY
                   : safe       ? write_batch(&batch, last ? applied_seq : 0)
                                : ERR_UNAVAILABLE;
    settle_batch(&batch, err == OK);
    settle_defs(&batch, err == OK);
    free(batch.items);
    free(batch.queues);
    *ret_last = last;
    return err;
}
