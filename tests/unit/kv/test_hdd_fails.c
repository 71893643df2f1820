/* SPDX-License-Identifier: MIT */
/* The durable store while the n-th call of memory, threads, disk or LMDB fails, for every n: what
 * was answered is true, and all is there when it is opened again. */
#include "fails_case.h"

/* ---- opening ---- */

static void check_filled(struct fails *f) {
    struct kv_entry entry;
    fails_check_kept(f);
    assert_value(&f->c, "plain", "old");
    assert_value(&f->c, "counter", "5");
    struct kv_ref ref = ref_of(&f->c, "far");
    ref.ns = SLICE("elsewhere");
    assert_int_equal(kv_get(f->c.kv, &ref, NOW, KV_WANT_ALL, &f->c.arena, &entry), OK);
    assert_int_equal(count_at(&f->c, NOW), KEPT + 11);
    arena_done(&f->c.arena);
}

/* True while there was an n-th call that could fail. */
static bool open_failing(struct fails *f, const char *from, unsigned shards, const struct way *way,
                         long n) {
    fails_copy(f, from);
    nth_arm(way->kinds, n, way->error, way->lasting);
    enum err err = fails_open(f, shards);
    bool fired = nth_disarm();
    if (err && (!fired || !f->why[0]))
        fail_msg("%ld of %u: %s, \"%s\"", n, way->kinds, err_text(err), f->why);
    if (!err)
        fails_check_kept(f);
    fails_close(f);
    if (fails_open(f, shards))
        fail_msg("%ld: %s", n, f->why);
    check_filled(f);
    fails_close(f);
    return fired;
}

static void open_each(struct fails *f, const char *from, unsigned shards) {
    for (unsigned i = 0; i < FAILS_OPEN_WAYS; i++)
        for (long n = 1; open_failing(f, from, shards, &fails_ways[i], n); n = nth_next(n))
            continue;
}

static void test_an_open_that_fails_says_why_and_the_next_finds_everything(void **state) {
    struct fails *f = *state;
    open_each(f, f->stopped, 2);
}

static void test_a_replay_that_fails_says_why_and_the_next_finds_everything(void **state) {
    struct fails *f = *state;
    open_each(f, f->killed, 2);
}

static void test_shards_that_cannot_be_rebuilt_stay_as_they_were(void **state) {
    struct fails *f = *state;
    open_each(f, f->stopped, 3);
}

static void test_a_directory_that_cannot_be_made_is_made_the_next_time(void **state) {
    struct fails *f = *state;
    for (unsigned i = 0; i < FAILS_OPEN_WAYS; i++) {
        bool fired = true;
        for (long n = 1; fired; n = nth_next(n)) {
            nth_remove_dir(f->c.dir);
            assert_int_equal(mkdir(f->c.dir, 0700), 0);
            nth_arm(fails_ways[i].kinds, n, fails_ways[i].error, fails_ways[i].lasting);
            enum err err = fails_open(f, 2);
            fired = nth_disarm();
            if (err && (!fired || !f->why[0]))
                fail_msg("%ld of %u: %s", n, fails_ways[i].kinds, err_text(err));
            fails_close(f);
            if (fails_open(f, 2))
                fail_msg("%ld: %s", n, f->why);
            set_key(&f->c, "a", "1");
            assert_value(&f->c, "a", "1");
            fails_close(f);
        }
    }
}

/* ---- writing ---- */

/* What stands under a key, by the answers. */
struct expected {
    const char *ns, *key, *before, *after; /* NULL: nothing */
    bool may_before, may_after;
};

static char big[300000];

static struct expected work_list[] = {
    {"default", "plain", "old", "new", 0, 0},   {"default", "counter", "5", "12", 0, 0},
    {"default", "touched", "old", "old", 0, 0}, {"default", "gone", "old", NULL, 0, 0},
    {"default", "big", NULL, big, 0, 0},        {"default", "first", "old", "new", 0, 0},
    {"default", "second", "old", "new", 0, 0},  {"fresh", "inside", NULL, "new", 0, 0},
};
enum { PLAIN, COUNTER, TOUCHED, GONE, BIG, FIRST, SECOND, FRESH, WORKS };

static void note(unsigned which, enum err err) {
    assert_true(err == OK || err == ERR_OUT_OF_MEMORY || err == ERR_STORAGE_FULL ||
                err == ERR_UNAVAILABLE || err == ERR_TIMEOUT || err == ERR_CORRUPT);
    work_list[which].may_before = err != OK;
    work_list[which].may_after = err == OK || err == ERR_TIMEOUT;
}

static struct kv_op op_of(struct fails *f, enum kv_action action, unsigned which) {
    const struct expected *work = &work_list[which];
    struct kv_op op = {.action = action, .ref = ref_of(&f->c, work->key)};
    op.ref.ns = slice_of_cstr(work->ns);
    if (work->after)
        op.value = slice_of_cstr(work->after);
    return op;
}

static enum err do_one(struct fails *f, struct kv_op op, unsigned which) {
    enum err err = submit_at(&f->c, &op, NOW);
    note(which, err);
    return err;
}

static void write_all(struct fails *f) {
    struct kv_op op = op_of(f, KV_SET, PLAIN);
    op.want_existed = true;
    op.content_type = SLICE("text/plain");
    do_one(f, op, PLAIN);
    op = op_of(f, KV_INCREMENT, COUNTER);
    op.by = 7;
    do_one(f, op, COUNTER);
    op = op_of(f, KV_TOUCH, TOUCHED);
    op.ttl_ms = 7200000;
    do_one(f, op, TOUCHED);
    do_one(f, op_of(f, KV_DELETE, GONE), GONE);
    do_one(f, op_of(f, KV_SET, BIG), BIG);
    struct kv_op both[2] = {op_of(f, KV_SET, FIRST), op_of(f, KV_SET, SECOND)};
    both[1].condition = KV_IF_PRESENT;
    note(FIRST, submit_many(&f->c, both, 2, NOW, NULL));
    work_list[SECOND].may_before = work_list[FIRST].may_before;
    work_list[SECOND].may_after = work_list[FIRST].may_after;
    do_one(f, op_of(f, KV_SET, FRESH), FRESH);
}

