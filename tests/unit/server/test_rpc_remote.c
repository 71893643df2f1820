/* SPDX-License-Identifier: MIT */
/* JSON-RPC over a remote store: what of a body may be on its way together. */
#include "tests/unit/server/rpc_asking.h"

static int set_up(void **state) {
    (void)state;
    remote_core_open(&core, false);
    return 0;
}

static int set_up_threaded(void **state) {
    (void)state;
    remote_core_open(&core, true);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    remote_close();
    return 0;
}

static void check_done(struct asking *asking, const char *expected) {
    assert_true(asking->done);
    check(asking, expected);
}

#define CALL(id, method, params)                                                                   \
    "{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"" method "\",\"params\":" params "}"
#define RESULT(id, result) "{\"jsonrpc\":\"2.0\",\"result\":" result ",\"id\":" #id "}"

/* [a,b,…], or without a parting comma the texts one after another; NUL-ended. */
static char *join(const char *const *texts, unsigned count, bool is_batch, const char *end) {
    static char joined[2][4096];
    static unsigned turn;
    char *text = joined[turn++ % 2];
    char *at = stpcpy(text, is_batch ? "[" : "");
    for (unsigned i = 0; i < count; i++)
        at = stpcpy(stpcpy(at, i && is_batch ? "," : ""), texts[i]);
    stpcpy(stpcpy(at, is_batch ? "]" : ""), end);
    return text;
}

static void reads_of_a_batch_are_on_their_way_together(void **state) {
    static const char *const calls[] = {
        CALL(1, "Storage.SetMany", "{\"type\":\"hdd\",\"entries\":{\"a\":\"1\",\"b\":\"2\"}}"),
        CALL(2, "Storage.Set", "{\"type\":\"memory\",\"key\":\"a\",\"value\":\"3\"}"),
        CALL(3, "Storage.Get", "[\"hdd\",\"a\"]"),
        CALL(4, "Storage.GetMany", "{\"type\":\"hdd\",\"keys\":[\"b\",\"a\"]}"),
        CALL(5, "Server.Ping", "[]"),
        CALL(6, "Storage.Get", "[\"memory\",\"a\"]"),
        CALL(7, "Storage.GetMany", "{\"type\":\"hdd\",\"keys\":[]}"),
        CALL(8, "Storage.Delete", "[\"hdd\",\"a\"]"),
    };
    static const char *const answers[] = {
        RESULT(1, "2"),        RESULT(2, "true"),
        RESULT(3, "\"1\""),    RESULT(4, "{\"b\":\"2\",\"a\":\"1\"}"),
        RESULT(5, "\"pong\""), RESULT(6, "\"3\""),
        RESULT(7, "{}"),       RESULT(8, "true"),
    };
    struct asking asking;
    (void)state;
    assert_int_equal(ask(&asking, slice_of_cstr(join(calls, 8, true, ""))), ERR_PENDING);
    assert_int_equal(remote_queued(), 2);
    remote_come_back(2, false);
    assert_int_equal(remote_queued(), 3);
    remote_come_back(3, true);
    assert_false(asking.done);
    remote_come_back(1, false);
    check_done(&asking, join(answers, 8, true, "\n"));
}

static bool says(const struct asking *asking, const char *text) {
    struct slice got = buf_slice(&asking->out);
    return memmem(got.ptr, got.len, text, strlen(text)) != NULL;
}

static void forget(struct asking *asking) {
    rpc_free(&asking->request);
    buf_done(&asking->out);
}

static void a_queue_is_made_before_what_is_behind_it(void **state) {
    static const char *const calls[] = {
        CALL(1, "Broker.CreateRouter", "{\"router\":\"r\",\"type\":\"fanout\"}"),
        CALL(2, "Broker.CreateQueue", "{\"queue\":\"q\",\"type\":\"memory\"}"),
        CALL(3, "Broker.Bind", "{\"router\":\"r\",\"queue\":\"q\"}"),
        CALL(4, "Broker.Publish", "{\"router\":\"r\",\"payload\":\"x\",\"id\":\"i\"}"),
        CALL(5, "Broker.ListQueue", "[]"),
    };
    struct asking asking;
    (void)state;
    assert_int_equal(ask(&asking, slice_of_cstr(join(calls, 5, false, ""))), ERR_PENDING);
    for (unsigned step = 0; step < 7; step++) {
        assert_int_equal(remote_queued(), 1);
        remote_come_back(1, false);
    }
    assert_int_equal(remote_queued(), 0);
    assert_true(asking.done);
    assert_true(says(&asking, "\"queues\":1"));
    assert_true(says(&asking, "\"queues\":[\"q\"]"));
    forget(&asking);
}

