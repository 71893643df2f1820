/* SPDX-License-Identifier: MIT */
/* The rows. To add an operation: a parameter array, a row, a function, a contract case. */
#include "handlers/ops.h"

#define FIELD(field) ((unsigned)offsetof(struct args, field))
#define COUNT_OF(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))
#define P(...)                                                                                     \
    { __VA_ARGS__, NULL, NULL }
#define PARAMS(array) .params = (array), .param_count = COUNT_OF(array)

#define P_TYPE                                                                                     \
    P("type", PARAM_STORAGE, PARAM_REQUIRED, FIELD(storage), 0, 0, "storage type: memory or hdd")
#define P_KEY P("key", PARAM_KEY, PARAM_REQUIRED, FIELD(key), 0, 0, "1 to 4096 bytes, no NUL")
#define P_WORKSPACE                                                                                \
    P("workspace", PARAM_WORKSPACE, PARAM_BY_NAME_ONLY, FIELD(workspace), 0, 0,                    \
      "UUID; the default workspace where left out")
#define P_NAMESPACE                                                                                \
    P("namespace", PARAM_NAMESPACE, PARAM_BY_NAME_ONLY, FIELD(ns), 0, 0,                           \
      "1 to 255 bytes of UTF-8; `default` where left out")
#define P_TTL(flags)                                                                               \
    P("ttl", PARAM_INT, (flags), FIELD(ttl_ms), 0, OP_TTL_MAX_MS, "time to live in ms; 0: forever")
#define P_PLACE P_WORKSPACE, P_NAMESPACE

static const struct param set_params[] = {
    P_TYPE,
    P_KEY,
    P("value", PARAM_BYTES, PARAM_REQUIRED, FIELD(value), 0, 0,
      "any bytes up to the payload limit"),
    P_TTL(0),
    P("encoding", PARAM_ENCODING, 0, 0, 0, 0, "how value is written: utf-8 or base64"),
    P("ifRevision", PARAM_REVISION, 0, FIELD(if_revision), 0, 0, "only if it has this revision"),
    P("ifEtag", PARAM_ETAG, 0, FIELD(etags), 0, 0, "only if its value has this MD5"),
    P("ifAbsent", PARAM_BOOL, 0, FIELD(if_absent), 0, 0, "only if it does not exist"),
    P_PLACE,
};

static const struct param key_params[] = {P_TYPE, P_KEY, P_PLACE};

static const struct param delete_params[] = {
    P_TYPE,
    P_KEY,
    P("ifEtag", PARAM_ETAG, PARAM_BY_NAME_ONLY, FIELD(etags), 0, 0,
      "only if its value has this MD5"),
    P_PLACE,
};

static const struct param storage_params[] = {P_TYPE};

static const struct param list_params[] = {
    P_TYPE,
    P("prefix", PARAM_PREFIX, 0, FIELD(prefix), 0, 0, "literal bytes the keys begin with"),
    P("limit", PARAM_INT, 0, FIELD(limit), 1, 100000, "keys at most in one page"),
    P("cursor", PARAM_CURSOR, 0, FIELD(cursor), 0, 0, "as the page before gave it"),
    P_PLACE,
};

static const struct param get_many_params[] = {
    P_TYPE,
    P("keys", PARAM_KEYS, PARAM_REQUIRED, 0, 0, 0, "array of keys, 1000 at most"),
    P_PLACE,
};

static const struct param set_many_params[] = {
    P_TYPE,
    P("entries", PARAM_ENTRIES, PARAM_REQUIRED, 0, 0, 0,
      "object of key to value, or to {value, ttl?, encoding?}; 1000 at most"),
    P_PLACE,
};

static const struct param incr_params[] = {
    P_TYPE,
    P_KEY,
    P("by", PARAM_INT, 0, FIELD(by), INT64_MIN, INT64_MAX, "what is added; 1 where left out"),
    P_PLACE,
};

static const struct param touch_params[] = {P_TYPE, P_KEY, P_TTL(PARAM_REQUIRED), P_PLACE};

