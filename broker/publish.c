/* SPDX-License-Identifier: MIT */
/* A publish in two steps: staged, where it may still fail and takes its places in all its queues,
 * and finished, where the messages are seen. In between, on hdd, its record becomes safe. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/disk.h"
#include "broker/internal.h"

#define ID_DIGITS 12

static void make_id(struct broker *broker, struct broker_op *op) {
    char text[2 * ID_DIGITS + 1];
    uint64_t count = atomic_fetch_add_explicit(&broker->id_next, 1, memory_order_relaxed);
    const char *digits = "0123456789abcdef";
    for (unsigned i = 0; i < ID_DIGITS; i++) {
        text[i] = digits[broker->id_prefix >> 4 * (ID_DIGITS - 1 - i) & 15];
        text[ID_DIGITS + i] = digits[count >> 4 * (ID_DIGITS - 1 - i) & 15];
    }
    op->id_len = 2 * ID_DIGITS;
    memcpy(op->id_text, text, op->id_len);
}

static void take_id(struct broker *broker, struct broker_op *op) {
    if (op->id.len == 0) {
        make_id(broker, op);
        return;
    }
    op->id_len = (uint8_t)op->id.len;
    memcpy(op->id_text, op->id.ptr, op->id.len);
}

static struct broker_stage *stage_new(struct broker_stage *on_stack, unsigned count) {
    struct broker_stage *stage = on_stack;
    if (!stage || count > STAGE_FEW) {
        unsigned behind = count > STAGE_FEW ? count : 0;
        stage = malloc(sizeof *stage + behind * sizeof(struct stage_item));
        if (!stage)
            return NULL;
        stage->on_heap = true;
        stage->items = behind ? (struct stage_item *)(void *)(stage + 1) : stage->few;
    } else {
        stage->on_heap = false;
        stage->items = stage->few;
    }
    stage->router = NULL;
    stage->body = NULL;
    stage->leased = NULL;
    stage->seq = 0;
    stage->count = 0;
    return stage;
}

static bool is_plain(const struct queue *queue) {
    return queue->options.max_length == 0 && !queue->dedup && !queue_is_hdd(queue);
}

/* Nothing can make room for one more: it refuses, or all are delayed. */
static bool is_full(const struct queue *queue) {
    uint64_t most = queue->options.max_length;
    if (most == 0)
        return false;
    if (queue->options.overflow == OVERFLOW_DROP_HEAD)
        return queue->delayed + queue->staged_delayed >= most;
    return queue->ready + queue->delayed + queue->staged >= most;
}

/* A queue's own rules: seen before, full. Takes a place. */
static enum err take_place_locked(struct queue *queue, const struct broker_op *op, int64_t now_ms,
                                  struct stage_item *item) {
    if (queue->dedup && op->id.len && dedup_seen(queue->dedup, op->id, now_ms)) {
        queue_count_bytes(queue, item->message, false);
        message_free(item->message);
        item->message = NULL;
        return OK;
    }
    if (is_full(queue))
        return ERR_QUEUE_FULL;
    if (lane_reserve(queue, item->message->lane))
        return ERR_OUT_OF_MEMORY;
    if (queue->dedup && op->id.len) {
        item->dedup = dedup_add(queue->dedup, op->id, now_ms + queue->options.dedup_window_ms);
        if (!item->dedup)
            return ERR_OUT_OF_MEMORY;
    }
    item->delayed = op->delay_ms > 0;
    queue->staged++;
    queue->staged_delayed += item->delayed;
    return OK;
}

static void give_place_locked(struct queue *queue, const struct stage_item *item) {
    if (is_plain(queue))
        return;
    queue->staged--;
    queue->staged_delayed -= item->delayed;
}

static void undo_item(struct stage_item *item) {
    struct queue *queue = item->queue;
    queue_lock(queue);
    if (item->dedup)
        dedup_take_back(queue->dedup, item->dedup);
    if (item->message)
        give_place_locked(queue, item);
    pthread_mutex_unlock(&queue->lock);
    if (item->message) {
        queue_count_bytes(queue, item->message, false);
        message_free(item->message);
    }
    queue_unref(queue);
}

