/* SPDX-License-Identifier: MIT */
/* One table of options; flags, environment and file all go through it. */
#include "server/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "peers/peers.h"
#include "server/address.h"
#include "server/config_value.h"
#include "server/kvstore_view.h"

#define FILE_BYTES_MAX (1U << 20)
#define NAME_BYTES_MAX 64
#define VIEW_BYTES_MAX (4U << 20)

enum kind {
    KIND_BOOL,
    KIND_PORT,
    KIND_COUNT,
    KIND_TEXT,
    KIND_MS,
    KIND_BYTES,
    KIND_DURABILITY,
    KIND_EVICTION,
    KIND_LEVEL,
    KIND_UUID,
    KIND_ORIGIN,
    KIND_PATH,     /* of a URL, before every other */
    KIND_CONTENT,  /* a file's name; its content is the value */
    KIND_DATABASE, /* holds a password */
    KIND_SCHEMA,
    KIND_PREPARE,
    KIND_SHARE, /* 0 to 1 */
    KIND_ADDRESS,
    KIND_PEERS,
    KIND_RATE,
    KIND_NETWORKS,
    KIND_CONFIG /* the configuration file itself */
};

struct option {
    const char *name;
    const char *value; /* how help calls it */
    enum kind kind;
    size_t at;
    unsigned min, max;
    const char *doc;
};

#define AT(field) offsetof(struct config, field)

