/* SPDX-License-Identifier: MIT */
#include "journal/committer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"

#define BATCH_BYTES (4U << 20)

const struct metrics_bounds committer_jobs_bounds = {
    12, {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000}};
const struct metrics_bounds committer_sync_bounds = {
    14,
    {50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 25000000, 50000000,
     100000000, 250000000, 1000000000, 5000000000}};

struct committer {
    struct committer_options options;
    _Atomic(struct commit_job *) pushed; /* newest first */
    _Atomic bool idle;                   /* the thread sleeps or is about to */
    _Atomic bool well;
    bool stopping; /* under the lock */
    bool runs;
    bool unsynced;
    int64_t synced_ns;
    int64_t due_ns; /* of the next sync, where something is unsynced */
    struct journal_block block;
    struct metrics_histogram jobs, sync_ns;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
};

void commit_submit(struct committer *committer, struct commit_job *job) {
    struct commit_job *newest = atomic_load_explicit(&committer->pushed, memory_order_relaxed);
    do
        job->next = newest;
    while (!atomic_compare_exchange_weak(&committer->pushed, &newest, job));
    /* it says it is idle before it looks a last time; one who wakes it takes the word back */
    if (atomic_load(&committer->idle) && atomic_exchange(&committer->idle, false)) {
        pthread_mutex_lock(&committer->lock);
        pthread_cond_signal(&committer->wake);
        pthread_mutex_unlock(&committer->lock);
    }
}

