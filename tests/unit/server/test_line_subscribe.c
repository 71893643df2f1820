/* SPDX-License-Identifier: MIT */
#include "line_broker_case.h"

/* A connection that makes two queues and hears the messages that are named. */
static int dial_publisher(const struct fixture *fixture) {
    int fd = dial(fixture);
    say(fd, "CREATEQUEUE q memory\nCREATEQUEUE p memory\n");
    hear(fd, "+OK\n+OK\n");
    return fd;
}

static void messages_come_behind_the_reply(void **state) {
    struct fixture *fixture = *state;
    int other = dial_publisher(fixture);
    int fd = dial(fixture);
    say(other, "PUBLISH default q a\nPUBLISH default q b\n");
    hear(other, "+OK m1 1\n+OK m2 1\n");
    say(fd, "SUBSCRIBE q\nPING\n");
    hear(fd, "+OK\n+PONG\nMSG r1 1 q 1\na\nMSG r2 1 q 1\nb\n");
    say(other, "PUBLISH default q c\n");
    hear(fd, "MSG r3 1 q 1\nc\n");
    say(other, "PUBLISH default  d\n"); /* without a key */
    hear(fd, "MSG r4 1  1\nd\n");
    say(fd, "PING\nACK q r3\n");
    hear(fd, "+PONG\n+OK\n");
    assert_int_equal(fake_figure(&fake_broker.given_back), 0);
    close(fd);
    fake_await(&fake_broker.consumers, 0);
    close(other);
}

static void no_more_than_prefetch_are_unacknowledged(void **state) {
    struct fixture *fixture = *state;
    int other = dial_publisher(fixture);
    int fd = dial(fixture);
    say(other, "PUBLISH default q a\nPUBLISH default q b\nPUBLISH default q c\n");
    hear(other, "+OK m1 1\n+OK m2 1\n+OK m3 1\n");
    say(fd, "SUBSCRIBE q 1\n");
    hear(fd, "+OK\nMSG r1 1 q 1\na\n");
    await_loop(fixture);
    assert_int_equal(fake_figure(&fake_broker.receipts), 1);
    say(fd, "ACK q r1\n");
    hear(fd, "+OK\nMSG r2 1 q 1\nb\n");
    say(fd, "NACK q r2\n");
    hear(fd, "+OK\nMSG r3 2 q 1\nb\n");
    close(fd);
    fake_await(&fake_broker.consumers, 0);
    close(other);
}

static void a_connection_may_have_several(void **state) {
    struct fixture *fixture = *state;
    int other = dial_publisher(fixture);
    int fd = dial(fixture);
    say(fd, "SUBSCRIBE q\nSUBSCRIBE p 2\nSUBSCRIBE q\nSUBSCRIBE q 16\nSUBSCRIBE q 17\n"
            "SUBSCRIBE none\nSUBSCRIBE\nSUBSCRIBE q 0\nSUBSCRIBE q 65536\nSUBSCRIBE q x\n"
            "SUBSCRIBE q 1 1\nUNSUBSCRIBE\nUNSUBSCRIBE q p\n");
    hear(fd, "+OK\n+OK\n+OK\n+OK\n");
    hear_line(fd, "+ERR CONFLICT ");
    hear_line(fd, "+ERR QUEUE_NOT_EXIST ");
    for (int i = 0; i < 7; i++)
        hear_line(fd, "+ERR SYNTAX ");
    assert_int_equal(fake_figure(&fake_broker.consumers), 2);
    say(other, "PUBLISH default q a\n");
    hear(fd, "MSG r1 1 q 1\na\n");
    say(other, "PUBLISH default p b\n");
    hear(fd, "MSG r2 1 p 1\nb\n");
    say(fd, "UNSUBSCRIBE q\nUNSUBSCRIBE q\nUNSUBSCRIBE none\n");
    hear(fd, "+OK\n+OK\n+OK\n");
    assert_int_equal(fake_figure(&fake_broker.consumers), 1);
    say(other, "PUBLISH default q c\nPUBLISH default p d\n");
    hear(fd, "MSG r3 1 p 1\nd\n");
    say(fd, "ACK q r1\n"); /* its lease lives on */
    hear(fd, "+OK\n");
    close(fd);
    fake_await(&fake_broker.consumers, 0);
    close(other);
}

static void a_subscription_may_be_begun_anew(void **state) {
    struct fixture *fixture = *state;
    int other = dial_publisher(fixture);
    int fd = dial(fixture);
    say(fd, "SUBSCRIBE q\nUNSUBSCRIBE q\nSUBSCRIBE q 3\nQUIT\n");
    hear(fd, "+OK\n+OK\n+OK\n+OK\n");
    hear_end(fd);
    fake_await(&fake_broker.consumers, 0);
    close(other);
}

static void a_subscription_ends_with_its_queue(void **state) {
    struct fixture *fixture = *state;
    int other = dial_publisher(fixture);
    int fd = dial(fixture);
    say(fd, "SUBSCRIBE q\nSUBSCRIBE p\n");
    hear(fd, "+OK\n+OK\n");
    fake_await(&fake_broker.waits, 2);
    say(other, "DELETEQUEUE q\n");
    hear_line(fd, "+ERR QUEUE_NOT_EXIST the subscription to q ended");
    say(other, "PUBLISH default p a\n");
    hear(fd, "MSG r1 1 p 1\na\n");
    assert_int_equal(fake_figure(&fake_broker.consumers), 1);
    close(fd);
    fake_await(&fake_broker.consumers, 0);
    close(other);
}

