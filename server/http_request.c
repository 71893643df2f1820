/* SPDX-License-Identifier: MIT */
#include "server/http_request.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "server/http_raw.h"

/* What was received and not sent goes back to its queue. */
static void release_memory(struct http_request *request) {
    if (request->stream)
        rest_stream_free(request);
    if (request->watch)
        rest_watch_free(request);
    if (request->has_call)
        call_release(&request->call, request->carries && request->was_sent);
    request->has_call = false;
    arena_done(&request->arena);
    http_body_release(request);
    if (request->rpc_used) {
        rpc_release(&request->rpc, request->carries && request->was_sent);
        rpc_free(&request->rpc);
    }
    buf_done(&request->answer);
    json_decref(request->json);
    request->json = NULL;
    if (request->list)
        rest_list_free(request->list);
    if (request->messages)
        rest_messages_free(request->messages);
    if (request->kvstore)
        kvstore_free(request->kvstore);
    request->kvstore = NULL;
    http_snapshot_free(request->snapshot);
    request->snapshot = NULL;
    request->rpc_used = false;
    request->list = NULL;
    request->messages = NULL;
}

void http_request_free(struct http_request *request) {
    if (!request)
        return;
    release_memory(request);
    buf_done(&request->body);
    free(request);
}

static void unref(struct http_request *request) {
    if (atomic_fetch_sub_explicit(&request->refs, 1, memory_order_acq_rel) == 1)
        http_request_free(request);
}

/* The large parts (call, grant, memory) are set when they are used. */
static void clear(struct http_request *request) {
    struct buf body = request->body;
    memset(request, 0, offsetof(struct http_request, own_grant));
    request->body = body;
    buf_clear(&request->body);
}

struct http_request *http_request_open(struct http_connection *connection,
                                       struct MHD_Connection *mhd, size_t uri_len) {
    struct http_request *request = connection->spare;
    connection->spare = NULL;
    if (!request) {
        request = malloc(sizeof *request);
        if (!request)
            return NULL;
        buf_init(&request->body, 0);
    }
    clear(request);
    request->server = connection->server;
    request->owner = connection;
    request->connection = mhd;
    request->uri_len = uri_len;
    request->now_ms = clock_wall_ms();
    atomic_init(&request->refs, 1);
    arena_init_with(&request->arena, connection->server->arena_max, request->memory,
                    sizeof request->memory);
    http_watch_set(&connection->server->watch, &connection->watched, HTTP_PHASE_HEAD,
                   connection->server->config->header_timeout_ms);
    atomic_fetch_add_explicit(&connection->server->in_flight, 1, memory_order_relaxed);
    return request;
}

void http_request_close(struct http_request *request, bool was_sent) {
    struct http_server *server = request->server;
    struct http_connection *connection = request->owner;
    struct core_door *door = &server->core->doors[DOOR_HTTP];
    request->was_sent = was_sent;
    if (request->is_parked)
        http_count_parked(request, false);
    http_count_bytes(request);
    if (request->is_parked || request->list || request->stream ||
        request->watch) /* its caller hung up, perhaps */
        http_park_leave(&server->lot, &request->parked);
    if (request->stream)
        rest_stream_close(request);
    if (request->watch)
        rest_watch_close(request);
    atomic_fetch_add_explicit(&door->requests, 1, memory_order_relaxed);
    if (request->failed)
        atomic_fetch_add_explicit(&door->failures, 1, memory_order_relaxed);
    http_watch_set(&server->watch, &connection->watched, HTTP_PHASE_IDLE, server->idle_ms);
    http_limit_end(request);
    if (!connection->spare && atomic_load_explicit(&request->refs, memory_order_acquire) == 1) {
        release_memory(request);
        connection->spare = request;
    } else {
        unref(request);
    }
    http_server_count_down(server, &server->in_flight);
}

void http_server_count_down(struct http_server *server, _Atomic unsigned *count) {
    if (atomic_fetch_sub_explicit(count, 1, memory_order_acq_rel) != 1 ||
        !atomic_load(&server->stopping))
        return;
    pthread_mutex_lock(&server->idle_lock);
    pthread_cond_signal(&server->idle);
    pthread_mutex_unlock(&server->idle_lock);
}

void http_request_begin_work(struct http_request *request) {
    atomic_fetch_add_explicit(&request->refs, 1, memory_order_relaxed);
    http_park_begin(&request->parked, request->connection);
}

void http_request_begin_wait(struct http_request *request,
                             void (*stop)(struct http_parked *parked)) {
    atomic_fetch_add_explicit(&request->refs, 1, memory_order_relaxed);
    http_park_begin_wait(&request->parked, request->connection, request->owner->watched.fd, stop);
}

struct http_request *http_request_of(struct http_parked *parked) {
    return (struct http_request *)(void *)((char *)parked - offsetof(struct http_request, parked));
}

void http_request_settle(struct http_request *request) {
    unref(request);
}

void http_request_wake(struct http_request *request) {
    http_park_wake(&request->parked);
    unref(request);
}

enum MHD_Result http_request_park(struct http_request *request,
                                  enum MHD_Result (*finish)(struct http_request *request)) {
    request->finish = finish;
    enum err err = http_park(&request->server->lot, &request->parked);
    if (err == ERR_PENDING) {
        request->is_parked = request->was_parked = true;
        http_count_parked(request, true);
        return MHD_YES;
    }
    return err ? http_reply_error(request, err, NULL) : finish(request);
}
