/* SPDX-License-Identifier: MIT */
/* The broker's routes over sockets: bodies, answers, waits, streams, and what becomes of messages
 * whose callers are gone. */
#include "tests/unit/server/http_broker_fake.h"
#include "tests/unit/server/http_case.h"

#define QUEUE "/broker/queues/q"
#define RECEIVE "POST " QUEUE "/receive?max=10&wait=60000 HTTP/1.1\r\n" HOST "\r\n"
#define STREAM "GET " QUEUE "/stream HTTP/1.1\r\n" HOST "\r\n"

static int begin(void **state) {
    fake_broker_forget();
    return start(state);
}

static int end(void **state) {
    stop_server(state);
    assert_int_equal(broker.held, 0);
    assert_int_equal(broker.consumers, 0);
    fake_broker_forget();
    atomic_store(&core.draining, false);
    return 0;
}

static int send_typed(int fd, const char *method, const char *path, const char *type,
                      const char *body) {
    char text[2048];
    snprintf(text, sizeof text,
             "%s %s HTTP/1.1\r\n" HOST "Content-Type: %s\r\nContent-Length: %zu\r\n"
             "\r\n%s",
             method, path, type, strlen(body), body);
    return status_of(fd, text);
}

/* One request with a JSON body. */
static int send_json(int fd, const char *method, const char *path, const char *json) {
    return send_typed(fd, method, path, "application/json", json);
}

static int ask_path(int fd, const char *method, const char *path) {
    char text[2048];
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", method,
             path);
    return status_of(fd, text);
}

static void wait_for_wait(void) {
    while (!fake_has_waiting())
        sched_yield();
}

static void wait_ready(unsigned count) {
    while (fake_count(FAKE_READY) < count)
        sched_yield();
}

/* Reads until the text has come, however it is cut into pieces; tells how many bytes that were. */
static size_t hear_text(int fd, const char *text) {
    size_t len = 0;
    size_t whole = 0;
    do {
        if (len > ANSWER_BYTES / 2) { /* what is long past is forgotten */
            memmove(answer, answer + len - 256, 256);
            len = 256;
        }
        ssize_t got = recv(fd, answer + len, ANSWER_BYTES - 1 - len, 0);
        if (got <= 0)
            fail_msg("wanted <%s>", text);
        len += (size_t)got;
        whole += (size_t)got;
        answer[len] = '\0';
    } while (!said(text));
    return whole;
}

static void hear_end(int fd) {
    while (recv(fd, answer, ANSWER_BYTES, 0) > 0)
        continue;
}

static void test_a_body_is_an_object_of_parameters(void **state) {
    (void)state;
    int fd = dial();
    broker.exists = false;
    assert_int_equal(send_json(fd, "PUT", QUEUE, "{\"type\":\"memory\",\"lease\":5}"), 201);
    assert_int_equal(broker.last.action, BROKER_CREATE_QUEUE);
    assert_true(slice_equal(broker.last.queue, SLICE("q")));
    assert_true(said("\"type\":\"memory\""));
    assert_true(said("\"lease\":5"));
    broker.exists = true;
    assert_int_equal(ask_path(fd, "PUT", QUEUE), 200);
    assert_int_equal(send_json(fd, "PUT", QUEUE, "{\"name\":\"q\",\"queue\":\"q\"}"), 200);
    static const char *const bad[] = {"[]",
                                      "1",
                                      "{",
                                      "{\"queue\":\"other\"}",
                                      "{\"nope\":1}",
                                      "{\"name\":1}",
                                      "{\"lease\":0}",
                                      "{\"lease\":5,\"lease\":5}",
                                      "{} {}",
                                      "{\"dead-letter\":\"a b\"}"};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (send_json(fd, "PUT", QUEUE, bad[i]) != 400)
            fail_msg("%s: %s", bad[i], answer);
    close(fd);
}

static void test_a_json_body_is_taken_under_any_content_type(void **state) {
    static const char *const types[] = {"application/x-www-form-urlencoded", "text/plain", "a/b"};
    (void)state;
    int fd = dial();
    broker.exists = true;
    for (unsigned i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_int_equal(send_typed(fd, "PUT", QUEUE, types[i], "{\"lease\":5}"), 200);
        assert_int_equal(send_typed(fd, "PUT", QUEUE, types[i], "lease=5"), 400);
    }
    close(fd);
}

