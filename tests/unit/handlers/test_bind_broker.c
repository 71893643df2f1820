/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "handlers/bind.h"

struct fixture {
    struct core core;
    struct arena arena;
    struct call call;
};

static int set_up(void **state) {
    static struct fixture fixture;
    op_init();
    memset(&fixture, 0, sizeof fixture);
    fixture.core.payload_limit_bytes = 10;
    arena_init(&fixture.arena, 1 << 22);
    call_init(&fixture.call, &fixture.core, &auth_grant_everything, &fixture.arena, 1000);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state) {
    arena_done(&((struct fixture *)*state)->arena);
    return 0;
}

static struct call *call_of(void **state, const char *op_name) {
    struct call *call = &((struct fixture *)*state)->call;
    const struct op *op = op_find_name(slice_of_cstr(op_name));
    assert_non_null(op);
    call_set_op(call, op);
    return call;
}

static enum err bind_named(struct call *call, const char *name, struct slice text) {
    int index = bind_find_param(call->op, slice_of_cstr(name));
    assert_true(index >= 0);
    return bind_text(call, (unsigned)index, text);
}

static void test_a_name_is_utf8_without_spaces_and_control_characters(void **state) {
    struct call *call = call_of(state, "Broker.GetQueue");
    char longest[BROKER_NAME_MAX + 1];
    memset(longest, 'q', sizeof longest);
    assert_int_equal(bind_named(call, "queue", slice_make(longest, BROKER_NAME_MAX)), OK);
    assert_int_equal(bind_named(call, "queue",
                                SLICE("Gr\xC3\xBC\xC3\x9F"
                                      "e/\xE2\x82\xAC#*.")),
                     OK);
    assert_int_equal(bind_named(call, "queue", SLICE("\xC2\xA0")), OK);
    assert_int_equal(bind_named(call, "queue", slice_make(longest, sizeof longest)), ERR_SYNTAX);
    const struct slice bad[] = {
        SLICE(""),     SLICE("a b"),  SLICE("a\n"),      SLICE("a\tb"),      SLICE("a\0b"),
        SLICE("\x7F"), SLICE("\xFF"), SLICE("\xC2\x85"), SLICE("\xC2\x80x"),
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(bind_named(call, "queue", bad[i]), ERR_SYNTAX);
}

static void test_a_parameter_is_found_by_its_alias_too(void **state) {
    struct call *call = call_of(state, "Broker.GetQueue");
    assert_int_equal(bind_find_param(call->op, SLICE("name")),
                     bind_find_param(call->op, SLICE("queue")));
    call = call_of(state, "Broker.Publish");
    assert_int_equal(bind_find_param(call->op, SLICE("routing-key")),
                     bind_find_param(call->op, SLICE("key")));
}

static void test_a_routing_key_may_be_empty(void **state) {
    struct call *call = call_of(state, "Broker.Publish");
    assert_int_equal(bind_named(call, "key", SLICE("")), OK);
    assert_int_equal(bind_named(call, "key", SLICE("a b")), ERR_SYNTAX);
}

static void test_a_choice_is_one_of_its_words_whole(void **state) {
    struct call *call = call_of(state, "Broker.CreateRouter");
    assert_int_equal(bind_named(call, "type", SLICE("direct")), OK);
    assert_int_equal(call->args.router_type, ROUTER_DIRECT);
    assert_int_equal(bind_named(call, "type", SLICE("topic")), OK);
    assert_int_equal(call->args.router_type, ROUTER_TOPIC);
    assert_int_equal(bind_named(call, "type", SLICE("top")), ERR_SYNTAX);
    assert_int_equal(bind_named(call, "type", SLICE("")), ERR_SYNTAX);
    assert_int_equal(bind_named(call, "type", SLICE("direct fanout")), ERR_SYNTAX);
}

static void test_headers_are_an_object_of_limited_size(void **state) {
    struct call *call = call_of(state, "Broker.Publish");
    static char large[BROKER_HEADERS_MAX + 1];
    memset(large, ' ', sizeof large);
    large[0] = '{';
    large[BROKER_HEADERS_MAX] = '}';
    assert_int_equal(bind_named(call, "headers", slice_make(large, sizeof large)), ERR_SYNTAX);
    large[BROKER_HEADERS_MAX - 1] = '}';
    assert_int_equal(bind_named(call, "headers", slice_make(large, BROKER_HEADERS_MAX)), OK);
    assert_int_equal(bind_named(call, "headers", SLICE("[]")), ERR_SYNTAX);
    assert_int_equal(bind_named(call, "headers", SLICE("")), ERR_SYNTAX);
    assert_int_equal(bind_named(call, "headers", SLICE("{}")), OK);
    assert_int_equal(call->args.headers.len, 0);
}

static void test_settings_are_bound_as_the_parameters_of_their_names(void **state) {
    struct call *call = call_of(state, "Broker.CreateQueue");
    assert_int_equal(bind_named(call, "settings",
                                SLICE("lease=5 max-deliver=3 dead-letter=a=b overflow=drop-head")),
                     OK);
    assert_int_equal(call->args.lease_ms, 5);
    assert_int_equal(call->args.max_deliver, 3);
    assert_int_equal(call->args.overflow, OVERFLOW_DROP_HEAD);
    assert_true(slice_equal(call->args.dead_letter, SLICE("a=b")));
}

static void check_setting(void **state, const char *text, enum err expected) {
    struct call *call = call_of(state, "Broker.CreateQueue");
    assert_int_equal(bind_named(call, "queue", SLICE("q")), OK);
    assert_int_equal(bind_named(call, "settings", slice_of_cstr(text)), expected);
}

static void test_settings_that_are_none_are_refused(void **state) {
    check_setting(state, "ttl=0", OK);
    check_setting(state, "ttl", ERR_SYNTAX);
    check_setting(state, "ttl=", ERR_SYNTAX);
    check_setting(state, "=5", ERR_SYNTAX);
    check_setting(state, "nothing=5", ERR_SYNTAX);
    check_setting(state, "settings=ttl=5", ERR_SYNTAX);
    check_setting(state, "ttl=1 ttl=2", ERR_SYNTAX);
    check_setting(state, "queue=other", ERR_SYNTAX);
    check_setting(state, "name=other", ERR_SYNTAX);
    check_setting(state, "ttl=1  lease=5", ERR_SYNTAX);
    check_setting(state, "ttl=1 ", ERR_SYNTAX);
    check_setting(state, "lease=0", ERR_SYNTAX);
    check_setting(state, "max-deliver=4294967296", ERR_SYNTAX);
}

static void test_settings_take_the_rest_of_a_line(void **state) {
    (void)state;
    const struct op_words *words = op_find_verb(SLICE("CREATEQUEUE"));
    assert_true(words->rest_of_line);
    assert_int_equal(words->required, 1);
    assert_int_equal(words->count, 3);
}

static void test_receipts_are_not_judged_but_for_their_length_and_number(void **state) {
    struct call *call = call_of(state, "Broker.AckMany");
    static char text[BROKER_NAME_MAX + 1];
    assert_int_equal(bind_receipt_of_list(call, SLICE("")), OK);
    assert_int_equal(bind_receipt_of_list(call, slice_make(text, sizeof text)), ERR_SYNTAX);
    for (unsigned i = 1; i < BROKER_BATCH_MAX; i++)
        assert_int_equal(bind_receipt_of_list(call, SLICE("r r")), OK);
    assert_int_equal(call->args.key_count, BROKER_BATCH_MAX);
    assert_int_equal(bind_receipt_of_list(call, SLICE("r")), ERR_SYNTAX);
}

static void test_a_message_that_cannot_be_one_keeps_its_failure_in_the_list(void **state) {
    struct call *call = call_of(state, "Broker.PublishMany");
    struct call element;
    bind_element_begin(&element, call, bind_message_row());
    assert_int_equal(bind_named(&element, "payload", SLICE("hello")), OK);
    assert_int_equal(bind_named(&element, "priority", SLICE("9")), OK);
    assert_int_equal(bind_named(&element, "routing-key", SLICE("a.b")), OK);
    assert_int_equal(bind_message_of_list(call, &element), OK);
    bind_element_begin(&element, call, bind_message_row());
    assert_int_equal(bind_named(&element, "payload", SLICE("hello world")), ERR_VALUE_TOO_LARGE);
    assert_int_equal(bind_message_of_list(call, &element), OK);
    assert_int_equal(call->err, OK);
    assert_int_equal(call->args.message_count, 2);
    assert_int_equal(call->args.messages[0].err, OK);
    assert_int_equal(call->args.messages[0].priority, 9);
    assert_true(slice_equal(call->args.messages[0].key, SLICE("a.b")));
    assert_int_equal(call->args.messages[1].err, ERR_VALUE_TOO_LARGE);
    assert_non_null(call->args.messages[1].detail);
}

static void begin_op(struct call *element, struct call *call, struct slice name) {
    const struct op *row = bind_op_row(name);
    assert_non_null(row);
    bind_element_begin(element, call, row);
}

static void test_a_check_has_one_condition(void **state) {
    struct call *call = call_of(state, "Storage.Batch");
    struct call element;
    begin_op(&element, call, SLICE("check"));
    assert_int_equal(bind_named(&element, "key", SLICE("k")), OK);
    assert_int_equal(bind_named(&element, "etag", SLICE("900150983cd24fb0d6963f7d28e17f72")), OK);
    assert_int_equal(bind_op_of_list(call, &element), OK);
    assert_int_equal(call->args.ops[0].kind, BATCH_CHECK);
    assert_int_equal(call->args.ops[0].condition, KV_IF_ETAG);
    assert_int_equal(call->args.ops[0].etag[0], 0x90);
    begin_op(&element, call, SLICE("check"));
    assert_int_equal(bind_named(&element, "key", SLICE("k")), OK);
    assert_int_equal(bind_op_of_list(call, &element), ERR_SYNTAX);
    assert_true(call->reply.indexed);
    assert_int_equal(call->reply.index, 1);
}

static void test_an_op_that_cannot_be_one_fails_the_batch_with_its_place(void **state) {
    struct call *call = call_of(state, "Storage.Batch");
    struct call element;
    assert_null(bind_op_row(SLICE("Set")));
    begin_op(&element, call, SLICE("set"));
    assert_int_equal(bind_named(&element, "key", SLICE("")), ERR_KEY_INVALID);
    assert_int_equal(bind_op_of_list(call, &element), ERR_KEY_INVALID);
    assert_int_equal(call->err, ERR_KEY_INVALID);
    assert_true(call->reply.indexed);
    assert_int_equal(call->reply.index, 0);
}

static void test_a_batch_has_a_thousand_ops_at_most(void **state) {
    struct call *call = call_of(state, "Storage.Batch");
    struct call element;
    begin_op(&element, call, SLICE("delete"));
    assert_int_equal(bind_named(&element, "key", SLICE("k")), OK);
    for (unsigned i = 0; i < BROKER_BATCH_MAX; i++)
        assert_int_equal(bind_op_of_list(call, &element), OK);
    assert_int_equal(bind_op_of_list(call, &element), ERR_SYNTAX);
    assert_false(call->reply.indexed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_name_is_utf8_without_spaces_and_control_characters),
        TEST(test_a_parameter_is_found_by_its_alias_too),
        TEST(test_a_routing_key_may_be_empty),
        TEST(test_a_choice_is_one_of_its_words_whole),
        TEST(test_headers_are_an_object_of_limited_size),
        TEST(test_settings_are_bound_as_the_parameters_of_their_names),
        TEST(test_settings_that_are_none_are_refused),
        TEST(test_settings_take_the_rest_of_a_line),
        TEST(test_receipts_are_not_judged_but_for_their_length_and_number),
        TEST(test_a_message_that_cannot_be_one_keeps_its_failure_in_the_list),
        TEST(test_a_check_has_one_condition),
        TEST(test_an_op_that_cannot_be_one_fails_the_batch_with_its_place),
        TEST(test_a_batch_has_a_thousand_ops_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
