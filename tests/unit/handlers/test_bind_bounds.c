/* SPDX-License-Identifier: MIT */
/* Every kind of parameter at its bounds, in every row that has one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/broker.h"
#include "handlers/bind.h"

static struct core core = {.payload_limit_bytes = 10};
static struct arena arena;
static struct call call;

static int set_up(void **state) {
    (void)state;
    op_init();
    arena_init(&arena, 1 << 20);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_done(&arena);
    return 0;
}

/* A copy of its own length, so that a byte read too far is found. */
static enum err bind_exact(unsigned index, struct slice text) {
    char *copy = malloc(text.len ? text.len : 1);
    assert_non_null(copy);
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    enum err err = bind_text(&call, index, slice_make(copy, text.len));
    free(copy);
    return err;
}

static void begin(const struct op *op) {
    call_init(&call, &core, &auth_grant_everything, &arena, 1000);
    call_set_op(&call, op);
}

/* How often a row has a parameter of the type: in each, the text is good or not. */
static unsigned judge(enum param_type type, struct slice text, bool good) {
    unsigned count = 0;
    for (unsigned i = 0; i < op_count; i++)
        for (unsigned p = 0; p < ops[i].param_count; p++) {
            if (ops[i].params[p].type != type)
                continue;
            begin(&ops[i]);
            enum err err = bind_exact(p, text);
            if ((err == OK) != good)
                fail_msg("%s of %s: `%.*s` is %s", ops[i].params[p].name, ops[i].name,
                         (int)text.len, text.len ? text.ptr : "", err ? "refused" : "taken");
            assert_int_equal((call.args.given >> p & 1U) != 0, good);
            assert_true(good || (call.err == err && call_detail(&call)[0]));
            count++;
        }
    return count;
}

#define GOOD(type, text) assert_true(judge(type, SLICE(text), true) > 0)
#define BAD(type, text) assert_true(judge(type, SLICE(text), false) > 0)

static void test_true_and_false_are_said_in_four_ways(void **state) {
    (void)state;
    GOOD(PARAM_BOOL, "true");
    GOOD(PARAM_BOOL, "false");
    GOOD(PARAM_BOOL, "1");
    GOOD(PARAM_BOOL, "0");
    BAD(PARAM_BOOL, "");
    BAD(PARAM_BOOL, "TRUE");
    BAD(PARAM_BOOL, "yes");
    BAD(PARAM_BOOL, "2");
    BAD(PARAM_BOOL, "true\0");
}

static void test_a_revision_is_a_number_of_64_bits(void **state) {
    (void)state;
    GOOD(PARAM_REVISION, "0");
    GOOD(PARAM_REVISION, "9007199254740993");
    GOOD(PARAM_REVISION, "9223372036854775808");
    GOOD(PARAM_REVISION, "18446744073709551615");
    BAD(PARAM_REVISION, "18446744073709551616");
    BAD(PARAM_REVISION, "18446744073709551620");
    BAD(PARAM_REVISION, "99999999999999999999");
    BAD(PARAM_REVISION, "000000000000000000001");
    BAD(PARAM_REVISION, "");
    BAD(PARAM_REVISION, "-1");
    BAD(PARAM_REVISION, "+1");
    BAD(PARAM_REVISION, "1.0");
    BAD(PARAM_REVISION, "1:");
    BAD(PARAM_REVISION, "1/");
    BAD(PARAM_REVISION, "1\0");
}

static void test_a_whole_number_is_one_in_its_only_form(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "1e3",
                                      "0x1",
                                      "00",
                                      "01",
                                      "-0",
                                      "+1",
                                      "--1",
                                      "-",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_true(judge(PARAM_INT, slice_of_cstr(bad[i]), false) > 0);
}

