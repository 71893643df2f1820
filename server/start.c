/* SPDX-License-Identifier: MIT */
/* `hati start`: opens stores and doors, waits for a signal, drains, closes. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "journal/datadir.h"
#include "kv/feed.h"
#include "server/commands.h"
#include "server/documents.h"
#include "server/http.h"
#include "server/limits.h"
#include "server/line.h"
#include "server/line_memory.h"
#include "server/metrics.h"
#include "server/reload.h"
#include "server/room.h"
#include "server/systemd.h"
#include "server/tls.h"
#include "server/tracing.h"

#define WHY_BYTES 512
#define BYTES_BURST_S 10U /* what a client may send and get at once: so many seconds' worth */
#define PEER_RETRY_MAX_MS 10000
#define KEYS_PATIENCE_MS 5000 /* of a start, for an issuer that is away */

struct server {
    struct config config;
    struct core core;
    struct datadir *datadir; /* NULL: an engine in its place */
    struct seal_keys *keys;  /* NULL: nothing is sealed */
    char advertise[256];
    struct line_server *line;
    struct http_server *http;
    struct line_ports ports;
    unsigned rpc_port;
    struct kv_watch watch;
    struct tls *tls;     /* NULL: no door speaks it */
    char tls_path[4096]; /* of a certificate that was made */
};

/* The store calls it from a thread of its own: main ends the process. */
static _Atomic bool store_failed;

static void note_fatal(const char *why) {
    log_error("the store cannot go on: %s", why);
    atomic_store(&store_failed, true);
    kill(getpid(), SIGTERM);
}

static void print_progress(const char *what, uint64_t done, uint64_t total) {
    log_info("%s: %llu of %llu", what, (unsigned long long)done, (unsigned long long)total);
}

static int refuse(const char *why) {
    fprintf(stderr, "hati: %s\n", why);
    return 1;
}

static void ignore(int signal_number) {
    (void)signal_number;
}

/* Signals are waited for by main alone; threads inherit the mask. SIGHUP has a handler because what
 * is ignored need not be seen by who waits for it. */
static sigset_t block_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGHUP, ignore);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return set;
}

static enum err make_data_dir(const char *dir, char *ret_why) {
    struct stat about;
    if (mkdir(dir, 0700) == 0)
        return OK;
    if (errno == EEXIST && stat(dir, &about) == 0 && !S_ISDIR(about.st_mode))
        errno = ENOTDIR;
    else if (errno == EEXIST && access(dir, W_OK | X_OK) == 0)
        return OK;
    snprintf(ret_why, WHY_BYTES, "data-dir: cannot write to %s: %s", dir, strerror(errno));
    return ERR_UNAVAILABLE;
}

static enum err open_datadir(struct server *server, char *ret_why) {
    const struct config *config = &server->config;
    struct datadir_options options = {
        .dir = config->data_dir,
        .durability_ms = config->durability_ms,
        .fatal = note_fatal,
    };
    enum err err = OK;
    if (config->encryption_key_file)
        err = seal_keys_open(config->encryption_key_file, &server->keys, ret_why, WHY_BYTES);
    options.keys = server->keys;
    if (!err)
        err = make_data_dir(config->data_dir, ret_why);
    return err ? err : datadir_open(&options, &server->datadir, ret_why, WHY_BYTES);
}

static enum err open_kv(struct server *server, char *ret_why) {
    const struct config *config = &server->config;
    struct kv_options options = {
        .datadir = server->datadir,
        .memory_limit_bytes = config->memory_limit_bytes,
        .eviction = config->memory_eviction,
        .watch = server->core.own ? &server->watch : NULL,
        .feed_bytes = config->watch_log_bytes,
        .feed_readers_max = config->max_watchers,
        .hdd_shards = config->hdd_shards,
        .write_buffer_bytes = config->write_buffer_bytes,
        .read_cache_bytes = config->read_cache_bytes,
        .fatal = note_fatal,
        .progress = print_progress,
    };
    return kv_open(&options, &server->core.kv, ret_why, WHY_BYTES);
}

static enum err open_broker(struct server *server, char *ret_why) {
    struct broker_options options = {
        .datadir = server->datadir,
        .memory_limit_bytes = server->config.memory_limit_bytes,
        .write_buffer_bytes = server->config.write_buffer_bytes / 4,
        .fatal = note_fatal,
    };
    return broker_open(&options, &server->core.broker, ret_why, WHY_BYTES);
}

