/* SPDX-License-Identifier: MIT */
/* Lines over a remote store: what may be on its way together, in which order it is answered, and
 * what becomes of it when somebody leaves. */
#include "tests/unit/server/remote_case.h"

#include "server/line.h"

static struct config config;
static struct core core;
static struct line_server *server;

static void open_door(void) {
    char why[256] = "";
    struct line_ports ports;
    if (line_server_start(&config, &core, &server, &ports, why, sizeof why) != OK)
        fail_msg("%s", why);
    port = ports.tcp;
}

static int set_up(void **state) {
    (void)state;
    config = remote_config();
    remote_core_open(&core, false);
    open_door();
    return 0;
}

static int set_up_threaded(void **state) {
    (void)state;
    config = remote_config();
    config.tcp_threads = 2;
    remote_core_open(&core, true);
    open_door();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    if (server)
        line_server_stop(server);
    server = NULL;
    assert_int_equal(core.doors[DOOR_LINE].connections, 0);
    remote_close();
    return 0;
}

/* One request, carried out at once. */
static void tell(int fd, const char *request, unsigned jobs, const char *reply) {
    say(fd, request);
    come_back_until_quiet(jobs);
    hear(fd, reply);
}

static void reads_are_on_their_way_together_and_answered_in_order(void **state) {
    int fd = dial();
    (void)state;
    tell(fd, "SET hdd 0 a 1\n", 1, "+OK\n");
    tell(fd, "SET memory 0 b 2\n", 1, "+OK\n");
    say(fd, "GET hdd a\nGET memory b\nGET hdd none\nHAS hdd a\nKEYS hdd\nTTL hdd a\n");
    remote_await(6);
    remote_come_back(6, true); /* the last first */
    hear(fd, "1\n2\n+ERR KEY_NOT_EXIST");
    hear_line(fd, "");
    hear(fd, "+OK\n{\"keys\":[\"a\"]}\n0\n");
    close(fd);
}

static void writes_are_on_their_way_together(void **state) {
    int fd = dial();
    (void)state;
    say(fd, "SET hdd 0 a 1\nSET memory 0 a 2\nINCR hdd a 5\nDELETE memory a\n");
    remote_await(4);
    remote_come_back_all();
    hear(fd, "+OK\n+OK\n6\n+OK\n");
    close(fd);
}

static void a_read_behind_a_write_waits_for_it(void **state) {
    int fd = dial();
    (void)state;
    say(fd, "SET memory 0 a 1\nGET memory a\n");
    remote_await(1);
    remote_come_back(1, false);
    hear(fd, "+OK\n");
    remote_await(1);
    remote_come_back(1, false);
    hear(fd, "1\n");
    close(fd);
}

static void a_write_behind_reads_waits_for_all_of_them(void **state) {
    int fd = dial();
    (void)state;
    say(fd, "GET hdd a\nGET hdd a\nSET hdd 0 a 1\nGET hdd a\n");
    remote_await(2);
    remote_come_back(1, true);
    remote_await(1);
    remote_come_back(1, true);
    hear_line(fd, "+ERR KEY_NOT_EXIST");
    hear_line(fd, "+ERR KEY_NOT_EXIST");
    remote_await(1);
    remote_come_back(1, false);
    hear(fd, "+OK\n");
    remote_await(1);
    remote_come_back(1, false);
    hear(fd, "1\n");
    close(fd);
}

static void what_needs_no_store_is_done_beside_what_is_parked(void **state) {
    int fd = dial();
    (void)state;
    tell(fd, "SET hdd 0 a 1\n", 1, "+OK\n");
    say(fd, "GET hdd a\nPING\nNONSENSE\nGET hdd a\n");
    remote_await(2);
    remote_come_back(2, true);
    hear(fd, "1\n+PONG\n+ERR UNKNOWN_COMMAND");
    hear_line(fd, "");
    hear(fd, "1\n");
    close(fd);
}

