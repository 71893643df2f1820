/* SPDX-License-Identifier: MIT */
/* Routers and queues as plainly as they can be written: arrays that are walked from end to end.
 * What the broker answers is held against this. */
#ifndef HATI_TESTS_MODEL_H
#define HATI_TESTS_MODEL_H

#include <stdio.h>
#include <stdlib.h>

#include "broker/broker.h"

#define MODEL_QUEUES 8
#define MODEL_ROUTERS 4
#define MODEL_IDS 24 /* ids that publishers name; others are made by the broker */
#define MODEL_BINDINGS 64
#define MODEL_NOBODY (-1)

enum model_state { MODEL_READY, MODEL_DELAYED, MODEL_LEASED };

struct model_message {
    enum model_state state;
    uint64_t number; /* stands in its payload */
    uint64_t place;  /* in its queue; alike: they came at the same instant */
    int priority;
    unsigned attempt;
    int64_t published_ms, due_ms, expires_ms; /* due: end of delay or lease; expires 0: never */
    int from;                                 /* a queue, or MODEL_NOBODY */
    enum broker_reason reason;
    unsigned dead_attempt;
    int holder; /* a consumer, or MODEL_NOBODY */
    char id[BROKER_NAME_MAX + 1];
    char receipt[BROKER_RECEIPT_BYTES + 1];
};

struct model_queue {
    bool exists;
    char name[16];
    struct broker_queue_options options;
    int dead_letter; /* a queue, or MODEL_NOBODY */
    struct model_message *messages;
    size_t count, room;
    int64_t seen_until[MODEL_IDS];
    struct broker_queue_stats stats;
};

struct model_binding {
    int router, queue;
    char pattern[32];
};

struct model {
    struct model_queue queues[MODEL_QUEUES];
    struct model_binding bindings[MODEL_BINDINGS];
    size_t binding_count;
    uint64_t places, redriven_place;
    uint64_t published, unroutable;
};

/* Router 0 is `default`; then one of each type. */
static const char *const model_routers[MODEL_ROUTERS] = {"default", "direct", "fanout", "topic"};
static const enum broker_router_type model_types[MODEL_ROUTERS] = {ROUTER_DIRECT, ROUTER_DIRECT,
                                                                   ROUTER_FANOUT, ROUTER_TOPIC};

static inline struct model_message *model_add(struct model_queue *queue,
                                              const struct model_message *message) {
    if (queue->count == queue->room) {
        queue->room = queue->room ? queue->room * 2 : 64;
        queue->messages = realloc(queue->messages, queue->room * sizeof *queue->messages);
        if (!queue->messages)
            abort();
    }
    queue->messages[queue->count] = *message;
    return &queue->messages[queue->count++];
}

static inline void model_remove(struct model_queue *queue, struct model_message *message) {
    *message = queue->messages[--queue->count];
}

static inline uint64_t model_count(const struct model_queue *queue, enum model_state state) {
    uint64_t count = 0;
    for (size_t i = 0; i < queue->count; i++)
        count += queue->messages[i].state == state;
    return count;
}

/* Before zero: a is handed out before b. */
static inline int model_order(const struct model_message *a, const struct model_message *b) {
    if (a->priority != b->priority)
        return b->priority - a->priority;
    return (a->place > b->place) - (a->place < b->place);
}

/* The ready message that is handed out first, or NULL. */
static inline struct model_message *model_head(struct model_queue *queue) {
    struct model_message *head = NULL;
    for (size_t i = 0; i < queue->count; i++) {
        struct model_message *at = &queue->messages[i];
        if (at->state == MODEL_READY && (!head || model_order(at, head) < 0))
            head = at;
    }
    return head;
}

/* How much of a text is its first word, and where the next one begins (NULL: there is none). */
static inline size_t model_word(const char *text, const char **ret_next) {
    size_t len = strcspn(text, ".");
    *ret_next = text[len] ? text + len + 1 : NULL;
    return len;
}

/* Words parted by dots against a pattern of words, `*` and `#`; NULL: no words. */
static inline bool model_topic(const char *pattern, const char *key) {
    const char *patterns, *keys = NULL;
    if (!pattern)
        return !key;
    size_t len = model_word(pattern, &patterns);
    if (len == 1 && pattern[0] == '#') {
        if (model_topic(patterns, key))
            return true;
        if (!key)
            return false;
        model_word(key, &keys);
        return model_topic(pattern, keys);
    }
    if (!key)
        return false;
    bool any = len == 1 && pattern[0] == '*';
    if (model_word(key, &keys) != len && !any)
        return false;
    return (any || memcmp(pattern, key, len) == 0) && model_topic(patterns, keys);
}

static inline bool model_matches(const struct model_binding *binding, const char *key) {
    switch (model_types[binding->router]) {
    case ROUTER_FANOUT:
        return true;
    case ROUTER_TOPIC:
        return model_topic(binding->pattern, key[0] ? key : NULL);
    case ROUTER_DIRECT:
        break;
    }
    return strcmp(binding->pattern, key) == 0;
}

