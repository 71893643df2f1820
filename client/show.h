/* SPDX-License-Identifier: MIT */
/* Replies on standard output, failures on standard error. */
#ifndef HATI_CLIENT_SHOW_H
#define HATI_CLIENT_SHOW_H

#include "client/session.h"

/* A reply that is one line, as the form of the command says. JSON: command is one of JSON-RPC. */
void show_line(const struct session *session, const struct command *command, struct slice line);

/* The bytes that a GET gave. framed: with their length in front, where it goes into a pipe. */
void show_value(const struct session *session, struct slice bytes, bool framed);

/* False where it could not be written. */
bool show_message(const struct session *session, const struct frame *frame);

/* A +ERR, to standard error. */
void show_error(const struct session *session, const struct frame *frame);

/* Writes out what is held back; false where that fails. */
bool show_flush(void);

#endif
