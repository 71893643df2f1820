/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "journal/committer.h"
#include "journal/segment.h"

#define SEGMENT_BYTES 4096
#define RECORDS 40

struct fixture {
    char dir[64];
    struct journal *journal;
    uint64_t replayed; /* records seen, each next to the one before */
    uint64_t first;    /* the first of them */
    bool wrong;
};

static enum err take(void *context, uint64_t seq, struct slice record) {
    struct fixture *f = context;
    char wanted[32];
    int len = snprintf(wanted, sizeof wanted, "record %llu", (unsigned long long)seq);
    if (f->replayed == 0)
        f->first = seq;
    f->wrong |=
        seq != f->first + f->replayed || !slice_equal(record, slice_make(wanted, (size_t)len));
    f->replayed++;
    return OK;
}

static enum err open_at(struct fixture *f, const char *dir, uint64_t applied_seq, char *why) {
    struct journal_options options = {dir, SEGMENT_BYTES, applied_seq, take, f};
    f->replayed = 0;
    f->first = 0;
    f->wrong = false;
    return journal_open(&options, &f->journal, why, 300);
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    char why[300] = "";
    snprintf(f->dir, sizeof f->dir, "%s/hati-journal-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm"); /* it is synced a thousand times */
    assert_non_null(mkdtemp(f->dir));
    if (open_at(f, f->dir, 0, why))
        fail_msg("%s", why);
    *state = f;
    return 0;
}

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...) {
    char command[400];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    if (f->journal)
        journal_close(f->journal);
    run("rm -rf %s %s-copy", f->dir, f->dir);
    free(f);
    return 0;
}

/* Appends blocks of `each` records until there are RECORDS; syncs each where wanted. */
static void append(struct fixture *f, unsigned each, bool sync) {
    struct journal_block block = {0};
    uint64_t last = journal_next_seq(f->journal) + RECORDS - 1;
    while (journal_next_seq(f->journal) <= last) {
        journal_block_begin(f->journal, &block);
        for (unsigned i = 0; i < each; i++) {
            char text[32];
            int len = snprintf(text, sizeof text, "record %llu",
                               (unsigned long long)(block.first_seq + block.count));
            char *to = journal_block_add(&block, (size_t)len);
            assert_non_null(to);
            memcpy(to, text, (size_t)len);
        }
        assert_int_equal(journal_reserve(f->journal, block.bytes.len), OK);
        assert_int_equal(journal_append(f->journal, &block), OK);
        if (sync)
            assert_int_equal(journal_sync(f->journal), OK);
    }
    buf_done(&block.bytes);
}

static void reopen(struct fixture *f, uint64_t applied_seq) {
    char why[300] = "";
    if (f->journal)
        journal_close(f->journal);
    f->journal = NULL;
    if (open_at(f, f->dir, applied_seq, why))
        fail_msg("%s", why);
    assert_false(f->wrong);
}

static void test_records_come_back_in_order_from_where_they_were_applied(void **state) {
    struct fixture *f = *state;
    append(f, 3, true);
    uint64_t next = journal_next_seq(f->journal);
    reopen(f, 0);
    assert_int_equal(f->replayed, next - 1);
    assert_int_equal(f->first, 1);
    assert_int_equal(journal_next_seq(f->journal), next);
    reopen(f, 7);
    assert_int_equal(f->first, 8);
    append(f, 1, true);
    reopen(f, next + 4);
    assert_int_equal(f->first, next + 5);
}

