/* SPDX-License-Identifier: MIT */
/* A broker made up for tests of a door: one fan of queues under router `default`, no time. Queues
 * whose name begins with `d` are durable: what is done to them comes back when the test says so.
 * Included by one program each; it stands in for broker.c. */
#ifndef HATI_TESTS_BROKER_FAKE_H
#define HATI_TESTS_BROKER_FAKE_H

#include <pthread.h>
#include <stdlib.h>

#include "broker/broker.h"
#include "tests/unit/server/broker_query_fake.h"

#define FAKE_QUEUES 8
#define FAKE_PENDING 4096

struct fake_message {
    struct fake_message *next;
    struct broker_consumer *consumer; /* has it */
    unsigned attempt, receipt;        /* receipt 0: ready */
    struct slice key, payload;
    char bytes[];
};

struct queue {
    bool used;
    char name[64];
    struct fake_message *first, **last;
};

struct broker {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct queue queues[FAKE_QUEUES];
    struct broker_write *pending[FAKE_PENDING];
    struct broker_receive *waiting; /* linked by next, newest last */
    unsigned pending_count, receipts, bodies, consumers, waits, given_back, ids;
    bool draining;
};

static struct broker fake_broker = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                    .changed = PTHREAD_COND_INITIALIZER};

static inline bool fake_named(const struct queue *queue, struct slice name) {
    return queue->used && slice_equal(slice_of_cstr(queue->name), name);
}

static inline struct queue *fake_queue(struct slice name) {
    for (unsigned i = 0; i < FAKE_QUEUES; i++)
        if (fake_named(&fake_broker.queues[i], name))
            return &fake_broker.queues[i];
    return NULL;
}

static inline void fake_drop_messages(struct queue *queue) {
    while (queue->first) {
        struct fake_message *message = queue->first;
        queue->first = message->next;
        if (message->consumer)
            message->consumer->unacked--;
        free(message);
    }
    queue->last = &queue->first;
}

static inline void fake_create(struct slice name) {
    struct queue *queue = fake_broker.queues;
    while (queue->used)
        queue++;
    snprintf(queue->name, sizeof queue->name, "%.*s", (int)name.len, name.ptr);
    queue->used = true;
    queue->last = &queue->first;
}

static inline void fake_put(struct queue *queue, struct slice key, struct slice payload) {
    struct fake_message *message = calloc(1, sizeof *message + key.len + payload.len);
    if (key.len)
        memcpy(message->bytes, key.ptr, key.len);
    if (payload.len)
        memcpy(message->bytes + key.len, payload.ptr, payload.len);
    message->key = slice_make(message->bytes, key.len);
    message->payload = slice_make(message->bytes + key.len, payload.len);
    *queue->last = message;
    queue->last = &message->next;
}

static inline struct fake_message **fake_find_receipt(struct queue *queue, const char *receipt) {
    struct fake_message **at = &queue->first;
    while (*at && (!receipt[0] || (*at)->receipt != (unsigned)atoi(receipt + 1)))
        at = &(*at)->next;
    return at;
}

/* ACK drops it, NACK makes it ready again. */
static inline enum err fake_settle(struct queue *queue, const char *receipt, bool is_done) {
    struct fake_message **at = fake_find_receipt(queue, receipt);
    struct fake_message *message = *at;
    if (!message)
        return ERR_RECEIPT_INVALID;
    if (message->consumer)
        message->consumer->unacked--;
    message->consumer = NULL;
    message->receipt = 0;
    if (!is_done)
        return OK;
    *at = message->next;
    if (!message->next)
        queue->last = at;
    free(message);
    return OK;
}

static inline unsigned fake_limit(const struct broker_receive *receive) {
    const struct broker_consumer *consumer = receive->consumer;
    unsigned credit = consumer ? consumer->prefetch - consumer->unacked : receive->max;
    return credit < receive->max ? credit : receive->max;
}

static inline void fake_deliver(struct fake_message *message, struct broker_receive *receive) {
    struct broker_delivery *delivery = &receive->deliveries[receive->count++];
    char *body = malloc(message->key.len + message->payload.len + 1);
    memset(delivery, 0, sizeof *delivery);
    memcpy(body, message->bytes, message->key.len + message->payload.len);
    delivery->body = body;
    delivery->key = slice_make(body, message->key.len);
    delivery->payload = slice_make(body + message->key.len, message->payload.len);
    delivery->attempt = ++message->attempt;
    message->receipt = ++fake_broker.receipts;
    message->consumer = receive->consumer;
    if (receive->consumer)
        receive->consumer->unacked++;
    snprintf(delivery->receipt, sizeof delivery->receipt, "r%u", message->receipt);
    fake_broker.bodies++;
}

/* Takes what is ready; true where there was something. */
static inline bool fake_take(struct queue *queue, struct broker_receive *receive) {
    unsigned limit = fake_limit(receive);
    for (struct fake_message *message = queue->first; message && receive->count < limit;
         message = message->next) {
        if (message->receipt)
            continue;
        if (!receive->deliveries)
            receive->deliveries = calloc(receive->max, sizeof *receive->deliveries);
        fake_deliver(message, receive);
    }
    return receive->count > 0;
}

