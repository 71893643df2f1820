/* SPDX-License-Identifier: MIT */
/* Messages that stand elsewhere from now on, by the hundred: made ready, moved to another queue,
 * dropped. Shared by what happens by time and by REDRIVE. On the loop. */
#ifndef HATI_ENGINE_MOVES_H
#define HATI_ENGINE_MOVES_H

#include "engine/receive.h"

#define MOVES_MAX 200U /* of one transaction */

/* A message that the transaction has locked, and what becomes of it. */
struct move {
    int64_t queue_id;
    struct receipt receipt; /* lease 0: it was in nobody's hands */
    int64_t attempt;
    struct tqueue *queue, *target; /* referenced; NULL: gone, none */
    enum fate fate;                /* FATE_DELAYED: stays as it is */
    enum broker_reason reason;     /* REASON_NONE: it goes back to where it came from */
};

/* The first steps of their transaction: BEGIN and what tells its clock and the topology's version.
 * The op's id is a random one. */
void moves_add_begin(struct request *request, bool memory);
/* What those steps told. */
int64_t moves_now_ms(const struct request *request);
int64_t moves_version(const struct request *request);
/* Behind every seq there is, about. */
int64_t moves_first_seq(const struct request *request);

/* Adds what changes the messages, the guard of the topology's version, and COMMIT. False where
 * there is nothing to change. seq: of the first one moved. */
bool moves_add_writes(struct request *request, bool memory, const struct move *moves,
                      unsigned count, int64_t now_ms, int64_t seq, int64_t version);
/* Behind the commit: counts, credits, wakes. */
void moves_committed(struct engine *engine, const struct move *moves, unsigned count,
                     int64_t now_ms);
/* Lets go of the queues. */
void moves_done(struct move *moves, unsigned count);

#endif
