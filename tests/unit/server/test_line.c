/* SPDX-License-Identifier: MIT */
#include "line_fake.h"

static void every_verb_answers_in_its_form(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "set memory 0 k a value with spaces\r\nGET memory k\nHAS memory k\nHAS memory none\n");
    hear(fd, "+OK\na value with spaces\n+OK\n+ERR KEY_NOT_EXIST the key does not exist\n");
    say(fd, "SET memory 0 e \nGET memory e\nDELETE memory e\nDELETE memory e\nGET memory e\n");
    hear(fd, "+OK\n\n+OK\n+OK\n");
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    say(fd, "TTL memory k\nINCR memory n 5\nCOUNT memory\nKEYS memory * 1\nKEYS memory\nPiNg\n");
    hear(fd, "0\n5\n7\n{\"keys\":[\"a\"],\"cursor\":\"YQ\"}\n{\"keys\":[\"a\"]}\n+PONG\n");
    say(fd, "STATS\n");
    hear_line(fd, "{\"version\":");
    close(fd);
}

static void what_cannot_be_understood_is_named(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "NONSENSE\nGET memory\nGET disk k\nSET memory 0 k\nSET memory x k v\nGET memory a b\n");
    hear_line(fd, "+ERR UNKNOWN_COMMAND ");
    hear_line(fd, "+ERR SYNTAX ");
    hear_line(fd, "+ERR STORAGE_TYPE_INVALID ");
    hear_line(fd, "+ERR SYNTAX ");
    hear_line(fd, "+ERR SYNTAX ");
    hear_line(fd, "+ERR SYNTAX ");
    say(fd, "GET memory \n\n\r\nGET  memory k\nSET memory 0  v\nPING\n");
    hear_line(fd, "+ERR KEY_INVALID ");
    hear_line(fd, "+ERR "); /* a word too many, and the first is no storage type */
    hear_line(fd, "+ERR KEY_INVALID ");
    hear(fd, "+PONG\n");
    close(fd);
}

static const char mixed[] = "SET memory 0 a 1\r\nGET memory a\nSETB memory 0 b 5\nx\ny\r\n\nGETB "
                            "memory b\nGET memory b\nNOPE\n{\"x\":1}\nUSE other\nGET memory a\n"
                            "{\"x\":1}\nSETB memory 0 c 0\n\nGETB memory c\nPING\n";
static const char mixed_replies[] =
    "+OK\n1\n+OK\n$5\nx\ny\r\n\n+ERR NOT_FRAMABLE the value holds a newline; use GETB\n"
    "+ERR UNKNOWN_COMMAND no such command\n{\"ns\":\"\"}\n+OK\n"
    "+ERR KEY_NOT_EXIST the key does not exist\n{\"ns\":\"other\"}\n+OK\n$0\n\n+PONG\n";

static void requests_cut_anywhere_are_answered_the_same(void **state) {
    struct fixture *fixture = *state;
    for (size_t cut = 0; cut < sizeof mixed; cut++) {
        int fd = dial(fixture);
        say_bytes(fd, mixed, cut);
        say_bytes(fd, mixed + cut, sizeof mixed - 1 - cut);
        hear(fd, mixed_replies);
        close(fd);
    }
}

static void requests_that_come_byte_by_byte_are_answered_the_same(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    for (size_t i = 0; i < sizeof mixed - 1; i++)
        say_bytes(fd, mixed + i, 1);
    hear(fd, mixed_replies);
    close(fd);
}

static void a_thousand_pipelined_requests_are_answered_in_order(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    static char asked[65536];
    static char answered[65536];
    size_t ask = 0;
    size_t answer = 0;
    for (int i = 0; i < 1000; i++) {
        ask += (size_t)sprintf(asked + ask, "SET memory 0 k v%d\nGET memory k\n", i);
        answer += (size_t)sprintf(answered + answer, "+OK\nv%d\n", i);
    }
    say_bytes(fd, asked, ask);
    hear_bytes(fd, answered, answer);
    assert_true(fixture->core.doors[DOOR_LINE].requests >= 2000);
    close(fd);
}

static void a_line_over_the_limit_is_dropped_and_the_connection_lives_on(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    size_t len = 1000000;
    char *line = malloc(len);
    memset(line, 'x', len);
    memcpy(line, "SET memory 0 k ", 15);
    line[len - 1] = '\n';
    say(fd, "PING\n");
    say_bytes(fd, line, len);
    say(fd, "PING\n");
    hear(fd, "+PONG\n");
    hear_line(fd, "+ERR LINE_TOO_LONG ");
    hear(fd, "+PONG\n");
    line[290000] = '\n';
    say_bytes(fd, line, 290001);
    say(fd, "PING\n");
    hear_line(fd, "+ERR VALUE_TOO_LARGE ");
    hear(fd, "+PONG\n");
    free(line);
    close(fd);
}