static const struct option options[] = {
    {"config", "FILE", KIND_CONFIG, 0, 0, 0, "read settings from lines `name = value`"},
    {"tcp", "", KIND_BOOL, AT(tcp), 0, 0, "serve lines (both start if neither is named)"},
    {"tcp-host", "HOST", KIND_TEXT, AT(tcp_host), 0, 0, "bind lines to this address (0.0.0.0)"},
    {"tcp-port", "PORT", KIND_PORT, AT(tcp_port), 0, 0, "port of lines (4242; 0: any free one)"},
    {"tcp-socket", "PATH", KIND_TEXT, AT(tcp_socket), 0, 0, "serve lines on a UNIX socket too"},
    {"tcp-threads", "N", KIND_COUNT, AT(tcp_threads), 1, 64, "threads for lines (1)"},
    {"tcp-tls", "", KIND_BOOL, AT(tcp_tls), 0, 0, "speak TLS there"},
    {"olivia", "", KIND_BOOL, AT(olivia), 0, 0, "serve Olivia's line protocol too"},
    {"olivia-host", "HOST", KIND_TEXT, AT(olivia_host), 0, 0, "bind it to this address (0.0.0.0)"},
    {"olivia-port", "PORT", KIND_PORT, AT(olivia_port), 0, 0, "its port (5454; 0: any free one)"},
    {"olivia-socket", "PATH", KIND_TEXT, AT(olivia_socket), 0, 0, "serve it on a UNIX socket too"},
    {"olivia-tls", "", KIND_BOOL, AT(olivia_tls), 0, 0, "speak TLS there (peers do not)"},
    {"olivia-advertise", "HOST:PORT", KIND_ADDRESS, AT(olivia_advertise), 0, 0,
     "where peers reach it, as they are told"},
    {"peers", "LIST", KIND_PEERS, AT(peers), 0, 0,
     "ask these for keys of memory that are not here: host:port,..."},
    {"peer-reads", "", KIND_BOOL, AT(peer_reads), 0, 0,
     "ask peers for what a GET on any door misses, not only on Olivia's"},
    {"peer-timeout", "TIME", KIND_MS, AT(peer_timeout_ms), 0, 0,
     "a key that no peer gave by then is not there (200ms)"},
    {"peer-beat", "TIME", KIND_MS, AT(peer_beat_ms), 0, 0, "heartbeats to peers (1s)"},
    {"peer-refresh", "TIME", KIND_MS, AT(peer_refresh_ms), 0, 0,
     "an Olivia peer's filter is asked for so often (30s)"},
    {"peer-token-file", "FILE", KIND_CONTENT, AT(peer_token), 0, 0,
     "the token that peers want from this node"},
    {"rpc", "", KIND_BOOL, AT(rpc), 0, 0, "serve HTTP: JSON-RPC and REST"},
    {"rpc-host", "HOST", KIND_TEXT, AT(rpc_host), 0, 0, "bind HTTP to this address (0.0.0.0)"},
    {"rpc-port", "PORT", KIND_PORT, AT(rpc_port), 0, 0, "port of HTTP (6767; 0: any free one)"},
    {"rpc-tls", "", KIND_BOOL, AT(rpc_tls), 0, 0, "speak TLS there"},
    {"tls-cert", "FILE", KIND_TEXT, AT(tls_cert), 0, 0,
     "certificate and chain, PEM (a self-signed one is made)"},
    {"tls-key", "FILE", KIND_TEXT, AT(tls_key), 0, 0, "its key, PEM"},
    {"tls-client-ca", "FILE", KIND_TEXT, AT(tls_client_ca), 0, 0,
     "let clients in that show a certificate of these authorities, no others"},
    {"cpu-num", "N", KIND_COUNT, AT(cpu_num), 1, 1024, "threads for HTTP (one per CPU)"},
    {"data-dir", "DIR", KIND_TEXT, AT(data_dir), 0, 0, "where hdd entries live (./data)"},
    {"encryption-key-file", "FILE", KIND_TEXT, AT(encryption_key_file), 0, 0,
     "seal values and messages of hdd by the first of these keys (docs/encryption.md)"},
    {"hdd-shards", "N", KIND_COUNT, AT(hdd_shards), 1, 64,
     "LMDB environments; changed: rebuilt (1)"},
    {"durability", "WHEN", KIND_DURABILITY, AT(durability_ms), 0, 0,
     "commit: a reply means synced; interval:<ms>: synced that often (commit)"},
    {"write-buffer", "SIZE", KIND_BYTES, AT(write_buffer_bytes), 0, 0,
     "recent hdd writes kept in memory (256m; never under twice the payload limit)"},
    {"read-cache", "SIZE", KIND_BYTES, AT(read_cache_bytes), 0, 0,
     "hdd entries kept in memory for reading; 0: none (256m)"},
    {"memory-limit", "SIZE", KIND_BYTES, AT(memory_limit_bytes), 0, 0,
     "bound of the memory storage; 0: none (0)"},
    {"memory-eviction", "HOW", KIND_EVICTION, AT(memory_eviction), 0, 0,
     "at that bound: noeviction or lru (noeviction)"},
    {"payload-limit", "SIZE", KIND_BYTES, AT(payload_limit_bytes), 0, 0, "largest value (2m)"},
    {"inflight-limit", "SIZE", KIND_BYTES, AT(inflight_limit_bytes), 0, 0,
     "bodies and values over 64k that HTTP holds in memory together (4 payloads, at least 1g)"},
    {"line-limit", "SIZE", KIND_BYTES, AT(line_limit_bytes), 0, 0,
     "longest line (3/2 of the payload limit + 64k)"},
    {"connection-limit", "N", KIND_COUNT, AT(connection_limit), 1, 1000000,
     "connections of lines, and of HTTP (20000)"},
    {"max-connections-per-client", "N", KIND_COUNT, AT(client_connections), 0, 1000000,
     "connections of one address; 0: no limit (0)"},
    {"max-requests-per-client", "N", KIND_COUNT, AT(client_requests), 0, 1000000,
     "requests that one client has in flight; 0: no limit (0)"},
    {"rate-limit", "N[/s|/m|/h]", KIND_RATE, AT(rate_limit), 0, 0,
     "requests of one client in a time, on all doors; 0: no limit (0)"},
    {"rate-limit-burst", "N", KIND_COUNT, AT(rate_burst), 0, 1000000000,
     "so many of them at once; 0: as many as the limit says (0)"},
    {"rate-limit-bytes", "SIZE", KIND_BYTES, AT(rate_bytes), 0, 0,
     "bytes of one client a second, in and out, ten seconds' at once; 0: no limit (0)"},
    {"trusted-proxies", "LIST", KIND_NETWORKS, AT(trusted_proxies), 0, 0,
     "believe these when they say who the client is: 10.0.0.0/8,fd00::/8,..."},
    {"tcp-proxy-protocol", "", KIND_BOOL, AT(tcp_proxy_protocol), 0, 0,
     "trusted proxies begin connections of lines with a PROXY header (v1 or v2)"},
    {"olivia-proxy-protocol", "", KIND_BOOL, AT(olivia_proxy_protocol), 0, 0,
     "those of Olivia's protocol too"},
    {"rpc-proxy-protocol", "", KIND_BOOL, AT(rpc_proxy_protocol), 0, 0, "those of HTTP too"},
    {"http-header-timeout", "TIME", KIND_MS, AT(header_timeout_ms), 0, 0,
     "the head of an HTTP request is there by then; 0: no limit (10s)"},
    {"http-body-timeout", "TIME", KIND_MS, AT(body_timeout_ms), 0, 0,
     "its body is there by then, or comes at the least rate; 0: no limit (30s)"},
    {"handshake-timeout", "TIME", KIND_MS, AT(handshake_timeout_ms), 0, 0,
     "TLS and the PROXY header of a line connection are done by then; 0: no limit (10s)"},
    {"line-timeout", "TIME", KIND_MS, AT(line_timeout_ms), 0, 0,
     "a line that has begun ends by then, or comes at the least rate; 0: no limit (30s)"},
    {"min-rate", "SIZE", KIND_BYTES, AT(min_rate), 0, 0,
     "bytes a second that slow senders and readers have to keep up; 0: none (16k)"},
    {"idle-timeout", "TIME", KIND_MS, AT(idle_timeout_ms), 0, 0,
     "close an HTTP connection idle so long; 0: never (60s)"},
    {"line-idle-timeout", "TIME", KIND_MS, AT(line_idle_timeout_ms), 0, 0,
     "close a line connection idle so long, but one that subscribes; 0: never (0)"},
    {"request-timeout", "TIME", KIND_MS, AT(request_timeout_ms), 0, 0,
     "a request that waits longer is answered UNAVAILABLE (30s)"},
    {"max-watchers", "N", KIND_COUNT, AT(max_watchers), 1, 1000000,
     "who may watch namespaces at once, on all doors (20000)"},
    {"watch-log", "SIZE", KIND_BYTES, AT(watch_log_bytes), 0, 0,
     "changes kept for those who watch, in memory (64m)"},
    {"drain-delay", "TIME", KIND_MS, AT(drain_delay_ms), 0, 0,
     "on SIGTERM, not ready for so long before listeners close (0)"},
    {"drain-timeout", "TIME", KIND_MS, AT(drain_timeout_ms), 0, 0,
     "then wait for requests so long (10s)"},
    {"cors-origin", "ORIGIN", KIND_ORIGIN, AT(cors_origin), 0, 0,
     "which pages may call; *: any (*)"},
    {"base-path", "PATH", KIND_PATH, AT(base_path), 0, 0,
     "HTTP paths may begin with this, as behind a proxy: /hati"},
    {"no-console", "", KIND_BOOL, AT(no_console), 0, 0, "serve neither /console nor /docs"},
    {"jwt-secret-file", "FILE", KIND_CONTENT, AT(secret), 0, 0,
     "tokens are HS256/384/512 by this secret"},
    {"jwt-secret-file-old", "FILE", KIND_CONTENT, AT(old_secret), 0, 0,
     "and by this one, while the other is new; it may be empty"},
    {"jwt-key-file", "FILE", KIND_CONTENT, AT(public_key_pem), 0, 0,
     "tokens are RS256, ES256 or EdDSA by these public keys (PEM)"},
    {"jwks-file", "FILE", KIND_CONTENT, AT(jwks), 0, 0, "and by these (JWK Set)"},
    {"jwks-url", "URL", KIND_TEXT, AT(jwks_url), 0, 0, "and by those that the issuer has there"},
    {"jwks-refresh", "TIME", KIND_MS, AT(jwks_refresh_ms), 0, 0, "they are fetched so often (10m)"},
    {"jwks-cooldown", "TIME", KIND_MS, AT(jwks_cooldown_ms), 0, 0,
     "sooner for a token by an unknown kid, and after a failure, but not sooner than this (30s)"},
    {"jwks-ca", "FILE", KIND_TEXT, AT(jwks_ca), 0, 0,
     "who vouches for the issuer's certificate (PEM; the system's)"},
    {"jwks-allow-http", "", KIND_BOOL, AT(jwks_allow_http), 0, 0,
     "fetch them by http from other machines too"},
    {"jwt-audience", "TEXT", KIND_TEXT, AT(jwt_audience), 0, 0, "tokens must have this aud"},
    {"jwt-issuer", "TEXT", KIND_TEXT, AT(jwt_issuer), 0, 0, "tokens must have this iss"},
    {"allow-weak-secret", "", KIND_BOOL, AT(allow_weak_secret), 0, 0,
     "take a secret that is short or well known"},
    {"no-auth", "", KIND_BOOL, AT(no_auth), 0, 0,
     "without secret or key serve everybody, not only this machine"},
    {"default-workspace", "UUID", KIND_UUID, AT(default_workspace), 0, 0,
     "workspace where none is named (11111111-2222-3333-4444-555555555555)"},
    {"view", "LIST", KIND_TEXT, AT(view), 0, 0,
     "nodes of /kv-store, host:port,...; until a view change (this one)"},
    {"repl-factor", "N", KIND_COUNT, AT(repl_factor), 1, 4096, "nodes to a shard of that view (1)"},
    {"otlp-endpoint", "URL", KIND_TEXT, AT(otlp_endpoint), 0, 0,
     "send spans to this OpenTelemetry collector: http://host:4318"},
    {"otlp-sample", "SHARE", KIND_SHARE, AT(otlp_sample), 0, 0,
     "of requests that bring no trace, 0 to 1 (1)"},
    {"otlp-service", "NAME", KIND_TEXT, AT(otlp_service), 0, 0, "service.name in them (hati)"},
    {"otlp-headers-file", "FILE", KIND_CONTENT, AT(otlp_headers), 0, 0,
     "sent to the collector, lines `Name: value`, for tokens"},
    {"otlp-ca", "FILE", KIND_TEXT, AT(otlp_ca), 0, 0,
     "who vouches for the collector's certificate (PEM; the system's)"},
    {"log-level", "LEVEL", KIND_LEVEL, AT(log_level), 0, 0,
     "debug, info, warn, error or off (info)"},
    {"engine", "URL", KIND_DATABASE, AT(engine), 0, 0,
     "keep everything in this PostgreSQL or CockroachDB, not in data-dir"},
    {"engine-read", "URL", KIND_DATABASE, AT(engine_read), 0, 0,
     "replicas of it, for reads with a causal context"},
    {"engine-schema", "NAME", KIND_SCHEMA, AT(engine_schema), 0, 0, "its schema (hati)"},
    {"engine-connections", "N", KIND_COUNT, AT(engine_connections), 2, 1000,
     "connections to it (10)"},
    {"engine-prepare", "WHEN", KIND_PREPARE, AT(engine_prepare), 0, 0,
     "prepared statements: on, off, or auto: until a pooler loses one (auto)"},
    {"engine-timeout", "TIME", KIND_MS, AT(engine_timeout_ms), 0, 0,
     "a call to it that takes longer is answered UNAVAILABLE (5s)"},
    {"advertise", "HOST:PORT", KIND_ADDRESS, AT(advertise), 0, 0,
     "where other nodes reach this one by HTTP"},
};

