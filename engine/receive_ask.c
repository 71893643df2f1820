/* SPDX-License-Identifier: MIT */
/* What is asked of the database for those who wait, and how the answer is handed out. */
#include "engine/receive_inside.h"

#include "base/hash.h"

#define IN_FLIGHT_MAX 8U       /* RECEIVE statements of this node */
#define POLL_MAX 500U          /* queues of one poll */
#define POLL_MIN_MS 5          /* first look at an empty queue */
#define POLL_IDLE_MS 1000      /* and later ones */
#define ASK_BYTES_MAX 33554432 /* of one answer, about, beyond its first message */
#define GIVE_BACK_TRIES 8U

/* Columns of RECEIVE. */
enum {
    RECEIVE_VERSION,
    RECEIVE_NOW,
    RECEIVE_PLACE,
    RECEIVE_SEQ,
    RECEIVE_DUE,
    RECEIVE_ATTEMPT,
    RECEIVE_PUBLISHED,
    RECEIVE_ID,
    RECEIVE_KEY,
    RECEIVE_HEADERS,
    RECEIVE_BODY,
    RECEIVE_REASON,
    RECEIVE_ORIGIN,
    RECEIVE_ORIGIN_ATTEMPT
};

/* One RECEIVE on its way. */
struct ask {
    struct request request;
    struct receivers *receivers;
    struct rqueue *at;
    int64_t lease_ms, nonce, version;
    unsigned wanted;
};

struct row {
    int64_t place, seq;
    int row;
};

static void pump(struct receivers *receivers);

/* ---- when ---- */

void rqueue_want(struct rqueue *at) {
    struct receivers *receivers = at->receivers;
    heap_remove(&receivers->polls, at);
    if (at->asking) {
        at->again = true;
        return;
    }
    if (!at->is_ready) {
        at->is_ready = true;
        at->next_ready = NULL;
        *receivers->last_ready = at;
        receivers->last_ready = &at->next_ready;
    }
    pump(receivers);
}

void rqueue_poll_later(struct rqueue *at, int64_t delay_ms) {
    struct receivers *receivers = at->receivers;
    heap_remove(&receivers->polls, at);
    at->poll_ms = clock_steady_ms() + delay_ms;
    heap_push(&receivers->polls, at);
    receivers_set_timer(receivers);
}

static void poll_behind_nothing(struct rqueue *at) {
    at->backoff_ms = at->backoff_ms ? at->backoff_ms * 2 : POLL_MIN_MS;
    if (at->backoff_ms > POLL_IDLE_MS)
        at->backoff_ms = POLL_IDLE_MS;
    rqueue_poll_later(at, at->backoff_ms);
}

/* ---- handing out ---- */

static int compare_rows(const void *a, const void *b) {
    const struct row *one = a, *two = b;
    if (one->place != two->place)
        return one->place < two->place ? -1 : 1;
    return (one->seq > two->seq) - (one->seq < two->seq);
}

/* The rows in the order they stand in the queue; NULL without memory. */
static struct row *sort_rows(const PGresult *result, unsigned *ret_count) {
    int count = result_rows(result);
    struct row *rows = malloc(((size_t)count + 1) * sizeof *rows);
    *ret_count = 0;
    for (int i = 0; rows && i < count; i++)
        if (!result_is_null(result, i, RECEIVE_SEQ))
            rows[(*ret_count)++] = (struct row){.place = result_int8(result, i, RECEIVE_PLACE),
                                                .seq = result_int8(result, i, RECEIVE_SEQ),
                                                .row = i};
    if (rows)
        qsort(rows, *ret_count, sizeof *rows, compare_rows);
    return rows;
}

static uint64_t size_of(const PGresult *result, int row) {
    uint64_t size = 0;
    for (int column = RECEIVE_ID; column <= RECEIVE_BODY; column++)
        size += result_bytes(result, row, column).len;
    return size + result_bytes(result, row, RECEIVE_ORIGIN).len;
}

static struct slice copy(char **at, struct slice from) {
    struct slice to = slice_make(*at, from.len);
    if (from.len)
        memcpy(*at, from.ptr, from.len);
    *at += from.len;
    return to;
}

