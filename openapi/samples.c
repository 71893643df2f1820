/* SPDX-License-Identifier: MIT */
/* One call of each operation that goes through, and the schemas of results that are JSON already.
 * They go through where a key `greeting`, a queue `jobs` with a message, a router `events` and the
 * binding between both are there. */
#include "openapi/doc.h"

#define PLACE "'type':'hdd','key':'greeting'"
#define RECEIPT "'queue':'jobs','receipt':'1.1.1'"
#define ROUTER                                                                                     \
    "{'name':'events','type':'topic','published':0,'unroutable':0,'bindings':[{'queue':'jobs',"    \
    "'pattern':'orders.#'}]}"
#define QUEUE                                                                                      \
    "{'name':'jobs','type':'hdd','lease':30000,'max-deliver':0,'dead-letter':null,'ttl':0,"        \
    "'max-length':0,'overflow':'reject','dedup-window':0,'paused':false,'ready':0,'leased':0,"     \
    "'delayed':0,'published':0,'delivered':0,'acked':0,'redelivered':0,'dead_lettered':0,"         \
    "'expired':0,'dropped':0,'consumers':0,'oldest_ms':0}"
#define MESSAGE                                                                                    \
    "'id':'order-1','attempt':1,'key':'orders.new','payload':'hello','headers':{},"                \
    "'published_at':1700000000000"
#define RESULTS(items)                                                                             \
    "{'type':'object','required':['results'],'properties':{'results':{'type':'array','items':"     \
    "{'oneOf':[" items ",@Failed]}}}}"
#define COUNTED(word)                                                                              \
    "{'type':'object','required':['" word "'],'properties':{'" word                                \
    "':{'type':'integer','minimum':0}}}"
#define NAMES(word)                                                                                \
    "{'type':'object','required':['" word "'],'properties':{'" word                                \
    "':{'type':'array','items':{'type':'string'}}}}"

