/* SPDX-License-Identifier: MIT */
/* docs/sql.md. */
#include "engine/migrate.h"
#include "engine/sql.h"

static const char head[] =
    "# Every statement that hati sends\n"
    "\n"
    "What `hati help sql` prints; `tests/lint/check_sql` keeps the two the same, and looks for "
    "what\n"
    "CockroachDB's documentation rules out.\n"
    "\n"
    "Rules that all of them keep, so that PostgreSQL 15 and CockroachDB 24 take the same text:\n"
    "\n"
    "- Every table is named with its schema (shown here as `hati`). No statement leaves anything "
    "in\n"
    "  the session: a pooler may give each transaction another one.\n"
    "- Parameters and results are binary; each `$n` has a cast where it stands first.\n"
    "- Keys, names and payloads are `bytea`, compared bytewise on both. Times are milliseconds of\n"
    "  the database's clock in an `int8`; no node's clock decides anything. It is the statement's\n"
    "  time: `clock_timestamp()` is another for each row, and no bound of an index can be made of\n"
    "  it; `now()` is the transaction's.\n"
    "- Rows are locked in the order of their keys, or by `SKIP LOCKED`. Where CockroachDB's locks\n"
    "  are a best effort its serializable isolation decides, as a 40001 that is tried again.\n"
    "- Storage `memory` has tables of its own, their names ending in `_mem`; a statement on both "
    "is\n"
    "  shown once, on those of hdd.\n";

struct chapter {
    enum sql_number from; /* up to the next chapter's */
    const char *title;
};

static const struct chapter chapters[] = {
    {SQL_BEGIN, "Transactions, and what a connection asks"},
    {SQL_KEYS_READ, "Keys"},
    {SQL_MESSAGES_ADD, "Messages"},
    {SQL_TOPOLOGY_VERSION, "Routers, queues, bindings"},
    {SQL_RECEIVE, "Delivery, counters, nodes"},
    {SQL_VERSION_READ, "The schema, and imports"},
    {SQL_EXPORT_BEGIN, "Snapshots"},
};

/* Placeholders in the way they read best. */
static void print_text(FILE *to, const char *text) {
    static const struct {
        const char *gap, *shown;
    } gaps[] = {{"{s}", "hati"},
                {"{m}", ""},
                {"{d}", "hati"},
                {"{f}", "hulykvs"},
                {"{now}", "(extract(epoch FROM statement_timestamp()) * 1000)::int8"}};
    while (*text) {
        size_t i = 0;
        while (i < sizeof gaps / sizeof *gaps &&
               strncmp(text, gaps[i].gap, strlen(gaps[i].gap)) != 0)
            i++;
        if (i < sizeof gaps / sizeof *gaps) {
            fputs(gaps[i].shown, to);
            text += strlen(gaps[i].gap);
        } else {
            fputc(*text++, to);
        }
    }
}

static void print_row(FILE *to, const struct sql *row) {
    fprintf(to, "\n### %s\n\n", row->name);
    if (row->postgres_alone)
        fputs("PostgreSQL alone. ", to);
    fprintf(to, "%s\n\n```sql\n", row->why);
    print_text(to, row->text);
    fputs("\n```\n", to);
    if (strstr(row->text, "{m}"))
        fputs("\nAlso on the tables of memory.\n", to);
}

static void print_migrations(FILE *to) {
    fputs("\n## Tables\n\nEach step is made once, its statements one after another; each of them"
          " may be repeated.\n",
          to);
    for (unsigned step = 0; step < migration_count; step++) {
        fprintf(to, "\n### Version %u: %s\n\n```sql\n", step + 1, migrations[step].what);
        for (const char *const *text = migrations[step].statements; *text; text++) {
            print_text(to, *text);
            fputs(";\n", to);
        }
        fputs("```\n", to);
    }
}

void engine_print_sql(FILE *to) {
    fputs(head, to);
    size_t chapter = 0;
    for (int number = 0; number < (int)SQL_COUNT; number++) {
        if (chapter < sizeof chapters / sizeof *chapters && (int)chapters[chapter].from == number)
            fprintf(to, "\n## %s\n", chapters[chapter++].title);
        print_row(to, sql_row((enum sql_number)number));
    }
    print_migrations(to);
}
