/* SPDX-License-Identifier: MIT */
/* Requests of the REST door from their path to bound arguments. The input is a request line without
 * its version, header lines, an empty line and a body, all lines ended by LF. Nothing is run. */
#include "server/rest.h"
#include "server/rest_condition.h"
#include "server/rest_range.h"
#include "tests/fuzz/target.h"

#include <jansson.h>

#define PAYLOAD_MAX_BYTES 2048U
#define ARENA_MAX_BYTES (1U << 20)

static struct slice query;

/* In place of the library's: pairs as they came, as the door asks for them. */
int MHD_get_connection_values_n(struct MHD_Connection *mhd, enum MHD_ValueKind kind,
                                MHD_KeyValueIteratorN take, void *context) {
    struct slice rest = query;
    int count = 0;
    (void)mhd;
    check(kind == MHD_GET_ARGUMENT_KIND);
    while (rest.len) {
        struct slice pair = take_until(&rest, '&');
        const char *sign = pair.len ? memchr(pair.ptr, '=', pair.len) : NULL;
        struct slice name = take_until(&pair, '=');
        count++;
        if (take(context, kind, name.ptr, name.len, sign ? pair.ptr : NULL, sign ? pair.len : 0) ==
            MHD_NO)
            break;
    }
    return count;
}

static void check_match(struct slice path, enum err err, const struct http_match *match) {
    char allow[HTTP_ALLOW_BYTES];
    http_route_allow(match->methods, allow);
    check(strlen(allow) < HTTP_ALLOW_BYTES);
    if (err)
        check(err == ERR_UNKNOWN_COMMAND || err == ERR_METHOD_NOT_ALLOWED);
    if (err == ERR_METHOD_NOT_ALLOWED)
        check(match->methods != 0);
    for (unsigned i = 0; !err && i < match->part_count; i++)
        check(is_within(match->parts[i], path));
}

/* What a bound call promises the operation. */
static void check_call(const struct call *call) {
    const struct args *args = &call->args;
    check(args->key.len <= KV_KEY_MAX && args->value.len <= PAYLOAD_MAX_BYTES);
    check(args->ttl_ms >= 0 && args->content_type.len <= KV_CONTENT_TYPE_MAX);
    check(args->key.len == 0 || !memchr(args->key.ptr, '\0', args->key.len));
    check(args->etag_count <= OP_ETAGS_MAX);
}

static void check_headers(const struct http_headers *headers) {
    static const uint8_t etag[HASH_MD5_BYTES] = {1};
    struct rest_condition condition;
    uint64_t first = 0, len = 0;
    if (rest_range_parse(headers->range, 100, &first, &len) == RANGE_PART)
        check(len > 0 && first < 100 && len <= 100 - first);
    (void)rest_range_if(headers->if_range, etag);
    rest_condition_parse(headers->if_none_match, true, &condition);
    check(condition.count <= OP_ETAGS_MAX);
    for (unsigned i = 0; i < condition.count; i++)
        check(condition.etags[i].len == 2 * HASH_MD5_BYTES);
    (void)rest_condition_holds(&condition, etag);
}

/* As rest_run does it. */
static void bind_request(struct http_request *request, struct slice body) {
    struct call *call = &request->call;
    buf_init(&request->body, PAYLOAD_MAX_BYTES);
    check(buf_append(
        &request->body,
        slice_make(body.ptr, body.len < PAYLOAD_MAX_BYTES ? body.len : PAYLOAD_MAX_BYTES)));
    call_init(call, request->server->core, &auth_grant_everything, &request->arena, 1000);
    call_set_op(call, request->match.op);
    enum err err = rest_bind(request);
    if (err)
        check(call_detail(call) != NULL);
    else
        check_call(call);
    json_decref(request->json);
    buf_done(&request->body);
}

static void read_request(struct slice bytes) {
    static struct core core = {.payload_limit_bytes = PAYLOAD_MAX_BYTES};
    static struct http_server server = {.core = &core};
    struct http_request *request = calloc(1, sizeof *request);
    check(request != NULL);
    request->server = &server;
    arena_init_with(&request->arena, ARENA_MAX_BYTES, request->memory, sizeof request->memory);
    request->method = http_method_of(take_until(&bytes, ' '));
    query = take_until(&bytes, '\n');
    struct slice path = take_until(&query, '?');
    for (struct slice line; (line = take_until(&bytes, '\n')).len;) {
        struct slice name = take_until(&line, ':');
        while (line.len && line.ptr[0] == ' ')
            take_byte(&line);
        http_headers_add(&request->headers, name, line);
    }
    check_headers(&request->headers);
    enum err err = http_route_find(path, request->method, &request->match);
    check_match(path, err, &request->match);
    if (!err && request->match.target == TARGET_OP && request->match.op)
        bind_request(request, bytes);
    arena_done(&request->arena);
    free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool ready;
    if (!ready) {
        op_init();
        http_route_init();
        ready = true;
    }
    char *copy = copy_of(slice_make(data, size));
    read_request(slice_make(copy, size));
    free(copy);
    return 0;
}
