/* SPDX-License-Identifier: MIT */
#include "journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "journal/journal_internal.h"

#define KEPT_BLOCK_BYTES (16U << 20) /* room that stays for the next block */
#define SMALL_SHARE 32U              /* of a usual segment, where there is no room for one */
#define LEFT_SHARE 4U                /* of it is left to deletes on a full disk */

void journal_path(const struct journal *journal, uint64_t number, char path[PATH_BYTES]) {
    snprintf(path, PATH_BYTES, "%s/segment-%016" PRIx64, journal->dir, number);
}

/* Goes on in a fresh segment. It gets its name only once its header is on disk, so that a crash
 * leaves no segment without one, and has it for good before any block is written. */
static enum err begin_segment(struct journal *journal, uint64_t size_bytes, uint64_t skipped_from) {
    char path[PATH_BYTES], spare[PATH_BYTES];
    struct segment next = {.number = journal->current.number + 1,
                           .first_seq = journal->next_seq,
                           .size_bytes = size_bytes,
                           .skipped_from = skipped_from,
                           .fd = -1};
    hash_random(&next.salt, sizeof next.salt);
    journal_path(journal, next.number, path);
    enum err err = journal_spare_take(journal, size_bytes, spare);
    if (err)
        return err;
    next.fd = open(spare, O_RDWR | O_CLOEXEC);
    err = next.fd < 0 ? ERR_UNAVAILABLE : segment_begin(&next);
    if (!err && (rename(spare, path) != 0 || fsync(journal->dir_fd) != 0))
        err = ERR_UNAVAILABLE;
    if (err) {
        if (next.fd >= 0)
            close(next.fd);
        unlink(spare);
        unlink(path);
        return err;
    }
    journal->current = next;
    journal->offset = SEGMENT_HEADER_BYTES;
    atomic_store_explicit(&journal->current_bytes, size_bytes, memory_order_relaxed);
    atomic_store_explicit(&journal->written_seq, journal->next_seq - 1, memory_order_relaxed);
    return OK;
}

/* On a full disk a small segment does: deletes go on in it. */
static enum err begin_what_fits(struct journal *journal, uint64_t needed_bytes) {
    uint64_t usual = journal->segment_bytes;
    enum err err = begin_segment(journal, needed_bytes > usual ? needed_bytes : usual, 0);
    uint64_t small = usual / SMALL_SHARE;
    if (err == ERR_STORAGE_FULL && needed_bytes < usual)
        err = begin_segment(journal, needed_bytes > small ? needed_bytes : small, 0);
    return err;
}

