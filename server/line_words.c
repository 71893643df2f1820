/* SPDX-License-Identifier: MIT */
#include "server/line_words.h"

#include <stdlib.h>

#include "server/line_conn.h"
#include "server/line_follow.h"
#include "server/line_render.h"
#include "server/line_subscribe.h"

static enum err answer_error(struct buf *to, enum err err, const char *text) {
    line_render_error(to, err, text);
    return err;
}

static enum err answer_ok(struct buf *to) {
    return buf_append(to, SLICE("+OK\n")) ? OK : ERR_OUT_OF_MEMORY;
}

/* Splits <workspace>/<namespace> at the first slash; with none it is a namespace. */
static enum err parse_place(struct line_conn *conn, struct slice text, struct line_place *place) {
    const char *slash = memchr(text.ptr, '/', text.len);
    place->workspace = conn->loop->core->default_workspace;
    place->workspace_named = slash != NULL;
    if (slash) {
        size_t len = (size_t)(slash - text.ptr);
        if (!text_uuid_parse(slice_make(text.ptr, len), &place->workspace))
            return ERR_SYNTAX;
        text = slice_make(slash + 1, text.len - len - 1);
    }
    bool sound = text.len > 0 && text.len <= KV_NAMESPACE_MAX && text_is_utf8(text) &&
                 !memchr(text.ptr, '\0', text.len) && !memchr(text.ptr, ' ', text.len);
    if (!sound)
        return ERR_SYNTAX;
    memcpy(place->bytes, text.ptr, text.len);
    place->ns = slice_make(place->bytes, text.len);
    return OK;
}

static enum err run_use(struct line_conn *conn, struct slice args, struct buf *to) {
    int64_t now_ms = line_loop_now_ms(conn->loop);
    struct line_place place;
    enum err err = auth_allows(conn->grant, AUTH_ANY, SLICE(""), now_ms);
    if (err)
        return answer_error(to, err, err_text(err));
    if (args.len == 0 || parse_place(conn, args, &place) != OK)
        return answer_error(to, ERR_SYNTAX, "USE <namespace> or USE <workspace UUID>/<namespace>");
    if (place.workspace_named)
        err = auth_allows_workspace(conn->grant, &place.workspace);
    if (!err && !conn->place && !(conn->place = malloc(sizeof *conn->place)))
        err = ERR_OUT_OF_MEMORY;
    if (err)
        return answer_error(to, err, err_text(err));
    *conn->place = place;
    conn->place->ns.ptr = conn->place->bytes;
    return answer_ok(to);
}

/* A workspace that the old token opened is left where the new one does not open it. */
static void leave_closed_workspace(struct line_conn *conn) {
    if (conn->place && conn->place->workspace_named &&
        auth_allows_workspace(conn->grant, &conn->place->workspace) != OK) {
        free(conn->place);
        conn->place = NULL;
    }
}

enum err line_word_auth(struct line_conn *conn, struct slice args, struct buf *to) {
    struct core *core = conn->loop->core;
    struct auth_grant grant;
    if (args.len == 0)
        return answer_error(to, ERR_SYNTAX, "AUTH <token>");
    if (!core->auth)
        return answer_ok(to); /* everything is allowed already */
    if (auth_check(core->auth, args, line_loop_now_ms(conn->loop), &grant) != OK)
        return answer_error(to, ERR_FORBIDDEN, "the token is not good");
    if (!conn->own_grant && !(conn->own_grant = malloc(sizeof *conn->own_grant)))
        return answer_error(to, ERR_OUT_OF_MEMORY, err_text(ERR_OUT_OF_MEMORY));
    *conn->own_grant = grant;
    conn->grant = conn->own_grant;
    line_limit_choose(conn);
    leave_closed_workspace(conn);
    return answer_ok(to);
}

/* `type ttl [by]` as `<type> <ttl> [by]`; the last word of a framed verb is a length. */
static void append_words(struct buf *to, const char *words, bool framed) {
    while (*words) {
        size_t len = strcspn(words, " ");
        bool last = words[len] == '\0';
        bool optional = words[0] == '[';
        buf_append(to, optional ? SLICE(" ") : SLICE(" <"));
        buf_append(to, last && framed ? SLICE("length") : slice_make(words, len));
        if (!optional)
            buf_append_char(to, '>');
        words += len + !last;
    }
}

static void append_help(struct buf *to, const char *verb, const char *words, bool framed,
                        const char *doc) {
    buf_append(to, slice_of_cstr(verb));
    append_words(to, words, framed);
    buf_append(to, SLICE(" - "));
    buf_append(to, slice_of_cstr(doc));
    buf_append_char(to, '\n');
}

static enum err run_help(struct line_conn *conn, struct slice args, struct buf *to);

static enum err run_quit(struct line_conn *conn, struct slice args, struct buf *to) {
    if (args.len)
        return answer_error(to, ERR_SYNTAX, "QUIT takes no words");
    conn->quitting = true;
    return answer_ok(to);
}

static const struct line_word all_words[] = {
    {"USE", "[<workspace>/]<namespace>", "keys of this connection live there from now on", run_use},
    {"AUTH", "<token>", "show a token; what it allows holds for this connection", line_word_auth},
    {"SUBSCRIBE", "<queue> [prefetch]",
     "messages as they come, at most prefetch (16) not acknowledged", line_subscribe_run},
    {"UNSUBSCRIBE", "<queue>", "no more of them; what is not acknowledged stays leased",
     line_unsubscribe_run},
    {"WATCH", "<type> [prefix] [since=<revision>] [values]",
     "changes of the namespace as they come; * for an empty prefix", line_watch_run},
    {"UNWATCH", "<type> [prefix]", "no more of them", line_unwatch_run},
    {"HELP", "", "this list", run_help},
    {"QUIT", "", "end the connection", run_quit},
};

#define WORD_COUNT (sizeof all_words / sizeof all_words[0])

static enum err run_help(struct line_conn *conn, struct slice args, struct buf *to) {
    (void)conn;
    if (args.len)
        return answer_error(to, ERR_SYNTAX, "HELP takes no words");
    for (unsigned i = 0; i < op_count; i++)
        for (unsigned v = 0; v < OP_VERBS_MAX && ops[i].verbs[v].verb; v++) {
            const struct op_verb *verb = &ops[i].verbs[v];
            if (verb->doc)
                append_help(to, verb->verb, verb->words, verb->framed, verb->doc);
        }
    for (unsigned i = 0; i < WORD_COUNT; i++)
        buf_printf(to, "%s%s%s - %s\n", all_words[i].name, *all_words[i].words ? " " : "",
                   all_words[i].words, all_words[i].doc);
    return answer_ok(to);
}

const struct line_word *line_word_find(struct slice name) {
    for (unsigned i = 0; i < WORD_COUNT; i++)
        if (slice_equal_nocase(slice_of_cstr(all_words[i].name), name))
            return &all_words[i];
    return NULL;
}
