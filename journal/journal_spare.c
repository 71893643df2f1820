/* SPDX-License-Identifier: MIT */
/* Spare segments: writing zeros takes long, so a thread does it before they are needed, and files
 * that were applied are used again. */
#include <errno.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "journal/journal_internal.h"

#define RETRY_S 1
#define LOW_SEGMENTS 4U /* free room below which one spare has to do */

void journal_spare_path(const struct journal *journal, unsigned number, char path[PATH_BYTES]) {
    snprintf(path, PATH_BYTES, "%s/spare-%u", journal->dir, number);
}

/* Full is a journal whose next segment there is no room for. Whoever waits for a spare hears it. */
static void note_full_locked(struct journal *journal, enum err err) {
    bool full = err && journal->spares == 0;
    if (atomic_exchange(&journal->full, full) == full)
        return;
    if (full && err != ERR_STORAGE_FULL)
        log_warn("the next journal segment cannot be made: writes fail once this one is full");
    else
        log_warn(full ? "no room for another journal segment: writes fail until there is"
                      : "there is room for the journal again");
    pthread_cond_broadcast(&journal->wake);
}

bool journal_has_room(const struct journal *journal, uint64_t bytes) {
    struct statvfs disk;
    return fstatvfs(journal->dir_fd, &disk) != 0 ||
           (uint64_t)disk.f_bavail * disk.f_frsize >= bytes + bytes / 4;
}

/* Trying would fill the disk for a moment, for LMDB and everybody else; some is left to them. */
static enum err make_spare(const struct journal *journal, const char *path) {
    return journal_has_room(journal, journal->segment_bytes)
               ? segment_make(path, journal->segment_bytes)
               : ERR_STORAGE_FULL;
}

/* Where little room is left, spares are in the way of what the disk is for: a store that is full
 * and was deleted from would go on refusing, with what it wants lying in files of zeros. */
static bool is_low(const struct journal *journal) {
    struct statvfs disk;
    return fstatvfs(journal->dir_fd, &disk) == 0 &&
           (uint64_t)disk.f_bavail * disk.f_frsize < LOW_SEGMENTS * journal->segment_bytes;
}

static void wait_locked(struct journal *journal) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RETRY_S;
    pthread_cond_timedwait(&journal->wake, &journal->lock, &until);
}

static void drop_one_locked(struct journal *journal) {
    char path[PATH_BYTES];
    journal_spare_path(journal, journal->spare_numbers[--journal->spares], path);
    unlink(path);
}

static void make_one(struct journal *journal) {
    char path[PATH_BYTES];
    unsigned number = journal->spare_serial++;
    pthread_mutex_unlock(&journal->lock);
    journal_spare_path(journal, number, path);
    enum err err = make_spare(journal, path);
    pthread_mutex_lock(&journal->lock);
    if (!err)
        journal->spare_numbers[journal->spares++] = number;
    note_full_locked(journal, err);
    if (err)
        wait_locked(journal);
    else
        pthread_cond_broadcast(&journal->wake);
}

static void *make_spares(void *context) {
    struct journal *journal = context;
    pthread_mutex_lock(&journal->lock);
    while (!journal->stopping) {
        bool low = is_low(journal);
        if (journal->spares < (low ? 1U : SPARES_WANTED))
            make_one(journal);
        else if (low && journal->spares > 1)
            drop_one_locked(journal);
        else
            wait_locked(journal);
    }
    pthread_mutex_unlock(&journal->lock);
    return NULL;
}

enum err journal_spares_start(struct journal *journal) {
    journal->maker_runs = pthread_create(&journal->maker, NULL, make_spares, journal) == 0;
    return journal->maker_runs ? OK : ERR_OUT_OF_MEMORY;
}

void journal_spares_stop(struct journal *journal) {
    pthread_mutex_lock(&journal->lock);
    journal->stopping = true;
    pthread_cond_broadcast(&journal->wake);
    pthread_mutex_unlock(&journal->lock);
    if (journal->maker_runs)
        pthread_join(journal->maker, NULL);
    for (unsigned i = 0; i < journal->spares; i++) {
        char path[PATH_BYTES];
        journal_spare_path(journal, journal->spare_numbers[i], path);
        unlink(path);
    }
}

/* Waits for the maker rather than making a second file beside it, unless the disk is full. */
enum err journal_spare_take(struct journal *journal, uint64_t size_bytes,
                            char ret_path[PATH_BYTES]) {
    bool usual_size = size_bytes == journal->segment_bytes;
    unsigned number = 0;
    pthread_mutex_lock(&journal->lock);
    while (usual_size && journal->spares == 0 && !atomic_load(&journal->full))
        pthread_cond_wait(&journal->wake, &journal->lock);
    bool found = !usual_size || journal->spares > 0;
    if (!usual_size)
        number = journal->spare_serial++;
    else if (found)
        number = journal->spare_numbers[--journal->spares];
    pthread_cond_broadcast(&journal->wake);
    pthread_mutex_unlock(&journal->lock);
    if (!found)
        return ERR_STORAGE_FULL;
    journal_spare_path(journal, number, ret_path);
    return usual_size ? OK : segment_make(ret_path, size_bytes);
}

/* Its old name is gone for good before it is written again: a power cut must not bring a segment
 * back under a name that its header belies. */
void journal_spare_give(struct journal *journal, uint64_t number, bool usual_size) {
    char path[PATH_BYTES], spare[PATH_BYTES];
    journal_path(journal, number, path);
    pthread_mutex_lock(&journal->lock);
    unsigned most = is_low(journal) ? 1 : SPARES_MAX;
    bool keep = usual_size && journal->spares < most; /* the one that ends a want of room too */
    unsigned spare_number = journal->spare_serial++;
    pthread_mutex_unlock(&journal->lock);
    journal_spare_path(journal, spare_number, spare);
    if (!keep || rename(path, spare) != 0) {
        unlink(path);
        return;
    }
    if (fsync(journal->dir_fd) != 0) {
        unlink(spare);
        return;
    }
    pthread_mutex_lock(&journal->lock);
    keep = journal->spares < most;
    if (keep) {
        journal->spare_numbers[journal->spares++] = spare_number;
        note_full_locked(journal, OK);
    }
    pthread_cond_broadcast(&journal->wake);
    pthread_mutex_unlock(&journal->lock);
    if (!keep)
        unlink(spare);
}
