/* SPDX-License-Identifier: MIT */
/* What is a message, and how each is answered. */
#include "rpc_case.h"

static void calls_by_place_and_by_name(void **state) {
    (void)state;
    expect(CALL("Storage.Set", "[\"memory\",\"a\",\"v\"]", "1"), RESULT("true", "1") "\n");
    expect(CALL("Storage.Get", "{\"key\":\"a\",\"type\":\"memory\"}", "2"),
           RESULT("\"v\"", "2") "\n");
    expect(CALL("Storage.Has", "[\"memory\",\"b\"]", "3"), RESULT("false", "3") "\n");
    expect(CALL("Storage.Count", "[\"hdd\"]", "4"), RESULT("7", "4") "\n");
    expect("{\"jsonrpc\":\"2.0\",\"method\":\"Server.Ping\",\"id\":5}",
           RESULT("\"pong\"", "5") "\n");
    expect(CALL("Server.Ping", "{}", "6"), RESULT("\"pong\"", "6") "\n");
    expect(CALL("Storage.Set", "[\"memory\",\"a\",\"dg==\",null,\"base64\"]", "7"),
           RESULT("true", "7") "\n");
    expect(CALL("Storage.Delete", "[\"memory\",\"a\"]", "8"), RESULT("true", "8") "\n");
}

static void an_id_comes_back_as_it_was_sent(void **state) {
    (void)state;
    static const char *const ids[] = {
        "1",
        "-7",
        "9223372036854775807",
        "\"x\"",
        "\"\"",
        "0.1",
        "1.50",
        "1e3",
        "-0.0",
        "\"a\\\"\\\\\xC3\xA9\"",
        "0",
        "1E-10",
        "null",
        "123.456",
        "9223372036854775808",
        "18446744073709551615",
        "-9223372036854775809",
    };
    for (unsigned i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char body[256];
        char expected[256];
        snprintf(body, sizeof body,
                 " {\"a\":[1,{\"id\":3.5}], \"method\":\"Server.Ping\" ,\"id\" : %s , "
                 "\"jsonrpc\":\"2.0\"}",
                 ids[i]);
        snprintf(expected, sizeof expected, RESULT("\"pong\"", "%s") "\n", ids[i]);
        expect(body, expected);
    }
    expect("[" CALL("Server.Ping", "[]", "1.10") " ,{\"x\":[\"]\\\"\"]}, " CALL(
               "Server.Ping", "[]", "2.20") "]\n" CALL("Server.Ping", "[]", "3.30"),
           "[" RESULT("\"pong\"", "1.10") ","
                                          "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,"
                                          "\"message\":\"SYNTAX: not a valid "
                                          "request object\",\"data\":{\"detail\":\"jsonrpc is not "
                                          "\\\"2.0\\\"\"}},\"id\":null}," RESULT(
                                              "\"pong\"", "2.20") "]\n" RESULT("\"pong\"",
                                                                               "3.30") "\n");
}

static void an_id_over_64_bits_leaves_the_other_numbers_as_they_are(void **state) {
    (void)state;
    expect("[" CALL("Storage.Set", "[\"memory\",\"a\",\"1\",60000]",
                    "18446744073709551615") "," CALL("Storage.Increment", "[\"memory\",\"a\",-3]",
                                                     "7") "]",
           "[" RESULT("true", "18446744073709551615") "," RESULT("-3", "7") "]\n");
    assert_int_equal(fake.entries[0].ttl_ms, 60000);
}

static void an_id_that_is_none_is_refused(void **state) {
    (void)state;
    static const char *const ids[] = {"true", "false", "[1]", "{\"a\":1}", "[]"};
    for (unsigned i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, CALL("Server.Ping", "[]", "%s"), ids[i]);
        expect_without_data(body, FAILED_(INVALID, "null") "\n");
    }
}

