/* SPDX-License-Identifier: MIT */
#include "handlers/bind_internal.h"

static bool has_nul(struct slice text) {
    return text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL;
}

int bind_find_param(const struct op *op, struct slice name) {
    for (unsigned i = 0; i < op->param_count; i++)
        if (slice_equal(slice_of_cstr(op->params[i].name), name) ||
            (op->params[i].alias && slice_equal(slice_of_cstr(op->params[i].alias), name)))
            return (int)i;
    return -1;
}

static enum err check_key(struct call *call, struct slice key) {
    if (key.len == 0 || key.len > KV_KEY_MAX || has_nul(key))
        return call_fail(call, ERR_KEY_INVALID, "%s", err_text(ERR_KEY_INVALID));
    return OK;
}

static enum err check_value(struct call *call, struct slice value) {
    if (value.len > call->core->payload_limit_bytes)
        return call_fail(call, ERR_VALUE_TOO_LARGE, "the value is over the limit of %llu bytes",
                         (unsigned long long)call->core->payload_limit_bytes);
    return OK;
}

static enum err bind_storage(struct call *call, unsigned index, struct slice text) {
    enum kv_storage storage = KV_STORAGES;
    if (slice_equal(text, SLICE("memory")))
        storage = KV_MEMORY;
    else if (slice_equal(text, SLICE("hdd")))
        storage = KV_HDD;
    else
        return call_fail(call, ERR_STORAGE_TYPE_INVALID, "%s", err_text(ERR_STORAGE_TYPE_INVALID));
    memcpy(bind_field_of(call, index), &storage, sizeof storage);
    return OK;
}

static enum err bind_workspace(struct call *call, unsigned index, struct slice text) {
    if (!text_uuid_parse(text, &call->args.workspace))
        return call_fail(call, ERR_SYNTAX, "workspace is a UUID");
    call->args.workspace_named = true;
    call->args.given |= 1U << index;
    return OK;
}

static enum err bind_namespace(struct call *call, unsigned index, struct slice text) {
    if (text.len == 0 || text.len > KV_NAMESPACE_MAX || has_nul(text) || !text_is_utf8(text))
        return call_fail(call, ERR_SYNTAX, "a namespace has 1 to 255 bytes of UTF-8 and no NUL");
    bind_put_slice(call, index, text);
    return OK;
}

static enum err bind_prefix(struct call *call, unsigned index, struct slice text) {
    if (text.len > KV_KEY_MAX || has_nul(text))
        return call_fail(call, ERR_KEY_INVALID, "a prefix has up to 4096 bytes and no NUL");
    bind_put_slice(call, index, text);
    return OK;
}

static enum err bind_cursor(struct call *call, unsigned index, struct slice text) {
    bool sane = text.len > 0 && text.len <= 2 * (size_t)KV_KEY_MAX;
    char *key = sane ? arena_alloc(call->arena, text.len) : NULL;
    size_t len;
    if (!key || !text_base64url_decode(text, key, &len) || len == 0 || len > KV_KEY_MAX)
        return call_fail(call, ERR_SYNTAX, "the cursor is none that a listing gave");
    bind_put_slice(call, index, slice_make(key, len));
    return OK;
}

bool bind_append_cursor(struct buf *to, struct slice key) {
    return text_append_base64url(to, key);
}

static enum err bind_etag(struct call *call, unsigned index, struct slice text) {
    struct args *args = &call->args;
    if (!args->etags)
        args->etags = arena_alloc(call->arena, sizeof *args->etags * OP_ETAGS_MAX);
    if (!args->etags)
        return call_fail(call, ERR_OUT_OF_MEMORY, "no memory for the condition");
    if (text.len != 2 * HASH_MD5_BYTES || args->etag_count == OP_ETAGS_MAX)
        return call_fail(call, ERR_SYNTAX, "an ETag is an MD5 of 32 hexadecimal digits, %d at most",
                         OP_ETAGS_MAX);
    /* a UUID's digits without its dashes are the same 16 bytes */
    char dashed[36];
    for (unsigned i = 0, from = 0; i < sizeof dashed; i++)
        dashed[i] = i == 8 || i == 13 || i == 18 || i == 23 ? '-' : text.ptr[from++];
    struct uuid digits;
    if (!text_uuid_parse(slice_make(dashed, sizeof dashed), &digits))
        return call_fail(call, ERR_SYNTAX, "an ETag is an MD5 of 32 hexadecimal digits");
    memcpy(args->etags[args->etag_count++], digits.bytes, HASH_MD5_BYTES);
    args->given |= 1U << index;
    return OK;
}

