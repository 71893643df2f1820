/* SPDX-License-Identifier: MIT */
#include "server/metrics_page.h"

#include "base/clock.h"
#include "journal/datadir.h"
#include "kv/feed.h"
#include "server/limits.h"
#include "server/metrics.h"

static const char *const door_names[METRICS_DOORS] = {
    [METRICS_LINE] = "line",
    [METRICS_REST] = "http_rest",
    [METRICS_RPC] = "http_rpc",
    [METRICS_OLIVIA] = "olivia",
};

static const char *const core_door_names[DOOR_COUNT] = {
    [DOOR_LINE] = "line", [DOOR_HTTP] = "http", [DOOR_OLIVIA] = "olivia"};

static const char *const storage_names[KV_STORAGES] = {[KV_MEMORY] = "memory", [KV_HDD] = "hdd"};

static void label(struct page *page, const char *name, const char *value) {
    page_label(page, name, slice_of_cstr(value));
}

/* ---- requests ---- */

/* Several errors are told by one word: they are one code, that of the first. */
static enum err code_of(enum err err) {
    enum err first = OK;
    if (err)
        first = (enum err)(ERR_WOULD_WAIT + 1);
    while (first != err && strcmp(err_word(first), err_word(err)) != 0)
        first++;
    return first;
}

/* Outcomes of one operation at one door, or of all: by code. */
struct outcomes {
    uint64_t by_code[ERR_COUNT];
};

static void add_outcomes(struct metrics *metrics, unsigned cell, struct outcomes *to) {
    to->by_code[OK] += metrics_read(metrics, cell + METRICS_OUTCOMES);
    for (unsigned err = ERR_WOULD_WAIT + 1; err < ERR_COUNT; err++)
        to->by_code[code_of((enum err)err)] += metrics_read(metrics, cell + METRICS_OUTCOMES + err);
}

static const char *code_word(unsigned code) {
    return code == OK ? "OK" : err_word((enum err)code);
}

static void write_requests(struct page *page, struct metrics *metrics) {
    page_family(page, F_hati_requests);
    for (unsigned door = 0; door < METRICS_DOORS; door++)
        for (unsigned op = 0; op < metrics_op_count(); op++) {
            struct outcomes outcomes = {0};
            add_outcomes(metrics, metrics_op_cell((enum metrics_door)door, op), &outcomes);
            for (unsigned code = 0; code < ERR_COUNT; code++) {
                if (outcomes.by_code[code] == 0)
                    continue;
                page_begin(page, "");
                label(page, "door", door_names[door]);
                label(page, "operation", metrics_op_name(op));
                label(page, "code", code_word(code));
                page_number(page, outcomes.by_code[code]);
            }
        }
}

static uint64_t read_latency(struct metrics *metrics, unsigned cell, struct metrics_counts *to) {
    uint64_t count = 0;
    for (unsigned i = 0; i <= METRICS_LATENCY_BOUNDS; i++) {
        to->buckets[i] = metrics_read(metrics, cell + METRICS_BUCKETS + i);
        count += to->buckets[i];
    }
    to->sum = metrics_read(metrics, cell + METRICS_SUM_NS);
    return count;
}

static void write_latencies(struct page *page, struct metrics *metrics) {
    page_family(page, F_hati_request_duration_seconds);
    for (unsigned door = 0; door < METRICS_DOORS; door++)
        for (unsigned op = 0; op < metrics_op_count(); op++) {
            struct metrics_counts counts;
            if (!read_latency(metrics, metrics_op_cell((enum metrics_door)door, op), &counts))
                continue;
            const struct page_label labels[] = {
                {"door", door_names[door]}, {"operation", metrics_op_name(op)}, {NULL, NULL}};
            page_histogram(page, labels, &metrics_latency_bounds, &counts);
        }
}