static void the_examples_of_the_specification(void **state) {
    (void)state;
    expect("{\"jsonrpc\": \"2.0\", \"method\": \"update\", \"params\": [1,2,3,4,5]}", "");
    expect("{\"jsonrpc\": \"2.0\", \"method\": \"foobar\"}", "");
    expect_without_data("{\"jsonrpc\": \"2.0\", \"method\": \"foobar\", \"id\": \"1\"}",
                        FAILED_(NO_METHOD, "\"1\"") "\n");
    expect_without_data("{\"jsonrpc\": \"2.0\", \"method\": \"foobar, \"params\": \"bar\", \"baz]",
                        FAILED_(PARSE, "null") "\n");
    expect_without_data("{\"jsonrpc\": \"2.0\", \"method\": 1, \"params\": \"bar\"}",
                        FAILED_(INVALID, "null") "\n");
    expect_without_data("[{\"jsonrpc\": \"2.0\", \"method\": \"sum\", \"params\": [1,2,4], \"id\": "
                        "\"1\"},{\"jsonrpc\": \"2.0\", \"method\"]",
                        FAILED_(PARSE, "null") "\n");
    expect_without_data("[]", FAILED_(INVALID, "null") "\n");
    expect_without_data("[1]", "[" FAILED_(INVALID, "null") "]\n");
    expect_without_data("[1,2,3]", "[" FAILED_(INVALID, "null") "," FAILED_(
                                       INVALID, "null") "," FAILED_(INVALID, "null") "]\n");
    expect_without_data(
        "[" CALL("Server.Ping", "[]", "\"1\"") "," TOLD("notify_hello", "[7]") "," CALL(
            "Storage.Has", "[\"memory\",\"a\"]",
            "\"2\"") ",{\"foo\": \"boo\"}," CALL("foo.get", "{\"name\":\"myself\"}",
                                                 "\"5\"") "," CALL("Server.Ping", "[]",
                                                                   "\"9\"") "]",
        "[" RESULT("\"pong\"", "\"1\"") "," RESULT("false", "\"2\"") "," FAILED_(
            INVALID, "null") "," FAILED_(NO_METHOD, "\"5\"") "," RESULT("\"pong\"", "\"9\"") "]\n");
    expect("[" TOLD("notify_sum", "[1,2,4]") "," TOLD("notify_hello", "[7]") "]", "");
}

static void what_is_no_request_is_refused(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "1",
        "\"a\"",
        "null",
        "1 2 3",
        "{}",
        "{\"jsonrpc\":\"1.0\",\"method\":\"Server.Ping\"}",
        "{\"jsonrpc\":2.0,\"method\":\"Server.Ping\"}",
        "{\"jsonrpc\":null,\"method\":\"Server.Ping\"}",
        "{\"jsonrpc\":\"2.0\"}",
        "{\"jsonrpc\":\"2.0\\u0000\",\"method\":\"Server.Ping\"}",
        "\"\\u0000\"",
        "{\"jsonrpc\":\"2.0\",\"method\":\"Server.Ping\",\"params\":null}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"Server.Ping\",\"params\":1}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"Server.Ping\",\"method\":\"Server.Ping\",\"id\":1}",
        "[{\"jsonrpc\":\"2.0\",\"jsonrpc\":\"2.0\"}]",
        TOLD("Storage.Set", "{\"type\":\"memory\",\"type\":\"hdd\"}"),
    };
    for (unsigned i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        expect_without_data(bodies[i], FAILED_(INVALID, "null") "\n");
    expect_without_data(CALL("Server.Ping", "null", "7"), FAILED_(INVALID, "7") "\n");
}

static void what_is_no_json_is_refused(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "",         " \r\n\t",        "{",
        "}",        "nonsense",       "{\"jsonrpc\":\"2.0\",}",
        "[1,]",     "{\"id\":1e999}", "{\"\\u0000\":1}",
        "\"\xFF\"", "{\"a\":01}",     "\xEF\xBB\xBF{}",
    };
    for (unsigned i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        expect_without_data(bodies[i], FAILED_(PARSE, "null") "\n");
}

static void a_nul_in_the_body_is_no_json(void **state) {
    (void)state;
    struct asking asking;
    ask_bytes(&asking, slice_make("{\"id\":\0}", 8), 1U << 16);
    assert_int_equal(rpc_run(&asking.request), OK);
    assert_non_null(memmem(asking.out.ptr, asking.out.len, "-32700", 6));
    asked(&asking);
}

static void depth_ends_at_its_limit(void **state) {
    (void)state;
    char body[512];
    for (int depth = 64; depth <= 65; depth++) {
        int len =
            snprintf(body, sizeof body, "{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"id\":1,\"y\":");
        memset(body + len, '[', (size_t)depth - 1);
        memset(body + len + depth - 1, ']', (size_t)depth - 1);
        memcpy(body + len + 2 * (depth - 1), "}", 2);
        expect_without_data(body, depth == 64 ? FAILED_(NO_METHOD, "1") "\n"
                                              : FAILED_(PARSE, "null") "\n");
    }
}

static void a_batch_ends_at_its_limit(void **state) {
    (void)state;
    struct buf body;
    struct asking asking;
    batch_of(&body, 1000);
    ask(&asking, body.ptr);
    assert_int_equal(asking.err, OK);
    unsigned answers = 0;
    for (size_t i = 0; i < asking.out.len; i++)
        answers += asking.out.ptr[i] == '{';
    assert_int_equal(answers, 1000);
    asked(&asking);
    buf_done(&body);
    batch_of(&body, 1001);
    expect(body.ptr,
           "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":\"SYNTAX: not a valid "
           "request object\",\"data\":{\"detail\":\"the batch has too many calls\",\"limit\":1000}}"
           ",\"id\":null}\n");
    buf_done(&body);
}

