/* SPDX-License-Identifier: MIT */
/* `hati client stats`: a page of figures that is drawn again and again. */
#ifndef HATI_CLIENT_WATCH_H
#define HATI_CLIENT_WATCH_H

#include "client/session.h"

/* On a terminal until q or Ctrl-C, through lost connections; else once, as JSON or (--table) as a
 * page. Blocks. */
enum client_status watch_run(struct session *session);

#endif
