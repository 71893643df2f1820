/* SPDX-License-Identifier: MIT */
/* What the files of the broker share.
 *
 *   broker.c   opening, closing, broker_submit: which way an op goes
 *   topology.c routers, queues, bindings           route.c    from a router to its queues
 *   publish.c  staging and finishing a publish     settle.c   ack, nack, extend, flush
 *   queue.c    a queue's memory                    lane.c     its ready messages in order
 *   lease.c    handing out, taking back            waiter.c   who waits, consumers
 *   clock.c    what happens by time                move.c     dead letters, redrive
 *   disk_*.c    the same in journal and LMDB        query.c    looking without touching
 *   restore.c  messages of a snapshot              snapshot.c all of it as it was at a cut
 *
 * Locks, in this order: topology, cut gate, one queue, clock. Nothing is called back under any of
 * them. */
#ifndef HATI_BROKER_INTERNAL_H
#define HATI_BROKER_INTERNAL_H

#include <pthread.h>

#include "base/cut.h"
#include "broker/broker.h"
#include "broker/heap.h"
#include "broker/match.h"
#include "broker/message.h"
#include "broker/names.h"
#include "broker/remote.h"

#define LANES (BROKER_PRIORITY_MAX + 1U)

struct disk; /* the durable part; NULL without a data directory */
struct dedup;
struct dropped_store;

/* Ready messages of one priority: `returned` and the list are in memory; behind the list stands
 * what only LMDB has, behind that the tail, which LMDB does not have yet. */
struct lane {
    struct message *first, *last;
    struct message *tail_first, *tail_last;
    size_t list_count;
    uint64_t list_bytes;
    uint64_t disk_count;    /* messages that only LMDB has */
    uint64_t loaded_seq;    /* LMDB was read up to here */
    uint64_t plain_on_disk; /* untouched messages LMDB has, loaded or not */
    struct heap returned;   /* by seq */
};

struct consumer_slot {
    struct broker_consumer *consumer;
    uint32_t serial;
    uint32_t next_free; /* + 1 */
};

struct queue {
    struct broker *broker;
    _Atomic uint32_t refs;
    uint32_t id;    /* never used again */
    uint32_t store; /* under which LMDB has its messages; another one after a flush */
    struct broker_queue_options options;
    uint8_t name_len, dead_letter_len;
    char name[BROKER_NAME_MAX];
    char dead_letter[BROKER_NAME_MAX];

    pthread_mutex_t lock;       /* what follows; queue_lock takes it */
    uint64_t cut;               /* the last one that changes have looked at */
    struct snapshot_part *part; /* what a snapshot wants of it; NULL: nothing */
    bool deleted;
    unsigned lanes_used; /* bits: lanes with something ready */
    struct lane *lanes[LANES];
    struct heap leases;                         /* LEASED, by end */
    struct heap waits;                          /* DELAYED, and READY ones that expire */
    struct heap waiters_due;                    /* receives, by deadline */
    struct message *moving_first, *moving_last; /* MOVING, linked by prev: oldest first */
    /* DELAYED though in no heap, linked by next; a flush takes them: */
    struct message *later; /* what could not be done for want of memory, until retry_ms */
    struct message *aside; /* a redrive came by, they do not go; until it ends */
    int64_t retry_ms;      /* 0: nothing is to be tried again */
    struct broker_receive *first_waiter, *last_waiter;
    struct message *
        *known; /* by seq: leased; on hdd also delayed, returned, and dead ones LMDB has */
    uint32_t known_room, known_count;
    struct consumer_slot *consumers;
    uint32_t consumer_room, consumer_free, consumer_count;
    uint64_t next_seq; /* memory */
    uint64_t ready, leased, delayed, waiter_count;
    uint64_t staged, staged_delayed; /* places taken; those of them that will be delayed */
    uint64_t published, delivered, acked, redelivered, dead_lettered, expired, dropped;
    struct dedup *dedup;
    int64_t scheduled_ms; /* when the clock comes by; INT64_MAX: not */
    uint32_t clock_index;

    struct message *dirty_first, *dirty_last; /* LMDB is to be told of them */
    struct queue *dirty_next;                 /* among the broker's dirty queues */
    bool listed_dirty;
    bool changed;                  /* its definition or counts are to be written */
    struct dropped_store *retired; /* stores of before a flush; dropped once LMDB has the new one */
};

struct router {
    uint32_t id;
    enum broker_router_type type;
    struct match_set *set; /* NULL: `default` */
    _Atomic uint64_t published, unroutable;
    uint8_t name_len;
    char name[BROKER_NAME_MAX];
};

