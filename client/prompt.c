/* SPDX-License-Identifier: MIT */
#include "client/prompt.h"

#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "client/complete.h"
#include "client/history.h"
#include "client/interrupt.h"
#include "client/pretty.h"

#define ARENA_MAX (4ULL << 30)
#define HINT_BYTES 200
#define PROMPT_BYTES 1024
#define NAME_PAGE "200" /* keys that Tab asks for */

struct prompt {
    struct session *session;
    EditLine *el;
    History *history;
    bool searching;
    char path[4096]; /* of the history; empty: none */
    char text[PROMPT_BYTES];
    char hint[HINT_BYTES];
};

static struct prompt *prompt_of(EditLine *el) {
    void *data = NULL;
    el_get(el, EL_CLIENTDATA, &data);
    return data;
}

static struct slice line_of(EditLine *el) {
    const LineInfo *info = el_line(el);
    return slice_make(info->buffer, (size_t)(info->cursor - info->buffer));
}

static char *prompt_text(EditLine *el) {
    struct prompt *prompt = prompt_of(el);
    struct buf text;
    const char *use = prompt->session->wire.use;
    buf_init(&text, PROMPT_BYTES);
    pretty_escaped(&text, slice_of_cstr(prompt->session->options->place));
    buf_append_char(&text, ' ');
    pretty_escaped(&text, slice_of_cstr(*use ? use : "default"));
    snprintf(prompt->text, sizeof prompt->text, "%.*s> ", (int)text.len, text.ptr ? text.ptr : "");
    buf_done(&text);
    return prompt->text;
}

static char *hint_text(EditLine *el) {
    struct prompt *prompt = prompt_of(el);
    struct buf hint;
    buf_init(&hint, HINT_BYTES - 1);
    complete_hint(line_of(el), &hint);
    snprintf(prompt->hint, sizeof prompt->hint, "%.*s", hint.failed ? 0 : (int)hint.len,
             hint.ptr ? hint.ptr : "");
    buf_done(&hint);
    return prompt->hint;
}

/* libedit's search ends at a key that is not bound to itself, so a space is one until another
 * control character than those of the search comes. */
static void note_search(struct prompt *prompt, char byte) {
    bool starts = byte == CTRL('r') || byte == CTRL('s');
    bool goes_on = (unsigned char)byte >= ' ' || byte == CTRL('h') || byte == CTRL('w');
    bool searching = starts || (prompt->searching && goes_on);
    if (searching != prompt->searching)
        el_set(prompt->el, EL_BIND, " ", searching ? "ed-insert" : "hati-space", NULL);
    prompt->searching = searching;
}

/* One character of the terminal; -1 on Ctrl-C. */
static int read_char(EditLine *el, wchar_t *to) {
    mbstate_t state;
    memset(&state, 0, sizeof state);
    for (;;) {
        char byte;
        switch (interrupt_wait(STDIN_FILENO, POLLIN, -1, -1, NULL)) {
        case WOKE_INTERRUPT:
            return -1;
        case WOKE_RESIZE:
            el_resize(el);
            el_set(el, EL_REFRESH);
            continue;
        case WOKE_TIMEOUT:
        case WOKE_READY:
            break;
        }
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return (int)got;
        note_search(prompt_of(el), byte);
        size_t size = mbrtowc(to, &byte, 1, &state);
        if (size == (size_t)-1) { /* no character of this locale */
            *to = L'?';
            return 1;
        }
        if (size != (size_t)-2)
            return 1;
    }
}

static unsigned char on_space(EditLine *el, int key) {
    (void)key;
    return el_insertstr(el, " ") == 0 ? CC_REFRESH : CC_ERROR; /* refreshes the hint too */
}

/* Names that the server knows, for the word at the cursor. Where it does not tell, there are none.
 */
static void add_names(struct prompt *prompt, struct arena *arena, struct completion *completion) {
    char request[256];
    struct slice storage = completion->storage;
    bool keys = completion->names == NAMES_KEYS;
    if (keys && !slice_equal(storage, SLICE("memory")) && !slice_equal(storage, SLICE("hdd")))
        return;
    if (keys && completion->prefix.len > 128)
        return;
    if (keys)
        snprintf(request, sizeof request, "KEYS %.*s %.*s " NAME_PAGE, (int)storage.len,
                 storage.ptr, completion->prefix.len ? (int)completion->prefix.len : 1,
                 completion->prefix.len ? completion->prefix.ptr : "*");
    else
        snprintf(request, sizeof request, "%s",
                 completion->names == NAMES_QUEUES ? "LISTQUEUE" : "LISTROUTER");
    struct slice line;
    if (session_ask(prompt->session, slice_of_cstr(request), &line) == WIRE_GOOD)
        complete_add_json(completion, arena, line);
}

