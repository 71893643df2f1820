/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/backup.h"

#define TOKEN_MAX 8192U

enum flag_kind { FLAG_BOOL, FLAG_TEXT };
enum flag_of { OF_BOTH, OF_EXPORT, OF_IMPORT };

struct given {
    bool replace, again, quiet, insecure;
    const char *format, *token_file, *tls_ca, *tls_cert, *tls_key;
};

static const struct flag {
    const char *name, *value;
    enum flag_kind kind;
    enum flag_of of;
    size_t at;
    const char *doc;
} flags[] = {
    {"format", "FORMAT", FLAG_TEXT, OF_EXPORT, offsetof(struct given, format),
     "hati: packed and checked; ndjson: JSON lines, for people (hati)"},
    {"replace", "", FLAG_BOOL, OF_IMPORT, offsetof(struct given, replace),
     "drop all keys, routers, queues and messages that are there first"},
    {"again", "", FLAG_BOOL, OF_IMPORT, offsetof(struct given, again),
     "import a file once more that was imported, or begin anew"},
    {"token-file", "FILE", FLAG_TEXT, OF_BOTH, offsetof(struct given, token_file),
     "holds the token; else HATI_TOKEN_FILE or HATI_TOKEN do"},
    {"tls-ca", "FILE", FLAG_TEXT, OF_BOTH, offsetof(struct given, tls_ca),
     "with --rpc-tls: who vouches for the server, PEM (the system's)"},
    {"tls-client-cert", "FILE", FLAG_TEXT, OF_BOTH, offsetof(struct given, tls_cert),
     "what this client shows, PEM"},
    {"tls-client-key", "FILE", FLAG_TEXT, OF_BOTH, offsetof(struct given, tls_key), "its key, PEM"},
    {"tls-insecure", "", FLAG_BOOL, OF_BOTH, offsetof(struct given, insecure),
     "do not ask who the server is"},
    {"quiet", "", FLAG_BOOL, OF_BOTH, offsetof(struct given, quiet),
     "no progress, on a terminal either"},
};

#define FLAG_COUNT (sizeof flags / sizeof flags[0])

void backup_print_help(void) {
    printf(
        "hati export, hati import: a snapshot of everything to a file, and back\n\n"
        "  hati export [flags] FILE    all keys, routers, queues and messages of one instant\n"
        "  hati import [flags] FILE    takes them in; the file is judged as a whole before\n"
        "                              anything is changed, and a cut-off import goes on\n\n"
        "FILE may be -. With --data-dir or --engine among the flags the stores are opened here, "
        "while\n"
        "no server runs on that directory; else the server at --rpc-host and --rpc-port is asked\n"
        "(--rpc-tls where it speaks TLS). These and all else that start takes is taken here, too,\n"
        "in flags and environment.\n\n"
        "An import writes over keys of the same name, makes routers, queues and bindings that are\n"
        "missing, and adds the messages; with --replace all that is there goes first.\n\n");
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        char flag[48];
        snprintf(flag, sizeof flag, "--%s %s", flags[i].name, flags[i].value);
        printf("  %-26s %s%s\n", flag,
               flags[i].of == OF_EXPORT   ? "export: "
               : flags[i].of == OF_IMPORT ? "import: "
                                          : "",
               flags[i].doc);
    }
    printf(
        "\nExit status\n\n"
        "  0    good\n"
        "  1    the server, the stores or the disk refused\n"
        "  2    nothing was changed: the words make no sense, or the file cannot be read, or is\n"
        "       damaged\n"
        "  3    no server, or it was lost on the way: the same import command goes on\n");
}

static bool refuse(char *why, const char *what, const char *because) {
    snprintf(why, BACKUP_WHY_BYTES, "%.250s%.250s", what, because);
    return false;
}

static const struct flag *find_flag(const char *word, bool is_import) {
    size_t len = strcspn(word, "=");
    for (size_t i = 0; i < FLAG_COUNT; i++)
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, word, len) == 0 &&
            flags[i].of != (is_import ? OF_EXPORT : OF_IMPORT))
            return &flags[i];
    return NULL;
}

/* What config_each_option is looked through for. */
static struct {
    const char *name;
    size_t len;
    bool takes_value;
} looked_for;

static void look(const char *name, const char *value, const char *doc) {
    (void)doc;
    if (strlen(name) == looked_for.len && memcmp(name, looked_for.name, looked_for.len) == 0)
        looked_for.takes_value = *value != '\0';
}

