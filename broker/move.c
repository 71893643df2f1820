/* SPDX-License-Identifier: MIT */
#include "broker/move.h"

#include <stdlib.h>

#include "broker/disk.h"

#define STEP_BYTES (4U << 20)
#define RETRY_MS 1000

static void go(struct move_job *job) {
    if (move_needs_journal(job))
        disk_submit_moves(job);
    else
        move_finish(job, true);
}

bool move_needs_journal(const struct move_job *job) {
    if (queue_is_hdd(job->queue))
        return true;
    for (unsigned i = 0; i < job->count; i++)
        if (job->moves[i].target && queue_is_hdd(job->moves[i].target))
            return true;
    return false;
}

static struct move_job *job_new(struct queue *queue) {
    struct move_job *job = malloc(sizeof *job);
    if (!job)
        return NULL;
    job->queue = queue_ref(queue);
    job->write = NULL;
    job->now_ms = clock_now_ms(queue->broker);
    job->left = job->bytes = 0;
    job->count = 0;
    return job;
}

/* What it will be in the target: the same bytes, and where it came from (or, back, not). */
static struct message *make_fresh(const struct move_job *job, const struct message *message,
                                  struct queue *target, bool back) {
    struct body_parts parts;
    body_read(message->body, &parts);
    parts.from = back ? SLICE("") : queue_name(job->queue);
    parts.reason = back ? REASON_NONE : (enum broker_reason)message->nonce;
    parts.dead_attempt = back ? 0 : message->attempt;
    struct body *body = body_new(&parts);
    struct message *fresh = body ? message_new(body, message->lane) : NULL;
    if (!fresh)
        return NULL;
    if (target->options.ttl_ms)
        fresh->expires_ms = job->now_ms + target->options.ttl_ms;
    queue_count_bytes(target, fresh, true);
    return fresh;
}

/* Takes the reference of target. Without memory the message is dropped from nowhere: it stays. */
static bool add(struct move_job *job, struct message *message, struct queue *target, bool back) {
    struct move *move = &job->moves[job->count];
    *move = (struct move){.message = message, .target = target};
    if (target) {
        move->fresh = make_fresh(job, message, target, back);
        if (!move->fresh) {
            queue_unref(target);
            return false;
        }
    }
    job->bytes += message_size(message);
    job->count++;
    return true;
}

static void put_back(struct queue *queue, struct message *message, int64_t now_ms) {
    struct effects effects;
    effects_init(&effects);
    queue_lock(queue);
    if (queue->deleted) {
        message_gone_locked(queue, message);
    } else {
        message->next = NULL;
        message->due_ms = now_ms + RETRY_MS;
        if (message->expires_ms && message->expires_ms <= message->due_ms)
            message->expires_ms = message->due_ms; /* tried again then */
        message_place_locked(queue, message, now_ms, &effects);
    }
    pthread_mutex_unlock(&queue->lock);
    effects_run(queue, &effects);
}

static bool has_body(struct queue *queue, struct message *message) {
    queue_lock(queue);
    bool has = message->body || disk_load_body_locked(queue, message) == OK;
    pthread_mutex_unlock(&queue->lock);
    return has;
}

void move_run(struct queue *queue, struct message *moves) {
    struct broker *broker = queue->broker;
    struct move_job *job = NULL;
    while (moves) {
        struct message *message = moves;
        moves = message->next;
        job = job ? job : job_new(queue);
        struct queue *target =
            queue->dead_letter_len ? broker_find_queue(broker, queue->options.dead_letter) : NULL;
        if (target && !has_body(queue, message)) {
            queue_unref(target);
            put_back(queue, message, clock_now_ms(broker));
            continue;
        }
        if (!job || !add(job, message, target, false))
            put_back(queue, message, clock_now_ms(broker));
        else if (job->count == MOVES_MAX || job->bytes >= STEP_BYTES) {
            go(job);
            job = NULL;
        }
    }
    if (job)
        go(job);
}

static void count_locked(struct queue *queue, const struct move_job *job, const struct move *move) {
    if (job->write)
        return;
    if (move->message->nonce == REASON_EXPIRED)
        queue->expired++;
    if (move->target)
        queue->dead_lettered++;
    else
        queue->dropped++;
}

