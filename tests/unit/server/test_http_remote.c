/* SPDX-License-Identifier: MIT */
/* HTTP over a remote store: every route may be answered later, has a deadline, and may be left. */
#include "tests/unit/server/remote_case.h"

#include "server/http.h"

#define ANSWER_BYTES (1U << 20)
#define WORKSPACE "11111111-1111-1111-1111-111111111111"
#define QUEUE "/broker/queues/q"
#define ROUTER "/broker/routers/r"
#define DEFAULT "/broker/routers/default"

static struct config config;
static struct core core;
static struct http_server *server;
static char answer[ANSWER_BYTES];

static void open_door(void) {
    char why[256] = "";
    if (http_server_start(&config, &core, &server, &port, why, sizeof why) != OK)
        fail_msg("%s", why);
}

static int set_up(void **state) {
    (void)state;
    config = remote_config();
    remote_core_open(&core, false);
    open_door();
    return 0;
}

/* Whatever is parked is past its deadline soon. */
static int set_up_hurried(void **state) {
    (void)state;
    config = remote_config();
    config.request_timeout_ms = 5;
    remote_core_open(&core, false);
    open_door();
    return 0;
}

static int set_up_threaded(void **state) {
    (void)state;
    config = remote_config();
    remote_core_open(&core, true);
    open_door();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    http_server_stop(server);
    server = NULL;
    remote_close();
    return 0;
}

static void send_request(int fd, const char *method, const char *path, const char *body) {
    char text[2048];
    snprintf(text, sizeof text,
             "%s %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             method, path, strlen(body), body);
    say(fd, text);
}

/* Reads one answer with its body (by Content-Length, or none) and tells its status. */
static int hear_answer(int fd) {
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
        const char *length = strstr(answer, "Content-Length: ");
        whole = len + (length ? (size_t)atoi(length + 16) : 0);
    }
    return atoi(answer + 9);
}

static void hear_text(int fd, const char *text) {
    size_t len = 0;
    answer[0] = '\0';
    while (!strstr(answer, text)) {
        ssize_t got = recv(fd, answer + len, ANSWER_BYTES - 1 - len, 0);
        if (got <= 0)
            fail_msg("wanted <%s>, got <%s>", text, answer);
        len += (size_t)got;
        answer[len] = '\0';
    }
}

static void expect(int fd, const char *method, const char *path, const char *body, int status,
                   const char *text) {
    send_request(fd, method, path, body);
    int got = hear_answer(fd);
    if (got != status || (text && !strstr(answer, text)))
        fail_msg("%s %s: %d %s\n%s", method, path, status, text ? text : "", answer);
}

