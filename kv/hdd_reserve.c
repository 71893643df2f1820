/* SPDX-License-Identifier: MIT */
/* LMDB copies pages even to delete. So a file keeps some room, and gives it up when the disk is
 * full: deletes can still be applied then. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "kv/hdd.h"

#define RESERVE_BYTES (8 << 20)

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
