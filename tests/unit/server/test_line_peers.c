/* SPDX-License-Identifier: MIT */
/* Lines whose GETs wait for peers: what is done beside them, in which order all is answered, and
 * what becomes of them when somebody leaves. */
#include "line_fake.h"

#include "tests/unit/peers_double.h"

static int set_up(void **state) {
    static struct fixture fixture;
    fixture_init(&fixture);
    peers_double_open(&fixture.core);
    fixture_start(&fixture);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    if (fixture->server)
        fixture_stop(fixture);
    assert_int_equal(peers_double_pending(), 0);
    return 0;
}

/* The loop is done with what it was at. */
static void await_loop(const struct fixture *fixture) {
    int fd = dial(fixture);
    say(fd, "PING\n");
    hear(fd, "+PONG\n");
    close(fd);
}

static void a_value_of_a_peer_is_answered_as_one_of_our_own(void **state) {
    int fd = dial(*state);
    peers_double_put("a", "theirs", 0);
    peers_double_put("b", NULL, 0);
    say(fd, "GET memory a\n");
    peers_double_await(1);
    peers_double_come_back(false);
    hear(fd, "theirs\n");
    say(fd, "GETB memory a\n");
    peers_double_await(1);
    peers_double_come_back(false);
    hear(fd, "$6\ntheirs\n");
    say(fd, "GET memory b\n");
    peers_double_await(1);
    peers_double_come_back(false);
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    say(fd, "GET memory none\nHAS memory a\nUSE other\nGET memory a\n");
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    hear(fd, "+OK\n");
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    assert_int_equal(peers_double.figures.misses, 4);
    close(fd);
}

static void calls_on_memory_are_carried_out_beside_a_parked_get_and_answered_behind(void **state) {
    const struct fixture *fixture = *state;
    int fd = dial(fixture);
    int other = dial(fixture);
    peers_double_put("a", "theirs", 0);
    say(fd, "GET memory a\nSET memory 0 b 2\nGET memory b\nSET memory 0 a 3\nGET memory a\n"
            "PING\nGET memory none\n");
    peers_double_await(1);
    await_loop(fixture);
    say(other, "GET memory b\n");
    hear(other, "2\n");
    peers_double_come_back(false);
    hear(fd, "theirs\n+OK\n2\n+OK\n3\n+PONG\n");
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    close(fd);
    close(other);
}

static void several_gets_are_asked_for_together_and_answered_in_order(void **state) {
    int fd = dial(*state);
    peers_double_put("a", "1", 0);
    peers_double_put("b", "2", 0);
    peers_double_put("c", "3", 0);
    say(fd, "GET memory a\nGET memory b\nGET memory c\n");
    peers_double_await(3);
    while (peers_double_come_back(true))
        continue;
    hear(fd, "1\n2\n3\n");
    close(fd);
}

static void a_durable_write_behind_a_parked_get_waits_for_it(void **state) {
    const struct fixture *fixture = *state;
    int fd = dial(fixture);
    peers_double_put("a", "theirs", 0);
    say(fd, "GET memory a\nSET hdd 0 x 1\n");
    peers_double_await(1);
    await_loop(fixture);
    fake_await_queued(0);
    peers_double_come_back(false);
    hear(fd, "theirs\n");
    fake_await_queued(1);
    fake_come_back();
    hear(fd, "+OK\n");
    close(fd);
}

/* Only what peers may have waits. */
static void gets_beside_a_parked_write_are_answered_as_far_as_they_are_known_here(void **state) {
    const struct fixture *fixture = *state;
    int fd = dial(fixture);
    peers_double_put("a", "theirs", 0);
    say(fd, "SET memory 0 m 3\nSET hdd 0 x 1\nGET memory m\nGET memory none\nSET hdd 0 x 2\n"
            "GET memory a\nSET hdd 0 x 3\n");
    fake_await_queued(2);
    await_loop(fixture);
    assert_int_equal(peers_double_pending(), 0);
    fake_come_back();
    hear(fd, "+OK\n+OK\n3\n");
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    hear(fd, "+OK\n");
    peers_double_await(1);
    peers_double_come_back(false);
    hear(fd, "theirs\n");
    fake_await_queued(1);
    fake_come_back();
    hear(fd, "+OK\n");
    close(fd);
}