static void test_a_body_nested_too_deep_is_refused(void **state) {
    char json[512] = "{\"type\":";
    (void)state;
    int fd = dial();
    memset(json + 8, '[', 200);
    assert_int_equal(send_json(fd, "PUT", QUEUE, json), 400);
    assert_true(said("nested too deep"));
    close(fd);
}

static void test_names_in_a_path_are_names(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(ask_path(fd, "PUT", "/broker/queues/"), 400);
    assert_int_equal(ask_path(fd, "PUT", "/broker/queues/a%20b"), 400);
    assert_int_equal(ask_path(fd, "PUT", "/broker/queues/a%00b"), 400);
    assert_int_equal(ask_path(fd, "DELETE", "/broker/queues//messages"), 400);
    assert_int_equal(ask_path(fd, "PUT", "/broker/queues/a%2Fb"), 200);
    assert_true(slice_equal(broker.last.queue, SLICE("a/b")));
    close(fd);
}

static void test_a_publish_is_its_body_and_its_query(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(
        status_of(fd, "POST /broker/routers/r/"
                      "messages?key=a.b&id=x1&delay=5&ttl=6&priority=7&headers=%7B%20%22a%22%20:"
                      "%201%20%7D HTTP/1.1\r\n" HOST
                      "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc"),
        201);
    assert_string_equal(body(), "{\"id\":\"id\",\"queues\":1}\n");
    const struct broker_op *op = &broker.last;
    assert_true(slice_equal(op->router, SLICE("r")));
    assert_int_equal(op->payload.len, 3);
    assert_int_equal(op->delay_ms, 5);
    assert_int_equal(op->ttl_ms, 6);
    assert_int_equal(op->priority, 7);
    assert_string_equal(broker.last_text, "{\"a\":1}");
    static const char *const bad[] = {"?headers=%5B%5D", "?headers=x", "?priority=10",
                                      "?key=a%20b",      "?id=",       "?router=s",
                                      "?key=a&key=b"};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "/broker/routers/r/messages%s", bad[i]);
        if (ask_path(fd, "POST", path) != 400)
            fail_msg("%s: %s", bad[i], answer);
    }
    assert_int_equal(ask_path(fd, "POST", "/broker/routers/r/messages?key="), 201);
    broker.full = true;
    assert_int_equal(ask_path(fd, "POST", "/broker/routers/r/messages"), 429);
    assert_true(said("Retry-After: 1\r\n"));
    assert_true(said("\"code\":\"QUEUE_FULL\""));
    close(fd);
}

static void test_changes_are_answered_with_their_statuses(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(ask_path(fd, "PUT", "/broker/routers/r/bindings/q?pattern=a.%2A"), 200);
    assert_string_equal(body(), "{}\n");
    assert_int_equal(ask_path(fd, "DELETE", "/broker/routers/r/bindings/q"), 404);
    assert_true(said("\"detail\":\"the queue is not bound so\""));
    broker.exists = false;
    assert_int_equal(ask_path(fd, "PUT", "/broker/routers/r/bindings/q"), 201);
    assert_int_equal(ask_path(fd, "DELETE", "/broker/routers/r/bindings/q"), 204);
    assert_int_equal(ask_path(fd, "DELETE", "/broker/routers/r"), 204);
    assert_int_equal(ask_path(fd, "DELETE", QUEUE), 204);
    assert_int_equal(ask_path(fd, "DELETE", QUEUE "/messages/r0"), 204);
    assert_int_equal(ask_path(fd, "DELETE", QUEUE "/messages/r1"), 404);
    assert_true(said("\"code\":\"RECEIPT_INVALID\""));
    assert_int_equal(ask_path(fd, "POST", QUEUE "/messages/r0/nack?delay=5"), 204);
    assert_int_equal(broker.last.delay_ms, 5);
    assert_int_equal(ask_path(fd, "POST", QUEUE "/messages/r0/extend?lease=6"), 204);
    assert_int_equal(broker.last.lease_ms, 6);
    assert_int_equal(ask_path(fd, "POST", QUEUE "/messages/r0/extend"), 400);
    assert_int_equal(ask_path(fd, "DELETE", QUEUE "/messages"), 200);
    assert_string_equal(body(), "{\"dropped\":3}\n");
    assert_int_equal(ask_path(fd, "POST", QUEUE "/pause"), 204);
    assert_int_equal(ask_path(fd, "POST", QUEUE "/resume"), 204);
    assert_int_equal(ask_path(fd, "PUT", QUEUE "/resume"), 405);
    assert_true(said("Allow: POST, OPTIONS\r\n"));
    close(fd);
}