/* Under what other nodes reach this one: as configured, else this machine's name. */
static void put_advertise(struct server *server) {
    const struct config *config = &server->config;
    char host[200] = "localhost";
    if (!config->advertise && gethostname(host, sizeof host - 1))
        snprintf(host, sizeof host, "localhost");
    if (config->advertise)
        snprintf(server->advertise, sizeof server->advertise, "%s", config->advertise);
    else
        snprintf(server->advertise, sizeof server->advertise, "%s:%u", host, config->rpc_port);
}

/* Keys and queues in a database: nothing is stored here. */
static enum err open_engine(struct server *server, char *ret_why) {
    const struct config *config = &server->config;
    put_advertise(server);
    struct engine_options options = {
        .url = config->engine,
        .read_url = config->engine_read,
        .schema = config->engine_schema,
        .connections = config->engine_connections,
        .timeout_ms = config->engine_timeout_ms,
        .prepare = config->engine_prepare,
        .advertise = server->advertise,
        .version = HATI_VERSION,
        .payload_limit_bytes = config->payload_limit_bytes,
    };
    enum err err = engine_open(&options, &server->core.engine, ret_why, WHY_BYTES);
    if (err)
        return err;
    struct kv_options keys = {
        .remote = engine_kv(server->core.engine),
        .feed_bytes = config->watch_log_bytes,
        .feed_readers_max = config->max_watchers,
    };
    struct broker_options broker = {.remote = engine_broker(server->core.engine)};
    err = kv_open(&keys, &server->core.kv, ret_why, WHY_BYTES);
    return err ? err : broker_open(&broker, &server->core.broker, ret_why, WHY_BYTES);
}

/* Stores that share the datadir are all open before it replays. */
static enum err open_stores(struct server *server, char *ret_why) {
    if (server->config.engine)
        return open_engine(server, ret_why);
    enum err err = open_datadir(server, ret_why);
    if (!err)
        err = open_kv(server, ret_why);
    if (!err)
        err = open_broker(server, ret_why);
    if (!err)
        err = datadir_start(server->datadir, ret_why, WHY_BYTES);
    if (!err) {
        server->core.committer = datadir_committer(server->datadir);
        server->core.datadir = server->datadir;
    }
    return err;
}

/* The filters hear of every key from the first on. */
static enum err open_own(struct server *server, char *ret_why) {
    const struct config *config = &server->config;
    if (!config->olivia && !config->peers)
        return OK;
    server->watch = (struct kv_watch){
        .workspace = config->default_workspace,
        .ns = SLICE("default"),
        .note = own_note,
    };
    enum err err = own_open(config->engine != NULL, &server->core.own);
    if (err)
        snprintf(ret_why, WHY_BYTES, "no memory for the filters of this node's keys");
    server->watch.context = server->core.own;
    return err;
}

static enum err open_peers(struct server *server, char *ret_why) {
    const struct config *config = &server->config;
    if (!server->core.own)
        return OK;
    struct peers_options options = {
        .list = config->peers,
        .self = config->olivia_advertise,
        .token = config->peer_token.text,
        .beat_ms = config->peer_beat_ms,
        .refresh_ms = config->peer_refresh_ms,
        .timeout_ms = config->peer_timeout_ms,
        .retry_max_ms = PEER_RETRY_MAX_MS,
        .value_limit_bytes = config->payload_limit_bytes,
        .own = server->core.own,
        .kv = config->engine ? NULL : server->core.kv,
    };
    server->core.peer_reads = config->peer_reads;
    return peers_open(&options, &server->core.peers, ret_why, WHY_BYTES);
}

static void close_peers(struct server *server) {
    if (server->core.peers)
        peers_close(server->core.peers);
    server->core.peers = NULL;
}

static void close_stores(struct server *server) {
    feed_stop_all(server->core.kv);
    engine_close(server->core.engine);
    server->core.engine = NULL;
    if (server->datadir)
        datadir_stop(server->datadir);
    broker_close(server->core.broker);
    kv_close(server->core.kv);
    datadir_close(server->datadir);
    seal_keys_close(server->keys);
    if (server->core.own)
        own_close(server->core.own);
}

