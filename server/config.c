/* SPDX-License-Identifier: MIT */
/* Reads flags over environment over file over defaults, and looks whether it goes together. */
#include "server/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "peers/peers.h"
#include "server/address.h"
#include "server/config_memory.h"
#include "server/config_options.h"
#include "server/config_value.h"
#include "server/kvstore_view.h"

#define FILE_BYTES_MAX (1U << 20)
#define NAME_BYTES_MAX 64
#define VIEW_BYTES_MAX (4U << 20)

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

/* Nothing was begun yet where there is no memory. */
static void put_text(char **field, const char *text) {
    char *copy = strdup(text);
    if (!copy) {
        fprintf(stderr, "hati: no memory for the options\n");
        exit(1);
    }
    free(*field);
    *field = copy;
}

/* A whole small file, NUL-ended, without the newline at its end; NULL with errno. */
static char *read_file(const char *path) {
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = calloc(1, FILE_BYTES_MAX + 1);
    errno = 0;
    size_t len = text ? fread(text, 1, FILE_BYTES_MAX + 1, file) : 0;
    int fault = !text ? ENOMEM : ferror(file) ? errno : len > FILE_BYTES_MAX ? EFBIG : 0;
    fclose(file);
    if (!fault && memchr(text, '\0', len)) /* what stands behind it would be passed over */
        fault = EILSEQ;
    if (fault) {
        if (text)
            explicit_bzero(text, len);
        free(text);
        errno = fault;
        return NULL;
    }
    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        text[--len] = 0;
    char *fitting = realloc(text, len + 1);
    return fitting ? fitting : text;
}

static const char *file_fault(void) {
    return errno == EILSEQ ? "it holds a NUL byte" : strerror(errno);
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
        snprintf(ret_why, why_bytes, "cannot read %s: %s", file->path, file_fault());
        return ERR_UNAVAILABLE;
    }
    *ret_text = text;
    return OK;
}

static enum err put_content(const struct reader *reader, const struct config_option *option,
                            const char *path, struct config_file *file) {
    char *text = read_file(path);
    if (!text)
        return fail(reader, "%s: cannot read %s: %s", option->name, path, file_fault());
    if (!text[0] && option->at != CONFIG_AT(old_secret)) { /* there is none until there are two */
        free(text);
        return fail(reader, "%s: %s is empty", option->name, path);
    }
    drop_content(file);
    file->text = text;
    put_text(&file->path, path);
    return OK;
}

static bool is_text(enum config_kind kind) {
    switch (kind) {
    case CONFIG_TEXT:
    case CONFIG_ORIGIN:
    case CONFIG_PATH:
    case CONFIG_DATABASE:
    case CONFIG_SCHEMA:
    case CONFIG_ADDRESS:
    case CONFIG_PEERS:
    case CONFIG_NETWORKS:
        return true;
    default:
        return false;
    }
}

static const char *check_text(enum config_kind kind, const char *value) {
    switch (kind) {
    case CONFIG_ORIGIN:
        return config_value_origin(value);
    case CONFIG_PATH:
        return config_value_path(value);
    case CONFIG_DATABASE:
        return config_value_database(value);
    case CONFIG_SCHEMA:
        return config_value_schema(value);
    case CONFIG_ADDRESS:
        return config_value_address(value);
    case CONFIG_PEERS:
        return peers_check_list(value);
    case CONFIG_NETWORKS:
        return networks_parse(value, NULL);
    default:
        return value[0] ? NULL : "a text";
    }
}

/* NULL, or what was expected. */
static const char *put_value(enum config_kind kind, const char *value, void *field) {
    switch (kind) {
    case CONFIG_BOOL:
        return config_value_bool(value, field);
    case CONFIG_PORT:
        return config_value_port(value, field);
    case CONFIG_SHARE:
        return config_value_share(value, field);
    case CONFIG_PREPARE:
        return config_value_prepare(value, field);
    case CONFIG_MS:
        return config_value_ms(value, field);
    case CONFIG_RATE:
        return config_value_rate(value, field);
    case CONFIG_BYTES:
        return config_value_bytes(value, field);
    case CONFIG_DURABILITY:
        return config_value_durability(value, field);
    case CONFIG_EVICTION:
        return config_value_eviction(value, field);
    case CONFIG_LEVEL:
        return config_value_level(value, field);
    case CONFIG_UUID:
        return config_value_uuid(value, field);
    default: /* CONFIG_CONFIG: read before every other */
        break;
    }
    const char *expected = is_text(kind) ? check_text(kind, value) : NULL;
    if (!expected && is_text(kind))
        put_text(field, value);
    return expected;
}

