/* SPDX-License-Identifier: MIT */
#include "line_fake.h"

static void replies_wait_for_their_turn(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "SET hdd 0 a 1\nPING\nSET hdd 0 b 2\nSET memory 0 m 3\nGET memory m\nINCR hdd n 4\n");
    fake_await_queued(3); /* the later ones did not wait for the first */
    fake_come_back();
    hear(fd, "+OK\n+PONG\n+OK\n+OK\n3\n4\n");
    close(fd);
}

static void a_connection_reads_its_own_durable_writes(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "SET hdd 0 a 1\nGET hdd a\nSET hdd 0 a 2\nGET hdd a\nGET memory none\n");
    fake_await_queued(1);
    assert_int_equal(fake_gets(KV_HDD), 0);
    fake_come_back();
    hear(fd, "+OK\n1\n");
    fake_await_queued(1);
    assert_int_equal(fake_gets(KV_HDD), 1);
    fake_come_back();
    hear(fd, "+OK\n2\n");
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    close(fd);
}

static void commands_of_the_connection_wait_for_what_is_parked(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "SET hdd 0 a 1\nUSE other\nSET hdd 0 a 2\n{\"x\":1}\nQUIT\n");
    fake_await_queued(1);
    fake_come_back();
    hear(fd, "+OK\n+OK\n");
    fake_await_queued(1);
    fake_come_back();
    hear(fd, "+OK\n{\"ns\":\"other\"}\n+OK\n");
    hear_end(fd);
    fd = dial(fixture);
    say(fd, "GET hdd a\nUSE other\nGET hdd a\n");
    hear(fd, "1\n+OK\n2\n");
    close(fd);
}

static void a_write_that_is_done_before_it_returns_is_answered_once(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    fake.wake_before_return = true;
    for (int i = 0; i < 200; i++) {
        say(fd, "SET hdd 0 a 1\nGET hdd a\nSET hdd 0 a 2\nSET hdd 0 a 3\nGET hdd a\n");
        hear(fd, "+OK\n1\n+OK\n+OK\n3\n");
    }
    close(fd);
}

static void a_connection_parks_no_more_than_its_share(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    for (int i = 0; i < 1500; i++)
        say(fd, "SET hdd 0 a 1\n");
    say(fd, "PING\n");
    fake_await_queued(1024);
    fake_come_back();
    fake_await_queued(1500 - 1024);
    fake_come_back();
    for (int i = 0; i < 1500; i++)
        hear(fd, "+OK\n");
    hear(fd, "+PONG\n");
    close(fd);
}

static void a_caller_may_hang_up_while_calls_are_parked(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    int other = dial(fixture);
    struct linger reset = {.l_onoff = 1};
    say(fd, "SET hdd 0 a 1\nPING\nSET hdd 0 b 2\nGET hdd a\n");
    fake_await_queued(2);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    say(other, "PING\n");
    hear(other, "+PONG\n");
    fake_come_back();
    say(other, "GET hdd a\n");
    hear(other, "1\n");
    close(other);
}

/* The loop is done with what it was at: a call that the store holds is parked by now. */
static void await_loop(const struct fixture *fixture) {
    int fd = dial(fixture);
    say(fd, "PING\n");
    hear(fd, "+PONG\n");
    close(fd);
}

static void a_parked_call_is_answered_at_its_deadline(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "SET hdd 0 a 1\nPING\nGET hdd a\n");
    fake_await_queued(1);
    await_loop(fixture);
    clock_move_for_test(fixture->config.request_timeout_ms + 1);
    hear_line(fd, "+ERR UNAVAILABLE ");
    hear(fd, "+PONG\n");
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    fake_come_back(); /* too late: nobody hears of it */
    say(fd, "PING\nGET hdd a\n");
    hear(fd, "+PONG\n1\n");
    close(fd);
}

static void a_json_line_may_be_answered_later(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "[\"notification\"]\n{\"wait\":1}\nPING\n");
    struct rpc_request *request = fake_await_rpc();
    assert_true(slice_equal(request->body, SLICE("{\"wait\":1}")));
    buf_append(request->out, SLICE("{\"done\":1}\n"));
    request->done(request);
    hear(fd, "{\"done\":1}\n+PONG\n");
    say(fd, "{\"wait\":2}\n");
    request = fake_await_rpc();
    await_loop(fixture);
    clock_move_for_test(fixture->config.request_timeout_ms + 1);
    hear(fd, "{\"error\":\"UNAVAILABLE\"}\n");
    close(fd);
    request->done(request);
}

