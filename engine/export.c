/* SPDX-License-Identifier: MIT */
/* Everything out, in one transaction that only reads. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/direct.h"
#include "engine/internal.h"
#include "engine/transfer.h"

#define STATEMENT_MS 30000
#define GROUP_BYTES (8LL << 20) /* of values that are asked for at once, or one value */

/* Behind which row a page goes on. */
struct place {
    struct uuid workspace;
    struct buf ns, key;
    int64_t lane, seq;
};

struct exporter {
    struct direct direct;
    struct sql_book *book;
    const struct engine_export *to;
    struct place at;
    int64_t now_ms;
    char *why;
    size_t why_bytes;
};

static enum err fail(struct exporter *exporter) {
    snprintf(exporter->why, exporter->why_bytes, "the database cannot be read: %.250s",
             exporter->direct.trouble);
    return ERR_UNAVAILABLE;
}

/* NULL: it failed. */
static PGresult *run(struct exporter *exporter, enum sql_number number, bool memory,
                     struct params *params) {
    exporter->direct.deadline_ms = clock_steady_ms() + STATEMENT_MS;
    PGresult *result =
        direct_run(&exporter->direct, exporter->book->texts[number][memory].text, params);
    if (params)
        params_done(params);
    return result;
}

/* ---- definitions ---- */

static enum err tell_queue(struct exporter *exporter, const PGresult *rows, int row) {
    const struct broker_snapshot_sink *sink = &exporter->to->queues;
    struct broker_snapshot_queue queue = {
        .name = result_bytes(rows, row, 0),
        .options = {.storage = (enum broker_storage)result_int8(rows, row, 2),
                    .overflow = (enum broker_overflow)result_int8(rows, row, 3),
                    .paused = result_bool(rows, row, 4),
                    .lease_ms = result_int8(rows, row, 5),
                    .ttl_ms = result_int8(rows, row, 6),
                    .dedup_window_ms = result_int8(rows, row, 7),
                    .max_length = (uint64_t)result_int8(rows, row, 8),
                    .max_deliver = (uint32_t)result_int8(rows, row, 9),
                    .dead_letter = result_bytes(rows, row, 10)},
    };
    return sink->queue(sink->context, &queue);
}

static enum err tell_router(struct exporter *exporter, const PGresult *rows, int row) {
    const struct broker_snapshot_sink *sink = &exporter->to->queues;
    struct broker_snapshot_router router = {
        .name = result_bytes(rows, row, 0),
        .type = (enum broker_router_type)result_int8(rows, row, 1),
    };
    if (slice_equal(router.name, SLICE("default")))
        return OK;
    return sink->router(sink->context, &router);
}

static enum err tell_binding(struct exporter *exporter, const PGresult *rows, int row) {
    const struct broker_snapshot_sink *sink = &exporter->to->queues;
    struct broker_snapshot_binding binding = {
        .router = result_bytes(rows, row, 0),
        .queue = result_bytes(rows, row, 1),
        .pattern = result_bytes(rows, row, 2),
    };
    return sink->binding(sink->context, &binding);
}

static enum err tell_all(struct exporter *exporter, const PGresult *rows,
                         enum err (*tell)(struct exporter *, const PGresult *, int)) {
    enum err err = OK;
    for (int row = 0; !err && row < result_rows(rows); row++)
        err = tell(exporter, rows, row);
    return err;
}

/* ret_queues: their ids and storages, the caller's to clear. */
static enum err tell_definitions(struct exporter *exporter, PGresult **ret_queues) {
    PGresult *queues = run(exporter, SQL_EXPORT_QUEUES, false, NULL);
    PGresult *routers = queues ? run(exporter, SQL_EXPORT_ROUTERS, false, NULL) : NULL;
    PGresult *bindings = routers ? run(exporter, SQL_EXPORT_BINDINGS, false, NULL) : NULL;
    enum err err = bindings ? OK : fail(exporter);
    if (!err)
        err = tell_all(exporter, queues, tell_queue);
    if (!err)
        err = tell_all(exporter, routers, tell_router);
    if (!err)
        err = tell_all(exporter, bindings, tell_binding);
    PQclear(routers);
    PQclear(bindings);
    *ret_queues = queues;
    return err;
}

/* ---- pages ---- */