static struct tls_options tls_options_of(const struct config *config) {
    return (struct tls_options){
        .cert_path = config->tls_cert,
        .key_path = config->tls_key,
        .client_ca_path = config->tls_client_ca,
    };
}

static bool speaks_tls(const struct config *config) {
    return config->tcp_tls || config->olivia_tls || config->rpc_tls;
}

/* What of its files is bad is refused before anything is made. */
static enum err check_tls(const struct config *config, char *ret_why) {
    struct tls_options options = tls_options_of(config);
    struct tls *tls;
    if (!speaks_tls(config) || (!options.cert_path && !options.client_ca_path))
        return OK;
    enum err err = tls_open(&options, &tls, ret_why, WHY_BYTES);
    if (!err)
        tls_close(tls);
    return err;
}

/* One that is made is kept beside the data, so that its fingerprint stays. */
static enum err open_tls(struct server *server, char *ret_why) {
    const struct config *config = &server->config;
    if (!speaks_tls(config)) {
        if (config->tls_cert || config->tls_client_ca)
            log_warn("tls-cert and tls-client-ca change nothing: no door speaks TLS without "
                     "--rpc-tls, --tcp-tls or --olivia-tls");
        return OK;
    }
    struct tls_options options = tls_options_of(config);
    if (server->datadir) {
        snprintf(server->tls_path, sizeof server->tls_path, "%s/self-signed.pem", config->data_dir);
        options.kept_path = server->tls_path;
    }
    return tls_open(&options, &server->tls, ret_why, WHY_BYTES);
}

static enum err open_limits(struct server *server, char *ret_why) {
    const struct config *config = &server->config;
    uint64_t per = config->rate_limit.per;
    struct limits_options options = {
        .rate = {.per = per,
                 .burst = config->rate_burst ? config->rate_burst : per,
                 .unit_ns = config->rate_limit.unit_ms * 1000000},
        .bytes = {.per = config->rate_bytes,
                  .burst = config->rate_bytes * BYTES_BURST_S,
                  .unit_ns = 1000000000},
        .connections = config->client_connections,
        .requests = config->client_requests,
        .trusted_proxies = config->trusted_proxies,
    };
    server->core.limits = limits_open(&options);
    if (server->core.limits)
        return OK;
    snprintf(ret_why, WHY_BYTES, "no memory for the limits of clients");
    return ERR_OUT_OF_MEMORY;
}

static enum err open_doors(struct server *server, char *ret_why) {
    const struct config *config = &server->config;
    enum err err = OK;
    if (config->tcp || config->olivia)
        err = line_server_start(config, &server->core, &server->line, &server->ports, ret_why,
                                WHY_BYTES);
    if (!err && config->rpc)
        err = http_server_start(config, &server->core, &server->http, &server->rpc_port, ret_why,
                                WHY_BYTES);
    return err;
}

static void *stop_http(void *context) {
    http_server_stop(context);
    return NULL;
}

/* Both drain at once: what is stuck at one door takes no time from the other. */
static void close_doors(struct server *server) {
    pthread_t thread;
    bool beside = server->http && pthread_create(&thread, NULL, stop_http, server->http) == 0;
    if (server->http && !beside)
        http_server_stop(server->http);
    if (server->line)
        line_server_stop(server->line);
    if (beside)
        pthread_join(thread, NULL);
    server->http = NULL;
    server->line = NULL;
}

static void print_reach(const struct server *server) {
    static const char plain[] = "nc localhost ";
    static const char secure[] = "openssl s_client -quiet -connect localhost:";
    const struct config *config = &server->config;
    printf("hati %s\n", HATI_VERSION);
    if (config->tcp)
        printf("  lines  %s%u            (HELP lists the commands)\n",
               config->tcp_tls ? secure : plain, server->ports.tcp);
    if (config->tcp && config->tcp_socket)
        printf("  lines  nc -U %s\n", config->tcp_socket);
    if (config->olivia)
        printf("  olivia %s%u\n", config->olivia_tls ? secure : plain, server->ports.olivia);
    if (config->rpc)
        printf("  http   curl %slocalhost:%u/status   (JSON-RPC at /rpc, keys at /api/default/)\n",
               config->rpc_tls ? "-k https://" : "", server->rpc_port);
    if (server->tls && tls_is_self_signed(server->tls)) {
        char fingerprint[TLS_FINGERPRINT_BYTES];
        tls_fingerprint(server->tls, fingerprint);
        printf("  tls    self-signed, SHA-256 %s\n", fingerprint);
    }
    if (config->engine)
        printf("  data   in a database, schema %s\n", config->engine_schema);
    else
        printf("  data   %s%s\n", config->data_dir, server->keys ? ", encrypted" : "");
    if (!server->core.auth && !config->no_auth)
        printf(
            "  Only callers on this machine are served: no credentials are configured\n"
            "  (--jwt-secret-file, --jwt-key-file or --jwks-url; --no-auth serves everybody).\n");
    printf("  Ctrl-C stops it.\n");
    fflush(stdout);
}

