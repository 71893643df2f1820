/* SPDX-License-Identifier: MIT */
/* One thread that takes all jobs that wait, lets each test its conditions and add its records, puts
 * the records on disk with one sync, makes them visible, and tells every caller.
 *
 *   commit_submit ──> queue ──> prepare each ──> append, sync ──> publish ──> finish each
 */
#ifndef HATI_JOURNAL_COMMITTER_H
#define HATI_JOURNAL_COMMITTER_H

#include "base/metrics.h"
#include "journal/journal.h"

struct commit_job;

/* What kind of job it is: functions of the store that made it, all called on the committer. */
struct commit_user {
    void *context;
    /* Payload bytes of its records at most. */
    uint64_t (*size)(const struct commit_job *job);
    /* Tests conditions against what stands before (this batch included) and adds records, or none.
     */
    void (*prepare)(void *context, struct commit_job *job, struct journal_block *block);
    /* There is no room for it (or the journal cannot go on): nothing was done. */
    void (*refuse)(struct commit_job *job, enum err err);
    /* Its outcome may be told; the job is the caller's again. */
    void (*finish)(struct commit_job *job);
};

struct commit_job {
    struct commit_job *next;
    const struct commit_user *user;
    /* Need not be synced before it is finished: it survives the process, a power cut may take it
     * for up to COMMIT_LAZY_MS. Counts only where it adds records. */
    bool lazy;
    /* A lazy one that is finished as soon as its records are in the journal, though others of its
     * batch still wait for the sync; finish then changes nothing that they see. */
    bool early;
    /* Jobs behind it are sized and prepared in a later batch: it changes what they are. */
    bool ends_batch;
};

#define COMMIT_LAZY_MS 50

struct committer;

struct committer_options {
    struct journal *journal;
    int64_t interval_ms;            /* 0: sync before every answer; else at least so often */
    void (*fatal)(const char *why); /* the journal cannot go on; once; may be NULL */
    /* On the committer: */
    void *context;
    /* Before a batch: waits here where a store cannot take more. May sync the journal. */
    void (*before)(void *context);
    /* All records up to last_seq are in the journal, as safe as was asked for: they may be seen. */
    void (*publish)(void *context, uint64_t last_seq);
    /* The journal cannot go on: what was not published by now never is. Once, before refusals. */
    void (*lost)(void *context);
};

/* Jobs may be submitted from now on; they wait for committer_run. */
enum err committer_open(const struct committer_options *options,
                        struct committer **ret_committer) MUST_USE;
/* Starts the thread. */
enum err committer_run(struct committer *committer) MUST_USE;
/* Finishes everything submitted (refuses it where the thread never ran) and ends. Blocks. */
void committer_stop(struct committer *committer);

/* Jobs of one thread are carried out in the order they were submitted. Any thread; never blocks.
 * finish or refuse comes, perhaps before this returns; once the journal failed it is refuse with
 * ERR_UNAVAILABLE. */
void commit_submit(struct committer *committer, struct commit_job *job);

/* What it did so far: jobs of a batch that wrote something, ns of a sync of the journal. */
struct committer_figures {
    struct metrics_counts jobs, sync_ns;
};
extern const struct metrics_bounds committer_jobs_bounds, committer_sync_bounds;

/* Any thread. */
void committer_figures(const struct committer *committer, struct committer_figures *ret_figures);

#endif
