/* SPDX-License-Identifier: MIT */
/* Accepts the connections of the HTTP door in the library's place, where proxies begin them with a
 * PROXY header: it is read off before the library sees the socket, so TLS may follow it. */
#ifndef HATI_SERVER_HTTP_ACCEPT_H
#define HATI_SERVER_HTTP_ACCEPT_H

#include "base/err.h"
#include "server/limits.h"

struct MHD_Daemon;
struct http_acceptor;

/* Starts a thread that accepts at listen_fd, which stays the caller's, and hands on to the daemon,
 * which must not accept itself. A peer that is trusted has timeout_ms for its header (0: as long as
 * it likes). */
enum err http_accept_open(struct MHD_Daemon *daemon, int listen_fd, struct limits *limits,
                          int64_t timeout_ms, struct http_acceptor **ret_acceptor) MUST_USE;
/* Nothing is accepted any more; those whose header is not whole are closed. NULL is fine. */
void http_accept_close(struct http_acceptor *acceptor);

#endif
