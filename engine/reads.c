/* SPDX-License-Identifier: MIT */
/* Reads: those that wait together are one statement; listings and counts go by themselves. A read
 * with a causal context asks a replica first, where there are any:
 *
 *   has it replayed that far? ──yes──> its answer          within REPLICA_WAIT_MS, else
 *              └──no──> again in a moment ────────────────────> the primary
 */
#include <string.h>

#include "engine/internal.h"
#include "engine/keyspace.h"

#define FLIGHTS_MAX 3U /* statements of reads at a time */
#define KEYS_MAX 1024U /* of one statement */
#define REPLICA_WAIT_MS 50
#define REPLICA_AGAIN_MS 2

struct flight {
    struct reads *reads;
    struct work_list works; /* of one storage */
    struct request request;
    bool memory;
    bool on_replica;
    int64_t give_up_ms; /* on the replica */
    unsigned position_step;
    unsigned attempt;
    struct later later;
};

struct reads {
    struct engine *engine;
    struct work_list waiting[KV_STORAGES];
    struct work_list causal; /* replicas may answer them */
    unsigned flights;
};

struct reads *reads_new(struct engine *engine) {
    struct reads *reads = calloc(1, sizeof *reads);
    if (!reads)
        return NULL;
    reads->engine = engine;
    work_list_init(&reads->waiting[KV_MEMORY]);
    work_list_init(&reads->waiting[KV_HDD]);
    work_list_init(&reads->causal);
    return reads;
}

void reads_free(struct reads *reads) {
    free(reads);
}

/* ---- ends ---- */

static void end_read(struct work *work, enum err err) {
    struct kv_read *read = work->read;
    read->err = err;
    read->done(read);
    free(work);
}

static void go_on(struct reads *reads);

static void end_flight(struct flight *flight, enum err err) {
    struct reads *reads = flight->reads;
    struct work *work;
    while ((work = work_list_take(&flight->works)))
        end_read(work, err);
    request_done(&flight->request);
    free(flight);
    reads->flights--;
    go_on(reads);
}

/* Whose read finds no memory shows when each is alone. */
static void starve(struct flight *flight) {
    struct reads *reads = flight->reads;
    if (!flight->works.first || !flight->works.first->next) {
        end_flight(flight, ERR_OUT_OF_MEMORY);
        return;
    }
    for (struct work *work = flight->works.first; work; work = work->next)
        work->alone = true;
    work_list_put_back(&reads->waiting[flight->memory ? KV_MEMORY : KV_HDD], &flight->works);
    end_flight(flight, OK);
}

/* ---- one flight ---- */

static enum err take_entry(struct kv_read *read, struct kv_entry *entry, const PGresult *result,
                           int row) {
    int64_t left_ms = result_int8(result, row, 2);
    *entry = (struct kv_entry){.revision = (uint64_t)result_int8(result, row, 1),
                               .expires_at_ms = left_ms ? read->now_ms + left_ms : 0};
    struct slice value = result_bytes(result, row, 3);
    if (read->want & KV_WANT_ETAG)
        hash_md5(value, entry->etag);
    if (read->want & KV_WANT_VALUE) {
        entry->value = arena_copy(read->arena, value);
        if (!entry->value.ptr)
            return ERR_OUT_OF_MEMORY;
    }
    if (read->want & KV_WANT_TYPE) {
        entry->content_type = arena_copy(read->arena, result_bytes(result, row, 4));
        if (!entry->content_type.ptr)
            return ERR_OUT_OF_MEMORY;
    }
    return OK;
}

/* rows: by the number of the key, -1 where there is none. */
static enum err take_entries(struct kv_read *read, const PGresult *result, const int *rows) {
    struct kv_entry *room = arena_alloc(read->arena, sizeof *room * read->key_count);
    read->entries = arena_alloc(read->arena, sizeof(struct kv_entry *) * read->key_count);
    if (!room || !read->entries)
        return ERR_OUT_OF_MEMORY;
    for (unsigned i = 0; i < read->key_count; i++) {
        read->entries[i] = NULL;
        if (rows[i] < 0)
            continue;
        enum err err = take_entry(read, &room[i], result, rows[i]);
        if (err)
            return err;
        read->entries[i] = &room[i];
    }
    return OK;
}

static unsigned key_count(const struct flight *flight) {
    unsigned count = 0;
    for (const struct work *work = flight->works.first; work; work = work->next)
        count += work->read->key_count;
    return count;
}

static unsigned read_step(const struct flight *flight) {
    return flight->on_replica ? 1 : 0;
}

