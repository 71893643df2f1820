/* SPDX-License-Identifier: MIT */
/* Calls that are answered later, and answers that do not fit. */
#include "rpc_case.h"

static void durable_writes_share_a_commit_and_reads_wait(void **state) {
    (void)state;
    for (int backwards = 0; backwards < 2; backwards++) {
        struct asking asking;
        ask(&asking,
            "[" SET_HDD("a", "1", "1") "," SET_HDD("a", "2", "2") "," CALL(
                "Server.Ping", "[]",
                "3") ",7," TOLD("Storage.Set",
                                "[\"hdd\",\"b\",\"x\"]") "," CALL("Storage.Get", "[\"hdd\",\"a\"]",
                                                                  "4") "," SET_HDD("a", "3",
                                                                                   "5") "]" SET_HDD("c",
                                                                                                    "1",
                                                                                                    "6")
                CALL("Storage.Get", "[\"hdd\",\"a\"]", "7"));
        assert_int_equal(asking.err, ERR_PENDING);
        assert_int_equal(fake.queued, 3);
        assert_int_equal(fake.gets, 0);
        fake_come_back(backwards);
        assert_int_equal(fake.gets, 1);
        assert_int_equal(fake.queued, 2);
        assert_int_equal(asking.done_count, 0);
        fake_come_back(backwards);
        assert_int_equal(asking.done_count, 1);
        buf_append_char(&asking.out, '\0');
        char *data = strstr(asking.out.ptr, ",\"data\":{");
        memmove(data, strchr(data, '}') + 1, strlen(strchr(data, '}') + 1) + 1);
        assert_string_equal(
            asking.out.ptr,
            "[" RESULT("true", "1") "," RESULT("true", "2") "," RESULT("\"pong\"", "3") "," FAILED_(
                INVALID,
                "null") "," RESULT("\"2\"",
                                   "4") "," RESULT("true",
                                                   "5") "]\n" RESULT("true",
                                                                     "6") "\n" RESULT("\"3\"",
                                                                                      "7") "\n");
        asked(&asking);
        fake_forget();
    }
}

static void notifications_are_done_before_the_request_is(void **state) {
    (void)state;
    struct asking asking;
    ask(&asking, TOLD("Storage.Set", "[\"hdd\",\"a\",\"1\"]"));
    assert_int_equal(asking.err, ERR_PENDING);
    fake_come_back(false);
    assert_int_equal(asking.done_count, 1);
    check_answer(&asking, "");
    asked(&asking);
}

static void a_wake_before_the_return_answers_at_once(void **state) {
    (void)state;
    fake.wake_before_return = true;
    expect(SET_HDD("a", "1", "1") SET_HDD("a", "2", "2")
               CALL("Storage.Get", "[\"hdd\",\"a\"]", "3"),
           RESULT("true", "1") "\n" RESULT("true", "2") "\n" RESULT("\"2\"", "3") "\n");
}

static void nothing_runs_beside_a_parked_listing(void **state) {
    (void)state;
    struct asking asking;
    fake.park_lists = true;
    ask(&asking, CALL("Storage.List", "[\"hdd\"]", "1") SET_HDD("a", "1", "2")
                     CALL("Storage.Get", "[\"memory\",\"a\"]", "3"));
    assert_int_equal(asking.err, ERR_PENDING);
    assert_int_equal(fake.queued, 0);
    assert_int_equal(fake.gets, 0);
    fake_fill_list(fake.list);
    fake.list->done(fake.list);
    assert_int_equal(fake.queued, 1);
    assert_int_equal(fake.gets, 1);
    fake_come_back(false);
    assert_int_equal(asking.done_count, 1);
    assert_non_null(memmem(asking.out.ptr, asking.out.len, "{\"keys\":[\"a\"]}", 14));
    asked(&asking);
}

static void a_batch_of_durable_writes_is_one_wait(void **state) {
    (void)state;
    struct buf body;
    struct asking asking;
    buf_init(&body, 1U << 20);
    for (unsigned i = 0; i < 1500; i++)
        buf_printf(&body, SET_HDD("%u", "v", "%u"), i % FAKE_ENTRIES, i);
    buf_append_char(&body, '\0');
    ask(&asking, body.ptr);
    assert_int_equal(asking.err, ERR_PENDING);
    assert_int_equal(fake.queued, 1000);
    fake_come_back(true);
    assert_int_equal(fake.queued, 500);
    fake_come_back(true);
    assert_int_equal(asking.done_count, 1);
    unsigned id = 0;
    buf_append_char(&asking.out, '\0');
    for (char *line = strtok(asking.out.ptr, "\n"); line; line = strtok(NULL, "\n")) {
        char expected[128];
        snprintf(expected, sizeof expected, RESULT("true", "%u"), id++);
        assert_string_equal(line, expected);
    }
    assert_int_equal(id, 1500);
    asked(&asking);
    buf_done(&body);
}

