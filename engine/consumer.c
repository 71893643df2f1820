/* SPDX-License-Identifier: MIT */
/* Subscriptions, and what counts against their prefetch: deliveries of this node that were not
 * acknowledged here, nor seen to be over. */
#include "engine/receive_inside.h"

#include "base/hash.h"

#define CHECK_MIN_MS 100
#define CHECK_MAX_MS 1000
#define CHECK_LEASES_MAX 1000U

struct lease {
    struct lease *next_hash;
    struct lease *next, *prev; /* of the consumer */
    struct consumer *consumer;
    int64_t queue_id;
    struct receipt receipt;
};

/* ---- any thread ---- */

enum err receivers_consumer_open(void *context, struct slice queue, unsigned prefetch,
                                 struct broker_consumer *ret_consumer) {
    struct consumer *consumer = calloc(1, sizeof *consumer);
    if (!consumer)
        return ERR_OUT_OF_MEMORY;
    atomic_init(&consumer->refs, 1);
    consumer->engine = context;
    consumer->prefetch = prefetch;
    consumer->name_len = (uint8_t)queue.len;
    memcpy(consumer->name, queue.ptr, queue.len);
    *ret_consumer =
        (struct broker_consumer){.prefetch = prefetch, .open = true, .remote = consumer};
    return OK;
}

void receivers_consumer_close(void *context, struct broker_consumer *broker_consumer) {
    struct consumer *consumer = broker_consumer->remote;
    broker_consumer->open = false;
    broker_consumer->remote = NULL;
    if (consumer &&
        engine_post_work(context, &consumer->close, WORK_CONSUMER_CLOSE, consumer) != ERR_PENDING)
        consumer_unref(consumer); /* the end took it out of all tables, or will */
}

void consumer_unref(struct consumer *consumer) {
    if (atomic_fetch_sub_explicit(&consumer->refs, 1, memory_order_acq_rel) == 1)
        free(consumer);
}

/* ---- the table of leases ---- */

static size_t slot_of(const struct receivers *receivers, int64_t queue_id,
                      const struct receipt *receipt, size_t room) {
    const int64_t key[] = {queue_id, receipt->place, receipt->seq, receipt->lease};
    return hash_seeded(slice_make(key, sizeof key), receivers->seed) & (room - 1);
}

static void grow(struct receivers *receivers) {
    size_t room = receivers->lease_room ? 2 * receivers->lease_room : 64;
    struct lease **grown = calloc(room, sizeof(struct lease *));
    if (!grown)
        return;
    for (size_t i = 0; i < receivers->lease_room; i++) {
        struct lease *next;
        for (struct lease *lease = receivers->leases[i]; lease; lease = next) {
            next = lease->next_hash;
            size_t slot = slot_of(receivers, lease->queue_id, &lease->receipt, room);
            lease->next_hash = grown[slot];
            grown[slot] = lease;
        }
    }
    free(receivers->leases);
    receivers->leases = grown;
    receivers->lease_room = room;
}

void consumer_charge(struct receivers *receivers, struct consumer *consumer, int64_t queue_id,
                     const struct receipt *receipt) {
    if (receivers->lease_count >= receivers->lease_room)
        grow(receivers);
    struct lease *lease = receivers->lease_room ? malloc(sizeof *lease) : NULL;
    if (!lease)
        return;
    size_t slot = slot_of(receivers, queue_id, receipt, receivers->lease_room);
    *lease = (struct lease){.next_hash = receivers->leases[slot],
                            .next = consumer->leases,
                            .consumer = consumer,
                            .queue_id = queue_id,
                            .receipt = *receipt};
    receivers->leases[slot] = lease;
    if (consumer->leases)
        consumer->leases->prev = lease;
    consumer->leases = lease;
    consumer->unacked++;
    receivers->lease_count++;
}

/* Takes it out of the table; NULL: it is not there. */
static struct lease *take(struct receivers *receivers, int64_t queue_id,
                          const struct receipt *receipt) {
    if (!receivers->lease_count)
        return NULL;
    struct lease **at =
        &receivers->leases[slot_of(receivers, queue_id, receipt, receivers->lease_room)];
    while (*at &&
           !((*at)->queue_id == queue_id && (*at)->receipt.seq == receipt->seq &&
             (*at)->receipt.lease == receipt->lease && (*at)->receipt.place == receipt->place))
        at = &(*at)->next_hash;
    struct lease *lease = *at;
    if (!lease)
        return NULL;
    *at = lease->next_hash;
    receivers->lease_count--;
    struct consumer *consumer = lease->consumer;
    if (lease->prev)
        lease->prev->next = lease->next;
    else
        consumer->leases = lease->next;
    if (lease->next)
        lease->next->prev = lease->prev;
    consumer->unacked--;
    return lease;
}

/* ---- credit ---- */

static void end_starving(struct receivers *receivers, struct consumer *consumer) {
    if (!consumer->is_starved)
        return;
    consumer->is_starved = false;
    if (consumer->prev)
        consumer->prev->next = consumer->next;
    else
        receivers->starved = consumer->next;
    if (consumer->next)
        consumer->next->prev = consumer->prev;
}

void consumer_starve(struct receivers *receivers, struct consumer *consumer, int64_t now_ms) {
    if (consumer->is_starved)
        return;
    consumer->is_starved = true;
    consumer->backoff_ms = CHECK_MIN_MS;
    consumer->check_ms = now_ms + CHECK_MIN_MS;
    consumer->prev = NULL;
    consumer->next = receivers->starved;
    if (receivers->starved)
        receivers->starved->prev = consumer;
    receivers->starved = consumer;
}

