/* SPDX-License-Identifier: MIT */
/* What the files of a snapshot share: snapshot.c takes it, snapshot_read.c reads it. */
#ifndef HATI_BROKER_SNAPSHOT_INSIDE_H
#define HATI_BROKER_SNAPSHOT_INSIDE_H

#include "broker/disk_inside.h"
#include "broker/snapshot.h"

/* A message that memory had. */
struct kept {
    struct body *body; /* referenced; NULL: LMDB has it */
    uint64_t seq;
    int64_t expires_ms;
    int64_t due_ms; /* 0: not delayed */
    uint32_t attempt;
    uint32_t store;
    uint8_t lane;
};

/* What only LMDB has of a lane: untouched ready messages behind one number and before another. */
struct part_lane {
    uint64_t after, end;
    bool any;             /* there are some */
    struct message *walk; /* memory queue: in its list, from here up to `last` none is kept yet */
    uint64_t last;
};

/* One queue's; under its lock until it is taken and walked through, then the reader's. */
struct snapshot_part {
    struct broker_snapshot *snapshot;
    struct queue *queue; /* referenced */
    bool taken;
    struct broker_queue_options options; /* once taken */
    uint32_t store;
    struct kept *list;
    size_t count, room;
    uint64_t *known; /* numbers of messages that memory knew of, where LMDB is to be read */
    size_t known_count;
    struct part_lane lanes[LANES];
};

struct snapshot_router {
    struct slice name;
    enum broker_router_type type;
};

struct broker_snapshot {
    struct broker *broker;
    _Atomic uint64_t cut;  /* UINT64_MAX: not yet */
    _Atomic bool broken;   /* there was no memory for a part */
    struct env_read *read; /* paused; NULL without a data directory, or before it is taken */
    uint64_t count;
    struct snapshot_part *parts;
    size_t part_count;
    struct arena names; /* of what follows */
    struct snapshot_router *routers;
    size_t router_count;
    struct broker_snapshot_binding *bindings;
    size_t binding_count, binding_room;
    enum err err; /* of putting it together */
};

/* The queue's lock is held; it was not taken. */
void snapshot_take_part_locked(struct snapshot_part *part);
/* Keeps some more of what a memory queue's lists had; true while there is more. */
bool snapshot_walk_locked(struct snapshot_part *part);
/* Lets go of the messages of a part that is taken. */
void snapshot_empty_part(struct snapshot_part *part);

#endif
