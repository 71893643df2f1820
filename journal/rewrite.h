/* SPDX-License-Identifier: MIT */
/* An LMDB environment written anew, record by record, into a fresh file that then takes the place
 * of the old one: nothing that stood in the old one, pages that were free among it, is in the new.
 *
 *   env -> fresh directory, in transactions ──> its file renamed over env's: all of it, or nothing
 *
 * What a crash cut short is gone on with, where env did not change since; an environment that is
 * done and did not change since is not done again. */
#ifndef HATI_JOURNAL_REWRITE_H
#define HATI_JOURNAL_REWRITE_H

#include "journal/env.h"

struct rewrite {
    const char *dir;   /* of the environment, which nobody has open */
    const char *fresh; /* a directory on the same file system, made and removed here */
    uint32_t mark;     /* what it is written for: done for another mark is not done */
    /* Writes one of its entries to ENV_ENTRIES of the new one; all else is copied. */
    enum err (*entry)(void *context, struct env_write *to, struct slice key, struct slice value);
    /* So many more entries are done. */
    void (*progress)(void *context, uint64_t more);
    void *context;
};

/* On failure the environment is as it was, and where entry left ret_why alone one line is there.
 * Blocks. */
enum err rewrite_env(const struct rewrite *rewrite, char *ret_why, size_t why_bytes) MUST_USE;
/* How many entries an environment has. */
enum err rewrite_count(const char *dir, uint64_t *ret_count, char *ret_why,
                       size_t why_bytes) MUST_USE;

#endif
