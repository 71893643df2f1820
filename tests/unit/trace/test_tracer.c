/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trace/export.h"

#define DRAWS 4000U

/* Port 9 discards, or nobody is there: these tests look at nothing that is sent. */
static struct tracer *open_tracer(double sample) {
    struct trace_options options = {.endpoint = "http://127.0.0.1:9",
                                    .service = "test",
                                    .version = "0",
                                    .sample = sample,
                                    .interval_ms = 60000};
    struct tracer *tracer = NULL;
    char why[200];
    assert_int_equal(trace_open(&options, &tracer, why, sizeof why), OK);
    return tracer;
}

static const struct trace_context sampled = {
    .valid = true, .sampled = true, .trace_id = {1}, .span_id = {2}};
static const struct trace_context unsampled = {.valid = true, .trace_id = {1}, .span_id = {2}};

static void test_without_a_tracer_the_context_is_passed_on(void **state) {
    struct trace_span span;
    struct trace_span child;
    (void)state;
    trace_span_begin(&span, NULL, &sampled, 1);
    assert_null(span.tracer);
    assert_memory_equal(&span.context, &sampled, sizeof sampled);
    trace_span_begin_child(&child, &span, 2);
    assert_memory_equal(&child.context, &sampled, sizeof sampled);
    trace_span_begin(&span, NULL, NULL, 1);
    assert_false(span.context.valid);
    assert_null(trace_span_end(&span, TRACE_SERVER, SLICE("x"), 3));
}

static void test_who_came_with_a_trace_has_decided(void **state) {
    struct tracer *never = open_tracer(0);
    struct tracer *always = open_tracer(1);
    struct trace_span span;
    (void)state;
    trace_span_begin(&span, never, &sampled, 1);
    assert_ptr_equal(span.tracer, never);
    assert_memory_equal(span.context.trace_id, sampled.trace_id, TRACE_ID_BYTES);
    assert_memory_not_equal(span.context.span_id, sampled.span_id, TRACE_SPAN_ID_BYTES);
    assert_true(span.parent_is_remote);
    trace_span_begin(&span, always, &unsampled, 1);
    assert_null(span.tracer);
    assert_memory_equal(&span.context, &unsampled, sizeof unsampled);
    trace_close(never, 0);
    trace_close(always, 0);
}

static void test_of_the_others_the_share_is_drawn(void **state) {
    static const double shares[] = {0, 0.25, 1};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct tracer *tracer = open_tracer(shares[i]);
        unsigned count = 0;
        for (unsigned j = 0; j < DRAWS; j++) {
            struct trace_span span;
            trace_span_begin(&span, tracer, NULL, 1);
            assert_int_equal(span.tracer != NULL, span.context.valid);
            count += span.tracer != NULL;
        }
        assert_in_range(count, (unsigned)(shares[i] * DRAWS * 0.8),
                        (unsigned)(shares[i] * DRAWS * 1.2));
        trace_close(tracer, 0);
    }
}

static void test_a_child_has_its_parents_trace_and_an_id_of_its_own(void **state) {
    struct tracer *tracer = open_tracer(1);
    struct trace_span span;
    struct trace_span child;
    (void)state;
    trace_span_begin(&span, tracer, NULL, 1);
    assert_false(span.parent.valid);
    trace_span_begin_child(&child, &span, 2);
    assert_memory_equal(child.context.trace_id, span.context.trace_id, TRACE_ID_BYTES);
    assert_memory_equal(child.parent.span_id, span.context.span_id, TRACE_SPAN_ID_BYTES);
    assert_memory_not_equal(child.context.span_id, span.context.span_id, TRACE_SPAN_ID_BYTES);
    assert_false(child.parent_is_remote);
    trace_close(tracer, 0);
}

static void test_a_span_that_ends_before_it_begins_lasts_no_time(void **state) {
    struct tracer *tracer = open_tracer(1);
    struct trace_span span;
    (void)state;
    trace_span_begin(&span, tracer, NULL, 100);
    struct trace_record *record = trace_span_end(&span, TRACE_SERVER, SLICE("x"), 50);
    assert_int_equal(record->start_ns, record->end_ns);
    trace_put(tracer, record);
    trace_close(tracer, 0);
}

static void test_what_no_collector_took_is_counted(void **state) {
    struct tracer *tracer = open_tracer(1);
    struct trace_figures figures;
    (void)state;
    for (unsigned i = 0; i < TRACE_RING_SPANS + TRACE_BATCH_SPANS + 10; i++) {
        struct trace_span span;
        trace_span_begin(&span, tracer, NULL, 1);
        trace_put(tracer, trace_span_end(&span, TRACE_SERVER, SLICE("x"), 2));
    }
    trace_figures(tracer, &figures);
    assert_int_equal(figures.exported, 0);
    assert_true(figures.dropped_full >= 10);
    assert_true(figures.waiting <= TRACE_RING_SPANS + TRACE_BATCH_SPANS);
    trace_close(tracer, 0);
}

static void test_only_what_may_succeed_later_is_tried_again(void **state) {
    static const long again[] = {0, 429, 502, 503, 504};
    static const long never[] = {200, 301, 400, 401, 404, 413, 500, 501, 505};
    (void)state;
    for (size_t i = 0; i < sizeof again / sizeof again[0]; i++)
        assert_true(trace_may_retry(again[i]));
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        assert_false(trace_may_retry(never[i]));
}

static void test_what_a_collector_did_not_take_is_in_its_answer(void **state) {
    (void)state;
    assert_int_equal(trace_rejected(SLICE("{\"partialSuccess\":{\"rejectedSpans\":\"7\"}}")), 7);
    assert_int_equal(trace_rejected(SLICE("{\"partialSuccess\":{\"rejectedSpans\":7}}")), 7);
    assert_int_equal(trace_rejected(SLICE("{\"partialSuccess\":{\"rejectedSpans\":-7}}")), 0);
    assert_int_equal(trace_rejected(SLICE("{\"partialSuccess\":{\"rejectedSpans\":\"x\"}}")), 0);
    assert_int_equal(trace_rejected(SLICE("{\"partialSuccess\":{}}")), 0);
    assert_int_equal(trace_rejected(SLICE("{\"partialSuccess\":[]}")), 0);
    assert_int_equal(trace_rejected(SLICE("{}")), 0);
    assert_int_equal(trace_rejected(SLICE("[[[")), 0);
    assert_int_equal(trace_rejected(SLICE("")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_tracer_the_context_is_passed_on),
        cmocka_unit_test(test_who_came_with_a_trace_has_decided),
        cmocka_unit_test(test_of_the_others_the_share_is_drawn),
        cmocka_unit_test(test_a_child_has_its_parents_trace_and_an_id_of_its_own),
        cmocka_unit_test(test_a_span_that_ends_before_it_begins_lasts_no_time),
        cmocka_unit_test(test_what_no_collector_took_is_counted),
        cmocka_unit_test(test_only_what_may_succeed_later_is_tried_again),
        cmocka_unit_test(test_what_a_collector_did_not_take_is_in_its_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
