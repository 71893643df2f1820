/* SPDX-License-Identifier: MIT */
/* Telling what a snapshot has: definitions, then each queue's messages, those that were pinned and
 * those of LMDB in one order. */
#include <stdlib.h>

#include "base/log.h"
#include "broker/snapshot_inside.h"

#define CHUNK_BYTES (256U << 10)

struct bytes {
    char *ptr;
    size_t len, room;
};

struct teller {
    struct broker_snapshot *snapshot;
    struct snapshot_part *part;
    const struct broker_snapshot_sink *sink;
    size_t at;          /* of what was pinned: the next one */
    struct bytes chunk; /* of LMDB */
    struct bytes one;
};

/* ---- definitions ---- */

/* What was paused since was kept before. */
static enum err tell_queue(const struct snapshot_part *part,
                           const struct broker_snapshot_sink *sink) {
    struct queue *queue = part->queue;
    struct broker_snapshot_queue told = {.name = queue_name(queue)};
    pthread_mutex_lock(&queue->lock);
    told.options = part->taken ? part->options : queue->options;
    pthread_mutex_unlock(&queue->lock);
    return sink->queue(sink->context, &told);
}

static enum err tell_definitions(const struct broker_snapshot *snapshot,
                                 const struct broker_snapshot_sink *sink) {
    enum err err = OK;
    for (size_t i = 0; !err && sink->queue && i < snapshot->part_count; i++)
        err = tell_queue(&snapshot->parts[i], sink);
    for (size_t i = 0; !err && sink->router && i < snapshot->router_count; i++) {
        struct broker_snapshot_router told = {snapshot->routers[i].name, snapshot->routers[i].type};
        err = sink->router(sink->context, &told);
    }
    for (size_t i = 0; !err && sink->binding && i < snapshot->binding_count; i++)
        err = sink->binding(sink->context, &snapshot->bindings[i]);
    return err;
}

/* ---- messages ---- */

static enum err tell(const struct teller *teller, const struct body *body,
                     const struct kept *kept) {
    struct body_parts parts;
    body_read(body, &parts);
    struct broker_snapshot_message told = {.queue = queue_name(teller->part->queue),
                                           .id = parts.id,
                                           .key = parts.key,
                                           .payload = parts.payload,
                                           .headers = parts.headers,
                                           .from = parts.from,
                                           .reason = parts.reason,
                                           .dead_attempt = parts.dead_attempt,
                                           .attempt = kept->attempt,
                                           .priority = (uint8_t)(BROKER_PRIORITY_MAX - kept->lane),
                                           .published_ms = parts.published_ms,
                                           .expires_ms = kept->expires_ms,
                                           .due_ms = kept->due_ms};
    return teller->sink->message(teller->sink->context, &told);
}

static enum err damaged(const struct teller *teller, enum err err) {
    const struct queue *queue = teller->part->queue;
    log_error("a snapshot meets a message of queue %.*s that cannot be read: %s",
              (int)queue->name_len, queue->name, err_text(err));
    return err;
}

/* Room for so many bytes more. */
static enum err reserve(struct bytes *bytes, size_t more) {
    if (bytes->room - bytes->len >= more)
        return OK;
    size_t room = bytes->len + more > CHUNK_BYTES ? bytes->len + more : CHUNK_BYTES;
    char *wider = realloc(bytes->ptr, room);
    if (!wider)
        return ERR_OUT_OF_MEMORY;
    bytes->ptr = wider;
    bytes->room = room;
    return OK;
}

/* One that was pinned without its body. */
static enum err copy_one(struct teller *teller, struct slice place, struct slice *ret_value) {
    struct env_read *read = teller->snapshot->read;
    struct slice value;
    if (!read)
        return ERR_INTERNAL;
    env_read_resume(read);
    enum err err = env_read_get(read, ENV_ENTRIES, place, &value);
    if (!err)
        err = reserve(&teller->one, value.len);
    if (!err)
        memcpy(teller->one.ptr, value.ptr, value.len);
    env_read_pause(read);
    if (!err)
        *ret_value = slice_make(teller->one.ptr, value.len);
    return err == ERR_KEY_NOT_EXIST ? ERR_CORRUPT : err;
}

/* What LMDB has of a message, opened; NULL: *ret_err, or (OK) it is not an untouched one, which
 * ret_plain asks for. */
static struct body *open_body(const struct teller *teller, const struct spot *place,
                              struct slice value, struct stored_message *ret_plain,
                              enum err *ret_err) {
    struct stored_message stored;
    struct slice rest;
    *ret_err = stored_message_read(spot_slice(place), value, &stored, &rest);
    if (*ret_err || (ret_plain && !stored.plain))
        return NULL;
    if (ret_plain)
        *ret_plain = stored;
    return stored_message_body(teller->snapshot->broker->disk->keys, spot_slice(place), &stored,
                               rest, ret_err);
}

static enum err tell_kept(struct teller *teller, const struct kept *kept) {
    struct slice value;
    struct spot place;
    if (kept->body)
        return tell(teller, kept->body, kept);
    spot_make(kept->store, kept->lane, kept->seq, &place);
    enum err err = copy_one(teller, spot_slice(&place), &value);
    struct body *body = err ? NULL : open_body(teller, &place, value, NULL, &err);
    if (!body)
        return damaged(teller, err);
    err = tell(teller, body, kept);
    body_unref(body);
    return err;
}

/* Those that were pinned, up to (not with) a place of this lane. */
static enum err tell_kept_before(struct teller *teller, unsigned lane, uint64_t seq) {
    const struct snapshot_part *part = teller->part;
    enum err err = OK;
    while (!err && teller->at < part->count) {
        const struct kept *kept = &part->list[teller->at];
        if (kept->lane > lane || (kept->lane == lane && kept->seq >= seq))
            return OK;
        teller->at++;
        err = tell_kept(teller, kept);
    }
    return err;
}

