/* SPDX-License-Identifier: MIT */
/* Parts of a value: Range and If-Range of GET (RFC 9110, sections 13.1.5 and 14.2). Any thread. */
#ifndef HATI_SERVER_REST_RANGE_H
#define HATI_SERVER_REST_RANGE_H

#include "base/hash.h"
#include "base/slice.h"

enum rest_range { RANGE_WHOLE, RANGE_PART, RANGE_NOWHERE };

/* What `bytes=first-last`, `bytes=first-` or `bytes=-length` chooses of size bytes: RANGE_PART
 * fills ret_first and ret_len; RANGE_NOWHERE: none of them is there (416). RANGE_WHOLE for
 * everything else, several ranges too: who is not understood gets it all. */
enum rest_range rest_range_parse(struct slice range, uint64_t size, uint64_t *ret_first,
                                 uint64_t *ret_len);

/* True where If-Range lets a part be sent: it is left out, or is the ETag. A date is not: entries
 * have none. */
bool rest_range_if(struct slice if_range, const uint8_t etag[HASH_MD5_BYTES]);

#endif
