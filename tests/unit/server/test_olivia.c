/* SPDX-License-Identifier: MIT */
/* Olivia's protocol on the line door. */
#include "line_fake.h"

#define INVALID "[]Invalid command sent in.\n"
#define UNBALANCED "Invalid command sent in. Unbalanced keys:expirations.\n"

static struct fixture fixture;

static int start(void **state) {
    *state = &fixture;
    fixture_init(&fixture);
    fixture.config.olivia = true;
    fixture.config.olivia_host = fixture.config.tcp_host;
    fixture_start(&fixture);
    return 0;
}

static int start_with_tokens(void **state) {
    *state = &fixture;
    fixture_init(&fixture);
    fixture.config.olivia = true;
    fixture.config.olivia_host = fixture.config.tcp_host;
    fixture.core.auth = &fixture.auth;
    fixture_start(&fixture);
    return 0;
}

static int stop(void **state) {
    assert_int_equal(
        fixture.core.doors[DOOR_OLIVIA].failures <= fixture.core.doors[DOOR_OLIVIA].requests, true);
    fixture_stop(*state);
    assert_int_equal(fixture.core.doors[DOOR_OLIVIA].connections, 0);
    return 0;
}

static int dial_olivia(void) {
    struct fixture there = {.ports.tcp = fixture.ports.olivia};
    return dial(&there);
}

static void ask(int fd, const char *request, const char *reply) {
    say(fd, request);
    hear(fd, reply);
}

static void the_dialogue_of_its_readme(void **state) {
    (void)state;
    int fd = dial_olivia();
    ask(fd, "SET key1:value1,key2:value2,key3:value3\n",
        ":SAT key1:value1,key2:value2,key3:value3\n");
    ask(fd, "GET key2\n", ":GOT key2:value2\n");
    ask(fd, "GET key3,none,key1\r\n", ":GOT key3:value3,key1:value1\n");
    ask(fd, "GET none\n", ":GOT \n");
    ask(fd, "PING 1\n", "0:PONG 1\n");
    close(fd);
}

static void the_hash_is_echoed(void **state) {
    (void)state;
    int fd = dial_olivia();
    ask(fd, "h1:SET a:1\n", "h1:SAT a:1\n");
    ask(fd, "h 2:GET a\n", INVALID); /* a space ends the head */
    ask(fd, "h2:GET a,a,b\n", "h2:GOT a:1\n");
    ask(fd, "h3:GET b\n", "h3:GOT \n");
    ask(fd, "h4:SETEX b:2:30\n", "h4:SATEX b:2:30\n");
    ask(fd, "h5:PING 0\n", "0:PONG 1\n");
    ask(fd, "h6:NOPE x\n", INVALID);
    close(fd);
}

static void commands_are_taken_in_any_case(void **state) {
    (void)state;
    int fd = dial_olivia();
    ask(fd, "set a:1\nGeT a\nsetEX a:1:9\nping x\n",
        ":SAT a:1\n:GOT a:1\n:SATEX a:1:9\n0:PONG 1\n");
    close(fd);
}

static void what_is_no_request_is_invalid(void **state) {
    (void)state;
    static const char *const lines[] = {"\n",
                                        "GET\n",
                                        "PING\n",
                                        "SET\n",
                                        "NOPE\n",
                                        "NOPE a\n",
                                        "SET :v\n",
                                        "SET a:1,:v\n",
                                        "SET a:1,\n",
                                        "SETEX :v:5\n",
                                        "FETCH ***\n",
                                        "FETCH \n",
                                        "FETCH YQ,Yg\n",
                                        "HELP \n",
                                        "QUIT now\n",
                                        "{\"a\":1} x\n",
                                        "\r\n",
                                        " \n"};
    int fd = dial_olivia();
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++)
        ask(fd, lines[i], INVALID);
    ask(fd, "GET a\n", ":GOT \n"); /* nothing of a bad line was carried out */
    close(fd);
}

