/* SPDX-License-Identifier: MIT */
/* Messages in answers that are not sent yet. */
#include <stdlib.h>

#include "server/rpc_internal.h"

void rpc_hold(struct rpc_request *request, struct call *call) {
    if (!call->broker.holds)
        return;
    struct rpc_held *held = malloc(sizeof *held);
    if (!held) { /* where they are not sent, their leases end in time */
        call_release(call, true);
        return;
    }
    call->broker.holds = false;
    held->receive = call->broker.receive;
    held->next = request->held;
    request->held = held;
}

static void release_first(struct rpc_request *request, bool was_sent) {
    struct rpc_held *held = request->held;
    request->held = held->next;
    if (!was_sent)
        broker_give_back(request->core->broker, &held->receive);
    broker_receive_free(&held->receive);
    free(held);
}

void rpc_hold_undo(struct rpc_request *request, const struct rpc_held *until) {
    while (request->held != until)
        release_first(request, false);
}

void rpc_release(struct rpc_request *request, bool was_sent) {
    while (request->held)
        release_first(request, was_sent);
}

void rpc_forget(struct rpc_request *request) {
    while (request->held) {
        struct rpc_held *held = request->held;
        request->held = held->next;
        free(held);
    }
}

bool rpc_may_wait(const struct rpc_request *request) {
    struct slice word = SLICE("Receive");
    struct slice body = request->body;
    return body.len && memmem(body.ptr, body.len, word.ptr, word.len) != NULL;
}
