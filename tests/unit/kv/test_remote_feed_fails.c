/* SPDX-License-Identifier: MIT */
/* Changes of a store behind a network, found by comparing: what is told, and what a pass that fails
 * leaves to the next. */
#include "kv_case.h"

#include "../nth_fails.h"
#include "base/clock.h"
#include "kv/remote_feed.h"

#define ENTRIES_MAX 1200U /* some pages */

struct entry {
    bool there;
    uint64_t revision;
    int64_t expires_at_ms;
    const char *value;
};

struct fixture {
    struct feeds *feeds;
    struct remote_feeds remote_feeds;
    void (*tick)(void *context);
    struct kv_remote remote;
    struct feed_reader reader;
    struct waited woken;
    pthread_mutex_t lock;
    struct entry entries[ENTRIES_MAX];
    enum err list_err, read_err;     /* what a call comes to */
    bool list_refused, read_refused; /* it is not taken at all */
    unsigned told[5];                /* by kind */
    char last_key[16];
    uint64_t last;
};

static enum err list_some(void *context, struct kv_list *list) {
    struct fixture *f = context;
    char key[16];
    pthread_mutex_lock(&f->lock);
    bool refused = f->list_refused;
    list->err = f->list_err;
    list->key_count = 0;
    list->more = false;
    list->keys = arena_alloc(list->arena, list->limit * sizeof *list->keys);
    if (!list->keys)
        list->err = ERR_OUT_OF_MEMORY;
    for (unsigned i = 0; !list->err && i < ENTRIES_MAX; i++) {
        snprintf(key, sizeof key, "key-%04u", i);
        if (!f->entries[i].there || slice_compare(slice_of_cstr(key), list->after) <= 0)
            continue;
        if (list->key_count == list->limit) {
            list->more = true;
            break;
        }
        struct slice copy = arena_copy(list->arena, slice_of_cstr(key));
        if (copy.ptr)
            list->keys[list->key_count++] = copy;
        else
            list->err = ERR_OUT_OF_MEMORY;
    }
    pthread_mutex_unlock(&f->lock);
    if (refused)
        return ERR_UNAVAILABLE;
    list->done(list);
    return ERR_PENDING;
}

static enum err read_some(void *context, struct kv_read *read) {
    struct fixture *f = context;
    pthread_mutex_lock(&f->lock);
    bool refused = f->read_refused;
    read->err = f->read_err;
    read->entries = arena_alloc(read->arena, read->key_count * sizeof *read->entries);
    if (!read->entries)
        read->err = ERR_OUT_OF_MEMORY;
    for (unsigned i = 0; !read->err && i < read->key_count; i++) {
        const struct entry *entry = &f->entries[atoi(read->keys[i].ptr + 4)];
        struct kv_entry *to = arena_alloc(read->arena, sizeof *to);
        if (!to) {
            read->err = ERR_OUT_OF_MEMORY;
            break;
        }
        *to = (struct kv_entry){.value = slice_of_cstr(entry->value),
                                .revision = entry->revision,
                                .expires_at_ms = entry->expires_at_ms};
        read->entries[i] = entry->there ? to : NULL;
    }
    pthread_mutex_unlock(&f->lock);
    if (refused)
        return ERR_UNAVAILABLE;
    read->done(read);
    return ERR_PENDING;
}

static void wake(struct feed_reader *reader) {
    struct fixture *f =
        (struct fixture *)(void *)((char *)reader - offsetof(struct fixture, reader));
    waited_done(&f->woken);
}

static bool hear(void *context, const struct feed_change *change) {
    struct fixture *f = context;
    assert_true(change->revision > f->last);
    f->last = change->revision;
    f->told[change->kind]++;
    snprintf(f->last_key, sizeof f->last_key, "%.*s", (int)change->key.len, change->key.ptr);
    return true;
}

