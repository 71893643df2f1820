/* SPDX-License-Identifier: MIT */
/* A person at a terminal: a prompt with history, completion and hints. */
#ifndef HATI_CLIENT_PROMPT_H
#define HATI_CLIENT_PROMPT_H

#include "client/session.h"

/* Reads commands and carries them out until QUIT or the end of input. Blocks. */
enum client_status prompt_run(struct session *session);

#endif