#define OPTION_COUNT (sizeof options / sizeof options[0])

/* Other names in the environment. */
static const struct other_name {
    const char *name, *option;
} also[] = {
    {"HULY_BIND_HOST", "rpc-host"},
    {"HULY_BIND_PORT", "rpc-port"},
    {"HULY_PAYLOAD_SIZE_LIMIT", "payload-limit"},
    {"HULY_DEFAULT_WORKSPACE_UUID", "default-workspace"},
    {"HULY_DB_CONNECTION", "engine"},
    {"HULY_DB_SCHEME", "engine-schema"},
    {"HULY_TOKEN_SECRET_FILE", "jwt-secret-file"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT", "otlp-endpoint"},
    {"OTEL_SERVICE_NAME", "otlp-service"},
};

/* Names of key-value-store's, which are ours only where it says which nodes there are: PORT and
 * ADDRESS mean many things to many programs. */
static const struct other_name names_with_view[] = {
    {"PORT", "rpc-port"},
    {"VIEW", "view"},
    {"REPL_FACTOR", "repl-factor"},
};

/* The secret itself may stand in the environment; never in a flag, which everybody on the machine
 * may read. */
static const char *const secret_names[] = {"HULY_TOKEN_SECRET", "HATI_JWT_SECRET"};

struct reader {
    struct config *config;
    char *why;
    size_t why_bytes;
};

static enum err fail(const struct reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum err fail(const struct reader *reader, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(reader->why, reader->why_bytes, format, args);
    va_end(args);
    return ERR_SYNTAX;
}

static const struct option *find_option(struct slice name) {
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (slice_equal(slice_of_cstr(options[i].name), name))
            return &options[i];
    return NULL;
}

static void put_text(char **field, const char *text) {
    char *copy = strdup(text);
    if (!copy)
        abort();
    free(*field);
    *field = copy;
}

/* A whole small file, NUL-ended, without the newline at its end; NULL with errno. */
static char *read_file(const char *path) {
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = calloc(1, FILE_BYTES_MAX + 1);
    size_t len = text ? fread(text, 1, FILE_BYTES_MAX + 1, file) : 0;
    bool bad = ferror(file) != 0;
    fclose(file);
    if (!text || bad || len > FILE_BYTES_MAX) {
        free(text);
        errno = !text ? ENOMEM : bad ? EIO : EFBIG;
        return NULL;
    }
    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        text[--len] = 0;
    char *fitting = realloc(text, len + 1);
    return fitting ? fitting : text;
}

static void drop_content(struct config_file *file) {
    if (file->text)
        explicit_bzero(file->text, strlen(file->text));
    free(file->text);
    free(file->path);
    *file = (struct config_file){NULL, NULL};
}

enum err config_read_again(const struct config_file *file, char **ret_text, char *ret_why,
                           size_t why_bytes) {
    char *text = file->path ? read_file(file->path) : NULL;
    if (file->path && !text) {
        snprintf(ret_why, why_bytes, "cannot read %s: %s", file->path, strerror(errno));
        return ERR_UNAVAILABLE;
    }
    *ret_text = text;
    return OK;
}

static enum err put_content(const struct reader *reader, const struct option *option,
                            const char *path, struct config_file *file) {
    char *text = read_file(path);
    if (!text)
        return fail(reader, "%s: cannot read %s: %s", option->name, path, strerror(errno));
    if (!text[0] && option->at != AT(old_secret)) { /* there is none until there are two */
        free(text);
        return fail(reader, "%s: %s is empty", option->name, path);
    }
    drop_content(file);
    file->text = text;
    put_text(&file->path, path);
    return OK;
}

static const char *check_text(enum kind kind, const char *value) {
    if (kind == KIND_ORIGIN)
        return config_value_origin(value);
    if (kind == KIND_PATH)
        return config_value_path(value);
    if (kind == KIND_SCHEMA)
        return config_value_schema(value);
    if (kind == KIND_ADDRESS)
        return config_value_address(value);
    if (kind == KIND_PEERS)
        return peers_check_list(value);
    if (kind == KIND_NETWORKS)
        return networks_parse(value, NULL);
    return value[0] ? NULL : "a text";
}

/* Takes a value from wherever it came; `where` begins the line about a failure. */
static enum err put(const struct reader *reader, const struct option *option, const char *value,
                    const char *where) {
    void *field = (char *)reader->config + option->at;
    const char *expected = NULL;
    switch (option->kind) {
    case KIND_BOOL:
        expected = config_value_bool(value, field);
        break;
    case KIND_PORT:
        expected = config_value_port(value, field);
        break;
    case KIND_COUNT:
        if (config_value_count(value, option->min, option->max, field))
            return fail(reader, "%s%s: a number from %u to %u is expected, not `%s`", where,
                        option->name, option->min, option->max, value);
        break;
    case KIND_ORIGIN:
    case KIND_PATH:
    case KIND_TEXT:
    case KIND_SCHEMA:
    case KIND_ADDRESS:
    case KIND_PEERS:
    case KIND_NETWORKS:
        expected = check_text(option->kind, value);
        if (!expected)
            put_text(field, value);
        break;
    case KIND_DATABASE:
        expected = config_value_database(value);
        if (expected) /* what it is may be a secret all the same */
            return fail(reader, "%s%s: %s is expected", where, option->name, expected);
        put_text(field, value);
        break;
    case KIND_SHARE:
        expected = config_value_share(value, field);
        break;
    case KIND_PREPARE:
        expected = config_value_prepare(value, field);
        break;
    case KIND_MS:
        expected = config_value_ms(value, field);
        break;
    case KIND_RATE:
        expected = config_value_rate(value, field);
        break;
    case KIND_BYTES:
        expected = config_value_bytes(value, field);
        break;
    case KIND_DURABILITY:
        expected = config_value_durability(value, field);
        break;
    case KIND_EVICTION:
        expected = config_value_eviction(value, field);
        break;
    case KIND_LEVEL:
        expected = config_value_level(value, field);
        break;
    case KIND_UUID:
        expected = config_value_uuid(value, field);
        break;
    case KIND_CONTENT:
        return put_content(reader, option, value, field);
    case KIND_CONFIG:
        break;
    }
    if (expected)
        return fail(reader, "%s%s: %s is expected, not `%s`", where, option->name, expected, value);
    return OK;
}

static void set_defaults(struct config *config) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    *config = (struct config){
        .tcp_port = 4242,
        .tcp_threads = 1,
        .rpc_port = 6767,
        .olivia_port = 5454,
        .peer_beat_ms = 1000,
        .peer_refresh_ms = 30000,
        .peer_timeout_ms = 200,
        .cpu_num = cpus < 1      ? 1
                   : cpus > 1024 ? 1024
                                 : (unsigned)cpus,
        .hdd_shards = 1,
        .write_buffer_bytes = 256U << 20,
        .read_cache_bytes = 256U << 20,
        .payload_limit_bytes = 2U << 20,
        .connection_limit = 20000,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 30000,
        .handshake_timeout_ms = 10000,
        .line_timeout_ms = 30000,
        .min_rate = 16384,
        .idle_timeout_ms = 60000,
        .request_timeout_ms = 30000,
        .drain_timeout_ms = 10000,
        .repl_factor = 1,
        .log_level = LOG_INFO,
        .otlp_sample = 1,
        .engine_connections = 10,
        .jwks_refresh_ms = 600000,
        .jwks_cooldown_ms = 30000,
        .engine_timeout_ms = 5000,
    };
    put_text(&config->tcp_host, "0.0.0.0");
    put_text(&config->olivia_host, "0.0.0.0");
    put_text(&config->rpc_host, "0.0.0.0");
    put_text(&config->data_dir, "./data");
    put_text(&config->cors_origin, "*");
    put_text(&config->engine_schema, "hati");
    if (!text_uuid_parse(SLICE("11111111-2222-3333-4444-555555555555"), &config->default_workspace))
        abort();
}

static void env_name_of(const struct option *option, char name[NAME_BYTES_MAX]) {
    snprintf(name, NAME_BYTES_MAX, "HATI_%s", option->name);
    for (char *at = name; *at; at++)
        *at = (char)(*at == '-' ? '_' : toupper((unsigned char)*at));
}

/* An orchestrator that knows a service called `hati-tcp` sets HATI_TCP_PORT=tcp://10.0.0.1:4242 in
 * every container: that is not for us. */
static bool is_service_link(const struct option *option, const char *value) {
    return option->kind == KIND_PORT && strstr(value, "://") != NULL;
}

/* Compose files hand an unset variable on as an empty one; to OpenTelemetry they are the same. */
static bool is_left_empty(const struct option *option, const char *value) {
    bool may_be = option->kind == KIND_DATABASE || option->at == AT(otlp_endpoint) ||
                  option->at == AT(otlp_service);
    return may_be && !value[0];
}

static enum err read_secret(const struct reader *reader, const char *name) {
    char *value = getenv(name);
    if (!value)
        return OK;
    if (!value[0])
        return fail(reader, "%s is empty: an empty secret would let everybody in", name);
    drop_content(&reader->config->secret);
    put_text(&reader->config->secret.text, value);
    explicit_bzero(value, strlen(value));
    unsetenv(name);
    return OK;
}

static enum err read_names(const struct reader *reader, const struct other_name *names,
                           size_t count) {
    enum err err = OK;
    for (size_t i = 0; !err && i < count; i++) {
        const char *value = getenv(names[i].name);
        char where[NAME_BYTES_MAX];
        snprintf(where, sizeof where, "by %s in the environment, ", names[i].name);
        const struct option *option = find_option(slice_of_cstr(names[i].option));
        if (value && !is_left_empty(option, value))
            err = put(reader, option, value, where);
    }
    return err;
}

/* ADDRESS may have a port, or is at PORT. */
static enum err read_address(const struct reader *reader) {
    const char *address = getenv("ADDRESS");
    char text[CONFIG_SELF_BYTES];
    if (!address || !address[0])
        return OK;
    if (!config_value_address(address))
        snprintf(text, sizeof text, "%s", address);
    else
        snprintf(text, sizeof text, "%s:%u", address, reader->config->rpc_port);
    return put(reader, find_option(SLICE("advertise")), text, "by ADDRESS in the environment, ");
}

static enum err read_names_with_view(const struct reader *reader) {
    enum err err =
        read_names(reader, names_with_view, sizeof names_with_view / sizeof names_with_view[0]);
    return err ? err : read_address(reader);
}

static enum err read_environment(const struct reader *reader) {
    enum err err = read_names(reader, also, sizeof also / sizeof also[0]);
    const char *view = getenv("VIEW");
    if (!err && view && view[0])
        err = read_names_with_view(reader);
    for (size_t i = 0; !err && i < sizeof secret_names / sizeof secret_names[0]; i++)
        err = read_secret(reader, secret_names[i]);
    for (size_t i = 0; !err && i < OPTION_COUNT; i++) {
        char name[NAME_BYTES_MAX];
        env_name_of(&options[i], name);
        const char *value = getenv(name);
        if (value && !is_service_link(&options[i], value) && !is_left_empty(&options[i], value))
            err = put(reader, &options[i], value, "in the environment, ");
    }
    return err;
}

/* Cuts spaces at both ends, in place. */
static char *trim(char *text) {
    while (isspace((unsigned char)*text))
        text++;
    size_t len = strlen(text);
    while (len && isspace((unsigned char)text[len - 1]))
        text[--len] = 0;
    return text;
}

static enum err read_file_line(const struct reader *reader, const char *path, unsigned number,
                               char *line) {
    char *name = trim(line);
    if (!name[0] || name[0] == '#')
        return OK;
    char *equals = strchr(name, '=');
    if (!equals)
        return fail(reader, "%s line %u: `name = value` is expected", path, number);
    *equals = 0;
    name = trim(name);
    const struct option *option = find_option(slice_of_cstr(name));
    if (!option || option->kind == KIND_CONFIG)
        return fail(reader, "%s line %u: there is no setting `%s`", path, number, name);
    char where[256];
    snprintf(where, sizeof where, "%.200s line %u: ", path, number);
    return put(reader, option, trim(equals + 1), where);
}

static enum err read_config_file(const struct reader *reader, const char *path) {
    char *text = read_file(path);
    if (!text)
        return fail(reader, "config: cannot read %s: %s", path, strerror(errno));
    enum err err = OK;
    unsigned number = 1;
    char *rest = text;
    for (char *line; !err && (line = strsep(&rest, "\n")); number++)
        err = read_file_line(reader, path, number, line);
    free(text);
    return err;
}

/* One flag at argv[*at]; moves *at behind it and its value. */
static enum err read_flag(const struct reader *reader, int argc, char **argv, int *at,
                          const struct option **ret_option, const char **ret_value) {
    const char *flag = argv[(*at)++];
    if (strncmp(flag, "--", 2) != 0)
        return fail(reader, "`%s` is no flag; try: hati help", flag);
    const char *equals = strchr(flag, '=');
    size_t len = equals ? (size_t)(equals - flag) - 2 : strlen(flag) - 2;
    const struct option *option = find_option(slice_make(flag + 2, len));
    if (!option)
        return fail(reader, "there is no flag `%.*s`; try: hati help", (int)len + 2, flag);
    bool alone = option->kind == KIND_BOOL;
    if (equals)
        *ret_value = equals + 1;
    else if (alone)
        *ret_value = "";
    else if (*at < argc)
        *ret_value = argv[(*at)++];
    else
        return fail(reader, "--%s needs a value (%s)", option->name, option->value);
    *ret_option = option;
    return OK;
}

static enum err each_flag(const struct reader *reader, int argc, char **argv,
                          const char **ret_path) {
    for (int at = 0; at < argc;) {
        const struct option *option = NULL;
        const char *value = NULL;
        enum err err = read_flag(reader, argc, argv, &at, &option, &value);
        if (!err && ret_path && option->kind == KIND_CONFIG)
            *ret_path = value;
        if (!err && !ret_path)
            err = put(reader, option, value, "--");
        if (err)
            return err;
    }
    return OK;
}

static enum err check_view(const struct reader *reader) {
    const struct config *config = reader->config;
    struct kvstore_view view;
    struct arena arena;
    if (!config->view)
        return OK;
    arena_init(&arena, VIEW_BYTES_MAX);
    const char *why =
        kvstore_view_of_list(slice_of_cstr(config->view), config->repl_factor, &arena, &view);
    arena_done(&arena);
    return why ? fail(reader, "view: %s", why) : OK;
}

/* What follows from the largest value, where it is not said. */
static void set_sizes(struct config *config) {
    uint64_t line = config->payload_limit_bytes / 2 * 3 + 65536;
    uint64_t inflight = config->payload_limit_bytes * 4;
    uint64_t buffer = config->payload_limit_bytes * 2; /* else one value holds up all writers */
    if (config->write_buffer_bytes < buffer)
        config->write_buffer_bytes = buffer;
    if (config->line_limit_bytes == 0)
        config->line_limit_bytes = line < 1U << 30 ? line : 1U << 30;
    if (config->inflight_limit_bytes == 0)
        config->inflight_limit_bytes = inflight > 1U << 30 ? inflight : 1U << 30;
}

static enum err check_whole(const struct reader *reader) {
    struct config *config = reader->config;
    if (!config->tcp && !config->rpc)
        config->tcp = config->rpc = true;
    if (config->jwks_refresh_ms < 1000 || config->jwks_refresh_ms > 24 * 3600000)
        return fail(reader, "jwks-refresh: from 1 s to 24 h");
    if (config->jwks_cooldown_ms < 100 || config->jwks_cooldown_ms > 3600000)
        return fail(reader, "jwks-cooldown: from 100 ms to 1 h");
    if (config->payload_limit_bytes < 1024 || config->payload_limit_bytes > 1U << 30)
        return fail(reader, "payload-limit: from 1k to 1g");
    if (config->write_buffer_bytes < 1U << 20)
        return fail(reader, "write-buffer: 1m at least");
    set_sizes(config);
    if (config->inflight_limit_bytes < config->payload_limit_bytes)
        return fail(reader, "inflight-limit: as much as payload-limit at least");
    if (config->line_limit_bytes < 8192 || config->line_limit_bytes > 1U << 30)
        return fail(reader, "line-limit: from 8k to 1g");
    if (config->request_timeout_ms < 100)
        return fail(reader, "request-timeout: 100 ms at least");
    if (config->engine_timeout_ms < 100)
        return fail(reader, "engine-timeout: 100 ms at least");
    if (config->peer_beat_ms < 10 || config->peer_refresh_ms < 10 || config->peer_timeout_ms < 1)
        return fail(reader, "peer-beat and peer-refresh: 10 ms at least, peer-timeout: 1 ms");
    if (config->rate_burst && !config->rate_limit.per)
        return fail(reader, "rate-limit-burst: there is no rate-limit");
    if ((config->tcp_proxy_protocol || config->olivia_proxy_protocol ||
         config->rpc_proxy_protocol) &&
        !config->trusted_proxies)
        return fail(reader, "PROXY headers are believed from trusted-proxies alone: name them");
    if (!config->tls_cert != !config->tls_key)
        return fail(reader, "tls-cert and tls-key go together");
    if (config->encryption_key_file && config->engine)
        return fail(reader, "encryption-key-file: only hdd in data-dir is encrypted by it, and "
                            "with an engine nothing is kept there");
    if (config->engine_read && !config->engine)
        return fail(reader, "engine-read: there are no replicas without an engine");
    return check_view(reader);
}

enum err config_read(int argc, char **argv, struct config *ret_config, char *ret_why,
                     size_t why_bytes) {
    struct config config;
    struct reader reader = {&config, ret_why, why_bytes};
    const char *path = getenv("HATI_CONFIG");
    set_defaults(&config);
    enum err err = each_flag(&reader, argc, argv, &path);
    if (!err && path)
        err = read_config_file(&reader, path);
    if (!err)
        err = read_environment(&reader);
    if (!err)
        err = each_flag(&reader, argc, argv, NULL);
    if (!err && config.engine && !config.advertise) /* nodes of an engine are found by it too */
        err = read_address(&reader);
    if (!err)
        err = check_whole(&reader);
    if (err) {
        config_done(&config);
        return err;
    }
    *ret_config = config;
    return OK;
}

void config_done(struct config *config) {
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        enum kind kind = options[i].kind;
        void *field = (char *)config + options[i].at;
        if (kind == KIND_CONTENT)
            drop_content(field);
        if (kind != KIND_DATABASE && kind != KIND_TEXT && kind != KIND_ORIGIN &&
            kind != KIND_SCHEMA && kind != KIND_ADDRESS && kind != KIND_PEERS &&
            kind != KIND_NETWORKS)
            continue;
        char **text = field;
        if (*text && kind == KIND_DATABASE)
            explicit_bzero(*text, strlen(*text));
        free(*text);
        *text = NULL;
    }
}

void config_print_help(void) {
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char flag[48];
        snprintf(flag, sizeof flag, "--%s %s", options[i].name, options[i].value);
        printf("  %-26s %s\n", flag, options[i].doc);
    }
}

void config_each_option(void (*each)(const char *name, const char *value, const char *doc)) {
    for (size_t i = 0; i < OPTION_COUNT; i++)
        each(options[i].name, options[i].value, options[i].doc);
}
