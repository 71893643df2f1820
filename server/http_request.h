/* SPDX-License-Identifier: MIT */
/* A request of the HTTP door, from its first line to the end of its answer. It belongs to the
 * thread of its connection; only http_park_wake and what is said below comes from others. */
#ifndef HATI_SERVER_HTTP_REQUEST_H
#define HATI_SERVER_HTTP_REQUEST_H

#include <microhttpd.h>

#include "server/config.h"
#include "server/http_guard.h"
#include "server/http_park.h"
#include "server/http_route.h"
#include "server/http_snapshot.h"
#include "server/http_watch.h"
#include "server/limits.h"
#include "server/rpc.h"

#define HTTP_POOL_BYTES                                                                            \
    24576U /* of a connection, wiped for each request: a key all in %xx and a token */
#define HTTP_ARENA_BYTES 2048U /* memory of a request before anything is allocated */
#define HTTP_SWALLOW_MAX                                                                           \
    (16U << 20)                     /* of a refused body: many clients send all before they read   \
                                     */
#define HTTP_SMALL_BODY_MAX 65536U  /* a body that is read before its request is refused */
#define HTTP_KEPT_BODY_BYTES 16384U /* room kept for the next body of the connection */

struct http_request;
struct json_t;
struct kvstore;
struct rest_list;
struct rest_messages;
struct rest_stream;
struct rest_watch;

struct http_server {
    const struct config *config;
    struct core *core;
    struct MHD_Daemon *daemon;
    int listen_fd;
    struct http_acceptor *acceptor; /* NULL: the daemon accepts itself */
    unsigned port;
    bool loopback_only;
    bool raw_checks; /* the library is the one whose parsing http_raw.c knows */
    size_t rpc_body_max;
    size_t arena_max;
    size_t answer_max; /* of JSON-RPC */
    uint64_t inflight_max;
    uint64_t id_seed;
    _Atomic uint64_t id_next;
    _Atomic bool stopping;      /* answers end their connections */
    _Atomic unsigned in_flight; /* requests */
    _Atomic unsigned open;      /* connections */
    pthread_mutex_t idle_lock;
    pthread_cond_t idle;
    struct http_lot lot;
    struct http_watch watch;
    _Atomic int64_t poke_second;      /* the one that is counted */
    _Atomic unsigned poke_count;      /* pokes of it */
    int64_t idle_ms;                  /* between requests; 0: for ever */
    char policy[LIMITS_HEADER_BYTES]; /* RateLimit-Policy; empty: no such limit is set */
    struct http_office office;
};

struct http_connection {
    struct http_server *server;
    struct http_watched watched;
    struct http_request *spare; /* for the next request */
    struct address peer;        /* who connected: a client, or a proxy */
    struct limits_client held;  /* counted among those of an address */
    bool is_trusted;            /* a proxy's */
    bool has_shown;             /* its TLS certificate is good, or none is wanted */
};

