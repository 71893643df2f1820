/* SPDX-License-Identifier: MIT */
/* The HTTP library lets go of its listening socket. */
#ifndef HATI_SERVER_HTTP_QUIESCE_H
#define HATI_SERVER_HTTP_QUIESCE_H

struct MHD_Daemon;

/* No connection is accepted any more; those there are go on. The socket is the caller's to close,
 * once the daemon is stopped. One thread. */
void http_quiesce(struct MHD_Daemon *daemon);

#endif
