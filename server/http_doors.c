/* SPDX-License-Identifier: MIT */
/* What the documents tell of routes that are no rows. A route of http_route.c or kvstore.c that is
 * not here, and one here that they do not serve, is found by tests/lint. */
#include "server/http_route.h"

#define COUNT_OF(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))
#define JSON "application/json"
#define TEXT "text/plain"
#define TEXT_SCHEMA "{'type':'string'}"
#define ERRORS_READ (OP_ERR(CORRUPT))
#define ERRORS_WRITE (OP_ERR(CORRUPT) | OP_ERR(STORAGE_FULL))
#define KEY                                                                                        \
    "{'name':'key','in':'path','required':true,'schema':{'type':'string','minLength':1,"           \
    "'maxLength':50},'description':'1 to 50 bytes, no NUL; may hold slashes','example':"           \
    "'greeting'}"
#define KVSTORE_BODY(schema, example, required)                                                    \
    "{'required':" required ",'content':{'" JSON "':{'schema':" schema ",'example':" example "}}}"
#define READ_BODY KVSTORE_BODY("@KvStoreRequest", "{'causal-context':{}}", "false")
#define RPC_BODY                                                                                   \
    "{'required':true,'content':{'application/json':{'schema':@RpcRequest,'example':{'jsonrpc':"   \
    "'2.0','id':1,'method':'Server.Ping'}},'application/json-rpc':{'schema':@RpcRequest},"         \
    "'application/jsonrequest':{'schema':@RpcRequest}}}"
#define RPC_ANSWERS                                                                                \
    {                                                                                              \
        {200,                                                                                      \
         "answers to the calls; nothing where all were notifications; several bodies of 1.0 one "  \
         "after another have a line each",                                                         \
         JSON,                                                                                     \
         "@RpcAnswers",                                                                            \
         NULL,                                                                                     \
         "{'jsonrpc':'2.0','result':'pong','id':1}"},                                              \
    }
#define DOCUMENT_ANSWERS(what)                                                                     \
    {                                                                                              \
        {200,                                                                                      \
         what,                                                                                     \
         JSON,                                                                                     \
         "{'type':'object'}",                                                                      \
         "{'ETag':{'required':true,'schema':{'type':'string'}},'Cache-Control':{'required':true,"  \
         "'schema':{'type':'string'}}}",                                                           \
         NULL},                                                                                    \
            {304,                                                                                  \
             "it is what If-None-Match says",                                                      \
             NULL,                                                                                 \
             NULL,                                                                                 \
             "{'ETag':{'required':true,'schema':{'type':'string'}},'Cache-Control':{'required':"   \
             "true,"                                                                               \
             "'schema':{'type':'string'}}}",                                                       \
             NULL},                                                                                \
    }
#define SNAPSHOT_ID                                                                                \
    "{'name':'id','in':'path','required':true,'schema':{'type':'string','pattern':"                \
    "'^[0-9a-f]{32}$'},'description':'of the file, as its head has it','example':"                 \
    "'00112233445566778899aabbccddeeff'}"
#define SNAPSHOT_FLAG(name, doc)                                                                   \
    "{'name':'" name "','in':'query','schema':{'type':'boolean','default':false},"                 \
    "'description':'" doc "'}"
#define SNAPSHOT_LARGEST                                                                           \
    ",{'name':'largest','in':'query','schema':{'type':'integer','minimum':0,'default':0},"         \
    "'description':'bytes of the largest value or payload in the file: one over the payload "      \
    "limit is refused before anything is changed'}"
#define SNAPSHOT_BODY(doc)                                                                         \
    "{'required':true,'description':'" doc "','content':{'application/octet-stream':{'schema':"    \
    "{'type':'string','format':'binary'}}}}"
#define SNAPSHOT_STATE                                                                             \
    {                                                                                              \
        {200,                                                                                      \
         "how far it came",                                                                        \
         JSON,                                                                                     \
         "@SnapshotState",                                                                         \
         NULL,                                                                                     \
         "{'known':true,'done':false,'replace':false,'next':{'memory':0,'hdd':3},'notes':[]}"},    \
    }
#define SNAPSHOT_ERRORS                                                                            \
    (ERRORS_WRITE | OP_ERR(CONFLICT) | OP_ERR(PRECONDITION_FAILED) | OP_ERR(QUEUE_NOT_EXIST) |     \
     OP_ERR(VALUE_TOO_LARGE))
