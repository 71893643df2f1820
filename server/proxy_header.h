/* SPDX-License-Identifier: MIT */
/* The PROXY protocol's header, versions 1 and 2 (haproxy.org/download/1.8/doc/proxy-protocol.txt):
 * what a proxy says before the first byte of its client. Does no I/O. */
#ifndef HATI_SERVER_PROXY_HEADER_H
#define HATI_SERVER_PROXY_HEADER_H

#include "server/address.h"

#define PROXY_HEADER_MAX 4096U /* bytes of a header, its TLVs included */

enum proxy_state {
    PROXY_PART, /* more bytes must come: ret_need */
    PROXY_DONE, /* the header is whole */
    PROXY_BAD   /* it is none */
};

struct proxy_header {
    size_t size;           /* bytes that it takes */
    bool local;            /* the proxy speaks for itself */
    bool unknown;          /* it knows no address, or tells none of a kind that is known here */
    struct address client; /* where it is neither */
    const char *why;       /* PROXY_BAD: static, for people */
};

/* Looks at what came first. ret_need: of a part, how many bytes there have to be before it is worth
 * looking again; what is there and so many belong to the header for sure, nothing behind it. Bytes
 * behind the header are not looked at. Any thread. */
enum proxy_state proxy_header_read(struct slice data, struct proxy_header *ret_header,
                                   size_t *ret_need);

#endif
