/* SPDX-License-Identifier: MIT */
/* Bytes of a line connection through a dialect's reading: framing, words, binding. Nothing is run.
 */
#ifndef HATI_TESTS_LINE_TARGET_H
#define HATI_TESTS_LINE_TARGET_H

#include "server/line_dialect.h"
#include "server/olivia.h"
#include "tests/fuzz/target.h"

#define LINE_MAX_BYTES 4096U
#define PAYLOAD_MAX_BYTES 2048U

/* What a bound call promises the operation. */
static inline void check_call(const struct call *call) {
    check(call->op != NULL);
    check(call->args.key.len <= KV_KEY_MAX);
    check(call->args.value.len <= PAYLOAD_MAX_BYTES);
    check(call->args.ttl_ms >= 0);
    check(call->args.key.len == 0 || !memchr(call->args.key.ptr, '\0', call->args.key.len));
}

static inline void check_replies(const struct line_dialect *dialect,
                                 const struct line_request *request) {
    struct buf reply;
    buf_init(&reply, 65536);
    if (request->kind == REQUEST_FAILED) {
        dialect->render_failure(&reply, request);
        check(reply.len > 0 && reply.ptr[reply.len - 1] == '\n');
        check(memchr(reply.ptr, '\n', reply.len - 1) == NULL);
    }
    buf_done(&reply);
}

/* Bound anew over a copy, as a call that waits is, it is the same call. */
static inline void check_bound_again(const struct line_dialect *dialect,
                                     const struct line_context *context,
                                     const struct line_request *request) {
    struct call again;
    struct line_answer answer = request->answer;
    struct slice line = arena_copy(context->arena, request->line);
    struct slice frame = request->frame;
    check(dialect->bind(context, request, line, frame, &again, &answer) == OK);
    check(again.op == request->call.op);
    check(slice_equal(again.args.key, request->call.args.key));
    check(slice_equal(again.args.value, request->call.args.value));
    check(again.args.ttl_ms == request->call.args.ttl_ms);
    check(slice_equal(answer.hash, request->answer.hash));
}

static inline void read_lines(const struct line_dialect *dialect, const uint8_t *bytes,
                              size_t size) {
    static struct core core;
    static struct line_request request; /* as in a batch: what was there before stays */
    struct slice data = slice_make(bytes, size);
    if (!core.payload_limit_bytes) {
        op_init();
        olivia_init();
        core.payload_limit_bytes = PAYLOAD_MAX_BYTES;
    }
    while (data.len) {
        struct arena arena;
        arena_init(&arena, 1U << 20);
        struct line_context context = {.core = &core,
                                       .grant =
                                           size % 2 ? &auth_grant_everything : &auth_grant_nothing,
                                       .arena = &arena,
                                       .now_ms = 1000,
                                       .line_limit_bytes = LINE_MAX_BYTES};
        dialect->parse(&context, data, 0, &request);
        size_t taken = request.size;
        check(taken <= data.len);
        if (request.kind == REQUEST_CALL) {
            check(is_within(request.line, data) && is_within(request.frame, data));
            check_call(&request.call);
            check_bound_again(dialect, &context, &request);
        } else {
            check_replies(dialect, &request);
        }
        arena_done(&arena);
        if (request.kind == REQUEST_PART || request.kind == REQUEST_HTTP || taken == 0)
            break;
        data = slice_make(data.ptr + taken, data.len - taken);
    }
}

#endif
