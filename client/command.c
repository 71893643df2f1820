/* SPDX-License-Identifier: MIT */
#include "client/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "client/words.h"

#define WORDS_MAX 64U
#define HEAD_MAX 8000U /* bytes of a line with a frame behind it: the least line limit has room */
#define READ_BYTES 65536U

const struct command_word command_words[] = {
    {"USE", "[<workspace>/]<namespace>", "keys of this connection live there from now on",
     COMMAND_USE, 1, 1},
    {"AUTH", "[token]", "show a token; without one it is asked for", COMMAND_AUTH, 0, 1},
    {"SUBSCRIBE", "<queue> [prefetch]", "messages as they come, until Ctrl-C", COMMAND_SUBSCRIBE, 1,
     2},
    {"UNSUBSCRIBE", "<queue>", "no more of them", COMMAND_UNSUBSCRIBE, 1, 1},
    {"WATCH", "<type> [prefix] [since=<revision>] [values]",
     "changes of keys as they come, until Ctrl-C", COMMAND_WATCH, 1, 4},
    {"UNWATCH", "<type> [prefix]", "no more of them", COMMAND_UNWATCH, 1, 2},
    {"HELP", "", "what the server knows", COMMAND_HELP, 0, 0},
    {"QUIT", "", "end", COMMAND_QUIT, 0, 0},
    {"EXIT", "", "end", COMMAND_QUIT, 0, 0},
};

const unsigned command_word_count = sizeof command_words / sizeof command_words[0];

struct build {
    struct arena *arena;
    char *why;
    struct slice verb;
    const struct op_words *op;       /* NULL: */
    const struct command_word *word; /* one of these */
    struct word words[WORDS_MAX];
    unsigned count;
    bool stdin_taken;
};

static bool refuse(const struct build *build, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool refuse(const struct build *build, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(build->why, COMMAND_WHY_BYTES, format, args);
    va_end(args);
    return false;
}

const struct command_word *command_find_word(struct slice name) {
    for (unsigned i = 0; i < command_word_count; i++)
        if (slice_equal_nocase(slice_of_cstr(command_words[i].name), name))
            return &command_words[i];
    return NULL;
}

static bool takes_value(const struct op_words *op) {
    return op && op->count && op->op->params[op->param[op->count - 1]].type == PARAM_BYTES;
}

static bool takes_settings(const struct op_words *op) {
    return op && op->count && op->op->params[op->param[op->count - 1]].type == PARAM_SETTINGS;
}

static bool find_verb(struct build *build) {
    build->op = op_find_verb(build->verb);
    build->word = build->op ? NULL : command_find_word(build->verb);
    if (build->op || build->word)
        return true;
    size_t len = build->verb.len < 40 ? build->verb.len : 40;
    char shown[41];
    for (size_t i = 0; i < len; i++)
        shown[i] =
            build->verb.ptr[i] >= ' ' && build->verb.ptr[i] < 0x7F ? build->verb.ptr[i] : '?';
    return refuse(build, "there is no command %.*s; HELP lists them", (int)len, shown);
}

static bool wrong_count(const struct build *build) {
    if (build->word)
        return refuse(build, "it is: %s%s%s", build->word->name, *build->word->words ? " " : "",
                      build->word->words);
    const struct op_words *op = build->op;
    if (build->count < op->required) {
        const struct param *missing = &op->op->params[op->param[build->count]];
        return refuse(build, "%s: %s is missing (%s); the words are: %s", op->verb->verb,
                      missing->name, missing->doc, op->verb->words);
    }
    return refuse(build, "%s has too many words; they are: %s", op->verb->verb,
                  *op->verb->words ? op->verb->words : "none");
}

static bool check_count(const struct build *build) {
    unsigned required = build->word ? build->word->required : build->op->required;
    unsigned most = build->word ? build->word->most : build->op->count;
    if (takes_settings(build->op))
        most = WORDS_MAX;
    if (build->count < required || build->count > most)
        return wrong_count(build);
    return true;
}

/* Words that the line protocol could not tell apart would be another request. */
static bool check_words(const struct build *build, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        struct slice text = build->words[i].text;
        for (size_t at = 0; at < text.len; at++)
            if (text.ptr[at] == ' ' || text.ptr[at] == '\n' || text.ptr[at] == '\r' ||
                text.ptr[at] == '\0')
                return refuse(build, "only the value may hold spaces or line ends; a key that does "
                                     "can be had by JSON-RPC");
    }
    return true;
}

