/* SPDX-License-Identifier: MIT */
/* GET /metrics, for those who may read /stats; and what this door counts of its requests. */
#include "server/http_request.h"

#include "base/clock.h"
#include "server/metrics_page.h"

#define TYPE_TEXT "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* ---- counting ---- */

static enum metrics_door door_of(const struct http_request *request) {
    return request->match.target == TARGET_RPC ? METRICS_RPC : METRICS_REST;
}

static enum metrics_other other_of(const struct http_request *request) {
    if (request->refusal || request->method == HTTP_OPTIONS)
        return request->refusal ? METRICS_NONE : METRICS_PREFLIGHT;
    switch (request->match.target) {
    case TARGET_STREAM:
        return METRICS_STREAM;
    case TARGET_WATCH:
        return METRICS_WATCH;
    case TARGET_TICKETS:
        return METRICS_TICKETS;
    case TARGET_KVSTORE:
        return METRICS_KVSTORE;
    case TARGET_SNAPSHOT:
        return METRICS_SNAPSHOT;
    case TARGET_METRICS:
        return METRICS_PAGE;
    case TARGET_STATUS:
    case TARGET_HEALTH:
    case TARGET_READY:
        return METRICS_PROBE;
    case TARGET_POKE:
        return METRICS_POKE;
    case TARGET_PAGE:
    case TARGET_ROOT:
        return METRICS_CONSOLE;
    case TARGET_OPENAPI:
    case TARGET_OPENRPC:
        return METRICS_DOCUMENT;
    case TARGET_OP:
    case TARGET_RPC:
        break;
    }
    return METRICS_NONE;
}

void http_count_answer(struct http_request *request) {
    struct metrics *metrics = request->server->core->metrics;
    if (request->counted)
        return;
    request->counted = true;
    http_trace_end(request);
    if (!metrics)
        return;
    if (request->answers_rpc) {
        rpc_count_answer(&request->rpc);
        return;
    }
    const struct op *op = request->match.target == TARGET_OP ? request->match.op : NULL;
    metrics_count(metrics_shard(metrics), door_of(request), metrics_op(op, other_of(request)),
                  request->outcome, 1, clock_steady_ns() - request->started_ns);
}

void http_count_bytes(struct http_request *request) {
    struct metrics_shard *shard = metrics_shard(request->server->core->metrics);
    metrics_count_door(shard, door_of(request), METRICS_IN_BYTES, request->in_bytes);
    metrics_count_door(shard, door_of(request), METRICS_OUT_BYTES, request->out_bytes);
}

void http_count_parked(struct http_request *request, bool is_parked) {
    metrics_count_door(metrics_shard(request->server->core->metrics), door_of(request),
                       METRICS_PARKED, is_parked ? 1 : UINT64_MAX);
    http_trace_parked(request, is_parked);
}

/* ---- the page ---- */

static struct slice accept_of(struct http_request *request) {
    const char *accept =
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    return slice_of_cstr(accept ? accept : "");
}

static enum MHD_Result reply_page(struct http_request *request,
                                  const struct engine_report *report) {
    struct metrics_source source = {
        .core = request->server->core,
        .memory_limit_bytes = request->server->config->memory_limit_bytes,
        .now_ms = request->now_ms,
        .arena = &request->arena,
        .report = report,
    };
    struct page page = {.to = &request->answer,
                        .openmetrics = metrics_wants_openmetrics(accept_of(request))};
    buf_init(&request->answer, METRICS_PAGE_BYTES_MAX);
    metrics_page_write(&page, &source);
    if (request->answer.failed)
        return http_reply_error(request, ERR_OUT_OF_MEMORY, "the page is too large");
    return http_reply_kept(request, MHD_HTTP_OK, page.openmetrics ? TYPE_OPENMETRICS : TYPE_TEXT,
                           buf_slice(&request->answer));
}

static enum MHD_Result finish(struct http_request *request) {
    const struct engine_report *report = request->report;
    return reply_page(request, report->err ? NULL : report);
}

static void on_report(struct engine_report *report) {
    http_request_wake(report->context);
}

/* Where the database is away the page is there at once: it is what tells so. */
static bool is_worth_asking(struct engine *engine) {
    struct engine_figures figures;
    engine_figures(engine, &figures);
    return figures.idle + figures.busy > 0;
}

static enum MHD_Result ask_engine(struct http_request *request) {
    struct engine_report *report = arena_alloc(&request->arena, sizeof *report);
    if (!report)
        return http_reply_error(request, ERR_OUT_OF_MEMORY, NULL);
    *report =
        (struct engine_report){.arena = &request->arena, .done = on_report, .context = request};
    request->report = report;
    http_request_begin_work(request);
    if (engine_ask_report(request->server->core->engine, report) == ERR_PENDING)
        return http_request_park(request, finish);
    http_request_settle(request);
    return finish(request);
}

enum MHD_Result http_metrics_run(struct http_request *request) {
    struct engine *engine = request->server->core->engine;
    enum err err = auth_allows(request->grant, AUTH_ADMIN, SLICE("default"), request->now_ms);
    if (err)
        return http_reply_error(request, err, NULL);
    return engine && is_worth_asking(engine) ? ask_engine(request) : reply_page(request, NULL);
}
