/* SPDX-License-Identifier: MIT */
#include "rpc_fake.h"

#define ERROR(code, message) "\"error\":{\"code\":" code ",\"message\":\"" message "\"}"
#define FAILED(code, message, id) "{\"jsonrpc\":\"2.0\"," ERROR(code, message) ",\"id\":" id "}"
#define RESULT(result, id) "{\"jsonrpc\":\"2.0\",\"result\":" result ",\"id\":" id "}"
#define CALL(method, params, id)                                                                   \
    "{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":" params ",\"id\":" id "}"
#define TOLD(method, params) "{\"jsonrpc\":\"2.0\",\"method\":\"" method "\",\"params\":" params "}"
#define PARSE "-32700", "SYNTAX: the text is not valid JSON"
#define INVALID "-32600", "SYNTAX: not a valid request object"
#define NO_METHOD "-32601", "UNKNOWN_COMMAND: no such command"
#define BAD_PARAMS "-32602", "SYNTAX: the request is malformed"
#define FAILED_(pair, id) FAILED(pair, id)

static int forget(void **state) {
    (void)state;
    fake_forget();
    return 0;
}

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

static void batch_of(struct buf *body, unsigned count) {
    buf_init(body, 1U << 20);
    for (unsigned i = 0; i < count; i++)
        buf_printf(body, "%c" CALL("Server.Ping", "[]", "%u"), i ? ',' : '[', i);
    buf_append(body, SLICE("]\0"));
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

static void params_that_do_not_fit_are_refused(void **state) {
    (void)state;
    static const char *const params[] = {
        "[]",
        "{}",
        "[\"memory\"]",
        "[\"memory\",\"a\"]",
        "[\"memory\",\"a\",1]",
        "[\"memory\",\"a\",\"v\",-1]",
        "[\"memory\",\"a\",\"v\",1.5]",
        "[\"memory\",\"a\",\"v\",1e300]",
        "[\"memory\",\"a\",\"v\",\"soon\"]",
        "[\"memory\",\"a\",\"v\",0,\"hex\"]",
        "[\"memory\",\"a\",\"!\",0,\"base64\"]",
        "[\"memory\",\"a\",\"dg\",0,\"base64\"]",
        "[\"memory\",\"a\",\"v\",0,\"utf-8\",1,null,true]",
        "[\"memory\",\"a\",\"v\",0,\"utf-8\",null,null,true,\"one more\"]",
        "[\"memory\",[\"a\"],\"v\"]",
        "[1,\"a\",\"v\"]",
        "[null,\"a\",\"v\"]",
        "{\"type\":\"memory\",\"key\":\"a\",\"value\":\"v\",\"Ttl\":1}",
        "{\"type\":\"memory\",\"key\":\"a\",\"value\":\"v\",\"unheard\":1}",
        "{\"type\":\"memory\",\"key\":\"a\",\"value\":\"v\",\"ttl\":null}",
        "{\"type\":\"memory\",\"key\":\"a\",\"value\":\"v\",\"namespace\":\"\"}",
        "{\"type\":\"memory\",\"key\":\"a\",\"value\":\"v\",\"workspace\":\"mine\"}",
        "{\"type\":\"memory\",\"key\":\"a\",\"value\":\"v\",\"ifEtag\":\"short\"}",
        "{\"type\":\"memory\",\"key\":\"a\",\"value\":null}",
    };
    for (unsigned i = 0; i < sizeof params / sizeof params[0]; i++) {
        char body[512];
        snprintf(body, sizeof body, CALL("Storage.Set", "%s", "1"), params[i]);
        expect_without_data(body, FAILED_(BAD_PARAMS, "1") "\n");
        snprintf(body, sizeof body, TOLD("Storage.Set", "%s"), params[i]);
        expect(body, "");
    }
    expect(CALL("Storage.Has", "[\"memory\",\"a\"]", "1"), RESULT("false", "1") "\n");
}

static void a_time_to_live_is_a_number_or_its_text(void **state) {
    (void)state;
    static const char *const ttls[] = {"60000", "\"60000\"", "60000.0", "6e4"};
    for (unsigned i = 0; i < sizeof ttls / sizeof ttls[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, CALL("Storage.Set", "[\"memory\",\"a\",\"v\",%s]", "1"),
                 ttls[i]);
        expect(body, RESULT("true", "1") "\n");
        assert_int_equal(fake.entries[0].ttl_ms, 60000);
        fake_forget();
    }
}

static void bytes_that_are_no_text_travel_as_base64(void **state) {
    (void)state;
    expect(CALL("Storage.Set",
                "{\"encoding\":\"base64\",\"value\":\"/wD+\",\"type\":\"memory\",\"key\":\"a\"}",
                "1"),
           RESULT("true", "1") "\n");
    assert_memory_equal(fake.entries[0].value, "\xFF\0\xFE", 3);
    expect(CALL("Storage.Get", "[\"memory\",\"a\"]", "2"),
           RESULT("{\"value\":\"/wD+\",\"encoding\":\"base64\"}", "2") "\n");
    expect(CALL("Storage.Set", "[\"memory\",\"b\",\"\",0,\"base64\"]", "3"),
           RESULT("true", "3") "\n");
    expect(CALL("Storage.Get", "[\"memory\",\"b\"]", "4"), RESULT("\"\"", "4") "\n");
}

static void a_nul_is_a_character_like_any_other(void **state) {
    (void)state;
    expect(CALL("Storage.Set", "[\"memory\",\"a\",\"1\\u00002\"]", "1"), RESULT("true", "1") "\n");
    assert_int_equal(fake.entries[0].value_len, 3);
    assert_memory_equal(fake.entries[0].value, "1\0002", 3);
    expect(CALL("Storage.Get", "[\"memory\",\"a\"]", "\"\\u0000\""),
           RESULT("\"1\\u00002\"", "\"\\u0000\"") "\n");
    expect_without_data(
        CALL("Storage.Get", "[\"memory\",\"a\\u0000\"]", "1"),
        FAILED("-32014", "KEY_INVALID: a key has 1 to 4096 bytes and no NUL", "1") "\n");
    expect_without_data(CALL("Server.Ping\\u0000", "[]", "1"), FAILED_(NO_METHOD, "1") "\n");
}

static void many_entries_and_keys(void **state) {
    (void)state;
    expect(
        CALL("Storage.SetMany",
             "[\"memory\",{\"a\":\"1\",\"b\":{\"value\":\"/w==\",\"encoding\":\"base64\",\"ttl\":"
             "\"5\"},\"c\":{\"value\":\"3\",\"ttl\":9}}]",
             "1"),
        RESULT("3", "1") "\n");
    expect(CALL("Storage.GetMany", "{\"keys\":[\"a\",\"none\",\"b\"],\"type\":\"memory\"}", "2"),
           RESULT("{\"a\":\"1\",\"b\":{\"value\":\"/w==\",\"encoding\":\"base64\"}}", "2") "\n");
    expect(CALL("Storage.GetMany", "[\"memory\",[\"c\",\"a\",\"c\",\"none\",\"a\"]]", "3"),
           RESULT("{\"c\":\"3\",\"a\":\"1\"}", "3") "\n");
    static const char *const calls[] = {
        CALL("Storage.SetMany", "[\"memory\"]", "1"),
        CALL("Storage.SetMany", "[\"memory\",[]]", "1"),
        CALL("Storage.SetMany", "[\"memory\",{\"a\":1}]", "1"),
        CALL("Storage.SetMany", "[\"memory\",{\"a\":{}}]", "1"),
        CALL("Storage.SetMany", "[\"memory\",{\"a\":{\"value\":\"1\",\"ttl\":-1}}]", "1"),
        CALL("Storage.SetMany", "[\"memory\",{\"a\":{\"value\":\"1\",\"more\":1}}]", "1"),
        CALL("Storage.SetMany", "[\"memory\",{\"a\":{\"value\":\"1\",\"encoding\":\"x\"}}]", "1"),
        CALL("Storage.SetMany", "[\"memory\",{\"a\":{\"value\":\"1\",\"encoding\":1}}]", "1"),
        CALL("Storage.SetMany", "[\"memory\",{\"a\":{\"value\":\"1\",\"encoding\":\"base64\"}}]",
             "1"),
        CALL("Storage.GetMany", "[\"memory\"]", "1"),
        CALL("Storage.GetMany", "[\"memory\",\"a\"]", "1"),
        CALL("Storage.GetMany", "[\"memory\",[1]]", "1"),
    };
    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++)
        expect_without_data(calls[i], FAILED_(BAD_PARAMS, "1") "\n");
    expect_without_data(
        CALL("Storage.GetMany", "[\"memory\",[\"\"]]", "1"),
        FAILED("-32014", "KEY_INVALID: a key has 1 to 4096 bytes and no NUL", "1") "\n");
}

