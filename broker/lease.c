/* SPDX-License-Identifier: MIT */
/* Handing out and taking back. */
#include <stdlib.h>

#include "base/hash.h"
#include "broker/disk.h"
#include "broker/internal.h"

#define RETRY_MS 1000 /* what could not be done for want of memory */

static uint64_t new_nonce(struct broker *broker) {
    uint64_t count = atomic_fetch_add_explicit(&broker->nonce_next, 1, memory_order_relaxed);
    return hash_seeded(slice_make(&count, sizeof count), broker->seed);
}

static void note(struct queue *queue, struct message *message) {
    if (queue_is_hdd(queue))
        disk_note_locked(queue, message);
}

static void fill_delivery(const struct message *message, struct broker_delivery *delivery) {
    struct body_parts parts;
    body_read(message->body, &parts);
    *delivery = (struct broker_delivery){.id = parts.id,
                                         .key = parts.key,
                                         .payload = parts.payload,
                                         .headers = parts.headers,
                                         .from = parts.from,
                                         .reason = parts.reason,
                                         .dead_attempt = parts.dead_attempt,
                                         .attempt = message->attempt,
                                         .published_ms = parts.published_ms,
                                         .body = body_ref(message->body)};
    receipt_write(message, delivery->receipt);
}

static void lease(struct queue *queue, struct message *message, struct broker_receive *receive,
                  int64_t now_ms) {
    struct broker_consumer *consumer = receive->consumer;
    message->state = MESSAGE_LEASED;
    message->nonce = new_nonce(queue->broker);
    message->due_ms = now_ms + (receive->lease_ms ? receive->lease_ms : queue->options.lease_ms);
    receive->lease_until_ms = message->due_ms;
    message->consumer = consumer ? consumer->slot + 1 : 0;
    message->consumer_serial = consumer ? consumer->serial : 0;
    if (message->attempt++)
        queue->redelivered++;
    if (consumer)
        consumer->unacked++;
    known_add(queue, message);
    heap_push(&queue->leases, message);
    queue->leased++;
    queue->delivered++;
    note(queue, message);
    fill_delivery(message, &receive->deliveries[receive->count++]);
}

/* The next one that has not expired, with its body; NULL: none. */
static struct message *pop_live(struct queue *queue, int64_t now_ms, struct effects *effects) {
    struct message *message;
    while ((message = lane_pop_locked(queue))) {
        if (message->expires_ms && message->expires_ms <= now_ms) {
            message_move_locked(queue, message, REASON_EXPIRED, effects);
            continue;
        }
        if (message->body || disk_load_body_locked(queue, message) == OK)
            return message;
        message->due_ms = now_ms + RETRY_MS; /* it cannot be read now */
        message_place_locked(queue, message, now_ms, effects);
        return NULL;
    }
    return NULL;
}

enum err lease_fill_locked(struct queue *queue, struct broker_receive *receive, unsigned limit,
                           int64_t now_ms, struct effects *effects) {
    if (limit > queue->ready)
        limit = (unsigned)queue->ready;
    receive->count = 0;
    if (limit == 0)
        return OK;
    receive->deliveries = malloc(limit * sizeof *receive->deliveries);
    if (!receive->deliveries) {
        queue_retry_locked(queue, now_ms);
        return ERR_OUT_OF_MEMORY;
    }
    uint64_t bytes = 0;
    enum err err = OK;
    while (receive->count < limit) {
        err = known_reserve(queue);
        if (!err)
            err = heap_reserve(&queue->leases);
        struct message *message = err ? NULL : pop_live(queue, now_ms, effects);
        if (!message)
            break;
        bytes += message_size(message);
        if (receive->max_bytes && receive->count && bytes > receive->max_bytes) {
            message->due_ms = 0;
            message_place_locked(queue, message, now_ms, effects);
            break;
        }
        lease(queue, message, receive, now_ms);
    }
    atomic_fetch_add_explicit(&queue->broker->delivered, receive->count, memory_order_relaxed);
    if (receive->count == 0 && queue->ready) /* no memory: who waits is served then */
        queue_retry_locked(queue, now_ms);
    clock_schedule_locked(queue);
    if (receive->count || !err)
        return OK;
    free(receive->deliveries); /* that there is nothing would not be true */
    receive->deliveries = NULL;
    return err;
}

enum err lease_find_locked(struct queue *queue, struct slice receipt, int64_t now_ms,
                           struct message **ret_message) {
    uint8_t lane;
    uint64_t seq;
    uint64_t nonce;
    if (!receipt_read(receipt, &lane, &seq, &nonce))
        return ERR_RECEIPT_INVALID;
    struct message *message = known_find(queue, seq);
    if (!message || message->state != MESSAGE_LEASED || message->nonce != nonce ||
        message->lane != lane || message->due_ms <= now_ms || (message->flags & MESSAGE_BUSY))
        return ERR_RECEIPT_INVALID;
    *ret_message = message;
    return OK;
}

void lease_end_locked(struct queue *queue, struct message *message, struct effects *effects) {
    (void)effects;
    heap_remove(&queue->leases, message);
    waiter_credit_locked(queue, message);
    message->consumer = 0;
    queue->leased--;
    if (!queue_is_hdd(queue))
        known_remove(queue, message);
}

void message_move_locked(struct queue *queue, struct message *message, enum broker_reason reason,
                         struct effects *effects) {
    message->state = MESSAGE_MOVING;
    message->nonce = (uint64_t)reason;
    message->next = NULL;
    moving_add(queue, message);
    *effects->last_move = message;
    effects->last_move = &message->next;
    if (queue_is_hdd(queue) && known_reserve(queue) == OK)
        known_add(queue, message); /* LMDB may have it behind loaded_seq: it is not read again */
}

void message_gone_locked(struct queue *queue, struct message *message) {
    moving_remove(queue, message);
    if (queue_is_hdd(queue)) {
        disk_gone_locked(queue, message);
        return;
    }
    known_remove(queue, message);
    queue_count_bytes(queue, message, false);
    message_free(message);
}

/* due_ms is when it may be handed out again. */
void message_place_locked(struct queue *queue, struct message *message, int64_t now_ms,
                          struct effects *effects) {
    moving_remove(queue, message);
    if (message->expires_ms && message->expires_ms <= now_ms) {
        message_move_locked(queue, message, REASON_EXPIRED, effects);
        return;
    }
    bool later = message->due_ms > now_ms;
    if (queue_is_hdd(queue) && message->store != queue->store)
        disk_adopt_locked(queue, message);
    if (lane_reserve(queue, message->lane) || heap_reserve(&queue->waits) ||
        (queue_is_hdd(queue) && known_reserve(queue))) {
        queue_keep_locked(queue, message, now_ms);
        return;
    }
    if (queue_is_hdd(queue))
        known_add(queue, message);
    if (later) {
        message->state = MESSAGE_DELAYED;
        if (message->expires_ms && message->expires_ms < message->due_ms)
            message->due_ms = message->expires_ms;
        queue->delayed++;
    } else {
        lane_return_locked(queue, message);
        message->due_ms = message->expires_ms;
    }
    if (message->due_ms)
        heap_push(&queue->waits, message);
    clock_schedule_locked(queue);
}

void lease_settle_locked(struct queue *queue, struct message *message, int64_t now_ms,
                         int64_t delay_ms, struct effects *effects) {
    uint32_t most = queue->options.max_deliver;
    if (most && message->attempt >= most) {
        message_move_locked(queue, message, REASON_MAX_DELIVER, effects);
        return;
    }
    message->due_ms = now_ms + delay_ms;
    message_place_locked(queue, message, now_ms, effects);
    note(queue, message);
}
