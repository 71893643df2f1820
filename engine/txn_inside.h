/* SPDX-License-Identifier: MIT */
/* Inside of transactions: txn.c gathers what goes together, txn_run.c carries it out, txn_work.c
 * knows the kinds of work. */
#ifndef HATI_ENGINE_TXN_INSIDE_H
#define HATI_ENGINE_TXN_INSIDE_H

#include "engine/txn.h"

struct writer {
    struct engine *engine;
    bool memory;
    struct work_list waiting;
    struct work_list jobs; /* of the engine: not held by a barrier */
    struct txn *flights;
    unsigned flight_count;
    bool barrier; /* a change of the topology is on its way: the works behind it wait */
    bool assembling;
};

/* ---- txn.c ---- */
/* Starts what can be started. */
void writer_go_on(struct writer *writer);
/* A transaction is over: its works are ended. It is freed. */
void writer_end_txn(struct txn *txn);
/* Its works are to be tried one by one, before what waits. */
void writer_split_txn(struct txn *txn);

/* ---- txn_run.c ---- */
/* Plans and sends; again for another attempt. */
void txn_begin(struct txn *txn);

/* ---- txn_work.c ---- */
unsigned work_op_count(const struct work *work);
uint64_t work_bytes(const struct work *work);
/* Hash of what no two transactions in flight may share with the work's i-th op; 0: nothing. */
uint64_t work_conflict(const struct work *work, unsigned i);
/* Everything waits for it, and it for everything. */
bool work_is_exclusive(const struct work *work);
struct position *work_position(const struct work *work);
/* ERR_WOULD_WAIT: a name is not known here. */
enum err work_plan(struct txn *txn, struct work *work) MUST_USE;
/* Carries out its ops. ERR_WOULD_WAIT: the topology is stale; else OK, outcomes are in the ops. */
enum err work_apply(struct txn *txn, struct work *work) MUST_USE;
/* Tells its caller: OK, as applied; else the whole work failed so. Frees it. */
void work_end(struct work *work, enum err err);
/* Whether it left something to write, or may have. */
bool work_is_job(const struct work *work);

#endif
