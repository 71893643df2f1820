/* SPDX-License-Identifier: MIT */
/* The OpenAPI and OpenRPC documents, made once at start and served as they are. */
#ifndef HATI_SERVER_DOCUMENTS_H
#define HATI_SERVER_DOCUMENTS_H

#include "handlers/call.h"

/* Makes both for the core, after op_init; freed with documents_close. base_path: of HTTP, or NULL.
 * ERR_OUT_OF_MEMORY. Main thread. */
enum err documents_open(struct core *core, const char *base_path) MUST_USE;
void documents_close(struct core *core);

/* Prints one for people: `openapi` or `openrpc`; or `routes`, every route that is served, a line
 * each. False where it is none of these. Main thread. */
bool documents_print(const char *name);

#endif