void consumers_credit(struct receivers *receivers, int64_t queue_id,
                      const struct receipt *receipt) {
    struct lease *lease = take(receivers, queue_id, receipt);
    if (!lease)
        return;
    struct consumer *consumer = lease->consumer;
    struct wait *waiting = consumer->waiting;
    free(lease);
    end_starving(receivers, consumer);
    if (waiting && waiting->at && !waiting->in_line) {
        wait_line_up(waiting);
        rqueue_want(waiting->at);
    }
}

void receivers_credit(struct receivers *receivers, const struct receipt *receipt,
                      const struct tqueue *queue) {
    consumers_credit(receivers, queue->id, receipt);
}

void consumer_leave(struct receivers *receivers, struct consumer *consumer) {
    struct rqueue *at = consumer->at;
    consumer->closed = true;
    if (consumer->waiting)
        wait_finish(receivers, consumer->waiting, OK);
    end_starving(receivers, consumer);
    while (consumer->leases)
        free(take(receivers, consumer->leases->queue_id, &consumer->leases->receipt));
    consumer->at = NULL;
    if (at) {
        at->consumer_count--;
        at->queue->counters_changed = true;
        rqueue_settle(at);
    }
}

/* ---- what was acknowledged on other nodes ---- */

struct key {
    int64_t queue_id;
    struct receipt receipt;
    bool is_held;
};

struct check {
    struct request request;
    struct receivers *receivers;
    bool memory;
    unsigned count;
    struct key keys[CHECK_LEASES_MAX];
};

static void mark_held(struct check *check, int64_t queue_id, const struct receipt *receipt) {
    for (unsigned i = 0; i < check->count; i++) {
        struct key *key = &check->keys[i];
        if (key->queue_id == queue_id && key->receipt.seq == receipt->seq &&
            key->receipt.place == receipt->place)
            key->is_held = true;
    }
}

static void on_checked(struct request *request) {
    struct check *check = request->context;
    struct receivers *receivers = check->receivers;
    const PGresult *result = request->steps[0].result;
    receivers->checking[check->memory ? KV_MEMORY : KV_HDD] = false;
    for (int i = 0; i < result_rows(result); i++) {
        struct receipt receipt = {.place = result_int8(result, i, 1),
                                  .seq = result_int8(result, i, 2),
                                  .lease = result_int8(result, i, 3)};
        mark_held(check, result_int8(result, i, 0), &receipt);
    }
    for (unsigned i = 0; request->outcome == OUTCOME_OK && i < check->count; i++)
        if (!check->keys[i].is_held)
            consumers_credit(receivers, check->keys[i].queue_id, &check->keys[i].receipt);
    request_done(request);
    free(check);
}

static void send_check(struct receivers *receivers, struct check *check, bool memory) {
    struct params *params = request_add(&check->request, SQL_LEASES_READ, memory);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < check->count; i++)
        params_add_int8(params, check->keys[i].queue_id);
    params_array_end(params);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < check->count; i++)
        params_add_int8(params, check->keys[i].receipt.place);
    params_array_end(params);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < check->count; i++)
        params_add_int8(params, check->keys[i].receipt.seq);
    params_array_end(params);
    params_array(params, PARAMS_INT8);
    for (unsigned i = 0; i < check->count; i++)
        params_add_int8(params, check->keys[i].receipt.lease);
    params_array_end(params);
    check->receivers = receivers;
    check->memory = memory;
    check->request.deadline_ms = clock_steady_ms() + receivers->engine->options.timeout_ms;
    check->request.done = on_checked;
    check->request.context = check;
    receivers->checking[memory ? KV_MEMORY : KV_HDD] = true;
    pool_send(receivers->engine->pool, &check->request);
}

/* Those behind `last` come first from now on. */
static void rotate(struct consumer *consumer, struct lease *last) {
    struct lease *rest = last->next, *end = rest;
    while (end->next)
        end = end->next;
    end->next = consumer->leases;
    consumer->leases->prev = end;
    consumer->leases = rest;
    rest->prev = NULL;
    last->next = NULL;
}

/* As many as there is room for; the others have their turn the next time. */
static void add_leases(struct check *check, struct consumer *consumer) {
    struct lease *lease = consumer->leases, *last = NULL;
    for (; lease && check->count < CHECK_LEASES_MAX; lease = lease->next) {
        check->keys[check->count++] =
            (struct key){.queue_id = lease->queue_id, .receipt = lease->receipt};
        last = lease;
    }
    if (lease && last)
        rotate(consumer, last);
}

static struct check *check_new(void) {
    struct check *check = malloc(sizeof *check);
    if (check) {
        request_init(&check->request);
        check->count = 0;
    }
    return check;
}

void consumers_check(struct receivers *receivers, int64_t now_ms) {
    struct check *checks[KV_STORAGES] = {NULL};
    for (struct consumer *consumer = receivers->starved; consumer; consumer = consumer->next) {
        int storage = rqueue_is_memory(consumer->at) ? KV_MEMORY : KV_HDD;
        if (consumer->check_ms > now_ms || receivers->checking[storage])
            continue;
        if (!checks[storage])
            checks[storage] = check_new();
        if (!checks[storage] || checks[storage]->count == CHECK_LEASES_MAX)
            continue;
        add_leases(checks[storage], consumer);
        if (consumer->backoff_ms < CHECK_MAX_MS)
            consumer->backoff_ms *= 2;
        consumer->check_ms = now_ms + consumer->backoff_ms;
    }
    for (int storage = 0; storage < KV_STORAGES; storage++)
        if (checks[storage])
            send_check(receivers, checks[storage], storage == KV_MEMORY);
}

void consumers_free(struct receivers *receivers) {
    for (size_t i = 0; i < receivers->lease_room; i++)
        while (receivers->leases[i])
            consumer_leave(receivers, receivers->leases[i]->consumer);
    free(receivers->leases);
}
