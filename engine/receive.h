/* SPDX-License-Identifier: MIT */
/* Who waits for messages on this node, and how they are handed out: one RECEIVE statement at a time
 * per queue serves all that wait for the same lease. A queue is asked again when this node
 * published to it, another node poked, something falls due, or (5 ms, then longer, up to 1 s) by
 * itself. */
#ifndef HATI_ENGINE_RECEIVE_H
#define HATI_ENGINE_RECEIVE_H

#include "engine/topology.h"

/* A message's place: what a receipt says. Text: base64url of 17 bytes. */
struct receipt {
    int64_t place; /* 9 - priority */
    int64_t seq;
    int64_t lease; /* random */
};

/* Writes BROKER_RECEIPT_BYTES with NUL. */
void receipt_format(const struct receipt *receipt, char *to);
bool receipt_parse(struct slice text, struct receipt *ret_receipt);

struct receivers *receivers_new(struct engine *engine);
void receivers_free(struct receivers *receivers);
/* WORK_RECEIVE, WORK_STOP, WORK_GIVE_BACK, WORK_CONSUMER_CLOSE. */
void receivers_take(struct receivers *receivers, struct work *work);
void receivers_tick(struct receivers *receivers, int64_t now_ms);
/* There is something new in the queue: who waits on this node is served. */
void receivers_wake(struct receivers *receivers, struct tqueue *queue);
/* One un-acked message less (ACK, NACK, or its lease ended) of a consumer's prefetch. */
void receivers_credit(struct receivers *receivers, const struct receipt *receipt,
                      const struct tqueue *queue);
/* Every wait ends with what it has. */
void receivers_drain(struct receivers *receivers);
/* Subscriptions and waiting receives of this node on the queue. */
uint64_t receivers_count(const struct tqueue *queue);

/* The vtable's functions that run on any thread. */
enum err receivers_receive(void *context, struct broker_receive *receive);
void receivers_receive_stop(void *context, struct broker_receive *receive);
void receivers_give_back(void *context, struct broker_receive *receive);
void receivers_receive_free(void *context, struct broker_receive *receive);
enum err receivers_consumer_open(void *context, struct slice queue, unsigned prefetch,
                                 struct broker_consumer *ret_consumer);
void receivers_consumer_close(void *context, struct broker_consumer *consumer);

/* ---- due.c: leases and delays that end, messages that expire; any queue, any node ---- */
struct due *due_new(struct engine *engine);
void due_free(struct due *due);
void due_tick(struct due *due, int64_t now_ms);
/* What came due while no node ran was seen to; but for very much of it. */
bool due_is_settled(const struct due *due);
/* Something of this storage falls due at that time (database's wall clock). */
void due_schedule(struct due *due, bool memory, int64_t at_ms);

/* A write that is one REDRIVE op: carried out, ended and freed. */
void redrive_start(struct engine *engine, struct work *work);

/* What becomes of a message that is in nobody's hands: decided in one place, for due.c and NACK.
 * FATE_READY and FATE_DELAYED keep its place; FATE_MOVE goes to the queue `target` with the reason;
 * FATE_DROP is gone. */
enum fate { FATE_READY, FATE_DELAYED, FATE_MOVE, FATE_DROP };
enum fate message_fate(struct topology *topology, const struct tqueue *queue, int64_t attempt,
                       int64_t expires_ms, bool lease_ended, int64_t delay_ms, int64_t now_ms,
                       enum broker_reason *ret_reason, struct tqueue **ret_target);

#endif