static void test_what_stood_outside_of_its_block_comes_back_whole(void **state) {
    struct fixture *f = *state;
    struct journal_block block = {0};
    char texts[JOURNAL_OUTSIDE_MAX + 2][32];
    journal_block_begin(f->journal, &block);
    struct journal_mark mark = journal_block_mark(&block);
    for (unsigned again = 0; again < 2; again++) { /* what is taken back leaves nothing */
        journal_block_go_back(&block, mark);
        for (unsigned i = 0; i < JOURNAL_OUTSIDE_MAX + 2; i++) {
            size_t len = (size_t)snprintf(texts[i], sizeof texts[i], "record %u", 1 + i);
            size_t inside = i == 1 ? len : i % 5;
            struct slice rest = slice_make(texts[i] + inside, len - inside);
            char *to = i == 1 ? journal_block_add(&block, len)
                              : journal_block_add_outside(&block, inside, rest);
            if (i <= JOURNAL_OUTSIDE_MAX)
                assert_non_null(to);
            else
                assert_null(to); /* there is an end to them */
            if (to)
                memcpy(to, texts[i], inside);
        }
    }
    assert_int_equal(journal_reserve(f->journal, block.bytes.len + block.outside_bytes), OK);
    assert_int_equal(journal_append(f->journal, &block), OK);
    journal_block_end(&block);
    buf_done(&block.bytes);
    append(f, 3, true);
    uint64_t next = journal_next_seq(f->journal);
    reopen(f, 0);
    assert_int_equal(f->replayed, next - 1);
}

static void test_numbers_never_go_back_even_where_the_journal_is_gone(void **state) {
    struct fixture *f = *state;
    journal_close(f->journal);
    f->journal = NULL;
    run("rm -rf %s", f->dir);
    reopen(f, 1000);
    assert_int_equal(journal_next_seq(f->journal), 1001);
}

static unsigned count_segments(struct fixture *f) {
    char command[200];
    unsigned count = 0;
    snprintf(command, sizeof command, "ls %s | grep -c segment-", f->dir);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%u", &count), 1);
    pclose(pipe);
    return count;
}

static void test_applied_segments_are_used_again_and_their_past_is_not_read(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < 30; i++) {
        append(f, 2, true);
        if (i % 3 == 2)
            journal_trim(f->journal, journal_next_seq(f->journal) - 5);
    }
    uint64_t next = journal_next_seq(f->journal);
    assert_true(count_segments(f) < 8);
    reopen(f, next - 5);
    assert_int_equal(f->replayed, 4);
    assert_int_equal(journal_next_seq(f->journal), next);
}

static void test_starts_that_write_nothing_leave_no_pile(void **state) {
    struct fixture *f = *state;
    append(f, 2, true);
    for (int i = 0; i < 10; i++)
        reopen(f, 0);
    assert_int_equal(f->replayed, RECORDS);
    assert_int_equal(count_segments(f), 2);
}

static off_t end_of_data(const char *path, char *bytes, size_t size) {
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t len = read(fd, bytes, size);
    close(fd);
    while (len > 0 && bytes[len - 1] == 0)
        len--;
    return len;
}

static void write_file(const char *path, const char *bytes, size_t len) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

/* The journal's second segment (the first that was appended to), cut at every byte in turn, what
 * follows being zeros: the blocks before the cut are all there. */
static void test_every_torn_tail_replays_to_what_stood_before(void **state) {
    struct fixture *f = *state;
    char path[120], copy[80], why[300], bytes[SEGMENT_BYTES], torn[SEGMENT_BYTES];
    struct fixture other = {0};
    append(f, 2, true);
    snprintf(path, sizeof path, "%s/segment-%016x", f->dir, 1);
    off_t end = end_of_data(path, bytes, sizeof bytes);
    assert_true(end > 1000);
    snprintf(copy, sizeof copy, "%s-copy", f->dir);
    uint64_t most = 0;
    for (off_t cut = SEGMENT_HEADER_BYTES; cut <= end; cut++) {
        run("rm -rf %s && mkdir %s", copy, copy);
        memset(torn, 0, sizeof torn);
        memcpy(torn, bytes, (size_t)cut);
        snprintf(path, sizeof path, "%s/segment-%016x", copy, 1);
        write_file(path, torn, sizeof torn);
        why[0] = 0;
        if (open_at(&other, copy, 0, why))
            fail_msg("cut at %ld: %s", (long)cut, why);
        assert_false(other.wrong);
        assert_true(other.replayed >= most && other.replayed <= most + 2);
        most = other.replayed;
        journal_close(other.journal);
    }
    assert_int_equal(most, RECORDS);
}

