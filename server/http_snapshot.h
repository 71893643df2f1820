/* SPDX-License-Identifier: MIT */
/* /snapshot: a snapshot of everything goes out, or comes in block by block. What takes long is done
 * on a thread of its own while its request is parked. */
#ifndef HATI_SERVER_HTTP_SNAPSHOT_H
#define HATI_SERVER_HTTP_SNAPSHOT_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/slice.h"

struct core;
struct config;
struct http_match;
struct http_request;
struct http_server;
struct http_snapshot;

/* Who works on snapshots now: one goes out, and one comes in, at a time. */
struct http_office {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned running; /* threads */
    bool exports, imports;
    _Atomic bool closing; /* exports end as soon as they can */
};

void http_office_open(struct http_office *office);
/* No thread is left when it returns, and none begins any more. Before the daemon is stopped. */
void http_office_close(struct http_office *office);
/* Only when no request can come any more. */
void http_office_done(struct http_office *office);

/* Does the path stand below /snapshot? Fills parts and methods. */
bool http_snapshot_find(struct slice path, struct http_match *to);
/* Bytes of a request's body at most. */
size_t http_snapshot_body_max(const struct core *core);
/* Serves it once the body is there. */
enum MHD_Result http_snapshot_run(struct http_request *request);
/* Nothing of it is pending. */
void http_snapshot_free(struct http_snapshot *snapshot);

#endif