static void a_call_that_is_refused_is_answered_in_its_place(void **state) {
    static const char *const calls[] = {
        CALL(1, "Storage.Has", "[\"hdd\",\"a\"]"),
        CALL(2, "Storage.Nothing", "[]"),
        CALL(3, "Storage.Has", "[\"hdd\",\"a\"]"),
    };
    struct asking asking;
    (void)state;
    assert_int_equal(ask(&asking, slice_of_cstr(join(calls, 3, true, ""))), ERR_PENDING);
    assert_int_equal(remote_queued(), 2);
    remote_come_back(2, true);
    assert_true(asking.done);
    assert_true(says(&asking, "[" RESULT(1, "false") ",{"));
    assert_true(says(&asking, "-32601"));
    assert_true(says(&asking, "}," RESULT(3, "false") "]\n"));
    forget(&asking);
}

static void a_wait_in_a_body_is_stopped(void **state) {
    struct asking asking;
    (void)state;
    const char *make = CALL(1, "Broker.CreateQueue", "{\"queue\":\"q\",\"type\":\"memory\"}");
    const char *wait = CALL(1, "Broker.Receive", "{\"queue\":\"q\",\"wait\":60000}");
    assert_int_equal(ask(&asking, slice_of_cstr(make)), ERR_PENDING);
    remote_come_back_all();
    assert_true(asking.done);
    forget(&asking);
    for (unsigned on_its_way = 0; on_its_way < 2; on_its_way++) {
        assert_int_equal(ask(&asking, slice_of_cstr(wait)), ERR_PENDING);
        if (!on_its_way)
            remote_come_back_all();
        rpc_stop(&asking.request);
        remote_come_back_all();
        check_done(&asking, RESULT(1, "{\"messages\":[]}") "\n");
    }
}

/* ---- with a thread that answers by itself ---- */

#define READS 900

/* What is read comes while further calls are bound. */
static void a_large_batch_is_answered_in_order(void **state) {
    struct asking asking;
    struct buf body;
    struct buf expected;
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        buf_init(&body, 1 << 22);
        buf_init(&expected, 1 << 22);
        buf_append_char(&body, '[');
        buf_append_char(&expected, '[');
        for (unsigned i = 0; i < READS; i++) {
            bool writes = i % 100 == 0;
            buf_printf(&body,
                       "%s{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"Storage.%s\",\"params\":"
                       "[\"hdd\",\"a\\n\"%s]}",
                       i ? "," : "", i, writes ? "Increment" : "Get", writes ? ",1" : "");
            unsigned number = round * READS / 100 + i / 100 + 1;
            buf_printf(&expected, "%s{\"jsonrpc\":\"2.0\",\"result\":%s%u%s,\"id\":%u}",
                       i ? "," : "", writes ? "" : "\"", number, writes ? "" : "\"", i);
        }
        buf_append(&body, SLICE("]"));
        buf_append(&expected, SLICE("]\n"));
        buf_append_char(&expected, '\0');
        if (ask(&asking, buf_slice(&body)) == ERR_PENDING)
            while (!atomic_load(&asking.done))
                sched_yield();
        else
            asking.done = true;
        check_done(&asking, expected.ptr);
        buf_done(&body);
        buf_done(&expected);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define THREADED(name) cmocka_unit_test_setup_teardown(name, set_up_threaded, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(reads_of_a_batch_are_on_their_way_together),
        CASE(a_queue_is_made_before_what_is_behind_it),
        CASE(a_call_that_is_refused_is_answered_in_its_place),
        CASE(a_wait_in_a_body_is_stopped),
        THREADED(a_large_batch_is_answered_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
