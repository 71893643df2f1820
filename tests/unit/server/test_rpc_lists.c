/* SPDX-License-Identifier: MIT */
/* Parameters of the broker's operations as JSON, over a real broker with queues on memory. */
#include "rpc_case.h"

static struct broker *broker;

static int open_broker(void **state) {
    struct broker_options options = {.manual_clock = true};
    char why[256];
    (void)state;
    return broker_open(&options, &broker, why, sizeof why) == OK ? 0 : -1;
}

static int close_broker(void **state) {
    broker_drain(broker);
    broker_close(broker);
    return forget(state);
}

static void ask_broker(struct asking *asking, const char *body) {
    ask_bytes(asking, slice_of_cstr(body), 1U << 24);
    asking->core.broker = broker;
    asking->err = rpc_run(&asking->request);
}

static void expect_of_broker(const char *body, const char *expected) {
    struct asking asking;
    ask_broker(&asking, body);
    assert_int_equal(asking.err, OK);
    check_answer(&asking, expected);
    asked(&asking);
}

#define DETAIL(code, message, detail)                                                              \
    "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":" code ",\"message\":\"" message "\",\"data\":"      \
    "{\"detail\":\"" detail "\"}},\"id\":1}\n"
#define MALFORMED(detail) DETAIL("-32602", "SYNTAX: the request is malformed", detail)
#define AT(detail, index)                                                                          \
    "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32602,\"message\":\"SYNTAX: the request is "        \
    "malformed\",\"data\":{\"detail\":\"" detail "\",\"index\":" index "}},\"id\":1}\n"
#define ASK(method, params, answer) expect_of_broker(CALL(method, params, "1"), answer)
#define DO(method, params) do_of_broker(CALL(method, params, "1"))

static void do_of_broker(const char *body) {
    struct asking asking;
    ask_broker(&asking, body);
    assert_int_equal(asking.err, OK);
    buf_append_char(&asking.out, '\0');
    assert_null(strstr(asking.out.ptr, "\"error\""));
    asked(&asking);
}

static void test_messages_of_a_list_are_told_apart(void **state) {
    (void)state;
    DO("Broker.CreateQueue", "{\"name\":\"q\",\"type\":\"memory\"}");
    ASK("Broker.PublishMany",
        "{\"router\":\"default\",\"messages\":["
        "{\"key\":\"q\",\"payload\":\"1\",\"id\":\"a\",\"priority\":\"9\"},"
        "{\"routing-key\":\"q\",\"payload\":\"/wE=\",\"encoding\":\"base64\",\"id\":\"b\"},"
        "{\"payload\":\"x\",\"bogus\":1},{\"payload\":5},{\"key\":\"q\"},7,"
        "{\"payload\":\"x\",\"priority\":10},{\"payload\":\"=\",\"encoding\":\"base64\"}]}",
        RESULT("{\"results\":[{\"id\":\"a\",\"queues\":1},{\"id\":\"b\",\"queues\":1},"
               "{\"error\":{\"code\":\"SYNTAX\",\"message\":\"there is no parameter bogus\"}},"
               "{\"error\":{\"code\":\"SYNTAX\",\"message\":\"payload is a string\"}},"
               "{\"error\":{\"code\":\"SYNTAX\",\"message\":\"payload is missing\"}},"
               "{\"error\":{\"code\":\"SYNTAX\",\"message\":\"a message is an object\"}},"
               "{\"error\":{\"code\":\"SYNTAX\",\"message\":\"priority is from 0 to 9\"}},"
               "{\"error\":{\"code\":\"SYNTAX\",\"message\":\"payload is no base64 with "
               "padding\"}}]}",
               "1") "\n");
    ASK("Broker.Peek", "[\"q\"]",
        RESULT("{\"messages\":[{\"id\":\"a\",\"attempt\":0,\"key\":\"q\",\"payload\":\"1\","
               "\"headers\":{},\"published_at\":1000},{\"id\":\"b\",\"attempt\":0,\"key\":\"q\","
               "\"payload\":\"/wE=\",\"encoding\":\"base64\",\"headers\":{},"
               "\"published_at\":1000}]}",
               "1") "\n");
}

static void test_a_list_is_an_array(void **state) {
    (void)state;
    ASK("Broker.PublishMany", "{\"router\":\"default\",\"messages\":{}}",
        MALFORMED("messages is an array"));
    ASK("Broker.PublishMany", "{\"router\":\"default\"}", MALFORMED("messages is missing"));
    ASK("Broker.AckMany", "[\"q\",\"r\"]", MALFORMED("receipts is an array"));
    ASK("Broker.AckMany", "[\"q\",[1]]", MALFORMED("a receipt is a string"));
    ASK("Broker.AckMany", "[\"q\",[]]", RESULT("{\"results\":[]}", "1") "\n");
}

