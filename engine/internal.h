/* SPDX-License-Identifier: MIT */
/* What the files of the engine share.
 *
 *   engine.c         loop, mailbox, opening and closing
 *   later.c          calls that are to come
 *   pool.c conn.c    libpq on the loop             direct.c    libpq that blocks, for a start
 *   params.c         its parameters and results    keyspace.c  how a key stands in an index
 *   reads.c          reads that wait together      position.c  causal contexts
 *   txn*.c           writes that wait together: txn.c gathers, txn_run.c carries out,
 *                    txn_work.c knows the kinds, txn_keys.c keys, txn_messages.c txn_publish.c
 *                    txn_settle.c messages
 *   topology*.c      routers, queues, bindings, cached; changed by one version number
 *   receive*.c       who waits for messages        consumer.c  subscriptions
 *   due.c redrive.c  what happens by time          moves.c fate.c receipt.c  to which messages
 *   queries.c        questions                     node*.c     registry, counters, pokes, sweeps
 *   migrate.c migrations.c  the schema             import.c    entries of hulykvs
 *   sql*.c           every statement
 *
 * Everything runs on the engine's thread unless it says otherwise: nothing is locked but the
 * mailbox. */
#ifndef HATI_ENGINE_INTERNAL_H
#define HATI_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/pool.h"

enum work_kind {
    WORK_READ,
    WORK_LIST,
    WORK_COUNT,
    WORK_KEYS,     /* a kv_write */
    WORK_MESSAGES, /* a broker_write */
    WORK_BATCH,
    WORK_JOB, /* the engine's own part of a transaction: struct txn_job */
    WORK_RECEIVE,
    WORK_STOP, /* of a receive */
    WORK_GIVE_BACK,
    WORK_CONSUMER_CLOSE,
    WORK_QUERY,
    WORK_GATE, /* an engine_gate */
    WORK_REPORT,
    WORK_POKE
};

struct writer;

/* A call on its way from the thread that made it to the loop; malloced, freed by who finishes it,
 * but for those that are a part of what they are for (WORK_STOP, WORK_CONSUMER_CLOSE). */
struct work {
    struct work *next;
    enum work_kind kind;
    int64_t deadline_ms; /* monotonic */
    union {
        struct kv_read *read;
        struct kv_list *list;
        struct kv_count *count;
        struct kv_write *keys;
        struct broker_write *messages;
        struct engine_batch *batch;
        struct txn_job *job;
        struct broker_query *query;
        struct engine_gate *gate;
        struct engine_report *report;
        void *any;
    };
    bool alone; /* failed in company: tried by itself */
    /* the transactions' */
    enum err failed; /* WORK_JOB: its own failure */
    struct writer *writer;
};

struct work_list {
    struct work *first, **last; /* last: where the next one is hung up */
};

static inline void work_list_init(struct work_list *list) {
    list->first = NULL;
    list->last = &list->first;
}
static inline void work_list_add(struct work_list *list, struct work *work) {
    work->next = NULL;
    *list->last = work;
    list->last = &work->next;
}
static inline struct work *work_list_take(struct work_list *list) {
    struct work *work = list->first;
    if (!work)
        return NULL;
    list->first = work->next;
    if (!list->first)
        list->last = &list->first;
    return work;
}

/* Before what is in the list. */
static inline void work_list_put_back(struct work_list *list, struct work_list *back) {
    if (!back->first)
        return;
    *back->last = list->first;
    if (!list->first)
        list->last = back->last;
    list->first = back->first;
    work_list_init(back);
}

/* Takes what is late out of the list, into `ret_late` (added to it). */
void work_list_take_late(struct work_list *list, int64_t now_ms, struct work_list *ret_late);
/* By when the database has to have answered for all of the list: as the one says that has waited
 * longest, but that an attempt always has a little time. The list is not empty. */
int64_t work_list_answer_by(const struct work_list *list, int64_t now_ms);

/* A call that is to come: a part of what it is for, so that it needs no memory. */
struct later {
    struct later *next;
    int64_t at_ms; /* monotonic */
    void (*run)(void *context);
    void *context;
};

struct reads;
struct topology;
struct receivers;
struct due;
struct node;

