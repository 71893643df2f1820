/* SPDX-License-Identifier: MIT */
/* One transaction from its plan to its end.
 *
 *   plan ──> LOADING ──> apply ──> WRITING ──> done
 *     │  (nothing to load)  ^         ├─ refused for now: pause, again from the plan
 *     └─────────────────────┘         ├─ the topology was stale: pull it, again
 *     ^                               ├─ refused for good: its works one by one
 *     └─ it was not done ── RESOLVING <─ the connection is lost behind COMMIT
 */
#include <string.h>

#include "base/hash.h"
#include "engine/topology.h"
#include "engine/txn_inside.h"

#define TXN_RESOLVE_MS 2000 /* to find out what became of a commit, behind the deadline */

enum phase { PHASE_LOADING, PHASE_WRITING, PHASE_RESOLVING };

static void send_load(struct txn *txn);
static void apply_and_write(struct txn *txn);
static void resolve(struct txn *txn);

/* ---- ends ---- */

static void end_all(struct txn *txn, enum err err) {
    struct work *work;
    while ((work = work_list_take(&txn->works)))
        work_end(work, err);
    writer_end_txn(txn);
}

static bool is_late(const struct txn *txn) {
    return clock_steady_ms() >= txn->deadline_ms;
}

static void begin_anew(struct txn *txn) {
    atomic_fetch_add_explicit(&txn->engine->retries, 1, memory_order_relaxed);
    txn_begin(txn);
}

static void again(void *context) {
    begin_anew(context);
}

static void after_pull(void *context, enum err err) {
    struct txn *txn = context;
    if (err && is_late(txn))
        end_all(txn, ERR_UNAVAILABLE);
    else if (err)
        engine_later(txn->engine, &txn->later, engine_backoff_ms(++txn->attempt), again, txn);
    else
        begin_anew(txn);
}

/* The names it was decided by are not those of the database. */
static void pull_and_again(struct txn *txn) {
    if (is_late(txn)) {
        end_all(txn, ERR_UNAVAILABLE);
        return;
    }
    txn->pulled = true;
    topology_pull(txn->engine->topology, txn->deadline_ms, after_pull, txn);
}

static void pause_and_again(struct txn *txn) {
    if (is_late(txn))
        end_all(txn, ERR_UNAVAILABLE);
    else
        engine_later(txn->engine, &txn->later, engine_backoff_ms(++txn->attempt), again, txn);
}

/* Somebody's work is what the database does not take: whose shows when each is alone. */
static void fail(struct txn *txn) {
    enum err err = engine_err_of(&txn->request, true);
    if (txn->works.first->next) {
        writer_split_txn(txn);
        return;
    }
    log_warn("the database refused a transaction: %s", txn->request.sqlstate);
    end_all(txn, err);
}

/* Something found no memory, and nothing is written. */
static void starve(struct txn *txn, struct conn *conn) {
    pool_abandon(txn->engine->pool, conn);
    if (txn->works.first->next)
        writer_split_txn(txn);
    else
        end_all(txn, ERR_OUT_OF_MEMORY);
}

/* Refused, with nothing done. */
static void not_done(struct txn *txn) {
    const struct request *request = &txn->request;
    if (!strcmp(request->sqlstate, "22012")) /* the guard of the topology's version */
        pull_and_again(txn);
    else if (engine_is_transient(request->sqlstate))
        pause_and_again(txn);
    else
        fail(txn);
}

static void committed(struct txn *txn, bool known) {
    struct request *request = &txn->request;
    struct work *work;
    atomic_fetch_add_explicit(&txn->engine->transactions, 1, memory_order_relaxed);
    if (known)
        txn_keys_committed(txn, request);
    txn_messages_committed(txn, known ? request : NULL);
    while ((work = work_list_take(&txn->works))) {
        struct position *position = work_position(work);
        if (position && position->ask && txn->position_step && known)
            engine_put_position(txn->engine, request, txn->position_step, position);
        work_end(work, OK);
    }
    writer_end_txn(txn);
}

/* ---- writing ---- */

/* A commit is refused for sure where others were first; what else is said of it, and 40003
 * wherever, may mean that it was done. */
static bool is_ambiguous(const struct txn *txn) {
    const struct request *request = &txn->request;
    const char *state = request->sqlstate;
    if (!strcmp(state, "40003"))
        return true;
    return request->failed_step == txn->commit_step && strcmp(state, "40001") != 0 &&
           strcmp(state, "40P01") != 0 && strncmp(state, "23", 2) != 0;
}

