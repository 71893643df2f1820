/* SPDX-License-Identifier: MIT */
/* GETs that find nothing here, and what peers say to them. */
#include <stdio.h>

#include "tests/unit/peers_double.h"
#include "tests/unit/remote_double.h"

#include "base/clock.h"
#include "handlers/bind.h"
#include "handlers/ops.h"
#include "handlers/render.h"

#define NOW 1700000000000

struct fixture {
    struct core core;
    struct arena arena;
    struct call call;
    unsigned woken;
};

static struct fixture fixture;

static void on_wake(struct call *call) {
    ((struct fixture *)call->context)->woken++;
}

static void open_core(void) {
    op_init();
    memset(&fixture, 0, sizeof fixture);
    fixture.core.payload_limit_bytes = 1 << 20;
    memset(fixture.core.default_workspace.bytes, 0x11, 16);
    arena_init(&fixture.arena, 1 << 24);
    remote_open(&fixture.core, false);
    peers_double_open(&fixture.core);
}

static int set_up(void **state) {
    (void)state;
    open_core();
    fixture.core.kv = remote.kvs[KV_MEMORY];
    fixture.core.broker = remote.local;
    return 0;
}

static int set_up_remote(void **state) {
    (void)state;
    open_core();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    assert_int_equal(peers_double_pending(), 0);
    remote_close();
    arena_done(&fixture.arena);
    return 0;
}

/* Binds `name=value` words. */
static struct call *bind(const char *op_name, const char *words) {
    struct call *call = &fixture.call;
    call_init(call, &fixture.core, &auth_grant_everything, &fixture.arena, NOW);
    call_set_op(call, op_find_name(slice_of_cstr(op_name)));
    call->wake = on_wake;
    call->context = &fixture;
    while (*words) {
        size_t len = strcspn(words, " ");
        size_t name = strcspn(words, "=");
        int index = bind_find_param(call->op, slice_make(words, name));
        assert_true(index >= 0);
        assert_int_equal(
            bind_text(call, (unsigned)index, slice_make(words + name + 1, len - name - 1)), OK);
        words += len + (words[len] == ' ');
    }
    assert_int_equal(bind_finish(call), OK);
    return call;
}

static enum err run(const char *op_name, const char *words) {
    return call_run(bind(op_name, words));
}

/* It pends, one question goes out, and its answer wakes it once. */
static enum err come_back(void) {
    unsigned woken = fixture.woken;
    assert_int_equal(call_run(&fixture.call), ERR_PENDING);
    assert_int_equal(fixture.woken, woken);
    assert_int_equal(peers_double_pending(), 1);
    assert_true(peers_double_come_back(false));
    assert_int_equal(fixture.woken, woken + 1);
    return fixture.call.err;
}

static void assert_result(const char *expected) {
    struct buf text;
    buf_init(&text, 1 << 20);
    assert_true(render_result(&text, &fixture.call));
    buf_append_char(&text, '\0');
    assert_string_equal(text.ptr, expected);
    buf_done(&text);
}

static void assert_counted(uint64_t misses, uint64_t asked) {
    assert_int_equal(peers_double.figures.misses, misses);
    assert_int_equal(peers_double.figures.asked, asked);
}

static void a_key_that_is_here_is_nobodys_business(void **state) {
    (void)state;
    peers_double_put("a", "theirs", 0);
    assert_int_equal(run("Storage.Set", "type=memory key=a value=ours"), OK);
    assert_int_equal(run("Storage.Get", "type=memory key=a"), OK);
    assert_result("\"ours\"");
    assert_counted(0, 0);
}

static void a_key_that_no_peer_may_have_is_not_found_at_once_and_counted(void **state) {
    (void)state;
    assert_int_equal(run("Storage.Get", "type=memory key=a"), ERR_KEY_NOT_EXIST);
    assert_int_equal(fixture.call.err, ERR_KEY_NOT_EXIST);
    assert_int_equal(run("Storage.GetEntry", "type=memory key=a"), ERR_KEY_NOT_EXIST);
    assert_counted(2, 0);
    assert_int_equal(fixture.woken, 0);
}

static void what_a_peer_has_is_the_answer(void **state) {
    (void)state;
    peers_double_put("a", "theirs", 0);
    bind("Storage.Get", "type=memory key=a");
    assert_int_equal(come_back(), OK);
    assert_result("\"theirs\"");
    assert_counted(1, 1);
}

static void an_entry_of_a_peer_has_an_etag_and_what_is_left_of_its_time(void **state) {
    (void)state;
    peers_double_put("a", "abc", NOW + 5000);
    peers_double_put("b", "abc", 0);
    bind("Storage.GetEntry", "type=memory key=a");
    assert_int_equal(come_back(), OK);
    assert_result("{\"value\":\"abc\",\"revision\":0,\"etag\":\"900150983cd24fb0d6963f7d28e17f72\","
                  "\"ttl\":5000}");
    bind("Storage.GetEntry", "type=memory key=b");
    assert_int_equal(come_back(), OK);
    assert_int_equal(fixture.call.reply.ttl_ms, 0);
}

