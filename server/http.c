/* SPDX-License-Identifier: MIT */
#include "server/http.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "server/http_accept.h"
#include "server/http_quiesce.h"
#include "server/http_raw.h"
#include "server/http_request.h"
#include "server/line_listen.h"
#include "server/room.h"
#include "server/systemd.h"
#include "server/tls.h"

#define LINGER_MS 500          /* for the last request of connections that are kept alive */
#define FLUSH_MS 500           /* after the drain's end, for answers on their way */
#define RPC_EXTRA_BYTES 65536U /* of a body, beside a value in base64 */
#define WORK_BYTES 16777216U   /* of a request's arena, beside values */
#define JSON_GROWTH 6U         /* a byte may become \u0000 */
#define TURNED_AWAY_MAX 256U   /* connections beyond the limit that are being told so */

static struct http_connection *connection_of(struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static struct address peer_of(struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return address_of_socket(info ? info->client_addr : NULL);
}

static int socket_of(struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* Who is one too many is not even heard. In the clear it is told why, as far as that goes. */
static void turn_away(const struct http_connection *connection, const char *status) {
    char refusal[128];
    int fd = connection->watched.fd;
    int len = snprintf(refusal, sizeof refusal,
                       "HTTP/1.1 %s\r\nRetry-After: 1\r\n"
                       "Content-Length: 0\r\nConnection: close\r\n\r\n",
                       status);
    if (!connection->server->config->rpc_tls)
        (void)!send(fd, refusal, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(fd, SHUT_RDWR);
}

/* `open` is how many there are with this one. */
static void begin_connection(struct http_connection *connection, unsigned open) {
    struct http_server *server = connection->server;
    int64_t head_ms = server->config->header_timeout_ms;
    if (open > server->config->connection_limit || !room_has(server->core, server->config, 0))
        turn_away(connection, "503 Service Unavailable");
    else if (!http_limit_connect(connection))
        turn_away(connection, "429 Too Many Requests");
    else
        http_watch_set(&server->watch, &connection->watched,
                       head_ms ? HTTP_PHASE_HEAD : HTTP_PHASE_IDLE,
                       head_ms ? head_ms : server->idle_ms);
}

static void on_connection(void *context, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code) {
    struct http_server *server = context;
    struct http_connection *connection = *socket_context;
    _Atomic uint64_t *open = &server->core->doors[DOOR_HTTP].connections;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        atomic_fetch_add_explicit(open, 1, memory_order_relaxed);
        connection = calloc(1, sizeof *connection);
        *socket_context = connection;
        if (!connection)
            return;
        unsigned before = atomic_fetch_add_explicit(&server->open, 1, memory_order_relaxed);
        connection->server = server;
        connection->peer = peer_of(mhd);
        http_watch_add(&server->watch, &connection->watched, socket_of(mhd));
        begin_connection(connection, before + 1);
        return;
    }
    atomic_fetch_sub_explicit(open, 1, memory_order_relaxed);
    if (connection) {
        http_watch_remove(&server->watch, &connection->watched);
        http_limit_disconnect(connection);
        http_request_free(connection->spare);
        http_server_count_down(server, &server->open);
    }
    free(connection);
    *socket_context = NULL;
}

static void *on_request_line(void *context, const char *uri, struct MHD_Connection *mhd) {
    struct http_connection *connection = connection_of(mhd);
    (void)context;
    return connection ? http_request_open(connection, mhd, http_raw_target_len(uri)) : NULL;
}

static void on_completed(void *context, struct MHD_Connection *mhd, void **request_context,
                         enum MHD_RequestTerminationCode code) {
    struct http_request *request = *request_context;
    (void)context, (void)mhd;
    *request_context = NULL;
    if (request)
        http_request_close(request, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

/* Paths are decoded by length, where they are used. */
static size_t keep_escapes(void *context, struct MHD_Connection *mhd, char *text) {
    (void)context, (void)mhd;
    return strlen(text);
}

static enum MHD_Result reply_ready(struct http_request *request) {
    struct core *core = request->server->core;
    if (!atomic_load(&core->ready) || atomic_load(&core->draining) || !kv_is_ready(core->kv) ||
        (core->broker && !broker_is_ready(core->broker)))
        return http_reply_error(request, ERR_UNAVAILABLE, "not ready");
    return http_reply_copy(request, MHD_HTTP_OK, "text/plain", SLICE("ready\n"));
}

static enum MHD_Result run(struct http_request *request) {
    enum http_target target = request->match.target;
    request->now_ms = clock_wall_ms(); /* a body may have taken its time */
    bool streams = target == TARGET_STREAM || target == TARGET_WATCH || target == TARGET_SNAPSHOT;
    http_watch_set(&request->server->watch, &request->owner->watched,
                   streams ? HTTP_PHASE_STREAM : HTTP_PHASE_ANSWER, 0);
    if (request->refusal)
        return http_reply_error(request, request->refusal, request->refusal_why);
    if (request->method == HTTP_OPTIONS)
        return http_reply_options(request);
    switch (request->match.target) {
    case TARGET_OP:
        return rest_run(request);
    case TARGET_RPC:
        return http_rpc_run(request);
    case TARGET_STREAM:
        return rest_stream_run(request);
    case TARGET_WATCH:
        return rest_watch_run(request);
    case TARGET_TICKETS:
        return http_tickets_run(request);
    case TARGET_KVSTORE:
        return kvstore_run(request);
    case TARGET_SNAPSHOT:
        return http_snapshot_run(request);
    case TARGET_METRICS:
        return http_metrics_run(request);
    case TARGET_READY:
        return reply_ready(request);
    case TARGET_PAGE:
        return http_pages_run(request);
    case TARGET_ROOT:
        return http_root_run(request);
    case TARGET_POKE:
        return http_poke_run(request);
    case TARGET_OPENAPI:
        return http_reply_document(request, &request->server->core->openapi);
    case TARGET_OPENRPC:
        return http_reply_document(request, &request->server->core->openrpc);
    case TARGET_STATUS:
    case TARGET_HEALTH:
        break;
    }
    return http_reply_kept(request, MHD_HTTP_OK, "text/plain", SLICE("ok"));
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_bytes, void **request_context) {
    struct http_request *request = *request_context;
    (void)context, (void)mhd;
    if (!request)
        return MHD_NO;
    if (!request->begun) {
        request->begun = true;
        return http_begin(request, url, method, version);
    }
    if (*data_bytes) {
        bool taken = http_body_take(request, data, *data_bytes);
        *data_bytes = 0;
        return taken ? MHD_YES : MHD_NO;
    }
    if (!request->is_parked)
        return run(request);
    request->is_parked = false;
    http_count_parked(request, false);
    enum err err = http_unpark(&request->server->lot, &request->parked);
    return err ? http_reply_error(request, err, NULL) : request->finish(request);
}

static struct MHD_Daemon *start_daemon(struct http_server *server) {
    const struct config *config = server->config;
    unsigned threads = config->cpu_num ? config->cpu_num : 1;
    struct tls *shown = config->rpc_tls ? tls_current() : NULL;
    unsigned idle_s = (unsigned)((config->idle_timeout_ms + 999) / 1000);
    struct MHD_OptionItem pool[] = {
        {MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem secure[] = {
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)tls_priorities()},
        {MHD_OPTION_END, 0, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    if (threads == 1)
        pool[0].option = MHD_OPTION_END;
    if (shown && tls_client_ca_pem(shown))
        secure[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0,
                                            (void *)(uintptr_t)tls_client_ca_pem(shown)};
    return MHD_start_daemon(
        (shown ? MHD_USE_POLL_INTERNAL_THREAD : MHD_USE_EPOLL_INTERNAL_THREAD) | MHD_USE_ITC |
            MHD_ALLOW_SUSPEND_RESUME | (shown ? MHD_USE_TLS : 0U),
        0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, server->listen_fd,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_POOL_BYTES, MHD_OPTION_CONNECTION_LIMIT,
        config->connection_limit + TURNED_AWAY_MAX, MHD_OPTION_CONNECTION_TIMEOUT, idle_s,
        MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, on_request_line, server, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_ARRAY,
        pool, shown ? MHD_OPTION_HTTPS_CERT_CALLBACK2 : MHD_OPTION_END, tls_retrieve,
        MHD_OPTION_ARRAY, secure, MHD_OPTION_END);
}

static void each_second(void *context) {
    struct http_server *server = context;
    http_lot_stop_gone(&server->lot);
}

/* The daemon lets go of the listening socket: somebody else accepts for it. */
static enum err begin_accepting(struct http_server *server) {
    const struct config *config = server->config;
    if (!config->rpc_proxy_protocol)
        return OK;
    http_quiesce(server->daemon);
    return http_accept_open(server->daemon, server->listen_fd, server->core->limits,
                            config->handshake_timeout_ms, &server->acceptor);
}

/* Threads of the daemon and of deadlines leave signals to main. */
static enum err start_threads(struct http_server *server) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    enum err err = http_lot_open(&server->lot, server->config->request_timeout_ms);
    if (!err) {
        err = http_watch_open(&server->watch, each_second, server);
        server->daemon = err ? NULL : start_daemon(server);
        bool watches = !err;
        if (!err)
            err = server->daemon ? begin_accepting(server) : ERR_UNAVAILABLE;
        if (err && server->daemon)
            MHD_stop_daemon(server->daemon);
        if (err && watches)
            http_watch_close(&server->watch);
        if (err)
            http_lot_close(&server->lot);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static struct http_server *new_server(const struct config *config, struct core *core) {
    struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        return NULL;
    size_t value_max = (size_t)core->payload_limit_bytes;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&server->idle_lock, NULL);
    http_office_open(&server->office);
    server->config = config;
    server->core = core;
    /* the library's own timeout, which is kinder, comes first */
    server->idle_ms = config->idle_timeout_ms ? config->idle_timeout_ms + 2000 : 0;
    server->loopback_only = !core->auth && !config->no_auth;
    server->raw_checks = http_raw_is_known();
    server->rpc_body_max = value_max * JSON_GROWTH + RPC_EXTRA_BYTES;
    server->arena_max = value_max + WORK_BYTES;
    server->inflight_max = config->inflight_limit_bytes;
    server->answer_max = value_max * JSON_GROWTH + WORK_BYTES;
    hash_random(&server->id_seed, sizeof server->id_seed);
    if (limits_meter(core->limits))
        limits_format_policy(core->limits, server->policy);
    server->watch.limits = core->limits;
    server->watch.rule = (struct slow_reader_rule){config->min_rate, config->body_timeout_ms};
    return server;
}

static void free_server(struct http_server *server) {
    http_office_done(&server->office);
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->idle_lock);
    free(server);
}

enum err http_server_start(const struct config *config, struct core *core,
                           struct http_server **ret_server, unsigned *ret_port, char *ret_why,
                           size_t why_bytes) {
    char why[256];
    http_route_init();
    struct http_server *server = new_server(config, core);
    if (!server) {
        snprintf(ret_why, why_bytes, "http: no memory");
        return ERR_OUT_OF_MEMORY;
    }
    int given = systemd_take_socket("rpc");
    enum err err = given >= 0 ? line_listen_given(given, 1, &server->listen_fd, ret_port)
                              : line_listen_tcp(config->rpc_host, config->rpc_port, 1,
                                                &server->listen_fd, ret_port, why, sizeof why);
    if (err) {
        snprintf(ret_why, why_bytes, "http: %s", why);
        free_server(server);
        return err;
    }
    server->port = *ret_port;
    err = start_threads(server);
    if (err) {
        snprintf(ret_why, why_bytes, "http: cannot start its threads");
        close(server->listen_fd);
        free_server(server);
        return err;
    }
    *ret_server = server;
    return OK;
}

/* Waits until a count of the server's is 0, or for the given time. */
static void wait_none(struct http_server *server, _Atomic unsigned *count, int64_t timeout_ms) {
    int64_t end_ms = clock_steady_ms() + timeout_ms;
    pthread_mutex_lock(&server->idle_lock);
    while (atomic_load(count) > 0) {
        int64_t left_ms = end_ms - clock_steady_ms();
        if (left_ms <= 0)
            break;
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t until_ns = (int64_t)until.tv_nsec + left_ms % 1000 * 1000000;
        until.tv_sec += (time_t)(left_ms / 1000 + until_ns / 1000000000);
        until.tv_nsec = (long)(until_ns % 1000000000);
        pthread_cond_timedwait(&server->idle, &server->idle_lock, &until);
    }
    pthread_mutex_unlock(&server->idle_lock);
}

void http_server_stop(struct http_server *server) {
    if (!server)
        return;
    atomic_store(&server->stopping, true);
    if (server->acceptor)
        http_accept_close(server->acceptor);
    else
        http_quiesce(server->daemon);
    http_lot_stop_waits(&server->lot);
    wait_none(server, &server->in_flight, server->config->drain_timeout_ms);
    wait_none(server, &server->open, LINGER_MS);
    http_lot_expire_all(&server->lot);
    http_office_close(&server->office);
    wait_none(server, &server->in_flight, FLUSH_MS);
    MHD_stop_daemon(server->daemon);
    http_watch_close(&server->watch);
    http_lot_close(&server->lot);
    close(server->listen_fd);
    free_server(server);
}
