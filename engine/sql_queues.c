/* SPDX-License-Identifier: MIT */
/* Statements on queues, counters and nodes. A time that an index is searched by is a parameter:
 * {now} changes while a statement runs, so that no index can be entered at it. */
#include "engine/sql.h"

#define MESSAGE_FIELDS "m.attempt, m.published, m.id, m.rkey, m.headers, m.body, m.reason, m.origin"

/* What a message weighs in an answer, about. */
#define WEIGHT "octet_length(m.body) + octet_length(m.headers) + 256"

static const char why_stats[] = "Where stats_behind says so: every node's next plan knows the "
                                "table's size. Nobody waits for it.";

const struct sql sql_queues[] = {
    {.name = "receive",
     .text =
         "WITH c AS MATERIALIZED (SELECT m.queue, m.place, m.seq, " WEIGHT " AS weight"
         " FROM {s}.msg{m} AS m WHERE m.queue = $1::int8 AND m.due = 0"
         " AND (m.expires = 0 OR m.expires > {now})"
         " AND (SELECT t.version FROM {s}.topology AS t) = $2::int8"
         " ORDER BY m.place, m.seq LIMIT $3::int8 FOR UPDATE SKIP LOCKED),"
         " w AS (SELECT c.queue, c.place, c.seq, c.weight, sum(c.weight)"
         " OVER (ORDER BY c.place, c.seq ROWS UNBOUNDED PRECEDING) AS total FROM c),"
         " u AS (UPDATE {s}.msg{m} AS m SET due = {now} + $4::int8, lease = $5::int8,"
         " attempt = m.attempt + 1 FROM w WHERE m.queue = w.queue AND m.place = w.place"
         " AND m.seq = w.seq AND (w.total <= $6::int8 OR w.total = w.weight)"
         " AND m.queue = $1::int8"
         " AND (m.place, m.seq) >= ((SELECT min(w.place) FROM w), (SELECT min(w.seq) FROM w))"
         " AND (m.place, m.seq) <= ((SELECT max(w.place) FROM w), (SELECT max(w.seq) FROM w))"
         " RETURNING m.place, m.seq, m.due, " MESSAGE_FIELDS ", m.origin_attempt)"
         " SELECT t.version, {now}, u.place, u.seq, u.due, u.attempt, u.published, u.id, u.rkey,"
         " u.headers, u.body, u.reason, u.origin, u.origin_attempt"
         " FROM {s}.topology AS t LEFT JOIN u ON true",
     .why = "Leases what is first in the queue, rows that others are taking left out, where the"
            " topology still is what the node knows; answers the topology's version in any case."
            " Reading the body's length makes CockroachDB lock the row and not only its index. The"
            " bounds add nothing but safety: a plan made while the table was empty, that goes"
            " through its index, goes through the part in question alone."},
    {.name = "give_back",
     .text = "UPDATE {s}.msg{m} AS m SET due = 0, lease = 0, attempt = m.attempt - 1"
             " FROM unnest($2::int8[], $3::int8[], $4::int8[]) AS r(place, seq, lease)"
             " WHERE m.queue = $1::int8 AND m.place = r.place AND m.seq = r.seq"
             " AND m.lease = r.lease AND m.due > {now} RETURNING m.attempt",
     .why = "By primary key; what was leased anew meanwhile is left alone."},
    {.name = "due_lock",
     .text = "SELECT m.queue, m.place, m.seq, m.lease, m.attempt, m.expires FROM {s}.msg{m} AS m"
             " WHERE m.due > 0 AND m.due <= $1::int8 AND m.due <= {now}"
             " ORDER BY m.due LIMIT $2::int8 FOR UPDATE SKIP LOCKED",
     .why = "Leases and delays that are over, by index; any node, none waits for another."},
    {.name = "expired_lock",
     .text = "SELECT m.queue, m.place, m.seq, m.lease, m.attempt, m.expires FROM {s}.msg{m} AS m"
             " WHERE m.expires > 0 AND m.lease = 0 AND m.expires <= $1::int8"
             " AND m.expires <= {now}"
             " ORDER BY m.expires LIMIT $2::int8 FOR UPDATE SKIP LOCKED",
     .why = "What expired in nobody's hands, by index; any node, none waits for another."},
    {.name = "due_next",
     .text = "SELECT coalesce((SELECT m.due FROM {s}.msg{m} AS m WHERE m.due > 0"
             " ORDER BY m.due LIMIT 1), 0)::int8,"
             " coalesce((SELECT m.expires FROM {s}.msg{m} AS m WHERE m.expires > 0 AND m.lease = 0"
             " ORDER BY m.expires LIMIT 1), 0)::int8, {now}",
     .why = "The first entry of two indexes: when something happens by time."},
    {.name = "redrive_lock",
     .text = "SELECT m.place, m.seq, m.origin FROM {s}.msg{m} AS m WHERE m.queue = $1::int8"
             " AND m.due = 0 AND (m.place, m.seq) > ($2::int8, $3::int8) AND m.seq <= $4::int8"
             " AND m.origin <> ''::bytea AND (m.expires = 0 OR m.expires > {now})"
             " ORDER BY m.place, m.seq LIMIT $5::int8 FOR UPDATE SKIP LOCKED",
     .why =
         "Ready messages in their order from a cursor on, by index. What came from nowhere stays,"
         " and is not held up for those who receive it."},
    {.name = "peek",
     .text =
         "SELECT p.place, p.seq, p.attempt, p.published, p.id, p.rkey, p.headers, p.body,"
         " p.reason, p.origin, p.origin_attempt, p.found FROM (SELECT m.place, m.seq,"
         " " MESSAGE_FIELDS ", m.origin_attempt, " WEIGHT " AS weight, count(*) OVER () AS found,"
         " sum(" WEIGHT ") OVER (ORDER BY m.place, m.seq ROWS UNBOUNDED PRECEDING) AS total"
         " FROM (SELECT * FROM {s}.msg{m} AS m WHERE m.queue = $1::int8 AND m.due = 0"
         " AND (m.place, m.seq) > ($2::int8, $3::int8)"
         " AND (m.expires = 0 OR m.expires > {now})"
         " ORDER BY m.place, m.seq LIMIT $4::int8) AS m) AS p"
         " WHERE p.total <= $5::int8 OR p.total = p.weight ORDER BY p.place, p.seq",
     .why = "A page of ready messages by index, cut where it weighs too much."},
    {.name = "queue_counts",
     .text = "SELECT count(*) FILTER (WHERE m.due = 0 AND (m.expires = 0 OR m.expires > {now})),"
             " count(*) FILTER (WHERE m.lease <> 0),"
             " count(*) FILTER (WHERE m.due > 0 AND m.lease = 0"
             " AND (m.expires = 0 OR m.expires > {now})),"
             " coalesce(min(m.published) FILTER (WHERE m.due = 0"
             " AND (m.expires = 0 OR m.expires > {now})), 0)::int8, {now}"
             " FROM {s}.msg{m} AS m WHERE m.queue = $1::int8",
     .why = "Counts one queue's rows, from its part of the primary key; FILTER is of both."},
    {.name = "message_count",
     .text = "SELECT (SELECT count(*) FROM (SELECT 1 FROM {s}.kv{m} LIMIT 1000001) AS k),"
             " (SELECT count(*) FROM (SELECT 1 FROM {s}.msg{m} LIMIT 1000001) AS m)",
     .why = "Counts keys and messages, no further than a million of each."},
    {.name = "orphans_sweep",
     .text = "WITH d AS MATERIALIZED (SELECT m.queue, m.place, m.seq FROM {s}.msg{m} AS m"
             " WHERE m.queue = $1::int8 AND NOT EXISTS (SELECT 1 FROM {s}.queue AS q"
             " WHERE q.id = $1::int8 AND NOT q.gone) LIMIT 500 FOR UPDATE SKIP LOCKED)"
             " DELETE FROM {s}.msg{m} AS m USING d WHERE m.queue = d.queue AND m.place = d.place"
             " AND m.seq = d.seq",
     .why = "What a deleted queue left, in small batches; the database itself says that the queue"
            " is gone."},
    {.name = "orphans_next",
     .text = "SELECT m.queue FROM {s}.msg{m} AS m WHERE m.queue > $1::int8"
             " ORDER BY m.queue LIMIT 1",
     .why = "The next queue that has messages: one step in the primary key."},
    {.name = "counters_put",
     .text =
         "INSERT INTO {s}.queue_node (queue, node, published, delivered, acked, redelivered,"
         " dead_lettered, expired, dropped, consumers)"
         " SELECT r.queue, $1::uuid, r.published, r.delivered, r.acked, r.redelivered,"
         " r.dead_lettered, r.expired, r.dropped, r.consumers FROM unnest($2::int8[], $3::int8[],"
         " $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[])"
         " AS r(queue, published, delivered, acked, redelivered, dead_lettered, expired, dropped,"
         " consumers) ON CONFLICT (queue, node) DO UPDATE SET published = excluded.published,"
         " delivered = excluded.delivered, acked = excluded.acked,"
         " redelivered = excluded.redelivered, dead_lettered = excluded.dead_lettered,"
         " expired = excluded.expired, dropped = excluded.dropped,"
         " consumers = excluded.consumers",
     .why =
         "A node writes rows of its own alone: no two nodes meet, no row is everybody's counter."},
    {.name = "counters_read",
     .text = "SELECT coalesce(sum(c.published), 0)::int8, coalesce(sum(c.delivered), 0)::int8,"
             " coalesce(sum(c.acked), 0)::int8, coalesce(sum(c.redelivered), 0)::int8,"
             " coalesce(sum(c.dead_lettered), 0)::int8, coalesce(sum(c.expired), 0)::int8,"
             " coalesce(sum(c.dropped), 0)::int8, coalesce(sum(CASE WHEN EXISTS (SELECT 1"
             " FROM {s}.node AS n WHERE n.id = c.node AND n.heartbeat > {now} - 15000)"
             " THEN c.consumers ELSE 0 END), 0)::int8"
             " FROM {s}.queue_node AS c WHERE c.queue = $1::int8 AND c.node <> $2::uuid",
     .why = "Sums the other nodes' rows of one queue; the casts make a sum an int8 on both."},
    {.name = "counters_sweep",
     .text =
         "WITH d AS MATERIALIZED (SELECT c.queue, c.node FROM {s}.queue_node AS c"
         " WHERE (c.queue, c.node) > ($1::int8, $2::uuid)"
         " ORDER BY c.queue, c.node LIMIT 500 FOR UPDATE SKIP LOCKED),"
         " x AS (DELETE FROM {s}.queue_node AS c USING d WHERE c.queue = d.queue"
         " AND c.node = d.node AND (NOT EXISTS (SELECT 1 FROM {s}.node AS n WHERE n.id = d.node)"
         " OR NOT EXISTS (SELECT 1 FROM {s}.queue AS q WHERE q.id = d.queue AND NOT q.gone))"
         " RETURNING c.queue)"
         " SELECT d.queue, d.node FROM d ORDER BY d.queue DESC, d.node DESC LIMIT 1",
     .why = "Goes through the counters in small steps, and takes away those of nodes and queues"
            " that are gone."},
    {.name = "router_counters_put",
     .text = "INSERT INTO {s}.router_node (router, node, published, unroutable)"
             " SELECT r.router, $1::uuid, r.published, r.unroutable"
             " FROM unnest($2::int8[], $3::int8[], $4::int8[]) AS r(router, published, unroutable)"
             " ON CONFLICT (router, node) DO UPDATE SET published = excluded.published,"
             " unroutable = excluded.unroutable",
     .why = "As counters_put."},
    {.name = "router_counters_read",
     .text = "SELECT coalesce(sum(c.published), 0)::int8, coalesce(sum(c.unroutable), 0)::int8"
             " FROM {s}.router_node AS c WHERE c.router = $1::int8 AND c.node <> $2::uuid",
     .why = "As counters_read."},
    {.name = "router_counters_sweep",
     .text = "WITH d AS MATERIALIZED (SELECT c.router, c.node FROM {s}.router_node AS c"
             " WHERE (c.router, c.node) > ($1::int8, $2::uuid)"
             " ORDER BY c.router, c.node LIMIT 500 FOR UPDATE SKIP LOCKED),"
             " x AS (DELETE FROM {s}.router_node AS c USING d WHERE c.router = d.router"
             " AND c.node = d.node AND NOT EXISTS (SELECT 1 FROM {s}.node AS n WHERE n.id = d.node)"
             " RETURNING c.router)"
             " SELECT d.router, d.node FROM d ORDER BY d.router DESC, d.node DESC LIMIT 1",
     .why = "As counters_sweep, of nodes that are gone."},
    {.name = "node_put",
     .text = "INSERT INTO {s}.node (id, address, version, started, heartbeat, published, delivered,"
             " acked, unroutable) VALUES ($1::uuid, $2::bytea, $3::bytea, {now}, {now}, $4::int8,"
             " $5::int8, $6::int8, $7::int8) ON CONFLICT (id) DO UPDATE SET"
             " heartbeat = excluded.heartbeat, published = excluded.published,"
             " delivered = excluded.delivered, acked = excluded.acked,"
             " unroutable = excluded.unroutable RETURNING heartbeat",
     .why = "The heartbeat, by the database's clock: one row of one node, once in five seconds."},
    {.name = "nodes_read",
     .text = "SELECT n.id, n.address, n.version, n.started, n.heartbeat, n.published, n.delivered,"
             " n.acked, n.unroutable, {now} FROM {s}.node AS n ORDER BY n.started, n.id LIMIT 4096",
     .why = "A small table, read whole."},
    {.name = "node_leave",
     .text = "DELETE FROM {s}.node AS n WHERE n.id = $1::uuid",
     .why = "By primary key."},
    {.name = "nodes_sweep",
     .text = "DELETE FROM {s}.node AS n WHERE n.heartbeat < {now} - 86400000",
     .why = "Nodes that were not heard of for a day; a small table."},
    {.name = "leases_read",
     .text = "SELECT m.queue, m.place, m.seq, m.lease, m.due FROM {s}.msg{m} AS m, "
             "unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[]) AS r(queue, place, seq, lease)"
             " WHERE m.queue = r.queue AND m.place = r.place AND m.seq = r.seq"
             " AND m.lease = r.lease",
     .why = "Which deliveries of this node's consumers are still leased: others may have been"
            " acknowledged on another node."},
    {.name = "ready_of",
     .text = "SELECT r.queue FROM unnest($1::int8[]) AS r(queue), LATERAL (SELECT 1"
             " FROM {s}.msg{m} AS m WHERE m.queue = r.queue AND m.due = 0 LIMIT 1) AS x",
     .why = "Which of many queues have something: one step in an index for each, nothing locked."},
    {.name = "messages_ready",
     .text = "UPDATE {s}.msg{m} AS m SET due = 0, lease = 0 FROM unnest($1::int8[], $2::int8[],"
             " $3::int8[]) AS r(queue, place, seq)"
             " WHERE m.queue = r.queue AND m.place = r.place AND m.seq = r.seq",
     .why = "By primary key, of rows that the transaction has locked."},
    {.name = "messages_move",
     .text = "UPDATE {s}.msg{m} AS m SET queue = r.target, seq = r.fresh, due = 0, lease = 0,"
             " attempt = 0, expires = r.expires, reason = r.reason, origin = r.origin,"
             " origin_attempt = r.origin_attempt"
             " FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[],"
             " $7::int8[], $8::bytea[], $9::int8[])"
             " AS r(queue, place, seq, target, fresh, expires, reason, origin, origin_attempt)"
             " WHERE m.queue = r.queue AND m.place = r.place AND m.seq = r.seq",
     .why = "A primary key may be changed on both; the payload stays in the database."},
#define MOVE_ACROSS(from, to)                                                                      \
    "WITH d AS (DELETE FROM {s}." from " AS m USING unnest($1::int8[], $2::int8[], $3::int8[],"    \
    " $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::bytea[], $9::int8[])"                    \
    " AS r(queue, place, seq, target, fresh, expires, reason, origin, origin_attempt)"             \
    " WHERE m.queue = r.queue AND m.place = r.place AND m.seq = r.seq"                             \
    " RETURNING r.target, m.place, r.fresh, r.expires, m.published, m.id, m.rkey, m.headers,"      \
    " m.body, r.reason, r.origin, r.origin_attempt)"                                               \
    " INSERT INTO {s}." to " (queue, place, seq, due, lease, attempt, expires, published, id,"     \
    " rkey, headers, body, reason, origin, origin_attempt)"                                        \
    " SELECT d.target, d.place, d.fresh, 0, 0, 0, d.expires, d.published, d.id, d.rkey, "          \
    "d.headers,"                                                                                   \
    " d.body, d.reason, d.origin, d.origin_attempt FROM d"
    {.name = "messages_to_memory",
     .text = MOVE_ACROSS("msg", "msg_mem"),
     .why = "From one table to the other in one statement: two tables are changed, each once."},
    {.name = "messages_to_hdd",
     .text = MOVE_ACROSS("msg_mem", "msg"),
     .why = "As messages_to_memory."},
    {.name = "messages_drop",
     .text = "DELETE FROM {s}.msg{m} AS m USING unnest($1::int8[], $2::int8[], $3::int8[])"
             " AS r(queue, place, seq)"
             " WHERE m.queue = r.queue AND m.place = r.place AND m.seq = r.seq",
     .why = "By primary key, of rows that the transaction has locked."},
    {.name = "stats_behind",
     .text = "SELECT k.n FROM unnest(ARRAY['kv{m}', 'msg{m}', 'op{m}', 'dedup{m}'])"
             " WITH ORDINALITY AS k (name, n)"
             " JOIN pg_catalog.pg_namespace AS s ON s.nspname = $1::text"
             " JOIN pg_catalog.pg_class AS c ON c.relnamespace = s.oid"
             " AND c.relname = k.name::name WHERE c.reltuples >= 0"
             " AND pg_stat_get_live_tuples(c.oid) > 1000"
             " AND pg_stat_get_live_tuples(c.oid) > 10 * c.reltuples ORDER BY k.n",
     .why = "Tables that grew tenfold since the planner heard of them. One that was vacuumed while"
            " it was empty is read whole by every plan made since: 1.7 s instead of 0.4 ms for a"
            " RECEIVE, until autovacuum comes by, which may take a minute.",
     .postgres_alone = true},
    {.name = "stats_keys",
     .text = "ANALYZE (SKIP_LOCKED) {s}.kv{m}",
     .why = why_stats,
     .postgres_alone = true},
    {.name = "stats_messages",
     .text = "ANALYZE (SKIP_LOCKED) {s}.msg{m}",
     .why = why_stats,
     .postgres_alone = true},
    {.name = "stats_ops",
     .text = "ANALYZE (SKIP_LOCKED) {s}.op{m}",
     .why = why_stats,
     .postgres_alone = true},
    {.name = "stats_dedup",
     .text = "ANALYZE (SKIP_LOCKED) {s}.dedup{m}",
     .why = why_stats,
     .postgres_alone = true},
};

#define X(symbol) +1
_Static_assert(sizeof sql_queues / sizeof *sql_queues == 0 SQL_QUEUES(X), "one row per number");
#undef X
