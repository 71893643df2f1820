/* SPDX-License-Identifier: MIT */
/* What the engine does where an allocation of its own fails, without a database. */
/* wrap: malloc calloc realloc strdup aligned_alloc */
#include <uv.h>

#include "engine/conn.h"
#include "engine/messages_inside.h"
#include "engine/receive_inside.h"
#include "engine/txn_inside.h"
#include "fake_engine.h"
#include "tests/unit/faults.h"

#define NOW 1000000
#define MOST 200 /* allocations of one try */
#define TARGETS 40U

static struct txn txn;

static void begin_txn(void) {
    txn = (struct txn){.engine = &fake, .now_ms = NOW, .now_us = NOW * 1000LL};
    work_list_init(&txn.works);
    arena_init(&txn.arena, 1 << 24);
    request_init(&txn.request);
    txn.keys = txn_keys_new(&txn);
    txn.messages = txn_messages_new(&txn);
    assert_non_null(txn.keys);
    assert_non_null(txn.messages);
}

static void end_txn(void) {
    request_done(&txn.request);
    arena_done(&txn.arena);
}

/* The next allocation in the arena is one of memory. */
static void use_up_arena(void) {
    while (txn.arena.left_bytes >= 16)
        assert_non_null(arena_alloc(&txn.arena, 16));
}

static unsigned live_copies(void) {
    unsigned count = 0;
    for (const struct copy *copy = txn.messages->copies; copy; copy = copy->next)
        count += !copy->gone;
    return count;
}

static void bind_targets(void) {
    add_router("all", 4, ROUTER_FANOUT);
    for (unsigned i = 0; i < TARGETS; i++) {
        char name[16];
        snprintf(name, sizeof name, "q%u", i);
        struct queue_row row = queue_row(name, 10 + i);
        add_queue(&row);
        bind_rows(4, 10 + i, "", false);
    }
}

static struct broker_op publish_op(void) {
    return (struct broker_op){
        .action = BROKER_PUBLISH, .router = SLICE("all"), .payload = SLICE("x")};
}

static void a_publish_reaches_all_of_its_queues_or_is_not_sent(void **state) {
    (void)state;
    bool starved = false;
    bind_targets();
    for (long n = 1; n < MOST; n++) {
        struct broker_op op = publish_op();
        struct broker_write write = {.ops = &op, .op_count = 1};
        struct work work = {.kind = WORK_MESSAGES, .messages = &write};
        begin_txn();
        assert_int_equal(work_plan(&txn, &work), OK);
        use_up_arena();
        faults_begin(n);
        assert_int_equal(work_apply(&txn, &work), OK);
        bool failed = faults_end();
        assert_true(txn.starved == failed);
        if (!failed)
            assert_int_equal(live_copies(), TARGETS);
        starved |= failed;
        end_txn();
        if (!failed)
            break;
    }
    assert_true(starved);
}

static struct kv_op set_op(struct slice key) {
    return (struct kv_op){.ref = {.storage = KV_HDD, .ns = SLICE("default"), .key = key},
                          .action = KV_SET,
                          .value = SLICE("v"),
                          .condition = KV_ALWAYS};
}

static void a_batch_that_cannot_be_taken_back_is_not_sent(void **state) {
    (void)state;
    bool starved = false, refused = false;
    bind_targets();
    for (long n = 1; n < MOST; n++) {
        struct engine_item items[] = {{.is_key = true, .key = set_op(SLICE("a"))},
                                      {.message = publish_op()},
                                      {.is_key = true, .key = set_op(SLICE("b"))}};
        struct engine_item *list[] = {&items[0], &items[1], &items[2]};
        struct engine_batch batch = {.items = list, .count = 3};
        struct work work = {.kind = WORK_BATCH, .batch = &batch};
        begin_txn();
        assert_int_equal(work_plan(&txn, &work), OK);
        use_up_arena();
        faults_begin(n);
        assert_int_equal(work_apply(&txn, &work), OK);
        bool failed = faults_end();
        assert_true(failed == (txn.starved || batch.err == ERR_OUT_OF_MEMORY));
        if (failed && !txn.starved) { /* all of it was taken back */
            struct request request;
            request_init(&request);
            txn_keys_write_steps(&txn, &request);
            assert_int_equal(request.step_count, 0);
            assert_int_equal(live_copies(), 0);
            request_done(&request);
        }
        starved |= txn.starved;
        refused |= failed && !txn.starved;
        end_txn();
        if (!failed)
            break;
    }
    assert_true(starved);
    assert_true(refused);
}