/* Not ready for a while first, so that load balancers look away; a second signal cuts it short. */
static void drain(struct server *server, const sigset_t *signals) {
    sigset_t end = *signals;
    sigdelset(&end, SIGHUP);
    int64_t delay_ms = server->config.drain_delay_ms;
    atomic_store(&server->core.ready, false);
    atomic_store(&server->core.draining, true);
    log_info("draining");
    systemd_notify("STOPPING=1");
    struct timespec delay = {delay_ms / 1000, delay_ms % 1000 * 1000000};
    if (delay_ms && !atomic_load(&store_failed))
        sigtimedwait(&end, NULL, &delay);
    broker_drain(server->core.broker);
    close_doors(server);
}

static int serve(struct server *server, const sigset_t *signals) {
    atomic_store(&server->core.ready, true);
    print_reach(server);
    log_info("hati %s serves, process %d", HATI_VERSION, (int)getpid());
    systemd_tell_untaken();
    systemd_notify("READY=1");
    int signal_number = 0;
    while (sigwait(signals, &signal_number) == 0 && signal_number == SIGHUP) {
        reload_auth(&server->config, server->core.auth);
        reload_tls(server->tls);
        reload_keys(&server->config, server->datadir);
    }
    drain(server, signals);
    if (atomic_load(&store_failed)) /* its threads run on: nothing they use may be freed */
        _exit(refuse("ended: the store could no longer be believed; the log says why"));
    close_peers(server);
    tls_close(server->tls);
    close_stores(server);
    auth_close(server->core.auth);
    trace_close(server->core.tracer, TRACING_FLUSH_MS);
    log_info("stopped");
    return 0;
}

int command_start(int argc, char **argv) {
    static struct server server;
    char why[WHY_BYTES] = "out of memory";
    if (config_read(argc, argv, &server.config, why, sizeof why))
        return refuse(why);
    log_set_level(server.config.log_level);
    prctl(PR_SET_DUMPABLE, 0); /* no core file, no ptrace: secrets are in memory */
    op_init();
    room_open(&server.config);
    sigset_t signals = block_signals();
    server.core.default_workspace = server.config.default_workspace;
    server.core.payload_limit_bytes = server.config.payload_limit_bytes;
    server.core.started_ms = clock_wall_ms();
    server.core.started_steady_ms = clock_steady_ms();
    server.core.metrics = server_metrics_open(); /* lives as long as the process: threads count */
    snprintf(why, sizeof why, "no memory to start with");
    enum err err = line_memory_open();
    if (!err)
        err = reload_open_auth(&server.config, &server.core.auth, why, sizeof why);
    if (!err)
        err = documents_open(&server.core, server.config.base_path);
    if (!err)
        err = check_tls(&server.config, why);
    if (!err)
        err = tracing_open(&server.config, &server.core.tracer, why, sizeof why);
    if (!err)
        err = open_limits(&server, why);
    if (!err)
        err = open_own(&server, why);
    if (!err)
        err = open_stores(&server, why);
    if (!err && server.core.auth)
        auth_await_keys(server.core.auth, KEYS_PATIENCE_MS);
    if (!err)
        err = open_peers(&server, why);
    if (!err)
        err = open_tls(&server, why);
    if (!err)
        err = open_doors(&server, why);
    int status = err ? refuse(why) : serve(&server, &signals);
    if (err) {
        close_doors(&server);
        close_peers(&server);
        tls_close(server.tls);
        close_stores(&server);
        auth_close(server.core.auth);
        trace_close(server.core.tracer, 0);
    }
    limits_close(server.core.limits);
    documents_close(&server.core);
    config_done(&server.config);
    line_memory_close();
    return status;
}
