/* SPDX-License-Identifier: MIT */
/* Ready messages in order: higher priority first, then by seq. What came back stands in a heap, so
 * that it takes its old place whatever the length of the list. */
#include <stdlib.h>

#include "broker/disk.h"
#include "broker/internal.h"

enum err lane_reserve(struct queue *queue, unsigned at) {
    if (!queue->lanes[at]) {
        struct lane *lane = calloc(1, sizeof *lane);
        if (!lane)
            return ERR_OUT_OF_MEMORY;
        heap_init(&lane->returned, offsetof(struct message, seq),
                  offsetof(struct message, back_index));
        queue->lanes[at] = lane;
    }
    return heap_reserve(&queue->lanes[at]->returned);
}

void lane_note_locked(struct queue *queue, unsigned at) {
    const struct lane *lane = queue->lanes[at];
    if (lane->first || lane->returned.count || lane->tail_first || lane->disk_count)
        queue->lanes_used |= 1U << at;
    else
        queue->lanes_used &= ~(1U << at);
}

static void link_last(struct message **first, struct message **last, struct message *message) {
    message->next = NULL;
    message->prev = *last;
    if (*last)
        (*last)->next = message;
    else
        *first = message;
    *last = message;
}

static void unlink(struct message **first, struct message **last, struct message *message) {
    if (message->prev)
        message->prev->next = message->next;
    else
        *first = message->next;
    if (message->next)
        message->next->prev = message->prev;
    else
        *last = message->prev;
    message->next = message->prev = NULL;
}

void lane_append_locked(struct queue *queue, struct message *message) {
    struct lane *lane = queue->lanes[message->lane];
    message->state = MESSAGE_READY;
    if (queue_is_hdd(queue) && disk_wants_tail(lane)) {
        message->flags |= MESSAGE_TAIL;
        link_last(&lane->tail_first, &lane->tail_last, message);
    } else {
        link_last(&lane->first, &lane->last, message);
        lane->list_count++;
        lane->list_bytes += message_size(message);
        lane->loaded_seq = message->seq;
    }
    queue->ready++;
    queue->lanes_used |= 1U << message->lane;
}

void lane_return_locked(struct queue *queue, struct message *message) {
    struct lane *lane = queue->lanes[message->lane];
    message->state = MESSAGE_READY;
    message->flags |= MESSAGE_RETURNED;
    heap_push(&lane->returned, message);
    queue->ready++;
    queue->lanes_used |= 1U << message->lane;
}

void lane_remove_locked(struct queue *queue, struct message *message) {
    struct lane *lane = queue->lanes[message->lane];
    if (message->flags & MESSAGE_RETURNED) {
        heap_remove(&lane->returned, message);
        message->flags &= (uint16_t)~MESSAGE_RETURNED;
    } else if (message->flags & MESSAGE_TAIL) {
        unlink(&lane->tail_first, &lane->tail_last, message);
        message->flags &= (uint16_t)~MESSAGE_TAIL;
    } else {
        if (queue->part)
            snapshot_leaves_locked(queue->part, message);
        unlink(&lane->first, &lane->last, message);
        lane->list_count--;
        lane->list_bytes -= message_size(message);
    }
    heap_remove(&queue->waits, message); /* it is there where it expires */
    queue->ready--;
    lane_note_locked(queue, message->lane);
}

static struct message *pop_of_lane(struct queue *queue, struct lane *lane) {
    if (!lane->first && (lane->disk_count || lane->tail_first))
        disk_refill_locked(queue, lane);
    struct message *back = heap_top(&lane->returned);
    struct message *message = lane->first;
    if (back && (!message || back->seq < message->seq))
        message = back;
    if (message)
        lane_remove_locked(queue, message);
    return message;
}

struct message *lane_pop_locked(struct queue *queue) {
    for (unsigned left = queue->lanes_used; left; left &= left - 1) {
        struct message *message = pop_of_lane(queue, queue->lanes[(unsigned)__builtin_ctz(left)]);
        if (message)
            return message;
    }
    return NULL;
}

struct message *lane_pop_oldest_locked(struct queue *queue) {
    for (unsigned at = LANES; at-- > 0;) {
        struct message *message =
            queue->lanes_used & 1U << at ? pop_of_lane(queue, queue->lanes[at]) : NULL;
        if (message)
            return message;
    }
    return NULL;
}