static void an_entry_that_has_expired_on_its_way_is_not_there(void **state) {
    (void)state;
    peers_double_put("a", "abc", NOW);
    bind("Storage.GetEntry", "type=memory key=a");
    assert_int_equal(come_back(), ERR_KEY_NOT_EXIST);
}

static void a_filter_that_was_wrong_and_a_peer_that_fails_are_told(void **state) {
    (void)state;
    peers_double_put("a", NULL, 0);
    bind("Storage.Get", "type=memory key=a");
    assert_int_equal(come_back(), ERR_KEY_NOT_EXIST);
    peers_double.fail = ERR_OUT_OF_MEMORY;
    bind("Storage.Get", "type=memory key=a");
    assert_int_equal(come_back(), ERR_OUT_OF_MEMORY);
}

static void a_door_that_tries_does_not_wait(void **state) {
    (void)state;
    peers_double_put("a", "theirs", 0);
    struct call *call = bind("Storage.Get", "type=memory key=a");
    assert_true(call_may_try(call) && call_may_try_beside(call));
    call->broker.at_once = true;
    assert_int_equal(call_run(call), ERR_WOULD_WAIT);
    assert_counted(0, 0);
    call->broker.at_once = false;
    assert_int_equal(come_back(), OK);
    assert_counted(1, 1);
    call = bind("Storage.Get", "type=memory key=none");
    call->broker.at_once = true;
    assert_int_equal(call_run(call), ERR_KEY_NOT_EXIST);
    assert_counted(2, 1);
}

static void an_answer_may_come_before_the_call_returns(void **state) {
    (void)state;
    peers_double_put("a", "theirs", 0);
    peers_double.wake_before_return = true;
    assert_int_equal(run("Storage.Get", "type=memory key=a"), ERR_PENDING);
    assert_int_equal(fixture.woken, 1);
    assert_int_equal(fixture.call.err, OK);
    assert_result("\"theirs\"");
}

static void other_reads_and_other_places_ask_nobody(void **state) {
    (void)state;
    peers_double_put("a", "theirs", 0);
    assert_int_equal(run("Storage.Has", "type=memory key=a"), OK);
    assert_result("false");
    assert_int_equal(run("Storage.Ttl", "type=memory key=a"), ERR_KEY_NOT_EXIST);
    assert_int_equal(run("Storage.Get", "type=memory key=a namespace=other"), ERR_KEY_NOT_EXIST);
    assert_int_equal(
        run("Storage.Get", "type=memory key=a workspace=22222222-2222-2222-2222-222222222222"),
        ERR_KEY_NOT_EXIST);
    assert_int_equal(run("Storage.Get", "type=hdd key=a"), ERR_UNAVAILABLE);
    assert_int_equal(run("Storage.Set", "type=memory key=b value=1 ifAbsent=true"), OK);
    struct call *call = bind("Storage.Get", "type=memory key=a");
    call->asks_peers = false; /* a peer's question is not forwarded */
    assert_int_equal(call_run(call), ERR_KEY_NOT_EXIST);
    peers_double.node_count = 0;
    assert_int_equal(run("Storage.Get", "type=memory key=a"), ERR_KEY_NOT_EXIST);
    peers_double.node_count = 1;
    fixture.core.peer_reads = false;
    assert_int_equal(run("Storage.Get", "type=memory key=a"), ERR_KEY_NOT_EXIST);
    fixture.core.peers = NULL;
    fixture.core.peer_reads = true;
    assert_int_equal(run("Storage.Get", "type=memory key=a"), ERR_KEY_NOT_EXIST);
    assert_counted(0, 0);
}

/* Of a bound call: at once, off disk, may be tried, its lane. */
static void assert_ways(const struct call *call, bool at_once, bool off_disk, bool may_try,
                        enum call_lane lane) {
    assert_int_equal(call_is_at_once(call), at_once);
    assert_int_equal(call_is_off_disk(call), off_disk);
    assert_int_equal(call_may_try(call), may_try);
    assert_int_equal(call_lane(call), lane);
}

static void calls_that_may_ask_peers_say_so(void **state) {
    (void)state;
    assert_ways(bind("Storage.Get", "type=memory key=a"), false, false, true, LANE_READS);
    assert_ways(bind("Storage.GetEntry", "type=memory key=a"), false, false, true, LANE_READS);
    assert_ways(bind("Storage.Has", "type=memory key=a"), true, true, false, LANE_ALONE);
    assert_ways(bind("Storage.Set", "type=memory key=a value=1"), true, true, false, LANE_ALONE);
    assert_ways(bind("Storage.Get", "type=hdd key=a"), true, false, false, LANE_ALONE);
    struct call *call = bind("Storage.Get", "type=memory key=a");
    call->asks_peers = false;
    assert_ways(call, true, true, false, LANE_ALONE);
    assert_false(call_may_try_beside(call));
}

