/* SPDX-License-Identifier: MIT */
/* Every statement on a real PostgreSQL, as it is planned for any parameters: HATI_TEST_PG_URL names
 * a database in which schemas may be made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/direct.h"
#include "engine/internal.h"

#define SCHEMA "hati_plans"
#define PLAN_BYTES 65536

static const char *url;
static struct sql_book book;
static struct direct direct;

/* Read a whole table, and are meant to. */
static const enum sql_number whole[] = {SQL_KEYS_FLUSH, SQL_KEYS_COUNT, SQL_MESSAGES_FLUSH,
                                        SQL_DUE_NEXT, SQL_MESSAGE_COUNT};

static void run(const char *text) {
    PGresult *result = direct_run(&direct, text, NULL);
    if (!result)
        fail_msg("%s: %s", text, direct.trouble);
    PQclear(result);
}

/* Tables as a burst leaves them: full, and known to the planner as empty. */
static int open_database(void **state) {
    (void)state;
    struct engine_options options = {.url = url, .schema = SCHEMA, .timeout_ms = 20000};
    char why[400] = "";
    if (!sql_book_init(&book, SCHEMA))
        return -1;
    if (direct_open(&direct, url, clock_steady_ms() + 60000))
        return -1;
    run("DROP SCHEMA IF EXISTS " SCHEMA " CASCADE");
    if (migrate_run(&options, &book, why, sizeof why))
        return -1;
    direct_close(&direct); /* the role's settings are a new session's */
    if (direct_open(&direct, url, clock_steady_ms() + 60000))
        return -1;
    run("ALTER TABLE " SCHEMA ".kv SET (autovacuum_enabled = false)");
    run("ALTER TABLE " SCHEMA ".msg SET (autovacuum_enabled = false)");
    run("ANALYZE " SCHEMA ".kv");
    run("ANALYZE " SCHEMA ".msg");
    run("INSERT INTO " SCHEMA ".kv (ws, ns, key, value, ctype, rev, expires)"
        " SELECT '11111111-2222-3333-4444-555555555555', 'n', convert_to('k' || i, 'UTF8'), '', '',"
        " i, CASE WHEN i % 2 = 0 THEN i ELSE 0 END FROM generate_series(1, 20000) AS i");
    run("INSERT INTO " SCHEMA ".msg SELECT i % 10, 5, i, CASE WHEN i % 7 = 0 THEN i ELSE 0 END,"
        " i % 2, 0, i % 3, 0, '', '', '', '', 0, '', 0 FROM generate_series(1, 20000) AS i");
    run("INSERT INTO " SCHEMA
        ".op SELECT gen_random_uuid(), i FROM generate_series(1, 20000) AS i");
    run("INSERT INTO " SCHEMA ".dedup SELECT i % 10, decode(md5(i::text), 'hex'), i"
        " FROM generate_series(1, 20000) AS i");
    run("SET plan_cache_mode = force_generic_plan");
    return 0;
}

static int close_database(void **state) {
    (void)state;
    run("DROP SCHEMA " SCHEMA " CASCADE");
    direct_close(&direct);
    sql_book_done(&book);
    return 0;
}

static int count_parameters(const char *text) {
    int most = 0;
    for (const char *at = strchr(text, '$'); at; at = strchr(at + 1, '$')) {
        int number = atoi(at + 1);
        most = number > most ? number : most;
    }
    return most;
}

static void explain(const struct sql_text *text, char *ret_plan) {
    char statement[16384] = "";
    int count = count_parameters(text->text);
    int len = snprintf(statement, sizeof statement, "PREPARE q AS %s", text->text);
    assert_in_range(len, 1, sizeof statement - 1);
    run(statement);
    len = snprintf(statement, sizeof statement, "EXPLAIN EXECUTE q%s", count ? "(NULL" : "");
    for (int i = 1; i < count; i++)
        len += snprintf(statement + len, sizeof statement - (size_t)len, ", NULL");
    snprintf(statement + len, sizeof statement - (size_t)len, "%s", count ? ")" : "");
    PGresult *result = direct_run(&direct, statement, NULL);
    if (!result)
        fail_msg("%s: %s", text->name, direct.trouble);
    size_t used = 0;
    for (int row = 0; row < result_rows(result); row++) {
        struct slice line = result_bytes(result, row, 0);
        used +=
            (size_t)snprintf(ret_plan + used, PLAN_BYTES - used, "%.*s\n", (int)line.len, line.ptr);
        assert_true(used < PLAN_BYTES);
    }
    PQclear(result);
    run("DEALLOCATE q");
}

