/* SPDX-License-Identifier: MIT */
/* The listener of line protocols (Hati's and Olivia's): TCP and UNIX socket, one libuv loop per
 * thread. */
#ifndef HATI_SERVER_LINE_H
#define HATI_SERVER_LINE_H

#include "handlers/call.h"
#include "server/config.h"

struct line_server;

/* TCP ports that were bound: the system's choice where 0 was asked for. */
struct line_ports {
    unsigned tcp, olivia;
};

/* Binds, listens and starts the threads. One clear line in ret_why on failure. Main thread. */
enum err line_server_start(const struct config *config, struct core *core,
                           struct line_server **ret_server, struct line_ports *ret_ports,
                           char *ret_why, size_t why_bytes) MUST_USE;

/* Stops accepting and reading; what was read is answered, within config's drain_timeout_ms; then
 * closes all connections and ends the threads. Blocks. Main thread. The store must still be open.
 */
void line_server_stop(struct line_server *server);

#endif