static bool read_all(const struct build *build, int fd, const char *name, struct slice *ret_bytes) {
    struct buf bytes;
    buf_init(&bytes, COMMAND_VALUE_MAX);
    for (;;) {
        char *to = buf_reserve(&bytes, READ_BYTES);
        if (!to) {
            buf_done(&bytes);
            return refuse(build, "%s is over the bound of 1 GiB, or there is no memory", name);
        }
        ssize_t got = read(fd, to, READ_BYTES);
        if (got < 0) {
            buf_done(&bytes);
            return refuse(build, "cannot read %s: %s", name, strerror(errno));
        }
        if (got == 0)
            break;
        bytes.len += (size_t)got;
    }
    *ret_bytes = arena_copy(build->arena, buf_slice(&bytes));
    buf_done(&bytes);
    return ret_bytes->ptr || refuse(build, "there is not enough memory");
}

static bool read_value(const struct build *build, struct slice path, struct slice *ret_bytes) {
    if (slice_equal(path, SLICE("-"))) {
        if (build->stdin_taken)
            return refuse(build, "@- is for a single command; here standard input is the commands");
        return read_all(build, STDIN_FILENO, "standard input", ret_bytes);
    }
    struct slice name = arena_copy(build->arena, path);
    if (!name.ptr || !name.len || memchr(name.ptr, '\0', name.len))
        return refuse(build, "@ wants the name of a file; a value that begins with @ is @@...");
    int fd = open(name.ptr, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return refuse(build, "cannot open the file behind @: %s", strerror(errno));
    bool good = read_all(build, fd, "the file behind @", ret_bytes);
    close(fd);
    return good;
}

static bool take_value(const struct build *build, const struct word *word,
                       struct slice *ret_bytes) {
    *ret_bytes = word->text;
    if (word->quoted || !slice_starts_with(word->text, SLICE("@")))
        return true;
    struct slice behind = slice_make(word->text.ptr + 1, word->text.len - 1);
    if (!slice_starts_with(behind, SLICE("@")))
        return read_value(build, behind, ret_bytes);
    *ret_bytes = behind;
    return true;
}

/* The verb of the same operation that is binary-safe, so that no value can be taken for a reply and
 * none is cut at a newline. */
static const struct op_verb *framed_verb(const struct op_words *op) {
    for (unsigned i = 0; i < OP_VERBS_MAX && op->op->verbs[i].verb; i++)
        if (op->op->verbs[i].framed || op->op->verbs[i].form == LINE_FRAME)
            return &op->op->verbs[i];
    return op->verb;
}

static bool finish_line(const struct build *build, const char *verb, unsigned count,
                        struct command *command) {
    struct buf line;
    buf_init(&line, command->framed ? HEAD_MAX : COMMAND_LINE_MAX);
    buf_append(&line, slice_of_cstr(verb));
    for (unsigned i = 0; i < count; i++) {
        buf_append_char(&line, ' ');
        buf_append(&line, build->words[i].text);
    }
    if (command->framed)
        buf_printf(&line, " %zu", command->bytes.len);
    if (line.failed) {
        buf_done(&line);
        return refuse(build, "the words are too long");
    }
    command->line = arena_copy(build->arena, buf_slice(&line));
    buf_done(&line);
    return command->line.ptr || refuse(build, "there is not enough memory");
}

static int64_t wait_of(const struct build *build) {
    const struct op_words *op = build->op;
    int64_t wait_ms = 0;
    for (unsigned i = 0; (op->op->flags & OP_WAITS) && i < op->count && i < build->count; i++)
        if (strcmp(op->op->params[op->param[i]].name, "wait") == 0 &&
            !slice_parse_i64(build->words[i].text, &wait_ms))
            wait_ms = 0;
    return wait_ms;
}

static bool finish_call(const struct build *build, struct command *command) {
    unsigned count = build->count;
    const struct op_verb *verb = build->op->verb;
    command->kind = COMMAND_CALL;
    command->words = build->op;
    command->wait_ms = wait_of(build);
    if (takes_value(build->op)) {
        verb = framed_verb(build->op);
        command->framed = true;
        if (!take_value(build, &build->words[--count], &command->bytes))
            return false;
    } else if (verb->form == LINE_VALUE) {
        verb = framed_verb(build->op);
        command->value = true;
    }
    command->form = verb->form;
    return check_words(build, count) && finish_line(build, verb->verb, count, command);
}

static bool finish(const struct build *build, struct command *ret_command) {
    struct command command = {0};
    if (!check_count(build))
        return false;
    if (build->op) {
        if (!finish_call(build, &command))
            return false;
    } else {
        command.kind = build->word->kind;
        if (!check_words(build, build->count) ||
            !finish_line(build, build->word->name, build->count, &command))
            return false;
    }
    if (build->count) {
        command.argument = arena_copy(build->arena, build->words[0].text);
        if (!command.argument.ptr)
            return refuse(build, "there is not enough memory");
    }
    *ret_command = command;
    return true;
}

/* JSON-RPC is a line as it stands; a line end between its parts is a space. */
static bool finish_json(const struct build *build, struct slice text, struct command *ret_command) {
    struct slice copy = arena_copy(build->arena, text);
    if (!copy.ptr)
        return refuse(build, "there is not enough memory");
    char *bytes = (char *)copy.ptr; /* the arena's, and ours */
    for (size_t i = 0; i < copy.len; i++)
        if (bytes[i] == '\n' || bytes[i] == '\r')
            bytes[i] = ' ';
    *ret_command = (struct command){.kind = COMMAND_JSON, .line = copy};
    return true;
}

static bool is_json(struct slice text) {
    return text.len && (text.ptr[0] == '{' || text.ptr[0] == '[');
}

static bool add_result(struct build *build, enum words_result result) {
    if (result != WORDS_TAKEN)
        return refuse(build, "%s", words_why(result));
    build->count++;
    return true;
}

/* Words behind the verb; the value last, which is the rest of the line. */
static bool split(struct build *build, struct slice rest) {
    unsigned plain = takes_value(build->op) ? build->op->count - 1 : WORDS_MAX;
    while (build->count < plain) {
        enum words_result result = words_take(&rest, build->arena, &build->words[build->count]);
        if (result == WORDS_END)
            return true;
        if (!add_result(build, result))
            return false;
    }
    bool more = rest.len || rest.ptr[-1] == ' ';
    if (!takes_value(build->op))
        return !more || refuse(build, "there are too many words");
    if (!more)
        return true;
    return add_result(build, words_take_rest(rest, build->arena, &build->words[build->count]));
}

bool command_from_line(struct slice line, bool stdin_taken, struct arena *arena,
                       struct command *ret_command, char ret_why[COMMAND_WHY_BYTES]) {
    struct build build = {.arena = arena, .why = ret_why, .stdin_taken = stdin_taken};
    struct word verb;
    while (line.len && line.ptr[0] == ' ')
        line = slice_make(line.ptr + 1, line.len - 1);
    if (is_json(line))
        return finish_json(&build, line, ret_command);
    if (line.len == 0 || line.ptr[0] == '#') {
        *ret_command = (struct command){.kind = COMMAND_NOTHING};
        return true;
    }
    enum words_result result = words_take(&line, arena, &verb);
    if (result != WORDS_TAKEN)
        return refuse(&build, "%s", words_why(result));
    build.verb = verb.text;
    return find_verb(&build) && split(&build, line) && finish(&build, ret_command);
}

/* The words from `at` on with a space between them, as the shell took them apart. */
static bool join(struct build *build, unsigned count, char **words, struct slice *ret_text) {
    struct buf text;
    buf_init(&text, COMMAND_LINE_MAX);
    for (unsigned i = 0; i < count; i++) {
        if (i)
            buf_append_char(&text, ' ');
        buf_append(&text, slice_of_cstr(words[i]));
    }
    *ret_text = text.failed ? (struct slice){NULL, 0} : arena_copy(build->arena, buf_slice(&text));
    buf_done(&text);
    return ret_text->ptr || refuse(build, "there is not enough memory");
}

bool command_from_words(unsigned count, char **words, struct arena *arena,
                        struct command *ret_command, char ret_why[COMMAND_WHY_BYTES]) {
    struct build build = {.arena = arena, .why = ret_why};
    if (count == 0)
        return refuse(&build, "there is no command");
    build.verb = slice_of_cstr(words[0]);
    if (is_json(build.verb)) {
        struct slice text;
        return join(&build, count, words, &text) && finish_json(&build, text, ret_command);
    }
    if (!find_verb(&build))
        return false;
    unsigned plain = takes_value(build.op) ? build.op->count - 1 : WORDS_MAX;
    unsigned at = 1;
    for (; at < count && build.count < plain; at++)
        build.words[build.count++].text = slice_of_cstr(words[at]);
    if (at < count && !takes_value(build.op))
        return refuse(&build, "there are too many words");
    if (at < count && !join(&build, count - at, words + at, &build.words[build.count++].text))
        return false;
    return finish(&build, ret_command);
}
