/* SPDX-License-Identifier: MIT */
/* What all streams of events (text/event-stream) share: their headers, and bytes that were rendered
 * and are given out piece by piece. */
#ifndef HATI_SERVER_HTTP_EVENTS_H
#define HATI_SERVER_HTTP_EVENTS_H

#include "base/buf.h"
#include "server/http_request.h"

/* Answers 200 with the response, which it takes, as a stream that no cache keeps and no proxy holds
 * back. NULL: there was no memory for it. A thread of the door's. */
enum MHD_Result http_events_reply(struct http_request *request, struct MHD_Response *response);

/* Copies up to max_bytes of what is rendered behind *taken, which moves on; how many. The request's
 * thread. */
ssize_t http_events_take(struct http_request *request, const struct buf *out, size_t *taken,
                         char *to, size_t max_bytes);

#endif
