/* SPDX-License-Identifier: MIT */
/* Replies of the line protocol. */
#ifndef HATI_SERVER_LINE_RENDER_H
#define HATI_SERVER_LINE_RENDER_H

#include "base/buf.h"
#include "handlers/call.h"

/* Appends `+ERR CODE text` and a newline; control characters of the text become spaces. */
void line_render_error(struct buf *to, enum err err, const char *text);

/* Appends the reply of a finished call in the form of its verb. True where it is no error. A reply
 * that does not fit becomes an error; where that does not fit either, to->failed stays set. */
bool line_render(struct buf *to, const struct call *call, enum line_form form) MUST_USE;

#endif
