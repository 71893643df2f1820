/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "trace/record.h"

static struct trace_record record;

static int make(void **state) {
    (void)state;
    memset(&record, 0, sizeof record);
    record.context = (struct trace_context){
        .valid = true, .sampled = true, .trace_id = {0xAB, [15] = 1}, .span_id = {0xCD, [7] = 2}};
    record.kind = TRACE_SERVER;
    record.start_ns = 1700000000123456789;
    record.end_ns = 1700000000123456790;
    return 0;
}

/* The span as a parser of JSON sees it. */
static json_t *parsed(void) {
    struct buf text;
    json_error_t error;
    buf_init(&text, 1U << 20);
    assert_true(trace_record_append_json(&text, &record));
    json_t *span = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    buf_done(&text);
    assert_non_null(span);
    return span;
}

static const char *text_of(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

static void test_ids_are_hexadecimal_and_times_are_text(void **state) {
    (void)state;
    trace_record_name(&record, SLICE("a \"name\""));
    json_t *span = parsed();
    assert_string_equal(text_of(span, "traceId"), "ab000000000000000000000000000001");
    assert_string_equal(text_of(span, "spanId"), "cd00000000000002");
    assert_null(json_object_get(span, "parentSpanId"));
    assert_string_equal(text_of(span, "name"), "a \"name\"");
    assert_string_equal(text_of(span, "startTimeUnixNano"), "1700000000123456789");
    assert_string_equal(text_of(span, "endTimeUnixNano"), "1700000000123456790");
    assert_int_equal(json_integer_value(json_object_get(span, "kind")), 2);
    assert_int_equal(json_integer_value(json_object_get(span, "flags")), 1);
    assert_int_equal(json_object_size(json_object_get(span, "status")), 0);
    json_decref(span);
}

static void test_a_parent_tells_whether_it_is_remote(void **state) {
    (void)state;
    record.parent = (struct trace_context){.valid = true, .span_id = {9}};
    json_t *span = parsed();
    assert_string_equal(text_of(span, "parentSpanId"), "0900000000000000");
    assert_int_equal(json_integer_value(json_object_get(span, "flags")), 0x101);
    json_decref(span);
    record.parent_is_remote = true;
    record.failed = true;
    span = parsed();
    assert_int_equal(json_integer_value(json_object_get(span, "flags")), 0x301);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(span, "status"), "code")),
                     2);
    json_decref(span);
}

static void test_attributes_past_the_last_are_counted(void **state) {
    (void)state;
    trace_record_text(&record, "text", SLICE("\xFF no UTF-8 \x01"));
    for (unsigned i = 0; i < TRACE_ATTRIBUTES_MAX + 2; i++)
        trace_record_number(&record, "number", INT64_MIN);
    json_t *span = parsed();
    const json_t *list = json_object_get(span, "attributes");
    assert_int_equal(json_array_size(list), TRACE_ATTRIBUTES_MAX);
    assert_int_equal(json_integer_value(json_object_get(span, "droppedAttributesCount")), 3);
    const json_t *value = json_object_get(json_array_get(list, 1), "value");
    assert_string_equal(text_of(value, "intValue"), "-9223372036854775808");
    json_decref(span);
}

static void test_a_text_that_does_not_fit_is_cut_between_characters(void **state) {
    char text[TRACE_TEXT_BYTES + 2];
    (void)state;
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "\xC3\xA4", 2);
    trace_record_name(&record, SLICE("x"));
    trace_record_text(&record, "long", slice_make(text, sizeof text));
    assert_int_equal(record.attributes[0].text_len, TRACE_TEXT_BYTES - 2);
    trace_record_text(&record, "late", SLICE("yz"));
    trace_record_state(&record, SLICE("a=1"));
    assert_int_equal(record.attributes[1].text_len, 1);
    assert_int_equal(record.state_len, 0);
    json_t *span = parsed();
    assert_null(json_object_get(span, "traceState"));
    json_decref(span);
}

static void test_links_past_the_last_are_counted(void **state) {
    struct trace_context link = {.valid = true, .trace_id = {1}, .span_id = {2}};
    (void)state;
    for (unsigned i = 0; i < TRACE_LINKS_MAX + 5; i++)
        trace_record_link(&record, &link);
    json_t *span = parsed();
    const json_t *links = json_object_get(span, "links");
    assert_int_equal(json_array_size(links), TRACE_LINKS_MAX);
    assert_string_equal(text_of(json_array_get(links, 0), "spanId"), "0200000000000000");
    assert_int_equal(json_integer_value(json_object_get(span, "droppedLinksCount")), 5);
    json_decref(span);
}

static void test_nothing_is_added_to_no_record(void **state) {
    struct trace_context link = {.valid = true};
    (void)state;
    trace_record_name(NULL, SLICE("x"));
    trace_record_text(NULL, "x", SLICE("x"));
    trace_record_number(NULL, "x", 1);
    trace_record_link(NULL, &link);
    trace_record_state(NULL, SLICE("a=1"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ids_are_hexadecimal_and_times_are_text, make),
        cmocka_unit_test_setup(test_a_parent_tells_whether_it_is_remote, make),
        cmocka_unit_test_setup(test_attributes_past_the_last_are_counted, make),
        cmocka_unit_test_setup(test_a_text_that_does_not_fit_is_cut_between_characters, make),
        cmocka_unit_test_setup(test_links_past_the_last_are_counted, make),
        cmocka_unit_test(test_nothing_is_added_to_no_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