#define SNAPSHOT_HEADERS                                                                           \
    "{'Content-Disposition':{'required':true,'schema':{'type':'string'}},'Cache-Control':{"        \
    "'required':true,'schema':{'const':'no-store'}}}"
#define IF_NONE_MATCH                                                                              \
    "[{'name':'If-None-Match','in':'header','schema':{'type':'string'},'description':'an ETag: "   \
    "304'}]"

#define PART_HEADERS                                                                               \
    "{'ETag':{'required':true,'schema':{'type':'string'}},'Cache-Control':{'required':true,"       \
    "'schema':{'type':'string'}},'Content-Encoding':{'schema':{'const':'gzip'}},"                  \
    "'X-Content-Type-Options':{'required':true,'schema':{'const':'nosniff'}},'Referrer-Policy':{"  \
    "'required':true,'schema':{'const':'no-referrer'}},'Cross-Origin-Resource-Policy':{"           \
    "'required':true,'schema':{'const':'same-origin'}}"
#define PAGE_HEADERS                                                                               \
    ",'Content-Security-Policy':{'required':true,'schema':{'type':'string'}},"                     \
    "'Cross-Origin-Opener-Policy':{'required':true,'schema':{'const':'same-origin'}}"
#define PAGE_ANSWERS(type, headers)                                                                \
    {                                                                                              \
        {200, "it", type, TEXT_SCHEMA, headers, NULL},                                             \
            {304, "it is what If-None-Match says", NULL, NULL, headers, NULL},                     \
    }
#define PAGE_ERRORS (OP_ERR(RATE_LIMITED) | OP_ERR(SYNTAX) | OP_ERR(UNKNOWN_COMMAND))

