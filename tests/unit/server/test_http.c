/* SPDX-License-Identifier: MIT */
/* The HTTP door over sockets, on a store whose durable writes come back when the test says so. */
#include "tests/unit/server/http_case.h"

#define PUT_MEMORY "PUT /api/n/k?type=memory HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"

static void test_a_value_is_stored_and_read(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(status_of(fd, PUT_MEMORY), 204);
    assert_true(said("ETag: \"900150983cd24fb0d6963f7d28e17f72\"\r\n"));
    assert_true(said("Hati-Revision: 7\r\n"));
    assert_int_equal(status_of(fd, GET_MEMORY), 200);
    assert_string_equal(body(), "abc");
    assert_true(said("Content-Type: application/octet-stream\r\n"));
    assert_true(said("X-Content-Type-Options: nosniff\r\n"));
    assert_true(said("Content-Security-Policy: sandbox\r\n"));
    assert_int_equal(status_of(fd, "GET /api/n/other?type=memory HTTP/1.1\r\n" HOST "\r\n"), 404);
    assert_true(said("application/problem+json"));
    assert_true(said("\"code\":\"KEY_NOT_EXIST\""));
    close(fd);
}

static void test_a_durable_write_is_answered_when_it_comes_back(void **state) {
    (void)state;
    int fd = dial();
    int other = dial();
    say(fd, PUT_HDD);
    wait_queued(1);
    assert_int_equal(status_of(other, GET_MEMORY), 404);
    fake_come_back(false);
    assert_int_equal(hear(fd), 204);
    assert_int_equal(status_of(fd, "GET /api/n/k HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_string_equal(body(), "abc");
    close(fd);
    close(other);
}

static void test_a_write_may_come_back_before_it_is_parked(void **state) {
    (void)state;
    int fd = dial();
    fake.wake_before_return = true;
    for (int i = 0; i < 100; i++)
        assert_int_equal(status_of(fd, PUT_HDD), 204);
    close(fd);
}

static void test_many_parked_writes_come_back_in_any_order(void **state) {
    int fds[50];
    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 50; i++) {
            fds[i] = round ? fds[i] : dial();
            say(fds[i], PUT_HDD);
        }
        wait_queued(50);
        fake_come_back(round % 2);
        for (unsigned i = 0; i < 50; i++)
            assert_int_equal(hear(fds[i]), 204);
    }
    for (unsigned i = 0; i < 50; i++)
        close(fds[i]);
}

static void test_past_the_deadline_the_outcome_is_unknown(void **state) {
    (void)state;
    start_again(20, 10000);
    int fd = dial();
    assert_int_equal(status_of(fd, PUT_HDD), 503);
    assert_true(said("Hati-Outcome: unknown\r\n"));
    assert_true(said("\"code\":\"UNAVAILABLE\""));
    assert_int_equal(status_of(fd, GET_MEMORY), 404);
    assert_int_equal(fake_come_back(false), 1);
    assert_int_equal(status_of(fd, "GET /api/n/k HTTP/1.1\r\n" HOST "\r\n"), 200);
    close(fd);
}

static void test_a_result_may_come_after_its_connection_and_the_server(void **state) {
    (void)state;
    start_again(20, 10000);
    int fd = dial();
    assert_int_equal(status_of(fd, PUT_HDD), 503);
    close(fd);
    start_again(20, 10000);
    assert_int_equal(fake_come_back(false), 1);
}

static void *stop_thread(void *context) {
    (void)context;
    http_server_stop(server);
    return NULL;
}

static void test_stop_waits_for_what_is_in_flight(void **state) {
    pthread_t thread;
    (void)state;
    int fd = dial();
    int idle = dial();
    assert_int_equal(status_of(idle, GET_MEMORY), 404);
    say(fd, PUT_HDD);
    wait_queued(1);
    assert_int_equal(pthread_create(&thread, NULL, stop_thread, NULL), 0);
    while (status_of(idle, GET_MEMORY) == 404 && !said("Connection: close"))
        continue;
    fake_come_back(false);
    assert_int_equal(hear(fd), 204);
    assert_true(said("Connection: close\r\n"));
    assert_true(is_closed(fd));
    assert_true(is_closed(idle));
    pthread_join(thread, NULL);
    server = NULL;
    close(fd);
    close(idle);
}

static void test_stop_does_not_wait_for_ever(void **state) {
    (void)state;
    start_again(0, 20);
    int fd = dial();
    say(fd, PUT_HDD);
    wait_queued(1);
    http_server_stop(server);
    server = NULL;
    assert_int_equal(hear(fd), 503);
    assert_true(said("Hati-Outcome: unknown\r\n"));
    assert_true(is_closed(fd));
    assert_int_equal(fake_come_back(false), 1);
    close(fd);
}

