/* SPDX-License-Identifier: MIT */
/* Random operations against the broker and against a plain model of it, answer by answer.
 *
 * HATI_MODEL_SEED    repeats a run (it is printed where one fails)
 * HATI_MODEL_STEPS   how many steps (20000; less where there is a disk) */
#include "model_run.h"

#define MAX_DELAY_MS 3000

/* Where a publish or a binding goes, and what it says. */
static const char *const keys[] = {"a",   "b",     "c",       "a.b", "a.b.c", "b.c",
                                   "a.c", "a..c",  "q0",      "q1",  "q3",    "q4",
                                   "q5",  "q6.q7", "a.b.c.d", "q6",  "q7",    "q2"};
static const char *const patterns[] = {"a",   "b",   "c",     "a.b", "#",     "*",     "a.*", "*.b",
                                       "a.#", "#.c", "a.#.c", "*.*", "#.b.#", "a.*.c", "q0"};
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void queue_options(int q, enum broker_storage storage,
                          struct broker_queue_options *options) {
    broker_queue_options_init(options);
    options->storage = storage;
    options->lease_ms = 700 + 100 * q;
    switch (q) {
    case 1:
        options->max_deliver = 3;
        options->dead_letter = SLICE("q2");
        break;
    case 3:
        options->ttl_ms = 2900;
        options->dead_letter = SLICE("q2");
        break;
    case 4:
        options->max_length = 20;
        options->dedup_window_ms = 2500;
        break;
    case 5:
        options->max_length = 15;
        options->overflow = OVERFLOW_DROP_HEAD;
        options->dedup_window_ms = 900;
        break;
    case 6:
        options->ttl_ms = 4100;
        options->max_deliver = 2;
        options->dead_letter = SLICE("nosuch");
        break;
    case 7:
        options->max_deliver = 1;
        options->dead_letter = SLICE("q1");
        break;
    default:
        break;
    }
}

static int model_dead_letter(int q) {
    return q == 1 || q == 3 ? 2 : q == 7 ? 1 : MODEL_NOBODY;
}

static void create_queue(struct run *run, int q, enum broker_storage storage) {
    struct broker_queue_options options;
    queue_options(q, storage, &options);
    struct broker_op op = {
        .action = BROKER_CREATE_QUEUE, .queue = run_name(run, q), .options = &options};
    RUN_SAME(run, run_submit(run, &op, 1), OK, "create a queue");
    struct model_queue *queue = &run->model.queues[q];
    RUN_SAME(run, op.flag, !queue->exists, "whether it is new");
    if (queue->exists)
        return;
    queue->exists = true;
    queue->options = options;
    queue->dead_letter = model_dead_letter(q);
    queue->count = 0;
    memset(queue->seen_until, 0, sizeof queue->seen_until);
    memset(&queue->stats, 0, sizeof queue->stats);
}

static void open_consumers(struct run *run) {
    for (int c = 0; c < RUN_CONSUMERS; c++) {
        if (run->consumer_open[c] || !run->model.queues[c].exists)
            continue;
        enum err err = broker_consumer_open(run->broker, run_name(run, c), 3 + 4 * (unsigned)c,
                                            &run->consumers[c]);
        RUN_SAME(run, err, OK, "open a consumer");
        run->consumer_open[c] = true;
    }
}

/* --- steps --- */

struct publish {
    int router, id;
    const char *key;
    char payload[128];
    struct model_message message;
};

