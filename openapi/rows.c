/* SPDX-License-Identifier: MIT */
/* Routes of rows, as the REST door serves them: what is in the path, the query, the headers and the
 * body, and which status says what. */
#include <ctype.h>
#include <stdio.h>

#include "openapi/doc.h"

#define ETAG                                                                                       \
    "'ETag':{'required':true,'schema':{'type':'string','pattern':'^\\u0022[0-9a-f]{32}\\u0022$'}," \
    "'description':'MD5 of the value'}"

/* One route of a row. */
struct row {
    const struct op *op;
    const char *path;
    bool is_get, is_put, is_post;
    json_t *example; /* parameters by name; may be NULL */
};

static bool is_in_path(const struct row *row, const struct param *param) {
    char part[DOC_NAME_MAX];
    snprintf(part, sizeof part, "{%s}", param->name);
    return strstr(row->path, part) != NULL;
}

static bool has_param(const struct op *op, const char *name) {
    for (unsigned i = 0; i < op->param_count; i++)
        if (strcmp(op->params[i].name, name) == 0)
            return true;
    return false;
}

static bool has_payload(const struct op *op) {
    for (unsigned i = 0; i < op->param_count && !(op->flags & OP_JSON_BODY); i++)
        if (op->params[i].type == PARAM_BYTES)
            return true;
    return false;
}

static json_t *example_of(const struct row *row, const struct param *param) {
    if (param->type == PARAM_WORKSPACE)
        return json_string("11111111-2222-3333-4444-555555555555");
    if (param->type == PARAM_NAMESPACE)
        return json_string("default");
    return json_incref(json_object_get(row->example, param->name));
}

/* What is said of leaving it out, behind a semicolon, is not said of a part of the path. */
static json_t *doc_of(const struct param *param, bool in_path) {
    return json_stringn(param->doc, in_path ? strcspn(param->doc, ";") : strlen(param->doc));
}

static json_t *param_object(const struct row *row, const struct param *param, bool in_path) {
    json_t *object =
        json_pack("{s:s,s:s,s:b,s:o}", "name", param->name, "in", in_path ? "path" : "query",
                  "required", in_path, "description", doc_of(param, in_path));
    json_t *schema = doc_param_schema(param, true);
    if (param->type == PARAM_HEADERS) {
        doc_set(object, "content", json_pack("{s:{s:o}}", "application/json", "schema", schema));
        return object;
    }
    if (param->type == PARAM_STORAGE)
        doc_set_text(schema, "default", "hdd");
    doc_set(object, "schema", schema);
    /* JSON says it in the body: twice is once too often */
    bool is_beside_body = !in_path && (row->op->flags & OP_JSON_BODY);
    json_t *example = is_beside_body ? NULL : example_of(row, param);
    if (example)
        doc_set(object, "example", example);
    return object;
}

static bool is_in_query(const struct op *op, const struct param *param) {
    switch (param->type) {
    case PARAM_STORAGE:
        return true;
    case PARAM_INT:
    case PARAM_PREFIX:
    case PARAM_CURSOR:
    case PARAM_NAME:
    case PARAM_ROUTING:
    case PARAM_CHOICE:
    case PARAM_HEADERS:
        return !(op->flags & OP_JSON_BODY); /* the body has them */
    default:
        return false;
    }
}

static void add_condition(json_t *params, const char *name, const char *doc) {
    doc_push(params, json_pack("{s:s,s:s,s:{s:s},s:s}", "name", name, "in", "header", "schema",
                               "type", "string", "description", doc));
}

static void add_conditions(const struct row *row, json_t *params) {
    const struct op *op = row->op;
    bool reads = op->reply == REPLY_ENTRY;
    if (reads || has_param(op, "ifEtag"))
        add_condition(params, "If-Match", "`*`, or MD5s of the value parted by commas; else 412");
    if (reads)
        add_condition(params, "If-None-Match", "`*`, or MD5s of the value parted by commas: 304");
    else if (has_param(op, "ifAbsent"))
        add_condition(params, "If-None-Match", "`*`: only if it does not exist, else 412");
    if (reads && row->is_get) {
        add_condition(params, "Range", "`bytes=first-last`, `bytes=first-` or `bytes=-length`");
        add_condition(params, "If-Range", "an ETag: the part of that value, else all of this one");
    }
}

