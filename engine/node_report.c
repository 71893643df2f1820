/* SPDX-License-Identifier: MIT */
/* Figures for /stats: asked of the database at most once a second, however many ask. */
#include "engine/node_inside.h"

#include <string.h>

#define FRESH_MS 1000

enum { STEP_NODES, STEP_HDD, STEP_MEMORY };

struct report {
    struct node *node;
    struct work_list waiting;
    struct request request;
    bool busy;
    int64_t fresh_ms; /* monotonic: until then what is known will do */
    uint64_t keys[KV_STORAGES], messages[KV_STORAGES];
    struct broker_stats others; /* what the other nodes counted */
    struct engine_node *nodes;
    unsigned node_count;
};

static void answer(struct report *report, struct work *work, enum err err) {
    struct engine_report *to = work->report;
    struct topology *topology = report->node->engine->topology;
    const struct broker_stats *others = &report->others;
    size_t size = report->node_count * sizeof *report->nodes;
    free(work);
    to->nodes = arena_alloc(to->arena, size + 1);
    to->err = err ? err : to->nodes ? OK : ERR_OUT_OF_MEMORY;
    if (!to->err) {
        if (size)
            memcpy(to->nodes, report->nodes, size);
        to->node_count = report->node_count;
        node_sum(report->node->engine, &to->broker);
        to->broker.published += others->published;
        to->broker.delivered += others->delivered;
        to->broker.acked += others->acked;
        to->broker.unroutable += others->unroutable;
        to->broker.routers = topology_router_count(topology);
        to->broker.queues = topology_queue_count(topology);
        for (unsigned i = 0; i < KV_STORAGES; i++) {
            to->kv[i] = (struct kv_stats){.keys = report->keys[i]};
            to->broker.messages += report->messages[i];
        }
    }
    to->done(to);
}

static void answer_all(struct report *report, enum err err) {
    struct work *work;
    while ((work = work_list_take(&report->waiting)))
        answer(report, work, err);
}

static enum err take_nodes(struct report *report, const PGresult *result) {
    int rows = result_rows(result);
    struct engine_node *nodes = calloc((size_t)rows + 1, sizeof *nodes);
    char own[37] = "";
    if (!nodes)
        return ERR_OUT_OF_MEMORY;
    text_uuid_format(&report->node->engine->id, own);
    report->others = (struct broker_stats){0};
    for (int i = 0; i < rows; i++) {
        node_read_row(result, i, &nodes[i]);
        if (strcmp(own, nodes[i].id) == 0)
            continue;
        report->others.published += (uint64_t)result_int8(result, i, 5);
        report->others.delivered += (uint64_t)result_int8(result, i, 6);
        report->others.acked += (uint64_t)result_int8(result, i, 7);
        report->others.unroutable += (uint64_t)result_int8(result, i, 8);
    }
    free(report->nodes);
    report->nodes = nodes;
    report->node_count = (unsigned)rows;
    return OK;
}

static void on_answer(struct request *request) {
    struct report *report = request->context;
    report->busy = false;
    enum err err = request->outcome == OUTCOME_OK
                       ? take_nodes(report, request->steps[STEP_NODES].result)
                       : engine_err_of(request, false);
    if (err) {
        answer_all(report, err);
        return;
    }
    for (unsigned i = 0; i < KV_STORAGES; i++) {
        const PGresult *counts = request->steps[i == KV_MEMORY ? STEP_MEMORY : STEP_HDD].result;
        report->keys[i] = (uint64_t)result_int8(counts, 0, 0);
        report->messages[i] = (uint64_t)result_int8(counts, 0, 1);
    }
    report->fresh_ms = clock_steady_ms() + FRESH_MS;
    answer_all(report, OK);
}

void report_take(struct report *report, struct work *work) {
    struct engine *engine = report->node->engine;
    if (clock_steady_ms() < report->fresh_ms) {
        answer(report, work, OK);
        return;
    }
    work_list_add(&report->waiting, work);
    if (report->busy)
        return;
    report->busy = true;
    request_done(&report->request);
    request_init(&report->request);
    request_add(&report->request, SQL_NODES_READ, false);
    request_add(&report->request, SQL_MESSAGE_COUNT, false);
    request_add(&report->request, SQL_MESSAGE_COUNT, true);
    report->request.deadline_ms = work->deadline_ms;
    report->request.done = on_answer;
    report->request.context = report;
    pool_send(engine->pool, &report->request);
}

struct report *report_new(struct node *node) {
    struct report *report = calloc(1, sizeof *report);
    if (!report)
        return NULL;
    report->node = node;
    work_list_init(&report->waiting);
    request_init(&report->request);
    return report;
}

void report_free(struct report *report) {
    if (!report)
        return;
    request_done(&report->request);
    free(report->nodes);
    free(report);
}
