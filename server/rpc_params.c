/* SPDX-License-Identifier: MIT */
/* The params of a call, by name or by place, as typed arguments. */
#include "handlers/bind.h"
#include "handlers/ops.h"
#include "server/rpc_internal.h"

#define WHOLE_MAX 9007199254740992.0 /* beyond it a double skips numbers */

static struct slice slice_of_json(const json_t *string) {
    return slice_make(json_string_value(string), json_string_length(string));
}

/* What was seen of the value while the other members had not come yet. */
struct bytes_param {
    const json_t *text;
    unsigned index;
    bool base64;
};

static enum err decode_bytes(struct call *call, const json_t *text, bool base64, const char *name,
                             struct slice *ret_bytes) {
    if (!rpc_is_string(text))
        return call_fail(call, ERR_SYNTAX, "%s is a string", name);
    *ret_bytes = slice_of_json(text);
    if (base64 && !text_base64_decode(call->arena, *ret_bytes, ret_bytes))
        return call_fail(call, ERR_SYNTAX, "%s is no base64 with padding", name);
    return OK;
}

static enum err bind_keys(struct call *call, const char *name, const json_t *list) {
    if (!rpc_is_array(list))
        return call_fail(call, ERR_SYNTAX, "%s is an array of keys", name);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *key = json_array_get(list, i);
        if (!rpc_is_string(key))
            return call_fail(call, ERR_SYNTAX, "%s is an array of strings", name);
        enum err err = bind_key_of_list(call, slice_of_json(key));
        if (err)
            return err;
    }
    return OK;
}

/* 60000.0 and 6e4 are the number 60000 to JSON, and some writers know no other form. */
static bool is_whole(const json_t *value, int64_t *ret_number) {
    if (rpc_is_integer(value)) {
        *ret_number = json_integer_value(value);
        return true;
    }
    double number = json_real_value(value);
    if (!rpc_is_real(value) || !(number >= -WHOLE_MAX && number <= WHOLE_MAX))
        return false;
    int64_t whole = (int64_t)number;
    if ((double)whole < number || (double)whole > number)
        return false;
    *ret_number = whole;
    return true;
}

static enum err read_ttl(struct call *call, const json_t *ttl, int64_t *ret_ttl_ms) {
    int64_t ttl_ms = -1;
    bool number =
        rpc_is_string(ttl) ? slice_parse_i64(slice_of_json(ttl), &ttl_ms) : is_whole(ttl, &ttl_ms);
    if (!number || ttl_ms < 0 || ttl_ms > OP_TTL_MAX_MS)
        return call_fail(call, ERR_SYNTAX, "ttl is from 0 to %lld", (long long)OP_TTL_MAX_MS);
    *ret_ttl_ms = ttl_ms;
    return OK;
}

/* {"value", "ttl"?, "encoding"?} */
static enum err bind_entry_object(struct call *call, struct slice key, json_t *entry) {
    const json_t *value = NULL;
    int64_t ttl_ms = 0;
    bool base64 = false;
    const char *name;
    json_t *member;
    json_object_foreach(entry, name, member) {
        if (strcmp(name, "value") == 0) {
            value = member;
        } else if (strcmp(name, "ttl") == 0) {
            enum err err = read_ttl(call, member, &ttl_ms);
            if (err)
                return err;
        } else if (strcmp(name, "encoding") == 0 && rpc_is_string(member)) {
            base64 = slice_equal(slice_of_json(member), SLICE("base64"));
            if (!base64 && !slice_equal(slice_of_json(member), SLICE("utf-8")))
                return call_fail(call, ERR_SYNTAX, "encoding is utf-8 or base64");
        } else {
            return call_fail(call, ERR_SYNTAX, "an entry has value, ttl and encoding only");
        }
    }
    struct slice bytes;
    enum err err = decode_bytes(call, value, base64, "value", &bytes);
    return err ? err : bind_entry(call, key, bytes, ttl_ms);
}

static enum err bind_entries(struct call *call, const char *name, json_t *entries) {
    if (!rpc_is_object(entries))
        return call_fail(call, ERR_SYNTAX, "%s is an object of key to value", name);
    const char *key;
    json_t *value;
    json_object_foreach(entries, key, value) {
        enum err err = rpc_is_object(value) ? bind_entry_object(call, slice_of_cstr(key), value)
                       : rpc_is_string(value)
                           ? bind_entry(call, slice_of_cstr(key), slice_of_json(value), 0)
                           : call_fail(call, ERR_SYNTAX, "a value is a string or an object");
        if (err)
            return err;
    }
    return OK;
}