struct http_request {
    struct http_server *server;
    struct http_connection *owner;
    struct MHD_Connection *connection;
    _Atomic unsigned refs; /* the connection's, and one while work is pending */
    struct http_parked parked;
    bool begun;     /* the headers were judged */
    bool is_parked; /* suspended in the handler; finish comes next */
    bool was_parked;
    bool has_call;    /* call is in use */
    bool carries;     /* the answer holds messages that were received */
    bool was_sent;    /* and the caller has it */
    bool keeps_body;  /* body is wanted */
    bool close;       /* the answer ends the connection */
    bool failed;      /* was answered with an error */
    bool counted;     /* its answer is among the metrics */
    bool answers_rpc; /* the answer is that of rpc */
    bool is_1_1;
    bool has_causal; /* it came with a header Causal-Context, so its answer has one */
    bool bad_causal; /* that header is no context */
    bool has_grant;  /* own_grant is that of a good token */
    bool holds;      /* counted among those its client has in flight */
    bool is_metered; /* left is known */
    enum http_method method;
    enum err refusal; /* answered once the body is read */
    enum err outcome; /* what it is answered with; OK: no error */
    const char *refusal_why;
    size_t uri_len; /* of the request line, its query included; 0: it holds what it may not */
    size_t body_max;
    const char *chunks; /* where the library keeps a chunked body; NULL: none, or not known */
    uint64_t swallowed_bytes;
    uint64_t body_bytes, body_worth_ms; /* what came of it, and how long that may have taken */
    uint64_t in_bytes, out_bytes;       /* headers and body; body */
    int64_t started_ns;                 /* steady clock */
    int64_t now_ms;
    struct http_headers headers;
    struct http_match match;
    const struct auth_grant *grant;
    struct trace_span span;   /* it as a whole */
    struct slice trace_state; /* the tracestate it came with; in the arena */
    unsigned status;          /* of the answer */
    int64_t parked_ns;        /* steady clock; 0: not recorded */
    struct slice causal;      /* the word of the context it came with */
    struct slice reached;     /* that of its answer; empty: not known */
    struct address client;    /* for whom it was sent */
    struct limits_client limited;
    struct limits_left left;
    int64_t retry_after_s; /* of a refusal; 0: none */
    char limited_why[LIMITS_WHY_BYTES];
    struct buf body;
    uint64_t charged_bytes;       /* of the core's inflight_bytes */
    _Atomic uint64_t *charged_to; /* those: the request may outlive the server */
    size_t hashed_bytes;          /* of body, in md5 */
    bool crowded;                 /* refused since too many bodies are under way */
    struct arena arena;
    struct json_t *json; /* a body that is a JSON object: arguments point into it */
    struct buf answer;   /* rendered JSON */
    struct rpc_request rpc;
    bool rpc_used;
    struct rest_list *list; /* a listing that is streamed */
    struct rest_messages *messages;
    struct rest_stream *stream;
    struct http_snapshot *snapshot;
    struct rest_watch *watch;
    struct kvstore *kvstore;      /* of an answer that takes several calls */
    struct engine_report *report; /* of /metrics; in the arena */
    /* After http_unpark: answers with the result. */
    enum MHD_Result (*finish)(struct http_request *request);
    struct auth_grant own_grant;
    struct hash_md5_state md5; /* of a large value */
    uint8_t etag[HASH_MD5_BYTES];
    struct call call;
    _Alignas(16) char memory[HTTP_ARENA_BYTES];
};

/* The request whose first line just came, or NULL without memory. */
struct http_request *http_request_open(struct http_connection *connection,
                                       struct MHD_Connection *mhd, size_t uri_len);
/* libmicrohttpd is done with it; was_sent: the whole answer was. */
void http_request_close(struct http_request *request, bool was_sent);
void http_request_free(struct http_request *request);

/* Takes one off a count of the server's, and tells a stop that waits for it. */
void http_server_count_down(struct http_server *server, _Atomic unsigned *count);

/* The body is wanted: announced_bytes long, UINT64_MAX where it does not tell. Refuses what is too
 * long, or too much beside the others', before memory is taken for it. (http_body.c) */
void http_body_expect(struct http_request *request, uint64_t announced_bytes);
/* Takes bytes of it. False where the connection has to be cut off. */
bool http_body_take(struct http_request *request, const char *data, size_t len);
/* The MD5 of a body that was large enough to be hashed as it came; else NULL. Once. */
const uint8_t *http_body_etag(struct http_request *request);
/* Counts bytes that the request holds among those under way; false where they are too many. */
bool http_body_charge(struct http_request *request, uint64_t bytes);
/* The memory of the body is gone, or kept where it is small. */
void http_body_release(struct http_request *request);

/* Work that may pend is begun: a reference is held until http_request_wake, or _settle where it did
 * not pend. */
void http_request_begin_work(struct http_request *request);
/* The same where the call waits as long as its caller asks. */
void http_request_begin_wait(struct http_request *request,
                             void (*stop)(struct http_parked *parked));
void http_request_settle(struct http_request *request);
struct http_request *http_request_of(struct http_parked *parked);
/* Any thread: the pending work is done. */
void http_request_wake(struct http_request *request);

/* Answers pending work: suspends, or goes on with finish where the result is there already. */
enum MHD_Result http_request_park(struct http_request *request,
                                  enum MHD_Result (*finish)(struct http_request *request));

/* Judges the headers. Refuses at once where the body is not worth reading. (http_begin.c) */
enum MHD_Result http_begin(struct http_request *request, const char *url, const char *method,
                           const char *version);

/* Who sent it, and whether that client may have it carried out: OK, or ERR_RATE_LIMITED with the
 * reason in refusal_why. (http_limit.c) */
void http_limit_find_client(struct http_request *request);
enum err http_limit_begin(struct http_request *request) MUST_USE;
/* The calls of its body were answered: true where it was a single one, and refused. */
bool http_limit_judge_calls(struct http_request *request);
/* Its answer tells what is left. */
bool http_limit_add_headers(struct http_request *request, struct MHD_Response *response);
/* It is over. */
void http_limit_end(struct http_request *request);
/* A connection begins or ends: false where its address has too many. */
bool http_limit_connect(struct http_connection *connection);
void http_limit_disconnect(struct http_connection *connection);

