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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_map_grows_among_readers_that_never_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