static const struct param batch_params[] = {
    P("ops", PARAM_OPS, PARAM_REQUIRED, 0, 0, 0,
      "array of ops, 1000 at most, carried out in order"),
    P("type", PARAM_STORAGE, PARAM_BY_NAME_ONLY, FIELD(storage), 0, 0, "hdd: a batch is durable"),
    P_PLACE,
};

/* A name that goes by `name` as well. */
#define P_NAMED(word, field, text)                                                                 \
    { word, PARAM_NAME, PARAM_REQUIRED, FIELD(field), 0, 0, text, "name", NULL }
#define P_ROUTER P_NAMED("router", router, "the router's name")
#define P_QUEUE P_NAMED("queue", queue, "the queue's name")
#define P_CHOICE(word, field, words, text)                                                         \
    { word, PARAM_CHOICE, 0, FIELD(field), 0, 0, text, NULL, words }
#define P_TIME(word, field, text) P(word, PARAM_INT, 0, FIELD(field), 0, BROKER_TIME_MAX_MS, text)
#define P_PAGE(most)                                                                               \
    P("limit", PARAM_INT, 0, FIELD(limit), 1, most, "messages at most in one page"),               \
        P("cursor", PARAM_CURSOR, 0, FIELD(cursor), 0, 0, "as the page before gave it")

static const struct param router_params[] = {P_ROUTER};
static const struct param queue_params[] = {P_QUEUE};

static const struct param create_router_params[] = {
    P_ROUTER,
    P_CHOICE("type", router_type, "direct fanout topic", "how it matches; direct where left out"),
};

static const struct param create_queue_params[] = {
    P_QUEUE,
    P("type", PARAM_STORAGE, 0, FIELD(storage), 0, 0, "memory or hdd; hdd where left out"),
    P("lease", PARAM_INT, 0, FIELD(lease_ms), 1, BROKER_TIME_MAX_MS,
      "ms a consumer has a message; 30000 where left out"),
    P("max-deliver", PARAM_INT, 0, FIELD(max_deliver), 0, UINT32_MAX,
      "deliveries of a message at most; 0: no limit"),
    P("dead-letter", PARAM_NAME, 0, FIELD(dead_letter), 0, 0,
      "the queue that takes what expired or was delivered too often"),
    P_TIME("ttl", ttl_ms, "ms until a message expires; 0: never"),
    P("max-length", PARAM_INT, 0, FIELD(max_length), 0, INT64_MAX, "messages at most; 0: no limit"),
    P_CHOICE("overflow", overflow, "reject drop-head", "what a full queue does; reject"),
    P_TIME("dedup-window", dedup_window_ms, "ms a message id is remembered; 0: not at all"),
    P("settings", PARAM_SETTINGS, PARAM_BY_NAME_ONLY, 0, 0, 0, "option=value words"),
};

static const struct param bind_params[] = {
    P_ROUTER,
    P_QUEUE,
    P("pattern", PARAM_ROUTING, 0, FIELD(pattern), 0, 0,
      "direct: the routing key (the queue's name where left out); topic: words parted by dots, * "
      "for "
      "one, # for any number"),
};

static const struct param publish_params[] = {
    P_ROUTER,
    {"key", PARAM_ROUTING, 0, FIELD(routing_key), 0, 0, "routing key", "routing-key", NULL},
    P("payload", PARAM_BYTES, PARAM_REQUIRED, FIELD(value), 0, 0, "any bytes up to the limit"),
    P("encoding", PARAM_ENCODING, 0, 0, 0, 0, "how payload is written: utf-8 or base64"),
    P("id", PARAM_NAME, 0, FIELD(id), 0, 0, "the message's id; made where left out"),
    P_TIME("delay", delay_ms, "ms before it may be handed out"),
    P_TIME("ttl", ttl_ms, "ms until it expires; 0: as the queue says"),
    P("priority", PARAM_INT, 0, FIELD(priority), 0, BROKER_PRIORITY_MAX, "9 is handed out first"),
    P("headers", PARAM_HEADERS, 0, FIELD(headers), 0, 0, "a JSON object that travels along"),
};

