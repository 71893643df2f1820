/* SPDX-License-Identifier: MIT */
/* Statements around a transaction, and what a connection asks of its server. */
#include "engine/sql.h"

/* pg_walfile_name begins with the timeline, 8 hexadecimal digits; the control file tells an old
 * one for a while behind a promotion. */
#define TIMELINE_OF_INSERT                                                                         \
    "('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int8"

const struct sql sql_txn[] = {
    {.name = "begin",
     .text = "BEGIN",
     .why = "The isolation is the database's own: READ COMMITTED or SERIALIZABLE, both do."},
    {.name = "commit", .text = "COMMIT", .why = "Ends a transaction."},
    {.name = "rollback", .text = "ROLLBACK", .why = "Takes a transaction back."},
    {.name = "op_add",
     .text = "INSERT INTO {s}.op{m} AS o (id, at) VALUES ($1::uuid, {now})"
             " RETURNING o.at, (extract(epoch FROM clock_timestamp()) * 1000000)::int8,"
             " (SELECT t.version FROM {s}.topology AS t),"
             " set_config('idle_in_transaction_session_timeout', '10000', true)",
     .why = "The transaction's own row, by which an unknown commit is found out; gives the clock in"
            " milliseconds and microseconds and the topology's version, and limits how long a node"
            " that was cut off keeps its locks, for this transaction alone: no state of the session"
            " is left to a pooler."},
    {.name = "op_fence",
     .text = "INSERT INTO {s}.op{m} AS o (id, at) VALUES ($1::uuid, 0)"
             " ON CONFLICT (id) DO UPDATE SET at = o.at RETURNING o.at",
     .why = "What became of a transaction whose COMMIT was not answered: waits for it to end, then"
            " finds its row (not 0: it was done), or takes its place for good. It writes in either"
            " case, so that its own commit waits for a synchronous standby too."},
    {.name = "op_sweep",
     .text = "WITH d AS MATERIALIZED (SELECT o.id FROM {s}.op{m} AS o WHERE o.at > 0"
             " AND o.at < $1::int8 AND o.at < {now} - $2::int8"
             " ORDER BY o.at LIMIT 500 FOR UPDATE SKIP LOCKED)"
             " DELETE FROM {s}.op{m} AS o USING d WHERE o.id = d.id",
     .why = "A small batch by index; nodes that sweep together step over each other's rows. What"
            " stands in the way of a lost transaction (0) stays: nobody knows for how long."},
    {.name = "version_guard",
     .text = "SELECT mod(1::int8, (CASE WHEN (SELECT t.version FROM {s}.topology AS t) = $1::int8"
             " THEN 1 ELSE 0 END)::int8)::int8",
     .why = "Fails with 22012 where the topology is at another version, and with it the"
            " transaction it stands in: a pipeline needs no answer before it sends COMMIT. mod, for"
            " whole numbers divided are a decimal on CockroachDB."},
    {.name = "wal_position",
     .text = "SELECT (SELECT c.system_identifier FROM pg_control_system() AS c)::int8,"
             " " TIMELINE_OF_INSERT ","
             " pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8",
     .why = "System identifier, timeline and position, of a causal context: asked behind the"
            " commit, for within it the position precedes the commit's record.",
     .postgres_alone = true},
    {.name = "hlc_position",
     .text = "SELECT cluster_logical_timestamp()::text",
     .why = "The logical timestamp of a causal context; of CockroachDB alone."},
    {.name = "replay_position",
     .text = "SELECT coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::int8,"
             " pg_is_in_recovery()",
     .why = "How far a replica is, asked before the read: the read's snapshot is the newer one.",
     .postgres_alone = true},
    {.name = "identity",
     .text = "SELECT version()::text",
     .why = "Tells PostgreSQL, CockroachDB and YugabyteDB apart."},
    {.name = "timeline",
     .text = "SELECT " TIMELINE_OF_INSERT ","
             " (SELECT c.system_identifier FROM pg_control_system() AS c)::int8",
     .why = "Timeline and system identifier behind each connect: a primary of before a failover is"
            " refused.",
     .postgres_alone = true},
};