static void keys_that_cannot_be_put_in_order_are_not_left_out(void **state) {
    (void)state;
    for (int loads = 0; loads < 2; loads++) {
        struct kv_op op = set_op(SLICE("a"));
        begin_txn();
        assert_int_equal(txn_keys_plan(&txn, &op), OK);
        if (!loads)
            assert_int_equal(txn_keys_apply(&txn, &op), OK);
        use_up_arena();
        faults_begin(1);
        if (loads)
            txn_keys_load_steps(&txn, &txn.request);
        else
            txn_keys_write_steps(&txn, &txn.request);
        assert_true(faults_end());
        assert_true(txn.starved);
        end_txn();
    }
}

/* ---- the pool ---- */

static struct pool *open_pool(const char *url) {
    static struct sql_book book;
    struct pool_options options = {.loop = &fake.loop,
                                   .url = url,
                                   .book = &book,
                                   .connections = 1,
                                   .name = "test",
                                   .connect_timeout_ms = 1000};
    char why[200];
    struct pool *pool = NULL;
    assert_int_equal(uv_loop_init(&fake.loop), 0);
    assert_int_equal(pool_open(&options, &pool, why, sizeof why), OK);
    return pool;
}

static void stop_loop(void *loop) {
    uv_stop(loop);
}

static void close_pool(struct pool *pool) {
    pool_close(pool, stop_loop, &fake.loop);
    uv_run(&fake.loop, UV_RUN_DEFAULT);
    uv_run(&fake.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fake.loop), 0);
}

static void note_done(struct request *request) {
    *(bool *)request->context = true;
    uv_stop(&fake.loop);
}

static void a_request_whose_parameters_found_no_memory_is_refused(void **state) {
    (void)state;
    struct pool *pool = open_pool("host=127.0.0.1 port=1");
    static struct request request;
    bool done = false;
    request_init(&request);
    request_add(&request, SQL_BEGIN, false);
    struct params *params = request_add(&request, SQL_KEYS_READ, false);
    faults_begin(1);
    params_int8(params, 1);
    assert_true(faults_end());
    request.deadline_ms = clock_steady_ms() + 1000;
    request.done = note_done;
    request.context = &done;
    pool_send(pool, &request);
    assert_false(done); /* never from within */
    while (!done)
        uv_run(&fake.loop, UV_RUN_DEFAULT);
    assert_int_equal(request.outcome, OUTCOME_REFUSED);
    assert_int_equal(request.failed_step, 1);
    assert_int_equal(engine_err_of(&request, true), ERR_OUT_OF_MEMORY);
    request_done(&request);
    close_pool(pool);
}

/* With a host left out libpq would turn to its own: another database. */
static void no_memory_turns_nobody_to_another_host(void **state) {
    (void)state;
    struct pool *pool = open_pool("host=127.0.0.1,127.0.0.2 port=1,2");
    unsigned tries = 0;
    for (long n = 1; n < MOST; n++) {
        faults_begin(n);
        conn_open(pool);
        bool failed = faults_end();
        for (struct conn *conn = pool->conns; conn; conn = conn->next) {
            assert_non_null(conn->pg);
            assert_memory_equal(PQhost(conn->pg), "127.0.0.", 8);
            assert_true(!strcmp(PQport(conn->pg), "1") || !strcmp(PQport(conn->pg), "2"));
        }
        while (pool->conns)
            conn_end(pool->conns, "enough");
        tries++;
        if (!failed)
            break;
    }
    assert_true(tries > 3);
    close_pool(pool);
}

/* ---- what has to be told ---- */

static void on_mail(uv_async_t *mail) {
    (void)mail;
}

static void begin_mail(void) {
    assert_int_equal(uv_loop_init(&fake.loop), 0);
    assert_int_equal(uv_async_init(&fake.loop, &fake.mail, on_mail), 0);
    pthread_mutex_init(&fake.lock, NULL);
    work_list_init(&fake.mailbox);
}

