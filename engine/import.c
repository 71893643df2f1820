/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "engine/direct.h"
#include "engine/internal.h"
#include "engine/keyspace.h"

#define STATEMENT_MS 60000
#define TRIES_MAX 8U
#define SHOWN_MAX 60 /* bytes of a key in a line about it */

struct importer {
    struct direct direct;
    const struct engine_options *options;
    struct engine_import *import;
    char *read_text, *write_text;
    /* where the next page begins: behind this key */
    struct uuid workspace;
    struct buf ns, key;
    char *why;
    size_t why_bytes;
};

static enum err fail(struct importer *importer, const char *doing) {
    snprintf(importer->why, importer->why_bytes, "%s: %.250s", doing, importer->direct.trouble);
    return ERR_UNAVAILABLE;
}

/* The statement's text with the schemas in it. */
static char *fill(const struct importer *importer, enum sql_number number) {
    char *own = sql_fill(sql_row(number)->text, importer->options->schema, false);
    char *from = sql_fill("{s}", importer->import->from_schema, false);
    struct buf to;
    buf_init(&to, 65536);
    const char *rest = own;
    for (const char *gap; own && from && (gap = strstr(rest, "{f}")) != NULL; rest = gap + 3) {
        buf_append(&to, slice_make(rest, (size_t)(gap - rest)));
        buf_append(&to, slice_of_cstr(from));
    }
    bool made = own && from && buf_append(&to, slice_make(rest, strlen(rest) + 1));
    free(own);
    free(from);
    if (!made || to.failed) {
        buf_done(&to);
        return NULL;
    }
    return to.ptr;
}

/* Again, on another connection where need be: pages may be read and written twice. */
static PGresult *run(struct importer *importer, const char *text, const struct params *params) {
    struct direct *direct = &importer->direct;
    PGresult *result = NULL;
    for (unsigned i = 0; !result && i < TRIES_MAX; i++) {
        if (i && direct->sqlstate[0] && !direct_may_retry(direct))
            break;
        int64_t now_ms = clock_steady_ms();
        if (!direct->conn &&
            direct_open(direct, importer->options->url, now_ms + importer->options->timeout_ms))
            continue;
        direct->deadline_ms = now_ms + STATEMENT_MS;
        if (i)
            direct_pause(direct, i);
        result = direct_run(direct, text, params);
    }
    return result;
}

static const char *why_refused(const struct importer *importer, struct slice ns, struct slice key,
                               int64_t value_bytes) {
    if (ns.len < 1 || ns.len > KV_NAMESPACE_MAX)
        return "a namespace has 1 to 255 bytes";
    if (key.len < 1 || key.len > KV_KEY_MAX)
        return "a key has 1 to 4096 bytes";
    if ((uint64_t)value_bytes > importer->options->payload_limit_bytes)
        return "the value is over the payload limit";
    return NULL;
}

static void refuse_key(struct importer *importer, const PGresult *page, int row, const char *why) {
    struct uuid workspace;
    result_uuid(page, row, 0, &workspace);
    char text[37] = "", line[400];
    text_uuid_format(&workspace, text);
    struct buf shown;
    buf_init(&shown, sizeof line);
    for (int column = 1; column <= 2; column++) {
        struct slice part = result_bytes(page, row, column);
        bool is_cut = part.len > SHOWN_MAX;
        buf_append_char(&shown, ' ');
        text_append_json(&shown, slice_make(part.ptr, is_cut ? SHOWN_MAX : part.len));
        buf_append(&shown, is_cut ? SLICE("…") : SLICE(""));
    }
    snprintf(line, sizeof line, "%s%.*s: %s", text, (int)shown.len, shown.ptr ? shown.ptr : "",
             why);
    buf_done(&shown);
    importer->import->refused_count++;
    if (importer->import->refused)
        importer->import->refused(importer->import->context, line);
}

/* One array of the page's good rows. */
static void add_column(struct params *params, const PGresult *page, const bool *is_good,
                       unsigned which) {
    params_array(params, which == 0 ? PARAMS_UUID : PARAMS_BYTEA);
    for (int row = 0; row < result_rows(page); row++) {
        struct slice key = result_bytes(page, row, 2);
        char room[KEY_STORED_MAX];
        struct uuid workspace;
        result_uuid(page, row, 0, &workspace);
        if (!is_good[row])
            continue;
        if (which == 0)
            params_add_uuid(params, &workspace);
        else if (which == 1)
            params_add_bytea(params, result_bytes(page, row, 1));
        else if (which == 2)
            params_add_bytea(params, key);
        else if (which == 3)
            params_add_bytea(params, key_stored(key, room));
        else if (key_is_long(key))
            params_add_bytea(params, key);
        else
            params_add_null(params);
    }
    params_array_end(params);
}