static void every_failure_has_its_code(void **state) {
    (void)state;
    for (int err = ERR_SYNTAX; err < ERR_COUNT; err++) {
        char expected[512];
        fake.fail = (enum err)err;
        snprintf(expected, sizeof expected, FAILED("%d", "%s: %s", "1") "\n",
                 err_rpc_code(fake.fail),
                 err_rpc_code(fake.fail) == -32004 ? "TOO_LARGE" : err_word(fake.fail),
                 err_text(fake.fail));
        expect_without_data(CALL("Storage.Get", "[\"memory\",\"a\"]", "1"), expected);
    }
    fake.fail = OK;
    expect_without_data(
        CALL("Storage.Get", "[\"disk\",\"a\"]", "1"),
        FAILED("-32002", "STORAGE_TYPE_INVALID: the storage type is memory or hdd", "1") "\n");
    expect(
        CALL("Storage.Get", "[\"memory\",\"a\"]", "1"),
        "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32001,\"message\":\"KEY_NOT_EXIST: the key "
        "does not exist\",\"data\":{\"detail\":\"the key does not exist\",\"key\":\"a\"}},\"id\":"
        "1}\n");
    expect_without_data(
        CALL("Storage.Increment", "[\"memory\",\"a\",\"x\"]", "1"),
        FAILED("-32005", "NOT_A_NUMBER: the value is no 64-bit number, or overflows", "1") "\n");
}

