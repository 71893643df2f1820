/* SPDX-License-Identifier: MIT */
/* The durable store in a data directory that another store has a part in. */
#include "kv_case.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "journal/datadir.h"

#define SEGMENT_BYTES 4096

struct fixture {
    struct kv_case c; /* first */
    struct datadir *datadir;
    struct datadir_store other; /* has everything at once */
    uint64_t replayed;
};

static enum err replay_other(void *context, uint64_t seq, struct slice record) {
    (void)seq, (void)record;
    ((struct fixture *)context)->replayed++;
    return OK;
}

static enum err start_other(void *context) {
    (void)context;
    return OK;
}

static void ignore(void *context) {
    (void)context;
}

static void publish_other(void *context, uint64_t last_seq) {
    struct fixture *f = context;
    datadir_trim(f->datadir, &f->other, last_seq);
}

static void open_store(struct fixture *f) {
    char why[300] = "";
    struct datadir_options dir = {.dir = f->c.dir, .segment_bytes = SEGMENT_BYTES};
    if (datadir_open(&dir, &f->datadir, why, sizeof why))
        fail_msg("%s", why);
    struct kv_options options = {.datadir = f->datadir, .write_buffer_bytes = 8 * SEGMENT_BYTES};
    if (kv_open(&options, &f->c.kv, why, sizeof why))
        fail_msg("%s", why);
    f->replayed = 0;
    f->other = (struct datadir_store){.context = f,
                                      .kinds = "o",
                                      .replay = replay_other,
                                      .started = start_other,
                                      .closing = ignore,
                                      .before = ignore,
                                      .publish = publish_other};
    datadir_add(f->datadir, &f->other);
    if (datadir_start(f->datadir, why, sizeof why))
        fail_msg("%s", why);
}