/* A byte that changed where something behind it shows that it had been safe. */
static void test_a_damaged_middle_is_refused_and_its_place_named(void **state) {
    struct fixture *f = *state;
    char path[120], why[300], bytes[SEGMENT_BYTES];
    append(f, 2, true);
    journal_close(f->journal);
    f->journal = NULL;
    snprintf(path, sizeof path, "%s/segment-%016x", f->dir, 1);
    off_t end = end_of_data(path, bytes, sizeof bytes);
    run("rm %s/segment-*[2-9a-f] 2>/dev/null; true", f->dir);
    unsigned refused = 0;
    for (off_t at = SEGMENT_HEADER_BYTES; at < end - 100; at += 7) {
        bytes[at] ^= 0x10;
        write_file(path, bytes, sizeof bytes);
        why[0] = 0;
        if (open_at(f, f->dir, 0, why) == OK) { /* padding between blocks may hold anything */
            assert_int_equal(f->replayed, RECORDS);
            journal_close(f->journal);
            run("rm %s/segment-*[2-9a-f]", f->dir);
        } else {
            assert_non_null(strstr(why, "segment-0000000000000001 offset "));
            refused++;
        }
        f->journal = NULL;
        bytes[at] ^= 0x10;
    }
    assert_true(refused > (end - 164) / 7 * 9 / 10);
}

/* Blocks that were written and not synced may be lost in any order: that is no damage. */
static void test_what_was_never_synced_may_be_missing_in_the_middle(void **state) {
    struct fixture *f = *state;
    char path[120], copy[80], why[300] = "", bytes[SEGMENT_BYTES];
    struct fixture other = {0};
    append(f, 2, false);
    snprintf(path, sizeof path, "%s/segment-%016x", f->dir, 1);
    off_t end = end_of_data(path, bytes, sizeof bytes);
    bytes[end / 2] ^= 0x10;
    snprintf(copy, sizeof copy, "%s-copy", f->dir);
    run("mkdir %s", copy);
    snprintf(path, sizeof path, "%s/segment-%016x", copy, 1);
    write_file(path, bytes, sizeof bytes);
    if (open_at(&other, copy, 0, why))
        fail_msg("%s", why);
    assert_false(other.wrong);
    assert_in_range(other.replayed, RECORDS / 4, RECORDS - 2);
    journal_close(other.journal);
}

static unsigned named, named_bare, given, given_unsynced, named_unsynced;

/* In place of libc's: of a directory, what got another name in it has that for good. */
int fsync(int fd) {
    struct stat stat;
    if (fstat(fd, &stat) == 0 && S_ISDIR(stat.st_mode))
        given_unsynced = 0;
    return (int)syscall(SYS_fsync, fd);
}

static _Atomic unsigned syncs;