enum err publish_check_memory(struct queue *queue, const struct message *message) {
    struct broker *broker = queue->broker;
    uint64_t most = broker->options.memory_limit_bytes;
    queue_count_bytes(queue, message, true);
    if (most == 0 || queue_is_hdd(queue) ||
        atomic_load_explicit(&broker->memory_bytes, memory_order_relaxed) <= most)
        return OK;
    queue_count_bytes(queue, message, false);
    return ERR_OUT_OF_MEMORY;
}

static enum err stage_item(struct broker_stage *stage, const struct broker_op *op,
                           struct queue *queue) {
    struct stage_item *item = &stage->items[stage->count];
    *item = (struct stage_item){.queue = queue};
    item->message =
        message_new(body_ref(stage->body), (uint8_t)(BROKER_PRIORITY_MAX - op->priority));
    if (!item->message)
        return ERR_OUT_OF_MEMORY;
    enum err err = publish_check_memory(queue, item->message);
    if (err) {
        message_free(item->message);
        return err;
    }
    int64_t ttl_ms = op->ttl_ms ? op->ttl_ms : queue->options.ttl_ms;
    if (ttl_ms)
        item->message->expires_ms = stage->now_ms + ttl_ms;
    if (!is_plain(queue)) {
        queue_lock(queue);
        err = take_place_locked(queue, op, stage->now_ms, item);
        pthread_mutex_unlock(&queue->lock);
    }
    if (err) {
        queue_count_bytes(queue, item->message, false);
        message_free(item->message);
        return err;
    }
    queue_ref(queue);
    stage->count++;
    return OK;
}

static enum err make_body(struct broker_stage *stage, const struct broker_op *op) {
    struct body_parts parts = {.id = slice_make(op->id_text, op->id_len),
                               .key = op->routing_key,
                               .headers = op->headers,
                               .payload = op->payload,
                               .published_ms = stage->now_ms};
    stage->body = body_new(&parts);
    return stage->body ? OK : ERR_OUT_OF_MEMORY;
}

static void stage_free(struct broker_stage *stage) {
    body_unref(stage->body);
    if (stage->on_heap)
        free(stage);
}

static enum err stage_all(struct broker_op *op, struct broker_stage *stage,
                          const struct match_result *found) {
    enum err err = make_body(stage, op);
    for (unsigned i = 0; !err && i < found->count; i++)
        err = stage_item(stage, op, found->targets[i]);
    return err;
}

static bool any_hdd(const struct match_result *found) {
    for (unsigned i = 0; i < found->count; i++)
        if (queue_is_hdd(found->targets[i]))
            return true;
    return false;
}

static enum err route_and_stage(struct broker *broker, struct broker_op *op, int64_t now_ms,
                                struct broker_stage *on_stack, bool in_journal) {
    struct match_result found;
    struct router *router = names_get(&broker->routers, op->router);
    if (!router)
        return ERR_ROUTER_NOT_EXIST;
    match_result_init(&found);
    enum err err = route_find(broker, router, op->routing_key, &found);
    bool is_hdd = !err && any_hdd(&found);
    if (is_hdd && !in_journal)
        err = ERR_WOULD_WAIT;
    else if (is_hdd && found.count > op->queues)
        err = ERR_UNAVAILABLE; /* bound in the same batch: there is no room for its record */
    else if (is_hdd)
        err = disk_may_grow(broker);
    op->stage = err ? NULL : stage_new(on_stack, found.count);
    if (!err && !op->stage)
        err = ERR_OUT_OF_MEMORY;
    if (!err) {
        take_id(broker, op);
        op->stage->now_ms = now_ms;
        err = stage_all(op, op->stage, &found);
        op->queues = found.count;
    }
    if (!err)
        atomic_fetch_add_explicit(found.count ? &router->published : &router->unroutable, 1,
                                  memory_order_relaxed);
    match_result_done(&found);
    return err;
}

uint32_t publish_count(struct broker *broker, const struct broker_op *op) {
    struct match_result found;
    uint32_t count = 0;
    match_result_init(&found);
    pthread_rwlock_rdlock(&broker->topology);
    const struct router *router = names_get(&broker->routers, op->router);
    if (router && route_find(broker, router, op->routing_key, &found) == OK)
        count = found.count;
    pthread_rwlock_unlock(&broker->topology);
    match_result_done(&found);
    return count;
}