static void values_are_cut_as_its_parser_cuts_them(void **state) {
    (void)state;
    int fd = dial_olivia();
    ask(fd, "SET a:1:30\n", ":SAT a:1\n");
    ask(fd, "SET b:x:y:z,c\n", ":SAT b:x,c:\n");
    ask(fd, "GET b:ignored,c\n", ":GOT b:x,c:\n");
    ask(fd, "SET d:with space and = signs\n", ":SAT d:with space and = signs\n");
    ask(fd, "SET a:1,a:2,b:3,a:4\n", ":SAT a:4,b:3\n");
    ask(fd, "GET ,a,,b\n", ":GOT a:4,b:3\n");
    ask(fd, "GET \n", ":GOT \n");
    close(fd);
}

static int64_t ttl_of(const char *key) {
    struct kv_ref ref = {KV_MEMORY, fixture.core.default_workspace, SLICE("default"),
                         slice_of_cstr(key)};
    pthread_mutex_lock(&fake.lock);
    const struct fake_entry *entry = fake_find(&ref);
    int64_t ttl_ms = entry ? entry->ttl_ms : -1;
    pthread_mutex_unlock(&fake.lock);
    return ttl_ms;
}

static void setex_takes_seconds(void **state) {
    (void)state;
    int fd = dial_olivia();
    ask(fd, "SETEX a:1:30,b:2:+5\n", ":SATEX a:1:30,b:2:5\n");
    assert_int_equal(ttl_of("a"), 30000);
    assert_int_equal(ttl_of("b"), 5000);
    ask(fd, "SETEX c:1:9223372036854775807\n", ":SATEX c:1:9223372036854775807\n");
    assert_true(ttl_of("c") > 0);
    ask(fd, "SETEX a:1:0\n", ":SATEX a:1:0\n");
    ask(fd, "SETEX b:1:-3,d:1:2\n", ":SATEX b:1:-3,d:1:2\n");
    assert_int_equal(ttl_of("a"), -1);
    assert_int_equal(ttl_of("b"), -1);
    ask(fd, "SETEX a:1:x\n", ":SATEX \n");
    ask(fd, "SETEX a:1:x,e:2:7,f:3:9223372036854775808\n", ":SATEX e:2:7,,\n");
    ask(fd, "SETEX a:1:x,f:3:y\n", ":SATEX ,\n");
    assert_int_equal(ttl_of("a"), -1);
    ask(fd, "SETEX a:1\n", UNBALANCED);
    ask(fd, "SETEX a:1:5,b:2\n", UNBALANCED);
    ask(fd, "SETEX a:1:5,a:2\n", ":SATEX a:2:5\n");
    assert_int_equal(ttl_of("d"), 2000);
    close(fd);
}

static void a_value_of_another_door_that_holds_a_newline_is_refused(void **state) {
    (void)state;
    int fd = dial_olivia();
    int hati = dial(&fixture);
    ask(hati, "SETB memory 0 a 3\nx\ny\n", "+OK\n");
    say(fd, "h:GET a\n");
    hear_line(fd, "h:+ERR NOT_FRAMABLE ");
    say(fd, "GET b,a\n");
    hear_line(fd, "+ERR NOT_FRAMABLE ");
    ask(fd, "h:FETCH YQ\n", "h:FETCHED 0::eAp5\n");
    ask(fd, "FETCH Yg\n", ":FETCHED -\n");
    close(hati);
    close(fd);
}

static void pipelined_lines_are_answered_in_order(void **state) {
    (void)state;
    static char asked[262144], answered[262144];
    size_t ask_len = 0, answer_len = 0;
    int fd = dial_olivia();
    for (int i = 0; i < 1000; i++) {
        ask_len += (size_t)sprintf(
            asked + ask_len, "%d:SET k:%d\nGET k,x\nGET k\nNOPE\nSET a:%d,b:%d\n", i, i, i, i);
        answer_len += (size_t)sprintf(
            answered + answer_len, "%d:SAT k:%d\n:GOT k:%d\n:GOT k:%d\n" INVALID ":SAT a:%d,b:%d\n",
            i, i, i, i, i, i);
    }
    say_bytes(fd, asked, ask_len);
    hear_bytes(fd, answered, answer_len);
    assert_true(fixture.core.doors[DOOR_OLIVIA].requests >= 4900);
    assert_int_equal(fixture.core.doors[DOOR_LINE].requests, 0);
    close(fd);
}