static void test_each_number_ends_at_the_bounds_of_its_row(void **state) {
    (void)state;
    unsigned count = 0;
    for (unsigned i = 0; i < op_count; i++)
        for (unsigned p = 0; p < ops[i].param_count; p++) {
            const struct param *param = &ops[i].params[p];
            char text[32];
            if (param->type != PARAM_INT)
                continue;
            const int64_t in[] = {param->min, param->max};
            for (unsigned side = 0; side < 2; side++, count++) {
                begin(&ops[i]);
                snprintf(text, sizeof text, "%lld", (long long)in[side]);
                assert_int_equal(bind_exact(p, slice_of_cstr(text)), OK);
                assert_int_equal(bind_int(&call, p, in[side]), OK);
                int64_t out;
                if (__builtin_add_overflow(in[side], side ? 1 : -1, &out))
                    continue;
                begin(&ops[i]);
                assert_int_equal(bind_int(&call, p, out), ERR_SYNTAX);
                assert_non_null(strstr(call_detail(&call), param->name));
            }
        }
    assert_true(count > 20);
}

static void test_a_value_of_json_fits_its_parameter(void **state) {
    (void)state;
    unsigned bools = 0, numbers = 0;
    for (unsigned i = 0; i < op_count; i++)
        for (unsigned p = 0; p < ops[i].param_count; p++) {
            enum param_type type = ops[i].params[p].type;
            begin(&ops[i]);
            enum err err = bind_bool(&call, p, true);
            assert_int_equal(err == OK, type == PARAM_BOOL);
            bools += err == OK;
            begin(&ops[i]);
            err = bind_int(&call, p, -1);
            assert_true(err == ERR_SYNTAX || (type == PARAM_INT && ops[i].params[p].min < 0));
            begin(&ops[i]);
            err = bind_int(&call, p, INT64_MAX);
            assert_true(err == ERR_SYNTAX || type == PARAM_INT || type == PARAM_REVISION);
            numbers += err == OK;
        }
    assert_true(bools > 0 && numbers > 0);
}

static void test_a_structure_is_no_text(void **state) {
    (void)state;
    static const enum param_type types[] = {PARAM_KEYS, PARAM_ENTRIES, PARAM_RECEIPTS,
                                            PARAM_MESSAGES, PARAM_OPS};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        assert_true(judge(types[i], SLICE("[]"), false) > 0);
}

static void test_names_and_prefixes_end_at_their_lengths(void **state) {
    (void)state;
    static char text[8200];
    memset(text, 'n', sizeof text);
    assert_true(judge(PARAM_NAMESPACE, slice_make(text, KV_NAMESPACE_MAX), true) > 0);
    assert_true(judge(PARAM_NAMESPACE, slice_make(text, KV_NAMESPACE_MAX + 1), false) > 0);
    BAD(PARAM_NAMESPACE, "");
    BAD(PARAM_NAMESPACE, "a\0b");
    BAD(PARAM_NAMESPACE, "a\xff");
    BAD(PARAM_NAMESPACE, "\xed\xa0\x80"); /* a surrogate */
    BAD(PARAM_NAMESPACE, "\xc0\xaf");     /* an overlong slash */
    GOOD(PARAM_NAMESPACE, "\xf4\x8f\xbf\xbf");
    BAD(PARAM_NAMESPACE, "\xf4\x90\x80\x80"); /* behind the last one */
    GOOD(PARAM_PREFIX, "");
    assert_true(judge(PARAM_PREFIX, slice_make(text, KV_KEY_MAX), true) > 0);
    assert_true(judge(PARAM_PREFIX, slice_make(text, KV_KEY_MAX + 1), false) > 0);
    BAD(PARAM_PREFIX, "a\0");
    assert_true(judge(PARAM_KEY, slice_make(text, KV_KEY_MAX), true) > 0);
    assert_true(judge(PARAM_KEY, slice_make(text, KV_KEY_MAX + 1), false) > 0);
    GOOD(PARAM_WORKSPACE, "11111111-2222-3333-4444-55555555555F");
    BAD(PARAM_WORKSPACE, "11111111-2222-3333-4444-55555555555");
    BAD(PARAM_WORKSPACE, "");
    GOOD(PARAM_ENCODING, "utf-8");
    GOOD(PARAM_ENCODING, "base64");
    BAD(PARAM_ENCODING, "UTF-8");
    BAD(PARAM_ENCODING, "");
    BAD(PARAM_CHOICE, "");
    BAD(PARAM_CHOICE, "nonsense");
}