static void test_headers_travel_as_they_were_said(void **state) {
    (void)state;
    DO("Broker.CreateQueue", "{\"name\":\"q\",\"type\":\"memory\"}");
    DO("Broker.Publish", "{\"router\":\"default\",\"key\":\"q\",\"payload\":\"\",\"id\":\"i\","
                         "\"headers\":{ \"b\" : [1, 2.5, null],\"a\":\"\\u0000\\u00e9\\\"\"}}");
    ASK("Broker.Peek", "[\"q\"]",
        RESULT("{\"messages\":[{\"id\":\"i\",\"attempt\":0,\"key\":\"q\",\"payload\":\"\","
               "\"headers\":{\"b\":[1,2.5,null],\"a\":\"\\u0000\xC3\xA9\\\"\"},"
               "\"published_at\":1000}]}",
               "1") "\n");
    ASK("Broker.Publish", "{\"router\":\"default\",\"payload\":\"\",\"headers\":[]}",
        MALFORMED("headers is an object"));
    ASK("Broker.Publish", "{\"router\":\"default\",\"payload\":\"\",\"headers\":\"{}\"}",
        MALFORMED("headers is an object"));
}

static void test_headers_over_the_limit_are_refused(void **state) {
    (void)state;
    struct buf body;
    struct asking asking;
    buf_init(&body, 1U << 20);
    buf_printf(&body, "{\"jsonrpc\":\"2.0\",\"method\":\"Broker.Publish\",\"params\":"
                      "{\"router\":\"default\",\"payload\":\"\",\"headers\":{\"a\":\"");
    for (unsigned i = 0; i < BROKER_HEADERS_MAX; i++)
        buf_append_char(&body, 'x');
    buf_printf(&body, "\"}},\"id\":1}%c", 0);
    ask_broker(&asking, body.ptr);
    check_answer(&asking, MALFORMED("headers has up to 65536 bytes"));
    asked(&asking);
    buf_done(&body);
}

static void test_a_parameter_that_stands_twice_is_refused(void **state) {
    (void)state;
    ASK("Broker.GetQueue", "{\"name\":\"a\",\"queue\":\"b\"}", MALFORMED("queue stands twice"));
    ASK("Broker.Publish",
        "{\"router\":\"default\",\"key\":\"a\",\"routing-key\":\"a\",\"payload\":\"\"}",
        MALFORMED("key stands twice"));
}

static void test_settings_are_for_lines(void **state) {
    (void)state;
    ASK("Broker.CreateQueue", "{\"name\":\"q\",\"settings\":\"ttl=5\"}",
        MALFORMED("there is no parameter settings"));
    ASK("Broker.CreateQueue", "{\"name\":\"q\",\"type\":\"ttl=5\"}",
        DETAIL("-32002", "STORAGE_TYPE_INVALID: the storage type is memory or hdd",
               "the storage type is memory or hdd"));
}

static void test_an_op_that_is_none_is_named_by_its_place(void **state) {
    (void)state;
    ASK("Storage.Batch", "[[{\"op\":\"set\",\"key\":\"a\",\"value\":\"b\"},{\"op\":\"sett\"}]]",
        AT("ops[1]: op is one of: set delete incr check publish ack", "1"));
    ASK("Storage.Batch", "[[5]]",
        AT("ops[0]: op is one of: set delete incr check publish ack", "0"));
    ASK("Storage.Batch", "[[{\"op\":\"check\",\"key\":\"a\",\"absent\":false}]]",
        AT("ops[0]: a check has one of etag, revision and absent", "0"));
    ASK("Storage.Batch", "[[{\"op\":\"ack\",\"queue\":\"q\"}]]",
        AT("ops[0]: receipt is missing", "0"));
    ASK("Storage.Batch", "[[{\"op\":\"delete\",\"key\":\"a\",\"value\":\"b\"}]]",
        AT("ops[0]: there is no parameter value", "0"));
}

static void test_a_batch_is_durable_or_nothing(void **state) {
    (void)state;
    ASK("Storage.Batch", "{\"ops\":[],\"type\":\"memory\"}",
        DETAIL("-32002", "STORAGE_TYPE_INVALID: the storage type is memory or hdd",
               "a batch is of type hdd"));
    ASK("Storage.Batch", "{\"ops\":[],\"type\":\"hdd\"}", RESULT("{\"results\":[]}", "1") "\n");
    ASK("Storage.Batch", "{\"ops\":[{\"op\":\"delete\",\"key\":\"a\"}]}",
        "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32007,\"message\":"
        "\"UNAVAILABLE: the server cannot do this now\",\"data\":"
        "{\"detail\":\"there is no hdd storage\",\"outcome\":\"not-applied\"}},\"id\":1}\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_broker, close_broker)

int main(void) {
    op_init();
    const struct CMUnitTest tests[] = {
        TEST(test_messages_of_a_list_are_told_apart),
        TEST(test_a_list_is_an_array),
        TEST(test_headers_travel_as_they_were_said),
        TEST(test_headers_over_the_limit_are_refused),
        TEST(test_a_parameter_that_stands_twice_is_refused),
        TEST(test_settings_are_for_lines),
        TEST(test_an_op_that_is_none_is_named_by_its_place),
        TEST(test_a_batch_is_durable_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
