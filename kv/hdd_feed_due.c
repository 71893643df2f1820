/* SPDX-License-Identifier: MIT */
/* Expiry in spaces that are followed. An entry whose time is over is deleted, as a write of the
 * store's own and only if it is still the same: so the end of it has a number, survives, and is
 * told in its place. What is due soon is in a heap; what is due later will be in LMDB's index by
 * then, which is gone through as time passes. */
#include <stdlib.h>

#include "base/clock.h"
#include "kv/hdd.h"

#define SOON_MS 30000      /* what is due by then is in the heap */
#define HEAP_MAX 1000000U  /* beyond it is told when LMDB has it */
#define PENDING_MAX 4096U  /* deletes on their way */
#define ASK_EVERY_MS 5000  /* LMDB is brought up to what is awaited */
#define SCAN_AGAIN_MS 2000 /* the index is gone through from a bit before */

struct feed_due {
    int64_t due_ms;
    uint64_t revision;
    struct feed *feed; /* held */
    uint16_t key_len;
    char key[];
};

/* A delete on its way. */
struct expiry {
    struct kv_write write;
    struct kv_op op;
    struct kv_hdd *hdd;
    struct feed *feed; /* held: its name is the op's */
    char key[];
};

/* ---- the heap ---- */

static void sink_locked(struct feed_dues *dues, uint32_t at) {
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < dues->count && dues->heap[child + 1]->due_ms < dues->heap[child]->due_ms)
            child++;
        if (child >= dues->count || dues->heap[at]->due_ms <= dues->heap[child]->due_ms)
            return;
        struct feed_due *moved = dues->heap[at];
        dues->heap[at] = dues->heap[child];
        dues->heap[child] = moved;
        at = child;
    }
}

static bool put_locked(struct feed_dues *dues, struct feed_due *due) {
    if (dues->count == dues->cap) {
        uint32_t cap = dues->cap ? dues->cap * 2 : 64;
        struct feed_due **heap = realloc(dues->heap, cap * sizeof(struct feed_due *));
        if (!heap)
            return false;
        dues->heap = heap;
        dues->cap = cap;
    }
    uint32_t at = dues->count++;
    for (; at && dues->heap[(at - 1) / 2]->due_ms > due->due_ms; at = (at - 1) / 2)
        dues->heap[at] = dues->heap[(at - 1) / 2];
    dues->heap[at] = due;
    return true;
}

static struct feed_due *take_due(struct feed_dues *dues, int64_t now_ms) {
    struct feed_due *due = NULL;
    pthread_mutex_lock(&dues->lock);
    if (dues->count && dues->heap[0]->due_ms <= now_ms) {
        due = dues->heap[0];
        dues->heap[0] = dues->heap[--dues->count];
        sink_locked(dues, 0);
    }
    pthread_mutex_unlock(&dues->lock);
    return due;
}

static void free_due(struct feed_due *due) {
    feed_drop(due->feed);
    free(due);
}

void hdd_feed_due_await(struct kv_hdd *hdd, uint64_t seq, int64_t due_ms) {
    struct feed_dues *dues = &hdd->dues;
    pthread_mutex_lock(&dues->lock);
    if (!dues->awaited_seq || due_ms < dues->awaited_due_ms)
        dues->awaited_due_ms = due_ms;
    if (dues->awaited_seq < seq)
        dues->awaited_seq = seq;
    pthread_mutex_unlock(&dues->lock);
}

static bool put(struct feed_dues *dues, struct feed *feed, const struct feed_change *change) {
    struct feed_due *due = malloc(sizeof *due + change->key.len);
    if (!due)
        return false;
    atomic_fetch_add(&feed->holds, 1);
    *due =
        (struct feed_due){change->expires_at_ms, change->revision, feed, (uint16_t)change->key.len};
    memcpy(due->key, change->key.ptr, change->key.len);
    pthread_mutex_lock(&dues->lock);
    bool fits = dues->count < HEAP_MAX && put_locked(dues, due);
    pthread_mutex_unlock(&dues->lock);
    if (!fits)
        free_due(due);
    return fits;
}

void hdd_feed_due_note(struct kv_hdd *hdd, struct feed *feed, const struct feed_change *change) {
    bool soon = change->expires_at_ms <= clock_wall_ms() + SOON_MS;
    if (!soon || !put(&hdd->dues, feed, change))
        hdd_feed_due_await(hdd, change->revision, change->expires_at_ms);
}

/* ---- deletes ---- */

static void expired(struct kv_write *write) {
    struct expiry *expiry = write->context;
    if (!write->err)
        atomic_fetch_add_explicit(&expiry->hdd->expired, 1, memory_order_relaxed);
    atomic_fetch_sub(&expiry->hdd->dues.pending, 1);
    feed_drop(expiry->feed);
    free(expiry);
}

/* As of a moment when it was still there; the condition sees to it that it is the same entry. False
 * where nothing may be submitted any more. */
static bool expire(struct kv_hdd *hdd, struct feed *feed, struct slice key, uint64_t revision) {
    struct expiry *expiry = calloc(1, sizeof *expiry + key.len);
    if (!expiry)
        return false;
    memcpy(expiry->key, key.ptr, key.len);
    atomic_fetch_add(&feed->holds, 1);
    expiry->hdd = hdd;
    expiry->feed = feed;
    expiry->op = (struct kv_op){
        .action = KV_DELETE,
        .condition = KV_IF_REVISION,
        .ref = {KV_HDD, feed->workspace, slice_make(feed->ns, feed->ns_len),
                slice_make(expiry->key, key.len)},
        .if_revision = revision,
        .is_expiry = true,
    };
    expiry->write = (struct kv_write){
        .ops = &expiry->op, .op_count = 1, .now_ms = 0, .done = expired, .context = expiry};
    atomic_fetch_add(&hdd->dues.pending, 1);
    pthread_mutex_lock(&hdd->lock);
    bool closing = hdd->closing;
    if (!closing)
        (void)!kv_hdd_submit(hdd, &expiry->write);
    pthread_mutex_unlock(&hdd->lock);
    if (closing) {
        expiry->write.err = ERR_UNAVAILABLE;
        expired(&expiry->write);
    }
    return !closing;
}