static enum err write_page(struct importer *importer, const PGresult *page, const bool *is_good,
                           uint64_t good_count) {
    struct params params;
    params_init(&params);
    for (unsigned which = 0; which < 5; which++)
        add_column(&params, page, is_good, which);
    params_bool(&params, importer->import->overwrite);
    PGresult *result = run(importer, importer->write_text, &params);
    params_done(&params);
    if (!result)
        return fail(importer, "a page of keys cannot be written");
    uint64_t written = (uint64_t)result_rows(result);
    PQclear(result);
    importer->import->written_count += written;
    importer->import->kept_count += good_count - written;
    return OK;
}

static enum err take_page(struct importer *importer, const PGresult *page) {
    int rows = result_rows(page);
    uint64_t good_count = 0;
    bool *is_good = calloc((size_t)rows, sizeof *is_good);
    if (!is_good)
        return ERR_OUT_OF_MEMORY;
    for (int row = 0; row < rows; row++) {
        const char *why = why_refused(importer, result_bytes(page, row, 1),
                                      result_bytes(page, row, 2), result_int8(page, row, 3));
        is_good[row] = !why;
        good_count += !why;
        if (why)
            refuse_key(importer, page, row, why);
    }
    importer->import->read_count += (uint64_t)rows;
    enum err err = good_count ? write_page(importer, page, is_good, good_count) : OK;
    free(is_good);
    result_uuid(page, rows - 1, 0, &importer->workspace);
    buf_clear(&importer->ns);
    buf_clear(&importer->key);
    buf_append(&importer->ns, result_bytes(page, rows - 1, 1));
    buf_append(&importer->key, result_bytes(page, rows - 1, 2));
    if (!err && (importer->ns.failed || importer->key.failed))
        err = ERR_OUT_OF_MEMORY;
    return err;
}

static enum err read_page(struct importer *importer, PGresult **ret_page) {
    struct params params;
    params_init(&params);
    params_uuid(&params, &importer->workspace);
    params_bytea(&params, buf_slice(&importer->ns));
    params_bytea(&params, buf_slice(&importer->key));
    PGresult *page = run(importer, importer->read_text, &params);
    params_done(&params);
    if (!page && strcmp(importer->direct.sqlstate, "42P01") == 0) {
        snprintf(importer->why, importer->why_bytes,
                 "there is no table kvs in the schema \"%.63s\" of this database",
                 importer->import->from_schema);
        return ERR_CONFLICT;
    }
    if (!page)
        return fail(importer, "a page of keys cannot be read");
    *ret_page = page;
    return OK;
}

static enum err each_page(struct importer *importer) {
    enum err err = OK;
    for (bool more = true; !err && more;) {
        PGresult *page = NULL;
        err = read_page(importer, &page);
        more = result_rows(page) > 0;
        if (!err && more)
            err = take_page(importer, page);
        PQclear(page);
    }
    return err;
}

static enum err make_schema(const struct engine_options *options, char *ret_why, size_t why_bytes) {
    struct sql_book *book = malloc(sizeof *book);
    enum err err = ERR_OUT_OF_MEMORY;
    if (book && sql_book_init(book, options->schema)) {
        err = migrate_run(options, book, ret_why, why_bytes);
        sql_book_done(book);
    }
    free(book);
    return err;
}

enum err engine_import_hulykvs(const struct engine_options *options, struct engine_import *import,
                               char *ret_why, size_t why_bytes) {
    struct importer importer = {
        .options = options, .import = import, .why = ret_why, .why_bytes = why_bytes};
    snprintf(ret_why, why_bytes, "out of memory");
    enum err err = make_schema(options, ret_why, why_bytes);
    if (err)
        return err;
    buf_init(&importer.ns, SIZE_MAX / 4);
    buf_init(&importer.key, SIZE_MAX / 4);
    importer.read_text = fill(&importer, SQL_IMPORT_READ);
    importer.write_text = fill(&importer, SQL_IMPORT_WRITE);
    err = importer.read_text && importer.write_text ? each_page(&importer) : ERR_OUT_OF_MEMORY;
    direct_close(&importer.direct);
    buf_done(&importer.ns);
    buf_done(&importer.key);
    free(importer.read_text);
    free(importer.write_text);
    return err;
}