static void reset(int fd) {
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

#define RPC(method, params)                                                                        \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"" method "\",\"params\":" params "}"

static const struct {
    const char *method, *path, *body;
} routes[] = {
    {"GET", "/api/n/k", ""},
    {"HEAD", "/api/n/k", ""},
    {"PUT", "/api/n/k", "1"},
    {"POST", "/api/n/k", "1"},
    {"DELETE", "/api/n/k?type=memory", ""},
    {"GET", "/api/n?type=memory", ""},
    {"GET", "/api2/" WORKSPACE "/n/k", ""},
    {"POST", "/api2/" WORKSPACE "/n/k?op=incr", ""},
    {"GET", "/api2/" WORKSPACE "/n?prefix=a", ""},
    {"GET", "/broker/routers", ""},
    {"GET", ROUTER, ""},
    {"PUT", ROUTER, "{\"type\":\"topic\"}"},
    {"DELETE", ROUTER, ""},
    {"PUT", ROUTER "/bindings/q", ""},
    {"DELETE", ROUTER "/bindings/q", ""},
    {"POST", ROUTER "/messages?key=a", "x"},
    {"POST", ROUTER "/batch", "{\"messages\":[{\"key\":\"a\",\"payload\":\"x\"}]}"},
    {"GET", "/broker/queues", ""},
    {"GET", QUEUE, ""},
    {"PUT", QUEUE, "{\"type\":\"memory\"}"},
    {"DELETE", QUEUE, ""},
    {"POST", QUEUE "/pause", ""},
    {"POST", QUEUE "/resume", ""},
    {"POST", QUEUE "/redrive", ""},
    {"GET", QUEUE "/messages", ""},
    {"DELETE", QUEUE "/messages", ""},
    {"DELETE", QUEUE "/messages/abc", ""},
    {"POST", QUEUE "/messages/abc/nack", ""},
    {"POST", QUEUE "/messages/abc/extend?lease=1000", ""},
    {"POST", QUEUE "/ack", "{\"receipts\":[\"abc\"]}"},
    {"GET", QUEUE "/stream", ""},
    {"GET", "/kv-store/keys/a", ""},
    {"PUT", "/kv-store/keys/a", "{\"value\":\"1\"}"},
    {"DELETE", "/kv-store/keys/a", "{}"},
    {"GET", "/kv-store/key-count", ""},
    {"GET", "/kv-store/shards", ""},
    {"GET", "/kv-store/shards/0", ""},
    {"PUT", "/kv-store/view-change", "{\"view\":[\"a:1\",\"b:2\"],\"repl-factor\":1}"},
    {"POST", "/rpc", RPC("Storage.Get", "[\"hdd\",\"a\"]")},
    {"POST", "/rpc", RPC("Storage.GetMany", "[\"hdd\",[\"a\"]]")},
    {"POST", "/rpc", RPC("Broker.ListQueue", "[]")},
};

#define ROUTES (sizeof routes / sizeof routes[0])

/* What comes back behind it finds nobody, and harms nobody. */
static void every_route_is_answered_at_its_deadline(void **state) {
    (void)state;
    for (unsigned i = 0; i < ROUTES; i++) {
        int fd = dial();
        send_request(fd, routes[i].method, routes[i].path, routes[i].body);
        bool is_head = strcmp(routes[i].method, "HEAD") == 0;
        if (is_head)
            hear_text(fd, "\r\n\r\n");
        int status = is_head ? atoi(answer + 9) : hear_answer(fd);
        if (status != 503)
            fail_msg("%s %s: %s", routes[i].method, routes[i].path, answer);
        remote_await(1);
        if (i % 2)
            close(fd);
        remote_come_back_all();
        if (i % 2 == 0)
            close(fd);
    }
}

static void every_route_may_be_left_while_it_is_parked(void **state) {
    (void)state;
    for (unsigned i = 0; i < ROUTES; i++) {
        int fd = dial();
        send_request(fd, routes[i].method, routes[i].path, routes[i].body);
        remote_await(1);
        reset(fd);
        while (atomic_load(&core.doors[DOOR_HTTP].connections)) { /* some take several steps */
            remote_come_back_all();
            sched_yield();
        }
        remote_come_back_all();
    }
}

static _Atomic bool stopped;

static void *stop_door(void *context) {
    http_server_stop(context);
    atomic_store(&stopped, true);
    return NULL;
}

static void every_route_that_is_parked_is_waited_for_by_a_drain(void **state) {
    int fds[ROUTES];
    pthread_t thread;
    (void)state;
    atomic_store(&stopped, false);
    for (unsigned i = 0; i < ROUTES; i++) {
        fds[i] = dial();
        send_request(fds[i], routes[i].method, routes[i].path, routes[i].body);
    }
    remote_await(ROUTES);
    assert_int_equal(pthread_create(&thread, NULL, stop_door, server), 0);
    while (!atomic_load(&stopped)) { /* some take several steps */
        remote_come_back_all();
        sched_yield();
    }
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < ROUTES; i++) {
        hear_text(fds[i], "HTTP/1.1 ");
        if (strncmp(answer + 9, "50", 2) == 0)
            fail_msg("%s %s: %s", routes[i].method, routes[i].path, answer);
        close(fds[i]);
    }
    open_door();
}

static void a_stream_of_no_queue_is_not_found(void **state) {
    int fd = dial();
    (void)state;
    expect(fd, "GET", QUEUE "/stream", "", 404, "QUEUE_NOT_EXIST");
    expect(fd, "GET", QUEUE "/stream?prefetch=0", "", 400, "prefetch");
    close(fd);
}

static void a_stream_sends_what_comes(void **state) {
    int fd = dial();
    int other = dial();
    (void)state;
    expect(other, "PUT", QUEUE, "{\"type\":\"memory\"}", 201, "\"name\":\"q\"");
    send_request(fd, "GET", QUEUE "/stream", "");
    hear_text(fd, ": connected");
    expect(other, "POST", DEFAULT "/messages?key=q", "x", 201, "\"queues\":1");
    hear_text(fd, "\"payload\":\"x\"");
    expect(other, "POST", DEFAULT "/messages?key=q", "y", 201, "\"queues\":1");
    hear_text(fd, "\"payload\":\"y\"");
    close(fd);
    close(other);
}

static void keys_are_written_read_and_listed(void **state) {
    char path[64];
    int fd = dial();
    (void)state;
    expect(fd, "PUT", "/api/n/k", "abc", 204, "ETag: \"900150983cd24fb0d6963f7d28e17f72\"");
    expect(fd, "GET", "/api/n/k", "", 200, "abc");
    expect(fd, "GET", "/api/n/none", "", 404, "KEY_NOT_EXIST");
    expect(fd, "POST", "/api2/" WORKSPACE "/n/i?op=incr", "", 200, "1");
    expect(fd, "GET", "/api/n", "", 200, "\"keys\":[\"i\",\"k\"],\"count\":2");
    expect(fd, "DELETE", "/api/n/k", "", 204, NULL);
    expect(fd, "DELETE", "/api/n/k", "", 404, NULL);
    for (unsigned i = 0; i < 2100; i++) {
        snprintf(path, sizeof path, "/api/m/%06u", i);
        expect(fd, "PUT", path, "1", 204, NULL);
    }
    send_request(fd, "GET", "/api/m", ""); /* page by page */
    hear_text(fd, "\"count\":2100");
    close(fd);
}