/* A namespace of a workspace is listed, or, with watch=1, followed. */
static bool is_watchable(const struct row *row) {
    return row->op->reply == REPLY_KEYS && strstr(row->path, "{workspace}") != NULL;
}

#define WATCH_PARAMS                                                                               \
    "[{'name':'watch','in':'query','schema':{'type':'integer','enum':[0,1],'default':0},"          \
    "'description':'1: changes from now on, as events'},"                                          \
    "{'name':'since','in':'query','schema':{'type':'integer','minimum':0},"                        \
    "'description':'with watch=1: changes behind this revision, too'},"                            \
    "{'name':'values','in':'query','schema':{'type':'integer','enum':[0,1],'default':0},"          \
    "'description':'with watch=1: 1: events have values of up to 64 KiB'},"                        \
    "{'name':'ticket','in':'query','schema':{'type':'string'},"                                    \
    "'description':'with watch=1: in place of Authorization'},"                                    \
    "{'name':'Last-Event-ID','in':'header','schema':{'type':'string'},"                            \
    "'description':'with watch=1: changes behind this one, in place of since'}]"
#define WATCH_HEADERS                                                                              \
    "{'Cache-Control':{'schema':{'const':'no-cache'}},'X-Accel-Buffering':{'schema':{'const':'no'" \
    "}},'Hati-Revision':{'schema':{'type':'integer','minimum':1},'description':'of the storage: "  \
    "the listing holds every change up to it'}}"

static json_t *params_of(const struct row *row) {
    const struct op *op = row->op;
    json_t *params = json_array();
    for (unsigned i = 0; i < op->param_count; i++) {
        bool in_path = is_in_path(row, &op->params[i]);
        if (in_path || is_in_query(op, &op->params[i]))
            doc_push(params, param_object(row, &op->params[i], in_path));
    }
    if (op->reply == REPLY_NUMBER && row->is_post)
        doc_push(params, doc_literal("{'name':'op','in':'query','required':true,'schema':{'type':"
                                     "'string','enum':['incr']},'example':'incr'}"));
    if (is_watchable(row))
        doc_extend(params, doc_literal(WATCH_PARAMS));
    add_conditions(row, params);
    return params;
}

static json_t *payload_body(const struct row *row) {
    const char *name = has_param(row->op, "payload") ? "payload" : "value";
    return json_pack("{s:b,s:s,s:{s:{s:{},s:o}}}", "required", true, "description",
                     "any bytes up to the payload limit", "content", "*/*", "schema", "example",
                     json_deep_copy(json_object_get(row->example, name)));
}

/* Members of the body: parameters that the path has not. */
static json_t *json_body(const struct row *row) {
    const struct op *op = row->op;
    json_t *members = json_object();
    json_t *required = json_array();
    json_t *example = json_object();
    for (unsigned i = 0; i < op->param_count; i++) {
        const struct param *param = &op->params[i];
        if (is_in_path(row, param) || !doc_is_json_param(param))
            continue;
        doc_set(members, param->name, doc_param_schema(param, false));
        if (param->flags & PARAM_REQUIRED)
            doc_push_text(required, param->name);
        if (json_object_get(row->example, param->name))
            doc_set(example, param->name, json_incref(json_object_get(row->example, param->name)));
    }
    bool optional = json_array_size(required) == 0;
    json_t *schema = json_pack("{s:s,s:o,s:o,s:b}", "type", "object", "properties", members,
                               "required", required, "additionalProperties", false);
    return json_pack("{s:b,s:{s:{s:o,s:o}}}", "required", !optional, "content", "application/json",
                     "schema", schema, "example", example);
}

static void add_answer(json_t *responses, const char *status, const char *doc, const char *headers,
                       json_t *content) {
    json_t *response =
        json_pack("{s:s,s:o}", "description", doc, "headers", doc_headers(OPENAPI_CAUSAL, headers));
    if (content)
        doc_set(response, "content", content);
    doc_set(responses, status, response);
}

static json_t *content_of(const char *type, json_t *schema, json_t *example) {
    json_t *media = json_pack("{s:o}", "schema", schema);
    if (example)
        doc_set(media, "example", example);
    return json_pack("{s:o}", type, media);
}

