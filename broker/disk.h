/* SPDX-License-Identifier: MIT */
/* The durable part of the broker, as its other files see it. Without a data directory there are no
 * hdd queues and nothing of this is called. */
#ifndef HATI_BROKER_DISK_H
#define HATI_BROKER_DISK_H

#include "broker/move.h"

/* A definition that LMDB is to be told of. */
struct def_change {
    struct def_change *next;
    uint16_t key_len;
    uint16_t value_len; /* 0: it is deleted */
    char bytes[];       /* key, value */
};

struct dropped_store {
    struct dropped_store *next;
    struct queue *queue; /* RETIRED: whose it was */
    uint32_t store;
};

/* What LMDB is to be told of a change. It is made before the change is carried out, so that nothing
 * is left to fail behind that. */
struct disk_notes {
    struct def_change *defs, **last_def;
    struct dropped_store *dropped;
};

#define DISK_LIST_MAX 4096U /* messages of a lane's list before the tail is used */
#define DISK_LIST_BYTES_MAX (8U << 20)

/* A message that is appended belongs behind what only LMDB has. */
static inline bool disk_wants_tail(const struct lane *lane) {
    return lane->disk_count || lane->tail_first || lane->list_count >= DISK_LIST_MAX ||
           lane->list_bytes >= DISK_LIST_BYTES_MAX;
}

static inline unsigned lane_index(const struct queue *queue, const struct lane *lane) {
    unsigned at = 0;
    while (queue->lanes[at] != lane)
        at++;
    return at;
}

enum err disk_open(struct broker *broker, char *ret_why, size_t why_bytes) MUST_USE;
/* The data directory is stopped: what is left goes into LMDB. */
void disk_stop(struct broker *broker);
void disk_close(struct broker *broker);
bool disk_is_ready(const struct broker *broker);
/* Growth is refused: the disk is full, or the store is lost. */
enum err disk_may_grow(struct broker *broker) MUST_USE;

/* The list is empty: reads what comes next from LMDB, then the tail. */
void disk_refill_locked(struct queue *queue, struct lane *lane);
/* Reads what is first where no list has it, so that it can expire: one message, or some. */
void disk_read_fronts_locked(struct queue *queue, bool some);
/* Reads a message's body again where only LMDB has it. ERR_CORRUPT, ERR_OUT_OF_MEMORY. */
enum err disk_load_body_locked(struct queue *queue, struct message *message) MUST_USE;
/* Its state changed: LMDB is to be told. */
void disk_note_locked(struct queue *queue, struct message *message);
/* LMDB could not be told: it is first again, so that LMDB never has a later message of a lane, but
 * not an earlier one. */
void disk_note_again_locked(struct queue *queue, struct message *message);
/* It is gone: freed now, or once LMDB knows. */
void disk_gone_locked(struct queue *queue, struct message *message);
/* A thrown away message (its store is, too): freed now, or by the applier that is writing it. */
void disk_throw_locked(struct queue *queue, struct message *message);
/* Its store is or was dropped as a whole: those that LMDB was to delete are let go of. */
void disk_throw_dead_locked(struct queue *queue);
/* A message that was in no list while its queue was flushed: it is kept under the new store. */
void disk_adopt_locked(struct queue *queue, struct message *message);
/* Takes what disk_renew_store_locked needs; ERR_OUT_OF_MEMORY. */
enum err disk_ready_to_renew_locked(struct queue *queue,
                                    struct dropped_store **ret_retired) MUST_USE;
/* The queue's messages move to another store, leased ones with it; the old one is dropped. */
void disk_renew_store_locked(struct queue *queue, uint32_t store, struct dropped_store *retired);
void disk_free_stores(struct dropped_store *first);
/* The queue is freed: so is what is known of its old stores. */
void disk_forget_stores(struct queue *queue);

/* The write goes to the committer. */
void disk_submit(struct broker *broker, struct broker_write *write);
/* A filled receive of an hdd queue: its leases are written down, then it is done. */
void disk_submit_leases(struct broker *broker, struct broker_receive *receive);
/* Messages on their way out of an hdd queue, or into one. */
void disk_submit_moves(struct move_job *job);
/* Deliveries given back, and other changes nobody waits for: written down without being waited
 * for. */
void disk_submit_state(struct queue *queue, const struct message *message, enum message_state to);

/* Records into a block; ERR_OUT_OF_MEMORY. The seq of the last is journal_block_seq. */
enum err disk_add_publish(const struct broker *broker, struct journal_block *block,
                          struct broker_stage *stage, const struct broker_op *op) MUST_USE;
/* Of a message of a snapshot, with its deliveries so far; due_ms 0: ready. */
enum err disk_add_restore(const struct broker *broker, struct journal_block *block,
                          struct broker_stage *stage, int64_t due_ms) MUST_USE;
enum err disk_add_ack(struct journal_block *block, const struct queue *queue, uint8_t lane,
                      uint64_t seq) MUST_USE;
enum err disk_add_state(struct journal_block *block, const struct queue *queue,
                        const struct message *message, enum message_state state,
                        int64_t due_ms) MUST_USE;
enum err disk_add_topology(struct broker *broker, struct journal_block *block,
                           const struct broker_op *op) MUST_USE;
/* Its messages move to the store *ret_store, but for those whose leases are not over. */
enum err disk_add_flush(struct journal_block *block, const struct queue *queue, int64_t now_ms,
                        uint64_t *ret_store) MUST_USE;
void disk_notes_init(struct disk_notes *notes);
/* Of a change of the topology that is about to be carried out (it is locked for writing);
 * ERR_OUT_OF_MEMORY, which leaves the notes to be freed. */
enum err disk_note_topology(struct disk_notes *notes, const struct broker_op *op,
                            const struct queue *queue, const struct router *router) MUST_USE;
/* It was carried out: LMDB is told. */
void disk_notes_take(struct disk *disk, struct disk_notes *notes);
void disk_notes_free(struct disk_notes *notes);
/* A queue was made, or changed. */
void disk_note_queue(struct queue *queue);

#define PEEK_BYTES 1048576U /* of a page, beyond its first message */

/* Untouched ready messages behind `after` of a lane as LMDB has them, for a peek: up to a limit,
 * or up to the one behind that goes beyond PEEK_BYTES. */
enum err disk_peek_locked(struct queue *queue, unsigned lane, uint64_t after, unsigned limit,
                          struct message **ret_first) MUST_USE;

#endif
