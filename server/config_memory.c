/* SPDX-License-Identifier: MIT */
#include "server/config_memory.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1ULL << 20)

/* A file that holds one number; 0 where there is none, or it is none (`max`). */
static uint64_t read_number(const char *path) {
    char text[64];
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    uint64_t number = fgets(text, sizeof text, file) ? strtoull(text, NULL, 10) : 0;
    fclose(file);
    return number;
}

/* Limits of a group and of those it stands in. In a container its path may be one of outside: what
 * is mounted then is the group itself. */
static uint64_t least_limit(const char *mount, char *path, const char *file) {
    uint64_t least = 0;
    for (;;) {
        char name[PATH_MAX];
        int len = snprintf(name, sizeof name, "%s%s/%s", mount, path, file);
        uint64_t limit = len < (int)sizeof name ? read_number(name) : 0;
        if (limit && (!least || limit < least))
            least = limit;
        char *end = strrchr(path, '/');
        if (!end)
            return least;
        *end = '\0';
    }
}

/* `5:memory:/path` of version 1, `0::/path` of version 2. */
static uint64_t limit_of_line(char *line, const char *root) {
    char mount[PATH_MAX];
    line[strcspn(line, "\n")] = '\0';
    char *kinds = strchr(line, ':');
    char *path = kinds ? strchr(kinds + 1, ':') : NULL;
    if (!path)
        return 0;
    *path++ = '\0';
    if (strcmp(path, "/") == 0)
        *path = '\0';
    if (strcmp(kinds + 1, "memory") == 0) {
        snprintf(mount, sizeof mount, "%s/memory", root);
        return least_limit(mount, path, "memory.limit_in_bytes");
    }
    return kinds[1] == '\0' ? least_limit(root, path, "memory.max") : 0;
}

uint64_t memory_group_limit(const char *groups, const char *root, uint64_t machine_bytes) {
    char line[PATH_MAX];
    uint64_t least = 0;
    FILE *file = fopen(groups, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file)) {
        uint64_t limit = limit_of_line(line, root);
        if (limit && (!least || limit < least))
            least = limit;
    }
    fclose(file);
    return least < machine_bytes ? least : 0;
}

static uint64_t machine_bytes(void) {
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : UINT64_MAX;
}

/* A share of all where that is known and less than what it is without. */
static void set(uint64_t *size, uint64_t share, uint64_t without) {
    if (*size == MEMORY_UNSAID)
        *size = share && share < without ? share : without;
}

void memory_share(struct config *config) {
    if (config->memory_total_bytes == MEMORY_UNSAID)
        config->memory_total_bytes =
            memory_group_limit("/proc/self/cgroup", "/sys/fs/cgroup", machine_bytes());
    uint64_t total = config->memory_total_bytes;
    if (config->memory_limit_bytes == MEMORY_UNSAID)
        config->memory_limit_bytes = total / 6;
    set(&config->write_buffer_bytes, total && total < 16 * MIB ? MIB : total / 16, 256 * MIB);
    set(&config->read_cache_bytes, total / 16, 256 * MIB);
    set(&config->watch_log_bytes, total / 32, 64 * MIB);
    if (config->inflight_limit_bytes == MEMORY_UNSAID) {
        uint64_t payloads = config->payload_limit_bytes * 4;
        set(&config->inflight_limit_bytes, total / 8,
            payloads > 1024 * MIB ? payloads : 1024 * MIB);
        if (config->inflight_limit_bytes < config->payload_limit_bytes)
            config->inflight_limit_bytes = config->payload_limit_bytes;
    }
}
