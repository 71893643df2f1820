/* SPDX-License-Identifier: MIT */
/* Which namespaces have a log, for how long, and how a store finds it. */
#include "kv_case.h"

#include "base/clock.h"
#include "kv/feeds.h"

#define MANY 100U

static _Atomic uint64_t newest;

static void never(struct feed_reader *reader) {
    (void)reader;
}

static bool hear(void *context, const struct feed_change *change) {
    *(struct feed_change *)context = *change;
    return true;
}

static void begin(void *context, struct feed *feed) {
    (void)context;
    feed_begin(feed, NULL, 1);
    feed_show(feed);
}

static void refuse(void *context, struct feed *feed) {
    (void)context;
    feed_fail(feed);
}

static struct kv_ref place(unsigned i) {
    static char names[MANY][16];
    snprintf(names[i], sizeof names[i], "space-%u", i);
    return (struct kv_ref){KV_MEMORY, {{1}}, slice_of_cstr(names[i]), {NULL, 0}};
}

static void open_reader(struct feeds *feeds, unsigned i, struct feed_reader *reader) {
    struct kv_ref ref = place(i);
    *reader = (struct feed_reader){.wake = never};
    assert_int_equal(feeds_open_reader(feeds, &ref, FEED_FROM_NOW, 0, reader), OK);
}

static int setup(void **state) {
    struct feeds *feeds = feeds_new(0, 0);
    assert_non_null(feeds);
    newest = 1;
    feeds->sources[KV_MEMORY] = (struct feed_source){.begin = begin, .newest = &newest};
    *state = feeds;
    return 0;
}

static int teardown(void **state) {
    feeds_stop(*state);
    feeds_free(*state);
    return 0;
}

/* Half of them stand in chains of the table by their space, two each. */
static void test_logs_that_nobody_reads_stay_a_while_and_not_too_many(void **state) {
    struct feeds *feeds = *state;
    struct feed_reader reader, kept;
    for (unsigned i = 0; i < MANY; i++) {
        struct kv_ref ref = place(i);
        open_reader(feeds, i, &reader);
        if (i % 3)
            feeds_bind(feeds, &ref, i % 3 == 1 ? i : i - 1 + FEED_HEADS);
        feeds_bind_slow(feeds, &ref, 7 * FEED_HEADS); /* it is bound for good */
        feed_close(&reader);
    }
    open_reader(feeds, 5, &kept);
    int64_t now_ms = clock_steady_ms();
    feeds_forget_idle(feeds, now_ms);
    assert_in_range(atomic_load(&feeds->count), 1, FEED_IDLE_MAX + 1);
    feeds_forget_idle(feeds, now_ms + FEED_LINGER_MS / 2);
    assert_true(atomic_load(&feeds->count) > 1);
    feeds_forget_idle(feeds, now_ms + 2 * FEED_LINGER_MS);
    assert_int_equal(atomic_load(&feeds->count), 1);
    struct feed *found = feeds_find(feeds, KV_MEMORY, kept.feed->space);
    assert_ptr_equal(found, kept.feed);
    feed_drop(found);
    feed_close(&kept);
    open_reader(feeds, 0, &reader); /* a fresh one */
    feed_close(&reader);
}

static void test_a_log_that_failed_goes_at_once_and_the_next_reader_tries_anew(void **state) {
    struct feeds *feeds = *state;
    struct feed_reader reader;
    struct feed_change change;
    feeds->sources[KV_MEMORY].begin = refuse;
    open_reader(feeds, 0, &reader);
    assert_int_equal(feed_read(&reader, hear, &change), FEED_OVER);
    feed_close(&reader);
    feeds_forget_idle(feeds, clock_steady_ms());
    assert_int_equal(atomic_load(&feeds->count), 0);
    feeds->sources[KV_MEMORY].begin = begin;
    open_reader(feeds, 0, &reader);
    assert_int_equal(feed_read(&reader, hear, &change), FEED_READY);
    feed_close(&reader);
}

static void test_a_store_that_lost_changes_has_readers_told(void **state) {
    struct feeds *feeds = *state;
    struct feed_reader one, other;
    struct feed_change change = {0};
    _Atomic uint64_t counter = 10;
    feeds_lose(feeds, KV_MEMORY, &counter); /* nobody follows */
    assert_int_equal(counter, 10);
    open_reader(feeds, 0, &one);
    open_reader(feeds, 1, &other);
    assert_int_equal(feed_read(&one, hear, &change), FEED_READY);
    assert_int_equal(feed_read(&other, hear, &change), FEED_READY);
    feeds_lose(feeds, KV_HDD, &counter);
    assert_int_equal(counter, 10);
    feeds_lose(feeds, KV_MEMORY, &counter);
    assert_int_equal(counter, 12);
    assert_int_equal(feed_read(&one, hear, &change), FEED_RESYNC);
    assert_int_equal(feed_read(&other, hear, &change), FEED_RESYNC);
    feed_close(&one);
    feed_close(&other);
}

/* A place that may not be all is none to go on from by its number. */
static void test_a_log_in_doubt_is_no_place_to_go_on_from(void **state) {
    struct feeds *feeds = *state;
    struct feed_reader reader, again = {.wake = never};
    struct feed_change change = {0};
    struct kv_ref ref = place(0);
    open_reader(feeds, 0, &reader);
    assert_int_equal(feed_read(&reader, hear, &change), FEED_READY);
    uint64_t seen = reader.revision;
    feed_doubt(reader.feed);
    assert_int_equal(feeds_open_reader(feeds, &ref, FEED_FROM_REVISION, seen, &again), OK);
    assert_int_equal(feed_read(&again, hear, &change), FEED_RESYNC);
    feed_close(&again);
    feed_close(&reader);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_logs_that_nobody_reads_stay_a_while_and_not_too_many),
        CASE(test_a_log_that_failed_goes_at_once_and_the_next_reader_tries_anew),
        CASE(test_a_store_that_lost_changes_has_readers_told),
        CASE(test_a_log_in_doubt_is_no_place_to_go_on_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