static void a_value_over_the_limit_names_the_limit(void **state) {
    (void)state;
    static char body[(1 << 20) + 200];
    int len = snprintf(body, sizeof body, "%s",
                       "{\"jsonrpc\":\"2.0\",\"method\":\"Storage.Set\",\"id\":1,"
                       "\"params\":[\"memory\",\"a\",\"");
    memset(body + len, 'x', (1 << 20) + 1);
    memcpy(body + len + (1 << 20) + 1, "\"]}", 4);
    struct asking asking;
    ask(&asking, body);
    assert_int_equal(asking.err, OK);
    assert_non_null(memmem(asking.out.ptr, asking.out.len, "-32004", 6));
    assert_non_null(memmem(asking.out.ptr, asking.out.len, "\"message\":\"TOO_LARGE: ", 22));
    assert_non_null(memmem(asking.out.ptr, asking.out.len, "\"limit\":1048576", 15));
    asked(&asking);
}

static void rights_are_asked_for_call_by_call(void **state) {
    (void)state;
    struct asking asking;
    struct auth_grant grant = {.signed_in = true};
    const char *body = "[" CALL("Server.Ping", "[]", "1") "," CALL(
        "Storage.FlushAll", "[\"memory\"]",
        "2") "," CALL("Storage.Has",
                      "{\"type\":\"memory\",\"key\":\"a\",\"workspace\":\"aaaaaaaa-aaaa-aaaa-aaaa-"
                      "aaaaaaaaaaaa\"}",
                      "3") "," CALL("Storage.Has", "[\"memory\",\"a\"]", "4") "]";
    for (int signed_in = 0; signed_in < 2; signed_in++) {
        grant.signed_in = signed_in;
        ask_bytes(&asking, slice_of_cstr(body), 1U << 16);
        asking.request.grant = &grant;
        assert_int_equal(rpc_run(&asking.request), OK);
        unsigned refused = 0;
        for (size_t i = 0; i + 6 <= asking.out.len; i++)
            refused += memcmp(asking.out.ptr + i, "-32013", 6) == 0;
        assert_int_equal(refused, signed_in ? 2 : 3);
        asked(&asking);
    }
}

