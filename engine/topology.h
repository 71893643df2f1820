/* SPDX-License-Identifier: MIT */
/* Routers, queues and bindings: rows in the database, cached by every node as of one version.
 *
 * A change is a transaction that decides by the cache and moves the version from the cache's to the
 * next one (a compare-and-set: no row, then the cache was stale). What is decided by the cache and
 * written elsewhere (a publish) is guarded by the version in the same transaction. Rows carry the
 * version that changed them, so that a node pulls only what is new; what is gone stays as a row
 * until it is swept. */
#ifndef HATI_ENGINE_TOPOLOGY_H
#define HATI_ENGINE_TOPOLOGY_H

#include "broker/match.h"
#include "engine/internal.h"

/* Good until topology_unref; a deleted one says so. Ids are never used again. */
struct tqueue {
    unsigned refs;
    int64_t id;
    struct broker_queue_options options; /* dead_letter points into it */
    bool gone;
    uint8_t name_len;
    char name[BROKER_NAME_MAX];
    char dead_letter[BROKER_NAME_MAX];
    /* counted on this node since it started */
    struct broker_queue_stats counted;
    bool counters_changed;
    void *receivers; /* receive.c's */
};

struct trouter {
    int64_t id;
    enum broker_router_type type;
    struct match_set *set;          /* targets are struct tqueue; NULL: `default` */
    uint64_t published, unroutable; /* counted on this node */
    bool counters_changed;
    uint8_t name_len;
    char name[BROKER_NAME_MAX];
};

struct topology *topology_new(struct engine *engine);
void topology_free(struct topology *topology);
/* The version that the cache is of; -1: never pulled. */
int64_t topology_version(const struct topology *topology);
/* Pulls what is new, then calls done(context, err); calls that wait together share one pull. A pull
 * begun before the call does not count. */
void topology_pull(struct topology *topology, int64_t deadline_ms,
                   void (*done)(void *context, enum err err), void *context);
/* Whether somebody said that the database is at another version: pulls then, by and by. */
void topology_note_version(struct topology *topology, int64_t version);
/* Pulls once a second, so that waits of this node hear of changes. */
void topology_tick(struct topology *topology, int64_t now_ms);

/* Another node changed something: looks soon. */
void topology_look_soon(struct topology *topology);

/* By name or id; NULL: not known (as of the cache's version). */
struct tqueue *topology_find_queue(struct topology *topology, struct slice name);
struct tqueue *topology_find_queue_id(struct topology *topology, int64_t id);
struct trouter *topology_find_router(struct topology *topology, struct slice name);
void topology_ref(struct tqueue *queue);
void topology_unref(struct tqueue *queue);
/* Queues that a message reaches; targets of the result are struct tqueue. */
enum err topology_route(struct topology *topology, const struct trouter *router, struct slice key,
                        struct match_result *result) MUST_USE;
size_t topology_queue_count(const struct topology *topology);
size_t topology_router_count(const struct topology *topology);
/* Each one, in no order. */
void topology_each_queue(struct topology *topology, void (*take)(void *context, struct tqueue *),
                         void *context);
void topology_each_router(struct topology *topology, void (*take)(void *context, struct trouter *),
                          void *context);

/* Carries out one CREATE_*, DELETE_*, BIND, UNBIND or PAUSE op (the only op of its write) as
 * broker.h says, retried while others change things too; then done(context) with op->err set. */
void topology_change(struct topology *topology, struct broker_op *op, int64_t deadline_ms,
                     void (*done)(void *context), void *context);

/* Told when a queue is deleted or changed (paused, options) as the cache learns of it: receive.c.
 */
void receivers_queue_changed(struct receivers *receivers, struct tqueue *queue);

#endif