static void make_publish(struct run *run, struct publish *publish, struct broker_op *op) {
    *publish =
        (struct publish){.router = (int)run_random(run, MODEL_ROUTERS),
                         .id = run_chance(run, 40) ? (int)run_random(run, MODEL_IDS) : MODEL_NOBODY,
                         .key = keys[run_random(run, COUNT_OF(keys))]};
    if (run_chance(run, 30)) {
        publish->router = 0;
        publish->key = run->model.queues[run_random(run, MODEL_QUEUES)].name;
    }
    publish->message.number = ++run->numbers;
    publish->message.priority = run_chance(run, 20) ? (int)run_random(run, 10) : 0;
    size_t len = run_payload(run->numbers, publish->payload, sizeof publish->payload);
    *op = (struct broker_op){.action = BROKER_PUBLISH,
                             .router = slice_of_cstr(model_routers[publish->router]),
                             .routing_key = slice_of_cstr(publish->key),
                             .payload = slice_make(publish->payload, len),
                             .headers = run_headers(run->numbers),
                             .priority = (uint8_t)publish->message.priority};
    if (run_chance(run, 15))
        op->delay_ms = 1 + (int64_t)run_random(run, MAX_DELAY_MS);
    if (run->own_ttls && run_chance(run, 15))
        op->ttl_ms = 1 + (int64_t)run_random(run, MAX_DELAY_MS);
    if (publish->id != MODEL_NOBODY) {
        char *id = publish->message.id;
        snprintf(id, sizeof publish->message.id, "id-%d", publish->id);
        op->id = slice_of_cstr(id);
    }
}

static void check_publish(struct run *run, struct publish *publish, const struct broker_op *op) {
    unsigned reached = 0;
    if (publish->id == MODEL_NOBODY && op->err == OK) {
        memcpy(publish->message.id, op->id_text, op->id_len);
        publish->message.id[op->id_len] = '\0';
    }
    enum err err =
        model_publish(&run->model, publish->router, publish->key, publish->id, &publish->message,
                      op->delay_ms, op->ttl_ms, run->now_ms, &reached);
    RUN_SAME(run, op->err, err, "publish");
    if (err)
        return;
    RUN_SAME(run, op->queues, __builtin_popcount(reached), "queues reached");
    if (publish->id != MODEL_NOBODY &&
        !slice_equal(slice_make(op->id_text, op->id_len), slice_of_cstr(publish->message.id)))
        RUN_FAIL(run, "id %.*s\n", (int)op->id_len, op->id_text);
}

static void step_publish(struct run *run) {
    run->doing = "publish";
    struct publish publishes[8];
    struct broker_op ops[8];
    unsigned count = run_chance(run, 80) ? 1 : 1 + (unsigned)run_random(run, 8);
    for (unsigned i = 0; i < count; i++) {
        make_publish(run, &publishes[i], &ops[i]);
        if (publishes[i].id != MODEL_NOBODY)
            ops[i].id = slice_of_cstr(publishes[i].message.id);
        ops[i].payload.ptr = publishes[i].payload;
    }
    enum err err = run_submit(run, ops, count), first = OK;
    run->instant = count > 1;
    for (unsigned i = 0; i < count; i++) {
        check_publish(run, &publishes[i], &ops[i]);
        if (first == OK)
            first = ops[i].err;
    }
    RUN_SAME(run, err, first, "the write's err");
}

static void step_receive(struct run *run) {
    run->doing = "receive";
    int q = (int)run_random(run, MODEL_QUEUES);
    struct model_queue *queue = &run->model.queues[q];
    struct run_flag flag = {run, false};
    struct broker_receive receive = {.queue = run_name(run, q),
                                     .max = 1 + (unsigned)run_random(run, 6),
                                     .lease_ms = run_chance(run, 30) ? 50 : 0,
                                     .done = run_receive_came,
                                     .context = &flag};
    uint64_t ready = queue->options.paused ? 0 : model_count(queue, MODEL_READY);
    receive.now_ms = run->now_ms;
    enum err err = broker_receive(run->broker, &receive);
    if (err == ERR_PENDING) {
        run_wait(run, &flag.came);
        err = receive.err;
    }
    RUN_SAME(run, err, queue->exists ? OK : ERR_QUEUE_NOT_EXIST, "receive");
    if (err)
        return;
    RUN_SAME(run, receive.count, ready < receive.max ? ready : receive.max, "messages received");
    run_take(run, q, &receive, receive.lease_ms, MODEL_NOBODY, false);
    if (run_chance(run, 10))
        run_give_back(run, q, &receive);
    broker_receive_free(&receive);
}

static void waiter_came(struct broker_receive *receive) {
    struct run_waiter *waiter = receive->context;
    run_came(waiter->run, &waiter->came);
}