static void fill(struct broker_delivery *to, const PGresult *result, const struct row *row,
                 int64_t nonce, char **bytes) {
    struct receipt receipt = {.place = row->place, .seq = row->seq, .lease = nonce};
    *to = (struct broker_delivery){
        .id = copy(bytes, result_bytes(result, row->row, RECEIVE_ID)),
        .key = copy(bytes, result_bytes(result, row->row, RECEIVE_KEY)),
        .payload = copy(bytes, result_bytes(result, row->row, RECEIVE_BODY)),
        .headers = copy(bytes, result_bytes(result, row->row, RECEIVE_HEADERS)),
        .from = copy(bytes, result_bytes(result, row->row, RECEIVE_ORIGIN)),
        .reason = (enum broker_reason)result_int8(result, row->row, RECEIVE_REASON),
        .dead_attempt = (uint32_t)result_int8(result, row->row, RECEIVE_ORIGIN_ATTEMPT),
        .attempt = (uint32_t)result_int8(result, row->row, RECEIVE_ATTEMPT),
        .published_ms = result_int8(result, row->row, RECEIVE_PUBLISHED)};
    receipt_format(&receipt, to->receipt);
}

/* All of one receive in one block. False without memory. */
static bool fill_receive(struct ask *ask, struct wait *wait, const PGresult *result,
                         const struct row *rows, unsigned count) {
    size_t size = count * sizeof(struct broker_delivery);
    for (unsigned i = 0; i < count; i++)
        size += (size_t)size_of(result, rows[i].row);
    struct broker_delivery *deliveries = malloc(size);
    if (!deliveries)
        return false;
    char *bytes = (char *)(deliveries + count);
    for (unsigned i = 0; i < count; i++) {
        struct receipt receipt = {rows[i].place, rows[i].seq, ask->nonce};
        fill(&deliveries[i], result, &rows[i], ask->nonce, &bytes);
        if (wait->consumer)
            consumer_charge(ask->receivers, wait->consumer, ask->at->queue->id, &receipt);
    }
    wait->block = deliveries;
    wait->receive->deliveries = deliveries;
    wait->receive->count = count;
    return true;
}

/* What nobody here waits for any more is ready again. */
static void give_back_rows(struct ask *ask, const struct row *rows, unsigned count) {
    struct receipt *receipts = count ? malloc(count * sizeof *receipts) : NULL;
    if (!receipts)
        return;
    for (unsigned i = 0; i < count; i++)
        receipts[i] = (struct receipt){rows[i].place, rows[i].seq, ask->nonce};
    receipts_give_back(ask->receivers->engine, ask->at->queue->id, rqueue_is_memory(ask->at),
                       receipts, count);
}

static void count_rows(struct ask *ask, const PGresult *result, const struct row *rows,
                       unsigned count) {
    struct broker_queue_stats *counted = &ask->at->queue->counted;
    for (unsigned i = 0; i < count; i++) {
        counted->delivered++;
        counted->redelivered += result_int8(result, rows[i].row, RECEIVE_ATTEMPT) > 1;
    }
    ask->at->queue->counters_changed = true;
    due_schedule(ask->receivers->engine->due, rqueue_is_memory(ask->at),
                 result_int8(result, rows[0].row, RECEIVE_DUE));
}

/* Whom the rows may go to, in the order they came; done with them in the same order. */
static unsigned collect(const struct ask *ask, struct wait **waits, struct share *shares) {
    unsigned count = 0;
    for (struct wait *wait = ask->at->first; wait && count < BROKER_BATCH_MAX; wait = wait->next)
        if (wait->lease_ms == ask->lease_ms) {
            waits[count] = wait;
            shares[count++] = (struct share){wait_limit(wait), wait->max_bytes, 0};
        }
    return count;
}

