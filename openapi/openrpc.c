/* SPDX-License-Identifier: MIT */
/* The OpenRPC document. */
#include <ctype.h>
#include <stdio.h>

#include "openapi/doc.h"

static const char info[] =
    "{'title':'hati','version':'" DOC_VERSION "','description':'JSON-RPC 2.0 and 1.0 over HTTP "
    "(POST /rpc) and as lines of the line protocol. Parameters go by name or by place; those that "
    "have no place stand last and go by name. A value that is not UTF-8 travels as base64 with "
    "`encoding`. A message of an error begins with its code word.','license':{'name':'MIT'}}";

static bool is_required(const struct param *param) {
    return (param->flags & PARAM_REQUIRED) != 0;
}

static json_t *param_of(const struct param *param) {
    return json_pack("{s:s,s:s,s:b,s:o}", "name", param->name, "summary", param->doc, "required",
                     is_required(param), "schema", doc_param_schema(param, false));
}

static void add_params(json_t *params, const struct op *op, bool required) {
    for (unsigned i = 0; i < op->param_count; i++)
        if (doc_is_json_param(&op->params[i]) && is_required(&op->params[i]) == required)
            doc_push(params, param_of(&op->params[i]));
}

/* OpenRPC wants the required ones first. */
static json_t *params_of(const struct op *op) {
    json_t *params = json_array();
    add_params(params, op, true);
    add_params(params, op, false);
    return params;
}

/* Where that is another order than theirs by place, they go by name. */
static const char *structure_of(const struct op *op) {
    bool optional = false;
    for (unsigned i = 0; i < op->param_count; i++) {
        if (doc_is_json_param(&op->params[i]) && is_required(&op->params[i]) && optional)
            return "by-name";
        optional |= !is_required(&op->params[i]);
    }
    return "either";
}

static json_t *example_of(const struct op *op, const struct doc_sample *sample) {
    json_t *given = doc_literal(sample->params);
    json_t *params = json_array();
    for (unsigned i = 0; i < op->param_count; i++) {
        const char *name = op->params[i].name;
        json_t *value = json_object_get(given, name);
        if (value)
            doc_push(params, json_pack("{s:s,s:O}", "name", name, "value", value));
    }
    json_decref(given);
    return json_pack("{s:s,s:o,s:{s:s,s:o}}", "name", "one that goes through", "params", params,
                     "result", "name", "result", "value", doc_literal(sample->result));
}

/* `SET <type> <ttl> <key> <value>` */
static json_t *line_of(const struct op_verb *verb) {
    return json_sprintf("%s%s%s", verb->verb, verb->words[0] ? " " : "", verb->words);
}

static json_t *lines_of(const struct op *op) {
    json_t *lines = json_array();
    for (unsigned i = 0; i < OP_VERBS_MAX && op->verbs[i].verb; i++)
        doc_push(lines, line_of(&op->verbs[i]));
    return lines;
}

static json_t *routes_of(const struct op *op) {
    json_t *routes = json_array();
    for (unsigned i = 0; i < OP_ROUTES_MAX && op->routes[i]; i++)
        doc_push_text(routes, op->routes[i]);
    return routes;
}

static uint64_t errors_of(const struct op *op) {
    return op->errors | OP_ERR(SYNTAX) | OP_ERR(AUTH_REQUIRED) | OP_ERR(FORBIDDEN) |
           OP_ERR(UNAVAILABLE) | OP_ERR(TIMEOUT) | OP_ERR(OUT_OF_MEMORY) | OP_ERR(INTERNAL) |
           OP_ERR(VALUE_TOO_LARGE) | OP_ERR(RATE_LIMITED);
}

static json_t *method_of(const struct op *op) {
    const struct doc_sample *sample = doc_find_sample(op->name);
    const char *scope = doc_scope_word(op->scope);
    size_t room = strcspn(op->name, ".");
    json_t *method =
        json_pack("{s:s,s:s,s:[{s:s%}],s:s,s:o,s:{s:s,s:o},s:o}", "name", op->name, "summary",
                  op->doc, "tags", "name", op->name, room, "paramStructure", structure_of(op),
                  "params", params_of(op), "result", "name", "result", "schema",
                  doc_result_schema(op), "errors", doc_rpc_errors(errors_of(op)));
    if (sample)
        doc_set(method, "examples", json_pack("[o]", example_of(op, sample)));
    if (scope)
        doc_set_text(method, "x-hati-scope", scope);
    doc_set(method, "x-hati-lines", lines_of(op));
    doc_set(method, "x-hati-routes", routes_of(op));
    return method;
}

char *openrpc_document(bool indented) {
    json_t *document = json_object();
    json_t *methods = json_array();
    for (unsigned i = 0; i < op_count; i++)
        doc_push(methods, method_of(&ops[i]));
    doc_set_text(document, "openrpc", "1.3.2");
    doc_set(document, "info", doc_literal(info));
    doc_set(document, "servers",
            doc_literal("[{'name':'this one','url':'http://localhost:6767/rpc'}]"));
    doc_set(document, "methods", methods);
    doc_add_schemas(document);
    return doc_finish(document, indented);
}