static void nothing_overtakes_a_json_line(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    int other = dial(fixture);
    say(fd, "{\"wait\":1}\nSET memory 0 behind 1\n");
    struct rpc_request *request = fake_await_rpc();
    await_loop(fixture);
    say(other, "HAS memory behind\n");
    hear_line(other, "+ERR KEY_NOT_EXIST ");
    buf_append(request->out, SLICE("1\n"));
    request->done(request);
    hear(fd, "1\n+OK\n");
    close(fd);
    close(other);
}

static void a_tokenless_caller_may_only_introduce_itself(void **state) {
    struct fixture *fixture = *state;
    fixture_stop(fixture);
    fixture_init(fixture);
    fixture->core.auth = &fixture->auth;
    fixture_start(fixture);
    int fd = dial(fixture);
    say(fd, "PING\nPING x\nGET memory k\nUSE x\nSETB memory 0 k 3\nabc\nNONE\nSTATS\n"
            "GET\nGET disk k\nSET memory x k v\nSETB memory 0 k\nSETB disk x k 3\nabc\n");
    hear(fd, "+PONG\n");
    hear_line(fd, "+ERR SYNTAX ");
    for (unsigned i = 0; i < 10; i++)
        hear_line(fd, "+ERR AUTH_REQUIRED ");
    say(fd, "AUTH bad\nAUTH\nGET memory k\nAUTH good\nSET memory 0 k v\nGET memory k\n");
    hear_line(fd, "+ERR FORBIDDEN ");
    hear_line(fd, "+ERR SYNTAX ");
    hear_line(fd, "+ERR AUTH_REQUIRED ");
    hear(fd, "+OK\n+OK\nv\n");
    say(fd, "USE 11111111-2222-3333-4444-555555555555/x\n");
    hear_line(fd, "+ERR FORBIDDEN ");
    say(fd, "USE aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa/x\nGET memory k\nAUTH bad\nPING\n");
    hear(fd, "+OK\n");
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    hear_line(fd, "+ERR FORBIDDEN ");
    hear(fd, "+PONG\n");
    close(fd);
}

static void a_caller_over_the_limit_is_told_so(void **state) {
    struct fixture *fixture = *state;
    fixture_stop(fixture);
    fixture_init(fixture);
    fixture->config.connection_limit = 2;
    fixture_start(fixture);
    int fds[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = dial(fixture);
        say(fds[i], "PING\n");
        hear(fds[i], "+PONG\n");
    }
    int over = dial(fixture);
    hear_line(over, "+ERR UNAVAILABLE ");
    hear_end(over);
    say(fds[0], "QUIT\n");
    hear(fds[0], "+OK\n");
    hear_end(fds[0]);
    close(fds[1]);
}

static void a_second_server_on_the_port_ends_with_a_clear_line(void **state) {
    struct fixture *fixture = *state;
    struct fixture second;
    for (unsigned threads = 1; threads <= 2; threads++) {
        char why[256] = "";
        fixture_init(&second);
        second.config.tcp_port = fixture->ports.tcp;
        second.config.tcp_threads = threads;
        enum err err = line_server_start(&second.config, &second.core, &second.server,
                                         &second.ports, why, sizeof why);
        assert_int_equal(err, ERR_UNAVAILABLE);
        assert_non_null(strstr(why, "in use"));
        assert_null(strchr(why, '\n'));
    }
}

static void several_threads_share_a_port(void **state) {
    struct fixture *fixture = *state;
    fixture_stop(fixture);
    fixture_init(fixture);
    fixture->config.tcp_threads = 3;
    fixture_start(fixture);
    fake.wake_before_return = true;
    int fds[24];
    for (int i = 0; i < 24; i++)
        fds[i] = dial(fixture);
    for (int i = 0; i < 24; i++)
        say(fds[i], "SET hdd 0 a 1\nGET hdd a\nSET memory 0 a 2\n");
    for (int i = 0; i < 24; i++) {
        hear(fds[i], "+OK\n1\n+OK\n");
        close(fds[i]);
    }
}

