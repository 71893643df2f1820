/* SPDX-License-Identifier: MIT */
/* The n-th call that hati makes of the C library, of threads or of LMDB fails, or all from there
 * on: for programs test_*_fails.c, which are linked so that these stand between
 * (tests/CMakeLists.txt).
 *
 *   for (n = 1; ; n = nth_next(n)) { nth_arm(kinds, n, error, lasting); what is tried;
 *                                    if (!nth_disarm()) break; }
 *
 * Included by one file of a program. */
#ifndef HATI_TESTS_NTH_FAILS_H
#define HATI_TESTS_NTH_FAILS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum nth_kind { NTH_MEMORY = 1, NTH_THREAD = 2, NTH_DISK = 4, NTH_LMDB = 8 };

static struct {
    _Atomic unsigned kinds; /* 0: nothing fails */
    _Atomic long left;
    _Atomic bool fired;
    _Atomic bool lasting;
    _Atomic int error;
} nth;

/* error: errno of what is no memory and no thread; LMDB gives it back. */
static inline void nth_arm(unsigned kinds, long n, int error, bool lasting) {
    nth.error = error;
    nth.lasting = lasting;
    nth.fired = false;
    nth.left = n;
    nth.kinds = kinds;
}

/* Everything works again; did something fail? */
static inline bool nth_disarm(void) {
    nth.kinds = 0;
    return nth.fired;
}

/* The next n: all of the first ones, then some, every one with HATI_TORTURE_LONG=1. */
static inline long nth_next(long n) {
    return n + 1 + (getenv("HATI_TORTURE_LONG") ? 0 : n / 8);
}

static bool nth_fails(enum nth_kind kind) {
    if (!(nth.kinds & kind))
        return false;
    long left = atomic_fetch_sub(&nth.left, 1);
    if (left > 1 || (left < 1 && !nth.lasting))
        return false;
    nth.fired = true;
    errno = kind == NTH_MEMORY ? ENOMEM : nth.error;
    return true;
}

/* clang-format off */
#define NTH_WRAP(kind, result, bad, name, params, args)                                            \
    result __real_##name params;                                                                   \
    result __wrap_##name params;                                                                   \
    result __wrap_##name params {                                                                  \
        return nth_fails(kind) ? (bad) : __real_##name args;                                       \
    }

NTH_WRAP(NTH_MEMORY, void *, NULL, malloc, (size_t size), (size))
NTH_WRAP(NTH_MEMORY, void *, NULL, calloc, (size_t count, size_t size), (count, size))
NTH_WRAP(NTH_MEMORY, void *, NULL, realloc, (void *old, size_t size), (old, size))
NTH_WRAP(NTH_MEMORY, void *, NULL, aligned_alloc, (size_t align, size_t size), (align, size))
NTH_WRAP(NTH_MEMORY, int, ENOMEM, posix_memalign, (void **to, size_t align, size_t size), (to, align, size))
NTH_WRAP(NTH_MEMORY, char *, NULL, strdup, (const char *text), (text))
NTH_WRAP(NTH_MEMORY, void *, NULL, sodium_malloc, (size_t size), (size))
NTH_WRAP(NTH_THREAD, int, EAGAIN, pthread_create,
         (pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg), (thread, attr, run, arg))