static void an_answer_that_comes_before_the_call_returns_is_told_once(void **state) {
    int fd = dial(*state);
    peers_double_put("a", "1", 0);
    peers_double.wake_before_return = true;
    for (int i = 0; i < 200; i++) {
        say(fd, "GET memory a\nPING\nGET memory a\nGET memory none\nGET memory a\n");
        hear(fd, "1\n+PONG\n1\n");
        hear_line(fd, "+ERR KEY_NOT_EXIST ");
        hear(fd, "1\n");
    }
    close(fd);
}

static void more_gets_than_may_be_parked_are_all_answered(void **state) {
    int fd = dial(*state);
    peers_double_put("a", "1", 0);
    for (int i = 0; i < 2000; i++)
        say(fd, "GET memory a\n");
    say(fd, "PING\n");
    for (int i = 0; i < 2000; i++) {
        while (!peers_double_come_back(i % 3 == 0))
            continue;
    }
    for (int i = 0; i < 2000; i++)
        hear(fd, "1\n");
    hear(fd, "+PONG\n");
    assert_true(peers_double.most_pending < 2000);
    close(fd);
}

static void a_parked_get_is_answered_at_its_deadline(void **state) {
    const struct fixture *fixture = *state;
    int fd = dial(fixture);
    peers_double_put("a", "theirs", 0);
    say(fd, "GET memory a\nPING\n");
    peers_double_await(1);
    await_loop(fixture);
    clock_move_for_test(fixture->config.request_timeout_ms + 1);
    hear_line(fd, "+ERR UNAVAILABLE ");
    hear(fd, "+PONG\n");
    peers_double_come_back(false); /* too late: nobody hears of it */
    say(fd, "PING\n");
    hear(fd, "+PONG\n");
    close(fd);
}

static void a_caller_may_hang_up_while_its_gets_are_parked(void **state) {
    const struct fixture *fixture = *state;
    int fd = dial(fixture);
    struct linger reset = {.l_onoff = 1};
    peers_double_put("a", "theirs", 0);
    say(fd, "GET memory a\nGET memory a\nPING\n");
    peers_double_await(2);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    await_loop(fixture);
    while (peers_double_come_back(true))
        continue;
    await_loop(fixture);
}

static void *stop_server(void *context) {
    fixture_stop(context);
    return NULL;
}

static void a_parked_get_is_waited_for_by_a_drain(void **state) {
    struct fixture *fixture = *state;
    pthread_t thread;
    int fd = dial(fixture);
    peers_double_put("a", "theirs", 0);
    say(fd, "GET memory a\n");
    peers_double_await(1);
    await_loop(fixture);
    assert_int_equal(pthread_create(&thread, NULL, stop_server, fixture), 0);
    peers_double_come_back(false);
    hear(fd, "theirs\n");
    pthread_join(thread, NULL);
    fixture->server = NULL;
    close(fd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_value_of_a_peer_is_answered_as_one_of_our_own),
        CASE(calls_on_memory_are_carried_out_beside_a_parked_get_and_answered_behind),
        CASE(several_gets_are_asked_for_together_and_answered_in_order),
        CASE(a_durable_write_behind_a_parked_get_waits_for_it),
        CASE(gets_beside_a_parked_write_are_answered_as_far_as_they_are_known_here),
        CASE(an_answer_that_comes_before_the_call_returns_is_told_once),
        CASE(more_gets_than_may_be_parked_are_all_answered),
        CASE(a_parked_get_is_answered_at_its_deadline),
        CASE(a_caller_may_hang_up_while_its_gets_are_parked),
        CASE(a_parked_get_is_waited_for_by_a_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
