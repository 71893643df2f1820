/* SPDX-License-Identifier: MIT */
/* Stands between a program and its disk, memory and clock (LD_PRELOAD), told what to do through a
 * page that a test shares with it:
 *
 *   HATI_SHIM_CONTROL  file of struct control: faults to come, and how far the log is
 *   HATI_SHIM_DIR      files below it are the disk
 *   HATI_SHIM_LOG      file to which everything done to them is written, in order; or not set
 *
 * What is done and what is logged of it happen under one lock, so that the log's order is the order
 * of things. A sync is logged twice, as it begins and as it has ended: what was written before its
 * begin is safe at its end. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

enum event {
    EVENT_OPEN = 1, /* a: 1 where it was made; path */
    EVENT_WRITE,    /* a: offset; data */
    EVENT_SIZE,     /* a: new size */
    EVENT_SYNC_BEGIN,
    EVENT_SYNC_END, /* a: number of the begin */
    EVENT_RENAME,   /* data: from, NUL, to */
    EVENT_UNLINK,   /* path */
    EVENT_MKDIR,    /* path */
    EVENT_RMDIR,    /* path */
    EVENT_DIR_SYNC
};

struct event_head {
    uint32_t event;
    uint32_t file; /* number of the file, by its inode */
    uint64_t a;
    uint32_t safe; /* EVENT_WRITE: through a descriptor that syncs */
    uint32_t len;  /* bytes that follow */
};

struct control *control = &(struct control){0};
static char dir[PATH_MAX];
static size_t dir_len;
static int log_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define FILES_MAX 65536
static struct {
    bool tracked, safe, is_dir;
    uint32_t file;
} files[FILES_MAX]; /* by descriptor */

bool is_due(_Atomic int64_t *after) {
    int64_t left = atomic_load_explicit(after, memory_order_relaxed);
    while (left > 0) {
        int64_t next = left - 1;
        if (left == 1)
            next = atomic_fetch_sub(&control->fails_count, 1) > 1
                       ? 1
                       : atomic_load_explicit(&control->fails_every, memory_order_relaxed);
        if (atomic_compare_exchange_weak(after, &left, next)) {
            if (left > 1)
                return false;
            atomic_fetch_add(&control->failed, 1);
            return true;
        }
    }
    return false;
}

static void write_out(const void *data, size_t len) {
    const char *at = data;
    while (len > 0) {
        long put = syscall(SYS_write, log_fd, at, len);
        if (put <= 0)
            _exit(99);
        at += put;
        len -= (size_t)put;
    }
}

/* The lock is held. */
static uint64_t note(enum event event, uint32_t file, uint64_t a, bool safe, const void *data,
                     size_t len) {
    uint64_t number = atomic_load(&control->events);
    if (log_fd >= 0) {
        struct event_head head = {event, file, a, safe, (uint32_t)len};
        write_out(&head, sizeof head);
        write_out(data, len);
    }
    atomic_store(&control->events, number + 1);
    return number;
}

/* The path as it is from the directory; NULL where it is not below it. */
static const char *below(const char *path) {
    if (!dir_len || strncmp(path, dir, dir_len) != 0)
        return NULL;
    if (path[dir_len] == '\0')
        return ".";
    return path[dir_len] == '/' ? path + dir_len + 1 : NULL;
}

static bool path_at(int at, const char *path, char full[PATH_MAX]) {
    if (path[0] == '/' || at == AT_FDCWD)
        return snprintf(full, PATH_MAX, "%s", path) < PATH_MAX;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t len = readlink(link, full, PATH_MAX - 1);
    if (len < 0 || (size_t)len + strlen(path) + 2 > PATH_MAX)
        return false;
    full[len] = '/';
    strcpy(full + len + 1, path);
    return true;
}

static int open_at(int at, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    const char *name = path_at(at, path, full) ? below(full) : NULL;
    if (!name)
        return (int)syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat is;
    bool made = (flags & O_CREAT) && syscall(SYS_newfstatat, at, path, &is, 0) != 0;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && fd < FILES_MAX && fstat(fd, &is) == 0) {
        files[fd].tracked = true;
        files[fd].is_dir = S_ISDIR(is.st_mode);
        files[fd].safe = (flags & (O_DSYNC | O_SYNC)) != 0;
        files[fd].file = (uint32_t)is.st_ino;
        if (!files[fd].is_dir)
            note(EVENT_OPEN, files[fd].file, made, false, name, strlen(name) + 1);
        if (flags & O_TRUNC)
            note(EVENT_SIZE, files[fd].file, 0, false, NULL, 0);
    }
    int saved = errno;
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int openat(int at, const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return open_at(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) __attribute__((alias("openat")));

static bool is_file(int fd) {
    return fd >= 0 && fd < FILES_MAX && files[fd].tracked && !files[fd].is_dir;
}

int close(int fd) {
    if (fd < 0 || fd >= FILES_MAX || !files[fd].tracked)
        return (int)syscall(SYS_close, fd);
    pthread_mutex_lock(&lock);
    files[fd].tracked = false;
    int done = (int)syscall(SYS_close, fd);
    int saved = errno;
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

static ssize_t fault(void) {
    errno = (int)atomic_load(&control->fault_errno);
    return -1;
}

static ssize_t write_at(int fd, const void *data, size_t len, off_t at) {
    if (is_due(&control->write_fails_after))
        return fault();
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_pwrite64, fd, data, len, at);
    int saved = errno;
    if (done > 0)
        note(EVENT_WRITE, files[fd].file, (uint64_t)at, files[fd].safe, data, (size_t)done);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at) {
    return is_file(fd) ? write_at(fd, data, len, at) : syscall(SYS_pwrite64, fd, data, len, at);
}
ssize_t pwrite64(int fd, const void *data, size_t len, off_t at) __attribute__((alias("pwrite")));

ssize_t write(int fd, const void *data, size_t len) {
    if (!is_file(fd))
        return syscall(SYS_write, fd, data, len);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = write_at(fd, data, len, at);
    if (done > 0)
        lseek(fd, at + done, SEEK_SET);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!is_file(fd))
        return syscall(SYS_writev, fd, parts, count);
    ssize_t sum = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (done < 0)
            return sum ? sum : -1;
        sum += done;
        if ((size_t)done < parts[i].iov_len)
            break;
    }
    return sum;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    if (!is_file(fd))
        return syscall(SYS_pwritev, fd, parts, count, at, 0);
    ssize_t sum = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = write_at(fd, parts[i].iov_base, parts[i].iov_len, at + sum);
        if (done < 0)
            return sum ? sum : -1;
        sum += done;
        if ((size_t)done < parts[i].iov_len)
            break;
    }
    return sum;
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at)
    __attribute__((alias("pwritev")));

