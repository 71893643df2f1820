/* SPDX-License-Identifier: MIT */
#include "engine/migrate.h"

#include <stdio.h>

#include "base/hash.h"
#include "engine/direct.h"

#define LEASE_MS 30000
#define LEASE_RENEW_MS 8000
#define WHOLE_MS 180000 /* all steps, or waiting for the node that makes them */
#define TRIES_MAX 40U
#define CONNECTIONS_MAX 5U

struct migrator {
    struct direct direct;
    const struct engine_options *options;
    const struct sql_book *book;
    struct uuid owner;
    int64_t leased_ms; /* clock_steady_ms: when the lease was last taken; 0: it is not ours */
    bool is_postgres;
    int64_t version; /* -1: there is no schema */
    char *why;
    size_t why_bytes;
};

static const char *text_of(const struct migrator *migrator, enum sql_number number) {
    return migrator->book->texts[number][0].text;
}

static enum err fail(struct migrator *migrator, const char *doing) {
    snprintf(migrator->why, migrator->why_bytes, "engine: %s: %.250s", doing,
             migrator->direct.trouble);
    return ERR_UNAVAILABLE;
}

/* One statement, again while others at the same thing make it fail. The result, or NULL. */
static PGresult *run(struct migrator *migrator, const char *text, const struct params *params) {
    struct direct *direct = &migrator->direct;
    PGresult *result = direct_run(direct, text, params);
    for (unsigned i = 0;
         !result && i < TRIES_MAX && direct_may_retry(direct) && !direct_is_late(direct); i++) {
        direct_pause(direct, i);
        result = direct_run(direct, text, params);
    }
    return result;
}

static bool run_plain(struct migrator *migrator, enum sql_number number) {
    PGresult *result = run(migrator, text_of(migrator, number), NULL);
    PQclear(result);
    return result != NULL;
}

/* No such table, or no such schema. */
static bool is_missing(const struct direct *direct) {
    return strcmp(direct->sqlstate, "42P01") == 0 || strcmp(direct->sqlstate, "3F000") == 0;
}

static enum err read_version(struct migrator *migrator) {
    PGresult *result = run(migrator, text_of(migrator, SQL_VERSION_READ), NULL);
    if (!result && !is_missing(&migrator->direct))
        return fail(migrator, "the schema's version cannot be read");
    migrator->version = result_rows(result) == 1 ? result_int8(result, 0, 0) : -1;
    PQclear(result);
    return OK;
}

static enum err make_first_tables(struct migrator *migrator) {
    /* A role may have a schema made for it, and none of its own to make. */
    bool made = run_plain(migrator, SQL_SCHEMA_MAKE);
    if (!made && strcmp(migrator->direct.sqlstate, "42501") != 0)
        return fail(migrator, "the schema cannot be made");
    if (!run_plain(migrator, SQL_LOCK_TABLE) || !run_plain(migrator, SQL_VERSION_TABLE) ||
        !run_plain(migrator, SQL_VERSION_FIRST))
        return fail(migrator, "the schema's first tables cannot be made");
    return OK;
}

/* ERR_WOULD_WAIT: another node has it. */
static enum err take_lease(struct migrator *migrator) {
    struct params params;
    params_init(&params);
    params_text(&params, SLICE("migrate"));
    params_uuid(&params, &migrator->owner);
    params_int8(&params, LEASE_MS);
    PGresult *result = run(migrator, text_of(migrator, SQL_LEASE_TAKE), &params);
    params_done(&params);
    if (!result)
        return fail(migrator, "the lease of migrating cannot be taken");
    bool ours = result_rows(result) == 1;
    PQclear(result);
    migrator->leased_ms = ours ? clock_steady_ms() : 0;
    return ours ? OK : ERR_WOULD_WAIT;
}

static void end_lease(struct migrator *migrator) {
    if (!migrator->leased_ms)
        return;
    struct params params;
    params_init(&params);
    params_text(&params, SLICE("migrate"));
    params_uuid(&params, &migrator->owner);
    PQclear(run(migrator, text_of(migrator, SQL_LEASE_END), &params));
    params_done(&params);
}

static enum err run_statement(struct migrator *migrator, const char *text) {
    if (clock_steady_ms() - migrator->leased_ms > LEASE_RENEW_MS) {
        enum err err = take_lease(migrator);
        if (err)
            return err;
    }
    char *filled = sql_fill(text, migrator->options->schema, false);
    PGresult *result = filled ? run(migrator, filled, NULL) : NULL;
    free(filled);
    PQclear(result);
    return result ? OK : fail(migrator, "a step of the schema failed");
}

static enum err make_step(struct migrator *migrator) {
    const struct migration *step = &migrations[migrator->version];
    enum err err = OK;
    for (const char *const *text = step->statements; !err && *text; text++)
        err = run_statement(migrator, *text);
    if (err)
        return err;
    struct params params;
    params_init(&params);
    params_int8(&params, migrator->version + 1);
    PGresult *result = run(migrator, text_of(migrator, SQL_VERSION_STEP), &params);
    params_done(&params);
    if (!result)
        return fail(migrator, "the schema's version cannot be written");
    PQclear(result);
    log_info("the schema is at version %lld now: %s", (long long)migrator->version + 1, step->what);
    return read_version(migrator);
}

