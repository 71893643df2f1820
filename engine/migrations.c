/* SPDX-License-Identifier: MIT */
/* The tables. Keys, names and payloads are bytea: compared bytewise by both databases, whatever the
 * collation, and any byte may stand in them. Times are milliseconds of the database's wall clock;
 * 0: never. */
#include "engine/migrate.h"

#define KV_COLUMNS                                                                                 \
    "(ws uuid NOT NULL, ns bytea NOT NULL, key bytea NOT NULL, long_key bytea NULL,"               \
    " value bytea NOT NULL, ctype bytea NOT NULL, rev int8 NOT NULL, expires int8 NOT NULL,"       \
    " PRIMARY KEY (ws, ns, key))"

/* due: 0 ready; else when the lease (lease not 0) or the delay ends. origin: the queue it was
 * dead-lettered from. place: 9 - priority. */
#define MSG_COLUMNS                                                                                \
    "(queue int8 NOT NULL, place int8 NOT NULL, seq int8 NOT NULL, due int8 NOT NULL,"             \
    " lease int8 NOT NULL, attempt int8 NOT NULL, expires int8 NOT NULL,"                          \
    " published int8 NOT NULL, id bytea NOT NULL, rkey bytea NOT NULL, headers bytea NOT NULL,"    \
    " body bytea NOT NULL, reason int8 NOT NULL, origin bytea NOT NULL,"                           \
    " origin_attempt int8 NOT NULL, PRIMARY KEY (queue, place, seq))"

