/* SPDX-License-Identifier: MIT */
/* The words of a line connection that are no operations, and what nodes ask each other for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "peers/wire.h"
#include "server/line_conn.h"
#include "server/line_words.h"
#include "server/olivia_request.h"

#define NOW_MS 1700000000000
#define SECRET SLICE("kJ3vQ9mZx7Lp2TnW5rYb8sDf4gHc6aEu")
#define WORKSPACE "6f1c1a52-7d3e-4a58-9a51-0d6a3d5c2f11"

static struct core core;
static struct line_loop loop;
static struct line_conn conn;
static struct buf reply;

static int open_all(void **state) {
    char why[200];
    struct peers_options options = {.self = "node:5454", .timeout_ms = 200};
    (void)state;
    op_init();
    core = (struct core){.payload_limit_bytes = 100};
    assert_int_equal(own_open(false, &core.own), OK);
    options.own = core.own;
    assert_int_equal(peers_open(&options, &core.peers, why, sizeof why), OK);
    memset(&loop, 0, sizeof loop);
    loop.core = &core;
    loop.now_ms = NOW_MS;
    memset(&conn, 0, sizeof conn);
    conn.loop = &loop;
    conn.grant = &auth_grant_everything;
    buf_init(&reply, 1 << 20);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    free(conn.place);
    free(conn.own_grant);
    buf_done(&reply);
    peers_close(core.peers);
    own_close(core.own);
    auth_close(core.auth);
    return 0;
}

static const char *say(const struct line_word *word, struct slice text, enum err expected) {
    assert_non_null(word);
    buf_clear(&reply);
    assert_int_equal(word->run(&conn, text, &reply), expected);
    assert_true(buf_append_char(&reply, '\0'));
    return reply.ptr;
}

static void expect(const char *word, const char *args, enum err err, const char *answer) {
    const char *got = say(line_word_find(slice_of_cstr(word)), slice_of_cstr(args), err);
    if (strncmp(got, answer, strlen(answer)) != 0)
        fail_msg("%s %s: %s", word, args, got);
}

static void test_use_takes_a_namespace_of_255_bytes_at_most(void **state) {
    (void)state;
    static char name[260];
    memset(name, 'n', 256);
    expect("USE", "", ERR_SYNTAX, "+ERR SYNTAX");
    expect("USE", "a b", ERR_SYNTAX, "+ERR SYNTAX");
    expect("USE", "/n", ERR_SYNTAX, "+ERR SYNTAX");
    expect("USE", WORKSPACE "/", ERR_SYNTAX, "+ERR SYNTAX");
    expect("USE", "x" WORKSPACE "/n", ERR_SYNTAX, "+ERR SYNTAX");
    expect("USE", "\xff", ERR_SYNTAX, "+ERR SYNTAX");
    expect("USE", name, ERR_SYNTAX, "+ERR SYNTAX");
    (void)say(line_word_find(SLICE("USE")), SLICE("a\0b"), ERR_SYNTAX);
    assert_null(conn.place);
    name[255] = '\0';
    expect("use", name, OK, "+OK\n");
    assert_true(slice_equal(conn.place->ns, slice_of_cstr(name)));
    assert_false(conn.place->workspace_named);
    expect("USE", WORKSPACE "/a/b", OK, "+OK\n");
    assert_true(slice_equal(conn.place->ns, SLICE("a/b")));
    assert_true(conn.place->workspace_named);
    assert_ptr_equal(conn.place->ns.ptr, conn.place->bytes);
    expect("USE", "a b", ERR_SYNTAX, "+ERR SYNTAX"); /* what was chosen stays */
    assert_true(slice_equal(conn.place->ns, SLICE("a/b")));
}

static void test_a_new_token_leaves_the_workspace_that_it_does_not_open(void **state) {
    char why[200], mine[AUTH_TOKEN_MAX], other[AUTH_TOKEN_MAX];
    struct auth_options options = {.secret = SECRET};
    struct auth_claims claims = {.workspace = SLICE(WORKSPACE), .now_ms = NOW_MS};
    (void)state;
    expect("AUTH", "", ERR_SYNTAX, "+ERR SYNTAX");
    expect("AUTH", "anything", OK, "+OK\n"); /* there are no credentials */
    assert_null(conn.own_grant);
    assert_int_equal(auth_open(&options, &core.auth, why, sizeof why), OK);
    conn.grant = &auth_grant_nothing;
    assert_int_equal(auth_sign(SECRET, &claims, mine), OK);
    claims.workspace = SLICE("");
    assert_int_equal(auth_sign(SECRET, &claims, other), OK);
    expect("USE", WORKSPACE "/n", ERR_AUTH_REQUIRED, "+ERR AUTH_REQUIRED");
    expect("AUTH", "anything", ERR_FORBIDDEN, "+ERR FORBIDDEN");
    assert_ptr_equal(conn.grant, &auth_grant_nothing);
    expect("AUTH", mine, OK, "+OK\n");
    expect("USE", WORKSPACE "/n", OK, "+OK\n");
    expect("AUTH", mine, OK, "+OK\n");
    assert_non_null(conn.place);
    expect("USE", "11111111-2222-3333-4444-555555555555/n", ERR_FORBIDDEN, "+ERR FORBIDDEN");
    assert_true(conn.place->workspace_named);
    expect("AUTH", other, OK, "+OK\n");
    assert_null(conn.place);
    expect("USE", "n", OK, "+OK\n");
    expect("AUTH", mine, OK, "+OK\n"); /* a namespace of no named workspace stays */
    assert_non_null(conn.place);
}

