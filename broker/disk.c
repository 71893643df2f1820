/* SPDX-License-Identifier: MIT */
/* Opening and closing the durable part. */
#include "broker/disk.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "broker/disk_inside.h"

#define BUFFER_BYTES (64U << 20)
#define PATH_BYTES 600

enum err disk_write_position(struct disk *disk, uint64_t seq) {
    struct env_write *write;
    enum err err = env_write_begin(disk->env, 4096, &write);
    if (err)
        return err;
    err = env_write_put(write, ENV_META, META_APPLIED, slice_make(&seq, sizeof seq));
    if (err) {
        env_write_abort(write);
        return err;
    }
    return env_write_commit(write);
}

static void schedule(void *context, struct slice name, void *value) {
    struct queue *queue = value;
    (void)context, (void)name;
    queue_lock(queue);
    disk_read_fronts_locked(queue, false);
    clock_schedule_locked(queue);
    pthread_mutex_unlock(&queue->lock);
}

static enum err started(void *context) {
    struct disk *disk = context;
    enum err err = OK;
    if (disk->was_new)
        err = disk_write_position(disk, disk->store.applied_seq);
    disk->applied_seq = disk->store.applied_seq;
    atomic_store(&disk->seq_seen, journal_next_seq(datadir_journal(disk->datadir)) - 1);
    atomic_store(&disk->free_bytes, env_free_bytes(disk->env));
    names_each(&disk->broker->queues, schedule, NULL);
    if (!err && !disk->broker->options.manual_clock)
        err = clock_start(disk->broker);
    return err ? err : disk_applier_start(disk);
}

static void closing(void *context) {
    struct disk *disk = context;
    pthread_mutex_lock(&disk->lock);
    disk->closing = true;
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
    clock_stop(disk->broker); /* it submits what it moves */
}

static void published(void *context, uint64_t last_seq) {
    struct disk *disk = context;
    atomic_store_explicit(&disk->seq_seen, last_seq, memory_order_relaxed);
    atomic_store_explicit(&disk->segment_seen, journal_segment(datadir_journal(disk->datadir)),
                          memory_order_relaxed);
}

static void lost(void *context) {
    struct disk *disk = context;
    atomic_store(&disk->dead, true); /* the committer told of it */
    pthread_mutex_lock(&disk->lock);
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
}

static void init(struct disk *disk, struct broker *broker) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&disk->lock, NULL);
    pthread_cond_init(&disk->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    disk->broker = broker;
    disk->datadir = broker->options.datadir;
    disk->keys = datadir_keys(disk->datadir);
    disk->buffer_bytes =
        broker->options.write_buffer_bytes ? broker->options.write_buffer_bytes : BUFFER_BYTES;
    disk->last_def = &disk->defs;
    disk_commit_init(disk);
}

static void join_datadir(struct disk *disk) {
    disk->store = (struct datadir_store){.context = disk,
                                         .kinds = RECORD_KINDS,
                                         .applied_seq = disk->applied_seq,
                                         .is_new = disk->was_new,
                                         .replay = disk_replay,
                                         .started = started,
                                         .closing = closing,
                                         .before = disk_before,
                                         .publish = published,
                                         .lost = lost};
    datadir_add(disk->datadir, &disk->store);
    disk->joined = true;
}

enum err disk_open(struct broker *broker, char *ret_why, size_t why_bytes) {
    char dir[PATH_BYTES];
    struct disk *disk = calloc(1, sizeof *disk);
    if (!disk)
        return ERR_OUT_OF_MEMORY;
    broker->disk = disk;
    init(disk, broker);
    snprintf(dir, sizeof dir, "%s/broker", datadir_path(disk->datadir));
    enum err err = disk->keys ? env_open_cleared(dir, &disk->env, ret_why, why_bytes)
                              : env_open(dir, &disk->env, ret_why, why_bytes);
    if (!err)
        err = disk_load(disk);
    if (err) {
        if (!ret_why[0])
            snprintf(ret_why, why_bytes, "cannot read %s: %s", dir, err_text(err));
        return err;
    }
    join_datadir(disk);
    return OK;
}

bool disk_is_ready(const struct broker *broker) {
    return !atomic_load(&broker->disk->dead);
}

static void free_lists(struct disk *disk) {
    while (disk->dirty_first) {
        struct queue *next = disk->dirty_first->dirty_next;
        queue_unref(disk->dirty_first);
        disk->dirty_first = next;
    }
    while (disk->defs) {
        struct def_change *next = disk->defs->next;
        free(disk->defs);
        disk->defs = next;
    }
    disk_free_stores(disk->dropped);
}

void disk_stop(struct broker *broker) {
    disk_applier_stop(disk_of(broker));
}

void disk_close(struct broker *broker) {
    struct disk *disk = disk_of(broker);
    free_lists(disk);
    if (disk->joined)
        datadir_leave(disk->datadir, &disk->store);
    if (disk->env)
        env_close(disk->env);
    pthread_cond_destroy(&disk->changed);
    pthread_mutex_destroy(&disk->lock);
    free(disk);
    broker->disk = NULL;
}
