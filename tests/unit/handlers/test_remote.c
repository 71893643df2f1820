/* SPDX-License-Identifier: MIT */
/* Operations over a store and a broker that answer later, whatever they are asked. */
#include <stdio.h>

#include "tests/unit/remote_double.h"

#include "base/clock.h"
#include "handlers/bind.h"
#include "handlers/ops.h"
#include "handlers/render.h"

#define NOW 1700000000000

struct fixture {
    struct core core;
    struct arena arena;
    struct call call;
    unsigned woken;
};

static void on_wake(struct call *call) {
    ((struct fixture *)call->context)->woken++;
}

static int set_up(void **state) {
    static struct fixture fixture;
    op_init();
    memset(&fixture, 0, sizeof fixture);
    fixture.core.payload_limit_bytes = 1 << 20;
    arena_init(&fixture.arena, 1 << 24);
    remote_open(&fixture.core, false);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    remote_close();
    arena_done(&fixture->arena);
    return 0;
}

/* Binds `name=value` words. */
static struct call *bind(void **state, const char *op_name, const char *words) {
    struct fixture *fixture = *state;
    struct call *call = &fixture->call;
    call_init(call, &fixture->core, &auth_grant_everything, &fixture->arena, NOW);
    call_set_op(call, op_find_name(slice_of_cstr(op_name)));
    call->wake = on_wake;
    call->context = fixture;
    while (*words) {
        size_t len = strcspn(words, " ");
        size_t name = strcspn(words, "=");
        int index = bind_find_param(call->op, slice_make(words, name));
        assert_true(index >= 0);
        assert_int_equal(
            bind_text(call, (unsigned)index, slice_make(words + name + 1, len - name - 1)), OK);
        words += len + (words[len] == ' ');
    }
    return call;
}

/* Runs it; it must come back later, once. */
static enum err come_back(void **state) {
    struct fixture *fixture = *state;
    unsigned woken = fixture->woken;
    assert_int_equal(bind_finish(&fixture->call), OK);
    assert_int_equal(call_run(&fixture->call), ERR_PENDING);
    assert_int_equal(fixture->woken, woken);
    remote_come_back_all();
    assert_int_equal(fixture->woken, woken + 1);
    return fixture->call.err;
}

static enum err run(void **state, const char *op_name, const char *words) {
    bind(state, op_name, words);
    return come_back(state);
}

/* As JSON-RPC shows it; NUL-ended, in the arena. */
static const char *result(void **state) {
    struct fixture *fixture = *state;
    struct buf text;
    buf_init(&text, 1 << 20);
    assert_true(render_result(&text, &fixture->call));
    const char *copy = arena_copy(&fixture->arena, buf_slice(&text)).ptr;
    buf_done(&text);
    return copy;
}

static void expect(void **state, const char *op_name, const char *words, const char *expected) {
    assert_int_equal(run(state, op_name, words), OK);
    assert_string_equal(result(state), expected);
}

static void a_value_is_written_and_read_on_both_storages(void **state) {
    expect(state, "Storage.Set", "type=memory key=a value=1", "true");
    expect(state, "Storage.Set", "type=hdd key=a value=2", "true");
    expect(state, "Storage.Get", "type=memory key=a", "\"1\"");
    expect(state, "Storage.Get", "type=hdd key=a", "\"2\"");
    expect(state, "Storage.Count", "type=memory", "1");
    expect(state, "Storage.Increment", "type=memory key=a by=4", "5");
    expect(state, "Storage.Delete", "type=memory key=a", "true");
    expect(state, "Storage.Delete", "type=memory key=a", "false");
    assert_int_equal(run(state, "Storage.Get", "type=memory key=a"), ERR_KEY_NOT_EXIST);
}