/* In place of libc's: counts. */
int fdatasync(int fd) {
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

/* In place of libc's: looks at what gets the name of a segment. */
int rename(const char *from, const char *to) {
    struct segment segment;
    given += strstr(to, "/spare-") != NULL;
    given_unsynced += strstr(to, "/spare-") != NULL;
    named_unsynced += given_unsynced && strstr(to, "/segment-");
    if (strstr(to, "/segment-")) {
        int fd = open(from, O_RDONLY);
        named++;
        named_bare += segment_read_header(fd, &segment) != OK ||
                      strtoull(strstr(to, "/segment-") + 9, NULL, 16) != segment.number;
        close(fd);
    }
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

static void test_no_segment_has_its_name_before_its_header(void **state) {
    struct fixture *f = *state;
    named = named_bare = 0;
    reopen(f, 0);
    append(f, 1, true);
    assert_int_equal(journal_reserve(f->journal, 4 * SEGMENT_BYTES), OK);
    assert_int_equal(journal_reserve(f->journal, 8 * SEGMENT_BYTES), OK);
    assert_true(named >= 3);
    assert_int_equal(named_bare, 0);
}

static void test_a_segment_used_again_lost_its_old_name_for_good(void **state) {
    struct fixture *f = *state;
    given = given_unsynced = named_unsynced = 0;
    for (int i = 0; i < 5; i++) {
        append(f, 1, true);
        journal_trim(f->journal, journal_next_seq(f->journal) - 1);
        assert_int_equal(given_unsynced, 0);
    }
    assert_true(given > 0);
    assert_int_equal(named_unsynced, 0);
}

/* What clients wrote may look like heads of blocks: a start must not hash half a segment for each.
 * Without the bound this test does not end. */
static void test_values_that_look_like_blocks_do_not_hold_up_a_start(void **state) {
    struct fixture *f = *state;
    struct journal_options options = {f->dir, 16U << 20, 0, take, f};
    char why[300] = "";
    journal_close(f->journal);
    f->journal = NULL;
    run("rm -rf %s/*", f->dir);
    assert_int_equal(journal_open(&options, &f->journal, why, sizeof why), OK);
    append(f, 1, true);
    journal_close(f->journal);
    f->journal = NULL;
    struct block_header header = {8U << 20, 1, RECORDS + 2, RECORDS + 1};
    struct segment segment = {.number = 1};
    char *block = calloc(1, BLOCK_HEADER_BYTES + header.payload_bytes);
    char path[100];
    assert_non_null(block);
    struct slice whole = slice_make(block, BLOCK_HEADER_BYTES + header.payload_bytes);
    block_seal(&segment, 0, &header, &whole, 1);
    snprintf(path, sizeof path, "%s/segment-0000000000000001", f->dir);
    int fd = open(path, O_RDWR);
    for (off_t at = 1U << 16; at < 8 << 20; at += BLOCK_HEADER_BYTES)
        assert_int_equal(pwrite(fd, block, BLOCK_HEADER_BYTES, at), BLOCK_HEADER_BYTES);
    close(fd);
    free(block);
    assert_int_equal(journal_open(&options, &f->journal, why, sizeof why), OK);
    assert_int_equal(journal_next_seq(f->journal), RECORDS + 1);
}

static void test_a_missing_segment_is_refused(void **state) {
    struct fixture *f = *state;
    char why[300] = "";
    for (int i = 0; i < 12; i++)
        append(f, 2, true);
    assert_true(count_segments(f) > 2);
    journal_close(f->journal);
    f->journal = NULL;
    run("mv %s/segment-%016x %s/gone", f->dir, 2, f->dir);
    assert_int_equal(open_at(f, f->dir, 0, why), ERR_CORRUPT);
    f->journal = NULL;
    run("mv %s/gone %s/segment-%016x", f->dir, f->dir, 2);
    run("mv %s/segment-%016x %s/gone", f->dir, 1, f->dir);
    assert_int_equal(open_at(f, f->dir, 0, why), ERR_CORRUPT);
    f->journal = NULL;
}

/* Replayed, its records would put old states in place of new ones. */
static void test_a_segment_that_begins_before_the_end_of_the_one_before_is_refused(void **state) {
    struct fixture *f = *state;
    struct segment segment;
    char path[120], why[300] = "";
    for (int i = 0; i < 12; i++)
        append(f, 2, true);
    assert_true(count_segments(f) > 2);
    journal_close(f->journal);
    f->journal = NULL;
    snprintf(path, sizeof path, "%s/segment-%016x", f->dir, 2);
    int fd = open(path, O_RDWR);
    assert_int_equal(segment_read_header(fd, &segment), OK);
    segment.first_seq -= 2;
    assert_int_equal(segment_begin(&segment), OK);
    close(fd);
    assert_int_equal(open_at(f, f->dir, 0, why), ERR_CORRUPT);
    f->journal = NULL;
    assert_non_null(strstr(why, "another journal's"));
}

static void test_a_block_larger_than_a_segment_has_one_of_its_own(void **state) {
    struct fixture *f = *state;
    append(f, 200, true);
    append(f, 1, true);
    uint64_t next = journal_next_seq(f->journal);
    reopen(f, 0);
    assert_int_equal(f->replayed, next - 1);
}

/* The committer, with jobs that each add a record. */
struct job {
    struct commit_job job;
    struct fixture *f;
    unsigned number;
    bool refused, finished;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned finished;
    unsigned order_wrong;
    uint64_t published;
    unsigned unpublished_finishes;
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void ignore(void *context) {
    (void)context;
}

static uint64_t size_of_job(const struct commit_job *job) {
    (void)job;
    return 64;
}

static void prepare(void *context, struct commit_job *job, struct journal_block *block) {
    (void)context, (void)job;
    char text[32];
    int len = snprintf(text, sizeof text, "record %llu",
                       (unsigned long long)(block->first_seq + block->count));
    char *to = journal_block_add(block, (size_t)len);
    if (to)
        memcpy(to, text, (size_t)len);
}

static void refuse(struct commit_job *job, enum err err) {
    (void)err;
    ((struct job *)job)->refused = true;
}

static void publish(void *context, uint64_t last_seq) {
    (void)context;
    seen.published = last_seq;
}

static void finish(struct commit_job *base) {
    struct job *job = (struct job *)base;
    pthread_mutex_lock(&seen.lock);
    seen.order_wrong += job->number != seen.finished;
    seen.unpublished_finishes += seen.published < job->number + 1;
    seen.finished++;
    job->finished = true;
    pthread_cond_signal(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static void test_jobs_of_one_thread_are_finished_in_order_after_they_are_published(void **state) {
    struct fixture *f = *state;
    static struct job jobs[2000];
    struct commit_user user = {NULL, size_of_job, prepare, refuse, finish};
    struct committer_options options = {
        .journal = f->journal, .before = ignore, .publish = publish, .lost = ignore};
    struct committer *committer;
    assert_int_equal(committer_open(&options, &committer), OK);
    assert_int_equal(committer_run(committer), OK);
    for (unsigned i = 0; i < 2000; i++) {
        jobs[i] = (struct job){.job.user = &user, .f = f, .number = i};
        commit_submit(committer, &jobs[i].job);
    }
    committer_stop(committer);
    for (unsigned i = 0; i < 2000; i++)
        assert_true(jobs[i].finished && !jobs[i].refused);
    assert_int_equal(seen.order_wrong, 0);
    assert_int_equal(seen.unpublished_finishes, 0);
    reopen(f, 0);
    assert_int_equal(f->replayed, 2000);
}

#define ROUNDS_MAX 2000000U

/* A job that comes back as soon as it is done, so that the committer never rests. Its first two
 * rounds write. */
static struct {
    struct commit_job job;
    struct committer *committer;
    unsigned rounds;
    unsigned syncs; /* when it came back no more */
} restless;

static void prepare_restless(void *context, struct commit_job *job, struct journal_block *block) {
    if (restless.rounds < 2)
        prepare(context, job, block);
}

static void finish_restless(struct commit_job *job) {
    restless.syncs = syncs;
    if (restless.syncs < 2 && restless.rounds++ < ROUNDS_MAX)
        commit_submit(restless.committer, job);
}

static void test_the_interval_ends_although_jobs_that_write_nothing_never_pause(void **state) {
    struct fixture *f = *state;
    struct commit_user user = {NULL, size_of_job, prepare_restless, refuse, finish_restless};
    struct committer_options options = {.journal = f->journal,
                                        .interval_ms = 20,
                                        .before = ignore,
                                        .publish = publish,
                                        .lost = ignore};
    assert_int_equal(committer_open(&options, &restless.committer), OK);
    assert_int_equal(committer_run(restless.committer), OK);
    syncs = 0;
    restless.job.user = &user;
    commit_submit(restless.committer, &restless.job);
    committer_stop(restless.committer);
    assert_int_equal(restless.syncs, 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        CASE(test_records_come_back_in_order_from_where_they_were_applied),
        CASE(test_what_stood_outside_of_its_block_comes_back_whole),
        CASE(test_numbers_never_go_back_even_where_the_journal_is_gone),
        CASE(test_applied_segments_are_used_again_and_their_past_is_not_read),
        CASE(test_starts_that_write_nothing_leave_no_pile),
        CASE(test_every_torn_tail_replays_to_what_stood_before),
        CASE(test_a_damaged_middle_is_refused_and_its_place_named),
        CASE(test_what_was_never_synced_may_be_missing_in_the_middle),
        CASE(test_no_segment_has_its_name_before_its_header),
        CASE(test_a_segment_used_again_lost_its_old_name_for_good),
        CASE(test_values_that_look_like_blocks_do_not_hold_up_a_start),
        CASE(test_the_interval_ends_although_jobs_that_write_nothing_never_pause),
        CASE(test_a_missing_segment_is_refused),
        CASE(test_a_segment_that_begins_before_the_end_of_the_one_before_is_refused),
        CASE(test_a_block_larger_than_a_segment_has_one_of_its_own),
        CASE(test_jobs_of_one_thread_are_finished_in_order_after_they_are_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
