/* SPDX-License-Identifier: MIT */
/* The Bloom filter that Olivia nodes exchange: always 9585 bits, six positions of which four are
 * one, and a text form that its decoder reads every digit of as a count. Does no I/O. */
#ifndef HATI_PEERS_OLIVIA_FILTER_H
#define HATI_PEERS_OLIVIA_FILTER_H

#include "base/buf.h"
#include "base/slice.h"

#define OLIVIA_FILTER_BITS 9585U
#define OLIVIA_FILTER_WORDS 150U
#define OLIVIA_FILTER_PLACES 3U /* different ones at most: FNV-1, MurmurHash3, Jenkins */

struct olivia_filter {
    uint64_t words[OLIVIA_FILTER_WORDS]; /* bit i is bit i % 64 of word i / 64 */
};

/* Where the key's bits stand. They may be equal. Any thread. */
void olivia_filter_places(struct slice key, uint32_t ret_places[OLIVIA_FILTER_PLACES]);
void olivia_filter_add(struct olivia_filter *filter, struct slice key);
bool olivia_filter_has(const struct olivia_filter *filter, struct slice key);

/* Appends the text form (CONTRACT 5): bit length as 64 bits big-endian, the words big-endian, as
 * URL-safe base64 without its last `=`, run-length coded. Bits are added until the base64 has no
 * digit: where a sextet is one, it becomes a superset that is none. The bits behind the last may be
 * among them, and what base64 pads with: decoders look at neither. False where it does not fit. */
bool olivia_filter_append(struct buf *to, const struct olivia_filter *filter);

/* Reads a text form, whoever wrote it; false, ret untouched, where it is none: another length than
 * 9585, a digit without a character before it, a run longer than the filter, anything left over.
 * Takes memory and time of the text's length at most, whatever the counts in it say. */
bool olivia_filter_parse(struct slice text, struct olivia_filter *ret_filter);

#endif
