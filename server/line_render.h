/* SPDX-License-Identifier: MIT */
/* Replies of the line protocol. */
#ifndef HATI_SERVER_LINE_RENDER_H
#define HATI_SERVER_LINE_RENDER_H

#include "base/buf.h"
#include "handlers/call.h"

/* Appends `+ERR CODE text` and a newline; control characters of the text become spaces. */
void line_render_error(struct buf *to, enum err err, const char *text);

/* Appends `MSG <receipt> <attempt> <routing-key> <length>` and the payload, each with a newline.
 * The line has five words always: that of an empty routing key is empty, so two spaces stand there.
 */
void line_render_message(struct buf *to, const struct broker_delivery *delivery);

/* Appends the reply of a finished call in the form of its verb; tells the error that it is, or OK.
 * A reply that does not fit becomes an error; where that does not fit either, to->failed stays set.
 */
enum err line_render(struct buf *to, const struct call *call, enum line_form form) MUST_USE;

#endif
