/* SPDX-License-Identifier: MIT */
/* Parameters, results, failures and rights of calls. */
#include "rpc_case.h"

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
        assert_int_equal(refused, signed_in ? 2 : 4);
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
        CALL("Server.Ping", "[]", "1"),
        CALL("Server.Ping", "7", "1"),
        "[]",
        "{",
    };
    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        ask_bytes(&asking, slice_of_cstr(calls[i]), 1U << 16);
        asking.request.grant = &auth_grant_nothing;
        assert_int_equal(rpc_run(&asking.request), OK);
        assert_non_null(memmem(asking.out.ptr, asking.out.len, "-32013", 6));
        assert_non_null(memmem(asking.out.ptr, asking.out.len, "AUTH_REQUIRED", 13));
        asked(&asking);
    }
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

int main(void) {
    op_init();
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