static enum err open_dir(struct journal *journal, const struct journal_options *options) {
    snprintf(journal->dir, sizeof journal->dir, "%s", options->dir);
    if (mkdir(journal->dir, 0700) != 0 && errno != EEXIST)
        return ERR_UNAVAILABLE;
    journal->dir_fd = open(journal->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (journal->dir_fd < 0)
        return ERR_UNAVAILABLE;
    int parent = openat(journal->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool named = parent >= 0 && fsync(parent) == 0; /* the directory's own name is on disk too */
    if (parent >= 0)
        close(parent);
    return named ? OK : ERR_UNAVAILABLE;
}

static void note_room(struct journal *journal) {
    atomic_store_explicit(&journal->room_bytes, journal->current.size_bytes - journal->offset,
                          memory_order_relaxed);
}

static void free_journal(struct journal *journal) {
    while (journal->oldest) {
        struct old_segment *next = journal->oldest->next;
        free(journal->oldest);
        journal->oldest = next;
    }
    if (journal->current.fd >= 0)
        close(journal->current.fd);
    if (journal->dir_fd >= 0)
        close(journal->dir_fd);
    pthread_cond_destroy(&journal->wake);
    pthread_mutex_destroy(&journal->lock);
    free(journal);
}

enum err journal_open(const struct journal_options *options, struct journal **ret_journal,
                      char *ret_why, size_t why_bytes) {
    struct journal *journal = calloc(1, sizeof *journal);
    if (!journal)
        return ERR_OUT_OF_MEMORY;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&journal->lock, NULL);
    pthread_cond_init(&journal->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    journal->current.fd = journal->dir_fd = -1;
    journal->segment_bytes =
        options->segment_bytes ? options->segment_bytes : JOURNAL_SEGMENT_BYTES;
    enum err err = open_dir(journal, options);
    if (err)
        snprintf(ret_why, why_bytes, "cannot use %s: %s", options->dir, strerror(errno));
    else
        err = journal_replay(journal, options, ret_why, why_bytes);
    if (!err) {
        err = journal_spares_start(journal);
        if (!err)
            err = begin_what_fits(journal, 0);
        if (!err)
            note_room(journal);
        if (err) {
            snprintf(ret_why, why_bytes, "cannot begin a segment in %s: %s", options->dir,
                     err_text(err));
            journal_spares_stop(journal);
        }
    }
    if (err) {
        free_journal(journal);
        return err;
    }
    *ret_journal = journal;
    return OK;
}

void journal_close(struct journal *journal) {
    if (journal_sync(journal))
        log_error("the journal could not be synced at its end");
    journal_spares_stop(journal);
    free_journal(journal);
}

uint64_t journal_next_seq(const struct journal *journal) {
    return journal->next_seq;
}

uint64_t journal_segment(const struct journal *journal) {
    return journal->current.number;
}

uint64_t journal_segment_bytes(const struct journal *journal) {
    return journal->segment_bytes;
}

void journal_block_begin(const struct journal *journal, struct journal_block *block) {
    if (!block->bytes.max_bytes)
        buf_init(&block->bytes, JOURNAL_BLOCK_MAX);
    buf_clear(&block->bytes);
    block->first_seq = journal->next_seq;
    block->count = 0;
    block->outside_count = 0;
    block->outside_bytes = 0;
}

char *journal_block_add(struct journal_block *block, size_t len) {
    uint32_t prefix = (uint32_t)len;
    size_t header = block->bytes.len ? 0 : BLOCK_HEADER_BYTES;
    char *at = buf_reserve(&block->bytes, header + sizeof prefix + len + BLOCK_ALIGN);
    if (!at)
        return NULL;
    at += header;
    memcpy(at, &prefix, sizeof prefix);
    block->bytes.len += header + sizeof prefix + len;
    block->count++;
    return at + sizeof prefix;
}

char *journal_block_add_outside(struct journal_block *block, size_t len, struct slice rest) {
    if (block->outside_count == JOURNAL_OUTSIDE_MAX ||
        rest.len > JOURNAL_BLOCK_MAX - block->outside_bytes)
        return NULL;
    char *to = journal_block_add(block, len);
    if (!to)
        return NULL;
    uint32_t prefix = (uint32_t)(len + rest.len);
    memcpy(to - sizeof prefix, &prefix, sizeof prefix);
    block->outside[block->outside_count++] = (struct journal_outside){block->bytes.len, rest};
    block->outside_bytes += rest.len;
    return to;
}

void journal_block_end(struct journal_block *block) {
    if (block->bytes.cap > KEPT_BLOCK_BYTES)
        buf_done(&block->bytes);
}

struct journal_mark journal_block_mark(const struct journal_block *block) {
    return (struct journal_mark){block->bytes.len, block->outside_count, block->outside_bytes,
                                 block->count};
}

void journal_block_go_back(struct journal_block *block, struct journal_mark mark) {
    block->bytes.len = mark.len;
    block->bytes.failed = false;
    block->count = mark.count;
    block->outside_count = mark.outside_count;
    block->outside_bytes = mark.outside_bytes;
}

static void retire_current(struct journal *journal, struct old_segment *old) {
    *old =
        (struct old_segment){.number = journal->current.number,
                             .last_seq = journal->next_seq - 1,
                             .size_bytes = journal->current.size_bytes,
                             .usual_size = journal->current.size_bytes == journal->segment_bytes};
    close(journal->current.fd);
    pthread_mutex_lock(&journal->lock);
    if (journal->newest)
        journal->newest->next = old;
    else
        journal->oldest = old;
    journal->newest = old;
    pthread_mutex_unlock(&journal->lock);
}

/* On a full disk, a segment that nobody needs any more is of more use as the next one. */
static bool is_better_left(struct journal *journal) {
    return journal_is_full(journal) && journal->current.size_bytes == journal->segment_bytes &&
           atomic_load(&journal->applied_seq) + 1 == journal->next_seq &&
           journal_has_room(journal, journal->segment_bytes / SMALL_SHARE);
}

enum err journal_reserve(struct journal *journal, uint64_t payload_bytes) {
    uint64_t size = block_size(payload_bytes);
    if (journal->broken)
        return ERR_UNAVAILABLE;
    bool fits = journal->offset + size <= journal->current.size_bytes;
    if (fits && !is_better_left(journal))
        return OK;
    enum err err = journal_sync(journal); /* what follows in the next one was written after it */
    if (err)
        return err;
    struct old_segment *old = malloc(sizeof *old);
    if (!old)
        return fits ? OK : ERR_OUT_OF_MEMORY;
    struct segment was = journal->current;
    err = begin_what_fits(journal, SEGMENT_HEADER_BYTES + size);
    if (fits && (err == ERR_STORAGE_FULL || err == ERR_OUT_OF_MEMORY)) {
        free(old);
        return OK;
    }
    if (err) {
        free(old);
        return err;
    }
    struct segment fresh = journal->current;
    journal->current = was;
    retire_current(journal, old);
    journal->current = fresh;
    note_room(journal);
    return OK;
}

/* A block as it goes to disk: pieces of its own memory, and between them the parts outside. */
struct pieces {
    struct slice list[SEGMENT_PARTS_MAX];
    unsigned count;
};

static void cut(const struct journal_block *block, size_t end, struct pieces *to) {
    size_t at = 0;
    to->count = 0;
    for (unsigned i = 0; i < block->outside_count; i++) {
        const struct journal_outside *outside = &block->outside[i];
        to->list[to->count++] = slice_make(block->bytes.ptr + at, outside->at - at);
        to->list[to->count++] = outside->part;
        at = outside->at;
    }
    to->list[to->count++] = slice_make(block->bytes.ptr + at, end - at);
}

static enum err write_piece(struct journal *journal, struct slice piece, uint64_t at) {
    for (size_t done = 0; done < piece.len;) {
        ssize_t wrote =
            pwrite(journal->current.fd, piece.ptr + done, piece.len - done, (off_t)(at + done));
        if (wrote > 0)
            done += (size_t)wrote;
        else if (errno != EINTR)
            return ERR_UNAVAILABLE;
    }
    return OK;
}

enum err journal_append(struct journal *journal, struct journal_block *block) {
    uint64_t payload = block->bytes.len - BLOCK_HEADER_BYTES + block->outside_bytes;
    uint64_t size = block_size(payload);
    size_t padding = (size_t)(size - BLOCK_HEADER_BYTES - payload);
    struct block_header header = {(uint32_t)payload, block->count, block->first_seq,
                                  journal->synced_seq};
    struct pieces pieces;
    cut(block, block->bytes.len, &pieces);
    block_seal(&journal->current, journal->offset, &header, pieces.list, pieces.count);
    memset(block->bytes.ptr + block->bytes.len, 0, padding);
    cut(block, block->bytes.len + padding, &pieces);
    uint64_t at = journal->offset;
    for (unsigned i = 0; i < pieces.count; i++) {
        if (write_piece(journal, pieces.list[i], at))
            return ERR_UNAVAILABLE;
        at += pieces.list[i].len;
    }
    journal->offset += size;
    journal->next_seq += block->count;
    note_room(journal);
    atomic_fetch_add_explicit(&journal->written_bytes, size, memory_order_relaxed);
    atomic_store_explicit(&journal->written_seq, journal->next_seq - 1, memory_order_relaxed);
    return OK;
}

enum err journal_sync(struct journal *journal) {
    if (journal->broken)
        return ERR_UNAVAILABLE;
    if (journal->synced_seq + 1 == journal->next_seq)
        return OK;
    if (fdatasync(journal->current.fd) != 0) {
        journal->broken = true;
        return ERR_UNAVAILABLE;
    }
    journal->synced_seq = journal->next_seq - 1;
    return OK;
}

/* The record is one that does nothing: it shows that the segment holds, before anybody relies on
 * its numbers. */
static enum err append_first(struct journal *journal, struct slice record) {
    struct journal_block block = {0};
    journal_block_begin(journal, &block);
    char *to = journal_block_add(&block, record.len);
    if (to)
        memcpy(to, record.ptr, record.len);
    enum err err = to ? journal_append(journal, &block) : ERR_OUT_OF_MEMORY;
    buf_done(&block.bytes);
    return err ? err : journal_sync(journal);
}

enum err journal_skip(struct journal *journal, uint64_t seq, struct slice record) {
    uint64_t from = journal->next_seq;
    enum err err = journal_sync(journal);
    if (err)
        return err;
    struct old_segment *old = malloc(sizeof *old);
    if (!old)
        return ERR_OUT_OF_MEMORY;
    struct segment was = journal->current;
    journal->next_seq = seq;
    err = begin_segment(journal, journal->segment_bytes, from);
    struct segment fresh = journal->current;
    journal->next_seq = from;
    if (err) {
        free(old);
        return err;
    }
    journal->current = was;
    retire_current(journal, old);
    journal->current = fresh;
    journal->next_seq = seq;
    journal->synced_seq = seq - 1;
    err = append_first(journal, record);
    if (err)
        journal->broken = true;
    atomic_store(&journal->skipped_from, from);
    atomic_store(&journal->skipped_to, seq);
    return err;
}

static struct old_segment *take_applied(struct journal *journal, uint64_t applied_seq) {
    pthread_mutex_lock(&journal->lock);
    struct old_segment *old = journal->oldest;
    if (old && old->last_seq > applied_seq)
        old = NULL;
    if (old) {
        journal->oldest = old->next;
        if (!journal->oldest)
            journal->newest = NULL;
    }
    pthread_mutex_unlock(&journal->lock);
    return old;
}

void journal_trim(struct journal *journal, uint64_t applied_seq) {
    atomic_store(&journal->applied_seq, applied_seq);
    for (struct old_segment *old; (old = take_applied(journal, applied_seq));) {
        journal_spare_give(journal, old->number, old->usual_size);
        free(old);
    }
}

bool journal_is_full(struct journal *journal) {
    return atomic_load(&journal->full) &&
           atomic_load_explicit(&journal->room_bytes, memory_order_relaxed) <
               journal->segment_bytes / LEFT_SHARE;
}

void journal_figures(struct journal *journal, struct journal_figures *ret_figures) {
    *ret_figures = (struct journal_figures){
        .last_seq = atomic_load_explicit(&journal->written_seq, memory_order_relaxed),
        .written_bytes = atomic_load_explicit(&journal->written_bytes, memory_order_relaxed),
        .segments = 1,
        .skipped_from = atomic_load(&journal->skipped_from),
        .skipped_to = atomic_load(&journal->skipped_to),
        .segment_bytes = atomic_load_explicit(&journal->current_bytes, memory_order_relaxed),
    };
    pthread_mutex_lock(&journal->lock);
    for (const struct old_segment *old = journal->oldest; old; old = old->next) {
        ret_figures->segments++;
        ret_figures->segment_bytes += old->size_bytes;
    }
    pthread_mutex_unlock(&journal->lock);
}
