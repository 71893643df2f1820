/* SPDX-License-Identifier: MIT */
/* Gathering: which of the waiting works go together, and which have to wait for those in flight. */
#include "engine/txn.h"

#include <string.h>

#include "engine/receive.h"
#include "engine/topology.h"
#include "engine/txn_inside.h"

#define FLIGHTS_MAX 2U /* transactions of a writer at a time */
#define SCAN_MAX 4096U /* waiting works looked at for one transaction */
#define TXN_ARENA_MAX (1U << 30)

/* ---- sets of hashes ---- */

struct hashes {
    uint64_t *slots;
    size_t room, count; /* room: a power of two */
};

static bool hashes_grow(struct hashes *set) {
    struct hashes grown = {.room = set->room ? 2 * set->room : 64};
    grown.slots = calloc(grown.room, sizeof *grown.slots);
    if (!grown.slots)
        return false;
    for (size_t i = 0; i < set->room; i++) {
        size_t at = set->slots[i] & (grown.room - 1);
        while (set->slots[i] && grown.slots[at])
            at = (at + 1) & (grown.room - 1);
        if (set->slots[i])
            grown.slots[at] = set->slots[i];
    }
    grown.count = set->count;
    free(set->slots);
    *set = grown;
    return true;
}

static bool hashes_has(const struct hashes *set, uint64_t hash) {
    if (set->count == 0 || hash == 0)
        return false;
    size_t at = hash & (set->room - 1);
    while (set->slots[at] && set->slots[at] != hash)
        at = (at + 1) & (set->room - 1);
    return set->slots[at] != 0;
}

static bool hashes_add(struct hashes *set, uint64_t hash) {
    if (hash == 0 || hashes_has(set, hash))
        return true;
    if (2 * (set->count + 1) > set->room && !hashes_grow(set))
        return false;
    size_t at = hash & (set->room - 1);
    while (set->slots[at])
        at = (at + 1) & (set->room - 1);
    set->slots[at] = hash;
    set->count++;
    return true;
}

static bool hashes_share(const struct hashes *set, const struct work *work) {
    for (unsigned i = 0; i < work_op_count(work); i++)
        if (hashes_has(set, work_conflict(work, i)))
            return true;
    return false;
}

static bool hashes_add_work(struct hashes *set, const struct work *work) {
    bool added = true;
    for (unsigned i = 0; i < work_op_count(work); i++)
        added &= hashes_add(set, work_conflict(work, i));
    return added;
}

/* ---- one transaction ---- */

static struct txn *txn_new(struct writer *writer) {
    struct txn *txn = calloc(1, sizeof *txn);
    if (!txn)
        return NULL;
    txn->engine = writer->engine;
    txn->writer = writer;
    txn->memory = writer->memory;
    work_list_init(&txn->works);
    arena_init(&txn->arena, TXN_ARENA_MAX);
    request_init(&txn->request);
    return txn;
}

static void txn_take(struct txn *txn, struct work *work) {
    txn->op_count += work_op_count(work);
    txn->bytes += work_bytes(work);
    if (work->deadline_ms > txn->deadline_ms)
        txn->deadline_ms = work->deadline_ms;
    work_list_add(&txn->works, work);
}

static void txn_unlink(struct txn *txn) {
    struct txn **at = &txn->writer->flights;
    while (*at != txn)
        at = &(*at)->next;
    *at = txn->next;
    txn->writer->flight_count--;
    atomic_fetch_sub_explicit(&txn->engine->in_flight, 1, memory_order_relaxed);
}

static void txn_free(struct txn *txn) {
    request_done(&txn->request);
    arena_done(&txn->arena);
    free(txn);
}

void writer_end_txn(struct txn *txn) {
    struct writer *writer = txn->writer;
    txn_unlink(txn);
    txn_free(txn);
    writer_go_on(writer);
}

void writer_split_txn(struct txn *txn) {
    struct writer *writer = txn->writer;
    for (struct work *work = txn->works.first; work; work = work->next)
        work->alone = true;
    work_list_put_back(&writer->waiting, &txn->works);
    txn_unlink(txn);
    txn_free(txn);
    writer_go_on(writer);
}

/* ---- gathering ---- */

static void topology_changed(void *context) {
    struct work *work = context;
    struct writer *writer = work->writer;
    struct broker_op *op = &work->messages->ops[0];
    writer->barrier = false;
    work_end(work, op->err);
    writer_go_on(writer);
}

static bool is_of_action(const struct work *work, enum broker_action from, enum broker_action to) {
    return work->kind == WORK_MESSAGES && work->messages->ops[0].action >= from &&
           work->messages->ops[0].action <= to;
}

static bool is_topology(const struct work *work) {
    return is_of_action(work, BROKER_CREATE_ROUTER, BROKER_PAUSE);
}

static void start_topology(struct writer *writer, struct work *work) {
    writer->barrier = true;
    work->writer = writer;
    topology_change(writer->engine->topology, &work->messages->ops[0], work->deadline_ms,
                    topology_changed, work);
}

/* Takes a work out of the list; at: the link that holds it. */
static void unhang(struct work_list *list, struct work **at) {
    struct work *work = *at;
    *at = work->next;
    if (!*at)
        list->last = at;
}

