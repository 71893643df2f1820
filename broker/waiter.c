/* SPDX-License-Identifier: MIT */
/* Who waits for messages: single receives and consumers, first come, first served. */
#include <stdlib.h>

#include "broker/internal.h"

enum waiter_state {
    WAITER_NONE,
    WAITER_LISTED, /* gets what comes next */
    WAITER_HELD    /* a consumer that has all it may have */
};

static unsigned limit_of(const struct broker_receive *receive) {
    const struct broker_consumer *consumer = receive->consumer;
    if (!consumer)
        return receive->max;
    unsigned credit =
        consumer->unacked < consumer->prefetch ? consumer->prefetch - consumer->unacked : 0;
    return receive->max < credit ? receive->max : credit;
}

static void list(struct queue *queue, struct broker_receive *receive) {
    receive->state = WAITER_LISTED;
    receive->next = NULL;
    receive->prev = queue->last_waiter;
    if (queue->last_waiter)
        queue->last_waiter->next = receive;
    else
        queue->first_waiter = receive;
    queue->last_waiter = receive;
}

static void unlist(struct queue *queue, struct broker_receive *receive) {
    if (receive->prev)
        receive->prev->next = receive->next;
    else
        queue->first_waiter = receive->next;
    if (receive->next)
        receive->next->prev = receive->prev;
    else
        queue->last_waiter = receive->prev;
}

void waiter_add_locked(struct queue *queue, struct broker_receive *receive, int64_t now_ms) {
    receive->due_index = 0;
    receive->due_ms = 0;
    if (receive->consumer)
        receive->consumer->waiting = receive;
    else
        queue->waiter_count++;
    if (limit_of(receive))
        list(queue, receive);
    else
        receive->state = WAITER_HELD;
    if (receive->wait_ms < 0)
        return;
    receive->due_ms = clock_steady_of(queue->broker, now_ms) + receive->wait_ms;
    heap_push(&queue->waiters_due, receive);
    clock_schedule_locked(queue);
}

static void leave(struct queue *queue, struct broker_receive *receive, struct effects *effects) {
    if (receive->state == WAITER_LISTED)
        unlist(queue, receive);
    heap_remove(&queue->waiters_due, receive);
    receive->state = WAITER_NONE;
    if (receive->consumer)
        receive->consumer->waiting = NULL;
    else
        queue->waiter_count--;
    receive->next = NULL;
    *effects->last_receive = receive;
    effects->last_receive = &receive->next;
}

void waiter_end_locked(struct queue *queue, struct broker_receive *receive, enum err err,
                       struct effects *effects) {
    if (receive->state == WAITER_NONE)
        return;
    receive->err = err;
    leave(queue, receive, effects);
}

void waiter_serve_locked(struct queue *queue, int64_t now_ms, struct effects *effects) {
    if (!queue->first_waiter)
        return;
    int64_t clock_ms = clock_now_ms(queue->broker);
    if (clock_ms > now_ms) /* what brought the message may have waited for the disk */
        now_ms = clock_ms;
    while (queue->first_waiter && queue->ready && !queue->options.paused) {
        struct broker_receive *receive = queue->first_waiter;
        if (lease_fill_locked(queue, receive, limit_of(receive), now_ms, effects) ||
            receive->count == 0) {
            free(receive->deliveries);
            receive->deliveries = NULL;
            return; /* no memory, or what was ready expired: the clock comes by again */
        }
        receive->err = OK;
        leave(queue, receive, effects);
    }
}

void waiter_credit_locked(struct queue *queue, const struct message *message) {
    if (message->consumer == 0)
        return;
    const struct consumer_slot *slot = &queue->consumers[message->consumer - 1];
    if (!slot->consumer || slot->serial != message->consumer_serial)
        return;
    slot->consumer->unacked--;
    struct broker_receive *waiting = slot->consumer->waiting;
    if (waiting && waiting->state == WAITER_HELD)
        list(queue, waiting);
}

void waiter_end_all_locked(struct queue *queue, enum err err, struct effects *effects) {
    while (queue->first_waiter)
        waiter_end_locked(queue, queue->first_waiter, err, effects);
    for (uint32_t i = 0; i < queue->consumer_room; i++) {
        struct broker_consumer *consumer = queue->consumers[i].consumer;
        if (consumer && consumer->waiting)
            waiter_end_locked(queue, consumer->waiting, err, effects);
    }
    while (queue->waiters_due.count) /* single receives are all listed: none is left */
        waiter_end_locked(queue, heap_top(&queue->waiters_due), err, effects);
}

/* ---- the front ---- */

static int64_t now_of(const struct broker *broker, const struct broker_receive *receive) {
    return receive->now_ms ? receive->now_ms : clock_now_ms(broker);
}

static enum err begin(struct broker *broker, struct broker_receive *receive) {
    struct broker_consumer *consumer = receive->consumer;
    receive->count = 0;
    receive->deliveries = NULL;
    receive->state = WAITER_NONE;
    receive->err = OK;
    receive->at = consumer ? queue_ref(consumer->queue) : broker_find_queue(broker, receive->queue);
    if (!receive->at)
        return ERR_QUEUE_NOT_EXIST;
    if (receive->at_once && queue_is_hdd(receive->at))
        return ERR_WOULD_WAIT;
    return OK;
}

