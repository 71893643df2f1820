/* SPDX-License-Identifier: MIT */
/* What happens by time. A node looks when the next thing falls due, as far as it heard, and once a
 * second in any case: first at the two indexes alone, and where they say so, in a transaction.
 *
 *   asleep ──its time, or a second──> DUE_NEXT ──something is due──> lock, decide, write ──┐
 *     ^                                  │ nothing is                                      │
 *     └──────────────────────────────────┴────────────── and again <───────────────────────┘
 */
#include "base/hash.h"
#include "engine/moves.h"

#define LOOK_MS 1000 /* between looks where nothing is known to come */
#define SPREAD_MS 20 /* for each other node, behind what this one did not bring about */
#define DUE_STEP 2U  /* steps of the locking request */
#define EXPIRED_STEP 3U
#define ROUNDS_MAX 100U    /* of what came due while no node ran, before this one serves */
#define WRONG_PAUSE_MS 200 /* the database is away, or others were first */

/* The messages of one storage class. */
struct lane {
    struct due *due;
    bool memory;
    bool busy;
    unsigned rounds;       /* transactions since the start; ROUNDS_MAX: nothing of before is left */
    int64_t next_ms;       /* wall clock of the database: something falls due; INT64_MAX: unknown */
    int64_t scheduled_ms;  /* the latest that this node brought about */
    int64_t look_ms;       /* monotonic: looked at then in any case */
    int64_t not_before_ms; /* monotonic: not looked at earlier */
    struct request request;
    int64_t now_ms, version;
    unsigned count;
    bool full;
    struct move moves[2 * MOVES_MAX];
};

struct due {
    struct engine *engine;
    struct lane lanes[KV_STORAGES];
};

static void look(struct lane *lane);

static int64_t jitter(int64_t most) {
    uint32_t random;
    hash_random(&random, sizeof random);
    return most > 0 ? (int64_t)random % most : 0;
}

static void begin(struct lane *lane, void (*done)(struct request *request)) {
    struct engine *engine = lane->due->engine;
    lane->request.deadline_ms = clock_steady_ms() + engine->options.timeout_ms;
    lane->request.done = done;
    lane->request.context = lane;
    pool_send(engine->pool, &lane->request);
}

static void renew(struct lane *lane) {
    request_done(&lane->request);
    request_init(&lane->request);
}

static void sleep_for(struct lane *lane, int64_t pause_ms) {
    int64_t now_ms = clock_steady_ms();
    unsigned nodes = node_live_count(lane->due->engine->node);
    renew(lane);
    moves_done(lane->moves, lane->count);
    lane->count = 0;
    lane->busy = false;
    lane->not_before_ms = now_ms + pause_ms;
    lane->look_ms = now_ms + LOOK_MS + jitter(LOOK_MS * (int64_t)nodes / 4);
    if (pause_ms) /* something is left that is due */
        lane->look_ms = lane->not_before_ms;
}

/* ---- the transaction ---- */

static bool is_known(const struct lane *lane, int64_t queue_id, const struct receipt *receipt) {
    for (unsigned i = 0; i < lane->count; i++) {
        const struct move *move = &lane->moves[i];
        if (move->receipt.seq == receipt->seq && move->receipt.place == receipt->place &&
            move->queue_id == queue_id)
            return true;
    }
    return false;
}

static void decide(struct lane *lane, const PGresult *result, int row, bool by_expiry) {
    struct topology *topology = lane->due->engine->topology;
    struct move *move = &lane->moves[lane->count];
    int64_t expires_ms = result_int8(result, row, 5);
    *move = (struct move){
        .queue_id = result_int8(result, row, 0),
        .receipt = {result_int8(result, row, 1), result_int8(result, row, 2),
                    result_int8(result, row, 3)},
        .attempt = result_int8(result, row, 4),
    };
    if (by_expiry && is_known(lane, move->queue_id, &move->receipt))
        return;
    move->queue = topology_find_queue_id(topology, move->queue_id);
    move->fate =
        message_fate(topology, move->queue, move->attempt, expires_ms, move->receipt.lease != 0, 0,
                     lane->now_ms, &move->reason, &move->target);
    if (by_expiry && move->fate == FATE_READY)
        return;
    if (move->queue)
        topology_ref(move->queue);
    if (move->target)
        topology_ref(move->target);
    lane->count++;
}

static void on_written(struct request *request) {
    struct lane *lane = request->context;
    if (request->outcome != OUTCOME_OK) { /* where it was done after all, nothing is left to do */
        sleep_for(lane, WRONG_PAUSE_MS);
        return;
    }
    moves_committed(lane->due->engine, lane->moves, lane->count, lane->now_ms);
    moves_done(lane->moves, lane->count);
    lane->count = 0;
    renew(lane);
    look(lane);
}