static void what_is_known_of_an_entry_is_told(void **state) {
    struct fixture *fixture = *state;
    expect(state, "Storage.Set", "type=hdd key=a value=1 ttl=5000", "true");
    expect(state, "Storage.Has", "type=hdd key=a", "true");
    expect(state, "Storage.Has", "type=hdd key=b", "false");
    expect(state, "Storage.Ttl", "type=hdd key=a", "5000");
    assert_int_equal(run(state, "Storage.Ttl", "type=hdd key=b"), ERR_KEY_NOT_EXIST);
    assert_int_equal(run(state, "Storage.GetEntry", "type=hdd key=b"), ERR_KEY_NOT_EXIST);
    assert_int_equal(run(state, "Storage.GetEntry", "type=hdd key=a"), OK);
    assert_int_equal(fixture->call.reply.ttl_ms, 5000);
    assert_true(slice_equal(fixture->call.reply.entry.value, SLICE("1")));
}

static void many_keys_are_read_each_once_and_absent_ones_left_out(void **state) {
    expect(state, "Storage.Set", "type=hdd key=a value=1", "true");
    expect(state, "Storage.Set", "type=hdd key=b value=2", "true");
    struct call *call = bind(state, "Storage.GetMany", "type=hdd");
    static const char *const keys[] = {"b", "none", "a", "b"};
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(bind_key_of_list(call, slice_of_cstr(keys[i])), OK);
    call->args.given |= 1U << bind_find_param(call->op, SLICE("keys"));
    assert_int_equal(come_back(state), OK);
    assert_string_equal(result(state), "{\"b\":\"2\",\"a\":\"1\"}");
}

static void no_keys_at_all_are_read_at_once(void **state) {
    struct call *call = bind(state, "Storage.GetMany", "type=hdd");
    call->args.given |= 1U << bind_find_param(call->op, SLICE("keys"));
    assert_int_equal(bind_finish(call), OK);
    assert_int_equal(call_run(call), OK);
    assert_string_equal(result(state), "{}");
}

#define ROUTER "{\"name\":\"r\",\"type\":\"topic\",\"published\":0,\"unroutable\":0,\"bindings\":["

static void what_is_made_is_told_and_what_is_there_is_told_as_it_is(void **state) {
    struct fixture *fixture = *state;
    expect(state, "Broker.CreateRouter", "router=r type=topic", ROUTER "]}");
    assert_true(fixture->call.reply.created);
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    assert_true(fixture->call.reply.created);
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    assert_false(fixture->call.reply.created);
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory lease=7"), ERR_CONFLICT);
    expect(state, "Broker.Bind", "router=r queue=q pattern=a.*", "true");
    const char *whole = ROUTER "{\"queue\":\"q\",\"pattern\":\"a.*\"}]}";
    expect(state, "Broker.CreateRouter", "router=r type=topic", whole);
    assert_false(fixture->call.reply.created);
    expect(state, "Broker.GetRouter", "router=r", whole);
    expect(state, "Broker.ListRouter", "", "{\"routers\":[\"default\",\"r\"]}");
    expect(state, "Broker.ListQueue", "", "{\"queues\":[\"q\"]}");
    assert_int_equal(run(state, "Broker.GetQueue", "queue=q"), OK);
    assert_non_null(strstr(result(state), "\"lease\":30000"));
    assert_int_equal(run(state, "Broker.GetQueue", "queue=none"), ERR_QUEUE_NOT_EXIST);
    assert_int_equal(run(state, "Broker.GetRouter", "router=none"), ERR_ROUTER_NOT_EXIST);
}