static void no_more_reads_than_a_limit_are_parked(void **state) {
    int fd = dial();
    (void)state;
    tell(fd, "SET hdd 0 a 1\n", 1, "+OK\n");
    for (unsigned i = 0; i < 200; i++)
        say(fd, "GET hdd a\n");
    for (unsigned left = 200; left; left--) {
        while (remote_queued() == 0)
            sched_yield();
        remote_come_back(1, false);
    }
    for (unsigned i = 0; i < 200; i++)
        hear(fd, "1\n");
    assert_true(remote.most_queued <= 64);
    close(fd);
}

static void a_message_behind_the_making_of_its_queue_waits(void **state) {
    int fd = dial();
    (void)state;
    say(fd, "CREATEQUEUE q memory\nPUBLISH default q x\nPUBLISH default q y\nRECEIVE q 5\n");
    come_back_until_quiet(2); /* asked, then made */
    hear(fd, "+OK\n");
    remote_await(2);
    remote_come_back(2, false);
    hear_line(fd, "+OK ");
    hear_line(fd, "+OK ");
    come_back_until_quiet(1);
    hear_line(fd, "MSG ");
    hear(fd, "x\n");
    hear_line(fd, "MSG ");
    hear(fd, "y\n+OK 2\n");
    tell(fd, "GETQUEUE none\n", 1, "+ERR QUEUE_NOT_EXIST");
    close(fd);
}

static void a_subscription_to_no_queue_is_refused(void **state) {
    int fd = dial();
    (void)state;
    tell(fd, "SUBSCRIBE none\nPING\n", 1, "+ERR QUEUE_NOT_EXIST");
    hear_line(fd, "");
    hear(fd, "+PONG\n");
    assert_int_equal(remote_queued(), 0);
    close(fd);
}

static void a_subscription_gets_what_comes(void **state) {
    int fd = dial();
    int other = dial();
    (void)state;
    tell(other, "CREATEQUEUE q memory\n", 2, "+OK\n");
    say(fd, "SUBSCRIBE q 1\nSUBSCRIBE q 1\n");
    come_back_until_quiet(1);
    hear(fd, "+OK\n+OK\n");
    come_back_until_quiet(1); /* its receive waits with the broker */
    say(other, "PUBLISH default q x\n");
    come_back_until_quiet(1);
    hear_line(other, "+OK ");
    hear_line(fd, "MSG ");
    hear(fd, "x\n");
    come_back_until_quiet(1); /* asks for more */
    tell(fd, "UNSUBSCRIBE q\n", 0, "+OK\n");
    close(fd);
    close(other);
}

static void who_leaves_while_a_subscription_is_asked_for_gets_none(void **state) {
    int fd = dial();
    (void)state;
    say(fd, "SUBSCRIBE q\n");
    remote_await(1);
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
    while (atomic_load(&core.doors[DOOR_LINE].connections))
        sched_yield();
    remote_come_back(1, false);
    fd = dial();
    tell(fd, "PING\n", 0, "+PONG\n");
    assert_int_equal(remote_queued(), 0);
    close(fd);
}

static void reads_of_who_left_come_back_to_nobody(void **state) {
    int fd = dial();
    (void)state;
    say(fd, "GET hdd a\nGET hdd a\nGET hdd a\n");
    remote_await(3);
    remote_come_back(1, true);
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
    while (atomic_load(&core.doors[DOOR_LINE].connections))
        sched_yield();
    remote_come_back_all();
}

static void *stop_door(void *context) {
    line_server_stop(context);
    return NULL;
}

static void a_drain_waits_for_what_is_parked(void **state) {
    pthread_t thread;
    int fd = dial();
    (void)state;
    tell(fd, "SET hdd 0 a 1\n", 1, "+OK\n");
    say(fd, "GET hdd a\nGET hdd a\n");
    remote_await(2);
    assert_int_equal(pthread_create(&thread, NULL, stop_door, server), 0);
    remote_come_back_all();
    hear(fd, "1\n1\n");
    assert_true(is_closed(fd));
    pthread_join(thread, NULL);
    server = NULL;
    close(fd);
}

