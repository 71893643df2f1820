/* SPDX-License-Identifier: MIT */
/* What the broker asks of the committer. Definitions change as their records are added, so that
 * what was sent behind them in the same batch finds them; messages are seen once their records are
 * safe. */
#include <stdlib.h>

#include "base/log.h"
#include "broker/disk_inside.h"
#include "broker/snapshot.h"
#include "broker/topology.h"

#define SMALL_RECORD 1024U /* bytes: any but a publish */

void disk_fail(struct disk *disk, const char *why) {
    if (atomic_exchange(&disk->dead, true))
        return;
    log_error("%s: no message is taken any more", why);
    pthread_mutex_lock(&disk->lock);
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
    if (disk->broker->options.fatal)
        disk->broker->options.fatal(why);
}

enum err disk_may_grow(struct broker *broker) {
    struct disk *disk = disk_of(broker);
    if (atomic_load_explicit(&disk->dead, memory_order_relaxed))
        return ERR_UNAVAILABLE;
    bool full = atomic_load_explicit(&disk->full, memory_order_relaxed) ||
                atomic_load_explicit(&disk->tight, memory_order_relaxed) ||
                journal_is_full(datadir_journal(disk->datadir));
    return full ? ERR_STORAGE_FULL : OK;
}

/* ---- records ---- */

static enum err add(struct journal_block *block, const void *record, size_t size,
                    struct slice behind) {
    char *to = journal_block_add(block, size + behind.len);
    if (!to)
        return ERR_OUT_OF_MEMORY;
    memcpy(to, record, size);
    if (behind.len)
        memcpy(to + size, behind.ptr, behind.len);
    return OK;
}

/* Where a record of a message goes: head first, then targets, then the bytes. What is sealed of
 * them is bound to the record's number. */
static char *add_message(const struct disk *disk, struct journal_block *block,
                         const struct body *body, uint8_t lane, uint32_t queues, int64_t due_ms) {
    const struct seal_keys *keys = disk->keys;
    size_t targets = queues * sizeof(struct record_target);
    char *to = journal_block_add(block, sizeof(struct record_publish) + targets +
                                            body_bytes_size(keys, body));
    if (!to)
        return NULL;
    uint64_t seq = journal_block_seq(block);
    struct record_publish record = {.kind = keys ? RECORD_SEALED_PUBLISH : RECORD_PUBLISH,
                                    .lane = lane,
                                    .id_len = body->id_len,
                                    .from_len = body->from_len,
                                    .key_len = body->key_len,
                                    .reason = body->reason,
                                    .queues = queues,
                                    .headers_len = body->headers_len,
                                    .payload_len = body->payload_len,
                                    .dead_attempt = body->dead_attempt,
                                    .published_ms = body->published_ms,
                                    .due_ms = due_ms};
    memcpy(to, &record, sizeof record);
    body_bytes_write(keys, slice_make(&seq, sizeof seq), body, to + sizeof record + targets);
    return to + sizeof record;
}

static char *add_target(char *to, const struct queue *queue, const struct message *message,
                        bool dedup) {
    struct record_target target = {queue->id, dedup, message->expires_ms};
    memcpy(to, &target, sizeof target);
    return to + sizeof target;
}

static bool is_target(const struct stage_item *item) {
    return item->message && queue_is_hdd(item->queue);
}

enum err disk_add_publish(const struct broker *broker, struct journal_block *block,
                          struct broker_stage *stage, const struct broker_op *op) {
    const struct disk *disk = disk_of(broker);
    uint32_t queues = 0;
    for (unsigned i = 0; i < stage->count; i++)
        queues += is_target(&stage->items[i]);
    if (queues == 0)
        return OK;
    char *to = add_message(disk, block, stage->body, (uint8_t)(BROKER_PRIORITY_MAX - op->priority),
                           queues, op->delay_ms ? stage->now_ms + op->delay_ms : 0);
    if (!to)
        return ERR_OUT_OF_MEMORY;
    stage->seq = journal_block_seq(block);
    for (unsigned i = 0; i < stage->count; i++) {
        const struct stage_item *item = &stage->items[i];
        if (is_target(item))
            to = add_target(to, item->queue, item->message, item->dedup != NULL);
    }
    return OK;
}

