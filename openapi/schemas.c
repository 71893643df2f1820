/* SPDX-License-Identifier: MIT */
/* What travels as JSON, as schemas that both documents share. */
#include <stdio.h>

#include "openapi/doc.h"

#define COUNT "{'type':'integer','minimum':0}"
#define TEXT "{'type':'string'}"
#define BASE64 "{'type':'string','enum':['base64']}"
#define NAME "{'type':'string','minLength':1,'maxLength':255}"
#define NUMBER "{'type':['integer','string'],'format':'int64'}"
#define TIME "{'type':['integer','string'],'format':'int64','minimum':0,'maximum':3153600000000}"
#define ENCODING "{'type':'string','enum':['utf-8','base64'],'description':'utf-8 where left out'}"
#define CAUSAL "'causal-context':@CausalContext"
#define ANY_OBJECT "{'type':'object','additionalProperties':true}"
#define CLOSED "'additionalProperties':false"

static const struct {
    const char *name;
    const char *text;
} schemas[] = {
    {"Key", "{'type':'string','minLength':1,'maxLength':4096,'description':'1 to 4096 bytes, no "
            "NUL'}"},
    {"ShownKey", "{'description':'a key; one that is no UTF-8 is an object','oneOf':[@Key,"
                 "{'type':'object','required':['key','encoding'],'properties':{'key':" TEXT
                 ",'encoding':" BASE64 "}}]}"},
    {"Value", "{'description':'a value; one that is no UTF-8 is an object','oneOf':[" TEXT
              ",{'type':'object','required':['value','encoding'],'properties':{'value':" TEXT
              ",'encoding':" BASE64 "}}]}"},
    {"NewEntry", "{'oneOf':[" TEXT ",{'type':'object','required':['value'],'properties':{"
                 "'value':" TEXT ",'ttl':" TIME ",'encoding':" ENCODING "}," CLOSED "}]}"},
    {"Entry", "{'type':'object','required':['value','revision','etag','ttl'],'properties':{"
              "'value':" TEXT ",'encoding':" BASE64 ",'revision':" COUNT
              ",'etag':{'type':'string','pattern':'^[0-9a-f]{32}$'},'ttl':{'type':'integer',"
              "'minimum':0,'description':'remaining ms; 0: forever'}}}"},
    {"KeyPage", "{'type':'object','required':['keys'],'properties':{'keys':{'type':'array',"
                "'items':@ShownKey},'cursor':{'type':'string','description':'of the next page; "
                "none on the last'}}}"},
    {"TicketRequest", "{'type':'object','properties':{'path':{'type':'string','description':'the "
                      "only path where it is good; none: any'}},'additionalProperties':false}"},
    {"Ticket", "{'type':'object','required':['ticket','expires_in'],'properties':{'ticket':{'type':"
               "'string'},'expires_in':{'type':'integer','description':'seconds'}}}"},
    {"Listing", "{'type':'object','required':['namespace','keys','count'],'properties':{"
                "'workspace':{'type':'string','format':'uuid'},'namespace':" TEXT
                ",'keys':{'type':'array','items':@ShownKey},'count':" COUNT
                ",'cursor':{'type':'string','description':'of the next page; none on the "
                "last'}}}"},
    {"Router",
     "{'type':'object','required':['name','type','published','unroutable','bindings'],"
     "'properties':{'name':" NAME
     ",'type':{'type':'string','enum':['direct','fanout','topic']},'published':" COUNT
     ",'unroutable':" COUNT ",'bindings':{'type':'array','items':{'type':'object',"
     "'required':['queue','pattern'],'properties':{'queue':" NAME ",'pattern':" TEXT "}}}}}"},
    {"Queue",
     "{'type':'object','required':['name','type','lease','max-deliver','dead-letter','ttl',"
     "'max-length','overflow','dedup-window','paused','ready','leased','delayed','published',"
     "'delivered','acked','redelivered','dead_lettered','expired','dropped','consumers',"
     "'oldest_ms'],'properties':{'name':" NAME ",'type':{'type':'string','enum':['memory','hdd']},"
     "'lease':" COUNT ",'max-deliver':" COUNT
     ",'dead-letter':{'type':['string','null']},'ttl':" COUNT ",'max-length':" COUNT
     ",'overflow':{'type':'string','enum':['reject','drop-head']},'dedup-window':" COUNT
     ",'paused':{'type':'boolean'},'ready':" COUNT ",'leased':" COUNT ",'delayed':" COUNT
     ",'published':" COUNT ",'delivered':" COUNT ",'acked':" COUNT ",'redelivered':" COUNT
     ",'dead_lettered':" COUNT ",'expired':" COUNT ",'dropped':" COUNT ",'consumers':" COUNT
     ",'oldest_ms':" COUNT "}}"},
    {"Published", "{'type':'object','required':['id','queues'],'properties':{'id':" NAME
                  ",'queues':{'type':'integer','minimum':0,'description':'how many it "
                  "reached'}}}"},
    {"Failed", "{'type':'object','required':['error'],'properties':{'error':{'type':'object',"
               "'required':['code','message'],'properties':{'code':@Code,'message':" TEXT "}}}}"},
    {"PeekedMessage",
     "{'type':'object','required':['id','attempt','key','payload','headers','published_at'],"
     "'properties':{'id':" NAME ",'attempt':" COUNT ",'key':" TEXT ",'payload':" TEXT
     ",'encoding':" BASE64 ",'headers':" ANY_OBJECT ",'published_at':{'type':'integer',"
     "'description':'ms since 1970'},'reason':@Reason,'from':" NAME "}}"},
    {"Message", "{'type':'object','required':['receipt','id','attempt','key','payload','headers',"
                "'published_at'],'properties':{'receipt':" NAME ",'id':" NAME
                ",'attempt':{'type':'integer','minimum':1},'key':" TEXT ",'payload':" TEXT
                ",'encoding':" BASE64 ",'headers':" ANY_OBJECT
                ",'published_at':{'type':'integer','description':'ms since "
                "1970'},'reason':@Reason,'from':" NAME "}}"},
    {"Reason", "{'type':'string','enum':['max-deliver','expired'],'description':'why it is a dead "
               "letter'}"},
    {"Messages", "{'type':'object','required':['messages'],'properties':{'messages':{'type':"
                 "'array','items':@Message}}}"},
    {"PeekedPage", "{'type':'object','required':['messages'],'properties':{'messages':{'type':"
                   "'array','items':@PeekedMessage},'cursor':{'type':'string','description':'of "
                   "the next page; none on the last'}}}"},
    {"NewMessage",
     "{'type':'object','required':['payload'],'properties':{'key':{'type':'string',"
     "'maxLength':255},'routing-key':{'type':'string','maxLength':255},'payload':" TEXT
     ",'encoding':" ENCODING ",'id':" NAME ",'delay':" TIME ",'ttl':" TIME
     ",'priority':{'type':['integer','string'],'minimum':0,'maximum':9},'headers':" ANY_OBJECT
     "}," CLOSED "}"},
    {"BatchOp",
     "{'oneOf':["
     "{'type':'object','required':['op','key','value'],'properties':{'op':{'const':'set'},"
     "'key':@Key,'value':" TEXT ",'encoding':" ENCODING ",'ttl':" TIME "}," CLOSED "},"
     "{'type':'object','required':['op','key'],'properties':{'op':{'const':'delete'},'key':@Key}"
     "," CLOSED "},"
     "{'type':'object','required':['op','key'],'properties':{'op':{'const':'incr'},'key':@Key,"
     "'by':" NUMBER "}," CLOSED "},"
     "{'type':'object','required':['op','key'],'properties':{'op':{'const':'check'},'key':@Key,"
     "'etag':{'type':'string','pattern':'^[0-9a-fA-F]{32}$'},'revision':{'type':['integer',"
     "'string'],'minimum':0},'absent':{'const':true}},'minProperties':3,'maxProperties':3," CLOSED
     "},"
     "{'type':'object','required':['op','router','payload'],'properties':{'op':{'const':"
     "'publish'},'router':" NAME ",'key':{'type':'string','maxLength':255},'routing-key':"
     "{'type':'string','maxLength':255},'payload':" TEXT ",'encoding':" ENCODING ",'id':" NAME
     ",'delay':" TIME ",'ttl':" TIME ",'priority':{'type':['integer','string'],'minimum':0,"
     "'maximum':9},'headers':" ANY_OBJECT "}," CLOSED "},"
     "{'type':'object','required':['op','queue','receipt'],'properties':{'op':{'const':'ack'},"
     "'queue':" NAME ",'receipt':" NAME "}," CLOSED "}]}"},
    {"BatchResults",
     "{'type':'object','required':['results'],'properties':{'results':{'type':'array','items':"
     "{'description':'set: its revision; incr: the new number; delete: whether it was there; "
     "check and ack: true; publish: the id and how many queues','anyOf':[{'type':'object',"
     "'required':['revision'],'properties':{'revision':" COUNT "}},{'type':'integer'},"
     "{'type':'boolean'},@Published]}}}}"},
    {"StorageStats",
     "{'type':'object','required':['keys','bytes','shards'],'properties':{'keys':" COUNT
     ",'bytes':" COUNT ",'shards':{'type':'array','items':" COUNT
     ",'description':'keys of each'}}}"},
    {"Stats",
     "{'type':'object','required':['version','uptime','storage','connections','requests','broker',"
     "'tokens'],'properties':{'version':" TEXT ",'uptime':{'type':'integer','description':'ms'},"
     "'storage':{'type':'object','required':['memory','hdd'],'properties':{'memory':@StorageStats,"
     "'hdd':@StorageStats}},'connections':{'type':'object','additionalProperties':" COUNT
     "},'requests':{'type':'object','additionalProperties':" COUNT
     "},'broker':{'type':'object','required':['routers','queues','messages','published',"
     "'delivered','acked','unroutable','bytes'],'properties':{'routers':" COUNT ",'queues':" COUNT
     ",'messages':" COUNT ",'published':" COUNT ",'delivered':" COUNT ",'acked':" COUNT
     ",'unroutable':" COUNT ",'bytes':" COUNT ",'each':{'type':'array','items':@Queue,"
     "'description':'left out where there are too many'}}},'tokens':{'type':'object',"
     "'required':['cached','verified'],'properties':{'cached':" COUNT ",'verified':" COUNT
     "}},'nodes':{'type':'array','items':@Node,'description':'of an engine'},"
     "'peers':@Peers}}"},
    {"Peers",
     "{'type':'object','required':['misses','asked','hits','saved','false_positives','timeouts',"
     "'nodes'],'properties':{'misses':" COUNT ",'asked':" COUNT ",'hits':" COUNT ",'saved':" COUNT
     ",'false_positives':" COUNT ",'timeouts':" COUNT ",'nodes':{'type':'array','items':@Peer}}}"},
    {"Peer", "{'type':'object','required':['address','state','kind','filter','keys','rtt_us',"
             "'missed_beats'],'properties':{'address':" TEXT ",'state':" TEXT
             ",'kind':{'type':['string','null'],'enum':['hati','olivia',null],'description':'null: "
             "it was not reached yet'},'filter':{'type':'boolean','description':'whether it is "
             "here'},'keys':" COUNT ",'rtt_us':{'type':'integer'},'missed_beats':" COUNT "}}"},
    {"Node", "{'type':'object','required':['id','address','version','started','heartbeat',"
             "'alive'],'properties':{'id':" TEXT ",'address':" TEXT ",'version':" TEXT
             ",'started':{'type':'integer'},'heartbeat':{'type':'integer'},'alive':{'type':"
             "'boolean'}}}"},
    {"Problem", "{'type':'object','required':['title','status','detail','code'],'properties':{"
                "'title':" TEXT ",'status':{'type':'integer'},'detail':" TEXT
                ",'code':@Code,'index':{'type':'integer','minimum':0,'description':'which element "
                "of a list failed'}},'description':'RFC 9457'}"},
    {"CausalContext",
     "{'type':'object','additionalProperties':true,'description':'opaque: given back as it came'}"},
    {"KvStoreFailure",
     "{'type':'object','required':['message','error','causal-context'],"
     "'properties':{'message':" TEXT ",'error':" TEXT ",'doesExist':{'const':false}," CAUSAL "}}"},
    {"KvStoreRequest", "{'type':'object','properties':{" CAUSAL "}}"},
    {"KvStoreNewValue", "{'type':'object','required':['value'],'properties':{'value':{'type':"
                        "'string','minLength':1}," CAUSAL "}}"},
    {"KvStoreNewView",
     "{'type':'object','required':['view','repl-factor'],'properties':{'view':{'type':'array',"
     "'items':" TEXT ",'minItems':1,'maxItems':4096},'repl-factor':{'type':'integer',"
     "'minimum':1}," CAUSAL "}}"},
    {"KvStorePut", "{'type':'object','required':['message','replaced','causal-context'],"
                   "'properties':{'message':" TEXT ",'replaced':{'type':'boolean'}," CAUSAL "}}"},
    {"KvStoreGet", "{'type':'object','required':['message','doesExist','value','causal-context'],"
                   "'properties':{'message':" TEXT ",'doesExist':{'const':true},'value':" TEXT
                   ",'encoding':" BASE64 "," CAUSAL "}}"},
    {"KvStoreDeleted", "{'type':'object','required':['message','doesExist','causal-context'],"
                       "'properties':{'message':" TEXT ",'doesExist':{'const':true}," CAUSAL "}}"},
    {"KvStoreCount", "{'type':'object','required':['message','key-count','causal-context'],"
                     "'properties':{'message':" TEXT ",'key-count':" COUNT "," CAUSAL "}}"},
    {"KvStoreShards",
     "{'type':'object','required':['message','shards','causal-context'],"
     "'properties':{'message':" TEXT ",'shards':{'type':'array','items':" COUNT "}," CAUSAL "}}"},
    {"KvStoreShard",
     "{'type':'object','required':['message','shard-id','key-count','replicas','causal-context'],"
     "'properties':{'message':" TEXT ",'shard-id':" COUNT ",'key-count':" COUNT
     ",'replicas':{'type':'array','items':" TEXT "}," CAUSAL "}}"},
    {"SnapshotState",
     "{'type':'object','required':['known','done','replace','next','notes'],'properties':{'known':"
     "{'type':'boolean','description':'it was begun'},'done':{'type':'boolean'},'replace':{'type':"
     "'boolean'},'next':{'type':'object','required':['memory','hdd'],'properties':{'memory':" COUNT
     ",'hdd':" COUNT "},'description':'blocks of this storage before this number are in'},'notes':"
     "{'type':'array','items':{'type':'string'},'description':'what was there and stays as it is'"
     "}}}"},
    {"KvStoreView",
     "{'type':'object','required':['message','shards','causal-context'],'properties':{'message'"
     ":" TEXT
     ",'shards':{'type':'array','items':{'type':'object','required':['shard-id','key-count',"
     "'replicas'],'properties':{'shard-id':" COUNT ",'key-count':" COUNT
     ",'replicas':{'type':'array','items':" TEXT "}}}}," CAUSAL "}}"},
    {"RpcId", "{'type':['string','number','null']}"},
    {"RpcCall", "{'type':'object','required':['method'],'properties':{'jsonrpc':{'const':'2.0',"
                "'description':'left out: the call is one of JSON-RPC 1.0'},'method':" TEXT
                ",'params':{'type':['object','array']},'id':@RpcId}}"},
    {"RpcRequest", "{'oneOf':[@RpcCall,{'type':'array','minItems':1,'items':@RpcCall}]}"},
    {"RpcError", "{'type':'object','required':['code','message','data'],'properties':{'code':"
                 "{'type':'integer'},'message':" TEXT ",'data':@RpcErrorData}}"},
    {"RpcErrorData", "{'type':'object','required':['detail'],'properties':{'detail':" TEXT
                     ",'key':" TEXT ",'limit':{'type':'integer'},'index':" COUNT
                     ",'outcome':{'type':'string','enum':['not-applied','unknown']}}}"},
    {"RpcFailure", "{'type':'object','required':['jsonrpc','error','id'],'properties':{'jsonrpc':"
                   "{'const':'2.0'},'error':@RpcError,'id':{'type':'null'}}}"},
    {"RpcAnswer",
     "{'oneOf':[{'type':'object','required':['jsonrpc','result','id'],'properties':{'jsonrpc':"
     "{'const':'2.0'},'result':true,'id':@RpcId}},{'type':'object','required':['jsonrpc','error',"
     "'id'],'properties':{'jsonrpc':{'const':'2.0'},'error':@RpcError,'id':@RpcId}},"
     "{'type':'object','description':'1.0','required':['id','result','error'],'properties':{"
     "'id':@RpcId,'result':true,'error':{'type':['string','null']}}}]}"},
    {"RpcAnswers", "{'oneOf':[@RpcAnswer,{'type':'array','minItems':1,'items':@RpcAnswer}]}"},
};

