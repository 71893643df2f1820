/* SPDX-License-Identifier: MIT */
/* Statements on keys. Calls that wait together are one statement over arrays; the number of a row
 * in them comes back with its answer. */
#include "engine/sql.h"

const struct sql sql_keys[] = {
    {.name = "keys_read",
     .text = "SELECT u.i, t.rev, CASE WHEN t.expires = 0 THEN 0 ELSE t.expires - {now} END,"
             " t.value, t.ctype"
             " FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::int8[]) AS u(ws, ns, key, i)"
             " JOIN {s}.kv{m} AS t ON t.ws = u.ws AND t.ns = u.ns AND t.key = u.key"
             " WHERE t.expires = 0 OR t.expires > {now}",
     .why = "One index look-up per key, one round trip for all that wait. Time left, not a time,"
            " comes back: the database's clock alone counts."},
    {.name = "keys_lock",
     .text = "SELECT u.i, t.rev, t.expires, CASE WHEN u.want THEN t.value END"
             " FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bool[], $5::int8[])"
             " AS u(ws, ns, key, want, i)"
             " JOIN {s}.kv{m} AS t ON t.ws = u.ws AND t.ns = u.ns AND t.key = u.key"
             " ORDER BY t.ws, t.ns, t.key FOR UPDATE OF t",
     .why = "Locks in the order of keys, so that transactions of several nodes wait for one another"
            " and do not deadlock; under SERIALIZABLE a lost lock shows as 40001."},
    {.name = "keys_upsert",
     .text = "INSERT INTO {s}.kv{m} AS t (ws, ns, key, long_key, value, ctype, rev, expires)"
             " SELECT u.ws, u.ns, u.key, u.long_key, u.value, u.ctype,"
             " (extract(epoch FROM clock_timestamp()) * 1000000)::int8 + u.bump,"
             " CASE WHEN u.ttl = 0 THEN 0 ELSE {now} + u.ttl END"
             " FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[],"
             " $6::bytea[], $7::int8[], $8::int8[])"
             " AS u(ws, ns, key, long_key, value, ctype, ttl, bump)"
             " ON CONFLICT (ws, ns, key) DO UPDATE SET value = excluded.value,"
             " ctype = excluded.ctype, expires = excluded.expires,"
             " rev = GREATEST(t.rev + $9::int8, excluded.rev)"
             " RETURNING t.ws, t.ns, t.key, t.rev",
     .why = "Writes without a condition: one statement, rows in the order of keys, each key once."
            " The revision is the clock in microseconds, but always more than before: no sequence,"
            " which is slow on CockroachDB, and none that starts over when a key is deleted. Each"
            " write of a key in the transaction has one; $9 is the most that a key has."},
    {.name = "keys_insert",
     .text = "INSERT INTO {s}.kv{m} (ws, ns, key, long_key, value, ctype, rev, expires)"
             " SELECT u.ws, u.ns, u.key, u.long_key, u.value, u.ctype, u.rev, u.expires"
             " FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[],"
             " $6::bytea[], $7::int8[], $8::int8[])"
             " AS u(ws, ns, key, long_key, value, ctype, rev, expires)",
     .why = "Keys that were looked for and not found. Without ON CONFLICT: where another came"
            " first, 23505 ends the transaction and it starts over."},
    {.name = "keys_update",
     .text = "UPDATE {s}.kv{m} AS t SET"
             " value = CASE WHEN u.keep_value THEN t.value ELSE u.value END,"
             " ctype = CASE WHEN u.keep_type THEN t.ctype ELSE u.ctype END,"
             " rev = u.rev, expires = u.expires"
             " FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bool[],"
             " $6::bytea[], $7::bool[], $8::int8[], $9::int8[])"
             " AS u(ws, ns, key, value, keep_value, ctype, keep_type, rev, expires)"
             " WHERE t.ws = u.ws AND t.ns = u.ns AND t.key = u.key",
     .why = "Rows that were locked before."},
    {.name = "keys_delete",
     .text = "DELETE FROM {s}.kv{m} AS t"
             " USING unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS u(ws, ns, key)"
             " WHERE t.ws = u.ws AND t.ns = u.ns AND t.key = u.key",
     .why = "Rows that were locked before."},
    {.name = "keys_flush",
     .text = "DELETE FROM {s}.kv{m} AS t",
     .why = "All of a storage, in one transaction; TRUNCATE would be a change of the schema."},
    {.name = "keys_list",
     .text = "SELECT t.key FROM {s}.kv{m} AS t WHERE t.ws = $1::uuid AND t.ns = $2::bytea"
             " AND t.key >= $3::bytea AND t.key > $4::bytea AND t.key < $5::bytea"
             " AND t.long_key IS NULL AND (t.expires = 0 OR t.expires > {now})"
             " ORDER BY t.ws, t.ns, t.key LIMIT $6::int8",
     .why = "A range of the primary key, bytewise on both databases."},
    {.name = "keys_list_long",
     .text = "SELECT t.long_key FROM {s}.kv{m} AS t WHERE t.ws = $1::uuid AND t.ns = $2::bytea"
             " AND t.key >= $3::bytea AND t.key < $4::bytea AND t.long_key IS NOT NULL"
             " AND t.long_key >= $5::bytea AND t.long_key > $6::bytea AND t.long_key < $7::bytea"
             " AND (t.expires = 0 OR t.expires > {now})"
             " ORDER BY t.long_key LIMIT $8::int8",
     .why = "Keys over 2000 bytes stand in the index as their first bytes and a hash; a partial"
            " index has those few."},
    {.name = "keys_count",
     .text = "SELECT count(*)::int8 FROM {s}.kv{m} AS t WHERE t.expires = 0 OR t.expires > {now}",
     .why = "Reads the whole index: seconds with many millions of keys."},
    {.name = "keys_sweep",
     .text = "WITH d AS MATERIALIZED (SELECT t.ws, t.ns, t.key FROM {s}.kv{m} AS t"
             " WHERE t.expires > 0 AND t.expires <= $1::int8"
             " AND t.expires <= {now} ORDER BY t.expires LIMIT 500"
             " FOR UPDATE SKIP LOCKED)"
             " DELETE FROM {s}.kv{m} AS t USING d"
             " WHERE t.ws = d.ws AND t.ns = d.ns AND t.key = d.key",
     .why = "Expired entries, a small batch at a time; nodes that sweep together step over each"
            " other's rows."},
};
