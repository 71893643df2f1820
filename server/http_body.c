/* SPDX-License-Identifier: MIT */
/* Bodies of requests. A large one is counted before memory is taken for it: all that are under way
 * together have a limit. That of a value is hashed as it comes, since a large one takes a second.
 */
#include "server/http_raw.h"
#include "server/http_request.h"

#define HASH_STEP_BYTES 65536U
#define CHARGE_STEP_BYTES (1U << 20) /* of a body that does not tell its length */

bool http_body_charge(struct http_request *request, uint64_t bytes) {
    _Atomic uint64_t *inflight = &request->server->core->inflight_bytes;
    uint64_t before = atomic_fetch_add_explicit(inflight, bytes, memory_order_relaxed);
    if (before + bytes > request->server->inflight_max) {
        atomic_fetch_sub_explicit(inflight, bytes, memory_order_relaxed);
        return false;
    }
    request->charged_bytes += bytes;
    request->charged_to = inflight;
    return true;
}

void http_body_release(struct http_request *request) {
    if (request->body.cap > HTTP_KEPT_BODY_BYTES)
        buf_done(&request->body);
    if (request->charged_bytes)
        atomic_fetch_sub_explicit(request->charged_to, request->charged_bytes,
                                  memory_order_relaxed);
    request->charged_bytes = 0;
}

static void refuse(struct http_request *request, enum err err) {
    request->keeps_body = false;
    request->refusal = err;
    request->crowded = err == ERR_UNAVAILABLE;
    request->refusal_why = request->crowded ? "too many bytes of others are under way" : NULL;
    buf_done(&request->body);
    http_body_release(request);
}

void http_body_expect(struct http_request *request, uint64_t announced_bytes) {
    bool told = announced_bytes != UINT64_MAX;
    if (request->body_max > request->server->inflight_max)
        request->body_max = (size_t)request->server->inflight_max;
    request->body.max_bytes = request->body_max;
    if (told && announced_bytes > request->body_max)
        refuse(request, ERR_VALUE_TOO_LARGE);
    else if (told && announced_bytes > HTTP_SMALL_BODY_MAX &&
             !http_body_charge(request, announced_bytes))
        refuse(request, ERR_UNAVAILABLE);
    else if (told) /* pages that nothing was written to take no memory */
        (void)buf_reserve(&request->body, (size_t)announced_bytes);
}

static bool pays_for(struct http_request *request, size_t len) {
    uint64_t whole = request->body.len + len;
    if (whole <= HTTP_SMALL_BODY_MAX || whole <= request->charged_bytes)
        return true;
    uint64_t more = whole - request->charged_bytes;
    return http_body_charge(request, more > CHARGE_STEP_BYTES ? more : CHARGE_STEP_BYTES);
}

static void hash_some(struct http_request *request) {
    size_t from = request->hashed_bytes;
    bool is_value = request->match.payload >= 0 && !(request->match.op->flags & OP_BROKER);
    if (!is_value || request->body.len - from < HASH_STEP_BYTES)
        return;
    if (from == 0)
        hash_md5_begin(&request->md5);
    hash_md5_add(&request->md5, slice_make(request->body.ptr + from, request->body.len - from));
    request->hashed_bytes = request->body.len;
}

const uint8_t *http_body_etag(struct http_request *request) {
    size_t from = request->hashed_bytes;
    if (from == 0)
        return NULL;
    hash_md5_add(&request->md5, slice_make(request->body.ptr + from, request->body.len - from));
    hash_md5_end(&request->md5, request->etag);
    request->hashed_bytes = 0;
    return request->etag;
}

bool http_body_take(struct http_request *request, const char *data, size_t len) {
    uint64_t min_rate = request->server->config->min_rate;
    if (request->chunks && !http_raw_chunk_is_plain(request->chunks, HTTP_POOL_BYTES, data)) {
        refuse(request, ERR_SYNTAX);
        request->refusal_why = "the line of a chunk does not end in CRLF";
    }
    request->in_bytes += len;
    request->body_bytes += len;
    if (min_rate) { /* whole ms of all of it: small pieces are not rounded away */
        uint64_t worth_ms = request->body_bytes * 1000 / min_rate;
        http_watch_extend(&request->owner->watched, (int64_t)(worth_ms - request->body_worth_ms));
        request->body_worth_ms = worth_ms;
    }
    if (request->keeps_body) {
        if (len > request->body_max - request->body.len)
            refuse(request, ERR_VALUE_TOO_LARGE);
        else if (!pays_for(request, len))
            refuse(request, ERR_UNAVAILABLE);
        else if (!buf_append(&request->body, slice_make(data, len)))
            refuse(request, ERR_OUT_OF_MEMORY);
        else {
            hash_some(request);
            return true;
        }
    }
    request->swallowed_bytes += len;
    return request->swallowed_bytes <= HTTP_SWALLOW_MAX;
}