/* Every code is there from the start: what does not exist cannot be alarmed on. */
static void write_refusals(struct page *page, struct metrics *metrics) {
    struct outcomes all = {0};
    for (unsigned door = 0; door < METRICS_DOORS; door++)
        for (unsigned op = 0; op < metrics_op_count(); op++)
            add_outcomes(metrics, metrics_op_cell((enum metrics_door)door, op), &all);
    page_family(page, F_hati_refusals);
    for (unsigned code = ERR_WOULD_WAIT + 1; code < ERR_COUNT; code++) {
        if (code_of((enum err)code) != code)
            continue;
        page_begin(page, "");
        label(page, "code", code_word(code));
        page_number(page, all.by_code[code]);
    }
}

static void write_door_cells(struct page *page, struct metrics *metrics, enum family family,
                             enum metrics_door_cell cell) {
    page_family(page, family);
    for (unsigned door = 0; door < METRICS_DOORS; door++) {
        page_begin(page, "");
        label(page, "door", door_names[door]);
        page_number(page, metrics_read(metrics, metrics_door_cell((enum metrics_door)door, cell)));
    }
}

static void write_connections(struct page *page, struct core *core) {
    page_family(page, F_hati_connections);
    for (unsigned door = 0; door < DOOR_COUNT; door++) {
        page_begin(page, "");
        label(page, "door", core_door_names[door]);
        page_number(page, atomic_load(&core->doors[door].connections));
    }
}

static void write_limits(struct page *page, struct core *core) {
    page_family(page, F_hati_limited);
    for (unsigned reason = 0; reason < LIMITS_REASONS; reason++) {
        page_begin(page, "");
        label(page, "reason", limits_reason_name((enum limits_reason)reason));
        page_number(page, limits_noted(core->limits, (enum limits_reason)reason));
    }
    page_single(page, F_hati_limited_clients, limits_known(core->limits));
}

static void write_doors(struct page *page, struct core *core) {
    if (core->metrics) {
        write_requests(page, core->metrics);
        write_latencies(page, core->metrics);
        write_refusals(page, core->metrics);
    }
    write_limits(page, core);
    if (core->metrics) {
        write_door_cells(page, core->metrics, F_hati_received_bytes, METRICS_IN_BYTES);
        write_door_cells(page, core->metrics, F_hati_sent_bytes, METRICS_OUT_BYTES);
    }
    write_connections(page, core);
    if (core->metrics)
        write_door_cells(page, core->metrics, F_hati_parked_calls, METRICS_PARKED);
}

/* ---- storages ---- */

static void write_storage(struct page *page, enum family family,
                          const uint64_t values[KV_STORAGES]) {
    page_family(page, family);
    for (unsigned i = 0; i < KV_STORAGES; i++) {
        page_begin(page, "");
        label(page, "storage", storage_names[i]);
        page_number(page, values[i]);
    }
}

/* A database tells keys alone. */
static void write_storages(struct page *page, const struct metrics_source *source) {
    struct kv_stats stats[KV_STORAGES];
    uint64_t keys[KV_STORAGES], bytes[KV_STORAGES], expired[KV_STORAGES];
    if (source->core->engine && !source->report)
        return;
    for (unsigned i = 0; i < KV_STORAGES; i++) {
        stats[i] = (struct kv_stats){0};
        if (source->report)
            stats[i] = source->report->kv[i];
        else
            kv_stats(source->core->kv, (enum kv_storage)i, &stats[i]);
        keys[i] = stats[i].keys;
        bytes[i] = stats[i].bytes;
        expired[i] = stats[i].expired;
    }
    write_storage(page, F_hati_keys, keys);
    if (source->report)
        return;
    write_storage(page, F_hati_storage_bytes, bytes);
    page_single(page, F_hati_memory_limit_bytes, source->memory_limit_bytes);
    write_storage(page, F_hati_expired_keys, expired);
    page_single(page, F_hati_evicted_keys, stats[KV_MEMORY].evicted);
    page_single(page, F_hati_hdd_damaged, stats[KV_HDD].damaged);
}

static void write_watch(struct page *page, struct kv *kv) {
    struct feed_figures figures;
    feed_figures(kv, &figures);
    page_single(page, F_hati_watchers, figures.readers);
    page_single(page, F_hati_watched_namespaces, figures.feeds);
    page_single(page, F_hati_watch_log_bytes, figures.log_bytes);
    page_single(page, F_hati_watch_changes, figures.changes);
    page_single(page, F_hati_watch_resyncs, figures.resyncs);
}

