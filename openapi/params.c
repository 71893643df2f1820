/* SPDX-License-Identifier: MIT */
/* Parameters of rows as JSON schemas. */
#include "openapi/doc.h"

#define VISIBLE "[^\\u0000-\\u0020\\u007f-\\u009f]"

bool doc_is_json_param(const struct param *param) {
    return param->type != PARAM_SETTINGS;
}

const char *doc_scope_word(enum auth_scope scope) {
    switch (scope) {
    case AUTH_KV_READ:
        return "kv:read";
    case AUTH_KV_WRITE:
        return "kv:write";
    case AUTH_BROKER_PUBLISH:
        return "broker:publish";
    case AUTH_BROKER_CONSUME:
        return "broker:consume";
    case AUTH_ADMIN:
        return "admin";
    case AUTH_NOTHING:
    case AUTH_ANY:
        break;
    }
    return NULL;
}

/* Bounds that every number of 64 bits keeps are none. JSON takes a number as text too, for those
 * whose numbers are doubles. */
static json_t *number_schema(int64_t min, int64_t max, bool as_text) {
    json_t *schema = json_object();
    doc_set(schema, "type", as_text ? json_string("integer") : doc_literal("['integer','string']"));
    doc_set_text(schema, "format", "int64");
    if (min != INT64_MIN)
        doc_set(schema, "minimum", json_integer(min));
    if (max != INT64_MAX)
        doc_set(schema, "maximum", json_integer(max));
    if (!as_text)
        doc_set_text(schema, "pattern", min < 0 ? "^[+-]?[0-9]+$" : "^[+]?[0-9]+$");
    return schema;
}

static json_t *text_schema(size_t min, size_t max, const char *pattern) {
    json_t *schema = json_pack("{s:s}", "type", "string");
    if (min)
        doc_set(schema, "minLength", json_integer((json_int_t)min));
    if (max)
        doc_set(schema, "maxLength", json_integer((json_int_t)max));
    if (pattern)
        doc_set_text(schema, "pattern", pattern);
    return schema;
}

static json_t *choice_schema(const char *words) {
    json_t *list = json_array();
    while (*words) {
        size_t len = strcspn(words, " ");
        doc_push(list, json_stringn(words, len));
        words += len + (words[len] == ' ');
    }
    return json_pack("{s:s,s:o}", "type", "string", "enum", list);
}

/* An array of at most so many, one for one of the engine's batches. */
static json_t *list_schema(const char *items) {
    return json_pack("{s:s,s:o,s:i}", "type", "array", "items", doc_literal(items), "maxItems",
                     BROKER_BATCH_MAX);
}

static json_t *of_structure(const struct param *param, bool as_text) {
    switch (param->type) {
    case PARAM_KEYS:
        return list_schema("@Key");
    case PARAM_RECEIPTS:
        return list_schema("{'type':'string','maxLength':255}");
    case PARAM_MESSAGES:
        return list_schema("@NewMessage");
    case PARAM_OPS:
        return list_schema("@BatchOp");
    case PARAM_ENTRIES:
        return doc_literal("{'type':'object','maxProperties':1000,'propertyNames':@Key,"
                           "'additionalProperties':@NewEntry}");
    case PARAM_HEADERS:
        return doc_literal("{'type':'object','additionalProperties':true}");
    case PARAM_INT:
        return number_schema(param->min, param->max, as_text);
    default:
        return number_schema(0, INT64_MAX, as_text);
    }
}

static json_t *schema_of(const struct param *param, bool as_text) {
    switch (param->type) {
    case PARAM_STORAGE:
        return choice_schema("memory hdd");
    case PARAM_WORKSPACE:
        return doc_literal("{'type':'string','format':'uuid'}");
    case PARAM_NAMESPACE:
        return text_schema(1, KV_NAMESPACE_MAX, NULL);
    case PARAM_KEY:
        return text_schema(1, KV_KEY_MAX, NULL);
    case PARAM_PREFIX:
        return text_schema(0, KV_KEY_MAX, NULL);
    case PARAM_BYTES:
    case PARAM_CURSOR:
        return text_schema(0, 0, NULL);
    case PARAM_NAME:
        return text_schema(1, BROKER_NAME_MAX, "^" VISIBLE "+$");
    case PARAM_ROUTING:
        return text_schema(0, BROKER_NAME_MAX, "^" VISIBLE "*$");
    case PARAM_ETAG:
        return text_schema(0, 0, "^[0-9a-fA-F]{32}$");
    case PARAM_BOOL:
        return doc_literal("{'type':'boolean'}");
    case PARAM_ENCODING:
        return choice_schema("utf-8 base64");
    case PARAM_CHOICE:
        return choice_schema(param->choices);
    default:
        return of_structure(param, as_text);
    }
}

json_t *doc_param_schema(const struct param *param, bool as_text) {
    json_t *schema = schema_of(param, as_text);
    if (!as_text && param->doc)
        doc_set_text(schema, "description", param->doc);
    return schema;
}