/* Starts a receive that waits where nothing is there. */
static void step_wait(struct run *run) {
    run->doing = "wait";
    unsigned slot = (unsigned)run_random(run, RUN_WAITERS + RUN_CONSUMERS);
    struct run_waiter *waiter = &run->waiters[slot];
    int consumer = slot < RUN_WAITERS ? MODEL_NOBODY : (int)(slot - RUN_WAITERS);
    int q = consumer == MODEL_NOBODY
                ? RUN_CONSUMERS + (int)run_random(run, MODEL_QUEUES - RUN_CONSUMERS)
                : consumer;
    struct model_queue *queue = &run->model.queues[q];
    if (waiter->used || !queue->exists || (consumer != MODEL_NOBODY && !run->consumer_open[q]))
        return;
    *waiter =
        (struct run_waiter){.run = run, .queue = q, .consumer = consumer, .turn = ++run->turns};
    waiter->receive = (struct broker_receive){
        .max = 1 + (unsigned)run_random(run, 4), .done = waiter_came, .context = waiter};
    if (consumer == MODEL_NOBODY) {
        waiter->receive.queue = run_name(run, q);
        waiter->receive.wait_ms = 1 + (int64_t)run_random(run, 1500);
        waiter->end_ms = run->now_ms + waiter->receive.wait_ms;
    } else {
        waiter->receive.consumer = &run->consumers[consumer];
        waiter->receive.wait_ms = -1;
        waiter->end_ms = INT64_MAX;
    }
    waiter->used = true;
    waiter->receive.now_ms = run->now_ms;
    enum err err = broker_receive(run->broker, &waiter->receive);
    if (err != ERR_PENDING) {
        waiter->receive.err = err;
        run_came(run, &waiter->came);
    }
}

/* A receipt that is good, or was, or never was; *ret_message: what it stands for. */
static const char *pick_receipt(struct run *run, int *ret_queue,
                                struct model_message **ret_message) {
    int q = (int)run_random(run, MODEL_QUEUES);
    struct model_queue *queue = &run->model.queues[q];
    *ret_queue = q;
    *ret_message = NULL;
    unsigned dice = (unsigned)run_random(run, 20);
    if (dice == 0 || queue->count == 0)
        return dice ? "0123456789abcdef0123456789abcdef" : "nonsense";
    if (dice < 3 && run->stale_count) {
        unsigned i =
            (unsigned)run_random(run, run->stale_count < RUN_STALE ? run->stale_count : RUN_STALE);
        *ret_queue = run->stale[i].queue;
        *ret_message = model_find_receipt(&run->model.queues[*ret_queue], run->stale[i].receipt);
        return run->stale[i].receipt;
    }
    size_t start = run_random(run, queue->count);
    for (size_t i = 0; i < queue->count; i++) {
        struct model_message *at = &queue->messages[(start + i) % queue->count];
        if (at->state != MODEL_LEASED)
            continue;
        unsigned place = run->stale_count++ % RUN_STALE;
        run->stale[place].queue = q;
        memcpy(run->stale[place].receipt, at->receipt, sizeof at->receipt);
        if (dice == 4) { /* somebody else's queue */
            *ret_queue = (q + 1) % MODEL_QUEUES;
            *ret_message =
                model_find_receipt(&run->model.queues[*ret_queue], run->stale[place].receipt);
        } else {
            *ret_message = at;
        }
        return run->stale[place].receipt;
    }
    return "nonsense";
}

static void step_settle_lease(struct run *run, enum broker_action action) {
    run->doing = action == BROKER_ACK ? "ack" : action == BROKER_NACK ? "nack" : "extend";
    int q;
    struct model_message *message;
    const char *receipt = pick_receipt(run, &q, &message);
    struct broker_op op = {.action = action,
                           .queue = run_name(run, q),
                           .receipt = slice_of_cstr(receipt),
                           .lease_ms = 1 + (int64_t)run_random(run, 2000)};
    if (action == BROKER_NACK && run_chance(run, 40))
        op.delay_ms = 1 + (int64_t)run_random(run, MAX_DELAY_MS);
    struct model_queue *queue = &run->model.queues[q];
    enum err wanted = !queue->exists ? ERR_QUEUE_NOT_EXIST : message ? OK : ERR_RECEIPT_INVALID;
    enum err err = run_submit(run, &op, 1);
    RUN_SAME(run, err, op.err, "the write's err");
    RUN_SAME(run, err, wanted, run->doing);
    if (err)
        return;
    if (action == BROKER_ACK) {
        model_remove(queue, message);
        queue->stats.acked++;
    } else if (action == BROKER_NACK) {
        model_return(&run->model, q, message, op.delay_ms, run->now_ms, ++run->model.places);
    } else {
        message->due_ms = run->now_ms + op.lease_ms;
    }
}

