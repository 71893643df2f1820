/* SPDX-License-Identifier: MIT */
/* What is done with a delivery, or with all messages of a queue: staged and finished as a publish
 * is. A message whose ack or nack is staged is BUSY: its lease was good when that came. A lease
 * runs anew as soon as that is staged: whoever else has the receipt may end it meanwhile. */
#include <stdlib.h>

#include "broker/disk.h"
#include "broker/internal.h"

static int64_t extended_until(const struct broker_stage *stage, const struct broker_op *op) {
    const struct queue *queue = stage->few[0].queue;
    return stage->now_ms + (op->lease_ms ? op->lease_ms : queue->options.lease_ms);
}

static enum err add_record(struct broker_stage *stage, const struct broker_op *op,
                           struct journal_block *block) {
    struct queue *queue = stage->few[0].queue;
    struct message *message = stage->leased;
    if (!block || !queue_is_hdd(queue))
        return OK;
    switch (op->action) {
    case BROKER_ACK:
        return disk_add_ack(block, queue, message->lane, message->seq);
    case BROKER_NACK:
        return disk_add_state(block, queue, message, MESSAGE_DELAYED, stage->now_ms + op->delay_ms);
    case BROKER_EXTEND:
        return disk_add_state(block, queue, message, MESSAGE_LEASED, extended_until(stage, op));
    default:
        return OK;
    }
}

/* Its place in the heap never was empty. */
static void extend_locked(struct queue *queue, struct message *message, int64_t until_ms) {
    heap_remove(&queue->leases, message);
    message->due_ms = until_ms;
    heap_push(&queue->leases, message);
    if (queue_is_hdd(queue))
        disk_note_locked(queue, message);
    clock_schedule_locked(queue);
}

static enum err stage_locked(struct broker_stage *stage, struct broker_op *op,
                             struct journal_block *block) {
    struct queue *queue = stage->few[0].queue;
    if (queue->deleted)
        return ERR_QUEUE_NOT_EXIST;
    if (op->action == BROKER_FLUSH) /* behind the commit nothing may fail */
        return queue_is_hdd(queue) ? disk_ready_to_renew_locked(queue, &stage->retired) : OK;
    enum err err = lease_find_locked(queue, op->receipt, stage->now_ms, &stage->leased);
    if (!err)
        err = add_record(stage, op, block);
    if (err) {
        stage->leased = NULL;
    } else if (op->action == BROKER_EXTEND) {
        extend_locked(queue, stage->leased, extended_until(stage, op));
        stage->leased = NULL;
    } else {
        stage->leased->flags |= MESSAGE_BUSY;
    }
    return err;
}

enum err settle_stage(struct broker *broker, struct broker_op *op, int64_t now_ms,
                      struct broker_stage *on_stack, struct journal_block *block) {
    op->stage = NULL;
    struct queue *queue = broker_find_queue(broker, op->queue);
    if (!queue)
        return ERR_QUEUE_NOT_EXIST;
    if (queue_is_hdd(queue) && !block) {
        queue_unref(queue);
        return ERR_WOULD_WAIT;
    }
    struct broker_stage *stage = on_stack ? on_stack : malloc(sizeof *stage);
    if (!stage) {
        queue_unref(queue);
        return ERR_OUT_OF_MEMORY;
    }
    stage->on_heap = !on_stack;
    stage->now_ms = now_ms;
    stage->leased = NULL;
    stage->retired = NULL;
    stage->few[0] = (struct stage_item){.queue = queue};
    queue_lock(queue);
    enum err err = stage_locked(stage, op, block);
    pthread_mutex_unlock(&queue->lock);
    if (!err && op->action == BROKER_FLUSH && block)
        err = disk_add_flush(block, queue, now_ms, &stage->seq);
    op->stage = stage;
    if (err)
        settle_undo(broker, op);
    return err;
}

static void stage_free(struct broker_op *op) {
    struct broker_stage *stage = op->stage;
    op->stage = NULL;
    disk_free_stores(stage->retired);
    queue_unref(stage->few[0].queue);
    if (stage->on_heap)
        free(stage);
}

void settle_undo(struct broker *broker, struct broker_op *op) {
    struct broker_stage *stage = op->stage;
    struct queue *queue = stage->few[0].queue;
    (void)broker;
    queue_lock(queue);
    if (stage->leased && !queue->deleted)
        stage->leased->flags &= (uint16_t)~MESSAGE_BUSY;
    pthread_mutex_unlock(&queue->lock);
    stage_free(op);
}

/* What is leased stays: so what is not any more goes, as a replay has it too. */
static void flush_locked(struct queue *queue, struct broker_op *op, struct effects *effects) {
    struct broker_stage *stage = op->stage;
    clock_end_leases_locked(queue, stage->now_ms, effects);
    op->count = queue_empty_locked(queue, false);
    queue->dropped += op->count;
    if (!queue_is_hdd(queue))
        return;
    disk_renew_store_locked(queue, (uint32_t)stage->seq, stage->retired);
    stage->retired = NULL;
}

static void finish_locked(struct queue *queue, struct broker_op *op, struct effects *effects) {
    struct broker_stage *stage = op->stage;
    struct message *message = stage->leased;
    if (op->action == BROKER_FLUSH)
        flush_locked(queue, op, effects);
    if (!message)
        return;
    message->flags &= (uint16_t)~MESSAGE_BUSY;
    lease_end_locked(queue, message, effects);
    if (op->action == BROKER_ACK) {
        queue->acked++;
        atomic_fetch_add_explicit(&queue->broker->acked, 1, memory_order_relaxed);
        message_gone_locked(queue, message);
    } else {
        lease_settle_locked(queue, message, stage->now_ms, op->delay_ms, effects);
    }
    waiter_serve_locked(queue, stage->now_ms, effects);
    clock_schedule_locked(queue);
}

void settle_finish(struct broker *broker, struct broker_op *op) {
    struct queue *queue = op->stage->few[0].queue;
    struct effects effects;
    (void)broker;
    effects_init(&effects);
    queue_lock(queue);
    if (!queue->deleted)
        finish_locked(queue, op, &effects);
    pthread_mutex_unlock(&queue->lock);
    effects_run(queue, &effects);
    stage_free(op);
}

static void give_back_locked(struct queue *queue, const struct broker_delivery *delivery,
                             int64_t now_ms, struct effects *effects) {
    struct message *message;
    if (lease_find_locked(queue, slice_make(delivery->receipt, BROKER_RECEIPT_BYTES - 1), now_ms,
                          &message))
        return;
    lease_end_locked(queue, message, effects);
    message->attempt--;
    queue->delivered--;
    if (message->attempt)
        queue->redelivered--;
    message->due_ms = 0;
    message_place_locked(queue, message, now_ms, effects);
    if (queue_is_hdd(queue)) {
        disk_note_locked(queue, message);
        disk_submit_state(queue, message, MESSAGE_DELAYED);
    }
}

void broker_give_back(struct broker *broker, struct broker_receive *receive) {
    struct queue *queue = receive->at;
    struct effects effects;
    if (broker->remote && receive->count)
        broker->remote->give_back(broker->remote->context, receive);
    if (!queue || receive->count == 0)
        return;
    int64_t now_ms = clock_now_ms(broker); /* the receive may have waited long */
    effects_init(&effects);
    queue_lock(queue);
    if (!queue->deleted) {
        for (unsigned i = 0; i < receive->count; i++)
            give_back_locked(queue, &receive->deliveries[i], now_ms, &effects);
        waiter_serve_locked(queue, now_ms, &effects);
    }
    pthread_mutex_unlock(&queue->lock);
    effects_run(queue, &effects);
}
