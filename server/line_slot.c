/* SPDX-License-Identifier: MIT */
#include "server/line_slot.h"

#include <stdlib.h>

#include "base/clock.h"
#include "server/line_conn.h"
#include "server/line_count.h"
#include "server/line_json.h"
#include "server/line_loop.h"
#include "server/olivia_many.h"

#define FREE_MAX 4096U /* slots kept for the next burst */

void line_slot_come_back(struct line_woken *woken) {
    struct line_slot *slot = (struct line_slot *)woken;
    if (slot->conn)
        line_loop_touch(slot->woken.loop, slot->conn);
    line_slot_finish(slot);
}

struct line_slot *line_slot_take(struct line_loop *loop) {
    struct line_slot *slot = loop->free_slots;
    if (slot) {
        loop->free_slots = slot->queue_next;
        loop->free_count--;
    } else {
        slot = malloc(sizeof *slot);
        if (!slot)
            return NULL;
        slot->woken.loop = loop;
        buf_init(&slot->after, loop->out.max_bytes);
    }
    slot->woken.come_back = line_slot_come_back;
    slot->call.op = NULL;
    slot->call.broker.holds = false;
    slot->json = NULL;
    slot->many = NULL;
    slot->conn = NULL;
    slot->lane = LANE_ALONE;
    slot->prefetch = 0;
    slot->held.limited = false;
    slot->due = false;
    slot->queue_next = NULL;
    arena_init_with(&slot->arena, loop->arena_max_bytes, slot->memory, sizeof slot->memory);
    return slot;
}

void line_slot_release(struct line_slot *slot) {
    struct line_loop *loop = slot->woken.loop;
    call_release(&slot->call, false);
    arena_done(&slot->arena);
    buf_done(&slot->after);
    if (slot->json)
        line_json_release(loop, slot->json);
    if (slot->many)
        olivia_many_release(loop, slot->many);
    if (loop->free_count == FREE_MAX) {
        free(slot);
        return;
    }
    slot->queue_next = loop->free_slots;
    loop->free_slots = slot;
    loop->free_count++;
}

void line_slot_queue(struct line_slot *slot, struct line_conn *conn) {
    slot->state = SLOT_RUNNING;
    slot->conn = conn;
    slot->read_ns = conn->read_ns;
    slot->woken.loop->in_flight++;
    slot->door = line_door(conn);
    line_count_parked(slot, true);
    if (conn->last)
        conn->last->queue_next = slot;
    else
        conn->first = slot;
    conn->last = slot;
    conn->queued++;
}

void line_slot_park(struct line_slot *slot) {
    struct line_loop *loop = slot->woken.loop;
    bool waits = slot->json ? line_json_may_wait(slot->json)
                            : !slot->many && slot->call.op && (slot->call.op->flags & OP_WAITS);
    if (loop->config->request_timeout_ms <= 0 || waits)
        return;
    slot->deadline_ms = clock_steady_ms() + loop->config->request_timeout_ms;
    slot->due = true;
    slot->due_next = NULL;
    slot->due_prev = loop->last_due;
    if (loop->last_due)
        loop->last_due->due_next = slot;
    else
        loop->first_due = slot;
    loop->last_due = slot;
    line_loop_need_tick(loop);
}

static void forget_deadline(struct line_slot *slot) {
    struct line_loop *loop = slot->woken.loop;
    if (!slot->due)
        return;
    slot->due = false;
    if (slot->due_prev)
        slot->due_prev->due_next = slot->due_next;
    else
        loop->first_due = slot->due_next;
    if (slot->due_next)
        slot->due_next->due_prev = slot->due_prev;
    else
        loop->last_due = slot->due_prev;
}

void line_slot_finish(struct line_slot *slot) {
    slot->woken.loop->in_flight--;
    line_limit_end_call(slot);
    line_count_parked(slot, false);
    forget_deadline(slot);
    slot->state = SLOT_DONE;
    if (!slot->conn)
        line_slot_release(slot);
}

void line_slot_dequeue(struct line_slot *slot) {
    struct line_conn *conn = slot->conn;
    conn->first = slot->queue_next;
    if (!conn->first)
        conn->last = NULL;
    conn->queued--;
    line_slot_abandon(slot);
}

void line_slot_stop(struct line_slot *slot) {
    if (slot->state == SLOT_RUNNING && slot->json)
        line_json_stop(slot->json);
    else if (slot->state == SLOT_RUNNING && slot->call.op)
        call_stop(&slot->call);
}

void line_slot_abandon(struct line_slot *slot) {
    slot->conn = NULL;
    forget_deadline(slot);
    buf_done(&slot->after);
    if (slot->state == SLOT_DONE)
        line_slot_release(slot);
    else
        line_slot_stop(slot);
}

void line_slot_wake(struct line_slot *slot) {
    line_loop_wake(&slot->woken);
}

void line_slot_expire(struct line_loop *loop, int64_t steady_ms) {
    while (loop->first_due && loop->first_due->deadline_ms <= steady_ms) {
        struct line_slot *slot = loop->first_due;
        forget_deadline(slot);
        slot->state = SLOT_EXPIRED;
        line_loop_touch(loop, slot->conn);
    }
}