static void step_pause(struct run *run) {
    run->doing = "pause";
    int q = (int)run_random(run, MODEL_QUEUES);
    struct model_queue *queue = &run->model.queues[q];
    bool pause = !queue->options.paused && run_chance(run, 30);
    struct broker_op op = {.action = BROKER_PAUSE, .queue = run_name(run, q), .pause = pause};
    RUN_SAME(run, run_submit(run, &op, 1), queue->exists ? OK : ERR_QUEUE_NOT_EXIST, "pause");
    if (queue->exists)
        queue->options.paused = pause;
}

static void step_flush(struct run *run, bool redrive) {
    run->doing = redrive ? "redrive" : "flush";
    int q = redrive && run_chance(run, 80) ? 2 : (int)run_random(run, MODEL_QUEUES);
    struct model_queue *queue = &run->model.queues[q];
    struct broker_op op = {.action = redrive ? BROKER_REDRIVE : BROKER_FLUSH,
                           .queue = run_name(run, q)};
    RUN_SAME(run, run_submit(run, &op, 1), queue->exists ? OK : ERR_QUEUE_NOT_EXIST, run->doing);
    if (!queue->exists)
        return;
    run->instant = redrive;
    RUN_SAME(run, op.count,
             redrive ? model_redrive(&run->model, q, run->now_ms) : model_flush(queue), "messages");
}

static void delete_queue(struct run *run, int q) {
    struct model_queue *queue = &run->model.queues[q];
    struct broker_op op = {.action = BROKER_DELETE_QUEUE, .queue = run_name(run, q)};
    RUN_SAME(run, run_submit(run, &op, 1), queue->exists ? OK : ERR_QUEUE_NOT_EXIST, "delete");
    run_end_waits(run, q, ERR_QUEUE_NOT_EXIST);
    if (q < RUN_CONSUMERS && run->consumer_open[q]) {
        broker_consumer_close(run->broker, &run->consumers[q]);
        run->consumer_open[q] = false;
    }
    queue->exists = false;
    queue->count = 0;
    struct model *model = &run->model;
    for (size_t i = 0; i < model->binding_count;)
        if (model->bindings[i].queue == q)
            model->bindings[i] = model->bindings[--model->binding_count];
        else
            i++;
}

static void step_queue(struct run *run) {
    run->doing = "create or delete a queue";
    int q = (int)run_random(run, MODEL_QUEUES);
    if (run->model.queues[q].exists && run_chance(run, 5))
        delete_queue(run, q);
    else
        create_queue(run, q, run->storages[q]);
    open_consumers(run);
}

static void step_bind(struct run *run) {
    struct model *model = &run->model;
    int router = (int)run_random(run, MODEL_ROUTERS), q = (int)run_random(run, MODEL_QUEUES);
    const char *pattern = router == 1 ? keys[run_random(run, COUNT_OF(keys))]
                                      : patterns[run_random(run, COUNT_OF(patterns))];
    bool bind = model->binding_count < MODEL_BINDINGS / 2 ? run_chance(run, 60) : false;
    run->doing = bind ? "bind" : "unbind";
    if (router == 2)
        pattern = "";
    struct broker_op op = {.action = bind ? BROKER_BIND : BROKER_UNBIND,
                           .router = slice_of_cstr(model_routers[router]),
                           .queue = run_name(run, q),
                           .pattern = slice_of_cstr(pattern),
                           .pattern_given = router != 2};
    enum err wanted = !model->queues[q].exists ? ERR_QUEUE_NOT_EXIST
                      : router == 0            ? ERR_CONFLICT
                                               : OK;
    RUN_SAME(run, run_submit(run, &op, 1), wanted, run->doing);
    if (wanted != OK)
        return;
    struct model_binding *there = model_find_binding(model, router, q, pattern);
    RUN_SAME(run, op.flag, bind ? !there : !!there, "whether it was there");
    if (bind && !there) {
        struct model_binding *added = &model->bindings[model->binding_count++];
        *added = (struct model_binding){.router = router, .queue = q};
        snprintf(added->pattern, sizeof added->pattern, "%s", pattern);
    } else if (!bind && there) {
        *there = model->bindings[--model->binding_count];
    }
}