static json_t *json_content(const struct op *op) {
    const struct doc_sample *sample = doc_find_sample(op->name);
    return content_of("application/json", doc_result_schema(op),
                      sample ? doc_literal(sample->result) : NULL);
}

#define WRITTEN                                                                                    \
    "{" ETAG                                                                                       \
    ",'Hati-Revision':{'schema':{'type':'integer','minimum':1},'description':'grows with "         \
    "every change of the store'}}"
#define READ                                                                                       \
    ETAG ",'Hati-Revision':{'schema':{'type':'integer','minimum':1},'description'"                 \
         ":'of the entry; none where a peer gave "                                                 \
         "it'},'Hati-Ttl':{'schema':{'type':'integer','minimum':1},'description':"                 \
         "'remaining ms; none: forever'}"
#define RANGES ",'Accept-Ranges':{'required':true,'schema':{'const':'bytes'}}"
#define NO_PART "'Content-Range':{'required':true,'schema':{'type':'string','pattern':'^bytes '}}"
#define PART "," NO_PART
#define GUARDED                                                                                    \
    ",'X-Content-Type-Options':{'required':true,'schema':{'const':'nosniff'}},"                    \
    "'Content-Security-Policy':{'required':true,'schema':{'const':'sandbox'}}"

static void add_listing(const struct row *row, json_t *responses) {
    json_t *content =
        content_of("application/json", doc_literal("@Listing"),
                   doc_literal("{'namespace':'default','keys':['greeting'],'count':1}"));
    if (is_watchable(row))
        doc_merge(
            content,
            content_of("text/event-stream", doc_literal("{'type':'string'}"),
                       json_string("id: 7\ndata: {\"kind\":\"set\",\"revision\":7,\"key\":"
                                   "\"greeting\",\"etag\":\"5d41402abc4b2a76b9719d911017c592\","
                                   "\"size\":5}\n\n")));
    add_answer(responses, "200",
               is_watchable(row) ? "keys in byte order, or changes as they come"
                                 : "keys in byte order",
               WATCH_HEADERS, content);
}

static void add_storage_answers(const struct row *row, json_t *responses) {
    switch (row->op->reply) {
    case REPLY_TRUE:
        add_answer(responses, "204", "stored", WRITTEN, NULL);
        add_answer(responses, "201", "stored where nothing was (If-None-Match: *)", WRITTEN, NULL);
        break;
    case REPLY_ENTRY:
        add_answer(responses, "200", "the value, with the Content-Type it was stored with",
                   "{" READ GUARDED RANGES "}",
                   content_of("*/*", json_object(), json_string("hello")));
        if (row->is_get) {
            add_answer(responses, "206", "the bytes that Range names", "{" READ GUARDED PART "}",
                       content_of("*/*", json_object(), json_string("ell")));
            add_answer(responses, "416", "none of the bytes that Range names is there",
                       "{" NO_PART "}", NULL);
        }
        add_answer(responses, "304", "it is what If-None-Match says", "{" READ "}", NULL);
        break;
    case REPLY_NUMBER:
        add_answer(responses, "200", "the new number", NULL,
                   content_of("text/plain", doc_literal("{'type':'string','pattern':'^-?[0-9]+$'}"),
                              json_string("2")));
        break;
    case REPLY_KEYS:
        add_listing(row, responses);
        break;
    case REPLY_BOOL:
        add_answer(responses, "204", "removed", NULL, NULL);
        break;
    default:
        add_answer(responses, "200", row->op->doc, NULL, json_content(row->op));
    }
}

static void add_broker_answers(const struct row *row, json_t *responses) {
    const struct op *op = row->op;
    bool has_result = op->reply == REPLY_JSON || op->reply == REPLY_MESSAGES;
    if (has_result && has_payload(op)) {
        add_answer(responses, "201", "taken", NULL, json_content(op));
    } else if (has_result) {
        add_answer(responses, "200",
                   row->is_put ? "it was there already, and is the same" : op->doc, NULL,
                   json_content(op));
        if (row->is_put)
            add_answer(responses, "201", "made", NULL, json_content(op));
    } else if (row->is_put) {
        add_answer(responses, "200", "it was there already", NULL,
                   content_of("application/json",
                              doc_literal("{'type':'object','maxProperties':0}"), json_object()));
        add_answer(responses, "201", "made", NULL,
                   content_of("application/json",
                              doc_literal("{'type':'object','maxProperties':0}"), json_object()));
    } else {
        add_answer(responses, "204", "done", NULL, NULL);
    }
}