static void set(struct fixture *f, unsigned i, uint64_t revision, const char *value) {
    pthread_mutex_lock(&f->lock);
    f->entries[i] = (struct entry){true, revision, 0, value};
    pthread_mutex_unlock(&f->lock);
}

static void drop(struct fixture *f, unsigned i) {
    pthread_mutex_lock(&f->lock);
    f->entries[i].there = false;
    pthread_mutex_unlock(&f->lock);
}

/* The rest of the last pass is over. */
static void pass(struct fixture *f) {
    clock_move_for_test(60000);
    f->tick(f->feeds->sources[KV_HDD].context);
}

/* What is heard once there is something to hear. */
static enum feed_news next(struct fixture *f) {
    enum feed_news news;
    memset(f->told, 0, sizeof f->told);
    while ((news = feed_read(&f->reader, hear, f)) == FEED_WAIT || news == FEED_BEAT) {
        pass(f);
        if (news == FEED_WAIT) {
            waited_for(&f->woken);
            f->woken.done = false;
        }
    }
    return news;
}

/* Until so many changes were told, in as many looks as it takes, or the reader knows that some are
 * missing. */
static void hear_until(struct fixture *f, enum feed_kind kind, unsigned count) {
    while (f->told[kind] < count) {
        enum feed_news news = feed_read(&f->reader, hear, f);
        assert_int_not_equal(news, FEED_OVER);
        if (news == FEED_RESYNC)
            return;
        if (news != FEED_WAIT)
            continue;
        pass(f);
        waited_for(&f->woken);
        f->woken.done = false;
    }
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct kv_ref ref = {KV_HDD, {{1}}, SLICE("default"), {NULL, 0}};
    pthread_mutex_init(&f->lock, NULL);
    f->feeds = feeds_new(0, 0);
    f->remote = (struct kv_remote){.context = f, .read = read_some, .list = list_some};
    remote_feeds_open(&f->remote_feeds, f->feeds, &f->remote, KV_HDD);
    f->tick = f->feeds->sources[KV_HDD].tick; /* when the test says so, not the keeper */
    f->feeds->sources[KV_HDD].tick = NULL;
    f->woken = (struct waited)WAITED;
    f->reader.wake = wake;
    for (unsigned i = 0; i < ENTRIES_MAX; i += 2)
        set(f, i, i + 1, "first");
    assert_int_equal(feeds_open_reader(f->feeds, &ref, FEED_FROM_NOW, 0, &f->reader), OK);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    feed_close(&f->reader);
    feeds_stop(f->feeds);
    feeds_free(f->feeds);
    free(f);
    return 0;
}

static void test_what_differs_between_two_passes_is_told(void **state) {
    struct fixture *f = *state;
    assert_int_equal(next(f), FEED_READY);
    set(f, 4, 5000, "changed");
    set(f, 1, 5001, "new");
    set(f, ENTRIES_MAX - 1, 5002, "new");
    drop(f, 0);
    drop(f, 600);
    assert_int_equal(next(f), FEED_CHANGES);
    assert_int_equal(f->told[FEED_SET], 3);
    assert_int_equal(f->told[FEED_DELETE], 2);
    drop(f, ENTRIES_MAX - 1);
    assert_int_equal(next(f), FEED_CHANGES);
    assert_int_equal(f->told[FEED_SET], 0);
    assert_int_equal(f->told[FEED_DELETE], 1);
    assert_string_equal(f->last_key, "key-1199");
}

static void test_an_entry_that_went_behind_its_time_has_expired(void **state) {
    struct fixture *f = *state;
    f->entries[2].expires_at_ms = clock_wall_ms() + 30000;
    assert_int_equal(next(f), FEED_READY);
    drop(f, 2);
    assert_int_equal(next(f), FEED_CHANGES);
    assert_int_equal(f->told[FEED_EXPIRED], 1);
    assert_int_equal(f->told[FEED_DELETE], 0);
}

