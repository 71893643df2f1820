/* SPDX-License-Identifier: MIT */
/* What the kernel knows of this process, under the names that others use too. */
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/metrics_page.h"

static void write_memory(struct page *page) {
    unsigned long long total = 0;
    unsigned long long resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return;
    int got = fscanf(file, "%llu %llu", &total, &resident);
    fclose(file);
    if (got != 2)
        return;
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    page_single(page, F_process_resident_memory_bytes, resident * page_bytes);
    page_single(page, F_process_virtual_memory_bytes, total * page_bytes);
}

static uint64_t count_names(const char *dir_path) {
    uint64_t count = 0;
    DIR *dir = opendir(dir_path);
    if (!dir)
        return 0;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static uint64_t ns_of(const struct timeval *time) {
    return (uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_usec * 1000;
}

static void write_cpu(struct page *page) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    page_family(page, F_process_cpu_seconds);
    page_begin(page, "");
    page_seconds(page, ns_of(&usage.ru_utime) + ns_of(&usage.ru_stime));
}

/* The directory's own descriptor is among those counted. */
static void write_descriptors(struct page *page) {
    struct rlimit limit;
    uint64_t open = count_names("/proc/self/fd");
    if (open)
        page_single(page, F_process_open_fds, open - 1);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        page_single(page, F_process_max_fds, limit.rlim_cur);
}

void metrics_page_process(struct page *page, const struct core *core) {
    write_memory(page);
    write_cpu(page);
    write_descriptors(page);
    uint64_t threads = count_names("/proc/self/task");
    if (threads)
        page_single(page, F_process_threads, threads);
    page_family(page, F_process_start_time_seconds);
    page_begin(page, "");
    page_seconds(page, (uint64_t)core->started_ms * 1000000);
}