static void test_help_and_quit_take_no_words(void **state) {
    (void)state;
    expect("HELP", "me", ERR_SYNTAX, "+ERR SYNTAX");
    expect("QUIT", "now", ERR_SYNTAX, "+ERR SYNTAX");
    assert_false(conn.quitting);
    const char *help = say(line_word_find(SLICE("HELP")), SLICE(""), OK);
    static const char *const lines[] = {"GET <type> <key> - ", "\nUSE [<workspace>/]<namespace> - ",
                                        "\nQUIT - ", "\n+OK\n"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!strstr(help, lines[i]))
            fail_msg("no `%s` in: %s", lines[i], help);
    expect("QUIT", "", OK, "+OK\n");
    assert_true(conn.quitting);
    assert_null(line_word_find(SLICE("QUITS")));
    assert_null(line_word_find(SLICE("")));
}

/* ---- what nodes ask for ---- */

static void asks(const char *line, enum err err, const char *answer) {
    const char *got = say(olivia_request_find_word(SLICE("request")), slice_of_cstr(line), err);
    if (strncmp(got, answer, strlen(answer)) != 0)
        fail_msg("%s: %s", line, got);
}

static void test_who_may_not_read_may_not_ask(void **state) {
    (void)state;
    conn.grant = &auth_grant_nothing;
    asks("7:REQUEST PEERS", ERR_AUTH_REQUIRED, "7:");
    assert_false(conn.is_peer);
}

static void test_requests_that_are_none_are_invalid(void **state) {
    (void)state;
    static const char *const bad[] = {"1:REQUEST",
                                      "REQUEST",
                                      "1:REQUEST ",
                                      "1:REQUEST NOPE",
                                      "1:REQUEST HATI",
                                      "1:REQUEST HATI:",
                                      "1:REQUEST HATI:0:-",
                                      "1:REQUEST HATI:x:-",
                                      "1:REQUEST HATI:1",
                                      "1:REQUEST HATI:-1:a",
                                      "1:REQUEST HATI:9223372036854775808:a",
                                      "1:REQUEST PULSE",
                                      "1:REQUEST PULSE:1",
                                      "1:REQUEST PULSE:a:1",
                                      "1:REQUEST PULSE:1:a",
                                      "1:REQUEST PULSE::",
                                      "1:REQUEST PULSE:1:99999999999999999999",
                                      "1:REQUEST FILTER:1",
                                      "1:REQUEST FILTER::1",
                                      "1:REQUEST FILTER:1:-1",
                                      "1:REQUEST FILTER:1: 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        asks(bad[i], ERR_SYNTAX, "");
        assert_non_null(strstr(reply.ptr, "Invalid"));
    }
    char line[PEERS_ADDRESS_BYTES + 40];
    int len = snprintf(line, sizeof line, "1:REQUEST HATI:1:");
    memset(line + len, 'a', PEERS_ADDRESS_BYTES);
    line[len + (int)PEERS_ADDRESS_BYTES] = '\0';
    asks(line, ERR_SYNTAX, "");
    line[len + (int)PEERS_ADDRESS_BYTES - 1] = '\0';
    asks(line, OK, "1:FULFILLED hati:1:");
}

static void test_a_peer_is_listed_while_it_is_one(void **state) {
    (void)state;
    asks("1:REQUEST DISCONNECT", OK, "1:FULFILLED Peer not found in peer list.\n");
    asks("2:request HATI:1:other:77", OK, "2:FULFILLED hati:1:");
    assert_true(conn.is_peer);
    asks("3:REQUEST PEERS", OK, "3:FULFILLED other:77\n");
    asks("4:REQUEST HATI:2:third:78", OK, "4:FULFILLED hati:1:"); /* it has moved */
    asks("5:REQUEST PEERS", OK, "5:FULFILLED third:78\n");
    asks("6:REQUEST HATI:1:a:1,b:2", OK, "6:FULFILLED hati:1:"); /* one of them is no address */
    asks("7:REQUEST PEERS", OK, "7:FULFILLED local\n");
    asks("8:REQUEST DISCONNECT", OK, "8:FULFILLED Peer has been disconnected.\n");
    assert_false(conn.is_peer);
    asks("9:REQUEST PEERS", OK, "9:FULFILLED \n");
}