/* Takes a value from wherever it came; `where` begins the line about a failure. */
static enum err put(const struct reader *reader, const struct config_option *option,
                    const char *value, const char *where) {
    void *field = (char *)reader->config + option->at;
    if (option->kind == CONFIG_CONTENT)
        return put_content(reader, option, value, field);
    if (option->kind == CONFIG_COUNT) {
        if (config_value_count(value, option->min, option->max, field))
            return fail(reader, "%s%s: a number from %u to %u is expected, not `%s`", where,
                        option->name, option->min, option->max, value);
        return OK;
    }
    const char *expected = put_value(option->kind, value, field);
    if (expected && option->kind == CONFIG_DATABASE) /* what it is may be a secret all the same */
        return fail(reader, "%s%s: %s is expected", where, option->name, expected);
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
        .memory_total_bytes = MEMORY_UNSAID,
        .write_buffer_bytes = MEMORY_UNSAID,
        .read_cache_bytes = MEMORY_UNSAID,
        .memory_limit_bytes = MEMORY_UNSAID,
        .inflight_limit_bytes = MEMORY_UNSAID,
        .watch_log_bytes = MEMORY_UNSAID,
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

static void env_name_of(const struct config_option *option, char name[NAME_BYTES_MAX]) {
    snprintf(name, NAME_BYTES_MAX, "HATI_%s", option->name);
    for (char *at = name; *at; at++)
        *at = (char)(*at == '-' ? '_' : toupper((unsigned char)*at));
}

/* An orchestrator that knows a service called `hati-tcp` sets HATI_TCP_PORT=tcp://10.0.0.1:4242 in
 * every container: that is not for us. */
static bool is_service_link(const struct config_option *option, const char *value) {
    return option->kind == CONFIG_PORT && strstr(value, "://") != NULL;
}

/* Compose files hand an unset variable on as an empty one; to OpenTelemetry they are the same. An
 * empty HATI_NO_AUTH lets nobody in. */
static bool is_left_empty(const struct config_option *option, const char *value) {
    bool may_be = option->kind == CONFIG_DATABASE || option->kind == CONFIG_BOOL ||
                  option->at == CONFIG_AT(otlp_endpoint) || option->at == CONFIG_AT(otlp_service);
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
        const struct config_option *option = config_option_find(slice_of_cstr(names[i].option));
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
    return put(reader, config_option_find(SLICE("advertise")), text,
               "by ADDRESS in the environment, ");
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
    for (size_t i = 0; !err && i < config_option_count; i++) {
        char name[NAME_BYTES_MAX];
        env_name_of(&config_options[i], name);
        const char *value = getenv(name);
        if (value && !is_service_link(&config_options[i], value) &&
            !is_left_empty(&config_options[i], value))
            err = put(reader, &config_options[i], value, "in the environment, ");
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
    const struct config_option *option = config_option_find(slice_of_cstr(name));
    if (!option || option->kind == CONFIG_CONFIG)
        return fail(reader, "%s line %u: there is no setting `%s`", path, number, name);
    char where[256];
    snprintf(where, sizeof where, "%.200s line %u: ", path, number);
    return put(reader, option, trim(equals + 1), where);
}

static enum err read_config_file(const struct reader *reader, const char *path) {
    char *text = read_file(path);
    if (!text)
        return fail(reader, "config: cannot read %s: %s", path, file_fault());
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
                          const struct config_option **ret_option, const char **ret_value) {
    const char *flag = argv[(*at)++];
    if (strncmp(flag, "--", 2) != 0)
        return fail(reader, "`%s` is no flag; try: hati help", flag);
    const char *equals = strchr(flag, '=');
    size_t len = equals ? (size_t)(equals - flag) - 2 : strlen(flag) - 2;
    const struct config_option *option = config_option_find(slice_make(flag + 2, len));
    if (!option)
        return fail(reader, "there is no flag `%.*s`; try: hati help", (int)len + 2, flag);
    bool alone = option->kind == CONFIG_BOOL;
    if (equals)
        *ret_value = equals + 1;
    else if (alone)
        *ret_value = "true";
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
        const struct config_option *option = NULL;
        const char *value = NULL;
        enum err err = read_flag(reader, argc, argv, &at, &option, &value);
        if (!err && ret_path && option->kind == CONFIG_CONFIG)
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

/* What follows from the memory there is and the largest value, where it is not said. */
static void set_sizes(struct config *config) {
    uint64_t line = config->payload_limit_bytes / 2 * 3 + 65536;
    uint64_t buffer = config->payload_limit_bytes * 2; /* else one value holds up all writers */
    memory_share(config);
    if (config->write_buffer_bytes < buffer)
        config->write_buffer_bytes = buffer;
    if (config->line_limit_bytes == 0)
        config->line_limit_bytes = line < 1U << 30 ? line : 1U << 30;
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
    for (size_t i = 0; i < config_option_count; i++) {
        enum config_kind kind = config_options[i].kind;
        void *field = (char *)config + config_options[i].at;
        if (kind == CONFIG_CONTENT)
            drop_content(field);
        if (!is_text(kind))
            continue;
        char **text = field;
        if (*text && kind == CONFIG_DATABASE)
            explicit_bzero(*text, strlen(*text));
        free(*text);
        *text = NULL;
    }
}
