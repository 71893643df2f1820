/* SPDX-License-Identifier: MIT */
/* The durable store on a disk whose room the test says. */
#include "kv_case.h"

#include <errno.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "kv/hdd.h"

static _Atomic uint64_t room_bytes;

/* These stand before the C library's. */
int fstatvfs(int fd, struct statvfs *disk) {
    (void)fd;
    memset(disk, 0, sizeof *disk);
    disk->f_frsize = 1;
    disk->f_bavail = room_bytes;
    return 0;
}

int statvfs(const char *path, struct statvfs *disk) {
    (void)path;
    return fstatvfs(0, disk);
}

static _Atomic bool lmdb_is_full;

static bool is_refused(int fd) {
    char link[64], path[300];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = lmdb_is_full ? readlink(link, path, sizeof path - 1) : -1;
    if (len < 0)
        return false;
    path[len] = 0;
    errno = ENOSPC;
    return strstr(path, "/data.mdb") != NULL;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    return is_refused(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return is_refused(fd) ? -1 : syscall(SYS_writev, fd, parts, count);
}

static _Atomic bool sync_fails;

int fdatasync(int fd) {
    errno = EIO;
    return sync_fails ? -1 : (int)syscall(SYS_fdatasync, fd);
}

struct fixture {
    struct kv_hdd *hdd;
    struct feeds *feeds;
    char dir[64];
    struct arena arena;
};

static void open_store(struct fixture *f) {
    char why[300];
    struct kv_options options = {.data_dir = f->dir, .write_buffer_bytes = 64 << 20};
    if (kv_hdd_open(&options, f->feeds, &f->hdd, why, sizeof why))
        fail_msg("%s", why);
}

/* The journal has begun to make one: it found room for it. */
static void await_spare(const struct fixture *f) {
    char path[100];
    snprintf(path, sizeof path, "%s/journal/spare-1", f->dir);
    while (access(path, F_OK) != 0)
        sched_yield();
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->feeds = feeds_new(0, 0);
    room_bytes = 1ULL << 40;
    snprintf(f->dir, sizeof f->dir, "/tmp/hati-unit-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    clock_move_for_test(NOW - 3600000 - clock_wall_ms()); /* the keeper drops nothing */
    arena_init(&f->arena, 1U << 20);
    open_store(f);
    await_spare(f);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    char command[100];
    kv_hdd_close(f->hdd);
    feeds_free(f->feeds);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    arena_done(&f->arena);
    free(f);
    return 0;
}

static struct kv_ref ref_to(const char *key) {
    return (struct kv_ref){KV_HDD, {{1}}, SLICE("default"), slice_of_cstr(key)};
}

static enum err act(struct fixture *f, enum kv_action action, const char *key, int64_t ttl_ms) {
    struct waited waited = WAITED;
    struct kv_op op = {
        .action = action, .ref = ref_to(key), .value = SLICE("value"), .ttl_ms = ttl_ms};
    struct kv_write write = {
        .ops = &op, .op_count = 1, .now_ms = NOW, .done = write_came, .context = &waited};
    assert_int_equal(kv_hdd_submit(f->hdd, &write), ERR_PENDING);
    waited_for(&waited);
    return write.err;
}

static enum err get(struct fixture *f, const char *key) {
    struct kv_ref ref = ref_to(key);
    struct kv_entry entry;
    return kv_hdd_get(f->hdd, &ref, NOW, KV_WANT_ALL, &f->arena, &entry);
}

static void test_on_a_full_disk_reads_and_deletes_go_on(void **state) {
    struct fixture *f = *state;
    assert_int_equal(act(f, KV_SET, "a", 0), OK);
    assert_int_equal(act(f, KV_SET, "b", 0), OK);
    room_bytes = 0;
    assert_int_equal(act(f, KV_SET, "c", 0), ERR_STORAGE_FULL);
    assert_int_equal(act(f, KV_INCREMENT, "n", 0), ERR_STORAGE_FULL);
    assert_int_equal(get(f, "a"), OK);
    assert_int_equal(act(f, KV_DELETE, "a", 0), OK);
    assert_int_equal(get(f, "a"), ERR_KEY_NOT_EXIST);
    assert_int_equal(get(f, "c"), ERR_KEY_NOT_EXIST);
    assert_int_equal(act(f, KV_FLUSH_ALL, "", 0), OK);
    room_bytes = 1ULL << 40;
    assert_int_equal(act(f, KV_SET, "c", 0), OK);
    assert_int_equal(get(f, "c"), OK);
    assert_int_equal(get(f, "b"), ERR_KEY_NOT_EXIST);
}

static void test_a_store_opens_on_a_full_disk(void **state) {
    struct fixture *f = *state;
    assert_int_equal(act(f, KV_SET, "a", 0), OK);
    room_bytes = 0;
    kv_hdd_close(f->hdd);
    open_store(f);
    assert_int_equal(get(f, "a"), OK);
    assert_int_equal(act(f, KV_SET, "b", 0), ERR_STORAGE_FULL);
    assert_int_equal(act(f, KV_DELETE, "a", 0), OK);
    assert_int_equal(get(f, "a"), ERR_KEY_NOT_EXIST);
}

/* Where the committer waits for room this test does not end. */
static void test_a_full_write_buffer_on_a_full_disk_holds_nobody_up(void **state) {
    struct fixture *f = *state;
    assert_int_equal(act(f, KV_SET, "a", 0), OK);
    assert_true(hdd_wait_applied(f->hdd));
    f->hdd->buffer_bytes = 64;
    lmdb_is_full = true;
    assert_int_equal(act(f, KV_SET, "b", 0), OK);
    assert_int_equal(act(f, KV_DELETE, "a", 0), OK);
    assert_int_equal(act(f, KV_SET, "c", 0), ERR_STORAGE_FULL);
    lmdb_is_full = false;
    assert_true(hdd_wait_applied(f->hdd));
    assert_int_equal(get(f, "a"), ERR_KEY_NOT_EXIST);
    assert_int_equal(get(f, "b"), OK);
    assert_int_equal(act(f, KV_SET, "c", 0), OK);
}

/* Where it waits for a freeze that never comes this test does not end. */
static void test_nobody_waits_for_lmdb_once_the_journal_is_lost(void **state) {
    struct fixture *f = *state;
    assert_int_equal(act(f, KV_SET, "a", 0), OK);
    assert_true(hdd_wait_applied(f->hdd)); /* nothing else is synced meanwhile */
    sync_fails = true;
    assert_int_equal(act(f, KV_SET, "b", 0), ERR_TIMEOUT);
    assert_int_equal(act(f, KV_SET, "c", 0), ERR_UNAVAILABLE);
    (void)hdd_wait_applied(f->hdd);
    sync_fails = false;
    assert_false(kv_hdd_is_ready(f->hdd));
}

static void test_what_could_not_be_synced_does_not_come_into_lmdb_at_the_end(void **state) {
    struct fixture *f = *state;
    char command[100];
    assert_int_equal(act(f, KV_SET, "a", 0), OK);
    assert_true(hdd_wait_applied(f->hdd)); /* nothing else is synced meanwhile */
    sync_fails = true;
    assert_int_equal(act(f, KV_SET, "b", 0), ERR_TIMEOUT);
    sync_fails = false;
    kv_hdd_close(f->hdd);
    snprintf(command, sizeof command, "rm -rf %s/journal", f->dir);
    assert_int_equal(system(command), 0);
    open_store(f);
    assert_int_equal(get(f, "b"), ERR_KEY_NOT_EXIST);
}

/* The touch stands in the journal alone, and there without the value. */
static void test_what_was_touched_is_not_swept_before_lmdb_knows(void **state) {
    struct fixture *f = *state;
    bool more;
    struct kv_stats stats = {0};
    assert_int_equal(act(f, KV_SET, "a", 1000), OK);
    assert_true(hdd_wait_applied(f->hdd));
    assert_int_equal(act(f, KV_TOUCH, "a", 1000000), OK);
    assert_int_equal(hdd_sweep(f->hdd, NOW + 2000, &more), OK);
    kv_hdd_stats(f->hdd, &stats);
    assert_int_equal(stats.keys, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        CASE(test_on_a_full_disk_reads_and_deletes_go_on),
        CASE(test_a_store_opens_on_a_full_disk),
        CASE(test_a_full_write_buffer_on_a_full_disk_holds_nobody_up),
        CASE(test_nobody_waits_for_lmdb_once_the_journal_is_lost),
        CASE(test_what_could_not_be_synced_does_not_come_into_lmdb_at_the_end),
        CASE(test_what_was_touched_is_not_swept_before_lmdb_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
