/* SPDX-License-Identifier: MIT */
#include "engine/sql.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/hash.h"

#define TEXT_BYTES_MAX 65536

/* The lists stand behind one another in enum sql_number. */
enum {
#define X(symbol) +1
    TXN_END = 0 SQL_TXN(X),
    KEYS_END = TXN_END SQL_KEYS(X),
    MESSAGES_END = KEYS_END SQL_MESSAGES(X),
    TOPOLOGY_END = MESSAGES_END SQL_TOPOLOGY(X),
    QUEUES_END = TOPOLOGY_END SQL_QUEUES(X),
    MIGRATE_END = QUEUES_END SQL_MIGRATE(X),
    TRANSFER_END = MIGRATE_END SQL_TRANSFER(X)
#undef X
};

_Static_assert(TRANSFER_END == (int)SQL_COUNT, "a list of statements is missing");

const struct sql *sql_row(enum sql_number number) {
    int at = (int)number;
    if (at < TXN_END)
        return &sql_txn[at];
    if (at < KEYS_END)
        return &sql_keys[at - TXN_END];
    if (at < MESSAGES_END)
        return &sql_messages[at - KEYS_END];
    if (at < TOPOLOGY_END)
        return &sql_topology[at - MESSAGES_END];
    if (at < QUEUES_END)
        return &sql_queues[at - TOPOLOGY_END];
    if (at < MIGRATE_END)
        return &sql_migrate[at - QUEUES_END];
    return &sql_transfer[at - MIGRATE_END];
}

static void append_identifier(struct buf *to, const char *name) {
    buf_append_char(to, '"');
    for (const char *at = name; *at; at++) {
        if (*at == '"')
            buf_append_char(to, '"');
        buf_append_char(to, *at);
    }
    buf_append_char(to, '"');
}

char *sql_fill(const char *text, const char *schema, bool memory) {
    struct buf to;
    buf_init(&to, TEXT_BYTES_MAX);
    while (*text) {
        if (strncmp(text, "{s}", 3) == 0) {
            append_identifier(&to, schema);
            text += 3;
        } else if (strncmp(text, "{m}", 3) == 0) {
            buf_append(&to, memory ? SLICE("_mem") : SLICE(""));
            text += 3;
        } else if (strncmp(text, "{now}", 5) == 0) {
            buf_append(&to, SLICE("(extract(epoch FROM statement_timestamp()) * 1000)::int8"));
            text += 5;
        } else {
            buf_append_char(&to, *text++);
        }
    }
    buf_append_char(&to, 0);
    if (to.failed) {
        buf_done(&to);
        return NULL;
    }
    return to.ptr;
}

/* A pooler gives one server's connection to nodes of several versions: the name says which text it
 * is. */
static bool fill_text(struct sql_text *to, const struct sql *row, const char *schema, bool memory) {
    to->text = sql_fill(row->text ? row->text : "", schema, memory);
    if (!to->text)
        return false;
    uint64_t hash = hash_seeded(slice_of_cstr(to->text), 0) >> 16;
    snprintf(to->name, sizeof to->name, "hati_%.20s_%012llx", row->name, (unsigned long long)hash);
    return true;
}

bool sql_book_init(struct sql_book *book, const char *schema) {
    *book = (struct sql_book){0};
    for (int number = 0; number < (int)SQL_COUNT; number++)
        for (int memory = 0; memory < 2; memory++)
            if (!fill_text(&book->texts[number][memory], sql_row((enum sql_number)number), schema,
                           memory != 0)) {
                sql_book_done(book);
                return false;
            }
    return true;
}

void sql_book_done(struct sql_book *book) {
    for (int number = 0; number < (int)SQL_COUNT; number++)
        for (int memory = 0; memory < 2; memory++)
            free(book->texts[number][memory].text);
    *book = (struct sql_book){0};
}
