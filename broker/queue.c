/* SPDX-License-Identifier: MIT */
/* A queue's memory: making, letting go, the table by seq, emptying. */
#include <stdlib.h>

#include "broker/disk.h"
#include "broker/internal.h"

#define FIRST_KNOWN 16U
#define RETRY_MS 1000

enum err queue_new(struct broker *broker, struct slice name,
                   const struct broker_queue_options *options, struct queue **ret_queue) {
    enum err err = clock_expect(broker);
    if (err)
        return err;
    struct queue *queue = calloc(1, sizeof *queue);
    if (!queue) {
        clock_forget(broker);
        return ERR_OUT_OF_MEMORY;
    }
    queue->broker = broker;
    atomic_init(&queue->refs, 1);
    queue->options = *options;
    queue->name_len = (uint8_t)name.len;
    memcpy(queue->name, name.ptr, name.len);
    queue->dead_letter_len = (uint8_t)options->dead_letter.len;
    if (options->dead_letter.len)
        memcpy(queue->dead_letter, options->dead_letter.ptr, options->dead_letter.len);
    queue->options.dead_letter = slice_make(queue->dead_letter, queue->dead_letter_len);
    pthread_mutex_init(&queue->lock, NULL);
    heap_init(&queue->leases, offsetof(struct message, due_ms),
              offsetof(struct message, due_index));
    heap_init(&queue->waits, offsetof(struct message, due_ms), offsetof(struct message, due_index));
    heap_init(&queue->waiters_due, offsetof(struct broker_receive, due_ms),
              offsetof(struct broker_receive, due_index));
    queue->scheduled_ms = INT64_MAX;
    if (options->dedup_window_ms > 0)
        queue->dedup = dedup_new();
    if (options->dedup_window_ms > 0 && !queue->dedup) {
        queue_unref(queue);
        return ERR_OUT_OF_MEMORY;
    }
    *ret_queue = queue;
    return OK;
}

