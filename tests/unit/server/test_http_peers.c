/* SPDX-License-Identifier: MIT */
/* HTTP whose GETs wait for peers: REST with its conditions and JSON-RPC, deadlines, callers that
 * leave, and a drain. */
#include "tests/unit/server/remote_case.h"

#include "server/http.h"
#include "tests/unit/peers_double.h"

#define ANSWER_BYTES (1U << 16)
#define KEY "/api/default/a?type=memory"
#define ETAG "\"900150983cd24fb0d6963f7d28e17f72\"" /* of abc */
#define RPC_GET                                                                                    \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"Storage.Get\",\"params\":[\"memory\",\"a\"]}"

static struct config config;
static struct core core;
static struct http_server *server;
static char answer[ANSWER_BYTES];

static void open_door(int64_t timeout_ms) {
    char why[256] = "";
    config = remote_config();
    config.request_timeout_ms = timeout_ms;
    remote_core_open(&core, false);
    peers_double_open(&core);
    core.kv = remote.kvs[KV_MEMORY];
    core.broker = remote.local;
    if (http_server_start(&config, &core, &server, &port, why, sizeof why) != OK)
        fail_msg("%s", why);
}

static int set_up(void **state) {
    (void)state;
    open_door(60000);
    return 0;
}

/* Whatever is parked is past its deadline soon. */
static int set_up_hurried(void **state) {
    (void)state;
    open_door(5);
    return 0;
}

static int set_up_remote(void **state) {
    (void)state;
    open_door(60000);
    core.kv = remote.kv;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    if (server)
        http_server_stop(server);
    server = NULL;
    assert_int_equal(peers_double_pending(), 0);
    remote_close();
    return 0;
}

static void send_request(int fd, const char *method, const char *path, const char *headers,
                         const char *body) {
    char text[2048];
    snprintf(text, sizeof text,
             "%s %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n%s"
             "Content-Length: %zu\r\n\r\n%s",
             method, path, headers, strlen(body), body);
    say(fd, text);
}

static void get(int fd, const char *headers) {
    send_request(fd, "GET", KEY, headers, "");
}

/* Reads one answer with its body (by Content-Length, or none) and tells its status. */
static int hear_answer(int fd, bool has_body) {
    size_t len = 0;
    size_t whole = 0;
    while (whole == 0 || len < whole) {
        ssize_t got = recv(fd, answer + len, whole ? whole - len : 1, 0);
        if (got <= 0)
            return 0;
        len += (size_t)got;
        answer[len] = '\0';
        if (whole || len < 4 || strcmp(answer + len - 4, "\r\n\r\n") != 0)
            continue;
        const char *length = has_body ? strstr(answer, "Content-Length: ") : NULL;
        whole = len + (length ? (size_t)atoi(length + 16) : 0);
    }
    return atoi(answer + 9);
}

static bool said(const char *text) {
    return strstr(answer, text) != NULL;
}

static void come_back(void) {
    peers_double_await(1);
    assert_true(peers_double_come_back(false));
}

