/* SPDX-License-Identifier: MIT */
/* Inside the documents: pieces of JSON that both of them are made of. Without memory, and where a
 * literal is wrong, they end the process: documents are made at start. */
#ifndef HATI_OPENAPI_DOC_H
#define HATI_OPENAPI_DOC_H

#include <jansson.h>

#include "openapi/openapi.h"

#define DOC_VERSION HATI_VERSION
#define DOC_NAME_MAX 128

/* JSON from a literal: ' stands for ", @Name for a reference to a schema. (doc.c) */
json_t *doc_literal(const char *text);
json_t *doc_ref(const char *kind, const char *name);
/* Set or append a value, which passes to the object or array. */
void doc_set(json_t *object, const char *name, json_t *value);
void doc_set_text(json_t *object, const char *name, const char *text);
void doc_push(json_t *array, json_t *value);
void doc_push_text(json_t *array, const char *text);
/* Appends the values of `from`, which it lets go of. */
void doc_extend(json_t *array, json_t *from);
/* Sets the members of `from`, which it lets go of. */
void doc_merge(json_t *object, json_t *from);
/* The member, an object, which is made where it is not there; borrowed. */
json_t *doc_member(json_t *object, const char *name);
/* The document as text. Lets go of it. */
char *doc_finish(json_t *document, bool indented);

/* Puts into components/schemas what the document refers to. (schemas.c) */
void doc_add_schemas(json_t *document);

/* The schema of a parameter: as JSON, or as text of a path, a query or a header. (params.c) */
json_t *doc_param_schema(const struct param *param, bool as_text);
/* Whether JSON has it; what only lines have is not told. */
bool doc_is_json_param(const struct param *param);
/* The word of a scope, or NULL. */
const char *doc_scope_word(enum auth_scope scope);

/* How an operation looks in use. (samples.c) */
struct doc_sample {
    const char *op;
    const char *params; /* a literal: by name */
    const char *result; /* a literal: what JSON-RPC answers */
    const char *schema; /* a literal: of a result of kind REPLY_JSON; else NULL */
};
extern const struct doc_sample doc_samples[];
extern const unsigned doc_sample_count;
/* NULL: there is none. */
const struct doc_sample *doc_find_sample(const char *op);
/* The schema of what JSON-RPC answers; NULL without a sample that says it. */
json_t *doc_result_schema(const struct op *op);

/* Adds to the responses of an operation those of failures, one a status. (problems.c) */
void doc_add_problems(json_t *document, json_t *responses, uint64_t errors, unsigned flags);
/* The errors of a method of JSON-RPC. */
json_t *doc_rpc_errors(uint64_t errors);
/* All code words, each once. */
json_t *doc_code_words(void);

/* Headers that every answer has, and those of the given literal (NULL: none). (answers.c) */
json_t *doc_headers(unsigned flags, const char *more);
/* The paths of the rows and of the routes, into document/paths. (rows.c, routes.c) */
void doc_add_rows(json_t *document);
void doc_add_routes(json_t *document, const struct openapi_route *routes, unsigned count);
/* Puts an operation at its place ("GET /path"), and beside a GET what HEAD answers. (answers.c) */
void doc_put(json_t *document, const char *route, json_t *operation, unsigned flags);
/* What is told of the right that an operation needs. */
void doc_set_security(json_t *operation, enum auth_scope scope, unsigned flags);

#endif
