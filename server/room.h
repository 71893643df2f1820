/* SPDX-License-Identifier: MIT */
/* Descriptors: connections take those that stores, threads and outgoing calls do not need. */
#ifndef HATI_SERVER_ROOM_H
#define HATI_SERVER_ROOM_H

#include <stdbool.h>

#include "handlers/call.h"
#include "server/config.h"

/* Raises the limit of open files as far as it goes and sets config->connection_total by it. Before
 * threads are started. */
void room_open(struct config *config);

/* Whether `more` connections besides those that are open may be taken in, on any door. */
bool room_has(const struct core *core, const struct config *config, unsigned more);

#endif
