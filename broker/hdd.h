/* SPDX-License-Identifier: MIT */
/* The durable part of the broker, as its other files see it. Without a data directory there are no
 * hdd queues and nothing of this is called. */
#ifndef HATI_BROKER_HDD_H
#define HATI_BROKER_HDD_H

#include "broker/move.h"

#define HDD_LIST_MAX 4096U /* messages of a lane's list before the tail is used */
#define HDD_LIST_BYTES_MAX (8U << 20)

/* A message that is appended belongs behind what only LMDB has. */
static inline bool hdd_wants_tail(const struct lane *lane) {
    return lane->disk_count || lane->tail_first || lane->list_count >= HDD_LIST_MAX ||
           lane->list_bytes >= HDD_LIST_BYTES_MAX;
}

enum err hdd_open(struct broker *broker, char *ret_why, size_t why_bytes) MUST_USE;
void hdd_close(struct broker *broker);
bool hdd_is_ready(const struct broker *broker);
/* Growth is refused: the disk is full, or the store is lost. */
enum err hdd_may_grow(struct broker *broker) MUST_USE;

/* The list is empty: reads what comes next from LMDB, then the tail. */
void hdd_refill_locked(struct queue *queue, struct lane *lane);
/* Reads a message's body again where only LMDB has it. ERR_CORRUPT, ERR_OUT_OF_MEMORY. */
enum err hdd_load_body_locked(struct queue *queue, struct message *message) MUST_USE;
/* Its state changed: LMDB is to be told. */
void hdd_note_locked(struct queue *queue, struct message *message);
/* It is gone: freed now, or once LMDB knows. */
void hdd_gone_locked(struct queue *queue, struct message *message);
/* A thrown away message (its store is, too): freed now, or by the applier that is writing it. */
void hdd_throw_locked(struct queue *queue, struct message *message);
/* The queue's messages move to another store, leased ones with it; the old one is dropped. */
void hdd_renew_store_locked(struct queue *queue, uint32_t store);
void hdd_drop_store(struct broker *broker, uint32_t store);

/* The write goes to the committer. */
void hdd_submit(struct broker *broker, struct broker_write *write);
/* A filled receive of an hdd queue: its leases are written down, then it is done. */
void hdd_submit_leases(struct broker *broker, struct broker_receive *receive);
/* Messages on their way out of an hdd queue, or into one. */
void hdd_submit_moves(struct move_job *job);
/* Deliveries given back, and other changes nobody waits for: written down without being waited
 * for. */
void hdd_submit_state(struct queue *queue, const struct message *message);

/* Records into a block; ERR_OUT_OF_MEMORY. The seq of the last is journal_block_seq. */
enum err hdd_add_publish(struct journal_block *block, const struct broker_stage *stage,
                         const struct broker_op *op) MUST_USE;
enum err hdd_add_ack(struct journal_block *block, const struct queue *queue, uint8_t lane,
                     uint64_t seq) MUST_USE;
enum err hdd_add_state(struct journal_block *block, const struct queue *queue,
                       const struct message *message, enum message_state state,
                       int64_t due_ms) MUST_USE;
enum err hdd_add_topology(struct broker *broker, struct journal_block *block,
                          const struct broker_op *op) MUST_USE;
/* Its messages move to the store *ret_store. */
enum err hdd_add_flush(struct journal_block *block, const struct queue *queue,
                       uint64_t *ret_store) MUST_USE;
/* Before a change of the topology is carried out (locked for writing): LMDB is to be told of it.
 * queue and router as they stand, or NULL. */
void hdd_note_topology(struct broker *broker, const struct broker_op *op, const struct queue *queue,
                       const struct router *router);

/* Untouched ready messages behind `after` of a lane as LMDB has them, for a peek. */
enum err hdd_peek_locked(struct queue *queue, unsigned lane, uint64_t after, unsigned limit,
                         struct message **ret_first) MUST_USE;

#endif