static void test_messages_are_received_at_once_or_when_they_come(void **state) {
    (void)state;
    int fd = dial();
    fake_message_add(3);
    assert_int_equal(status_of(fd, RECEIVE), 200);
    assert_true(said("{\"messages\":[{\"receipt\":\"r0\",\"id\":\"m\",\"attempt\":1,"));
    say(fd, RECEIVE);
    wait_for_wait();
    fake_message_add(3);
    assert_int_equal(hear(fd), 200);
    assert_true(said("\"receipt\":\"r1\""));
    say(fd, RECEIVE);
    wait_for_wait();
    fake_hand_out(true);
    assert_int_equal(hear(fd), 200);
    assert_string_equal(body(), "{\"messages\":[]}\n");
    assert_int_equal(fake_count(FAKE_LEASED), 2);
    close(fd);
}

static void test_a_wait_is_longer_than_the_deadline_of_requests(void **state) {
    (void)state;
    start_again(1, 10000);
    int fd = dial();
    int other = dial();
    say(fd, RECEIVE);
    wait_for_wait();
    assert_int_equal(status_of(other, PUT_HDD), 503);
    fake_come_back(false);
    fake_message_add(3);
    assert_int_equal(hear(fd), 200);
    assert_true(said("\"receipt\":\"r0\""));
    close(fd);
    close(other);
}

static void test_what_came_for_a_caller_that_hung_up_is_ready_again(void **state) {
    (void)state;
    int fd = dial();
    say(fd, RECEIVE);
    wait_for_wait();
    close(fd);
    fake_message_add(3);
    wait_ready(1);
    assert_int_equal(broker.messages[0].attempt, 0);
}

static void test_a_wait_ends_when_its_caller_hangs_up(void **state) {
    (void)state;
    int fd = dial();
    say(fd, RECEIVE);
    wait_for_wait();
    close(fd);
    while (fake_has_waiting())
        sched_yield();
    fake_message_add(3);
    assert_int_equal(fake_count(FAKE_READY), 1);
}

static void test_many_large_messages_come_in_pieces(void **state) {
    (void)state;
    int fd = dial();
    for (unsigned i = 0; i < 5; i++)
        fake_message_add(FAKE_PAYLOAD_BYTES);
    say(fd, RECEIVE);
    assert_true(hear_text(fd, "]}\n\r\n0\r\n\r\n") > 5 * FAKE_PAYLOAD_BYTES);
    assert_int_equal(status_of(fd, GET_MEMORY), 404);
    assert_int_equal(fake_count(FAKE_LEASED), 5);
    close(fd);
}

