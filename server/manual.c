/* SPDX-License-Identifier: MIT */
#include "server/manual.h"

#include <ctype.h>
#include <stdio.h>

#include "server/config.h"

/* Hyphens are minus signs, and no line begins with what roff takes for a request. */
static void print_text(const char *text) {
    for (const char *at = text; *at; at++) {
        if (*at == '-')
            fputs("\\-", stdout);
        else if (*at == '\\')
            fputs("\\e", stdout);
        else if ((*at == '.' || *at == '\'') && at == text)
            printf("\\&%c", *at);
        else
            putchar(*at);
    }
}

static void print_variable(const char *name) {
    printf("HATI_");
    for (const char *at = name; *at; at++)
        putchar(*at == '-' ? '_' : toupper((unsigned char)*at));
}

static void print_option(const char *name, const char *value, const char *doc) {
    printf(".TP\n.B \\-\\-");
    print_text(name);
    if (*value) {
        printf(" \\fI");
        print_text(value);
        printf("\\fR");
    }
    printf("\n");
    print_text(doc);
    printf(" (");
    print_variable(name);
    printf(")\n");
}

static const struct {
    const char *name, *doc;
} commands[] = {
    {"start [flags]", "Serve until SIGTERM or SIGINT; SIGHUP reads secrets, keys and certificates "
                      "anew."},
    {"client [flags] [COMMAND]", "Speak to a server: a prompt, or one command."},
    {"token [flags]", "Sign a development token and print it."},
    {"healthcheck [flags]", "0 where the server of these flags answers."},
    {"export [flags] FILE", "Write a snapshot of everything to a file; - is standard output. Flags "
                            "and exit statuses: hati help export."},
    {"import [flags] FILE", "Take a snapshot in; - is standard input."},
    {"import --from-hulykvs [SCHEMA] [flags]",
     "Take the entries of a hulykvs schema of the engine's database over."},
    {"version", "Print the version."},
    {"help [client|export|sql|openapi|openrpc|routes|man]", "Print what there is to know."},
};

void manual_print(void) {
    printf(".TH HATI 1 \"\" \"hati %s\" \"User Commands\"\n.SH NAME\nhati \\- key/value store and "
           "message broker for curl, browsers, JSON\\-RPC and nc\n.SH SYNOPSIS\n.B hati\n"
           ".I command\n[\\fIflags\\fR]\n.SH COMMANDS\n",
           HATI_VERSION);
    for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        printf(".TP\n.B ");
        print_text(commands[i].name);
        printf("\n");
        print_text(commands[i].doc);
        printf("\n");
    }
    printf(".SH FLAGS\nEach is also a variable of the environment, and a line \\fIname = "
           "value\\fR of the file that\n.B \\-\\-config\nnames. A flag stands over the "
           "environment, that over the file.\n");
    config_each_option(print_option);
    printf(".SH SIGNALS\nSIGTERM and SIGINT: drain, then end. SIGHUP: read secrets, keys and "
           "certificates anew.\n.SH EXIT STATUS\n0, or 1 with one line about what is wrong, or 2 "
           "where the command is none.\n.SH SEE ALSO\n.BR curl (1),\n.BR nc (1)\n");
}
