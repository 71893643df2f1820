/* SPDX-License-Identifier: MIT */
/* From the bytes of a line connection to requests: framing, words, binding. Does no I/O. */
#ifndef HATI_SERVER_LINE_PARSE_H
#define HATI_SERVER_LINE_PARSE_H

#include "handlers/call.h"

/* What USE chose for a connection. */
struct line_place {
    struct uuid workspace;
    bool workspace_named;
    struct slice ns; /* in bytes below */
    char bytes[KV_NAMESPACE_MAX];
};

/* Under what a request is read. */
struct line_context {
    struct core *core;
    const struct auth_grant *grant;
    const struct line_place *place; /* NULL: the defaults */
    struct arena *arena;            /* for what binding decodes, and words about failures */
    int64_t now_ms;                 /* wall clock */
    bool is_peer;                   /* the connection is a peer's (Olivia) */
    size_t line_limit_bytes;
};

enum line_kind {
    REQUEST_PART,   /* more bytes must come: `need` */
    REQUEST_EMPTY,  /* an empty line: ignored */
    REQUEST_CALL,   /* call is bound */
    REQUEST_WORD,   /* a command of the connection itself (line_words.c) */
    REQUEST_JSON,   /* line is JSON-RPC */
    REQUEST_MANY,   /* line holds several calls (line_dialect.run_many) */
    REQUEST_FAILED, /* call.err and detail say why */
    REQUEST_HTTP    /* somebody speaks HTTP to us: close, run nothing of it */
};

struct olivia_verb;

/* How a call's reply is written, beyond what the call says. */
struct line_answer {
    enum line_form form;            /* Hati */
    const struct olivia_verb *verb; /* Olivia */
    struct slice hash;              /* Olivia: stands before the reply's colon */
    int64_t seconds;                /* Olivia: SETEX */
};

struct line_request {
    enum line_kind kind;
    bool skip_line;      /* FAILED: drop everything up to a newline before reading on */
    bool skip_frame;     /* FAILED: drop skip_bytes and a newline before reading on */
    bool close;          /* FAILED: where the next request begins is unknown */
    size_t size;         /* bytes it takes, newline and frame included */
    size_t need;         /* PART: worth looking again once so many bytes are there; 0: any more */
    uint64_t skip_bytes; /* FAILED with skip_frame */
    struct slice line;   /* without its newline */
    struct slice frame;  /* the bytes behind a framed verb's line */
    struct line_answer answer;    /* CALL */
    const struct op_words *words; /* Hati, CALL; FAILED: NULL where the verb is none of an op */
    const struct line_word *word; /* WORD */
    struct slice word_args;       /* WORD: what follows the command and its space */
    uint64_t fetched;             /* CALL: what kv_prefetch said */
    struct call call;
};

/* Reads the request at the front of data. scanned: bytes at the front known to hold no newline.
 * Slices of the request point into data. Any thread. */
void line_parse(const struct line_context *context, struct slice data, size_t scanned,
                struct line_request *request);

/* Takes the line at the front: fills kind PART, or size and line. False where it is not whole, or
 * FAILED for being too long. */
bool line_take(const struct line_context *context, struct slice data, size_t scanned,
               struct line_request *request);
/* A call under this context, with no operation yet. */
void line_init_call(const struct line_context *context, struct call *call);
/* The request is answered with an error. detail: for people, static or in the arena; may be NULL.
 */
void line_fail(const struct line_context *context, struct line_request *request, enum err err,
               const char *detail);
/* True where a line is part of an HTTP request: a browser can be made to send one to any port. */
bool line_looks_like_http(struct slice line);

/* Makes call ready under this context and binds the words of line (and the frame) to it. The bytes
 * must live as long as the call. Failures are in call->err. */
enum err line_bind(const struct line_context *context, const struct op_words *words,
                   struct slice line, struct slice frame, struct call *call) MUST_USE;

#endif