enum err disk_add_restore(const struct broker *broker, struct journal_block *block,
                          struct broker_stage *stage, int64_t due_ms) {
    const struct stage_item *item = &stage->items[0];
    char *to = add_message(disk_of(broker), block, stage->body, item->message->lane, 1, due_ms);
    if (!to)
        return ERR_OUT_OF_MEMORY;
    stage->seq = journal_block_seq(block);
    (void)add_target(to, item->queue, item->message, item->dedup != NULL);
    if (item->message->attempt == 0)
        return OK;
    item->message->seq = stage->seq;
    return disk_add_state(block, item->queue, item->message, MESSAGE_DELAYED, due_ms);
}

enum err disk_add_ack(struct journal_block *block, const struct queue *queue, uint8_t lane,
                      uint64_t seq) {
    struct record_ack record = {.kind = RECORD_ACK, .lane = lane, .queue = queue->id, .seq = seq};
    return add(block, &record, sizeof record, SLICE(""));
}

enum err disk_add_state(struct journal_block *block, const struct queue *queue,
                        const struct message *message, enum message_state state, int64_t due_ms) {
    struct record_state record = {.kind = RECORD_STATE,
                                  .lane = message->lane,
                                  .state = (uint8_t)state,
                                  .queue = queue->id,
                                  .seq = message->seq,
                                  .nonce = message->nonce,
                                  .due_ms = due_ms,
                                  .attempt = message->attempt};
    return add(block, &record, sizeof record, SLICE(""));
}

enum err disk_add_flush(struct journal_block *block, const struct queue *queue, int64_t now_ms,
                        uint64_t *ret_store) {
    uint32_t store = ++queue->broker->next_id; /* the committer's alone */
    struct record_link record = {
        .kind = RECORD_FLUSH, .pattern_len = sizeof now_ms, .queue = queue->id, .other = store};
    *ret_store = store;
    return add(block, &record, sizeof record, slice_make(&now_ms, sizeof now_ms));
}

static enum err add_link(struct broker *broker, struct journal_block *block, uint8_t kind,
                         const struct broker_op *op) {
    const struct queue *queue = names_get(&broker->queues, op->queue);
    const struct router *router = names_get(&broker->routers, op->router);
    bool binds = kind == RECORD_BIND || kind == RECORD_UNBIND;
    struct record_link record = {.kind = kind,
                                 .flag = op->pause,
                                 .pattern_len = binds ? (uint8_t)op->pattern.len : 0,
                                 .queue = queue ? queue->id : 0,
                                 .router = router ? router->id : 0};
    return add(block, &record, sizeof record, binds ? op->pattern : SLICE(""));
}

static enum err add_queue(struct journal_block *block, const struct broker_op *op) {
    struct queue queue = {.id = (uint32_t)op->count,
                          .store = (uint32_t)op->count,
                          .options = *op->options,
                          .name_len = (uint8_t)op->queue.len,
                          .dead_letter_len = (uint8_t)op->options->dead_letter.len};
    memcpy(queue.name, op->queue.ptr, op->queue.len);
    char *to = journal_block_add(block, queue_record_size(&queue));
    if (!to)
        return ERR_OUT_OF_MEMORY;
    queue_record_write(&queue, to);
    return OK;
}

static enum err add_router(struct journal_block *block, const struct broker_op *op) {
    struct record_router record = {.kind = RECORD_ROUTER,
                                   .type = (uint8_t)op->router_type,
                                   .name_len = (uint8_t)op->router.len,
                                   .id = (uint32_t)op->count};
    return add(block, &record, sizeof record, op->router);
}

enum err disk_add_topology(struct broker *broker, struct journal_block *block,
                           const struct broker_op *op) {
    switch (op->action) {
    case BROKER_CREATE_ROUTER:
        return add_router(block, op);
    case BROKER_DELETE_ROUTER:
        return add_link(broker, block, RECORD_DROP_ROUTER, op);
    case BROKER_CREATE_QUEUE:
        return add_queue(block, op);
    case BROKER_DELETE_QUEUE:
        return add_link(broker, block, RECORD_DROP_QUEUE, op);
    case BROKER_BIND:
        return add_link(broker, block, RECORD_BIND, op);
    case BROKER_UNBIND:
        return add_link(broker, block, RECORD_UNBIND, op);
    case BROKER_PAUSE:
        return add_link(broker, block, RECORD_PAUSE, op);
    default:
        return ERR_INTERNAL;
    }
}