static enum err bind_revision(struct call *call, unsigned index, struct slice text) {
    uint64_t revision = 0;
    if (text.len == 0 || text.len > 20)
        return call_fail(call, ERR_SYNTAX, "a revision is an unsigned number");
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(uint8_t)text.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(revision, 10U, &revision) ||
            __builtin_add_overflow(revision, digit, &revision))
            return call_fail(call, ERR_SYNTAX, "a revision is an unsigned number");
    }
    memcpy(bind_field_of(call, index), &revision, sizeof revision);
    call->args.revision_given = true;
    return OK;
}

static enum err bind_encoding(struct call *call, unsigned index, struct slice text) {
    if (!slice_equal(text, SLICE("utf-8")) && !slice_equal(text, SLICE("base64")))
        return call_fail(call, ERR_SYNTAX, "encoding is utf-8 or base64");
    call->args.given |= 1U << index;
    return OK;
}

static enum err bind_bytes(struct call *call, unsigned index, struct slice text) {
    enum err err = check_value(call, text);
    if (!err)
        bind_put_slice(call, index, text);
    return err;
}

static enum err bind_key(struct call *call, unsigned index, struct slice text) {
    enum err err = check_key(call, text);
    if (!err)
        bind_put_slice(call, index, text);
    return err;
}

static enum err bind_int_text(struct call *call, unsigned index, struct slice text) {
    int64_t number;
    if (!slice_parse_i64(text, &number))
        return call_fail(call,
                         bind_param_of(call, index)->at == offsetof(struct args, by)
                             ? ERR_NOT_A_NUMBER
                             : ERR_SYNTAX,
                         "%s is a whole number", bind_param_of(call, index)->name);
    return bind_int(call, index, number);
}

enum err bind_bool(struct call *call, unsigned index, bool value) {
    const struct param *param = bind_param_of(call, index);
    if (param->type != PARAM_BOOL)
        return call_fail(call, ERR_SYNTAX, "%s is not true or false", param->name);
    *(bool *)bind_field_of(call, index) = value;
    return OK;
}

static enum err bind_bool_text(struct call *call, unsigned index, struct slice text) {
    bool yes = slice_equal(text, SLICE("true")) || slice_equal(text, SLICE("1"));
    if (!yes && !slice_equal(text, SLICE("false")) && !slice_equal(text, SLICE("0")))
        return call_fail(call, ERR_SYNTAX, "%s is true or false", bind_param_of(call, index)->name);
    return bind_bool(call, index, yes);
}

enum err bind_text(struct call *call, unsigned index, struct slice text) {
    switch (bind_param_of(call, index)->type) {
    case PARAM_STORAGE:
        return bind_storage(call, index, text);
    case PARAM_WORKSPACE:
        return bind_workspace(call, index, text);
    case PARAM_NAMESPACE:
        return bind_namespace(call, index, text);
    case PARAM_KEY:
        return bind_key(call, index, text);
    case PARAM_BYTES:
        return bind_bytes(call, index, text);
    case PARAM_PREFIX:
        return bind_prefix(call, index, text);
    case PARAM_CURSOR:
        return bind_cursor(call, index, text);
    case PARAM_INT:
        return bind_int_text(call, index, text);
    case PARAM_REVISION:
        return bind_revision(call, index, text);
    case PARAM_BOOL:
        return bind_bool_text(call, index, text);
    case PARAM_ETAG:
        return bind_etag(call, index, text);
    case PARAM_ENCODING:
        return bind_encoding(call, index, text);
    case PARAM_NAME:
        return bind_name(call, index, text);
    case PARAM_ROUTING:
        return bind_routing(call, index, text);
    case PARAM_CHOICE:
        return bind_choice(call, index, text);
    case PARAM_HEADERS:
        return bind_headers(call, index, text);
    case PARAM_SETTINGS:
        return bind_settings(call, index, text);
    case PARAM_KEYS:
    case PARAM_ENTRIES:
    case PARAM_RECEIPTS:
    case PARAM_MESSAGES:
    case PARAM_OPS:
        break;
    }
    return call_fail(call, ERR_SYNTAX, "%s is a JSON structure", bind_param_of(call, index)->name);
}