static void test_a_parked_listing_is_answered_when_it_comes_back(void **state) {
    (void)state;
    int fd = dial();
    fake.park_lists = true;
    say(fd, "GET /api/n HTTP/1.1\r\n" HOST "\r\n");
    struct kv_list *list = wait_list();
    fake_fill_list(list);
    list->done(list);
    assert_int_equal(hear(fd), 200);
    assert_string_equal(body(), "{\"namespace\":\"n\",\"keys\":[\"a\"],\"count\":1}\n");
    close(fd);
}

static void test_a_listing_with_a_limit_tells_where_it_goes_on(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(
        status_of(fd, "GET /api2/11111111-2222-3333-4444-555555555555/n?limit=1 HTTP/1.1\r\n" HOST
                      "\r\n"),
        200);
    assert_string_equal(body(), "{\"workspace\":\"11111111-2222-3333-4444-555555555555\","
                                "\"namespace\":\"n\",\"keys\":[\"a\"],\"count\":1,"
                                "\"cursor\":\"YQ\"}\n");
    close(fd);
}

static void assert_cut_off(const char *bytes, size_t len) {
    int fd = dial();
    say_bytes(fd, bytes, len);
    int status = hear(fd);
    if (status != 400)
        fail_msg("status %d after: %.*s", status, (int)len, bytes);
    assert_true(is_closed(fd));
    close(fd);
}

#define CUT_OFF(bytes) assert_cut_off(bytes, sizeof(bytes) - 1)

static void test_lines_that_others_read_differently_end_the_connection(void **state) {
    (void)state;
    CUT_OFF("GET /status HTTP/1.1\n" HOST "\r\n");
    CUT_OFF("GET /status HTTP/1.1\r\nA: b\n" HOST "\r\n");
    CUT_OFF("GET /status HTTP/1.1\r\n" HOST "\n");
    CUT_OFF("GET /status HTTP/1.1\r\nHost: a\n\r\n");
    CUT_OFF("GET /status HTTP/1.1\r\n" HOST "X: a\r\n Transfer-Encoding: chunked\r\n\r\n");
    CUT_OFF("GET /status HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n");
    CUT_OFF("GET /status HTTP/1.1\r\n" HOST "X\0Y: b\r\n\r\n");
    CUT_OFF("GET /status HTTP/1.1\r\n" HOST ": b\r\n\r\n");
    CUT_OFF("GET /sta\0tus HTTP/1.1\r\n" HOST "\r\n");
    CUT_OFF("GET /api/n?prefix=\0 HTTP/1.1\r\n" HOST "\r\n");
    CUT_OFF("PUT /api/n/k HTTP/1.1\r\n" HOST
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET_MEMORY);
}

static void test_ordinary_spellings_of_lines_are_served(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(
        status_of(fd, "GET /status HTTP/1.1\r\nHost:a\r\nX:\r\nY: \r\nZ:  b \t\r\n\r\n"), 200);
    assert_string_equal(body(), "ok");
    assert_int_equal(status_of(fd, "GET /status?a=b&c HTTP/1.1\r\n" HOST "\r\n"), 200);
    close(fd);
}

/* Is it closed by now? Time passes meanwhile. */
static bool is_cut_off_in_time(int fd) {
    struct timeval short_while = {.tv_usec = 100000};
    char byte;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &short_while, sizeof short_while);
    clock_move_for_test(11000);
    return recv(fd, &byte, 1, 0) == 0;
}

static void test_a_head_that_does_not_end_is_cut_off_and_a_parked_request_is_not(void **state) {
    (void)state;
    start_again(0, 10000);
    int fd = dial();
    int idle = dial();
    int parked = dial();
    assert_int_equal(status_of(fd, GET_MEMORY), 404);
    assert_int_equal(status_of(idle, GET_MEMORY), 404);
    say(parked, PUT_HDD);
    wait_queued(1);
    say(fd, "GET /status HTTP/1.1\r\nHost: a\r\n");
    while (!is_cut_off_in_time(fd))
        continue;
    fake_come_back(false);
    assert_int_equal(hear(parked), 204);
    assert_int_equal(status_of(idle, GET_MEMORY), 404);
    close(fd);
    close(idle);
    close(parked);
}

static void test_what_a_request_writes_lives_from_when_all_of_it_came(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(status_of(fd, "PUT /api/n/k?type=memory HTTP/1.1\r\n" HOST
                                   "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"),
                     100);
    clock_move_for_test(5000);
    int64_t begun_ms = clock_wall_ms();
    assert_int_equal(status_of(fd, "abc"), 204);
    pthread_mutex_lock(&fake.lock);
    int64_t written_ms = fake.written_ms;
    pthread_mutex_unlock(&fake.lock);
    assert_true(written_ms >= begun_ms);
    close(fd);
}

