/* SPDX-License-Identifier: MIT */
/* Counts, shards and views of /kv-store. Each answer takes several calls, one after another, any of
 * which may be parked:
 *
 *   key-count                             list ... list ──────────> answer
 *   shards, shards/{id}        get view ─> (list ... list) ───────> answer
 *   view-change                            list ... list ─> set ──> answer
 *
 * The write is the last, so that what failed changed nothing. */
#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "handlers/bind.h"
#include "handlers/position.h"
#include "server/causal.h"
#include "server/kvstore.h"
#include "server/kvstore_view.h"

#define VIEW_NAMESPACE SLICE("kv-store-view")
#define VIEW_KEY SLICE("view")
#define MEMBER_JSON_BYTES 512U

enum step { STEP_VIEW, STEP_LIST, STEP_SET, STEP_END };

struct kvstore {
    enum step step;
    struct kvstore_view view;
    unsigned shard_count; /* 0: keys are counted as one lot */
    uint64_t *counts;     /* of each shard, or of the lot */
    unsigned shard;       /* that is asked for, from 0 on */
    struct arena page;    /* of a listing */
    struct buf text;      /* the view that is stored */
    size_t cursor_len;
    char cursor[KV_KEY_MAX];
    char seen[POSITION_MAX]; /* what the steps before have reached */
};

void kvstore_free(struct kvstore *state) {
    arena_done(&state->page);
    buf_done(&state->text);
    free(state);
}

static struct kvstore *make_state(struct http_request *request) {
    struct kvstore *state = calloc(1, sizeof *state);
    if (!state)
        return NULL;
    arena_init(&state->page, request->server->arena_max);
    buf_init(&state->text, KVSTORE_MEMBERS_MAX * MEMBER_JSON_BYTES);
    request->kvstore = state;
    return state;
}

static enum err make_counts(struct http_request *request, unsigned shard_count) {
    struct kvstore *state = request->kvstore;
    size_t bytes = sizeof *state->counts * (shard_count ? shard_count : 1);
    state->shard_count = shard_count;
    state->counts = arena_alloc(&request->arena, bytes);
    if (!state->counts)
        return ERR_OUT_OF_MEMORY;
    memset(state->counts, 0, bytes);
    return OK;
}

/* The view where none was set: the configured one, or this node alone. */
static const char *take_default_view(struct http_request *request) {
    const struct http_server *server = request->server;
    const struct config *config = server->config;
    struct kvstore *state = request->kvstore;
    if (config->view)
        return kvstore_view_of_list(slice_of_cstr(config->view), config->repl_factor,
                                    &request->arena, &state->view);
    char self[CONFIG_SELF_BYTES];
    config_self(config, server->port, self, sizeof self);
    return kvstore_view_of_list(slice_of_cstr(self), 1, &request->arena, &state->view);
}

static enum err take_view(struct http_request *request) {
    struct call *call = &request->call;
    struct kvstore *state = request->kvstore;
    const char *why =
        call->err ? take_default_view(request)
                  : kvstore_view_of_entry(call->reply.entry.value, &request->arena, &state->view);
    if (why)
        return call_fail(call, ERR_CORRUPT, "the view that is stored: %s", why);
    return make_counts(request, kvstore_view_shards(&state->view));
}

static enum err choose_view(struct http_request *request) {
    struct call *call = &request->call;
    call->grant = &auth_grant_everything; /* whoever may read the keys may know their shards */
    call->arena = &request->arena;
    return kvstore_choose(request, "Storage.Get", VIEW_NAMESPACE, VIEW_KEY);
}

static enum err choose_list(struct http_request *request) {
    struct call *call = &request->call;
    struct kvstore *state = request->kvstore;
    arena_done(&state->page);
    call->grant = request->grant;
    call->arena = &state->page;
    enum err err = kvstore_choose(request, "Storage.List", kvstore_namespace(), SLICE(""));
    call->args.cursor = slice_make(state->cursor, state->cursor_len);
    return err;
}

