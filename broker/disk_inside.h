/* SPDX-License-Identifier: MIT */
/* Inside of the durable part of the broker.
 *
 *   disk_submit ──> committer: disk_commit.c ──> journal ──> memory (the same as for memory queues)
 *   applier: disk_apply.c, disk_batch.c: messages whose state changed ──> LMDB ──> journal trimmed
 *   start: disk_load.c reads LMDB, disk_replay.c the journal behind it
 *   long queues: disk_read.c reads on where memory ends
 *
 * LMDB may be ahead of the position that is written down in it: every record says the state it
 * leads to, so replaying what was applied already changes nothing. */
#ifndef HATI_BROKER_DISK_INSIDE_H
#define HATI_BROKER_DISK_INSIDE_H

#include "broker/disk.h"
#include "broker/disk_record.h"
#include "journal/datadir.h"
#include "journal/env.h"

#define DISK_FAR_MS 10000 /* bodies of what is delayed longer are left to LMDB */
#define META_APPLIED SLICE("applied")
#define META_NEXT_ID SLICE("next-id")

/* Keys in the database of spaces begin with one of these. */
enum { KEY_QUEUE = 'Q', KEY_ROUTER = 'R', KEY_BINDING = 'B', KEY_DROPPED = 'D', KEY_SEEN = 'I' };

struct disk {
    struct broker *broker;
    struct datadir *datadir;
    struct datadir_store store;
    struct env *env;
    const struct seal_keys *keys; /* the datadir's; NULL: messages are not sealed */
    uint64_t buffer_bytes;
    struct commit_user write_user, lease_user, move_user, state_user, nudge_user;
    struct commit_job nudge;
    _Atomic uint64_t dirty_bytes;
    _Atomic uint64_t segment_seen; /* of the journal */
    _Atomic uint64_t seq_seen;     /* of its last record, whosesoever */
    _Atomic uint64_t free_bytes;   /* in LMDB's file */
    _Atomic bool tight;            /* what waits for LMDB needs all the room there is */
    _Atomic bool full;             /* the disk */
    _Atomic bool dead;

    pthread_mutex_t lock; /* what follows; behind a queue's */
    pthread_cond_t changed;
    struct queue *dirty_first, *dirty_last; /* referenced */
    struct def_change *defs, **last_def;
    struct dropped_store *dropped;
    uint64_t checkpoint_seq; /* everything up to here is in memory and on disk */
    uint64_t checkpoints_wanted, checkpoints_done;
    uint64_t applied_seq, applied_segment;
    bool nudging, closing, stopping, runs;
    bool joined;  /* the data directory knows it */
    bool was_new; /* LMDB had no position */
    pthread_t applier;
};

static inline struct disk *disk_of(const struct broker *broker) {
    return broker->disk;
}

/* disk.c: LMDB has everything up to seq. */
enum err disk_write_position(struct disk *disk, uint64_t seq) MUST_USE;

/* disk_commit.c */
void disk_commit_init(struct disk *disk);
/* On the committer: syncs where a checkpoint is wanted; waits while there is too much to apply. */
void disk_before(void *context);
/* Makes the committer do so; the lock is held. */
void disk_nudge_locked(struct disk *disk);
void disk_fail(struct disk *disk, const char *why);

/* disk_load.c */
enum err disk_load(struct disk *disk) MUST_USE;
/* A message as LMDB has it, in no list; NULL where it cannot be had. */
struct message *disk_message_of(const struct disk *disk, struct slice key, struct slice value,
                                enum err *ret_err);
/* Puts a message in no list where its state says; room is reserved here. ERR_OUT_OF_MEMORY: it is
 * freed. */
enum err disk_settle(struct queue *queue, struct message *message,
                     enum message_state state) MUST_USE;

/* disk_replay.c */
enum err disk_replay(void *context, uint64_t seq, struct slice record) MUST_USE;

/* disk_batch.c: a transaction of what changed; *ret_last: nothing is left behind it, so that LMDB
 * has everything up to applied_seq. The committer runs, or else everything is synced. Applier. */
enum err disk_write_some(struct disk *disk, uint64_t applied_seq, bool committer_runs,
                         bool *ret_last) MUST_USE;

/* disk_apply.c */
/* The journal up to *ret_seq is on disk, and what it says is in memory; false at the end. Blocks.
 */
bool disk_checkpoint(struct disk *disk, uint64_t *ret_seq) MUST_USE;
enum err disk_applier_start(struct disk *disk) MUST_USE;
/* The committer is gone: applies what is left, once. */
void disk_applier_stop(struct disk *disk);
/* Whether what grows still fits. Any thread. */
void disk_measure(struct disk *disk);
/* disk_defs.c: definitions that changed. */
/* A definition under its key; value empty: it is gone. These fail with ERR_OUT_OF_MEMORY, which
 * leaves the notes to be freed. */
enum err disk_note_def(struct disk_notes *notes, struct slice key, struct slice value) MUST_USE;
enum err disk_note_gone_queue(struct disk_notes *notes, const struct queue *queue) MUST_USE;
enum err disk_note_router(struct disk_notes *notes, uint32_t id, struct slice name,
                          enum broker_router_type type) MUST_USE;
enum err disk_note_gone_router(struct disk_notes *notes, const struct router *router) MUST_USE;
enum err disk_note_binding(struct disk_notes *notes, const struct router *router,
                           const struct queue *queue, struct slice pattern, bool gone) MUST_USE;
/* A store's messages are to be deleted. */
enum err disk_note_store(struct disk_notes *notes, uint32_t store) MUST_USE;
/* Takes them where err is OK, frees them otherwise; returns err. */
enum err disk_notes_end(struct disk *disk, struct disk_notes *notes, enum err err) MUST_USE;
void disk_queue_key(uint32_t id, char to[5]);
/* Takes the message that is DIRTY longest; NULL: none. The queue is locked. */
struct message *disk_take_dirty(struct queue *queue);
/* Lists the queue among those the applier looks at. */
void disk_list_dirty(struct queue *queue);

#endif
