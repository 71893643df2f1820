/* SPDX-License-Identifier: MIT */
/* The broker's operations over a real broker with queues on memory and a clock that is moved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "handlers/bind.h"
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
    char why[256];
    struct broker_options options = {.manual_clock = true};
    op_init();
    memset(&fixture, 0, sizeof fixture);
    fixture.core.payload_limit_bytes = 1 << 20;
    arena_init(&fixture.arena, 1 << 24);
    assert_int_equal(broker_open(&options, &fixture.core.broker, why, sizeof why), OK);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    broker_drain(fixture->core.broker);
    broker_close(fixture->core.broker);
    arena_done(&fixture->arena);
    return 0;
}

/* Binds `name=value` words, then runs: as a caller without a hurry. */
static enum err run(void **state, const char *op_name, const char *words) {
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
    assert_int_equal(bind_finish(call), OK);
    return call_run(call);
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

/* What is done in the background, by and by, is done in a tick here. */
static void expect(void **state, const char *op_name, const char *words, const char *expected) {
    struct fixture *fixture = *state;
    unsigned woken = fixture->woken;
    enum err err = run(state, op_name, words);
    if (err == ERR_PENDING) {
        broker_tick(fixture->core.broker, NOW);
        assert_int_equal(fixture->woken, woken + 1);
        err = fixture->call.err;
    }
    assert_int_equal(err, OK);
    assert_string_equal(result(state), expected);
}

/* Takes one message; its receipt is in the arena. */
static const char *take(void **state, const char *queue) {
    struct fixture *fixture = *state;
    struct call *call = &fixture->call;
    const char *words = arena_printf(&fixture->arena, "queue=%s", queue);
    assert_int_equal(run(state, "Broker.Receive", words), OK);
    assert_true(call->broker.holds);
    assert_int_equal(call->broker.receive.count, 1);
    return arena_printf(&fixture->arena, "queue=%s receipt=%.*s", queue, BROKER_RECEIPT_BYTES,
                        call->broker.receive.deliveries[0].receipt);
}

#define QUEUE_OF(name, options, counts)                                                            \
    "{\"name\":\"" name "\",\"type\":\"memory\"," options ",\"paused\":false," counts              \
    ",\"published\":0,\"delivered\":0,\"acked\":0,\"redelivered\":0,\"dead_lettered\":0,"          \
    "\"expired\":0,\"dropped\":0,\"consumers\":0,\"oldest_ms\":0}"

static void test_a_queue_is_answered_as_an_object_and_made_once(void **state) {
    struct fixture *fixture = *state;
    const char *object =
        QUEUE_OF("q",
                 "\"lease\":30000,\"max-deliver\":2,\"dead-letter\":\"d\",\"ttl\":0,"
                 "\"max-length\":0,\"overflow\":\"drop-head\",\"dedup-window\":0",
                 "\"ready\":0,\"leased\":0,\"delayed\":0");
    const char *words = "queue=q type=memory max-deliver=2 dead-letter=d overflow=drop-head";
    expect(state, "Broker.CreateQueue", words, object);
    assert_true(fixture->call.reply.created);
    expect(state, "Broker.CreateQueue", words, object);
    assert_false(fixture->call.reply.created);
    expect(state, "Broker.GetQueue", "queue=q", object);
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), ERR_CONFLICT);
    assert_int_equal(run(state, "Broker.GetQueue", "queue=other"), ERR_QUEUE_NOT_EXIST);
}

static void test_a_router_is_answered_with_its_bindings(void **state) {
    struct fixture *fixture = *state;
    expect(state, "Broker.CreateRouter", "router=r type=topic",
           "{\"name\":\"r\",\"type\":\"topic\",\"published\":0,\"unroutable\":0,\"bindings\":[]}");
    assert_true(fixture->call.reply.created);
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    expect(state, "Broker.Bind", "router=r queue=q pattern=a.*", "true");
    assert_true(fixture->call.reply.created);
    expect(state, "Broker.CreateRouter", "router=r type=topic",
           "{\"name\":\"r\",\"type\":\"topic\",\"published\":0,\"unroutable\":0,"
           "\"bindings\":[{\"queue\":\"q\",\"pattern\":\"a.*\"}]}");
    assert_false(fixture->call.reply.created);
    expect(state, "Broker.Unbind", "router=r queue=q pattern=a.*", "true");
    expect(state, "Broker.Unbind", "router=r queue=q pattern=a.*", "false");
    expect(state, "Broker.DeleteRouter", "router=r", "true");
    assert_int_equal(run(state, "Broker.DeleteRouter", "router=r"), ERR_ROUTER_NOT_EXIST);
    assert_int_equal(run(state, "Broker.DeleteRouter", "router=default"), ERR_CONFLICT);
    assert_string_equal(call_detail(&fixture->call), "the router `default` is built in");
    assert_int_equal(run(state, "Broker.Bind", "router=default queue=q"), ERR_CONFLICT);
    assert_non_null(strstr(call_detail(&fixture->call), "under its own name"));
}

