/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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
    assert_in_range(limits_retry_after_s(&left), 2, 3); /* 2 s and a byte, less what passed */
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

static void test_limits_of_nobody_are_none(void **state) {
    (void)state;
    struct limits_left left = {.reason = LIMITS_BYTES};
    struct limits_client nobody = {.limited = false};
    char text[LIMITS_WHY_BYTES];
    assert_false(limits_are_set(NULL) || limits_meter(NULL) || limits_count_bytes_of(NULL));
    assert_null(limits_trusted(NULL));
    assert_int_equal(limits_max_requests(NULL), 0);
    assert_int_equal(limits_known(NULL), 0);
    limits_note(NULL, LIMITS_RATE);
    assert_int_equal(limits_noted(NULL, LIMITS_RATE), 0);
    assert_int_equal(limits_admit(NULL, &nobody, 5, &left), OK);
    limits_add_bytes(NULL, &nobody, 5);
    limits_close(NULL);
    left.reason = LIMITS_BYTES;
    left.rest[CLIENT_BYTES].another_in_ns = 2 * S + 1;
    limits_format_why(&left, text);
    assert_string_equal(text, "too many bytes of this client; again in 3 s");
    left.reason = LIMITS_RATE; /* a second at least */
    limits_format_why(&left, text);
    assert_string_equal(text, "too many requests of this client; again in 1 s");
    for (unsigned i = 0; i < LIMITS_REASONS; i++)
        assert_true(limits_reason_name((enum limits_reason)i)[0] != '\0');
}

static void test_networks_that_are_none_open_no_limits(void **state) {
    (void)state;
    assert_null(limits_open(&(struct limits_options){.trusted_proxies = "10.0.0.1/8"}));
    struct limits *limits = limits_open(&(struct limits_options){.trusted_proxies = "10.0.0.0/8"});
    assert_non_null(limits_trusted(limits));
    assert_false(limits_are_set(limits));
    assert_int_equal(limits_known(limits), 0);
    limits_close(limits);
}

static void test_bytes_count_for_those_who_are_limited(void **state) {
    (void)state;
    struct limits_left left;
    struct limits *limits = limits_open(
        &(struct limits_options){.bytes = {.per = 10, .burst = 10, .unit_ns = 3600 * S}});
    struct limits_client client = limits_client_of(limits, &someone, NULL);
    struct limits_client nobody = {.limited = false};
    limits_add_bytes(limits, &nobody, 1000);
    limits_add_bytes(limits, &client, 0);
    assert_int_equal(limits_known(limits), 0);
    limits_add_bytes(limits, &client, 9);
    assert_int_equal(limits_known(limits), 1);
    assert_int_equal(limits_admit(limits, &client, 1, &left), OK);
    limits_add_bytes(limits, &client, 1);
    assert_int_equal(limits_admit(limits, &client, 1, &left), ERR_RATE_LIMITED);
    assert_int_equal(limits_noted(limits, LIMITS_BYTES), 1);
    assert_int_equal(limits_admit(limits, &nobody, 1, &left), OK);
    limits_close(limits);
}

/* What is told of the largest settings fits its room. */
static void test_the_longest_fields_fit(void **state) {
    (void)state;
    char text[LIMITS_HEADER_BYTES];
    struct limits *limits = limits_open(&(struct limits_options){
        .rate = {.per = 1, .burst = 1000000000, .unit_ns = 3600 * S},
        .bytes = {.per = 1ULL << 50, .burst = 10ULL << 50, .unit_ns = S},
    });
    struct limits_left left = {.reason = LIMITS_RATE};
    limits_format_policy(limits, text);
    assert_string_equal(text, "\"requests\";q=1000000000;w=3600000000000, "
                              "\"bytes\";q=11258999068426240;qu=\"content-bytes\";w=10");
    for (unsigned i = 0; i < CLIENT_BUCKETS; i++)
        left.rest[i] = (struct client_rest){UINT64_MAX, INT64_MAX / 2, INT64_MAX / 2};
    limits_format_left(limits, &left, text);
    assert_true(strlen(text) < LIMITS_HEADER_BYTES - 1);
    limits_close(limits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_limits_nobody_is_limited),
        cmocka_unit_test(test_a_subject_has_limits_of_its_own),
        cmocka_unit_test(test_the_headers_tell_what_is_left),
        cmocka_unit_test(test_a_refused_call_waits_as_long_as_it_is_told),
        cmocka_unit_test(test_what_is_open_is_counted_per_client),
        cmocka_unit_test(test_limits_of_nobody_are_none),
        cmocka_unit_test(test_networks_that_are_none_open_no_limits),
        cmocka_unit_test(test_bytes_count_for_those_who_are_limited),
        cmocka_unit_test(test_the_longest_fields_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