static void what_a_remote_store_does_not_have_peers_are_asked_for(void **state) {
    (void)state;
    peers_double_put("a", "abc", NOW + 5000);
    struct call *call = bind("Storage.GetEntry", "type=memory key=a");
    assert_ways(call, false, false, false, LANE_READS);
    assert_false(call_may_try_beside(call));
    assert_int_equal(call_run(call), ERR_PENDING);
    remote_come_back(1, false);
    assert_int_equal(fixture.woken, 0);
    assert_int_equal(peers_double_pending(), 1);
    peers_double_come_back(false);
    assert_int_equal(fixture.woken, 1);
    assert_int_equal(call->err, OK);
    assert_result("{\"value\":\"abc\",\"revision\":0,\"etag\":\"900150983cd24fb0d6963f7d28e17f72\","
                  "\"ttl\":5000}");
    assert_int_equal(run("Storage.Get", "type=memory key=none"), ERR_PENDING);
    remote_come_back(1, false);
    assert_int_equal(fixture.woken, 2);
    assert_int_equal(call->err, ERR_KEY_NOT_EXIST);
    assert_counted(2, 1);
}

static void what_a_remote_store_has_or_cannot_tell_no_peer_is_asked_for(void **state) {
    (void)state;
    peers_double_put("a", "theirs", 0);
    remote.fail = ERR_UNAVAILABLE;
    assert_int_equal(run("Storage.Get", "type=memory key=a"), ERR_PENDING);
    remote_come_back(1, false);
    assert_int_equal(fixture.call.err, ERR_UNAVAILABLE);
    remote.fail = OK;
    assert_int_equal(run("Storage.Set", "type=memory key=a value=ours"), ERR_PENDING);
    remote_come_back(1, false);
    assert_int_equal(run("Storage.Get", "type=memory key=a"), ERR_PENDING);
    remote_come_back(1, false);
    assert_result("\"ours\"");
    assert_int_equal(run("Storage.Has", "type=memory key=b"), ERR_PENDING);
    remote_come_back(1, false);
    assert_int_equal(fixture.woken, 4);
    assert_counted(0, 0);
}

static bool stats_say(const char *text) {
    assert_int_equal(run("Server.Stats", ""), OK);
    struct slice stats = fixture.call.reply.text;
    return memmem(stats.ptr, stats.len, text, strlen(text)) != NULL;
}

static void figures_and_nodes_are_in_the_stats(void **state) {
    static const struct peers_peer nodes[] = {
        {.address = "a\"b:1", .state = PEERS_CONNECTING},
        {.address = "b:2",
         .state = PEERS_ALIVE,
         .is_hati = true,
         .has_filter = true,
         .keys = 7,
         .rtt_us = 250},
        {.address = "c:3", .state = PEERS_DEAD, .rtt_us = 90, .missed = 3},
        {.address = "d:4", .state = PEERS_SELF},
    };
    (void)state;
    memcpy(peers_double.nodes, nodes, sizeof nodes);
    peers_double.node_count = 4;
    peers_double.figures = (struct peers_figures){1, 2, 3, 4, 5, 6};
    assert_true(stats_say(",\"peers\":{\"misses\":1,\"asked\":2,\"hits\":3,\"saved\":4,"
                          "\"false_positives\":5,\"timeouts\":6,\"nodes\":["
                          "{\"address\":\"a\\\"b:1\",\"state\":\"connecting\",\"kind\":null,"
                          "\"filter\":false,\"keys\":0,\"rtt_us\":0,\"missed_beats\":0},"
                          "{\"address\":\"b:2\",\"state\":\"alive\",\"kind\":\"hati\","
                          "\"filter\":true,\"keys\":7,\"rtt_us\":250,\"missed_beats\":0},"
                          "{\"address\":\"c:3\",\"state\":\"dead\",\"kind\":\"olivia\","
                          "\"filter\":false,\"keys\":0,\"rtt_us\":90,\"missed_beats\":3},"
                          "{\"address\":\"d:4\",\"state\":\"self\",\"kind\":null,"
                          "\"filter\":false,\"keys\":0,\"rtt_us\":0,\"missed_beats\":0}]}}"));
    fixture.core.peers = NULL;
    assert_false(stats_say("\"peers\""));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define REMOTE(name) cmocka_unit_test_setup_teardown(name, set_up_remote, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_key_that_is_here_is_nobodys_business),
        CASE(a_key_that_no_peer_may_have_is_not_found_at_once_and_counted),
        CASE(what_a_peer_has_is_the_answer),
        CASE(an_entry_of_a_peer_has_an_etag_and_what_is_left_of_its_time),
        CASE(an_entry_that_has_expired_on_its_way_is_not_there),
        CASE(a_filter_that_was_wrong_and_a_peer_that_fails_are_told),
        CASE(a_door_that_tries_does_not_wait),
        CASE(an_answer_may_come_before_the_call_returns),
        CASE(other_reads_and_other_places_ask_nobody),
        CASE(calls_that_may_ask_peers_say_so),
        CASE(figures_and_nodes_are_in_the_stats),
        REMOTE(what_a_remote_store_does_not_have_peers_are_asked_for),
        REMOTE(what_a_remote_store_has_or_cannot_tell_no_peer_is_asked_for),
    };
    clock_move_for_test(NOW - clock_wall_ms()); /* the store drops what has expired by its clock */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