static void a_stranger_is_told_nothing_but_that_it_is_one(void **state) {
    (void)state;
    struct asking asking;
    static const char *const calls[] = {
        CALL("Storage.Get", "[\"memory\",\"a\"]", "1"),
        CALL("Storage.Get", "[\"disk\",\"a\"]", "1"),
        CALL("Storage.Get", "[]", "1"),
        CALL("No.Such", "[]", "1"),
    };
    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        ask_bytes(&asking, slice_of_cstr(calls[i]), 1U << 16);
        asking.request.grant = &auth_grant_nothing;
        assert_int_equal(rpc_run(&asking.request), OK);
        assert_non_null(memmem(asking.out.ptr, asking.out.len, "-32013", 6));
        assert_non_null(memmem(asking.out.ptr, asking.out.len, "AUTH_REQUIRED", 13));
        asked(&asking);
    }
    ask_bytes(&asking, SLICE(CALL("Server.Ping", "[]", "1")), 1U << 16);
    asking.request.grant = &auth_grant_nothing;
    assert_int_equal(rpc_run(&asking.request), OK);
    assert_non_null(memmem(asking.out.ptr, asking.out.len, "pong", 4));
    asked(&asking);
}

static void workspace_and_namespace_have_defaults(void **state) {
    (void)state;
    struct asking asking;
    struct uuid mine;
    memset(mine.bytes, 0x22, sizeof mine.bytes);
    ask_bytes(&asking, SLICE(CALL("Storage.Set", "[\"memory\",\"a\",\"mine\"]", "1")), 1U << 16);
    asking.request.workspace = &mine;
    asking.request.ns = SLICE("ns");
    assert_int_equal(rpc_run(&asking.request), OK);
    asked(&asking);
    expect_without_data(CALL("Storage.Has", "[\"memory\",\"a\"]", "1"), RESULT("false", "1") "\n");
    expect(CALL("Storage.Get",
                "{\"type\":\"memory\",\"key\":\"a\",\"namespace\":\"ns\",\"workspace\":"
                "\"22222222-2222-2222-2222-222222222222\"}",
                "1"),
           RESULT("\"mine\"", "1") "\n");
}

#define SET_HDD(key, value, id) CALL("Storage.Set", "[\"hdd\",\"" key "\",\"" value "\"]", id)

static void durable_writes_share_a_commit_and_reads_wait(void **state) {
    (void)state;
    for (int backwards = 0; backwards < 2; backwards++) {
        struct asking asking;
        ask(&asking,
            "[" SET_HDD("a", "1", "1") "," SET_HDD("a", "2", "2") "," CALL(
                "Server.Ping", "[]",
                "3") ",7," TOLD("Storage.Set",
                                "[\"hdd\",\"b\",\"x\"]") "," CALL("Storage.Get", "[\"hdd\",\"a\"]",
                                                                  "4") "," SET_HDD("a", "3",
                                                                                   "5") "]" SET_HDD("c",
                                                                                                    "1",
                                                                                                    "6")
                CALL("Storage.Get", "[\"hdd\",\"a\"]", "7"));
        assert_int_equal(asking.err, ERR_PENDING);
        assert_int_equal(fake.queued, 3);
        assert_int_equal(fake.gets, 0);
        fake_come_back(backwards);
        assert_int_equal(fake.gets, 1);
        assert_int_equal(fake.queued, 2);
        assert_int_equal(asking.done_count, 0);
        fake_come_back(backwards);
        assert_int_equal(asking.done_count, 1);
        buf_append_char(&asking.out, '\0');
        char *data = strstr(asking.out.ptr, ",\"data\":{");
        memmove(data, strchr(data, '}') + 1, strlen(strchr(data, '}') + 1) + 1);
        assert_string_equal(
            asking.out.ptr,
            "[" RESULT("true", "1") "," RESULT("true", "2") "," RESULT("\"pong\"", "3") "," FAILED_(
                INVALID,
                "null") "," RESULT("\"2\"",
                                   "4") "," RESULT("true",
                                                   "5") "]\n" RESULT("true",
                                                                     "6") "\n" RESULT("\"3\"",
                                                                                      "7") "\n");
        asked(&asking);
        fake_forget();
    }
}