static void close_store(struct fixture *f) {
    datadir_stop(f->datadir);
    kv_close(f->c.kv);
    datadir_close(f->datadir);
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->c.storage = KV_HDD;
    arena_init(&f->c.arena, 1U << 20);
    clock_move_for_test(NOW - 3600000 - clock_wall_ms());
    snprintf(f->c.dir, sizeof f->c.dir, "/tmp/hati-unit-XXXXXX");
    assert_non_null(mkdtemp(f->c.dir));
    open_store(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    char command[100];
    close_store(f);
    snprintf(command, sizeof command, "rm -rf %s", f->c.dir);
    assert_int_equal(system(command), 0);
    arena_done(&f->c.arena);
    free(f);
    return 0;
}

/* A job of the other store: a record of its own, and a stage. */
struct job {
    struct commit_job job; /* first */
    struct fixture *f;
    struct kv_op *ops;
    unsigned op_count;
    size_t record_bytes;
    enum err err;
    struct waited waited;
};

static uint64_t size_of_job(const struct commit_job *base) {
    const struct job *job = (const struct job *)base;
    uint64_t size = job->record_bytes + 8;
    for (unsigned i = 0; i < job->op_count; i++)
        size += kv_stage_size(&job->ops[i]);
    return size;
}

static enum err stage_ops(struct job *job, struct kv_stage *stage) {
    enum err err = OK;
    for (unsigned i = 0; i < job->op_count && !err; i++)
        err = kv_stage_op(stage, &job->ops[i]);
    return err;
}

static void prepare(void *context, struct commit_job *base, struct journal_block *block) {
    (void)context;
    struct job *job = (struct job *)base;
    struct kv *kv = job->f->c.kv;
    struct kv_stage *stage;
    for (unsigned i = 0; i < job->op_count && !job->err; i++)
        job->err = kv_stage_prepare(kv, &job->ops[i], block);
    struct journal_mark mark = journal_block_mark(block);
    if (!job->err)
        job->err = kv_stage_begin(kv, NOW, job->op_count, block, &stage);
    if (job->err)
        return;
    memset(journal_block_add(block, job->record_bytes), 'o', job->record_bytes);
    job->err = stage_ops(job, stage);
    if (job->err) {
        kv_stage_undo(stage);
        journal_block_go_back(block, mark);
    }
    kv_stage_end(stage);
}

static void finish(struct commit_job *base) {
    waited_done(&((struct job *)base)->waited);
}

static void refuse(struct commit_job *base, enum err err) {
    ((struct job *)base)->err = err;
    finish(base);
}

static const struct commit_user user = {NULL, size_of_job, prepare, refuse, finish};

static enum err submit_job(struct fixture *f, struct kv_op *ops, unsigned op_count,
                           size_t record_bytes, bool lazy) {
    struct job job = {.job = {.user = &user, .lazy = lazy},
                      .f = f,
                      .ops = ops,
                      .op_count = op_count,
                      .record_bytes = record_bytes,
                      .waited = WAITED};
    commit_submit(datadir_committer(f->datadir), &job.job);
    waited_for(&job.waited);
    return job.err;
}

static void test_entries_and_records_of_another_store_come_back(void **state) {
    struct fixture *f = *state;
    set_key(&f->c, "a", "1");
    assert_int_equal(submit_job(f, NULL, 0, 10, false), OK);
    set_key(&f->c, "b", "2");
    assert_string_equal(list_at(&f->c, "", "", 10, NOW), "a,b");
    assert_int_equal(submit_job(f, NULL, 0, 10, true), OK);
    close_store(f);
    open_store(f);
    assert_value(&f->c, "a", "1");
    assert_value(&f->c, "b", "2");
    assert_true(kv_is_ready(f->c.kv));
}

static void test_a_stage_is_seen_once_its_block_is_committed(void **state) {
    struct fixture *f = *state;
    struct kv_op ops[] = {set_op(&f->c, "n", "1"),
                          {.action = KV_INCREMENT, .ref = ref_of(&f->c, "n"), .by = 4},
                          {.action = KV_DELETE, .ref = ref_of(&f->c, "gone")}};
    set_key(&f->c, "gone", "1");
    assert_int_equal(submit_job(f, ops, 3, 10, false), OK);
    assert_int_equal(ops[1].number, 5);
    assert_true(ops[2].existed);
    assert_value(&f->c, "n", "5");
    assert_absent_at(&f->c, "gone", NOW);
    close_store(f);
    open_store(f);
    assert_value(&f->c, "n", "5");
    assert_absent_at(&f->c, "gone", NOW);
}

static void test_of_a_stage_that_failed_nothing_is_seen(void **state) {
    struct fixture *f = *state;
    struct kv_op ops[] = {set_op(&f->c, "a", "new"), set_op(&f->c, "b", "new"),
                          set_op(&f->c, "c", "new")};
    ops[1].ref.ns = SLICE("another"); /* its name stays */
    ops[2].condition = KV_IF_PRESENT;
    set_key(&f->c, "a", "old");
    assert_int_equal(submit_job(f, ops, 3, 10, false), ERR_PRECONDITION_FAILED);
    assert_int_equal(ops[2].err, ERR_PRECONDITION_FAILED);
    assert_value(&f->c, "a", "old");
    assert_absent_at(&f->c, "c", NOW);
    assert_int_equal(count_at(&f->c, NOW), 1);
    ops[2].condition = KV_IF_ABSENT;
    assert_int_equal(submit_job(f, ops, 3, 10, false), OK);
    assert_value(&f->c, "a", "new");
    assert_int_equal(count_at(&f->c, NOW), 3);
    close_store(f);
    open_store(f);
    struct kv_entry entry;
    assert_int_equal(kv_get(f->c.kv, &ops[1].ref, NOW, KV_WANT_ALL, &f->c.arena, &entry), OK);
    assert_int_equal(count_at(&f->c, NOW), 3);
}

/* The lister waits for what was put last, and what was taken back never comes into LMDB. */
static void test_after_a_failed_stage_listings_do_not_wait_for_what_it_took_back(void **state) {
    struct fixture *f = *state;
    struct kv_op ops[] = {set_op(&f->c, "a", "1"),
                          set_op(&f->c, "b", "1"),
                          {.action = KV_TOUCH, .ref = ref_of(&f->c, "absent")}};
    assert_int_equal(submit_job(f, ops, 3, 10, false), ERR_KEY_NOT_EXIST);
    assert_string_equal(list_at(&f->c, "", "", 10, NOW), "");
}

static void test_a_stage_takes_only_what_it_can_take_back(void **state) {
    struct fixture *f = *state;
    struct kv_op flush = {.action = KV_FLUSH_ALL, .ref = {.storage = KV_HDD}};
    assert_int_equal(submit_job(f, &flush, 1, 10, false), ERR_SYNTAX);
    struct kv_op memory = set_op(&f->c, "a", "1");
    memory.ref.storage = KV_MEMORY;
    assert_int_equal(submit_job(f, &memory, 1, 10, false), ERR_INTERNAL);
}

static void test_a_store_without_hdd_stages_nothing(void **state) {
    (void)state;
    struct kv_options options = {0};
    struct kv *kv;
    struct kv_stage *stage;
    char why[300];
    struct kv_op op = {.ref = {.storage = KV_HDD}};
    assert_int_equal(kv_open(&options, &kv, why, sizeof why), OK);
    assert_int_equal(kv_stage_prepare(kv, &op, NULL), ERR_UNAVAILABLE);
    assert_int_equal(kv_stage_begin(kv, NOW, 1, NULL, &stage), ERR_UNAVAILABLE);
    kv_close(kv);
}

/* Where kv does not say how far it is this test ends with the first segment still there: records
 * follow each other too fast for kv to rest. */
static void test_segments_are_used_again_although_only_another_store_writes(void **state) {
    struct fixture *f = *state;
    char path[120];
    snprintf(path, sizeof path, "%s/journal/segment-0000000000000001", f->c.dir);
    assert_int_equal(access(path, F_OK), 0);
    set_key(&f->c, "a", "1");
    for (int i = 0; i < 200000 && access(path, F_OK) == 0; i++)
        assert_int_equal(submit_job(f, NULL, 0, 1000, true), OK);
    assert_int_equal(access(path, F_OK), -1);
    assert_value(&f->c, "a", "1");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        CASE(test_entries_and_records_of_another_store_come_back),
        CASE(test_a_stage_is_seen_once_its_block_is_committed),
        CASE(test_of_a_stage_that_failed_nothing_is_seen),
        CASE(test_after_a_failed_stage_listings_do_not_wait_for_what_it_took_back),
        CASE(test_a_stage_takes_only_what_it_can_take_back),
        CASE(test_a_store_without_hdd_stages_nothing),
        CASE(test_segments_are_used_again_although_only_another_store_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
