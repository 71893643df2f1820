/* SPDX-License-Identifier: MIT */
/* Statements on routers, queues and bindings. Every row has the version that changed it; what is
 * gone stays as a row, until those who pull what is new have long seen it. */
#include "engine/sql.h"

const struct sql sql_topology[] = {
    {.name = "topology_version",
     .text = "SELECT t.version, t.horizon FROM {s}.topology AS t",
     .why = "One row by one read; asked before and behind the rows, so that a sweep in between"
            " shows."},
    {.name = "topology_routers",
     .text = "SELECT r.name, r.id, r.type, r.gone FROM {s}.router AS r"
             " WHERE r.version > $1::int8 ORDER BY r.version",
     .why = "What is new, by index."},
    {.name = "topology_queues",
     .text = "SELECT q.name, q.id, q.storage, q.overflow, q.paused, q.lease_ms, q.ttl_ms,"
             " q.dedup_window_ms, q.max_length, q.max_deliver, q.dead_letter, q.gone"
             " FROM {s}.queue AS q WHERE q.version > $1::int8 ORDER BY q.version",
     .why = "What is new, by index; behind the routers, before the bindings: a binding never comes"
            " before what it binds."},
    {.name = "topology_bindings",
     .text = "SELECT b.router, b.queue, b.pattern, b.gone FROM {s}.binding AS b"
             " WHERE b.version > $1::int8 ORDER BY b.version",
     .why = "What is new, by index, in the order it was bound."},
    {.name = "topology_step",
     .text = "UPDATE {s}.topology AS t SET version = t.version + 1, next_id = t.next_id + 1"
             " WHERE t.version = $1::int8 RETURNING t.version, t.next_id - 1",
     .why = "A compare-and-set: no row, where another node was first. Changes of the topology are"
            " few, so that one row for all of them is in nobody's way."},
    {.name = "router_put",
     .text = "INSERT INTO {s}.router AS r (name, id, type, version, gone)"
             " VALUES ($1::bytea, $2::int8, $3::int8, $4::int8, $5::bool)"
             " ON CONFLICT (name) DO UPDATE SET id = excluded.id, type = excluded.type,"
             " version = excluded.version, gone = excluded.gone",
     .why = "Behind the step, so nobody else writes it."},
    {.name = "queue_put",
     .text = "INSERT INTO {s}.queue AS q (name, id, storage, overflow, paused, lease_ms, ttl_ms,"
             " dedup_window_ms, max_length, max_deliver, dead_letter, version, gone)"
             " VALUES ($1::bytea, $2::int8, $3::int8, $4::int8, $5::bool, $6::int8, $7::int8,"
             " $8::int8, $9::int8, $10::int8, $11::bytea, $12::int8, $13::bool)"
             " ON CONFLICT (name) DO UPDATE SET id = excluded.id, storage = excluded.storage,"
             " overflow = excluded.overflow, paused = excluded.paused,"
             " lease_ms = excluded.lease_ms, ttl_ms = excluded.ttl_ms,"
             " dedup_window_ms = excluded.dedup_window_ms, max_length = excluded.max_length,"
             " max_deliver = excluded.max_deliver, dead_letter = excluded.dead_letter,"
             " version = excluded.version, gone = excluded.gone",
     .why = "The same."},
    {.name = "binding_put",
     .text = "INSERT INTO {s}.binding AS b (router, queue, pattern, version, gone)"
             " VALUES ($1::int8, $2::int8, $3::bytea, $4::int8, $5::bool)"
             " ON CONFLICT (router, queue, pattern) DO UPDATE SET version = excluded.version,"
             " gone = excluded.gone",
     .why = "The same."},
    {.name = "bindings_gone",
     .text = "DELETE FROM {s}.binding AS b WHERE b.router = $1::int8 OR b.queue = $2::int8",
     .why = "Of a router or a queue that goes: its own row tells the nodes, and its id is never"
            " used again."},
    {.name = "router_counters_gone",
     .text = "DELETE FROM {s}.router_node AS c WHERE c.router = $1::int8",
     .why =
         "Of a router that goes. What a node that has not heard of it writes behind this goes with"
         " that node."},
    {.name = "queue_empty",
     .text = "DELETE FROM {s}.msg{m} AS m USING ("
             "SELECT i.queue, i.place, i.seq FROM {s}.msg{m} AS i WHERE i.queue = $1::int8"
             " ORDER BY i.queue, i.place, i.seq LIMIT 10000) AS d"
             " WHERE m.queue = d.queue AND m.place = d.place AND m.seq = d.seq",
     .why = "Messages of a queue that goes; the rest of a long one is swept by and by, out of"
            " everybody's reach."},
    {.name = "topology_sweep",
     .text = "WITH h AS (UPDATE {s}.topology AS t SET horizon = $1::int8 WHERE t.horizon < $1::int8"
             " RETURNING t.horizon),"
             " r AS (DELETE FROM {s}.router AS r WHERE r.gone AND r.version <= $1::int8"
             " RETURNING r.id),"
             " q AS (DELETE FROM {s}.queue AS q WHERE q.gone AND q.version <= $1::int8"
             " RETURNING q.id),"
             " b AS (DELETE FROM {s}.binding AS b WHERE b.gone AND b.version <= $1::int8"
             " RETURNING b.queue)"
             " SELECT (SELECT count(*) FROM h)::int8 + (SELECT count(*) FROM r)::int8 +"
             " (SELECT count(*) FROM q)::int8 + (SELECT count(*) FROM b)::int8",
     .why = "Rows of what is gone, long after; one statement over four tables, so that a node that"
            " was away sees by the horizon that it missed something, and pulls all."},
};

#define X(symbol) +1
_Static_assert(sizeof sql_topology / sizeof *sql_topology == 0 SQL_TOPOLOGY(X),
               "one row per number");
#undef X