/* Every ready message, page by page, in the order they would come. */
static void step_peek(struct run *run) {
    run->doing = "peek";
    int q = (int)run_random(run, MODEL_QUEUES);
    struct model_queue *queue = &run->model.queues[q];
    struct broker_cursor cursor = {0, 0};
    const struct model_message *before = NULL;
    uint64_t seen = 0;
    for (bool more = queue->exists; more;) {
        struct arena arena;
        arena_init(&arena, 1U << 20);
        struct broker_delivery *got = NULL;
        unsigned limit = 1 + (unsigned)run_random(run, 20), count = 0;
        enum err err =
            broker_peek(run->broker, run_name(run, q), &cursor, limit, &arena, &got, &count, &more);
        RUN_SAME(run, err, OK, "peek");
        if (count > limit || (more && count == 0))
            RUN_FAIL(run, "%u messages on a page of %u\n", count, limit);
        for (unsigned i = 0; i < count; i++) {
            struct run_wanted wanted = {.not_before = before};
            before = run_identify(run, q, &got[i], &wanted);
        }
        seen += count;
        arena_done(&arena);
    }
    if (queue->exists)
        RUN_SAME(run, seen, model_count(queue, MODEL_READY), "messages peeked at");
}

static void step_stats(struct run *run) {
    run->doing = "stats";
    int q = (int)run_random(run, MODEL_QUEUES);
    struct model_queue *queue = &run->model.queues[q];
    struct arena arena;
    arena_init(&arena, 1U << 16);
    struct broker_queue_info info;
    enum err err = broker_get_queue(run->broker, run_name(run, q), run->now_ms, &arena, &info);
    RUN_SAME(run, err, queue->exists ? OK : ERR_QUEUE_NOT_EXIST, "get queue");
    if (!err) {
        const struct broker_queue_stats *got = &info.stats, *wanted = &queue->stats;
        RUN_SAME(run, got->ready, model_count(queue, MODEL_READY), "ready");
        RUN_SAME(run, got->leased, model_count(queue, MODEL_LEASED), "leased");
        RUN_SAME(run, got->delayed, model_count(queue, MODEL_DELAYED), "delayed");
        RUN_SAME(run, got->published, wanted->published, "published");
        RUN_SAME(run, got->delivered, wanted->delivered, "delivered");
        RUN_SAME(run, got->acked, wanted->acked, "acked");
        RUN_SAME(run, got->redelivered, wanted->redelivered, "redelivered");
        RUN_SAME(run, got->dead_lettered, wanted->dead_lettered, "dead_lettered");
        RUN_SAME(run, got->expired, wanted->expired, "expired");
        RUN_SAME(run, got->dropped, wanted->dropped, "dropped");
        RUN_SAME(run, info.options.paused, queue->options.paused, "paused");
    }
    arena_done(&arena);
}

static void step_consumer(struct run *run) {
    run->doing = "close a consumer";
    int c = (int)run_random(run, RUN_CONSUMERS);
    if (run->consumer_open[c] && run_chance(run, 30)) {
        broker_consumer_close(run->broker, &run->consumers[c]);
        run_end_waits(run, c, OK);
        run->consumer_open[c] = false;
        struct model_queue *queue = &run->model.queues[c];
        for (size_t i = 0; i < queue->count; i++)
            queue->messages[i].holder = MODEL_NOBODY;
    }
    run->doing = "open a consumer";
    open_consumers(run);
}