/* How many rows from this one on are asked for together. */
static int group_of(const PGresult *page, int from, int length_column) {
    int64_t bytes = 0;
    int to = from;
    while (to < result_rows(page)) {
        bytes += result_int8(page, to, length_column) + 256;
        if (to > from && bytes > GROUP_BYTES)
            break;
        to++;
    }
    return to;
}

static bool move_to_key(struct place *at, const PGresult *page, int row) {
    result_uuid(page, row, 0, &at->workspace);
    buf_clear(&at->ns);
    buf_clear(&at->key);
    return buf_append(&at->ns, result_bytes(page, row, 1)) &&
           buf_append(&at->key, result_bytes(page, row, 2));
}

static void add_place(struct params *params, const struct place *at) {
    params_init(params);
    params_uuid(params, &at->workspace);
    params_bytea(params, buf_slice(&at->ns));
    params_bytea(params, buf_slice(&at->key));
}

static enum err tell_entries(struct exporter *exporter, const PGresult *rows, bool memory) {
    enum err err = OK;
    for (int row = 0; !err && row < result_rows(rows); row++) {
        struct kv_snapshot_entry entry = {
            .storage = memory ? KV_MEMORY : KV_HDD,
            .ns = result_bytes(rows, row, 1),
            .key = result_bytes(rows, row, result_is_null(rows, row, 3) ? 2 : 3),
            .value = result_bytes(rows, row, 4),
            .content_type = result_bytes(rows, row, 5),
            .revision = (uint64_t)result_int8(rows, row, 6),
            .expires_at_ms = result_int8(rows, row, 7),
        };
        result_uuid(rows, row, 0, &entry.workspace);
        if (entry.expires_at_ms == 0 || entry.expires_at_ms > exporter->now_ms)
            err = exporter->to->entry(exporter->to->context, &entry);
    }
    return err;
}

static enum err tell_page_of_keys(struct exporter *exporter, const PGresult *page, bool memory) {
    enum err err = OK;
    for (int row = 0; !err && row < result_rows(page);) {
        struct params params;
        struct uuid workspace;
        int end = group_of(page, row, 3);
        add_place(&params, &exporter->at);
        result_uuid(page, end - 1, 0, &workspace);
        params_uuid(&params, &workspace);
        params_bytea(&params, result_bytes(page, end - 1, 1));
        params_bytea(&params, result_bytes(page, end - 1, 2));
        PGresult *rows = run(exporter, SQL_EXPORT_ENTRIES, memory, &params);
        err = rows ? tell_entries(exporter, rows, memory) : fail(exporter);
        PQclear(rows);
        if (!err && !move_to_key(&exporter->at, page, end - 1))
            err = ERR_OUT_OF_MEMORY;
        row = end;
    }
    return err;
}

static enum err tell_keys(struct exporter *exporter, bool memory) {
    enum err err = OK;
    memset(&exporter->at.workspace, 0, sizeof exporter->at.workspace);
    buf_clear(&exporter->at.ns);
    buf_clear(&exporter->at.key);
    for (bool more = true; !err && more;) {
        struct params params;
        add_place(&params, &exporter->at);
        PGresult *page = run(exporter, SQL_EXPORT_KEYS, memory, &params);
        more = result_rows(page) > 0;
        err = page ? tell_page_of_keys(exporter, page, memory) : fail(exporter);
        PQclear(page);
    }
    return err;
}

/* One that is leased is told as ready. */
static enum err tell_messages(struct exporter *exporter, const PGresult *rows, struct slice queue) {
    const struct broker_snapshot_sink *sink = &exporter->to->queues;
    enum err err = OK;
    for (int row = 0; !err && row < result_rows(rows); row++) {
        bool is_leased = result_int8(rows, row, 3) != 0;
        int64_t due_ms = result_int8(rows, row, 2);
        struct broker_snapshot_message message = {
            .queue = queue,
            .id = result_bytes(rows, row, 7),
            .key = result_bytes(rows, row, 8),
            .headers = result_bytes(rows, row, 9),
            .payload = result_bytes(rows, row, 10),
            .reason = (enum broker_reason)result_int8(rows, row, 11),
            .from = result_bytes(rows, row, 12),
            .dead_attempt = (uint32_t)result_int8(rows, row, 13),
            .attempt = (uint32_t)result_int8(rows, row, 4),
            .priority = (uint8_t)(BROKER_PRIORITY_MAX - result_int8(rows, row, 0)),
            .published_ms = result_int8(rows, row, 6),
            .expires_ms = result_int8(rows, row, 5),
            .due_ms = is_leased ? 0 : due_ms,
        };
        err = sink->message(sink->context, &message);
    }
    return err;
}