/* What the kernel did not take waits here, and no more is asked for meanwhile. */
static void a_slow_reader_is_sent_no_further(void **state) {
    struct fixture *fixture = *state;
    enum { COUNT = 600 };
    int other = dial_publisher(fixture);
    size_t len = 50000;
    char *payload = publish_large(other, COUNT, len);
    int fd = dial(fixture);
    say(fd, "SUBSCRIBE q 65535\n");
    hear(fd, "+OK\n");
    fake_await(&fake_broker.receipts, 256);
    await_loop(fixture);
    assert_int_equal(fake_figure(&fake_broker.receipts), 256);
    for (int i = 0; i < COUNT; i++) {
        char text[64];
        snprintf(text, sizeof text, "MSG r%d 1 q 50000\n", i + 1);
        hear(fd, text);
        hear_bytes(fd, payload, len + 1);
    }
    free(payload);
    assert_int_equal(fake_figure(&fake_broker.given_back), 0);
    close(fd);
    fake_await(&fake_broker.consumers, 0);
    close(other);
}

static void what_a_subscriber_did_not_hear_is_ready_again(void **state) {
    struct fixture *fixture = *state;
    int other = dial_publisher(fixture);
    free(publish_large(other, 100, 200000));
    int fd = dial(fixture);
    say(fd, "SUBSCRIBE q 100\n");
    hear(fd, "+OK\n");
    fake_await(&fake_broker.receipts, 100);
    await_loop(fixture);
    reset(fd);
    fake_await(&fake_broker.given_back, 100);
    close(other);
}

static void a_subscriber_that_hung_up_is_noticed(void **state) {
    struct fixture *fixture = *state;
    int other = dial_publisher(fixture);
    int fd = dial(fixture);
    say(fd, "SUBSCRIBE q\n");
    hear(fd, "+OK\n");
    fake_await(&fake_broker.waits, 1);
    close(fd);
    fake_await(&fake_broker.waits, 0);
    fake_await(&fake_broker.consumers, 0);
    say(other, "PUBLISH default q x\nRECEIVE q\n");
    hear(other, "+OK m1 1\nMSG r1 1 q 1\nx\n+OK 1\n");
    close(other);
}

static void more_messages_than_a_turn_takes_come_all(void **state) {
    struct fixture *fixture = *state;
    enum { COUNT = 10000 };
    int other = dial_publisher(fixture);
    for (int i = 0; i < COUNT; i++)
        say(other, "PUBLISH default q x\n");
    for (int i = 0; i < COUNT; i++)
        hear_line(other, "+OK m");
    int fd = dial(fixture);
    say(fd, "SUBSCRIBE q 65535\n");
    hear(fd, "+OK\n");
    for (int i = 1; i <= COUNT; i++) {
        char text[64];
        snprintf(text, sizeof text, "MSG r%d 1 q 1\nx\n", i);
        hear(fd, text);
    }
    close(fd);
    fake_await(&fake_broker.consumers, 0);
    close(other);
}

static void only_a_caller_with_a_token_subscribes(void **state) {
    struct fixture *fixture = *state;
    int other = dial_publisher(fixture);
    close(other);
    fixture_stop(fixture);
    fixture->core.auth = &fixture->auth;
    fixture_start(fixture);
    int fd = dial(fixture);
    say(fd, "SUBSCRIBE q\nSUBSCRIBE\nUNSUBSCRIBE q\nAUTH good\nSUBSCRIBE q\nSUBSCRIBE p\n");
    for (int i = 0; i < 3; i++)
        hear_line(fd, "+ERR AUTH_REQUIRED ");
    hear(fd, "+OK\n+OK\n+OK\n");
    close(fd);
    fake_await(&fake_broker.consumers, 0);
    fixture->core.auth = NULL;
}

static void a_stop_ends_subscriptions(void **state) {
    struct fixture *fixture = *state;
    int other = dial_publisher(fixture);
    int fd = dial(fixture);
    pthread_t thread;
    say(fd, "SUBSCRIBE q\nSUBSCRIBE p\n");
    hear(fd, "+OK\n+OK\n");
    fake_await(&fake_broker.waits, 2);
    broker_drain(&fake_broker);
    await_loop(fixture);
    assert_int_equal(pthread_create(&thread, NULL, stop_in_thread, fixture), 0);
    hear_end(fd);
    hear_end(other);
    pthread_join(thread, NULL);
    assert_int_equal(fake_figure(&fake_broker.consumers), 0);
    fixture_start(fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(messages_come_behind_the_reply),
        CASE(no_more_than_prefetch_are_unacknowledged),
        CASE(a_connection_may_have_several),
        CASE(a_subscription_may_be_begun_anew),
        CASE(a_subscription_ends_with_its_queue),
        CASE(a_slow_reader_is_sent_no_further),
        CASE(what_a_subscriber_did_not_hear_is_ready_again),
        CASE(a_subscriber_that_hung_up_is_noticed),
        CASE(more_messages_than_a_turn_takes_come_all),
        CASE(only_a_caller_with_a_token_subscribes),
        CASE(a_stop_ends_subscriptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
