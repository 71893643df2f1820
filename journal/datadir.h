/* SPDX-License-Identifier: MIT */
/* The data directory: its lock, its format, and the journal with its committer, which all stores
 * that are kept there share.
 *
 *   datadir_open ──> each store opens its files, datadir_add ──> datadir_start: replay, committer
 *   datadir_stop: all jobs are finished ──> each store closes ──> datadir_close
 *
 * The first byte of a record says whose it is. A segment is used again once every store has
 * everything that is in it in its own files. */
#ifndef HATI_JOURNAL_DATADIR_H
#define HATI_JOURNAL_DATADIR_H

#include "journal/committer.h"
#include "journal/seal.h"

struct datadir;

struct datadir_options {
    const char *dir;                /* is there, and may be written to */
    int64_t durability_ms;          /* 0: every reply after its sync; else synced so often */
    uint64_t segment_bytes;         /* of the journal; 0: JOURNAL_SEGMENT_BYTES */
    struct seal_keys *keys;         /* values and messages are sealed by them; NULL: they are not.
                                       Told to refuse what is plain where nothing of it ever was */
    void (*fatal)(const char *why); /* the journal cannot go on; from its thread, once; or NULL */
};

/* A store that keeps its part in the journal. Owned by the store; lives until datadir_close or
 * datadir_leave. */
struct datadir_store {
    void *context;
    const char *kinds; /* first bytes of its records, as a string */
    uint64_t
        applied_seq; /* at start: records up to here are in its own files; then the datadir's */
    /* It has no files yet and never had a record. applied_seq is set to the journal's end before
     * `started`, which must put that on disk (or refuse) before it submits anything: at the next
     * start it is no longer new. A record of its kinds is ERR_CORRUPT: its files are gone. */
    bool is_new;
    /* Takes back a record of its kinds behind its applied_seq; in order. Thread of datadir_start.
     */
    enum err (*replay)(void *context, uint64_t seq, struct slice record);
    /* Everything before journal_next_seq is replayed: threads may start, and may submit; what they
     * submit is carried out once every store has started, so it must not be waited for here. */
    enum err (*started)(void *context);
    /* From when it returns on, it submits nothing more. Thread of datadir_stop; also where it never
     * started, because another store could not. */
    void (*closing)(void *context);
    /* As in struct committer_options; lost may be NULL. A store moves nothing into its own files
     * that is not synced: it calls journal_sync here, in `before`, first. */
    void (*before)(void *context);
    void (*publish)(void *context, uint64_t last_seq);
    void (*lost)(void *context);
    struct datadir_store *next; /* the datadir's */
};

/* Takes the directory's lock and checks its format. ERR_CONFLICT: another process serves it;
 * ERR_CORRUPT: another format; ERR_SYNTAX: a path too long; ERR_UNAVAILABLE. On failure one clear
 * line is in ret_why. */
enum err datadir_open(const struct datadir_options *options, struct datadir **ret_datadir,
                      char *ret_why, size_t why_bytes) MUST_USE;
/* Adds a store, before datadir_start. */
void datadir_add(struct datadir *datadir, struct datadir_store *store);
/* Opens the journal, replays it into the stores, starts the committer. On failure one clear line is
 * in ret_why, and everything is as after datadir_stop. Blocks. */
enum err datadir_start(struct datadir *datadir, char *ret_why, size_t why_bytes) MUST_USE;
/* Every job is finished, then the committer is gone; stores may use the journal from their own
 * thread from now on, and close. Does nothing where nothing runs. Blocks. */
void datadir_stop(struct datadir *datadir);
/* Stops it where it was not, closes the journal, lets go of the lock. NULL does nothing. */
void datadir_close(struct datadir *datadir);

/* The directory. Any thread. */
const char *datadir_path(const struct datadir *datadir);
/* By which its stores seal; NULL: they do not. Outlives them. Any thread. */
const struct seal_keys *datadir_keys(const struct datadir *datadir);
/* Keys of a file that was read anew: refused where one that is needed is missing, and closed then;
 * else they are in force when it returns. It was opened with keys. One thread at a time. Blocks. */
enum err datadir_renew_keys(struct datadir *datadir, struct seal_keys *fresh, char *ret_why,
                            size_t why_bytes) MUST_USE;
/* What a store has in the journal, and what deletes need (they copy pages, too), may not fit into
 * its own files any more: nothing that grows is to be taken. free_bytes: room in those files. Any
 * thread. */
bool datadir_is_tight(const struct datadir *datadir, uint64_t free_bytes, uint64_t waiting_bytes);

/* From `started` on until datadir_close. Any thread; what may be done with it: journal.h. */
struct journal *datadir_journal(struct datadir *datadir);
/* From `started` on until datadir_stop. Any thread. */
struct committer *datadir_committer(struct datadir *datadir);

/* The store needs only records behind applied_seq: what no store needs any more is trimmed. From
 * `started` on until datadir_close. Any thread; may block for a rename. */
void datadir_trim(struct datadir *datadir, struct datadir_store *store, uint64_t applied_seq);

struct datadir_figures {
    struct committer_figures committer;
    struct journal_figures journal;
    uint64_t lag_records; /* of the journal that some store has not in its own files yet */
};
/* From `started` on until datadir_stop. Any thread. */
void datadir_figures(struct datadir *datadir, struct datadir_figures *ret_figures);

/* The store closes before others do: nothing behind what it applied is trimmed any more. After
 * datadir_stop. */
void datadir_leave(struct datadir *datadir, struct datadir_store *store);

/* Every store has left, and everything the journal holds is in their own files. After datadir_stop.
 */
bool datadir_is_applied(struct datadir *datadir);
/* Then: deletes the journal's files, spares too. Nothing of it may be used any more but
 * datadir_close. On failure, one line in ret_why, what is left is in nobody's way. Blocks. */
enum err datadir_drop_journal(struct datadir *datadir, char *ret_why, size_t why_bytes) MUST_USE;
/* Everything in the directory is sealed by the first key: it forgets the others. Blocks. */
enum err datadir_forget_keys(struct datadir *datadir, char *ret_why, size_t why_bytes) MUST_USE;

#endif