/* What is there now, or a place among those who wait. */
static enum err take_or_wait_locked(struct broker *broker, struct broker_receive *receive,
                                    int64_t now_ms, struct effects *effects) {
    struct queue *queue = receive->at;
    unsigned limit = limit_of(receive);
    if (queue->deleted)
        return ERR_QUEUE_NOT_EXIST;
    if (!queue->options.paused && limit && queue->ready) {
        enum err err = lease_fill_locked(queue, receive, limit, now_ms, effects);
        if (err || receive->count)
            return err;
        free(receive->deliveries); /* all that was ready had expired */
        receive->deliveries = NULL;
    }
    if (receive->wait_ms == 0 || atomic_load(&broker->draining))
        return OK;
    if (receive->at_once)
        return ERR_WOULD_WAIT;
    if (heap_reserve(&queue->waiters_due))
        return ERR_OUT_OF_MEMORY;
    waiter_add_locked(queue, receive, now_ms);
    return ERR_PENDING;
}

enum err broker_receive(struct broker *broker, struct broker_receive *receive) {
    struct effects effects;
    receive->remote = broker->remote;
    if (broker->remote) {
        receive->at = NULL;
        receive->count = 0;
        receive->deliveries = NULL;
        return broker->remote->receive(broker->remote->context, receive);
    }
    enum err err = begin(broker, receive);
    if (!err) {
        struct queue *queue = queue_ref(receive->at); /* the receive may be gone behind the lock */
        bool is_hdd = queue_is_hdd(queue);
        effects_init(&effects);
        queue_lock(queue);
        err = take_or_wait_locked(broker, receive, now_of(broker, receive), &effects);
        if (err == OK && receive->count && is_hdd) {
            err = ERR_PENDING;
            receive->next = NULL;
            *effects.last_receive = receive;
            effects.last_receive = &receive->next;
        }
        pthread_mutex_unlock(&queue->lock);
        effects_run(queue, &effects);
        queue_unref(queue);
    }
    if (err && err != ERR_PENDING)
        broker_receive_free(receive);
    return err;
}

void broker_receive_free(struct broker_receive *receive) {
    if (receive->remote) {
        receive->remote->receive_free(receive->remote->context, receive);
        return;
    }
    for (unsigned i = 0; i < receive->count; i++)
        body_unref(receive->deliveries[i].body);
    free(receive->deliveries);
    receive->deliveries = NULL;
    receive->count = 0;
    if (receive->at)
        queue_unref(receive->at);
    receive->at = NULL;
}

void broker_receive_stop(struct broker *broker, struct broker_receive *receive) {
    struct effects effects;
    if (broker->remote) { /* it may be under way: nothing of it is looked at here */
        broker->remote->receive_stop(broker->remote->context, receive);
        return;
    }
    struct queue *queue = receive->at;
    if (!queue)
        return;
    queue_ref(queue);
    effects_init(&effects);
    queue_lock(queue);
    waiter_end_locked(queue, receive, OK, &effects);
    pthread_mutex_unlock(&queue->lock);
    effects_run(queue, &effects);
    queue_unref(queue);
}

static enum err add_slot(struct queue *queue, struct broker_consumer *consumer) {
    if (queue->consumer_free == 0) {
        uint32_t room = queue->consumer_room ? 2 * queue->consumer_room : 4;
        struct consumer_slot *grown = realloc(queue->consumers, room * sizeof *grown);
        if (!grown)
            return ERR_OUT_OF_MEMORY;
        for (uint32_t i = room; i-- > queue->consumer_room;) {
            grown[i] = (struct consumer_slot){NULL, 0, queue->consumer_free};
            queue->consumer_free = i + 1;
        }
        queue->consumers = grown;
        queue->consumer_room = room;
    }
    consumer->slot = queue->consumer_free - 1;
    struct consumer_slot *slot = &queue->consumers[consumer->slot];
    queue->consumer_free = slot->next_free;
    slot->consumer = consumer;
    consumer->serial = ++slot->serial;
    queue->consumer_count++;
    return OK;
}

enum err broker_consumer_open(struct broker *broker, struct slice name, unsigned prefetch,
                              struct broker_consumer *ret_consumer) {
    if (broker->remote)
        return broker->remote->consumer_open(broker->remote->context, name, prefetch, ret_consumer);
    struct queue *queue = broker_find_queue(broker, name);
    if (!queue)
        return ERR_QUEUE_NOT_EXIST;
    *ret_consumer = (struct broker_consumer){.queue = queue, .prefetch = prefetch};
    queue_lock(queue);
    enum err err = queue->deleted ? ERR_QUEUE_NOT_EXIST : add_slot(queue, ret_consumer);
    pthread_mutex_unlock(&queue->lock);
    ret_consumer->open = !err;
    if (err)
        queue_unref(queue);
    return err;
}

void broker_consumer_close(struct broker *broker, struct broker_consumer *consumer) {
    struct effects effects;
    struct queue *queue = consumer->queue;
    if (!consumer->open)
        return;
    if (broker->remote) {
        broker->remote->consumer_close(broker->remote->context, consumer);
        return;
    }
    consumer->open = false;
    effects_init(&effects);
    queue_lock(queue);
    if (consumer->waiting)
        waiter_end_locked(queue, consumer->waiting, OK, &effects);
    struct consumer_slot *slot = &queue->consumers[consumer->slot];
    slot->consumer = NULL;
    slot->next_free = queue->consumer_free;
    queue->consumer_free = consumer->slot + 1;
    queue->consumer_count--;
    pthread_mutex_unlock(&queue->lock);
    effects_run(queue, &effects);
    queue_unref(queue);
}
