/* SPDX-License-Identifier: MIT */
/* Dead-lettered messages go back to where they came from, a transaction for every few hundred. What
 * came from nowhere, or from a queue that is gone, stays. */
#include "engine/moves.h"
#include "engine/txn_inside.h"

#define LOCK_STEP 2U

struct redrive {
    struct engine *engine;
    struct work *work;
    struct broker_op *op;
    struct tqueue *queue; /* referenced once it is known */
    bool memory, pulled;
    unsigned failures;
    int64_t place, seq; /* behind which it goes on */
    int64_t last_seq;   /* what came later stays; 0: not known yet */
    int64_t deadline_ms;
    int64_t now_ms, version;
    bool more;
    unsigned count;
    struct request request;
    struct later later;
    struct move moves[MOVES_MAX];
};

static void begin(void *context);

static void renew(struct redrive *redrive) {
    request_done(&redrive->request);
    request_init(&redrive->request);
    moves_done(redrive->moves, redrive->count);
    redrive->count = 0;
}

static void end(struct redrive *redrive, enum err err) {
    renew(redrive);
    if (redrive->queue)
        topology_unref(redrive->queue);
    redrive->op->err = err;
    work_end(redrive->work, err);
    free(redrive);
}

static void after_pull(void *context, enum err err) {
    struct redrive *redrive = context;
    redrive->pulled = err == OK;
    if (err)
        end(redrive, err == ERR_OUT_OF_MEMORY ? err : ERR_UNAVAILABLE);
    else
        begin(redrive);
}

static void pull(struct redrive *redrive) {
    renew(redrive);
    topology_pull(redrive->engine->topology, redrive->deadline_ms, after_pull, redrive);
}

/* Nothing of this step was done. */
static void again(struct redrive *redrive) {
    if (clock_steady_ms() >= redrive->deadline_ms || redrive->engine->stopping) {
        end(redrive, ERR_UNAVAILABLE);
        return;
    }
    renew(redrive);
    engine_later(redrive->engine, &redrive->later, engine_backoff_ms(++redrive->failures), begin,
                 redrive);
}

static void send_step(struct redrive *redrive, void (*done)(struct request *request)) {
    redrive->request.deadline_ms = redrive->deadline_ms;
    redrive->request.done = done;
    redrive->request.context = redrive;
    pool_send(redrive->engine->pool, &redrive->request);
}

static void on_written(struct request *request) {
    struct redrive *redrive = request->context;
    struct engine *engine = redrive->engine;
    if (request->outcome == OUTCOME_LOST) {
        end(redrive, ERR_TIMEOUT);
        return;
    }
    if (request->outcome != OUTCOME_OK) {
        redrive->seq = redrive->moves[0].receipt.seq - 1;
        redrive->place = redrive->moves[0].receipt.place;
        again(redrive);
        return;
    }
    moves_committed(engine, redrive->moves, redrive->count, redrive->now_ms);
    redrive->op->count += redrive->count;
    redrive->deadline_ms = clock_steady_ms() + engine->options.timeout_ms;
    renew(redrive);
    if (redrive->more && !atomic_load(&engine->draining))
        begin(redrive);
    else
        end(redrive, OK);
}

static void decide(struct redrive *redrive, const PGresult *result, int row) {
    struct slice origin = result_bytes(result, row, 2);
    struct tqueue *target =
        origin.len ? topology_find_queue(redrive->engine->topology, origin) : NULL;
    redrive->place = result_int8(result, row, 0);
    redrive->seq = result_int8(result, row, 1);
    if (!target || target->gone || target == redrive->queue)
        return;
    topology_ref(target);
    redrive->moves[redrive->count++] = (struct move){.queue_id = redrive->queue->id,
                                                     .receipt = {redrive->place, redrive->seq, 0},
                                                     .target = target,
                                                     .fate = FATE_MOVE};
}

static void on_locked(struct request *request) {
    struct redrive *redrive = request->context;
    struct engine *engine = redrive->engine;
    if (request->outcome != OUTCOME_OK) {
        again(redrive);
        return;
    }
    struct conn *conn = request->conn;
    int64_t version = moves_version(request);
    int64_t seq = moves_first_seq(request);
    redrive->now_ms = moves_now_ms(request);
    redrive->last_seq = redrive->last_seq == INT64_MAX ? seq : redrive->last_seq;
    if (version != topology_version(engine->topology)) {
        pool_abandon(engine->pool, conn);
        pull(redrive);
        return;
    }
    const PGresult *result = request->steps[LOCK_STEP].result;
    int rows = result_rows(result);
    redrive->more = rows == (int)MOVES_MAX;
    for (int i = 0; i < rows; i++)
        decide(redrive, result, i);
    request_done(request);
    request_init(request);
    if (!moves_add_writes(request, redrive->memory, redrive->moves, redrive->count, redrive->now_ms,
                          seq, version)) {
        pool_abandon(engine->pool, conn);
        if (redrive->more)
            begin(redrive);
        else
            end(redrive, OK);
        return;
    }
    request->conn = conn;
    send_step(redrive, on_written);
}

/* The next few hundred. */
static void begin(void *context) {
    struct redrive *redrive = context;
    struct topology *topology = redrive->engine->topology;
    struct tqueue *queue =
        redrive->queue ? redrive->queue : topology_find_queue(topology, redrive->op->queue);
    if ((!queue || queue->gone) && !redrive->pulled) {
        pull(redrive);
        return;
    }
    if (!queue || queue->gone) {
        end(redrive, redrive->op->count ? OK : ERR_QUEUE_NOT_EXIST);
        return;
    }
    if (!redrive->queue) {
        redrive->queue = queue;
        topology_ref(queue);
    }
    redrive->memory = queue->options.storage == BROKER_MEMORY;
    moves_add_begin(&redrive->request, redrive->memory);
    struct params *params = request_add(&redrive->request, SQL_REDRIVE_LOCK, redrive->memory);
    params_int8(params, queue->id);
    params_int8(params, redrive->place);
    params_int8(params, redrive->seq);
    params_int8(params, redrive->last_seq);
    params_int8(params, MOVES_MAX);
    redrive->request.keeps_conn = true;
    send_step(redrive, on_locked);
}

void redrive_start(struct engine *engine, struct work *work) {
    struct redrive *redrive = calloc(1, sizeof *redrive);
    if (!redrive) {
        work_end(work, ERR_OUT_OF_MEMORY);
        return;
    }
    redrive->engine = engine;
    redrive->work = work;
    redrive->op = &work->messages->ops[0];
    redrive->op->count = 0;
    redrive->op->err = OK;
    redrive->last_seq = INT64_MAX;
    redrive->deadline_ms = work->deadline_ms;
    request_init(&redrive->request);
    begin(redrive);
}