static enum err choose_set(struct http_request *request) {
    struct call *call = &request->call;
    struct kvstore *state = request->kvstore;
    call->grant = request->grant;
    call->arena = &request->arena;
    enum err err = kvstore_choose(request, "Storage.Set", VIEW_NAMESPACE, VIEW_KEY);
    if (!err && !kvstore_view_append(&state->text, &state->view))
        err = call_fail(call, ERR_OUT_OF_MEMORY, "no memory for the view");
    if (!err)
        err = bind_text(call, (unsigned)bind_find_param(call->op, SLICE("value")),
                        buf_slice(&state->text));
    return err;
}

/* The next call sees no less than the one before. */
static void carry_position(struct http_request *request) {
    struct call *call = &request->call;
    struct kvstore *state = request->kvstore;
    struct slice reached = position_reached(&call->position);
    if (reached.len == 0)
        return;
    memcpy(state->seen, reached.ptr, reached.len);
    call->position.want = slice_make(state->seen, reached.len);
    call->position.reached_len = 0;
}

static enum err choose(struct http_request *request) {
    struct call *call = &request->call;
    static enum err (*const chosen[])(struct http_request *) = {
        [STEP_VIEW] = choose_view,
        [STEP_LIST] = choose_list,
        [STEP_SET] = choose_set,
    };
    carry_position(request);
    call->now_ms = clock_wall_ms();
    enum err err = chosen[request->kvstore->step](request);
    return err ? err : bind_finish(call);
}

static enum step after_view(const struct http_request *request) {
    return request->match.kvstore == KVSTORE_SHARD ? STEP_LIST : STEP_END;
}

static enum step after_list(const struct http_request *request) {
    return request->match.kvstore == KVSTORE_VIEW_CHANGE ? STEP_SET : STEP_END;
}

static void count_page(struct http_request *request) {
    struct kvstore *state = request->kvstore;
    const struct reply *reply = &request->call.reply;
    for (unsigned i = 0; i < reply->key_count; i++)
        state->counts[state->shard_count ? kvstore_view_shard_of(reply->keys[i], state->shard_count)
                                         : 0]++;
    if (reply->key_count == 0)
        return;
    struct slice last = reply->keys[reply->key_count - 1];
    memcpy(state->cursor, last.ptr, last.len);
    state->cursor_len = last.len;
}

/* Which shard the path asks for: its number from 0 on, or shard_count where it is none. */
static unsigned shard_asked(const struct http_request *request) {
    unsigned none = request->kvstore->shard_count;
    int64_t id;
    if (!slice_parse_i64(request->match.parts[0], &id) || id < 1 || id > (int64_t)none)
        return none;
    return (unsigned)id - 1;
}

/* The call of the step is finished. What it gave is taken, and the next step chosen. */
static enum err take(struct http_request *request) {
    struct kvstore *state = request->kvstore;
    struct call *call = &request->call;
    if (call->err && !(state->step == STEP_VIEW && call->err == ERR_KEY_NOT_EXIST))
        return call->err;
    if (state->step == STEP_VIEW) {
        enum err err = take_view(request);
        if (err)
            return err;
        state->step = after_view(request);
        state->shard = shard_asked(request);
        if (state->step == STEP_LIST && state->shard == state->shard_count)
            state->step = STEP_END;
    } else if (state->step == STEP_LIST) {
        count_page(request);
        if (!call->reply.more || call->reply.key_count == 0)
            state->step = after_list(request);
    } else {
        state->step = STEP_END;
    }
    return OK;
}

static void append_shard(struct buf *to, const struct kvstore *state, unsigned shard) {
    buf_printf(to, "\"shard-id\":%u,\"key-count\":%llu,\"replicas\":", shard + 1,
               (unsigned long long)state->counts[shard]);
    kvstore_view_append_replicas(to, &state->view, shard);
}

static enum MHD_Result reply_shard(struct http_request *request) {
    const struct kvstore *state = request->kvstore;
    if (state->shard == state->shard_count) {
        causal_reach(request);
        return http_reply_error(request, ERR_UNKNOWN_COMMAND, "Shard does not exist");
    }
    struct buf *to = kvstore_begin_answer(request, "Shard information retrieved successfully");
    buf_append_char(to, ',');
    append_shard(to, state, state->shard);
    return kvstore_reply(request, MHD_HTTP_OK);
}