static void a_json_line_of_reads_has_them_on_their_way_together(void **state) {
    int fd = dial();
    (void)state;
    tell(fd, "SET hdd 0 a 1\n", 1, "+OK\n");
    say(fd, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"Storage.Get\",\"params\":[\"hdd\",\"a\"]},"
            "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"Storage.Has\",\"params\":[\"hdd\",\"b\"]}]"
            "\n");
    remote_await(2);
    remote_come_back(2, true);
    hear(fd, "[{\"jsonrpc\":\"2.0\",\"result\":\"1\",\"id\":1},"
             "{\"jsonrpc\":\"2.0\",\"result\":false,\"id\":2}]\n");
    close(fd);
}

/* ---- with a thread that answers by itself ---- */

#define ROUNDS 300
#define CALLERS 4

/* What a caller alone writes it reads as if every call were done before the next began. */
static void *work_alone(void *context) {
    char text[256];
    unsigned me = *(unsigned *)context;
    int fd = dial();
    for (unsigned i = 0; i < ROUNDS; i++) {
        snprintf(text, sizeof text,
                 "SET memory 0 k%u %u\nGET memory k%u\nGET memory k%u\nPING\n"
                 "INCR memory n%u\nINCR memory n%u\nGET memory n%u\nDELETE memory k%u\n"
                 "HAS memory k%u\n",
                 me, i, me, me, me, me, me, me, me);
        say(fd, text);
        snprintf(text, sizeof text, "+OK\n%u\n%u\n+PONG\n%u\n%u\n%u\n+OK\n+ERR KEY_NOT_EXIST", i, i,
                 2 * i + 1, 2 * i + 2, 2 * i + 2);
        hear(fd, text);
        char rest = 0;
        while (rest != '\n')
            assert_int_equal(recv(fd, &rest, 1, 0), 1);
    }
    close(fd);
    return NULL;
}

static void every_caller_sees_its_calls_in_order(void **state) {
    pthread_t threads[CALLERS];
    unsigned numbers[CALLERS];
    (void)state;
    for (unsigned i = 0; i < CALLERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, work_alone, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
}

static void subscriptions_come_and_go_while_messages_do(void **state) {
    int fd = dial();
    int other = dial();
    (void)state;
    say(other, "CREATEQUEUE q memory\n");
    hear(other, "+OK\n");
    for (unsigned i = 0; i < ROUNDS; i++) {
        say(other, "PUBLISH default q x\n");
        hear_line(other, "+OK ");
        say(fd, "SUBSCRIBE q 1\n");
        hear(fd, "+OK\n");
        hear_line(fd, "MSG ");
        char ack[128];
        snprintf(ack, sizeof ack, "ACK q %.*s\nUNSUBSCRIBE q\n", (int)strcspn(line + 4, " "),
                 line + 4);
        hear(fd, "x\n");
        say(fd, ack);
        hear(fd, "+OK\n+OK\n");
    }
    close(fd);
    close(other);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define THREADED(name) cmocka_unit_test_setup_teardown(name, set_up_threaded, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(reads_are_on_their_way_together_and_answered_in_order),
        CASE(writes_are_on_their_way_together),
        CASE(a_read_behind_a_write_waits_for_it),
        CASE(a_write_behind_reads_waits_for_all_of_them),
        CASE(what_needs_no_store_is_done_beside_what_is_parked),
        CASE(no_more_reads_than_a_limit_are_parked),
        CASE(a_message_behind_the_making_of_its_queue_waits),
        CASE(a_subscription_to_no_queue_is_refused),
        CASE(a_subscription_gets_what_comes),
        CASE(who_leaves_while_a_subscription_is_asked_for_gets_none),
        CASE(reads_of_who_left_come_back_to_nobody),
        CASE(a_drain_waits_for_what_is_parked),
        CASE(a_json_line_of_reads_has_them_on_their_way_together),
        THREADED(every_caller_sees_its_calls_in_order),
        THREADED(subscriptions_come_and_go_while_messages_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
