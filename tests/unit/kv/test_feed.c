/* SPDX-License-Identifier: MIT */
/* The log of changes and its readers, through kv.h and by itself. */
#include <stdatomic.h>

#include "base/clock.h"
#include "kv/feeds.h"
#include "kv_case.h"

#define THREADS 4
#define WRITES 3000

struct heard {
    struct feed_reader reader;
    struct waited woken;
    unsigned count, most; /* of changes; at most so many a look */
    uint64_t last;
    struct feed_change newest; /* its slices are gone */
    char key[16];
};

static void wake(struct feed_reader *reader) {
    struct heard *heard = (struct heard *)(void *)reader;
    waited_done(&heard->woken);
}

static bool hear(void *context, const struct feed_change *change) {
    struct heard *heard = context;
    assert_true(change->revision > heard->last);
    heard->last = change->revision;
    heard->newest = *change;
    memset(heard->key, 0, sizeof heard->key);
    memcpy(heard->key, change->key.ptr, change->key.len < 15 ? change->key.len : 15);
    heard->count++;
    return heard->most == 0 || --heard->most > 0;
}

static struct kv_ref place(const struct kv_case *c, const char *ns) {
    return (struct kv_ref){c->storage, {{1}}, slice_of_cstr(ns), {NULL, 0}};
}

static void open_from(struct kv_case *c, struct heard *heard, enum feed_from from,
                      uint64_t revision) {
    struct kv_ref ref = place(c, "default");
    memset(heard, 0, sizeof *heard);
    heard->woken = (struct waited)WAITED;
    heard->reader.wake = wake;
    assert_int_equal(feed_open(c->kv, &ref, from, revision, &heard->reader), OK);
}

/* What comes next, waited for where it has to be. */
static enum feed_news next(struct heard *heard) {
    enum feed_news news;
    while ((news = feed_read(&heard->reader, hear, heard)) == FEED_WAIT) {
        waited_for(&heard->woken);
        heard->woken.done = false;
    }
    return news;
}

static void close_one(struct heard *heard) {
    feed_close(&heard->reader);
}

static int setup_with(void **state, uint64_t feed_bytes) {
    struct kv_case *c = calloc(1, sizeof *c);
    char why[300];
    struct kv_options options = {.feed_bytes = feed_bytes, .feed_readers_max = 3};
    c->storage = KV_MEMORY;
    arena_init(&c->arena, 256U << 20);
    clock_move_for_test(NOW - 3600000 - clock_wall_ms());
    assert_int_equal(kv_open(&options, &c->kv, why, sizeof why), OK);
    *state = c;
    return 0;
}

static int setup(void **state) {
    return setup_with(state, 0);
}

static int setup_small(void **state) {
    return setup_with(state, 64 << 10); /* of which a namespace has an eighth */
}

static int teardown(void **state) {
    struct kv_case *c = *state;
    kv_close(c->kv);
    arena_done(&c->arena);
    free(c);
    return 0;
}

static void test_a_reader_hears_of_what_comes_behind_its_beginning(void **state) {
    struct kv_case *c = *state;
    struct heard heard;
    set_key(c, "before", "1");
    open_from(c, &heard, FEED_FROM_NOW, 0);
    assert_int_equal(next(&heard), FEED_READY);
    uint64_t began = heard.reader.revision;
    set_key(c, "a", "12");
    assert_int_equal(next(&heard), FEED_CHANGES);
    assert_int_equal(heard.count, 1);
    assert_true(heard.last > began);
    assert_string_equal(heard.key, "a");
    assert_int_equal(heard.newest.value_bytes, 2);
    assert_true(delete_key(c, "a"));
    assert_int_equal(next(&heard), FEED_CHANGES);
    assert_int_equal(heard.newest.kind, FEED_DELETE);
    close_one(&heard);
}

static void test_a_reader_that_is_stopped_is_woken_once(void **state) {
    struct kv_case *c = *state;
    struct heard heard;
    open_from(c, &heard, FEED_FROM_NOW, 0);
    assert_int_equal(next(&heard), FEED_READY);
    assert_int_equal(feed_read(&heard.reader, hear, &heard), FEED_WAIT);
    feed_stop(&heard.reader);
    assert_true(heard.woken.done);
    heard.woken.done = false;
    feed_stop(&heard.reader);
    set_key(c, "a", "1");
    assert_false(heard.woken.done);
    close_one(&heard);
}

