/* SPDX-License-Identifier: MIT */
/* JSON-RPC whose GETs wait for peers: alone, in batches, as lines, and behind a remote store. */
#include "tests/unit/peers_double.h"

#include "tests/unit/server/rpc_asking.h"

#include "server/line.h"

static int set_up_remote(void **state) {
    (void)state;
    remote_core_open(&core, false);
    peers_double_open(&core);
    return 0;
}

static int set_up(void **state) {
    set_up_remote(state);
    core.kv = remote.kvs[KV_MEMORY];
    core.broker = remote.local;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    assert_int_equal(peers_double_pending(), 0);
    remote_close();
    return 0;
}

#define CALL(id, method, params)                                                                   \
    "{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"Storage." method "\",\"params\":" params "}"
#define RESULT(id, result) "{\"jsonrpc\":\"2.0\",\"result\":" result ",\"id\":" #id "}"
#define GET(id, key) CALL(id, "Get", "[\"memory\",\"" key "\"]")

static void a_call_alone_waits_for_a_peer(void **state) {
    struct asking asking;
    (void)state;
    peers_double_put("a", "theirs", 0);
    assert_int_equal(ask(&asking, SLICE(GET(1, "a"))), ERR_PENDING);
    assert_int_equal(peers_double_pending(), 1);
    assert_true(peers_double_come_back(false));
    assert_true(asking.done);
    check(&asking, RESULT(1, "\"theirs\"") "\n");
    assert_int_equal(peers_double.figures.misses, 1);
}

static void what_is_known_here_is_answered_without_waiting(void **state) {
    struct asking asking;
    (void)state;
    peers_double_put("b", "theirs", 0);
    assert_int_equal(ask(&asking, SLICE("[" CALL(1, "Set", "[\"memory\",\"b\",\"ours\"]") "," GET(
                                      2, "b") "," CALL(3, "Has", "[\"memory\",\"c\"]") "]")),
                     OK);
    check(&asking, "[" RESULT(1, "true") "," RESULT(2, "\"ours\"") "," RESULT(3, "false") "]\n");
    assert_int_equal(ask(&asking, SLICE(GET(1, "none"))), OK);
    struct slice got = buf_slice(&asking.out);
    assert_non_null(memmem(got.ptr, got.len, "KEY_NOT_EXIST", 13));
    rpc_free(&asking.request);
    buf_done(&asking.out);
    assert_int_equal(peers_double.figures.misses, 1);
}

static void gets_of_a_batch_are_asked_for_together_and_answered_in_order(void **state) {
    struct asking asking;
    (void)state;
    peers_double_put("a", "1", 0);
    peers_double_put("b", "2", 0);
    assert_int_equal(
        ask(&asking,
            SLICE("[" GET(1, "a") "," GET(2, "b") "," CALL(
                3, "Set",
                "[\"memory\",\"c\",\"3\"]") "," GET(4, "c") "," GET(5, "a") ","
                                                                            "{\"jsonrpc\":\"2.0\","
                                                                            "\"id\":6,\"method\":"
                                                                            "\"Server.Ping\"}]")),
        ERR_PENDING);
    assert_int_equal(peers_double_pending(), 3);
    assert_true(peers_double_come_back(true));
    assert_true(peers_double_come_back(true));
    assert_false(asking.done);
    assert_true(peers_double_come_back(true));
    assert_true(asking.done);
    check(&asking, "[" RESULT(1, "\"1\"") "," RESULT(2, "\"2\"") "," RESULT(3, "true") "," RESULT(
                       4, "\"3\"") "," RESULT(5, "\"1\"") "," RESULT(6, "\"pong\"") "]\n");
}

static void an_entry_of_a_peer_is_shown_whole(void **state) {
    struct asking asking;
    (void)state;
    peers_double_put("a", "abc", 1700000005000);
    peers_double.wake_before_return = true;
    enum err err = ask(&asking, SLICE(CALL(1, "GetEntry", "[\"memory\",\"a\"]")));
    assert_true(err == OK || asking.done);
    check(&asking, RESULT(1, "{\"value\":\"abc\",\"revision\":0,"
                             "\"etag\":\"900150983cd24fb0d6963f7d28e17f72\",\"ttl\":5000}") "\n");
}

