/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "handlers/bind.h"
#include "handlers/render.h"

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
    arena_init(&fixture.arena, 1 << 20);
    call_init(&fixture.call, &fixture.core, &auth_grant_everything, &fixture.arena, 1000);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state) {
    arena_done(&((struct fixture *)*state)->arena);
    return 0;
}

static enum err bind_named(struct call *call, const char *name, struct slice text) {
    int index = bind_find_param(call->op, slice_of_cstr(name));
    assert_true(index >= 0);
    return bind_text(call, (unsigned)index, text);
}

static struct call *call_of(void **state, const char *op_name) {
    struct call *call = &((struct fixture *)*state)->call;
    const struct op *op = op_find_name(slice_of_cstr(op_name));
    assert_non_null(op);
    call_set_op(call, op);
    return call;
}

static void test_every_row_is_found_by_its_name_and_its_verbs(void **state) {
    (void)state;
    for (unsigned i = 0; i < op_count; i++) {
        assert_ptr_equal(op_find_name(slice_of_cstr(ops[i].name)), &ops[i]);
        for (unsigned v = 0; v < OP_VERBS_MAX && ops[i].verbs[v].verb; v++) {
            const struct op_words *words = op_find_verb(slice_of_cstr(ops[i].verbs[v].verb));
            assert_non_null(words);
            assert_ptr_equal(words->op, &ops[i]);
        }
    }
    assert_null(op_find_name(SLICE("storage.get")));
    assert_null(op_find_verb(SLICE("NOPE")));
    assert_null(op_find_verb(SLICE("")));
    assert_null(op_find_verb(SLICE("AVERYLONGVERBINDEED")));
    assert_non_null(op_find_verb(SLICE("gEt")));
}

static void test_words_of_a_verb_follow_the_line_and_know_what_is_optional(void **state) {
    (void)state;
    const struct op_words *set = op_find_verb(SLICE("SET"));
    const char *order[] = {"type", "ttl", "key", "value"};
    assert_int_equal(set->count, 4);
    assert_int_equal(set->required, 4);
    assert_true(set->rest_of_line);
    for (unsigned i = 0; i < 4; i++)
        assert_string_equal(set->op->params[set->param[i]].name, order[i]);
    const struct op_words *keys = op_find_verb(SLICE("KEYS"));
    assert_int_equal(keys->required, 1);
    assert_int_equal(keys->count, 4);
    assert_false(keys->rest_of_line);
}

static void test_a_storage_type_is_memory_or_hdd_in_lower_case(void **state) {
    struct call *call = call_of(state, "Storage.Get");
    assert_int_equal(bind_named(call, "type", SLICE("hdd")), OK);
    assert_int_equal(call->args.storage, KV_HDD);
    assert_int_equal(bind_named(call, "type", SLICE("disk")), ERR_STORAGE_TYPE_INVALID);
    assert_int_equal(bind_named(call, "type", SLICE("")), ERR_STORAGE_TYPE_INVALID);
}

static void test_keys_keep_their_bounds(void **state) {
    struct call *call = call_of(state, "Storage.Get");
    char key[KV_KEY_MAX + 1];
    memset(key, 'k', sizeof key);
    assert_int_equal(bind_named(call, "key", slice_make(key, KV_KEY_MAX)), OK);
    assert_int_equal(bind_named(call, "key", slice_make(key, KV_KEY_MAX + 1)), ERR_KEY_INVALID);
    assert_int_equal(bind_named(call, "key", SLICE("")), ERR_KEY_INVALID);
    assert_int_equal(bind_named(call, "key", slice_make("a\0b", 3)), ERR_KEY_INVALID);
}

static void test_a_value_over_the_payload_limit_is_refused(void **state) {
    struct call *call = call_of(state, "Storage.Set");
    assert_int_equal(bind_named(call, "value", SLICE("0123456789")), OK);
    assert_int_equal(bind_named(call, "value", SLICE("0123456789a")), ERR_VALUE_TOO_LARGE);
}

