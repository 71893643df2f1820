/* SPDX-License-Identifier: MIT */
/* Numbers that the journal leaves out, over restarts and crashes. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "journal/journal.h"
#include "journal/segment.h"

#define SEGMENT_BYTES 4096
#define FAR 1000000U
#define SEEN_MAX 64U

struct fixture {
    char dir[64];
    struct journal *journal;
    uint64_t seen[SEEN_MAX];
    unsigned count;
};

static enum err take(void *context, uint64_t seq, struct slice record) {
    struct fixture *f = context;
    assert_true(slice_equal(record, SLICE("record")));
    assert_in_range(f->count, 0, SEEN_MAX - 1);
    f->seen[f->count++] = seq;
    return OK;
}

static enum err open_at(struct fixture *f, uint64_t applied_seq) {
    char why[300] = "";
    struct journal_options options = {f->dir, SEGMENT_BYTES, applied_seq, take, f};
    f->count = 0;
    return journal_open(&options, &f->journal, why, sizeof why);
}

static void append(struct fixture *f, unsigned count) {
    struct journal_block block = {0};
    journal_block_begin(f->journal, &block);
    for (unsigned i = 0; i < count; i++) {
        char *to = journal_block_add(&block, 6);
        assert_non_null(to);
        memcpy(to, "record", 6);
    }
    assert_int_equal(journal_reserve(f->journal, block.bytes.len), OK);
    assert_int_equal(journal_append(f->journal, &block), OK);
    assert_int_equal(journal_sync(f->journal), OK);
    buf_done(&block.bytes);
}

/* Records 1 to 5, FAR to FAR + 3. */
static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/hati-journal-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(open_at(f, 0), OK);
    append(f, 5);
    assert_int_equal(journal_skip(f->journal, FAR, SLICE("record")), OK);
    assert_int_equal(journal_next_seq(f->journal), FAR + 1);
    append(f, 3);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    char command[100];
    if (f->journal)
        journal_close(f->journal);
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static enum err open_again(struct fixture *f, uint64_t applied_seq) {
    if (f->journal)
        journal_close(f->journal);
    f->journal = NULL;
    return open_at(f, applied_seq);
}

static void assert_seen(const struct fixture *f, unsigned count, uint64_t first, uint64_t last) {
    assert_int_equal(f->count, count);
    assert_int_equal(f->seen[0], first);
    assert_int_equal(f->seen[count - 1], last);
    assert_int_equal(journal_next_seq(f->journal), last + 1);
}

static int open_segment(const struct fixture *f, unsigned number) {
    char path[120];
    snprintf(path, sizeof path, "%s/segment-%016x", f->dir, number);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    return fd;
}

static void remove_segment(const struct fixture *f, unsigned number) {
    char path[120];
    snprintf(path, sizeof path, "%s/segment-%016x", f->dir, number);
    assert_int_equal(unlink(path), 0);
}

static void flip(const struct fixture *f, unsigned number, off_t at) {
    int fd = open_segment(f, number);
    char byte;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte = (char)(byte ^ 1);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void test_skipped_numbers_are_not_missed(void **state) {
    struct fixture *f = *state;
    assert_int_equal(open_again(f, 0), OK);
    assert_seen(f, 9, 1, FAR + 3);
    assert_int_equal(f->seen[5], FAR);
    assert_int_equal(open_again(f, 3), OK);
    assert_seen(f, 6, 4, FAR + 3);
    assert_int_equal(open_again(f, 5), OK);
    assert_seen(f, 4, FAR, FAR + 3);
    assert_int_equal(open_again(f, FAR - 1), OK); /* as a store says that had all before */
    assert_seen(f, 4, FAR, FAR + 3);
    append(f, 2);
    assert_int_equal(open_again(f, FAR + 1), OK);
    assert_seen(f, 4, FAR + 2, FAR + 5);
}

static void test_what_stood_before_the_skip_may_have_been_given_back(void **state) {
    struct fixture *f = *state;
    journal_trim(f->journal, 5);
    assert_int_equal(open_again(f, 5), OK);
    assert_seen(f, 4, FAR, FAR + 3);
}

static void test_what_stood_before_the_skip_is_missed_where_it_is_gone(void **state) {
    struct fixture *f = *state;
    journal_close(f->journal);
    f->journal = NULL;
    remove_segment(f, 1);
    assert_int_equal(open_at(f, 4), ERR_CORRUPT);
    assert_int_equal(open_at(f, 5), OK);
}

static void test_damage_before_the_skip_is_seen(void **state) {
    struct fixture *f = *state;
    journal_close(f->journal);
    f->journal = NULL;
    flip(f, 1, SEGMENT_HEADER_BYTES + BLOCK_HEADER_BYTES + 2);
    assert_int_equal(open_at(f, 0), ERR_CORRUPT);
}

static void test_the_word_of_a_skip_is_checked(void **state) {
    struct fixture *f = *state;
    journal_close(f->journal);
    f->journal = NULL;
    for (off_t at = 48; at < 64; at++) {
        flip(f, 2, at);
        assert_int_equal(open_at(f, 0), ERR_CORRUPT);
        flip(f, 2, at);
    }
    assert_int_equal(open_at(f, 0), OK);
}

static void test_a_segment_behind_a_skip_that_is_gone_is_refused(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 0; i < 40; i++)
        append(f, 10); /* into the next one */
    journal_close(f->journal);
    f->journal = NULL;
    remove_segment(f, 2);
    assert_int_equal(open_at(f, 0), ERR_CORRUPT);
}

/* The crash comes behind the header, before the first record: nobody was told. */
static void test_a_skip_without_a_record_never_was(void **state) {
    struct fixture *f = *state;
    char zeros[SEGMENT_BYTES - SEGMENT_HEADER_BYTES] = {0};
    journal_close(f->journal);
    f->journal = NULL;
    int fd = open_segment(f, 2);
    assert_int_equal(pwrite(fd, zeros, sizeof zeros, SEGMENT_HEADER_BYTES), sizeof zeros);
    close(fd);
    assert_int_equal(open_at(f, 0), OK);
    assert_seen(f, 5, 1, 5);
    append(f, 2);
    assert_int_equal(open_again(f, 0), OK);
    assert_seen(f, 7, 1, 7);
    assert_int_equal(journal_skip(f->journal, 2 * FAR, SLICE("record")), OK);
    assert_int_equal(open_again(f, 0), OK);
    assert_seen(f, 8, 1, 2 * FAR);
}

static void test_numbers_are_skipped_again_and_again(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 2; i < 12; i++)
        assert_int_equal(journal_skip(f->journal, i * FAR, SLICE("record")), OK);
    assert_int_equal(open_again(f, 0), OK);
    assert_seen(f, 19, 1, 11 * FAR);
    journal_trim(f->journal, 5 * FAR);
    assert_int_equal(open_again(f, 5 * FAR), OK);
    assert_seen(f, 6, 6 * FAR, 11 * FAR);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_skipped_numbers_are_not_missed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_stood_before_the_skip_may_have_been_given_back,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_stood_before_the_skip_is_missed_where_it_is_gone,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_before_the_skip_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_word_of_a_skip_is_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_segment_behind_a_skip_that_is_gone_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_skip_without_a_record_never_was, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbers_are_skipped_again_and_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
