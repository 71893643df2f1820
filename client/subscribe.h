/* SPDX-License-Identifier: MIT */
/* SUBSCRIBE and WATCH: what comes until Ctrl-C, over lost connections too. */
#ifndef HATI_CLIENT_SUBSCRIBE_H
#define HATI_CLIENT_SUBSCRIBE_H

#include "client/session.h"

/* Subscribes, shows, and ends with UNSUBSCRIBE or UNWATCH. A watch goes on behind the last revision
 * it saw. Where the connection is lost it says so and, for a
 * person, goes on once the server is back; else AWAY. Blocks. */
enum client_status subscribe_run(struct session *session, const struct command *command);

#endif
