/* SPDX-License-Identifier: MIT */
/* A broker with one queue `q`, made up for tests of doors. Included by one program each. */
#ifndef HATI_TESTS_HTTP_BROKER_FAKE_H
#define HATI_TESTS_HTTP_BROKER_FAKE_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/broker.h"
#include "tests/unit/server/broker_query_fake.h"

#define FAKE_MESSAGES 64
#define FAKE_PAYLOAD_BYTES 200000

enum fake_message_state { FAKE_NONE, FAKE_READY, FAKE_LEASED };

static struct fake_broker {
    pthread_mutex_t lock;
    struct fake_message {
        enum fake_message_state state;
        unsigned attempt;
        size_t len;
        char *payload;
    } messages[FAKE_MESSAGES];
    struct broker_receive *waiting; /* one at most */
    unsigned held;                  /* receives not freed */
    unsigned consumers, waits, stops;
    bool exists, full;
    struct broker_op last; /* what was asked for last */
    char last_text[256];   /* its headers */
} broker = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void fake_take(struct broker_receive *receive) {
    receive->deliveries = calloc(receive->max, sizeof *receive->deliveries);
    for (unsigned i = 0; i < FAKE_MESSAGES && receive->count < receive->max; i++) {
        struct fake_message *message = &broker.messages[i];
        if (message->state != FAKE_READY)
            continue;
        struct broker_delivery *to = &receive->deliveries[receive->count++];
        message->state = FAKE_LEASED;
        *to = (struct broker_delivery){.id = SLICE("m"),
                                       .payload = slice_make(message->payload, message->len),
                                       .attempt = ++message->attempt,
                                       .message = message};
        snprintf(to->receipt, sizeof to->receipt, "r%u", i);
    }
    broker.held++;
}

/* What is ready goes to who waits. */
static inline void fake_hand_out(bool at_all_events) {
    pthread_mutex_lock(&broker.lock);
    struct broker_receive *receive = broker.waiting;
    bool any = false;
    for (unsigned i = 0; i < FAKE_MESSAGES; i++)
        any |= broker.messages[i].state == FAKE_READY;
    if (receive && (any || at_all_events)) {
        broker.waiting = NULL;
        fake_take(receive);
    } else {
        receive = NULL;
    }
    pthread_mutex_unlock(&broker.lock);
    if (receive)
        receive->done(receive);
}

static inline void fake_message_add(size_t len) {
    pthread_mutex_lock(&broker.lock);
    struct fake_message *to = broker.messages;
    while (to->state != FAKE_NONE)
        to++;
    *to = (struct fake_message){.state = FAKE_READY, .len = len, .payload = malloc(len)};
    memset(to->payload, 'x', len);
    pthread_mutex_unlock(&broker.lock);
    fake_hand_out(false);
}

static inline unsigned fake_count(enum fake_message_state state) {
    unsigned count = 0;
    pthread_mutex_lock(&broker.lock);
    for (unsigned i = 0; i < FAKE_MESSAGES; i++)
        count += broker.messages[i].state == state;
    pthread_mutex_unlock(&broker.lock);
    return count;
}

static inline unsigned fake_read(const unsigned *number) {
    pthread_mutex_lock(&broker.lock);
    unsigned value = *number;
    pthread_mutex_unlock(&broker.lock);
    return value;
}

static inline bool fake_has_waiting(void) {
    pthread_mutex_lock(&broker.lock);
    bool waiting = broker.waiting != NULL;
    pthread_mutex_unlock(&broker.lock);
    return waiting;
}

static inline void fake_queue_delete(void) {
    pthread_mutex_lock(&broker.lock);
    struct broker_receive *receive = broker.waiting;
    broker.exists = false;
    broker.waiting = NULL;
    if (receive)
        receive->err = ERR_QUEUE_NOT_EXIST;
    pthread_mutex_unlock(&broker.lock);
    if (receive)
        receive->done(receive);
}