/* Of a flag of start. */
static bool takes_value(const char *word) {
    looked_for.name = word;
    looked_for.len = strcspn(word, "=");
    looked_for.takes_value = false;
    config_each_option(look);
    return looked_for.takes_value && !word[looked_for.len];
}

static bool is_named(const char *word, const char *name) {
    size_t len = strlen(name);
    return strncmp(word, name, len) == 0 && (word[len] == '\0' || word[len] == '=');
}

static bool take_flag(int argc, char **argv, int *at, const struct flag *flag, struct given *given,
                      char *why) {
    const char *equals = strchr(argv[*at], '=');
    const char *value = equals ? equals + 1 : NULL;
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

/* Takes this command's own flags and the file out; what is left is for config_read. -1: why. */
static int take_words(int argc, char **argv, bool is_import, struct given *given,
                      struct backup_options *options, char *why) {
    int left = 0;
    for (int i = 0; i < argc; i++) {
        bool is_flag = strncmp(argv[i], "--", 2) == 0;
        const struct flag *flag = is_flag ? find_flag(argv[i] + 2, is_import) : NULL;
        if (flag && !take_flag(argc, argv, &i, flag, given, why))
            return -1;
        if (!is_flag && options->file) {
            refuse(why, "one file, not two: ", argv[i]);
            return -1;
        }
        if (!is_flag)
            options->file = argv[i];
        if (!is_flag || flag)
            continue;
        options->is_of_files |= is_named(argv[i] + 2, "data-dir");
        options->is_of_engine |= is_named(argv[i] + 2, "engine");
        bool wants_value = takes_value(argv[i] + 2) && i + 1 < argc;
        argv[left++] = argv[i];
        if (wants_value)
            argv[left++] = argv[++i];
    }
    return left;
}

static bool keep_token(const char *text, size_t len, struct backup_options *options, char *why) {
    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    if (len == 0 || len > TOKEN_MAX)
        return refuse(why, "the token", len ? " is too long" : " is empty");
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7F)
            return refuse(why, "the token", " holds spaces or line ends");
    options->token = strndup(text, len);
    return options->token || refuse(why, "out of", " memory");
}

static bool read_token(const struct given *given, struct backup_options *options, char *why) {
    char text[TOKEN_MAX + 3];
    const char *path = given->token_file ? given->token_file : getenv("HATI_TOKEN_FILE");
    const char *direct = getenv("HATI_TOKEN");
    if (!path || !*path)
        return !direct || !*direct || keep_token(direct, strlen(direct), options, why);
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(why, BACKUP_WHY_BYTES, "--token-file: cannot open %.250s: %s", path,
                 strerror(errno));
        return false;
    }
    size_t len = fread(text, 1, sizeof text, file);
    fclose(file);
    bool kept = keep_token(text, len, options, why);
    explicit_bzero(text, sizeof text);
    return kept;
}

bool backup_options_read(int argc, char **argv, bool is_import, struct backup_options *ret_options,
                         char *ret_why) {
    struct given given = {0};
    struct backup_options *options = ret_options;
    *options = (struct backup_options){.format = SNAPSHOT_PACKED};
    int left = take_words(argc, argv, is_import, &given, options, ret_why);
    if (left < 0)
        return false;
    options->is_direct = options->is_of_files || options->is_of_engine;
    if (options->is_of_files && options->is_of_engine)
        return refuse(ret_why, "--data-dir and --engine:", " one of them");
    if (!options->file)
        return refuse(ret_why,
                      is_import ? "which file is to be imported? - is standard input"
                                : "which file is to be written? - is standard output",
                      "");
    if (given.format && !snapshot_format_parse(slice_of_cstr(given.format), &options->format))
        return refuse(ret_why, "--format is hati or ndjson, not ", given.format);
    if (!given.tls_cert != !given.tls_key)
        return refuse(ret_why, "--tls-client-cert and --tls-client-key", " go together");
    if (!read_token(&given, options, ret_why))
        return false;
    options->replace = given.replace;
    options->again = given.again;
    options->quiet = given.quiet;
    options->tls_insecure = given.insecure;
    options->tls_ca = given.tls_ca;
    options->tls_cert = given.tls_cert;
    options->tls_key = given.tls_key;
    return config_read(left, argv, &options->config, ret_why, BACKUP_WHY_BYTES) == OK;
}

void backup_options_done(struct backup_options *options) {
    if (options->token)
        explicit_bzero(options->token, strlen(options->token));
    free(options->token);
    options->token = NULL;
    config_done(&options->config);
}