/* The connection's other end, as the peer of a socket of the family. */
static void asks_from(int family, const char *address) {
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr *at = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    socklen_t len = family == AF_INET ? sizeof v4 : sizeof v6;
    char wanted[100];
    int listener = socket(family, SOCK_STREAM, 0), caller = socket(family, SOCK_STREAM, 0);
    assert_true(listener >= 0 && caller >= 0);
    if (bind(listener, at, len)) { /* a machine without IPv6 */
        close(listener);
        close(caller);
        return;
    }
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, at, &len), 0);
    assert_int_equal(connect(caller, at, len), 0);
    assert_int_equal(getsockname(caller, at, &len), 0);
    int port = ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
    uv_loop_t uv;
    assert_int_equal(uv_loop_init(&uv), 0);
    assert_int_equal(uv_tcp_init(&uv, &conn.uv.tcp), 0);
    assert_int_equal(uv_tcp_open(&conn.uv.tcp, accept(listener, NULL, NULL)), 0);
    asks("1:REQUEST CONNECT", OK, "1:FULFILLED ");
    asks("2:REQUEST PEERS", OK, "2:FULFILLED ");
    snprintf(wanted, sizeof wanted, "2:FULFILLED %s:%d\n", address, port);
    assert_string_equal(reply.ptr, wanted);
    asks("3:REQUEST DISCONNECT", OK, "3:FULFILLED Peer has");
    uv_close(&conn.uv.handle, NULL);
    uv_run(&uv, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&uv), 0);
    close(listener);
    close(caller);
}

static void test_who_tells_no_address_has_that_of_its_socket(void **state) {
    (void)state;
    asks_from(AF_INET, "127.0.0.1");
    asks_from(AF_INET6, "[::1]");
}

static struct own_state state_now(void) {
    struct own_state now;
    own_state(core.own, &now);
    return now;
}

static void test_a_pulse_tells_what_came_since(void **state) {
    char line[100], wanted[200];
    (void)state;
    struct own_state before = state_now();
    own_note(core.own, SLICE("a"), true);
    own_note(core.own, SLICE("b"), true);
    unsigned long long epoch = before.epoch, bits = before.bits, seen = before.sequence;
    snprintf(line, sizeof line, "1:REQUEST PULSE:%llu:%llu", epoch, seen);
    snprintf(wanted, sizeof wanted, "1:FULFILLED %llu:%llu:%llu:2:%llu:", epoch, seen + 2, seen + 2,
             bits);
    asks(line, OK, wanted);
    assert_int_equal(strlen(reply.ptr), strlen(wanted) + 22 + 1); /* two hashes of 8 bytes */
    snprintf(line, sizeof line, "1:REQUEST PULSE:%llu:%llu", epoch + 1, seen);
    snprintf(wanted, sizeof wanted, "1:FULFILLED %llu:%llu:%llu:2:%llu:-\n", epoch, seen + 2,
             seen + 2, bits);
    asks(line, OK, wanted);
    assert_string_equal(reply.ptr, wanted);
}

static void test_a_filter_comes_in_chunks_of_its_epoch(void **state) {
    char line[100], wanted[100];
    (void)state;
    unsigned long long epoch = state_now().epoch;
    snprintf(line, sizeof line, "1:REQUEST FILTER:%llu:0", epoch);
    snprintf(wanted, sizeof wanted, "1:FULFILLED %llu:0:", epoch);
    asks(line, OK, wanted);
    assert_true(reply.len > strlen(wanted) + 10);
    const char *const none[] = {"1:REQUEST FILTER:%llu:1", "1:REQUEST FILTER:%llu:196608000",
                                "1:REQUEST FILTER:%llu:9223372036854775807"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        snprintf(line, sizeof line, "1:REQUEST FILTER:%llu:%s", epoch, strrchr(none[i], ':') + 1);
        asks(line, OK, "1:FULFILLED ");
        assert_non_null(strstr(reply.ptr, ":-\n"));
    }
    asks("1:REQUEST FILTER:1:0", OK, "1:FULFILLED 1:0:-\n");
    asks("1:REQUEST BLOOMFILTER", OK, "1:FULFILLED ");
}

static void test_ping_and_auth_have_their_own_answers(void **state) {
    (void)state;
    assert_string_equal(say(olivia_request_find_word(SLICE("ping")), SLICE("PING"), OK),
                        "0:PONG 1\n");
    assert_string_equal(say(olivia_request_find_word(SLICE("AUTH")), SLICE("3:AUTH x"), OK),
                        "3:+OK\n");
    assert_string_equal(say(olivia_request_find_word(SLICE("AUTH")), SLICE("AUTH x"), OK), "+OK\n");
    assert_null(olivia_request_find_word(SLICE("GET")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_use_takes_a_namespace_of_255_bytes_at_most),
        TEST(test_a_new_token_leaves_the_workspace_that_it_does_not_open),
        TEST(test_help_and_quit_take_no_words),
        TEST(test_who_may_not_read_may_not_ask),
        TEST(test_requests_that_are_none_are_invalid),
        TEST(test_a_peer_is_listed_while_it_is_one),
        TEST(test_who_tells_no_address_has_that_of_its_socket),
        TEST(test_a_pulse_tells_what_came_since),
        TEST(test_a_filter_comes_in_chunks_of_its_epoch),
        TEST(test_ping_and_auth_have_their_own_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
