/* SPDX-License-Identifier: MIT */
/* The write-ahead log: numbered records in checksummed blocks, a block on disk as a whole or not at
 * all.
 *
 *   journal_block_add* ──> journal_append ──> journal_sync ──> (a reply may go out)
 *   start: journal_open replays every record behind what was applied
 *   applied: journal_trim gives segments back
 *
 * One thread appends and syncs; another may trim. Whose it is: journal/datadir.h. */
#ifndef HATI_JOURNAL_JOURNAL_H
#define HATI_JOURNAL_JOURNAL_H

#include "base/buf.h"
#include "base/err.h"

#define JOURNAL_SEGMENT_BYTES (32U << 20)
#define JOURNAL_BLOCK_MAX (1ULL << 31)

struct journal;

/* A block being put together: records of one write after another. */
#define JOURNAL_OUTSIDE_MAX 15U /* parts of a block that stay where they are */

struct journal_block {
    struct buf bytes; /* room for the header, then records; nothing where there is none */
    struct journal_outside {
        size_t at; /* in bytes: it belongs there */
        struct slice part;
    } outside[JOURNAL_OUTSIDE_MAX];
    unsigned outside_count;
    uint64_t outside_bytes;
    uint64_t first_seq;
    uint32_t count;
};

struct journal_options {
    const char *dir;        /* of the segments; made where it is not there */
    uint64_t segment_bytes; /* 0: JOURNAL_SEGMENT_BYTES */
    uint64_t applied_seq;   /* records up to here are elsewhere already */
    /* Takes a record behind applied_seq, in order; the bytes live until it returns. */
    enum err (*replay)(void *context, uint64_t seq, struct slice record);
    void *context;
};

/* Replays and makes ready to append. A torn tail ends the replay; ERR_CORRUPT with a line that
 * names file and offset where something behind the damage was safe already. Blocks. */
enum err journal_open(const struct journal_options *options, struct journal **ret_journal,
                      char *ret_why, size_t why_bytes) MUST_USE;
/* Syncs and closes. */
void journal_close(struct journal *journal);

/* The number the next record gets. The appending thread. */
uint64_t journal_next_seq(const struct journal *journal);

/* The number of the segment that is written to; the next one's is one more. The appending thread.
 */
uint64_t journal_segment(const struct journal *journal);
/* Bytes of a usual segment. Any thread. */
uint64_t journal_segment_bytes(const struct journal *journal);

/* Empties a block, to be filled from the journal's next record on. */
void journal_block_begin(const struct journal *journal, struct journal_block *block);
/* Adds a record of len bytes; returns where its bytes go, NULL without memory. */
char *journal_block_add(struct journal_block *block, size_t len);
/* Adds a record of which only the first len bytes are in the block; the rest is taken from where it
 * is once the block is appended, and lives until then. NULL without memory, or where the block has
 * JOURNAL_OUTSIDE_MAX such parts. */
char *journal_block_add_outside(struct journal_block *block, size_t len, struct slice rest);
/* What a block of unusual size took is given back. */
void journal_block_end(struct journal_block *block);
/* Where the block stands, to go back to. */
struct journal_mark {
    size_t len;
    unsigned outside_count;
    uint64_t outside_bytes;
    uint32_t count;
};
struct journal_mark journal_block_mark(const struct journal_block *block);
void journal_block_go_back(struct journal_block *block, struct journal_mark mark);
/* Number of the record added last. */
static inline uint64_t journal_block_seq(const struct journal_block *block) {
    return block->first_seq + block->count - 1;
}

/* Makes sure a block of so many payload bytes can be appended: goes on to the next segment where
 * this one is too full. ERR_STORAGE_FULL, ERR_UNAVAILABLE. The appending thread; may block. */
enum err journal_reserve(struct journal *journal, uint64_t payload_bytes) MUST_USE;
/* Writes the block (journal_reserve came before). A failure means the journal cannot go on. */
enum err journal_append(struct journal *journal, struct journal_block *block) MUST_USE;
/* Everything appended survives a power cut. A failure means nothing may be believed. */
enum err journal_sync(struct journal *journal) MUST_USE;

/* Goes on with record number `seq`, which is greater than journal_next_seq, in a segment that says
 * so: this first record, which does nothing, is safe when it returns OK. ERR_STORAGE_FULL,
 * ERR_OUT_OF_MEMORY: nothing was done. ERR_UNAVAILABLE: the journal cannot go on. Between blocks,
 * by the appending thread; blocks. */
enum err journal_skip(struct journal *journal, uint64_t seq, struct slice record) MUST_USE;

/* Everything up to applied_seq is elsewhere: segments that hold no more than that are used again.
 * Any one thread. */
void journal_trim(struct journal *journal, uint64_t applied_seq);
struct journal_figures {
    uint64_t last_seq;      /* of the last record that was written */
    uint64_t written_bytes; /* blocks, since the start */
    uint64_t segments;      /* that hold records still needed, the one written to among them */
    uint64_t segment_bytes; /* of all of them */
    uint64_t skipped_from,
        skipped_to; /* numbers left out last: from the first to before the other */
};
/* Any thread. */
void journal_figures(struct journal *journal, struct journal_figures *ret_figures);

/* True while the disk has no room for another segment, and this one little more than what deletes
 * need. Once all of it was applied, the next block goes to a small one, and it is used again. Any
 * thread. */
bool journal_is_full(struct journal *journal);

#endif