static void reset(int fd) {
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

static void a_value_of_a_peer_is_an_entry_without_a_revision(void **state) {
    int fd = dial();
    (void)state;
    peers_double_put("a", "abc", 0);
    get(fd, "");
    come_back();
    assert_int_equal(hear_answer(fd, true), 200);
    assert_true(said("\r\n\r\nabc") && said("ETag: " ETAG));
    assert_false(said("Hati-Revision") || said("Hati-Ttl"));
    send_request(fd, "HEAD", KEY, "", "");
    come_back();
    assert_int_equal(hear_answer(fd, false), 200);
    assert_true(said("ETag: " ETAG) && said("Content-Length: 3"));
    close(fd);
}

static void what_is_left_of_its_time_is_told(void **state) {
    int fd = dial();
    (void)state;
    peers_double_put("a", "abc", 32503680000000); /* in the year 3000 */
    get(fd, "");
    come_back();
    assert_int_equal(hear_answer(fd, true), 200);
    assert_true(said("Hati-Ttl: "));
    close(fd);
}

static void conditions_hold_for_what_a_peer_gave(void **state) {
    int fd = dial();
    (void)state;
    peers_double_put("a", "abc", 0);
    get(fd, "If-None-Match: " ETAG "\r\n");
    come_back();
    assert_int_equal(hear_answer(fd, false), 304);
    get(fd, "If-None-Match: \"00000000000000000000000000000000\"\r\n");
    come_back();
    assert_int_equal(hear_answer(fd, true), 200);
    get(fd, "If-Match: " ETAG "\r\n");
    come_back();
    assert_int_equal(hear_answer(fd, true), 200);
    get(fd, "If-Match: \"00000000000000000000000000000000\"\r\n");
    come_back();
    assert_int_equal(hear_answer(fd, true), 412);
    close(fd);
}

static void what_nobody_has_is_not_found(void **state) {
    int fd = dial();
    (void)state;
    get(fd, "");
    assert_int_equal(hear_answer(fd, true), 404);
    peers_double_put("a", NULL, 0);
    get(fd, "");
    come_back();
    assert_int_equal(hear_answer(fd, true), 404);
    assert_true(said("KEY_NOT_EXIST"));
    assert_int_equal(peers_double.figures.misses, 2);
    assert_int_equal(peers_double.figures.asked, 1);
    close(fd);
}

static void json_rpc_waits_too(void **state) {
    int fd = dial();
    (void)state;
    peers_double_put("a", "abc", 0);
    send_request(fd, "POST", "/rpc", "", RPC_GET);
    come_back();
    assert_int_equal(hear_answer(fd, true), 200);
    assert_true(said("\"result\":\"abc\""));
    send_request(fd, "POST", "/rpc", "", "[" RPC_GET "," RPC_GET "]");
    peers_double_await(2);
    peers_double_come_back(true);
    peers_double_come_back(true);
    assert_int_equal(hear_answer(fd, true), 200);
    assert_true(said("[{\"jsonrpc\":\"2.0\",\"result\":\"abc\",\"id\":1},{"));
    close(fd);
}

static void an_answer_may_come_before_the_request_is_parked(void **state) {
    int fd = dial();
    (void)state;
    peers_double_put("a", "abc", 0);
    peers_double.wake_before_return = true;
    for (unsigned i = 0; i < 100; i++) {
        get(fd, "");
        assert_int_equal(hear_answer(fd, true), 200);
        send_request(fd, "POST", "/rpc", "", "[" RPC_GET "," RPC_GET "]");
        assert_int_equal(hear_answer(fd, true), 200);
    }
    close(fd);
}

static void a_remote_store_is_asked_before_the_peers(void **state) {
    int fd = dial();
    (void)state;
    peers_double_put("a", "abc", 0);
    get(fd, "If-None-Match: " ETAG "\r\n");
    remote_await(1);
    assert_int_equal(peers_double_pending(), 0);
    remote_come_back(1, false);
    come_back();
    assert_int_equal(hear_answer(fd, false), 304);
    close(fd);
}

/* What comes back behind it finds nobody, and harms nobody. */
static void what_is_parked_is_answered_at_its_deadline(void **state) {
    (void)state;
    peers_double_put("a", "abc", 0);
    for (unsigned i = 0; i < 4; i++) {
        int fd = dial();
        if (i % 2)
            get(fd, "");
        else
            send_request(fd, "POST", "/rpc", "", RPC_GET);
        assert_int_equal(hear_answer(fd, true), 503);
        if (i < 2)
            close(fd);
        come_back();
        if (i >= 2)
            close(fd);
    }
}

static void what_is_parked_may_be_left(void **state) {
    (void)state;
    peers_double_put("a", "abc", 0);
    for (unsigned i = 0; i < 10; i++) {
        int fd = dial();
        if (i % 2)
            get(fd, "");
        else
            send_request(fd, "POST", "/rpc", "", RPC_GET);
        peers_double_await(1);
        reset(fd);
        come_back();
        while (atomic_load(&core.doors[DOOR_HTTP].connections))
            sched_yield();
    }
}

static void *stop_door(void *context) {
    http_server_stop(context);
    return NULL;
}

static void what_is_parked_is_waited_for_by_a_drain(void **state) {
    pthread_t thread;
    int fds[2] = {dial(), dial()};
    (void)state;
    peers_double_put("a", "abc", 0);
    get(fds[0], "");
    send_request(fds[1], "POST", "/rpc", "", RPC_GET);
    peers_double_await(2);
    assert_int_equal(pthread_create(&thread, NULL, stop_door, server), 0);
    while (peers_double_come_back(true))
        continue;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(hear_answer(fds[i], true), 200);
        assert_true(said("abc"));
        close(fds[i]);
    }
    pthread_join(thread, NULL);
    server = NULL;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define HURRIED(name) cmocka_unit_test_setup_teardown(name, set_up_hurried, tear_down)
#define REMOTE(name) cmocka_unit_test_setup_teardown(name, set_up_remote, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_value_of_a_peer_is_an_entry_without_a_revision),
        CASE(what_is_left_of_its_time_is_told),
        CASE(conditions_hold_for_what_a_peer_gave),
        CASE(what_nobody_has_is_not_found),
        CASE(json_rpc_waits_too),
        CASE(an_answer_may_come_before_the_request_is_parked),
        CASE(what_is_parked_may_be_left),
        CASE(what_is_parked_is_waited_for_by_a_drain),
        HURRIED(what_is_parked_is_answered_at_its_deadline),
        REMOTE(a_remote_store_is_asked_before_the_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
