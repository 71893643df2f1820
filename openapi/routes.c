/* SPDX-License-Identifier: MIT */
/* Routes that are no rows, from what their doors declare. */
#include <stdio.h>

#include "openapi/doc.h"

static json_t *answer_of(const struct openapi_route *route, const struct openapi_answer *answer) {
    json_t *response = json_pack("{s:s,s:o}", "description", answer->doc, "headers",
                                 doc_headers(route->flags, answer->headers));
    if (!answer->type)
        return response;
    json_t *media = json_pack("{s:o}", "schema", doc_literal(answer->schema));
    if (answer->example)
        doc_set(media, "example", doc_literal(answer->example));
    doc_set(response, "content", json_pack("{s:o}", answer->type, media));
    return response;
}

/* A second answer of a status has another media type. */
static void add_answer(json_t *responses, const char *status, json_t *answer) {
    json_t *first = json_object_get(responses, status);
    if (!first) {
        doc_set(responses, status, answer);
        return;
    }
    doc_merge(doc_member(first, "content"), json_incref(json_object_get(answer, "content")));
    json_decref(answer);
}

static uint64_t errors_of(const struct openapi_route *route) {
    uint64_t errors = route->errors;
    if (route->flags & OPENAPI_STANDALONE)
        return errors;
    errors |= OP_ERR(SYNTAX) | OP_ERR(UNAVAILABLE) | OP_ERR(OUT_OF_MEMORY) | OP_ERR(INTERNAL) |
              OP_ERR(AUTH_REQUIRED) | OP_ERR(FORBIDDEN) | OP_ERR(RATE_LIMITED);
    return route->body ? errors | OP_ERR(VALUE_TOO_LARGE) : errors;
}

static json_t *operation_of(json_t *document, const struct openapi_route *route) {
    char status[16];
    json_t *responses = json_object();
    json_t *operation = json_pack("{s:s,s:s,s:[s]}", "operationId", route->id, "summary",
                                  route->doc, "tags", route->tag);
    doc_set_security(operation, route->scope, route->flags);
    if (route->params)
        doc_set(operation, "parameters", doc_literal(route->params));
    if (route->body)
        doc_set(operation, "requestBody", doc_literal(route->body));
    for (unsigned i = 0; i < OPENAPI_ANSWERS_MAX && route->answers[i].status; i++) {
        snprintf(status, sizeof status, "%u", route->answers[i].status);
        add_answer(responses, status, answer_of(route, &route->answers[i]));
    }
    doc_add_problems(document, responses, errors_of(route), route->flags);
    doc_set(operation, "responses", responses);
    return operation;
}

void doc_add_routes(json_t *document, const struct openapi_route *routes, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        doc_put(document, routes[i].route, operation_of(document, &routes[i]), routes[i].flags);
}
