/* SPDX-License-Identifier: MIT */
#include "client/client.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/prompt.h"
#include "client/session.h"
#include "client/watch.h"

#define ARENA_MAX (4ULL << 30)

void client_print_help(void) {
    printf(
        "hati client: speaks lines to a server\n\n"
        "  hati client [flags]                  a prompt; from a pipe: commands, one a line\n"
        "  hati client [flags] [--] COMMAND...  one command\n"
        "  hati client stats [flags]            a page of figures, redrawn until q\n\n"
        "Commands are those of HELP. The value of SET, and the payload of PUBLISH, may be @FILE\n"
        "for the content of a file, @- for standard input, @@... for a value that begins with @.\n"
        "At the prompt and in a pipe words may stand in quotes: \"a\\n\\x00\" or 'as it is'.\n"
        "GET in a pipe gives the value's bytes and nothing else.\n\n"
        "The token is in --token-file or HATI_TOKEN, never on the command line.\n\n"
        "Flags; those of the server's place, HATI_TLS_CA, HATI_TLS_FINGERPRINT and "
        "HATI_TOKEN_FILE\n"
        "may stand in the environment too (HATI_TCP_HOST ...; HATI_TCP_TLS=true is --tls).\n\n");
    options_print_help();
    printf("\nExit status\n\n"
           "  0    good\n"
           "  1    the server answered an error\n"
           "  2    nothing was sent: the words make no sense, or a file could not be read; or\n"
           "       what came could not be written\n"
           "  3    no connection, or it was lost before the answer: whether the command was\n"
           "       carried out is not known then\n");
}

static enum client_status run_one(struct session *session, unsigned count, char **words) {
    struct arena arena;
    struct command command;
    char why[COMMAND_WHY_BYTES];
    enum client_status status = CLIENT_USAGE;
    arena_init(&arena, ARENA_MAX);
    if (!command_from_words(count, words, &arena, &command, why))
        session_complain(session, why);
    else if (command.kind == COMMAND_AUTH)
        session_complain(session, "a token does not belong on a command line, where others can "
                                  "see it: use --token-file or HATI_TOKEN");
    else
        status = session_run(session, &command);
    arena_done(&arena);
    return status;
}

static enum client_status run_script_line(struct session *session, struct slice line) {
    struct arena arena;
    struct command command;
    char why[COMMAND_WHY_BYTES];
    enum client_status status = CLIENT_USAGE;
    arena_init(&arena, ARENA_MAX);
    if (!command_from_line(line, true, &arena, &command, why))
        session_complain(session, why);
    else
        status = session_run(session, &command);
    arena_done(&arena);
    return status;
}

/* The worst of its commands; a lost connection ends it. */
static enum client_status run_script(struct session *session) {
    enum client_status worst = CLIENT_GOOD;
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    while (!session->ended && worst != CLIENT_AWAY && (len = getline(&line, &room, stdin)) > 0) {
        session->line++;
        while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
            len--;
        enum client_status status = run_script_line(session, slice_make(line, (size_t)len));
        if (status > worst)
            worst = status;
    }
    if (line)
        explicit_bzero(line, room);
    free(line);
    return worst;
}

static enum client_status run(struct session *session, int argc, char **argv) {
    const struct options *options = session->options;
    if (options->stats)
        return watch_run(session);
    if ((int)options->words < argc)
        return run_one(session, (unsigned)argc - options->words, argv + options->words);
    return session->form == SESSION_PROMPT ? prompt_run(session) : run_script(session);
}

int client_main(int argc, char **argv) {
    static struct options options;
    static struct session session;
    struct arena arena;
    char why[OPTIONS_WHY_BYTES];
    arena_init(&arena, 65536);
    op_init();
    setlocale(LC_CTYPE, "");
    if (!options_read(argc, argv, &arena, &options, why)) {
        fprintf(stderr, "hati client: %s; try: hati help client\n", why);
        arena_done(&arena);
        return CLIENT_USAGE;
    }
    bool one = options.stats || (int)options.words < argc;
    bool person = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    session_init(&session, &options, one ? SESSION_ONE : person ? SESSION_PROMPT : SESSION_SCRIPT);
    enum client_status status = run(&session, argc, argv);
    session_done(&session);
    arena_done(&arena);
    return (int)status;
}
