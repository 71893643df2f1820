/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "journal/datadir.h"

#define SEGMENT_BYTES 4096

/* A store that counts what it is told. */
struct store {
    struct datadir_store store;
    struct datadir *datadir;
    unsigned replayed;
    uint64_t first_replayed;
    unsigned foreign; /* records of another kind */
    unsigned calls;   /* of before and publish */
    uint64_t published;
    unsigned started, closed, lost;
    enum err start_err;
};

struct fixture {
    char dir[64];
    struct datadir *datadir;
    struct store a, b;
};

static _Atomic unsigned syncs;
static _Atomic bool sync_fails;

/* In place of libc's: counts. */
int fdatasync(int fd) {
    syncs++;
    return sync_fails ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static enum err replay(void *context, uint64_t seq, struct slice record) {
    struct store *store = context;
    if (store->replayed++ == 0)
        store->first_replayed = seq;
    store->foreign += !strchr(store->store.kinds, record.ptr[0]);
    return OK;
}

static enum err started(void *context) {
    struct store *store = context;
    store->started++;
    return store->start_err;
}

static void closing(void *context) {
    ((struct store *)context)->closed++;
}

static void before(void *context) {
    ((struct store *)context)->calls++;
}

static void publish(void *context, uint64_t last_seq) {
    ((struct store *)context)->published = last_seq;
}

static void lost(void *context) {
    ((struct store *)context)->lost++;
}

static void add(struct fixture *f, struct store *store, const char *kinds, uint64_t applied_seq) {
    *store = (struct store){.datadir = f->datadir, .start_err = store->start_err};
    store->store = (struct datadir_store){.context = store,
                                          .kinds = kinds,
                                          .applied_seq = applied_seq,
                                          .replay = replay,
                                          .started = started,
                                          .closing = closing,
                                          .before = before,
                                          .publish = publish,
                                          .lost = lost};
    datadir_add(f->datadir, &store->store);
}

static void close_dir(struct fixture *f) {
    datadir_close(f->datadir);
    f->datadir = NULL;
}

static void open_dir(struct fixture *f) {
    char why[300] = "";
    struct datadir_options options = {.dir = f->dir, .segment_bytes = SEGMENT_BYTES};
    close_dir(f);
    if (datadir_open(&options, &f->datadir, why, sizeof why))
        fail_msg("%s", why);
}

/* Opens it with both stores, who came so far. */
static enum err start(struct fixture *f, uint64_t a_applied, uint64_t b_applied, char *why) {
    open_dir(f);
    add(f, &f->a, "aA", a_applied);
    add(f, &f->b, "b", b_applied);
    return datadir_start(f->datadir, why, 300);
}

static void start_well(struct fixture *f, uint64_t a_applied, uint64_t b_applied) {
    char why[300] = "";
    if (start(f, a_applied, b_applied, why))
        fail_msg("%s", why);
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/hati-datadir-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    start_well(f, 0, 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    char command[100];
    close_dir(f);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* A job that adds one record, and is waited for. */
struct job {
    struct commit_job job;
    char kind;
    size_t len;
    bool done;
    enum err err;
    unsigned syncs;           /* when it was finished */
    struct job *followers[2]; /* submitted while it is prepared: they make the next batch */
    struct datadir *datadir;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static uint64_t size_of_job(const struct commit_job *job) {
    return ((const struct job *)job)->len + 8;
}

static void prepare(void *context, struct commit_job *base, struct journal_block *block) {
    (void)context;
    struct job *job = (struct job *)base;
    char *to = journal_block_add(block, job->len);
    assert_non_null(to);
    memset(to, job->kind, job->len);
    for (unsigned i = 0; i < 2 && job->followers[i]; i++)
        commit_submit(datadir_committer(job->datadir), &job->followers[i]->job);
}

static void end(struct commit_job *base, enum err err) {
    struct job *job = (struct job *)base;
    pthread_mutex_lock(&job->lock);
    job->syncs = syncs;
    job->err = err;
    job->done = true;
    pthread_cond_signal(&job->changed);
    pthread_mutex_unlock(&job->lock);
}

static void finish(struct commit_job *job) {
    end(job, OK);
}

static const struct commit_user user = {NULL, size_of_job, prepare, end, finish};

/* How many syncs there were when it was done. */
static void wait_for(struct job *job) {
    pthread_mutex_lock(&job->lock);
    while (!job->done)
        pthread_cond_wait(&job->changed, &job->lock);
    pthread_mutex_unlock(&job->lock);
}

static unsigned write_record(struct fixture *f, char kind, size_t len, bool lazy, enum err wanted) {
    struct job job = {.job = {.user = &user, .lazy = lazy},
                      .kind = kind,
                      .len = len,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .changed = PTHREAD_COND_INITIALIZER};
    commit_submit(datadir_committer(f->datadir), &job.job);
    wait_for(&job);
    assert_int_equal(job.err, wanted);
    return job.syncs;
}

static void write_kinds(struct fixture *f, const char *kinds) {
    for (const char *at = kinds; *at; at++)
        (void)write_record(f, *at, 10, false, OK);
}

static void test_each_store_gets_its_own_records_behind_its_own_position(void **state) {
    struct fixture *f = *state;
    write_kinds(f, "aabAbba");
    assert_int_equal(f->a.published, 7);
    assert_int_equal(f->b.published, 7);
    assert_true(f->a.calls > 0 && f->a.calls == f->b.calls);
    start_well(f, 0, 0);
    assert_int_equal(f->a.replayed, 4);
    assert_int_equal(f->b.replayed, 3);
    start_well(f, 2, 5);
    assert_int_equal(f->a.replayed, 2);
    assert_int_equal(f->a.first_replayed, 4);
    assert_int_equal(f->b.replayed, 1);
    assert_int_equal(f->b.first_replayed, 6);
    assert_int_equal(f->a.foreign + f->b.foreign, 0);
    assert_int_equal(journal_next_seq(datadir_journal(f->datadir)), 8);
}

static void test_a_record_of_nobody_is_refused(void **state) {
    struct fixture *f = *state;
    char why[300] = "";
    write_kinds(f, "abx");
    assert_int_equal(start(f, 0, 0, why), ERR_CORRUPT);
    assert_non_null(strstr(why, "cannot be read"));
    assert_int_equal(f->a.started, 0);
}

static void test_a_journal_that_lacks_what_one_store_has_is_refused(void **state) {
    struct fixture *f = *state;
    char command[100], why[300] = "";
    write_kinds(f, "abab");
    close_dir(f);
    snprintf(command, sizeof command, "rm -rf %s/journal", f->dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(start(f, 4, 2, why), ERR_CORRUPT);
    assert_non_null(strstr(why, "missing"));
    start_well(f, 4, 4); /* both have all there was */
    assert_int_equal(journal_next_seq(datadir_journal(f->datadir)), 5);
}

static bool is_there(struct fixture *f, unsigned segment) {
    char path[120];
    snprintf(path, sizeof path, "%s/journal/segment-%016x", f->dir, segment);
    return access(path, F_OK) == 0;
}

static uint64_t lag(struct fixture *f) {
    struct datadir_figures figures;
    datadir_figures(f->datadir, &figures);
    return figures.lag_records;
}

static void test_a_segment_is_kept_until_the_slower_store_is_past_it(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < 20; i++)
        (void)write_record(f, i % 2 ? 'a' : 'b', 1000, false, OK);
    assert_true(is_there(f, 1));
    assert_int_equal(lag(f), 20);
    datadir_trim(f->datadir, &f->a.store, 20);
    assert_true(is_there(f, 1));
    assert_int_equal(lag(f), 20);
    datadir_trim(f->datadir, &f->b.store, 2);
    assert_true(is_there(f, 1));
    assert_int_equal(lag(f), 18);
    datadir_trim(f->datadir, &f->b.store, 9);
    assert_false(is_there(f, 1));
    assert_true(is_there(f, 4));
    datadir_trim(f->datadir, &f->a.store, 5); /* it never goes back */
    datadir_trim(f->datadir, &f->b.store, 20);
    assert_false(is_there(f, 4));
    assert_int_equal(lag(f), 0);
}

/* One store was there before the other: the journal begins behind what the new one never had. */
static void test_a_store_that_is_new_needs_nothing_that_was_before_it(void **state) {
    struct fixture *f = *state;
    char why[300] = "";
    for (int i = 0; i < 12; i++)
        (void)write_record(f, 'a', 1000, false, OK);
    datadir_trim(f->datadir, &f->a.store, 10);
    datadir_trim(f->datadir, &f->b.store, 10);
    assert_false(is_there(f, 1));
    assert_int_equal(start(f, 10, 0, why), ERR_CORRUPT);
    open_dir(f);
    add(f, &f->a, "aA", 10);
    add(f, &f->b, "b", 0);
    f->b.store.is_new = true;
    assert_int_equal(datadir_start(f->datadir, why, sizeof why), OK);
    assert_int_equal(f->a.replayed, 2);
    assert_int_equal(f->b.store.applied_seq, 12);
    write_kinds(f, "b");
    open_dir(f);
    add(f, &f->a, "aA", 10);
    add(f, &f->b, "b", 0);
    f->b.store.is_new = true; /* its files are gone: it was not new */
    assert_int_equal(datadir_start(f->datadir, why, sizeof why), ERR_CORRUPT);
    start_well(f, 10, 12);
    assert_int_equal(f->b.replayed, 1);
}

static void test_a_lazy_job_is_finished_before_its_sync_and_is_in_the_journal(void **state) {
    struct fixture *f = *state;
    write_kinds(f, "a");
    syncs = 0;
    assert_int_equal(write_record(f, 'a', 10, true, OK), 0);
    while (syncs == 0) /* it comes without another job */
        ;
    syncs = 0;
    assert_int_equal(write_record(f, 'b', 10, false, OK), 1);
    syncs = 0;
    assert_int_equal(write_record(f, 'b', 10, true, OK), 0);
    start_well(f, 0, 0);
    assert_int_equal(f->a.replayed, 2);
    assert_int_equal(f->b.replayed, 2);
}

static struct job new_job(bool lazy, bool early) {
    return (struct job){.job = {.user = &user, .lazy = lazy, .early = early},
                        .kind = 'a',
                        .len = 10,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .changed = PTHREAD_COND_INITIALIZER};
}

static void test_an_early_job_does_not_wait_for_the_sync_of_its_batch(void **state) {
    struct fixture *f = *state;
    struct job usual = new_job(false, false);
    struct job early = new_job(true, true);
    struct job first = new_job(false, false);
    first.followers[0] = &usual;
    first.followers[1] = &early;
    first.datadir = f->datadir;
    commit_submit(datadir_committer(f->datadir), &first.job);
    wait_for(&first);
    wait_for(&usual);
    wait_for(&early);
    assert_int_equal(early.syncs, first.syncs);
    assert_int_equal(usual.syncs, first.syncs + 1);
    start_well(f, 0, 0);
    assert_int_equal(f->a.replayed, 3);
}

static void test_what_follows_a_lazy_job_is_synced_with_it(void **state) {
    struct fixture *f = *state;
    syncs = 0;
    for (int i = 0; i < 50; i++) {
        (void)write_record(f, 'a', 10, true, OK);
        syncs = 0;
        assert_true(write_record(f, 'b', 10, false, OK) > 0);
    }
}

static void test_every_store_hears_once_that_the_journal_is_lost(void **state) {
    struct fixture *f = *state;
    sync_fails = true;
    (void)write_record(f, 'a', 10, false, ERR_TIMEOUT);
    (void)write_record(f, 'a', 10, false, ERR_UNAVAILABLE);
    sync_fails = false;
    assert_int_equal(f->a.lost, 1);
    assert_int_equal(f->b.lost, 1);
    assert_int_equal(f->a.published, 0);
}

static void test_where_one_store_cannot_start_all_are_closed(void **state) {
    struct fixture *f = *state;
    char why[300] = "";
    f->b.start_err = ERR_OUT_OF_MEMORY;
    assert_int_equal(start(f, 0, 0, why), ERR_OUT_OF_MEMORY);
    f->b.start_err = OK;
    assert_true(why[0]);
    assert_int_equal(f->a.started, 1);
    assert_int_equal(f->a.closed, 1);
    assert_int_equal(f->b.closed, 1);
    datadir_stop(f->datadir);
    assert_int_equal(f->a.closed, 1);
}

static void test_a_second_one_of_the_same_directory_is_refused(void **state) {
    struct fixture *f = *state;
    struct datadir *other;
    char why[300] = "";
    struct datadir_options options = {.dir = f->dir};
    assert_int_equal(datadir_open(&options, &other, why, sizeof why), ERR_CONFLICT);
    assert_non_null(strstr(why, "another process"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        CASE(test_each_store_gets_its_own_records_behind_its_own_position),
        CASE(test_a_record_of_nobody_is_refused),
        CASE(test_a_journal_that_lacks_what_one_store_has_is_refused),
        CASE(test_a_segment_is_kept_until_the_slower_store_is_past_it),
        CASE(test_a_store_that_is_new_needs_nothing_that_was_before_it),
        CASE(test_a_lazy_job_is_finished_before_its_sync_and_is_in_the_journal),
        CASE(test_an_early_job_does_not_wait_for_the_sync_of_its_batch),
        CASE(test_what_follows_a_lazy_job_is_synced_with_it),
        CASE(test_every_store_hears_once_that_the_journal_is_lost),
        CASE(test_where_one_store_cannot_start_all_are_closed),
        CASE(test_a_second_one_of_the_same_directory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