static void lines_cut_anywhere_are_answered_the_same(void **state) {
    (void)state;
    static const char text[] = "h:SET a:1,b:2\r\nGET a\nNOPE\nSETEX a:3:9\nGET a,b\nPING 1\n";
    static const char replies[] = "h:SAT a:1,b:2\n:GOT a:1\n" INVALID ":SATEX a:3:9\n"
                                  ":GOT a:3,b:2\n0:PONG 1\n";
    for (size_t cut = 0; cut < sizeof text; cut++) {
        int fd = dial_olivia();
        say_bytes(fd, text, cut);
        say_bytes(fd, text + cut, sizeof text - 1 - cut);
        hear(fd, replies);
        close(fd);
    }
}

static void thousands_of_pairs_are_one_reply(void **state) {
    (void)state;
    static char asked[400000];
    int fd = dial_olivia();
    ask(fd, "SET k1:v\n", ":SAT k1:v\n");
    size_t len = (size_t)sprintf(asked, "GET k0");
    for (int i = 1; i < 30000; i++)
        len += (size_t)sprintf(asked + len, ",k%d", i);
    asked[len++] = '\n';
    say_bytes(fd, asked, len);
    hear(fd, ":GOT k1:v\n");
    len = (size_t)sprintf(asked, "GET x");
    for (int i = 0; i < 65536; i++)
        len += (size_t)sprintf(asked + len, ",y");
    asked[len++] = '\n';
    say_bytes(fd, asked, len); /* one pair too many */
    hear(fd, INVALID);
    close(fd);
}

static void a_line_over_the_limit_is_dropped_and_the_connection_lives_on(void **state) {
    (void)state;
    char *text = malloc(400000);
    int fd = dial_olivia();
    memset(text, 'x', 400000);
    say_bytes(fd, text, 400000);
    say(fd, "\nPING 1\n");
    hear_line(fd, "+ERR LINE_TOO_LONG ");
    hear(fd, "0:PONG 1\n");
    memcpy(text, "h:SET a:", 8);
    text[270000] = '\n';
    say_bytes(fd, text, 270001); /* past the payload limit */
    hear_line(fd, "h:+ERR VALUE_TOO_LARGE ");
    close(fd);
    free(text);
}

static void somebody_who_speaks_http_is_turned_away(void **state) {
    (void)state;
    int fd = dial_olivia();
    say(fd, "POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a:1\n");
    hear_end(fd);
    assert_int_equal(ttl_of("a"), -1);
}

static void strangers_may_ping_and_show_a_token(void **state) {
    (void)state;
    int fd = dial_olivia();
    ask(fd, "PING 1\n", "0:PONG 1\n");
    say(fd, "GET a\nh:SET a:1\nSET a:1,b:2\nNOPE\nREQUEST PEERS\nREQUEST CONNECT\n");
    hear_line(fd, "+ERR AUTH_REQUIRED ");
    hear_line(fd, "h:+ERR AUTH_REQUIRED ");
    for (int i = 0; i < 4; i++)
        hear_line(fd, "+ERR AUTH_REQUIRED ");
    say(fd, "AUTH bad\n");
    hear_line(fd, "+ERR FORBIDDEN ");
    ask(fd, "h:AUTH good\nSET a:1,b:2\n", "h:+OK\n:SAT a:1,b:2\n");
    close(fd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(the_dialogue_of_its_readme),
        CASE(the_hash_is_echoed),
        CASE(commands_are_taken_in_any_case),
        CASE(what_is_no_request_is_invalid),
        CASE(values_are_cut_as_its_parser_cuts_them),
        CASE(setex_takes_seconds),
        CASE(a_value_of_another_door_that_holds_a_newline_is_refused),
        CASE(pipelined_lines_are_answered_in_order),
        CASE(lines_cut_anywhere_are_answered_the_same),
        CASE(thousands_of_pairs_are_one_reply),
        CASE(a_line_over_the_limit_is_dropped_and_the_connection_lives_on),
        CASE(somebody_who_speaks_http_is_turned_away),
        cmocka_unit_test_setup_teardown(strangers_may_ping_and_show_a_token, start_with_tokens,
                                        stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