static bool is_crowded(const struct run *run) {
    size_t most = 0;
    for (int q = 0; q < MODEL_QUEUES; q++)
        most = run->model.queues[q].count > most ? run->model.queues[q].count : most;
    return most > 150;
}

static void step(struct run *run) {
    unsigned dice = (unsigned)run_random(run, 1000);
    if (is_crowded(run) && dice < 200)
        step_flush(run, false);
    else if (dice < 300)
        step_publish(run);
    else if (dice < 470)
        step_receive(run);
    else if (dice < 550)
        step_wait(run);
    else if (dice < 700)
        step_settle_lease(run, BROKER_ACK);
    else if (dice < 760)
        step_settle_lease(run, BROKER_NACK);
    else if (dice < 790)
        step_settle_lease(run, BROKER_EXTEND);
    else if (dice < 800)
        step_pause(run);
    else if (dice < 802)
        step_flush(run, false);
    else if (dice < 810)
        step_flush(run, true);
    else if (dice < 820)
        step_queue(run);
    else if (dice < 840)
        step_bind(run);
    else if (dice < 860)
        step_peek(run);
    else if (dice < 890)
        step_stats(run);
    else if (dice < 895)
        step_consumer(run);
    else {
        run->doing = "time";
        run_advance(run, 1 + (int64_t)run_random(run, run_chance(run, 5) ? 6000 : 150));
    }
    run_barrier(run);
    run_settle(run);
}

/* --- runs --- */

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void open_broker(struct run *run) {
    struct broker_options options = {.manual_clock = true};
    char why[200] = "";
    if (run->dir[0]) {
        struct datadir_options dir = {.dir = run->dir, .durability_ms = 1000};
        if (datadir_open(&dir, &run->datadir, why, sizeof why) != OK)
            fail_msg("%s", why);
        options.datadir = run->datadir;
        options.write_buffer_bytes = 1U << 16;
    }
    if (broker_open(&options, &run->broker, why, sizeof why) != OK)
        fail_msg("%s", why);
    if (run->datadir && datadir_start(run->datadir, why, sizeof why) != OK)
        fail_msg("%s", why);
    broker_tick(run->broker, run->now_ms);
}

static void close_broker(struct run *run) {
    broker_drain(run->broker);
    for (int q = 0; q < MODEL_QUEUES; q++)
        run_end_waits(run, q, OK);
    for (int c = 0; c < RUN_CONSUMERS; c++) {
        if (run->consumer_open[c])
            broker_consumer_close(run->broker, &run->consumers[c]);
        run->consumer_open[c] = false;
    }
    if (run->datadir)
        datadir_stop(run->datadir);
    broker_close(run->broker);
    datadir_close(run->datadir);
    run->datadir = NULL;
}

static void set_pause(struct run *run, int q, bool pause) {
    struct broker_op op = {.action = BROKER_PAUSE, .queue = run_name(run, q), .pause = pause};
    RUN_SAME(run, run_submit(run, &op, 1), OK, "pause");
}

/* What has a ttl of its own and is only in LMDB expires when it is read: takes all, gives it back.
 */
static void touch_queue(struct run *run, int q) {
    struct run_flag flag = {run, false};
    struct broker_receive receive = {.queue = run_name(run, q),
                                     .max = BROKER_BATCH_MAX,
                                     .now_ms = run->now_ms,
                                     .done = run_receive_came,
                                     .context = &flag};
    set_pause(run, q, false);
    enum err err = broker_receive(run->broker, &receive);
    if (err == ERR_PENDING) {
        run_wait(run, &flag.came);
        err = receive.err;
    }
    RUN_SAME(run, err, OK, "receive");
    RUN_SAME(run, receive.count, model_count(&run->model.queues[q], MODEL_READY), "all there is");
    broker_give_back(run->broker, &receive);
    broker_receive_free(&receive);
    set_pause(run, q, run->model.queues[q].options.paused);
}

