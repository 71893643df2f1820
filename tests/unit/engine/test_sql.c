/* SPDX-License-Identifier: MIT */
#include "engine/sql.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_filled(const char *text, const char *schema, bool memory, const char *want) {
    char *filled = sql_fill(text, schema, memory);
    assert_non_null(filled);
    assert_string_equal(filled, want);
    free(filled);
}

static void the_schema_is_quoted_as_an_identifier(void **state) {
    (void)state;
    expect_filled("SELECT 1 FROM {s}.kv", "hati", false, "SELECT 1 FROM \"hati\".kv");
    expect_filled("{s}.a, {s}.b", "My Schema", false, "\"My Schema\".a, \"My Schema\".b");
    expect_filled("{s}.a", "x\"; DROP TABLE y; --", false, "\"x\"\"; DROP TABLE y; --\".a");
    expect_filled("{s}.a", "{m}{s}", true, "\"{m}{s}\".a");
}

static void memory_has_tables_of_its_own(void **state) {
    (void)state;
    expect_filled("{s}.kv{m} AS k", "h", false, "\"h\".kv AS k");
    expect_filled("{s}.kv{m} AS k", "h", true, "\"h\".kv_mem AS k");
}

static void the_clock_is_the_databases_in_milliseconds(void **state) {
    (void)state;
    expect_filled("SELECT {now}", "h", false,
                  "SELECT (extract(epoch FROM statement_timestamp()) * 1000)::int8");
}

static void other_braces_stay_and_an_empty_text_is_empty(void **state) {
    (void)state;
    expect_filled("SELECT '{}'::int8[], '{x}', '{s'", "h", false,
                  "SELECT '{}'::int8[], '{x}', '{s'");
    expect_filled("", "h", false, "");
}

static void every_number_has_the_row_of_its_symbol(void **state) {
    (void)state;
    static const char *const symbols[] = {
#define X(symbol) #symbol,
        SQL_TXN(X) SQL_KEYS(X) SQL_MESSAGES(X) SQL_TOPOLOGY(X) SQL_QUEUES(X) SQL_MIGRATE(X)
            SQL_TRANSFER(X)
#undef X
    };
    assert_int_equal(sizeof symbols / sizeof *symbols, SQL_COUNT);
    for (int number = 0; number < (int)SQL_COUNT; number++) {
        const struct sql *row = sql_row((enum sql_number)number);
        char lower[64] = "";
        for (size_t i = 0; symbols[number][i]; i++)
            lower[i] = (char)tolower((unsigned char)symbols[number][i]);
        assert_string_equal(row->name, lower);
        assert_non_null(row->text);
        assert_non_null(row->why);
    }
}

static void the_names_of_prepared_statements_tell_texts_apart(void **state) {
    (void)state;
    struct sql_book *one = calloc(1, sizeof *one), *two = calloc(1, sizeof *two);
    assert_true(one && two);
    assert_true(sql_book_init(one, "hati"));
    assert_true(sql_book_init(two, "other"));
    const struct sql_text *begin = one->texts[SQL_BEGIN], *add = one->texts[SQL_OP_ADD];
    assert_int_equal(strncmp(begin[0].name, "hati_begin_", 11), 0);
    assert_string_equal(begin[0].name, begin[1].name);
    assert_string_not_equal(add[0].name, add[1].name);
    assert_string_equal(begin[0].name, two->texts[SQL_BEGIN][0].name);
    assert_string_not_equal(add[0].name, two->texts[SQL_OP_ADD][0].name);
    for (int a = 0; a < (int)SQL_COUNT; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(one->texts[a][0].name, one->texts[b][0].name);
    sql_book_done(one);
    sql_book_done(two);
    free(one);
    free(two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_schema_is_quoted_as_an_identifier),
        cmocka_unit_test(memory_has_tables_of_its_own),
        cmocka_unit_test(the_clock_is_the_databases_in_milliseconds),
        cmocka_unit_test(other_braces_stay_and_an_empty_text_is_empty),
        cmocka_unit_test(every_number_has_the_row_of_its_symbol),
        cmocka_unit_test(the_names_of_prepared_statements_tell_texts_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