static void test_nul_and_bad_escapes_in_a_path_are_refused(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(status_of(fd, "GET /api/n/a%00b HTTP/1.1\r\n" HOST "\r\n"), 400);
    assert_int_equal(status_of(fd, "GET /api/n%00/b HTTP/1.1\r\n" HOST "\r\n"), 400);
    assert_int_equal(status_of(fd, "GET /api/n/a%zz HTTP/1.1\r\n" HOST "\r\n"), 400);
    assert_int_equal(status_of(fd, "GET /api/n?prefix=a%2 HTTP/1.1\r\n" HOST "\r\n"), 400);
    assert_int_equal(status_of(fd, "GET /api2/w/n/k HTTP/1.1\r\n" HOST "\r\n"), 400);
    close(fd);
}

static void test_a_body_over_the_limit_is_refused(void **state) {
    char text[3000];
    (void)state;
    int fd = dial();
    int head =
        snprintf(text, sizeof text,
                 "PUT /api/n/k?type=memory HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n");
    memset(text + head, 'x', 1001);
    say_bytes(fd, text, (size_t)head + 1001);
    assert_int_equal(hear(fd), 413);
    head = snprintf(text, sizeof text,
                    "PUT /api/n/k?type=memory HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
    memset(text + head, 'x', 1000);
    say_bytes(fd, text, (size_t)head + 1000);
    assert_int_equal(hear(fd), 204);
    head = snprintf(text, sizeof text,
                    "PUT /api/n/k?type=memory HTTP/1.1\r\n" HOST
                    "Transfer-Encoding: chunked\r\n\r\n3E9\r\n");
    memset(text + head, 'x', 1001);
    memcpy(text + head + 1001, "\r\n0\r\n\r\n", 7);
    say_bytes(fd, text, (size_t)head + 1008);
    assert_int_equal(hear(fd), 413);
    assert_true(is_closed(fd));
    close(fd);
    fd = dial();
    assert_int_equal(
        status_of(fd, "PUT /api/n/k HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n"), 413);
    assert_true(is_closed(fd));
    close(fd);
}

static void test_without_a_token_only_the_open_paths_are_served(void **state) {
    (void)state;
    core.auth = (struct auth *)&core;
    int fd = dial();
    assert_int_equal(status_of(fd, GET_MEMORY), 401);
    assert_true(said("WWW-Authenticate: Bearer\r\n"));
    assert_int_equal(status_of(fd, "GET /nope HTTP/1.1\r\n" HOST "\r\n"), 401);
    assert_int_equal(
        status_of(fd, "GET /api/n/k HTTP/1.1\r\n" HOST "Authorization: Bearer bad\r\n\r\n"), 401);
    assert_int_equal(status_of(fd, "POST /rpc HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}"),
                     401);
    assert_true(said("\"jsonrpc\":\"2.0\""));
    assert_int_equal(status_of(fd, "GET /status HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_int_equal(status_of(fd, "GET /healthz HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_int_equal(status_of(fd, "GET /readyz HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_int_equal(status_of(fd, "OPTIONS /api/n/k HTTP/1.1\r\n" HOST "\r\n"), 204);
    close(fd);
}

static void test_a_good_token_that_does_not_suffice_is_forbidden(void **state) {
    (void)state;
    core.auth = (struct auth *)&core;
    int fd = dial();
    assert_int_equal(
        status_of(fd, "GET /api/n/k HTTP/1.1\r\n" HOST "Authorization: Bearer good\r\n\r\n"), 404);
    assert_int_equal(
        status_of(fd, "GET /stats HTTP/1.1\r\n" HOST "Authorization: Bearer good\r\n\r\n"), 403);
    assert_true(said("\"code\":\"FORBIDDEN\""));
    assert_int_equal(
        status_of(fd, "GET /api2/11111111-2222-3333-4444-555555555555/n/k HTTP/1.1\r\n" HOST
                      "Authorization: Bearer good\r\n\r\n"),
        403);
    close(fd);
}

static void test_a_browser_from_elsewhere_may_ask(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(status_of(fd, "OPTIONS /api/n/k HTTP/1.1\r\n" HOST "Origin: http://x\r\n\r\n"),
                     204);
    assert_true(said("Access-Control-Allow-Origin: *\r\n"));
    assert_true(said("Access-Control-Max-Age: 3600\r\n"));
    assert_true(said("Access-Control-Allow-Methods: GET, HEAD, PUT, POST, DELETE, OPTIONS\r\n"));
    assert_true(said("Authorization, Content-Type, If-Match, If-None-Match"));
    assert_int_equal(status_of(fd, "GET /status HTTP/1.1\r\n" HOST
                                   "Origin: http://x\r\nX-Request-Id: me-1\r\n\r\n"),
                     200);
    assert_true(said("Access-Control-Expose-Headers: ETag, Hati-Revision, Hati-Ttl"));
    assert_true(said("X-Request-Id: me-1\r\n"));
    assert_int_equal(status_of(fd, "GET /status HTTP/1.1\r\n" HOST "X-Request-Id: me 1\r\n\r\n"),
                     200);
    assert_false(said("X-Request-Id: me"));
    assert_true(said("X-Request-Id: "));
    close(fd);
}

static void test_other_origins_than_the_configured_one_are_told_nothing(void **state) {
    (void)state;
    static char origin[] = "https://app.example";
    config.cors_origin = origin;
    int fd = dial();
    assert_int_equal(
        status_of(fd, "OPTIONS /rpc HTTP/1.1\r\n" HOST "Origin: https://app.example\r\n\r\n"), 204);
    assert_true(said("Access-Control-Allow-Origin: https://app.example\r\n"));
    assert_true(said("Vary: Origin\r\n"));
    static const char *const others[] = {
        "GET /status HTTP/1.1\r\n" HOST "Origin: https://app.example.net\r\n\r\n",
        "GET /status HTTP/1.1\r\n" HOST "Origin: null\r\n\r\n",
    };
    for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(status_of(fd, others[i]), 200);
        assert_false(said("Access-Control-Allow-Origin"));
        assert_true(said("Vary: Origin\r\n"));
    }
    close(fd);
}

static void test_json_rpc_is_answered_with_status_200(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(status_of(fd, "POST /rpc HTTP/1.1\r\n" HOST "Content-Type: application/json; "
                                   "charset=utf-8\r\nContent-Length: 2\r\n\r\n{]"),
                     200);
    assert_true(said("-32700"));
    assert_int_equal(status_of(fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 40\r\n\r\n"
                                   "{\"jsonrpc\":\"2.0\",\"method\":\"Server.Ping\"}"),
                     200);
    assert_true(said("Content-Length: 0\r\n"));
    assert_int_equal(status_of(fd, "POST /rpc HTTP/1.1\r\n" HOST "Content-Type: text/plain\r\n"
                                   "Content-Length: 2\r\n\r\n{}"),
                     415);
    assert_true(said("\"jsonrpc\":\"2.0\""));
    assert_int_equal(status_of(fd, "GET /rpc HTTP/1.1\r\n" HOST "\r\n"), 405);
    assert_true(said("Allow: POST, OPTIONS\r\n"));
    close(fd);
}

static void test_json_rpc_is_parked_like_anything(void **state) {
    (void)state;
    int fd = dial();
    say(fd, "POST /rpc HTTP/1.1\r\n" HOST "Content-Length: 72\r\n\r\n"
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"Storage.Set\",\"params\":[\"hdd\",\"a\","
            "\"b\"]}");
    wait_queued(1);
    fake_come_back(false);
    assert_int_equal(hear(fd), 200);
    assert_true(said("\"result\":true"));
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_value_is_stored_and_read, start, stop_server),
        cmocka_unit_test_setup_teardown(test_a_durable_write_is_answered_when_it_comes_back, start,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_a_write_may_come_back_before_it_is_parked, start,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_many_parked_writes_come_back_in_any_order, start,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_past_the_deadline_the_outcome_is_unknown, start,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_a_result_may_come_after_its_connection_and_the_server,
                                        start, stop_server),
        cmocka_unit_test_setup_teardown(test_stop_waits_for_what_is_in_flight, start, stop_server),
        cmocka_unit_test_setup_teardown(test_stop_does_not_wait_for_ever, start, stop_server),
        cmocka_unit_test_setup_teardown(test_a_parked_listing_is_answered_when_it_comes_back, start,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_a_listing_with_a_limit_tells_where_it_goes_on, start,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_lines_that_others_read_differently_end_the_connection,
                                        start, stop_server),
        cmocka_unit_test_setup_teardown(test_ordinary_spellings_of_lines_are_served, start,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_what_a_request_writes_lives_from_when_all_of_it_came,
                                        start, stop_server),
        cmocka_unit_test_setup_teardown(
            test_a_head_that_does_not_end_is_cut_off_and_a_parked_request_is_not, start,
            stop_server),
        cmocka_unit_test_setup_teardown(test_nul_and_bad_escapes_in_a_path_are_refused, start,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_a_body_over_the_limit_is_refused, start, stop_server),
        cmocka_unit_test_setup_teardown(test_without_a_token_only_the_open_paths_are_served, start,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_a_good_token_that_does_not_suffice_is_forbidden, start,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_a_browser_from_elsewhere_may_ask, start, stop_server),
        cmocka_unit_test_setup_teardown(test_other_origins_than_the_configured_one_are_told_nothing,
                                        start, stop_server),
        cmocka_unit_test_setup_teardown(test_json_rpc_is_answered_with_status_200, start,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_json_rpc_is_parked_like_anything, start, stop_server),
    };
    op_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
