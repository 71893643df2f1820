/* SPDX-License-Identifier: MIT */
/* From what a person or a script wrote to a request on the line protocol. */
#ifndef HATI_CLIENT_COMMAND_H
#define HATI_CLIENT_COMMAND_H

#include "base/arena.h"
#include "handlers/op.h"

#define COMMAND_LINE_MAX (64U << 20)   /* bytes of a command as it is written */
#define COMMAND_VALUE_MAX (1ULL << 30) /* bytes of a value from a file */
#define COMMAND_WHY_BYTES 512

enum command_kind {
    COMMAND_NOTHING, /* an empty line */
    COMMAND_CALL,    /* one reply of the form `form` */
    COMMAND_JSON,    /* JSON-RPC: one line, or nothing */
    COMMAND_USE,
    COMMAND_AUTH,
    COMMAND_SUBSCRIBE,
    COMMAND_UNSUBSCRIBE,
    COMMAND_WATCH,
    COMMAND_UNWATCH,
    COMMAND_HELP,
    COMMAND_QUIT
};

/* A verb of the connection, which the operation table does not have. */
struct command_word {
    const char *name, *words, *doc;
    enum command_kind kind;
    unsigned required, most; /* words behind it */
};

extern const struct command_word command_words[];
extern const unsigned command_word_count;

/* Finds one, any case, or NULL. Any thread. */
const struct command_word *command_find_word(struct slice name);

/* A request that is ready to be sent. Slices live in the arena it was made with. */
struct command {
    enum command_kind kind;
    enum line_form form;          /* CALL */
    const struct op_words *words; /* CALL: as it was written, before its framed form was chosen */
    bool value;                   /* GET: what comes is the value itself */
    bool framed;                  /* bytes follow the line */
    int64_t wait_ms;              /* RECEIVE: the server may take so long */
    struct slice line;            /* without its newline */
    struct slice bytes;
    struct slice argument; /* the first word behind the verb */
};

/* From a line as it was typed: words parted by spaces; "…" with \n \r \t \0 \\ \" \xHH and '…'
 * as they are; the last word of SET and PUBLISH takes the rest of the line. A value @file is that
 * file's content, @@… is @…, a quoted one means itself. Reads the file, and so may block.
 * stdin_taken: commands come from standard input, so that @- is refused. False: ret_why says why,
 * ret_command is untouched. */
bool command_from_line(struct slice line, bool stdin_taken, struct arena *arena,
                       struct command *ret_command, char ret_why[COMMAND_WHY_BYTES]) MUST_USE;

/* The same from words that a shell parted; nothing is unquoted. */
bool command_from_words(unsigned count, char **words, struct arena *arena,
                        struct command *ret_command, char ret_why[COMMAND_WHY_BYTES]) MUST_USE;

#endif