/* The state that a context has seen and this database has not is lost (a failover without a
 * synchronous standby), or was never its own. */
static enum err check_position(const struct flight *flight, struct position *position) {
    struct engine *engine = flight->reads->engine;
    if (!position || !flight->position_step)
        return OK;
    engine_put_position(engine, &flight->request, flight->position_step, position);
    if (flight->on_replica || engine_position_holds(engine, position))
        return OK;
    position->reached_len = 0;
    return ERR_UNAVAILABLE;
}

static void answer_all(struct flight *flight) {
    const PGresult *result = flight->request.steps[read_step(flight)].result;
    unsigned count = key_count(flight);
    int *rows = malloc(sizeof *rows * (count + 1));
    if (!rows) {
        starve(flight);
        return;
    }
    for (unsigned i = 0; i < count; i++)
        rows[i] = -1;
    for (int row = 0; row < result_rows(result); row++) {
        int64_t index = result_int8(result, row, 0);
        if (index >= 0 && index < count)
            rows[index] = row;
    }
    unsigned at = 0;
    struct work *work;
    while ((work = work_list_take(&flight->works))) {
        enum err err = take_entries(work->read, result, rows + at);
        at += work->read->key_count;
        if (!err)
            err = check_position(flight, work->read->position);
        end_read(work, err);
    }
    free(rows);
    end_flight(flight, OK);
}

static void send_flight(struct flight *flight);

static void end_late(struct work_list *list, int64_t now_ms) {
    struct work_list late;
    struct work *work;
    work_list_init(&late);
    work_list_take_late(list, now_ms, &late);
    while ((work = work_list_take(&late)))
        end_read(work, ERR_UNAVAILABLE);
}

static void again(void *context) {
    struct flight *flight = context;
    end_late(&flight->works, clock_steady_ms());
    if (flight->works.first)
        send_flight(flight);
    else
        end_flight(flight, OK);
}

static void on_read(struct request *request) {
    struct flight *flight = request->context;
    bool transient = request->outcome != OUTCOME_REFUSED || engine_is_transient(request->sqlstate);
    enum err err = request->outcome == OUTCOME_OK ? OK : engine_err_of(request, false);
    if (!err)
        answer_all(flight);
    else if (err == ERR_OUT_OF_MEMORY)
        starve(flight);
    else if (!transient)
        end_flight(flight, err);
    else
        engine_later(flight->reads->engine, &flight->later, engine_backoff_ms(++flight->attempt),
                     again, flight);
}

static void on_replica(struct request *request) {
    struct flight *flight = request->context;
    struct engine *engine = flight->reads->engine;
    int64_t replayed =
        request->outcome == OUTCOME_OK ? result_int8(request->steps[0].result, 0, 0) : -1;
    if (replayed >= 0 &&
        engine_replica_has(engine, replayed, flight->works.first->read->position)) {
        answer_all(flight);
        return;
    }
    if (replayed < 0 || clock_steady_ms() + REPLICA_AGAIN_MS >= flight->give_up_ms) {
        flight->on_replica = false;
        send_flight(flight);
    } else {
        engine_later(engine, &flight->later, REPLICA_AGAIN_MS, again, flight);
    }
}

static void add_keys(struct params *params, struct flight *flight) {
    char room[KEY_STORED_MAX];
    params_array(params, PARAMS_UUID);
    for (struct work *work = flight->works.first; work; work = work->next)
        for (unsigned i = 0; i < work->read->key_count; i++)
            params_add_uuid(params, &work->read->workspace);
    params_array_end(params);
    params_array(params, PARAMS_BYTEA);
    for (struct work *work = flight->works.first; work; work = work->next)
        for (unsigned i = 0; i < work->read->key_count; i++)
            params_add_bytea(params, work->read->ns);
    params_array_end(params);
    params_array(params, PARAMS_BYTEA);
    for (struct work *work = flight->works.first; work; work = work->next)
        for (unsigned i = 0; i < work->read->key_count; i++)
            params_add_bytea(params, key_stored(work->read->keys[i], room));
    params_array_end(params);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0, count = key_count(flight); i < count; i++)
        params_add_int8(params, i);
    params_array_end(params);
}

static bool add_position(struct flight *flight) {
    for (struct work *work = flight->works.first; work; work = work->next) {
        const struct position *position = work->read->position;
        if (position && engine_ask_position(flight->reads->engine, &flight->request, position))
            return true;
    }
    return false;
}

