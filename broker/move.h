/* SPDX-License-Identifier: MIT */
/* Messages on their way from one queue to another: to the dead-letter queue (or to nowhere), and
 * back from there. A few at a time, as one job where the journal is to know of it. */
#ifndef HATI_BROKER_MOVE_H
#define HATI_BROKER_MOVE_H

#include "broker/internal.h"

#define MOVES_MAX 256U

struct move {
    struct message *message; /* MOVING */
    struct queue *target;    /* referenced; NULL: it is dropped */
    struct message *fresh;   /* the same for the target */
    uint64_t seq;            /* of its record, where the target is on hdd */
    bool unwritten;          /* there was no memory for its record */
};

struct move_job {
    struct commit_job job;
    struct queue *queue;        /* referenced: where they leave */
    struct broker_write *write; /* a redrive, which is answered at last; or NULL */
    int64_t now_ms;
    uint64_t left;  /* redrive: messages not yet looked at */
    uint64_t bytes; /* of all in hand */
    unsigned count;
    struct move moves[MOVES_MAX];
};

/* True where the journal has to know. */
bool move_needs_journal(const struct move_job *job);
/* Carries it out, or with an error puts everything back, to be tried again later. Then goes on, or
 * frees the job. */
void move_finish(struct move_job *job, enum err err);

#endif
