/* SPDX-License-Identifier: MIT */
#include "server/olivia.h"

#include "base/text.h"
#include "handlers/ops.h"
#include "server/line_render.h"
#include "server/olivia_many.h"
#include "server/olivia_request.h"

static const struct olivia_verb verbs[] = {
    {"GET", "GOT", OLIVIA_GET},
    {"SET", "SAT", OLIVIA_SET},
    {"SETEX", "SATEX", OLIVIA_SETEX},
    {"FETCH", "FETCHED", OLIVIA_FETCH},
};

const struct olivia_verb *olivia_find_verb(struct slice name) {
    for (unsigned i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (slice_equal_nocase(slice_of_cstr(verbs[i].name), name))
            return &verbs[i];
    return NULL;
}

static const struct op *op_get, *op_get_entry, *op_set, *op_delete;

void olivia_init(void) {
    op_get = op_find_name(SLICE("Storage.Get"));
    op_get_entry = op_find_name(SLICE("Storage.GetEntry"));
    op_set = op_find_name(SLICE("Storage.Set"));
    op_delete = op_find_name(SLICE("Storage.Delete"));
}

static bool is_good_key(struct slice key) {
    return key.len > 0 && key.len <= KV_KEY_MAX && !memchr(key.ptr, '\0', key.len);
}

static void choose(struct call *call, const struct op *op) {
    call_set_op(call, op);
    call->args.storage = KV_MEMORY;
}

static enum err bind_value(struct call *call, const struct olivia_pair *pair) {
    if (!is_good_key(pair->key))
        return ERR_SYNTAX;
    if (pair->value.len > call->core->payload_limit_bytes)
        return call_fail(call, ERR_VALUE_TOO_LARGE, "a value has %llu bytes at most",
                         (unsigned long long)call->core->payload_limit_bytes);
    choose(call, op_set);
    call->args.value = pair->value;
    return OK;
}

/* Seconds of the past: the key is expired at once, as if it had been set. */
static enum err bind_expiring(struct call *call, const struct olivia_pair *pair,
                              int64_t *ret_seconds) {
    int64_t ttl_ms;
    enum err err = bind_value(call, pair);
    if (err)
        return err;
    if (!olivia_parse_seconds(pair->seconds, ret_seconds)) {
        call->op = NULL;
        return OK;
    }
    if (*ret_seconds <= 0) {
        choose(call, op_delete);
        call->args.value = pair->value;
        return OK;
    }
    if (__builtin_mul_overflow(*ret_seconds, 1000, &ttl_ms) || ttl_ms > OP_TTL_MAX_MS)
        ttl_ms = OP_TTL_MAX_MS;
    call->args.ttl_ms = ttl_ms;
    return OK;
}

/* A question of a peer's, who writes the key as base64url: it may be any bytes. */
static enum err bind_fetch(struct call *call, const struct olivia_pair *pair) {
    char *key = pair->key.len ? arena_alloc(call->arena, pair->key.len) : NULL;
    size_t len;
    if (!key)
        return pair->key.len ? ERR_OUT_OF_MEMORY : ERR_SYNTAX;
    if (!text_base64url_decode(pair->key, key, &len) || !is_good_key(slice_make(key, len)))
        return ERR_SYNTAX;
    choose(call, op_get_entry);
    call->args.key = slice_make(key, len);
    call->asks_peers = false;
    return OK;
}

/* A key that cannot be is not there: asking for it is no mistake. */
static void bind_get(const struct line_context *context, struct call *call,
                     const struct olivia_pair *pair) {
    choose(call, op_get);
    call->asks_peers = !context->is_peer;
    if (!is_good_key(pair->key))
        call->op = NULL;
}

enum err olivia_bind_pair(const struct line_context *context, const struct olivia_verb *verb,
                          const struct olivia_pair *pair, struct call *call, int64_t *ret_seconds) {
    enum err err = OK;
    line_init_call(context, call);
    if (verb->kind == OLIVIA_FETCH)
        return call->err = bind_fetch(call, pair);
    if (verb->kind == OLIVIA_GET)
        bind_get(context, call, pair);
    else if (verb->kind == OLIVIA_SETEX)
        err = bind_expiring(call, pair, ret_seconds);
    else
        err = bind_value(call, pair);
    call->args.key = pair->key;
    return call->err = err;
}

void olivia_render_invalid(struct buf *to) {
    buf_append(to, SLICE("[]Invalid command sent in.\n"));
}

void olivia_render_error(struct buf *to, struct slice hash, enum err err, const char *text) {
    if (hash.len) {
        buf_append(to, hash);
        buf_append_char(to, ':');
    }
    line_render_error(to, err, text);
}

static void append_fetched(struct buf *to, const struct call *call) {
    const struct reply *reply = &call->reply;
    if (call->err) {
        buf_append_char(to, '-');
        return;
    }
    buf_append_i64(to, reply->ttl_ms);
    buf_append_char(to, ':');
    text_append_base64url(to, reply->entry.content_type);
    buf_append_char(to, ':');
    text_append_base64url(to, reply->entry.value);
}

void olivia_render_pair(struct buf *to, const struct olivia_verb *verb, const struct call *call,
                        int64_t seconds) {
    if (verb->kind == OLIVIA_FETCH) {
        append_fetched(to, call);
        return;
    }
    if (verb->kind == OLIVIA_GET && call->err)
        return;
    buf_append(to, call->args.key);
    buf_append_char(to, ':');
    buf_append(to, verb->kind == OLIVIA_GET ? call->reply.entry.value : call->args.value);
    if (verb->kind == OLIVIA_SETEX) {
        buf_append_char(to, ':');
        buf_append_i64(to, seconds);
    }
}

/* A value that another door stored may hold a newline: it cannot stand on a line. */
enum err olivia_error_of(const struct olivia_verb *verb, const struct call *call) {
    struct slice value = call->reply.entry.value;
    bool reads = verb->kind == OLIVIA_GET || verb->kind == OLIVIA_FETCH;
    if (call->err == ERR_KEY_NOT_EXIST && reads)
        return OK;
    if (!call->err && verb->kind == OLIVIA_GET && value.len && memchr(value.ptr, '\n', value.len))
        return ERR_NOT_FRAMABLE;
    return call->err;
}

const char *olivia_why(enum err err, const struct call *call) {
    return err == call->err ? call_detail(call) : "the value holds a newline";
}

static enum err render(struct buf *to, const struct call *call, const struct line_answer *answer) {
    size_t start = to->len;
    enum err err = olivia_error_of(answer->verb, call);
    const char *text = olivia_why(err, call);
    if (!err) {
        buf_append(to, answer->hash);
        buf_append_char(to, ':');
        buf_append(to, slice_of_cstr(answer->verb->answer));
        buf_append_char(to, ' ');
        olivia_render_pair(to, answer->verb, call, answer->seconds);
        buf_append_char(to, '\n');
    }
    if (to->failed) {
        to->len = start;
        to->failed = false;
        err = ERR_OUT_OF_MEMORY;
        text = "the reply is too large";
    }
    if (err)
        olivia_render_error(to, answer->hash, err, text);
    return err;
}

static void render_failure(struct buf *to, const struct line_request *request) {
    if (request->call.err == ERR_SYNTAX)
        olivia_render_invalid(to);
    else
        olivia_render_error(to, request->answer.hash, request->call.err,
                            call_detail(&request->call));
}

static void render_error(struct buf *to, const struct line_answer *answer, enum err err,
                         const char *text) {
    olivia_render_error(to, answer->hash, err, text);
}

/* A line of one pair is a call like every other. */
static void parse_one(const struct line_context *context, const struct olivia_verb *verb,
                      struct slice args, struct line_request *request) {
    struct olivia_pair pair;
    (void)olivia_take_pair(&args, &pair);
    if (verb->kind == OLIVIA_SETEX && !pair.seconds.ptr) {
        request->kind = REQUEST_MANY;
        return;
    }
    enum err err = olivia_bind_pair(context, verb, &pair, &request->call, &request->answer.seconds);
    if (err)
        request->kind = REQUEST_FAILED;
    else
        request->kind = request->call.op ? REQUEST_CALL : REQUEST_MANY;
}

static void parse_words(const struct line_context *context, struct line_request *request) {
    struct olivia_line line;
    bool whole = olivia_line_split(request->line, &line);
    const struct line_word *word = olivia_request_find_word(line.command);
    const struct olivia_verb *verb = olivia_find_verb(line.command);
    request->answer = (struct line_answer){.verb = verb, .hash = line.hash};
    if (whole && word) {
        request->kind = REQUEST_WORD;
        request->word = word;
        request->word_args = request->line;
    } else if (auth_allows(context->grant, AUTH_ANY, SLICE(""), context->now_ms)) {
        line_fail(context, request, ERR_AUTH_REQUIRED, NULL);
    } else if (!whole || !verb) {
        line_fail(context, request, ERR_SYNTAX, NULL);
    } else if (line.args.len && memchr(line.args.ptr, ',', line.args.len)) {
        request->kind = REQUEST_MANY;
        if (verb->kind == OLIVIA_FETCH)
            line_fail(context, request, ERR_SYNTAX, NULL);
    } else {
        parse_one(context, verb, line.args, request);
    }
}

static void parse(const struct line_context *context, struct slice data, size_t scanned,
                  struct line_request *request) {
    request->answer = (struct line_answer){0};
    request->words = NULL;
    if (!line_take(context, data, scanned, request))
        return;
    parse_words(context, request);
    if (request->kind == REQUEST_FAILED && line_looks_like_http(request->line))
        request->kind = REQUEST_HTTP;
}

static enum err bind_again(const struct line_context *context, const struct line_request *request,
                           struct slice text, struct slice frame, struct call *call,
                           struct line_answer *answer) {
    struct olivia_line line;
    struct olivia_pair pair;
    (void)frame;
    (void)olivia_line_split(text, &line);
    (void)olivia_take_pair(&line.args, &pair);
    answer->verb = request->answer.verb;
    answer->hash = line.hash;
    return olivia_bind_pair(context, answer->verb, &pair, call, &answer->seconds);
}

const struct line_dialect line_dialect_olivia = {
    .door = DOOR_OLIVIA,
    .parse = parse,
    .bind = bind_again,
    .render = render,
    .render_failure = render_failure,
    .render_error = render_error,
    .run_many = olivia_many_run,
};
