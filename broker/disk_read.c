/* SPDX-License-Identifier: MIT */
/* Reading messages that only LMDB has: the next ones of a lane, one body, a page for a peek. Short
 * read transactions under the queue's lock. */
#include "base/log.h"
#include "broker/disk_inside.h"

#define REFILL_MAX 512U
#define REFILL_BYTES (4U << 20)

enum err disk_load_body_locked(struct queue *queue, struct message *message) {
    struct spot place;
    struct slice value;
    struct stored_message stored;
    struct slice rest;
    struct env_read *read;
    if (!queue->broker->disk)
        return ERR_INTERNAL;
    spot_make(message->store, message->lane, message->seq, &place);
    enum err err = env_read_begin(queue->broker->disk->env, &read);
    if (err)
        return err;
    err = env_read_get(read, ENV_ENTRIES, spot_slice(&place), &value);
    if (!err)
        err = stored_message_read(spot_slice(&place), value, &stored, &rest);
    if (!err)
        message->body =
            stored_message_body(queue->broker->disk->keys, spot_slice(&place), &stored, rest, &err);
    env_read_end(read);
    if (err)
        log_error("queue %.*s: a message cannot be read: %s", (int)queue->name_len, queue->name,
                  err_text(err));
    return err;
}

/* Goes through untouched messages of a lane behind `after` that memory knows nothing of. */
struct scan {
    struct env_read *read;
    struct env_cursor *cursor;
    struct queue *queue;
    unsigned lane;
    uint64_t seq; /* of the message at hand */
    bool begun;
    uint64_t damaged; /* messages that were passed over */
};

static enum err scan_begin(struct scan *scan, struct queue *queue, unsigned lane, uint64_t after) {
    *scan = (struct scan){.queue = queue, .lane = lane, .seq = after};
    enum err err = env_read_begin(queue->broker->disk->env, &scan->read);
    if (err)
        return err;
    err = env_cursor_open(scan->read, ENV_ENTRIES, &scan->cursor);
    if (err)
        env_read_end(scan->read);
    return err;
}

static void scan_end(struct scan *scan) {
    env_cursor_close(scan->cursor);
    env_read_end(scan->read);
}

/* One message that rotted does not hold up those behind it. */
static void pass_over(struct scan *scan) {
    log_error("queue %.*s: message %llu is damaged, and passed over", (int)scan->queue->name_len,
              scan->queue->name, (unsigned long long)scan->seq);
    scan->damaged++;
}

/* ERR_KEY_NOT_EXIST behind the last. */
static enum err scan_next(struct scan *scan, struct message **ret_message) {
    struct slice key;
    struct slice value;
    uint32_t store;
    unsigned lane;
    for (;;) {
        struct spot place;
        spot_make(scan->queue->store, scan->lane, scan->seq + 1, &place);
        enum err err = scan->begun
                           ? env_cursor_next(scan->cursor, &key, &value)
                           : env_cursor_seek(scan->cursor, spot_slice(&place), &key, &value);
        scan->begun = true;
        if (err)
            return err;
        if (!spot_read(key, &store, &lane, &scan->seq))
            return ERR_CORRUPT;
        if (store != scan->queue->store || lane != scan->lane)
            return ERR_KEY_NOT_EXIST;
        if (known_find(scan->queue, scan->seq))
            continue;
        struct message *message = disk_message_of(scan->queue->broker->disk, key, value, &err);
        if (!message && err == ERR_CORRUPT) {
            pass_over(scan);
            continue;
        }
        if (!message)
            return err;
        if (message->flags & MESSAGE_DISK_PLAIN) {
            *ret_message = message;
            return OK;
        }
        message_free(message);
    }
}

/* Last of what memory holds in order. */
static void append_to_list(struct lane *lane, struct message *message) {
    message->next = NULL;
    message->prev = lane->last;
    if (lane->last)
        lane->last->next = message;
    else
        lane->first = message;
    lane->last = message;
    lane->list_count++;
    lane->list_bytes += message_size(message);
    lane->loaded_seq = message->seq;
}

