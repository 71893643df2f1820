/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "engine/engine.h"
#include "server/backup.h"
#include "server/commands.h"
#include "server/config.h"
#include "server/documents.h"
#include "server/manual.h"

static int print_help(int argc, char **argv) {
    if (argc > 0 && strcmp(argv[0], "sql") == 0) {
        engine_print_sql(stdout);
        return 0;
    }
    if (argc > 0 && strcmp(argv[0], "client") == 0) {
        client_print_help();
        return 0;
    }
    if (argc > 0 && strcmp(argv[0], "man") == 0) {
        manual_print();
        return 0;
    }
    if (argc > 0 && (strcmp(argv[0], "export") == 0 || strcmp(argv[0], "import") == 0)) {
        backup_print_help();
        return 0;
    }
    if (argc > 0 && documents_print(argv[0]))
        return 0;
    printf(
        "hati: a key/value store and message broker for curl, browsers, JSON-RPC and nc\n\n"
        "  hati start [flags]         serve\n"
        "  hati client [flags] [COMMAND]\n"
        "                             speak to a server: a prompt, or one command\n"
        "  hati token [flags]         sign a development token and print it\n"
        "  hati healthcheck [flags]   0 where the server of these flags answers\n"
        "  hati export [flags] FILE   write a snapshot of everything; - is standard output\n"
        "  hati import [flags] FILE   take a snapshot in; - is standard input\n"
        "  hati import --from-hulykvs [SCHEMA] [--overwrite] [flags]\n"
        "                             take the entries of a hulykvs schema (hulykvs) of the "
        "engine's\n"
        "                             database over; what hati has is kept, or overwritten\n"
        "  hati encryption-key        print a fresh key for --encryption-key-file\n"
        "  hati reencrypt [flags]     seal all that --data-dir holds by the first of these keys, "
        "while\n"
        "                             no server runs on it\n"
        "  hati version               print the version\n"
        "  hati help client           flags and exit statuses of the client\n"
        "  hati help export           flags and exit statuses of export and import\n"
        "  hati help sql              every statement that goes to the engine's database\n"
        "  hati help openapi          what HTTP serves, as an OpenAPI document\n"
        "  hati help openrpc          what JSON-RPC serves, as an OpenRPC document\n"
        "  hati help routes           every route of HTTP, a line each\n"
        "  hati help man              the manual page, as roff\n"
        "  hati help                  this text\n\n"
        "Flags of start. Each --some-flag is also HATI_SOME_FLAG in the environment, and a line\n"
        "some-flag = ... of the file. A flag stands over the environment, that over the file.\n"
        "The secret itself may stand in HATI_JWT_SECRET.\n\n");
    config_print_help();
    printf("\nFlags of token. The secret comes from --secret-file, HATI_JWT_SECRET or\n"
           "HULY_TOKEN_SECRET.\n\n");
    command_token_print_help();
    return 0;
}

static int print_version(int argc, char **argv) {
    (void)argc, (void)argv;
    printf("hati %s\n", HATI_VERSION);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"start", command_start},
    {"token", command_token},
    {"healthcheck", command_healthcheck},
    {"export", command_export},
    {"import", command_import},
    {"client", client_main},
    {"version", print_version},
    {"--version", print_version},
    {"help", print_help},
    {"--help", print_help},
    {"-h", print_help},
    {"encryption-key", command_encryption_key},
    {"reencrypt", command_reencrypt},
};

int main(int argc, char **argv) {
    if (argc < 2) {
        print_help(0, NULL);
        return 2;
    }
    if (argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0))
        return print_help(1, argv + 1); /* `hati client --help` is `hati help client` */
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    fprintf(stderr, "hati: there is no command `%s`; try: hati help\n", argv[1]);
    return 2;
}