static void end_mail(void) {
    uv_close((uv_handle_t *)&fake.mail, NULL);
    uv_run(&fake.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fake.loop), 0);
    pthread_mutex_destroy(&fake.lock);
}

static void what_is_not_taken_has_failed_op_by_op(void **state) {
    (void)state;
    struct broker_op ops[2] = {{.action = BROKER_PUBLISH}, {.action = BROKER_PUBLISH}};
    struct broker_write messages = {.ops = ops, .op_count = 2};
    struct kv_op sets[2] = {set_op(SLICE("a")), set_op(SLICE("b"))};
    struct kv_write keys = {.ops = sets, .op_count = 2};
    begin_mail();
    engine_fill_fronts(&fake);
    for (int closed = 0; closed < 2; closed++) { /* no memory; behind the end */
        enum err wanted = closed ? ERR_UNAVAILABLE : ERR_OUT_OF_MEMORY;
        fake.closed = closed;
        faults_begin(!closed);
        assert_int_equal(fake.broker.submit(&fake, &messages), wanted);
        faults_begin(!closed);
        assert_int_equal(fake.kv.submit(&fake, &keys), wanted);
        (void)faults_end();
        for (int i = 0; i < 2; i++) {
            assert_int_equal(ops[i].err, wanted);
            assert_int_equal(sets[i].err, wanted);
        }
    }
    end_mail();
}

static void a_subscription_is_closed_without_memory(void **state) {
    (void)state;
    struct broker_consumer consumer;
    begin_mail();
    assert_int_equal(receivers_consumer_open(&fake, SLICE("q"), 1, &consumer), OK);
    struct consumer *remote = consumer.remote;
    faults_begin(1);
    receivers_consumer_close(&fake, &consumer);
    (void)faults_end();
    struct work *told = work_list_take(&fake.mailbox);
    assert_non_null(told);
    assert_int_equal(told->kind, WORK_CONSUMER_CLOSE);
    assert_ptr_equal(told->any, remote);
    consumer_unref(remote);
    end_mail();
}

static void a_receive_is_stopped_without_memory_and_once(void **state) {
    (void)state;
    struct broker_receive receive = {.queue = SLICE("q"), .max = 1, .wait_ms = -1};
    begin_mail();
    assert_int_equal(receivers_receive(&fake, &receive), ERR_PENDING);
    free(work_list_take(&fake.mailbox));
    struct wait *wait = receive.remote_data;
    faults_begin(1);
    receivers_receive_stop(&fake, &receive);
    receivers_receive_stop(&fake, &receive);
    (void)faults_end();
    struct work *told = work_list_take(&fake.mailbox);
    assert_non_null(told);
    assert_int_equal(told->kind, WORK_STOP);
    assert_null(work_list_take(&fake.mailbox));
    wait_unref(wait); /* the stop's */
    wait_unref(wait); /* the loop's */
    receivers_receive_free(&fake, &receive);
    end_mail();
}

static void count_call(void *context) {
    if (++*(int *)context == 3)
        uv_stop(&fake.loop);
}

static void a_call_that_is_to_come_needs_no_memory(void **state) {
    (void)state;
    struct later laters[3];
    int calls = 0;
    assert_int_equal(uv_loop_init(&fake.loop), 0);
    engine_later_init(&fake);
    faults_begin(1);
    for (int i = 0; i < 3; i++)
        engine_later(&fake, &laters[i], 3 - i, count_call, &calls);
    assert_false(faults_end());
    assert_int_equal(calls, 0);
    uv_run(&fake.loop, UV_RUN_DEFAULT);
    assert_int_equal(calls, 3);
    uv_close((uv_handle_t *)&fake.later_timer, NULL);
    uv_run(&fake.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fake.loop), 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, begin_fake, end_fake)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_publish_reaches_all_of_its_queues_or_is_not_sent),
        TEST(a_batch_that_cannot_be_taken_back_is_not_sent),
        TEST(keys_that_cannot_be_put_in_order_are_not_left_out),
        TEST(a_request_whose_parameters_found_no_memory_is_refused),
        TEST(no_memory_turns_nobody_to_another_host),
        TEST(what_is_not_taken_has_failed_op_by_op),
        TEST(a_subscription_is_closed_without_memory),
        TEST(a_receive_is_stopped_without_memory_and_once),
        TEST(a_call_that_is_to_come_needs_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
