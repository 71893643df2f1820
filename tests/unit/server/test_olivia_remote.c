/* SPDX-License-Identifier: MIT */
/* Olivia's lines over a remote store: pairs that are on their way together, and one reply. */
#include "tests/unit/server/remote_case.h"

#include "server/line.h"

static struct config config;
static struct core core;
static struct line_server *server;

static int set_up(void **state) {
    char why[256] = "";
    struct line_ports ports;
    (void)state;
    config = remote_config();
    config.olivia = true;
    config.olivia_host = config.tcp_host;
    remote_core_open(&core, false);
    if (line_server_start(&config, &core, &server, &ports, why, sizeof why) != OK)
        fail_msg("%s", why);
    port = ports.olivia;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    if (server)
        line_server_stop(server);
    server = NULL;
    assert_int_equal(core.doors[DOOR_OLIVIA].connections, 0);
    remote_close();
    return 0;
}

static void pairs_are_on_their_way_together_and_answered_in_their_order(void **state) {
    (void)state;
    int fd = dial();
    say(fd, "h:SET a:1,b:2,c:3\n");
    remote_await(3);
    remote_come_back(3, true); /* the last first */
    hear(fd, "h:SAT a:1,b:2,c:3\n");
    say(fd, "GET c,none,a\nGET b\n");
    remote_await(3);
    remote_come_back(3, true);
    hear(fd, ":GOT c:3,a:1\n");
    remote_await(1);
    remote_come_back(1, false);
    hear(fd, ":GOT b:2\n");
    close(fd);
}

static void single_reads_are_on_their_way_together(void **state) {
    (void)state;
    int fd = dial();
    say(fd, "SET a:1\n");
    come_back_until_quiet(1);
    hear(fd, ":SAT a:1\n");
    say(fd, "1:GET a\n2:GET b\n3:GET a\n");
    remote_await(3);
    remote_come_back(3, true);
    hear(fd, "1:GOT a:1\n2:GOT \n3:GOT a:1\n");
    close(fd);
}

static void more_than_a_window_comes_window_by_window(void **state) {
    static char asked[4096], answered[4096];
    size_t ask_len = (size_t)sprintf(asked, "SET k0:0");
    size_t answer_len = (size_t)sprintf(answered, ":SAT k0:0");
    (void)state;
    for (int i = 1; i < 100; i++) {
        ask_len += (size_t)sprintf(asked + ask_len, ",k%d:%d", i, i);
        answer_len += (size_t)sprintf(answered + answer_len, ",k%d:%d", i, i);
    }
    sprintf(asked + ask_len, "\nPING 1\n");
    sprintf(answered + answer_len, "\n0:PONG 1\n");
    int fd = dial();
    say(fd, asked);
    unsigned left = 100;
    while (left) {
        unsigned window = left < 32 ? left : 32;
        remote_await(window);
        remote_come_back(window, true);
        left -= window;
    }
    hear(fd, answered);
    close(fd);
}

static void a_store_that_fails_is_told_once(void **state) {
    (void)state;
    int fd = dial();
    remote.fail = ERR_UNAVAILABLE;
    say(fd, "h:SET a:1,b:2\n");
    remote_await(2);
    remote_come_back(2, false);
    hear_line(fd, "h:+ERR UNAVAILABLE ");
    say(fd, "h:GET a\n");
    come_back_until_quiet(1);
    hear_line(fd, "h:+ERR UNAVAILABLE ");
    remote.fail = OK;
    say(fd, "PING 1\n");
    hear(fd, "0:PONG 1\n");
    close(fd);
}

static void who_hangs_up_leaves_nothing_behind(void **state) {
    static char asked[4096];
    size_t len = (size_t)sprintf(asked, "GET k0");
    (void)state;
    for (int i = 1; i < 100; i++)
        len += (size_t)sprintf(asked + len, ",k%d", i);
    sprintf(asked + len, "\n");
    int fd = dial();
    say(fd, asked);
    remote_await(32);
    struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
    while (atomic_load(&core.doors[DOOR_OLIVIA].connections))
        sched_yield();
    remote_come_back(32, false);
    line_server_stop(server); /* waits for what is under way: no further window was begun */
    server = NULL;
    assert_int_equal(remote.queued, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(pairs_are_on_their_way_together_and_answered_in_their_order),
        CASE(single_reads_are_on_their_way_together),
        CASE(more_than_a_window_comes_window_by_window),
        CASE(a_store_that_fails_is_told_once),
        CASE(who_hangs_up_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