static json_t *find_schema(const char *name) {
    if (strcmp(name, "Code") == 0)
        return json_pack("{s:s,s:o,s:s}", "type", "string", "enum", doc_code_words(), "description",
                         "what went wrong, as a word");
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++)
        if (strcmp(schemas[i].name, name) == 0)
            return doc_literal(schemas[i].text);
    return NULL; /* doc_set says so */
}

/* Adds what is referred to below value, and what that refers to. */
static void add_below(json_t *found, const json_t *value) {
    static const char begin[] = "#/components/schemas/";
    const char *name;
    size_t i;
    json_t *element;
    json_t *object = json_is_object(value) ? (json_t *)(uintptr_t)value : NULL;
    const char *ref = json_string_value(json_object_get(object, "$ref"));
    if (ref && strncmp(ref, begin, sizeof begin - 1) == 0 &&
        !json_object_get(found, ref + sizeof begin - 1)) {
        doc_set(found, ref + sizeof begin - 1, find_schema(ref + sizeof begin - 1));
        add_below(found, json_object_get(found, ref + sizeof begin - 1));
    }
    json_object_foreach(object, name, element) add_below(found, element);
    if (json_is_array(value))
        json_array_foreach(value, i, element) add_below(found, element);
}

void doc_add_schemas(json_t *document) {
    json_t *found = json_object();
    add_below(found, document);
    doc_set(doc_member(document, "components"), "schemas", found);
}
