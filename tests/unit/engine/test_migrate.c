/* SPDX-License-Identifier: MIT */
/* Needs a database of its own kind: HATI_TEST_PG_URL names one in which schemas may be made. */
#include "engine/migrate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/direct.h"

#define STARTERS 8
#define WHY_BYTES 400

static const char *url;

static int64_t ask(const char *text) {
    struct direct direct;
    assert_int_equal(direct_open(&direct, url, clock_steady_ms() + 20000), OK);
    PGresult *result = direct_run(&direct, text, NULL);
    if (!result)
        fail_msg("%s: %s", text, direct.trouble);
    int64_t answer = result_rows(result) && PQnfields(result) ? result_int8(result, 0, 0) : -1;
    PQclear(result);
    direct_close(&direct);
    return answer;
}

static int without_schema(void **state) {
    (void)state;
    ask("DROP SCHEMA IF EXISTS hati_test CASCADE");
    return 0;
}

static enum err migrate(char *why) {
    struct engine_options options = {.url = url, .schema = "hati_test", .timeout_ms = 20000};
    struct sql_book *book = calloc(1, sizeof *book);
    if (!book || !sql_book_init(book, options.schema))
        return ERR_OUT_OF_MEMORY;
    enum err err = migrate_run(&options, book, why, WHY_BYTES);
    sql_book_done(book);
    free(book);
    return err;
}

struct starter {
    pthread_t thread;
    enum err err;
    char why[WHY_BYTES];
};

static void *start(void *context) {
    struct starter *starter = context;
    starter->err = migrate(starter->why);
    return NULL;
}

static void many_that_start_at_once_on_an_empty_schema_all_get_it(void **state) {
    struct starter starters[STARTERS];
    for (int round = 0; round < 3; round++) {
        without_schema(state);
        for (int i = 0; i < STARTERS; i++)
            assert_int_equal(pthread_create(&starters[i].thread, NULL, start, &starters[i]), 0);
        for (int i = 0; i < STARTERS; i++)
            pthread_join(starters[i].thread, NULL);
        for (int i = 0; i < STARTERS; i++)
            if (starters[i].err)
                fail_msg("%s", starters[i].why);
        assert_int_equal(ask("SELECT version FROM hati_test.schema_version"), migration_count);
    }
}

static void a_schema_that_is_there_is_left_alone(void **state) {
    (void)state;
    char why[WHY_BYTES] = "";
    assert_int_equal(migrate(why), OK);
    int64_t fence = ask("SELECT fence FROM hati_test.lock WHERE name = 'migrate'");
    ask("INSERT INTO hati_test.kv (ws, ns, key, value, ctype, rev, expires)"
        " VALUES ('11111111-2222-3333-4444-555555555555', 'n', 'k', 'v', '', 7, 0)");
    assert_int_equal(migrate(why), OK);
    assert_int_equal(ask("SELECT rev FROM hati_test.kv"), 7);
    assert_int_equal(ask("SELECT fence FROM hati_test.lock WHERE name = 'migrate'"), fence);
}

/* As a node leaves it that was killed: some of the tables, and no version. */
static void a_migration_that_was_cut_off_is_finished_by_the_next(void **state) {
    char why[WHY_BYTES] = "";
    size_t count = 0;
    while (migrations[0].statements[count])
        count++;
    for (size_t cut = 0; cut <= count; cut += 6) {
        without_schema(state);
        ask("CREATE SCHEMA hati_test");
        for (size_t i = 0; i < cut; i++) {
            char *text = sql_fill(migrations[0].statements[i], "hati_test", false);
            ask(text);
            free(text);
        }
        assert_int_equal(migrate(why), OK);
        assert_int_equal(ask("SELECT version FROM hati_test.schema_version"), migration_count);
        assert_int_equal(ask("SELECT count(*)::int8 FROM hati_test.router_node"), 0);
    }
}

static void the_lease_of_a_node_that_died_holds_up_the_next_until_it_ends(void **state) {
    (void)state;
    char why[WHY_BYTES] = "";
    assert_int_equal(migrate(why), OK);
    ask("UPDATE hati_test.schema_version SET version = 0");
    ask("DROP TABLE hati_test.node");
    ask("UPDATE hati_test.lock SET until ="
        " (extract(epoch FROM clock_timestamp()) * 1000)::int8 + 300");
    assert_int_equal(migrate(why), OK);
    assert_int_equal(ask("SELECT count(*)::int8 FROM hati_test.node"), 0);
    assert_int_equal(ask("SELECT until FROM hati_test.lock WHERE name = 'migrate'"), 0);
}

static void a_newer_schema_is_refused_with_a_clear_line(void **state) {
    (void)state;
    char why[WHY_BYTES] = "", expected[WHY_BYTES];
    assert_int_equal(migrate(why), OK);
    ask("UPDATE hati_test.schema_version SET version = 1000");
    assert_int_equal(migrate(why), ERR_CONFLICT);
    snprintf(expected, sizeof expected,
             "engine: the schema \"hati_test\" is at version 1000, this hati knows %u: upgrade it",
             migration_count);
    assert_string_equal(why, expected);
}

static void a_database_that_is_not_there_is_told_without_its_password(void **state) {
    (void)state;
    struct engine_options options = {.schema = "hati_test", .timeout_ms = 300};
    struct sql_book *book = calloc(1, sizeof *book);
    assert_true(book && sql_book_init(book, options.schema));
    char why[WHY_BYTES] = "";
    options.url = "postgresql://me:hush@127.0.0.1:1/x";
    assert_int_equal(migrate_run(&options, book, why, sizeof why), ERR_UNAVAILABLE);
    assert_non_null(strstr(why, "cannot be reached"));
    assert_null(strstr(why, "hush"));
    options.url = "postgresql://me:hush%zz@127.0.0.1:1/x";
    assert_int_equal(migrate_run(&options, book, why, sizeof why), ERR_SYNTAX);
    assert_null(strstr(why, "hush"));
    sql_book_done(book);
    free(book);
}

int main(void) {
    const struct CMUnitTest without[] = {
        cmocka_unit_test(a_database_that_is_not_there_is_told_without_its_password),
    };
    const struct CMUnitTest with[] = {
        cmocka_unit_test_setup(many_that_start_at_once_on_an_empty_schema_all_get_it,
                               without_schema),
        cmocka_unit_test_setup(a_schema_that_is_there_is_left_alone, without_schema),
        cmocka_unit_test_setup(a_migration_that_was_cut_off_is_finished_by_the_next,
                               without_schema),
        cmocka_unit_test_setup(the_lease_of_a_node_that_died_holds_up_the_next_until_it_ends,
                               without_schema),
        cmocka_unit_test_setup_teardown(a_newer_schema_is_refused_with_a_clear_line, without_schema,
                                        without_schema),
    };
    log_set_level(LOG_OFF);
    url = getenv("HATI_TEST_PG_URL");
    int failed = cmocka_run_group_tests_name("without a database", without, NULL, NULL);
    if (url)
        return failed + cmocka_run_group_tests_name("with a database", with, NULL, NULL);
    printf("the rest is skipped: HATI_TEST_PG_URL names no database\n");
    return failed;
}
