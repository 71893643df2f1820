/* SPDX-License-Identifier: MIT */
/* What the files of the node share: the registry and counters (node.c), sweeps (node_sweep.c),
 * figures (node_report.c), pokes (node_poke.c). */
#ifndef HATI_ENGINE_NODE_INSIDE_H
#define HATI_ENGINE_NODE_INSIDE_H

#include "engine/topology.h"

#define NODE_ALIVE_MS 15000 /* behind the last heartbeat */

struct pokes;
struct report;
struct sweeps;

struct node {
    struct engine *engine;
    struct pokes *pokes;
    struct report *report;
    struct sweeps *sweeps;
    unsigned live; /* nodes, this one too */
    /* heartbeat */
    struct request beat;
    bool beating, is_known;
    int64_t beat_ms; /* monotonic: the next one */
    /* counters */
    struct request flush;
    bool flushing;
    int64_t flush_ms;
    unsigned flushed_count, flushed_router_count;
    int64_t *flushed; /* ids of queues, then of routers */
    /* leaving */
    struct request leave;
    void (*left)(struct engine *engine);
};

/* Sums over all that this node counted. */
void node_sum(struct engine *engine, struct broker_stats *ret_stats);
/* Reads a row of NODES_READ. */
void node_read_row(const PGresult *result, int row, struct engine_node *ret_node);

/* ---- node_sweep.c ---- */
struct sweeps *sweeps_new(struct node *node);
void sweeps_free(struct sweeps *sweeps);
void sweeps_tick(struct sweeps *sweeps, int64_t now_ms);

/* ---- node_report.c ---- */
struct report *report_new(struct node *node);
void report_free(struct report *report);
void report_take(struct report *report, struct work *work);

/* ---- node_poke.c ---- */
struct pokes *pokes_new(struct engine *engine);
/* The loop goes round once more: connections are closed there. */
void pokes_free(struct pokes *pokes);
/* Other live nodes, as the registry has them now: begin, each, end. */
void pokes_begin_peers(struct pokes *pokes);
void pokes_add_peer(struct pokes *pokes, struct slice address);
void pokes_end_peers(struct pokes *pokes);
void pokes_add(struct pokes *pokes, int64_t queue_id);
void pokes_tick(struct pokes *pokes, int64_t now_ms);

#endif