static void shards_are_counted_and_changed(void **state) {
    int fd = dial();
    (void)state;
    expect(fd, "PUT", "/kv-store/keys/a", "{\"value\":\"1\"}", 201, "Added");
    expect(fd, "PUT", "/kv-store/keys/a", "{\"value\":\"2\"}", 200, "Updated");
    expect(fd, "GET", "/kv-store/keys/a", "", 200, "\"value\":\"2\"");
    expect(fd, "GET", "/kv-store/key-count", "", 200, "\"key-count\":1");
    expect(fd, "PUT", "/kv-store/view-change", "{\"view\":[\"a:1\",\"b:2\"],\"repl-factor\":1}",
           200, "successful");
    expect(fd, "GET", "/kv-store/shards", "", 200, "\"shards\":[1,2]");
    expect(fd, "DELETE", "/kv-store/keys/a", "{}", 200, "Deleted");
    close(fd);
}

static void messages_go_all_their_way(void **state) {
    char path[128];
    int fd = dial();
    (void)state;
    expect(fd, "PUT", QUEUE, "{\"type\":\"memory\"}", 201, "\"lease\":30000");
    expect(fd, "PUT", QUEUE, "{\"type\":\"memory\"}", 200, "\"lease\":30000");
    expect(fd, "PUT", QUEUE, "{\"type\":\"memory\",\"lease\":5}", 409, "CONFLICT");
    expect(fd, "PUT", ROUTER, "{\"type\":\"fanout\"}", 201, "\"bindings\":[]");
    expect(fd, "PUT", ROUTER "/bindings/q", "", 201, NULL);
    expect(fd, "GET", ROUTER, "", 200, "\"queue\":\"q\"");
    expect(fd, "GET", "/broker/routers", "", 200, "[\"default\",\"r\"]");
    expect(fd, "GET", "/broker/queues", "", 200, "[\"q\"]");
    expect(fd, "POST", ROUTER "/messages", "x", 201, "\"queues\":1");
    expect(fd, "GET", QUEUE "/messages", "", 200, "\"payload\":\"x\"");
    expect(fd, "POST", QUEUE "/receive?wait=60000", "", 200, "\"payload\":\"x\"");
    const char *receipt = strstr(answer, "\"receipt\":\"");
    assert_non_null(receipt);
    snprintf(path, sizeof path, QUEUE "/messages/%.*s", (int)strcspn(receipt + 11, "\""),
             receipt + 11);
    expect(fd, "DELETE", path, "", 204, NULL);
    expect(fd, "DELETE", path, "", 404, "RECEIPT_INVALID");
    expect(fd, "DELETE", QUEUE "/messages", "", 200, "\"dropped\":0");
    expect(fd, "POST", "/broker/queues/none/receive", "", 404, "QUEUE_NOT_EXIST");
    close(fd);
}

/* Its caller is gone when the message comes: the next one gets it. */
static void a_message_for_who_left_comes_to_the_next(void **state) {
    int fd = dial();
    (void)state;
    send_request(fd, "PUT", QUEUE, "{\"type\":\"memory\"}");
    come_back_until_quiet(2);
    assert_int_equal(hear_answer(fd), 201);
    int gone = dial();
    send_request(gone, "POST", QUEUE "/receive?wait=60000", "");
    come_back_until_quiet(1); /* waits with the broker */
    shutdown(gone, SHUT_WR);
    send_request(fd, "POST", DEFAULT "/messages?key=q", "x");
    come_back_until_quiet(1);
    assert_int_equal(hear_answer(fd), 201);
    while (recv(gone, answer, sizeof answer, 0) > 0)
        continue;
    close(gone);
    send_request(fd, "POST", QUEUE "/receive", "");
    come_back_until_quiet(1);
    assert_int_equal(hear_answer(fd), 200);
    assert_non_null(strstr(answer, "\"attempt\":1"));
    close(fd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define HURRIED(name) cmocka_unit_test_setup_teardown(name, set_up_hurried, tear_down)
#define THREADED(name) cmocka_unit_test_setup_teardown(name, set_up_threaded, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        HURRIED(every_route_is_answered_at_its_deadline),
        CASE(every_route_may_be_left_while_it_is_parked),
        CASE(every_route_that_is_parked_is_waited_for_by_a_drain),
        CASE(a_message_for_who_left_comes_to_the_next),
        THREADED(a_stream_of_no_queue_is_not_found),
        THREADED(a_stream_sends_what_comes),
        THREADED(keys_are_written_read_and_listed),
        THREADED(shards_are_counted_and_changed),
        THREADED(messages_go_all_their_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
