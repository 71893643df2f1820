/* SPDX-License-Identifier: MIT */
/* Batches and figures where an engine has keys and queues; the engine is made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "handlers/bind.h"
#include "handlers/render.h"

#define NOW 1700000000000

struct engine {
    struct engine_batch *batch; /* that has not come back */
    struct engine_report *report;
    bool closed; /* takes nothing */
};

static struct fixture {
    struct engine engine;
    struct core core;
    struct arena arena;
    struct call call;
    struct args_op ops[8];
    unsigned op_count, woken;
} fixture;

void engine_submit_batch(struct engine *engine, struct engine_batch *batch) {
    engine->batch = batch;
    if (!engine->closed)
        return;
    batch->err = ERR_UNAVAILABLE;
    batch->failed_index = batch->count;
    batch->done(batch);
}

enum err engine_ask_report(struct engine *engine, struct engine_report *report) {
    engine->report = report;
    return engine->closed ? (report->err = ERR_UNAVAILABLE) : ERR_PENDING;
}

enum err engine_pass_gate(struct engine *engine, struct engine_gate *gate) {
    (void)engine, (void)gate;
    return OK;
}

static void on_wake(struct call *call) {
    (void)call;
    fixture.woken++;
}

static int set_up(void **state) {
    (void)state;
    op_init();
    memset(&fixture, 0, sizeof fixture);
    fixture.core.payload_limit_bytes = 1 << 20;
    fixture.core.engine = &fixture.engine;
    fixture.core.started_steady_ms = clock_steady_ms() - 5000000000;
    arena_init(&fixture.arena, 1 << 24);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_done(&fixture.arena);
    return 0;
}

static struct call *begin(const char *op_name) {
    struct call *call = &fixture.call;
    call_init(call, &fixture.core, &auth_grant_everything, &fixture.arena, NOW);
    call_set_op(call, op_find_name(slice_of_cstr(op_name)));
    call->wake = on_wake;
    call->args.ops = fixture.ops;
    call->args.op_count = fixture.op_count;
    return call;
}

static struct args_op *add(enum args_op_kind kind) {
    struct args_op *op = &fixture.ops[fixture.op_count++];
    *op = (struct args_op){.kind = kind, .key = SLICE("k"), .by = 3};
    return op;
}

static const char *result(void) {
    struct buf text;
    buf_init(&text, 1 << 20);
    assert_true(render_result(&text, &fixture.call));
    const char *copy = arena_copy(&fixture.arena, buf_slice(&text)).ptr;
    buf_done(&text);
    return copy;
}

static struct engine_batch *run_batch(void) {
    assert_int_equal(call_run(begin("Storage.Batch")), ERR_PENDING);
    assert_int_equal(fixture.woken, 0);
    assert_non_null(fixture.engine.batch);
    return fixture.engine.batch;
}

static void a_batch_is_handed_over_as_it_is(void **state) {
    (void)state;
    add(BATCH_SET)->value = SLICE("v");
    add(BATCH_INCR);
    struct args_op *publish = add(BATCH_PUBLISH);
    publish->router = SLICE("default");
    publish->message = (struct args_message){.key = SLICE("q"), .payload = SLICE("p")};
    struct args_op *ack = add(BATCH_ACK);
    ack->queue = SLICE("q");
    ack->receipt = SLICE("r");
    struct engine_batch *batch = run_batch();
    assert_int_equal(batch->count, 4);
    assert_int_equal(batch->now_ms, NOW);
    assert_true(batch->position == &fixture.call.position);
    assert_true(batch->items[0]->is_key && batch->items[1]->is_key);
    assert_false(batch->items[2]->is_key || batch->items[3]->is_key);
    assert_int_equal(batch->items[0]->key.action, KV_SET);
    assert_int_equal(batch->items[0]->key.ref.storage, KV_HDD);
    assert_int_equal(batch->items[1]->key.by, 3);
    assert_int_equal(batch->items[2]->message.action, BROKER_PUBLISH);
    assert_int_equal(batch->items[3]->message.action, BROKER_ACK);
    batch->items[0]->key.revision = 7;
    batch->items[1]->key.number = 3;
    batch->items[2]->message.id_len = 1;
    batch->items[2]->message.id_text[0] = 'i';
    batch->items[2]->message.queues = 2;
    batch->done(batch);
    assert_int_equal(fixture.woken, 1);
    assert_int_equal(fixture.call.err, OK);
    assert_string_equal(result(),
                        "{\"results\":[{\"revision\":7},3,{\"id\":\"i\",\"queues\":2},true]}");
}

