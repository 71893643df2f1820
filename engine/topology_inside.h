/* SPDX-License-Identifier: MIT */
/* Inside of the topology: its rows, as they are told to the cache. */
#ifndef HATI_ENGINE_TOPOLOGY_INSIDE_H
#define HATI_ENGINE_TOPOLOGY_INSIDE_H

#include "engine/topology.h"

struct router_row {
    struct slice name;
    int64_t id;
    enum broker_router_type type;
    bool gone;
};

struct queue_row {
    struct slice name;
    int64_t id;
    struct broker_queue_options options;
    bool gone;
};

struct binding_row {
    int64_t router, queue;
    struct slice pattern;
    bool gone;
};

struct engine *topology_engine(const struct topology *topology);
/* Each puts one row into the cache, as often as it comes. ERR_OUT_OF_MEMORY: all is to be pulled
 * anew. */
enum err topology_take_router(struct topology *topology, const struct router_row *row) MUST_USE;
enum err topology_take_queue(struct topology *topology, const struct queue_row *row) MUST_USE;
enum err topology_take_binding(struct topology *topology, const struct binding_row *row) MUST_USE;
/* Around all rows there are: what none of them tells of is gone. */
enum err topology_begin_all(struct topology *topology) MUST_USE;
void topology_end_all(struct topology *topology);

#endif
