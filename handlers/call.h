/* SPDX-License-Identifier: MIT */
/* One request on its way through the core, whichever door it came by. */
#ifndef HATI_HANDLERS_CALL_H
#define HATI_HANDLERS_CALL_H

#include <stdatomic.h>

#include "base/position.h"
#include "broker/broker.h"
#include "engine/engine.h"
#include "handlers/op.h"
#include "peers/peers.h"
#include "trace/tracer.h"

enum door { DOOR_LINE, DOOR_HTTP, DOOR_OLIVIA, DOOR_COUNT };

/* What operations work on; one per process, made by main, outlives every call. */
/* A document that is served as it is. */
struct core_document {
    struct slice text;
    char etag[2 * HASH_MD5_BYTES + 3]; /* quoted MD5 */
};

struct core {
    struct kv *kv;
    struct broker *broker;
    struct engine *engine;       /* NULL: the stores are here */
    struct committer *committer; /* of the stores on hdd, which share it; NULL: there is none */
    struct datadir *datadir;     /* likewise */
    struct tracer *tracer;       /* NULL: no spans are made */
    struct metrics *metrics;     /* cells of server/metrics.h; NULL: nothing is counted */
    struct auth *auth;           /* NULL: no credentials configured */
    struct limits *limits;       /* of each client; NULL: none (server/limits.h) */
    struct own *own;             /* filters of this node's keys; NULL: there are no peers */
    struct peers *peers;         /* NULL: there are none */
    bool peer_reads;             /* a GET miss on any door asks them */
    struct uuid default_workspace;
    uint64_t payload_limit_bytes;
    struct core_document openapi, openrpc;
    int64_t started_ms;               /* wall clock */
    int64_t started_steady_ms;        /* for how long it has been up */
    _Atomic bool ready;               /* stores are open and nothing drains */
    _Atomic bool draining;            /* no new work is wanted */
    _Atomic uint64_t inflight_bytes;  /* of large bodies and answers that are in memory */
    _Atomic uint64_t traces_left_out; /* messages whose headers had no room for their trace */
    struct core_door {
        _Atomic uint64_t connections; /* open now */
        _Atomic uint64_t requests;    /* answered since the start */
        _Atomic uint64_t failures;    /* answered with an error */
        char apart[40];               /* doors on cache lines of their own */
    } doors[DOOR_COUNT];
};

#define CORE_RECEIVE_BYTES 1048576U

/* Bytes of messages that one answer takes, beyond its first message: what an answer may grow to
 * follows from the payload limit. */
static inline uint64_t core_receive_bytes(const struct core *core) {
    return core->payload_limit_bytes > CORE_RECEIVE_BYTES ? core->payload_limit_bytes
                                                          : CORE_RECEIVE_BYTES;
}

struct call {
    const struct op *op;
    struct core *core;
    const struct auth_grant *grant;
    struct arena *arena;       /* everything of this call; the door frees it after rendering */
    int64_t now_ms;            /* wall clock */
    bool want_etag;            /* the door shows the ETag of what a write stored */
    bool asks_peers;           /* a GET miss asks peers; set by call_init from the core */
    bool want_existed;         /* the door tells whether a set found an entry (reply.created) */
    struct position position;  /* the causal context it came with, and that of its answer */
    struct trace_span span;    /* its own, or that of the request it came with */
    struct trace_span publish; /* of the messages it publishes; context not valid: none yet */
    struct slice trace_state;  /* the tracestate it came with, or empty */
    int64_t parked_ns;         /* steady clock: when it was run, where it may be parked; 0: not */
    struct args args;
    struct reply reply;
    enum err err;       /* of a finished call; OK: reply holds */
    const char *detail; /* for people, in the arena or static; NULL: err_text says it */
    /* Called once, from any thread, after call_run answered ERR_PENDING; call->err and reply are
     * set by then. Must not block. */
    void (*wake)(struct call *call);
    void *context; /* the door's */
    /* room for the storage call in flight; the operation's */
    union {
        struct {
            struct kv_write write;
            struct kv_op op;
        };
        struct {
            struct kv_read read;
            void (*finish)(struct call *call); /* puts what was read into the reply */
        };
        struct kv_list list;
        struct kv_count count;
        struct peers_question question; /* after a read found nothing */
    } kv;
    struct {
        bool at_once; /* rather ERR_WOULD_WAIT, with nothing done, than ERR_PENDING (of what
                         call_may_try tells of) */
        bool behind;  /* earlier calls of the same caller are parked: carried out behind them */
        bool holds;   /* receive holds messages: call_release is due */
        void (*finish)(struct call *call); /* the operation's: puts an outcome into the reply */
        union {
            struct {
                struct broker_write write;
                struct broker_op op;
            };
            struct broker_receive receive;
            struct broker_query query;
        };
    } broker;
};

/* A call with its defaults: workspace, namespace `default`, nothing given. */
void call_init(struct call *call, struct core *core, const struct auth_grant *grant,
               struct arena *arena, int64_t now_ms);

/* Chooses the row and clears arguments and reply, keeping workspace and namespace. */
void call_set_op(struct call *call, const struct op *op);

/* Authorises and runs. OK, ERR_PENDING (wake comes, perhaps before this returns), or the failure,
 * which is in call->err too. Any thread; never blocks. Arguments must be bound (bind_finish). */
enum err call_run(struct call *call) MUST_USE;
/* The same for a door that authorised it in its own way. */
enum err call_run_allowed(struct call *call) MUST_USE;

/* After the answer of a call was sent, or could not be (its caller hung up): messages it holds are
 * let go of, or given back to their queue. Any thread; once for every call that was run; does
 * nothing for most. */
void call_release(struct call *call, bool was_sent);
/* The caller of a parked call is gone: a wait for messages ends. Wake still comes. Any thread. */
void call_stop(struct call *call);

/* Sets a failure with words for people (printf into the arena) and returns it. */
enum err call_fail(struct call *call, enum err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Words for people about call->err. */
const char *call_detail(const struct call *call);

/* True where the call may be run with broker.at_once set, and then anew where it answers
 * ERR_WOULD_WAIT: it is an operation of the broker, or a GET whose key peers may have. */
bool call_may_try(const struct call *call);
/* The same beside any lane but LANE_ALONE: what it answers without waiting is on memory. */
bool call_may_try_beside(const struct call *call);
/* What may be parked at once of one caller: calls of the same lane, that is
 *  - writes, which are carried out in the order in which they were run;
 *  - reads of a remote store or of peers, which see the same whatever their order is.
 * Everything else, and a change from one to the other, waits until nothing is parked: what was
 * asked for earlier is seen, what was asked for later is not. */
enum call_lane { LANE_ALONE, LANE_WRITES, LANE_READS };
/* Of a bound call. */
enum call_lane call_lane(const struct call *call);
/* True where the call is answered before call_run returns, whatever it reads. */
bool call_is_at_once(const struct call *call);
/* True where the call neither reads nor writes hdd, nor anything behind a network, and so is never
 * parked: it may be run beside any lane but LANE_ALONE. */
bool call_is_off_disk(const struct call *call);

#endif