static enum err append_read(struct queue *queue, struct lane *lane, struct message *message) {
    if (message->expires_ms && heap_reserve(&queue->waits)) {
        message_free(message);
        return ERR_OUT_OF_MEMORY;
    }
    message->state = MESSAGE_READY;
    append_to_list(lane, message);
    if (lane->disk_count)
        lane->disk_count--;
    if (message->expires_ms) {
        message->due_ms = message->expires_ms;
        heap_push(&queue->waits, message);
    }
    return OK;
}

static enum err read_list(struct queue *queue, struct lane *lane, unsigned at, unsigned most) {
    struct scan scan;
    uint64_t end = lane->tail_first ? lane->tail_first->seq : UINT64_MAX;
    enum err err = scan_begin(&scan, queue, at, lane->loaded_seq);
    if (err)
        return err;
    unsigned count = 0;
    while (!err && lane->disk_count && count < most && lane->list_bytes < REFILL_BYTES) {
        struct message *message;
        err = scan_next(&scan, &message);
        if (!err && message->seq >= end) {
            message_free(message);
            err = ERR_KEY_NOT_EXIST;
        }
        if (!err)
            err = append_read(queue, lane, message);
        if (!err)
            count++;
    }
    uint64_t damaged = scan.damaged < lane->disk_count ? scan.damaged : lane->disk_count;
    lane->disk_count -= damaged;
    queue->ready -= damaged;
    scan_end(&scan);
    clock_schedule_locked(queue);
    return err;
}

/* The front of the tail becomes the list: nothing stands between them any more. */
static void take_tail(struct lane *lane) {
    while (lane->tail_first && lane->list_count < DISK_LIST_MAX / 2 &&
           lane->list_bytes < DISK_LIST_BYTES_MAX / 2) {
        struct message *message = lane->tail_first;
        lane->tail_first = message->next;
        if (lane->tail_first)
            lane->tail_first->prev = NULL;
        else
            lane->tail_last = NULL;
        message->flags &= (uint16_t)~MESSAGE_TAIL;
        append_to_list(lane, message);
    }
}

static void refill(struct queue *queue, struct lane *lane, unsigned most) {
    unsigned at = lane_index(queue, lane);
    if (lane->disk_count) {
        enum err err = read_list(queue, lane, at, most);
        if (err == ERR_KEY_NOT_EXIST && lane->disk_count) {
            log_error("queue %.*s: %llu messages fewer than were counted", (int)queue->name_len,
                      queue->name, (unsigned long long)lane->disk_count);
            queue->ready -= lane->disk_count;
            lane->disk_count = 0;
        } else if (err && err != ERR_KEY_NOT_EXIST) {
            log_error("queue %.*s: cannot be read: %s", (int)queue->name_len, queue->name,
                      err_text(err));
        }
    }
    if (lane->disk_count == 0)
        take_tail(lane);
    lane_note_locked(queue, at);
}

void disk_refill_locked(struct queue *queue, struct lane *lane) {
    refill(queue, lane, REFILL_MAX);
}

void disk_read_fronts_locked(struct queue *queue, bool some) {
    for (unsigned at = 0; at < LANES; at++) {
        struct lane *lane = queue->lanes[at];
        if (lane && !lane->first && (lane->disk_count || lane->tail_first))
            refill(queue, lane, some ? REFILL_MAX : 1);
    }
}

enum err disk_peek_locked(struct queue *queue, unsigned lane, uint64_t after, unsigned limit,
                          struct message **ret_first) {
    struct scan scan;
    struct message *first = NULL;
    struct message **last = &first;
    const struct lane *in = queue->lanes[lane];
    if (after < in->loaded_seq)
        after = in->loaded_seq;
    uint64_t end = in->tail_first ? in->tail_first->seq : UINT64_MAX;
    enum err err = scan_begin(&scan, queue, lane, after);
    if (err)
        return err;
    uint64_t bytes = 0;
    bool full = false;
    for (unsigned i = 0; !err && i < limit && !full; i++) {
        full = bytes > PEEK_BYTES; /* one more, so that it is seen that there is more */
        err = scan_next(&scan, last);
        if (!err && (*last)->seq >= end) {
            message_free(*last);
            *last = NULL;
            break;
        }
        if (!err) {
            bytes += body_size((*last)->body);
            last = &(*last)->next;
        }
    }
    scan_end(&scan);
    *ret_first = first;
    return err == ERR_KEY_NOT_EXIST ? OK : err;
}
