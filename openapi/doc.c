/* SPDX-License-Identifier: MIT */
#include "openapi/doc.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define REF_BEGIN "{\"$ref\":\"#/components/schemas/"

/* Nothing was begun yet. */
static _Noreturn void die(const char *what, const char *text) {
    fprintf(stderr, "hati: the documents, or no memory for them: %s: %.60s\n", what, text);
    exit(1);
}

static void *must(void *memory) {
    if (!memory)
        die("no memory", "at start");
    return memory;
}

/* Appends a reference for the name that begins at text; returns what is behind it. */
static const char *put_ref(const char *text, char **to) {
    *to = stpcpy(*to, REF_BEGIN);
    while (isalnum((unsigned char)*text))
        *(*to)++ = *text++;
    *to = stpcpy(*to, "\"}");
    return text;
}

json_t *doc_literal(const char *text) {
    json_error_t error;
    char *json = must(malloc(strlen(text) * sizeof REF_BEGIN + 1));
    char *to = json;
    bool in_string = false;
    for (const char *at = text; *at;) {
        if (*at == '@' && !in_string) {
            at = put_ref(at + 1, &to);
            continue;
        }
        if (*at == '\'')
            in_string = !in_string;
        *to++ = *at == '\'' ? '"' : *at;
        at++;
    }
    *to = '\0';
    json_t *value = json_loads(json, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    free(json);
    if (!value)
        die(error.text, text);
    return value;
}

json_t *doc_ref(const char *kind, const char *name) {
    return must(json_pack("{s:o}", "$ref", json_sprintf("#/components/%s/%s", kind, name)));
}

void doc_set(json_t *object, const char *name, json_t *value) {
    if (json_object_set_new(object, name, value))
        die("no memory, or no object, for", name);
}

void doc_set_text(json_t *object, const char *name, const char *text) {
    doc_set(object, name, json_string(text));
}

void doc_push(json_t *array, json_t *value) {
    if (json_array_append_new(array, value))
        die("no memory", "at start");
}

void doc_push_text(json_t *array, const char *text) {
    doc_push(array, json_string(text));
}

void doc_merge(json_t *object, json_t *from) {
    if (json_object_update(object, from))
        die("no memory", "at start");
    json_decref(from);
}

void doc_extend(json_t *array, json_t *from) {
    if (json_array_extend(array, from))
        die("no memory", "at start");
    json_decref(from);
}

json_t *doc_member(json_t *object, const char *name) {
    if (!json_object_get(object, name))
        doc_set(object, name, json_object());
    return json_object_get(object, name);
}

char *doc_finish(json_t *document, bool indented) {
    size_t flags = indented ? JSON_INDENT(2) : JSON_COMPACT;
    size_t len = json_dumpb(document, NULL, 0, flags);
    char *text = malloc(len + 2);
    if (text) {
        json_dumpb(document, text, len, flags);
        memcpy(text + len, indented ? "\n" : "", indented ? 2 : 1);
    }
    json_decref(document);
    return text;
}
