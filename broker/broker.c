/* SPDX-License-Identifier: MIT */
/* Opening and closing, and which way a write goes: at once where only memory is touched, else by
 * the committer. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "broker/disk.h"
#include "broker/internal.h"

enum err broker_open(const struct broker_options *options, struct broker **ret_broker,
                     char *ret_why, size_t why_bytes) {
    struct broker *broker = calloc(1, sizeof *broker);
    ret_why[0] = '\0';
    if (!broker) {
        snprintf(ret_why, why_bytes, "no memory for the broker");
        return ERR_OUT_OF_MEMORY;
    }
    if (options->remote) {
        broker->remote = options->remote;
        *ret_broker = broker;
        return OK;
    }
    broker->options = *options;
    hash_random(&broker->seed, sizeof broker->seed);
    hash_random(&broker->id_prefix, sizeof broker->id_prefix);
    clock_open(broker);
    enum err err = topology_open(broker);
    if (!err && options->datadir)
        err = disk_open(broker, ret_why, why_bytes);
    else if (!err && !options->manual_clock)
        err = clock_start(broker);
    if (err) {
        if (!ret_why[0])
            snprintf(ret_why, why_bytes, "cannot open the broker: %s", err_text(err));
        broker_close(broker);
        return err;
    }
    *ret_broker = broker;
    return OK;
}

static void end_waits(void *context, struct slice name, void *value) {
    struct queue *queue = value;
    struct effects effects;
    (void)context, (void)name;
    effects_init(&effects);
    queue_lock(queue);
    waiter_end_all_locked(queue, OK, &effects);
    pthread_mutex_unlock(&queue->lock);
    effects_run(queue, &effects);
}

void broker_drain(struct broker *broker) {
    if (broker->remote) {
        broker->remote->drain(broker->remote->context);
        return;
    }
    atomic_store(&broker->draining, true);
    pthread_rwlock_rdlock(&broker->topology);
    names_each(&broker->queues, end_waits, NULL);
    pthread_rwlock_unlock(&broker->topology);
}

void broker_close(struct broker *broker) {
    if (!broker)
        return;
    if (broker->remote) {
        free(broker);
        return;
    }
    clock_stop(broker);
    if (broker->disk)
        disk_stop(broker);
    topology_close(broker);
    clock_close(broker);
    if (broker->disk)
        disk_close(broker);
    pthread_rwlock_destroy(&broker->topology);
    pthread_rwlock_destroy(&broker->cut_gate);
    free(broker);
}

bool broker_is_ready(struct broker *broker) {
    if (broker->remote)
        return broker->remote->is_ready(broker->remote->context);
    return !broker->disk || disk_is_ready(broker);
}

bool broker_is_remote(const struct broker *broker) {
    return broker->remote != NULL;
}

static bool is_topology(enum broker_action action) {
    return action <= BROKER_PAUSE;
}

/* Does it on this thread, unless it touches hdd: ERR_WOULD_WAIT then, with nothing done. */
static enum err run_at_once(struct broker *broker, struct broker_op *op, int64_t now_ms) {
    struct broker_stage stage;
    enum err err;
    if (is_topology(op->action)) {
        if (broker->disk)
            return ERR_WOULD_WAIT;
        err = topology_stage(broker, op, NULL);
        return err ? err : topology_finish(broker, op, now_ms);
    }
    if (op->action == BROKER_PUBLISH) {
        err = publish_stage(broker, op, now_ms, &stage, NULL);
        if (!err)
            publish_finish(broker, op);
        return err;
    }
    if (op->action == BROKER_RESTORE) {
        err = restore_stage(broker, op, now_ms, &stage, NULL);
        if (!err)
            restore_finish(broker, op);
        return err;
    }
    err = settle_stage(broker, op, now_ms, &stage, NULL);
    if (!err)
        settle_finish(broker, op);
    return err;
}

static bool restores(const struct broker_write *write) {
    for (unsigned i = 0; i < write->op_count; i++)
        if (write->ops[i].action == BROKER_RESTORE)
            return true;
    return false;
}

enum err broker_submit(struct broker *broker, struct broker_write *write) {
    if (broker->remote && restores(write))
        return write->err = write->ops[0].err = ERR_UNAVAILABLE;
    if (broker->remote)
        return broker->remote->submit(broker->remote->context, write);
    write->err = OK;
    if (write->ops[0].action == BROKER_REDRIVE) {
        if (write->at_once)
            return ERR_WOULD_WAIT;
        write->ops[0].err = OK;
        enum err err = redrive_run(broker, write);
        return err == ERR_PENDING ? err : (write->ops[0].err = err);
    }
    if (write->in_order && broker->disk) {
        write->first = 0;
        disk_submit(broker, write);
        return ERR_PENDING;
    }
    if (write->at_once && write->op_count > 1 && broker->disk)
        return ERR_WOULD_WAIT; /* a later op may have to, and nothing may be done then */
    for (unsigned i = 0; i < write->op_count; i++) {
        struct broker_op *op = &write->ops[i];
        op->err = run_at_once(broker, op, write->now_ms);
        if (op->err == ERR_WOULD_WAIT && write->at_once)
            return ERR_WOULD_WAIT;
        if (op->err == ERR_WOULD_WAIT) { /* the rest goes the long way, in order */
            write->first = i;
            disk_submit(broker, write);
            return ERR_PENDING;
        }
        if (op->err && !write->err)
            write->err = op->err;
    }
    return write->err;
}

/* ---- inside a transaction of others ---- */

enum err broker_stage_op(struct broker *broker, struct broker_op *op, int64_t now_ms,
                         struct journal_block *block) {
    if (!broker->disk)
        return ERR_UNAVAILABLE;
    if (op->action == BROKER_PUBLISH)
        return publish_stage(broker, op, now_ms, NULL, block);
    if (op->action == BROKER_RESTORE)
        return restore_stage(broker, op, now_ms, NULL, block);
    if (op->action == BROKER_ACK)
        return settle_stage(broker, op, now_ms, NULL, block);
    return ERR_SYNTAX;
}

void broker_stage_undo(struct broker *broker, struct broker_op *op) {
    if (!op->stage)
        return;
    if (op->action == BROKER_PUBLISH)
        publish_undo(broker, op);
    else if (op->action == BROKER_RESTORE)
        restore_undo(op);
    else
        settle_undo(broker, op);
}

void broker_stage_finish(struct broker *broker, struct broker_op *op) {
    if (!op->stage)
        return;
    if (op->action == BROKER_PUBLISH)
        publish_finish(broker, op);
    else if (op->action == BROKER_RESTORE)
        restore_finish(broker, op);
    else
        settle_finish(broker, op);
}