static void send_flight(struct flight *flight) {
    struct engine *engine = flight->reads->engine;
    struct request *request = &flight->request;
    request_done(request);
    request_init(request);
    if (flight->on_replica)
        request_add(request, SQL_REPLAY_POSITION, false);
    add_keys(request_add(request, SQL_KEYS_READ, flight->memory), flight);
    flight->position_step = request->step_count;
    if (flight->on_replica)
        request_add(request, SQL_REPLAY_POSITION, false);
    else if (!add_position(flight))
        flight->position_step = 0;
    request->deadline_ms = flight->on_replica
                               ? flight->give_up_ms
                               : work_list_answer_by(&flight->works, clock_steady_ms());
    request->done = flight->on_replica ? on_replica : on_read;
    request->context = flight;
    pool_send(flight->on_replica ? engine->replicas : engine->pool, request);
}

/* ---- gathering ---- */

static struct flight *flight_new(struct reads *reads, bool memory) {
    struct flight *flight = calloc(1, sizeof *flight);
    if (!flight)
        return NULL;
    flight->reads = reads;
    flight->memory = memory;
    work_list_init(&flight->works);
    request_init(&flight->request);
    reads->flights++;
    return flight;
}

static void start_flight(struct reads *reads, struct work_list *waiting, bool memory) {
    struct flight *flight = flight_new(reads, memory);
    if (!flight) {
        end_read(work_list_take(waiting), ERR_OUT_OF_MEMORY);
        return;
    }
    for (unsigned count = 0; waiting->first;) {
        const struct work *first = flight->works.first;
        count += waiting->first->read->key_count;
        if (first && (first->alone || waiting->first->alone || count > KEYS_MAX))
            break;
        work_list_add(&flight->works, work_list_take(waiting));
    }
    send_flight(flight);
}

static void start_on_replica(struct reads *reads) {
    struct flight *flight = flight_new(reads, false);
    if (!flight) {
        end_read(work_list_take(&reads->causal), ERR_OUT_OF_MEMORY);
        return;
    }
    work_list_add(&flight->works, work_list_take(&reads->causal));
    flight->on_replica = true;
    flight->give_up_ms = clock_steady_ms() + REPLICA_WAIT_MS;
    send_flight(flight);
}

static void go_on(struct reads *reads) {
    while (reads->causal.first && reads->flights < 2 * FLIGHTS_MAX)
        start_on_replica(reads);
    for (unsigned storage = 0; storage < KV_STORAGES; storage++)
        while (reads->waiting[storage].first && reads->flights < FLIGHTS_MAX)
            start_flight(reads, &reads->waiting[storage], storage == KV_MEMORY);
}

/* ---- listings and counts ---- */

struct single {
    struct engine *engine;
    struct work *work;
    struct request request;
    unsigned attempt;
    unsigned position_step;
    struct later later;
    char rooms[2][KV_KEY_MAX];
};

static void send_single(struct single *single);

static void end_of_work(struct work *work, enum err err) {
    if (work->kind == WORK_LIST) {
        work->list->err = err;
        work->list->done(work->list);
    } else {
        work->count->err = err;
        work->count->done(work->count);
    }
    free(work);
}

static void end_single(struct single *single, enum err err) {
    end_of_work(single->work, err);
    request_done(&single->request);
    free(single);
}

/* Both results are in order: merged, each key once. */
static enum err take_page(struct kv_list *list, const PGresult *plain, const PGresult *longer) {
    int rows = result_rows(plain), long_rows = result_rows(longer);
    list->keys = arena_alloc(list->arena, sizeof(struct slice) * (list->limit + 1U));
    if (!list->keys)
        return ERR_OUT_OF_MEMORY;
    list->key_count = 0;
    list->more = false;
    for (int at = 0, long_at = 0; at < rows || long_at < long_rows;) {
        struct slice one = at < rows ? result_bytes(plain, at, 0) : (struct slice){NULL, 0};
        struct slice other =
            long_at < long_rows ? result_bytes(longer, long_at, 0) : (struct slice){NULL, 0};
        bool take_other = !one.ptr || (other.ptr && slice_compare(other, one) < 0);
        if (list->key_count == list->limit) {
            list->more = true;
            return OK;
        }
        struct slice copy = arena_copy(list->arena, take_other ? other : one);
        if (!copy.ptr)
            return ERR_OUT_OF_MEMORY;
        list->keys[list->key_count++] = copy;
        long_at += take_other;
        at += !take_other;
    }
    return OK;
}

