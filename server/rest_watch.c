/* SPDX-License-Identifier: MIT */
/* Changes of a namespace pushed as events: GET /api2/{workspace}/{namespace}?watch=1. The
 * connection is suspended while there is nothing new. What it is sent is rendered from the log that
 * all who watch share, only when it takes more: a slow one holds up nobody. */
#include <stdlib.h>

#include "base/clock.h"
#include "handlers/bind.h"
#include "server/feed_render.h"
#include "server/http_events.h"
#include "server/rest.h"

#define CHUNK_BYTES 16384U /* rendered at a time */
#define BLOCK_BYTES 4096U
#define OUT_KEPT_BYTES 1024U /* room kept while there is nothing to send */
#define RETRY_MS 1000        /* a browser connects again after so long */

struct rest_watch {
    struct feed_reader reader;
    struct http_request *request;
    struct buf out;  /* rendered, not yet taken */
    size_t taken;    /* bytes of it */
    bool values;     /* are wanted */
    bool is_waiting; /* suspended until there is news */
    bool ended;      /* all is rendered that will be */
};

static struct rest_watch *watch_of(struct feed_reader *reader) {
    return (struct rest_watch *)(void *)((char *)reader - offsetof(struct rest_watch, reader));
}

static struct slice query_value(const struct http_request *request, const char *name) {
    const char *value = NULL;
    size_t len = 0;
    if (MHD_lookup_connection_value_n(request->connection, MHD_GET_ARGUMENT_KIND, name,
                                      strlen(name), &value, &len) != MHD_YES)
        return (struct slice){NULL, 0};
    return slice_make(value ? value : "", value ? len : 0);
}

bool rest_watch_is_wanted(const struct http_request *request) {
    const struct op *op = request->match.op;
    if (request->match.target != TARGET_OP || !op || op->reply != REPLY_KEYS ||
        request->match.part_count != 2)
        return false;
    struct slice watch = query_value(request, "watch");
    return watch.ptr && !slice_equal(watch, SLICE("0"));
}

static void on_news(struct feed_reader *reader) {
    http_request_wake(watch_of(reader)->request);
}

static void stop(struct http_parked *parked) {
    feed_stop(&http_request_of(parked)->watch->reader);
}

/* A reader that still waits is woken by this: nothing of the request is pending then. */
void rest_watch_close(struct http_request *request) {
    feed_stop(&request->watch->reader);
}

void rest_watch_free(struct http_request *request) {
    struct rest_watch *watch = request->watch;
    feed_close(&watch->reader);
    buf_done(&watch->out);
    free(watch);
    request->watch = NULL;
}

static enum err may_watch(const struct http_request *request, int64_t now_ms) {
    const struct args *args = &request->call.args;
    enum err err = auth_allows(request->grant, AUTH_KV_READ, args->ns, now_ms);
    return err ? err : auth_allows_workspace(request->grant, &args->workspace);
}

static bool must_end(const struct http_request *request) {
    const struct http_server *server = request->server;
    return atomic_load(&server->stopping) || atomic_load(&server->core->draining) ||
           may_watch(request, clock_wall_ms()) != OK;
}

static bool render_change(void *context, const struct feed_change *change) {
    struct rest_watch *watch = context;
    struct buf *out = &watch->out;
    buf_append(out, SLICE("id: "));
    buf_append_u64(out, change->revision);
    buf_append(out, SLICE("\ndata: "));
    feed_render_change(out, change, watch->values);
    buf_append(out, SLICE("\n\n"));
    return out->len < CHUNK_BYTES;
}

static void render_place(struct rest_watch *watch, const char *event) {
    struct buf *out = &watch->out;
    buf_printf(out, "id: %llu\nevent: %s\ndata: ", (unsigned long long)watch->reader.revision,
               event);
    feed_render_place(out, watch->reader.revision);
    buf_append(out, SLICE("\n\n"));
}

/* An id alone moves the place to resume from, and is no event. */
static void render_beat(struct rest_watch *watch) {
    buf_append(&watch->out, SLICE(": still here\n"));
    if (watch->reader.placed)
        buf_printf(&watch->out, "id: %llu\n", (unsigned long long)watch->reader.revision);
    buf_append_char(&watch->out, '\n');
}

static void render_news(struct rest_watch *watch, enum feed_news news) {
    if (news == FEED_READY)
        render_place(watch, "ready");
    else if (news == FEED_RESYNC)
        render_place(watch, "resync");
    else if (news == FEED_BEAT)
        render_beat(watch);
    else if (news == FEED_OVER)
        watch->ended = true;
}

/* Reads what is new, or waits for it. OK, or ERR_PENDING: suspended. */
static enum err look(struct http_request *request) {
    struct rest_watch *watch = request->watch;
    http_request_begin_wait(request, stop);
    enum feed_news news = feed_read(&watch->reader, render_change, watch);
    if (news == FEED_WAIT) {
        if (watch->out.cap > OUT_KEPT_BYTES)
            buf_done(&watch->out);
        enum err err = http_park(&request->server->lot, &request->parked);
        watch->ended = err && err != ERR_PENDING;
        return err == ERR_PENDING ? err : OK;
    }
    http_request_settle(request);
    render_news(watch, news);
    return OK;
}