static enum MHD_Result reply_shards(struct http_request *request) {
    const struct kvstore *state = request->kvstore;
    struct buf *to = kvstore_begin_answer(request, "Shard membership retrieved successfully");
    buf_append(to, SLICE(",\"shards\":["));
    for (unsigned i = 0; i < state->shard_count; i++)
        buf_printf(to, "%s%u", i ? "," : "", i + 1);
    buf_append_char(to, ']');
    return kvstore_reply(request, MHD_HTTP_OK);
}

static enum MHD_Result reply_view(struct http_request *request) {
    const struct kvstore *state = request->kvstore;
    struct buf *to = kvstore_begin_answer(request, "View change successful");
    buf_append(to, SLICE(",\"shards\":["));
    for (unsigned i = 0; i < state->shard_count; i++) {
        buf_append(to, i ? SLICE(",{") : SLICE("{"));
        append_shard(to, state, i);
        buf_append_char(to, '}');
    }
    buf_append_char(to, ']');
    return kvstore_reply(request, MHD_HTTP_OK);
}

static enum MHD_Result reply_count(struct http_request *request) {
    buf_printf(kvstore_begin_answer(request, "Key count retrieved successfully"),
               ",\"key-count\":%llu", (unsigned long long)request->kvstore->counts[0]);
    return kvstore_reply(request, MHD_HTTP_OK);
}

static enum MHD_Result reply_all(struct http_request *request) {
    switch (request->match.kvstore) {
    case KVSTORE_SHARD:
        return reply_shard(request);
    case KVSTORE_SHARDS:
        return reply_shards(request);
    case KVSTORE_VIEW_CHANGE:
        return reply_view(request);
    default:
        return reply_count(request);
    }
}

static enum MHD_Result go_on(struct http_request *request);

/* OK: the call of the step is finished. ERR_PENDING: it is suspended, go_on comes later. */
static enum err run_step(struct http_request *request) {
    struct call *call = &request->call;
    enum err err = choose(request);
    if (err) {
        call->err = err;
        return OK;
    }
    http_request_begin_work(request);
    if (call_run(call) != ERR_PENDING) {
        http_request_settle(request);
        return OK;
    }
    request->finish = go_on;
    err = http_park(&request->server->lot, &request->parked);
    if (err == ERR_PENDING)
        request->is_parked = request->was_parked = true;
    return err;
}

static enum MHD_Result run_steps(struct http_request *request) {
    for (;;) {
        enum err err = run_step(request);
        if (err == ERR_PENDING)
            return MHD_YES;
        if (err) /* the store still has the call */
            return http_reply_error(request, err, NULL);
        err = take(request);
        if (err)
            return http_reply_error(request, err, call_detail(&request->call));
        if (request->kvstore->step == STEP_END)
            return reply_all(request);
    }
}

static enum MHD_Result go_on(struct http_request *request) {
    enum err err = take(request);
    if (err)
        return http_reply_error(request, err, call_detail(&request->call));
    return request->kvstore->step == STEP_END ? reply_all(request) : run_steps(request);
}

static const char *begin_view_change(struct http_request *request) {
    return kvstore_view_of_json(request->json, &request->arena, &request->kvstore->view);
}

enum MHD_Result kvstore_shards_run(struct http_request *request) {
    struct kvstore *state = make_state(request);
    enum http_kvstore what = request->match.kvstore;
    enum err err = state ? OK : ERR_OUT_OF_MEMORY;
    if (!err)
        err = auth_allows(request->grant, AUTH_KV_READ, kvstore_namespace(), request->now_ms);
    if (err)
        return http_reply_error(request, err, NULL);
    if (what == KVSTORE_VIEW_CHANGE) {
        const char *why = begin_view_change(request);
        if (why)
            return http_reply_error(request, ERR_SYNTAX, why);
        err = make_counts(request, kvstore_view_shards(&state->view));
    } else if (what == KVSTORE_COUNT) {
        err = make_counts(request, 0);
    }
    if (err)
        return http_reply_error(request, err, NULL);
    state->step = what == KVSTORE_COUNT || what == KVSTORE_VIEW_CHANGE ? STEP_LIST : STEP_VIEW;
    return run_steps(request);
}
