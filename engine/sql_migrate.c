/* SPDX-License-Identifier: MIT */
/* Statements of the schema's making and of imports: on a connection of their own, never prepared.
 * The tables themselves are in migrations.c. */
#include "engine/sql.h"

#define DEFINITION .is_definition = true, .is_offline = true
#define PLANNER(setting) "ALTER ROLE CURRENT_USER IN DATABASE {d} SET " setting " = off"
#define VACUUM_OFTEN                                                                               \
    "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,"                   \
    " autovacuum_vacuum_cost_delay = 0"

static const char why_planner[] =
    "By index always: behind a burst into an empty table the planner's statistics say that it is"
    " empty, and it would read all of it. Sorting stays: without it rows that are locked in the "
    "order"
    " of their keys would be found by reading the whole index in that order.";
static const char why_vacuum[] =
    "Rows come and go: what is dead is taken away before reads step over much of it.";

const struct sql sql_migrate[] = {
    {.name = "version_read",
     .text = "SELECT v.version FROM {s}.schema_version AS v",
     .why = "What the schema is at; fails where there is none, and a node that finds its own"
            " version needs no right to define anything.",
     .is_offline = true},
    {.name = "schema_make",
     .text = "CREATE SCHEMA IF NOT EXISTS {s}",
     .why = "Tried again with a pause: IF NOT EXISTS of several at once fails on PostgreSQL.",
     DEFINITION},
    {.name = "lock_table",
     .text = "CREATE TABLE IF NOT EXISTS {s}.lock (name text PRIMARY KEY, owner uuid NOT NULL,"
             " fence int8 NOT NULL, until int8 NOT NULL)",
     .why = "Leases: neither database needs a lock of the session for them.",
     DEFINITION},
    {.name = "version_table",
     .text = "CREATE TABLE IF NOT EXISTS {s}.schema_version (one bool PRIMARY KEY DEFAULT true"
             " CHECK (one), version int8 NOT NULL)",
     .why = "One row: which steps were done.",
     DEFINITION},
    {.name = "version_first",
     .text = "INSERT INTO {s}.schema_version (one, version) VALUES (true, 0)"
             " ON CONFLICT (one) DO NOTHING",
     .why = "Before the first step.",
     DEFINITION},
    {.name = "lease_take",
     .text = "INSERT INTO {s}.lock AS t (name, owner, fence, until)"
             " VALUES ($1::text, $2::uuid, 1, {now} + $3::int8) ON CONFLICT (name)"
             " DO UPDATE SET owner = excluded.owner, until = excluded.until, fence = t.fence + 1"
             " WHERE t.until < {now} OR t.owner = excluded.owner RETURNING t.fence",
     .why = "Takes or renews; no row where somebody else has it. It ends by the database's clock,"
            " so a node that died holds nobody up for long.",
     .is_offline = true},
    {.name = "lease_end",
     .text = "UPDATE {s}.lock AS t SET until = 0 WHERE t.name = $1::text AND t.owner = $2::uuid",
     .why = "Lets go early.",
     .is_offline = true},
    {.name = "version_step",
     .text = "UPDATE {s}.schema_version AS v SET version = $1::int8"
             " WHERE v.version = $1::int8 - 1",
     .why = "A step is done, unless another node did it in the meantime.",
     .is_offline = true},
    {.name = "tune_ask",
     .text = "SELECT current_setting('enable_seqscan')::text",
     .why = "Whether the role has the planner's settings below.",
     .postgres_alone = true,
     .is_offline = true},
    {.name = "tune_seqscan",
     .text = PLANNER("enable_seqscan"),
     .why = why_planner,
     .postgres_alone = true,
     DEFINITION},
    {.name = "tune_bitmapscan",
     .text = PLANNER("enable_bitmapscan"),
     .why = why_planner,
     .postgres_alone = true,
     DEFINITION},
    {.name = "tune_jit",
     .text = PLANNER("jit"),
     .why = "Compiling costs more than any statement here.",
     .postgres_alone = true,
     DEFINITION},
    {.name = "tune_kv",
     .text = "ALTER TABLE {s}.kv SET (fillfactor = 85, " VACUUM_OFTEN ")",
     .why = "Room for an entry's next version on its own page: no index is touched then.",
     .postgres_alone = true,
     DEFINITION},
    {.name = "tune_kv_mem",
     .text = "ALTER TABLE {s}.kv_mem SET (fillfactor = 85, " VACUUM_OFTEN ")",
     .why = "The same for memory.",
     .postgres_alone = true,
     DEFINITION},
    {.name = "tune_msg",
     .text = "ALTER TABLE {s}.msg SET (" VACUUM_OFTEN ")",
     .why = why_vacuum,
     .postgres_alone = true,
     DEFINITION},
    {.name = "tune_msg_mem",
     .text = "ALTER TABLE {s}.msg_mem SET (" VACUUM_OFTEN ")",
     .why = why_vacuum,
     .postgres_alone = true,
     DEFINITION},
    {.name = "tune_op",
     .text = "ALTER TABLE {s}.op SET (" VACUUM_OFTEN ")",
     .why = why_vacuum,
     .postgres_alone = true,
     DEFINITION},
    {.name = "import_read",
     .text = "SELECT k.workspace, convert_to(k.namespace, 'UTF8'), convert_to(k.key, 'UTF8'),"
             " octet_length(k.value)::int8 FROM {f}.kvs AS k WHERE (k.workspace, k.namespace,"
             " k.key) > ($1::uuid, convert_from($2::bytea, 'UTF8'), convert_from($3::bytea,"
             " 'UTF8')) ORDER BY k.workspace, k.namespace, k.key LIMIT 500",
     .why = "A page of hulykvs' keys by its own index, whatever its collation.",
     .is_offline = true},
    {.name = "import_write",
     .text = "INSERT INTO {s}.kv AS o (ws, ns, key, long_key, value, ctype, rev, expires)"
             " SELECT k.workspace, u.ns, u.place, u.long_key, k.value, ''::bytea,"
             " (extract(epoch FROM clock_timestamp()) * 1000000)::int8, 0"
             " FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[])"
             " AS u (ws, ns, key, place, long_key)"
             " JOIN {f}.kvs AS k ON k.workspace = u.ws"
             " AND k.namespace = convert_from(u.ns, 'UTF8') AND k.key = convert_from(u.key, 'UTF8')"
             " ON CONFLICT (ws, ns, key) DO UPDATE SET value = excluded.value,"
             " ctype = excluded.ctype, rev = greatest(o.rev + 1, excluded.rev), expires = 0"
             " WHERE $6::bool OR (o.expires > 0 AND o.expires <= {now}) RETURNING o.rev",
     .why = "Values go from table to table and never to the node; what hati has is kept, unless"
            " told otherwise, so a repeated import does no harm.",
     .is_offline = true},
};
