/* SPDX-License-Identifier: MIT */
/* Memory: glibc's own, but for the allocations that are to fail; what is held is counted.
 *
 *   HATI_SHIM_TRACE  file to which each failed allocation is written: who asked for it
 *   HATI_SHIM_SPARED names of libraries, with a space between, whose allocations do not fail
 *   HATI_SHIM_HELD   file to which at the end all blocks are written that were asked for after the
 *                    first failure and are still held; costs time
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *block);

#define FRAMES 24
#define SPARED_FRAMES 8
#define HELD_MAX (1U << 20)

struct held {
    uintptr_t block;
    void *frames[FRAMES];
};

static struct control own; /* counts while there is no page, or it is another process's */
static struct control *counts = &own;
static int trace_fd = -1, held_fd = -1;
static struct held *held; /* by address, open addressing; only with HATI_SHIM_HELD */
static char spared[256];
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static __thread bool inside __attribute__((tls_model("initial-exec"))); /* a backtrace */

static void add(_Atomic int64_t *count, int64_t by) {
    atomic_fetch_add_explicit(count, by, memory_order_relaxed);
}

static struct held *slot_of(uintptr_t block) {
    uint32_t at = (uint32_t)(block * 0x9E3779B97F4A7C15U >> 44);
    while (held[at].block && held[at].block != block)
        at = (at + 1) % HELD_MAX;
    return &held[at];
}

static void remember(void *block) {
    if (!held || inside || atomic_load(&control->failed) == 0)
        return;
    inside = true;
    void *frames[FRAMES];
    int count = backtrace(frames, FRAMES);
    pthread_mutex_lock(&held_lock);
    struct held *slot = slot_of((uintptr_t)block);
    slot->block = (uintptr_t)block;
    for (int i = 0; i < FRAMES; i++)
        slot->frames[i] = i < count ? frames[i] : NULL;
    pthread_mutex_unlock(&held_lock);
    inside = false;
}

/* Its place stays taken, so that those behind it are found. */
static void forget(const void *block) {
    if (!held)
        return;
    pthread_mutex_lock(&held_lock);
    struct held *slot = slot_of((uintptr_t)block);
    if (slot->block)
        slot->frames[0] = NULL;
    pthread_mutex_unlock(&held_lock);
}

static void *note(void *block) {
    if (!block)
        return NULL;
    add(&counts->blocks, 1);
    add(&counts->bytes, (int64_t)malloc_usable_size(block));
    remember(block);
    return block;
}

static void note_gone(void *block) {
    add(&counts->blocks, -1);
    add(&counts->bytes, -(int64_t)malloc_usable_size(block));
    forget(block);
}

static void trace(void) {
    void *frames[FRAMES];
    if (trace_fd < 0 || inside)
        return;
    inside = true;
    int count = backtrace(frames, FRAMES);
    backtrace_symbols_fd(frames, count, trace_fd);
    (void)!syscall(SYS_write, trace_fd, "\n", 1);
    inside = false;
}

static bool is_named(const char *path) {
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    size_t len = strcspn(name, ".");
    for (const char *at = spared; *at; at += strspn(at, " ")) {
        size_t word = strcspn(at, " ");
        if (word == len && memcmp(at, name, len) == 0)
            return true;
        at += word;
    }
    return false;
}

/* Asked for by one of these libraries, be it by way of another. */
static bool is_spared(void) {
    void *frames[SPARED_FRAMES];
    Dl_info info;
    if (!spared[0])
        return false;
    inside = true;
    int count = backtrace(frames, SPARED_FRAMES);
    inside = false;
    for (int i = 0; i < count; i++)
        if (dladdr(frames[i], &info) && info.dli_fname && is_named(info.dli_fname))
            return true;
    return false;
}

static bool no_memory(void) {
    _Atomic int64_t *after = &control->alloc_fails_after;
    add(&counts->allocations, 1);
    if (inside || (atomic_load_explicit(after, memory_order_relaxed) == 1 && is_spared()) ||
        !is_due(after))
        return false;
    trace();
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size) {
    return no_memory() ? NULL : note(__libc_malloc(size));
}
void *calloc(size_t count, size_t size) {
    return no_memory() ? NULL : note(__libc_calloc(count, size));
}
void *realloc(void *old, size_t size) {
    if (no_memory())
        return NULL;
    if (!old)
        return note(__libc_malloc(size));
    int64_t bytes = (int64_t)malloc_usable_size(old);
    forget(old); /* behind the call another thread may have its address */
    void *block = __libc_realloc(old, size);
    if (!block && size) {
        remember(old);
        return NULL;
    }
    add(&counts->blocks, -1);
    add(&counts->bytes, -bytes);
    return note(block);
}
void *aligned_alloc(size_t align, size_t size) {
    return no_memory() ? NULL : note(__libc_memalign(align, size));
}
void *memalign(size_t align, size_t size) {
    return no_memory() ? NULL : note(__libc_memalign(align, size));
}
int posix_memalign(void **ret, size_t align, size_t size) {
    void *got = no_memory() ? NULL : note(__libc_memalign(align, size));
    if (!got)
        return ENOMEM;
    *ret = got;
    return 0;
}
void free(void *block) {
    if (!block)
        return;
    note_gone(block);
    __libc_free(block);
}

static int open_file(const char *variable) {
    const char *path = getenv(variable);
    return path ? (int)syscall(SYS_openat, AT_FDCWD, path,
                               O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)
                : -1;
}

void memory_begins(struct control *page) {
    void *frames[FRAMES];
    trace_fd = open_file("HATI_SHIM_TRACE");
    held_fd = open_file("HATI_SHIM_HELD");
    if (getenv("HATI_SHIM_SPARED"))
        snprintf(spared, sizeof spared, "%s", getenv("HATI_SHIM_SPARED"));
    if (trace_fd >= 0 || held_fd >= 0 || spared[0])
        (void)backtrace(frames, FRAMES); /* it loads a library when it is called first */
    if (held_fd >= 0) {
        void *pages = mmap(NULL, HELD_MAX * sizeof(struct held), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        held = pages == MAP_FAILED ? NULL : pages;
    }
    int64_t nobody = 0;
    if (!atomic_compare_exchange_strong(&page->owner, &nobody, getpid()))
        return;
    atomic_store(&page->blocks, atomic_load(&own.blocks));
    atomic_store(&page->bytes, atomic_load(&own.bytes));
    atomic_store(&page->allocations, atomic_load(&own.allocations));
    counts = page;
}

/* Behind the program's own end. What others free later is not counted. */
__attribute__((destructor)) static void end(void) {
    counts = &own;
    for (uint32_t i = 0; held && i < HELD_MAX; i++)
        if (held[i].block && held[i].frames[0]) {
            int count = 0;
            while (count < FRAMES && held[i].frames[count])
                count++;
            backtrace_symbols_fd(held[i].frames, count, held_fd);
            (void)!syscall(SYS_write, held_fd, "\n", 1);
        }
}