static const struct param publish_many_params[] = {
    P_ROUTER,
    P("messages", PARAM_MESSAGES, PARAM_REQUIRED, 0, 0, 0,
      "array of {key?, payload, encoding?, id?, delay?, ttl?, priority?, headers?}, 1000 at most"),
};

static const struct param receive_params[] = {
    P_QUEUE,
    P("max", PARAM_INT, 0, FIELD(max), 1, BROKER_BATCH_MAX, "messages at most; 1 where left out"),
    P("wait", PARAM_INT, 0, FIELD(wait_ms), 0, BROKER_WAIT_MAX_MS, "ms to wait for the first"),
    P_TIME("lease", lease_ms, "ms this consumer has them; 0: as the queue says"),
};

#define P_RECEIPT P("receipt", PARAM_NAME, PARAM_REQUIRED, FIELD(receipt), 0, 0, "of the delivery")

static const struct param ack_params[] = {P_QUEUE, P_RECEIPT};
static const struct param ack_many_params[] = {
    P_QUEUE,
    P("receipts", PARAM_RECEIPTS, PARAM_REQUIRED, 0, 0, 0, "array of receipts, 1000 at most"),
};
static const struct param nack_params[] = {
    P_QUEUE,
    P_RECEIPT,
    P_TIME("delay", delay_ms, "ms before it may be handed out again"),
};
static const struct param extend_params[] = {
    P_QUEUE,
    P_RECEIPT,
    P("lease", PARAM_INT, PARAM_REQUIRED, FIELD(lease_ms), 1, BROKER_TIME_MAX_MS,
      "ms the lease runs from now on"),
};
static const struct param peek_params[] = {P_QUEUE, P_PAGE(BROKER_BATCH_MAX)};

#define ERRORS_KEY (OP_ERR(STORAGE_TYPE_INVALID) | OP_ERR(KEY_INVALID))
#define ERRORS_WRITE                                                                               \
    (ERRORS_KEY | OP_ERR(OUT_OF_MEMORY) | OP_ERR(STORAGE_FULL) | OP_ERR(UNAVAILABLE))

#define ERRORS_BROKER                                                                              \
    (OP_ERR(OUT_OF_MEMORY) | OP_ERR(STORAGE_FULL) | OP_ERR(UNAVAILABLE) | OP_ERR(QUEUE_NOT_EXIST))
