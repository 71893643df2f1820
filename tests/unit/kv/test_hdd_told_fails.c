/* SPDX-License-Identifier: MIT */
/* What the durable store tells of itself while the n-th call fails: snapshots, counts, changes and
 * expiries; and values sealed anew. */
#include "fails_case.h"

#include "kv/feeds.h"
#include "kv/hdd.h"
#include "kv/store.h"

#define EXPIRING 24U

struct told {
    struct fails *f;
    struct kv_hdd *hdd;
    struct feeds *feeds;
    void (*tick)(void *context); /* of its feeds; the test calls it, not the keeper */
};

/* The store itself, without its front. */
static void open_hdd(struct told *t) {
    struct fails *f = t->f;
    nth_copy_dir(f->stopped, f->c.dir);
    f->keys = NULL;
    if (f->sealed)
        assert_int_equal(seal_keys_open(f->key_path, &f->keys, f->why, sizeof f->why), OK);
    struct datadir_options dir = {.dir = f->c.dir, .segment_bytes = SEGMENT_BYTES, .keys = f->keys};
    assert_int_equal(datadir_open(&dir, &f->datadir, f->why, sizeof f->why), OK);
    struct kv_options options = {
        .datadir = f->datadir, .write_buffer_bytes = 8 << 20, .fatal = fails_fatal};
    t->feeds = feeds_new(0, 0);
    assert_int_equal(kv_hdd_open(&options, t->feeds, &t->hdd, f->why, sizeof f->why), OK);
    assert_int_equal(datadir_start(f->datadir, f->why, sizeof f->why), OK);
    t->tick = t->feeds->sources[KV_HDD].tick;
    t->feeds->sources[KV_HDD].tick = NULL;
}

static void close_hdd(struct told *t) {
    feeds_stop(t->feeds);
    datadir_stop(t->f->datadir);
    kv_hdd_close(t->hdd);
    feeds_free(t->feeds);
    datadir_close(t->f->datadir);
    seal_keys_close(t->f->keys);
}

static enum err act(struct told *t, struct kv_op *op) {
    struct waited waited = WAITED;
    struct kv_write write = {
        .ops = op, .op_count = 1, .now_ms = NOW, .done = write_came, .context = &waited};
    enum err err = kv_hdd_submit(t->hdd, &write);
    if (err == ERR_PENDING) {
        waited_for(&waited);
        err = write.err;
    }
    return err;
}

static enum err set(struct told *t, const char *key, int64_t ttl_ms) {
    struct kv_op op = set_op(&t->f->c, key, "an expiring value");
    op.ttl_ms = ttl_ms;
    return act(t, &op);
}

/* ---- snapshots ---- */

struct seen {
    unsigned kept, all;
};

static enum err see(void *context, const struct kv_snapshot_entry *entry) {
    struct seen *seen = context;
    seen->all++;
    if (slice_starts_with(entry->key, SLICE("kept-"))) {
        assert_true(slice_equal(entry->value, SLICE("a value that stays")));
        seen->kept++;
    }
    return OK;
}

static bool snapshot_failing(struct told *t, const struct way *way, long n) {
    struct hdd_snapshot *snapshot = NULL;
    struct seen seen = {0};
    nth_arm(way->kinds, n, way->error, false);
    enum err err = hdd_snapshot_take(t->hdd, NOW, &snapshot);
    if (!err) {
        err = hdd_snapshot_each(snapshot, see, &seen);
        hdd_snapshot_end(snapshot);
    }
    bool fired = nth_disarm();
    assert_true(!err || fired || !kv_hdd_is_ready(t->hdd));
    if (!err) {
        assert_int_equal(seen.kept, KEPT);
        assert_int_equal(seen.all, KEPT + 11 + 3); /* three are recent */
    }
    return fired;
}

static void open_with_three_recent(struct told *t) {
    static char big[100000];
    memset(big, 'b', sizeof big - 1);
    open_hdd(t);
    assert_int_equal(set(t, "recent", 0), OK);
    assert_int_equal(set(t, "soon", 60000), OK);
    struct kv_op op = set_op(&t->f->c, "big", big);
    assert_int_equal(act(t, &op), OK);
}

/* The applier looks at LMDB now and then: where it was the one that met it the store is lost, which
 * may show a moment later. */
static bool is_lost(struct told *t, void (*open)(struct told *t)) {
    if (kv_hdd_is_ready(t->hdd))
        return false;
    close_hdd(t);
    open(t);
    return true;
}

static void snapshot_each(struct fails *f) {
    struct told t = {.f = f};
    for (unsigned i = 0; i < FAILS_WAYS; i++) {
        bool goes_on = true;
        open_with_three_recent(&t);
        for (long n = 1; goes_on; n++) {
            bool fired = snapshot_failing(&t, &fails_ways[i], n);
            goes_on = is_lost(&t, open_with_three_recent) || fired;
        }
        close_hdd(&t);
    }
}

