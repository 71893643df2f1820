/* SPDX-License-Identifier: MIT */
/* Snapshots as JSON objects, one a line: the format for people. */
#ifndef HATI_SNAPSHOT_NDJSON_H
#define HATI_SNAPSHOT_NDJSON_H

#include "snapshot/block.h"

/* Each appends a line with its newline; false without memory. */
bool ndjson_append_head(struct buf *to, const struct snapshot_head *head);
bool ndjson_append_item(struct buf *to, const struct snapshot_item *item);
bool ndjson_append_end(struct buf *to, const struct snapshot_totals *totals);

/* Adds a line, its newline included, to the check over everything. */
void ndjson_check_line(struct snapshot_totals *totals, struct slice line);

/* Does a file that begins so hold lines? */
bool ndjson_begins(struct slice bytes);

/* Reads lines from a file descriptor and writes them as blocks to another, all judged: one that is
 * cut, or changed while its last line has a check, is refused. The same lines give the same blocks.
 * False: ret_why (why_bytes) is one line with the place. */
bool ndjson_pack(int from, int to, char *ret_why, size_t why_bytes);

#endif
