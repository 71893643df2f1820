/* SPDX-License-Identifier: MIT */
#include "server/line_parse.h"

#include "handlers/bind.h"
#include "server/line_dialect.h"
#include "server/line_render.h"
#include "server/line_words.h"

void line_init_call(const struct line_context *context, struct call *call) {
    call_init(call, context->core, context->grant, context->arena, context->now_ms);
    if (context->place) {
        call->args.workspace = context->place->workspace;
        call->args.workspace_named = context->place->workspace_named;
        call->args.ns = context->place->ns;
    }
}

/* The bytes up to the next space, which are taken off rest; *more tells whether a space (and so
 * another word, be it an empty one) follows. */
static struct slice take_word(struct slice *rest, bool *more) {
    const char *space = rest->len ? memchr(rest->ptr, ' ', rest->len) : NULL;
    struct slice word = *rest;
    *more = space != NULL;
    if (space) {
        word.len = (size_t)(space - rest->ptr);
        rest->ptr = space + 1;
        rest->len -= word.len + 1;
    }
    return word;
}

static enum err bind_word(struct call *call, unsigned param, struct slice word) {
    if (call->op->params[param].type == PARAM_PREFIX && slice_equal(word, SLICE("*")))
        return OK;
    return bind_text(call, param, word);
}

/* `CREATEQUEUE jobs lease=5000`: what could be an optional word is the first of the settings. */
static bool settings_begin(const struct op_words *words, unsigned at, struct slice rest) {
    unsigned last = words->param[words->count - 1];
    bool more;
    if (at < words->required || words->op->params[last].type != PARAM_SETTINGS)
        return false;
    struct slice word = take_word(&rest, &more);
    return word.len && memchr(word.ptr, '=', word.len);
}

enum err line_bind(const struct line_context *context, const struct op_words *words,
                   struct slice line, struct slice frame, struct call *call) {
    struct slice rest = line;
    bool more;
    line_init_call(context, call);
    call_set_op(call, words->op);
    take_word(&rest, &more);
    for (unsigned i = 0; i < words->count && more; i++) {
        if (settings_begin(words, i, rest))
            i = words->count - 1;
        bool last = i + 1 == words->count;
        struct slice word = rest;
        if (last && words->rest_of_line && !words->verb->framed)
            more = false;
        else
            word = take_word(&rest, &more);
        if (last && words->verb->framed)
            word = frame;
        enum err err = bind_word(call, words->param[i], word);
        if (err)
            return err;
    }
    if (more)
        return call_fail(call, ERR_SYNTAX, "%s takes %u words", words->verb->verb, words->count);
    return bind_finish(call);
}

void line_fail(const struct line_context *context, struct line_request *request, enum err err,
               const char *detail) {
    line_init_call(context, &request->call);
    request->kind = REQUEST_FAILED;
    request->call.err = err;
    request->call.detail = detail;
}

static bool ends_like_http(struct slice line) {
    struct slice version = SLICE(" HTTP/1.1");
    if (line.len < version.len)
        return false;
    const char *end = line.ptr + line.len - version.len;
    return memcmp(end, version.ptr, version.len - 1) == 0;
}

/* A browser can be made to send HTTP to any port. Its request line and its headers are no requests
 * of ours, so they fail; then the connection ends before a body is taken for commands. The version
 * ends every request line, whatever the page chose for the path: `PUT a b` is a slip, not HTTP. */