static void on_written(struct request *request) {
    struct txn *txn = request->context;
    switch (request->outcome) {
    case OUTCOME_OK:
        committed(txn, true);
        return;
    case OUTCOME_REFUSED:
        if (request->failed_step > txn->commit_step)
            committed(txn, true); /* only the position was not told */
        else if (is_ambiguous(txn))
            resolve(txn);
        else
            not_done(txn);
        return;
    case OUTCOME_NOT_SENT:
        end_all(txn, ERR_UNAVAILABLE);
        return;
    case OUTCOME_LOST:
        if (request->steps[txn->commit_step].result) /* it ended behind the answer */
            committed(txn, true);
        else
            resolve(txn);
        return;
    }
}

static void add_op(struct txn *txn) {
    txn->op_step = txn->request.step_count;
    params_uuid(request_add(&txn->request, SQL_OP_ADD, txn->memory), &txn->op_id);
}

static bool add_position(struct txn *txn) {
    for (const struct work *work = txn->works.first; work; work = work->next) {
        const struct position *position = work_position(work);
        if (position && engine_ask_position(txn->engine, &txn->request, position))
            return true;
    }
    return false;
}

static void send_request(struct txn *txn, void (*done)(struct request *), struct conn *conn,
                         bool keeps) {
    struct request *request = &txn->request;
    request->conn = conn;
    request->keeps_conn = keeps;
    request->deadline_ms = txn->answer_by_ms;
    request->done = done;
    request->context = txn;
    pool_send(txn->engine->pool, request);
}

/* Nothing changed: what was locked is let go of. */
static void end_unchanged(struct txn *txn, struct conn *conn) {
    pool_abandon(txn->engine->pool, conn);
    committed(txn, false);
}

static void add_writes(struct txn *txn) {
    struct request *request = &txn->request;
    txn_keys_write_steps(txn, request);
    txn_messages_write_steps(txn, request);
    for (struct work *work = txn->works.first; work; work = work->next)
        if (work_is_job(work) && !work->failed && work->job->write)
            work->job->write(work->job, txn, request);
}

static void apply_and_write(struct txn *txn) {
    struct conn *conn = txn->request.conn;
    enum err err = OK;
    for (struct work *work = txn->works.first; !err && work; work = work->next)
        err = work_apply(txn, work);
    if (txn->starved) {
        starve(txn, conn);
        return;
    }
    if (err) { /* the topology is stale */
        pool_abandon(txn->engine->pool, conn);
        pull_and_again(txn);
        return;
    }
    struct request *request = &txn->request;
    request_done(request);
    request_init(request);
    if (txn->is_blind) {
        request_add(request, SQL_BEGIN, false);
        add_op(txn);
    }
    unsigned before = request->step_count;
    add_writes(txn);
    if (txn->starved) {
        starve(txn, conn);
        return;
    }
    if (request->step_count == before) {
        end_unchanged(txn, conn);
        return;
    }
    if (txn->needs_version)
        params_int8(request_add(request, SQL_VERSION_GUARD, false),
                    topology_version(txn->engine->topology));
    txn->commit_step = request->step_count;
    request_add(request, SQL_COMMIT, false);
    txn->position_step = request->step_count;
    if (!add_position(txn))
        txn->position_step = 0;
    send_request(txn, on_written, conn, false);
}

/* ---- loading ---- */

static enum err take_loaded(struct txn *txn) {
    const struct request *request = &txn->request;
    const PGresult *op = request->steps[txn->op_step].result;
    txn->now_ms = result_int8(op, 0, 0);
    txn->now_us = result_int8(op, 0, 1);
    txn->engine->clock_offset_ms = txn->now_ms - clock_wall_ms();
    int64_t version = result_int8(op, 0, 2);
    topology_note_version(txn->engine->topology, version);
    if (txn->needs_version && version != topology_version(txn->engine->topology))
        return ERR_WOULD_WAIT;
    enum err err = txn_keys_loaded(txn, request);
    return err ? err : txn_messages_loaded(txn, request);
}

static void on_loaded(struct request *request) {
    struct txn *txn = request->context;
    if (request->outcome == OUTCOME_REFUSED) {
        not_done(txn);
        return;
    }
    if (request->outcome != OUTCOME_OK) { /* nothing was committed */
        pause_and_again(txn);
        return;
    }
    enum err err = take_loaded(txn);
    if (!err) {
        apply_and_write(txn);
        return;
    }
    if (err == ERR_OUT_OF_MEMORY) {
        starve(txn, request->conn);
        return;
    }
    pool_abandon(txn->engine->pool, request->conn);
    if (err == ERR_WOULD_WAIT)
        pull_and_again(txn);
    else
        end_all(txn, err);
}

