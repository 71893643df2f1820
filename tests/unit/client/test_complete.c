/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/complete.h"
#include "handlers/op.h"

static struct arena arena;
static struct completion completion;

static void complete(const char *line) {
    arena_done(&arena);
    arena_init(&arena, 1U << 20);
    complete_line(slice_of_cstr(line), &arena, &completion);
}

static bool offers(const char *word) {
    for (unsigned i = 0; i < completion.count; i++)
        if (slice_equal(completion.words[i], slice_of_cstr(word)))
            return true;
    return false;
}

static const char *hint(const char *line) {
    static char text[200];
    struct buf to;
    buf_init(&to, sizeof text - 1);
    complete_hint(slice_of_cstr(line), &to);
    snprintf(text, sizeof text, "%.*s", (int)to.len, to.ptr ? to.ptr : "");
    buf_done(&to);
    return text;
}

static void test_an_empty_line_offers_every_verb_but_no_alias(void **state) {
    (void)state;
    complete("");
    unsigned listed = 0;
    for (unsigned i = 0; i < op_count; i++)
        for (unsigned v = 0; v < OP_VERBS_MAX && ops[i].verbs[v].verb; v++)
            if (ops[i].verbs[v].doc) {
                assert_true(offers(ops[i].verbs[v].verb));
                listed++;
            }
    assert_true(listed > 30);
    assert_true(completion.count > listed);
    assert_true(offers("USE"));
    assert_true(offers("SUBSCRIBE"));
    assert_false(offers("CREATE_QUEUE"));
}

static void test_a_verb_is_found_in_any_case(void **state) {
    (void)state;
    complete("sub");
    assert_int_equal(completion.count, 1);
    assert_true(offers("SUBSCRIBE"));
    complete("SE");
    assert_true(offers("SET"));
    assert_true(offers("SETB"));
    assert_false(offers("GET"));
    assert_int_equal(complete_common(&completion).len, 3);
}

static void test_a_storage_type_is_one_of_two(void **state) {
    (void)state;
    complete("SET ");
    assert_int_equal(completion.count, 2);
    assert_true(offers("memory"));
    complete("set h");
    assert_int_equal(completion.count, 1);
    assert_true(offers("hdd"));
    complete("SET hdd ");
    assert_int_equal(completion.count, 0);
    assert_non_null(completion.doc);
}

static void test_choices_of_a_row_are_offered(void **state) {
    (void)state;
    complete("CREATEROUTER r t");
    assert_int_equal(completion.count, 1);
    assert_true(offers("topic"));
}

static void test_settings_are_offered_by_name_then_by_value(void **state) {
    (void)state;
    complete("CREATEQUEUE jobs ");
    assert_true(offers("hdd"));
    assert_true(offers("lease="));
    assert_true(offers("overflow="));
    assert_false(offers("settings="));
    assert_false(offers("queue="));
    complete("CREATEQUEUE jobs hdd lease=5 over");
    assert_int_equal(completion.count, 1);
    complete("CREATEQUEUE jobs overflow=d");
    assert_int_equal(completion.count, 1);
    assert_true(offers("overflow=drop-head"));
    complete("CREATEQUEUE ");
    assert_int_equal(completion.count, 0);
}

static void test_names_are_asked_for_where_names_stand(void **state) {
    (void)state;
    complete("RECEIVE ");
    assert_int_equal(completion.names, NAMES_QUEUES);
    complete("SUBSCRIBE j");
    assert_int_equal(completion.names, NAMES_QUEUES);
    complete("BIND ");
    assert_int_equal(completion.names, NAMES_ROUTERS);
    complete("BIND r ");
    assert_int_equal(completion.names, NAMES_QUEUES);
    complete("GET memory a");
    assert_int_equal(completion.names, NAMES_KEYS);
    assert_true(slice_equal(completion.storage, SLICE("memory")));
    complete("PING ");
    assert_int_equal(completion.names, NAMES_NONE);
    complete("NOSUCH ");
    assert_int_equal(completion.names, NAMES_NONE);
}

static void test_names_of_a_server_are_taken_only_where_they_can_be_typed(void **state) {
    (void)state;
    complete("GET hdd a");
    complete_add_json(&completion, &arena,
                      SLICE("{\"keys\":[\"ab\",\"b\",\"a b\",\"a\\u001b\",\"a\\n\",1,null]}"));
    assert_int_equal(completion.count, 1);
    assert_true(offers("ab"));
    complete_add_json(&completion, &arena, SLICE("no json"));
    complete_add_json(&completion, &arena, SLICE("[\"ac\"]"));
    assert_int_equal(completion.count, 2);
    assert_int_equal(complete_common(&completion).len, 1);
}

static void test_more_names_than_there_is_room_for_are_left_out(void **state) {
    (void)state;
    complete("GET hdd ");
    for (unsigned i = 0; i < 2 * COMPLETE_MAX; i++)
        complete_add(&completion, SLICE("k"));
    assert_int_equal(completion.count, COMPLETE_MAX);
}

static void test_a_hint_has_the_words_that_are_still_to_come(void **state) {
    (void)state;
    assert_string_equal(hint("SET "), "<type> <ttl> <key> <value>");
    assert_string_equal(hint("set hdd"), "<ttl> <key> <value>");
    assert_string_equal(hint("SET hdd 0 "), "<key> <value>");
    assert_string_equal(hint("SET hdd 0 a b"), "");
    assert_string_equal(hint("SET hdd 0 a b c d e f"), "");
    assert_string_equal(hint("KEYS hdd "), "[prefix] [limit] [cursor]");
    assert_string_equal(hint("USE "), "[<workspace>/]<namespace>");
    assert_string_equal(hint("SUBSCRIBE "), "<queue> [prefetch]");
    assert_string_equal(hint("SE"), "");
    assert_string_equal(hint(""), "");
    assert_string_equal(hint("NOSUCH a "), "");
}

static void test_the_words_of_a_watch_are_known(void **state) {
    (void)state;
    complete("WATCH h");
    assert_true(offers("hdd") && !offers("memory"));
    complete("WATCH hdd us");
    assert_int_equal(completion.names, NAMES_KEYS);
    assert_true(slice_equal(completion.storage, SLICE("hdd")));
    complete("WATCH hdd user/ ");
    assert_true(offers("values") && offers("since="));
    complete("UNWATCH hdd user/ ");
    assert_int_equal(completion.count, 0);
    assert_string_equal(hint("WATCH hdd "), "[prefix] [since=<revision>] [values]");
}

int main(void) {
    op_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_words_of_a_watch_are_known),
        cmocka_unit_test(test_an_empty_line_offers_every_verb_but_no_alias),
        cmocka_unit_test(test_a_verb_is_found_in_any_case),
        cmocka_unit_test(test_a_storage_type_is_one_of_two),
        cmocka_unit_test(test_choices_of_a_row_are_offered),
        cmocka_unit_test(test_settings_are_offered_by_name_then_by_value),
        cmocka_unit_test(test_names_are_asked_for_where_names_stand),
        cmocka_unit_test(test_names_of_a_server_are_taken_only_where_they_can_be_typed),
        cmocka_unit_test(test_more_names_than_there_is_room_for_are_left_out),
        cmocka_unit_test(test_a_hint_has_the_words_that_are_still_to_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