/* Publishes, looks, takes, and is done with it. */
static void a_message_goes_all_its_way(void **state) {
    struct fixture *fixture = *state;
    struct call *call = &fixture->call;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    expect(state, "Broker.Publish", "router=default key=q payload=x id=i",
           "{\"id\":\"i\",\"queues\":1}");
    expect(state, "Broker.Publish", "router=default key=q payload=y id=j",
           "{\"id\":\"j\",\"queues\":1}");
    assert_int_equal(run(state, "Broker.Peek", "queue=q limit=1"), OK);
    const char *cursor = strstr(result(state), "\"cursor\":\"");
    assert_non_null(cursor);
    const char *next = arena_printf(&fixture->arena, "queue=q cursor=%.*s",
                                    (int)strcspn(cursor + 10, "\""), cursor + 10);
    assert_int_equal(run(state, "Broker.Peek", next), OK);
    assert_non_null(strstr(result(state), "\"payload\":\"y\""));
    assert_null(strstr(result(state), "cursor"));
    assert_int_equal(run(state, "Broker.Receive", "queue=q"), OK);
    assert_int_equal(call->broker.receive.count, 1);
    const char *ack = arena_printf(&fixture->arena, "queue=q receipt=%.*s", BROKER_RECEIPT_BYTES,
                                   call->broker.receive.deliveries[0].receipt);
    call_release(call, true);
    expect(state, "Broker.Ack", ack, "true");
    assert_int_equal(run(state, "Broker.Ack", ack), ERR_RECEIPT_INVALID);
    expect(state, "Broker.Flush", "queue=q", "{\"dropped\":1}");
}

static void what_was_received_and_not_sent_comes_again(void **state) {
    struct fixture *fixture = *state;
    struct call *call = &fixture->call;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    assert_int_equal(run(state, "Broker.Publish", "router=default key=q payload=x"), OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(run(state, "Broker.Receive", "queue=q"), OK);
        assert_int_equal(call->broker.receive.count, 1);
        assert_int_equal(call->broker.receive.deliveries[0].attempt, 1);
        call_release(call, false);
    }
    assert_int_equal(run(state, "Broker.Receive", "queue=none"), ERR_QUEUE_NOT_EXIST);
    call_release(call, false);
}

/* It ends where it is: with the broker, or on the way there. */
static void a_wait_is_stopped(void **state) {
    struct fixture *fixture = *state;
    struct call *call = &fixture->call;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    unsigned woken = fixture->woken;
    for (unsigned on_its_way = 0; on_its_way < 2; on_its_way++) {
        bind(state, "Broker.Receive", "queue=q wait=60000");
        assert_int_equal(bind_finish(call), OK);
        assert_int_equal(call_run(call), ERR_PENDING);
        if (!on_its_way)
            remote_come_back_all();
        call_stop(call);
        remote_come_back_all();
        assert_int_equal(fixture->woken, ++woken);
        assert_int_equal(call->err, OK);
        assert_int_equal(call->broker.receive.count, 0);
        call_release(call, true);
    }
}

static void nothing_is_done_of_what_is_refused(void **state) {
    static const char *const asked[][2] = {
        {"Storage.Get", "type=hdd key=a"},
        {"Storage.GetEntry", "type=hdd key=a"},
        {"Storage.Has", "type=hdd key=a"},
        {"Storage.Ttl", "type=hdd key=a"},
        {"Storage.Set", "type=hdd key=a value=1"},
        {"Storage.Count", "type=hdd"},
        {"Storage.List", "type=hdd"},
        {"Broker.CreateQueue", "queue=q"},
        {"Broker.CreateRouter", "router=r type=direct"},
        {"Broker.GetQueue", "queue=q"},
        {"Broker.ListRouter", ""},
        {"Broker.Peek", "queue=q"},
        {"Broker.Publish", "router=default key=q payload=x"},
        {"Broker.Receive", "queue=q"},
    };
    struct fixture *fixture = *state;
    remote.refuse = ERR_UNAVAILABLE;
    for (unsigned i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        bind(state, asked[i][0], asked[i][1]);
        assert_int_equal(bind_finish(&fixture->call), OK);
        assert_int_equal(call_run(&fixture->call), ERR_UNAVAILABLE);
        assert_int_equal(fixture->call.err, ERR_UNAVAILABLE);
        call_release(&fixture->call, false);
    }
    assert_int_equal(fixture->woken, 0);
}

