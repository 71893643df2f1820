/* SPDX-License-Identifier: MIT */
#include "broker/move.h"

#include <stdlib.h>

#include "broker/disk.h"

#define STEP_BYTES (4U << 20)

static void go(struct move_job *job) {
    if (move_needs_journal(job))
        disk_submit_moves(job);
    else
        move_finish(job, OK);
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

/* It did not move: tried again in a moment, and handed out to nobody meanwhile. */
static void put_back(struct queue *queue, struct message *message, int64_t now_ms) {
    queue_lock(queue);
    if (queue->deleted) {
        message_gone_locked(queue, message);
    } else {
        moving_remove(queue, message);
        queue_keep_locked(queue, message, now_ms);
    }
    pthread_mutex_unlock(&queue->lock);
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
        if (!job) {
            put_back(queue, message, clock_now_ms(broker));
            continue;
        }
        struct queue *target =
            queue->dead_letter_len ? broker_find_queue(broker, queue->options.dead_letter) : NULL;
        if (target && !has_body(queue, message)) {
            queue_unref(target);
            put_back(queue, message, clock_now_ms(broker));
            continue;
        }
        if (!add(job, message, target, false))
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

/* The next ready message, on its way; *ret_target: where it may go back to, referenced, or NULL. */
static struct message *next_ready(struct queue *queue, struct queue **ret_target) {
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
    *ret_target = NULL;
    if (readable) {
        body_read(message->body, &parts);
        *ret_target = parts.from.len ? broker_find_queue(queue->broker, parts.from) : NULL;
    }
    return message;
}

/* It does not go. Put back at once it would come again in the next step, before what is behind. */
static void set_aside(struct queue *queue, struct message *message) {
    queue_lock(queue);
    if (queue->deleted) {
        message_gone_locked(queue, message);
    } else {
        moving_remove(queue, message);
        message->state = MESSAGE_DELAYED;
        message->next = queue->aside;
        queue->aside = message;
        queue->delayed++;
    }
    pthread_mutex_unlock(&queue->lock);
}

static void put_aside_back(struct move_job *job) {
    struct queue *queue = job->queue;
    struct effects effects;
    effects_init(&effects);
    queue_lock(queue);
    while (queue->aside) {
        struct message *message = queue->aside;
        queue->aside = message->next;
        queue->delayed--;
        message->next = NULL;
        message->due_ms = 0;
        message_place_locked(queue, message, job->now_ms, &effects);
    }
    waiter_serve_locked(queue, job->now_ms, &effects);
    pthread_mutex_unlock(&queue->lock);
    effects_run(queue, &effects);
}

/* Takes out what may go back; what came from nowhere, or whose queue is gone, stays. */
static void collect(struct move_job *job) {
    job->count = 0;
    job->bytes = 0;
    while (job->left && job->count < MOVES_MAX && job->bytes < STEP_BYTES) {
        struct queue *target;
        struct message *message = next_ready(job->queue, &target);
        job->left = message ? job->left - 1 : 0;
        if (message && (!target || !add(job, message, target, true)))
            set_aside(job->queue, message);
    }
}

static void end(struct move_job *job) {
    struct broker_write *write = job->write;
    if (write)
        put_aside_back(job);
    queue_unref(job->queue);
    free(job);
    if (write)
        write->done(write);
}

void move_finish(struct move_job *job, enum err err) {
    unsigned done = 0;
    for (unsigned i = 0; i < job->count; i++) {
        if (!err && !job->moves[i].unwritten) {
            finish_one(job, &job->moves[i]);
            done++;
        } else {
            undo_one(job, &job->moves[i]);
        }
    }
    if (!job->write) {
        end(job);
        return;
    }
    struct broker_op *op = &job->write->ops[0];
    op->count += done;
    bool all = done == job->count;
    if (!all)
        job->write->err = op->err = err ? err : ERR_OUT_OF_MEMORY;
    if (all && !atomic_load(&job->queue->broker->draining))
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
