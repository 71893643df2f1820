/* SPDX-License-Identifier: MIT */
/* Messages in answers of JSON-RPC: who has them, and who does not. */
#include "rpc_case.h"

#include "broker_fake.h"

#define RECEIVE(params, id) CALL("Broker.Receive", params, id)

static void ask_broker(struct asking *asking, const char *body, size_t out_max_bytes) {
    ask_bytes(asking, slice_of_cstr(body), out_max_bytes);
    asking->core.broker = &fake_broker;
    asking->err = rpc_run(&asking->request);
}

static void publish(const char *payload) {
    pthread_mutex_lock(&fake_broker.lock);
    fake_put(fake_queue(SLICE("q")), SLICE("q"), slice_of_cstr(payload));
    struct broker_receive *served = fake_serve(NULL, NULL, OK);
    pthread_mutex_unlock(&fake_broker.lock);
    fake_done(served);
}

static bool says(const struct asking *asking, const char *text) {
    return memmem(asking->out.ptr, asking->out.len, text, strlen(text)) != NULL;
}

static void what_was_sent_stays_leased_and_the_rest_is_ready_again(void **state) {
    struct asking asking;
    (void)state;
    for (int sent = 0; sent < 2; sent++) {
        publish("a");
        publish("b");
        ask_broker(&asking, "[" RECEIVE("[\"q\"]", "1") "," RECEIVE("[\"q\"]", "2") "]", 1U << 20);
        assert_int_equal(asking.err, OK);
        assert_true(says(&asking, "\"a\""));
        assert_true(says(&asking, "\"b\""));
        assert_non_null(asking.request.held);
        rpc_release(&asking.request, sent);
        assert_null(asking.request.held);
        asked(&asking);
        assert_int_equal(fake_broker.given_back, 2);
        assert_int_equal(fake_broker.bodies, 0);
    }
}

static void a_notification_receives_nothing(void **state) {
    struct asking asking;
    (void)state;
    publish("a");
    ask_broker(&asking, TOLD("Broker.Receive", "[\"q\"]"), 1U << 20);
    assert_null(asking.request.held);
    assert_int_equal(fake_broker.given_back, 1);
    asked(&asking);
}

static void an_answer_that_does_not_fit_holds_nothing(void **state) {
    struct asking asking;
    char large[1001];
    (void)state;
    memset(large, 'x', 1000);
    large[1000] = '\0';
    publish(large);
    ask_broker(&asking, RECEIVE("[\"q\"]", "1"), 500);
    assert_true(says(&asking, "-32004"));
    assert_null(asking.request.held);
    assert_int_equal(fake_broker.given_back, 1);
    asked(&asking);
    ask_broker(&asking, "[" RECEIVE("[\"q\"]", "1") "," RECEIVE("[\"q\"]", "2") "]", 1250);
    rpc_release(&asking.request, true);
    assert_int_equal(fake_broker.given_back, says(&asking, large) ? 1 : 2);
    asked(&asking);
}

static void a_wait_ends_with_the_message_it_waited_for(void **state) {
    struct asking asking;
    (void)state;
    ask_broker(&asking, RECEIVE("[\"q\",1,5000]", "1") RECEIVE("[\"q\",1,5000]", "2"), 1U << 20);
    assert_int_equal(asking.err, ERR_PENDING);
    assert_int_equal(fake_broker.waits, 1);
    publish("a");
    assert_int_equal(asking.done_count, 0);
    assert_int_equal(fake_broker.waits, 1);
    publish("b");
    assert_int_equal(asking.done_count, 1);
    assert_true(says(&asking, "\"b\""));
    rpc_release(&asking.request, true);
    asked(&asking);
    assert_int_equal(fake_broker.given_back, 0);
}

static void a_stopped_request_waits_no_more(void **state) {
    struct asking asking;
    (void)state;
    ask_broker(&asking, RECEIVE("[\"q\",1,5000]", "1") RECEIVE("[\"q\",1,5000]", "2"), 1U << 20);
    assert_int_equal(asking.err, ERR_PENDING);
    rpc_stop(&asking.request);
    assert_int_equal(asking.done_count, 1);
    assert_int_equal(fake_broker.waits, 0);
    rpc_stop(&asking.request);
    assert_int_equal(asking.done_count, 1);
    asked(&asking);
}

static void *publish_in_thread(void *context) {
    (void)context;
    publish("a");
    return NULL;
}

static _Atomic unsigned finished;

static void count_done(struct rpc_request *request) {
    (void)request;
    atomic_fetch_add(&finished, 1);
}

static void a_stop_may_meet_the_message(void **state) {
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        struct asking asking;
        pthread_t thread;
        unsigned before = atomic_load(&finished);
        ask_bytes(&asking,
                  SLICE(RECEIVE("[\"q\",1,5000]", "1") CALL("Server.Ping", "[]", "2")
                            RECEIVE("[\"q\",1,5000]", "3")),
                  1U << 20);
        asking.core.broker = &fake_broker;
        asking.request.done = count_done;
        assert_int_equal(rpc_run(&asking.request), ERR_PENDING);
        assert_int_equal(pthread_create(&thread, NULL, publish_in_thread, NULL), 0);
        rpc_stop(&asking.request);
        while (atomic_load(&finished) == before)
            sched_yield();
        pthread_join(thread, NULL);
        assert_int_equal(atomic_load(&finished), before + 1);
        asked(&asking);
        fake_drop_messages(fake_queue(SLICE("q")));
    }
}

static int make_queue(void **state) {
    (void)state;
    fake_create(SLICE("q"));
    return 0;
}

static int forget_all(void **state) {
    fake_broker_forget();
    return forget(state);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_queue, forget_all)

int main(void) {
    op_init();
    const struct CMUnitTest tests[] = {
        CASE(what_was_sent_stays_leased_and_the_rest_is_ready_again),
        CASE(a_notification_receives_nothing),
        CASE(an_answer_that_does_not_fit_holds_nothing),
        CASE(a_wait_ends_with_the_message_it_waited_for),
        CASE(a_stopped_request_waits_no_more),
        CASE(a_stop_may_meet_the_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
