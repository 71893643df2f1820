/* SPDX-License-Identifier: MIT */
/* One request object: what makes it valid, which operation it asks for, and as whom it is
 * answered. */
#include "base/clock.h"
#include "handlers/position.h"
#include "handlers/spans.h"
#include "server/rpc_internal.h"

static void refuse(struct rpc_item *item, enum err err, const char *detail) {
    item->call.err = err;
    item->call.detail = detail;
}

static void init_call(struct rpc_item *item, struct rpc_request *request, struct arena *arena) {
    struct call *call = &item->call;
    call_init(call, request->core, request->grant, arena, request->now_ms);
    if (request->workspace)
        call->args.workspace = *request->workspace;
    if (request->ns.len)
        call->args.ns = request->ns;
    call->args.key = (struct slice){NULL, 0};
    call->position.want = request->position.want;
    call->position.ask = request->position.ask;
}

void rpc_item_reached(struct rpc_request *request, const struct rpc_item *item) {
    char room[POSITION_MAX];
    struct position *position = &request->position;
    if (!position->ask || !item->good)
        return;
    struct slice word = call_position(&item->call, room);
    if (!position_is_newer(word, position_reached(position)))
        return;
    memcpy(position->reached, word.ptr, word.len);
    position->reached_len = (uint8_t)word.len;
}

/* False where the id is nothing an id can be. */
static bool take_id(struct rpc_item *item, struct rpc_source *source, const json_t *id) {
    if (!rpc_is_string(id) && !json_is_number(id) && !rpc_is_null(id))
        return id == NULL;
    item->id = id;
    if (rpc_is_real(id)) /* its text is lost in a double */
        item->raw_id = rpc_source_raw_id(source);
    return true;
}

static bool is_version_2(const json_t *version) {
    return rpc_is_string(version) &&
           slice_equal(slice_make(json_string_value(version), json_string_length(version)),
                       SLICE("2.0"));
}

/* Whether the object is a request of either version; the failure is in the item where not. */
static bool check_shape(struct rpc_item *item, struct rpc_source *source, json_t *object) {
    const json_t *version = json_object_get(object, "jsonrpc");
    const json_t *method = json_object_get(object, "method");
    const json_t *params = json_object_get(object, "params");
    item->legacy = !version && method;
    if (!take_id(item, source, json_object_get(object, "id")))
        refuse(item, ERR_INVALID_REQUEST, "an id is a string, a number or null");
    else if (!item->legacy && !is_version_2(version))
        refuse(item, ERR_INVALID_REQUEST, "jsonrpc is not \"2.0\"");
    else if (!rpc_is_string(method))
        refuse(item, ERR_INVALID_REQUEST, "method is not a string");
    else if (params && !rpc_is_array(params) && !rpc_is_object(params))
        refuse(item, ERR_INVALID_REQUEST, "params is neither an array nor an object");
    else
        return true;
    return false;
}

/* Also where nothing is recorded: what it publishes takes along the trace it came with. */
static void begin_span(struct rpc_item *item, const struct rpc_request *request) {
    struct call *call = &item->call;
    if (!request->span && (!call->core->tracer || request->door == METRICS_RPC))
        return; /* an HTTP request was drawn as a whole */
    call->trace_state = request->trace_state;
    spans_begin_call(call, request->span, call->core->tracer ? clock_steady_ns() : 0);
}

/* An element is bound anew where its call has to leave the stack: it counts once. */
static enum err pay(struct rpc_item *item, struct rpc_request *request, struct rpc_source *source) {
    char why[LIMITS_WHY_BYTES];
    if (!request->limited.limited || source->paid)
        return OK;
    source->paid = true;
    request->call_count++;
    request->is_batch = source->batch;
    enum err err = limits_admit(request->core->limits, &request->limited, 1, &request->left);
    if (!err)
        return OK;
    request->refused_count++;
    limits_format_why(&request->left, why);
    return call_fail(&item->call, err, "%s", why);
}

/* What is right or wrong with a call is not told to strangers, but its id is theirs. */
static void bind_object(struct rpc_item *item, const struct rpc_request *request,
                        struct rpc_source *source, enum err over, enum err stranger) {
    json_t *object = source->value;
    bool has_shape = check_shape(item, source, object);
    item->silent = has_shape && !item->legacy && !json_object_get(object, "id");
    if (!over && stranger)
        refuse(item, stranger, NULL);
    if (!has_shape || over || stranger) /* and told so */
        return;
    const json_t *method = json_object_get(object, "method");
    const struct op *op =
        op_find_name(slice_make(json_string_value(method), json_string_length(method)));
    if (!op) {
        refuse(item, ERR_UNKNOWN_COMMAND, "there is no such method");
        return;
    }
    call_set_op(&item->call, op);
    item->good =
        rpc_bind_params(&item->call, json_object_get(object, "params"), item->legacy) == OK;
    begin_span(item, request);
}

void rpc_item_bind(struct rpc_item *item, struct rpc_request *request, struct rpc_source *source,
                   struct arena *arena) {
    item->next = NULL;
    item->doc = NULL;
    item->id = NULL;
    item->raw_id = (struct slice){NULL, 0};
    item->limit = source->value ? 0 : source->limit;
    item->legacy = item->silent = item->in_batch = item->ends_batch = item->good = false;
    init_call(item, request, arena);
    enum err over = pay(item, request, source);
    enum err stranger = auth_allows(item->call.grant, AUTH_ANY, SLICE(""), item->call.now_ms);
    if (rpc_is_object(source->value))
        bind_object(item, request, source, over, stranger);
    else if (stranger)
        refuse(item, stranger, NULL);
    else if (!source->value)
        refuse(item, source->err, source->detail);
    else
        refuse(item, ERR_INVALID_REQUEST, "a call is an object");
}