struct engine {
    struct engine_options options;
    char *url, *read_url, *schema, *advertise; /* copies that options points to */
    struct kv_remote kv;
    struct broker_remote broker;
    struct sql_book book;
    uv_loop_t loop;
    uv_async_t mail;
    uv_timer_t ticker; /* 10 ms: deadlines of what waits, and what happens by time */
    uv_work_t threads; /* that libuv makes them */
    uv_timer_t later_timer;
    struct later *laters;
    int64_t later_ms; /* the timer's; INT64_MAX: it is not set */
    pthread_t thread;
    struct pool *pool;
    struct pool *replicas; /* NULL: none */
    struct uuid id;        /* of this node's life */
    /* the mailbox: any thread */
    pthread_mutex_t lock;
    struct work_list mailbox;
    bool closed; /* nothing is taken any more */
    _Atomic bool ready;
    _Atomic bool draining;
    /* the parts */
    struct reads *reads;
    struct writer *writers[KV_STORAGES]; /* by storage; hdd's takes what is of both */
    struct topology *topology;
    struct receivers *receivers;
    struct due *due;
    struct node *node;
    /* closing */
    bool drained, stopping, leaving;
    int64_t stop_by_ms;
    unsigned pools;             /* still open */
    _Atomic unsigned in_flight; /* transactions of writes, for whoever asks; so are these: */
    _Atomic uint64_t transactions, retries;
    int64_t last_seq;                /* of the messages that this node wrote */
    uint64_t id_prefix, id_next;     /* of the ids that this node makes */
    _Atomic int64_t clock_offset_ms; /* the database's wall clock less ours, as last heard */
};

/* What engine_kv and engine_broker give out. */
void engine_fill_fronts(struct engine *engine);
/* Any thread: ERR_PENDING, ERR_OUT_OF_MEMORY, or ERR_UNAVAILABLE behind the end. */
enum err engine_post(struct engine *engine, enum work_kind kind, void *item) MUST_USE;
/* The same with a work that is a part of the item, the engine's until it is dispatched: it needs no
 * memory. Any thread; ERR_PENDING or ERR_UNAVAILABLE. */
enum err engine_post_work(struct engine *engine, struct work *work, enum work_kind kind,
                          void *item) MUST_USE;
/* The database's wall clock, as far as it is known here. Any thread. */
int64_t engine_now_ms(const struct engine *engine);

/* reads.c: WORK_READ, WORK_LIST, WORK_COUNT. Freed there. */
struct reads *reads_new(struct engine *engine);
void reads_free(struct reads *reads);
void reads_take(struct reads *reads, struct work *work);
void reads_tick(struct reads *reads, int64_t now_ms);

/* node.c: registry, heartbeats, counters written down, sweeps, pokes, WORK_REPORT. */
struct node *node_new(struct engine *engine);
void node_free(struct node *node);
void node_tick(struct node *node, int64_t now_ms);
void node_report(struct node *node, struct work *work);
/* Nodes that were heard of lately, this one too. */
unsigned node_live_count(const struct node *node);
/* Says to other nodes, by and by, that a queue has something new. */
void node_poke_others(struct node *node, int64_t queue_id);
#define POKE_TOPOLOGY 0 /* in place of a queue's id: routers, queues or bindings were changed */
/* Leaves the registry; done is called. */
void node_leave(struct node *node, void (*done)(struct engine *engine));

/* queries.c: WORK_QUERY. */
void query_run(struct engine *engine, struct work *work);

/* migrate.c: brings the schema to what this node knows, with any number of nodes at it. Blocks, on
 * a connection of its own: for the options' timeout to connect, each time that is lost, and for
 * three minutes for all steps, or for the node that makes them. ERR_CONFLICT: it is newer;
 * ERR_UNAVAILABLE; ret_why is filled then. Any thread. */
enum err migrate_run(const struct engine_options *options, const struct sql_book *book,
                     char *ret_why, size_t why_bytes) MUST_USE;

/* The failure that a refused or lost request is to its callers, when it is not tried again. A write
 * that is lost is ERR_TIMEOUT (unknown). */
enum err engine_err_of(const struct request *request, bool is_write);
/* The server says: do it again from the start (serialization, deadlock, a unique key taken between
 * looking and writing, a lost prepared statement). */
bool engine_is_transient(const char sqlstate[6]);
/* 5 to 200 ms, growing with the attempt, with jitter. */
int64_t engine_backoff_ms(unsigned attempt);
/* ---- later.c ---- */
void engine_later_init(struct engine *engine);
/* Calls run(context) on the loop after so long; `later` is the engine's until then. */
void engine_later(struct engine *engine, struct later *later, int64_t delay_ms,
                  void (*run)(void *context), void *context);

/* Puts the position word of this database, as the step (WAL_POSITION, HLC_POSITION,
 * REPLAY_POSITION) told it. */
void engine_put_position(struct engine *engine, const struct request *request, unsigned step,
                         struct position *position);
/* Adds the step that asks where the database is; false where the position does not ask. */
bool engine_ask_position(struct engine *engine, struct request *request,
                         const struct position *position);
/* Behind engine_put_position: the primary has at least what `want` names. */
bool engine_position_holds(const struct engine *engine, const struct position *position);
/* WORK_GATE. */
void position_run_gate(struct engine *engine, struct work *work);
/* A replica that has replayed so far has what `want` names. */
bool engine_replica_has(const struct engine *engine, int64_t replayed,
                        const struct position *position);

#endif
