/* SPDX-License-Identifier: MIT */
/* A slot is a request that may be answered later, in its place in its connection's replies.
 *
 *   RUNNING --wake--> DONE ----reply----> free
 *      \--deadline--> EXPIRED --reply--> nobody waits --wake--> free
 *
 * A connection that ends lets go of its slots; those still running are freed when they are woken.
 */
#ifndef HATI_SERVER_LINE_SLOT_H
#define HATI_SERVER_LINE_SLOT_H

#include "base/buf.h"
#include "handlers/call.h"
#include "server/limits.h"
#include "server/line_loop.h"

#define LINE_SLOT_BYTES 1024U

enum line_slot_state { SLOT_RUNNING, SLOT_DONE, SLOT_EXPIRED };

struct line_slot {
    struct line_woken woken;
    struct call call;
    struct line_json *json;   /* a JSON line; NULL: call, or many */
    struct olivia_many *many; /* a line of several calls; NULL: call */
    struct line_answer answer;
    enum line_slot_state state;
    enum metrics_door door;       /* its connection's */
    enum call_lane lane;          /* what may be parked beside it */
    struct limits_client held;    /* whose calls in flight it is among */
    int64_t prefetch;             /* of a SUBSCRIBE that asks for its queue; 0: none */
    bool due;                     /* stands in the loop's list of deadlines */
    struct line_conn *conn;       /* NULL: nobody waits any more */
    struct line_slot *queue_next; /* in the connection's order; or the free list */
    struct line_slot *due_next, *due_prev;
    int64_t deadline_ms; /* steady clock */
    int64_t read_ns;     /* when its bytes came; steady clock */
    struct arena arena;
    struct buf after; /* replies that follow this one and were ready before it */
    char memory[LINE_SLOT_BYTES];
};

/* A slot with an empty arena, or NULL without memory. The loop's thread. */
struct line_slot *line_slot_take(struct line_loop *loop);
/* Gives it back; its call is not in flight. Messages that it still holds return to their queue. */
void line_slot_release(struct line_slot *slot);

/* Puts it last in its connection's queue as RUNNING, before its call is run. */
void line_slot_queue(struct line_slot *slot, struct line_conn *conn);
/* The call answered ERR_PENDING: sets the deadline, where it has one. */
void line_slot_park(struct line_slot *slot);
/* The call is back: at once, or taken from the woken list. */
void line_slot_finish(struct line_slot *slot);
/* Takes the first slot, which is answered, off its connection's queue. */
void line_slot_dequeue(struct line_slot *slot);
/* Ends its call's wait for messages, if it is one: it comes back with what it has. */
void line_slot_stop(struct line_slot *slot);
/* Its connection ended. */
void line_slot_abandon(struct line_slot *slot);

/* What a woken slot does: it is finished, and its connection goes on. */
void line_slot_come_back(struct line_woken *woken);
/* Any thread, once: the call is finished. */
void line_slot_wake(struct line_slot *slot);

/* Marks those past their deadline and touches their connections. */
void line_slot_expire(struct line_loop *loop, int64_t steady_ms);

#endif
