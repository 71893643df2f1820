/* SPDX-License-Identifier: MIT */
/* Sends bodies to a collector by HTTP: the only file of this room that knows libcurl. */
#ifndef HATI_TRACE_POST_H
#define HATI_TRACE_POST_H

#include "base/buf.h"
#include "base/err.h"
#include "trace/pairs.h"

#define TRACE_WHY_BYTES 320

struct trace_post;

struct trace_post_options {
    const char *endpoint;              /* without /v1/traces */
    const struct trace_pairs *headers; /* sent with each; copied */
    const char *ca_file;               /* NULL: the system's */
};

struct trace_answer {
    long status;            /* 0: there was none, why says so */
    int64_t retry_after_ms; /* 0: not said */
    struct buf body;        /* the caller's: buf_init before, buf_done after */
    char why[TRACE_WHY_BYTES];
};

/* One line in ret_why where the endpoint is none. */
enum err trace_post_open(const struct trace_post_options *options, struct trace_post **ret_post,
                         char *ret_why, size_t why_bytes) MUST_USE;
void trace_post_close(struct trace_post *post);

/* Sends and waits for the answer: up to timeout_ms, and not past what trace_post_end_at says. One
 * thread. */
void trace_post_send(struct trace_post *post, struct slice body, int64_t timeout_ms,
                     struct trace_answer *answer);
/* Nothing is waited for past this (steady clock, ms) any more. Any thread. */
void trace_post_end_at(struct trace_post *post, int64_t end_ms);

#endif