static void answers_over_the_buffer_are_errors(void **state) {
    (void)state;
    struct asking asking;
    char body[1024];
    snprintf(body, sizeof body, CALL("Storage.Set", "[\"memory\",\"a\",\"%0500d\"]", "1"), 0);
    expect(body, RESULT("true", "1") "\n");
    ask_bytes(&asking,
              SLICE(CALL("Storage.Get", "[\"memory\",\"a\"]", "1") CALL("Server.Ping", "[]", "2")),
              400);
    assert_int_equal(rpc_run(&asking.request), OK);
    assert_non_null(memmem(asking.out.ptr, asking.out.len, "-32004", 6));
    assert_non_null(memmem(asking.out.ptr, asking.out.len, RESULT("\"pong\"", "2") "\n", 41));
    asked(&asking);
    struct buf batch;
    batch_of(&batch, 100);
    ask_bytes(&asking, slice_of_cstr(batch.ptr), 500);
    assert_int_equal(rpc_run(&asking.request), OK);
    assert_true(slice_starts_with(buf_slice(&asking.out),
                                  SLICE("{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32004")));
    asked(&asking);
    ask_bytes(&asking, slice_of_cstr(batch.ptr), 50);
    assert_int_equal(rpc_run(&asking.request), ERR_OUT_OF_MEMORY);
    assert_int_equal(asking.out.len, 0);
    asked(&asking);
    buf_done(&batch);
}

static void errors_before_any_method(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 1024);
    assert_true(rpc_append_error(&out, ERR_FORBIDDEN, "not you"));
    buf_append_char(&out, '\0');
    assert_string_equal(out.ptr,
                        "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32013,\"message\":\"FORBIDDEN: "
                        "not allowed\",\"data\":{\"detail\":\"not you\"}},\"id\":null}\n");
    buf_done(&out);
    buf_init(&out, 10);
    assert_false(rpc_append_error(&out, ERR_FORBIDDEN, NULL));
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

struct committer {
    pthread_t thread;
    atomic_bool stop;
};

static void *commit_all(void *argument) {
    struct committer *committer = argument;
    while (!atomic_load(&committer->stop))
        if (!fake_come_back(false))
            sched_yield(); /* who writes wants the lock too */
    return NULL;
}

static atomic_uint finished;

static void count_done(struct rpc_request *request) {
    (void)request;
    atomic_fetch_add(&finished, 1);
}

static void wakes_come_from_another_thread(void **state) {
    (void)state;
    struct committer committer = {.stop = false};
    assert_int_equal(pthread_create(&committer.thread, NULL, commit_all, &committer), 0);
    for (unsigned i = 0; i < 2000; i++) {
        struct asking asking;
        unsigned before = atomic_load(&finished);
        ask_bytes(
            &asking,
            SLICE("[" SET_HDD("a", "1", "1") "," CALL(
                "Storage.Get", "[\"hdd\",\"a\"]",
                "2") "," SET_HDD("a", "2", "3") "," SET_HDD("b", "2",
                                                            "4") "]" CALL("Storage.Get",
                                                                          "[\"hdd\",\"a\"]", "5")
                      SET_HDD("a", "9", "6")),
            1U << 16);
        asking.request.done = count_done;
        enum err err = rpc_run(&asking.request);
        while (err == ERR_PENDING && atomic_load(&finished) == before)
            sched_yield();
        check_answer(
            &asking,
            "[" RESULT("true", "1") "," RESULT("\"1\"", "2") "," RESULT("true", "3") "," RESULT(
                "true", "4") "]\n" RESULT("\"2\"", "5") "\n" RESULT("true", "6") "\n");
        asked(&asking);
    }
    atomic_store(&committer.stop, true);
    pthread_join(committer.thread, NULL);
}

int main(void) {
    op_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(durable_writes_share_a_commit_and_reads_wait, forget),
        cmocka_unit_test_teardown(notifications_are_done_before_the_request_is, forget),
        cmocka_unit_test_teardown(a_wake_before_the_return_answers_at_once, forget),
        cmocka_unit_test_teardown(nothing_runs_beside_a_parked_listing, forget),
        cmocka_unit_test_teardown(a_batch_of_durable_writes_is_one_wait, forget),
        cmocka_unit_test_teardown(answers_over_the_buffer_are_errors, forget),
        cmocka_unit_test_teardown(errors_before_any_method, forget),
        cmocka_unit_test_teardown(wakes_come_from_another_thread, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
