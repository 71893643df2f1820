/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/metrics.h"

#define THREADS 80U /* more than have cells of their own */
#define ROUNDS 10000U

static const struct metrics_bounds bounds = {3, {10, 100, 1000}};

static void test_a_value_on_a_bound_belongs_to_that_bucket(void **state) {
    (void)state;
    assert_int_equal(metrics_bucket(&bounds, 0), 0);
    assert_int_equal(metrics_bucket(&bounds, 10), 0);
    assert_int_equal(metrics_bucket(&bounds, 11), 1);
    assert_int_equal(metrics_bucket(&bounds, 1000), 2);
    assert_int_equal(metrics_bucket(&bounds, 1001), 3);
    assert_int_equal(metrics_bucket(&bounds, UINT64_MAX), 3);
}

static void test_a_histogram_keeps_counts_and_the_sum(void **state) {
    struct metrics_histogram histogram = {0};
    struct metrics_counts counts;
    (void)state;
    metrics_observe(&histogram, &bounds, 5);
    metrics_observe(&histogram, &bounds, 10);
    metrics_observe(&histogram, &bounds, 500);
    metrics_observe(&histogram, &bounds, 5000);
    metrics_histogram_read(&histogram, &counts);
    assert_int_equal(counts.buckets[0], 2);
    assert_int_equal(counts.buckets[1], 0);
    assert_int_equal(counts.buckets[2], 1);
    assert_int_equal(counts.buckets[3], 1);
    assert_int_equal(counts.sum, 5515);
}

static void test_cells_lie_on_cache_lines_of_their_own(void **state) {
    struct metrics *metrics = metrics_open(3);
    (void)state;
    struct metrics_shard *shard = metrics_shard(metrics);
    assert_int_equal((uintptr_t)shard % 64, 0);
    assert_int_equal((uintptr_t)shard->cells % 64, 0);
    assert_ptr_equal(metrics_shard(metrics), shard);
    metrics_close(metrics);
}

static void test_a_gauge_goes_down_as_it_went_up(void **state) {
    struct metrics *metrics = metrics_open(2);
    (void)state;
    metrics_add(metrics_shard(metrics), 1, 5);
    metrics_add(metrics_shard(metrics), 1, 0 - (uint64_t)5);
    assert_int_equal(metrics_read(metrics, 1), 0);
    assert_int_equal(metrics_read(metrics, 0), 0);
    metrics_close(metrics);
}

static void test_a_second_set_does_not_write_into_the_first(void **state) {
    struct metrics *first = metrics_open(1);
    (void)state;
    metrics_add(metrics_shard(first), 0, 1);
    struct metrics *second = metrics_open(1);
    metrics_add(metrics_shard(second), 0, 10);
    metrics_add(metrics_shard(first), 0, 2);
    assert_int_equal(metrics_read(first, 0), 3);
    assert_int_equal(metrics_read(second, 0), 10);
    metrics_close(second);
    metrics_close(first);
}

static void test_without_a_set_there_are_no_cells(void **state) {
    (void)state;
    assert_null(metrics_shard(NULL));
    metrics_close(NULL);
}

static void *add_up(void *context) {
    struct metrics *metrics = context;
    for (unsigned i = 0; i < ROUNDS; i++)
        metrics_add(metrics_shard(metrics), i % 2, 1);
    return NULL;
}

/* A reader beside them sees sums that only grow. */
static void test_nothing_is_lost_among_more_threads_than_have_cells(void **state) {
    struct metrics *metrics = metrics_open(2);
    pthread_t threads[THREADS];
    uint64_t before = 0;
    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_up, metrics), 0);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t now = metrics_read(metrics, 0);
        assert_true(now >= before);
        before = now;
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metrics_read(metrics, 0), THREADS * ROUNDS / 2);
    assert_int_equal(metrics_read(metrics, 1), THREADS * ROUNDS / 2);
    metrics_close(metrics);
}

struct observing {
    struct metrics_histogram histogram;
};

static void *observe(void *context) {
    struct observing *observing = context;
    for (unsigned i = 0; i < ROUNDS; i++)
        metrics_observe(&observing->histogram, &bounds, 50);
    return NULL;
}

static void test_several_threads_share_a_histogram(void **state) {
    struct observing observing = {0};
    struct metrics_counts counts;
    pthread_t threads[4];
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, observe, &observing), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    metrics_histogram_read(&observing.histogram, &counts);
    assert_int_equal(counts.buckets[1], 4 * ROUNDS);
    assert_int_equal(counts.sum, 4 * ROUNDS * 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_on_a_bound_belongs_to_that_bucket),
        cmocka_unit_test(test_a_histogram_keeps_counts_and_the_sum),
        cmocka_unit_test(test_cells_lie_on_cache_lines_of_their_own),
        cmocka_unit_test(test_a_gauge_goes_down_as_it_went_up),
        cmocka_unit_test(test_a_second_set_does_not_write_into_the_first),
        cmocka_unit_test(test_without_a_set_there_are_no_cells),
        cmocka_unit_test(test_nothing_is_lost_among_more_threads_than_have_cells),
        cmocka_unit_test(test_several_threads_share_a_histogram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