static void test_a_namespace_that_was_emptied_is_told_key_by_key(void **state) {
    struct fixture *f = *state;
    assert_int_equal(next(f), FEED_READY);
    for (unsigned i = 0; i < ENTRIES_MAX; i++)
        drop(f, i);
    memset(f->told, 0, sizeof f->told);
    hear_until(f, FEED_DELETE, ENTRIES_MAX / 2);
    assert_int_equal(f->told[FEED_DELETE], ENTRIES_MAX / 2);
}

/* Each way of failing leaves what was known as it was: nothing is told twice, and nothing is lost.
 */
static void test_a_pass_that_fails_is_made_up_for_by_the_next(void **state) {
    struct fixture *f = *state;
    enum err *errors[] = {&f->list_err, &f->read_err};
    bool *refusals[] = {&f->list_refused, &f->read_refused};
    assert_int_equal(next(f), FEED_READY);
    for (unsigned i = 0; i < 4; i++) {
        pthread_mutex_lock(&f->lock);
        if (i < 2)
            *errors[i] = ERR_UNAVAILABLE;
        else
            *refusals[i - 2] = true;
        pthread_mutex_unlock(&f->lock);
        set(f, 10, 6000 + i, "changed");
        for (unsigned k = 0; k < 3; k++)
            pass(f);
        assert_int_equal(feed_read(&f->reader, hear, f), FEED_WAIT);
        pthread_mutex_lock(&f->lock);
        f->list_err = f->read_err = OK;
        f->list_refused = f->read_refused = false;
        pthread_mutex_unlock(&f->lock);
        pass(f);
        waited_for(&f->woken);
        f->woken.done = false;
        memset(f->told, 0, sizeof f->told);
        assert_int_equal(feed_read(&f->reader, hear, f), FEED_CHANGES);
        assert_int_equal(f->told[FEED_SET], 1);
    }
}

static void test_a_pass_without_memory_is_made_up_for_by_the_next(void **state) {
    struct fixture *f = *state;
    bool fired = true;
    assert_int_equal(next(f), FEED_READY);
    for (long n = 1; fired; n = nth_next(n)) {
        memset(f->told, 0, sizeof f->told);
        set(f, 20, 10000 + (uint64_t)n, "changed");
        set(f, 23, 10000 + (uint64_t)n, "changed");
        nth_arm(NTH_MEMORY, n, 0, false);
        pass(f);
        fired = nth_disarm();
        hear_until(f, FEED_SET, 2);
    }
}

static void test_a_feed_that_found_no_memory_to_begin_is_over(void **state) {
    struct fixture *f = *state;
    struct kv_ref ref = {KV_HDD, {{2}}, SLICE("another"), {NULL, 0}};
    struct feed_reader reader;
    unsigned opened = 0, over = 0;
    bool fired = true;
    for (long n = 1; fired; n++) {
        reader = (struct feed_reader){.wake = wake};
        ref.workspace.bytes[1] = (uint8_t)n;
        nth_arm(NTH_MEMORY | NTH_THREAD, n, 0, false);
        enum err err = feeds_open_reader(f->feeds, &ref, FEED_FROM_NOW, 0, &reader);
        fired = nth_disarm();
        assert_true(!err || (fired && err == ERR_OUT_OF_MEMORY));
        if (err)
            continue;
        opened++;
        if (fired)
            over += feed_read(&reader, hear, f) == FEED_OVER;
        feed_close(&reader);
    }
    assert_true(opened > 0 && over > 0);
    assert_int_equal(next(f), FEED_READY);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_what_differs_between_two_passes_is_told),
        CASE(test_an_entry_that_went_behind_its_time_has_expired),
        CASE(test_a_namespace_that_was_emptied_is_told_key_by_key),
        CASE(test_a_pass_that_fails_is_made_up_for_by_the_next),
        CASE(test_a_pass_without_memory_is_made_up_for_by_the_next),
        CASE(test_a_feed_that_found_no_memory_to_begin_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
