/* SPDX-License-Identifier: MIT */
/* A JSON-RPC body on its way over a remote store: asked, and what came of it. */
#ifndef HATI_TESTS_RPC_ASKING_H
#define HATI_TESTS_RPC_ASKING_H

#include "tests/unit/server/remote_case.h"

#include "server/rpc.h"

static struct core core;

struct asking {
    struct rpc_request request;
    struct buf out;
    _Atomic bool done;
};

static inline void on_done(struct rpc_request *request) {
    struct asking *asking = request->context;
    atomic_store(&asking->done, true);
}

/* body must live until asked. */
static inline enum err ask(struct asking *asking, struct slice body) {
    memset(asking, 0, sizeof *asking);
    buf_init(&asking->out, 1U << 24);
    asking->request = (struct rpc_request){.core = &core,
                                           .grant = &auth_grant_everything,
                                           .body = body,
                                           .now_ms = 1700000000000,
                                           .out = &asking->out,
                                           .done = on_done,
                                           .context = asking};
    return rpc_run(&asking->request);
}

static inline void check(struct asking *asking, const char *expected) {
    struct slice got = buf_slice(&asking->out);
    if (!slice_equal(got, slice_of_cstr(expected)))
        fail_msg("expected\n%s\ngot\n%.*s", expected, (int)got.len, got.ptr ? got.ptr : "");
    rpc_free(&asking->request);
    buf_done(&asking->out);
}

#endif
