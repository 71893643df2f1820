/* SPDX-License-Identifier: MIT */
/* What the server was told: flags over environment over file over defaults. */
#ifndef HATI_SERVER_CONFIG_H
#define HATI_SERVER_CONFIG_H

#include "base/log.h"
#include "base/slice.h"
#include "base/text.h"
#include "engine/engine.h"
#include "kv/kv.h"

#define CONFIG_SELF_BYTES 300 /* of host:port and its NUL */

/* What a file held when it was read, and its name, by which it can be read anew. */
struct config_file {
    char *text; /* NUL-ended, without the newline at its end; NULL: not set */
    char *path; /* NULL: the text came from elsewhere */
};

/* So many of something in a time. */
struct config_rate {
    uint64_t per; /* 0: no limit */
    int64_t unit_ms;
};

struct config {
    bool tcp, rpc; /* which listeners start */
    char *tcp_host;
    unsigned tcp_port; /* 4242; 0: the system chooses, and it is printed */
    char *tcp_socket;  /* UNIX socket path of the line protocol; NULL: none */
    unsigned tcp_threads;
    bool tcp_tls, olivia_tls, rpc_tls; /* which listeners speak TLS */
    char *tls_cert, *tls_key;          /* PEM files; NULL: a self-signed certificate is made */
    char *tls_client_ca;               /* PEM file; NULL: clients need no certificate */
    bool olivia;                       /* serve Olivia's protocol on the threads of lines */
    char *olivia_host;
    unsigned olivia_port;          /* 5454 */
    char *olivia_socket;           /* UNIX socket path; NULL: none */
    char *olivia_advertise;        /* host:port of that door as peers reach it; NULL: not told */
    char *peers;                   /* host:port parted by commas; NULL: none */
    struct config_file peer_token; /* what this node shows to its peers */
    bool peer_reads;               /* a GET miss on any door asks them */
    int64_t peer_beat_ms, peer_refresh_ms, peer_timeout_ms;
    char *rpc_host;
    unsigned rpc_port; /* 6767 */
    char *data_dir;
    char *encryption_key_file; /* keys by which hdd is sealed; NULL: it is not */
    unsigned cpu_num;          /* HTTP threads */
    unsigned hdd_shards;
    int64_t durability_ms;       /* 0: commit */
    uint64_t memory_total_bytes; /* of which others are shares; 0: not known */
    uint64_t write_buffer_bytes; /* recent durable writes held in memory */
    uint64_t read_cache_bytes;   /* hdd entries kept in memory for reading */
    uint64_t memory_limit_bytes;
    enum kv_eviction memory_eviction;
    unsigned max_watchers;
    uint64_t watch_log_bytes;
    uint64_t payload_limit_bytes;
    uint64_t inflight_limit_bytes;
    uint64_t line_limit_bytes; /* a line, framed bytes not counted */
    unsigned connection_limit; /* per door */
    uint64_t
        connection_total; /* of all doors, by the limit of open files; no option; 0: no bound */
    struct config_rate rate_limit;                /* of each client: requests */
    unsigned rate_burst;                          /* at once; 0: as many as the limit says */
    uint64_t rate_bytes;                          /* per second; 0: no limit */
    unsigned client_connections, client_requests; /* of one client at once; 0: no limit */
    char *trusted_proxies;                        /* networks; NULL: none is trusted */
    bool tcp_proxy_protocol, olivia_proxy_protocol, rpc_proxy_protocol;
    int64_t header_timeout_ms, body_timeout_ms;    /* of HTTP; 0: none */
    int64_t handshake_timeout_ms, line_timeout_ms; /* of lines; 0: none */
    uint64_t min_rate;            /* bytes a second that a slow peer has to keep up; 0: none */
    int64_t idle_timeout_ms;      /* HTTP keep-alive; 0: none */
    int64_t line_idle_timeout_ms; /* 0: none */
    int64_t request_timeout_ms;   /* a parked call is answered UNAVAILABLE after it */
    int64_t drain_delay_ms;       /* readiness 503 this long before listeners close */
    int64_t drain_timeout_ms;     /* in-flight work may take so long */
    char *cors_origin;            /* "*" or one origin */
    char *base_path; /* before every HTTP path, without a slash at its end; NULL: none */
    bool no_console; /* neither console nor docs page */
    struct config_file secret, old_secret, public_key_pem, jwks;
    char *jwks_url, *jwks_ca; /* NULL: none */
    int64_t jwks_refresh_ms, jwks_cooldown_ms;
    bool jwks_allow_http;
    char *jwt_audience, *jwt_issuer;
    char *otlp_endpoint, *otlp_ca, *otlp_service; /* of spans; NULL: none are made */
    struct config_file otlp_headers;              /* sent to the collector, a line each */
    double otlp_sample;                           /* 0 to 1 */
    char *view;           /* of /kv-store: host:port parted by commas; NULL: this node alone */
    unsigned repl_factor; /* members of the view to a shard */
    bool allow_weak_secret;
    bool no_auth;
    struct uuid default_workspace;
    enum log_level log_level;
    char *engine; /* a libpq connection string, with its password: never shown; NULL: LMDB */
    char *engine_read;
    char *engine_schema;
    unsigned engine_connections;
    enum engine_prepare engine_prepare;
    int64_t engine_timeout_ms;
    char *advertise; /* host:port; NULL: none */
};

/* Reads `argv` (behind the subcommand), environment and file. On failure prints nothing: one clear
 * line is in ret_why. The caller frees with config_done. */
enum err config_read(int argc, char **argv, struct config *ret_config, char *ret_why,
                     size_t why_bytes) MUST_USE;
void config_done(struct config *config);
/* Reads a file of the configuration anew, by its path. ret_text is the caller's to wipe and free,
 * and NULL where no file is named. On failure one line is in ret_why. */
enum err config_read_again(const struct config_file *file, char **ret_text, char *ret_why,
                           size_t why_bytes) MUST_USE;
/* host:port of the HTTP door as others reach it. port: where it listens. */
void config_self(const struct config *config, unsigned port, char *ret_self, size_t self_bytes);
/* The option table as help text. */
void config_print_help(void);
/* Each option: its name, how help calls its value (empty: it has none), and a line about it. */
void config_each_option(void (*each)(const char *name, const char *value, const char *doc));

#endif
