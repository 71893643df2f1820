/* SPDX-License-Identifier: MIT */
/* A journal on a disk that has room for one segment and a half, which its own files fill. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "journal/journal.h"

#define SEGMENT_BYTES 65536U
#define DISK_BYTES (SEGMENT_BYTES + SEGMENT_BYTES / 2)
#define LARGE_BYTES 12000U /* of a record: five leave little of a segment */
#define SMALL_BYTES 100U

static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER; /* readdir may miss what is renamed */

static uint64_t bytes_in(int dir_fd) {
    DIR *dir = fdopendir(openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    uint64_t bytes = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat file;
        if (fstatat(dir_fd, entry->d_name, &file, 0) == 0 && S_ISREG(file.st_mode))
            bytes += (uint64_t)file.st_size;
    }
    closedir(dir);
    return bytes;
}

/* These stand before the C library's. */
int rename(const char *from, const char *to) {
    pthread_mutex_lock(&names);
    int result = renameat(AT_FDCWD, from, AT_FDCWD, to);
    pthread_mutex_unlock(&names);
    return result;
}

int fstatvfs(int fd, struct statvfs *disk) {
    pthread_mutex_lock(&names);
    uint64_t bytes = bytes_in(fd);
    pthread_mutex_unlock(&names);
    memset(disk, 0, sizeof *disk);
    disk->f_frsize = 1;
    disk->f_bavail = bytes < DISK_BYTES ? DISK_BYTES - bytes : 0;
    return 0;
}

struct fixture {
    char dir[64];
    struct journal *journal;
};

static enum err replay(void *context, uint64_t seq, struct slice record) {
    (void)context, (void)seq, (void)record;
    return OK;
}

static void append(struct fixture *f, size_t bytes) {
    struct journal_block block = {0};
    journal_block_begin(f->journal, &block);
    char *to = journal_block_add(&block, bytes);
    assert_non_null(to);
    memset(to, 'r', bytes);
    assert_int_equal(journal_reserve(f->journal, block.bytes.len), OK);
    assert_int_equal(journal_append(f->journal, &block), OK);
    buf_done(&block.bytes);
}

static void trim_all(struct fixture *f) {
    assert_int_equal(journal_sync(f->journal), OK);
    journal_trim(f->journal, journal_next_seq(f->journal) - 1);
}

/* One segment, most of it used, and no room for another: as its maker finds out sooner or later. */
static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    char why[300] = "";
    snprintf(f->dir, sizeof f->dir, "/tmp/hati-journal-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    struct journal_options options = {f->dir, SEGMENT_BYTES, 0, replay, f};
    assert_int_equal(journal_open(&options, &f->journal, why, sizeof why), OK);
    for (unsigned i = 0; i < 5; i++)
        append(f, LARGE_BYTES);
    while (!journal_is_full(f->journal))
        sched_yield();
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    char command[100];
    journal_close(f->journal);
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void test_a_segment_that_is_needed_is_used_to_its_end(void **state) {
    struct fixture *f = *state;
    uint64_t segment = journal_segment(f->journal);
    append(f, SMALL_BYTES);
    append(f, SMALL_BYTES);
    assert_int_equal(journal_segment(f->journal), segment);
    assert_true(journal_is_full(f->journal));
}

static void test_a_segment_that_nobody_needs_makes_room_for_itself(void **state) {
    struct fixture *f = *state;
    uint64_t segment = journal_segment(f->journal);
    trim_all(f);
    assert_true(journal_is_full(f->journal)); /* it is the one in use */
    append(f, SMALL_BYTES);
    assert_int_equal(journal_segment(f->journal), segment + 1);
    trim_all(f);
    assert_false(journal_is_full(f->journal));
    for (unsigned i = 0; i < 4; i++)
        append(f, LARGE_BYTES);
    assert_int_equal(journal_segment(f->journal), segment + 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_segment_that_is_needed_is_used_to_its_end, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_segment_that_nobody_needs_makes_room_for_itself,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