int ftruncate(int fd, off_t size) {
    if (!is_file(fd))
        return (int)syscall(SYS_ftruncate, fd, size);
    if (is_due(&control->write_fails_after))
        return (int)fault();
    pthread_mutex_lock(&lock);
    int done = (int)syscall(SYS_ftruncate, fd, size);
    int saved = errno;
    if (done == 0)
        note(EVENT_SIZE, files[fd].file, (uint64_t)size, false, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}
int ftruncate64(int fd, off_t size) __attribute__((alias("ftruncate")));

int posix_fallocate(int fd, off_t at, off_t len) {
    struct stat is;
    if (is_file(fd) && is_due(&control->write_fails_after))
        return (int)atomic_load(&control->fault_errno);
    pthread_mutex_lock(&lock);
    int done = syscall(SYS_fallocate, fd, 0, at, len) == 0 ? 0 : errno;
    if (done == 0 && is_file(fd) && fstat(fd, &is) == 0)
        note(EVENT_SIZE, files[fd].file, (uint64_t)is.st_size, false, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int posix_fallocate64(int fd, off_t at, off_t len) __attribute__((alias("posix_fallocate")));

static void note_unsynced(int fd) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, control->unsynced, sizeof control->unsynced - 1);
    control->unsynced[len < 0 ? 0 : len] = '\0';
}

static int sync_file(int fd, long call) {
    if (fd < 0 || fd >= FILES_MAX || !files[fd].tracked)
        return (int)syscall(call, fd);
    if (is_due(&control->sync_fails_after)) {
        note_unsynced(fd);
        return (int)fault();
    }
    bool is_dir = files[fd].is_dir;
    uint64_t begin = 0;
    pthread_mutex_lock(&lock);
    uint32_t file = files[fd].file;
    if (!is_dir)
        begin = note(EVENT_SYNC_BEGIN, file, 0, false, NULL, 0);
    pthread_mutex_unlock(&lock);
    int done = (int)syscall(call, fd);
    int saved = errno;
    pthread_mutex_lock(&lock);
    if (done == 0 && !is_dir)
        note(EVENT_SYNC_END, file, begin, false, NULL, 0);
    else if (done == 0)
        note(EVENT_DIR_SYNC, file, 0, false, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

int fsync(int fd) {
    return sync_file(fd, SYS_fsync);
}
int fdatasync(int fd) {
    return sync_file(fd, SYS_fdatasync);
}

static int rename_at(int from_at, const char *from, int to_at, const char *to) {
    char full[PATH_MAX], target[PATH_MAX], both[2 * PATH_MAX];
    const char *name = path_at(from_at, from, full) ? below(full) : NULL;
    const char *other = path_at(to_at, to, target) ? below(target) : NULL;
    pthread_mutex_lock(&lock);
    int done = (int)syscall(SYS_renameat, from_at, from, to_at, to);
    int saved = errno;
    if (done == 0 && name && other) {
        size_t len = strlen(name) + 1;
        memcpy(both, name, len);
        strcpy(both + len, other);
        note(EVENT_RENAME, 0, 0, false, both, len + strlen(other) + 1);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

int rename(const char *from, const char *to) {
    return rename_at(AT_FDCWD, from, AT_FDCWD, to);
}
int renameat(int from_at, const char *from, int to_at, const char *to) {
    return rename_at(from_at, from, to_at, to);
}

int unlinkat(int at, const char *path, int flags) {
    char full[PATH_MAX];
    const char *name = path_at(at, path, full) ? below(full) : NULL;
    pthread_mutex_lock(&lock);
    int done = (int)syscall(SYS_unlinkat, at, path, flags);
    int saved = errno;
    if (done == 0 && name)
        note(flags & AT_REMOVEDIR ? EVENT_RMDIR : EVENT_UNLINK, 0, 0, false, name,
             strlen(name) + 1);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}
int unlink(const char *path) {
    return unlinkat(AT_FDCWD, path, 0);
}
int rmdir(const char *path) {
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdir(const char *path, mode_t mode) {
    const char *name = below(path);
    pthread_mutex_lock(&lock);
    int done = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    int saved = errno;
    if (done == 0 && name)
        note(EVENT_MKDIR, 0, 0, false, name, strlen(name) + 1);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("HATI_SHIM_CONTROL");
    if (!path)
        return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        _exit(98);
    syscall(SYS_close, fd);
    const char *below_dir = getenv("HATI_SHIM_DIR");
    if (below_dir && strlen(below_dir) < sizeof dir)
        dir_len = (size_t)snprintf(dir, sizeof dir, "%s", below_dir);
    const char *log = getenv("HATI_SHIM_LOG");
    if (log)
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
                              0600);
    memory_begins(page);
    control = page;
}