static void hand_out(struct ask *ask, const PGresult *result, const struct row *rows,
                     unsigned count) {
    struct wait *waits[BROKER_BATCH_MAX];
    struct share shares[BROKER_BATCH_MAX];
    uint64_t sizes[BROKER_BATCH_MAX];
    for (unsigned i = 0; i < count; i++)
        sizes[i] = size_of(result, rows[i].row);
    unsigned wait_count = collect(ask, waits, shares);
    unsigned dealt = receive_deal(sizes, count, shares, wait_count);
    unsigned at = 0;
    for (unsigned i = 0; i < wait_count; i++) {
        enum err err = OK;
        if (shares[i].count == 0)
            continue;
        if (!fill_receive(ask, waits[i], result, &rows[at], shares[i].count)) {
            err = ERR_OUT_OF_MEMORY;
            give_back_rows(ask, &rows[at], shares[i].count);
        }
        at += shares[i].count;
        wait_finish(ask->receivers, waits[i], err);
    }
    give_back_rows(ask, &rows[dealt], count - dealt);
}

/* ---- asking ---- */

enum came { CAME_FULL, CAME_SOME, CAME_NONE, CAME_FAILED };

/* Behind an answer: who still waits is asked for again, now or later. */
static void go_on(struct ask *ask, enum came came) {
    struct receivers *receivers = ask->receivers;
    struct rqueue *at = ask->at;
    bool now = at->again || came == CAME_FULL;
    for (const struct wait *wait = at->first; wait && !now; wait = wait->next)
        now = !wait->tried;
    at->asking = false;
    at->again = false;
    if (came <= CAME_SOME)
        at->backoff_ms = 0;
    if (at->first && now && came != CAME_FAILED)
        rqueue_want(at);
    else if (at->first)
        poll_behind_nothing(at);
    rqueue_settle(at);
    request_done(&ask->request);
    free(ask);
    pump(receivers);
}

/* The cache was stale: who is asked for is decided again. */
static void on_pulled(void *context, enum err err) {
    struct ask *ask = context;
    bool goes_on = !err && !ask->at->queue->options.paused;
    for (struct wait *wait = ask->at->first; goes_on && wait; wait = wait->next)
        wait->asked = false;
    if (!goes_on)
        waits_look(ask->receivers, ask->at, err != OK);
    go_on(ask, err ? CAME_FAILED : CAME_FULL);
}

static void on_answer(struct request *request) {
    struct ask *ask = request->context;
    struct receivers *receivers = ask->receivers;
    const PGresult *result = request->steps[0].result;
    unsigned count = 0;
    struct row *rows = NULL;
    receivers->in_flight--;
    if (request->outcome != OUTCOME_OK || result_rows(result) == 0 ||
        !(rows = sort_rows(result, &count))) {
        waits_look(receivers, ask->at, true);
        go_on(ask, CAME_FAILED);
        return;
    }
    int64_t version = result_int8(result, 0, RECEIVE_VERSION);
    if (version != ask->version) {
        free(rows);
        topology_note_version(receivers->engine->topology, version);
        topology_pull(receivers->engine->topology,
                      clock_steady_ms() + receivers->engine->options.timeout_ms, on_pulled, ask);
        return;
    }
    if (count) {
        count_rows(ask, result, rows, count);
        hand_out(ask, result, rows, count);
    }
    free(rows);
    waits_look(receivers, ask->at, false);
    go_on(ask, count == 0 ? CAME_NONE : count < ask->wanted ? CAME_SOME : CAME_FULL);
}

/* Those of the first lease time in line that were not asked for yet. */
static void choose(struct ask *ask, uint64_t *ret_bytes) {
    struct wait *first = ask->at->first;
    while (first && first->tried)
        first = first->next;
    first = first ? first : ask->at->first;
    uint64_t bytes = 0, wanted = 0;
    ask->lease_ms = first->lease_ms;
    for (struct wait *wait = ask->at->first; wait; wait = wait->next) {
        if (wait->lease_ms != ask->lease_ms || wanted >= BROKER_BATCH_MAX)
            continue;
        wait->asked = true;
        wanted += wait_limit(wait);
        bytes += wait->max_bytes ? wait->max_bytes : ASK_BYTES_MAX;
    }
    ask->wanted = wanted < BROKER_BATCH_MAX ? (unsigned)wanted : BROKER_BATCH_MAX;
    *ret_bytes = bytes < ASK_BYTES_MAX ? bytes : ASK_BYTES_MAX;
}