static void on_locked(struct request *request) {
    struct lane *lane = request->context;
    struct engine *engine = lane->due->engine;
    if (request->outcome != OUTCOME_OK) {
        sleep_for(lane, WRONG_PAUSE_MS);
        return;
    }
    lane->now_ms = moves_now_ms(request);
    lane->version = topology_version(engine->topology);
    int64_t version = moves_version(request);
    struct conn *conn = request->conn;
    if (version != lane->version) {
        topology_note_version(engine->topology, version);
        pool_abandon(engine->pool, conn);
        sleep_for(lane, SPREAD_MS);
        return;
    }
    const PGresult *due = request->steps[DUE_STEP].result;
    const PGresult *expired = request->steps[EXPIRED_STEP].result;
    for (int i = 0; i < result_rows(due); i++)
        decide(lane, due, i, false);
    for (int i = 0; i < result_rows(expired); i++)
        decide(lane, expired, i, true);
    int64_t seq = moves_first_seq(request);
    renew(lane);
    if (!moves_add_writes(&lane->request, lane->memory, lane->moves, lane->count, lane->now_ms, seq,
                          version)) {
        pool_abandon(engine->pool, conn); /* others were first */
        sleep_for(lane, SPREAD_MS + jitter(SPREAD_MS));
        return;
    }
    lane->request.conn = conn;
    begin(lane, on_written);
}

static void carry_out(struct lane *lane) {
    int64_t now_ms = engine_now_ms(lane->due->engine);
    renew(lane);
    moves_add_begin(&lane->request, lane->memory);
    struct params *params = request_add(&lane->request, SQL_DUE_LOCK, lane->memory);
    params_int8(params, now_ms);
    params_int8(params, MOVES_MAX);
    params = request_add(&lane->request, SQL_EXPIRED_LOCK, lane->memory);
    params_int8(params, now_ms);
    params_int8(params, MOVES_MAX);
    lane->request.keeps_conn = true;
    begin(lane, on_locked);
}

/* ---- looking ---- */

static void on_looked(struct request *request) {
    struct lane *lane = request->context;
    struct engine *engine = lane->due->engine;
    const PGresult *result = request->steps[0].result;
    if (request->outcome != OUTCOME_OK || result_rows(result) != 1) {
        sleep_for(lane, WRONG_PAUSE_MS);
        return;
    }
    int64_t due_ms = result_int8(result, 0, 0);
    int64_t expires_ms = result_int8(result, 0, 1);
    int64_t now_ms = result_int8(result, 0, 2);
    int64_t next_ms = due_ms ? due_ms : INT64_MAX;
    if (expires_ms && expires_ms < next_ms)
        next_ms = expires_ms;
    engine->clock_offset_ms = now_ms - clock_wall_ms();
    if (next_ms < now_ms) {
        lane->rounds += lane->rounds < ROUNDS_MAX;
        carry_out(lane);
        return;
    }
    lane->rounds = ROUNDS_MAX;
    unsigned nodes = node_live_count(engine->node);
    if (next_ms != INT64_MAX && next_ms > lane->scheduled_ms && nodes > 1)
        next_ms += SPREAD_MS + jitter(SPREAD_MS * (int64_t)nodes);
    if (next_ms < lane->next_ms) /* what was scheduled meanwhile may be earlier */
        lane->next_ms = next_ms;
    sleep_for(lane, 0);
}

static void look(struct lane *lane) {
    lane->busy = true;
    lane->next_ms = INT64_MAX;
    request_add(&lane->request, SQL_DUE_NEXT, lane->memory);
    begin(lane, on_looked);
}

void due_schedule(struct due *due, bool memory, int64_t at_ms) {
    struct lane *lane = &due->lanes[memory ? KV_MEMORY : KV_HDD];
    if (at_ms < lane->next_ms)
        lane->next_ms = at_ms;
    if (at_ms > lane->scheduled_ms)
        lane->scheduled_ms = at_ms;
}

void due_tick(struct due *due, int64_t now_ms) {
    int64_t wall_ms = engine_now_ms(due->engine);
    for (unsigned i = 0; i < KV_STORAGES && !due->engine->stopping; i++) {
        struct lane *lane = &due->lanes[i];
        if (!lane->busy && now_ms >= lane->not_before_ms &&
            (wall_ms > lane->next_ms || now_ms >= lane->look_ms))
            look(lane);
    }
}

bool due_is_settled(const struct due *due) {
    return due->lanes[KV_MEMORY].rounds == ROUNDS_MAX && due->lanes[KV_HDD].rounds == ROUNDS_MAX;
}

struct due *due_new(struct engine *engine) {
    struct due *due = calloc(1, sizeof *due);
    if (!due)
        return NULL;
    due->engine = engine;
    for (unsigned i = 0; i < KV_STORAGES; i++) {
        struct lane *lane = &due->lanes[i];
        lane->due = due;
        lane->memory = i == KV_MEMORY;
        lane->next_ms = INT64_MAX;
        request_init(&lane->request);
    }
    return due;
}

/* Behind the pool: no request is on its way. */
void due_free(struct due *due) {
    if (!due)
        return;
    for (unsigned i = 0; i < KV_STORAGES; i++) {
        moves_done(due->lanes[i].moves, due->lanes[i].count);
        request_done(&due->lanes[i].request);
    }
    free(due);
}