const struct openapi_route http_doors[] = {
    {.route = "GET /broker/queues/{queue}/stream",
     .id = "brokerStream",
     .tag = "broker",
     .doc = "Messages under a lease, pushed as events until the connection ends",
     .scope = AUTH_BROKER_CONSUME,
     .flags = OPENAPI_CAUSAL,
     .params = "[{'name':'queue','in':'path','required':true,'schema':{'type':'string',"
               "'minLength':1,'maxLength':255},'description':'name of the queue','example':'jobs'},"
               "{'name':'prefetch','in':'query','schema':{'type':'integer','minimum':1,'maximum':"
               "65535,'default':16},'description':'un-acked messages at most'},"
               "{'name':'ticket','in':'query','schema':{'type':'string'},'description':'in place "
               "of Authorization'}]",
     .answers = {{200,
                  "per message `id:` its receipt, `event: message`, `data:` the message as JSON",
                  "text/event-stream", TEXT_SCHEMA,
                  "{'Cache-Control':{'required':true,'schema':{'const':'no-cache'}},"
                  "'X-Accel-Buffering':{'required':true,'schema':{'const':'no'}}}",
                  NULL}},
     .errors = OP_ERR(QUEUE_NOT_EXIST)},
    {.route = "POST /tickets",
     .id = "ticketMake",
     .tag = "server",
     .doc = "A ticket for one stream of events within 30 s: `?ticket=` in place of Authorization, "
            "which a browser's EventSource cannot send",
     .scope = AUTH_ANY,
     .flags = OPENAPI_CAUSAL,
     .body = "{'required':false,'content':{'" JSON "':{'schema':@TicketRequest,'example':{'path':"
             "'/api2/11111111-2222-3333-4444-555555555555/default'}}}}",
     .answers = {{201, "good for the caller's rights, once", JSON, "@Ticket",
                  "{'Cache-Control':{'required':true,'schema':{'const':'no-store'}}}",
                  "{'ticket':'AQIAAA','expires_in':30}"}},
     .errors = OP_ERR(SYNTAX)},
    {.route = "PUT /kv-store/keys/{key}",
     .id = "kvStorePut",
     .tag = "kv-store",
     .doc = "Stores a value",
     .scope = AUTH_KV_WRITE,
     .flags = OPENAPI_KVSTORE | OPENAPI_CAUSAL,
     .params = "[" KEY "]",
     .body = KVSTORE_BODY("@KvStoreNewValue", "{'value':'hello','causal-context':{}}", "true"),
     .answers = {{201, "added", JSON, "@KvStorePut", NULL,
                  "{'message':'Added successfully','replaced':false,'causal-context':{}}"},
                 {200, "updated", JSON, "@KvStorePut", NULL,
                  "{'message':'Updated successfully','replaced':true,'causal-context':{}}"}},
     .errors = ERRORS_WRITE},
    {.route = "GET /kv-store/keys/{key}",
     .id = "kvStoreGet",
     .tag = "kv-store",
     .doc = "The value of a key",
     .scope = AUTH_KV_READ,
     .flags = OPENAPI_KVSTORE | OPENAPI_CAUSAL,
     .params = "[" KEY "]",
     .answers = {{200, "the value", JSON, "@KvStoreGet", NULL,
                  "{'message':'Retrieved successfully','doesExist':true,'value':'hello',"
                  "'causal-context':{}}"}},
     .errors = ERRORS_READ | OP_ERR(KEY_NOT_EXIST) | OP_ERR(VALUE_TOO_LARGE)},
    {.route = "DELETE /kv-store/keys/{key}",
     .id = "kvStoreDelete",
     .tag = "kv-store",
     .doc = "Removes a key",
     .scope = AUTH_KV_WRITE,
     .flags = OPENAPI_KVSTORE | OPENAPI_CAUSAL,
     .params = "[" KEY "]",
     .body = READ_BODY,
     .answers = {{200, "removed", JSON, "@KvStoreDeleted", NULL,
                  "{'message':'Deleted successfully','doesExist':true,'causal-context':{}}"}},
     .errors = ERRORS_WRITE | OP_ERR(KEY_NOT_EXIST)},
    {.route = "GET /kv-store/key-count",
     .id = "kvStoreKeyCount",
     .tag = "kv-store",
     .doc = "How many keys there are",
     .scope = AUTH_KV_READ,
     .flags = OPENAPI_KVSTORE | OPENAPI_CAUSAL,
     .answers = {{200, "the count", JSON, "@KvStoreCount", NULL,
                  "{'message':'Key count retrieved successfully','key-count':1,"
                  "'causal-context':{}}"}},
     .errors = ERRORS_READ | OP_ERR(VALUE_TOO_LARGE)},
    {.route = "GET /kv-store/shards",
     .id = "kvStoreShards",
     .tag = "kv-store",
     .doc = "The numbers of the shards",
     .scope = AUTH_KV_READ,
     .flags = OPENAPI_KVSTORE | OPENAPI_CAUSAL,
     .answers = {{200, "the shards", JSON, "@KvStoreShards", NULL,
                  "{'message':'Shard membership retrieved successfully','shards':[1],"
                  "'causal-context':{}}"}},
     .errors = ERRORS_READ | OP_ERR(VALUE_TOO_LARGE)},
    {.route = "GET /kv-store/shards/{id}",
     .id = "kvStoreShard",
     .tag = "kv-store",
     .doc = "A shard: how many keys it has, and its replicas",
     .scope = AUTH_KV_READ,
     .flags = OPENAPI_KVSTORE | OPENAPI_CAUSAL,
     .params = "[{'name':'id','in':'path','required':true,'schema':{'type':'integer','minimum':1},"
               "'example':1}]",
     .answers = {{200, "the shard", JSON, "@KvStoreShard", NULL,
                  "{'message':'Shard information retrieved successfully','shard-id':1,"
                  "'key-count':1,'replicas':['localhost:8080'],'causal-context':{}}"}},
     .errors = ERRORS_READ | OP_ERR(UNKNOWN_COMMAND) | OP_ERR(VALUE_TOO_LARGE)},
    {.route = "PUT /kv-store/view-change",
     .id = "kvStoreViewChange",
     .tag = "kv-store",
     .doc = "Sets which nodes there are and how many of them have each key",
     .scope = AUTH_KV_WRITE,
     .flags = OPENAPI_KVSTORE | OPENAPI_CAUSAL,
     .body = KVSTORE_BODY("@KvStoreNewView", "{'view':['localhost:8080'],'repl-factor':1}", "true"),
     .answers = {{200, "the shards of the new view", JSON, "@KvStoreView", NULL,
                  "{'message':'View change successful','shards':[{'shard-id':1,'key-count':1,"
                  "'replicas':['localhost:8080']}],'causal-context':{}}"}},
     .errors = ERRORS_WRITE},
    {.route = "POST /rpc",
     .id = "rpc",
     .tag = "json-rpc",
     .doc = "Calls of JSON-RPC, one or a batch; a call that fails is answered with 200, too",
     .flags = OPENAPI_RPC | OPENAPI_CAUSAL,
     .body = RPC_BODY,
     .answers = RPC_ANSWERS,
     .errors = OP_ERR(UNSUPPORTED_TYPE)},
    {.route = "POST /",
     .id = "rpcRoot",
     .tag = "json-rpc",
     .doc = "The same as POST /rpc, for old clients",
     .flags = OPENAPI_RPC | OPENAPI_CAUSAL,
     .body = RPC_BODY,
     .answers = RPC_ANSWERS,
     .errors = OP_ERR(UNSUPPORTED_TYPE)},
    {.route = "GET /metrics",
     .id = "metrics",
     .tag = "server",
     .doc = "Figures of this server as Prometheus text 0.0.4, or as OpenMetrics 1.0 where Accept "
            "rather wants that",
     .scope = AUTH_ADMIN,
     .answers = {{200, "the figures", TEXT, TEXT_SCHEMA, NULL, "'hati_ready 1\\n'"},
                 {200, "", "application/openmetrics-text", TEXT_SCHEMA, NULL,
                  "'hati_ready 1\\n# EOF\\n'"}},
     .errors = OP_ERR(OUT_OF_MEMORY)},
    {.route = "GET /snapshot",
     .id = "snapshotExport",
     .tag = "server",
     .doc = "A snapshot of everything at one instant, as a file for import",
     .scope = AUTH_ADMIN,
     .flags = OPENAPI_CAUSAL,
     .params = "[{'name':'format','in':'query','schema':{'type':'string','enum':['hati','ndjson'],"
               "'default':'hati'},'description':'packed and checked, or JSON lines'}]",
     .answers = {{200, "the file", "application/vnd.hati.snapshot",
                  "{'type':'string','format':'binary'}", SNAPSHOT_HEADERS, NULL},
                 {200, "", "application/x-ndjson", "{'type':'object'}", SNAPSHOT_HEADERS, NULL}},
     .errors = OP_ERR(CORRUPT) | OP_ERR(STORAGE_FULL) | OP_ERR(CONFLICT)},
    {.route = "GET /snapshot/{id}",
     .id = "snapshotLook",
     .tag = "server",
     .doc = "How far the import of a snapshot came",
     .scope = AUTH_ADMIN,
     .flags = OPENAPI_CAUSAL,
     .params = "[" SNAPSHOT_ID "]",
     .answers = SNAPSHOT_STATE,
     .errors = ERRORS_READ},
    {.route = "POST /snapshot/{id}",
     .id = "snapshotBegin",
     .tag = "server",
     .doc = "Begins the import of a snapshot, or finds it as it was when it was cut off",
     .scope = AUTH_ADMIN,
     .flags = OPENAPI_CAUSAL,
     .params =
         "[" SNAPSHOT_ID
         "," SNAPSHOT_FLAG("replace", "drop everything that is there first") "," SNAPSHOT_FLAG(
             "again", "anew, though it was done or begun before") SNAPSHOT_LARGEST "]",
     .body = SNAPSHOT_BODY("the first 96 bytes of the file"),
     .answers = SNAPSHOT_STATE,
     .errors = SNAPSHOT_ERRORS},
    {.route = "PUT /snapshot/{id}/{block}",
     .id = "snapshotBlock",
     .tag = "server",
     .doc = "Takes a block of a snapshot in; one that is in already is not taken in twice",
     .scope = AUTH_ADMIN,
     .flags = OPENAPI_CAUSAL,
     .params = "[" SNAPSHOT_ID ",{'name':'block','in':'path','required':true,'schema':{'type':"
               "'integer','minimum':0},'description':'number of the block','example':0}]",
     .body = SNAPSHOT_BODY("the block, its head included"),
     .answers = SNAPSHOT_STATE,
     .errors = SNAPSHOT_ERRORS},
    {.route = "GET /status",
     .id = "status",
     .tag = "server",
     .doc = "`ok`",
     .flags = OPENAPI_OPEN | OPENAPI_STANDALONE,
     .answers = {{200, "the process works", TEXT, "{'const':'ok'}", NULL, "'ok'"}},
     .errors = OP_ERR(SYNTAX)},
    {.route = "GET /healthz",
     .id = "healthz",
     .tag = "server",
     .doc = "Whether the process works",
     .flags = OPENAPI_OPEN | OPENAPI_STANDALONE,
     .answers = {{200, "it does", TEXT, "{'const':'ok'}", NULL, "'ok'"}},
     .errors = OP_ERR(SYNTAX)},
    {.route = "GET /readyz",
     .id = "readyz",
     .tag = "server",
     .doc = "Whether requests are served: not while starting, draining or without the store",
     .flags = OPENAPI_OPEN | OPENAPI_STANDALONE,
     .answers = {{200, "they are", TEXT, "{'type':'string'}", NULL, "'ready'"}},
     .errors = OP_ERR(SYNTAX) | OP_ERR(UNAVAILABLE)},
    {.route = "GET /openapi.json",
     .id = "openapiDocument",
     .tag = "server",
     .doc = "This document",
     .flags = OPENAPI_OPEN | OPENAPI_STANDALONE,
     .params = IF_NONE_MATCH,
     .answers = DOCUMENT_ANSWERS("the OpenAPI document"),
     .errors = OP_ERR(SYNTAX) | OP_ERR(RATE_LIMITED)},
    {.route = "GET /openrpc.json",
     .id = "openrpcDocument",
     .tag = "server",
     .doc = "The methods of JSON-RPC, as `rpc.discover` tells them too",
     .flags = OPENAPI_OPEN | OPENAPI_STANDALONE,
     .params = IF_NONE_MATCH,
     .answers = DOCUMENT_ANSWERS("the OpenRPC document"),
     .errors = OP_ERR(SYNTAX) | OP_ERR(RATE_LIMITED)},
    {.route = "GET /",
     .id = "root",
     .tag = "server",
     .doc = "The way to the console for browsers; without `text/html` in Accept 405, as this path "
            "is for JSON-RPC",
     .flags = OPENAPI_RPC | OPENAPI_STANDALONE,
     .answers = {{303, "there it is", NULL, NULL,
                  "{'Location':{'required':true,'schema':{'type':'string'}},'Cache-Control':{"
                  "'required':true,'schema':{'const':'no-cache'}}}",
                  NULL}},
     .errors =
         OP_ERR(SYNTAX) | OP_ERR(METHOD_NOT_ALLOWED) | OP_ERR(AUTH_REQUIRED) | OP_ERR(FORBIDDEN)},
    {.route = "GET /console",
     .id = "console",
     .tag = "server",
     .doc = "The console, a page for people",
     .flags = OPENAPI_OPEN | OPENAPI_STANDALONE,
     .params = IF_NONE_MATCH,
     .answers = PAGE_ANSWERS("text/html", PART_HEADERS PAGE_HEADERS "}"),
     .errors = PAGE_ERRORS},
    {.route = "GET /docs",
     .id = "docs",
     .tag = "server",
     .doc = "This document, as a page to read and to try",
     .flags = OPENAPI_OPEN | OPENAPI_STANDALONE,
     .params = IF_NONE_MATCH,
     .answers = PAGE_ANSWERS("text/html", PART_HEADERS PAGE_HEADERS "}"),
     .errors = PAGE_ERRORS},
    {.route = "GET /assets/{set}/{file}",
     .id = "asset",
     .tag = "server",
     .doc = "What those pages load; the name of a set changes with what it holds",
     .flags = OPENAPI_OPEN | OPENAPI_STANDALONE,
     .params = "[{'name':'set','in':'path','required':true,'schema':{'type':'string'}},{'name':"
               "'file','in':'path','required':true,'schema':{'type':'string'}}]",
     .answers = PAGE_ANSWERS("*/*", PART_HEADERS "}"),
     .errors = PAGE_ERRORS},
    {.route = "POST /internal/poke",
     .id = "internalPoke",
     .tag = "server",
     .doc = "Of nodes of an engine among each other: a queue has something new",
     .flags = OPENAPI_OPEN | OPENAPI_STANDALONE,
     .params = "[{'name':'queue','in':'query','schema':{'type':'string'},'description':'its id'}]",
     .answers = {{204, "heard", NULL, NULL, NULL, NULL}},
     .errors = OP_ERR(SYNTAX) | OP_ERR(UNKNOWN_COMMAND)},
};

const unsigned http_door_count = COUNT_OF(http_doors);
