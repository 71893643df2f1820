/* SPDX-License-Identifier: MIT */
/* The durable store's front: opening, closing, figures. */
#include "kv/hdd.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

#define SEGMENTS_BEHIND 4U /* at least, before the applied position moves without own writes */

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

/* Everything is replayed: what was put is visible. */
static enum err start(void *context) {
    struct kv_hdd *hdd = context;
    hdd->journal = datadir_journal(hdd->datadir);
    hdd->committer = datadir_committer(hdd->datadir);
    hdd->frozen_seq = hdd->applied_seq;
    hdd->frozen_segment = journal_segment(hdd->journal);
    hdd->segments_max = hdd->buffer_bytes / 2 / journal_segment_bytes(hdd->journal);
    if (hdd->segments_max < SEGMENTS_BEHIND)
        hdd->segments_max = SEGMENTS_BEHIND;
    atomic_store(&hdd->flush_seq, hdd->pending_flush_seq);
    atomic_store(&hdd->own_seq, hdd->pending_own_seq);
    atomic_store(&hdd->visible_seq, journal_next_seq(hdd->journal) - 1);
    hdd_reserve_make(hdd);
    hdd_feed_open(hdd);
    enum err err = hdd_applier_start(hdd);
    if (!err)
        err = hdd_lister_start(hdd);
    return err ? err : hdd_verifier_start(hdd);
}

static void end_submitting(void *context) {
    struct kv_hdd *hdd = context;
    hdd_lister_stop(hdd);
    hdd_verifier_stop(hdd);
    pthread_mutex_lock(&hdd->lock);
    hdd->closing = true;
    pthread_mutex_unlock(&hdd->lock);
}

static void init(struct kv_hdd *hdd, const struct kv_options *options) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&hdd->lock, NULL);
    pthread_cond_init(&hdd->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    hdd->seed = hash_process_seed();
    hdd->buffer_bytes = options->write_buffer_bytes ? options->write_buffer_bytes : 256U << 20;
    hdd->fatal = options->fatal;
    hdd->progress = options->progress;
    hdd_commit_init(hdd);
    pthread_mutex_init(&hdd->dues.lock, NULL);
}

/* Also takes apart what was opened only in part. */
static void free_hdd(struct kv_hdd *hdd) {
    if (hdd->owns_datadir)
        datadir_stop(hdd->datadir);
    if (hdd->applier_runs)
        hdd_applier_stop(hdd);
    hdd_feed_close(hdd);
    if (hdd->store.context)
        datadir_leave(hdd->datadir, &hdd->store);
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
    if (hdd->owns_datadir)
        datadir_close(hdd->datadir);
    pthread_cond_destroy(&hdd->changed);
    pthread_mutex_destroy(&hdd->lock);
    free(hdd);
}

static enum err open_dir(struct kv_hdd *hdd, const struct kv_options *options, char *ret_why,
                         size_t why_bytes) {
    struct datadir_options own = {
        .dir = options->data_dir, .durability_ms = options->durability_ms, .fatal = options->fatal};
    enum err err = OK;
    hdd->datadir = options->datadir;
    if (!hdd->datadir) {
        err = datadir_open(&own, &hdd->datadir, ret_why, why_bytes);
        hdd->owns_datadir = !err;
    }
    if (err)
        return err;
    hdd->keys = datadir_keys(hdd->datadir);
    snprintf(hdd->dir, sizeof hdd->dir, "%s", datadir_path(hdd->datadir));
    return OK;
}

static enum err join_datadir(struct kv_hdd *hdd, char *ret_why, size_t why_bytes) {
    hdd->store = (struct datadir_store){.context = hdd,
                                        .kinds = RECORD_KINDS,
                                        .applied_seq = hdd->applied_seq,
                                        .replay = hdd_replay,
                                        .started = start,
                                        .closing = end_submitting,
                                        .before = hdd_before,
                                        .publish = hdd_publish,
                                        .lost = hdd_lost};
    datadir_add(hdd->datadir, &hdd->store);
    return hdd->owns_datadir ? datadir_start(hdd->datadir, ret_why, why_bytes) : OK;
}

enum err kv_hdd_open(const struct kv_options *options, struct feeds *feeds, struct kv_hdd **ret_hdd,
                     char *ret_why, size_t why_bytes) {
    struct kv_hdd *hdd = NULL;
    ret_why[0] = 0;
    if (posix_memalign((void **)&hdd, 64, sizeof *hdd) != 0) {
        snprintf(ret_why, why_bytes, "no memory for the hdd storage");
        return ERR_OUT_OF_MEMORY;
    }
    memset(hdd, 0, sizeof *hdd);
    init(hdd, options);
    hdd->feeds = feeds;
    enum err err = recent_open(&hdd->recent);
    if (!err)
        err = hdd_cache_open(options->read_cache_bytes, &hdd->cache);
    hdd->spaces = spaces_new();
    if (!err && !hdd->spaces)
        err = ERR_OUT_OF_MEMORY;
    if (!err)
        err = open_dir(hdd, options, ret_why, why_bytes);
    if (!err)
        err = hdd_shards_open(hdd, options->hdd_shards, ret_why, why_bytes);
    if (!err) {
        hdd_reserve_measure(hdd);
        err = join_datadir(hdd, ret_why, why_bytes);
    }
    if (err) {
        if (!ret_why[0])
            snprintf(ret_why, why_bytes, "cannot open the hdd storage: %s", err_text(err));
        free_hdd(hdd);
        return err;
    }
    *ret_hdd = hdd;
    return OK;
}

void kv_hdd_close(struct kv_hdd *hdd) {
    free_hdd(hdd);
}

bool kv_hdd_is_ready(struct kv_hdd *hdd) {
    return !atomic_load(&hdd->dead);
}
