/* SPDX-License-Identifier: MIT */
/* Carries out the calls of a body in order. Whoever runs it holds the run: the caller's thread at
 * first; where calls are parked, the thread that wakes the last of them. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "handlers/spans.h"
#include "server/rpc_internal.h"

#define WAITING_MAX 1000U /* calls under way at once */
#define READS_MAX 64U     /* of those, reads: what they read is in memory */

struct rpc {
    struct rpc_request *request;
    struct rpc_source source;
    struct arena arena;             /* of every call under way; reset when there is none */
    struct rpc_item *first, **last; /* under way or finished behind such, in order */
    struct rpc_item *held;          /* bound, waits until all of those are finished */
    atomic_uint parked;  /* calls the store has, and one for the run while somebody holds it */
    unsigned waiting;    /* in the list */
    enum call_lane lane; /* of what is parked */
    bool movable;        /* on the stack of rpc_run: no call may be parked */
    bool full;           /* the answers outgrew the buffer */
    bool batch_open;     /* a `[` was written */
    bool item_taken;
    size_t message_start;                /* where the message's answer begins in the buffer */
    const struct rpc_held *message_held; /* what was held before it */
    pthread_mutex_t lock;                /* of stoppable and stopped; not on the stack */
    struct call *stoppable;              /* parked, and waits for messages */
    bool starting;                       /* it is not known yet whether it waits */
    bool stopped;
    struct rpc_item item; /* room for the first: most bodies hold one call */
    alignas(16) char room[RPC_ROOM_BYTES];
};

static void reset_arena(struct rpc *rpc) {
    arena_done(&rpc->arena);
    arena_init_with(&rpc->arena, rpc->arena.max_bytes, rpc->room, sizeof rpc->room);
    rpc->item_taken = false;
}

/* Not cleared as a whole: the room is large. */
static void init(struct rpc *rpc, struct rpc_request *request, bool movable) {
    rpc->request = request;
    rpc->source = (struct rpc_source){.rest = request->body};
    arena_init(&rpc->arena, (size_t)request->core->payload_limit_bytes * 8 + (1U << 20));
    reset_arena(rpc);
    rpc->first = NULL;
    rpc->last = &rpc->first;
    rpc->held = NULL;
    atomic_init(&rpc->parked, 1);
    rpc->waiting = 0;
    rpc->lane = LANE_ALONE;
    rpc->full = rpc->batch_open = false;
    rpc->movable = movable;
    rpc->message_start = request->out->len;
    rpc->message_held = request->held;
    rpc->stoppable = NULL;
    rpc->starting = rpc->stopped = false;
}

static void release(struct rpc *rpc) {
    json_decref(rpc->source.doc);
    rpc->source.doc = NULL;
    arena_done(&rpc->arena);
}

/* What was answered of this message is worth nothing without the rest: one error instead. */
static void give_up(struct rpc *rpc) {
    struct buf *out = rpc->request->out;
    out->len = rpc->message_start;
    out->failed = false;
    rpc_append_error(out, ERR_VALUE_TOO_LARGE, "the answers are over the limit");
    rpc_hold_undo(rpc->request, rpc->message_held);
    rpc->full = true;
    rpc->batch_open = false;
}

static void write_answer(struct rpc *rpc, const struct rpc_item *item,
                         void (*append)(struct buf *out, const struct rpc_item *item)) {
    struct buf *out = rpc->request->out;
    if (item->in_batch)
        buf_append_char(out, rpc->batch_open ? ',' : '[');
    append(out, item);
    if (!item->in_batch)
        buf_append_char(out, '\n');
}

/* False where it did not fit, and that is the answer. */
static bool write_or_refuse(struct rpc *rpc, const struct rpc_item *item) {
    struct buf *out = rpc->request->out;
    size_t start = out->len;
    write_answer(rpc, item, rpc_append_answer);
    if (!out->failed)
        return true;
    out->len = start;
    out->failed = false;
    write_answer(rpc, item, rpc_append_too_large);
    return false;
}

static void answer(struct rpc *rpc, struct rpc_item *item) {
    struct buf *out = rpc->request->out;
    if (rpc->full)
        return;
    if (!item->silent) {
        if (write_or_refuse(rpc, item))
            rpc_hold(rpc->request, &item->call);
        rpc->batch_open = item->in_batch;
    }
    if (item->ends_batch && rpc->batch_open) {
        buf_append(out, SLICE("]\n"));
        rpc->batch_open = false;
    }
    if (out->failed)
        give_up(rpc);
    else if (!item->in_batch || item->ends_batch) {
        rpc->message_start = out->len;
        rpc->message_held = rpc->request->held;
    }
}

static void finish_item(struct rpc *rpc, struct rpc_item *item) {
    rpc_item_reached(rpc->request, item);
    rpc_item_traced(item);
    rpc_count(rpc->request, item->call.op, item->call.err);
    answer(rpc, item);
    if (item->good)
        call_release(&item->call, false); /* what was not answered */
    if (item->call.arena == &item->own)
        arena_done(&item->own);
    json_decref(item->doc);
    if (!rpc->first && !rpc->held)
        reset_arena(rpc);
}

