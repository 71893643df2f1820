/* SPDX-License-Identifier: MIT */
/* The loop and its mailbox; opening and closing. */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "engine/receive.h"
#include "engine/topology.h"
#include "engine/txn.h"

#define TICK_MS 10
#define CONNECT_MS 3000
#define STOP_MS                                                                                    \
    4000 /* behind the last call's deadline: what became of its commit is asked then               \
          */
#define BACKOFF_FIRST_MS 5
#define BACKOFF_MAX_MS 200
#define ATTEMPT_MS 500 /* with what is nearly late, too: else a busy database answered nothing */

/* ---- errors ---- */

static bool is_one_of(const char sqlstate[6], const char *list) {
    return sqlstate[0] && strstr(list, sqlstate) != NULL;
}

bool engine_is_transient(const char sqlstate[6]) {
    return is_one_of(sqlstate, "40001 40P01 40003 23505 55P03 26000 42P05 0A000 57P03 53300 25006"
                               " 25P03 25P02 57014 CR000");
}

enum err engine_err_of(const struct request *request, bool is_write) {
    if (request->outcome == OUTCOME_LOST)
        return is_write ? ERR_TIMEOUT : ERR_UNAVAILABLE;
    if (request->outcome != OUTCOME_REFUSED)
        return ERR_UNAVAILABLE;
    if (!strcmp(request->sqlstate, "53100"))
        return ERR_STORAGE_FULL;
    if (!strcmp(request->sqlstate, "53200"))
        return ERR_OUT_OF_MEMORY;
    return ERR_UNAVAILABLE;
}

int64_t engine_backoff_ms(unsigned attempt) {
    int64_t most = BACKOFF_FIRST_MS;
    uint32_t random;
    for (unsigned i = 1; i < attempt && most < BACKOFF_MAX_MS; i++)
        most *= 2;
    hash_random(&random, sizeof random);
    return 1 + random % (most < BACKOFF_MAX_MS ? most : BACKOFF_MAX_MS);
}

/* ---- works ---- */

void work_list_take_late(struct work_list *list, int64_t now_ms, struct work_list *ret_late) {
    struct work **at = &list->first;
    while (*at) {
        struct work *work = *at;
        if (work->deadline_ms > now_ms) {
            at = &work->next;
            continue;
        }
        *at = work->next;
        work_list_add(ret_late, work);
    }
    list->last = at;
}

int64_t work_list_answer_by(const struct work_list *list, int64_t now_ms) {
    int64_t soonest_ms = INT64_MAX, last_ms = 0;
    for (const struct work *work = list->first; work; work = work->next) {
        soonest_ms = work->deadline_ms < soonest_ms ? work->deadline_ms : soonest_ms;
        last_ms = work->deadline_ms > last_ms ? work->deadline_ms : last_ms;
    }
    if (soonest_ms < now_ms + ATTEMPT_MS)
        soonest_ms = now_ms + ATTEMPT_MS;
    return soonest_ms < last_ms ? soonest_ms : last_ms;
}

/* ---- the mailbox ---- */

int64_t engine_now_ms(const struct engine *engine) {
    return clock_wall_ms() + atomic_load(&engine->clock_offset_ms);
}

enum err engine_post_work(struct engine *engine, struct work *work, enum work_kind kind,
                          void *item) {
    work->kind = kind;
    work->any = item;
    work->deadline_ms = clock_steady_ms() + engine->options.timeout_ms;
    pthread_mutex_lock(&engine->lock);
    bool closed = engine->closed;
    bool first = !engine->mailbox.first;
    if (!closed)
        work_list_add(&engine->mailbox, work);
    pthread_mutex_unlock(&engine->lock);
    if (!closed && first)
        uv_async_send(&engine->mail);
    return closed ? ERR_UNAVAILABLE : ERR_PENDING;
}