static void test_a_queue_is_not_its_own_dead_letter_queue(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory dead-letter=q"),
                     ERR_SYNTAX);
    assert_non_null(strstr(call_detail(&fixture->call), "its own dead-letter"));
    assert_int_equal(run(state, "Broker.GetQueue", "queue=q"), ERR_QUEUE_NOT_EXIST);
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory dead-letter=qq"), OK);
}

static void test_lists_are_objects_and_on_lines_arrays(void **state) {
    struct fixture *fixture = *state;
    const struct reply *reply = &fixture->call.reply;
    expect(state, "Broker.ListQueue", "", "{\"queues\":[]}");
    assert_true(slice_equal(reply->line_text, SLICE("[]")));
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=b type=memory"), OK);
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=a\" type=memory"), OK);
    expect(state, "Broker.ListQueue", "", "{\"queues\":[\"a\\\"\",\"b\"]}");
    assert_true(slice_equal(reply->line_text, SLICE("[\"a\\\"\",\"b\"]")));
    expect(state, "Broker.ListRouter", "", "{\"routers\":[\"default\"]}");
    assert_int_equal(run(state, "Broker.GetQueue", "queue=b"), OK);
    assert_int_equal(reply->line_text.len, 0);
}

static void test_a_publish_tells_its_id_and_the_queues_it_reached(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory max-length=1"), OK);
    expect(state, "Broker.Publish", "router=default key=q payload=x id=a\"\\b",
           "{\"id\":\"a\\\"\\\\b\",\"queues\":1}");
    assert_true(slice_equal(fixture->call.reply.id, SLICE("a\"\\b")));
    assert_int_equal(fixture->call.reply.number, 1);
    expect(state, "Broker.Publish", "router=default key=nobody payload=x id=i",
           "{\"id\":\"i\",\"queues\":0}");
    assert_int_equal(run(state, "Broker.Publish", "router=default key=q payload=x"),
                     ERR_QUEUE_FULL);
    assert_int_equal(run(state, "Broker.Publish", "router=other key=q payload=x"),
                     ERR_ROUTER_NOT_EXIST);
}

static void test_an_id_of_every_length_has_room_in_the_answer(void **state) {
    char words[64 + BROKER_NAME_MAX];
    char expected[64 + 2 * BROKER_NAME_MAX];
    for (int len = 1; len <= BROKER_NAME_MAX; len++) {
        char id[BROKER_NAME_MAX + 1] = {0};
        char escaped[2 * BROKER_NAME_MAX + 1] = {0};
        memset(id, '\\', (size_t)len);
        memset(escaped, '\\', 2 * (size_t)len);
        snprintf(words, sizeof words, "router=default payload=x id=%s", id);
        snprintf(expected, sizeof expected, "{\"id\":\"%s\",\"queues\":0}", escaped);
        expect(state, "Broker.Publish", words, expected);
    }
}

static void publish(void **state, const char *queue, struct slice payload, struct slice headers) {
    struct fixture *fixture = *state;
    struct broker_op op = {.action = BROKER_PUBLISH,
                           .router = SLICE("default"),
                           .routing_key = slice_of_cstr(queue),
                           .payload = payload,
                           .id = SLICE("i"),
                           .headers = headers};
    struct broker_write write = {.ops = &op, .op_count = 1, .now_ms = NOW};
    assert_int_equal(broker_submit(fixture->core.broker, &write), OK);
}

static void test_a_message_is_rendered_with_all_that_is_known_of_it(void **state) {
    struct fixture *fixture = *state;
    struct call *call = &fixture->call;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    publish(state, "q", SLICE("h\"i\n"), SLICE("{\"x\":1}"));
    publish(state, "q", SLICE("\xFF\x01"), SLICE(""));
    expect(state, "Broker.Peek", "queue=q",
           "{\"messages\":["
           "{\"id\":\"i\",\"attempt\":0,\"key\":\"q\",\"payload\":\"h\\\"i\\n\","
           "\"headers\":{\"x\":1},\"published_at\":1700000000000},"
           "{\"id\":\"i\",\"attempt\":0,\"key\":\"q\",\"payload\":\"/wE=\","
           "\"encoding\":\"base64\",\"headers\":{},\"published_at\":1700000000000}]}");
    assert_int_equal(run(state, "Broker.Receive", "queue=q max=1"), OK);
    const char *expected = arena_printf(
        &fixture->arena,
        "{\"messages\":[{\"receipt\":\"%.*s\",\"id\":\"i\",\"attempt\":1,\"key\":\"q\","
        "\"payload\":\"h\\\"i\\n\",\"headers\":{\"x\":1},\"published_at\":1700000000000}]}",
        BROKER_RECEIPT_BYTES, call->broker.receive.deliveries[0].receipt);
    assert_string_equal(result(state), expected);
    call_release(call, true);
}