static enum err tell_page_of_messages(struct exporter *exporter, const PGresult *page,
                                      int64_t queue, struct slice name, bool memory) {
    enum err err = OK;
    for (int row = 0; !err && row < result_rows(page);) {
        struct params params;
        int end = group_of(page, row, 2);
        params_init(&params);
        params_int8(&params, queue);
        params_int8(&params, exporter->at.lane);
        params_int8(&params, exporter->at.seq);
        exporter->at.lane = result_int8(page, end - 1, 0);
        exporter->at.seq = result_int8(page, end - 1, 1);
        params_int8(&params, exporter->at.lane);
        params_int8(&params, exporter->at.seq);
        PGresult *rows = run(exporter, SQL_EXPORT_MESSAGES, memory, &params);
        err = rows ? tell_messages(exporter, rows, name) : fail(exporter);
        PQclear(rows);
        row = end;
    }
    return err;
}

static enum err tell_queue_messages(struct exporter *exporter, const PGresult *queues, int row) {
    int64_t queue = result_int8(queues, row, 1);
    bool memory = result_int8(queues, row, 2) == BROKER_MEMORY;
    enum err err = OK;
    exporter->at.lane = exporter->at.seq = INT64_MIN;
    for (bool more = true; !err && more;) {
        struct params params;
        params_init(&params);
        params_int8(&params, queue);
        params_int8(&params, exporter->at.lane);
        params_int8(&params, exporter->at.seq);
        PGresult *page = run(exporter, SQL_EXPORT_LENGTHS, memory, &params);
        more = result_rows(page) > 0;
        err = page ? tell_page_of_messages(exporter, page, queue, result_bytes(queues, row, 0),
                                           memory)
                   : fail(exporter);
        PQclear(page);
    }
    return err;
}

/* ---- all ---- */

static enum err begin(struct exporter *exporter) {
    PGresult *begun = run(exporter, SQL_EXPORT_BEGIN, false, NULL);
    PGresult *now = begun ? run(exporter, SQL_EXPORT_NOW, false, NULL) : NULL;
    enum err err = now ? OK : fail(exporter);
    if (!err) {
        exporter->now_ms = result_int8(now, 0, 0);
        /* one more a write, where a key is written faster than the clock goes */
        uint64_t revision = (uint64_t)result_int8(now, 0, 1) + 1000000;
        err = exporter->to->begin(exporter->to->context, revision);
    }
    PQclear(begun);
    PQclear(now);
    return err;
}

static enum err tell_everything(struct exporter *exporter) {
    PGresult *queues = NULL;
    enum err err = begin(exporter);
    if (!err)
        err = tell_definitions(exporter, &queues);
    for (int row = 0; !err && row < result_rows(queues); row++)
        err = tell_queue_messages(exporter, queues, row);
    PQclear(queues);
    for (int memory = 0; !err && memory < 2; memory++)
        err = tell_keys(exporter, memory != 0);
    return err;
}

enum err engine_export(const struct engine_options *options, const struct engine_export *to,
                       char *ret_why, size_t why_bytes) {
    struct exporter exporter = {.to = to, .why = ret_why, .why_bytes = why_bytes};
    exporter.book = malloc(sizeof *exporter.book);
    if (!exporter.book || !sql_book_init(exporter.book, options->schema)) {
        free(exporter.book);
        return ERR_OUT_OF_MEMORY;
    }
    buf_init(&exporter.at.ns, KV_NAMESPACE_MAX);
    buf_init(&exporter.at.key, KV_KEY_MAX);
    enum err err =
        direct_open(&exporter.direct, options->url, clock_steady_ms() + options->timeout_ms);
    err = err ? fail(&exporter) : tell_everything(&exporter);
    direct_close(&exporter.direct);
    buf_done(&exporter.at.ns);
    buf_done(&exporter.at.key);
    sql_book_done(exporter.book);
    free(exporter.book);
    return err;
}