static int dial_unix(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    set_timeout(fd);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

static void a_unix_socket_serves_and_is_removed_at_the_end(void **state) {
    struct fixture *fixture = *state;
    struct fixture second;
    char dir[] = "/tmp/hati-line-XXXXXX";
    char path[64];
    char why[256] = "";
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/socket", dir);
    fixture_stop(fixture);
    int stale = socket(AF_UNIX, SOCK_STREAM, 0); /* of a server that was killed */
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    memcpy(at.sun_path, path, strlen(path));
    assert_int_equal(bind(stale, (struct sockaddr *)&at, sizeof at), 0);
    close(stale);
    fixture_init(fixture);
    fixture->config.tcp_socket = path;
    fixture_start(fixture);
    int fd = dial_unix(path);
    say(fd, "SET memory 0 k v\nGET memory k\nQUIT\n");
    hear(fd, "+OK\nv\n+OK\n");
    hear_end(fd);
    fixture_init(&second);
    second.config.tcp_socket = path;
    enum err err = line_server_start(&second.config, &second.core, &second.server, &second.ports,
                                     why, sizeof why);
    assert_int_equal(err, ERR_UNAVAILABLE);
    assert_non_null(strstr(why, path));
    fd = dial_unix(path); /* the refused one left it alone */
    assert_true(fd >= 0);
    close(fd);
    fixture_stop(fixture);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(rmdir(dir), 0);
    fixture_init(fixture);
    fixture_start(fixture);
}

static void *stop_in_thread(void *context) {
    struct fixture *fixture = context;
    line_server_stop(fixture->server);
    return NULL;
}

static void a_stop_answers_what_is_parked(void **state) {
    struct fixture *fixture = *state;
    int idle = dial(fixture);
    int fd = dial(fixture);
    pthread_t thread;
    say(idle, "PING\n");
    hear(idle, "+PONG\n");
    say(fd, "SET hdd 0 a 1\nGET hdd a\n");
    fake_await_queued(1);
    assert_int_equal(pthread_create(&thread, NULL, stop_in_thread, fixture), 0);
    hear_end(idle); /* the stop has begun */
    fake_come_back();
    hear(fd, "+OK\n1\n");
    hear_end(fd);
    pthread_join(thread, NULL);
    assert_int_equal(fixture->core.doors[DOOR_LINE].connections, 0);
    fixture_start(fixture);
}

static void a_stop_ends_connections_at_its_deadline(void **state) {
    struct fixture *fixture = *state;
    fixture_stop(fixture);
    fixture_init(fixture);
    fixture->config.request_timeout_ms = 0;
    fixture_start(fixture);
    int idle = dial(fixture);
    int fd = dial(fixture);
    pthread_t thread;
    say(idle, "PING\n");
    hear(idle, "+PONG\n");
    say(fd, "SET hdd 0 a 1\n");
    fake_await_queued(1);
    assert_int_equal(pthread_create(&thread, NULL, stop_in_thread, fixture), 0);
    hear_end(idle);
    clock_move_for_test(fixture->config.drain_timeout_ms + 1);
    hear_end(fd);
    fake_come_back(); /* the store still had it */
    pthread_join(thread, NULL);
    fixture_start(fixture);
}

static int start(void **state) {
    static struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    *state = &fixture;
    return 0;
}

static int stop(void **state) {
    fixture_stop(*state);
    return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(replies_wait_for_their_turn),
        CASE(a_connection_reads_its_own_durable_writes),
        CASE(commands_of_the_connection_wait_for_what_is_parked),
        CASE(a_write_that_is_done_before_it_returns_is_answered_once),
        CASE(a_connection_parks_no_more_than_its_share),
        CASE(a_caller_may_hang_up_while_calls_are_parked),
        CASE(a_parked_call_is_answered_at_its_deadline),
        CASE(a_json_line_may_be_answered_later),
        CASE(nothing_overtakes_a_json_line),
        CASE(a_tokenless_caller_may_only_introduce_itself),
        CASE(a_caller_over_the_limit_is_told_so),
        CASE(a_second_server_on_the_port_ends_with_a_clear_line),
        CASE(several_threads_share_a_port),
        CASE(a_unix_socket_serves_and_is_removed_at_the_end),
        CASE(a_stop_answers_what_is_parked),
        CASE(a_stop_ends_connections_at_its_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
