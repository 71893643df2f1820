/* SPDX-License-Identifier: MIT */
#include "line_broker_case.h"

/* A connection with a queue of its own. */
static int dial_queue(const struct fixture *fixture, const char *name) {
    char line[64];
    int fd = dial(fixture);
    snprintf(line, sizeof line, "CREATEQUEUE %s memory\n", name);
    say(fd, line);
    hear(fd, "+OK\n");
    return fd;
}

static void a_message_goes_its_way(void **state) {
    int fd = dial_queue(*state, "q");
    say(fd, "PUBLISH default q hello world\nPUBLISHB default q 3\na\nb\nRECEIVE q 5\n");
    hear(fd, "+OK m1 1\n+OK m2 1\n"
             "MSG r1 1 q 11\nhello world\nMSG r2 1 q 3\na\nb\n+OK 2\n");
    say(fd, "ACK q r1\nACK q r1\nNACK q r2\nRECEIVE q\nRECEIVE q 1 0\nRECEIVE none\n");
    hear(fd, "+OK\n");
    hear_line(fd, "+ERR RECEIPT_INVALID ");
    hear(fd, "+OK\nMSG r3 2 q 3\na\nb\n+OK 1\n+OK 0\n");
    hear_line(fd, "+ERR QUEUE_NOT_EXIST ");
    say(fd,
        "LISTQUEUE\nFLUSH q\nPUBLISH default none x\nPUBLISH default q\nRECEIVE\nRECEIVE q 0\n");
    hear(fd, "[]\n+OK 7\n+OK m3 0\n");
    for (int i = 0; i < 3; i++)
        hear_line(fd, "+ERR SYNTAX ");
    close(fd);
}

static void an_empty_routing_key_is_an_empty_word(void **state) {
    int fd = dial_queue(*state, "q");
    say(fd, "PUBLISH default  a b\nPUBLISHB default  1\nx\nRECEIVE q 2\n");
    hear(fd, "+OK m1 1\n+OK m2 1\nMSG r1 1  3\na b\nMSG r2 1  1\nx\n+OK 2\n");
    close(fd);
}

static void options_of_a_queue_stand_behind_its_type_or_without_it(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "CREATEQUEUE a memory lease=5000 max-length=10\nCREATEQUEUE b lease=5000\n"
            "CREATEQUEUE c\nCREATEQUEUE d disk lease=1\nCREATEQUEUE d lease=0\n"
            "CREATEQUEUE d lease=1 lease\nCREATEQUEUE d none=1\nDELETEQUEUE a\n");
    hear(fd, "+OK\n+OK\n+OK\n");
    hear_line(fd, "+ERR STORAGE_TYPE_INVALID ");
    for (int i = 0; i < 3; i++)
        hear_line(fd, "+ERR SYNTAX ");
    hear(fd, "+OK\n");
    close(fd);
}

static void durable_writes_are_answered_in_their_place(void **state) {
    struct fixture *fixture = *state;
    int fd = dial_queue(fixture, "d");
    say(fd, "CREATEQUEUE q memory\nPUBLISH default d 1\nPUBLISH default q 2\nPING\n"
            "PUBLISH default d 3\nSET memory 0 a 1\nGET memory a\nRECEIVE q\n");
    hear(fd, "+OK\n");
    await_loop(fixture);
    assert_int_equal(fake_figure(&fake_broker.pending_count), 2);
    fake_broker_come_back(2);
    hear(fd, "+OK m2 1\n+OK m1 1\n+PONG\n+OK m3 1\n+OK\n1\nMSG r1 1 q 1\n2\n+OK 1\n");
    close(fd);
}

static void a_wait_ends_with_the_message_it_waited_for(void **state) {
    struct fixture *fixture = *state;
    int fd = dial_queue(fixture, "q");
    int other = dial(fixture);
    say(fd, "RECEIVE q 10 60000\nPING\nSET memory 0 behind 1\n");
    fake_await(&fake_broker.waits, 1);
    await_loop(fixture);
    clock_move_for_test(fixture->config.request_timeout_ms +
                        1); /* it has no deadline of the door */
    say(other, "HAS memory behind\nPUBLISH default q x\n");
    hear_line(other, "+ERR KEY_NOT_EXIST ");
    hear(other, "+OK m1 1\n");
    hear(fd, "MSG r1 1 q 1\nx\n+OK 1\n+PONG\n+OK\n");
    assert_int_equal(fake_figure(&fake_broker.given_back), 0);
    close(fd);
    close(other);
}

