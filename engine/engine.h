/* SPDX-License-Identifier: MIT */
/* The engine: entries, routers, queues and messages of this node in PostgreSQL or CockroachDB.
 * Nodes are stateless then; any number of them stand behind a load balancer.
 *
 *   doors ──> mailbox ──> one loop: calls that wait together are one transaction ──> pool ──> libpq
 *
 * All of it runs on one thread of its own; calls from other threads never block. */
#ifndef HATI_ENGINE_ENGINE_H
#define HATI_ENGINE_ENGINE_H

#include <stdio.h>

#include "broker/remote.h"
#include "kv/remote.h"

#define ENGINE_SCHEMA_MAX 63
#define ENGINE_NODES_MAX 4096 /* listed by /stats */

struct engine;

enum engine_prepare { ENGINE_PREPARE_AUTO, ENGINE_PREPARE_ON, ENGINE_PREPARE_OFF };

struct engine_options {
    const char *url;             /* a libpq connection string or URI; never logged */
    const char *read_url;        /* of replicas, for reads with a causal context; NULL: none */
    const char *schema;          /* 1 to ENGINE_SCHEMA_MAX bytes */
    unsigned connections;        /* to url, 2 up */
    int64_t timeout_ms;          /* of every call, all retries in it */
    enum engine_prepare prepare; /* named prepared statements; auto: until a pooler loses one */
    const char *advertise;       /* host:port under which other nodes reach this one's HTTP door */
    const char *version;
    uint64_t payload_limit_bytes;
};

/* Connects, brings the schema to what this node knows, starts the loop, and waits until it serves.
 * Blocks: for the timeout to connect and again to serve, in between for what the schema takes
 * (three minutes at most). On failure (the database cannot be reached, or its schema is newer than
 * this node) writes one clear line to ret_why; the process is to end then, not all is taken apart.
 */
enum err engine_open(const struct engine_options *options, struct engine **ret_engine,
                     char *ret_why, size_t why_bytes) MUST_USE;
/* What kv_open and broker_open take; live as long as the engine. */
const struct kv_remote *engine_kv(struct engine *engine);
const struct broker_remote *engine_broker(struct engine *engine);
/* Finishes what was submitted (within the timeout), leaves the registry (within the timeout again),
 * ends the loop. Blocks. NULL is fine. */
void engine_close(struct engine *engine);

/* One op of a transaction over keys and queues. */
struct engine_item {
    bool is_key;
    union {
        struct kv_op key;         /* on hdd */
        struct broker_op message; /* PUBLISH or ACK */
    };
};

/* All in order, or none. The caller owns it and all it points to until done was called. */
struct engine_batch {
    struct engine_item **items;
    unsigned count; /* 1 to KV_BATCH_MAX */
    int64_t now_ms;
    void (*done)(struct engine_batch *batch); /* on the engine's thread; must not block */
    void *context;
    struct position *position;
    /* outcome */
    enum err err;          /* of the first item that failed */
    unsigned failed_index; /* count: none of them, the whole failed */
    /* the engine's */
    struct engine_batch *next;
    int64_t deadline_ms;
};

/* Any thread; done comes, perhaps before this returns. */
void engine_submit_batch(struct engine *engine, struct engine_batch *batch);

/* A causal context of a call other than a read of keys, which looks itself: whether the database
 * has the state that position->want names. */
struct engine_gate {
    struct position *position;
    void (*done)(struct engine_gate *gate); /* on the engine's thread; must not block */
    void *context;
    enum err err; /* ERR_UNAVAILABLE: it has not */
};

/* ERR_PENDING, then done; else gate->err. Any thread. */
enum err engine_pass_gate(struct engine *engine, struct engine_gate *gate) MUST_USE;

struct engine_node {
    char id[37];
    char address[256];
    char version[32];
    int64_t started_ms, heartbeat_ms; /* the database's wall clock */
    bool alive;
};

/* Figures for /stats, asked of the database at most once a second. */
struct engine_report {
    struct arena *arena;
    void (*done)(struct engine_report *report);
    void *context;
    /* outcome */
    enum err err;
    struct kv_stats kv[KV_STORAGES];
    struct broker_stats broker;
    struct engine_node *nodes; /* in the arena */
    unsigned node_count;
    struct engine_report *next;
    int64_t deadline_ms;
};

enum err engine_ask_report(struct engine *engine, struct engine_report *report) MUST_USE;

/* Another node says that a queue has something new: a hint, nothing more. Any thread. */
void engine_poke(struct engine *engine, struct slice queue_id_text);

/* What is taken over from a hulykvs schema of the same database, table kvs(workspace, namespace,
 * key, md5, value). */
struct engine_import {
    const char *from_schema;
    bool overwrite; /* entries that hati has too; else they are kept */
    void (*refused)(void *context, const char *line); /* a key that is beyond hati's limits */
    void *context;
    /* outcome, so far where it failed */
    uint64_t read_count, written_count, kept_count, refused_count;
};

/* Makes the schema of the options where it is not there, then writes every entry to hdd. Blocks, on
 * a connection of its own; other nodes may serve meanwhile. May be repeated. */
enum err engine_import_hulykvs(const struct engine_options *options, struct engine_import *import,
                               char *ret_why, size_t why_bytes) MUST_USE;

/* What the engine does now, and did so far. */
struct engine_figures {
    unsigned connecting, idle, busy; /* connections to the database; as of some ms ago */
    unsigned waiting;                /* requests that wait for one; likewise */
    unsigned in_flight;              /* transactions of writes */
    uint64_t transactions;           /* of writes, that were carried out */
    uint64_t retries;                /* attempts of such that were made anew */
};
/* Any thread. */
void engine_figures(struct engine *engine, struct engine_figures *ret_figures);

/* Every statement and why it is as it is, as Markdown. Any thread. */
void engine_print_sql(FILE *to);

#endif
