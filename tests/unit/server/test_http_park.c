/* SPDX-License-Identifier: MIT */
/* Parked requests, with libmicrohttpd's part counted only. */
#include <microhttpd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/http_park.h"

static unsigned suspended, resumed;

/* These stand before the library's. */
void MHD_suspend_connection(struct MHD_Connection *connection) {
    (void)connection;
    suspended++;
}

void MHD_resume_connection(struct MHD_Connection *connection) {
    (void)connection;
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
    assert_ptr_equal(fixture->lot.first, &fixture->second);
    assert_null(fixture->second.prev);
    http_park_wake(&fixture->second);
    assert_int_equal(http_unpark(&fixture->lot, &fixture->second), OK);
    assert_null(fixture->lot.first);
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_a_wake_resumes_what_is_parked_once),
        CASE(test_what_was_woken_before_is_not_parked),
        CASE(test_a_request_whose_caller_hung_up_is_no_longer_in_the_lot),
        CASE(test_a_connection_that_is_gone_is_not_resumed),
        CASE(test_what_expires_is_resumed_and_the_late_result_wakes_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
