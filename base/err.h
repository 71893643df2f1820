/* SPDX-License-Identifier: MIT */
/* The single list of failures: what every door says when something did not go through. */
#ifndef HATI_BASE_ERR_H
#define HATI_BASE_ERR_H

/* X(name, code word, HTTP status, JSON-RPC code, text for people) */
#define ERR_LIST(X)                                                                                \
    X(SYNTAX, "SYNTAX", 400, -32602, "the request is malformed")                                   \
    X(PARSE, "SYNTAX", 400, -32700, "the text is not valid JSON")                                  \
    X(INVALID_REQUEST, "SYNTAX", 400, -32600, "not a valid request object")                        \
    X(UNKNOWN_COMMAND, "UNKNOWN_COMMAND", 404, -32601, "no such command")                          \
    X(METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", 405, -32600, "the path has no such method")        \
    X(UNSUPPORTED_TYPE, "UNSUPPORTED_TYPE", 415, -32600, "the content type is not supported")      \
    X(STORAGE_TYPE_INVALID, "STORAGE_TYPE_INVALID", 400, -32002,                                   \
      "the storage type is memory or hdd")                                                         \
    X(KEY_NOT_EXIST, "KEY_NOT_EXIST", 404, -32001, "the key does not exist")                       \
    X(KEY_INVALID, "KEY_INVALID", 400, -32014, "a key has 1 to 4096 bytes and no NUL")             \
    X(VALUE_TOO_LARGE, "VALUE_TOO_LARGE", 413, -32004, "the value is over the payload limit")      \
    X(LINE_TOO_LONG, "LINE_TOO_LONG", 413, -32004, "the line is over the limit")                   \
    X(NOT_FRAMABLE, "NOT_FRAMABLE", 409, -32602, "the value holds a newline; use GETB")            \
    X(PRECONDITION_FAILED, "PRECONDITION_FAILED", 412, -32003, "the condition does not hold")      \
    X(NOT_A_NUMBER, "NOT_A_NUMBER", 409, -32005, "the value is no 64-bit number, or overflows")    \
    X(OUT_OF_MEMORY, "OUT_OF_MEMORY", 507, -32006, "the memory limit is reached")                  \
    X(STORAGE_FULL, "STORAGE_FULL", 507, -32006, "the disk is full")                               \
    X(UNAVAILABLE, "UNAVAILABLE", 503, -32007, "the server cannot do this now")                    \
    X(TIMEOUT, "UNAVAILABLE", 503, -32007, "the deadline passed; the outcome is unknown")          \
    X(CORRUPT, "CORRUPT", 500, -32603, "the stored record fails its checksum")                     \
    X(INTERNAL, "INTERNAL", 500, -32603, "the server failed")                                      \
    X(AUTH_REQUIRED, "AUTH_REQUIRED", 401, -32013, "a valid token is required")                    \
    X(FORBIDDEN, "FORBIDDEN", 403, -32013, "not allowed")                                          \
    X(ROUTER_NOT_EXIST, "ROUTER_NOT_EXIST", 404, -32008, "the router does not exist")              \
    X(QUEUE_NOT_EXIST, "QUEUE_NOT_EXIST", 404, -32009, "the queue does not exist")                 \
    X(CONFLICT, "CONFLICT", 409, -32010, "it exists with another definition")                      \
    X(RECEIPT_INVALID, "RECEIPT_INVALID", 404, -32011, "the receipt is no longer good")            \
    X(QUEUE_FULL, "QUEUE_FULL", 429, -32012, "the queue is full")                                  \
    X(RATE_LIMITED, "RATE_LIMITED", 429, -32015, "the client is over one of its limits")

enum err {
    OK = 0,
    ERR_PENDING,    /* not a failure: the answer comes later, through the callback that was given */
    ERR_WOULD_WAIT, /* not a failure: nothing was done, it would have been ERR_PENDING */
#define X(name, word, http, rpc, text) ERR_##name,
    ERR_LIST(X)
#undef X
        ERR_COUNT
};

#define MUST_USE __attribute__((warn_unused_result))

/* The code word as it stands in replies ("KEY_NOT_EXIST"); static. Any thread. */
const char *err_word(enum err err);
/* One sentence for people; static. Any thread. */
const char *err_text(enum err err);
/* HTTP status of the failure. Any thread. */
int err_http_status(enum err err);
/* Of a call that was not carried out for want of a store: "unknown" where it may have been done all
 * the same, "not-applied" where not; NULL for other failures. Static. Any thread. */
const char *err_outcome(enum err err);
/* JSON-RPC 2.0 error code of the failure. Any thread. */
int err_rpc_code(enum err err);

#endif
