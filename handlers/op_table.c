/* SPDX-License-Identifier: MIT */
/* The rows. To add an operation: a parameter array, a row, a function, a contract case. */
#include "handlers/ops.h"

#define FIELD(field) ((unsigned)offsetof(struct args, field))
#define COUNT_OF(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))
#define PARAMS(array) .params = (array), .param_count = COUNT_OF(array)

#define P_TYPE                                                                                     \
    { "type", PARAM_STORAGE, PARAM_REQUIRED, FIELD(storage), 0, 0, "storage type: memory or hdd" }
#define P_KEY                                                                                      \
    { "key", PARAM_KEY, PARAM_REQUIRED, FIELD(key), 0, 0, "1 to 4096 bytes, no NUL" }
#define P_WORKSPACE                                                                                \
    {                                                                                              \
        "workspace", PARAM_WORKSPACE, PARAM_BY_NAME_ONLY, FIELD(workspace), 0, 0,                  \
            "UUID; the default workspace where left out"                                           \
    }
#define P_NAMESPACE                                                                                \
    {                                                                                              \
        "namespace", PARAM_NAMESPACE, PARAM_BY_NAME_ONLY, FIELD(ns), 0, 0,                         \
            "1 to 255 bytes of UTF-8; `default` where left out"                                    \
    }
#define P_TTL(flags)                                                                               \
    { "ttl", PARAM_INT, (flags), FIELD(ttl_ms), 0, OP_TTL_MAX_MS, "time to live in ms; 0: forever" }
#define P_PLACE P_WORKSPACE, P_NAMESPACE

static const struct param set_params[] = {
    P_TYPE,
    P_KEY,
    {"value", PARAM_BYTES, PARAM_REQUIRED, FIELD(value), 0, 0, "any bytes up to the payload limit"},
    P_TTL(0),
    {"encoding", PARAM_ENCODING, 0, 0, 0, 0, "how value is written: utf-8 or base64"},
    {"ifRevision", PARAM_REVISION, 0, FIELD(if_revision), 0, 0, "only if it has this revision"},
    {"ifEtag", PARAM_ETAG, 0, FIELD(etags), 0, 0, "only if its value has this MD5"},
    {"ifAbsent", PARAM_BOOL, 0, FIELD(if_absent), 0, 0, "only if it does not exist"},
    P_PLACE,
};

static const struct param key_params[] = {P_TYPE, P_KEY, P_PLACE};

static const struct param delete_params[] = {
    P_TYPE,
    P_KEY,
    {"ifEtag", PARAM_ETAG, PARAM_BY_NAME_ONLY, FIELD(etags), 0, 0,
     "only if its value has this MD5"},
    P_PLACE,
};

static const struct param storage_params[] = {P_TYPE};

static const struct param list_params[] = {
    P_TYPE,
    {"prefix", PARAM_PREFIX, 0, FIELD(prefix), 0, 0, "literal bytes the keys begin with"},
    {"limit", PARAM_INT, 0, FIELD(limit), 1, 100000, "keys at most in one page"},
    {"cursor", PARAM_CURSOR, 0, FIELD(cursor), 0, 0, "as the page before gave it"},
    P_PLACE,
};

static const struct param get_many_params[] = {
    P_TYPE,
    {"keys", PARAM_KEYS, PARAM_REQUIRED, 0, 0, 0, "array of keys, 1000 at most"},
    P_PLACE,
};

static const struct param set_many_params[] = {
    P_TYPE,
    {"entries", PARAM_ENTRIES, PARAM_REQUIRED, 0, 0, 0,
     "object of key to value, or to {value, ttl?, encoding?}; 1000 at most"},
    P_PLACE,
};

static const struct param incr_params[] = {
    P_TYPE,
    P_KEY,
    {"by", PARAM_INT, 0, FIELD(by), INT64_MIN, INT64_MAX, "what is added; 1 where left out"},
    P_PLACE,
};