/* A big table is read by its index within bounds, or not at all. */
static bool reads_whole_table(char *plan) {
    static const char *const big[] = {" on kv", " on msg", " on op", " on dedup"};
    char *save = NULL, *next;
    for (char *line = strtok_r(plan, "\n", &save); line; line = next) {
        next = strtok_r(NULL, "\n", &save);
        bool is_big = false;
        for (size_t i = 0; i < sizeof big / sizeof *big; i++)
            is_big = is_big || strstr(line, big[i]);
        if (is_big && strstr(line, "Seq Scan"))
            return true;
        bool is_index = strstr(line, "Index Scan") || strstr(line, "Index Only Scan");
        if (is_big && is_index && !(next && strstr(next, "Index Cond:")))
            return true;
    }
    return false;
}

static bool may_read_all(enum sql_number number) {
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (whole[i] == number)
            return true;
    return false;
}

static bool is_analyze(enum sql_number number) {
    return strncmp(book.texts[number][0].text, "ANALYZE", 7) == 0;
}

static bool can_be_explained(enum sql_number number) {
    return !is_analyze(number) && number != SQL_BEGIN && number != SQL_COMMIT &&
           number != SQL_ROLLBACK && number != SQL_HLC_POSITION && !sql_row(number)->is_offline;
}

static void every_statement_is_planned_by_index(void **state) {
    (void)state;
    static char plan[PLAN_BYTES], whole_plan[PLAN_BYTES];
    int wrong = 0;
    for (int number = 0; number < (int)SQL_COUNT; number++) {
        if (!can_be_explained((enum sql_number)number))
            continue;
        explain(&book.texts[number][0], plan);
        memcpy(whole_plan, plan, sizeof plan);
        if (reads_whole_table(plan) && !may_read_all((enum sql_number)number)) {
            print_error("%s:\n%s\n", sql_row((enum sql_number)number)->name, whole_plan);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void every_statement_of_memory_is_taken_too(void **state) {
    (void)state;
    static char plan[PLAN_BYTES];
    for (int number = 0; number < (int)SQL_COUNT; number++)
        if (can_be_explained((enum sql_number)number))
            explain(&book.texts[number][1], plan);
}

/* Last: the planner knows the tables from then on. */
static void statements_without_a_plan_are_taken(void **state) {
    (void)state;
    unsigned count = 0;
    for (int number = 0; number < (int)SQL_COUNT; number++)
        if (is_analyze((enum sql_number)number)) {
            run(book.texts[number][0].text);
            run(book.texts[number][1].text);
            count++;
        }
    assert_true(count > 0);
}

static void what_has_no_index_is_noticed(void **state) {
    (void)state;
    static char plan[PLAN_BYTES];
    struct sql_text text = {.text = (char[]){"SELECT k.rev FROM " SCHEMA ".kv AS k"
                                             " WHERE k.value = $1::bytea"},
                            .name = "planted"};
    explain(&text, plan);
    assert_true(reads_whole_table(plan));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_statement_is_planned_by_index),
        cmocka_unit_test(every_statement_of_memory_is_taken_too),
        cmocka_unit_test(what_has_no_index_is_noticed),
        cmocka_unit_test(statements_without_a_plan_are_taken),
    };
    log_set_level(LOG_OFF);
    url = getenv("HATI_TEST_PG_URL");
    if (url)
        return cmocka_run_group_tests(tests, open_database, close_database);
    printf("skipped: HATI_TEST_PG_URL names no database\n");
    return 0;
}