/* Takes waits off the list that have something now, or that match; they are linked by next. */
static inline struct broker_receive *fake_serve(const struct broker_receive *stopped,
                                                const struct queue *gone, enum err err) {
    struct broker_receive *served = NULL;
    struct broker_receive **last = &served;
    struct broker_receive **at = &fake_broker.waiting;
    while (*at) {
        struct broker_receive *receive = *at;
        bool ended = receive == stopped || receive->at == gone || fake_broker.draining;
        if (!ended && !fake_take(receive->at, receive)) {
            at = &receive->next;
            continue;
        }
        *at = receive->next;
        receive->err = receive->at == gone ? err : OK;
        receive->next = NULL;
        *last = receive;
        last = &receive->next;
        fake_broker.waits--;
    }
    pthread_cond_broadcast(&fake_broker.changed);
    return served;
}

static inline void fake_done(struct broker_receive *served) {
    while (served) {
        struct broker_receive *next = served->next;
        served->done(served);
        served = next;
    }
}

static inline void fake_delete(struct queue *queue, struct broker_receive **ret_served) {
    *ret_served = fake_serve(NULL, queue, ERR_QUEUE_NOT_EXIST);
    fake_drop_messages(queue);
    queue->used = false;
}

static inline enum err fake_publish(struct broker_op *op) {
    struct queue *queue = fake_queue(op->routing_key);
    if (queue)
        fake_put(queue, op->routing_key, op->payload);
    else if (op->routing_key.len == 0) /* to all: a way to have messages without a key */
        for (unsigned i = 0; i < FAKE_QUEUES; i++)
            if (fake_broker.queues[i].used)
                fake_put(queue = &fake_broker.queues[i], SLICE(""), op->payload);
    op->queues = queue != NULL;
    op->id_len = (uint8_t)snprintf(op->id_text, sizeof op->id_text, "m%u", ++fake_broker.ids);
    return OK;
}

static inline enum err fake_apply(struct broker_op *op, struct broker_receive **ret_served) {
    char receipt[64];
    struct queue *queue = fake_queue(op->queue);
    snprintf(receipt, sizeof receipt, "%.*s", (int)op->receipt.len, op->receipt.ptr);
    *ret_served = NULL;
    if (op->action == BROKER_PUBLISH)
        return fake_publish(op);
    if (op->action == BROKER_CREATE_QUEUE) {
        op->flag = !queue;
        if (!queue)
            fake_create(op->queue);
        return OK;
    }
    if (!queue)
        return ERR_QUEUE_NOT_EXIST;
    if (op->action == BROKER_DELETE_QUEUE)
        fake_delete(queue, ret_served);
    else if (op->action == BROKER_ACK || op->action == BROKER_NACK)
        return fake_settle(queue, receipt, op->action == BROKER_ACK);
    else if (op->action == BROKER_FLUSH)
        op->count = 7;
    return OK;
}

static inline bool fake_is_durable(const struct broker_op *op) {
    struct slice name = op->action == BROKER_PUBLISH ? op->routing_key : op->queue;
    return slice_starts_with(name, SLICE("d")) && op->action != BROKER_CREATE_QUEUE;
}

static inline void fake_carry_out(struct broker_write *write) {
    struct broker_receive *deleted;
    pthread_mutex_lock(&fake_broker.lock);
    write->err = write->ops[0].err = fake_apply(&write->ops[0], &deleted);
    struct broker_receive *served = fake_serve(NULL, NULL, OK);
    pthread_mutex_unlock(&fake_broker.lock);
    fake_done(deleted);
    fake_done(served);
}

enum err broker_submit(struct broker *broker, struct broker_write *write) {
    if (!fake_is_durable(&write->ops[0])) {
        fake_carry_out(write);
        return write->err;
    }
    if (write->at_once)
        return ERR_WOULD_WAIT;
    pthread_mutex_lock(&broker->lock);
    broker->pending[broker->pending_count++] = write;
    pthread_cond_broadcast(&broker->changed);
    pthread_mutex_unlock(&broker->lock);
    return ERR_PENDING;
}

/* All durable writes that arrived come back, in order. */
static inline void fake_broker_come_back(unsigned count) {
    pthread_mutex_lock(&fake_broker.lock);
    while (fake_broker.pending_count < count)
        pthread_cond_wait(&fake_broker.changed, &fake_broker.lock);
    assert_int_equal(fake_broker.pending_count, count);
    fake_broker.pending_count = 0;
    pthread_mutex_unlock(&fake_broker.lock);
    for (unsigned i = 0; i < count; i++) {
        fake_carry_out(fake_broker.pending[i]);
        fake_broker.pending[i]->done(fake_broker.pending[i]);
    }
}