static void a_remote_store_is_asked_before_the_peers(void **state) {
    struct asking asking;
    (void)state;
    peers_double_put("a", "theirs", 0);
    assert_int_equal(ask(&asking, SLICE("[" GET(1, "a") "," GET(2, "a") "]")), ERR_PENDING);
    assert_int_equal(remote_queued(), 2);
    remote_come_back(2, false);
    assert_int_equal(peers_double_pending(), 2);
    assert_false(asking.done);
    while (peers_double_come_back(true))
        continue;
    assert_true(asking.done);
    check(&asking, "[" RESULT(1, "\"theirs\"") "," RESULT(2, "\"theirs\"") "]\n");
}

static void json_lines_wait_for_peers(void **state) {
    struct config config = remote_config();
    struct line_server *server;
    struct line_ports ports;
    char why[256] = "";
    (void)state;
    peers_double_put("a", "theirs", 0);
    assert_int_equal(line_server_start(&config, &core, &server, &ports, why, sizeof why), OK);
    port = ports.tcp;
    int fd = dial();
    say(fd, GET(1, "a") "\nPING\n[" GET(2, "a") "," GET(3, "a") "]\nGET memory a\n");
    peers_double_await(1);
    peers_double_come_back(false);
    hear(fd, RESULT(1, "\"theirs\"") "\n+PONG\n");
    peers_double_await(2);
    peers_double_come_back(true);
    peers_double_come_back(true);
    hear(fd, "[" RESULT(2, "\"theirs\"") "," RESULT(3, "\"theirs\"") "]\n");
    peers_double_await(1);
    peers_double_come_back(false);
    hear(fd, "theirs\n");
    say(fd, GET(4, "a") "\n");
    peers_double_await(1);
    close(fd); /* hangs up while it is parked */
    peers_double_come_back(false);
    line_server_stop(server);
}

/* ---- with a thread that answers by itself ---- */

#define READS 900
static _Atomic bool ending;

static void *answer(void *context) {
    unsigned turn = 0;
    (void)context;
    while (!atomic_load(&ending))
        if (!peers_double_come_back(turn++ % 2))
            sched_yield();
    return NULL;
}

static void a_large_batch_is_answered_in_order(void **state) {
    struct asking asking;
    struct buf body;
    struct buf expected;
    pthread_t thread;
    (void)state;
    peers_double_put("a", "theirs", 0);
    atomic_store(&ending, false);
    assert_int_equal(pthread_create(&thread, NULL, answer, NULL), 0);
    for (unsigned round = 0; round < 20; round++) {
        buf_init(&body, 1 << 22);
        buf_init(&expected, 1 << 22);
        for (unsigned i = 0; i < READS; i++) {
            bool writes = i % 50 == 0;
            buf_printf(&body,
                       "%s{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"Storage.%s\",\"params\":"
                       "[\"memory\",\"%s\\u0061\"%s]}",
                       i ? "," : "[", i, writes ? "Increment" : "Get",
                       writes || i % 3 == 0 ? "here" : "", writes ? ",1" : "");
            unsigned number = round * READS / 50 + i / 50 + 1;
            const char *mark = writes ? "" : "\"";
            buf_printf(&expected, "%s{\"jsonrpc\":\"2.0\",\"result\":%s", i ? "," : "[", mark);
            if (writes || i % 3 == 0)
                buf_printf(&expected, "%u", number);
            else
                buf_append(&expected, SLICE("theirs"));
            buf_printf(&expected, "%s,\"id\":%u}", mark, i);
        }
        buf_append(&body, SLICE("]"));
        buf_append(&expected, SLICE("]\n"));
        buf_append_char(&expected, '\0');
        if (ask(&asking, buf_slice(&body)) == ERR_PENDING)
            while (!atomic_load(&asking.done))
                sched_yield();
        check(&asking, expected.ptr);
        buf_done(&body);
        buf_done(&expected);
    }
    atomic_store(&ending, true);
    pthread_join(thread, NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_call_alone_waits_for_a_peer),
        CASE(what_is_known_here_is_answered_without_waiting),
        CASE(gets_of_a_batch_are_asked_for_together_and_answered_in_order),
        CASE(an_entry_of_a_peer_is_shown_whole),
        CASE(json_lines_wait_for_peers),
        CASE(a_large_batch_is_answered_in_order),
        cmocka_unit_test_setup_teardown(a_remote_store_is_asked_before_the_peers, set_up_remote,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
