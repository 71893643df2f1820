/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trace/ring.h"

#define SIZE 8U
#define THREADS 4U
#define ROUNDS 5000U

static bool put(struct trace_ring *ring, int64_t number) {
    struct trace_record *record = trace_ring_claim(ring);
    if (!record)
        return false;
    record->start_ns = number;
    trace_ring_put(ring, record);
    return true;
}

static void test_what_finds_no_room_is_dropped_and_counted(void **state) {
    struct trace_ring ring;
    (void)state;
    assert_true(trace_ring_init(&ring, SIZE));
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < SIZE + 2; i++)
            assert_int_equal(put(&ring, i), i < SIZE);
        assert_int_equal(atomic_load(&ring.dropped), 2 * (round + 1));
        assert_int_equal(trace_ring_count(&ring), SIZE);
        for (unsigned i = 0; i < SIZE; i++) {
            assert_int_equal(trace_ring_first(&ring)->start_ns, i);
            trace_ring_drop_first(&ring);
        }
        assert_null(trace_ring_first(&ring));
    }
    trace_ring_done(&ring);
}

static void test_a_record_that_is_being_filled_is_not_seen_nor_what_is_behind_it(void **state) {
    struct trace_ring ring;
    (void)state;
    assert_true(trace_ring_init(&ring, SIZE));
    struct trace_record *slow = trace_ring_claim(&ring);
    assert_true(put(&ring, 2));
    assert_null(trace_ring_first(&ring));
    slow->start_ns = 1;
    trace_ring_put(&ring, slow);
    assert_int_equal(trace_ring_first(&ring)->start_ns, 1);
    trace_ring_done(&ring);
}

static void test_a_record_comes_back_empty(void **state) {
    struct trace_ring ring;
    struct trace_context link = {.valid = true};
    (void)state;
    assert_true(trace_ring_init(&ring, 1));
    struct trace_record *record = trace_ring_claim(&ring);
    trace_record_name(record, SLICE("name"));
    trace_record_number(record, "key", 1);
    trace_record_link(record, &link);
    trace_ring_put(&ring, record);
    trace_ring_drop_first(&ring);
    record = trace_ring_claim(&ring);
    assert_int_equal(record->attribute_count + record->link_count + record->text_len, 0);
    assert_false(record->failed || record->parent.valid);
    trace_ring_done(&ring);
}

static void *put_many(void *context) {
    for (int64_t i = 1; i <= (int64_t)ROUNDS; i++)
        put(context, i);
    return NULL;
}

static void test_of_many_threads_every_span_arrives_or_is_counted(void **state) {
    struct trace_ring ring;
    pthread_t threads[THREADS];
    uint64_t got = 0;
    (void)state;
    assert_true(trace_ring_init(&ring, 64));
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, &ring), 0);
    while (got + atomic_load(&ring.dropped) < THREADS * ROUNDS) {
        const struct trace_record *record = trace_ring_first(&ring);
        if (!record) {
            sched_yield();
            continue;
        }
        assert_in_range(record->start_ns, 1, ROUNDS);
        trace_ring_drop_first(&ring);
        got++;
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(got + atomic_load(&ring.dropped), THREADS * ROUNDS);
    assert_null(trace_ring_first(&ring));
    assert_true(got > 0);
    trace_ring_done(&ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_finds_no_room_is_dropped_and_counted),
        cmocka_unit_test(test_a_record_that_is_being_filled_is_not_seen_nor_what_is_behind_it),
        cmocka_unit_test(test_a_record_comes_back_empty),
        cmocka_unit_test(test_of_many_threads_every_span_arrives_or_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