/* ---- LMDB ---- */

struct raw {
    struct spot place;
    uint32_t len;
};

static enum err add_raw(struct teller *teller, struct slice key, struct slice value) {
    struct raw raw = {.len = (uint32_t)value.len};
    enum err err = reserve(&teller->chunk, sizeof raw + value.len);
    if (err)
        return err;
    char *to = teller->chunk.ptr + teller->chunk.len;
    memcpy(raw.place.bytes, key.ptr, SPOT_BYTES);
    memcpy(to, &raw, sizeof raw);
    if (value.len)
        memcpy(to + sizeof raw, value.ptr, value.len);
    teller->chunk.len += sizeof raw + value.len;
    return OK;
}

/* Copies some of a lane behind *after, which moves; ERR_KEY_NOT_EXIST behind the last. */
static enum err fill(struct teller *teller, unsigned lane, uint64_t *after, uint64_t end) {
    struct env_read *read = teller->snapshot->read;
    struct env_cursor *cursor;
    struct slice key, value;
    struct spot from;
    teller->chunk.len = 0;
    spot_make(teller->part->store, lane, *after + 1, &from);
    env_read_resume(read);
    enum err err = env_cursor_open(read, ENV_ENTRIES, &cursor);
    if (!err) {
        err = env_cursor_seek(cursor, spot_slice(&from), &key, &value);
        while (!err && teller->chunk.len < CHUNK_BYTES / 2) {
            uint32_t store;
            unsigned at;
            uint64_t seq;
            if (!spot_read(key, &store, &at, &seq))
                err = ERR_CORRUPT;
            else if (store != teller->part->store || at != lane || seq >= end)
                err = ERR_KEY_NOT_EXIST;
            else
                err = add_raw(teller, key, value);
            if (!err) {
                *after = seq;
                err = env_cursor_next(cursor, &key, &value);
            }
        }
        env_cursor_close(cursor);
    }
    env_read_pause(read);
    return err;
}

static int compare_numbers(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool is_known(const struct snapshot_part *part, uint64_t seq) {
    return part->known &&
           bsearch(&seq, part->known, part->known_count, sizeof seq, compare_numbers) != NULL;
}

static enum err tell_raw(struct teller *teller, const struct raw *raw, struct slice value) {
    struct stored_message stored;
    struct kept kept = {0};
    uint32_t store;
    unsigned lane;
    enum err err;
    if (!spot_read(spot_slice(&raw->place), &store, &lane, &kept.seq))
        return ERR_INTERNAL;
    if (is_known(teller->part, kept.seq))
        return OK;
    struct body *body = open_body(teller, &raw->place, value, &stored, &err);
    if (!body)
        return err ? damaged(teller, err) : OK;
    kept.lane = (uint8_t)lane;
    kept.attempt = stored.attempt;
    kept.expires_ms = stored.expires_ms;
    err = tell_kept_before(teller, lane, kept.seq);
    if (!err)
        err = tell(teller, body, &kept);
    body_unref(body);
    return err;
}

static enum err tell_chunk(struct teller *teller) {
    const struct bytes *chunk = &teller->chunk;
    enum err err = OK;
    for (size_t at = 0; !err && at < chunk->len;) {
        struct raw raw;
        memcpy(&raw, chunk->ptr + at, sizeof raw);
        at += sizeof raw;
        err = tell_raw(teller, &raw, slice_make(chunk->ptr + at, raw.len));
        at += raw.len;
    }
    return err;
}

static enum err tell_lane(struct teller *teller, unsigned lane) {
    uint64_t after = teller->part->lanes[lane].after;
    enum err err = OK;
    while (!err) {
        enum err filled = fill(teller, lane, &after, teller->part->lanes[lane].end);
        if (filled && filled != ERR_KEY_NOT_EXIST)
            return damaged(teller, filled);
        err = tell_chunk(teller);
        if (filled)
            break;
    }
    return err;
}

static int compare_kept(const void *a, const void *b) {
    const struct kept *x = a;
    const struct kept *y = b;
    if (x->lane != y->lane)
        return x->lane < y->lane ? -1 : 1;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

static enum err tell_messages(struct teller *teller) {
    struct snapshot_part *part = teller->part;
    teller->at = 0;
    if (part->count)
        qsort(part->list, part->count, sizeof *part->list, compare_kept);
    if (part->known)
        qsort(part->known, part->known_count, sizeof *part->known, compare_numbers);
    enum err err = OK;
    for (unsigned lane = 0; !err && lane < LANES; lane++)
        if (part->lanes[lane].any && teller->snapshot->read)
            err = tell_lane(teller, lane);
    return err ? err : tell_kept_before(teller, LANES, 0);
}

static void take_part(struct snapshot_part *part) {
    bool more = true;
    while (more) {
        pthread_mutex_lock(&part->queue->lock);
        if (!part->taken)
            snapshot_take_part_locked(part);
        more = snapshot_walk_locked(part);
        pthread_mutex_unlock(&part->queue->lock);
    }
}

enum err broker_snapshot_each(struct broker_snapshot *snapshot,
                              const struct broker_snapshot_sink *sink) {
    struct teller teller = {.snapshot = snapshot, .sink = sink};
    enum err err = tell_definitions(snapshot, sink);
    for (size_t i = 0; !err && sink->message && i < snapshot->part_count; i++) {
        teller.part = &snapshot->parts[i];
        take_part(teller.part);
        err = atomic_load(&snapshot->broken) ? ERR_OUT_OF_MEMORY : tell_messages(&teller);
        snapshot_empty_part(teller.part);
    }
    free(teller.chunk.ptr);
    free(teller.one.ptr);
    return err;
}