enum err engine_post(struct engine *engine, enum work_kind kind, void *item) {
    struct work *work = calloc(1, sizeof *work);
    enum err err = work ? engine_post_work(engine, work, kind, item) : ERR_OUT_OF_MEMORY;
    if (err != ERR_PENDING)
        free(work);
    return err;
}

static bool is_of_memory(struct engine *engine, const struct work *work) {
    if (work->kind == WORK_KEYS)
        return work->keys->ops[0].ref.storage == KV_MEMORY;
    if (work->kind == WORK_BATCH)
        return false;
    for (unsigned i = 0; i < work->messages->op_count; i++)
        if (work->messages->ops[i].action <= BROKER_PAUSE ||
            !txn_messages_is_memory(engine, &work->messages->ops[i]))
            return false;
    return true;
}

static void free_poke(struct work *work) {
    free(work->any);
    free(work);
}

static void take_poke(struct engine *engine, int64_t id) {
    if (id == POKE_TOPOLOGY) {
        topology_look_soon(engine->topology);
        return;
    }
    struct tqueue *queue = topology_find_queue_id(engine->topology, id);
    if (queue)
        receivers_wake(engine->receivers, queue);
}

static void dispatch(struct engine *engine, struct work *work) {
    switch (work->kind) {
    case WORK_READ:
    case WORK_LIST:
    case WORK_COUNT:
        reads_take(engine->reads, work);
        break;
    case WORK_KEYS:
    case WORK_MESSAGES:
    case WORK_BATCH:
        writer_take(engine->writers[is_of_memory(engine, work) ? KV_MEMORY : KV_HDD], work);
        break;
    case WORK_JOB:
        writer_take(engine->writers[work->job->memory ? KV_MEMORY : KV_HDD], work);
        break;
    case WORK_RECEIVE:
    case WORK_STOP:
    case WORK_GIVE_BACK:
    case WORK_CONSUMER_CLOSE:
        receivers_take(engine->receivers, work);
        break;
    case WORK_QUERY:
        query_run(engine, work);
        break;
    case WORK_GATE:
        position_run_gate(engine, work);
        break;
    case WORK_REPORT:
        node_report(engine->node, work);
        break;
    case WORK_POKE:
        take_poke(engine, *(int64_t *)work->any);
        free_poke(work);
        break;
    }
}

static void begin_closing(struct engine *engine);

static void on_mail(uv_async_t *mail) {
    struct engine *engine = mail->data;
    struct work_list list;
    struct work *work;
    work_list_init(&list);
    pthread_mutex_lock(&engine->lock);
    if (engine->mailbox.first) {
        list = engine->mailbox;
        work_list_init(&engine->mailbox);
    }
    bool closed = engine->closed;
    pthread_mutex_unlock(&engine->lock);
    while ((work = work_list_take(&list)))
        dispatch(engine, work);
    if (atomic_load(&engine->draining) && !engine->drained) {
        engine->drained = true;
        receivers_drain(engine->receivers);
    }
    int64_t now_ms = clock_steady_ms();
    reads_tick(engine->reads, now_ms);
    for (unsigned storage = 0; storage < KV_STORAGES; storage++)
        writer_tick(engine->writers[storage], now_ms);
    if (closed)
        begin_closing(engine);
}

/* ---- time ---- */

static void on_tick(uv_timer_t *ticker) {
    struct engine *engine = ticker->data;
    int64_t now_ms = clock_steady_ms();
    atomic_store(&engine->ready, pool_is_up(engine->pool) &&
                                     topology_version(engine->topology) >= 0 &&
                                     due_is_settled(engine->due));
    for (unsigned storage = 0; storage < KV_STORAGES; storage++)
        writer_tick(engine->writers[storage], now_ms);
    reads_tick(engine->reads, now_ms);
    topology_tick(engine->topology, now_ms);
    receivers_tick(engine->receivers, now_ms);
    due_tick(engine->due, now_ms);
    node_tick(engine->node, now_ms);
    if (engine->stopping)
        begin_closing(engine);
}

