/* SPDX-License-Identifier: MIT */
/* Judges a whole snapshot file before anything is done with it. */
#ifndef HATI_SNAPSHOT_CHECK_H
#define HATI_SNAPSHOT_CHECK_H

#include "snapshot/reader.h"

/* Reads all of the file from its start: every byte, and that what is named is defined before, once:
 * the routers and queues of bindings, the queues of messages. progress may be NULL. False: ret_why
 * is one line with the place. ret_largest_bytes, of the largest value or payload, may be NULL.
 * Blocks. */
bool snapshot_check(int fd, void (*progress)(uint64_t at_bytes, void *context), void *context,
                    uint64_t *ret_largest_bytes, char ret_why[SNAPSHOT_WHY_BYTES]);

#endif