static void several_messages_get_a_line_each(void **state) {
    (void)state;
    expect(CALL("Storage.Set", "[\"memory\",\"a\",\"1\"]", "1")
               CALL("Storage.Get", "[\"memory\",\"a\"]",
                    "2") "\n" TOLD("Server.Ping", "[]") " [" CALL("Server.Ping", "[]", "3") "]\n",
           RESULT("true", "1") "\n" RESULT("\"1\"", "2") "\n[" RESULT("\"pong\"", "3") "]\n");
    expect_without_data(CALL("Server.Ping", "[]", "1") "{\"broken" CALL("Server.Ping", "[]", "2"),
                        RESULT("\"pong\"", "1") "\n" FAILED_(PARSE, "null") "\n");
}

static void what_follows_a_batch_is_no_part_of_it(void **state) {
    (void)state;
    expect_without_data("[" CALL("Server.Ping", "[]", "1") "] nonsense",
                        "[" RESULT("\"pong\"", "1") "]\n" FAILED_(PARSE, "null") "\n");
    expect_without_data("[" TOLD("Server.Ping", "[]") "]7", FAILED_(INVALID, "null") "\n");
}

static void a_body_that_would_swell_is_refused(void **state) {
    (void)state;
    static char body[1 << 20];
    static const char *const pieces[] = {"{ },", "[ ],", "0,0,"};
    for (unsigned i = 0; i < 3; i++) {
        for (size_t at = 0; at < sizeof body; at += 4)
            memcpy(body + at, pieces[i], 4);
        body[0] = '[';
        body[1] = pieces[i][1] == ',' ? '0' : pieces[i][0];
        memcpy(body + sizeof body - 4, "0 ]", 4);
        struct asking asking;
        ask(&asking, body);
        assert_int_equal(asking.err, OK);
        assert_non_null(memmem(asking.out.ptr, asking.out.len, "-32600", 6));
        assert_non_null(memmem(asking.out.ptr, asking.out.len, "too many", 8));
        asked(&asking);
    }
}

static void the_old_form_always_answers_three_members(void **state) {
    (void)state;
    expect("{\"method\":\"Storage.Set\",\"params\":[{\"type\":\"memory\",\"key\":\"a\",\"value\":"
           "\"v\",\"ttl\":\"0\"}],\"id\":1}",
           "{\"id\":1,\"result\":true,\"error\":null}\n");
    expect("{\"method\":\"Storage.Get\",\"params\":[{\"type\":\"memory\",\"key\":\"a\"},7],\"id\":"
           "18446744073709551}",
           "{\"id\":18446744073709551,\"result\":\"v\",\"error\":null}\n");
    expect("{\"method\":\"Storage.Get\",\"params\":{\"type\":\"memory\",\"key\":\"a\"}}",
           "{\"id\":null,\"result\":\"v\",\"error\":null}\n");
    expect("{\"method\":\"Storage.Get\",\"params\":[\"memory\",\"b\"],\"id\":\"x\"}",
           "{\"id\":\"x\",\"result\":null,\"error\":\"KEY_NOT_EXIST\"}\n");
    expect("{\"method\":\"Nothing\",\"params\":[],\"id\":null}",
           "{\"id\":null,\"result\":null,\"error\":\"UNKNOWN_COMMAND\"}\n");
    expect("{\"method\":\"Server.Ping\",\"params\":[null],\"id\":0}",
           "{\"id\":0,\"result\":\"pong\",\"error\":null}\n");
    expect("{\"method\":\"Server.Ping\",\"params\":7,\"id\":2}",
           "{\"id\":2,\"result\":null,\"error\":\"SYNTAX\"}\n");
    expect("{\"method\":\"Server.Ping\",\"id\":2.50}{\"method\":\"Server.Ping\",\"id\":3}",
           "{\"id\":2.50,\"result\":\"pong\",\"error\":null}\n"
           "{\"id\":3,\"result\":\"pong\",\"error\":null}\n");
}

int main(void) {
    op_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(calls_by_place_and_by_name, forget),
        cmocka_unit_test_teardown(an_id_comes_back_as_it_was_sent, forget),
        cmocka_unit_test_teardown(an_id_over_64_bits_leaves_the_other_numbers_as_they_are, forget),
        cmocka_unit_test_teardown(an_id_that_is_none_is_refused, forget),
        cmocka_unit_test_teardown(the_examples_of_the_specification, forget),
        cmocka_unit_test_teardown(what_is_no_request_is_refused, forget),
        cmocka_unit_test_teardown(what_is_no_json_is_refused, forget),
        cmocka_unit_test_teardown(a_nul_in_the_body_is_no_json, forget),
        cmocka_unit_test_teardown(depth_ends_at_its_limit, forget),
        cmocka_unit_test_teardown(a_batch_ends_at_its_limit, forget),
        cmocka_unit_test_teardown(several_messages_get_a_line_each, forget),
        cmocka_unit_test_teardown(what_follows_a_batch_is_no_part_of_it, forget),
        cmocka_unit_test_teardown(a_body_that_would_swell_is_refused, forget),
        cmocka_unit_test_teardown(the_old_form_always_answers_three_members, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