static const char *const first[] = {
    "CREATE TABLE IF NOT EXISTS {s}.kv " KV_COLUMNS,
    "CREATE INDEX IF NOT EXISTS kv_expires ON {s}.kv (expires) WHERE expires > 0",
    "CREATE INDEX IF NOT EXISTS kv_long ON {s}.kv (ws, ns, key) WHERE long_key IS NOT NULL",
    "CREATE UNLOGGED TABLE IF NOT EXISTS {s}.kv_mem " KV_COLUMNS,
    "CREATE INDEX IF NOT EXISTS kv_mem_expires ON {s}.kv_mem (expires) WHERE expires > 0",
    "CREATE INDEX IF NOT EXISTS kv_mem_long ON {s}.kv_mem (ws, ns, key)"
    " WHERE long_key IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS {s}.op (id uuid PRIMARY KEY, at int8 NOT NULL)",
    "CREATE INDEX IF NOT EXISTS op_at ON {s}.op (at)",
    "CREATE UNLOGGED TABLE IF NOT EXISTS {s}.op_mem (id uuid PRIMARY KEY, at int8 NOT NULL)",
    "CREATE INDEX IF NOT EXISTS op_mem_at ON {s}.op_mem (at)",
    "CREATE TABLE IF NOT EXISTS {s}.topology (one bool PRIMARY KEY DEFAULT true CHECK (one),"
    " version int8 NOT NULL, horizon int8 NOT NULL, next_id int8 NOT NULL)",
    "INSERT INTO {s}.topology (one, version, horizon, next_id) VALUES (true, 1, 0, 2)"
    " ON CONFLICT (one) DO NOTHING",
    "CREATE TABLE IF NOT EXISTS {s}.router (name bytea PRIMARY KEY, id int8 NOT NULL,"
    " type int8 NOT NULL, version int8 NOT NULL, gone bool NOT NULL)",
    "CREATE INDEX IF NOT EXISTS router_version ON {s}.router (version)",
    "INSERT INTO {s}.router (name, id, type, version, gone)"
    " VALUES ('default'::bytea, 1, 0, 1, false) ON CONFLICT (name) DO NOTHING",
    "CREATE TABLE IF NOT EXISTS {s}.queue (name bytea PRIMARY KEY, id int8 NOT NULL,"
    " storage int8 NOT NULL, overflow int8 NOT NULL, paused bool NOT NULL,"
    " lease_ms int8 NOT NULL, ttl_ms int8 NOT NULL, dedup_window_ms int8 NOT NULL,"
    " max_length int8 NOT NULL, max_deliver int8 NOT NULL, dead_letter bytea NOT NULL,"
    " version int8 NOT NULL, gone bool NOT NULL)",
    "CREATE INDEX IF NOT EXISTS queue_version ON {s}.queue (version)",
    "CREATE INDEX IF NOT EXISTS queue_id ON {s}.queue (id)",
    "CREATE TABLE IF NOT EXISTS {s}.binding (router int8 NOT NULL, queue int8 NOT NULL,"
    " pattern bytea NOT NULL, version int8 NOT NULL, gone bool NOT NULL,"
    " PRIMARY KEY (router, queue, pattern))",
    "CREATE INDEX IF NOT EXISTS binding_version ON {s}.binding (version)",
    "CREATE TABLE IF NOT EXISTS {s}.msg " MSG_COLUMNS,
    "CREATE INDEX IF NOT EXISTS msg_ready ON {s}.msg (queue, place, seq) WHERE due = 0",
    "CREATE INDEX IF NOT EXISTS msg_due ON {s}.msg (due) WHERE due > 0",
    "CREATE INDEX IF NOT EXISTS msg_expires ON {s}.msg (expires) WHERE expires > 0 AND lease = 0",
    "CREATE UNLOGGED TABLE IF NOT EXISTS {s}.msg_mem " MSG_COLUMNS,
    "CREATE INDEX IF NOT EXISTS msg_mem_ready ON {s}.msg_mem (queue, place, seq) WHERE due = 0",
    "CREATE INDEX IF NOT EXISTS msg_mem_due ON {s}.msg_mem (due) WHERE due > 0",
    "CREATE INDEX IF NOT EXISTS msg_mem_expires ON {s}.msg_mem (expires)"
    " WHERE expires > 0 AND lease = 0",
    "CREATE TABLE IF NOT EXISTS {s}.dedup (queue int8 NOT NULL, hash bytea NOT NULL,"
    " until int8 NOT NULL, PRIMARY KEY (queue, hash))",
    "CREATE INDEX IF NOT EXISTS dedup_until ON {s}.dedup (until)",
    "CREATE TABLE IF NOT EXISTS {s}.node (id uuid PRIMARY KEY, address bytea NOT NULL,"
    " version bytea NOT NULL, started int8 NOT NULL, heartbeat int8 NOT NULL,"
    " published int8 NOT NULL, delivered int8 NOT NULL, acked int8 NOT NULL,"
    " unroutable int8 NOT NULL)",
    "CREATE TABLE IF NOT EXISTS {s}.queue_node (queue int8 NOT NULL, node uuid NOT NULL,"
    " published int8 NOT NULL, delivered int8 NOT NULL, acked int8 NOT NULL,"
    " redelivered int8 NOT NULL, dead_lettered int8 NOT NULL, expired int8 NOT NULL,"
    " dropped int8 NOT NULL, consumers int8 NOT NULL, PRIMARY KEY (queue, node))",
    "CREATE TABLE IF NOT EXISTS {s}.router_node (router int8 NOT NULL, node uuid NOT NULL,"
    " published int8 NOT NULL, unroutable int8 NOT NULL, PRIMARY KEY (router, node))",
    NULL,
};

static const char *const second[] = {
    "CREATE UNLOGGED TABLE IF NOT EXISTS {s}.dedup_mem (queue int8 NOT NULL, hash bytea NOT NULL,"
    " until int8 NOT NULL, PRIMARY KEY (queue, hash))",
    "CREATE INDEX IF NOT EXISTS dedup_mem_until ON {s}.dedup_mem (until)",
    NULL,
};

const struct migration migrations[] = {
    {first, "keys, messages, routers, queues, nodes"},
    {second, "ids of memory queues apart"},
};
const unsigned migration_count = sizeof migrations / sizeof *migrations;