static void a_value_as_large_as_may_be_comes_back_whole(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    size_t len = fixture->config.payload_limit_bytes;
    char *value = malloc(len);
    for (size_t i = 0; i < len; i++)
        value[i] = (char)(i * 7);
    char header[64];
    snprintf(header, sizeof header, "SETB memory 0 big %zu\n", len);
    say(fd, header);
    say_bytes(fd, value, len);
    say(fd, "\nGETB memory big\nPING\n");
    hear(fd, "+OK\n");
    snprintf(header, sizeof header, "$%zu\n", len);
    hear(fd, header);
    hear_bytes(fd, value, len);
    hear(fd, "\n+PONG\n");
    free(value);
    close(fd);
}

static void a_frame_over_the_limit_is_skipped_by_count(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    size_t len = 1000000;
    char *bytes = malloc(len);
    memset(bytes, '\n', len); /* no byte of it may be taken for a request */
    say(fd, "SETB memory 0 k 1000000\n");
    hear_line(fd, "+ERR VALUE_TOO_LARGE ");
    say_bytes(fd, bytes, len);
    say(fd, "\nPING\nSETB memory 0 k abc\nSETB memory 0 k -1\nSETB memory 0 5\nPING\n");
    hear(fd, "+PONG\n");
    hear_line(fd, "+ERR SYNTAX ");
    hear_line(fd, "+ERR SYNTAX ");
    hear_line(fd, "+ERR SYNTAX ");
    hear(fd, "+PONG\n");
    say(fd, "SETB disk 0 k 3\n\n\n\n\nPING\n");
    hear_line(fd, "+ERR STORAGE_TYPE_INVALID ");
    hear(fd, "+PONG\n");
    free(bytes);
    close(fd);
}

static void a_frame_without_its_newline_ends_the_connection(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "SETB memory 0 k 3\nabcdPING\n");
    hear_line(fd, "+ERR SYNTAX ");
    hear_end(fd);
}

static void somebody_who_speaks_http_is_turned_away(void **state) {
    struct fixture *fixture = *state;
    static const char *const said[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\n\r\nSET memory 0 http yes\n",
        "Host: x\r\nSET memory 0 http yes\n",
        "PUT /x HTTP/1.0\n\nSET memory 0 http yes\n",
    };
    for (unsigned i = 0; i < 4; i++) {
        int fd = dial(fixture);
        say(fd, said[i]);
        hear_end(fd);
    }
    int fd = dial(fixture);
    say(fd, "GET memory http\n");
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    close(fd);
}

static void a_verb_of_http_alone_is_an_unknown_command(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "PUT memory k v\nHEAD k\nPOST \nPING\n");
    for (unsigned i = 0; i < 3; i++)
        hear_line(fd, "+ERR UNKNOWN_COMMAND ");
    hear(fd, "+PONG\n");
    close(fd);
}

static void use_moves_the_connection_and_no_other(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    int other = dial(fixture);
    say(fd, "SET memory 0 k here\nUSE there\nGET memory k\nSET memory 0 k there\nGET memory k\n");
    hear(fd, "+OK\n+OK\n");
    hear_line(fd, "+ERR KEY_NOT_EXIST ");
    hear(fd, "+OK\nthere\n");
    say(other, "GET memory k\nUSE 11111111-1111-1111-1111-111111111111/there\nGET memory k\n");
    hear(other, "here\n+OK\nthere\n");
    say(other, "USE 21111111-1111-1111-1111-111111111111/there\nGET memory k\n");
    hear(other, "+OK\n");
    hear_line(other, "+ERR KEY_NOT_EXIST ");
    say(other, "USE\nUSE x/y\nUSE a b\nUSE \nUSE \xff\n");
    for (int i = 0; i < 5; i++)
        hear_line(other, "+ERR SYNTAX ");
    close(fd);
    close(other);
}