static void print_list(const struct completion *completion) {
    struct winsize size = {0};
    size_t width = 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        size.ws_col = 80;
    for (unsigned i = 0; i < completion->count; i++)
        if (pretty_width(completion->words[i]) > width)
            width = pretty_width(completion->words[i]);
    size_t columns = size.ws_col / (width + 2) ? size.ws_col / (width + 2) : 1;
    printf("\n");
    for (unsigned i = 0; i < completion->count; i++) {
        struct slice word = completion->words[i];
        bool last = (i + 1) % columns == 0 || i + 1 == completion->count;
        printf("%.*s%*s", (int)word.len, word.ptr, last ? 0 : (int)(width + 2 - pretty_width(word)),
               "");
        if (last)
            printf("\n");
    }
    fflush(stdout);
}

/* Puts a word in the place of the prefix in front of the cursor. */
static void replace(EditLine *el, size_t prefix_bytes, struct slice word, const char *behind) {
    char text[512];
    wchar_t wide[512];
    struct slice prefix = line_of(el);
    prefix = slice_make(prefix.ptr + prefix.len - prefix_bytes, prefix_bytes);
    snprintf(text, sizeof text, "%.*s", (int)prefix.len, prefix.ptr);
    size_t points = mbstowcs(wide, text, 512); /* libedit counts characters */
    el_deletestr(el, (int)(points == (size_t)-1 ? prefix_bytes : points));
    snprintf(text, sizeof text, "%.*s%s", (int)word.len, word.ptr, behind);
    el_insertstr(el, text);
}

static unsigned char on_tab(EditLine *el, int key) {
    (void)key;
    struct prompt *prompt = prompt_of(el);
    struct completion completion;
    struct arena arena;
    unsigned char result = CC_REFRESH;
    arena_init(&arena, 1U << 20);
    struct slice line = arena_copy(&arena, line_of(el));
    if (!line.ptr)
        return CC_ERROR;
    complete_line(line, &arena, &completion);
    if (completion.names != NAMES_NONE)
        add_names(prompt, &arena, &completion);
    struct slice common = complete_common(&completion);
    bool fits = common.len < 500 && completion.prefix.len < 500;
    if (completion.count == 1 && fits) {
        bool setting = common.len && common.ptr[common.len - 1] == '=';
        replace(el, completion.prefix.len, common, setting ? "" : " ");
    } else if (completion.count && fits && common.len > completion.prefix.len) {
        replace(el, completion.prefix.len, common, "");
    } else if (completion.count) {
        print_list(&completion);
        result = CC_REDISPLAY;
    } else if (completion.doc) {
        printf("\n%s\n", completion.doc);
        fflush(stdout);
        result = CC_REDISPLAY;
    } else {
        result = CC_REFRESH_BEEP;
    }
    arena_done(&arena);
    return result;
}

static void take_old_line(void *context, const char *line) {
    struct prompt *prompt = context;
    HistEvent event;
    history(prompt->history, &event, H_ENTER, line);
}

static void remember(struct prompt *prompt, struct slice line) {
    char text[HISTORY_LINE_BYTES + 1];
    HistEvent event;
    if (!history_may_keep(line, prompt->session->wire.token))
        return;
    snprintf(text, sizeof text, "%.*s", (int)line.len, line.ptr);
    history(prompt->history, &event, H_ENTER, text);
    if (*prompt->path)
        history_append(prompt->path, line);
}