static void notifications_are_done_before_the_request_is(void **state) {
    (void)state;
    struct asking asking;
    ask(&asking, TOLD("Storage.Set", "[\"hdd\",\"a\",\"1\"]"));
    assert_int_equal(asking.err, ERR_PENDING);
    fake_come_back(false);
    assert_int_equal(asking.done_count, 1);
    check_answer(&asking, "");
    asked(&asking);
}

static void a_wake_before_the_return_answers_at_once(void **state) {
    (void)state;
    fake.wake_before_return = true;
    expect(SET_HDD("a", "1", "1") SET_HDD("a", "2", "2")
               CALL("Storage.Get", "[\"hdd\",\"a\"]", "3"),
           RESULT("true", "1") "\n" RESULT("true", "2") "\n" RESULT("\"2\"", "3") "\n");
}

static void nothing_runs_beside_a_parked_listing(void **state) {
    (void)state;
    struct asking asking;
    fake.park_lists = true;
    ask(&asking, CALL("Storage.List", "[\"hdd\"]", "1") SET_HDD("a", "1", "2")
                     CALL("Storage.Get", "[\"memory\",\"a\"]", "3"));
    assert_int_equal(asking.err, ERR_PENDING);
    assert_int_equal(fake.queued, 0);
    assert_int_equal(fake.gets, 0);
    fake_fill_list(fake.list);
    fake.list->done(fake.list);
    assert_int_equal(fake.queued, 1);
    assert_int_equal(fake.gets, 1);
    fake_come_back(false);
    assert_int_equal(asking.done_count, 1);
    assert_non_null(memmem(asking.out.ptr, asking.out.len, "{\"keys\":[\"a\"]}", 14));
    asked(&asking);
}

static void a_batch_of_durable_writes_is_one_wait(void **state) {
    (void)state;
    struct buf body;
    struct asking asking;
    buf_init(&body, 1U << 20);
    for (unsigned i = 0; i < 1500; i++)
        buf_printf(&body, SET_HDD("%u", "v", "%u"), i % FAKE_ENTRIES, i);
    buf_append_char(&body, '\0');
    ask(&asking, body.ptr);
    assert_int_equal(asking.err, ERR_PENDING);
    assert_int_equal(fake.queued, 1000);
    fake_come_back(true);
    assert_int_equal(fake.queued, 500);
    fake_come_back(true);
    assert_int_equal(asking.done_count, 1);
    unsigned id = 0;
    buf_append_char(&asking.out, '\0');
    for (char *line = strtok(asking.out.ptr, "\n"); line; line = strtok(NULL, "\n")) {
        char expected[128];
        snprintf(expected, sizeof expected, RESULT("true", "%u"), id++);
        assert_string_equal(line, expected);
    }
    assert_int_equal(id, 1500);
    asked(&asking);
    buf_done(&body);
}

static void answers_over_the_buffer_are_errors(void **state) {
    (void)state;
    struct asking asking;
    char body[1024];
    snprintf(body, sizeof body, CALL("Storage.Set", "[\"memory\",\"a\",\"%0500d\"]", "1"), 0);
    expect(body, RESULT("true", "1") "\n");
    ask_bytes(&asking,
              SLICE(CALL("Storage.Get", "[\"memory\",\"a\"]", "1") CALL("Server.Ping", "[]", "2")),
              400);
    assert_int_equal(rpc_run(&asking.request), OK);
    assert_non_null(memmem(asking.out.ptr, asking.out.len, "-32004", 6));
    assert_non_null(memmem(asking.out.ptr, asking.out.len, RESULT("\"pong\"", "2") "\n", 41));
    asked(&asking);
    struct buf batch;
    batch_of(&batch, 100);
    ask_bytes(&asking, slice_of_cstr(batch.ptr), 500);
    assert_int_equal(rpc_run(&asking.request), OK);
    assert_true(slice_starts_with(buf_slice(&asking.out),
                                  SLICE("{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32004")));
    asked(&asking);
    ask_bytes(&asking, slice_of_cstr(batch.ptr), 50);
    assert_int_equal(rpc_run(&asking.request), ERR_OUT_OF_MEMORY);
    assert_int_equal(asking.out.len, 0);
    asked(&asking);
    buf_done(&batch);
}