static void test_a_snapshot_that_fails_is_never_short(void **state) {
    snapshot_each(*state);
}

static void test_a_snapshot_of_sealed_values_that_fails_is_never_short(void **state) {
    snapshot_each(*state);
}

/* ---- expiry ---- */

/* So many more than those there were have expired by then, and are in LMDB. */
static void set_expiring(struct told *t) {
    char key[700];
    for (unsigned i = 0; i < EXPIRING; i++) {
        memset(key, 'e', sizeof key);
        snprintf(key + (i % 3 ? 0 : 600), 20, "%u", i);
        assert_int_equal(set(t, key, 30000), OK);
    }
}

static enum err count_keys(struct told *t, int64_t now_ms, uint64_t *ret_keys) {
    struct waited waited = WAITED;
    struct kv_count count = {
        .storage = KV_HDD, .now_ms = now_ms, .done = count_came, .context = &waited};
    enum err err = kv_hdd_count(t->hdd, &count);
    if (err == ERR_PENDING) {
        waited_for(&waited);
        err = count.err;
    }
    *ret_keys = count.keys;
    return err;
}

static void open_expiring(struct told *t) {
    uint64_t keys;
    open_hdd(t);
    set_expiring(t);
    assert_int_equal(count_keys(t, NOW, &keys), OK);
    assert_int_equal(keys, KEPT + 11 + EXPIRING);
}

static void test_a_count_that_fails_is_never_wrong(void **state) {
    struct told t = {.f = *state};
    uint64_t keys;
    open_expiring(&t);
    for (unsigned i = 0; i < FAILS_WAYS; i++) {
        bool fired = true;
        for (long n = 1; fired; n++) {
            nth_arm(fails_ways[i].kinds, n, fails_ways[i].error, false);
            enum err err = count_keys(&t, NOW + 40000, &keys);
            fired = nth_disarm();
            assert_true(!err || fired || !kv_hdd_is_ready(t.hdd));
            if (!err)
                assert_int_equal(keys, KEPT + 11);
            fired |= is_lost(&t, open_expiring);
        }
    }
    close_hdd(&t);
}

static void test_a_sweep_that_fails_takes_nothing_that_lives(void **state) {
    struct told t = {.f = *state};
    for (unsigned i = 0; i < FAILS_WAYS; i++) {
        bool fired = true;
        if (fails_ways[i].kinds & NTH_DISK)
            continue; /* it has none */
        for (long n = 1; fired; n = nth_next(n)) {
            uint64_t keys;
            bool more;
            open_hdd(&t);
            set_expiring(&t);
            assert_int_equal(count_keys(&t, NOW, &keys), OK); /* all are in LMDB now */
            nth_arm(fails_ways[i].kinds, n, fails_ways[i].error, false);
            enum err err = hdd_sweep(t.hdd, NOW + 40000, &more);
            fired = nth_disarm();
            assert_true(!err || fired);
            if (!kv_hdd_is_ready(t.hdd)) { /* the applier met it */
                close_hdd(&t);
                continue;
            }
            assert_int_equal(hdd_sweep(t.hdd, NOW + 40000, &more), OK);
            assert_int_equal(count_keys(&t, NOW, &keys), OK);
            assert_int_equal(keys, KEPT + 11);
            close_hdd(&t);
        }
    }
}

/* ---- changes ---- */

struct heard {
    struct feed_reader reader;
    struct waited woken;
    unsigned sets, expiries;
    bool missed, over;
};

static void wake(struct feed_reader *reader) {
    waited_done(&((struct heard *)(void *)reader)->woken);
}

static bool hear(void *context, const struct feed_change *change) {
    struct heard *heard = context;
    heard->sets += change->kind == FEED_SET;
    heard->expiries += change->kind == FEED_EXPIRED;
    return true;
}

/* In a moment, at most. */
static bool is_woken(struct heard *heard) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 10000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&heard->woken.lock);
    if (!heard->woken.done)
        pthread_cond_timedwait(&heard->woken.changed, &heard->woken.lock, &until);
    bool woken = heard->woken.done;
    heard->woken.done = false;
    pthread_mutex_unlock(&heard->woken.lock);
    return woken;
}

/* Reads on until so much was heard, or it is known that some is missing. */
static void hear_until(struct told *t, struct heard *heard, unsigned sets, unsigned expiries) {
    while (!heard->missed && !heard->over && (heard->sets < sets || heard->expiries < expiries)) {
        enum feed_news news = feed_read(&heard->reader, hear, heard);
        heard->missed |= news == FEED_RESYNC;
        heard->over |= news == FEED_OVER;
        if (news != FEED_WAIT)
            continue;
        while (!is_woken(heard))
            t->tick(t->feeds->sources[KV_HDD].context);
    }
}

static void close_reader(struct heard *heard) {
    while (feed_read(&heard->reader, hear, heard) != FEED_WAIT && !heard->over)
        heard->over |= feed_read(&heard->reader, hear, heard) == FEED_OVER;
    feed_stop(&heard->reader);
    feed_close(&heard->reader);
}