struct clock {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct heap due;              /* queues; there is room for all */
    _Atomic uint32_t queue_count; /* that there are, deleted ones too */
    struct garbage *garbage;
    int64_t sleeps_until_ms;
    _Atomic int64_t manual_ms; /* tests: when the last tick was */
    int64_t wall_ahead_ms;     /* of the steady clock, as the thread saw it last */
    bool stopping, runs;
    pthread_t thread;
};

struct broker {
    const struct broker_remote *remote; /* in place of all that follows */
    struct broker_options options;
    pthread_rwlock_t topology; /* what follows */
    struct names routers;
    struct names queues;
    struct names queues_by_id;
    struct names routers_by_id;
    pthread_rwlock_t cut_gate; /* held for reading while a change of several queues is half done,
                                  but on the committer; writers first */
    _Atomic(struct broker_snapshot *) snapshot; /* NULL: none is wanted */
    _Atomic uint32_t next_id; /* the committer's, or (without one) the topology's */
    struct clock clock;
    struct disk *disk;
    uint64_t seed;
    uint64_t id_prefix;
    _Atomic uint64_t id_next;
    _Atomic uint64_t nonce_next;
    _Atomic uint64_t memory_bytes; /* messages of memory queues */
    _Atomic uint64_t published, delivered, acked, unroutable;
    _Atomic bool draining;
};

/* What is done once a queue's lock is let go of. */
struct effects {
    struct broker_receive *receives; /* filled, or ended */
    struct broker_receive **last_receive;
    struct message *moves; /* MOVING; nonce is the reason */
    struct message **last_move;
};

static inline struct slice queue_name(const struct queue *queue) {
    return slice_make(queue->name, queue->name_len);
}
static inline struct slice router_name(const struct router *router) {
    return slice_make(router->name, router->name_len);
}
static inline bool queue_is_hdd(const struct queue *queue) {
    return queue->options.storage == BROKER_HDD;
}

/* snapshot.c: there was a cut since the queue was looked at: where a snapshot wants what it holds,
 * that is kept. */
void queue_cut_locked(struct queue *queue, uint64_t cut);

/* A message leaves the list of its lane, or all of a lane do: a snapshot may not have it yet. */
void snapshot_leaves_locked(struct snapshot_part *part, const struct message *message);
void snapshot_empties_locked(struct snapshot_part *part, unsigned lane);

static inline void queue_lock(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    uint64_t cut = cut_number();
    if (__builtin_expect(queue->cut != cut, 0))
        queue_cut_locked(queue, cut);
}

/* queue.c */
enum err queue_new(struct broker *broker, struct slice name,
                   const struct broker_queue_options *options, struct queue **ret_queue) MUST_USE;
static inline struct queue *queue_ref(struct queue *queue) {
    atomic_fetch_add_explicit(&queue->refs, 1, memory_order_relaxed);
    return queue;
}
void queue_unref(struct queue *queue);
/* Room for one more in the table; ERR_OUT_OF_MEMORY. */
enum err known_reserve(struct queue *queue) MUST_USE;
/* After known_reserve; does nothing where it is in. */
void known_add(struct queue *queue, struct message *message);
void known_remove(struct queue *queue, struct message *message);
/* Messages that are in no list, but on their way. Removing one that is not does nothing. */
void moving_add(struct queue *queue, struct message *message);
void moving_remove(struct queue *queue, struct message *message);
struct message *known_find(const struct queue *queue, uint64_t seq);
/* Takes everything but what is leased (all: that too) out of the queue, in no time; the clock's
 * thread frees it. Returns how many messages. */
uint64_t queue_empty_locked(struct queue *queue, bool all);
/* A message that is in no list stays DELAYED until the queue tries again what failed. Cannot fail.
 */
void queue_keep_locked(struct queue *queue, struct message *message, int64_t now_ms);
/* The clock comes by in a moment, though nothing is due. */
void queue_retry_locked(struct queue *queue, int64_t now_ms);
/* Counts bytes of a memory queue's message. */
void queue_count_bytes(struct queue *queue, const struct message *message, bool more);

/* lane.c: ready messages. */
/* A message with a higher seq than all before. */
void lane_append_locked(struct queue *queue, struct message *message);
/* A message in its old place. Heap room was reserved. */
void lane_return_locked(struct queue *queue, struct message *message);
/* Room in the lane's heap; makes the lane where it is not there. */
enum err lane_reserve(struct queue *queue, unsigned lane) MUST_USE;
/* The next one, taken out; NULL: none (or it cannot be read: the queue then tries later). */
struct message *lane_pop_locked(struct queue *queue);
/* The one to be dropped where the queue is full. */
struct message *lane_pop_oldest_locked(struct queue *queue);
/* Takes a READY message out of wherever it is. */
void lane_remove_locked(struct queue *queue, struct message *message);
void lane_note_locked(struct queue *queue, unsigned lane);

