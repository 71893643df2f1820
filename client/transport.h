/* SPDX-License-Identifier: MIT */
/* A way for bytes to a server and back. */
#ifndef HATI_CLIENT_TRANSPORT_H
#define HATI_CLIENT_TRANSPORT_H

#include <sys/types.h>

#include "client/options.h"

/* An open way. read and write take what goes without waiting; -1 with errno EAGAIN: wait for `fd`.
 * read: 0 at the end. Whoever opens it fills it; close ends it once. */
struct transport {
    int fd;
    struct secure *secure; /* NULL: in the clear */
    char why[256];         /* of a failure that errno has no words for; else empty */
    ssize_t (*read)(struct transport *transport, void *to, size_t bytes);
    ssize_t (*write)(struct transport *transport, const void *from, size_t bytes);
    void (*close)(struct transport *transport);
};

/* Connects as the options say, by TCP, with TLS or without, or UNIX socket, in timeout_ms for each
 * address (0: as long as the system tries). False: ret_why says why; EINTR in errno where the user
 * did not want to wait. Blocks. */
bool transport_open(const struct options *options, struct transport *ret_transport,
                    char ret_why[OPTIONS_WHY_BYTES]);

#endif
