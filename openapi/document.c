/* SPDX-License-Identifier: MIT */
/* The OpenAPI document. */
#include "openapi/doc.h"

static const char info[] =
    "{'title':'hati','version':'" DOC_VERSION "','summary':'A key/value store and message broker.',"
    "'description':'An entry is found by storage, workspace, namespace and key. A path part is "
    "percent-decoded once; a key may hold slashes, encoded or plain. Times are in milliseconds. "
    "Failures are problem documents (RFC 9457) whose `code` is a word; a path that is not here is "
    "404 `UNKNOWN_COMMAND`, a method that is not here 405 `METHOD_NOT_ALLOWED` with `Allow`. Every "
    "path answers OPTIONS with 204, `Allow` and what a preflight of CORS asks for; answers to a "
    "request with `Origin` have the headers of CORS. An answer with status 503 and `Hati-Outcome: "
    "unknown` may have been carried out all the same. This document, /openrpc.json, /status, "
    "/healthz and /readyz hold no data and need no token.','license':{'name':'MIT','identifier':"
    "'MIT'}}";

static const char tags[] =
    "[{'name':'keys','description':'Keys of a workspace and a namespace'},"
    "{'name':'keys v1','description':'Keys of a namespace of the default workspace'},"
    "{'name':'kv-store','description':'Keys with a causal context; shards and views'},"
    "{'name':'broker','description':'Routers, queues and messages'},"
    "{'name':'json-rpc','description':'JSON-RPC 2.0 and 1.0; /openrpc.json has the methods'},"
    "{'name':'server','description':'The server itself'}]";

static const char security[] =
    "{'bearer':{'type':'http','scheme':'bearer','bearerFormat':'JWT','description':'Needed where "
    "credentials are configured. Signed as the keys of the "
    "server want it. The claim `workspace` opens "
    "that workspace on /api2, the system account all of them. The claim `scope`, where there is "
    "one, narrows: kv:read, kv:write, broker:publish, broker:consume, admin, each optionally with "
    ":pattern of a namespace, router or queue; which of them an operation needs stands in its "
    "security requirement.'}}";

static const char parameters[] =
    "{'RequestId':{'name':'X-Request-Id','in':'header','schema':{'type':'string','maxLength':128},"
    "'description':'is given back; one is made where none, or an odd one, came'},"
    "'CausalContext':{'name':'Causal-Context','in':'header','schema':{'type':'string'},"
    "'description':'a JSON object, as an answer before had it: nothing older is seen'}}";

static const char headers[] =
    "{'RequestId':{'required':true,'schema':{'type':'string'},'description':'that of the caller, "
    "if it "
    "sent a sane one'},'CausalContext':{'schema':{'type':'string'},'description':'a JSON object, "
    "where the request had one: what this answer has seen'},"
    "'RateLimit':{'schema':{'type':'string'},'description':'where clients are limited: what is "
    "left "
    "to this one, and in how many seconds there is more'},'RateLimitPolicy':{'schema':{'type':"
    "'string'},'description':'the limits themselves'}}";

char *openapi_document(const struct openapi_route *routes, unsigned count, const char *base_path,
                       bool indented) {
    json_t *document = json_object();
    doc_set_text(document, "openapi", "3.1.0");
    doc_set(document, "info", doc_literal(info));
    doc_set(document, "servers", json_pack("[{s:s}]", "url", base_path ? base_path : "/"));
    doc_set(document, "tags", doc_literal(tags));
    doc_set(document, "paths", json_object());
    json_t *components = doc_member(document, "components");
    doc_set(components, "securitySchemes", doc_literal(security));
    doc_set(components, "parameters", doc_literal(parameters));
    doc_set(components, "headers", doc_literal(headers));
    doc_add_rows(document);
    doc_add_routes(document, routes, count);
    doc_add_schemas(document);
    return doc_finish(document, indented);
}