/* lease.c */
/* Fills a receive with up to `limit` messages. ERR_OUT_OF_MEMORY with none taken. */
enum err lease_fill_locked(struct queue *queue, struct broker_receive *receive, unsigned limit,
                           int64_t now_ms, struct effects *effects) MUST_USE;
/* The leased message of a receipt that is good at now_ms; ERR_RECEIPT_INVALID. */
enum err lease_find_locked(struct queue *queue, struct slice receipt, int64_t now_ms,
                           struct message **ret_message) MUST_USE;
/* Takes it out of the leases: no consumer has it any more. */
void lease_end_locked(struct queue *queue, struct message *message, struct effects *effects);
/* A lease is over without an ack: the message is ready again, delayed, or moves on. */
void lease_settle_locked(struct queue *queue, struct message *message, int64_t now_ms,
                         int64_t delay_ms, struct effects *effects);
/* Ready (now or later) or expired: puts a message that is in no list where it belongs. */
void message_place_locked(struct queue *queue, struct message *message, int64_t now_ms,
                          struct effects *effects);
/* A message that is in no list moves on, once the lock is let go of. */
void message_move_locked(struct queue *queue, struct message *message, enum broker_reason reason,
                         struct effects *effects);
/* A message that is in no list is gone for good. */
void message_gone_locked(struct queue *queue, struct message *message);

/* waiter.c */
void waiter_add_locked(struct queue *queue, struct broker_receive *receive, int64_t now_ms);
/* Ends a wait with err (OK: nothing came). */
void waiter_end_locked(struct queue *queue, struct broker_receive *receive, enum err err,
                       struct effects *effects);
/* Hands ready messages to those who wait. */
void waiter_serve_locked(struct queue *queue, int64_t now_ms, struct effects *effects);
/* A consumer has one message less in hand. */
void waiter_credit_locked(struct queue *queue, const struct message *message);
/* All waits end. */
void waiter_end_all_locked(struct queue *queue, enum err err, struct effects *effects);

/* clock.c */
void clock_open(struct broker *broker);
/* The thread, where there is one: after everything is replayed. */
enum err clock_start(struct broker *broker) MUST_USE;
void clock_stop(struct broker *broker);
/* Wall clock; with a manual clock the time of the last tick, once there was one. */
int64_t clock_now_ms(const struct broker *broker);
/* What waits of receives are measured by: the steady clock, or now_ms where tests move the time. */
int64_t clock_steady_of(const struct broker *broker, int64_t now_ms);
void clock_close(struct broker *broker);
/* There is one queue more, or one less: room for it is made beforehand. ERR_OUT_OF_MEMORY. */
enum err clock_expect(struct broker *broker) MUST_USE;
void clock_forget(struct broker *broker);
/* Makes sure the clock comes by when something is due. */
void clock_schedule_locked(struct queue *queue);
/* Ends the leases that are over by then, where the clock did not come by yet. */
void clock_end_leases_locked(struct queue *queue, int64_t now_ms, struct effects *effects);
/* Gives messages (linked by next) to be freed by and by. */
struct garbage *garbage_new(struct queue *queue);
void garbage_throw(struct broker *broker, struct garbage *garbage);
/* Frees all of it. The queue's lock is held, it is nobody else's. */
void garbage_free_locked(struct garbage *garbage);
/* Frees all there is. The clock's thread, or before it runs. */
void garbage_free_all(struct broker *broker);

struct garbage {
    struct garbage *next;
    struct queue *queue;                  /* referenced */
    struct message *lists[2 * LANES + 2]; /* linked by next */
    unsigned list_count;
    struct heap heaps[LANES + 2]; /* messages that are in no list, some in two heaps */
    unsigned heap_count;
};

/* effects.c */
static inline void effects_init(struct effects *effects) {
    effects->receives = NULL;
    effects->last_receive = &effects->receives;
    effects->moves = NULL;
    effects->last_move = &effects->moves;
}
/* Without any lock. */
void effects_run(struct queue *queue, struct effects *effects);

/* route.c: under the topology's lock. */
/* Targets are queues. */
enum err route_find(struct broker *broker, const struct router *router, struct slice key,
                    struct match_result *result) MUST_USE;

