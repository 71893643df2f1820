/* SPDX-License-Identifier: MIT */
/* `hati token`: a development token, signed with the secret the server has. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "base/clock.h"
#include "server/commands.h"
#include "server/config_value.h"

struct wanted {
    const char *secret_file, *workspace, *account, *scope, *audience, *issuer, *lifetime;
};

static const struct {
    const char *name, *value;
    size_t at;
    const char *doc;
} flags[] = {
    {"secret-file", "FILE", offsetof(struct wanted, secret_file), "file that holds the secret"},
    {"workspace", "UUID", offsetof(struct wanted, workspace), "opens /api2/{workspace}"},
    {"account", "UUID", offsetof(struct wanted, account), "whose token it is"},
    {"scope", "SCOPES", offsetof(struct wanted, scope),
     "narrows it, as in `kv:read kv:write:team*`"},
    {"audience", "TEXT", offsetof(struct wanted, audience), "the aud claim"},
    {"issuer", "TEXT", offsetof(struct wanted, issuer), "the iss claim"},
    {"lifetime", "TIME", offsetof(struct wanted, lifetime), "good so long; 0: for ever (1h)"},
};

static int refuse(const char *what, const char *why) {
    fprintf(stderr, "hati token: %s%s\n", what, why);
    return 1;
}

void command_token_print_help(void) {
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        char flag[48];
        snprintf(flag, sizeof flag, "--%s %s", flags[i].name, flags[i].value);
        printf("  %-26s %s\n", flag, flags[i].doc);
    }
}

static int read_flags(int argc, char **argv, struct wanted *wanted) {
    for (int at = 0; at < argc; at += 2) {
        size_t i = 0;
        while (i < sizeof flags / sizeof flags[0] &&
               (strncmp(argv[at], "--", 2) != 0 || strcmp(argv[at] + 2, flags[i].name) != 0))
            i++;
        if (i == sizeof flags / sizeof flags[0])
            return refuse("there is no flag ", argv[at]);
        if (at + 1 == argc)
            return refuse(argv[at], " needs a value");
        memcpy((char *)wanted + flags[i].at, &argv[at + 1], sizeof argv[at + 1]);
    }
    return 0;
}

/* The secret into `to`; its length, 0 where there is none. */
static size_t read_secret(const char *path, char *to, size_t room) {
    size_t len = 0;
    if (path) {
        FILE *file = fopen(path, "re");
        if (!file)
            return 0;
        len = fread(to, 1, room, file);
        fclose(file);
        while (len && (to[len - 1] == '\n' || to[len - 1] == '\r'))
            len--;
        return len;
    }
    const char *secret = getenv("HATI_JWT_SECRET");
    if (!secret)
        secret = getenv("HULY_TOKEN_SECRET");
    if (secret && strlen(secret) < room) {
        len = strlen(secret);
        memcpy(to, secret, len);
    }
    return len;
}

static bool is_uuid_or_none(const char *text) {
    struct uuid uuid;
    return !text || text_uuid_parse(slice_of_cstr(text), &uuid);
}

static int check(const struct wanted *wanted, int64_t *ret_lifetime_ms) {
    *ret_lifetime_ms = 3600000;
    if (wanted->lifetime) {
        const char *expected = config_value_ms(wanted->lifetime, ret_lifetime_ms);
        if (expected)
            return refuse("--lifetime: expected is ", expected);
    }
    if (!is_uuid_or_none(wanted->workspace))
        return refuse("--workspace", " is a UUID");
    if (!is_uuid_or_none(wanted->account))
        return refuse("--account", " is a UUID");
    return 0;
}

int command_token(int argc, char **argv) {
    struct wanted wanted = {0};
    int64_t lifetime_ms;
    if (read_flags(argc, argv, &wanted) || check(&wanted, &lifetime_ms))
        return 1;
    char secret[4096];
    size_t len = read_secret(wanted.secret_file, secret, sizeof secret);
    if (len == 0)
        return refuse("no secret: ", "give --secret-file, or set HATI_JWT_SECRET");
    struct auth_claims claims = {
        .workspace = slice_of_cstr(wanted.workspace),
        .account = slice_of_cstr(wanted.account),
        .scope = slice_of_cstr(wanted.scope),
        .audience = slice_of_cstr(wanted.audience),
        .issuer = slice_of_cstr(wanted.issuer),
        .lifetime_s = lifetime_ms / 1000,
        .now_ms = clock_wall_ms(),
    };
    char token[AUTH_TOKEN_MAX];
    enum err err = auth_sign(slice_make(secret, len), &claims, token);
    explicit_bzero(secret, sizeof secret);
    if (err)
        return refuse("cannot sign: ", err_text(err));
    printf("%s\n", token);
    return 0;
}