/* ---- writes ---- */

static struct broker_write *write_of(const struct commit_job *job) {
    return (struct broker_write *)((uintptr_t)job - offsetof(struct broker_write, job));
}

uint64_t broker_stage_size(struct broker *broker, struct broker_op *op) {
    if (op->action == BROKER_RESTORE)
        return 2 * SMALL_RECORD + op->restore->payload.len + op->restore->headers.len;
    if (op->action != BROKER_PUBLISH)
        return SMALL_RECORD;
    op->queues = publish_count(broker, op);
    uint64_t targets = op->queues * sizeof(struct record_target);
    return SMALL_RECORD + targets + op->payload.len + op->headers.len + SEAL_BYTES;
}

static uint64_t size_of_write(const struct commit_job *job) {
    struct broker_write *write = write_of(job);
    uint64_t size = 0;
    for (unsigned i = write->first; i < write->op_count; i++)
        size += broker_stage_size(write->broker, &write->ops[i]);
    return size;
}

static enum err stage(struct broker_write *write, struct broker_op *op,
                      struct journal_block *block) {
    struct broker *broker = write->broker;
    op->stage = NULL;
    if (op->action == BROKER_PUBLISH)
        return publish_stage(broker, op, write->now_ms, NULL, block);
    if (op->action == BROKER_RESTORE)
        return restore_stage(broker, op, write->now_ms, NULL, block);
    if (op->action > BROKER_PAUSE)
        return settle_stage(broker, op, write->now_ms, NULL, block);
    enum err err = op->action == BROKER_CREATE_QUEUE || op->action == BROKER_CREATE_ROUTER ||
                           op->action == BROKER_BIND
                       ? disk_may_grow(broker)
                       : OK;
    if (!err)
        err = topology_stage(broker, op, block);
    return err ? err : topology_finish(broker, op, write->now_ms);
}

static void prepare_write(void *context, struct commit_job *job, struct journal_block *block) {
    struct broker_write *write = write_of(job);
    (void)context;
    for (unsigned i = write->first; i < write->op_count; i++) {
        struct broker_op *op = &write->ops[i];
        struct journal_mark mark = journal_block_mark(block);
        op->err = stage(write, op, block);
        if (op->err)
            journal_block_go_back(block, mark);
    }
}

static void end_write(struct broker_write *write) {
    for (unsigned i = write->first; i < write->op_count; i++)
        if (write->ops[i].err && !write->err)
            write->err = write->ops[i].err;
    write->done(write);
}

static void finish_write(struct commit_job *job) {
    struct broker_write *write = write_of(job);
    for (unsigned i = write->first; i < write->op_count; i++)
        if (!write->ops[i].err)
            broker_stage_finish(write->broker, &write->ops[i]);
    end_write(write);
}

/* Staged or not: what was is never seen. Definitions stay as they are; nothing comes after them. */
static void refuse_write(struct commit_job *job, enum err err) {
    struct broker_write *write = write_of(job);
    for (unsigned i = write->first; i < write->op_count; i++) {
        broker_stage_undo(write->broker, &write->ops[i]);
        write->ops[i].err = err;
    }
    end_write(write);
}

void disk_submit(struct broker *broker, struct broker_write *write) {
    struct disk *disk = disk_of(broker);
    write->broker = broker;
    write->job.user = &disk->write_user;
    write->job.lazy = true;
    write->job.early = false;
    write->job.ends_batch = false;
    for (unsigned i = write->first; i < write->op_count; i++) {
        enum broker_action action = write->ops[i].action;
        write->ops[i].stage = NULL;
        if (action != BROKER_NACK && action != BROKER_EXTEND)
            write->job.lazy = false;
        if (action <= BROKER_PAUSE) /* what is published behind it may go elsewhere */
            write->job.ends_batch = true;
    }
    commit_submit(datadir_committer(disk->datadir), &write->job);
}