static bool open_prompt(struct prompt *prompt) {
    HistEvent event;
    const char *home = getenv("HOME");
    prompt->el = el_init("hati", stdin, stdout, stderr);
    prompt->history = history_init();
    if (!prompt->el || !prompt->history)
        return false;
    history(prompt->history, &event, H_SETSIZE, (int)HISTORY_LINES);
    history(prompt->history, &event, H_SETUNIQUE, 1);
    el_set(prompt->el, EL_CLIENTDATA, prompt);
    el_set(prompt->el, EL_SIGNAL, 0);
    el_set(prompt->el, EL_EDITOR, "emacs");
    el_set(prompt->el, EL_HIST, history, prompt->history);
    el_set(prompt->el, EL_GETCFN, read_char);
    el_set(prompt->el, EL_PROMPT, prompt_text);
    el_set(prompt->el, EL_RPROMPT, hint_text);
    el_set(prompt->el, EL_ADDFN, "hati-complete", "complete a word", on_tab);
    el_set(prompt->el, EL_ADDFN, "hati-space", "a space, and a new hint", on_space);
    el_set(prompt->el, EL_BIND, "\t", "hati-complete", NULL);
    el_set(prompt->el, EL_BIND, " ", "hati-space", NULL);
    el_set(prompt->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(prompt->el, NULL);
    if (home && *home && strlen(home) < sizeof prompt->path - 32)
        snprintf(prompt->path, sizeof prompt->path, "%s/.hati_history", home);
    if (*prompt->path)
        history_read(prompt->path, take_old_line, prompt);
    return true;
}

static void close_prompt(struct prompt *prompt) {
    if (prompt->el)
        el_end(prompt->el);
    if (prompt->history)
        history_end(prompt->history);
}

/* Asks for a token that the terminal does not show. */
static bool ask_token(struct arena *arena, struct command *command) {
    struct termios before;
    char *token = arena_alloc(arena, OPTIONS_TOKEN_MAX + 2);
    if (!token || tcgetattr(STDIN_FILENO, &before) != 0)
        return false;
    struct termios hidden = before;
    hidden.c_lflag = (hidden.c_lflag | ICANON) & ~(tcflag_t)ECHO;
    printf("token: ");
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    ssize_t len = 0;
    if (interrupt_wait(STDIN_FILENO, POLLIN, -1, -1, NULL) == WOKE_READY)
        len = read(STDIN_FILENO, token, OPTIONS_TOKEN_MAX + 1);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    printf("\n");
    while (len > 0 && (token[len - 1] == '\n' || token[len - 1] == '\r'))
        len--;
    if (len <= 0 || memchr(token, ' ', (size_t)len))
        return false;
    command->argument = slice_make(token, (size_t)len);
    return true;
}

static enum client_status run_line(struct prompt *prompt, struct slice line) {
    struct arena arena;
    struct command command;
    char why[COMMAND_WHY_BYTES];
    enum client_status status = CLIENT_USAGE;
    arena_init(&arena, ARENA_MAX);
    if (!command_from_line(line, true, &arena, &command, why))
        session_complain(prompt->session, why);
    else if (command.kind == COMMAND_AUTH && !command.argument.len && !ask_token(&arena, &command))
        session_complain(prompt->session, "no token was given");
    else
        status = session_run(prompt->session, &command);
    interrupt_take();
    arena_done(&arena);
    return status;
}

static void loop(struct prompt *prompt) {
    while (!prompt->session->ended) {
        int count = 0;
        const char *text = el_gets(prompt->el, &count);
        if (!text && interrupt_take()) {
            note_search(prompt, CTRL('c'));
            printf("^C\n");
            el_reset(prompt->el);
            continue;
        }
        if (!text || count <= 0) {
            printf("\n");
            return;
        }
        size_t len = strcspn(text, "\n");
        char *copy = strndup(text, len); /* libedit's own is gone once Tab or AUTH ask for more */
        if (!copy)
            return;
        remember(prompt, slice_make(copy, len));
        run_line(prompt, slice_make(copy, len));
        explicit_bzero(copy, len);
        free(copy);
    }
}

enum client_status prompt_run(struct session *session) {
    struct prompt prompt = {.session = session};
    interrupt_catch(true);
    if (!open_prompt(&prompt)) {
        close_prompt(&prompt);
        session_complain(session, "this terminal cannot be used");
        return CLIENT_USAGE;
    }
    enum wire_result result = wire_open(&session->wire);
    if (result != WIRE_GOOD)
        session_complain(session, result == WIRE_INTERRUPT ? "not waited for" : session->wire.why);
    interrupt_take();
    loop(&prompt);
    close_prompt(&prompt);
    interrupt_catch(false);
    return CLIENT_GOOD;
}
