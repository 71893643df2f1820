/* SPDX-License-Identifier: MIT */
/* POST /internal/poke?queue=<id>: another node of the engine says that a queue has something new.
 * Whoever asks, nothing comes of it but one look at the queue, a bounded number of times a second.
 */
#include "engine/engine.h"
#include "server/http_request.h"

#define POKES_PER_SECOND 10000U

/* Those beyond the limit are not heard: the queue is looked at a little later. */
static bool is_one_too_many(struct http_server *server, int64_t now_ms) {
    int64_t second = now_ms / 1000;
    if (atomic_exchange_explicit(&server->poke_second, second, memory_order_relaxed) != second)
        atomic_store_explicit(&server->poke_count, 0, memory_order_relaxed);
    return atomic_fetch_add_explicit(&server->poke_count, 1, memory_order_relaxed) >=
           POKES_PER_SECOND;
}

static enum MHD_Result take_queue(void *context, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len) {
    struct slice *queue = context;
    (void)kind;
    if (slice_equal(slice_make(name, name_len), SLICE("queue")))
        *queue = slice_make(value, value ? value_len : 0);
    return MHD_YES;
}

enum MHD_Result http_poke_run(struct http_request *request) {
    struct http_server *server = request->server;
    struct slice queue = {NULL, 0};
    if (!server->core->engine)
        return http_reply_error(request, ERR_UNKNOWN_COMMAND, "nothing is served at this path");
    MHD_get_connection_values_n(request->connection, MHD_GET_ARGUMENT_KIND, take_queue, &queue);
    if (!is_one_too_many(server, request->now_ms))
        engine_poke(server->core->engine, queue);
    return http_reply_kept(request, MHD_HTTP_NO_CONTENT, NULL, SLICE(""));
}