static bool is_value(const struct kv_entry *entry, const char *value) {
    return value && slice_equal(entry->value, slice_of_cstr(value));
}

/* disturbed: a read that failed may have let it take its files for damaged. */
static void check_works(struct fails *f, bool disturbed) {
    for (unsigned i = 0; i < WORKS; i++) {
        const struct expected *work = &work_list[i];
        struct kv_entry entry;
        struct kv_ref ref = ref_of(&f->c, work->key);
        ref.ns = slice_of_cstr(work->ns);
        enum err err = kv_get(f->c.kv, &ref, NOW, KV_WANT_ALL, &f->c.arena, &entry);
        bool nothing = err == ERR_KEY_NOT_EXIST || (disturbed && err == ERR_CORRUPT);
        if (err && !nothing)
            fail_msg("%s: %s", work->key, err_text(err));
        bool before = work->may_before && (err ? !work->before : is_value(&entry, work->before));
        bool after = work->may_after && (err ? !work->after : is_value(&entry, work->after));
        if (!before && !after)
            fail_msg("%s is neither as it was nor as it may be", work->key);
    }
    arena_done(&f->c.arena);
}

/* A page is whole, or it is an error. */
static void list_kept(struct fails *f) {
    struct waited waited = WAITED;
    struct kv_list list = {.storage = KV_HDD,
                           .workspace = {{1}},
                           .ns = SLICE("default"),
                           .prefix = SLICE("kept-"),
                           .limit = 100,
                           .now_ms = NOW,
                           .arena = &f->c.arena,
                           .done = list_came,
                           .context = &waited};
    enum err err = kv_list_keys(f->c.kv, &list);
    if (err == ERR_PENDING) {
        waited_for(&waited);
        err = list.err;
    }
    if (!err)
        assert_int_equal(list.key_count, KEPT);
}

static void count_all(struct fails *f) {
    struct waited waited = WAITED;
    struct kv_count count = {
        .storage = KV_HDD, .now_ms = NOW, .done = count_came, .context = &waited};
    enum err err = kv_count_keys(f->c.kv, &count);
    if (err == ERR_PENDING) {
        waited_for(&waited);
        err = count.err;
    }
    if (!err)
        assert_in_range(count.keys, KEPT + 10, KEPT + 13);
}

static void read_all(struct fails *f) {
    struct kv_entry entry;
    struct kv_stats stats;
    list_kept(f);
    count_all(f);
    for (unsigned i = 0; i < KEPT; i += 8) {
        enum err err = get_at(&f->c, kept_key(i), NOW, &entry);
        if (!err)
            assert_true(is_value(&entry, "a value that stays"));
        assert_int_not_equal(err, ERR_KEY_NOT_EXIST);
    }
    kv_stats(f->c.kv, KV_HDD, &stats);
    arena_done(&f->c.arena);
}

static bool work_failing(struct fails *f, const struct way *way, long n) {
    fails_copy(f, f->stopped);
    if (fails_open(f, 2))
        fail_msg("%s", f->why);
    nth_arm(way->kinds, n, way->error, way->lasting);
    write_all(f);
    read_all(f);
    bool fired = nth_disarm();
    check_works(f, true);
    if (way->kinds == NTH_MEMORY) /* it goes on */
        assert_int_equal(do_one(f, op_of(f, KV_SET, FRESH), FRESH), OK);
    fails_close(f);
    if (fails_open(f, 2))
        fail_msg("%ld: %s", n, f->why);
    check_works(f, false);
    fails_check_kept(f);
    fails_close(f);
    return fired;
}

static void test_what_was_answered_is_true_whatever_failed(void **state) {
    struct fails *f = *state;
    memset(big, 'b', sizeof big - 1);
    for (unsigned i = 0; i < FAILS_WAYS; i++)
        for (long n = 1; work_failing(f, &fails_ways[i], n); n = nth_next(n))
            continue;
}

static void test_what_was_answered_is_true_of_sealed_values_too(void **state) {
    struct fails *f = *state;
    static const struct way ways[] = {{NTH_MEMORY, 0, false}, {NTH_LMDB, EIO, false}};
    memset(big, 'b', sizeof big - 1);
    for (unsigned i = 0; i < 2; i++)
        for (long n = 1; work_failing(f, &ways[i], n); n = nth_next(n))
            continue;
    open_each(f, f->killed, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_an_open_that_fails_says_why_and_the_next_finds_everything, fails_setup,
            fails_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_replay_that_fails_says_why_and_the_next_finds_everything, fails_setup,
            fails_teardown),
        cmocka_unit_test_setup_teardown(test_shards_that_cannot_be_rebuilt_stay_as_they_were,
                                        fails_setup, fails_teardown),
        cmocka_unit_test_setup_teardown(test_a_directory_that_cannot_be_made_is_made_the_next_time,
                                        fails_setup, fails_teardown),
        cmocka_unit_test_setup_teardown(test_what_was_answered_is_true_whatever_failed, fails_setup,
                                        fails_teardown),
        cmocka_unit_test_setup_teardown(test_what_was_answered_is_true_of_sealed_values_too,
                                        fails_setup_sealed, fails_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