const struct doc_sample doc_samples[] = {
    {"Storage.Set", "{" PLACE ",'value':'hello','ttl':60000}", "true", NULL},
    {"Storage.Get", "{" PLACE "}", "'hello'", NULL},
    {"Storage.GetEntry", "{" PLACE "}",
     "{'value':'hello','revision':1,'etag':'5d41402abc4b2a76b9719d911017c592','ttl':60000}", NULL},
    {"Storage.Has", "{" PLACE "}", "true", NULL},
    {"Storage.Delete", "{" PLACE "}", "true", NULL},
    {"Storage.FlushAll", "{'type':'memory'}", "true", NULL},
    {"Storage.Count", "{'type':'hdd'}", "1", NULL},
    {"Storage.List", "{'type':'hdd','prefix':'greet','limit':10}", "{'keys':['greeting']}", NULL},
    {"Storage.GetMany", "{'type':'hdd','keys':['greeting','nobody']}", "{'greeting':'hello'}",
     NULL},
    {"Storage.SetMany",
     "{'type':'hdd','entries':{'a':'1','b':{'value':'Ag==','encoding':'base64','ttl':60000}}}", "2",
     NULL},
    {"Storage.Increment", "{'type':'hdd','key':'visits','by':2}", "2", NULL},
    {"Storage.Touch", "{" PLACE ",'ttl':60000}", "true", NULL},
    {"Storage.Ttl", "{" PLACE "}", "60000", NULL},
    {"Storage.Batch",
     "{'ops':[{'op':'set','key':'a','value':'1'},{'op':'incr','key':'n','by':2},"
     "{'op':'delete','key':'a'}]}",
     "{'results':[{'revision':1},2,true]}", "@BatchResults"},
    {"Broker.CreateRouter", "{'router':'events','type':'topic'}", ROUTER, "@Router"},
    {"Broker.DeleteRouter", "{'router':'events'}", "true", NULL},
    {"Broker.GetRouter", "{'router':'events'}", ROUTER, "@Router"},
    {"Broker.ListRouter", "{}", "{'routers':['default','events']}", NAMES("routers")},
    {"Broker.CreateQueue", "{'queue':'jobs','type':'hdd'}", QUEUE, "@Queue"},
    {"Broker.DeleteQueue", "{'queue':'jobs'}", "true", NULL},
    {"Broker.GetQueue", "{'queue':'jobs'}", QUEUE, "@Queue"},
    {"Broker.ListQueue", "{}", "{'queues':['jobs']}", NAMES("queues")},
    {"Broker.Pause", "{'queue':'jobs'}", "true", NULL},
    {"Broker.Resume", "{'queue':'jobs'}", "true", NULL},
    {"Broker.Bind", "{'router':'events','queue':'jobs','pattern':'orders.#'}", "true", NULL},
    {"Broker.Unbind", "{'router':'events','queue':'jobs','pattern':'orders.#'}", "true", NULL},
    {"Broker.Publish", "{'router':'events','key':'orders.new','payload':'hello','id':'order-1'}",
     "{'id':'order-1','queues':1}", "@Published"},
    {"Broker.PublishMany",
     "{'router':'events','messages':[{'key':'orders.new','payload':'one'},"
     "{'key':'orders.new','payload':'Ag==','encoding':'base64','priority':9}]}",
     "{'results':[{'id':'01','queues':1},{'id':'02','queues':1}]}", RESULTS("@Published")},
    {"Broker.Receive", "{'queue':'jobs','max':1,'wait':0}",
     "{'messages':[{'receipt':'1.1.1'," MESSAGE "}]}", NULL},
    {"Broker.Ack", "{" RECEIPT "}", "true", NULL},
    {"Broker.AckMany", "{'queue':'jobs','receipts':['1.1.1']}", "{'results':[true]}",
     RESULTS("{'const':true}")},
    {"Broker.Nack", "{" RECEIPT ",'delay':0}", "true", NULL},
    {"Broker.Extend", "{" RECEIPT ",'lease':60000}", "true", NULL},
    {"Broker.Flush", "{'queue':'jobs'}", "{'dropped':1}", COUNTED("dropped")},
    {"Broker.Redrive", "{'queue':'jobs'}", "{'moved':0}", COUNTED("moved")},
    {"Broker.Peek", "{'queue':'jobs','limit':10}", "{'messages':[{" MESSAGE "}]}", "@PeekedPage"},
    {"Server.Ping", "{}", "'pong'", NULL},
    {"Server.Stats", "{}",
     "{'version':'0.1.0','uptime':1000,'storage':{'memory':{'keys':0,'bytes':0,'shards':[]},"
     "'hdd':{'keys':0,'bytes':0,'shards':[]}},'connections':{'http':1},'requests':{'http':1,"
     "'http_failed':0},'broker':{'routers':1,'queues':0,'messages':0,'published':0,'delivered':0,"
     "'acked':0,'unroutable':0,'bytes':0,'each':[]},'tokens':{'cached':0,'verified':0}}",
     "@Stats"},
    {"rpc.discover", "{}",
     "{'openrpc':'1.3.2','info':{'title':'hati','version':'0.1.0'},"
     "'methods':[]}",
     "{'type':'object','required':['openrpc','info','methods'],'properties':{'openrpc':{'type':"
     "'string'},'info':{'type':'object','additionalProperties':true},'methods':{'type':'array','"
     "items':{'type':'object','additionalProperties':true}}},'additionalProperties':true}"},
};

const unsigned doc_sample_count = sizeof doc_samples / sizeof doc_samples[0];

const struct doc_sample *doc_find_sample(const char *op) {
    for (unsigned i = 0; i < doc_sample_count; i++)
        if (strcmp(doc_samples[i].op, op) == 0)
            return &doc_samples[i];
    return NULL;
}

json_t *doc_result_schema(const struct op *op) {
    const struct doc_sample *sample = doc_find_sample(op->name);
    switch (op->reply) {
    case REPLY_TRUE:
        return doc_literal("{'const':true}");
    case REPLY_BOOL:
        return doc_literal("{'type':'boolean'}");
    case REPLY_NUMBER:
        return doc_literal("{'type':'integer','format':'int64'}");
    case REPLY_VALUE:
        return doc_literal("@Value");
    case REPLY_ENTRY:
        return doc_literal("@Entry");
    case REPLY_KEYS:
        return doc_literal("@KeyPage");
    case REPLY_PAIRS:
        return doc_literal("{'type':'object','additionalProperties':@Value}");
    case REPLY_TEXT:
        return doc_literal("{'type':'string'}");
    case REPLY_MESSAGES:
        return doc_literal("@Messages");
    case REPLY_JSON:
        break;
    }
    return sample && sample->schema ? doc_literal(sample->schema) : json_object();
}
