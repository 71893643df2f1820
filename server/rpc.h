/* SPDX-License-Identifier: MIT */
/* JSON-RPC 2.0 (jsonrpc.org/specification) and the 1.0 form of Go's net/rpc/jsonrpc, over bytes:
 * HTTP bodies and JSON lines both come here. */
#ifndef HATI_SERVER_RPC_H
#define HATI_SERVER_RPC_H

#include "base/buf.h"
#include "handlers/call.h"
#include "server/limits.h"
#include "server/metrics.h"

#define RPC_DEPTH_MAX 64
#define RPC_BATCH_MAX 1000

struct rpc;

/* Messages that stand in the answers. */
struct rpc_held {
    struct rpc_held *next;
    struct broker_receive receive; /* come back */
};

struct rpc_request {
    struct core *core;
    const struct auth_grant *grant;
    struct slice body; /* must live until done (or the return, where not pending) */
    int64_t now_ms;
    struct buf *out; /* answers are appended, each message ended by \n; nothing where all were
                        notifications */
    const struct uuid *workspace;  /* defaults of this caller (USE); NULL: the core's */
    struct slice ns;               /* empty: `default` */
    const struct trace_span *span; /* that the calls belong to; NULL: none */
    struct slice trace_state;      /* the tracestate it came with, or empty */
    struct position position;      /* the causal context of every call; reached has all of them */
    void (*done)(
        struct rpc_request *request); /* from any thread, once, where pending; no blocking */
    void *context;
    struct rpc *rpc;        /* the engine's; free with rpc_free after rendering */
    struct rpc_held *held;  /* the engine's until the answers are there; see rpc_release */
    enum metrics_door door; /* it came by, and when: steady clock */
    int64_t started_ns;
    struct limits_client limited;       /* whose limit each call counts for; all zeros: nobody's */
    struct limits_left left;            /* after the last call */
    unsigned call_count, refused_count; /* where it is limited: calls, and those over the limit */
    bool is_batch;
    struct metrics_tally tally; /* its calls; the engine's until the answers are there */
};

/* Answers one body: an object, a batch, or several objects one after another. Calls are carried out
 * in order; consecutive durable writes share a commit. OK: out holds the answers. ERR_PENDING: done
 * comes later, perhaps before this returns, and the caller keeps everything alive until then.
 * ERR_OUT_OF_MEMORY: nothing can be said. Malformed input is an answer, not a failure. */
enum err rpc_run(struct rpc_request *request) MUST_USE;
/* After the answers were sent, or could not be: messages in them are let go of, or given back to
 * their queues. Once for each request that was run. */
void rpc_release(struct rpc_request *request, bool was_sent);
/* The same where somebody else took copies of the receives over. */
void rpc_forget(struct rpc_request *request);
/* Frees the engine; messages that were not released by now count as sent. */
void rpc_free(struct rpc_request *request);

/* The answers are there, and about to be sent: counts the calls. (rpc_count.c) */
void rpc_count_answer(struct rpc_request *request);

/* True where the body may ask to wait for messages: as long as it says, not as the door does. */
bool rpc_may_wait(const struct rpc_request *request);
/* The caller of a pending request is gone: its wait for messages ends, and later ones do not wait.
 * done comes as ever, perhaps before this returns. Any thread, between the return of rpc_run and
 * rpc_free. */
void rpc_stop(struct rpc_request *request);

/* Appends an error answer of 2.0 with id null, for refusals before any method. */
bool rpc_append_error(struct buf *out, enum err err, const char *detail);

#endif