/* Beyond those of the row: of every request, of bodies and of what REST makes of an answer. */
static uint64_t errors_of(const struct row *row, bool has_body) {
    const struct op *op = row->op;
    uint64_t errors = op->errors | OP_ERR(SYNTAX) | OP_ERR(AUTH_REQUIRED) | OP_ERR(FORBIDDEN) |
                      OP_ERR(UNAVAILABLE) | OP_ERR(OUT_OF_MEMORY) | OP_ERR(INTERNAL) |
                      OP_ERR(CORRUPT) | OP_ERR(RATE_LIMITED);
    if (has_body)
        errors |= OP_ERR(VALUE_TOO_LARGE);
    if (op->reply == REPLY_BOOL)
        errors |= op->flags & OP_BROKER ? OP_ERR(QUEUE_NOT_EXIST) : OP_ERR(KEY_NOT_EXIST);
    if (op->reply == REPLY_ENTRY)
        errors |= OP_ERR(PRECONDITION_FAILED);
    if (op->reply == REPLY_KEYS)
        errors |= OP_ERR(KEY_INVALID);
    return errors;
}

/* storageSet; of a further route with the same operation storageSetV1Put. */
static json_t *id_of(const struct row *row, const char *route, bool is_first) {
    char id[DOC_NAME_MAX];
    size_t len = 0;
    for (const char *at = row->op->name; *at && len + 32 < sizeof id; at++)
        if (*at != '.')
            id[len++] = *at;
    id[0] = (char)tolower((unsigned char)id[0]);
    if (!is_first) {
        len += (size_t)snprintf(id + len, sizeof id - len, "V1%c", route[0]);
        for (const char *at = route + 1; *at != ' '; at++)
            id[len++] = (char)tolower((unsigned char)*at);
    }
    id[len] = '\0';
    return json_string(id);
}

static const char *tag_of(const struct row *row) {
    if (strncmp(row->path, "/api2/", 6) == 0)
        return "keys";
    if (strncmp(row->path, "/api/", 5) == 0)
        return "keys v1";
    return strncmp(row->path, "/broker/", 8) == 0 ? "broker" : "server";
}

static json_t *operation_of(json_t *document, const struct row *row, const char *route,
                            bool is_first) {
    const struct op *op = row->op;
    bool has_body = has_payload(op) || (op->flags & OP_JSON_BODY);
    json_t *responses = json_object();
    json_t *operation =
        json_pack("{s:o,s:s,s:[s],s:s}", "operationId", id_of(row, route, is_first), "summary",
                  op->doc, "tags", tag_of(row), "x-hati-operation", op->name);
    doc_set_security(operation, op->scope, op->flags & OP_OPEN ? OPENAPI_OPEN : 0);
    doc_set(operation, "parameters", params_of(row));
    if (has_body)
        doc_set(operation, "requestBody", has_payload(op) ? payload_body(row) : json_body(row));
    if (op->flags & OP_BROKER)
        add_broker_answers(row, responses);
    else
        add_storage_answers(row, responses);
    doc_add_problems(document, responses, errors_of(row, has_body), OPENAPI_CAUSAL);
    doc_set(operation, "responses", responses);
    return operation;
}

void doc_add_rows(json_t *document) {
    for (unsigned i = 0; i < op_count; i++)
        for (unsigned j = 0; j < OP_ROUTES_MAX && ops[i].routes[j]; j++) {
            const char *route = ops[i].routes[j];
            const struct doc_sample *sample = doc_find_sample(ops[i].name);
            struct row row = {.op = &ops[i],
                              .path = strchr(route, ' ') + 1,
                              .is_get = strncmp(route, "GET ", 4) == 0,
                              .is_put = strncmp(route, "PUT ", 4) == 0,
                              .is_post = strncmp(route, "POST ", 5) == 0,
                              .example = sample ? doc_literal(sample->params) : NULL};
            doc_put(document, route, operation_of(document, &row, route, j == 0), OPENAPI_CAUSAL);
            json_decref(row.example);
        }
}