/* Everything but messages of memory queues and the counters is as it was. */
static void step_reopen(struct run *run) {
    run->doing = "reopen";
    close_broker(run);
    for (int q = 0; q < MODEL_QUEUES; q++) {
        struct model_queue *queue = &run->model.queues[q];
        memset(&queue->stats, 0, sizeof queue->stats);
        for (size_t i = 0; i < queue->count; i++)
            queue->messages[i].holder = MODEL_NOBODY;
        if (queue->options.storage == BROKER_MEMORY) {
            queue->count = 0;
            memset(queue->seen_until, 0, sizeof queue->seen_until);
        }
    }
    open_broker(run);
    for (int q = 0; run->own_ttls && q < MODEL_QUEUES; q++)
        if (run->model.queues[q].exists)
            touch_queue(run, q);
    open_consumers(run);
}

static void begin_run(struct run *run, bool has_memory, bool has_hdd) {
    memset(run, 0, sizeof *run);
    run->seed = setting("HATI_MODEL_SEED", (uint64_t)clock_steady_ns() % 1000000007);
    run->random = run->seed;
    run->now_ms = clock_wall_ms() + RUN_AHEAD_MS;
    run->doing = "begin";
    run->own_ttls = run_chance(run, 50);
    pthread_mutex_init(&run->lock, NULL);
    pthread_cond_init(&run->changed, NULL);
    if (has_hdd) {
        snprintf(run->dir, sizeof run->dir, "/tmp/hati-model-XXXXXX");
        assert_non_null(mkdtemp(run->dir));
    }
    for (int q = 0; q < MODEL_QUEUES; q++) {
        bool on_hdd = has_hdd && (!has_memory || run_chance(run, 50));
        run->storages[q] = on_hdd ? BROKER_HDD : BROKER_MEMORY;
        snprintf(run->model.queues[q].name, sizeof run->model.queues[q].name, "q%d", q);
    }
    open_broker(run);
    for (int i = 1; i < MODEL_ROUTERS; i++) {
        struct broker_op op = {.action = BROKER_CREATE_ROUTER,
                               .router = slice_of_cstr(model_routers[i]),
                               .router_type = model_types[i]};
        RUN_SAME(run, run_submit(run, &op, 1), OK, "create a router");
    }
    for (int q = 0; q < MODEL_QUEUES; q++)
        create_queue(run, q, run->storages[q]);
    open_consumers(run);
}

/* Without queues nothing is held any more. */
static void delete_all(struct run *run) {
    struct broker_stats stats;
    for (int q = 0; q < MODEL_QUEUES; q++)
        delete_queue(run, q);
    broker_tick(run->broker, run->now_ms);
    broker_stats(run->broker, &stats);
    RUN_SAME(run, stats.bytes, 0, "bytes of messages");
    RUN_SAME(run, stats.messages, 0, "messages");
    RUN_SAME(run, stats.queues, 0, "queues");
}

static void end_run(struct run *run) {
    run->doing = "end";
    delete_all(run);
    close_broker(run);
    for (int q = 0; q < MODEL_QUEUES; q++)
        free(run->model.queues[q].messages);
    pthread_mutex_destroy(&run->lock);
    pthread_cond_destroy(&run->changed);
    if (run->dir[0]) {
        char command[100];
        snprintf(command, sizeof command, "rm -rf %s", run->dir);
        assert_int_equal(system(command), 0);
    }
}

static void do_run(bool has_memory, bool has_hdd) {
    struct run run;
    begin_run(&run, has_memory, has_hdd);
    uint64_t steps = setting("HATI_MODEL_STEPS", 20000);
    if (has_hdd)
        steps = 4000 + steps / 16;
    for (run.step = 1; run.step <= steps; run.step++) {
        step(&run);
        if (has_hdd && run_chance(&run, 1) && run_chance(&run, 20))
            step_reopen(&run);
    }
    end_run(&run);
}

static void test_memory_queues_do_what_the_model_does(void **state) {
    (void)state;
    do_run(true, false);
}

static void test_hdd_queues_do_what_the_model_does(void **state) {
    (void)state;
    do_run(false, true);
}

static void test_queues_of_both_kinds_do_what_the_model_does(void **state) {
    (void)state;
    do_run(true, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_queues_do_what_the_model_does),
        cmocka_unit_test(test_hdd_queues_do_what_the_model_does),
        cmocka_unit_test(test_queues_of_both_kinds_do_what_the_model_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
