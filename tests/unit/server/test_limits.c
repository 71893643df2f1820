/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/limits.h"

#define S 1000000000LL

static const struct address someone = {
    .known = true, .bytes = {[10] = 0xFF, [11] = 0xFF, [12] = 192, [14] = 2, [15] = 1}};

static void test_without_limits_nobody_is_limited(void **state) {
    (void)state;
    struct limits *limits = limits_open(&(struct limits_options){.connections = 0});
    struct limits_client client = limits_client_of(limits, &someone, NULL);
    struct limits_left left;
    assert_false(limits_are_set(limits));
    assert_false(limits_are_set(NULL));
    assert_false(client.limited);
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(limits_admit(limits, &client, 1, &left), OK);
    limits_close(limits);
}

static void test_a_subject_has_limits_of_its_own(void **state) {
    (void)state;
    struct limits *limits =
        limits_open(&(struct limits_options){.rate = {.per = 2, .burst = 2, .unit_ns = 3600 * S}});
    struct auth_grant a = {.signed_in = true, .subject = 5}, b = {.signed_in = true, .subject = 7};
    struct auth_grant nameless = {.signed_in = true};
    struct address unix = {.known = false};
    struct limits_left left;
    struct limits_client of_a = limits_client_of(limits, &someone, &a);
    struct limits_client of_b = limits_client_of(limits, &someone, &b);
    struct limits_client of_address = limits_client_of(limits, &someone, &nameless);
    struct limits_client of_unix = limits_client_of(limits, &unix, &nameless);
    struct limits_client of_unix_a = limits_client_of(limits, &unix, &a);
    assert_int_equal(limits_admit(limits, &of_a, 2, &left), OK);
    assert_int_equal(limits_admit(limits, &of_unix_a, 1, &left), ERR_RATE_LIMITED);
    assert_int_equal(limits_admit(limits, &of_b, 2, &left), OK);
    assert_int_equal(limits_admit(limits, &of_address, 2, &left), OK);
    assert_int_equal(limits_admit(limits, &of_address, 1, &left), ERR_RATE_LIMITED);
    assert_int_equal(limits_admit(limits, &of_unix, 1000, &left), OK);
    assert_int_equal(limits_noted(limits, LIMITS_RATE), 2);
    limits_close(limits);
}

static void test_the_headers_tell_what_is_left(void **state) {
    (void)state;
    char text[LIMITS_HEADER_BYTES];
    struct limits_left left;
    struct limits *limits = limits_open(&(struct limits_options){
        .rate = {.per = 100, .burst = 50, .unit_ns = 60 * S},
        .bytes = {.per = 1048576, .burst = 2097152, .unit_ns = S},
    });
    struct limits_client client = limits_client_of(limits, &someone, NULL);
    limits_format_policy(limits, text);
    assert_string_equal(text,
                        "\"requests\";q=50;w=30, \"bytes\";q=2097152;qu=\"content-bytes\";w=2");
    assert_int_equal(limits_admit(limits, &client, 40, &left), OK);
    limits_format_left(limits, &left, text);
    assert_string_equal(text, "\"requests\";r=10;t=24, \"bytes\";r=2097152;t=0");
    assert_int_equal(limits_admit(limits, &client, 11, &left), ERR_RATE_LIMITED);
    limits_add_bytes(limits, &client, 4 * 1048576);
    assert_int_equal(limits_admit(limits, &client, 1, &left), ERR_RATE_LIMITED);
    assert_int_equal(left.reason, LIMITS_BYTES);
    assert_int_equal(limits_retry_after_s(&left), 3);
    clock_move_for_test(3000);
    assert_int_equal(limits_admit(limits, &client, 1, &left), OK);
    limits_close(limits);
}

static void test_a_refused_call_waits_as_long_as_it_is_told(void **state) {
    (void)state;
    struct limits_left left;
    struct limits *limits =
        limits_open(&(struct limits_options){.rate = {.per = 1, .burst = 1, .unit_ns = 10 * S}});
    struct limits_client client = limits_client_of(limits, &someone, NULL);
    assert_int_equal(limits_admit(limits, &client, 1, &left), OK);
    assert_int_equal(limits_admit(limits, &client, 1, &left), ERR_RATE_LIMITED);
    int64_t wait_s = limits_retry_after_s(&left);
    assert_in_range(wait_s, 9, 10);
    clock_move_for_test(wait_s * 1000);
    assert_int_equal(limits_admit(limits, &client, 1, &left), OK);
    limits_close(limits);
}

static void test_what_is_open_is_counted_per_client(void **state) {
    (void)state;
    struct limits *limits = limits_open(&(struct limits_options){.connections = 2, .requests = 1});
    struct limits_client client = limits_client_of(limits, &someone, NULL);
    assert_int_equal(limits_hold(limits, &client, CLIENT_CONNECTIONS), OK);
    assert_int_equal(limits_hold(limits, &client, CLIENT_CONNECTIONS), OK);
    assert_int_equal(limits_hold(limits, &client, CLIENT_CONNECTIONS), ERR_RATE_LIMITED);
    limits_let_go(limits, &client, CLIENT_CONNECTIONS);
    assert_int_equal(limits_hold(limits, &client, CLIENT_CONNECTIONS), OK);
    assert_int_equal(limits_hold(limits, &client, CLIENT_CALLS), OK);
    assert_int_equal(limits_hold(limits, &client, CLIENT_CALLS), ERR_RATE_LIMITED);
    assert_int_equal(limits_noted(limits, LIMITS_CONNECTIONS), 1);
    assert_int_equal(limits_noted(limits, LIMITS_REQUESTS), 1);
    limits_close(limits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_limits_nobody_is_limited),
        cmocka_unit_test(test_a_subject_has_limits_of_its_own),
        cmocka_unit_test(test_the_headers_tell_what_is_left),
        cmocka_unit_test(test_a_refused_call_waits_as_long_as_it_is_told),
        cmocka_unit_test(test_what_is_open_is_counted_per_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
