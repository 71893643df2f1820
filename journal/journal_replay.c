/* SPDX-License-Identifier: MIT */
/* Reading the journal back. Where a block is not whole, the journal ends there, unless something
 * shows that the block had been safe: a later segment that goes on behind it, or a later block
 * written when it was synced. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "journal/journal_internal.h"

#define SEGMENTS_MAX 65536U
#define HASHED_MAX 16U /* times the bytes of a segment */

struct replay {
    struct journal *journal;
    const struct journal_options *options;
    char *why;
    size_t why_bytes;
    uint64_t expected_seq; /* of the next record */
    bool begun;            /* expected_seq holds */
};

static enum err fail(const struct replay *replay, enum err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum err fail(const struct replay *replay, enum err err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(replay->why, replay->why_bytes, format, args);
    va_end(args);
    return err;
}

static enum err replay_records(struct replay *replay, const struct block_header *header,
                               struct slice payload) {
    uint64_t seq = header->first_seq;
    size_t at = 0;
    for (uint32_t i = 0; i < header->record_count; i++, seq++) {
        uint32_t len;
        if (payload.len - at < sizeof len)
            return ERR_CORRUPT;
        memcpy(&len, payload.ptr + at, sizeof len);
        at += sizeof len;
        if (payload.len - at < len)
            return ERR_CORRUPT;
        enum err err = OK;
        if (seq > replay->options->applied_seq)
            err = replay->options->replay(replay->options->context, seq,
                                          slice_make(payload.ptr + at, len));
        if (err)
            return err;
        at += len;
    }
    replay->expected_seq = seq;
    return OK;
}

/* A whole block behind the damage that was written after what is damaged had been synced. What
 * clients wrote may look like one as well, as often as they like, so looking closely has an end. */
static bool was_safe(const struct replay *replay, const struct segment *segment, const char *bytes,
                     uint64_t from) {
    struct block_header header;
    uint64_t size = segment->size_bytes;
    uint64_t hashed = 0;
    for (uint64_t at = from + BLOCK_ALIGN;
         at + BLOCK_HEADER_BYTES <= size && hashed < HASHED_MAX * size; at += BLOCK_ALIGN) {
        if (!block_peek(bytes, size, at, &header) || header.synced_seq < replay->expected_seq ||
            header.first_seq <= header.synced_seq)
            continue;
        hashed += header.payload_bytes;
        if (block_check(segment, bytes, size, at, &header))
            return true;
    }
    return false;
}

static enum err replay_bytes(struct replay *replay, const struct segment *segment,
                             const char *bytes, const char *path) {
    uint64_t at = SEGMENT_HEADER_BYTES;
    struct block_header header;
    while (block_check(segment, bytes, segment->size_bytes, at, &header) &&
           header.first_seq == replay->expected_seq) {
        struct slice payload = slice_make(bytes + at + BLOCK_HEADER_BYTES, header.payload_bytes);
        enum err err = replay_records(replay, &header, payload);
        if (err)
            return fail(replay, err, "%s offset %" PRIu64 ": a record cannot be read: %s", path, at,
                        err_text(err));
        at += block_size(header.payload_bytes);
    }
    if (was_safe(replay, segment, bytes, at))
        return fail(replay, ERR_CORRUPT,
                    "%s offset %" PRIu64 ": damaged: what was safe before cannot be read", path,
                    at);
    return OK;
}

/* What the segment says was never written is not missed, if what was written before is there. */
static bool skips_from(const struct segment *segment, uint64_t needed) {
    return segment->skipped_from && segment->skipped_from <= needed;
}

static enum err check_order(struct replay *replay, const struct segment *segment,
                            const char *path) {
    uint64_t applied = replay->options->applied_seq;
    if (!replay->begun) {
        replay->begun = true;
        replay->expected_seq = segment->first_seq;
        if (segment->first_seq > applied + 1 && !skips_from(segment, applied + 1))
            return fail(replay, ERR_CORRUPT,
                        "%s begins with record %" PRIu64 ", but only %" PRIu64 " are applied: a "
                        "segment before it is missing",
                        path, segment->first_seq, applied);
        return OK;
    }
    uint64_t needed = replay->expected_seq > applied + 1 ? replay->expected_seq : applied + 1;
    if (segment->first_seq > needed && !skips_from(segment, needed))
        return fail(replay, ERR_CORRUPT,
                    "%s begins with record %" PRIu64 ", but the one before ends before %" PRIu64
                    ": damaged between them",
                    path, segment->first_seq, replay->expected_seq);
    if (segment->first_seq < replay->expected_seq) /* its records would undo what came later */
        return fail(replay, ERR_CORRUPT,
                    "%s begins with record %" PRIu64 ", but the one before goes on to %" PRIu64
                    ": it is another journal's",
                    path, segment->first_seq, replay->expected_seq - 1);
    replay->expected_seq = segment->first_seq;
    return OK;
}

static bool remember(struct journal *journal, const struct segment *segment) {
    struct old_segment *old = calloc(1, sizeof *old);
    if (!old)
        return false;
    old->number = segment->number;
    old->size_bytes = segment->size_bytes;
    old->usual_size = segment->size_bytes == journal->segment_bytes;
    if (journal->newest)
        journal->newest->next = old;
    else
        journal->oldest = old;
    journal->newest = old;
    return true;
}

static enum err replay_file(struct replay *replay, uint64_t number) {
    struct segment segment;
    struct stat stat;
    char path[PATH_BYTES];
    journal_path(replay->journal, number, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(replay, ERR_UNAVAILABLE, "cannot open %s: %s", path, strerror(errno));
    enum err err = segment_read_header(fd, &segment);
    if (err || segment.number != number || fstat(fd, &stat) != 0 ||
        (uint64_t)stat.st_size < segment.size_bytes) {
        close(fd);
        return fail(replay, ERR_CORRUPT, "%s offset 0: the header is damaged", path);
    }
    struct replay before = *replay;
    err = check_order(replay, &segment, path);
    void *bytes = mmap(NULL, segment.size_bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return fail(replay, ERR_OUT_OF_MEMORY, "cannot read %s: %s", path, strerror(errno));
    if (!err)
        err = replay_bytes(replay, &segment, bytes, path);
    munmap(bytes, segment.size_bytes);
    if (err)
        return err;
    replay->journal->current.number = number;
    if (replay->expected_seq == segment.first_seq) {
        unlink(path); /* begun, and never written to: starts that die early leave no pile */
        if (segment.skipped_from) /* nor was the skip told to anybody */
            *replay = before;
    } else {
        if (!remember(replay->journal, &segment))
            return fail(replay, ERR_OUT_OF_MEMORY, "no memory to read the journal");
        if (segment.skipped_from) {
            replay->journal->skipped_from = segment.skipped_from;
            replay->journal->skipped_to = segment.first_seq;
        }
        replay->journal->newest->last_seq = replay->expected_seq - 1;
    }
    return OK;
}

static int compare_numbers(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Numbers of the segments there are; spares of a former life are deleted. */
static enum err find_segments(struct replay *replay, uint64_t *numbers, size_t *ret_count) {
    const struct journal *journal = replay->journal;
    size_t count = 0;
    DIR *dir = opendir(journal->dir);
    if (!dir)
        return fail(replay, ERR_UNAVAILABLE, "cannot read %s: %s", journal->dir, strerror(errno));
    errno = 0;
    for (struct dirent *entry; (entry = readdir(dir)) && count < SEGMENTS_MAX; errno = 0) {
        uint64_t number;
        int end = 0;
        if (strncmp(entry->d_name, "spare-", 6) == 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
        else if (sscanf(entry->d_name, "segment-%16" SCNx64 "%n", &number, &end) == 1 &&
                 end == 24 && entry->d_name[end] == 0)
            numbers[count++] = number;
    }
    int error = errno;
    closedir(dir);
    if (error) /* without a segment, what was answered would seem never to have been */
        return fail(replay, ERR_UNAVAILABLE, "cannot read %s: %s", journal->dir, strerror(error));
    qsort(numbers, count, sizeof *numbers, compare_numbers);
    *ret_count = count;
    return OK;
}

enum err journal_replay(struct journal *journal, const struct journal_options *options,
                        char *ret_why, size_t why_bytes) {
    struct replay replay = {journal, options, ret_why, why_bytes, options->applied_seq + 1, false};
    uint64_t *numbers = calloc(SEGMENTS_MAX, sizeof *numbers);
    if (!numbers)
        return fail(&replay, ERR_OUT_OF_MEMORY, "no memory to read the journal");
    size_t count = 0;
    enum err err = find_segments(&replay, numbers, &count);
    for (size_t i = 0; !err && i < count; i++)
        err = replay_file(&replay, numbers[i]);
    free(numbers);
    journal->next_seq =
        replay.expected_seq > options->applied_seq ? replay.expected_seq : options->applied_seq + 1;
    journal->synced_seq = journal->next_seq - 1;
    return err;
}