static const struct param touch_params[] = {P_TYPE, P_KEY, P_TTL(PARAM_REQUIRED), P_PLACE};

#define ERRORS_KEY (OP_ERR(STORAGE_TYPE_INVALID) | OP_ERR(KEY_INVALID))
#define ERRORS_WRITE                                                                               \
    (ERRORS_KEY | OP_ERR(OUT_OF_MEMORY) | OP_ERR(STORAGE_FULL) | OP_ERR(UNAVAILABLE))

#define API2 "/api2/{workspace}/{namespace}"
#define API2_KEY API2 "/{key}"
#define API1 "/api/{namespace}"
#define API1_KEY API1 "/{key}"

const struct op ops[] = {
    {.name = "Storage.Set",
     .doc = "Stores a value under a key; a time to live that stood before is cleared",
     .scope = AUTH_KV_WRITE,
     .flags = OP_WRITE,
     .reply = REPLY_TRUE,
     .routes = {"PUT " API2_KEY, "POST " API1_KEY, "PUT " API1_KEY},
     .verbs = {{"SET", "type ttl key value", LINE_OK, false,
                "store a value; ttl in ms, 0: forever"},
               {"SETB", "type ttl key value", LINE_OK, true,
                "the same, binary-safe: the last word is a length, the bytes follow"}},
     PARAMS(set_params),
     .errors = ERRORS_WRITE | OP_ERR(PRECONDITION_FAILED) | OP_ERR(VALUE_TOO_LARGE),
     .run = op_storage_set},
    {.name = "Storage.Get",
     .doc = "The value of a key",
     .scope = AUTH_KV_READ,
     .reply = REPLY_VALUE,
     .verbs = {{"GET", "type key", LINE_VALUE, false, "the value of a key"},
               {"GETB", "type key", LINE_FRAME, false,
                "the same, binary-safe: $<length>, the bytes"}},
     PARAMS(key_params),
     .errors = ERRORS_KEY | OP_ERR(KEY_NOT_EXIST) | OP_ERR(NOT_FRAMABLE),
     .run = op_storage_get},
    {.name = "Storage.GetEntry",
     .doc = "The value of a key with its revision, ETag and remaining time",
     .scope = AUTH_KV_READ,
     .reply = REPLY_ENTRY,
     .routes = {"GET " API2_KEY, "GET " API1_KEY},
     PARAMS(key_params),
     .errors = ERRORS_KEY | OP_ERR(KEY_NOT_EXIST),
     .run = op_storage_get_entry},
    {.name = "Storage.Has",
     .doc = "Whether a key exists",
     .scope = AUTH_KV_READ,
     .reply = REPLY_BOOL,
     .verbs = {{"HAS", "type key", LINE_FOUND, false, "whether a key exists"}},
     PARAMS(key_params),
     .errors = ERRORS_KEY,
     .run = op_storage_has},
    {.name = "Storage.Delete",
     .doc = "Removes a key; tells whether it was there",
     .scope = AUTH_KV_WRITE,
     .flags = OP_WRITE,
     .reply = REPLY_BOOL,
     .routes = {"DELETE " API2_KEY, "DELETE " API1_KEY},
     .verbs = {{"DELETE", "type key", LINE_OK, false, "remove a key"}},
     PARAMS(delete_params),
     .errors = ERRORS_WRITE | OP_ERR(PRECONDITION_FAILED),
     .run = op_storage_delete},
    {.name = "Storage.FlushAll",
     .doc = "Removes every key of a storage, in every workspace and namespace",
     .scope = AUTH_ADMIN,
     .flags = OP_WRITE | OP_ALL_NAMES,
     .reply = REPLY_TRUE,
     .verbs = {{"FLUSHALL", "type", LINE_OK, false, "remove every key of a storage"}},
     PARAMS(storage_params),
     .errors = OP_ERR(STORAGE_TYPE_INVALID) | OP_ERR(STORAGE_FULL) | OP_ERR(UNAVAILABLE),
     .run = op_storage_flush_all},
    {.name = "Storage.Count",
     .doc = "How many keys a storage holds, over every workspace and namespace",
     .scope = AUTH_KV_READ,
     .flags = OP_ALL_NAMES | OP_MAY_WAIT,
     .reply = REPLY_NUMBER,
     .verbs = {{"COUNT", "type", LINE_NUMBER, false, "how many keys a storage holds"}},
     PARAMS(storage_params),
     .errors = OP_ERR(STORAGE_TYPE_INVALID),
     .run = op_storage_count},
    {.name = "Storage.List",
     .doc = "Keys in byte order, page by page",
     .scope = AUTH_KV_READ,
     .flags = OP_MAY_WAIT,
     .reply = REPLY_KEYS,
     .routes = {"GET " API2, "GET " API1},
     .verbs = {{"KEYS", "type [prefix] [limit] [cursor]", LINE_KEYS, false,
                "keys in byte order; * for an empty prefix"}},
     PARAMS(list_params),
     .errors = OP_ERR(STORAGE_TYPE_INVALID),
     .run = op_storage_list},
    {.name = "Storage.GetMany",
     .doc = "The values of many keys; absent ones are left out",
     .scope = AUTH_KV_READ,
     .reply = REPLY_PAIRS,
     PARAMS(get_many_params),
     .errors = ERRORS_KEY | OP_ERR(VALUE_TOO_LARGE),
     .run = op_storage_get_many},
    {.name = "Storage.SetMany",
     .doc = "Stores many values, all or none; tells how many",
     .scope = AUTH_KV_WRITE,
     .flags = OP_WRITE,
     .reply = REPLY_NUMBER,
     PARAMS(set_many_params),
     .errors = ERRORS_WRITE | OP_ERR(VALUE_TOO_LARGE),
     .run = op_storage_set_many},
    {.name = "Storage.Increment",
     .doc = "Adds to a number that is kept as decimal text; absent counts as 0",
     .scope = AUTH_KV_WRITE,
     .flags = OP_WRITE,
     .reply = REPLY_NUMBER,
     .routes = {"POST " API2_KEY},
     .verbs = {{"INCR", "type key [by]", LINE_NUMBER, false, "add to a number"}},
     PARAMS(incr_params),
     .errors = ERRORS_WRITE | OP_ERR(NOT_A_NUMBER),
     .run = op_storage_increment},
    {.name = "Storage.Touch",
     .doc = "Sets the time to live of a key anew",
     .scope = AUTH_KV_WRITE,
     .flags = OP_WRITE,
     .reply = REPLY_TRUE,
     .verbs = {{"TOUCH", "type ttl key", LINE_OK, false, "set the time to live anew, in ms"}},
     PARAMS(touch_params),
     .errors = ERRORS_WRITE | OP_ERR(KEY_NOT_EXIST),
     .run = op_storage_touch},
    {.name = "Storage.Ttl",
     .doc = "How many ms a key still lives; 0: forever",
     .scope = AUTH_KV_READ,
     .reply = REPLY_NUMBER,
     .verbs = {{"TTL", "type key", LINE_NUMBER, false, "remaining ms, 0: forever"}},
     PARAMS(key_params),
     .errors = ERRORS_KEY | OP_ERR(KEY_NOT_EXIST),
     .run = op_storage_ttl},
    {.name = "Server.Ping",
     .doc = "Answers pong",
     .scope = AUTH_NOTHING,
     .flags = OP_OPEN,
     .reply = REPLY_TEXT,
     .verbs = {{"PING", "", LINE_TEXT, false, "+PONG"}},
     .run = op_server_ping},
    {.name = "Server.Stats",
     .doc = "Figures of this server",
     .scope = AUTH_ADMIN,
     .reply = REPLY_JSON,
     .routes = {"GET /stats"},
     .verbs = {{"STATS", "", LINE_JSON, false, "figures of this server, as JSON"}},
     .run = op_server_stats},
};

const unsigned op_count = COUNT_OF(ops);