static bool has_room(const struct kv_hdd *hdd) {
    return atomic_load(&hdd->dues.pending) < PENDING_MAX;
}

static void expire_heap(struct kv_hdd *hdd, int64_t now_ms) {
    struct feed_due *due;
    while (has_room(hdd) && (due = take_due(&hdd->dues, now_ms))) {
        if (!expire(hdd, due->feed, slice_make(due->key, due->key_len), due->revision))
            hdd_feed_due_await(hdd, due->revision, due->due_ms);
        free_due(due);
    }
}

/* ---- LMDB's index ---- */

/* False where there is no room for it now, or it cannot be read. */
static bool expire_stored(struct kv_hdd *hdd, struct env_read *read, struct slice due,
                          struct slice place) {
    struct slice bytes;
    struct stored stored;
    if (place.len < 4 || !feeds_follow(hdd->feeds, KV_HDD, get_be32(place.ptr)))
        return true;
    enum err err = env_read_get(read, ENV_ENTRIES, place, &bytes);
    if (err)
        return err == ERR_KEY_NOT_EXIST;
    if (stored_peek(place, bytes, &stored) || stored.expires_at_ms != due_time(due) ||
        hdd_is_waiting(hdd, &stored))
        return true;
    struct feed *feed = feeds_find(hdd->feeds, KV_HDD, stored.space);
    if (!feed)
        return true;
    bool done = has_room(hdd) && expire(hdd, feed, stored.key, stored.revision);
    feed_drop(feed);
    return done;
}

/* Returns up to when all is gone through. */
static int64_t scan_env(struct kv_hdd *hdd, struct env *env, int64_t from_ms, int64_t now_ms) {
    struct env_read *read;
    struct env_cursor *cursor;
    struct slice due, place;
    char start[DUE_BYTES] = {0};
    if (env_read_begin(env, &read))
        return from_ms;
    int64_t until_ms = from_ms;
    put_be32(start, (uint32_t)((uint64_t)from_ms >> 32));
    put_be32(start + 4, (uint32_t)from_ms);
    enum err err = env_cursor_open(read, ENV_EXPIRY, &cursor);
    if (!err) {
        err = env_cursor_seek(cursor, slice_make(start, sizeof start), &due, &place);
        while (!err && due.len == DUE_BYTES && due_time(due) <= now_ms) {
            until_ms = due_time(due);
            if (!expire_stored(hdd, read, due, place))
                break;
            err = env_cursor_next(cursor, &due, &place);
        }
        if (err == ERR_KEY_NOT_EXIST || (!err && due_time(due) > now_ms))
            until_ms = now_ms;
        env_cursor_close(cursor);
    }
    env_read_end(read);
    return until_ms;
}

/* What was awaited and is in LMDB by now is gone through from where it may be due. */
static void take_awaited(struct kv_hdd *hdd, int64_t steady_ms) {
    struct feed_dues *dues = &hdd->dues;
    pthread_mutex_lock(&hdd->lock);
    uint64_t applied_seq = hdd->applied_seq;
    pthread_mutex_unlock(&hdd->lock);
    pthread_mutex_lock(&dues->lock);
    uint64_t awaited_seq = dues->awaited_seq;
    bool is_there = awaited_seq && applied_seq >= awaited_seq;
    if (is_there) {
        dues->awaited_seq = 0;
        if (dues->awaited_due_ms < dues->scanned_ms)
            dues->scanned_ms = dues->awaited_due_ms;
    }
    pthread_mutex_unlock(&dues->lock);
    if (awaited_seq && !is_there && steady_ms - dues->asked_ms >= ASK_EVERY_MS) {
        uint64_t own_seq = atomic_load(&hdd->own_seq);
        dues->asked_ms = steady_ms;
        hdd_want_applied(hdd, own_seq < awaited_seq ? own_seq : awaited_seq);
    }
}

void hdd_feed_due_tick(void *context) {
    struct kv_hdd *hdd = context;
    int64_t now_ms = clock_wall_ms();
    take_awaited(hdd, clock_steady_ms());
    expire_heap(hdd, now_ms);
    int64_t until_ms = now_ms;
    for (unsigned i = 0; i < hdd->shard_count && !atomic_load(&hdd->dead); i++) {
        int64_t came_ms = scan_env(hdd, hdd->envs[i], hdd->dues.scanned_ms, now_ms);
        if (came_ms < until_ms)
            until_ms = came_ms;
    }
    int64_t next_ms = until_ms == now_ms ? now_ms - SCAN_AGAIN_MS : until_ms;
    if (next_ms > hdd->dues.scanned_ms)
        hdd->dues.scanned_ms = next_ms;
}

void hdd_feed_due_close(struct kv_hdd *hdd) {
    struct feed_dues *dues = &hdd->dues;
    for (uint32_t i = 0; i < dues->count; i++)
        free_due(dues->heap[i]);
    free(dues->heap);
    pthread_mutex_destroy(&dues->lock);
}
