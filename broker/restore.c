/* SPDX-License-Identifier: MIT */
/* Messages of a snapshot go into their queue as they were: by their own times, with the deliveries
 * they had. What had its last delivery under way goes on as if that had failed. */
#include <stdlib.h>

#include "broker/disk.h"
#include "broker/internal.h"
#include "broker/snapshot.h"

static enum err make_message(struct broker_stage *stage,
                             const struct broker_snapshot_message *from) {
    struct stage_item *item = &stage->few[0];
    struct body_parts parts = {.id = from->id,
                               .key = from->key,
                               .from = from->from,
                               .headers = from->headers,
                               .payload = from->payload,
                               .reason = from->reason,
                               .dead_attempt = from->dead_attempt,
                               .published_ms = from->published_ms};
    stage->body = body_new(&parts);
    if (!stage->body)
        return ERR_OUT_OF_MEMORY;
    item->message =
        message_new(body_ref(stage->body), (uint8_t)(BROKER_PRIORITY_MAX - from->priority));
    if (!item->message)
        return ERR_OUT_OF_MEMORY;
    item->message->expires_ms = from->expires_ms;
    item->message->attempt = from->attempt;
    enum err err = publish_check_memory(item->queue, item->message);
    if (err) {
        message_free(item->message);
        item->message = NULL;
    }
    return err;
}

/* Its id is remembered as if it had been published here. */
static enum err remember_id(struct broker_stage *stage,
                            const struct broker_snapshot_message *from) {
    struct stage_item *item = &stage->few[0];
    struct queue *queue = item->queue;
    int64_t until_ms = from->published_ms + queue->options.dedup_window_ms;
    if (!queue->dedup || from->id.len == 0 || until_ms <= stage->now_ms)
        return OK;
    enum err err = OK;
    queue_lock(queue);
    if (!dedup_seen(queue->dedup, from->id, stage->now_ms)) {
        item->dedup = dedup_add(queue->dedup, from->id, until_ms);
        err = item->dedup ? OK : ERR_OUT_OF_MEMORY;
    }
    pthread_mutex_unlock(&queue->lock);
    return err;
}

static void stage_free(struct broker_stage *stage) {
    body_unref(stage->body);
    queue_unref(stage->few[0].queue);
    if (stage->on_heap)
        free(stage);
}

static void undo(struct broker_stage *stage) {
    struct stage_item *item = &stage->few[0];
    if (item->dedup) {
        queue_lock(item->queue);
        dedup_take_back(item->queue->dedup, item->dedup);
        pthread_mutex_unlock(&item->queue->lock);
    }
    if (item->message) {
        queue_count_bytes(item->queue, item->message, false);
        message_free(item->message);
    }
    stage_free(stage);
}

void restore_undo(struct broker_op *op) {
    undo(op->stage);
    op->stage = NULL;
}

static enum err find_queue(struct broker *broker, const struct broker_op *op, bool in_journal,
                           struct queue **ret_queue) {
    struct queue *queue = broker_find_queue(broker, op->restore->queue);
    if (!queue)
        return ERR_QUEUE_NOT_EXIST;
    enum err err = OK;
    if (queue_is_hdd(queue))
        err = in_journal ? disk_may_grow(broker) : ERR_WOULD_WAIT;
    if (err)
        queue_unref(queue);
    else
        *ret_queue = queue;
    return err;
}

enum err restore_stage(struct broker *broker, struct broker_op *op, int64_t now_ms,
                       struct broker_stage *on_stack, struct journal_block *block) {
    const struct broker_snapshot_message *from = op->restore;
    struct queue *queue;
    op->stage = NULL;
    if (from->priority > BROKER_PRIORITY_MAX || from->id.len > BROKER_NAME_MAX)
        return ERR_SYNTAX;
    enum err err = find_queue(broker, op, block != NULL, &queue);
    if (err)
        return err;
    struct broker_stage *stage = on_stack ? on_stack : malloc(sizeof *stage);
    if (!stage) {
        queue_unref(queue);
        return ERR_OUT_OF_MEMORY;
    }
    *stage = (struct broker_stage){
        .now_ms = now_ms, .on_heap = !on_stack, .items = stage->few, .count = 1};
    stage->few[0].queue = queue;
    err = make_message(stage, from);
    if (!err)
        err = remember_id(stage, from);
    if (!err && queue_is_hdd(queue))
        err = disk_add_restore(broker, block, stage, from->due_ms > now_ms ? from->due_ms : 0);
    if (err)
        undo(stage);
    else
        op->stage = stage;
    return err;
}

/* What was delivered before has a place of its own, as what came back. */
static void put_locked(struct queue *queue, struct message *message,
                       const struct broker_stage *stage, int64_t delay_ms,
                       struct effects *effects) {
    if (message->attempt == 0) {
        publish_put_locked(queue, message, stage->seq, stage->now_ms, delay_ms, effects);
        return;
    }
    bool is_hdd = queue_is_hdd(queue);
    message->seq = is_hdd ? stage->seq : ++queue->next_seq;
    message->store = queue->store;
    queue->published++;
    if (is_hdd)
        disk_note_locked(queue, message);
    lease_settle_locked(queue, message, stage->now_ms, delay_ms, effects);
}

void restore_finish(struct broker *broker, struct broker_op *op) {
    struct broker_stage *stage = op->stage;
    struct stage_item *item = &stage->few[0];
    struct queue *queue = item->queue;
    int64_t due_ms = op->restore->due_ms;
    op->stage = NULL;
    op->queues = 1;
    effects_init(&item->effects);
    queue_lock(queue);
    if (item->dedup)
        dedup_confirm(item->dedup);
    if (queue->deleted) {
        queue_count_bytes(queue, item->message, false);
        message_free(item->message);
    } else {
        put_locked(queue, item->message, stage, due_ms > stage->now_ms ? due_ms - stage->now_ms : 0,
                   &item->effects);
        waiter_serve_locked(queue, clock_now_ms(broker), &item->effects);
    }
    pthread_mutex_unlock(&queue->lock);
    effects_run(queue, &item->effects);
    atomic_fetch_add_explicit(&broker->published, 1, memory_order_relaxed);
    stage_free(stage);
}