static void finish_one(struct move_job *job, struct move *move) {
    struct queue *queue = job->queue;
    struct effects effects;
    effects_init(&effects);
    pthread_rwlock_rdlock(&queue->broker->cut_gate); /* it is in one of them, not in both */
    if (move->target)
        publish_put(move->target, move->fresh, move->seq, job->now_ms, &effects);
    queue_lock(queue);
    count_locked(queue, job, move);
    message_gone_locked(queue, move->message);
    pthread_mutex_unlock(&queue->lock);
    pthread_rwlock_unlock(&queue->broker->cut_gate);
    if (move->target) {
        effects_run(move->target, &effects);
        queue_unref(move->target);
    }
}

static void undo_one(struct move_job *job, struct move *move) {
    if (move->target) {
        queue_count_bytes(move->target, move->fresh, false);
        message_free(move->fresh);
        queue_unref(move->target);
    }
    put_back(job->queue, move->message, job->now_ms);
}

/* Takes out what may go back; what came from nowhere, or whose queue is gone, stays. */
static void collect(struct move_job *job) {
    struct queue *queue = job->queue;
    struct message *staying = NULL;
    job->count = 0;
    job->bytes = 0;
    while (job->left && job->count < MOVES_MAX && job->bytes < STEP_BYTES) {
        struct body_parts parts;
        queue_lock(queue);
        struct message *message = queue->deleted ? NULL : lane_pop_locked(queue);
        if (message) {
            message->state = MESSAGE_MOVING;
            message->nonce = REASON_NONE;
            moving_add(queue, message);
        }
        bool readable = message && (message->body || disk_load_body_locked(queue, message) == OK);
        pthread_mutex_unlock(&queue->lock);
        job->left = message ? job->left - 1 : 0;
        if (!message)
            break;
        struct queue *target = NULL;
        if (readable) {
            body_read(message->body, &parts);
            target = parts.from.len ? broker_find_queue(queue->broker, parts.from) : NULL;
        }
        if (!target || !add(job, message, target, true)) {
            queue_lock(queue); /* the applier may be looking at it */
            message->next = staying;
            pthread_mutex_unlock(&queue->lock);
            staying = message;
        }
    }
    struct effects effects;
    effects_init(&effects);
    queue_lock(queue);
    while (staying) {
        struct message *next = staying->next;
        staying->next = NULL;
        staying->due_ms = 0;
        if (queue->deleted)
            message_gone_locked(queue, staying);
        else
            message_place_locked(queue, staying, job->now_ms, &effects);
        staying = next;
    }
    pthread_mutex_unlock(&queue->lock);
    effects_run(queue, &effects);
}

static void end(struct move_job *job) {
    struct broker_write *write = job->write;
    queue_unref(job->queue);
    free(job);
    if (write && write->done)
        write->done(write);
}

void move_finish(struct move_job *job, bool safe) {
    for (unsigned i = 0; i < job->count; i++) {
        if (safe)
            finish_one(job, &job->moves[i]);
        else
            undo_one(job, &job->moves[i]);
    }
    if (!job->write) {
        end(job);
        return;
    }
    struct broker_op *op = &job->write->ops[0];
    op->count += safe ? job->count : 0;
    if (!safe)
        job->write->err = op->err = ERR_UNAVAILABLE;
    if (safe && !atomic_load(&job->queue->broker->draining))
        collect(job);
    else
        job->count = 0; /* what is left stays where it is */
    if (job->count)
        go(job);
    else
        end(job);
}

enum err redrive_run(struct broker *broker, struct broker_write *write) {
    struct queue *queue = broker_find_queue(broker, write->ops[0].queue);
    if (!queue)
        return ERR_QUEUE_NOT_EXIST;
    struct move_job *job = job_new(queue);
    if (!job) {
        queue_unref(queue);
        return ERR_OUT_OF_MEMORY;
    }
    queue_lock(queue);
    job->left = queue->ready;
    pthread_mutex_unlock(&queue->lock);
    queue_unref(queue);
    job->write = write;
    job->now_ms = write->now_ms;
    write->ops[0].count = 0;
    collect(job);
    if (job->count)
        go(job);
    else
        end(job);
    return ERR_PENDING;
}