static void test_a_reader_goes_on_behind_any_revision_that_the_log_has(void **state) {
    struct kv_case *c = *state;
    struct heard first, again;
    uint64_t places[200];
    open_from(c, &first, FEED_FROM_NOW, 0);
    assert_int_equal(next(&first), FEED_READY);
    for (unsigned i = 0; i < 200; i++) {
        set_key(c, "a", "some bytes so that there are several chunks of it");
        first.most = 1;
        assert_int_equal(next(&first), FEED_CHANGES);
        places[i] = first.last;
    }
    for (unsigned i = 0; i < 200; i += 7)
        for (unsigned from = FEED_FROM_REVISION; from <= FEED_FROM_ID; from++) {
            open_from(c, &again, (enum feed_from)from, places[i]);
            assert_int_equal(next(&again), FEED_READY);
            assert_int_equal(again.reader.revision, places[i]);
            while (again.last < places[199] && i < 199)
                assert_int_equal(next(&again), FEED_CHANGES);
            assert_int_equal(again.count, 199 - i);
            close_one(&again);
        }
    open_from(c, &again, FEED_FROM_ID, places[199] + 1);
    assert_int_equal(next(&again), FEED_RESYNC);
    close_one(&again);
    open_from(c, &again, FEED_FROM_REVISION, 5);
    assert_int_equal(next(&again), FEED_RESYNC);
    close_one(&again);
    close_one(&first);
}

static void test_who_falls_behind_the_log_is_told_and_goes_on_from_its_end(void **state) {
    struct kv_case *c = *state;
    struct heard slow, idle;
    struct feed_figures figures;
    open_from(c, &slow, FEED_FROM_NOW, 0);
    open_from(c, &idle, FEED_FROM_NOW, 0);
    assert_int_equal(next(&slow), FEED_READY);
    assert_int_equal(next(&idle), FEED_READY);
    set_key(c, "first", "1");
    slow.most = 1;
    assert_int_equal(next(&slow), FEED_CHANGES);
    for (unsigned i = 0; i < 1000; i++)
        set_key(c, "a", "some bytes, many times over, until the log has dropped its beginning");
    feed_figures(c->kv, &figures);
    assert_true(figures.log_bytes <= 64 << 10);
    assert_int_equal(next(&slow), FEED_RESYNC);
    assert_int_equal(next(&idle), FEED_RESYNC);
    set_key(c, "last", "1");
    assert_int_equal(next(&slow), FEED_CHANGES);
    assert_string_equal(slow.key, "last");
    assert_int_equal(slow.count, 2);
    feed_figures(c->kv, &figures);
    assert_int_equal(figures.resyncs, 2);
    close_one(&slow);
    close_one(&idle);
}

static void test_only_keys_with_the_prefix_are_shown(void **state) {
    struct kv_case *c = *state;
    struct heard heard;
    open_from(c, &heard, FEED_FROM_NOW, 0);
    heard.reader.prefix = SLICE("ab");
    assert_int_equal(next(&heard), FEED_READY);
    set_key(c, "a", "1");
    set_key(c, "abc", "1");
    set_key(c, "b", "1");
    while (heard.count == 0)
        assert_int_equal(next(&heard), FEED_CHANGES);
    assert_string_equal(heard.key, "abc");
    close_one(&heard);
}

static void test_there_are_no_more_readers_than_may_be(void **state) {
    struct kv_case *c = *state;
    struct heard three[3];
    struct feed_reader fourth = {.wake = wake};
    struct kv_ref ref = place(c, "default");
    for (unsigned i = 0; i < 3; i++)
        open_from(c, &three[i], FEED_FROM_NOW, 0);
    assert_int_equal(feed_open(c->kv, &ref, FEED_FROM_NOW, 0, &fourth), ERR_UNAVAILABLE);
    close_one(&three[0]);
    assert_int_equal(feed_open(c->kv, &ref, FEED_FROM_NOW, 0, &fourth), OK);
    feed_close(&fourth);
    close_one(&three[1]);
    close_one(&three[2]);
}

static void test_without_hdd_its_changes_cannot_be_followed(void **state) {
    struct kv_case *c = *state;
    struct feed_reader reader = {.wake = wake};
    struct kv_ref ref = place(c, "default");
    ref.storage = KV_HDD;
    assert_int_equal(feed_open(c->kv, &ref, FEED_FROM_NOW, 0, &reader), ERR_UNAVAILABLE);
}

static void *write_many(void *context) {
    struct kv_case *c = context;
    for (unsigned i = 0; i < WRITES; i++)
        set_key(c, i % 3 ? "a" : "b", "1");
    return NULL;
}

/* Each hears of all, in order (hear tells), whoever wrote. */
static void test_many_writers_are_heard_whole_and_in_order(void **state) {
    struct kv_case *c = *state;
    struct heard heard;
    pthread_t threads[THREADS];
    open_from(c, &heard, FEED_FROM_NOW, 0);
    assert_int_equal(next(&heard), FEED_READY);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, c), 0);
    while (heard.count < THREADS * WRITES)
        assert_int_equal(next(&heard), FEED_CHANGES);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(heard.count, THREADS * WRITES);
    close_one(&heard);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_reader_hears_of_what_comes_behind_its_beginning,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_reader_that_is_stopped_is_woken_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_reader_goes_on_behind_any_revision_that_the_log_has,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_who_falls_behind_the_log_is_told_and_goes_on_from_its_end, setup_small, teardown),
        cmocka_unit_test_setup_teardown(test_only_keys_with_the_prefix_are_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_there_are_no_more_readers_than_may_be, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_without_hdd_its_changes_cannot_be_followed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_many_writers_are_heard_whole_and_in_order, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
