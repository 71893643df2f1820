/* SPDX-License-Identifier: MIT */
#include "client/options.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum flag_kind { FLAG_TEXT, FLAG_BOOL, FLAG_TIME };

struct given {
    struct options options;
    const char *token_file;
    const char *timeout, *every, *fingerprint;
};

static const struct flag {
    const char *name, *value;
    enum flag_kind kind;
    size_t at;
    const char *doc;
} flags[] = {
    {"tcp-host", "HOST", FLAG_TEXT, offsetof(struct given, options.tcp_host),
     "where the server serves lines (localhost)"},
    {"tcp-port", "PORT", FLAG_TEXT, offsetof(struct given, options.tcp_port), "its port (4242)"},
    {"tcp-socket", "PATH", FLAG_TEXT, offsetof(struct given, options.tcp_socket),
     "its UNIX socket, instead"},
    {"tls", "", FLAG_BOOL, offsetof(struct given, options.tls),
     "speak TLS to it, and look whose certificate it shows"},
    {"tls-ca", "FILE", FLAG_TEXT, offsetof(struct given, options.tls_ca),
     "the authorities that vouch for it, PEM (the system's)"},
    {"tls-fingerprint", "SHA256", FLAG_TEXT, offsetof(struct given, fingerprint),
     "take this one certificate, whoever vouches: hati start prints it"},
    {"tls-cert", "FILE", FLAG_TEXT, offsetof(struct given, options.tls_cert),
     "certificate to show to the server, PEM"},
    {"tls-key", "FILE", FLAG_TEXT, offsetof(struct given, options.tls_key), "its key, PEM"},
    {"token-file", "FILE", FLAG_TEXT, offsetof(struct given, token_file),
     "holds the token; else HATI_TOKEN does"},
    {"use", "PLACE", FLAG_TEXT, offsetof(struct given, options.use),
     "[WORKSPACE/]NAMESPACE of the keys (default)"},
    {"table", "", FLAG_BOOL, offsetof(struct given, options.table),
     "KEYS and STATS as tables, in pipes too"},
    {"raw", "", FLAG_BOOL, offsetof(struct given, options.raw),
     "on a terminal, too, what a pipe would get: may steer the terminal"},
    {"ack", "", FLAG_BOOL, offsetof(struct given, options.ack),
     "acknowledge messages of RECEIVE and SUBSCRIBE once they are shown"},
    {"timeout", "TIME", FLAG_TIME, offsetof(struct given, timeout),
     "give up where no answer comes for so long; 0: never (1m)"},
    {"every", "TIME", FLAG_TIME, offsetof(struct given, every), "how often stats redraws (1s)"},
};

#define FLAG_COUNT (sizeof flags / sizeof flags[0])

void options_print_help(void) {
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        char flag[48];
        snprintf(flag, sizeof flag, "--%s %s", flags[i].name, flags[i].value);
        printf("  %-26s %s\n", flag, flags[i].doc);
    }
}

static bool refuse(char *why, const char *what, const char *because) {
    snprintf(why, OPTIONS_WHY_BYTES, "%.200s%.200s", what, because);
    return false;
}

static const struct flag *find_flag(const char *text, size_t len) {
    for (size_t i = 0; i < FLAG_COUNT; i++)
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, text, len) == 0)
            return &flags[i];
    return NULL;
}

/* Takes the flag at argv[*at]; moves *at to its last word. */
static bool take_flag(int argc, char **argv, int *at, struct given *given, char *why) {
    const char *text = argv[*at] + 2;
    size_t len = strcspn(text, "=");
    const char *value = text[len] ? text + len + 1 : NULL;
    const struct flag *flag = find_flag(text, len);
    if (!flag)
        return refuse(why, "there is no flag ", argv[*at]);
    if (flag->kind == FLAG_BOOL) {
        bool on = true;
        if (value)
            return refuse(why, argv[*at], ": this flag takes no value");
        memcpy((char *)given + flag->at, &on, sizeof on);
        return true;
    }
    if (!value && *at + 1 == argc)
        return refuse(why, argv[*at], " needs a value");
    if (!value)
        value = argv[++*at];
    memcpy((char *)given + flag->at, &value, sizeof value);
    return true;
}

