/* SPDX-License-Identifier: MIT */
/* Parked requests, with libmicrohttpd's part counted only. */
#include <microhttpd.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/http_park.h"

static _Atomic unsigned suspended, resumed;
static _Atomic(struct MHD_Connection *) held; /* is resumed behind another */
static _Atomic bool reached;                  /* by the waker of held */

/* These stand before the library's. */
void MHD_suspend_connection(struct MHD_Connection *connection) {
    (void)connection;
    suspended++;
}

void MHD_resume_connection(struct MHD_Connection *connection) {
    if (connection && connection == held) {
        reached = true;
        while (!resumed)
            sched_yield();
        for (int turn = 0; turn < 1000; turn++)
            sched_yield();
    }
    resumed++;
}

struct fixture {
    struct http_lot lot;
    struct http_parked first, second;
};

static int begin(void **state) {
    static struct fixture fixture;
    fixture = (struct fixture){0};
    suspended = resumed = 0;
    held = NULL;
    reached = false;
    if (http_lot_open(&fixture.lot, 0))
        return -1;
    http_park_begin(&fixture.first, NULL);
    http_park_begin(&fixture.second, NULL);
    *state = &fixture;
    return 0;
}

static int end(void **state) {
    struct fixture *fixture = *state;
    http_lot_close(&fixture->lot);
    return 0;
}

static void test_a_wake_resumes_what_is_parked_once(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(http_park(&fixture->lot, &fixture->first), ERR_PENDING);
    http_park_wake(&fixture->first);
    assert_int_equal(http_unpark(&fixture->lot, &fixture->first), OK);
    http_lot_expire_all(&fixture->lot);
    assert_int_equal(suspended, 1);
    assert_int_equal(resumed, 1);
}

static void test_what_was_woken_before_is_not_parked(void **state) {
    struct fixture *fixture = *state;
    http_park_wake(&fixture->first);
    assert_int_equal(http_park(&fixture->lot, &fixture->first), OK);
    assert_int_equal(suspended, 0);
}

static void test_a_request_whose_caller_hung_up_is_no_longer_in_the_lot(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(http_park(&fixture->lot, &fixture->first), ERR_PENDING);
    assert_int_equal(http_park(&fixture->lot, &fixture->second), ERR_PENDING);
    http_park_wake(&fixture->first);
    http_park_leave(&fixture->lot, &fixture->first); /* never unparked: its memory goes */
    assert_ptr_equal(fixture->lot.timed.first, &fixture->second);
    assert_null(fixture->second.prev);
    http_park_wake(&fixture->second);
    assert_int_equal(http_unpark(&fixture->lot, &fixture->second), OK);
    assert_null(fixture->lot.timed.first);
    assert_int_equal(resumed, 2);
}

static void test_a_connection_that_is_gone_is_not_resumed(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(http_park(&fixture->lot, &fixture->first), ERR_PENDING);
    http_park_leave(&fixture->lot, &fixture->first);
    http_park_wake(&fixture->first);
    assert_int_equal(resumed, 0);
}

static void test_what_expires_is_resumed_and_the_late_result_wakes_nobody(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(http_park(&fixture->lot, &fixture->first), ERR_PENDING);
    http_lot_expire_all(&fixture->lot);
    assert_int_equal(resumed, 1);
    assert_int_equal(http_unpark(&fixture->lot, &fixture->first), ERR_TIMEOUT);
    http_park_wake(&fixture->first);
    assert_int_equal(resumed, 1);
    assert_int_equal(http_park(&fixture->lot, &fixture->second), ERR_TIMEOUT);
}

static void *wake(void *parked) {
    http_park_wake(parked);
    return NULL;
}

static void test_an_end_waits_for_who_is_waking(void **state) {
    struct fixture *fixture = *state;
    pthread_t waker;
    held = (struct MHD_Connection *)(void *)fixture;
    http_park_begin(&fixture->first, held);
    assert_int_equal(http_park(&fixture->lot, &fixture->first), ERR_PENDING);
    assert_int_equal(http_park(&fixture->lot, &fixture->second), ERR_PENDING);
    assert_int_equal(pthread_create(&waker, NULL, wake, &fixture->first), 0);
    while (!reached)
        sched_yield();
    http_lot_expire_all(&fixture->lot); /* resumes the second; only then the waker goes on */
    assert_int_equal(resumed, 2);
    pthread_join(waker, NULL);
    assert_int_equal(http_unpark(&fixture->lot, &fixture->first), OK);
    assert_int_equal(http_unpark(&fixture->lot, &fixture->second), ERR_TIMEOUT);
}

