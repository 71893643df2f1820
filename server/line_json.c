/* SPDX-License-Identifier: MIT */
#include "server/line_json.h"

#include <stdlib.h>

#include "server/line_conn.h"
#include "server/line_held.h"
#include "server/line_loop.h"
#include "server/rpc.h"

#define SPARE_BYTES_MAX 65536U

struct line_json {
    struct rpc_request request;
    struct buf out;
    struct auth_grant grant; /* a copy: the call may outlive its connection */
    struct uuid workspace;
};

static struct line_json *take_json(struct line_loop *loop) {
    struct line_json *json = loop->spare_json;
    loop->spare_json = NULL;
    if (!json) {
        json = malloc(sizeof *json);
        if (json)
            buf_init(&json->out, loop->out.max_bytes);
    }
    return json;
}

void line_json_free(struct line_json *json) {
    if (json)
        buf_done(&json->out);
    free(json);
}

/* Messages that did not come to be sent go back to their queues. */
void line_json_release(struct line_loop *loop, struct line_json *json) {
    rpc_release(&json->request, false);
    rpc_free(&json->request);
    if (loop->spare_json || json->out.cap > SPARE_BYTES_MAX) {
        line_json_free(json);
        return;
    }
    buf_clear(&json->out);
    loop->spare_json = json;
}

static void on_done(struct rpc_request *request) {
    line_slot_wake(request->context);
}

/* Fills the request with copies of all that may change or go before it is done. */
static bool fill_request(struct line_conn *conn, struct line_slot *slot, struct slice line) {
    struct line_json *json = slot->json;
    const struct line_place *place = conn->place;
    struct slice body = arena_copy(&slot->arena, line);
    struct slice ns = {NULL, 0};
    if (place) {
        json->workspace = place->workspace;
        ns = arena_copy(&slot->arena, place->ns);
    }
    json->grant = *conn->grant;
    json->request = (struct rpc_request){
        .core = conn->loop->core,
        .grant = &json->grant,
        .body = body,
        .now_ms = line_loop_now_ms(conn->loop),
        .out = &json->out,
        .workspace = place ? &json->workspace : NULL,
        .ns = ns,
        .door = slot->door,
        .started_ns = slot->read_ns,
        .limited = conn->limited,
        .done = on_done,
        .context = slot,
    };
    return body.ptr && (!place || ns.ptr);
}

void line_json_run(struct line_conn *conn, struct slice line) {
    struct line_loop *loop = conn->loop;
    struct line_slot *slot = line_slot_take(loop);
    if (slot && !(slot->json = take_json(loop))) {
        line_slot_release(slot);
        slot = NULL;
    }
    if (!slot) {
        line_limit_cancel_call(conn);
        rpc_append_error(&loop->out, ERR_OUT_OF_MEMORY, err_text(ERR_OUT_OF_MEMORY));
        conn->broken |= loop->out.failed;
        return;
    }
    line_limit_hold_slot(conn, slot);
    line_slot_queue(slot, conn);
    enum err err =
        fill_request(conn, slot, line) ? rpc_run(&slot->json->request) : ERR_OUT_OF_MEMORY;
    if (err == ERR_PENDING) {
        line_slot_park(slot);
        return;
    }
    if (err)
        rpc_append_error(&slot->json->out, err, err_text(err));
    line_slot_finish(slot);
    line_conn_settle(conn);
}

bool line_json_may_wait(const struct line_json *json) {
    return rpc_may_wait(&json->request);
}

void line_json_stop(struct line_json *json) {
    rpc_stop(&json->request);
}

void line_json_render(struct line_loop *loop, struct line_slot *slot) {
    struct buf *to = &loop->out;
    if (slot->state == SLOT_EXPIRED) {
        rpc_append_error(to, ERR_UNAVAILABLE, err_text(ERR_UNAVAILABLE));
        return;
    }
    struct rpc_request *request = &slot->json->request;
    rpc_count_answer(request);
    if (slot->json->out.failed) { /* there was no memory, not even for an error */
        rpc_append_error(to, ERR_OUT_OF_MEMORY, err_text(ERR_OUT_OF_MEMORY));
        return;
    }
    if (!buf_append(to, buf_slice(&slot->json->out)))
        return;
    for (const struct rpc_held *held = request->held; held; held = held->next)
        line_held_add(loop, &held->receive);
    rpc_forget(request);
}