static void ask_for(struct receivers *receivers, struct rqueue *at) {
    struct engine *engine = receivers->engine;
    struct ask *ask = malloc(sizeof *ask);
    uint64_t bytes;
    if (!ask) {
        poll_behind_nothing(at);
        return;
    }
    request_init(&ask->request);
    ask->receivers = receivers;
    ask->at = at;
    ask->version = topology_version(engine->topology);
    hash_random(&ask->nonce, sizeof ask->nonce);
    ask->nonce |= 1; /* 0 is none */
    choose(ask, &bytes);
    struct params *params = request_add(&ask->request, SQL_RECEIVE, rqueue_is_memory(at));
    params_int8(params, at->queue->id);
    params_int8(params, ask->version);
    params_int8(params, ask->wanted);
    params_int8(params, ask->lease_ms);
    params_int8(params, ask->nonce);
    params_int8(params, (int64_t)bytes);
    ask->request.deadline_ms = clock_steady_ms() + engine->options.timeout_ms;
    ask->request.done = on_answer;
    ask->request.context = ask;
    at->asking = true;
    receivers->in_flight++;
    pool_send(engine->pool, &ask->request);
}

static void pump(struct receivers *receivers) {
    struct rqueue *at;
    while (receivers->in_flight < IN_FLIGHT_MAX && (at = receivers->first_ready)) {
        receivers->first_ready = at->next_ready;
        if (!receivers->first_ready)
            receivers->last_ready = &receivers->first_ready;
        at->is_ready = false;
        if (at->first && !at->queue->options.paused && !at->queue->gone)
            ask_for(receivers, at);
        else
            rqueue_settle(at);
    }
}

/* ---- polling ---- */

/* One look at many queues that were empty. */
struct poll {
    struct request request;
    struct receivers *receivers;
    bool memory;
    unsigned count;
    struct rqueue *queues[POLL_MAX];
};

static struct rqueue *find_polled(struct poll *poll, int64_t id) {
    for (unsigned i = 0; i < poll->count; i++)
        if (poll->queues[i]->queue->id == id)
            return poll->queues[i];
    return NULL;
}

static void on_polled(struct request *request) {
    struct poll *poll = request->context;
    const PGresult *result = request->steps[0].result;
    poll->receivers->polling[poll->memory ? KV_MEMORY : KV_HDD] = false;
    for (int i = 0; i < result_rows(result); i++) {
        struct rqueue *at = find_polled(poll, result_int8(result, i, 0));
        if (at && at->first)
            rqueue_want(at);
    }
    for (unsigned i = 0; i < poll->count; i++) {
        struct rqueue *at = poll->queues[i];
        at->is_polled = false;
        if (at->first && !at->asking && !at->is_ready && !at->poll_index)
            poll_behind_nothing(at);
        rqueue_settle(at);
    }
    request_done(&poll->request);
    free(poll);
}

static void send_poll(struct receivers *receivers, struct poll *poll, bool memory) {
    struct params *params = request_add(&poll->request, SQL_READY_OF, memory);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < poll->count; i++)
        params_add_int8(params, poll->queues[i]->queue->id);
    params_array_end(params);
    poll->memory = memory;
    poll->receivers = receivers;
    poll->request.deadline_ms = clock_steady_ms() + receivers->engine->options.timeout_ms;
    poll->request.done = on_polled;
    poll->request.context = poll;
    receivers->polling[memory ? KV_MEMORY : KV_HDD] = true;
    pool_send(receivers->engine->pool, &poll->request);
}

/* Who came after the last look is asked for; of the others many are looked at together. */
static void poll_one(struct receivers *receivers, struct rqueue *at, struct poll **polls) {
    int storage = rqueue_is_memory(at) ? KV_MEMORY : KV_HDD;
    struct poll **poll = &polls[storage];
    bool has_new = false;
    for (const struct wait *wait = at->first; wait && !has_new; wait = wait->next)
        has_new = !wait->tried;
    if (has_new) {
        rqueue_want(at);
        return;
    }
    if (!at->first || at->asking || at->is_polled || at->queue->options.paused)
        return;
    if (!receivers->polling[storage] && !*poll) {
        *poll = malloc(sizeof **poll);
        if (*poll) {
            request_init(&(*poll)->request);
            (*poll)->count = 0;
        }
    }
    if (!*poll || (*poll)->count == POLL_MAX) {
        rqueue_poll_later(at, POLL_MIN_MS);
        return;
    }
    at->is_polled = true;
    (*poll)->queues[(*poll)->count++] = at;
}

