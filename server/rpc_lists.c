/* SPDX-License-Identifier: MIT */
/* Parameters that are structures: arrays of receipts, of messages and of ops, and headers. */
#include "handlers/bind.h"
#include "server/rpc_internal.h"

static struct slice slice_of_json(const json_t *string) {
    return slice_make(json_string_value(string), json_string_length(string));
}

static enum err bind_receipts(struct call *call, const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *receipt = json_array_get(list, i);
        if (!rpc_is_string(receipt))
            return call_fail(call, ERR_SYNTAX, "a receipt is a string");
        enum err err = bind_receipt_of_list(call, slice_of_json(receipt));
        if (err)
            return err;
    }
    return OK;
}

/* What is wrong with a message is an answer of its own; only memory stops the rest. */
static enum err bind_message(struct call *call, json_t *message) {
    struct call element;
    bind_element_begin(&element, call, bind_message_row());
    if (!rpc_is_object(message))
        (void)call_fail(&element, ERR_SYNTAX, "a message is an object");
    else if (rpc_bind_members(&element, message, NULL) == ERR_OUT_OF_MEMORY)
        return call_fail(call, ERR_OUT_OF_MEMORY, "no memory for so many");
    return bind_message_of_list(call, &element);
}

/* The row is named by the member `op`; the others are its parameters. */
static void bind_op_members(struct call *element, const struct call *call, json_t *op) {
    const json_t *name = json_object_get(op, "op");
    const struct op *row = rpc_is_string(name) ? bind_op_row(slice_of_json(name)) : NULL;
    bind_element_begin(element, call, row ? row : bind_message_row());
    if (!row)
        (void)call_fail(element, ERR_SYNTAX, "op is one of: set delete incr check publish ack");
    else
        (void)!rpc_bind_members(element, op, "op");
}

static enum err bind_op(struct call *call, json_t *op) {
    struct call element;
    bind_op_members(&element, call, op);
    return bind_op_of_list(call, &element);
}

enum err rpc_bind_list(struct call *call, const struct param *param, json_t *list) {
    if (!rpc_is_array(list))
        return call_fail(call, ERR_SYNTAX, "%s is an array", param->name);
    if (param->type == PARAM_RECEIPTS)
        return bind_receipts(call, list);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *element = json_array_get(list, i);
        enum err err =
            param->type == PARAM_MESSAGES ? bind_message(call, element) : bind_op(call, element);
        if (err)
            return err;
    }
    return OK;
}

/* Compact, and in the order it was sent. */
enum err rpc_bind_headers(struct call *call, unsigned index, const json_t *headers) {
    const char *name = call->op->params[index].name;
    if (!rpc_is_object(headers))
        return call_fail(call, ERR_SYNTAX, "%s is an object", name);
    size_t len = json_dumpb(headers, NULL, 0, JSON_COMPACT);
    if (len > BROKER_HEADERS_MAX)
        return call_fail(call, ERR_SYNTAX, "%s has up to %d bytes", name, BROKER_HEADERS_MAX);
    char *to = len ? arena_alloc(call->arena, len) : NULL;
    if (!to)
        return call_fail(call, ERR_OUT_OF_MEMORY, "no memory for %s", name);
    return bind_text(call, index, slice_make(to, json_dumpb(headers, to, len, JSON_COMPACT)));
}