NTH_WRAP(NTH_DISK, ssize_t, -1, pread, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
NTH_WRAP(NTH_DISK, ssize_t, -1, pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
NTH_WRAP(NTH_DISK, ssize_t, -1, read, (int fd, void *to, size_t size), (fd, to, size))
NTH_WRAP(NTH_DISK, ssize_t, -1, write, (int fd, const void *from, size_t size), (fd, from, size))
NTH_WRAP(NTH_DISK, int, -1, fsync, (int fd), (fd))
NTH_WRAP(NTH_DISK, int, -1, fdatasync, (int fd), (fd))
NTH_WRAP(NTH_DISK, int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
NTH_WRAP(NTH_DISK, int, -1, rename, (const char *from, const char *to), (from, to))
NTH_WRAP(NTH_DISK, int, -1, unlink, (const char *path), (path))
NTH_WRAP(NTH_DISK, int, -1, rmdir, (const char *path), (path))
NTH_WRAP(NTH_DISK, int, -1, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
NTH_WRAP(NTH_DISK, int, -1, fstat, (int fd, struct stat *to), (fd, to))
NTH_WRAP(NTH_DISK, int, -1, statvfs, (const char *path, struct statvfs *to), (path, to))
NTH_WRAP(NTH_DISK, int, -1, fstatvfs, (int fd, struct statvfs *to), (fd, to))
NTH_WRAP(NTH_DISK, int, nth.error, posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))
NTH_WRAP(NTH_DISK, DIR *, NULL, opendir, (const char *path), (path))
NTH_WRAP(NTH_DISK, struct dirent *, NULL, readdir, (DIR *dir), (dir))
NTH_WRAP(NTH_DISK, FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode))
NTH_WRAP(NTH_DISK, void *, MAP_FAILED, mmap, (void *at, size_t size, int protection, int flags, int fd, off_t from),
         (at, size, protection, flags, fd, from))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_env_create, (MDB_env **env), (env))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_env_open, (MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode),
         (env, path, flags, mode))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_env_set_mapsize, (MDB_env *env, size_t size), (env, size))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_env_set_maxreaders, (MDB_env *env, unsigned count), (env, count))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_env_set_maxdbs, (MDB_env *env, MDB_dbi count), (env, count))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_env_set_assert, (MDB_env *env, MDB_assert_func *func), (env, func))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_reader_check, (MDB_env *env, int *dead), (env, dead))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_txn_begin, (MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn),
         (env, parent, flags, txn))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_txn_renew, (MDB_txn *txn), (txn))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_dbi_open, (MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *dbi),
         (txn, name, flags, dbi))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_get, (MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value),
         (txn, dbi, key, value))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_put, (MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags),
         (txn, dbi, key, value, flags))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_del, (MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value),
         (txn, dbi, key, value))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_drop, (MDB_txn *txn, MDB_dbi dbi, int del), (txn, dbi, del))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_cursor_open, (MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor),
         (txn, dbi, cursor))
NTH_WRAP(NTH_LMDB, int, nth.error, mdb_cursor_get,
         (MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op), (cursor, key, value, op))
/* clang-format on */

/* A commit that fails has ended its transaction. */
int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn) {
    if (!nth_fails(NTH_LMDB))
        return __real_mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return nth.error;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return nth_fails(NTH_DISK) ? -1 : __real_open(path, flags, mode);
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return nth_fails(NTH_DISK) ? -1 : __real_openat(dir, path, flags, mode);
}

/* A directory of one's own, in memory where there is such a thing: it is synced a thousand times.
 */
static inline void nth_make_dir(char ret_path[64]) {
    snprintf(ret_path, 64, "%s/hati-unit-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(ret_path))
        abort();
}

static char nth_from[400], nth_to[400];

static int nth_drop(const char *path, const struct stat *stat, int kind, struct FTW *at) {
    (void)stat, (void)kind, (void)at;
    return remove(path);
}

static inline void nth_remove_dir(const char *path) {
    nftw(path, nth_drop, 16, FTW_DEPTH | FTW_PHYS);
}

static int nth_copy_one(const char *path, const struct stat *stat, int kind, struct FTW *at) {
    char to[600];
    (void)at;
    snprintf(to, sizeof to, "%s%s", nth_to, path + strlen(nth_from));
    if (kind == FTW_D)
        return mkdir(to, 0700);
    int in = open(path, O_RDONLY);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    off_t left = stat->st_size;
    while (left > 0) {
        ssize_t some = sendfile(out, in, NULL, (size_t)left);
        if (some <= 0)
            break;
        left -= some;
    }
    close(in);
    close(out);
    return left != 0;
}

/* The directory as another one is now. */
static inline void nth_copy_dir(const char *from, const char *to) {
    nth_remove_dir(to);
    snprintf(nth_from, sizeof nth_from, "%s", from);
    snprintf(nth_to, sizeof nth_to, "%s", to);
    if (nftw(from, nth_copy_one, 16, FTW_PHYS) != 0)
        abort();
}

#endif