/* Answers. Each queues a response and says what to return to libmicrohttpd. (http_reply.c) */

/* With a response of one's own, which passes to it (NULL: no memory). */
enum MHD_Result http_reply(struct http_request *request, unsigned status,
                           struct MHD_Response *response);
/* An empty one for status 304, whose length is 0; NULL without memory. */
struct MHD_Response *http_response_not_modified(void);
/* With bytes that are copied. */
enum MHD_Result http_reply_copy(struct http_request *request, unsigned status,
                                const char *content_type, struct slice body);
/* With bytes that live as long as the request. */
enum MHD_Result http_reply_kept(struct http_request *request, unsigned status,
                                const char *content_type, struct slice body);
/* application/problem+json, or a JSON-RPC error on its routes. detail may be NULL. */
enum MHD_Result http_reply_error(struct http_request *request, enum err err, const char *detail);
/* 200 with the document, or 304. (http_document.c) */
enum MHD_Result http_reply_document(struct http_request *request,
                                    const struct core_document *document);
/* Whether If-None-Match says that the caller has it. (http_document.c) */
bool http_is_known(const struct http_request *request, const char *etag);
/* What a preflight asks for. */
enum MHD_Result http_reply_options(struct http_request *request);
/* Adds a header; false without memory or where the value cannot stand in one. */
bool http_add_header(struct MHD_Response *response, const char *name, const char *value);

/* Serve their routes once the body is there. */
enum MHD_Result rest_run(struct http_request *request);         /* rest.c */
enum MHD_Result http_rpc_run(struct http_request *request);     /* http_rpc.c */
enum MHD_Result kvstore_run(struct http_request *request);      /* kvstore.c */
enum MHD_Result http_poke_run(struct http_request *request);    /* http_poke.c */
enum MHD_Result http_metrics_run(struct http_request *request); /* http_metrics.c */
enum MHD_Result http_pages_run(struct http_request *request);   /* http_pages.c */
enum MHD_Result http_root_run(struct http_request *request);    /* http_pages.c */
/* Is it a browser that asks for `/`, and is there a console to show? (http_pages.c) */
bool http_pages_wants_console(const struct http_request *request);

/* The trace of a request whose headers were judged. (http_trace.c) */
void http_trace_begin(struct http_request *request);
/* It is answered: its span ends. */
void http_trace_end(struct http_request *request);
/* It is parked, or was and goes on. */
void http_trace_parked(struct http_request *request, bool is_parked);

/* Counts the answer, once; where answers_rpc is set, the calls of its body. (http_metrics.c) */
void http_count_answer(struct http_request *request);
/* Counts the bytes of a request that is over. */
void http_count_bytes(struct http_request *request);
/* It is parked, or was and goes on. */
void http_count_parked(struct http_request *request, bool is_parked);

/* How /kv-store tells a failure. (kvstore.c) */
void kvstore_append_error(struct buf *to, const struct http_request *request, enum err err,
                          const char *detail);
void kvstore_free(struct kvstore *state); /* kvstore_shards.c */
/* Is this a type that JSON-RPC comes in? Empty is fine. */
bool http_rpc_accepts(struct slice content_type);

/* The arguments of a listing are bound: makes ready to read it page by page. */
enum err rest_list_begin(struct http_request *request) MUST_USE;
/* Answers with the listing whose first page the call holds. (rest_list.c) */
enum MHD_Result rest_list_reply(struct http_request *request);
void rest_list_free(struct rest_list *list);
void rest_messages_free(struct rest_messages *messages); /* rest_messages.c */

/* Serves a queue as a stream of events. (rest_stream.c) */
enum MHD_Result rest_stream_run(struct http_request *request);
/* Its connection ended: the consumer is closed. The connection's thread. */
void rest_stream_close(struct http_request *request);
/* The request ended and nothing of it is pending: what was not sent is given back. Any thread. */
void rest_stream_free(struct http_request *request);

/* POST /tickets. (http_tickets.c) */
enum MHD_Result http_tickets_run(struct http_request *request);
/* The ticket that stands in the query of a stream of events, where no header says who asks; else a
 * slice without a pointer. */
struct slice http_tickets_find(const struct http_request *request);

/* Serves a namespace's changes as a stream of events. (rest_watch.c) */
enum MHD_Result rest_watch_run(struct http_request *request);
/* True where the query of a listing asks for that. */
bool rest_watch_is_wanted(const struct http_request *request);
/* Its connection ended. The connection's thread. */
void rest_watch_close(struct http_request *request);
/* The request ended and nothing of it is pending. Any thread. */
void rest_watch_free(struct http_request *request);

#endif