#define ROUTER "/broker/routers/{router}"
#define QUEUE "/broker/queues/{queue}"

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
     .errors = ERRORS_KEY,
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
    {.name = "Storage.Batch",
     .doc = "Sets, deletes, adds, checks, publishes and acks in one transaction, all or none",
     .scope = AUTH_NOTHING, /* each op has its own */
     .flags = OP_WRITE | OP_BROKER | OP_JSON_BODY,
     .reply = REPLY_JSON,
     .routes = {"POST " API2},
     PARAMS(batch_params),
     .errors = ERRORS_WRITE | ERRORS_BROKER | OP_ERR(PRECONDITION_FAILED) | OP_ERR(NOT_A_NUMBER) |
               OP_ERR(VALUE_TOO_LARGE) | OP_ERR(ROUTER_NOT_EXIST) | OP_ERR(QUEUE_FULL) |
               OP_ERR(RECEIPT_INVALID),
     .run = op_storage_batch},
    {.name = "Broker.CreateRouter",
     .doc = "Makes a router; again with the same type is fine",
     .scope = AUTH_ADMIN,
     .flags = OP_WRITE | OP_BROKER | OP_OF_ROUTER | OP_JSON_BODY,
     .reply = REPLY_JSON,
     .routes = {"PUT " ROUTER},
     .verbs = {{"CREATEROUTER", "router [type]", LINE_OK, false,
                "make a router: direct, fanout or topic"},
               {"CREATE_ROUTER", "router [type]", LINE_OK, false, NULL}},
     PARAMS(create_router_params),
     .errors = ERRORS_BROKER | OP_ERR(CONFLICT),
     .run = op_broker_create_router},
    {.name = "Broker.DeleteRouter",
     .doc = "Removes a router and its bindings",
     .scope = AUTH_ADMIN,
     .flags = OP_WRITE | OP_BROKER | OP_OF_ROUTER,
     .reply = REPLY_TRUE,
     .routes = {"DELETE " ROUTER},
     .verbs = {{"DELETEROUTER", "router", LINE_OK, false, "remove a router"},
               {"DELETE_ROUTER", "router", LINE_OK, false, NULL}},
     PARAMS(router_params),
     .errors = ERRORS_BROKER | OP_ERR(ROUTER_NOT_EXIST) | OP_ERR(CONFLICT),
     .run = op_broker_delete_router},
    {.name = "Broker.GetRouter",
     .doc = "A router with its bindings and counters",
     .scope = AUTH_ADMIN,
     .flags = OP_BROKER | OP_OF_ROUTER,
     .reply = REPLY_JSON,
     .routes = {"GET " ROUTER},
     .verbs = {{"GETROUTER", "router", LINE_JSON, false, "a router, as JSON"},
               {"GET_ROUTER", "router", LINE_JSON, false, NULL}},
     PARAMS(router_params),
     .errors = OP_ERR(ROUTER_NOT_EXIST),
     .run = op_broker_get_router},
    {.name = "Broker.ListRouter",
     .doc = "The names of all routers",
     .scope = AUTH_ADMIN,
     .flags = OP_BROKER | OP_ALL_NAMES,
     .reply = REPLY_JSON,
     .routes = {"GET /broker/routers"},
     .verbs = {{"LISTROUTER", "", LINE_JSON, false, "the names of all routers, as JSON"},
               {"LIST_ROUTER", "", LINE_JSON, false, NULL}},
     .run = op_broker_list_routers},
    {.name = "Broker.CreateQueue",
     .doc = "Makes a queue; again with the same options is fine",
     .scope = AUTH_ADMIN,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE | OP_JSON_BODY,
     .reply = REPLY_JSON,
     .routes = {"PUT " QUEUE},
     .verbs = {{"CREATEQUEUE", "queue [type] [settings]", LINE_OK, false,
                "make a queue: memory or hdd, then option=value words"},
               {"CREATE_QUEUE", "queue [type] [settings]", LINE_OK, false, NULL}},
     PARAMS(create_queue_params),
     .errors = ERRORS_BROKER | OP_ERR(CONFLICT) | OP_ERR(STORAGE_TYPE_INVALID),
     .run = op_broker_create_queue},
    {.name = "Broker.DeleteQueue",
     .doc = "Removes a queue with its messages and bindings",
     .scope = AUTH_ADMIN,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_TRUE,
     .routes = {"DELETE " QUEUE},
     .verbs = {{"DELETEQUEUE", "queue", LINE_OK, false, "remove a queue with its messages"},
               {"DELETE_QUEUE", "queue", LINE_OK, false, NULL}},
     PARAMS(queue_params),
     .errors = ERRORS_BROKER,
     .run = op_broker_delete_queue},
    {.name = "Broker.GetQueue",
     .doc = "A queue with its options and counters",
     .scope = AUTH_ADMIN,
     .flags = OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_JSON,
     .routes = {"GET " QUEUE},
     .verbs = {{"GETQUEUE", "queue", LINE_JSON, false, "a queue, as JSON"},
               {"GET_QUEUE", "queue", LINE_JSON, false, NULL}},
     PARAMS(queue_params),
     .errors = OP_ERR(QUEUE_NOT_EXIST),
     .run = op_broker_get_queue},
    {.name = "Broker.ListQueue",
     .doc = "The names of all queues",
     .scope = AUTH_ADMIN,
     .flags = OP_BROKER | OP_ALL_NAMES,
     .reply = REPLY_JSON,
     .routes = {"GET /broker/queues"},
     .verbs = {{"LISTQUEUE", "", LINE_JSON, false, "the names of all queues, as JSON"},
               {"LIST_QUEUE", "", LINE_JSON, false, NULL}},
     .run = op_broker_list_queues},
    {.name = "Broker.Pause",
     .doc = "A queue hands out nothing until it is resumed; publishing goes on",
     .scope = AUTH_ADMIN,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_TRUE,
     .routes = {"POST " QUEUE "/pause"},
     .verbs = {{"PAUSE", "queue", LINE_OK, false,
                "a queue hands out nothing for now; it still takes messages"}},
     PARAMS(queue_params),
     .errors = ERRORS_BROKER,
     .run = op_broker_pause},
    {.name = "Broker.Resume",
     .doc = "A paused queue goes on",
     .scope = AUTH_ADMIN,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_TRUE,
     .routes = {"POST " QUEUE "/resume"},
     .verbs = {{"RESUME", "queue", LINE_OK, false, "a paused queue goes on"}},
     PARAMS(queue_params),
     .errors = ERRORS_BROKER,
     .run = op_broker_resume},
    {.name = "Broker.Bind",
     .doc = "Copies what a router gets and the pattern matches to a queue",
     .scope = AUTH_ADMIN,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_TRUE,
     .routes = {"PUT " ROUTER "/bindings/{queue}"},
     .verbs = {{"BIND", "router queue [pattern]", LINE_OK, false,
                "copy what matches the pattern to a queue"}},
     PARAMS(bind_params),
     .errors = ERRORS_BROKER | OP_ERR(ROUTER_NOT_EXIST) | OP_ERR(CONFLICT),
     .run = op_broker_bind},
    {.name = "Broker.Unbind",
     .doc = "Takes a binding back; tells whether it was there",
     .scope = AUTH_ADMIN,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_BOOL,
     .routes = {"DELETE " ROUTER "/bindings/{queue}"},
     .verbs = {{"UNBIND", "router queue [pattern]", LINE_OK, false, "take a binding back"}},
     PARAMS(bind_params),
     .errors = ERRORS_BROKER | OP_ERR(ROUTER_NOT_EXIST) | OP_ERR(CONFLICT),
     .run = op_broker_unbind},
    {.name = "Broker.Publish",
     .doc = "Hands a message to a router; tells its id and how many queues it reached",
     .scope = AUTH_BROKER_PUBLISH,
     .flags = OP_WRITE | OP_BROKER | OP_OF_ROUTER,
     .reply = REPLY_JSON,
     .routes = {"POST " ROUTER "/messages"},
     .verbs = {{"PUBLISH", "router key payload", LINE_PUBLISHED, false,
                "hand a message to a router; default knows queues by name"},
               {"PUBLISHB", "router key payload", LINE_PUBLISHED, true,
                "the same, binary-safe: the last word is a length, the bytes follow"}},
     PARAMS(publish_params),
     .errors =
         ERRORS_BROKER | OP_ERR(ROUTER_NOT_EXIST) | OP_ERR(QUEUE_FULL) | OP_ERR(VALUE_TOO_LARGE),
     .run = op_broker_publish},
    {.name = "Broker.PublishMany",
     .doc = "Publishes many messages, each with its own outcome",
     .scope = AUTH_BROKER_PUBLISH,
     .flags = OP_WRITE | OP_BROKER | OP_OF_ROUTER | OP_JSON_BODY,
     .reply = REPLY_JSON,
     .routes = {"POST " ROUTER "/batch"},
     PARAMS(publish_many_params),
     .errors = ERRORS_BROKER | OP_ERR(ROUTER_NOT_EXIST),
     .run = op_broker_publish_many},
    {.name = "Broker.Receive",
     .doc = "Takes messages under a lease, waiting for the first as long as asked",
     .scope = AUTH_BROKER_CONSUME,
     .flags = OP_BROKER | OP_OF_QUEUE | OP_MAY_WAIT | OP_WAITS,
     .reply = REPLY_MESSAGES,
     .routes = {"POST " QUEUE "/receive"},
     .verbs = {{"RECEIVE", "queue [max] [wait]", LINE_MESSAGES, false,
                "take messages; waits up to wait ms for the first"}},
     PARAMS(receive_params),
     .errors = ERRORS_BROKER,
     .run = op_broker_receive},
    {.name = "Broker.Ack",
     .doc = "A message is done with",
     .scope = AUTH_BROKER_CONSUME,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_TRUE,
     .routes = {"DELETE " QUEUE "/messages/{receipt}"},
     .verbs = {{"ACK", "queue receipt", LINE_OK, false, "a message is done with"}},
     PARAMS(ack_params),
     .errors = ERRORS_BROKER | OP_ERR(RECEIPT_INVALID),
     .run = op_broker_ack},
    {.name = "Broker.AckMany",
     .doc = "Many messages are done with, each with its own outcome",
     .scope = AUTH_BROKER_CONSUME,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE | OP_JSON_BODY,
     .reply = REPLY_JSON,
     .routes = {"POST " QUEUE "/ack"},
     PARAMS(ack_many_params),
     .errors = ERRORS_BROKER,
     .run = op_broker_ack_many},
    {.name = "Broker.Nack",
     .doc = "Gives a message back, to be handed out again at once or after a delay",
     .scope = AUTH_BROKER_CONSUME,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_TRUE,
     .routes = {"POST " QUEUE "/messages/{receipt}/nack"},
     .verbs = {{"NACK", "queue receipt [delay]", LINE_OK, false,
                "give a message back, for at once or after delay ms"}},
     PARAMS(nack_params),
     .errors = ERRORS_BROKER | OP_ERR(RECEIPT_INVALID),
     .run = op_broker_nack},
    {.name = "Broker.Extend",
     .doc = "The lease of a message runs anew from now on",
     .scope = AUTH_BROKER_CONSUME,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_TRUE,
     .routes = {"POST " QUEUE "/messages/{receipt}/extend"},
     .verbs = {{"EXTEND", "queue receipt lease", LINE_OK, false,
                "let a lease run anew from now on, in ms"}},
     PARAMS(extend_params),
     .errors = ERRORS_BROKER | OP_ERR(RECEIPT_INVALID),
     .run = op_broker_extend},
    {.name = "Broker.Flush",
     .doc = "Drops all messages of a queue that nobody has leased; tells how many",
     .scope = AUTH_ADMIN,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_JSON,
     .routes = {"DELETE " QUEUE "/messages"},
     .verbs = {{"FLUSH", "queue", LINE_COUNTED, false, "drop all messages nobody has leased"}},
     PARAMS(queue_params),
     .errors = ERRORS_BROKER,
     .run = op_broker_flush},
    {.name = "Broker.Redrive",
     .doc = "Dead-lettered messages go back to the queues they came from; tells how many",
     .scope = AUTH_ADMIN,
     .flags = OP_WRITE | OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_JSON,
     .routes = {"POST " QUEUE "/redrive"},
     .verbs = {{"REDRIVE", "queue", LINE_COUNTED, false,
                "send dead-lettered messages back to where they came from"}},
     PARAMS(queue_params),
     .errors = ERRORS_BROKER,
     .run = op_broker_redrive},
    {.name = "Broker.Peek",
     .doc = "Ready messages in order, without taking them, page by page",
     .scope = AUTH_BROKER_CONSUME,
     .flags = OP_BROKER | OP_OF_QUEUE,
     .reply = REPLY_JSON,
     .routes = {"GET " QUEUE "/messages"},
     .verbs = {{"PEEK", "queue [limit] [cursor]", LINE_JSON, false,
                "ready messages as JSON, without taking them"}},
     PARAMS(peek_params),
     .errors = ERRORS_BROKER,
     .run = op_broker_peek},
    {.name = "Server.Ping",
     .doc = "Answers pong",
     .scope = AUTH_NOTHING,
     .flags = OP_OPEN,
     .reply = REPLY_TEXT,
     .verbs = {{"PING", "", LINE_TEXT, false, "+PONG"}},
     .run = op_server_ping},
    {.name = "rpc.discover",
     .doc = "The OpenRPC document: every method, its parameters, results and errors",
     .scope = AUTH_NOTHING,
     .flags = OP_OPEN,
     .reply = REPLY_JSON,
     .run = op_server_discover},
    {.name = "Server.Stats",
     .doc = "Figures of this server",
     .scope = AUTH_ADMIN,
     .reply = REPLY_JSON,
     .routes = {"GET /stats"},
     .verbs = {{"STATS", "", LINE_JSON, false, "figures of this server, as JSON"}},
     .run = op_server_stats},
};

const unsigned op_count = COUNT_OF(ops);
