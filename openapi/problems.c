/* SPDX-License-Identifier: MIT */
/* Failures, as REST, /kv-store and JSON-RPC tell them, from the one list. */
#include <stdio.h>

#include "openapi/doc.h"

#define BIT(err) (1ULL << (err))
#define NAME_BYTES 512
/* Words of lines. */
#define NEVER_HTTP (OP_ERR(NOT_FRAMABLE) | OP_ERR(LINE_TOO_LONG) | OP_ERR(PARSE))

static bool is_in(json_t *list, const char *word) {
    size_t i;
    json_t *element;
    json_array_foreach(list, i, element) if (strcmp(json_string_value(element), word) == 0) {
        return true;
    }
    return false;
}

static json_t *words_of(uint64_t errors) {
    json_t *words = json_array();
    for (int err = ERR_SYNTAX; err < ERR_COUNT; err++)
        if ((errors & BIT(err)) && !is_in(words, err_word((enum err)err)))
            doc_push_text(words, err_word((enum err)err));
    return words;
}

json_t *doc_code_words(void) {
    return words_of(~0ULL);
}

/* `STATUS.WORD.WORD`: each set of words is a response of its own, shared by those that have it. */
static void name_of(unsigned status, json_t *words, const char *kind, char *to) {
    size_t i;
    json_t *word;
    int len = snprintf(to, NAME_BYTES, "%s%u", kind, status);
    json_array_foreach(words, i, word) len +=
        snprintf(to + len, (size_t)(NAME_BYTES - len), ".%s", json_string_value(word));
}

static json_t *description_of(uint64_t errors) {
    char text[NAME_BYTES * 4];
    int len = 0;
    text[0] = '\0';
    for (int err = ERR_SYNTAX; err < ERR_COUNT; err++)
        if (errors & BIT(err))
            len += snprintf(text + len, sizeof text - (size_t)len, "%s`%s`: %s", len ? "; " : "",
                            err_word((enum err)err), err_text((enum err)err));
    return json_string(text);
}

static json_t *problem_schema(unsigned status, json_t *words) {
    return json_pack("{s:[o,{s:{s:{s:i},s:{s:O}}}]}", "allOf", doc_literal("@Problem"),
                     "properties", "status", "const", (int)status, "code", "enum", words);
}

static json_t *problem_example(enum err err) {
    return json_pack("{s:s,s:i,s:s,s:s}", "title", err_text(err), "status", err_http_status(err),
                     "detail", err_text(err), "code", err_word(err));
}

static enum err first_of(uint64_t errors) {
    int err = ERR_SYNTAX;
    while (!(errors & BIT(err)))
        err++;
    return (enum err)err;
}

static const char *headers_of(unsigned status, unsigned flags) {
    switch (status) {
    case 401:
        return "{'WWW-Authenticate':{'required':true,'schema':{'type':'string'},"
               "'description':'Bearer'}}";
    case 405:
        return "{'Allow':{'required':true,'schema':{'type':'string'},'description':'the methods "
               "that "
               "are served'}}";
    case 429:
        return "{'Retry-After':{'required':true,'schema':{'type':'integer'},'description':"
               "'seconds after which it may be worth another try'}}";
    case 503:
        return flags & OPENAPI_STANDALONE
                   ? NULL
                   : "{'Hati-Outcome':{'required':true,'schema':{'type':'string','enum':"
                     "['not-applied','unknown']},'description':'unknown: it may have been done all "
                     "the same'},'Retry-After':{'schema':{'type':'integer'},'description':'where "
                     "too many bytes of others were under way: seconds after which it may be worth "
                     "another try'}}";
    default:
        return NULL;
    }
}

static json_t *content_of(unsigned status, uint64_t errors, json_t *words, unsigned flags) {
    if (flags & OPENAPI_KVSTORE)
        return doc_literal("{'application/json':{'schema':@KvStoreFailure}}");
    if (flags & OPENAPI_RPC && status == 429) /* a call that was read has its id */
        return doc_literal("{'application/json':{'schema':@RpcAnswer}}");
    if (flags & OPENAPI_RPC)
        return doc_literal("{'application/json':{'schema':@RpcFailure}}");
    return json_pack("{s:{s:o,s:o}}", "application/problem+json", "schema",
                     problem_schema(status, words), "example", problem_example(first_of(errors)));
}

static void add_problem(json_t *document, json_t *responses, unsigned status, uint64_t errors,
                        unsigned flags) {
    char name[NAME_BYTES];
    char code[16];
    json_t *shared = doc_member(doc_member(document, "components"), "responses");
    json_t *words = words_of(errors);
    name_of(status, words,
            flags & OPENAPI_KVSTORE      ? "KvStore."
            : flags & OPENAPI_RPC        ? "Rpc."
            : flags & OPENAPI_STANDALONE ? "Own."
                                         : "",
            name);
    if (!json_object_get(shared, name))
        doc_set(shared, name,
                json_pack("{s:o,s:o,s:o}", "description", description_of(errors), "headers",
                          doc_headers(flags, headers_of(status, flags)), "content",
                          content_of(status, errors, words, flags)));
    json_decref(words);
    snprintf(code, sizeof code, "%u", status);
    doc_set(responses, code, doc_ref("responses", name));
}

void doc_add_problems(json_t *document, json_t *responses, uint64_t errors, unsigned flags) {
    errors &= ~NEVER_HTTP;
    for (unsigned status = 400; status < 600; status++) {
        uint64_t same = 0;
        for (int err = ERR_SYNTAX; err < ERR_COUNT; err++)
            if ((errors & BIT(err)) && err_http_status((enum err)err) == (int)status)
                same |= BIT(err);
        if (same)
            add_problem(document, responses, status, same, flags);
    }
}

/* One number covers what lines tell apart as values and lines, and has a word of its own. */
static const char *rpc_word(enum err err) {
    return err_rpc_code(err) == err_rpc_code(ERR_VALUE_TOO_LARGE) ? "TOO_LARGE" : err_word(err);
}

/* Those that share a number are one error with several words. */
static json_t *rpc_error(uint64_t errors, int code) {
    char message[NAME_BYTES];
    int len = 0;
    message[0] = '\0';
    for (int err = ERR_SYNTAX; err < ERR_COUNT; err++)
        if ((errors & BIT(err)) && err_rpc_code((enum err)err) == code)
            len += snprintf(message + len, sizeof message - (size_t)len, "%s%s: %s",
                            len ? " | " : "", rpc_word((enum err)err), err_text((enum err)err));
    return len ? json_pack("{s:i,s:s}", "code", code, "message", message) : NULL;
}

json_t *doc_rpc_errors(uint64_t errors) {
    json_t *list = json_array();
    for (int code = -32700; code < -32000; code++) {
        json_t *error = rpc_error(errors & ~NEVER_HTTP, code);
        if (error)
            doc_push(list, error);
    }
    return list;
}