static void errors_before_any_method(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 1024);
    assert_true(rpc_append_error(&out, ERR_FORBIDDEN, "not you"));
    buf_append_char(&out, '\0');
    assert_string_equal(out.ptr,
                        "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32013,\"message\":\"FORBIDDEN: "
                        "not allowed\",\"data\":{\"detail\":\"not you\"}},\"id\":null}\n");
    buf_done(&out);
    buf_init(&out, 10);
    assert_false(rpc_append_error(&out, ERR_FORBIDDEN, NULL));
    assert_int_equal(out.len, 0);
    buf_done(&out);
}

struct committer {
    pthread_t thread;
    atomic_bool stop;
};

static void *commit_all(void *argument) {
    struct committer *committer = argument;
    while (!atomic_load(&committer->stop))
        fake_come_back(false);
    return NULL;
}

static atomic_uint finished;

static void count_done(struct rpc_request *request) {
    (void)request;
    atomic_fetch_add(&finished, 1);
}

static void wakes_come_from_another_thread(void **state) {
    (void)state;
    struct committer committer = {.stop = false};
    assert_int_equal(pthread_create(&committer.thread, NULL, commit_all, &committer), 0);
    for (unsigned i = 0; i < 2000; i++) {
        struct asking asking;
        unsigned before = atomic_load(&finished);
        ask_bytes(
            &asking,
            SLICE("[" SET_HDD("a", "1", "1") "," CALL(
                "Storage.Get", "[\"hdd\",\"a\"]",
                "2") "," SET_HDD("a", "2", "3") "," SET_HDD("b", "2",
                                                            "4") "]" CALL("Storage.Get",
                                                                          "[\"hdd\",\"a\"]", "5")
                      SET_HDD("a", "9", "6")),
            1U << 16);
        asking.request.done = count_done;
        enum err err = rpc_run(&asking.request);
        while (err == ERR_PENDING && atomic_load(&finished) == before)
            sched_yield();
        check_answer(
            &asking,
            "[" RESULT("true", "1") "," RESULT("\"1\"", "2") "," RESULT("true", "3") "," RESULT(
                "true", "4") "]\n" RESULT("\"2\"", "5") "\n" RESULT("true", "6") "\n");
        asked(&asking);
    }
    atomic_store(&committer.stop, true);
    pthread_join(committer.thread, NULL);
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
        cmocka_unit_test_teardown(params_that_do_not_fit_are_refused, forget),
        cmocka_unit_test_teardown(a_time_to_live_is_a_number_or_its_text, forget),
        cmocka_unit_test_teardown(bytes_that_are_no_text_travel_as_base64, forget),
        cmocka_unit_test_teardown(a_nul_is_a_character_like_any_other, forget),
        cmocka_unit_test_teardown(many_entries_and_keys, forget),
        cmocka_unit_test_teardown(every_failure_has_its_code, forget),
        cmocka_unit_test_teardown(a_value_over_the_limit_names_the_limit, forget),
        cmocka_unit_test_teardown(rights_are_asked_for_call_by_call, forget),
        cmocka_unit_test_teardown(a_stranger_is_told_nothing_but_that_it_is_one, forget),
        cmocka_unit_test_teardown(workspace_and_namespace_have_defaults, forget),
        cmocka_unit_test_teardown(durable_writes_share_a_commit_and_reads_wait, forget),
        cmocka_unit_test_teardown(notifications_are_done_before_the_request_is, forget),
        cmocka_unit_test_teardown(a_wake_before_the_return_answers_at_once, forget),
        cmocka_unit_test_teardown(nothing_runs_beside_a_parked_listing, forget),
        cmocka_unit_test_teardown(a_batch_of_durable_writes_is_one_wait, forget),
        cmocka_unit_test_teardown(answers_over_the_buffer_are_errors, forget),
        cmocka_unit_test_teardown(errors_before_any_method, forget),
        cmocka_unit_test_teardown(wakes_come_from_another_thread, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