/* What was written is heard of once, and ends once, or the reader knows that it missed something.
 * Where the store ended meanwhile it waits for nothing. */
static bool follow_failing(struct told *t, const struct way *way, long n, unsigned *missed) {
    struct heard heard = {.reader = {.wake = wake}, .woken = WAITED};
    struct kv_ref ref = ref_of(&t->f->c, "");
    unsigned written = 0, ends = 0;
    open_hdd(t);
    assert_int_equal(set(t, "before", 0), OK);
    assert_int_equal(feeds_open_reader(t->feeds, &ref, FEED_FROM_NOW, 0, &heard.reader), OK);
    enum feed_news news;
    while ((news = feed_read(&heard.reader, hear, &heard)) == FEED_WAIT) {
        waited_for(&heard.woken);
        heard.woken.done = false;
    }
    assert_int_equal(news, FEED_READY);
    nth_arm(way->kinds, n, way->error, false);
    for (unsigned i = 0; i < 6; i++) {
        char key[16];
        snprintf(key, sizeof key, "short-%u", i);
        enum err err = set(t, key, i % 2 ? 55000 : 0);
        written += !err;
        ends += !err && i % 2;
    }
    clock_move_for_test(3600000 + 60000);
    if (kv_hdd_is_ready(t->hdd))
        hear_until(t, &heard, written, 0);
    bool fired = nth_disarm();
    if (kv_hdd_is_ready(t->hdd))
        hear_until(t, &heard, written, ends);
    if (!heard.missed && !heard.over && kv_hdd_is_ready(t->hdd)) {
        assert_int_equal(heard.sets, written);
        assert_int_equal(heard.expiries, ends);
    }
    *missed += heard.missed;
    close_reader(&heard);
    clock_move_for_test(-3600000 - 60000);
    close_hdd(t);
    return fired;
}

static void test_a_reader_hears_all_or_that_some_are_missing(void **state) {
    struct told t = {.f = *state};
    unsigned missed = 0;
    for (long n = 1; n < 30 && follow_failing(&t, &fails_ways[0], n, &missed); n++)
        continue;
    assert_true(missed > 0);
}

/* ---- sealed anew ---- */

static void more_done(void *context, uint64_t more) {
    *(uint64_t *)context += more;
}

static enum err open_for_reseal(struct fails *f, const char *keys) {
    unlink(f->key_path);
    int file = open(f->key_path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_int_equal(write(file, keys, strlen(keys)), strlen(keys));
    close(file);
    return fails_open(f, 0);
}

static void test_values_sealed_anew_are_by_one_key_or_the_other(void **state) {
    struct fails *f = *state;
    static const struct way ways[] = {
        {NTH_MEMORY, 0, false}, {NTH_DISK, EIO, false}, {NTH_LMDB, EIO, false}};
    for (unsigned i = 0; i < 3; i++) {
        bool fired = true;
        for (long n = 1; fired; n = nth_next(n)) {
            uint64_t done = 0, count = 0;
            struct kv_reseal with = {more_done, &done};
            fails_copy(f, f->stopped);
            assert_int_equal(open_for_reseal(f, OTHER_KEY SEAL_KEY), OK);
            datadir_stop(f->datadir);
            kv_close(f->c.kv);
            f->c.kv = NULL;
            f->why[0] = 0;
            nth_arm(ways[i].kinds, n, ways[i].error, false);
            enum err err = kv_reseal_count(f->datadir, &count, f->why, sizeof f->why);
            if (!err) {
                assert_int_equal(count, KEPT + 11);
                err = kv_reseal(f->datadir, &with, f->why, sizeof f->why);
            }
            fired = nth_disarm();
            if (err && (!fired || !f->why[0]))
                fail_msg("%ld: %s", n, err_text(err));
            fails_close(f);
            if (fails_open(f, 0))
                fail_msg("%ld: %s", n, f->why);
            fails_check_kept(f);
            assert_int_equal(count_at(&f->c, NOW), KEPT + 11);
            fails_close(f);
        }
    }
}

static int setup_plain(void **state) {
    return fails_setup_with(state, false);
}

static int setup_sealed(void **state) {
    return fails_setup_with(state, true);
}

#define CASE(test, setup) cmocka_unit_test_setup_teardown(test, setup, fails_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_a_snapshot_that_fails_is_never_short, setup_plain),
        CASE(test_a_snapshot_of_sealed_values_that_fails_is_never_short, setup_sealed),
        CASE(test_a_count_that_fails_is_never_wrong, setup_plain),
        CASE(test_a_sweep_that_fails_takes_nothing_that_lives, setup_plain),
        CASE(test_a_reader_hears_all_or_that_some_are_missing, setup_plain),
        CASE(test_values_sealed_anew_are_by_one_key_or_the_other, setup_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