/* Messages were thrown away before: nobody refers to an empty, deleted queue. */
void queue_unref(struct queue *queue) {
    if (atomic_fetch_sub_explicit(&queue->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < LANES; i++)
        if (queue->lanes[i]) {
            heap_done(&queue->lanes[i]->returned);
            free(queue->lanes[i]);
        }
    heap_done(&queue->leases);
    heap_done(&queue->waits);
    heap_done(&queue->waiters_due);
    free(queue->known);
    free(queue->consumers);
    dedup_free(queue->dedup);
    disk_forget_stores(queue);
    clock_forget(queue->broker);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static struct message **known_slot(const struct queue *queue, uint64_t seq) {
    return &queue->known[(uint32_t)(seq * 0x9E3779B97F4A7C15U >> 32) & (queue->known_room - 1)];
}

enum err known_reserve(struct queue *queue) {
    if (queue->known_count < queue->known_room)
        return OK;
    uint32_t old_room = queue->known_room;
    uint32_t room = old_room ? 2 * old_room : FIRST_KNOWN;
    struct message **old = queue->known;
    struct message **fresh = calloc(room, sizeof(struct message *));
    if (!fresh)
        return ERR_OUT_OF_MEMORY;
    queue->known = fresh;
    queue->known_room = room;
    for (uint32_t i = 0; i < old_room; i++)
        while (old[i]) {
            struct message *message = old[i];
            old[i] = message->hash_next;
            struct message **slot = known_slot(queue, message->seq);
            message->hash_next = *slot;
            *slot = message;
        }
    free(old);
    return OK;
}

void known_add(struct queue *queue, struct message *message) {
    if (message->flags & MESSAGE_KNOWN)
        return;
    struct message **slot = known_slot(queue, message->seq);
    message->hash_next = *slot;
    *slot = message;
    message->flags |= MESSAGE_KNOWN;
    queue->known_count++;
}

void known_remove(struct queue *queue, struct message *message) {
    if (!(message->flags & MESSAGE_KNOWN))
        return;
    struct message **link = known_slot(queue, message->seq);
    while (*link != message)
        link = &(*link)->hash_next;
    *link = message->hash_next;
    message->flags &= (uint16_t)~MESSAGE_KNOWN;
    queue->known_count--;
}

struct message *known_find(const struct queue *queue, uint64_t seq) {
    if (queue->known_count == 0)
        return NULL;
    struct message *message = *known_slot(queue, seq);
    while (message && message->seq != seq)
        message = message->hash_next;
    return message;
}

void moving_add(struct queue *queue, struct message *message) {
    message->flags |= MESSAGE_UNDER_WAY;
    message->prev = NULL;
    if (queue->moving_last)
        queue->moving_last->prev = message;
    else
        queue->moving_first = message;
    queue->moving_last = message;
}

/* They go in the order they came, but for few. */
void moving_remove(struct queue *queue, struct message *message) {
    struct message *before = NULL;
    if (!(message->flags & MESSAGE_UNDER_WAY))
        return;
    message->flags &= (uint16_t)~MESSAGE_UNDER_WAY;
    for (struct message *at = queue->moving_first; at != message; at = at->prev)
        before = at;
    if (before)
        before->prev = message->prev;
    else
        queue->moving_first = message->prev;
    if (queue->moving_last == message)
        queue->moving_last = before;
    message->prev = NULL;
}

void queue_count_bytes(struct queue *queue, const struct message *message, bool more) {
    if (queue_is_hdd(queue))
        return;
    uint64_t size = message_size(message);
    if (more)
        atomic_fetch_add_explicit(&queue->broker->memory_bytes, size, memory_order_relaxed);
    else
        atomic_fetch_sub_explicit(&queue->broker->memory_bytes, size, memory_order_relaxed);
}

static void throw_lane(struct queue *queue, unsigned at, struct garbage *garbage) {
    struct lane *lane = queue->lanes[at];
    if (queue->part)
        snapshot_empties_locked(queue->part, at);
    garbage->lists[garbage->list_count++] = lane->first;
    garbage->lists[garbage->list_count++] = lane->tail_first;
    garbage->heaps[garbage->heap_count++] = lane->returned;
    heap_init(&lane->returned, offsetof(struct message, seq), offsetof(struct message, back_index));
    lane->first = lane->last = lane->tail_first = lane->tail_last = NULL;
    lane->list_count = 0;
    lane->list_bytes = 0;
    lane->disk_count = 0;
    lane->plain_on_disk = 0;
    lane->loaded_seq = 0;
}

void queue_retry_locked(struct queue *queue, int64_t now_ms) {
    if (queue->retry_ms == 0)
        queue->retry_ms = now_ms + RETRY_MS;
    clock_schedule_locked(queue);
}

void queue_keep_locked(struct queue *queue, struct message *message, int64_t now_ms) {
    message->state = MESSAGE_DELAYED;
    message->due_ms = now_ms + RETRY_MS;
    message->next = queue->later;
    queue->later = message;
    queue->delayed++;
    queue_retry_locked(queue, now_ms);
}

/* Without memory for the garbage whoever asks waits for all of it to be freed. */
uint64_t queue_empty_locked(struct queue *queue, bool all) {
    struct garbage here = {.queue = queue};
    struct garbage *thrown = garbage_new(queue);
    struct garbage *garbage = thrown ? thrown : &here;
    uint64_t count = queue->ready + queue->delayed + (all ? queue->leased : 0);
    for (unsigned i = 0; i < LANES; i++)
        if (queue->lanes[i])
            throw_lane(queue, i, garbage);
    garbage->lists[garbage->list_count++] = queue->later;
    garbage->lists[garbage->list_count++] = queue->aside;
    queue->later = queue->aside = NULL;
    garbage->heaps[garbage->heap_count++] = queue->waits;
    heap_init(&queue->waits, offsetof(struct message, due_ms), offsetof(struct message, due_index));
    if (all) {
        garbage->heaps[garbage->heap_count++] = queue->leases;
        heap_init(&queue->leases, offsetof(struct message, due_ms),
                  offsetof(struct message, due_index));
        queue->leased = 0;
        if (queue_is_hdd(queue))
            disk_throw_dead_locked(queue);
    }
    queue->lanes_used = 0;
    queue->ready = 0;
    queue->delayed = 0;
    if (thrown)
        garbage_throw(queue->broker, thrown);
    else
        garbage_free_locked(&here);
    return count;
}
