/* SPDX-License-Identifier: MIT */
/* Writes a snapshot to a file descriptor, item by item. One thread at a time; blocks on the disk.
 */
#ifndef HATI_SNAPSHOT_WRITER_H
#define HATI_SNAPSHOT_WRITER_H

#include "base/err.h"
#include "journal/seal.h"
#include "snapshot/block.h"

enum snapshot_format { SNAPSHOT_PACKED, SNAPSHOT_NDJSON };

struct snapshot_writer;

/* "hati", "ndjson" -> the format. */
bool snapshot_format_parse(struct slice word, enum snapshot_format *ret_format);

/* fd is the caller's. Writes the head. ERR_OUT_OF_MEMORY, ERR_STORAGE_FULL, ERR_UNAVAILABLE (it
 * cannot be written to; errno tells). */
enum err snapshot_writer_open(int fd, enum snapshot_format format, const struct snapshot_head *head,
                              struct snapshot_writer **ret_writer) MUST_USE;
/* Definitions come before all else, routers and queues before their bindings. Its slices are
 * copied. ERR_VALUE_TOO_LARGE: it is over what a block holds. */
enum err snapshot_writer_put(struct snapshot_writer *writer,
                             const struct snapshot_item *item) MUST_USE;
/* Writes what is left, and the totals. */
enum err snapshot_writer_end(struct snapshot_writer *writer) MUST_USE;
/* What is written from now on leaves so much room on the disk, or is ERR_STORAGE_FULL. */
void snapshot_writer_keep_free(struct snapshot_writer *writer, uint64_t bytes);
/* What is written from now on is covered by the veil, which outlives the writer. */
void snapshot_writer_cover(struct snapshot_writer *writer, struct seal_veil *veil);
const struct snapshot_totals *snapshot_writer_totals(const struct snapshot_writer *writer);
/* NULL does nothing. */
void snapshot_writer_free(struct snapshot_writer *writer);

/* Writes it all. ERR_STORAGE_FULL, ERR_UNAVAILABLE; errno tells. */
enum err snapshot_write_all(int fd, struct slice bytes) MUST_USE;

#endif
