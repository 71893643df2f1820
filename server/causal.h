/* SPDX-License-Identifier: MIT */
/* Causal contexts as HTTP clients carry them: the JSON object {"hati":"<word>"}, in the header
 * Causal-Context or in a body. {} has seen nothing. */
#ifndef HATI_SERVER_CAUSAL_H
#define HATI_SERVER_CAUSAL_H

#include "server/http_request.h"

/* The word of a context; empty where there is none (context NULL or null) or it has seen nothing.
 * Members that are not ours are not looked at. False, ret untouched, where it is no object or its
 * word cannot be one. The word lives as long as the context. */
bool causal_of_json(const struct json_t *context, struct slice *ret_word) MUST_USE;

/* Reads the request's header into request->causal; has_causal, or bad_causal where it is none. */
void causal_read(struct http_request *request);

/* The call of the request is finished: its answer tells what it reached. */
void causal_reach(struct http_request *request);

/* What the answer tells: a state that has all that this request, and its context, have seen. */
struct slice causal_word(const struct http_request *request);

/* Appends a context with this word. */
bool causal_append(struct buf *to, struct slice word);

/* Adds the header to an answer where the request had it. */
bool causal_add(const struct http_request *request, struct MHD_Response *response);

#endif
