/* SPDX-License-Identifier: MIT */
/* Looks into the headers of a message: a JSON object's text, compact, as a door wrote it. */
#ifndef HATI_HANDLERS_HEADERS_H
#define HATI_HANDLERS_HEADERS_H

#include "base/slice.h"

/* Moves from member to member (`"name":value`). *at: 1 before the first. False behind the last. */
bool headers_next(struct slice json, size_t *at, struct slice *ret_member);
/* Whether the member has this name: any case, and without characters that JSON escapes. */
bool headers_member_is(struct slice member, struct slice name);
/* Finds a member by name; false where there is none. ret_text: of its value, where it is a string
 * of plain characters; else empty. */
bool headers_find(struct slice json, struct slice name, struct slice *ret_text);

#endif
