/* SPDX-License-Identifier: MIT */
/* The applier: when LMDB is told of what changed, and how far the journal is then no longer needed.
 */
#include "base/log.h"
#include "broker/disk_inside.h"

#define IDLE_MS 500
#define RETRY_MS 500
#define SEGMENTS_BEHIND 2U

static bool anything_locked(const struct disk *disk) {
    return disk->dirty_first || disk->defs || disk->dropped;
}

static bool anything(struct disk *disk) {
    pthread_mutex_lock(&disk->lock);
    bool any = anything_locked(disk);
    pthread_mutex_unlock(&disk->lock);
    return any;
}

static void wait_ms_locked(struct disk *disk, int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&disk->changed, &disk->lock, &until);
}

bool disk_checkpoint(struct disk *disk, uint64_t *ret_seq) {
    pthread_mutex_lock(&disk->lock);
    uint64_t wanted = ++disk->checkpoints_wanted;
    pthread_cond_broadcast(&disk->changed); /* the committer may wait for room */
    while (disk->checkpoints_done < wanted && !disk->closing && !atomic_load(&disk->dead)) {
        disk_nudge_locked(disk);
        pthread_cond_wait(&disk->changed, &disk->lock);
    }
    bool done = disk->checkpoints_done >= wanted && !atomic_load(&disk->dead);
    *ret_seq = disk->checkpoint_seq;
    pthread_mutex_unlock(&disk->lock);
    return done;
}

static void note_full(struct disk *disk, bool full) {
    if (atomic_exchange(&disk->full, full) == full)
        return;
    log_warn(full ? "the disk is full: publishing to hdd queues fails until there is room"
                  : "the disk has room again for messages");
    pthread_mutex_lock(&disk->lock);
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
}

void disk_measure(struct disk *disk) {
    uint64_t free_bytes = atomic_load_explicit(&disk->free_bytes, memory_order_relaxed);
    uint64_t waiting = atomic_load_explicit(&disk->dirty_bytes, memory_order_relaxed);
    atomic_store_explicit(&disk->tight, datadir_is_tight(disk->datadir, free_bytes, waiting),
                          memory_order_relaxed);
}

static void note_applied(struct disk *disk, uint64_t seq) {
    atomic_store_explicit(&disk->free_bytes, env_free_bytes(disk->env), memory_order_relaxed);
    pthread_mutex_lock(&disk->lock);
    disk->applied_seq = seq;
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
    datadir_trim(disk->datadir, &disk->store, seq);
}

/* Everything up to a checkpoint into LMDB; false where that cannot be now. */
static bool apply(struct disk *disk) {
    uint64_t seq;
    bool last = false;
    if (!disk_checkpoint(disk, &seq))
        return false;
    while (!last) {
        enum err err = disk_write_some(disk, seq, true, &last);
        if (err == ERR_STORAGE_FULL)
            note_full(disk, true);
        if (err == ERR_STORAGE_FULL || err == ERR_OUT_OF_MEMORY) /* tried again */
            return false;
        if (err) {
            if (!disk->closing)
                disk_fail(disk, "LMDB could not be written");
            return false;
        }
    }
    note_full(disk, false);
    note_applied(disk, seq);
    return true;
}

/* There is much to be applied. What is less, and the position where others alone have written, is
 * once nothing came for a while. */
static bool is_due_locked(const struct disk *disk, uint64_t segment) {
    bool behind =
        segment > disk->applied_segment + SEGMENTS_BEHIND; /* a checkpoint may know more */
    return behind || (atomic_load(&disk->tight) && anything_locked(disk)) ||
           atomic_load(&disk->dirty_bytes) > disk->buffer_bytes / 4;
}

/* On a full disk: what others wrote meanwhile keeps segments too, and where nobody writes any more
 * somebody has to ask for the next segment. True where there is something to apply. */
static bool holds_up(struct disk *disk) {
    uint64_t seq;
    if (!journal_is_full(datadir_journal(disk->datadir)) || !disk_checkpoint(disk, &seq))
        return false;
    datadir_trim(disk->datadir, &disk->store, disk->applied_seq);
    return seq > disk->applied_seq;
}

static void *run(void *context) {
    struct disk *disk = context;
    uint64_t segment = 0, seq = 0;
    for (;;) {
        pthread_mutex_lock(&disk->lock);
        if (!disk->stopping && !is_due_locked(disk, segment))
            wait_ms_locked(disk, IDLE_MS);
        bool stopping = disk->stopping;
        disk_measure(disk);
        uint64_t last_seq = atomic_load_explicit(&disk->seq_seen, memory_order_relaxed);
        bool rests = last_seq == seq && last_seq > disk->applied_seq;
        bool work = anything_locked(disk) || is_due_locked(disk, segment) || rests;
        pthread_mutex_unlock(&disk->lock);
        seq = last_seq;
        if (stopping || atomic_load(&disk->dead))
            return NULL;
        segment = atomic_load(&disk->segment_seen);
        if ((work || holds_up(disk)) && !apply(disk)) {
            pthread_mutex_lock(&disk->lock);
            if (!disk->stopping)
                wait_ms_locked(disk, RETRY_MS);
            pthread_mutex_unlock(&disk->lock);
        }
    }
}

enum err disk_applier_start(struct disk *disk) {
    disk->runs = pthread_create(&disk->applier, NULL, run, disk) == 0;
    return disk->runs ? OK : ERR_OUT_OF_MEMORY;
}

void disk_applier_stop(struct disk *disk) {
    pthread_mutex_lock(&disk->lock);
    disk->stopping = true;
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
    if (disk->runs)
        pthread_join(disk->applier, NULL);
    if (!disk->runs || atomic_load(&disk->dead))
        return;
    struct journal *journal = datadir_journal(disk->datadir);
    uint64_t seq = journal_next_seq(journal) - 1;
    bool last = false;
    enum err err = journal_sync(journal);
    while (!err && !last && anything(disk))
        err = disk_write_some(disk, seq, false, &last);
    if (!err && !last && seq > disk->applied_seq) { /* there was nothing: the position alone */
        err = disk_write_position(disk, seq);
        last = !err;
    }
    if (!err && last)
        note_applied(disk, seq);
}