static void test_a_ttl_has_bounds_and_is_whole(void **state) {
    struct call *call = call_of(state, "Storage.Set");
    assert_int_equal(bind_named(call, "ttl", SLICE("0")), OK);
    assert_int_equal(bind_named(call, "ttl", SLICE("1500")), OK);
    assert_int_equal(call->args.ttl_ms, 1500);
    assert_int_equal(bind_named(call, "ttl", SLICE("-1")), ERR_SYNTAX);
    assert_int_equal(bind_named(call, "ttl", SLICE("1.5")), ERR_SYNTAX);
    assert_int_equal(bind_named(call, "ttl", SLICE("99999999999999999")), ERR_SYNTAX);
}

static void test_a_missing_required_parameter_is_named(void **state) {
    struct call *call = call_of(state, "Storage.Get");
    assert_int_equal(bind_named(call, "type", SLICE("memory")), OK);
    assert_int_equal(bind_finish(call), ERR_SYNTAX);
    assert_string_equal(call_detail(call), "key is missing");
}

static void test_two_conditions_at_once_are_refused(void **state) {
    struct call *call = call_of(state, "Storage.Set");
    assert_int_equal(bind_named(call, "type", SLICE("memory")), OK);
    assert_int_equal(bind_named(call, "key", SLICE("k")), OK);
    assert_int_equal(bind_named(call, "value", SLICE("v")), OK);
    assert_int_equal(bind_named(call, "ifRevision", SLICE("18446744073709551615")), OK);
    assert_true(call->args.if_revision == UINT64_MAX);
    assert_int_equal(bind_finish(call), OK);
    assert_int_equal(bind_named(call, "ifEtag", SLICE("900150983cd24fb0d6963f7d28e17f72")), OK);
    assert_int_equal(bind_finish(call), ERR_SYNTAX);
    assert_int_equal(bind_named(call, "ifRevision", SLICE("18446744073709551616")), ERR_SYNTAX);
}

static void test_a_cursor_goes_there_and_back_for_any_key(void **state) {
    struct call *call = call_of(state, "Storage.List");
    for (size_t len = 1; len < 40; len++) {
        char key[40];
        for (size_t i = 0; i < len; i++)
            key[i] = (char)(i * 89 + len + 1);
        struct buf text;
        buf_init(&text, 1000);
        assert_true(bind_append_cursor(&text, slice_make(key, len)));
        assert_int_equal(bind_named(call, "cursor", buf_slice(&text)), OK);
        assert_true(slice_equal(call->args.cursor, slice_make(key, len)));
        buf_done(&text);
    }
    assert_int_equal(bind_named(call, "cursor", SLICE("a")), ERR_SYNTAX);
    assert_int_equal(bind_named(call, "cursor", SLICE("a+b=")), ERR_SYNTAX);
    assert_int_equal(bind_named(call, "cursor", SLICE("")), ERR_SYNTAX);
}

static void test_a_list_of_keys_ends_at_its_limit(void **state) {
    struct call *call = call_of(state, "Storage.GetMany");
    for (unsigned i = 0; i < KV_BATCH_MAX; i++)
        assert_int_equal(bind_key_of_list(call, SLICE("key")), OK);
    assert_int_equal(call->args.key_count, KV_BATCH_MAX);
    assert_int_equal(bind_key_of_list(call, SLICE("key")), ERR_SYNTAX);
    for (unsigned i = 0; i < KV_BATCH_MAX; i++)
        assert_true(slice_equal(call->args.keys[i], SLICE("key")));
}

static void test_a_value_that_is_no_utf8_is_rendered_as_base64(void **state) {
    (void)state;
    struct buf text;
    buf_init(&text, 1000);
    assert_true(render_value(&text, SLICE("\xFF\x01")));
    assert_true(
        slice_equal(buf_slice(&text), SLICE("{\"value\":\"/wE=\",\"encoding\":\"base64\"}")));
    buf_done(&text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_every_row_is_found_by_its_name_and_its_verbs),
        TEST(test_words_of_a_verb_follow_the_line_and_know_what_is_optional),
        TEST(test_a_storage_type_is_memory_or_hdd_in_lower_case),
        TEST(test_keys_keep_their_bounds),
        TEST(test_a_value_over_the_payload_limit_is_refused),
        TEST(test_a_ttl_has_bounds_and_is_whole),
        TEST(test_a_missing_required_parameter_is_named),
        TEST(test_two_conditions_at_once_are_refused),
        TEST(test_a_cursor_goes_there_and_back_for_any_key),
        TEST(test_a_list_of_keys_ends_at_its_limit),
        TEST(test_a_value_that_is_no_utf8_is_rendered_as_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