/* ---- leases ---- */

static struct broker_receive *receive_of(const struct commit_job *job) {
    return (struct broker_receive *)((uintptr_t)job - offsetof(struct broker_receive, job));
}

static uint64_t size_of_leases(const struct commit_job *job) {
    return sizeof(struct record_leases) + receive_of(job)->count * sizeof(struct record_lease) + 16;
}

static void prepare_leases(void *context, struct commit_job *job, struct journal_block *block) {
    struct broker_receive *receive = receive_of(job);
    (void)context;
    size_t size = sizeof(struct record_leases) + receive->count * sizeof(struct record_lease);
    char *to = journal_block_add(block, size);
    if (!to) /* it is in memory: a crash gives them back early */
        return;
    struct record_leases head = {.kind = RECORD_LEASES,
                                 .queue = receive->at->id,
                                 .count = receive->count,
                                 .due_ms = receive->lease_until_ms};
    memcpy(to, &head, sizeof head);
    to += sizeof head;
    for (unsigned i = 0; i < receive->count; i++) {
        const struct broker_delivery *delivery = &receive->deliveries[i];
        struct record_lease lease = {.attempt = delivery->attempt};
        (void)receipt_read(slice_make(delivery->receipt, BROKER_RECEIPT_BYTES - 1), &lease.lane,
                           &lease.seq, &lease.nonce);
        memcpy(to, &lease, sizeof lease);
        to += sizeof lease;
    }
}

static void finish_leases(struct commit_job *job) {
    struct broker_receive *receive = receive_of(job);
    receive->done(receive);
}

static void refuse_leases(struct commit_job *job, enum err err) {
    (void)err; /* the leases stand in memory, and in no other place */
    finish_leases(job);
}

void disk_submit_leases(struct broker *broker, struct broker_receive *receive) {
    struct disk *disk = disk_of(broker);
    receive->job.user = &disk->lease_user;
    receive->job.lazy = true;
    receive->job.early = true; /* the leases stand; who waits need not wait for others' syncs */
    receive->job.ends_batch = false;
    commit_submit(datadir_committer(disk->datadir), &receive->job);
}

/* ---- moves ---- */

static struct move_job *moves_of(const struct commit_job *job) {
    return (struct move_job *)((uintptr_t)job - offsetof(struct move_job, job));
}

static uint64_t size_of_moves(const struct commit_job *job) {
    const struct move_job *moves = moves_of(job);
    uint64_t size = 0;
    for (unsigned i = 0; i < moves->count; i++)
        size += SMALL_RECORD + (moves->moves[i].fresh ? body_size(moves->moves[i].fresh->body) : 0);
    return size;
}

static bool add_move(const struct move_job *moves, struct move *move, struct journal_block *block) {
    const struct disk *disk = disk_of(moves->queue->broker);
    if (move->target && queue_is_hdd(move->target)) {
        char *to = add_message(disk, block, move->fresh->body, move->fresh->lane, 1, 0);
        if (!to)
            return false;
        add_target(to, move->target, move->fresh, false);
        move->seq = journal_block_seq(block);
    }
    return !queue_is_hdd(moves->queue) ||
           disk_add_ack(block, moves->queue, move->message->lane, move->message->seq) == OK;
}

static void prepare_moves(void *context, struct commit_job *job, struct journal_block *block) {
    struct move_job *moves = moves_of(job);
    (void)context;
    for (unsigned i = 0; i < moves->count; i++) {
        struct journal_mark mark = journal_block_mark(block);
        moves->moves[i].unwritten = !add_move(moves, &moves->moves[i], block);
        if (moves->moves[i].unwritten)
            journal_block_go_back(block, mark);
    }
}

static void finish_moves(struct commit_job *job) {
    move_finish(moves_of(job), OK);
}

static void refuse_moves(struct commit_job *job, enum err err) {
    move_finish(moves_of(job), err);
}

void disk_submit_moves(struct move_job *job) {
    struct disk *disk = disk_of(job->queue->broker);
    job->job.user = &disk->move_user;
    job->job.lazy = false;
    job->job.early = false;
    job->job.ends_batch = false;
    commit_submit(datadir_committer(disk->datadir), &job->job);
}