enum err publish_stage(struct broker *broker, struct broker_op *op, int64_t now_ms,
                       struct broker_stage *on_stack, struct journal_block *block) {
    op->stage = NULL;
    pthread_rwlock_rdlock(&broker->topology);
    enum err err = route_and_stage(broker, op, now_ms, on_stack, block != NULL);
    pthread_rwlock_unlock(&broker->topology);
    if (!err && block)
        err = disk_add_publish(broker, block, op->stage, op);
    if (err && op->stage)
        publish_undo(broker, op);
    return err;
}

void publish_undo(struct broker *broker, struct broker_op *op) {
    struct broker_stage *stage = op->stage;
    (void)broker;
    for (unsigned i = 0; i < stage->count; i++)
        undo_item(&stage->items[i]);
    stage_free(stage);
    op->stage = NULL;
}

void publish_put_locked(struct queue *queue, struct message *message, uint64_t seq, int64_t now_ms,
                        int64_t delay_ms, struct effects *effects) {
    bool is_hdd = queue_is_hdd(queue);
    message->seq = is_hdd ? seq : ++queue->next_seq;
    message->store = queue->store;
    queue->published++;
    if (is_hdd)
        disk_note_locked(queue, message);
    bool in_order = delay_ms == 0 && (!message->expires_ms || heap_reserve(&queue->waits) == OK) &&
                    lane_reserve(queue, message->lane) == OK;
    if (!in_order) {
        message->due_ms = now_ms + delay_ms;
        message_place_locked(queue, message, now_ms, effects);
        return;
    }
    lane_append_locked(queue, message);
    if (message->expires_ms) {
        message->due_ms = message->expires_ms;
        heap_push(&queue->waits, message);
        clock_schedule_locked(queue);
    }
}

/* The oldest of the lowest priority make room for one more. On hdd nobody waits for that to be
 * safe: a crash may bring them back. */
static void drop_heads_locked(struct queue *queue) {
    uint64_t most = queue->options.max_length;
    if (most == 0 || queue->options.overflow != OVERFLOW_DROP_HEAD)
        return;
    while (queue->ready + queue->delayed >= most) {
        struct message *message = lane_pop_oldest_locked(queue);
        if (!message)
            return;
        queue->dropped++;
        if (queue_is_hdd(queue))
            disk_submit_state(queue, message, MESSAGE_DEAD);
        message_gone_locked(queue, message);
    }
}

/* Leases that begin with it run from now; the message's own times from when it was asked for. */
static void put_item(struct stage_item *item, const struct broker_op *op, uint64_t seq,
                     int64_t asked_ms, int64_t now_ms) {
    struct queue *queue = item->queue;
    effects_init(&item->effects);
    queue_lock(queue);
    if (item->dedup)
        dedup_confirm(item->dedup);
    if (item->message)
        give_place_locked(queue, item);
    if (item->message && queue->deleted) {
        queue_count_bytes(queue, item->message, false);
        message_free(item->message);
    } else if (item->message) {
        drop_heads_locked(queue);
        publish_put_locked(queue, item->message, seq, asked_ms, op->delay_ms, &item->effects);
        waiter_serve_locked(queue, now_ms, &item->effects);
    }
    pthread_mutex_unlock(&queue->lock);
}

void publish_finish(struct broker *broker, struct broker_op *op) {
    struct broker_stage *stage = op->stage;
    int64_t now_ms = clock_now_ms(broker);
    bool several = stage->count > 1;
    op->stage = NULL;
    if (several)
        pthread_rwlock_rdlock(&broker->cut_gate);
    for (unsigned i = 0; i < stage->count; i++)
        put_item(&stage->items[i], op, stage->seq, stage->now_ms, now_ms);
    if (several)
        pthread_rwlock_unlock(&broker->cut_gate);
    for (unsigned i = 0; i < stage->count; i++) {
        effects_run(stage->items[i].queue, &stage->items[i].effects);
        queue_unref(stage->items[i].queue);
    }
    if (op->queues)
        atomic_fetch_add_explicit(&broker->published, 1, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&broker->unroutable, 1, memory_order_relaxed);
    stage_free(stage);
}

void publish_put(struct queue *queue, struct message *message, uint64_t seq, int64_t now_ms,
                 struct effects *effects) {
    queue_lock(queue);
    if (queue->deleted) {
        queue_count_bytes(queue, message, false);
        message_free(message);
    } else {
        publish_put_locked(queue, message, seq, now_ms, 0, effects);
        waiter_serve_locked(queue, now_ms, effects);
    }
    pthread_mutex_unlock(&queue->lock);
}
