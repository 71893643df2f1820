/* SPDX-License-Identifier: MIT */
/* The documents of the doors that speak HTTP and JSON-RPC, made of the operation rows, the list of
 * failures, and the routes that are no rows. */
#ifndef HATI_OPENAPI_OPENAPI_H
#define HATI_OPENAPI_OPENAPI_H

#include "handlers/op.h"

#define OPENAPI_ANSWERS_MAX 5

enum openapi_flags {
    OPENAPI_OPEN = 1,       /* needs no token */
    OPENAPI_KVSTORE = 2,    /* failures look as /kv-store tells them */
    OPENAPI_RPC = 4,        /* failures look as JSON-RPC tells them */
    OPENAPI_CAUSAL = 8,     /* takes and gives a causal context in a header */
    OPENAPI_STANDALONE = 16 /* nothing but what the row says can go wrong */
};

/* One answer of a route (one for each media type of a status): its status, what it means, its media
 * type (NULL: no body) and the schema of its body. Literals are JSON with ' for ", in which @Name
 * refers to a schema of the list. */
struct openapi_answer {
    unsigned status;
    const char *doc;
    const char *type;
    const char *schema;
    const char *headers; /* a literal: an object of headers beyond those that every answer has */
    const char *example; /* a literal; NULL: none */
};

/* A route that is no row of the operation table, declared next to the door that serves it. */
struct openapi_route {
    const char *route; /* "GET /kv-store/keys/{key}" */
    const char *id;    /* of the operation; letters only, no two alike */
    const char *tag;
    const char *doc;
    enum auth_scope scope;
    unsigned flags;
    const char *params; /* a literal: an array of parameters; NULL: none */
    const char *body;   /* a literal: a request body; NULL: none */
    struct openapi_answer answers[OPENAPI_ANSWERS_MAX];
    uint64_t errors; /* OP_ERR(…) bits beyond those that its flags bring */
};

/* The OpenAPI document, as JSON text that the caller frees; indented for people and with a newline
 * at its end, or compact on one line without one. NULL without memory. A literal that is no JSON
 * ends the process: every start would show it. base_path: before every path, NULL for none. Any
 * thread, after op_init. */
char *openapi_document(const struct openapi_route *routes, unsigned count, const char *base_path,
                       bool indented) MUST_USE;

/* The same for OpenRPC. */
char *openrpc_document(bool indented) MUST_USE;

#endif