/* ---- states nobody waits for ---- */

struct state_job {
    struct commit_job job;
    struct record_state record;
};

static uint64_t size_of_state(const struct commit_job *job) {
    (void)job;
    return SMALL_RECORD;
}

static void prepare_state(void *context, struct commit_job *job, struct journal_block *block) {
    const struct state_job *state = (const struct state_job *)job;
    (void)context;
    (void)!add(block, &state->record, sizeof state->record, SLICE(""));
}

static void finish_state(struct commit_job *job) {
    free(job);
}

static void refuse_state(struct commit_job *job, enum err err) {
    (void)err;
    free(job);
}

void disk_submit_state(struct queue *queue, const struct message *message, enum message_state to) {
    struct disk *disk = disk_of(queue->broker);
    struct state_job *state = malloc(sizeof *state);
    if (!state) /* a crash forgets it: a lease ends by time then, what was dropped is back */
        return;
    state->record = (struct record_state){.kind = RECORD_STATE,
                                          .lane = message->lane,
                                          .state = (uint8_t)to,
                                          .queue = queue->id,
                                          .seq = message->seq,
                                          .nonce = message->nonce,
                                          .due_ms = 0,
                                          .attempt = message->attempt};
    state->job.user = &disk->state_user;
    state->job.lazy = true;
    state->job.early = false;
    state->job.ends_batch = false;
    commit_submit(datadir_committer(disk->datadir), &state->job);
}

/* ---- checkpoints ---- */

/* Between batches everything that has a number is in memory. */
void disk_before(void *context) {
    struct disk *disk = context;
    struct journal *journal = datadir_journal(disk->datadir);
    disk_measure(disk);
    pthread_mutex_lock(&disk->lock);
    for (;;) {
        if (disk->checkpoints_done < disk->checkpoints_wanted && journal_sync(journal) == OK) {
            disk->checkpoint_seq = journal_next_seq(journal) - 1;
            disk->applied_segment = journal_segment(journal);
            disk->checkpoints_done = disk->checkpoints_wanted;
            pthread_cond_broadcast(&disk->changed);
        }
        bool over = atomic_load(&disk->dirty_bytes) > disk->buffer_bytes;
        if (!over || atomic_load(&disk->full) || atomic_load(&disk->dead) || disk->closing)
            break;
        pthread_cond_broadcast(&disk->changed); /* the applier is to begin at once */
        pthread_cond_wait(&disk->changed, &disk->lock);
    }
    pthread_mutex_unlock(&disk->lock);
}

static uint64_t size_of_nudge(const struct commit_job *job) {
    (void)job;
    return 0;
}

static void prepare_nudge(void *context, struct commit_job *job, struct journal_block *block) {
    (void)context, (void)job, (void)block;
}

static void finish_nudge(struct commit_job *job) {
    struct disk *disk = (struct disk *)((uintptr_t)job - offsetof(struct disk, nudge));
    pthread_mutex_lock(&disk->lock);
    disk->nudging = false;
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
}

static void refuse_nudge(struct commit_job *job, enum err err) {
    (void)err;
    finish_nudge(job);
}

void disk_nudge_locked(struct disk *disk) {
    if (disk->nudging || disk->closing)
        return;
    disk->nudging = true;
    commit_submit(datadir_committer(disk->datadir), &disk->nudge);
}

void disk_commit_init(struct disk *disk) {
    disk->write_user =
        (struct commit_user){disk, size_of_write, prepare_write, refuse_write, finish_write};
    disk->lease_user =
        (struct commit_user){disk, size_of_leases, prepare_leases, refuse_leases, finish_leases};
    disk->move_user =
        (struct commit_user){disk, size_of_moves, prepare_moves, refuse_moves, finish_moves};
    disk->state_user =
        (struct commit_user){disk, size_of_state, prepare_state, refuse_state, finish_state};
    disk->nudge_user =
        (struct commit_user){disk, size_of_nudge, prepare_nudge, refuse_nudge, finish_nudge};
    disk->nudge.user = &disk->nudge_user;
    disk->nudge.lazy = true;
}