static void test_messages_that_could_not_be_sent_whole_are_ready_again(void **state) {
    (void)state;
    int fd = dial();
    for (unsigned i = 0; i < FAKE_MESSAGES; i++)
        fake_message_add(FAKE_PAYLOAD_BYTES);
    say(fd, "POST " QUEUE "/receive?max=64 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(recv(fd, answer, 100, 0) > 0);
    assert_int_equal(fake_count(FAKE_LEASED), FAKE_MESSAGES);
    close(fd);
    wait_ready(FAKE_MESSAGES);
    assert_int_equal(broker.messages[0].attempt, 0);
}

static void test_a_server_that_stops_ends_waits_and_streams(void **state) {
    (void)state;
    int fd = dial();
    say(fd, RECEIVE);
    wait_for_wait();
    http_server_stop(server);
    server = NULL;
    assert_int_equal(hear(fd), 200);
    assert_string_equal(body(), "{\"messages\":[]}\n");
    close(fd);
}

static void test_a_stream_begins_at_once_and_sends_what_comes(void **state) {
    (void)state;
    int fd = dial();
    say(fd, STREAM);
    hear_text(fd, ": connected\n\n");
    assert_true(said("200 OK"));
    assert_true(said("Content-Type: text/event-stream\r\n"));
    assert_true(said("Cache-Control: no-cache\r\n"));
    assert_true(said("X-Accel-Buffering: no\r\n"));
    for (unsigned i = 0; i < 3; i++) {
        char text[64];
        wait_for_wait();
        fake_message_add(3);
        snprintf(text, sizeof text, "id: r%u\nevent: message\ndata: {\"receipt\":\"r%u\",", i, i);
        hear_text(fd, text);
    }
    wait_for_wait();
    fake_hand_out(true);
    hear_text(fd, ": keep-alive\n\n");
    assert_int_equal(fake_count(FAKE_LEASED), 3);
    assert_int_equal(fake_read(&broker.consumers), 1);
    close(fd);
    while (fake_read(&broker.consumers))
        sched_yield();
    assert_int_equal(fake_count(FAKE_LEASED), 3);
}

static void test_what_a_stream_could_not_send_is_ready_again(void **state) {
    (void)state;
    int fd = dial();
    say(fd, STREAM);
    hear_text(fd, ": connected\n\n");
    wait_for_wait();
    close(fd);
    fake_message_add(3);
    while (fake_read(&broker.consumers))
        sched_yield();
    wait_ready(1);
    assert_int_equal(broker.messages[0].attempt, 0);
}

static void test_a_slow_stream_that_ends_keeps_only_what_it_sent(void **state) {
    (void)state;
    for (unsigned i = 0; i < FAKE_MESSAGES; i++)
        fake_message_add(FAKE_PAYLOAD_BYTES);
    int fd = dial();
    say(fd, "GET " QUEUE "/stream?prefetch=64 HTTP/1.1\r\n" HOST "\r\n");
    hear_text(fd, "id: r1\n"); /* so all of r0 was sent */
    close(fd);
    while (fake_read(&broker.consumers))
        sched_yield();
    assert_int_equal(broker.messages[0].state, FAKE_LEASED);
    assert_int_equal(broker.messages[FAKE_MESSAGES - 1].state, FAKE_READY);
    assert_int_equal(broker.messages[FAKE_MESSAGES - 1].attempt, 0);
}

static void test_a_stream_ends_with_its_queue_or_its_server(void **state) {
    (void)state;
    int fd = dial();
    say(fd, STREAM);
    wait_for_wait();
    fake_queue_delete();
    hear_text(fd, "\r\n0\r\n\r\n");
    broker.exists = true;
    say(fd, STREAM);
    wait_for_wait();
    http_server_stop(server);
    server = NULL;
    hear_text(fd, "\r\n0\r\n\r\n");
    hear_end(fd);
    close(fd);
}

static void test_a_stream_is_refused_like_anything(void **state) {
    (void)state;
    int fd = dial();
    assert_int_equal(ask_path(fd, "GET", "/broker/queues/other/stream"), 404);
    assert_true(said("\"code\":\"QUEUE_NOT_EXIST\""));
    assert_int_equal(ask_path(fd, "GET", QUEUE "/stream?prefetch=0"), 400);
    assert_int_equal(ask_path(fd, "GET", QUEUE "/stream?prefetch=65536"), 400);
    assert_int_equal(ask_path(fd, "GET", QUEUE "/stream?prefetch="), 400);
    assert_int_equal(ask_path(fd, "GET", "/broker/queues//stream"), 400);
    assert_int_equal(ask_path(fd, "POST", QUEUE "/stream"), 405);
    assert_true(said("Allow: GET, HEAD, OPTIONS\r\n"));
    assert_int_equal(ask_path(fd, "HEAD", QUEUE "/stream"), 200);
    assert_true(said("Content-Type: text/event-stream\r\n"));
    atomic_store(&core.draining, true);
    assert_int_equal(ask_path(fd, "GET", QUEUE "/stream"), 503);
    core.auth = (struct auth *)&core;
    assert_int_equal(ask_path(fd, "GET", QUEUE "/stream"), 401);
    close(fd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_a_body_is_an_object_of_parameters),
        CASE(test_a_json_body_is_taken_under_any_content_type),
        CASE(test_a_body_nested_too_deep_is_refused),
        CASE(test_names_in_a_path_are_names),
        CASE(test_a_publish_is_its_body_and_its_query),
        CASE(test_changes_are_answered_with_their_statuses),
        CASE(test_messages_are_received_at_once_or_when_they_come),
        CASE(test_a_wait_is_longer_than_the_deadline_of_requests),
        CASE(test_what_came_for_a_caller_that_hung_up_is_ready_again),
        CASE(test_a_wait_ends_when_its_caller_hangs_up),
        CASE(test_many_large_messages_come_in_pieces),
        CASE(test_messages_that_could_not_be_sent_whole_are_ready_again),
        CASE(test_a_server_that_stops_ends_waits_and_streams),
        CASE(test_a_stream_begins_at_once_and_sends_what_comes),
        CASE(test_what_a_stream_could_not_send_is_ready_again),
        CASE(test_a_slow_stream_that_ends_keeps_only_what_it_sent),
        CASE(test_a_stream_ends_with_its_queue_or_its_server),
        CASE(test_a_stream_is_refused_like_anything),
    };
    op_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
