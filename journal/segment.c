/* SPDX-License-Identifier: MIT */
#include "journal/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"

#define SEGMENT_MAGIC 0x314C4E4A49544148ULL /* "HATIJNL1" */
#define BLOCK_MAGIC 0x4B4C4248U             /* "HBLK" */
#define ZEROS_BYTES (1U << 20)

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian");

struct raw_header {
    uint64_t magic, number, first_seq, size_bytes, salt, checksum;
    uint64_t skipped_from,
        skip_checksum; /* 0 where none were skipped, as there were none at first */
};

struct raw_block {
    uint32_t magic, payload_bytes, record_count, unused;
    uint64_t first_seq, synced_seq, checksum;
};

_Static_assert(sizeof(struct raw_block) == BLOCK_HEADER_BYTES &&
                   sizeof(struct raw_header) == SEGMENT_HEADER_BYTES,
               "the format is fixed");

static enum err err_of_errno(void) {
    return errno == ENOSPC || errno == EDQUOT ? ERR_STORAGE_FULL : ERR_UNAVAILABLE;
}

static enum err fill_with_zeros(int fd, uint64_t size_bytes) {
    char *zeros = calloc(1, ZEROS_BYTES);
    if (!zeros)
        return ERR_OUT_OF_MEMORY;
    enum err err = OK;
    for (uint64_t at = 0; !err && at < size_bytes;) {
        uint64_t left = size_bytes - at;
        ssize_t wrote = write(fd, zeros, left < ZEROS_BYTES ? left : ZEROS_BYTES);
        if (wrote > 0)
            at += (uint64_t)wrote;
        else if (errno != EINTR)
            err = err_of_errno();
    }
    if (!err && fsync(fd) != 0)
        err = err_of_errno();
    free(zeros);
    return err;
}

enum err segment_make(const char *path, uint64_t size_bytes) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_of_errno();
    enum err err = fill_with_zeros(fd, size_bytes);
    int why = errno;
    close(fd);
    if (err)
        unlink(path);
    errno = why;
    return err;
}

static uint64_t header_sum(const struct raw_header *raw) {
    return hash_seeded(slice_make(raw, offsetof(struct raw_header, checksum)), 0);
}

static uint64_t skip_sum(const struct raw_header *raw) {
    size_t len = offsetof(struct raw_header, skip_checksum);
    return raw->skipped_from ? hash_seeded(slice_make(raw, len), 0) : 0;
}

enum err segment_begin(const struct segment *segment) {
    struct raw_header raw = {.magic = SEGMENT_MAGIC,
                             .number = segment->number,
                             .first_seq = segment->first_seq,
                             .size_bytes = segment->size_bytes,
                             .salt = segment->salt,
                             .skipped_from = segment->skipped_from};
    raw.checksum = header_sum(&raw);
    raw.skip_checksum = skip_sum(&raw);
    if (pwrite(segment->fd, &raw, sizeof raw, 0) != (ssize_t)sizeof raw || fsync(segment->fd) != 0)
        return err_of_errno();
    return OK;
}

enum err segment_read_header(int fd, struct segment *ret_segment) {
    struct raw_header raw;
    if (pread(fd, &raw, sizeof raw, 0) != (ssize_t)sizeof raw || raw.magic != SEGMENT_MAGIC ||
        raw.checksum != header_sum(&raw) || raw.skip_checksum != skip_sum(&raw))
        return ERR_CORRUPT;
    *ret_segment =
        (struct segment){raw.number, raw.first_seq, raw.size_bytes, raw.salt, raw.skipped_from, fd};
    return OK;
}

/* The place is part of the checksum: what a used-again file still holds of its former life never
 * passes for a block of this one. */
static uint64_t block_sum(const struct segment *segment, uint64_t offset,
                          const struct raw_block *raw, const struct slice *payload,
                          unsigned count) {
    uint64_t seed = segment->salt ^ (segment->number * 0x9E3779B97F4A7C15ULL + offset);
    seed = hash_seeded(slice_make(raw, offsetof(struct raw_block, checksum)), seed);
    return hash_seeded_parts(payload, count, seed);
}

void block_seal(const struct segment *segment, uint64_t offset, const struct block_header *header,
                const struct slice *parts, unsigned count) {
    struct slice payload[SEGMENT_PARTS_MAX];
    struct raw_block raw = {BLOCK_MAGIC,
                            header->payload_bytes,
                            header->record_count,
                            0,
                            header->first_seq,
                            header->synced_seq,
                            0};
    memcpy(payload, parts, count * sizeof *parts);
    payload[0] = slice_make(parts[0].ptr + BLOCK_HEADER_BYTES, parts[0].len - BLOCK_HEADER_BYTES);
    raw.checksum = block_sum(segment, offset, &raw, payload, count);
    memcpy((char *)(uintptr_t)parts[0].ptr, &raw, sizeof raw);
}

static bool read_raw(const char *bytes, uint64_t size_bytes, uint64_t offset,
                     struct raw_block *ret_raw) {
    if (offset + BLOCK_HEADER_BYTES > size_bytes)
        return false;
    memcpy(ret_raw, bytes + offset, sizeof *ret_raw);
    return ret_raw->magic == BLOCK_MAGIC &&
           ret_raw->payload_bytes <= size_bytes - offset - BLOCK_HEADER_BYTES;
}

static struct block_header header_of(const struct raw_block *raw) {
    return (struct block_header){raw->payload_bytes, raw->record_count, raw->first_seq,
                                 raw->synced_seq};
}

bool block_peek(const char *bytes, uint64_t size_bytes, uint64_t offset,
                struct block_header *ret_header) {
    struct raw_block raw;
    if (!read_raw(bytes, size_bytes, offset, &raw))
        return false;
    *ret_header = header_of(&raw);
    return true;
}

bool block_check(const struct segment *segment, const char *bytes, uint64_t size_bytes,
                 uint64_t offset, struct block_header *ret_header) {
    struct raw_block raw;
    if (!read_raw(bytes, size_bytes, offset, &raw))
        return false;
    struct slice payload = slice_make(bytes + offset + BLOCK_HEADER_BYTES, raw.payload_bytes);
    if (raw.checksum != block_sum(segment, offset, &raw, &payload, 1))
        return false;
    *ret_header = header_of(&raw);
    return true;
}