static enum err bind_scalar(struct call *call, unsigned index, const json_t *value) {
    if (rpc_is_string(value))
        return bind_text(call, index, slice_of_json(value));
    int64_t number;
    if (is_whole(value, &number))
        return bind_int(call, index, number);
    if (json_typeof(value) == JSON_TRUE || json_typeof(value) == JSON_FALSE)
        return bind_bool(call, index, json_typeof(value) == JSON_TRUE);
    return call_fail(call, ERR_SYNTAX, "%s has the wrong type", call->op->params[index].name);
}

static enum err bind_param(struct call *call, unsigned index, json_t *value,
                           struct bytes_param *bytes) {
    const struct param *param = &call->op->params[index];
    if (call->args.given & 1U << index) /* under its other name */
        return call_fail(call, ERR_SYNTAX, "%s stands twice", param->name);
    switch (param->type) {
    case PARAM_KEYS:
        call->args.given |= 1U << index;
        return bind_keys(call, param->name, value);
    case PARAM_ENTRIES:
        call->args.given |= 1U << index;
        return bind_entries(call, param->name, value);
    case PARAM_RECEIPTS:
    case PARAM_MESSAGES:
    case PARAM_OPS:
        call->args.given |= 1U << index;
        return rpc_bind_list(call, param, value);
    case PARAM_HEADERS:
        return rpc_bind_headers(call, index, value);
    case PARAM_SETTINGS:
        return call_fail(call, ERR_SYNTAX, "there is no parameter %s", param->name);
    case PARAM_BYTES:
        bytes->text = value;
        bytes->index = index;
        return OK;
    case PARAM_ENCODING:
        bytes->base64 = rpc_is_string(value) && slice_equal(slice_of_json(value), SLICE("base64"));
        return bind_scalar(call, index, value);
    default:
        return bind_scalar(call, index, value);
    }
}

static enum err bind_named(struct call *call, json_t *params, const char *but,
                           struct bytes_param *bytes) {
    const char *name;
    json_t *value;
    json_object_foreach(params, name, value) {
        if (but && strcmp(name, but) == 0)
            continue;
        int index = bind_find_param(call->op, slice_of_cstr(name));
        if (index < 0)
            return call_fail(call, ERR_SYNTAX, "there is no parameter %.64s", name);
        enum err err = bind_param(call, (unsigned)index, value, bytes);
        if (err)
            return err;
    }
    return OK;
}

static enum err bind_placed(struct call *call, const json_t *params, struct bytes_param *bytes) {
    const struct op *op = call->op;
    for (size_t i = 0; i < json_array_size(params); i++) {
        json_t *value = json_array_get(params, i);
        if (i >= op->param_count || (op->params[i].flags & PARAM_BY_NAME_ONLY))
            return call_fail(call, ERR_SYNTAX, "there are too many parameters");
        if (rpc_is_null(value) && !(op->params[i].flags & PARAM_REQUIRED))
            continue; /* left out, to get to one behind it */
        enum err err = bind_param(call, (unsigned)i, value, bytes);
        if (err)
            return err;
    }
    return OK;
}

static enum err bind_rest(struct call *call, const struct bytes_param *bytes) {
    const struct op *op = call->op;
    if (bytes->text) {
        struct slice text;
        enum err err =
            decode_bytes(call, bytes->text, bytes->base64, op->params[bytes->index].name, &text);
        if (!err)
            err = bind_text(call, bytes->index, text);
        if (err)
            return err;
    }
    return bind_finish(call);
}

enum err rpc_bind_params(struct call *call, json_t *params, bool legacy) {
    struct bytes_param bytes = {0};
    json_t *only = legacy && rpc_is_array(params) ? json_array_get(params, 0) : NULL;
    json_t *named = rpc_is_object(only) ? only : rpc_is_object(params) ? params : NULL;
    enum err err = OK;
    if (named)
        err = bind_named(call, named, NULL, &bytes);
    else if (params && !rpc_is_null(only)) /* Go sends [null] for nothing */
        err = bind_placed(call, params, &bytes);
    return err ? err : bind_rest(call, &bytes);
}

enum err rpc_bind_members(struct call *call, json_t *object, const char *but) {
    struct bytes_param bytes = {0};
    enum err err = rpc_is_object(object) ? bind_named(call, object, but, &bytes)
                                         : call_fail(call, ERR_SYNTAX, "an object was expected");
    return err ? err : bind_rest(call, &bytes);
}