/* Everything under way is finished: answers it. */
static void drain(struct rpc *rpc) {
    struct rpc_item *item = rpc->first;
    rpc->waiting = 0;
    while (item) {
        struct rpc_item *next = item->next;
        rpc->first = next;
        finish_item(rpc, item);
        item = next;
    }
    rpc->last = &rpc->first;
}

static void push(struct rpc *rpc, struct rpc_item *item) {
    *rpc->last = item;
    rpc->last = &item->next;
    rpc->waiting++;
}

static bool may_run_now(const struct rpc *rpc, const struct rpc_item *item) {
    if (!rpc->first)
        return true;
    if (rpc->lane == LANE_ALONE || rpc->waiting >= WAITING_MAX)
        return false;
    if (!item->good || call_is_off_disk(&item->call))
        return true;
    return call_lane(&item->call) == rpc->lane &&
           (rpc->lane != LANE_READS || rpc->waiting < READS_MAX);
}

static void on_wake(struct call *call);

/* A call that may wait for messages is about to be run: what rpc_stop stops, from here on. */
static void begin_wait(struct rpc *rpc, struct call *call) {
    if (!(call->op->flags & OP_WAITS))
        return;
    pthread_mutex_lock(&rpc->lock);
    rpc->stoppable = call;
    rpc->starting = true;
    if (rpc->stopped)
        call->args.wait_ms = 0;
    pthread_mutex_unlock(&rpc->lock);
}

static void let_go(struct rpc *rpc);

/* While it is stopped the call is kept from being answered and freed. */
static void stop_wait(struct rpc *rpc) {
    pthread_mutex_lock(&rpc->lock);
    struct call *call = rpc->stopped && !rpc->starting ? rpc->stoppable : NULL;
    if (call)
        atomic_fetch_add(&rpc->parked, 1);
    pthread_mutex_unlock(&rpc->lock);
    if (!call)
        return;
    call_stop(call);
    let_go(rpc);
}

/* It is parked; a stop that came while it was on its way there did nothing. */
static void park_wait(struct rpc *rpc, const struct call *call) {
    if (!(call->op->flags & OP_WAITS))
        return;
    pthread_mutex_lock(&rpc->lock);
    rpc->starting = false;
    pthread_mutex_unlock(&rpc->lock);
    stop_wait(rpc);
}

static void end_wait(struct rpc *rpc, const struct call *call) {
    if (!(call->op->flags & OP_WAITS))
        return;
    pthread_mutex_lock(&rpc->lock);
    rpc->stoppable = NULL;
    rpc->starting = false;
    pthread_mutex_unlock(&rpc->lock);
}

/* Its answer comes into the arena on any thread, while further calls are bound in the run's. */
static void own_arena(struct rpc *rpc, struct rpc_item *item) {
    arena_init(&item->own, rpc->arena.max_bytes);
    item->call.arena = &item->own;
}

static void run_item(struct rpc *rpc, struct rpc_item *item) {
    struct call *call = &item->call;
    enum err err = OK;
    rpc_source_take(&rpc->source, item);
    if (item->good && call_is_off_disk(call)) {
        call->err = call_run(call);
    } else if (item->good) {
        call->wake = on_wake;
        call->context = rpc;
        enum call_lane lane = call_lane(call);
        if (lane == LANE_READS)
            own_arena(rpc, item);
        call->broker.behind = rpc->first != NULL;
        spans_may_park(call);
        atomic_fetch_add(&rpc->parked, 1);
        begin_wait(rpc, call);
        err = call_run(call);
        if (err == ERR_PENDING) {
            rpc->lane = lane;
            push(rpc, item);
            park_wait(rpc, call);
            return;
        }
        end_wait(rpc, call);
        call->parked_ns = 0;
        atomic_fetch_sub(&rpc->parked, 1);
    }
    if (rpc->first)
        push(rpc, item);
    else
        finish_item(rpc, item);
}

static struct rpc_item *take_item(struct rpc *rpc) {
    if (rpc->item_taken)
        return arena_alloc(&rpc->arena, sizeof(struct rpc_item));
    rpc->item_taken = true;
    return &rpc->item;
}

/* What can be answered at once is. False where nothing was done. */
static bool try_item(struct rpc *rpc, struct rpc_item *item) {
    struct call *call = &item->call;
    call->broker.at_once = true;
    enum err err = call_run(call);
    call->broker.at_once = false;
    if (err == ERR_WOULD_WAIT)
        return false;
    rpc_source_take(&rpc->source, item);
    if (rpc->first)
        push(rpc, item);
    else
        finish_item(rpc, item);
    return true;
}

/* On the stack everything is tried; beside calls under way only what sees nothing of them. */
static bool may_try(const struct rpc *rpc, const struct rpc_item *item) {
    if (!item->good || rpc->waiting >= WAITING_MAX)
        return false;
    return call_may_try_beside(&item->call) || (rpc->movable && call_may_try(&item->call));
}