static struct commit_job *take_all(struct committer *committer) {
    struct commit_job *newest = atomic_exchange(&committer->pushed, NULL);
    struct commit_job *oldest = NULL;
    while (newest) {
        struct commit_job *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool fail_journal(struct committer *committer, const char *why) {
    if (atomic_exchange(&committer->well, false)) {
        log_error("%s: no write is taken any more", why);
        committer->options.lost(committer->options.context);
        if (committer->options.fatal)
            committer->options.fatal(why);
    }
    return false;
}

static bool sync_journal(struct committer *committer) {
    int64_t began_ns = now_ns();
    if (journal_sync(committer->options.journal))
        return fail_journal(committer, "the journal could not be synced");
    committer->unsynced = false;
    committer->synced_ns = now_ns();
    metrics_observe(&committer->sync_ns, &committer_sync_bounds,
                    (uint64_t)(committer->synced_ns - began_ns));
    return true;
}

/* When a block written now has to be synced. */
static int64_t due_time(const struct committer *committer, bool lazy) {
    int64_t interval_ms = committer->options.interval_ms;
    if (!lazy)
        return committer->synced_ns + interval_ms * 1000000;
    bool sooner = interval_ms && interval_ms < COMMIT_LAZY_MS;
    return now_ns() + (sooner ? interval_ms : COMMIT_LAZY_MS) * 1000000;
}

static bool append_block(struct committer *committer, bool lazy) {
    if (committer->block.count == 0)
        return true;
    if (journal_append(committer->options.journal, &committer->block))
        return fail_journal(committer, "the journal could not be written");
    int64_t due_ns = due_time(committer, lazy);
    if (!committer->unsynced || due_ns < committer->due_ns)
        committer->due_ns = due_ns;
    committer->unsynced = true;
    return true;
}

/* The block is on disk, or will be within the time that was asked for. */
static bool make_safe(struct committer *committer) {
    bool due = committer->block.count && committer->due_ns <= now_ns();
    return !due || sync_journal(committer);
}

static void refuse_all(struct commit_job *job, const struct commit_job *end, enum err err) {
    while (job != end) {
        struct commit_job *next = job->next;
        job->user->refuse(job, err);
        job = next;
    }
}

static void finish_all(struct commit_job *job, const struct commit_job *end) {
    while (job != end) {
        struct commit_job *next = job->next;
        job->user->finish(job);
        job = next;
    }
}

/* Finishes those that need not wait for the sync; returns the first of the others, which are linked
 * up to end. */
static struct commit_job *finish_early(struct commit_job *job, struct commit_job *end) {
    struct commit_job *left = end;
    struct commit_job **last = &left;
    while (job != end) {
        struct commit_job *next = job->next;
        if (job->lazy && job->early) {
            job->user->finish(job);
        } else {
            *last = job;
            last = &job->next;
        }
        job = next;
    }
    *last = end;
    return left;
}

/* Carries out the jobs from first up to end (not itself) as one block. */
static void run_batch(struct committer *committer, struct commit_job *first,
                      struct commit_job *end) {
    const struct committer_options *options = &committer->options;
    bool lazy = true;
    uint64_t jobs = 0;
    journal_block_begin(options->journal, &committer->block);
    for (struct commit_job *job = first; job != end; job = job->next) {
        uint32_t count = committer->block.count;
        job->user->prepare(job->user->context, job, &committer->block);
        lazy &= job->lazy || committer->block.count == count;
        jobs++;
    }
    if (committer->block.count)
        metrics_observe(&committer->jobs, &committer_jobs_bounds, jobs);
    if (!append_block(committer, lazy)) {
        refuse_all(first, end, ERR_TIMEOUT); /* it may stand on disk or not */
        return;
    }
    struct commit_job *left = finish_early(first, end);
    if (!make_safe(committer)) {
        refuse_all(left, end, ERR_TIMEOUT);
        return;
    }
    if (committer->block.count)
        options->publish(options->context, journal_block_seq(&committer->block));
    finish_all(left, end);
    journal_block_end(&committer->block);
}

/* As many jobs as make a block of a decent size; at least one. */
static struct commit_job *find_end(struct commit_job *first, uint64_t *ret_bytes) {
    uint64_t bytes = first->user->size(first);
    struct commit_job *job = first->next;
    bool ended = first->ends_batch;
    while (job && !ended) {
        uint64_t more = job->user->size(job);
        if (bytes + more > BATCH_BYTES)
            break;
        bytes += more;
        ended = job->ends_batch;
        job = job->next;
    }
    *ret_bytes = bytes;
    return job;
}

static void run_jobs(struct committer *committer, struct commit_job *job) {
    while (job) {
        uint64_t bytes;
        if (!atomic_load(&committer->well)) {
            refuse_all(job, NULL, ERR_UNAVAILABLE);
            return;
        }
        committer->options.before(committer->options.context);
        struct commit_job *end = find_end(job, &bytes);
        enum err err = journal_reserve(committer->options.journal, bytes);
        if (err && end != job->next) { /* perhaps there is room for less */
            end = job->next;
            err = journal_reserve(committer->options.journal, job->user->size(job));
        }
        if (err == ERR_UNAVAILABLE)
            fail_journal(committer, "the journal cannot go on to its next segment");
        if (err)
            refuse_all(job, end, err);
        else
            run_batch(committer, job, end);
        job = end;
    }
}

/* Sleeps until something was pushed; only until a sync is due where something is unsynced. */
static void rest(struct committer *committer) {
    pthread_mutex_lock(&committer->lock);
    atomic_store(&committer->idle, true);
    while (!atomic_load(&committer->pushed) && atomic_load(&committer->idle) &&
           !committer->stopping) {
        if (!committer->unsynced) {
            pthread_cond_wait(&committer->wake, &committer->lock);
            continue;
        }
        struct timespec until = {committer->due_ns / 1000000000, committer->due_ns % 1000000000};
        if (pthread_cond_timedwait(&committer->wake, &committer->lock, &until) == ETIMEDOUT)
            break;
    }
    atomic_store(&committer->idle, false);
    pthread_mutex_unlock(&committer->lock);
}

static bool is_stopping(struct committer *committer) {
    pthread_mutex_lock(&committer->lock);
    bool stopping = committer->stopping;
    pthread_mutex_unlock(&committer->lock);
    return stopping;
}

static void *commit(void *context) {
    struct committer *committer = context;
    for (;;) {
        bool stopping = is_stopping(committer);
        struct commit_job *jobs = take_all(committer);
        if (jobs)
            run_jobs(committer, jobs);
        if (!atomic_load(&committer->well))
            committer->unsynced = false;
        /* jobs may write nothing */
        bool due = committer->unsynced && committer->due_ns <= now_ns();
        if (due || (committer->unsynced && stopping && !jobs))
            sync_journal(committer);
        else if (stopping && !jobs)
            return NULL;
        else if (!jobs)
            rest(committer);
    }
}

enum err committer_open(const struct committer_options *options, struct committer **ret_committer) {
    struct committer *committer = calloc(1, sizeof *committer);
    if (!committer)
        return ERR_OUT_OF_MEMORY;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    committer->options = *options;
    atomic_store(&committer->well, true);
    pthread_mutex_init(&committer->lock, NULL);
    pthread_cond_init(&committer->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *ret_committer = committer;
    return OK;
}

enum err committer_run(struct committer *committer) {
    committer->runs = pthread_create(&committer->thread, NULL, commit, committer) == 0;
    return committer->runs ? OK : ERR_OUT_OF_MEMORY;
}

void committer_stop(struct committer *committer) {
    pthread_mutex_lock(&committer->lock);
    committer->stopping = true;
    pthread_cond_signal(&committer->wake);
    pthread_mutex_unlock(&committer->lock);
    if (committer->runs)
        pthread_join(committer->thread, NULL);
    else
        refuse_all(take_all(committer), NULL, ERR_UNAVAILABLE);
    pthread_cond_destroy(&committer->wake);
    pthread_mutex_destroy(&committer->lock);
    buf_done(&committer->block.bytes);
    free(committer);
}

void committer_figures(const struct committer *committer, struct committer_figures *ret_figures) {
    metrics_histogram_read(&committer->jobs, &ret_figures->jobs);
    metrics_histogram_read(&committer->sync_ns, &ret_figures->sync_ns);
}