/* dedup.c: ids seen within a window; under the queue's lock. */
struct dedup_entry;
struct dedup *dedup_new(void);
void dedup_free(struct dedup *dedup);
/* True where the id was seen (and is not forgotten at now_ms). */
bool dedup_seen(struct dedup *dedup, struct slice id, int64_t now_ms);
/* Remembers it; NULL without memory. */
struct dedup_entry *dedup_add(struct dedup *dedup, struct slice id, int64_t until_ms);
/* Its message is safe: only now may it be written down, or a crash in between would leave the id of
 * a message that is lost. */
void dedup_confirm(struct dedup_entry *entry);
void dedup_take_back(struct dedup *dedup, struct dedup_entry *entry);
/* Calls take for entries not yet written (hdd), which count as written then. */
void dedup_each_new(struct dedup *dedup,
                    bool (*take)(void *context, const uint8_t hash[16], int64_t until_ms),
                    void *context);
/* What was written did not last: all is written again. */
void dedup_write_again(struct dedup *dedup);
enum err dedup_restore(struct dedup *dedup, const uint8_t hash[16], int64_t until_ms) MUST_USE;

/* publish.c */
struct stage_item {
    struct queue *queue;     /* referenced */
    struct message *message; /* NULL: it is a duplicate there */
    struct dedup_entry *dedup;
    bool delayed;
    struct effects effects; /* of putting it in */
};

#define STAGE_FEW 2U

struct broker_stage {
    struct router *router;
    struct body *body;
    uint64_t seq; /* of its record */
    int64_t now_ms;
    unsigned count;
    bool on_heap;
    struct dropped_store *retired; /* FLUSH on hdd: for the store that is left */
    struct message *leased;        /* ACK, NACK, EXTEND */
    struct stage_item *items;
    struct stage_item few[STAGE_FEW];
};

/* Tests it and reserves its places; op->stage is set (where on_stack is NULL it is allocated).
 * wants_hdd: fails with ERR_WOULD_WAIT where a queue is on hdd. block: takes the record, or NULL.
 */
enum err publish_stage(struct broker *broker, struct broker_op *op, int64_t now_ms,
                       struct broker_stage *on_stack, struct journal_block *block) MUST_USE;
/* How many queues it would reach now. */
uint32_t publish_count(struct broker *broker, const struct broker_op *op);
void publish_undo(struct broker *broker, struct broker_op *op);
void publish_finish(struct broker *broker, struct broker_op *op);
/* Puts a message of its own into a queue that exists, whatever its limits. The effects are the
 * caller's to run. */
void publish_put(struct queue *queue, struct message *message, uint64_t seq, int64_t now_ms,
                 struct effects *effects);
/* A fresh message takes its place, which is known now. */
void publish_put_locked(struct queue *queue, struct message *message, uint64_t seq, int64_t now_ms,
                        int64_t delay_ms, struct effects *effects);
/* Counts it; ERR_OUT_OF_MEMORY where a memory queue's would be one too many. */
enum err publish_check_memory(struct queue *queue, const struct message *message) MUST_USE;

/* restore.c: BROKER_RESTORE, staged and finished as a publish to one queue. */
enum err restore_stage(struct broker *broker, struct broker_op *op, int64_t now_ms,
                       struct broker_stage *on_stack, struct journal_block *block) MUST_USE;
void restore_undo(struct broker_op *op);
void restore_finish(struct broker *broker, struct broker_op *op);

/* settle.c: ACK, NACK, EXTEND, FLUSH. */
enum err settle_stage(struct broker *broker, struct broker_op *op, int64_t now_ms,
                      struct broker_stage *on_stack, struct journal_block *block) MUST_USE;
void settle_undo(struct broker *broker, struct broker_op *op);
void settle_finish(struct broker *broker, struct broker_op *op);

/* topology.c */
struct queue *broker_find_queue(struct broker *broker, struct slice name); /* referenced, or NULL */
enum err topology_open(struct broker *broker) MUST_USE;
void topology_close(struct broker *broker);
enum err topology_stage(struct broker *broker, struct broker_op *op,
                        struct journal_block *block) MUST_USE;
/* op->count is the id that was given. */
enum err topology_finish(struct broker *broker, struct broker_op *op, int64_t now_ms) MUST_USE;

/* move.c */
void move_run(struct queue *queue, struct message *moves);
/* Messages go back to where they came from. ERR_PENDING: done comes, perhaps before this returns.
 */
enum err redrive_run(struct broker *broker, struct broker_write *write) MUST_USE;

#endif