/* Renders what comes next, or sees that nothing does. */
static enum err render_more(struct http_request *request) {
    struct rest_watch *watch = request->watch;
    if (watch->is_waiting) {
        watch->is_waiting = false;
        watch->ended = http_unpark(&request->server->lot, &request->parked) != OK ||
                       http_is_gone(request->owner->watched.fd);
    }
    if (watch->ended || must_end(request)) {
        watch->ended = true;
        return OK;
    }
    enum err err = look(request);
    watch->is_waiting = err == ERR_PENDING;
    return err;
}

/* It is called again when all it gave before is sent. */
static ssize_t read_stream(void *context, uint64_t position, char *to, size_t max_bytes) {
    struct http_request *request = context;
    struct rest_watch *watch = request->watch;
    (void)position;
    while (watch->taken == watch->out.len) {
        if (watch->ended)
            return MHD_CONTENT_READER_END_OF_STREAM;
        buf_clear(&watch->out);
        watch->taken = 0;
        if (render_more(request) == ERR_PENDING)
            return 0;
        if (watch->out.failed)
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    return http_events_take(request, &watch->out, &watch->taken, to, max_bytes);
}

static bool parse_revision(struct slice text, uint64_t *ret_revision) {
    int64_t number;
    if (!slice_parse_i64(text, &number) || number < 0)
        return false;
    *ret_revision = (uint64_t)number;
    return true;
}

/* Where to begin: behind what the browser had, which goes on by itself; else where the query says;
 * else now. An id that is none of ours is of some other stream. */
static enum err bind_from(struct http_request *request, enum feed_from *ret_from,
                          uint64_t *ret_revision) {
    const char *id = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND,
                                                 MHD_HTTP_HEADER_LAST_EVENT_ID);
    struct slice since = query_value(request, "since");
    *ret_from = FEED_FROM_NOW;
    *ret_revision = 0;
    if (since.ptr) {
        *ret_from = FEED_FROM_REVISION;
        if (!parse_revision(since, ret_revision))
            return call_fail(&request->call, ERR_SYNTAX, "since is a revision");
    }
    if (id && *id) {
        *ret_from = FEED_FROM_ID;
        if (!parse_revision(slice_of_cstr(id), ret_revision))
            *ret_revision = UINT64_MAX;
    }
    return OK;
}

static enum err bind_flag(struct http_request *request, const char *name, bool *ret_flag) {
    struct slice value = query_value(request, name);
    if (!value.ptr)
        return OK;
    *ret_flag = slice_equal(value, SLICE("1"));
    if (!*ret_flag && !slice_equal(value, SLICE("0")))
        return call_fail(&request->call, ERR_SYNTAX, "%s is 1 or 0", name);
    return OK;
}

static enum err bind_request(struct http_request *request, struct rest_watch *watch) {
    struct call *call = &request->call;
    bool wanted = false;
    enum err err = bind_flag(request, "watch", &wanted);
    if (!err)
        err = bind_flag(request, "values", &watch->values);
    if (!err)
        err = rest_bind(request);
    if (!err && may_watch(request, request->now_ms))
        err = call->err = may_watch(request, request->now_ms);
    if (!err && atomic_load(&call->core->draining))
        err = call_fail(call, ERR_UNAVAILABLE, "the server is about to stop");
    return err;
}

static enum err open_watch(struct http_request *request, struct rest_watch *watch) {
    struct call *call = &request->call;
    enum feed_from from;
    uint64_t revision;
    enum err err = bind_request(request, watch);
    if (!err)
        err = bind_from(request, &from, &revision);
    if (err)
        return err;
    struct kv_ref ref = {call->args.storage, call->args.workspace, call->args.ns, {NULL, 0}};
    watch->request = request;
    watch->reader.prefix = call->args.prefix;
    watch->reader.wake = on_news;
    err = feed_open(call->core->kv, &ref, from, revision, &watch->reader);
    if (err == ERR_UNAVAILABLE)
        return call_fail(call, err, "too many watch already, or this storage cannot be watched");
    return err ? call_fail(call, err, "no memory to watch") : OK;
}

enum MHD_Result rest_watch_run(struct http_request *request) {
    struct call *call = &request->call;
    call_init(call, request->server->core, request->grant, &request->arena, request->now_ms);
    call_set_op(call, request->match.op);
    request->has_call = true;
    struct rest_watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return http_reply_error(request, ERR_OUT_OF_MEMORY, NULL);
    enum err err = open_watch(request, watch);
    if (err) {
        free(watch);
        return http_reply_error(request, err, call_detail(call));
    }
    request->watch = watch;
    buf_init(&watch->out, CHUNK_BYTES + FEED_RENDER_MAX);
    buf_printf(&watch->out, ": connected\nretry: %d\n\n", RETRY_MS);
    if (request->method == HTTP_HEAD)
        return http_events_reply(request,
                                 MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
    return http_events_reply(request,
                             MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES,
                                                               read_stream, request, NULL));
}
