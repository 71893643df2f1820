/* SPDX-License-Identifier: MIT */
/* What every operation of HTTP has: headers, HEAD beside GET, the right it needs. */
#include <ctype.h>
#include <stdio.h>

#include "openapi/doc.h"

json_t *doc_headers(unsigned flags, const char *more) {
    json_t *headers = json_object();
    doc_set(headers, "X-Request-Id", doc_ref("headers", "RequestId"));
    doc_set(headers, "RateLimit", doc_ref("headers", "RateLimit"));
    doc_set(headers, "RateLimit-Policy", doc_ref("headers", "RateLimitPolicy"));
    if (flags & OPENAPI_CAUSAL)
        doc_set(headers, "Causal-Context", doc_ref("headers", "CausalContext"));
    if (more)
        doc_merge(headers, doc_literal(more));
    return headers;
}

void doc_set_security(json_t *operation, enum auth_scope scope, unsigned flags) {
    const char *word = doc_scope_word(scope);
    if (flags & OPENAPI_OPEN) {
        doc_set(operation, "security", json_array());
        return;
    }
    json_t *words = json_array();
    if (word)
        doc_push_text(words, word);
    doc_set(operation, "security", json_pack("[{s:o},{}]", "bearer", words));
}

/* Answers without their bodies: problems are shared, so their own are made. */
static json_t *without_bodies(json_t *document, json_t *responses) {
    const char *status;
    json_t *response;
    json_t *shared = doc_member(doc_member(document, "components"), "responses");
    json_t *bare = json_object();
    json_object_foreach(responses, status, response) {
        const char *ref = json_string_value(json_object_get(response, "$ref"));
        json_t *copy = json_copy(ref ? json_object_get(shared, strrchr(ref, '/') + 1) : response);
        json_object_del(copy, "content");
        doc_set(bare, status, copy);
    }
    return bare;
}

static json_t *head_of(json_t *document, json_t *operation) {
    json_t *head = json_copy(operation);
    doc_set(head, "operationId",
            json_sprintf("%sHead", json_string_value(json_object_get(operation, "operationId"))));
    doc_set(head, "summary",
            json_sprintf("%s (headers only)",
                         json_string_value(json_object_get(operation, "summary"))));
    doc_set(head, "responses", without_bodies(document, json_object_get(operation, "responses")));
    return head;
}

void doc_put(json_t *document, const char *route, json_t *operation, unsigned flags) {
    char method[DOC_NAME_MAX];
    size_t len = 0;
    for (; route[len] != ' ' && len + 1 < sizeof method; len++)
        method[len] = (char)tolower((unsigned char)route[len]);
    method[len] = '\0';
    json_t *paths = doc_member(document, "paths");
    json_t *item = doc_member(paths, route + len + 1);
    if (!json_object_get(item, "parameters")) {
        json_t *params = json_pack("[o]", doc_ref("parameters", "RequestId"));
        if (flags & OPENAPI_CAUSAL)
            doc_push(params, doc_ref("parameters", "CausalContext"));
        doc_set(item, "parameters", params);
    }
    doc_set(item, method, operation);
    if (strcmp(method, "get") == 0)
        doc_set(item, "head", head_of(document, operation));
}