enum step {
    STEP_WAIT, /* for calls under way */
    STEP_MOVE, /* a call may be parked: it cannot stay on the stack */
    STEP_END
};

/* Runs calls until one has to wait for those under way, or has to leave the stack, or all ran. */
static enum step run_some(struct rpc *rpc) {
    for (;;) {
        if (rpc->first && rpc->lane == LANE_ALONE) /* it may be at the arena */
            return STEP_WAIT;
        struct rpc_item *item = rpc->held;
        rpc->held = NULL;
        if (!item) {
            if (rpc->full || !rpc_source_next(&rpc->source))
                return STEP_END;
            item = take_item(rpc);
            if (!item) /* there is room again when what is under way is answered */
                return STEP_WAIT;
            rpc_item_bind(item, rpc->request, &rpc->source, &rpc->arena);
        }
        if (may_try(rpc, item) && try_item(rpc, item))
            continue;
        if (!may_run_now(rpc, item)) {
            rpc->held = item;
            return STEP_WAIT;
        }
        if (rpc->movable && item->good && !call_is_off_disk(&item->call))
            return STEP_MOVE;
        run_item(rpc, item);
    }
}

/* Holding the run: goes on with the body. STEP_WAIT: the run is let go, the last wake goes on. */
static enum step go_on(struct rpc *rpc) {
    for (;;) {
        enum step step = run_some(rpc);
        if (rpc->first) {
            if (atomic_fetch_sub(&rpc->parked, 1) != 1)
                return STEP_WAIT;
            atomic_store(&rpc->parked, 1);
            drain(rpc);
        }
        if (step != STEP_WAIT)
            return step;
    }
}

/* One of those that keep the run parked lets go of it. */
static void let_go(struct rpc *rpc) {
    if (atomic_fetch_sub(&rpc->parked, 1) != 1)
        return;
    atomic_store(&rpc->parked, 1);
    drain(rpc);
    if (go_on(rpc) == STEP_END)
        rpc->request->done(rpc->request);
}

static void on_wake(struct call *call) {
    struct rpc *rpc = call->context;
    end_wait(rpc, call);
    let_go(rpc);
}

void rpc_stop(struct rpc_request *request) {
    struct rpc *rpc = request->rpc;
    if (!rpc)
        return;
    pthread_mutex_lock(&rpc->lock);
    rpc->stopped = true;
    pthread_mutex_unlock(&rpc->lock);
    stop_wait(rpc);
}

/* From the stack to the heap, before the first call that may be parked: nothing is under way, and
 * the element that was bound last is bound anew. */
static struct rpc *move(struct rpc *from) {
    struct rpc *to = malloc(sizeof *to);
    if (!to)
        return NULL;
    init(to, from->request, false);
    pthread_mutex_init(&to->lock, NULL);
    to->source = from->source;
    to->batch_open = from->batch_open;
    to->message_start = from->message_start;
    to->message_held = from->message_held;
    from->source.doc = NULL;
    return to;
}

static enum err outcome(const struct rpc_request *request) {
    return request->out->failed ? ERR_OUT_OF_MEMORY : OK;
}

/* Looks at the body before the parser does: what it may not be made to take on. */
static bool may_parse(struct rpc_request *request) {
    size_t max_bytes = (size_t)request->core->payload_limit_bytes * 16 + (1U << 20);
    enum err err = OK;
    if (!text_json_depth_ok(request->body, RPC_DEPTH_MAX))
        err = ERR_PARSE;
    else if (!rpc_source_weight_ok(request->body, max_bytes))
        err = ERR_INVALID_REQUEST;
    else
        return true;
    rpc_append_error(request->out, err,
                     err == ERR_PARSE ? "nested too deep" : "too many members and elements");
    rpc_count(request, NULL, err);
    return false;
}

static void free_engine(struct rpc_request *request) {
    struct rpc *rpc = request->rpc;
    if (!rpc)
        return;
    release(rpc);
    pthread_mutex_destroy(&rpc->lock);
    free(rpc);
    request->rpc = NULL;
}

enum err rpc_run(struct rpc_request *request) {
    struct rpc on_stack;
    request->rpc = NULL;
    request->held = NULL;
    request->tally.count = 0;
    if (!may_parse(request))
        return outcome(request);
    init(&on_stack, request, true);
    enum step step = go_on(&on_stack);
    if (step == STEP_MOVE)
        request->rpc = move(&on_stack);
    release(&on_stack);
    if (step == STEP_END)
        return outcome(request);
    if (!request->rpc)
        return ERR_OUT_OF_MEMORY;
    if (go_on(request->rpc) == STEP_WAIT)
        return ERR_PENDING;
    free_engine(request);
    return outcome(request);
}

void rpc_free(struct rpc_request *request) {
    rpc_release(request, true);
    free_engine(request);
}
