/* SPDX-License-Identifier: MIT */
/* The HTTP listener: libmicrohttpd, routes, guards, and what every answer carries. */
#ifndef HATI_SERVER_HTTP_H
#define HATI_SERVER_HTTP_H

#include "handlers/call.h"
#include "server/config.h"

struct http_server;

/* As line_server_start. */
enum err http_server_start(const struct config *config, struct core *core,
                           struct http_server **ret_server, unsigned *ret_port, char *ret_why,
                           size_t why_bytes) MUST_USE;

/* Stops accepting; requests in flight are answered (with Connection: close) within
 * drain_timeout_ms, parked ones are woken; then ends the threads. Blocks. One thread. The store
 * must still be open. */
void http_server_stop(struct http_server *server);

#endif