static enum err check_version(struct migrator *migrator) {
    if (migrator->version <= (int64_t)migration_count)
        return OK;
    snprintf(migrator->why, migrator->why_bytes,
             "engine: the schema \"%s\" is at version %lld, this hati knows %u: upgrade it",
             migrator->options->schema, (long long)migrator->version, migration_count);
    return ERR_CONFLICT;
}

/* Settings of tables and of the role, on PostgreSQL itself. They make it faster, not right. */
static void tune(struct migrator *migrator, enum sql_number from, enum sql_number to) {
    char *database = PQescapeIdentifier(migrator->direct.conn, PQdb(migrator->direct.conn),
                                        strlen(PQdb(migrator->direct.conn)));
    for (enum sql_number number = from; database && number <= to && migrator->direct.conn;
         number++) {
        char text[1024];
        const char *pattern = text_of(migrator, number), *gap = strstr(pattern, "{d}");
        int head = gap ? (int)(gap - pattern) : (int)strlen(pattern);
        int len = snprintf(text, sizeof text, "%.*s%s%s", head, pattern, gap ? database : "",
                           gap ? gap + 3 : "");
        PGresult *result = len < (int)sizeof text ? run(migrator, text, NULL) : NULL;
        if (!result)
            log_warn("the database does not take a setting that makes it faster (%s): %s",
                     sql_row(number)->name, migrator->direct.trouble);
        PQclear(result);
    }
    PQfreemem(database);
}

static void tune_role(struct migrator *migrator) {
    PGresult *result = run(migrator, text_of(migrator, SQL_TUNE_ASK), NULL);
    bool is_tuned =
        result_rows(result) == 1 && slice_equal(result_bytes(result, 0, 0), SLICE("off"));
    PQclear(result);
    if (!is_tuned && migrator->direct.conn)
        tune(migrator, SQL_TUNE_SEQSCAN, SQL_TUNE_JIT);
}

/* Steps with the lease, until there are none left. ERR_WOULD_WAIT: others are at it. */
static enum err make_steps(struct migrator *migrator) {
    enum err err = make_first_tables(migrator);
    if (!err)
        err = take_lease(migrator);
    if (!err)
        err = read_version(migrator);
    while (!err && migrator->version >= 0 && migrator->version < (int64_t)migration_count)
        err = make_step(migrator);
    if (!err && migrator->is_postgres)
        tune(migrator, SQL_TUNE_KV, SQL_TUNE_OP);
    if (migrator->direct.conn)
        end_lease(migrator);
    migrator->leased_ms = 0;
    return err;
}

static enum err learn_database(struct migrator *migrator) {
    PGresult *result = run(migrator, text_of(migrator, SQL_IDENTITY), NULL);
    if (!result)
        return fail(migrator, "the database cannot be asked");
    char version[200];
    struct slice told = result_bytes(result, 0, 0);
    snprintf(version, sizeof version, "%.*s", told.len > 199 ? 199 : (int)told.len,
             told.ptr ? told.ptr : "");
    PQclear(result);
    migrator->is_postgres = strncmp(version, "PostgreSQL", 10) == 0 && !strstr(version, "-YB-");
    return OK;
}

/* With one connection. ERR_WOULD_WAIT: again, perhaps with another. */
static enum err migrate_connected(struct migrator *migrator) {
    enum err err = learn_database(migrator);
    for (unsigned i = 0; !err; i++) {
        err = read_version(migrator);
        if (!err)
            err = check_version(migrator);
        if (err || migrator->version == (int64_t)migration_count)
            break;
        err = make_steps(migrator);
        if (err != ERR_WOULD_WAIT || direct_is_late(&migrator->direct))
            break;
        direct_pause(&migrator->direct, i < 3 ? i : 3);
        err = OK;
    }
    if (!err)
        err = check_version(migrator);
    if (!err && migrator->is_postgres)
        tune_role(migrator);
    if (err == ERR_WOULD_WAIT) {
        snprintf(migrator->why, migrator->why_bytes,
                 "engine: another node is making the schema, and takes too long");
        err = ERR_UNAVAILABLE;
    }
    return err;
}

enum err migrate_run(const struct engine_options *options, const struct sql_book *book,
                     char *ret_why, size_t why_bytes) {
    struct migrator migrator = {
        .options = options, .book = book, .why = ret_why, .why_bytes = why_bytes};
    hash_random(&migrator.owner, sizeof migrator.owner);
    int64_t whole_ms = clock_steady_ms() + WHOLE_MS;
    enum err err = ERR_UNAVAILABLE;
    bool again = true; /* a connection lost in the middle: every step may be repeated */
    for (unsigned i = 0; again && i < CONNECTIONS_MAX; i++) {
        int64_t connect_ms = clock_steady_ms() + options->timeout_ms;
        err = direct_open(&migrator.direct, options->url, connect_ms);
        if (err) {
            (void)fail(&migrator, "the database cannot be reached");
            return err;
        }
        migrator.direct.deadline_ms = whole_ms;
        err = migrate_connected(&migrator);
        again = err == ERR_UNAVAILABLE && !migrator.direct.conn && clock_steady_ms() < whole_ms;
    }
    direct_close(&migrator.direct);
    return err;
}
