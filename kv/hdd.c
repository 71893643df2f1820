/* SPDX-License-Identifier: MIT */
/* The durable store's front: opening, closing, figures. */
#include "kv/hdd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define FORMAT_TEXT "hati data 1\n"

void hdd_fail(struct kv_hdd *hdd, const char *why) {
    if (atomic_exchange(&hdd->dead, true))
        return;
    pthread_mutex_lock(&hdd->lock);
    pthread_cond_broadcast(&hdd->changed);
    pthread_mutex_unlock(&hdd->lock);
    log_error("%s: no write is taken any more", why);
    if (hdd->fatal)
        hdd->fatal(why);
}

static enum err lock_dir(struct kv_hdd *hdd, char *ret_why, size_t why_bytes) {
    char path[HDD_PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s/LOCK", hdd->dir);
    hdd->lock_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (hdd->lock_fd < 0) {
        snprintf(ret_why, why_bytes, "data-dir: cannot write to %s: %s", hdd->dir, strerror(errno));
        return ERR_UNAVAILABLE;
    }
    if (flock(hdd->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        snprintf(ret_why, why_bytes, "data-dir: another process serves %s", hdd->dir);
        return ERR_CONFLICT;
    }
    return OK;
}

/* The directory says in which format it is, so that another version does not guess. */
static enum err check_format(struct kv_hdd *hdd, char *ret_why, size_t why_bytes) {
    char path[HDD_PATH_BYTES + 16];
    char text[64] = {0};
    snprintf(path, sizeof path, "%s/format", hdd->dir);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    bool good = len == (ssize_t)strlen(FORMAT_TEXT) && strcmp(text, FORMAT_TEXT) == 0;
    if (len == 0)
        good = write(fd, FORMAT_TEXT, strlen(FORMAT_TEXT)) == (ssize_t)strlen(FORMAT_TEXT) &&
               fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (good)
        return OK;
    snprintf(ret_why, why_bytes, "data-dir: %s is in a format this version does not know", path);
    return ERR_CORRUPT;
}

static enum err open_journal(struct kv_hdd *hdd, char *ret_why, size_t why_bytes) {
    char dir[HDD_PATH_BYTES + 16];
    snprintf(dir, sizeof dir, "%s/journal", hdd->dir);
    struct journal_options options = {
        .dir = dir, .applied_seq = hdd->applied_seq, .replay = hdd_replay, .context = hdd};
    enum err err = journal_open(&options, &hdd->journal, ret_why, why_bytes);
    if (err)
        return err;
    uint64_t last_seq = journal_next_seq(hdd->journal) - 1;
    hdd->frozen_seq = hdd->applied_seq;
    atomic_store(&hdd->flush_seq, hdd->pending_flush_seq);
    atomic_store(&hdd->visible_seq, last_seq);
    if (last_seq > hdd->applied_seq)
        log_info("replayed %llu records of the journal",
                 (unsigned long long)(last_seq - hdd->applied_seq));
    return OK;
}

static enum err start_threads(struct kv_hdd *hdd, const struct kv_options *options) {
    struct committer_options committer = {.journal = hdd->journal,
                                          .user = &hdd->user,
                                          .interval_ms = options->durability_ms,
                                          .fatal = options->fatal};
    enum err err = committer_start(&committer, &hdd->committer);
    if (!err)
        err = hdd_applier_start(hdd);
    if (!err)
        err = hdd_lister_start(hdd);
    return err;
}

static void init(struct kv_hdd *hdd, const struct kv_options *options) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&hdd->lock, NULL);
    pthread_cond_init(&hdd->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    hdd->lock_fd = -1;
    hdd->seed = hash_process_seed();
    hdd->buffer_bytes = options->write_buffer_bytes ? options->write_buffer_bytes : 256U << 20;
    hdd->fatal = options->fatal;
    hdd->progress = options->progress;
    hdd_commit_init(hdd);
}

/* Also takes apart what was opened only in part. */
static void free_hdd(struct kv_hdd *hdd) {
    hdd_lister_stop(hdd);
    pthread_mutex_lock(&hdd->lock);
    hdd->closing = true;
    pthread_mutex_unlock(&hdd->lock);
    if (hdd->committer)
        committer_stop(hdd->committer);
    if (hdd->applier_runs)
        hdd_applier_stop(hdd);
    if (hdd->journal)
        journal_close(hdd->journal);
    hdd_shards_close(hdd);
    recent_close(&hdd->recent);
    hdd_cache_close(hdd->cache);
    spaces_free(hdd->spaces);
    while (hdd->new_spaces) {
        struct new_space *next = hdd->new_spaces->next;
        free(hdd->new_spaces);
        hdd->new_spaces = next;
    }
    arena_done(&hdd->scratch);
    if (hdd->lock_fd >= 0)
        close(hdd->lock_fd);
    pthread_cond_destroy(&hdd->changed);
    pthread_mutex_destroy(&hdd->lock);
    free(hdd);
}

enum err kv_hdd_open(const struct kv_options *options, struct kv_hdd **ret_hdd, char *ret_why,
                     size_t why_bytes) {
    struct kv_hdd *hdd = NULL;
    ret_why[0] = 0;
    if (strlen(options->data_dir) >= HDD_PATH_BYTES - 128) {
        snprintf(ret_why, why_bytes, "data-dir: the path is too long");
        return ERR_SYNTAX;
    }
    if (posix_memalign((void **)&hdd, 64, sizeof *hdd) != 0)
        return ERR_OUT_OF_MEMORY;
    memset(hdd, 0, sizeof *hdd);
    snprintf(hdd->dir, sizeof hdd->dir, "%s", options->data_dir);
    init(hdd, options);
    enum err err = recent_open(&hdd->recent);
    if (!err)
        err = hdd_cache_open(options->read_cache_bytes, &hdd->cache);
    hdd->spaces = spaces_new();
    if (!err && !hdd->spaces)
        err = ERR_OUT_OF_MEMORY;
    if (!err)
        err = lock_dir(hdd, ret_why, why_bytes);
    if (!err)
        err = check_format(hdd, ret_why, why_bytes);
    if (!err)
        err =
            hdd_shards_open(hdd, options->hdd_shards ? options->hdd_shards : 1, ret_why, why_bytes);
    if (!err)
        err = open_journal(hdd, ret_why, why_bytes);
    if (!err)
        hdd_reserve_measure(hdd);
    if (!err)
        err = start_threads(hdd, options);
    if (err) {
        if (!ret_why[0])
            snprintf(ret_why, why_bytes, "cannot open %s: %s", hdd->dir, err_text(err));
        free_hdd(hdd);
        return err;
    }
    hdd_reserve_make(hdd);
    *ret_hdd = hdd;
    return OK;
}

void kv_hdd_close(struct kv_hdd *hdd) {
    free_hdd(hdd);
}

bool kv_hdd_is_ready(struct kv_hdd *hdd) {
    return !atomic_load(&hdd->dead) && committer_is_well(hdd->committer);
}