bool line_looks_like_http(struct slice line) {
    static const char *const starts[] = {
        "Host:", "host:", "PRI ", "Origin:", "Cookie:", "Accept:", "User-Agent:"};
    if (ends_like_http(line))
        return true;
    for (unsigned i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (slice_starts_with(line, slice_of_cstr(starts[i])))
            return true;
    return false;
}

/* True for a caller without a token that still holds, where the operation wants one. */
static bool is_stranger(const struct line_context *context, const struct op_words *words) {
    if (words && (words->op->flags & OP_OPEN))
        return false;
    return auth_allows(context->grant, AUTH_ANY, SLICE(""), context->now_ms) != OK;
}

static unsigned count_spaces(struct slice line) {
    unsigned count = 0;
    for (size_t i = 0; i < line.len; i++)
        count += line.ptr[i] == ' ';
    return count;
}

/* A frame that is not wanted: answered now, its bytes dropped as they come. */
static void refuse_frame(const struct line_context *context, struct line_request *request,
                         enum err err, int64_t length) {
    line_fail(context, request, err, NULL);
    request->skip_frame = true;
    request->skip_bytes = (uint64_t)length;
}

/* Finds the bytes behind the line of a framed verb. True where they are all there. */
static bool take_frame(const struct line_context *context, struct slice data,
                       const struct op_words *words, struct line_request *request) {
    struct slice line = request->line;
    int64_t length;
    if (count_spaces(line) != words->count) {
        line_fail(context, request, ERR_SYNTAX, "a framed command has every word, then a length");
        return false;
    }
    const char *space = memrchr(line.ptr, ' ', line.len);
    struct slice word = slice_make(space + 1, line.len - (size_t)(space + 1 - line.ptr));
    if (!slice_parse_i64(word, &length) || length < 0) {
        line_fail(context, request, ERR_SYNTAX, "the last word is a length in bytes");
        return false;
    }
    if (is_stranger(context, words)) {
        refuse_frame(context, request, ERR_AUTH_REQUIRED, length);
        return false;
    }
    if ((uint64_t)length > context->core->payload_limit_bytes) {
        refuse_frame(context, request, ERR_VALUE_TOO_LARGE, length);
        return false;
    }
    size_t whole = request->size + (size_t)length + 1;
    if (data.len >= whole && data.ptr[whole - 1] == '\r') /* as behind a line */
        whole++;
    if (data.len < whole) {
        request->kind = REQUEST_PART;
        request->need = whole;
        return false;
    }
    request->frame = slice_make(data.ptr + request->size, (size_t)length);
    request->size = whole;
    if (data.ptr[whole - 1] != '\n') {
        line_fail(context, request, ERR_SYNTAX, "no newline behind the framed bytes");
        request->close = true;
        return false;
    }
    return true;
}

static void parse_words(const struct line_context *context, struct slice data,
                        struct line_request *request) {
    struct slice rest = request->line;
    bool more;
    struct slice verb = take_word(&rest, &more);
    const struct op_words *words = op_find_verb(verb);
    request->words = words;
    if (!words) {
        request->word = line_word_find(verb);
        request->word_args = more ? rest : (struct slice){NULL, 0};
        request->kind = REQUEST_WORD;
        if (!request->word)
            line_fail(context, request, ERR_UNKNOWN_COMMAND, NULL);
        return;
    }
    if (words->verb->framed && !take_frame(context, data, words, request))
        return;
    bool bound = line_bind(context, words, request->line, request->frame, &request->call) == OK;
    request->answer.form = words->verb->form;
    request->kind = bound ? REQUEST_CALL : REQUEST_FAILED;
}

bool line_take(const struct line_context *context, struct slice data, size_t scanned,
               struct line_request *request) {
    request->kind = REQUEST_PART;
    request->skip_line = false;
    request->skip_frame = false;
    request->close = false;
    request->size = 0;
    request->need = 0;
    request->frame = (struct slice){NULL, 0};
    const char *newline =
        scanned < data.len ? memchr(data.ptr + scanned, '\n', data.len - scanned) : NULL;
    size_t len = newline ? (size_t)(newline - data.ptr) : data.len;
    if (len > context->line_limit_bytes) {
        line_fail(context, request, ERR_LINE_TOO_LONG, NULL);
        request->size = newline ? len + 1 : len;
        request->skip_line = !newline;
        return false;
    }
    if (!newline)
        return false;
    request->size = len + 1;
    if (len && data.ptr[len - 1] == '\r')
        len--;
    request->line = slice_make(data.ptr, len);
    return true;
}

void line_parse(const struct line_context *context, struct slice data, size_t scanned,
                struct line_request *request) {
    if (!line_take(context, data, scanned, request))
        return;
    if (request->line.len == 0) {
        request->kind = REQUEST_EMPTY;
        return;
    }
    if (request->line.ptr[0] == '{' || request->line.ptr[0] == '[') {
        request->kind = REQUEST_JSON;
        return;
    }
    parse_words(context, data, request);
    if (request->kind == REQUEST_FAILED && is_stranger(context, request->words)) {
        request->call.err = ERR_AUTH_REQUIRED; /* what it got wrong is not told to strangers */
        request->call.detail = NULL;
    }
    if (request->kind == REQUEST_FAILED && line_looks_like_http(request->line))
        request->kind = REQUEST_HTTP;
}

static enum err bind_request(const struct line_context *context, const struct line_request *request,
                             struct slice line, struct slice frame, struct call *call,
                             struct line_answer *answer) {
    *answer = request->answer;
    return line_bind(context, request->words, line, frame, call);
}

static enum err render_answer(struct buf *to, const struct call *call,
                              const struct line_answer *answer) {
    return line_render(to, call, answer->form);
}

static void render_failure(struct buf *to, const struct line_request *request) {
    line_render_error(to, request->call.err, call_detail(&request->call));
}

static void render_error(struct buf *to, const struct line_answer *answer, enum err err,
                         const char *text) {
    (void)answer;
    line_render_error(to, err, text);
}

const struct line_dialect line_dialect_hati = {
    .door = DOOR_LINE,
    .parse = line_parse,
    .bind = bind_request,
    .render = render_answer,
    .render_failure = render_failure,
    .render_error = render_error,
};