static void help_lists_every_command_and_ends_in_ok(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "HELP\n");
    hear_line(fd, "SET <type> <ttl> <key> <value> - ");
    hear_line(fd, "SETB <type> <ttl> <key> <length> - ");
    char text[8192];
    size_t len = 0;
    while (len < 5 || memcmp(text + len - 5, "\n+OK\n", 5) != 0) {
        assert_true(len < sizeof text && recv(fd, text + len, 1, 0) == 1);
        len++;
    }
    text[len - 1] = '\0';
    assert_non_null(strstr(text, "\nKEYS <type> [prefix] [limit] [cursor] - "));
    assert_non_null(strstr(text, "\nUSE [<workspace>/]<namespace> - "));
    assert_non_null(strstr(text, "\nQUIT - "));
    close(fd);
}

static void quit_answers_what_came_before_and_closes(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "PING\nquit\nPING\n");
    hear(fd, "+PONG\n+OK\n");
    hear_end(fd);
}

static void a_caller_that_sends_no_more_is_still_answered(void **state) {
    struct fixture *fixture = *state;
    int fd = dial(fixture);
    say(fd, "SET hdd 0 k v\nGET hdd k\nPING\nunfinished");
    shutdown(fd, SHUT_WR);
    fake_await_queued(1);
    fake_come_back();
    hear(fd, "+OK\nv\n+PONG\n");
    hear_end(fd);
}

static void a_slow_reader_is_read_no_further(void **state) {
    struct fixture *fixture = *state;
    enum { VALUE = 65536, ASKED = 2000 };
    int fd = dial(fixture);
    char *value = malloc(VALUE);
    memset(value, 'v', VALUE);
    say(fd, "SETB memory 0 big 65536\n");
    say_bytes(fd, value, VALUE);
    say(fd, "\n");
    hear(fd, "+OK\n");
    for (int i = 0; i < ASKED; i++)
        say(fd, "GETB memory big\n");
    hear(fd, "$65536\n");
    assert_true(fake_gets(KV_MEMORY) < ASKED / 2);
    hear_bytes(fd, value, VALUE);
    hear(fd, "\n");
    for (int i = 1; i < ASKED; i++) {
        hear(fd, "$65536\n");
        hear_bytes(fd, value, VALUE);
        hear(fd, "\n");
    }
    say(fd, "PING\n");
    hear(fd, "+PONG\n");
    free(value);
    close(fd);
}

static void a_request_that_is_served_after_a_long_one_does_not_come_from_the_past(void **state) {
    struct fixture *fixture = *state;
    int busy = dial(fixture);
    int slow = dial(fixture);
    int fd = dial(fixture);
    say(busy, "PING\n");
    hear(busy, "+PONG\n");
    fake.a_get_lasts_ms = 60000;
    pthread_mutex_lock(&fake.lock); /* the loop waits in the first GET until all have been sent */
    say(busy, "GET memory k\n");
    say(slow, "GET memory k\n");
    say(fd, "SET memory 5000 k v\n");
    pthread_mutex_unlock(&fake.lock);
    hear_line(busy, "+ERR KEY_NOT_EXIST ");
    hear_line(slow, "+ERR KEY_NOT_EXIST ");
    hear(fd, "+OK\n");
    pthread_mutex_lock(&fake.lock);
    fake.a_get_lasts_ms = 0;
    int64_t age_ms = clock_wall_ms() - fake.written_ms;
    pthread_mutex_unlock(&fake.lock);
    clock_move_for_test(-120000);
    assert_true(age_ms < 60000);
    close(busy);
    close(slow);
    close(fd);
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
        CASE(every_verb_answers_in_its_form),
        CASE(what_cannot_be_understood_is_named),
        CASE(requests_cut_anywhere_are_answered_the_same),
        CASE(requests_that_come_byte_by_byte_are_answered_the_same),
        CASE(a_thousand_pipelined_requests_are_answered_in_order),
        CASE(a_line_over_the_limit_is_dropped_and_the_connection_lives_on),
        CASE(a_value_as_large_as_may_be_comes_back_whole),
        CASE(a_frame_over_the_limit_is_skipped_by_count),
        CASE(a_frame_without_its_newline_ends_the_connection),
        CASE(somebody_who_speaks_http_is_turned_away),
        CASE(a_verb_of_http_alone_is_an_unknown_command),
        CASE(use_moves_the_connection_and_no_other),
        CASE(help_lists_every_command_and_ends_in_ok),
        CASE(quit_answers_what_came_before_and_closes),
        CASE(a_caller_that_sends_no_more_is_still_answered),
        CASE(a_slow_reader_is_read_no_further),
        CASE(a_request_that_is_served_after_a_long_one_does_not_come_from_the_past),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
