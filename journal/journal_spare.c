/* SPDX-License-Identifier: MIT */
/* Spare segments: writing zeros takes long, so a thread does it before they are needed, and files
 * that were applied are used again. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "journal/journal_internal.h"

#define RETRY_S 1

void journal_spare_path(const struct journal *journal, unsigned number, char path[PATH_BYTES]) {
    snprintf(path, PATH_BYTES, "%s/spare-%u", journal->dir, number);
}

static void note_full(struct journal *journal, enum err err) {
    bool full = err != OK;
    if (atomic_exchange(&journal->full, full) != full)
        log_warn(full ? "no room for another journal segment: writes fail until there is"
                      : "there is room for the journal again");
}

static void make_one(struct journal *journal) {
    char path[PATH_BYTES];
    unsigned number = journal->spare_serial++;
    pthread_mutex_unlock(&journal->lock);
    journal_spare_path(journal, number, path);
    enum err err = segment_make(path, journal->segment_bytes);
    pthread_mutex_lock(&journal->lock);
    note_full(journal, err);
    if (err) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += RETRY_S;
        pthread_cond_timedwait(&journal->wake, &journal->lock, &until);
    } else {
        journal->spare_numbers[journal->spares++] = number;
        pthread_cond_broadcast(&journal->wake);
    }
}

static void *make_spares(void *context) {
    struct journal *journal = context;
    pthread_mutex_lock(&journal->lock);
    while (!journal->stopping) {
        if (journal->spares < SPARES_WANTED)
            make_one(journal);
        else
            pthread_cond_wait(&journal->wake, &journal->lock);
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
enum err journal_spare_take(struct journal *journal, uint64_t size_bytes, const char *path) {
    if (size_bytes != journal->segment_bytes)
        return segment_make(path, size_bytes);
    pthread_mutex_lock(&journal->lock);
    while (journal->spares == 0 && !atomic_load(&journal->full))
        pthread_cond_wait(&journal->wake, &journal->lock);
    enum err err = ERR_STORAGE_FULL;
    if (journal->spares) {
        char spare[PATH_BYTES];
        journal_spare_path(journal, journal->spare_numbers[--journal->spares], spare);
        err = rename(spare, path) == 0 ? OK : ERR_UNAVAILABLE;
        pthread_cond_broadcast(&journal->wake);
    }
    pthread_mutex_unlock(&journal->lock);
    return err;
}

void journal_spare_give(struct journal *journal, uint64_t number, bool usual_size) {
    char path[PATH_BYTES], spare[PATH_BYTES];
    journal_path(journal, number, path);
    pthread_mutex_lock(&journal->lock);
    bool keep = usual_size && journal->spares < SPARES_MAX && !atomic_load(&journal->full);
    if (keep) {
        unsigned spare_number = journal->spare_serial++;
        journal_spare_path(journal, spare_number, spare);
        keep = rename(path, spare) == 0;
        if (keep)
            journal->spare_numbers[journal->spares++] = spare_number;
        pthread_cond_broadcast(&journal->wake);
    }
    pthread_mutex_unlock(&journal->lock);
    if (!keep)
        unlink(path);
}
