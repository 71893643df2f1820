/* SPDX-License-Identifier: MIT */
/* How much memory there is for the process, and what of it goes where nothing else was said. */
#ifndef HATI_SERVER_CONFIG_MEMORY_H
#define HATI_SERVER_CONFIG_MEMORY_H

#include <stdint.h>

#include "server/config.h"

#define MEMORY_UNSAID UINT64_MAX /* of a size: nobody gave one */

/* The least limit of the control groups (version 1 or 2) that a process is in: `groups` is its
 * /proc/.../cgroup, root is where they are mounted. 0: none, or none that is less than
 * machine_bytes. */
uint64_t memory_group_limit(const char *groups, const char *root, uint64_t machine_bytes);

/* Sets the sizes that are MEMORY_UNSAID: shares of memory_total_bytes (unsaid itself: of the
 * control group's limit), or what they are where no bound is known. */
void memory_share(struct config *config);

#endif