static void test_a_cursor_is_as_long_as_a_key_and_decodes(void **state) {
    (void)state;
    static char text[2 * KV_KEY_MAX + 2];
    memset(text, 'A', sizeof text);
    size_t longest = (KV_KEY_MAX * 4 + 2) / 3;
    assert_true(judge(PARAM_CURSOR, slice_make(text, longest), true) > 0);
    assert_true(judge(PARAM_CURSOR, slice_make(text, longest + 2), false) > 0);
    assert_true(judge(PARAM_CURSOR, slice_make(text, 2 * KV_KEY_MAX + 1), false) > 0);
    BAD(PARAM_CURSOR, "");
    BAD(PARAM_CURSOR, "A");
    BAD(PARAM_CURSOR, "AB"); /* bits that say nothing have one spelling */
    GOOD(PARAM_CURSOR, "AA");
    BAD(PARAM_CURSOR, "AA==");
    BAD(PARAM_CURSOR, "AA+/");
}

static void test_an_etag_is_32_digits(void **state) {
    (void)state;
    GOOD(PARAM_ETAG, "0123456789abcdefABCDEF0123456789");
    BAD(PARAM_ETAG, "0123456789abcdefABCDEF012345678");
    BAD(PARAM_ETAG, "0123456789abcdefABCDEF01234567890");
    BAD(PARAM_ETAG, "0123456789abcdefABCDEF012345678g");
    BAD(PARAM_ETAG, "01234567-89ab-cdef-ABCD-EF012345");
    BAD(PARAM_ETAG, "");
}

static int param_of(const char *op, const char *name) {
    begin(op_find_name(slice_of_cstr(op)));
    int index = bind_find_param(call.op, slice_of_cstr(name));
    assert_true(index >= 0);
    return index;
}

static void test_so_many_etags_and_no_more(void **state) {
    (void)state;
    unsigned index = (unsigned)param_of("Storage.Set", "ifEtag");
    for (unsigned i = 0; i < OP_ETAGS_MAX; i++)
        assert_int_equal(bind_text(&call, index, SLICE("0123456789abcdefABCDEF0123456789")), OK);
    assert_int_equal(call.args.etag_count, OP_ETAGS_MAX);
    assert_int_equal(bind_text(&call, index, SLICE("0123456789abcdefABCDEF0123456789")),
                     ERR_SYNTAX);
    assert_int_equal(call.args.etag_count, OP_ETAGS_MAX);
}

static void test_lists_end_at_their_limits(void **state) {
    (void)state;
    struct slice key = SLICE("k");
    begin(op_find_name(SLICE("Storage.SetMany")));
    for (unsigned i = 0; i < KV_BATCH_MAX; i++) {
        assert_int_equal(bind_entry(&call, key, SLICE("v"), 0), OK);
        assert_int_equal(bind_key_of_list(&call, key), OK);
    }
    assert_int_equal(bind_entry(&call, key, SLICE("v"), 0), ERR_SYNTAX);
    assert_int_equal(bind_key_of_list(&call, key), ERR_SYNTAX);
    assert_int_equal(call.args.entry_count, KV_BATCH_MAX);
    begin(op_find_name(SLICE("Storage.SetMany")));
    assert_int_equal(bind_entry(&call, SLICE(""), SLICE("v"), 0), ERR_KEY_INVALID);
    assert_int_equal(bind_entry(&call, key, SLICE("0123456789a"), 0), ERR_VALUE_TOO_LARGE);
    assert_int_equal(bind_entry(&call, key, SLICE("0123456789"), 0), OK);
    begin(op_find_name(SLICE("Broker.Ack")));
    static char receipt[BROKER_NAME_MAX + 1];
    assert_int_equal(bind_receipt_of_list(&call, slice_make(receipt, sizeof receipt)), ERR_SYNTAX);
    for (unsigned i = 0; i < BROKER_BATCH_MAX; i++)
        assert_int_equal(bind_receipt_of_list(&call, slice_make(receipt, sizeof receipt - 1)), OK);
    assert_int_equal(bind_receipt_of_list(&call, key), ERR_SYNTAX);
    struct call element;
    bind_element_begin(&element, &call, bind_message_row());
    for (unsigned i = 0; i < BROKER_BATCH_MAX; i++)
        assert_int_equal(bind_message_of_list(&call, &element), OK);
    assert_int_equal(bind_message_of_list(&call, &element), ERR_SYNTAX);
    assert_int_equal(call.args.message_count, BROKER_BATCH_MAX);
}