static void write_journal(struct page *page, struct datadir *datadir) {
    static const struct page_label no_labels[] = {{NULL, NULL}};
    struct datadir_figures figures;
    datadir_figures(datadir, &figures);
    page_family(page, F_hati_commit_batch_jobs);
    page_histogram(page, no_labels, &committer_jobs_bounds, &figures.committer.jobs);
    page_family(page, F_hati_journal_sync_duration_seconds);
    page_histogram(page, no_labels, &committer_sync_bounds, &figures.committer.sync_ns);
    page_single(page, F_hati_journal_written_bytes, figures.journal.written_bytes);
    page_single(page, F_hati_journal_segments, figures.journal.segments);
    page_single(page, F_hati_journal_segments_bytes, figures.journal.segment_bytes);
    page_single(page, F_hati_journal_lag_records, figures.lag_records);
}

/* ---- the engine ---- */

static void write_state(struct page *page, const char *state, uint64_t count) {
    page_begin(page, "");
    label(page, "state", state);
    page_number(page, count);
}

static void write_engine(struct page *page, const struct metrics_source *source) {
    struct engine_figures figures;
    uint64_t alive = 0;
    engine_figures(source->core->engine, &figures);
    page_family(page, F_hati_engine_connections);
    write_state(page, "connecting", figures.connecting);
    write_state(page, "idle", figures.idle);
    write_state(page, "busy", figures.busy);
    page_single(page, F_hati_engine_waiting_requests, figures.waiting);
    page_single(page, F_hati_engine_transactions_in_flight, figures.in_flight);
    page_single(page, F_hati_engine_transactions, figures.transactions);
    page_single(page, F_hati_engine_retries, figures.retries);
    if (!source->report)
        return;
    for (unsigned i = 0; i < source->report->node_count; i++)
        alive += source->report->nodes[i].alive;
    page_single(page, F_hati_engine_nodes, alive);
}

static void write_tokens(struct page *page, struct auth *auth) {
    uint64_t hits = 0;
    uint64_t misses = 0;
    if (auth)
        auth_stats(auth, &hits, &misses);
    page_single(page, F_hati_token_cache_hits, hits);
    page_single(page, F_hati_token_cache_misses, misses);
}

static void write_dropped(struct page *page, const char *reason, uint64_t count) {
    page_begin(page, "");
    label(page, "reason", reason);
    page_number(page, count);
}

static void write_traces(struct page *page, const struct core *core) {
    struct trace_figures figures;
    if (core->tracer) {
        trace_figures(core->tracer, &figures);
        page_single(page, F_hati_spans_exported, figures.exported);
        page_family(page, F_hati_spans_dropped);
        write_dropped(page, "full", figures.dropped_full);
        write_dropped(page, "away", figures.dropped_away);
        write_dropped(page, "refused", figures.refused);
        page_single(page, F_hati_spans_waiting, figures.waiting);
    }
    page_single(page, F_hati_traces_left_out, atomic_load(&core->traces_left_out));
}

static void write_server(struct page *page, const struct metrics_source *source) {
    int64_t uptime_ms = clock_steady_ms() - source->core->started_steady_ms;
    page_family(page, F_hati_build);
    page_begin(page, "");
    label(page, "version", HATI_VERSION);
    page_number(page, 1);
    page_family(page, F_hati_uptime_seconds);
    page_begin(page, "");
    page_seconds(page, (uint64_t)uptime_ms * 1000000);
    page_single(page, F_hati_ready,
                atomic_load(&source->core->ready) && !atomic_load(&source->core->draining) &&
                    kv_is_ready(source->core->kv));
}

void metrics_page_write(struct page *page, const struct metrics_source *source) {
    write_server(page, source);
    write_doors(page, source->core);
    write_storages(page, source);
    write_watch(page, source->core->kv);
    metrics_page_broker(page, source);
    if (source->core->datadir)
        write_journal(page, source->core->datadir);
    if (source->core->engine)
        write_engine(page, source);
    write_tokens(page, source->core->auth);
    write_traces(page, source->core);
    metrics_page_process(page, source->core);
    page_end(page);
}