static void again_single(void *context) {
    send_single(context);
}

static enum err take_single(struct single *single) {
    const struct request *request = &single->request;
    struct work *work = single->work;
    if (work->kind == WORK_COUNT) {
        work->count->keys = (uint64_t)result_int8(request->steps[0].result, 0, 0);
        return OK;
    }
    struct position *position = work->list->position;
    if (position && single->position_step) {
        engine_put_position(single->engine, request, single->position_step, position);
        if (!engine_position_holds(single->engine, position)) {
            position->reached_len = 0;
            return ERR_UNAVAILABLE;
        }
    }
    return take_page(work->list, request->steps[0].result, request->steps[1].result);
}

static void on_single(struct request *request) {
    struct single *single = request->context;
    bool transient = request->outcome != OUTCOME_REFUSED || engine_is_transient(request->sqlstate);
    if (request->outcome == OUTCOME_OK)
        end_single(single, take_single(single));
    else if (!transient || clock_steady_ms() >= single->work->deadline_ms)
        end_single(single, engine_err_of(request, false));
    else
        engine_later(single->engine, &single->later, engine_backoff_ms(++single->attempt),
                     again_single, single);
}

static struct slice first_bytes(struct slice bytes, size_t most) {
    return slice_make(bytes.ptr, bytes.len < most ? bytes.len : most);
}

/* Keys from `from` (prefix, or behind the cursor) up to `to`. */
static void add_list(struct single *single, const struct kv_list *list) {
    struct request *request = &single->request;
    bool memory = list->storage == KV_MEMORY;
    struct slice stored_prefix = first_bytes(list->prefix, KEY_PREFIX);
    struct slice stored_to = key_behind_prefix(stored_prefix, single->rooms[0]);
    struct slice whole_to = key_behind_prefix(list->prefix, single->rooms[1]);
    int64_t most = (int64_t)list->limit + 1;
    struct params *params = request_add(request, SQL_KEYS_LIST, memory);
    params_uuid(params, &list->workspace);
    params_bytea(params, list->ns);
    params_bytea(params, list->prefix);
    params_bytea(params, list->after);
    params_bytea(params, whole_to);
    params_int8(params, most);
    params = request_add(request, SQL_KEYS_LIST_LONG, memory);
    params_uuid(params, &list->workspace);
    params_bytea(params, list->ns);
    params_bytea(params, slice_compare(list->after, list->prefix) > 0
                             ? first_bytes(list->after, KEY_PREFIX)
                             : stored_prefix);
    params_bytea(params, stored_to);
    params_bytea(params, list->prefix);
    params_bytea(params, list->after);
    params_bytea(params, whole_to);
    params_int8(params, most);
}

static void send_single(struct single *single) {
    struct request *request = &single->request;
    const struct work *work = single->work;
    request_done(request);
    request_init(request);
    single->position_step = 0;
    if (work->kind == WORK_COUNT) {
        request_add(request, SQL_KEYS_COUNT, work->count->storage == KV_MEMORY);
    } else {
        add_list(single, work->list);
        single->position_step = request->step_count;
        if (!work->list->position ||
            !engine_ask_position(single->engine, request, work->list->position))
            single->position_step = 0;
    }
    request->deadline_ms = work->deadline_ms;
    request->done = on_single;
    request->context = single;
    pool_send(single->engine->pool, request);
}

static void run_single(struct engine *engine, struct work *work) {
    struct single *single = calloc(1, sizeof *single);
    if (!single) {
        end_of_work(work, ERR_OUT_OF_MEMORY);
        return;
    }
    single->engine = engine;
    single->work = work;
    request_init(&single->request);
    send_single(single);
}

/* ---- taking ---- */

void reads_take(struct reads *reads, struct work *work) {
    struct engine *engine = reads->engine;
    if (work->kind != WORK_READ) {
        run_single(engine, work);
        return;
    }
    const struct kv_read *read = work->read;
    bool causal = engine->replicas && read->storage == KV_HDD && read->position &&
                  read->position->want.len > 0;
    work_list_add(causal ? &reads->causal : &reads->waiting[read->storage], work);
}

/* Behind the mailbox: what came together goes together. */
void reads_tick(struct reads *reads, int64_t now_ms) {
    struct work_list *lists[] = {&reads->waiting[KV_MEMORY], &reads->waiting[KV_HDD],
                                 &reads->causal};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (lists[i]->first && lists[i]->first->deadline_ms <= now_ms)
            end_late(lists[i], now_ms);
    go_on(reads);
}