static inline void fake_broker_forget(void) {
    for (unsigned i = 0; i < FAKE_MESSAGES; i++)
        free(broker.messages[i].payload);
    memset(broker.messages, 0, sizeof broker.messages);
    broker.exists = true;
    broker.full = false;
    broker.held = broker.consumers = broker.waits = broker.stops = 0;
    broker.waiting = NULL;
}

enum err broker_receive(struct broker *unused, struct broker_receive *receive) {
    (void)unused;
    pthread_mutex_lock(&broker.lock);
    enum err err = broker.exists ? OK : ERR_QUEUE_NOT_EXIST;
    receive->err = err;
    receive->count = 0;
    receive->deliveries = NULL;
    if (!err)
        fake_take(receive);
    if (!err && receive->count == 0 && receive->wait_ms) {
        broker.held--;
        free(receive->deliveries);
        receive->deliveries = NULL;
        broker.waiting = receive;
        broker.waits++;
        err = ERR_PENDING;
    }
    pthread_mutex_unlock(&broker.lock);
    return err;
}

void broker_receive_stop(struct broker *unused, struct broker_receive *receive) {
    (void)unused;
    pthread_mutex_lock(&broker.lock);
    bool mine = broker.waiting == receive;
    broker.stops++;
    if (mine) {
        broker.waiting = NULL;
        fake_take(receive);
    }
    pthread_mutex_unlock(&broker.lock);
    if (mine)
        receive->done(receive);
}

void broker_give_back(struct broker *unused, struct broker_receive *receive) {
    (void)unused;
    pthread_mutex_lock(&broker.lock);
    for (unsigned i = 0; i < receive->count; i++) {
        struct fake_message *message = receive->deliveries[i].message;
        message->state = FAKE_READY;
        message->attempt--;
    }
    pthread_mutex_unlock(&broker.lock);
    fake_hand_out(false);
}

void broker_receive_free(struct broker_receive *receive) {
    pthread_mutex_lock(&broker.lock);
    if (receive->deliveries)
        broker.held--;
    free(receive->deliveries);
    receive->deliveries = NULL;
    pthread_mutex_unlock(&broker.lock);
}

enum err broker_consumer_open(struct broker *unused, struct slice queue, unsigned prefetch,
                              struct broker_consumer *ret_consumer) {
    (void)unused;
    if (!broker.exists || !slice_equal(queue, SLICE("q")))
        return ERR_QUEUE_NOT_EXIST;
    *ret_consumer = (struct broker_consumer){.prefetch = prefetch, .open = true};
    pthread_mutex_lock(&broker.lock);
    broker.consumers++;
    pthread_mutex_unlock(&broker.lock);
    return OK;
}

void broker_consumer_close(struct broker *unused, struct broker_consumer *consumer) {
    pthread_mutex_lock(&broker.lock);
    struct broker_receive *receive = broker.waiting;
    broker.consumers--;
    pthread_mutex_unlock(&broker.lock);
    if (receive && receive->consumer == consumer)
        broker_receive_stop(unused, receive);
}

void broker_drain(struct broker *unused) {
    (void)unused;
}

enum err broker_submit(struct broker *unused, struct broker_write *write) {
    struct broker_op *op = write->ops;
    (void)unused;
    broker.last = *op;
    snprintf(broker.last_text, sizeof broker.last_text, "%.*s", (int)op->headers.len,
             op->headers.len ? op->headers.ptr : "");
    op->err = OK;
    op->flag = !broker.exists;
    op->count = 3;
    op->queues = 1;
    op->id_len = 2;
    memcpy(op->id_text, "id", 2);
    if (op->action == BROKER_PUBLISH && broker.full)
        op->err = ERR_QUEUE_FULL;
    if (op->action == BROKER_ACK && !slice_equal(op->receipt, SLICE("r0")))
        op->err = ERR_RECEIPT_INVALID;
    return write->err = op->err;
}

#endif
