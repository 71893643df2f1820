/* SPDX-License-Identifier: MIT */
/* Who waits: from the call on any thread to its done. */
#include "engine/receive_inside.h"

#include "base/hash.h"

/* ---- any thread ---- */

void wait_unref(struct wait *wait) {
    if (atomic_fetch_sub_explicit(&wait->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (wait->consumer)
        consumer_unref(wait->consumer);
    free(wait->block);
    free(wait);
}

static struct wait *wait_new(struct engine *engine, struct broker_receive *receive) {
    struct wait *wait = calloc(1, sizeof *wait);
    if (!wait)
        return NULL;
    atomic_init(&wait->refs, 2); /* the caller's and the loop's */
    wait->engine = engine;
    wait->receive = receive;
    wait->max = receive->max;
    wait->max_bytes = receive->max_bytes;
    wait->wait_ms = receive->wait_ms;
    wait->lease_ms = receive->lease_ms;
    wait->consumer = receive->consumer ? receive->consumer->remote : NULL;
    if (wait->consumer)
        atomic_fetch_add_explicit(&wait->consumer->refs, 1, memory_order_relaxed);
    return wait;
}

enum err receivers_receive(void *context, struct broker_receive *receive) {
    receive->remote_data = NULL;
    receive->err = OK;
    receive->count = 0;
    receive->deliveries = NULL;
    if (receive->at_once)
        return ERR_WOULD_WAIT;
    if (receive->consumer && !receive->consumer->remote)
        return ERR_QUEUE_NOT_EXIST;
    struct wait *wait = wait_new(context, receive);
    if (!wait)
        return ERR_OUT_OF_MEMORY;
    receive->remote_data = wait;
    enum err err = engine_post(context, WORK_RECEIVE, wait);
    if (err != ERR_PENDING) {
        receive->remote_data = NULL;
        wait_unref(wait);
        wait_unref(wait);
    }
    return err;
}

void receivers_receive_stop(void *context, struct broker_receive *receive) {
    struct wait *wait = receive->remote_data;
    if (!wait || atomic_exchange(&wait->is_told_to_stop, true))
        return;
    atomic_fetch_add_explicit(&wait->refs, 1, memory_order_relaxed);
    if (engine_post_work(context, &wait->stop, WORK_STOP, wait) != ERR_PENDING)
        wait_unref(wait);
}

void receivers_receive_free(void *context, struct broker_receive *receive) {
    struct wait *wait = receive->remote_data;
    (void)context;
    receive->remote_data = NULL;
    receive->deliveries = NULL;
    receive->count = 0;
    if (wait)
        wait_unref(wait);
}

struct give_back {
    int64_t queue_id;
    bool memory;
    unsigned count;
    struct receipt *receipts;
};

/* The receive may be a copy whose deliveries begin further behind, and gone when this returns.
 * Where it cannot be told, the leases end in time. */
void receivers_give_back(void *context, struct broker_receive *receive) {
    const struct wait *wait = receive->remote_data;
    if (!wait || receive->count == 0)
        return;
    struct give_back *give = malloc(sizeof *give);
    struct receipt *receipts = malloc(receive->count * sizeof *receipts);
    if (!give || !receipts) {
        free(give);
        free(receipts);
        return;
    }
    *give = (struct give_back){
        .queue_id = wait->queue_id, .memory = wait->memory, .receipts = receipts};
    for (unsigned i = 0; i < receive->count; i++)
        if (receipt_parse(slice_of_cstr(receive->deliveries[i].receipt), &receipts[give->count]))
            give->count++;
    if (engine_post(context, WORK_GIVE_BACK, give) != ERR_PENDING) {
        free(receipts);
        free(give);
    }
}

/* ---- the loop: waits ---- */

unsigned wait_limit(const struct wait *wait) {
    const struct consumer *consumer = wait->consumer;
    if (!consumer)
        return wait->max;
    unsigned credit =
        consumer->unacked < consumer->prefetch ? consumer->prefetch - consumer->unacked : 0;
    return wait->max < credit ? wait->max : credit;
}

void wait_line_up(struct wait *wait) {
    struct rqueue *at = wait->at;
    wait->in_line = true;
    wait->next = NULL;
    wait->prev = at->last;
    if (at->last)
        at->last->next = wait;
    else
        at->first = wait;
    at->last = wait;
}

static void leave_line(struct wait *wait) {
    struct rqueue *at = wait->at;
    if (!wait->in_line)
        return;
    wait->in_line = false;
    if (wait->prev)
        wait->prev->next = wait->next;
    else
        at->first = wait->next;
    if (wait->next)
        wait->next->prev = wait->prev;
    else
        at->last = wait->prev;
}

static void leave_queue(struct wait *wait) {
    struct rqueue *at = wait->at;
    if (!at)
        return;
    leave_line(wait);
    wait->at = NULL;
    if (!wait->consumer) {
        at->wait_count--;
        at->queue->counters_changed = true;
    }
    rqueue_settle(at);
}

void wait_finish(struct receivers *receivers, struct wait *wait, enum err err) {
    struct broker_receive *receive = wait->receive;
    if (!receive)
        return;
    wait->receive = NULL;
    heap_remove(&receivers->ends, wait);
    receivers->wait_count--;
    if (wait->all_prev)
        wait->all_prev->all_next = wait->all_next;
    else
        receivers->waits = wait->all_next;
    if (wait->all_next)
        wait->all_next->all_prev = wait->all_prev;
    if (wait->consumer && wait->consumer->waiting == wait)
        wait->consumer->waiting = NULL;
    leave_queue(wait);
    receive->err = err;
    receive->done(receive);
    wait_unref(wait);
}

static void set_end(struct receivers *receivers, struct wait *wait, int64_t end_ms) {
    heap_remove(&receivers->ends, wait);
    wait->end_ms = end_ms;
    if (end_ms != INT64_MAX)
        heap_push(&receivers->ends, wait);
}

/* Its time is over. */
static void end_wait(struct receivers *receivers, struct wait *wait) {
    bool gives_up = !wait->tried && wait->wait_ms == 0;
    wait_finish(receivers, wait, gives_up ? ERR_UNAVAILABLE : OK);
}

/* From now on it ends by its own time. */
static void set_tried(struct receivers *receivers, struct wait *wait) {
    wait->tried = true;
    wait->asked = false;
    if (wait->over_ms <= clock_steady_ms())
        wait_finish(receivers, wait, OK);
    else
        set_end(receivers, wait, wait->over_ms);
}

void waits_look(struct receivers *receivers, struct rqueue *at, bool failed) {
    struct wait *next;
    for (struct wait *wait = at->first; wait; wait = next) {
        next = wait->next;
        if (wait->asked && !(failed && wait->wait_ms == 0))
            set_tried(receivers, wait);
        else
            wait->asked = false;
    }
}

/* ---- the loop: queues ---- */

static struct rqueue *rqueue_of(struct receivers *receivers, struct tqueue *queue) {
    struct rqueue *at = queue->receivers;
    if (at)
        return at;
    bool has_room = heap_reserve_all(&receivers->polls, receivers->queue_count + 1) == OK;
    at = has_room ? calloc(1, sizeof *at) : NULL;
    if (!at)
        return NULL;
    receivers->queue_count++;
    at->receivers = receivers;
    at->queue = queue;
    topology_ref(queue);
    queue->receivers = at;
    return at;
}

void rqueue_settle(struct rqueue *at) {
    if (at->wait_count || at->consumer_count || at->asking || at->is_ready || at->is_polled ||
        at->first)
        return;
    heap_remove(&at->receivers->polls, at);
    at->receivers->queue_count--;
    at->queue->receivers = NULL;
    topology_unref(at->queue);
    free(at);
}

static void place(struct receivers *receivers, struct wait *wait);

static void on_pulled(void *context, enum err err) {
    struct wait *wait = context;
    if (wait->receive) {
        wait->pulled = err == OK;
        wait->pull_failed += err != OK;
        if (err && wait->wait_ms)
            set_tried(wait->engine->receivers, wait);
        if (wait->receive)
            place(wait->engine->receivers, wait);
    }
    wait_unref(wait);
}

static void pull_now(void *context) {
    struct wait *wait = context;
    if (!wait->receive || wait->engine->stopping) {
        wait_unref(wait);
        return;
    }
    topology_pull(wait->engine->topology, clock_steady_ms() + wait->engine->options.timeout_ms,
                  on_pulled, wait);
}

/* Its queue is not known here, or may be another by now. */
static void pull(struct wait *wait) {
    atomic_fetch_add_explicit(&wait->refs, 1, memory_order_relaxed);
    if (wait->pull_failed)
        engine_later(wait->engine, &wait->later, engine_backoff_ms(wait->pull_failed), pull_now,
                     wait);
    else
        pull_now(wait);
}

static struct tqueue *queue_of(struct receivers *receivers, const struct wait *wait) {
    const struct consumer *consumer = wait->consumer;
    if (consumer && consumer->at)
        return consumer->at->queue;
    struct slice name =
        consumer ? slice_make(consumer->name, consumer->name_len) : wait->receive->queue;
    return topology_find_queue(receivers->engine->topology, name);
}

static void enter(struct receivers *receivers, struct wait *wait, struct rqueue *at) {
    struct consumer *consumer = wait->consumer;
    wait->at = at;
    wait->queue_id = at->queue->id;
    wait->memory = rqueue_is_memory(at);
    if (!wait->lease_ms)
        wait->lease_ms = at->queue->options.lease_ms;
    if (!consumer) {
        at->wait_count++;
    } else if (!consumer->at) {
        consumer->at = at;
        at->consumer_count++;
    }
    at->queue->counters_changed = true;
    bool has_room = wait_limit(wait) > 0;
    if (has_room)
        wait_line_up(wait);
    if (!has_room || at->queue->options.paused)
        set_tried(receivers, wait); /* nothing is asked for it now */
    else
        rqueue_want(at);
    if (!has_room && consumer->waiting)
        consumer_starve(receivers, consumer, clock_steady_ms());
}

/* In line at its queue, once that is known. */
static void place(struct receivers *receivers, struct wait *wait) {
    struct tqueue *queue = queue_of(receivers, wait);
    bool is_there = queue && !queue->gone;
    bool is_doubtful = !is_there || (queue->options.paused && wait->wait_ms == 0);
    if (is_doubtful && !wait->pulled) {
        pull(wait);
        return;
    }
    if (is_doubtful) {
        wait_finish(receivers, wait, is_there ? OK : ERR_QUEUE_NOT_EXIST);
        return;
    }
    struct rqueue *at = rqueue_of(receivers, queue);
    if (!at)
        wait_finish(receivers, wait, ERR_OUT_OF_MEMORY);
    else
        enter(receivers, wait, at);
}

static void begin(struct receivers *receivers, struct wait *wait, int64_t deadline_ms) {
    int64_t now_ms = clock_steady_ms();
    if (atomic_load(&receivers->engine->draining))
        wait->wait_ms = 0;
    wait->begun = true;
    wait->deadline_ms = deadline_ms;
    wait->over_ms = wait->wait_ms < 0 ? INT64_MAX : now_ms + wait->wait_ms;
    wait->all_next = receivers->waits;
    if (receivers->waits)
        receivers->waits->all_prev = wait;
    receivers->waits = wait;
    receivers->wait_count++;
    if (wait->stopped || (wait->consumer && wait->consumer->closed)) {
        wait_finish(receivers, wait, OK);
        return;
    }
    if (wait->consumer)
        wait->consumer->waiting = wait;
    if (heap_reserve_all(&receivers->ends, receivers->wait_count) != OK) {
        wait_finish(receivers, wait, ERR_OUT_OF_MEMORY);
        return;
    }
    set_end(receivers, wait, wait->over_ms > deadline_ms ? wait->over_ms : deadline_ms);
    place(receivers, wait);
    receivers_set_timer(receivers);
}

void receivers_take(struct receivers *receivers, struct work *work) {
    struct wait *wait = work->any;
    struct consumer *consumer = work->any;
    struct give_back *give = work->any;
    switch (work->kind) {
    case WORK_RECEIVE:
        begin(receivers, wait, work->deadline_ms);
        free(work);
        break;
    case WORK_STOP:
        wait->stopped = true;
        if (wait->begun)
            wait_finish(receivers, wait, OK);
        wait_unref(wait);
        break;
    case WORK_GIVE_BACK:
        receipts_give_back(receivers->engine, give->queue_id, give->memory, give->receipts,
                           give->count);
        free(give);
        free(work);
        break;
    default: /* WORK_CONSUMER_CLOSE */
        consumer_leave(receivers, consumer);
        consumer_unref(consumer);
        break;
    }
}

/* ---- the loop: time, changes, the end ---- */

static void on_timer(uv_timer_t *timer) {
    struct receivers *receivers = timer->data;
    int64_t now_ms = clock_steady_ms();
    struct wait *wait;
    while ((wait = heap_top(&receivers->ends)) && wait->end_ms <= now_ms)
        end_wait(receivers, wait);
    receivers_poll(receivers, now_ms);
    receivers_set_timer(receivers);
}

void receivers_set_timer(struct receivers *receivers) {
    const struct wait *wait = heap_top(&receivers->ends);
    const struct rqueue *at = heap_top(&receivers->polls);
    int64_t next_ms = wait ? wait->end_ms : INT64_MAX;
    if (at && at->poll_ms < next_ms)
        next_ms = at->poll_ms;
    if (next_ms == INT64_MAX) {
        uv_timer_stop(receivers->timer);
        return;
    }
    int64_t left_ms = next_ms - clock_steady_ms();
    uv_update_time(&receivers->engine->loop);
    uv_timer_start(receivers->timer, on_timer, left_ms > 0 ? (uint64_t)left_ms : 0, 0);
}

void receivers_tick(struct receivers *receivers, int64_t now_ms) {
    consumers_check(receivers, now_ms);
}

void receivers_wake(struct receivers *receivers, struct tqueue *queue) {
    struct rqueue *at = queue->receivers;
    (void)receivers;
    if (at && at->first) {
        at->backoff_ms = 0;
        rqueue_want(at);
    }
}

void receivers_queue_changed(struct receivers *receivers, struct tqueue *queue) {
    struct rqueue *at = queue->receivers;
    if (!at)
        return;
    if (!queue->gone) {
        receivers_wake(receivers, queue);
        return;
    }
    struct wait *next;
    for (struct wait *wait = receivers->waits; wait; wait = next) {
        next = wait->all_next;
        if (wait->queue_id == queue->id)
            wait_finish(receivers, wait, ERR_QUEUE_NOT_EXIST);
    }
}

void receivers_drain(struct receivers *receivers) {
    while (receivers->waits)
        wait_finish(receivers, receivers->waits, OK);
}

uint64_t receivers_count(const struct tqueue *queue) {
    const struct rqueue *at = queue->receivers;
    return at ? (uint64_t)at->wait_count + at->consumer_count : 0;
}

struct receivers *receivers_new(struct engine *engine) {
    struct receivers *receivers = calloc(1, sizeof *receivers);
    uv_timer_t *timer = malloc(sizeof *timer);
    if (!receivers || !timer) {
        free(receivers);
        free(timer);
        return NULL;
    }
    receivers->engine = engine;
    receivers->last_ready = &receivers->first_ready;
    receivers->timer = timer;
    hash_random(&receivers->seed, sizeof receivers->seed);
    heap_init(&receivers->ends, offsetof(struct wait, end_ms), offsetof(struct wait, end_index));
    heap_init(&receivers->polls, offsetof(struct rqueue, poll_ms),
              offsetof(struct rqueue, poll_index));
    uv_timer_init(&engine->loop, timer);
    timer->data = receivers;
    return receivers;
}

static void free_timer(uv_handle_t *timer) {
    free(timer);
}

/* Behind the pool: no statement is on its way. The loop runs once more, to close the timer. */
void receivers_free(struct receivers *receivers) {
    if (!receivers)
        return;
    receivers_drain(receivers);
    consumers_free(receivers);
    uv_close((uv_handle_t *)receivers->timer, free_timer);
    heap_done(&receivers->ends);
    heap_done(&receivers->polls);
    free(receivers);
}
