/* SPDX-License-Identifier: MIT */
/* One file of the journal: made of zeros beforehand, so that appending changes no metadata and one
 * fdatasync makes a block safe. Numbers are little-endian. docs/storage.md has the format. */
#ifndef HATI_JOURNAL_SEGMENT_H
#define HATI_JOURNAL_SEGMENT_H

#include "base/err.h"
#include "base/slice.h"

#define SEGMENT_HEADER_BYTES 64U
#define BLOCK_HEADER_BYTES 40U
#define SEGMENT_PARTS_MAX 32U /* of a block */
#define BLOCK_ALIGN 8U

struct segment {
    uint64_t number;    /* grows by one with every segment */
    uint64_t first_seq; /* of its first record */
    uint64_t size_bytes;
    uint64_t salt;         /* random: nobody can write a value that passes for a block */
    uint64_t skipped_from; /* 0; or no record from this one to first_seq was ever written */
    int fd;
};

/* What stands before the records of a block. */
struct block_header {
    uint32_t payload_bytes;
    uint32_t record_count;
    uint64_t first_seq;  /* records of a block are numbered one after another */
    uint64_t synced_seq; /* everything up to here was on disk before this block was written */
};

/* Makes a file of zeros, synced. ERR_STORAGE_FULL, ERR_UNAVAILABLE with errno. Blocks. */
enum err segment_make(const char *path, uint64_t size_bytes) MUST_USE;
/* Writes the header of an open file and syncs it. Blocks. */
enum err segment_begin(const struct segment *segment) MUST_USE;
/* Reads the header of an open file; ERR_CORRUPT where it is none. */
enum err segment_read_header(int fd, struct segment *ret_segment) MUST_USE;

/* Writes the header into the first BLOCK_HEADER_BYTES of a block, which lies in parts, one behind
 * the other; its payload follows them. */
void block_seal(const struct segment *segment, uint64_t offset, const struct block_header *header,
                const struct slice *parts, unsigned count);
/* Checks the block that begins at offset of the segment's bytes (size of all of them). True where
 * it is whole. */
bool block_check(const struct segment *segment, const char *bytes, uint64_t size_bytes,
                 uint64_t offset, struct block_header *ret_header);
/* The same without looking at the checksum: what only looks like a block passes. */
bool block_peek(const char *bytes, uint64_t size_bytes, uint64_t offset,
                struct block_header *ret_header);

/* Bytes a block of so many payload bytes takes. */
static inline uint64_t block_size(uint64_t payload_bytes) {
    return (BLOCK_HEADER_BYTES + payload_bytes + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;
}

#endif