static void test_a_dead_letter_says_why_and_whence(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=d type=memory"), OK);
    assert_int_equal(
        run(state, "Broker.CreateQueue", "queue=q type=memory max-deliver=1 dead-letter=d"), OK);
    publish(
        state, "q", SLICE("x"),
        SLICE("{\"reason\":\"mine\",\"o\":[1,{\"from\":\"}\"}],\"attempt\":{\"a\":2},\"z\":3}"));
    const char *receipt = take(state, "q");
    call_release(&fixture->call, true);
    expect(state, "Broker.Nack", receipt, "true");
    expect(state, "Broker.Peek", "queue=d",
           "{\"messages\":[{\"id\":\"i\",\"attempt\":0,\"key\":\"q\",\"payload\":\"x\","
           "\"headers\":{\"attempt\":1,\"reason\":\"max-deliver\",\"from\":\"q\","
           "\"o\":[1,{\"from\":\"}\"}],\"z\":3},\"published_at\":1700000000000,"
           "\"reason\":\"max-deliver\",\"from\":\"q\"}]}");
    expect(state, "Broker.Redrive", "queue=d", "{\"moved\":1}");
    assert_int_equal(fixture->call.reply.number, 1);
    expect(state, "Broker.Flush", "queue=q", "{\"dropped\":1}");
}

static void test_a_stale_receipt_is_refused(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    publish(state, "q", SLICE("x"), SLICE(""));
    const char *receipt = take(state, "q");
    call_release(&fixture->call, true);
    expect(state, "Broker.Extend", arena_printf(&fixture->arena, "%s lease=5", receipt), "true");
    expect(state, "Broker.Ack", receipt, "true");
    assert_int_equal(run(state, "Broker.Ack", receipt), ERR_RECEIPT_INVALID);
    assert_int_equal(run(state, "Broker.Nack", receipt), ERR_RECEIPT_INVALID);
    assert_int_equal(run(state, "Broker.Ack", "queue=q receipt=nonsense"), ERR_RECEIPT_INVALID);
    assert_int_equal(run(state, "Broker.Ack", "queue=other receipt=x"), ERR_QUEUE_NOT_EXIST);
}

static void test_what_was_not_sent_is_ready_again_and_not_counted(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    publish(state, "q", SLICE("x"), SLICE(""));
    (void)take(state, "q");
    call_release(&fixture->call, false);
    assert_false(fixture->call.broker.holds);
    (void)take(state, "q");
    assert_int_equal(fixture->call.broker.receive.deliveries[0].attempt, 1);
    call_release(&fixture->call, true);
}

static void test_a_wait_is_parked_and_ends_with_a_publish_or_when_it_is_stopped(void **state) {
    struct fixture *fixture = *state;
    struct call *call = &fixture->call;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    assert_int_equal(run(state, "Broker.Receive", "queue=q wait=1000"), ERR_PENDING);
    publish(state, "q", SLICE("x"), SLICE(""));
    assert_int_equal(fixture->woken, 1);
    assert_int_equal(call->err, OK);
    assert_int_equal(call->broker.receive.count, 1);
    call_release(call, true);
    assert_int_equal(run(state, "Broker.Receive", "queue=q wait=1000"), ERR_PENDING);
    call_stop(call);
    assert_int_equal(fixture->woken, 2);
    assert_int_equal(call->broker.receive.count, 0);
    assert_string_equal(result(state), "{\"messages\":[]}");
    call_release(call, true);
}

static void test_a_wait_is_not_begun_where_the_caller_is_in_a_hurry(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    assert_int_equal(run(state, "Broker.Receive", "queue=q"), OK);
    call_release(&fixture->call, true);
    fixture->call.broker.at_once = true;
    fixture->call.args.wait_ms = 1000;
    assert_int_equal(call_run(&fixture->call), ERR_WOULD_WAIT);
    assert_int_equal(fixture->woken, 0);
    call_release(&fixture->call, true);
}