/* The clock is asked behind the locks: a revision is then more than those of whoever had the key
 * before, though its row may be gone. */
static void send_load(struct txn *txn) {
    struct request *request = &txn->request;
    request_add(request, SQL_BEGIN, false);
    txn_keys_load_steps(txn, request);
    txn_messages_load_steps(txn, request);
    for (struct work *work = txn->works.first; work; work = work->next)
        if (work_is_job(work) && work->job->load)
            work->job->load(work->job, txn, request);
    add_op(txn);
    if (txn->starved)
        starve(txn, NULL);
    else
        send_request(txn, on_loaded, NULL, true);
}

static bool needs_load(const struct txn *txn) {
    if (txn_keys_need_load(txn) || txn_messages_need_load(txn))
        return true;
    for (const struct work *work = txn->works.first; work; work = work->next)
        if (work_is_job(work) && work->job->needs_load && work->job->needs_load(work->job))
            return true;
    return false;
}

/* ---- an unknown outcome ---- */

static void resolve_again(void *context) {
    resolve(context);
}

static void on_resolved(struct request *request) {
    struct txn *txn = request->context;
    bool found = request->outcome == OUTCOME_OK && result_rows(request->steps[0].result) == 1;
    if (found && result_int8(request->steps[0].result, 0, 0) > 0) {
        committed(txn, false);
        return;
    }
    if (found) { /* it was not done, and now cannot be any more */
        pause_and_again(txn);
        return;
    }
    if (clock_steady_ms() >= txn->answer_by_ms + TXN_RESOLVE_MS)
        end_all(txn, ERR_TIMEOUT);
    else
        engine_later(txn->engine, &txn->later, engine_backoff_ms(++txn->attempt), resolve_again,
                     txn);
}

static void resolve(struct txn *txn) {
    struct request *request = &txn->request;
    request_done(request);
    request_init(request);
    params_uuid(request_add(request, SQL_OP_FENCE, txn->memory), &txn->op_id);
    request->deadline_ms = txn->answer_by_ms + TXN_RESOLVE_MS;
    request->done = on_resolved;
    request->context = txn;
    pool_send(txn->engine->pool, request);
}

/* ---- the beginning ---- */

static enum err plan(struct txn *txn) {
    arena_done(&txn->arena);
    hash_random(&txn->op_id, sizeof txn->op_id);
    txn->needs_version = false;
    txn->starved = false;
    txn->position_step = 0;
    txn->keys = txn_keys_new(txn);
    txn->messages = txn_messages_new(txn);
    enum err err = txn->keys && txn->messages ? OK : ERR_OUT_OF_MEMORY;
    for (struct work *work = txn->works.first; work; work = work->next) {
        enum err planned = err && err != ERR_WOULD_WAIT ? err : work_plan(txn, work);
        work->failed = OK;
        if (planned)
            err = planned;
    }
    return err;
}

/* Each has a time of its own, whatever it goes with. */
static void end_late_works(struct txn *txn) {
    int64_t now_ms = clock_steady_ms();
    struct work_list late;
    struct work *work;
    work_list_init(&late);
    work_list_take_late(&txn->works, now_ms, &late);
    while ((work = work_list_take(&late)))
        work_end(work, ERR_UNAVAILABLE);
    if (txn->works.first)
        txn->answer_by_ms = work_list_answer_by(&txn->works, now_ms);
}

void txn_begin(struct txn *txn) {
    request_done(&txn->request);
    request_init(&txn->request);
    end_late_works(txn);
    if (!txn->works.first) {
        writer_end_txn(txn);
        return;
    }
    enum err err = plan(txn);
    if (err == ERR_WOULD_WAIT && !txn->pulled) {
        pull_and_again(txn);
        return;
    }
    if (err == ERR_OUT_OF_MEMORY) {
        starve(txn, NULL);
        return;
    }
    if (err && err != ERR_WOULD_WAIT) {
        end_all(txn, err);
        return;
    }
    txn->is_blind = !needs_load(txn);
    txn->now_ms = engine_now_ms(txn->engine);
    txn->now_us = txn->now_ms * 1000;
    if (txn->is_blind)
        apply_and_write(txn);
    else
        send_load(txn);
}