/* An arena that has no room left: a clear failure, and nothing is counted that is not there. */
static void test_without_memory_a_list_does_not_grow(void **state) {
    (void)state;
    struct arena none;
    struct call element;
    struct slice etag = SLICE("0123456789abcdefABCDEF0123456789");
    arena_init(&none, 0);
    call_init(&call, &core, &auth_grant_everything, &none, 1000);
    call_set_op(&call, op_find_name(SLICE("Storage.Set")));
    int index = bind_find_param(call.op, SLICE("ifEtag"));
    assert_true(index >= 0);
    assert_int_equal(bind_text(&call, (unsigned)index, etag), ERR_OUT_OF_MEMORY);
    assert_int_equal(bind_key_of_list(&call, SLICE("k")), ERR_OUT_OF_MEMORY);
    assert_int_equal(bind_entry(&call, SLICE("k"), SLICE("v"), 0), ERR_OUT_OF_MEMORY);
    assert_int_equal(bind_receipt_of_list(&call, SLICE("r")), ERR_OUT_OF_MEMORY);
    bind_element_begin(&element, &call, bind_message_row());
    assert_int_equal(bind_message_of_list(&call, &element), ERR_OUT_OF_MEMORY);
    bind_element_begin(&element, &call, bind_op_row(SLICE("set")));
    assert_int_equal(bind_op_of_list(&call, &element), ERR_OUT_OF_MEMORY);
    assert_int_equal(call.args.etag_count + call.args.key_count + call.args.entry_count +
                         call.args.message_count + call.args.op_count,
                     0);
    arena_done(&none);
}

static void test_headers_are_an_object_of_a_length(void **state) {
    (void)state;
    static char text[BROKER_HEADERS_MAX + 1];
    memset(text, ' ', sizeof text);
    text[0] = '{';
    text[BROKER_HEADERS_MAX - 1] = '}';
    assert_true(judge(PARAM_HEADERS, slice_make(text, BROKER_HEADERS_MAX), true) > 0);
    text[BROKER_HEADERS_MAX] = '}';
    assert_true(judge(PARAM_HEADERS, slice_make(text, BROKER_HEADERS_MAX + 1), false) > 0);
    GOOD(PARAM_HEADERS, "{}");
    BAD(PARAM_HEADERS, "{");
    BAD(PARAM_HEADERS, "");
    BAD(PARAM_HEADERS, "[}");
    BAD(PARAM_HEADERS, "{]");
    BAD(PARAM_HEADERS, "{\"a\":\"\xff\"}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_true_and_false_are_said_in_four_ways),
        TEST(test_a_revision_is_a_number_of_64_bits),
        TEST(test_a_whole_number_is_one_in_its_only_form),
        TEST(test_each_number_ends_at_the_bounds_of_its_row),
        TEST(test_a_value_of_json_fits_its_parameter),
        TEST(test_a_structure_is_no_text),
        TEST(test_names_and_prefixes_end_at_their_lengths),
        TEST(test_a_cursor_is_as_long_as_a_key_and_decodes),
        TEST(test_an_etag_is_32_digits),
        TEST(test_so_many_etags_and_no_more),
        TEST(test_lists_end_at_their_limits),
        TEST(test_without_memory_a_list_does_not_grow),
        TEST(test_headers_are_an_object_of_a_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
