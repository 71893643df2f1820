/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "handlers/headers.h"
#include "handlers/spans.h"

#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define PARENT_MEMBER_BYTES 72U /* "traceparent":"…" and a comma */

static struct core core;
static struct arena arena;
static struct call call;
static char large[BROKER_HEADERS_MAX];

/* A publish with headers, of a caller with a trace. */
static void begin(struct slice headers, size_t arena_bytes) {
    struct trace_context brought;
    assert_true(trace_context_parse(SLICE(PARENT), &brought));
    arena_init(&arena, arena_bytes);
    call_init(&call, &core, &auth_grant_everything, &arena, 0);
    call_set_op(&call, op_find_name(SLICE("Broker.Publish")));
    call.args.headers = headers;
    trace_span_begin(&call.span, NULL, &brought, 0);
    atomic_store(&core.traces_left_out, 0);
}

/* Headers of so many bytes. */
static struct slice headers_of(size_t len) {
    memset(large, 'x', len);
    memcpy(large, "{\"h\":\"", 6);
    memcpy(large + len - 2, "\"}", 2);
    return slice_make(large, len);
}

static void test_a_message_gets_the_trace_once_however_often_it_is_tried(void **state) {
    (void)state;
    begin(SLICE(""), 1U << 20);
    for (unsigned i = 0; i < 3; i++)
        spans_begin_publish(&call);
    assert_true(slice_equal(call.args.headers, SLICE("{\"traceparent\":\"" PARENT "\"}")));
    spans_end_publish(&call, SLICE("id"));
    arena_done(&arena);
}

static void test_the_callers_tracestate_goes_along_escaped(void **state) {
    (void)state;
    begin(SLICE("{\"a\":1}"), 1U << 20);
    call.trace_state = SLICE("k=\"\\");
    spans_begin_publish(&call);
    assert_true(slice_equal(call.args.headers, SLICE("{\"traceparent\":\"" PARENT
                                                     "\",\"tracestate\":\"k=\\\"\\\\\",\"a\":1}")));
    arena_done(&arena);
}

static void test_a_message_that_brings_a_trace_keeps_it(void **state) {
    struct slice own = SLICE("{\"TRACEPARENT\":7}");
    (void)state;
    begin(own, 1U << 20);
    spans_begin_publish(&call);
    assert_ptr_equal(call.args.headers.ptr, own.ptr);
    assert_int_equal(atomic_load(&core.traces_left_out), 0);
    arena_done(&arena);
}

static void test_where_there_is_no_room_headers_stay_and_it_is_counted(void **state) {
    (void)state;
    begin(headers_of(BROKER_HEADERS_MAX - PARENT_MEMBER_BYTES), 4U << 20);
    spans_begin_publish(&call);
    assert_int_equal(call.args.headers.len, BROKER_HEADERS_MAX);
    arena_done(&arena);
    begin(headers_of(BROKER_HEADERS_MAX - PARENT_MEMBER_BYTES + 1), 4U << 20);
    spans_begin_publish(&call);
    assert_ptr_equal(call.args.headers.ptr, large);
    assert_int_equal(atomic_load(&core.traces_left_out), 1);
    arena_done(&arena);
}

static void test_the_tracestate_gives_way_before_the_traceparent(void **state) {
    struct slice text;
    (void)state;
    begin(headers_of(BROKER_HEADERS_MAX - PARENT_MEMBER_BYTES - 3), 4U << 20);
    call.trace_state = SLICE("a=b");
    spans_begin_publish(&call);
    assert_true(headers_find(call.args.headers, SLICE("traceparent"), &text));
    assert_false(headers_find(call.args.headers, SLICE("tracestate"), &text));
    assert_int_equal(atomic_load(&core.traces_left_out), 0);
    arena_done(&arena);
}

static void test_memory_that_a_call_may_need_is_not_taken(void **state) {
    (void)state;
    begin(SLICE(""), 65536);
    assert_non_null(arena_alloc(&arena, 32768));
    spans_begin_publish(&call);
    assert_int_equal(call.args.headers.len, 0);
    assert_int_equal(atomic_load(&core.traces_left_out), 1);
    arena_done(&arena);
}

static void test_without_a_trace_nothing_is_added(void **state) {
    (void)state;
    begin(SLICE(""), 1U << 20);
    trace_span_clear(&call.span);
    spans_begin_publish(&call);
    assert_int_equal(call.args.headers.len, 0);
    arena_done(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_gets_the_trace_once_however_often_it_is_tried),
        cmocka_unit_test(test_the_callers_tracestate_goes_along_escaped),
        cmocka_unit_test(test_a_message_that_brings_a_trace_keeps_it),
        cmocka_unit_test(test_where_there_is_no_room_headers_stay_and_it_is_counted),
        cmocka_unit_test(test_the_tracestate_gives_way_before_the_traceparent),
        cmocka_unit_test(test_memory_that_a_call_may_need_is_not_taken),
        cmocka_unit_test(test_without_a_trace_nothing_is_added),
    };
    op_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
