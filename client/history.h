/* SPDX-License-Identifier: MIT */
/* Lines that were typed, kept in a file that is its owner's alone. */
#ifndef HATI_CLIENT_HISTORY_H
#define HATI_CLIENT_HISTORY_H

#include <stdbool.h>

#include "base/slice.h"

#define HISTORY_LINES 1000U
#define HISTORY_LINE_BYTES 4096U /* a longer line is not kept */

/* True for a line that may be written down: no AUTH, nothing that looks like a token or holds the
 * one in use (may be empty), nothing behind a leading space. Any thread. */
bool history_may_keep(struct slice line, const char *token);

/* Calls take with each line of the file, oldest first, the last HISTORY_LINES of them. What is no
 * plain file, or somebody else's, is left alone. Blocks. */
void history_read(const char *path, void (*take)(void *context, const char *line), void *context);

/* Adds a line to the file, which is made with mode 0600. What fails is not told: history is a
 * comfort. Blocks. */
void history_append(const char *path, struct slice line);

#endif