enum err broker_receive(struct broker *broker, struct broker_receive *receive) {
    enum err err = OK;
    pthread_mutex_lock(&broker->lock);
    receive->at = receive->consumer ? receive->consumer->queue : fake_queue(receive->queue);
    receive->count = 0;
    receive->deliveries = NULL;
    receive->next = NULL;
    if (!receive->at || !receive->at->used) {
        err = ERR_QUEUE_NOT_EXIST;
    } else if (!fake_take(receive->at, receive) && receive->wait_ms && !broker->draining) {
        err = receive->at_once ? ERR_WOULD_WAIT : ERR_PENDING;
        struct broker_receive **last = &broker->waiting;
        while (*last)
            last = &(*last)->next;
        if (err == ERR_PENDING) {
            *last = receive;
            broker->waits++;
        }
    }
    pthread_cond_broadcast(&broker->changed);
    pthread_mutex_unlock(&broker->lock);
    return err;
}

void broker_receive_stop(struct broker *broker, struct broker_receive *receive) {
    pthread_mutex_lock(&broker->lock);
    struct broker_receive *served = fake_serve(receive, NULL, OK);
    pthread_mutex_unlock(&broker->lock);
    fake_done(served);
}

void broker_give_back(struct broker *broker, struct broker_receive *receive) {
    pthread_mutex_lock(&broker->lock);
    for (unsigned i = 0; i < receive->count; i++) {
        struct fake_message **at = fake_find_receipt(receive->at, receive->deliveries[i].receipt);
        if (!*at)
            continue;
        (*at)->attempt--;
        broker->given_back++;
        assert_int_equal(fake_settle(receive->at, receive->deliveries[i].receipt, false), OK);
    }
    struct broker_receive *served = fake_serve(NULL, NULL, OK);
    pthread_mutex_unlock(&broker->lock);
    fake_done(served);
}

void broker_receive_free(struct broker_receive *receive) {
    pthread_mutex_lock(&fake_broker.lock);
    fake_broker.bodies -= receive->count;
    pthread_mutex_unlock(&fake_broker.lock);
    for (unsigned i = 0; i < receive->count; i++)
        free(receive->deliveries[i].body);
    free(receive->deliveries);
    receive->deliveries = NULL;
    receive->count = 0;
}

enum err broker_consumer_open(struct broker *broker, struct slice queue, unsigned prefetch,
                              struct broker_consumer *ret_consumer) {
    pthread_mutex_lock(&broker->lock);
    struct queue *at = fake_queue(queue);
    if (at) {
        *ret_consumer = (struct broker_consumer){.queue = at, .prefetch = prefetch, .open = true};
        broker->consumers++;
    }
    pthread_mutex_unlock(&broker->lock);
    return at ? OK : ERR_QUEUE_NOT_EXIST;
}

void broker_consumer_close(struct broker *broker, struct broker_consumer *consumer) {
    pthread_mutex_lock(&broker->lock);
    struct broker_receive *stopped = broker->waiting;
    while (stopped && stopped->consumer != consumer)
        stopped = stopped->next;
    for (unsigned i = 0; i < FAKE_QUEUES; i++)
        for (struct fake_message *at = broker->queues[i].first; at; at = at->next)
            if (at->consumer == consumer)
                at->consumer = NULL;
    struct broker_receive *served = stopped ? fake_serve(stopped, NULL, OK) : NULL;
    broker->consumers--;
    pthread_cond_broadcast(&broker->changed);
    pthread_mutex_unlock(&broker->lock);
    fake_done(served);
}

void broker_drain(struct broker *broker) {
    pthread_mutex_lock(&broker->lock);
    broker->draining = true;
    struct broker_receive *served = fake_serve(NULL, NULL, OK);
    pthread_mutex_unlock(&broker->lock);
    fake_done(served);
}

/* Waits until a figure of the fake's is so. */
static inline void fake_await(const unsigned *figure, unsigned value) {
    pthread_mutex_lock(&fake_broker.lock);
    while (*figure != value)
        pthread_cond_wait(&fake_broker.changed, &fake_broker.lock);
    pthread_mutex_unlock(&fake_broker.lock);
}

static inline unsigned fake_figure(const unsigned *figure) {
    pthread_mutex_lock(&fake_broker.lock);
    unsigned value = *figure;
    pthread_mutex_unlock(&fake_broker.lock);
    return value;
}

/* For a new test; the server is stopped. */
static inline void fake_broker_forget(void) {
    assert_int_equal(fake_broker.bodies, 0);
    assert_int_equal(fake_broker.consumers, 0);
    assert_int_equal(fake_broker.waits, 0);
    for (unsigned i = 0; i < FAKE_QUEUES; i++) {
        if (fake_broker.queues[i].used)
            fake_drop_messages(&fake_broker.queues[i]);
        fake_broker.queues[i].used = false;
    }
    fake_broker.receipts = fake_broker.ids = fake_broker.given_back = 0;
    fake_broker.draining = false;
}

#endif