enum err bind_int(struct call *call, unsigned index, int64_t number) {
    const struct param *param = bind_param_of(call, index);
    if (param->type == PARAM_REVISION && number >= 0) {
        uint64_t revision = (uint64_t)number;
        memcpy(bind_field_of(call, index), &revision, sizeof revision);
        call->args.revision_given = true;
        return OK;
    }
    if (param->type != PARAM_INT)
        return call_fail(call, ERR_SYNTAX, "%s is no number", param->name);
    if (number < param->min || number > param->max)
        return call_fail(call, ERR_SYNTAX, "%s is from %lld to %lld", param->name,
                         (long long)param->min, (long long)param->max);
    memcpy(bind_field_of(call, index), &number, sizeof number);
    return OK;
}

void *bind_list_room(struct call *call, void *list, unsigned count, size_t item_bytes) {
    bool full = count == 0 || (count >= 8 && (count & (count - 1)) == 0);
    if (!full)
        return list;
    void *grown = arena_alloc(call->arena, item_bytes * (count ? (size_t)count * 2 : 8));
    if (grown && count)
        memcpy(grown, list, item_bytes * count);
    return grown;
}

enum err bind_key_of_list(struct call *call, struct slice key) {
    struct args *args = &call->args;
    if (args->key_count == KV_BATCH_MAX)
        return call_fail(call, ERR_SYNTAX, "keys has %d at most", KV_BATCH_MAX);
    enum err err = check_key(call, key);
    if (err)
        return err;
    struct slice *keys = bind_list_room(call, args->keys, args->key_count, sizeof *keys);
    if (!keys)
        return call_fail(call, ERR_OUT_OF_MEMORY, "no memory for so many keys");
    args->keys = keys;
    keys[args->key_count++] = key;
    return OK;
}

enum err bind_entry(struct call *call, struct slice key, struct slice value, int64_t ttl_ms) {
    struct args *args = &call->args;
    if (args->entry_count == KV_BATCH_MAX)
        return call_fail(call, ERR_SYNTAX, "entries has %d at most", KV_BATCH_MAX);
    enum err err = check_key(call, key);
    if (!err)
        err = check_value(call, value);
    if (err)
        return err;
    struct args_entry *entries =
        bind_list_room(call, args->entries, args->entry_count, sizeof *entries);
    if (!entries)
        return call_fail(call, ERR_OUT_OF_MEMORY, "no memory for so many entries");
    args->entries = entries;
    entries[args->entry_count++] = (struct args_entry){key, value, ttl_ms};
    return OK;
}

enum err bind_finish(struct call *call) {
    const struct op *op = call->op;
    for (unsigned i = 0; i < op->param_count; i++) {
        const struct param *param = &op->params[i];
        if ((param->flags & PARAM_REQUIRED) && !(call->args.given & 1U << i))
            return call_fail(call, ERR_SYNTAX, "%s is missing", param->name);
    }
    const struct args *args = &call->args;
    if (args->revision_given + (args->etag_count > 0) + args->if_absent + args->if_present > 1)
        return call_fail(call, ERR_SYNTAX, "one condition at a time");
    return OK;
}
