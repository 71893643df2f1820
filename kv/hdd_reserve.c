/* SPDX-License-Identifier: MIT */
/* What was acknowledged has to fit into LMDB, or neither it nor the deletes behind it ever get
 * there: writes that grow are taken only where it does. And LMDB copies pages even to delete, so a
 * file keeps some room, and gives it up when the disk is full: deletes can still be applied then.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "kv/hdd.h"

#define RESERVE_BYTES (8 << 20)

void hdd_reserve_measure(struct kv_hdd *hdd) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < hdd->shard_count; i++)
        bytes += env_free_bytes(hdd->envs[i]);
    atomic_store_explicit(&hdd->free_bytes, bytes, memory_order_relaxed);
}

bool hdd_reserve_is_tight(const struct kv_hdd *hdd, uint64_t waiting_bytes) {
    uint64_t free_bytes = atomic_load_explicit(&hdd->free_bytes, memory_order_relaxed);
    return datadir_is_tight(hdd->datadir, free_bytes, waiting_bytes);
}

static void reserve_path(const struct kv_hdd *hdd, char path[HDD_PATH_BYTES + 16]) {
    snprintf(path, HDD_PATH_BYTES + 16, "%s/reserve", hdd->dir);
}

/* Only where there is plenty of room, so that it never makes the disk full itself. */
void hdd_reserve_make(struct kv_hdd *hdd) {
    char path[HDD_PATH_BYTES + 16];
    struct statvfs disk;
    reserve_path(hdd, path);
    if (statvfs(hdd->dir, &disk) != 0 ||
        (uint64_t)disk.f_bavail * disk.f_frsize < 4ULL * RESERVE_BYTES)
        return;
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (posix_fallocate(fd, 0, RESERVE_BYTES) != 0) {
        log_warn("no room for the reserve of %d bytes", RESERVE_BYTES);
        unlink(path);
    }
    close(fd);
}

void hdd_reserve_give_up(struct kv_hdd *hdd) {
    char path[HDD_PATH_BYTES + 16];
    reserve_path(hdd, path);
    unlink(path);
}
