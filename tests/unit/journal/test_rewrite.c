/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "journal/rewrite.h"

#define COUNT 20000U /* some transactions */

struct fixture {
    char dir[64], env[100], fresh[100];
    char why[300];
    unsigned calls, fails_at; /* of `entry`; 0: never */
    uint64_t told;
};

static void put(struct fixture *f, enum env_db db, uint32_t first, uint32_t count,
                const char *value) {
    struct env *env;
    struct env_write *write;
    char key[4];
    assert_int_equal(env_open(f->env, &env, f->why, sizeof f->why), OK);
    assert_int_equal(env_write_begin(env, 8U << 20, &write), OK);
    for (uint32_t i = first; i < first + count; i++) {
        put_be32(key, i);
        assert_int_equal(env_write_put(write, db, slice_make(key, 4), slice_of_cstr(value)), OK);
    }
    assert_int_equal(env_write_commit(write), OK);
    env_close(env);
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/hati-unit-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->env, sizeof f->env, "%s/env", f->dir);
    snprintf(f->fresh, sizeof f->fresh, "%s/fresh", f->dir);
    put(f, ENV_ENTRIES, 0, COUNT, "old value");
    put(f, ENV_EXPIRY, 5, 3, "expiry");
    put(f, ENV_SPACES, 7, 1, "space");
    put(f, ENV_META, 9, 1, "meta");
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    char command[200];
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static enum err rewrite_one(void *context, struct env_write *to, struct slice key,
                            struct slice value) {
    struct fixture *f = context;
    (void)value;
    if (++f->calls == f->fails_at)
        return ERR_UNAVAILABLE;
    return env_write_put(to, ENV_ENTRIES, key, SLICE("new value"));
}

static void note(void *context, uint64_t more) {
    ((struct fixture *)context)->told += more;
}

static enum err run(struct fixture *f, uint32_t mark, unsigned fails_at) {
    struct rewrite rewrite = {.dir = f->env,
                              .fresh = f->fresh,
                              .mark = mark,
                              .entry = rewrite_one,
                              .progress = note,
                              .context = f};
    f->calls = 0;
    f->told = 0;
    f->fails_at = fails_at;
    return rewrite_env(&rewrite, f->why, sizeof f->why);
}

static void check(struct fixture *f, uint32_t count, const char *wanted) {
    struct env *env;
    struct env_read *read;
    struct slice value;
    char key[4];
    assert_int_equal(env_open(f->env, &env, f->why, sizeof f->why), OK);
    assert_int_equal(env_read_begin(env, &read), OK);
    assert_int_equal(env_read_count(read, ENV_ENTRIES), count);
    assert_int_equal(env_read_count(read, ENV_EXPIRY), 3);
    for (uint32_t i = 0; i < count; i++) {
        put_be32(key, i);
        assert_int_equal(env_read_get(read, ENV_ENTRIES, slice_make(key, 4), &value), OK);
        assert_true(slice_equal(value, slice_of_cstr(wanted)));
    }
    put_be32(key, 7);
    assert_int_equal(env_read_get(read, ENV_SPACES, slice_make(key, 4), &value), OK);
    put_be32(key, 9);
    assert_int_equal(env_read_get(read, ENV_META, slice_make(key, 4), &value), OK);
    assert_true(slice_equal(value, SLICE("meta")));
    env_read_end(read);
    env_close(env);
}

static bool holds(const struct fixture *f, const char *text) {
    char command[300];
    snprintf(command, sizeof command, "grep -rqaF '%s' %s", text, f->dir);
    return system(command) == 0;
}

static void test_everything_is_written_anew_and_nothing_old_is_left(void **state) {
    struct fixture *f = *state;
    assert_int_equal(run(f, 1, 0), OK);
    assert_int_equal(f->calls, COUNT);
    assert_int_equal(f->told, COUNT);
    check(f, COUNT, "new value");
    assert_false(holds(f, "old value"));
    assert_int_equal(access(f->fresh, F_OK), -1);
}

static void test_what_is_done_is_not_done_again_until_something_changed(void **state) {
    struct fixture *f = *state;
    assert_int_equal(run(f, 1, 0), OK);
    assert_int_equal(run(f, 1, 0), OK);
    assert_int_equal(f->calls, 0);
    assert_int_equal(f->told, COUNT);
    assert_int_equal(run(f, 2, 0), OK); /* for another key */
    assert_int_equal(f->calls, COUNT);
    put(f, ENV_ENTRIES, COUNT, 1, "old value");
    assert_int_equal(run(f, 2, 0), OK);
    assert_int_equal(f->calls, COUNT + 1);
    check(f, COUNT + 1, "new value");
}

static void test_a_failure_leaves_it_as_it_was_and_the_next_run_goes_on(void **state) {
    struct fixture *f = *state;
    assert_int_equal(run(f, 1, COUNT - 10), ERR_UNAVAILABLE);
    check(f, COUNT, "old value");
    assert_int_equal(run(f, 1, 0), OK);
    assert_true(f->calls < COUNT / 2);
    assert_int_equal(f->told, COUNT);
    check(f, COUNT, "new value");
    assert_false(holds(f, "old value"));
}

static void test_a_run_cut_short_is_forgotten_where_something_changed_since(void **state) {
    struct fixture *f = *state;
    assert_int_equal(run(f, 1, COUNT - 10), ERR_UNAVAILABLE);
    put(f, ENV_ENTRIES, 3, 1, "changed");
    assert_int_equal(run(f, 1, COUNT - 10), ERR_UNAVAILABLE);
    assert_int_equal(run(f, 2, 0), OK); /* so it is for another key */
    assert_int_equal(f->calls, COUNT);
    check(f, COUNT, "new value");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_everything_is_written_anew_and_nothing_old_is_left),
        CASE(test_what_is_done_is_not_done_again_until_something_changed),
        CASE(test_a_failure_leaves_it_as_it_was_and_the_next_run_goes_on),
        CASE(test_a_run_cut_short_is_forgotten_where_something_changed_since),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