/* What is looked at while one transaction is gathered. */
struct gathering {
    struct writer *writer;
    struct txn *txn;
    struct hashes busy; /* of those in flight, and of what stays behind */
    bool stays_behind;  /* something does */
    bool full;
};

static bool fits(const struct txn *txn, const struct work *work) {
    return !txn->works.first || (txn->op_count + work_op_count(work) <= TXN_OPS_MAX &&
                                 txn->bytes + work_bytes(work) <= TXN_BYTES_MAX);
}

/* Whether the work may come along; what may not is in the way of what is behind it. */
static bool may_take(struct gathering *gathering, const struct work *work) {
    struct txn *txn = gathering->txn;
    bool apart = work->alone || work_is_exclusive(work);
    if (apart && (txn->works.first || gathering->stays_behind))
        gathering->full = true;
    if (work_is_exclusive(work) && gathering->writer->flights)
        gathering->full = true;
    if (gathering->full)
        return false;
    if (hashes_share(&gathering->busy, work)) {
        gathering->stays_behind = true;
        gathering->full = !hashes_add_work(&gathering->busy, work);
        return false;
    }
    if (!fits(txn, work)) {
        gathering->full = true;
        return false;
    }
    if (apart)
        gathering->full = true;
    return true;
}

static void gather(struct gathering *gathering, struct work_list *list, bool jobs) {
    struct writer *writer = gathering->writer;
    struct work **at = &list->first;
    for (unsigned scanned = 0; *at && !gathering->full && scanned < SCAN_MAX; scanned++) {
        struct work *work = *at;
        bool topology = !jobs && is_topology(work);
        bool redrive = !jobs && is_of_action(work, BROKER_REDRIVE, BROKER_REDRIVE);
        if (topology || redrive) { /* by itself, with nothing before it under way */
            if (gathering->txn->works.first || gathering->stays_behind || writer->flights)
                return;
            unhang(list, at);
            if (topology)
                start_topology(writer, work);
            else
                redrive_start(writer->engine, work);
            if (writer->barrier)
                return;
            at = &list->first;
            continue;
        }
        if (!may_take(gathering, work)) {
            at = &work->next;
            continue;
        }
        unhang(list, at);
        txn_take(gathering->txn, work);
    }
}

/* True where a transaction was started. */
static bool start_one(struct writer *writer) {
    struct gathering gathering = {.writer = writer, .txn = txn_new(writer)};
    if (!gathering.txn)
        return false;
    for (const struct txn *txn = writer->flights; txn; txn = txn->next)
        for (const struct work *work = txn->works.first; work; work = work->next) {
            gathering.full |= work_is_exclusive(work);
            gathering.full |= !hashes_add_work(&gathering.busy, work);
        }
    gather(&gathering, &writer->jobs, true);
    if (!writer->barrier)
        gather(&gathering, &writer->waiting, false);
    free(gathering.busy.slots);
    struct txn *txn = gathering.txn;
    if (!txn->works.first) {
        txn_free(txn);
        return false;
    }
    txn->next = writer->flights;
    writer->flights = txn;
    writer->flight_count++;
    atomic_fetch_add_explicit(&writer->engine->in_flight, 1, memory_order_relaxed);
    txn_begin(txn);
    return true;
}

/* Ends of works may bring new ones: one call at a time goes through all of them. */
void writer_go_on(struct writer *writer) {
    if (writer->assembling)
        return;
    writer->assembling = true;
    while (writer->flight_count < FLIGHTS_MAX && (writer->jobs.first || writer->waiting.first) &&
           start_one(writer)) {
    }
    writer->assembling = false;
}

/* ---- the writer ---- */

struct writer *writer_new(struct engine *engine, bool memory) {
    struct writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return NULL;
    writer->engine = engine;
    writer->memory = memory;
    work_list_init(&writer->waiting);
    work_list_init(&writer->jobs);
    return writer;
}

void writer_free(struct writer *writer) {
    free(writer);
}

/* Started once the mailbox is empty: what came together goes together. */
void writer_take(struct writer *writer, struct work *work) {
    work_list_add(work->kind == WORK_JOB ? &writer->jobs : &writer->waiting, work);
}

void writer_add_job(struct writer *writer, struct txn_job *job) {
    struct work *work = calloc(1, sizeof *work);
    if (!work) {
        job->done(job, ERR_OUT_OF_MEMORY);
        return;
    }
    work->kind = WORK_JOB;
    work->job = job;
    work->deadline_ms = clock_steady_ms() + writer->engine->options.timeout_ms;
    writer_take(writer, work);
    writer_go_on(writer);
}

/* What waits too long behind others was not begun. They wait in the order in which they came: the
 * first is the first to be late. */
void writer_tick(struct writer *writer, int64_t now_ms) {
    struct work_list *lists[] = {&writer->waiting, &writer->jobs};
    struct work_list late;
    struct work *work;
    work_list_init(&late);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (lists[i]->first && lists[i]->first->deadline_ms <= now_ms)
            work_list_take_late(lists[i], now_ms, &late);
    while ((work = work_list_take(&late)))
        work_end(work, ERR_UNAVAILABLE);
    writer_go_on(writer);
}

bool writer_is_idle(const struct writer *writer) {
    return !writer->flights && !writer->waiting.first && !writer->jobs.first && !writer->barrier;
}
