/* SPDX-License-Identifier: MIT */
/* Statements of snapshots: out in one transaction, and back in. */
#include "engine/sql.h"

const struct sql sql_transfer[] = {
    {.name = "export_begin",
     .text = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
     .why = "All that follows sees one instant, however long it takes; CockroachDB makes it"
            " SERIALIZABLE, which is the same here.",
     .is_offline = true},
    {.name = "export_now",
     .text = "SELECT {now}, (extract(epoch FROM clock_timestamp()) * 1000000)::int8",
     .why = "The database's clock, by which entries have expired and revisions are given.",
     .is_offline = true},
    {.name = "export_queues",
     .text = "SELECT q.name, q.id, q.storage, q.overflow, q.paused, q.lease_ms, q.ttl_ms,"
             " q.dedup_window_ms, q.max_length, q.max_deliver, q.dead_letter"
             " FROM {s}.queue AS q WHERE NOT q.gone ORDER BY q.name",
     .why = "All of them: they are few.",
     .is_offline = true},
    {.name = "export_routers",
     .text = "SELECT r.name, r.type FROM {s}.router AS r WHERE NOT r.gone ORDER BY r.name",
     .why = "The same.",
     .is_offline = true},
    {.name = "export_bindings",
     .text = "SELECT r.name, q.name, b.pattern FROM {s}.binding AS b"
             " JOIN {s}.router AS r ON r.id = b.router JOIN {s}.queue AS q ON q.id = b.queue"
             " WHERE NOT b.gone AND NOT r.gone AND NOT q.gone ORDER BY r.name, q.name, b.pattern",
     .why = "The same.",
     .is_offline = true},
    {.name = "export_keys",
     .text = "SELECT t.ws, t.ns, t.key, octet_length(t.value)::int8 FROM {s}.kv{m} AS t"
             " WHERE (t.ws, t.ns, t.key) > ($1::uuid, $2::bytea, $3::bytea)"
             " ORDER BY t.ws, t.ns, t.key LIMIT 1000",
     .why = "A page of keys and how large their values are, by the primary key.",
     .is_offline = true},
    {.name = "export_entries",
     .text = "SELECT t.ws, t.ns, t.key, t.long_key, t.value, t.ctype, t.rev, t.expires"
             " FROM {s}.kv{m} AS t WHERE (t.ws, t.ns, t.key) > ($1::uuid, $2::bytea, $3::bytea)"
             " AND (t.ws, t.ns, t.key) <= ($4::uuid, $5::bytea, $6::bytea)"
             " ORDER BY t.ws, t.ns, t.key",
     .why = "As many of the page as are some megabytes: values of any size pass.",
     .is_offline = true},
    {.name = "export_lengths",
     .text = "SELECT m.place, m.seq, (octet_length(m.body) + octet_length(m.headers))::int8"
             " FROM {s}.msg{m} AS m WHERE m.queue = $1::int8 AND (m.place, m.seq) >"
             " ($2::int8, $3::int8) ORDER BY m.queue, m.place, m.seq LIMIT 1000",
     .why = "The same of a queue's messages.",
     .is_offline = true},
    {.name = "export_messages",
     .text = "SELECT m.place, m.seq, m.due, m.lease, m.attempt, m.expires, m.published, m.id,"
             " m.rkey, m.headers, m.body, m.reason, m.origin, m.origin_attempt"
             " FROM {s}.msg{m} AS m WHERE m.queue = $1::int8 AND (m.place, m.seq) >"
             " ($2::int8, $3::int8) AND (m.place, m.seq) <= ($4::int8, $5::int8)"
             " ORDER BY m.queue, m.place, m.seq",
     .why = "The same.",
     .is_offline = true},
    {.name = "restore_messages",
     .text =
         "WITH base AS MATERIALIZED (SELECT {now} AS now,"
         " (extract(epoch FROM clock_timestamp()) * 1000000)::int8 * 1024 AS seq), made AS ("
         "INSERT INTO {s}.msg{m} (queue, place, seq, due, lease, attempt, expires, published, id,"
         " rkey, headers, body, reason, origin, origin_attempt)"
         " SELECT q.id, a.place, base.seq + a.n,"
         " CASE WHEN a.due > base.now THEN a.due ELSE 0 END, 0, a.attempt, a.expires, a.published,"
         " a.id, a.rkey, a.headers, a.body, a.reason, a.origin, a.origin_attempt"
         " FROM unnest($1::bytea[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[],"
         " $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[], $11::int8[], $12::bytea[],"
         " $13::int8[]) WITH ORDINALITY AS a (queue, place, due, attempt, expires, published, id,"
         " rkey, headers, body, reason, origin, origin_attempt, n)"
         " JOIN {s}.queue AS q ON q.name = a.queue CROSS JOIN base"
         " WHERE NOT q.gone AND q.storage = $14::int8 RETURNING seq)"
         " SELECT count(*)::int8 FROM made",
     .why = "Messages of a snapshot as they were, with their times and deliveries, in their order;"
            " fewer rows than messages: a queue is not there, and all is taken back.",
     .is_offline = true},
    {.name = "restore_ids",
     .text = "INSERT INTO {s}.dedup{m} AS d (queue, hash, until)"
             " SELECT q.id, a.hash, max(a.published + q.dedup_window_ms)"
             " FROM unnest($1::bytea[], $2::bytea[], $3::int8[]) AS a (queue, hash, published)"
             " JOIN {s}.queue AS q ON q.name = a.queue"
             " WHERE NOT q.gone AND a.published + q.dedup_window_ms > {now}"
             " GROUP BY q.id, a.hash"
             " ON CONFLICT (queue, hash) DO UPDATE SET until = GREATEST(d.until, excluded.until)",
     .why = "Their ids, for what is left of the queue's window.",
     .is_offline = true},
};

#define X(symbol) +1
_Static_assert(sizeof sql_transfer / sizeof *sql_transfer == 0 SQL_TRANSFER(X),
               "one row per number");
#undef X
