/* SPDX-License-Identifier: MIT */
/* Writes that wait together are one transaction: what they need is locked and read, they are
 * carried out in order against it (one after the other, each seeing those before), and all that
 * changed is written, committed and answered together.
 *
 *   waiting ──plan──> load: BEGIN, SELECT … FOR UPDATE, op row ──> apply each ──> write, COMMIT ──>
 *   finish each. Where nothing needs loading: BEGIN, op row, write, COMMIT in one round trip.
 *
 * Each transaction has a row of its own in table op, added before it writes. When the connection is
 * lost behind COMMIT, that row tells: adding it again from another connection waits for the first
 * to end, and then either finds it (it was done) or stands in its way for good (it was not).
 *
 * A part (keys, messages) takes part by the functions below, in this order:
 *   plan of each op ──> load_steps ──> loaded ──> apply of each op ──> write_steps ──> committed
 * and `reset` before another attempt. A failed engine_batch is taken back by txn_save's log. */
#ifndef HATI_ENGINE_TXN_H
#define HATI_ENGINE_TXN_H

#include "base/arena.h"
#include "engine/internal.h"

#define TXN_OPS_MAX 2000U      /* ops of one transaction, about */
#define TXN_BYTES_MAX 8388608U /* of values and payloads, about */

struct txn;
struct txn_keys;
struct txn_messages;

/* A part of a transaction that the engine itself wants: leases that end, a redrive, a change of the
 * topology. Freed by its maker in done. */
struct txn_job {
    void *context;
    bool exclusive;        /* alone in its transaction */
    bool memory;           /* touches tables of memory alone */
    uint64_t conflicts[2]; /* hashes of what no two transactions in flight may share; 0: none */
    /* All called within the transaction; any may be NULL. load adds steps and keeps their places;
     * loaded reads them; apply decides; write adds steps. An error from loaded or apply is the
     * job's own outcome (it then writes nothing); ERR_WOULD_WAIT: the topology is stale. */
    void (*reset)(struct txn_job *job);
    bool (*needs_load)(struct txn_job *job);
    void (*load)(struct txn_job *job, struct txn *txn, struct request *request);
    enum err (*apply)(struct txn_job *job, struct txn *txn, const struct request *loaded);
    void (*write)(struct txn_job *job, struct txn *txn, struct request *request);
    void (*done)(struct txn_job *job, enum err err); /* OK: committed. Always the last call */
};

struct txn {
    struct engine *engine;
    struct writer *writer;
    bool memory; /* tables of memory: the op row too */
    struct work_list works;
    struct arena arena; /* everything of this attempt */
    struct uuid op_id;
    struct txn_keys *keys;
    struct txn_messages *messages;
    struct request request;
    int64_t now_ms; /* the database's wall clock; known behind loading */
    int64_t now_us;
    bool needs_version; /* decided by the cached topology: guarded in the database */
    bool is_blind;      /* nothing was loaded */
    bool starved;       /* something found no memory: nothing of this attempt is to be sent */
    unsigned op_count;
    uint64_t bytes;
    /* txn.c's and txn_run.c's */
    struct txn *next;
    unsigned attempt;
    bool pulled;          /* the topology was, for this transaction */
    int64_t deadline_ms;  /* of its last work */
    int64_t answer_by_ms; /* of this attempt */
    struct undo *undo;    /* not NULL while a batch is applied */
    struct later later;
    unsigned op_step;
    unsigned commit_step, position_step; /* 0: none */
};

/* Before changing what apply may have to take back. Without memory the attempt is starved. */
void txn_save(struct txn *txn, void *at, size_t size_bytes);

/* ---- txn_keys.c ---- */
struct txn_keys *txn_keys_new(struct txn *txn); /* in the arena; NULL without memory */
/* Says what the op needs. ERR_OUT_OF_MEMORY. */
enum err txn_keys_plan(struct txn *txn, struct kv_op *op) MUST_USE;
/* Whether planned ops need loading. */
bool txn_keys_need_load(const struct txn *txn);
void txn_keys_load_steps(struct txn *txn, struct request *request);
enum err txn_keys_loaded(struct txn *txn, const struct request *request) MUST_USE;
/* Carries out one op as kv.h says: outcome in it, returned too. now_ms: the caller's clock is not
 * used; the database's is. */
enum err txn_keys_apply(struct txn *txn, struct kv_op *op) MUST_USE;
void txn_keys_write_steps(struct txn *txn, struct request *request);
/* Fills what only the database knows (revisions of blind writes). */
void txn_keys_committed(struct txn *txn, const struct request *request);

/* ---- txn_messages.c ---- */
struct txn_messages *txn_messages_new(struct txn *txn);
/* The op's names are looked up in the topology. ERR_WOULD_WAIT: they are not known here, the
 * topology is to be pulled first (once; then the op fails with *_NOT_EXIST in apply). */
enum err txn_messages_plan(struct txn *txn, struct broker_op *op) MUST_USE;
bool txn_messages_need_load(const struct txn *txn);
void txn_messages_load_steps(struct txn *txn, struct request *request);
enum err txn_messages_loaded(struct txn *txn, const struct request *request) MUST_USE;
enum err txn_messages_apply(struct txn *txn, struct broker_op *op) MUST_USE;
void txn_messages_write_steps(struct txn *txn, struct request *request);
/* Wakes who waits for queues that got messages, counts. NULL: it is committed, but what the
 * database answered was lost. */
void txn_messages_committed(struct txn *txn, const struct request *request);
/* The first of `count` places behind all that this node gave, for what it writes with places of its
 * own making; in a transaction that was loaded. */
int64_t txn_fresh_seq(struct txn *txn, unsigned count);
/* Storage class and conflicts of one op: true where it touches tables of memory alone. */
bool txn_messages_is_memory(struct engine *engine, const struct broker_op *op);

/* ---- txn.c ---- */
struct writer *writer_new(struct engine *engine, bool memory);
void writer_free(struct writer *writer);
/* WORK_KEYS, WORK_MESSAGES, WORK_BATCH, WORK_JOB: in order. */
void writer_take(struct writer *writer, struct work *work);
void writer_tick(struct writer *writer, int64_t now_ms);
bool writer_is_idle(const struct writer *writer);
/* A job of the engine itself; done is called with ERR_OUT_OF_MEMORY where it cannot be queued. */
void writer_add_job(struct writer *writer, struct txn_job *job);

#endif
