/* SPDX-License-Identifier: MIT */
/* Inside the REST routes: how a request becomes arguments, and how the broker's operations are
 * answered. */
#ifndef HATI_SERVER_REST_H
#define HATI_SERVER_REST_H

#include "server/http_request.h"

/* Binds path, query, headers and body to request->call; failures are in the call. (rest_bind.c) */
enum err rest_bind(struct http_request *request) MUST_USE;

/* Binds the members of the body, a JSON object, to request->call, whose path and query are bound:
 * what those said is not said otherwise. Ends with bind_finish. (rest_json.c) */
enum err rest_bind_json(struct http_request *request) MUST_USE;
/* A JSON object from its text, or NULL and the failure in the call. what: how the text is called.
 * The caller lets go of it. */
struct json_t *rest_load_object(struct call *call, struct slice text, const char *what);
/* Binds a PARAM_HEADERS from the text of a JSON object. */
enum err rest_bind_headers(struct call *call, unsigned index, struct slice text) MUST_USE;

/* Answers with what a successful operation of the broker gave. (rest_broker.c) */
enum MHD_Result rest_broker_reply(struct http_request *request);
/* The same with the messages that its receive holds. (rest_messages.c) */
enum MHD_Result rest_messages_reply(struct http_request *request);

#endif