static struct http_parked *stopped;
static unsigned stops;

static void stop(struct http_parked *parked) {
    stopped = parked;
    stops++;
}

static void begin_waits(void **state, int fds[2]) {
    struct fixture *fixture = *state;
    stops = 0;
    stopped = NULL;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    http_park_begin_wait(&fixture->first, NULL, fds[0], stop);
}

static void test_a_wait_has_no_deadline_but_that_of_the_server(void **state) {
    struct fixture *fixture = *state;
    int fds[2];
    begin_waits(state, fds);
    fixture->lot.timeout_ms = 1;
    assert_int_equal(http_park(&fixture->lot, &fixture->first), ERR_PENDING);
    assert_null(fixture->lot.timed.first);
    assert_ptr_equal(fixture->lot.waits.first, &fixture->first);
    http_lot_expire_all(&fixture->lot);
    assert_int_equal(resumed, 1);
    assert_int_equal(http_unpark(&fixture->lot, &fixture->first), ERR_TIMEOUT);
    close(fds[0]);
    close(fds[1]);
}

static void test_a_wait_whose_caller_hung_up_is_stopped(void **state) {
    struct fixture *fixture = *state;
    int fds[2];
    begin_waits(state, fds);
    assert_int_equal(http_park(&fixture->lot, &fixture->first), ERR_PENDING);
    assert_int_equal(http_park(&fixture->lot, &fixture->second), ERR_PENDING);
    assert_int_equal(write(fds[1], "GET", 3), 3); /* the next request is no hang-up */
    http_lot_stop_gone(&fixture->lot);
    assert_int_equal(stops, 0);
    assert_false(http_is_gone(fds[0]));
    close(fds[1]);
    http_lot_stop_gone(&fixture->lot);
    assert_int_equal(stops, 1);
    assert_ptr_equal(stopped, &fixture->first);
    assert_true(http_is_gone(fds[0]));
    http_park_wake(&fixture->first);
    assert_int_equal(http_unpark(&fixture->lot, &fixture->first), OK);
    assert_null(fixture->lot.waits.first);
    http_lot_stop_gone(&fixture->lot);
    assert_int_equal(stops, 1);
    http_park_leave(&fixture->lot, &fixture->second);
    close(fds[0]);
}

static void test_a_server_that_stops_stops_its_waits_and_those_to_come(void **state) {
    struct fixture *fixture = *state;
    int fds[2];
    begin_waits(state, fds);
    http_park_begin_wait(&fixture->second, NULL, fds[1], stop);
    assert_int_equal(http_park(&fixture->lot, &fixture->first), ERR_PENDING);
    http_lot_stop_waits(&fixture->lot);
    assert_int_equal(stops, 1);
    assert_int_equal(http_park(&fixture->lot, &fixture->second), ERR_PENDING);
    assert_int_equal(stops, 2);
    assert_ptr_equal(stopped, &fixture->second);
    http_park_wake(&fixture->first);
    http_park_wake(&fixture->second);
    assert_int_equal(http_unpark(&fixture->lot, &fixture->first), OK);
    assert_int_equal(http_unpark(&fixture->lot, &fixture->second), OK);
    close(fds[0]);
    close(fds[1]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_a_wake_resumes_what_is_parked_once),
        CASE(test_what_was_woken_before_is_not_parked),
        CASE(test_a_request_whose_caller_hung_up_is_no_longer_in_the_lot),
        CASE(test_a_connection_that_is_gone_is_not_resumed),
        CASE(test_a_wait_has_no_deadline_but_that_of_the_server),
        CASE(test_a_wait_whose_caller_hung_up_is_stopped),
        CASE(test_a_server_that_stops_stops_its_waits_and_those_to_come),
        CASE(test_an_end_waits_for_who_is_waking),
        CASE(test_what_expires_is_resumed_and_the_late_result_wakes_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