static void what_a_caller_that_broke_off_would_have_got_is_ready_again(void **state) {
    struct fixture *fixture = *state;
    int other = dial_queue(fixture, "q");
    int fd = dial(fixture);
    say(fd, "RECEIVE q 1 60000\n");
    fake_await(&fake_broker.waits, 1);
    await_loop(fixture);
    reset(fd);
    fake_await(&fake_broker.waits, 0);
    say(other, "PUBLISH default q x\nRECEIVE q\n");
    hear(other, "+OK m1 1\nMSG r1 1 q 1\nx\n+OK 1\n");
    close(other);
}

static void a_caller_that_hung_up_is_noticed_when_it_is_answered(void **state) {
    struct fixture *fixture = *state;
    int other = dial_queue(fixture, "q");
    int fd = dial(fixture);
    say(fd, "RECEIVE q 1 60000\n");
    fake_await(&fake_broker.waits, 1);
    close(fd); /* from here it looks like a caller that only sends no more */
    await_loop(fixture);
    assert_int_equal(fake_figure(&fake_broker.waits), 1);
    say(other, "PUBLISH default q x\n");
    hear(other, "+OK m1 1\n");
    fake_await(&fake_broker.given_back, 1);
    say(other, "RECEIVE q\n");
    hear(other, "MSG r2 1 q 1\nx\n+OK 1\n");
    close(other);
}

static void a_caller_that_sends_no_more_still_gets_its_answer(void **state) {
    struct fixture *fixture = *state;
    int other = dial_queue(fixture, "q");
    int fd = dial(fixture);
    say(fd, "RECEIVE q 1 60000\nPING\n");
    shutdown(fd, SHUT_WR);
    fake_await(&fake_broker.waits, 1);
    await_loop(fixture);
    say(other, "PUBLISH default q x\n");
    hear(fd, "MSG r1 1 q 1\nx\n+OK 1\n+PONG\n");
    hear_end(fd);
    assert_int_equal(fake_figure(&fake_broker.given_back), 0);
    close(other);
}

static void what_a_caller_that_sends_no_more_did_not_acknowledge_is_ready_again(void **state) {
    struct fixture *fixture = *state;
    int other = dial_queue(fixture, "q");
    int fd = dial_with(fixture, 4096); /* its kernel takes a part of the answer only */
    say(fd, "RECEIVE q 1 60000\n");
    shutdown(fd, SHUT_WR);
    fake_await(&fake_broker.waits, 1);
    await_loop(fixture);
    free(publish_large(other, 1, 60000));
    await_loop(fixture);
    assert_int_equal(fake_figure(&fake_broker.given_back), 0);
    reset(fd);
    fake_await(&fake_broker.given_back, 1);
    close(other);
}

static void a_slow_reader_that_breaks_off_leaves_its_messages(void **state) {
    struct fixture *fixture = *state;
    int other = dial_queue(fixture, "q");
    int fd = dial(fixture);
    free(publish_large(other, 100, 200000));
    say(fd, "RECEIVE q 100\n");
    fake_await(&fake_broker.receipts, 100);
    reset(fd);
    fake_await(&fake_broker.given_back, 100);
    close(other);
}

static void many_receives_in_one_go_are_all_kept_apart(void **state) {
    int fd = dial_queue(*state, "q");
    for (int i = 0; i < 500; i++)
        say(fd, "PUBLISH default q x\nRECEIVE q\n");
    for (int i = 1; i <= 500; i++) {
        char text[64];
        snprintf(text, sizeof text, "+OK m%d 1\nMSG r%d 1 q 1\nx\n+OK 1\n", i, i);
        hear(fd, text);
    }
    await_loop(*state);
    assert_int_equal(fake_figure(&fake_broker.given_back), 0);
    close(fd);
}

static void a_stop_ends_waits(void **state) {
    struct fixture *fixture = *state;
    int fd = dial_queue(fixture, "q");
    pthread_t thread;
    say(fd, "RECEIVE q 1 60000\n");
    fake_await(&fake_broker.waits, 1);
    await_loop(fixture);
    assert_int_equal(pthread_create(&thread, NULL, stop_in_thread, fixture), 0);
    hear(fd, "+OK 0\n");
    hear_end(fd);
    pthread_join(thread, NULL);
    fixture_start(fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_message_goes_its_way),
        CASE(an_empty_routing_key_is_an_empty_word),
        CASE(options_of_a_queue_stand_behind_its_type_or_without_it),
        CASE(durable_writes_are_answered_in_their_place),
        CASE(a_wait_ends_with_the_message_it_waited_for),
        CASE(what_a_caller_that_broke_off_would_have_got_is_ready_again),
        CASE(a_caller_that_hung_up_is_noticed_when_it_is_answered),
        CASE(a_caller_that_sends_no_more_still_gets_its_answer),
        CASE(what_a_caller_that_sends_no_more_did_not_acknowledge_is_ready_again),
        CASE(a_slow_reader_that_breaks_off_leaves_its_messages),
        CASE(many_receives_in_one_go_are_all_kept_apart),
        CASE(a_stop_ends_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
