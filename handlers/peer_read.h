/* SPDX-License-Identifier: MIT */
/* GETs of keys that are not here: peers are asked, those that may have them. Only of `memory`, in
 * the namespace `default` of the default workspace: that is what peers tell each other of. */
#ifndef HATI_HANDLERS_PEER_READ_H
#define HATI_HANDLERS_PEER_READ_H

#include "handlers/call.h"

/* True where peers are asked for what the call does not find, so that it may be answered later. Of
 * a bound call. Any thread. */
bool peer_read_applies(const struct call *call);

/* The store does not have its key. ERR_KEY_NOT_EXIST where no peer may have it; with
 * broker.at_once ERR_WOULD_WAIT, with nothing done; else ERR_PENDING: call->err and reply are set
 * and the call is woken later, perhaps before this returns. Any thread; never blocks. */
enum err peer_read_ask(struct call *call) MUST_USE;

#endif
