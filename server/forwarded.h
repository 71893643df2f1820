/* SPDX-License-Identifier: MIT */
/* X-Forwarded-For: who the client is, as far as the proxies that told so are trusted. */
#ifndef HATI_SERVER_FORWARDED_H
#define HATI_SERVER_FORWARDED_H

#include "server/address.h"

/* Walks over the header's lines (in their order, `count` of them) from their right end, where the
 * nearest proxy wrote, while what it meets is trusted: the first address that is not is the client.
 * What is no address ends the walk: the last one met before it counts, and is vague. peer: whose
 * connection it is; where it is not trusted, it is the client. Any thread. */
struct address forwarded_client(const struct networks *trusted, const struct address *peer,
                                const struct slice *lines, unsigned count);

#endif