static void the_op_that_fails_a_batch_is_named(void **state) {
    (void)state;
    add(BATCH_DELETE);
    add(BATCH_CHECK);
    struct engine_batch *batch = run_batch();
    batch->err = ERR_PRECONDITION_FAILED;
    batch->failed_index = 1;
    batch->done(batch);
    assert_int_equal(fixture.woken, 1);
    assert_int_equal(fixture.call.err, ERR_PRECONDITION_FAILED);
    assert_true(fixture.call.reply.indexed);
    assert_int_equal(fixture.call.reply.index, 1);
    assert_true(strncmp(call_detail(&fixture.call), "ops[1]: ", 8) == 0);
}

/* It is the engine that failed, not an op. */
static void a_batch_that_fails_as_a_whole_names_no_op(void **state) {
    (void)state;
    add(BATCH_DELETE);
    fixture.engine.closed = true;
    assert_int_equal(call_run(begin("Storage.Batch")), ERR_PENDING);
    assert_int_equal(fixture.woken, 1);
    assert_int_equal(fixture.call.err, ERR_UNAVAILABLE);
    assert_false(fixture.call.reply.indexed);
}

static void figures_and_nodes_come_with_a_report(void **state) {
    struct engine_node nodes[] = {
        {.id = "a", .address = "h:1", .version = "1", .started_ms = 1, .heartbeat_ms = 2},
        {.id = "b", .version = "2", .alive = true},
    };
    (void)state;
    assert_int_equal(call_run(begin("Server.Stats")), ERR_PENDING);
    struct engine_report *report = fixture.engine.report;
    assert_true(report->arena == &fixture.arena);
    report->kv[KV_MEMORY].keys = 3;
    report->kv[KV_HDD] = (struct kv_stats){.keys = 4, .bytes = 5};
    report->broker.queues = 6;
    report->nodes = nodes;
    report->node_count = 2;
    report->done(report);
    assert_int_equal(fixture.woken, 1);
    assert_int_equal(fixture.call.err, OK);
    const char *text = result();
    assert_non_null(strstr(text, "\"uptime\":50000"));
    assert_non_null(strstr(text, "\"storage\":{\"memory\":{\"keys\":3,"));
    assert_non_null(strstr(text, "\"hdd\":{\"keys\":4,\"bytes\":5,\"shards\":[]}"));
    assert_non_null(strstr(text, "\"queues\":6"));
    assert_non_null(strstr(
        text, ",\"nodes\":[{\"id\":\"a\",\"address\":\"h:1\",\"version\":\"1\",\"started\":1,"
              "\"heartbeat\":2,\"alive\":false},{\"id\":\"b\",\"address\":\"\",\"version\":\"2\","
              "\"started\":0,\"heartbeat\":0,\"alive\":true}]}"));
}

static void without_its_database_there_are_no_figures(void **state) {
    (void)state;
    assert_int_equal(call_run(begin("Server.Stats")), ERR_PENDING);
    fixture.engine.report->err = ERR_UNAVAILABLE;
    fixture.engine.report->done(fixture.engine.report);
    assert_int_equal(fixture.woken, 1);
    assert_int_equal(fixture.call.err, ERR_UNAVAILABLE);
    fixture.engine.closed = true;
    assert_int_equal(call_run(begin("Server.Stats")), ERR_UNAVAILABLE);
    assert_int_equal(fixture.woken, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_batch_is_handed_over_as_it_is),           CASE(the_op_that_fails_a_batch_is_named),
        CASE(a_batch_that_fails_as_a_whole_names_no_op), CASE(figures_and_nodes_come_with_a_report),
        CASE(without_its_database_there_are_no_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