/* The second step of making something fails, after the first went well. */
static void a_change_that_is_refused_once_it_was_asked_for_fails(void **state) {
    struct fixture *fixture = *state;
    bind(state, "Broker.CreateQueue", "queue=q type=memory");
    assert_int_equal(bind_finish(&fixture->call), OK);
    assert_int_equal(call_run(&fixture->call), ERR_PENDING);
    remote.refuse = ERR_UNAVAILABLE;
    remote_come_back(1, false);
    assert_int_equal(fixture->woken, 1);
    assert_int_equal(fixture->call.err, ERR_UNAVAILABLE);
    remote.refuse = OK;
    assert_int_equal(run(state, "Broker.GetQueue", "queue=q"), ERR_QUEUE_NOT_EXIST);
}

static enum call_lane lane_of(void **state, const char *op_name) {
    return call_lane(bind(state, op_name, ""));
}

static void calls_say_what_they_may_be_parked_beside(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(lane_of(state, "Storage.Get"), LANE_READS);
    assert_int_equal(lane_of(state, "Storage.List"), LANE_READS);
    assert_int_equal(lane_of(state, "Broker.GetQueue"), LANE_READS);
    assert_int_equal(lane_of(state, "Storage.Set"), LANE_WRITES); /* on memory, too */
    assert_int_equal(lane_of(state, "Broker.Publish"), LANE_WRITES);
    assert_int_equal(lane_of(state, "Broker.Ack"), LANE_WRITES);
    assert_int_equal(lane_of(state, "Broker.CreateQueue"), LANE_ALONE);
    assert_int_equal(lane_of(state, "Broker.Bind"), LANE_ALONE);
    assert_int_equal(lane_of(state, "Broker.Receive"), LANE_ALONE);
    assert_int_equal(lane_of(state, "Storage.Batch"), LANE_ALONE);
    assert_int_equal(lane_of(state, "Storage.FlushAll"), LANE_ALONE);
    bind(state, "Broker.Publish", "");
    assert_false(call_may_try(&fixture->call));
    bind(state, "Storage.Get", "");
    assert_false(call_is_at_once(&fixture->call) || call_is_off_disk(&fixture->call));
    bind(state, "Server.Ping", "");
    assert_true(call_is_at_once(&fixture->call) && call_is_off_disk(&fixture->call));
}

static void failures_come_back_too(void **state) {
    remote.fail = ERR_UNAVAILABLE;
    assert_int_equal(run(state, "Storage.Get", "type=hdd key=a"), ERR_UNAVAILABLE);
    assert_int_equal(run(state, "Storage.Has", "type=hdd key=a"), ERR_UNAVAILABLE);
    assert_int_equal(run(state, "Storage.Set", "type=hdd key=a value=1"), ERR_UNAVAILABLE);
    assert_int_equal(run(state, "Storage.List", "type=hdd"), ERR_UNAVAILABLE);
    assert_int_equal(run(state, "Broker.GetQueue", "queue=q"), ERR_UNAVAILABLE);
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q"), ERR_UNAVAILABLE);
    assert_int_equal(run(state, "Broker.CreateRouter", "router=r type=direct"), ERR_UNAVAILABLE);
    assert_int_equal(run(state, "Broker.Publish", "router=default key=q payload=x"),
                     ERR_UNAVAILABLE);
    assert_int_equal(run(state, "Broker.Receive", "queue=q"), ERR_UNAVAILABLE);
    call_release(&((struct fixture *)*state)->call, false);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_value_is_written_and_read_on_both_storages),
        CASE(what_is_known_of_an_entry_is_told),
        CASE(many_keys_are_read_each_once_and_absent_ones_left_out),
        CASE(no_keys_at_all_are_read_at_once),
        CASE(what_is_made_is_told_and_what_is_there_is_told_as_it_is),
        CASE(a_message_goes_all_its_way),
        CASE(what_was_received_and_not_sent_comes_again),
        CASE(a_wait_is_stopped),
        CASE(nothing_is_done_of_what_is_refused),
        CASE(a_change_that_is_refused_once_it_was_asked_for_fails),
        CASE(calls_say_what_they_may_be_parked_beside),
        CASE(failures_come_back_too),
    };
    clock_move_for_test(NOW - clock_wall_ms()); /* the store drops what has expired by its clock */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
