/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "journal/env.h"

#define READERS 4

struct readers {
    struct env *env;
    _Atomic bool stopping;
    _Atomic unsigned running;
};

/* Reads without a pause. */
static void *read_on(void *context) {
    struct readers *readers = context;
    atomic_fetch_add(&readers->running, 1);
    while (!atomic_load(&readers->stopping)) {
        struct env_read *read;
        if (env_read_begin(readers->env, &read))
            abort();
        for (unsigned i = 0; i < 200000; i++)
            (void)env_read_count(read, ENV_ENTRIES);
        env_read_end(read);
    }
    return NULL;
}

/* Where readers go first this test does not end. */
static void test_the_map_grows_among_readers_that_never_pause(void **state) {
    struct readers readers = {0};
    pthread_t threads[READERS];
    char dir[] = "/tmp/hati-env-XXXXXX";
    char command[100], why[300] = "";
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(env_open(dir, &readers.env, why, sizeof why), OK);
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers), 0);
    while (atomic_load(&readers.running) < READERS) {
    }
    for (unsigned i = 0; i < 8; i++) {
        struct env_write *write;
        assert_int_equal(env_write_begin(readers.env, (uint64_t)1 << (30 + i), &write), OK);
        env_write_abort(write);
    }
    atomic_store(&readers.stopping, true);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    env_close(readers.env);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

#define ENTRIES 3000U

static void write_entries(struct env *env, char value, uint64_t more_bytes) {
    struct env_write *write;
    char key[16], bytes[300];
    assert_int_equal(env_write_begin(env, more_bytes, &write), OK);
    memset(bytes, value, sizeof bytes);
    for (unsigned i = 0; i < ENTRIES; i++) {
        snprintf(key, sizeof key, "key-%05u", i);
        assert_int_equal(
            env_write_put(write, ENV_ENTRIES, slice_of_cstr(key), slice_make(bytes, sizeof bytes)),
            OK);
    }
    assert_int_equal(env_write_commit(write), OK);
}

static void read_entries(struct env_read *read, unsigned from, unsigned to, char wanted) {
    struct env_cursor *cursor;
    struct slice key, value;
    char first[16];
    snprintf(first, sizeof first, "key-%05u", from);
    assert_int_equal(env_cursor_open(read, ENV_ENTRIES, &cursor), OK);
    enum err err = env_cursor_seek(cursor, slice_of_cstr(first), &key, &value);
    for (unsigned i = from; i < to; i++) {
        assert_int_equal(err, OK);
        assert_int_equal(value.len, 300);
        assert_int_equal(value.ptr[299], wanted);
        err = env_cursor_next(cursor, &key, &value);
    }
    env_cursor_close(cursor);
}

struct paused {
    struct env *env;
    struct env_read *read;
};

static void *go_on(void *context) {
    const struct paused *paused = context;
    for (unsigned i = 0; i < ENTRIES; i += 500) {
        env_read_resume(paused->read);
        read_entries(paused->read, i, i + 500, 'a');
        env_read_pause(paused->read);
        write_entries(paused->env, (char)('c' + i / 500), (uint64_t)1 << (32 + i / 500));
    }
    env_read_resume(paused->read);
    env_read_end(paused->read);
    return NULL;
}

static void test_a_paused_read_stays_as_it_was_while_the_map_grows_and_moves(void **state) {
    struct paused paused;
    pthread_t thread;
    char dir[] = "/tmp/hati-env-XXXXXX";
    char command[100], why[300] = "";
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(env_open(dir, &paused.env, why, sizeof why), OK);
    write_entries(paused.env, 'a', 1U << 20);
    assert_int_equal(env_read_begin(paused.env, &paused.read), OK);
    env_read_pause(paused.read);
    write_entries(paused.env, 'b', (uint64_t)1 << 31);
    assert_int_equal(pthread_create(&thread, NULL, go_on, &paused), 0);
    pthread_join(thread, NULL);
    assert_int_equal(env_read_begin(paused.env, &paused.read), OK);
    read_entries(paused.read, 0, ENTRIES, 'h');
    env_read_end(paused.read);
    env_close(paused.env);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_map_grows_among_readers_that_never_pause),
        cmocka_unit_test(test_a_paused_read_stays_as_it_was_while_the_map_grows_and_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