/* Bit i: queue i gets what is published so. */
static inline unsigned model_route(const struct model *model, int router, const char *key) {
    unsigned reached = 0;
    for (int i = 0; i < MODEL_QUEUES; i++)
        if (router == 0 && model->queues[i].exists && strcmp(model->queues[i].name, key) == 0)
            reached |= 1U << i;
    for (size_t i = 0; i < model->binding_count; i++)
        if (model->bindings[i].router == router && model_matches(&model->bindings[i], key))
            reached |= 1U << model->bindings[i].queue;
    return reached;
}

static inline struct model_binding *model_find_binding(struct model *model, int router, int queue,
                                                       const char *pattern) {
    for (size_t i = 0; i < model->binding_count; i++) {
        struct model_binding *at = &model->bindings[i];
        if (at->router == router && at->queue == queue && strcmp(at->pattern, pattern) == 0)
            return at;
    }
    return NULL;
}

/* What is waited for next, or INT64_MAX. */
static inline int64_t model_next_ms(const struct model *model) {
    int64_t next_ms = INT64_MAX;
    for (int q = 0; q < MODEL_QUEUES; q++)
        for (size_t i = 0; i < model->queues[q].count; i++) {
            const struct model_message *at = &model->queues[q].messages[i];
            if (at->state != MODEL_READY && at->due_ms < next_ms)
                next_ms = at->due_ms;
            if (at->state != MODEL_LEASED && at->expires_ms && at->expires_ms < next_ms)
                next_ms = at->expires_ms;
        }
    return next_ms;
}

/* Out of its queue, into the dead-letter queue where there is one. */
static inline void model_kill(struct model *model, int q, struct model_message *message,
                              enum broker_reason reason, int64_t now_ms, uint64_t place) {
    struct model_queue *queue = &model->queues[q];
    struct model_message dead = *message;
    model_remove(queue, message);
    if (reason == REASON_EXPIRED)
        queue->stats.expired++;
    if (queue->dead_letter == MODEL_NOBODY || !model->queues[queue->dead_letter].exists) {
        queue->stats.dropped++;
        return;
    }
    queue->stats.dead_lettered++;
    struct model_queue *to = &model->queues[queue->dead_letter];
    dead.state = MODEL_READY;
    dead.place = place;
    dead.from = q;
    dead.reason = reason;
    dead.dead_attempt = dead.attempt;
    dead.attempt = 0;
    dead.expires_ms = to->options.ttl_ms ? now_ms + to->options.ttl_ms : 0;
    dead.holder = MODEL_NOBODY;
    model_add(to, &dead);
    to->stats.published++;
}

/* Back from its holder: ready, delayed, or dead. */
static inline void model_return(struct model *model, int q, struct model_message *message,
                                int64_t delay_ms, int64_t now_ms, uint64_t place) {
    struct model_queue *queue = &model->queues[q];
    message->holder = MODEL_NOBODY;
    uint32_t most = queue->options.max_deliver;
    if (most && message->attempt >= most) {
        model_kill(model, q, message, REASON_MAX_DELIVER, now_ms, place);
    } else if (message->expires_ms && message->expires_ms <= now_ms) {
        model_kill(model, q, message, REASON_EXPIRED, now_ms, place);
    } else {
        message->state = delay_ms ? MODEL_DELAYED : MODEL_READY;
        message->due_ms = now_ms + delay_ms;
    }
}

/* Everything that is due at now_ms. */
static inline void model_tick(struct model *model, int64_t now_ms) {
    uint64_t place = ++model->places;
    for (bool again = true; again;) {
        again = false;
        for (int q = 0; q < MODEL_QUEUES; q++)
            for (size_t i = 0; i < model->queues[q].count; i++) {
                struct model_message *at = &model->queues[q].messages[i];
                size_t before = model->queues[q].count;
                if (at->state == MODEL_LEASED && at->due_ms <= now_ms)
                    model_return(model, q, at, 0, now_ms, place);
                else if (at->state != MODEL_LEASED && at->expires_ms && at->expires_ms <= now_ms)
                    model_kill(model, q, at, REASON_EXPIRED, now_ms, place);
                else if (at->state == MODEL_DELAYED && at->due_ms <= now_ms)
                    at->state = MODEL_READY;
                else
                    continue;
                again = true;
                if (model->queues[q].count < before)
                    i--;
            }
    }
}

/* What makes room: the oldest ready one of the lowest priority, or NULL. */
static inline struct model_message *model_victim(struct model_queue *queue) {
    struct model_message *victim = NULL;
    for (size_t i = 0; i < queue->count; i++) {
        struct model_message *at = &queue->messages[i];
        if (at->state == MODEL_READY &&
            (!victim || at->priority < victim->priority ||
             (at->priority == victim->priority && at->place < victim->place)))
            victim = at;
    }
    return victim;
}

