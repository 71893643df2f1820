/* SPDX-License-Identifier: MIT */
/* What a server sent, made fit for a terminal: nothing of it is a control character any more. */
#ifndef HATI_CLIENT_PRETTY_H
#define HATI_CLIENT_PRETTY_H

#include "base/buf.h"
#include "client/frame.h"

/* Bytes with everything a terminal would obey written out: \n, \t, \\, \x1b; code points that
 * steer it (C1, direction marks, line separators) as \u202e. What is no UTF-8 is \xHH. */
void pretty_escaped(struct buf *to, struct slice bytes);

/* JSON over several lines, indented by two; what is no JSON as pretty_escaped. Ends with \n. */
void pretty_json(struct buf *to, struct slice line);

/* The reply to KEYS, a key a line, numbered, with the cursor behind it; what is none as
 * pretty_json. */
void pretty_keys(struct buf *to, struct slice line);

/* Any JSON object as lines `path  value`; what is none as pretty_json. */
void pretty_table(struct buf *to, struct slice line);

/* A message: a line about it, and its payload. */
void pretty_message(struct buf *to, const struct frame *frame);

/* A +ERR as a sentence: the text, and the code in brackets. No newline. */
void pretty_error(struct buf *to, const struct frame *frame);

/* True for an answer of JSON-RPC that tells of a failure. */
bool pretty_is_failure(struct slice line);

/* Columns a terminal needs for UTF-8 text without control characters. */
size_t pretty_width(struct slice text);

#endif