/* ---- closing: works end, the node leaves, connections end, then the loop has nothing left ---- */

static void pool_is_closed(void *context) {
    struct engine *engine = context;
    if (--engine->pools == 0)
        uv_stop(&engine->loop);
}

static void close_pools(struct engine *engine) {
    uv_timer_stop(&engine->ticker);
    engine->pools = engine->replicas ? 2 : 1;
    if (engine->replicas)
        pool_close(engine->replicas, pool_is_closed, engine);
    pool_close(engine->pool, pool_is_closed, engine);
}

static bool is_idle(const struct engine *engine) {
    return writer_is_idle(engine->writers[KV_MEMORY]) && writer_is_idle(engine->writers[KV_HDD]);
}

static void begin_closing(struct engine *engine) {
    if (!engine->stopping) {
        engine->stopping = true;
        engine->stop_by_ms = clock_steady_ms() + engine->options.timeout_ms + STOP_MS;
        receivers_drain(engine->receivers);
    }
    if (engine->leaving || (!is_idle(engine) && clock_steady_ms() < engine->stop_by_ms))
        return;
    engine->leaving = true;
    node_leave(engine->node, close_pools);
}

static void *run_loop(void *context) {
    struct engine *engine = context;
    uv_run(&engine->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- the fronts: any thread ---- */

static enum err front_read(void *context, struct kv_read *read) {
    enum err err = engine_post(context, WORK_READ, read);
    return err == ERR_PENDING ? err : (read->err = err);
}

static enum err front_submit(void *context, struct kv_write *write) {
    enum err err = engine_post(context, WORK_KEYS, write);
    for (unsigned i = 0; err != ERR_PENDING && i < write->op_count; i++)
        write->ops[i].err = err;
    return err == ERR_PENDING ? err : (write->err = err);
}

static enum err front_list(void *context, struct kv_list *list) {
    return engine_post(context, WORK_LIST, list);
}

static enum err front_count(void *context, struct kv_count *count) {
    return engine_post(context, WORK_COUNT, count);
}

/* engine_ask_report tells. */
static void front_stats(void *context, enum kv_storage storage, struct kv_stats *ret_stats) {
    (void)context, (void)storage;
    *ret_stats = (struct kv_stats){0};
}

static bool front_is_ready(void *context) {
    return atomic_load(&((struct engine *)context)->ready);
}

static enum err front_messages(void *context, struct broker_write *write) {
    if (write->at_once)
        return ERR_WOULD_WAIT;
    enum err err = engine_post(context, WORK_MESSAGES, write);
    for (unsigned i = 0; err != ERR_PENDING && i < write->op_count; i++)
        write->ops[i].err = err; /* each is answered by its own */
    return err == ERR_PENDING ? err : (write->err = err);
}

static enum err front_ask(void *context, struct broker_query *query) {
    enum err err = engine_post(context, WORK_QUERY, query);
    return err == ERR_PENDING ? err : (query->err = err);
}

static void front_drain(void *context) {
    struct engine *engine = context;
    atomic_store(&engine->draining, true);
    uv_async_send(&engine->mail);
}

static void front_broker_stats(void *context, struct broker_stats *ret_stats) {
    (void)context;
    *ret_stats = (struct broker_stats){0};
}

const struct kv_remote *engine_kv(struct engine *engine) {
    return &engine->kv;
}

const struct broker_remote *engine_broker(struct engine *engine) {
    return &engine->broker;
}

void engine_submit_batch(struct engine *engine, struct engine_batch *batch) {
    enum err err = engine_post(engine, WORK_BATCH, batch);
    if (err == ERR_PENDING)
        return;
    batch->err = err;
    batch->failed_index = batch->count;
    batch->done(batch);
}

enum err engine_ask_report(struct engine *engine, struct engine_report *report) {
    enum err err = engine_post(engine, WORK_REPORT, report);
    return err == ERR_PENDING ? err : (report->err = err);
}

void engine_figures(struct engine *engine, struct engine_figures *ret_figures) {
    struct pool_figures pool;
    pool_figures(engine->pool, &pool);
    *ret_figures = (struct engine_figures){
        .connecting = pool.connecting,
        .idle = pool.idle,
        .busy = pool.busy,
        .waiting = pool.waiting,
        .in_flight = atomic_load_explicit(&engine->in_flight, memory_order_relaxed),
        .transactions = atomic_load_explicit(&engine->transactions, memory_order_relaxed),
        .retries = atomic_load_explicit(&engine->retries, memory_order_relaxed),
    };
}

void engine_poke(struct engine *engine, struct slice queue_id_text) {
    int64_t id;
    if (!slice_parse_i64(queue_id_text, &id))
        return;
    int64_t *item = malloc(sizeof *item);
    if (!item)
        return;
    *item = id;
    if (engine_post(engine, WORK_POKE, item) != ERR_PENDING)
        free(item);
}

/* ---- opening ---- */

void engine_fill_fronts(struct engine *engine) {
    engine->kv = (struct kv_remote){
        .context = engine,
        .read = front_read,
        .submit = front_submit,
        .list = front_list,
        .count = front_count,
        .stats = front_stats,
        .is_ready = front_is_ready,
    };
    engine->broker = (struct broker_remote){
        .context = engine,
        .submit = front_messages,
        .receive = receivers_receive,
        .receive_stop = receivers_receive_stop,
        .give_back = receivers_give_back,
        .receive_free = receivers_receive_free,
        .consumer_open = receivers_consumer_open,
        .consumer_close = receivers_consumer_close,
        .ask = front_ask,
        .drain = front_drain,
        .stats = front_broker_stats,
        .is_ready = front_is_ready,
    };
}

static bool copy_options(struct engine *engine, const struct engine_options *options) {
    engine->options = *options;
    engine->url = strdup(options->url);
    engine->read_url = options->read_url ? strdup(options->read_url) : NULL;
    engine->schema = strdup(options->schema);
    engine->advertise = strdup(options->advertise ? options->advertise : "");
    engine->options.url = engine->url;
    engine->options.read_url = engine->read_url;
    engine->options.schema = engine->schema;
    engine->options.advertise = engine->advertise;
    return engine->url && engine->schema && engine->advertise &&
           (!options->read_url || engine->read_url);
}

static enum err open_pools(struct engine *engine, char *ret_why, size_t why_bytes) {
    const struct engine_options *options = &engine->options;
    struct pool_options pool = {
        .loop = &engine->loop,
        .url = options->url,
        .book = &engine->book,
        .connections = options->connections,
        .prepare = options->prepare != ENGINE_PREPARE_OFF,
        .may_fall_back = options->prepare == ENGINE_PREPARE_AUTO,
        .name = "hati",
        .connect_timeout_ms = CONNECT_MS,
    };
    enum err err = pool_open(&pool, &engine->pool, ret_why, why_bytes);
    if (err || !options->read_url)
        return err;
    pool.url = options->read_url;
    pool.read_only = true;
    return pool_open(&pool, &engine->replicas, ret_why, why_bytes);
}

static bool make_parts(struct engine *engine) {
    engine->reads = reads_new(engine);
    engine->writers[KV_MEMORY] = writer_new(engine, true);
    engine->writers[KV_HDD] = writer_new(engine, false);
    engine->topology = topology_new(engine);
    engine->receivers = receivers_new(engine);
    engine->due = due_new(engine);
    engine->node = node_new(engine);
    return engine->reads && engine->writers[KV_MEMORY] && engine->writers[KV_HDD] &&
           engine->topology && engine->receivers && engine->due && engine->node;
}

/* They close what they have on the loop. */
static void free_parts(struct engine *engine) {
    node_free(engine->node);
    due_free(engine->due);
    receivers_free(engine->receivers);
    topology_free(engine->topology);
    writer_free(engine->writers[KV_HDD]);
    writer_free(engine->writers[KV_MEMORY]);
    reads_free(engine->reads);
}

static void free_engine(struct engine *engine) {
    sql_book_done(&engine->book);
    pthread_mutex_destroy(&engine->lock);
    free(engine->url);
    free(engine->read_url);
    free(engine->schema);
    free(engine->advertise);
    free(engine);
}

static void close_handle(uv_handle_t *handle, void *context) {
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void do_nothing(uv_work_t *work) {
    (void)work;
}

/* libuv makes its threads when the first name is looked up, and ends the process where it cannot:
 * better here than while it serves. */
static bool make_threads(struct engine *engine) {
    return uv_queue_work(&engine->loop, &engine->threads, do_nothing, NULL) == 0;
}

static enum err start(struct engine *engine, char *ret_why, size_t why_bytes) {
    if (uv_loop_init(&engine->loop))
        return ERR_OUT_OF_MEMORY;
    engine->mail.data = engine;
    engine->ticker.data = engine;
    if (uv_async_init(&engine->loop, &engine->mail, on_mail))
        return ERR_OUT_OF_MEMORY;
    uv_timer_init(&engine->loop, &engine->ticker);
    engine_later_init(engine);
    enum err err = open_pools(engine, ret_why, why_bytes);
    if (err)
        return err;
    if (!make_parts(engine) || !make_threads(engine))
        return ERR_OUT_OF_MEMORY;
    uv_timer_start(&engine->ticker, on_tick, 0, TICK_MS);
    return pthread_create(&engine->thread, NULL, run_loop, engine) ? ERR_UNAVAILABLE : OK;
}

/* The first pull of the topology tells that calls can be served. */
static enum err await_ready(struct engine *engine, char *ret_why, size_t why_bytes) {
    int64_t until_ms = clock_steady_ms() + engine->options.timeout_ms;
    struct timespec pause = {0, 2000000};
    while (!atomic_load(&engine->ready) && clock_steady_ms() < until_ms)
        nanosleep(&pause, NULL);
    if (atomic_load(&engine->ready))
        return OK;
    snprintf(ret_why, why_bytes, "engine: the database does not answer");
    return ERR_UNAVAILABLE;
}

enum err engine_open(const struct engine_options *options, struct engine **ret_engine,
                     char *ret_why, size_t why_bytes) {
    struct engine *engine = calloc(1, sizeof *engine);
    snprintf(ret_why, why_bytes, "no memory for the engine");
    if (!engine)
        return ERR_OUT_OF_MEMORY;
    pthread_mutex_init(&engine->lock, NULL);
    work_list_init(&engine->mailbox);
    hash_random(&engine->id, sizeof engine->id);
    engine_fill_fronts(engine);
    enum err err = OK;
    if (!copy_options(engine, options) || !sql_book_init(&engine->book, options->schema))
        err = ERR_OUT_OF_MEMORY;
    if (!err)
        err = migrate_run(&engine->options, &engine->book, ret_why, why_bytes);
    if (!err)
        err = start(engine, ret_why, why_bytes);
    if (!err)
        err = await_ready(engine, ret_why, why_bytes);
    if (err) /* the process ends with this line: what the loop had is not taken apart */
        return err;
    *ret_engine = engine;
    return OK;
}

void engine_close(struct engine *engine) {
    if (!engine)
        return;
    pthread_mutex_lock(&engine->lock);
    engine->closed = true;
    pthread_mutex_unlock(&engine->lock);
    uv_async_send(&engine->mail);
    pthread_join(engine->thread, NULL);
    free_parts(engine);
    uv_walk(&engine->loop, close_handle, NULL);
    uv_run(&engine->loop, UV_RUN_DEFAULT);
    uv_loop_close(&engine->loop);
    free_engine(engine);
}
