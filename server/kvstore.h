/* SPDX-License-Identifier: MIT */
/* Inside the door /kv-store: the API of key-value-store over the operations of keys on hdd. Any
 * node serves any key; shards are a view of the keys, which moves none of them. */
#ifndef HATI_SERVER_KVSTORE_H
#define HATI_SERVER_KVSTORE_H

#include "server/http_request.h"

#define KVSTORE_KEY_MAX 50 /* bytes */

/* Answers 400 with "Failed to parse request body". */
enum MHD_Result kvstore_reply_unparsed(struct http_request *request);
/* Answers with what request->answer holds: a member list, to which the causal context is added. */
enum MHD_Result kvstore_reply(struct http_request *request, unsigned status);
/* Begins request->answer: {"message":"…" */
struct buf *kvstore_begin_answer(struct http_request *request, const char *message);
/* Chooses an operation on hdd, in a namespace of the default workspace, with a key (empty: none).
 * Failures are in request->call. */
enum err kvstore_choose(struct http_request *request, const char *op, struct slice ns,
                        struct slice key) MUST_USE;
/* The namespace of the keys. */
struct slice kvstore_namespace(void);

/* Serves key-count, shards, shards/{id} and view-change. (kvstore_shards.c) */
enum MHD_Result kvstore_shards_run(struct http_request *request);

#endif