static bool take_flags(int argc, char **argv, int *at, struct given *given, char *why) {
    for (; *at < argc && strncmp(argv[*at], "--", 2) == 0; ++*at) {
        if (strcmp(argv[*at], "--") == 0) {
            ++*at;
            return true;
        }
        if (!take_flag(argc, argv, at, given, why))
            return false;
    }
    return true;
}

static bool parse_time(const char *text, int64_t *ret_ms) {
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    size_t len = strspn(text, "0123456789");
    int64_t number;
    if (!slice_parse_i64(slice_make(text, len), &number) || number > INT_MAX)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(text + len, units[i].unit) == 0 && number * units[i].ms <= INT_MAX) {
            *ret_ms = number * units[i].ms;
            return true;
        }
    return false;
}

static bool read_times(struct given *given, char *why) {
    struct options *options = &given->options;
    options->timeout_ms = 60000;
    options->every_ms = 1000;
    if (given->timeout && !parse_time(given->timeout, &options->timeout_ms))
        return refuse(why, "--timeout: ", "a time is a number with ms, s, m or h behind it");
    if (given->every && (!parse_time(given->every, &options->every_ms) || options->every_ms < 100))
        return refuse(why, "--every: ", "a time from 100ms on, with ms, s, m or h behind it");
    return true;
}

static bool read_token_file(const char *path, struct arena *arena, const char **ret_token,
                            char *why) {
    char *token = arena_alloc(arena, OPTIONS_TOKEN_MAX + 2);
    FILE *file = fopen(path, "re");
    if (!file || !token) {
        snprintf(why, OPTIONS_WHY_BYTES, "--token-file: cannot open %.200s: %s", path,
                 strerror(errno));
        if (file)
            fclose(file);
        return false;
    }
    size_t len = fread(token, 1, OPTIONS_TOKEN_MAX + 1, file);
    fclose(file);
    while (len && (token[len - 1] == '\n' || token[len - 1] == '\r'))
        len--;
    token[len] = '\0';
    if (len == 0 || strlen(token) != len)
        return refuse(why, path, " holds no token");
    *ret_token = token;
    return true;
}

/* A token that is more than a word of a line would be another command. */
static bool check_token(const char *token, char *why) {
    if (strlen(token) > OPTIONS_TOKEN_MAX)
        return refuse(why, "the token", " is too long");
    for (const char *at = token; *at; at++)
        if ((unsigned char)*at <= ' ' || (unsigned char)*at >= 0x7F)
            return refuse(why, "the token", " holds spaces or line ends");
    return true;
}

static const char *environment(const char *name) {
    const char *text = getenv(name);
    return text && *text ? text : NULL;
}

/* An orchestrator sets HATI_TCP_PORT to tcp://… where it has a service of the name hati-tcp. */
static const char *environment_port(void) {
    const char *text = environment("HATI_TCP_PORT");
    return text && strncmp(text, "tcp://", 6) != 0 ? text : NULL;
}

static bool read_token(struct given *given, struct arena *arena, char *why) {
    struct options *options = &given->options;
    if (!given->token_file)
        given->token_file = environment("HATI_TOKEN_FILE");
    options->token = environment("HATI_TOKEN");
    if (given->token_file && !read_token_file(given->token_file, arena, &options->token, why))
        return false;
    return !options->token || check_token(options->token, why);
}

static int digit_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Pairs of digits, with colons between them or without. */
static bool parse_pin(const char *text, unsigned char ret_pin[OPTIONS_PIN_BYTES]) {
    for (unsigned i = 0; i < OPTIONS_PIN_BYTES; i++) {
        if (i && *text == ':')
            text++;
        int high = digit_of(*text);
        int low = high < 0 ? -1 : digit_of(text[1]);
        if (low < 0)
            return false;
        ret_pin[i] = (unsigned char)(high << 4 | low);
        text += 2;
    }
    return *text == '\0';
}

static bool is_on(const char *text) {
    static const char *const yes[] = {"true", "yes", "on", "1"};
    for (size_t i = 0; text && i < sizeof yes / sizeof yes[0]; i++)
        if (strcmp(text, yes[i]) == 0)
            return true;
    return false;
}

