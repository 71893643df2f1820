/* SPDX-License-Identifier: MIT */
/* Making and removing routers and queues: for the changes of callers, and for what a data directory
 * holds. The topology is locked for writing, or nobody else is there yet. */
#ifndef HATI_BROKER_TOPOLOGY_H
#define HATI_BROKER_TOPOLOGY_H

#include "broker/internal.h"

enum err topology_add_router(struct broker *broker, uint32_t id, struct slice name,
                             enum broker_router_type type) MUST_USE;
void topology_remove_router(struct broker *broker, struct router *router);
enum err topology_add_queue(struct broker *broker, uint32_t id, uint32_t store, struct slice name,
                            const struct broker_queue_options *options,
                            struct queue **ret_queue) MUST_USE;
/* The topology's reference stays to be let go of. */
void topology_remove_queue(struct broker *broker, struct queue *queue, struct effects *effects);
/* NULL where there is none. */
struct router *topology_find_router_id(struct broker *broker, uint32_t id);

#endif