/* Soon enough to come along with a look that is about to go out: those that met once stay together,
 * so that a node's idle queues cost it a look a second and not one each. */
static bool comes_along(const struct rqueue *at, struct poll *const *polls, int64_t now_ms) {
    const struct poll *poll = polls[rqueue_is_memory(at) ? KV_MEMORY : KV_HDD];
    return poll && poll->count < POLL_MAX && at->poll_ms <= now_ms + at->backoff_ms / 4;
}

void receivers_poll(struct receivers *receivers, int64_t now_ms) {
    struct poll *polls[KV_STORAGES] = {NULL};
    struct rqueue *at;
    while ((at = heap_top(&receivers->polls)) &&
           (at->poll_ms <= now_ms || comes_along(at, polls, now_ms))) {
        heap_remove(&receivers->polls, at);
        poll_one(receivers, at, polls);
    }
    for (int storage = 0; storage < KV_STORAGES; storage++)
        if (polls[storage])
            send_poll(receivers, polls[storage], storage == KV_MEMORY);
}

/* ---- giving back ---- */

struct giving {
    struct request request;
    struct engine *engine;
    int64_t queue_id;
    bool memory;
    unsigned count, tries;
    struct receipt *receipts;
    struct later later;
};

static void give(void *context);

static void giving_free(struct giving *giving) {
    free(giving->receipts);
    free(giving);
}

static void on_given(struct request *request) {
    struct giving *giving = request->context;
    struct engine *engine = giving->engine;
    const PGresult *result = request->steps[0].result;
    bool again =
        request->outcome != OUTCOME_OK && !engine->stopping && giving->tries < GIVE_BACK_TRIES;
    struct tqueue *queue = topology_find_queue_id(engine->topology, giving->queue_id);
    for (int i = 0; queue && i < result_rows(result); i++) {
        queue->counted.delivered--;
        queue->counted.redelivered -= result_int8(result, i, 0) > 0;
        queue->counters_changed = true;
    }
    request_done(request);
    if (again) {
        engine_later(engine, &giving->later, engine_backoff_ms(giving->tries), give, giving);
        return;
    }
    if (queue) {
        receivers_wake(engine->receivers, queue);
        node_poke_others(engine->node, queue->id);
    }
    giving_free(giving);
}

static void add_receipts(struct params *params, const struct giving *giving) {
    params_int8(params, giving->queue_id);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < giving->count; i++)
        params_add_int8(params, giving->receipts[i].place);
    params_array_end(params);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < giving->count; i++)
        params_add_int8(params, giving->receipts[i].seq);
    params_array_end(params);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < giving->count; i++)
        params_add_int8(params, giving->receipts[i].lease);
    params_array_end(params);
}

static void give(void *context) {
    struct giving *giving = context;
    struct engine *engine = giving->engine;
    giving->tries++;
    request_init(&giving->request);
    add_receipts(request_add(&giving->request, SQL_GIVE_BACK, giving->memory), giving);
    giving->request.deadline_ms = clock_steady_ms() + engine->options.timeout_ms;
    giving->request.done = on_given;
    giving->request.context = giving;
    pool_send(engine->pool, &giving->request);
}

void receipts_give_back(struct engine *engine, int64_t queue_id, bool memory,
                        struct receipt *receipts, unsigned count) {
    struct giving *giving = count ? malloc(sizeof *giving) : NULL;
    for (unsigned i = 0; i < count; i++)
        consumers_credit(engine->receivers, queue_id, &receipts[i]);
    if (!giving) { /* the leases end in time */
        free(receipts);
        return;
    }
    giving->engine = engine;
    giving->queue_id = queue_id;
    giving->memory = memory;
    giving->count = count;
    giving->tries = 0;
    giving->receipts = receipts;
    give(giving);
}