static bool is_readable(const char *flag, const char *path, char *why) {
    if (!path || access(path, R_OK) == 0)
        return true;
    snprintf(why, OPTIONS_WHY_BYTES, "%s: cannot open %.200s: %s", flag, path, strerror(errno));
    return false;
}

/* A flag that says how to trust says that there is something to be trusted. */
static bool read_tls(struct given *given, char *why) {
    struct options *options = &given->options;
    if (options->tls_ca || given->fingerprint || options->tls_cert || options->tls_key)
        options->tls = true;
    if (options->tls && options->tcp_socket)
        return refuse(why, "--tls: ", "a UNIX socket speaks none");
    if (!options->tls_cert != !options->tls_key)
        return refuse(why, "--tls-cert and --tls-key ", "go together");
    if (!options->tls_ca && !given->fingerprint) {
        options->tls_ca = environment("HATI_TLS_CA");
        given->fingerprint = environment("HATI_TLS_FINGERPRINT");
    }
    if (!is_readable("--tls-ca", options->tls_ca, why) ||
        !is_readable("--tls-cert", options->tls_cert, why) ||
        !is_readable("--tls-key", options->tls_key, why))
        return false;
    if (options->tls_ca && given->fingerprint)
        return refuse(why, "--tls-ca and --tls-fingerprint ", "exclude each other");
    options->tls_pinned = given->fingerprint != NULL;
    if (options->tls_pinned && !parse_pin(given->fingerprint, options->tls_pin))
        return refuse(why, "--tls-fingerprint: ", "64 hexadecimal digits, with colons or without");
    return true;
}

/* A flag for TCP stands over a socket that only the environment names. A server that is bound to
 * every address is found on this machine. */
static void choose_place(struct options *options) {
    if (!options->tcp_socket && !options->tcp_host && !options->tcp_port && !options->tls)
        options->tcp_socket = environment("HATI_TCP_SOCKET");
    if (!options->tcp_host)
        options->tcp_host = environment("HATI_TCP_HOST");
    if (!options->tcp_port)
        options->tcp_port = environment_port();
    const char *host = options->tcp_host;
    if (!host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        options->tcp_host = "localhost";
    if (!options->tcp_port)
        options->tcp_port = "4242";
    if (options->tcp_socket)
        snprintf(options->place, sizeof options->place, "%.290s", options->tcp_socket);
    else
        snprintf(options->place, sizeof options->place,
                 strchr(options->tcp_host, ':') ? "[%.255s]:%.20s" : "%.255s:%.20s",
                 options->tcp_host, options->tcp_port);
}

static bool check_use(const char *text, char *why) {
    if (!text || (*text && strlen(text) < 400 && !strpbrk(text, " \r\n")))
        return true;
    return refuse(why, "--use: ", "NAMESPACE or WORKSPACE/NAMESPACE, without spaces");
}

static bool check_port(const char *text, char *why) {
    int64_t port;
    if (slice_parse_i64(slice_of_cstr(text), &port) && port > 0 && port < 65536)
        return true;
    return refuse(why, "--tcp-port: ", "a port from 1 to 65535");
}

bool options_read(int argc, char **argv, struct arena *arena, struct options *ret_options,
                  char ret_why[OPTIONS_WHY_BYTES]) {
    struct given given = {0};
    int at = 0;
    if (!take_flags(argc, argv, &at, &given, ret_why))
        return false;
    given.options.words = (unsigned)at;
    if (at < argc && strcmp(argv[at], "stats") == 0) {
        given.options.stats = true;
        at++;
        if (!take_flags(argc, argv, &at, &given, ret_why))
            return false;
        if (at < argc)
            return refuse(ret_why, "stats takes no word; this is one: ", argv[at]);
    }
    if (!read_tls(&given, ret_why))
        return false;
    choose_place(&given.options);
    if (!given.options.tcp_socket && is_on(environment("HATI_TCP_TLS")))
        given.options.tls = true;
    if (!check_port(given.options.tcp_port, ret_why) || !check_use(given.options.use, ret_why) ||
        !read_times(&given, ret_why) || !read_token(&given, arena, ret_why))
        return false;
    *ret_options = given.options;
    return true;
}
