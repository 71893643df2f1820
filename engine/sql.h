/* SPDX-License-Identifier: MIT */
/* Every statement that hati sends, in one list: its text, and why it runs on PostgreSQL and on
 * CockroachDB alike. docs/sql.md is made of it. */
#ifndef HATI_ENGINE_SQL_H
#define HATI_ENGINE_SQL_H

#include <stdbool.h>
#include <stddef.h>

/* One statement. In the text `{s}` is the quoted schema; `{m}` makes two statements of one: nothing
 * on hdd's tables, `_mem` on those of memory; `{now}` is the database's clock at the
 * statement's begin in milliseconds, an int8. Parameters and results are binary; every `$n` has a
 * cast. */
struct sql {
    const char *name; /* "keys_read" */
    const char *text;
    const char *why;     /* one sentence for docs/sql.md */
    bool postgres_alone; /* never sent to another kind of database */
    bool is_definition;  /* of tables and indexes: sent unprepared, while migrating */
    bool is_offline;     /* on a connection of its own: `{d}` is the database, `{f}` the schema that
                            is imported */
};

/* Statements by number; X(symbol) of every list below. */
/* clang-format off */
#define SQL_KEYS(X) \
    X(KEYS_READ) X(KEYS_LOCK) X(KEYS_UPSERT) X(KEYS_INSERT) X(KEYS_UPDATE) X(KEYS_DELETE) \
    X(KEYS_FLUSH) X(KEYS_LIST) X(KEYS_LIST_LONG) X(KEYS_COUNT) X(KEYS_SWEEP)
#define SQL_TXN(X) \
    X(BEGIN) X(COMMIT) X(ROLLBACK) X(OP_ADD) X(OP_FENCE) X(OP_SWEEP) X(VERSION_GUARD) X(WAL_POSITION) \
    X(HLC_POSITION) X(REPLAY_POSITION) X(IDENTITY) X(TIMELINE)
#define SQL_MESSAGES(X) \
    X(MESSAGES_ADD) X(MESSAGES_LOCK) X(MESSAGES_UPDATE) X(MESSAGES_DELETE) X(MESSAGES_ACK) \
    X(MESSAGES_FLUSH) X(MESSAGES_HEAD) \
    X(QUEUES_LOCK) X(QUEUES_ROOM) X(DEDUP_READ) X(DEDUP_ADD) X(DEDUP_DROP) X(DEDUP_SWEEP)
#define SQL_TOPOLOGY(X) \
    X(TOPOLOGY_VERSION) X(TOPOLOGY_ROUTERS) X(TOPOLOGY_QUEUES) X(TOPOLOGY_BINDINGS) \
    X(TOPOLOGY_STEP) X(ROUTER_PUT) X(QUEUE_PUT) X(BINDING_PUT) X(BINDINGS_GONE) \
    X(ROUTER_COUNTERS_GONE) X(QUEUE_EMPTY) X(TOPOLOGY_SWEEP)
#define SQL_QUEUES(X) \
    X(RECEIVE) X(GIVE_BACK) X(DUE_LOCK) X(EXPIRED_LOCK) X(DUE_NEXT) X(REDRIVE_LOCK) X(PEEK) \
    X(QUEUE_COUNTS) X(MESSAGE_COUNT) X(ORPHANS_SWEEP) X(ORPHANS_NEXT) X(COUNTERS_PUT) \
    X(COUNTERS_READ) X(COUNTERS_SWEEP) X(ROUTER_COUNTERS_PUT) X(ROUTER_COUNTERS_READ) \
    X(ROUTER_COUNTERS_SWEEP) X(NODE_PUT) X(NODES_READ) X(NODE_LEAVE) X(NODES_SWEEP) X(LEASES_READ) X(READY_OF) X(MESSAGES_READY) \
    X(MESSAGES_MOVE) X(MESSAGES_TO_MEMORY) X(MESSAGES_TO_HDD) X(MESSAGES_DROP) \
    X(STATS_BEHIND) X(STATS_KEYS) X(STATS_MESSAGES) X(STATS_OPS) X(STATS_DEDUP)
#define SQL_MIGRATE(X) \
    X(VERSION_READ) X(SCHEMA_MAKE) X(LOCK_TABLE) X(VERSION_TABLE) X(VERSION_FIRST) X(LEASE_TAKE) \
    X(LEASE_END) X(VERSION_STEP) X(TUNE_ASK) X(TUNE_SEQSCAN) X(TUNE_BITMAPSCAN) \
    X(TUNE_JIT) X(TUNE_KV) X(TUNE_KV_MEM) X(TUNE_MSG) X(TUNE_MSG_MEM) X(TUNE_OP) \
    X(IMPORT_READ) X(IMPORT_WRITE)
#define SQL_TRANSFER(X) \
    X(EXPORT_BEGIN) X(EXPORT_NOW) X(EXPORT_QUEUES) X(EXPORT_ROUTERS) X(EXPORT_BINDINGS) \
    X(EXPORT_KEYS) X(EXPORT_ENTRIES) X(EXPORT_LENGTHS) X(EXPORT_MESSAGES) X(RESTORE_MESSAGES) \
    X(RESTORE_IDS)
/* clang-format on */

enum sql_number {
#define X(symbol) SQL_##symbol,
    SQL_TXN(X) SQL_KEYS(X) SQL_MESSAGES(X) SQL_TOPOLOGY(X) SQL_QUEUES(X) SQL_MIGRATE(X)
        SQL_TRANSFER(X)
#undef X
            SQL_COUNT
};

/* One row per number; the files sql_*.c each fill theirs. */
extern const struct sql sql_txn[], sql_keys[], sql_messages[], sql_topology[], sql_queues[],
    sql_migrate[], sql_transfer[];

/* The texts of one schema, ready to be sent. */
struct sql_text {
    char *text;
    char name[40]; /* of the prepared statement: it has a hash of the text */
};
struct sql_book {
    struct sql_text texts[SQL_COUNT][2]; /* hdd, memory */
};

/* The row of a statement. */
const struct sql *sql_row(enum sql_number number);
/* Fills the book; free with sql_book_done. False without memory. */
bool sql_book_init(struct sql_book *book, const char *schema);
void sql_book_done(struct sql_book *book);
/* One text with its placeholders filled, malloced. NULL without memory. */
char *sql_fill(const char *text, const char *schema, bool memory);

#endif