static void test_many_messages_have_an_outcome_each(void **state) {
    struct fixture *fixture = *state;
    struct call *call = &fixture->call;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory max-length=1"), OK);
    struct args_message messages[] = {
        {.key = SLICE("q"), .payload = SLICE("1"), .id = SLICE("a")},
        {.err = ERR_SYNTAX, .detail = "payload is missing"},
        {.key = SLICE("q"), .payload = SLICE("2"), .id = SLICE("b")},
        {.key = SLICE("-"), .payload = SLICE("3"), .id = SLICE("c")},
    };
    call_set_op(call, op_find_name(SLICE("Broker.PublishMany")));
    call->args.router = SLICE("default");
    call->args.messages = messages;
    call->args.message_count = 4;
    assert_int_equal(call_run(call), OK);
    assert_string_equal(result(state),
                        "{\"results\":[{\"id\":\"a\",\"queues\":1},"
                        "{\"error\":{\"code\":\"SYNTAX\",\"message\":\"payload is missing\"}},"
                        "{\"error\":{\"code\":\"QUEUE_FULL\",\"message\":\"the queue is full\"}},"
                        "{\"id\":\"c\",\"queues\":0}]}");
    call->args.router = SLICE("other");
    assert_int_equal(call_run(call), ERR_ROUTER_NOT_EXIST);
    call->args.messages = &messages[1];
    call->args.message_count = 1;
    assert_int_equal(call_run(call), OK);
    call->args.message_count = 0;
    assert_int_equal(call_run(call), OK);
    assert_string_equal(result(state), "{\"results\":[]}");
}

static void test_many_receipts_have_an_outcome_each(void **state) {
    struct fixture *fixture = *state;
    struct call *call = &fixture->call;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    publish(state, "q", SLICE("x"), SLICE(""));
    const char *words = take(state, "q");
    struct slice receipts[] = {SLICE(""), slice_of_cstr(strstr(words, "receipt=") + 8)};
    call_release(call, true);
    call_set_op(call, op_find_name(SLICE("Broker.AckMany")));
    call->args.queue = SLICE("q");
    call->args.keys = receipts;
    call->args.key_count = 2;
    assert_int_equal(call_run(call), OK);
    assert_string_equal(result(state),
                        "{\"results\":[{\"error\":{\"code\":\"RECEIPT_INVALID\",\"message\":"
                        "\"the receipt is no longer good\"}},true]}");
    call->args.queue = SLICE("other");
    assert_int_equal(call_run(call), ERR_QUEUE_NOT_EXIST);
}

static void test_a_peek_goes_on_where_its_cursor_says(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    for (unsigned i = 0; i < 5; i++)
        publish(state, "q", slice_make(&"01234"[i], 1), SLICE(""));
    const char *words = "queue=q limit=2";
    char seen[6] = {0};
    for (unsigned page = 0, count = 0; words; page++) {
        assert_true(page < 3);
        assert_int_equal(run(state, "Broker.Peek", words), OK);
        const char *text = result(state);
        for (const char *at = text; (at = strstr(at, "\"payload\":\"")) != NULL; at++)
            seen[count++] = at[11];
        const char *cursor = strstr(text, "\"cursor\":\"");
        words = cursor ? arena_printf(&fixture->arena, "queue=q limit=2 cursor=%.12s", cursor + 10)
                       : NULL;
    }
    assert_string_equal(seen, "01234");
    assert_int_equal(run(state, "Broker.Peek", "queue=q cursor=AAAA"), ERR_SYNTAX);
    assert_int_equal(run(state, "Broker.Peek", "queue=q cursor=CgAAAAAAAAAB"), ERR_SYNTAX);
}

static void test_a_paused_queue_hands_out_nothing(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(run(state, "Broker.CreateQueue", "queue=q type=memory"), OK);
    publish(state, "q", SLICE("x"), SLICE(""));
    expect(state, "Broker.Pause", "queue=q", "true");
    expect(state, "Broker.Receive", "queue=q", "{\"messages\":[]}");
    call_release(&fixture->call, true);
    expect(state, "Broker.Resume", "queue=q", "true");
    (void)take(state, "q");
    call_release(&fixture->call, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_queue_is_answered_as_an_object_and_made_once),
        TEST(test_a_router_is_answered_with_its_bindings),
        TEST(test_lists_are_objects_and_on_lines_arrays),
        TEST(test_a_publish_tells_its_id_and_the_queues_it_reached),
        TEST(test_an_id_of_every_length_has_room_in_the_answer),
        TEST(test_a_message_is_rendered_with_all_that_is_known_of_it),
        TEST(test_a_dead_letter_says_why_and_whence),
        TEST(test_a_queue_is_not_its_own_dead_letter_queue),
        TEST(test_a_stale_receipt_is_refused),
        TEST(test_what_was_not_sent_is_ready_again_and_not_counted),
        TEST(test_a_wait_is_parked_and_ends_with_a_publish_or_when_it_is_stopped),
        TEST(test_a_wait_is_not_begun_where_the_caller_is_in_a_hurry),
        TEST(test_many_messages_have_an_outcome_each),
        TEST(test_many_receipts_have_an_outcome_each),
        TEST(test_a_peek_goes_on_where_its_cursor_says),
        TEST(test_a_paused_queue_hands_out_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