static inline bool model_is_full(const struct model_queue *queue) {
    uint64_t most = queue->options.max_length;
    return most && model_count(queue, MODEL_READY) + model_count(queue, MODEL_DELAYED) >= most;
}

/* It is full, and what is ready cannot make room. */
static inline bool model_refuses(const struct model_queue *queue) {
    if (queue->options.overflow == OVERFLOW_REJECT)
        return model_is_full(queue);
    uint64_t most = queue->options.max_length;
    return most && model_count(queue, MODEL_DELAYED) >= most;
}

/* id: of MODEL_IDS, or MODEL_NOBODY. */
static inline bool model_has_seen(const struct model_queue *queue, int id, int64_t now_ms) {
    return id != MODEL_NOBODY && queue->options.dedup_window_ms && queue->seen_until[id] > now_ms;
}

/* What a publish does; *ret_reached: the queues that have it. */
static inline enum err model_publish(struct model *model, int router, const char *key, int id,
                                     const struct model_message *message, int64_t delay_ms,
                                     int64_t ttl_ms, int64_t now_ms, unsigned *ret_reached) {
    unsigned reached = model_route(model, router, key);
    for (int q = 0; q < MODEL_QUEUES; q++) {
        struct model_queue *queue = &model->queues[q];
        if ((reached & 1U << q) && !model_has_seen(queue, id, now_ms) && model_refuses(queue))
            return ERR_QUEUE_FULL;
    }
    model->published++;
    model->unroutable += reached == 0;
    uint64_t place = ++model->places;
    for (int q = 0; q < MODEL_QUEUES; q++) {
        struct model_queue *queue = &model->queues[q];
        if (!(reached & 1U << q) || model_has_seen(queue, id, now_ms))
            continue;
        while (model_is_full(queue)) {
            model_remove(queue, model_victim(queue));
            queue->stats.dropped++;
        }
        struct model_message *added = model_add(queue, message);
        int64_t life_ms = ttl_ms ? ttl_ms : queue->options.ttl_ms;
        added->place = place;
        added->from = added->holder = MODEL_NOBODY;
        added->state = delay_ms ? MODEL_DELAYED : MODEL_READY;
        added->published_ms = now_ms;
        added->due_ms = now_ms + delay_ms;
        added->expires_ms = life_ms ? now_ms + life_ms : 0;
        if (id != MODEL_NOBODY && queue->options.dedup_window_ms)
            queue->seen_until[id] = now_ms + queue->options.dedup_window_ms;
        queue->stats.published++;
    }
    *ret_reached = reached;
    return OK;
}

static inline struct model_message *model_find_receipt(struct model_queue *queue,
                                                       const char *receipt) {
    for (size_t i = 0; i < queue->count; i++)
        if (queue->messages[i].state == MODEL_LEASED &&
            strcmp(queue->messages[i].receipt, receipt) == 0)
            return &queue->messages[i];
    return NULL;
}

static inline uint64_t model_flush(struct model_queue *queue) {
    uint64_t dropped = 0;
    for (size_t i = 0; i < queue->count;) {
        if (queue->messages[i].state == MODEL_LEASED) {
            i++;
            continue;
        }
        model_remove(queue, &queue->messages[i]);
        dropped++;
    }
    queue->stats.dropped += dropped;
    return dropped;
}

/* The ready dead letter that goes home next, or NULL. */
static inline struct model_message *model_next_home(const struct model *model,
                                                    struct model_queue *queue) {
    struct model_message *next = NULL;
    for (size_t i = 0; i < queue->count; i++) {
        struct model_message *at = &queue->messages[i];
        if (at->state == MODEL_READY && at->from != MODEL_NOBODY &&
            model->queues[at->from].exists && (!next || model_order(at, next) < 0))
            next = at;
    }
    return next;
}

/* Ready dead letters go home where that still is, in order; how many. */
static inline uint64_t model_redrive(struct model *model, int q, int64_t now_ms) {
    struct model_queue *queue = &model->queues[q];
    struct model_message *next;
    uint64_t moved = 0;
    while ((next = model_next_home(model, queue))) {
        struct model_message alive = *next;
        struct model_queue *home = &model->queues[alive.from];
        /* those that came at the same instant may go in any order */
        if (moved == 0 || next->place != model->redriven_place)
            model->places++;
        model->redriven_place = next->place;
        model_remove(queue, next);
        alive.from = MODEL_NOBODY;
        alive.reason = REASON_NONE;
        alive.dead_attempt = alive.attempt = 0;
        alive.place = model->places;
        alive.expires_ms = home->options.ttl_ms ? now_ms + home->options.ttl_ms : 0;
        model_add(home, &alive);
        home->stats.published++;
        moved++;
    }
    return moved;
}

#endif
